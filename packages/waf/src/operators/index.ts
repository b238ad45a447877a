import { noMatch, unconditionalMatch } from './always.ts'
import { validateByteRange, validateUrlEncoding, validateUtf8Encoding } from './bytes.ts'
import { detectCommand, detectGraphqlCost, detectInsideAddress, detectPath, detectSqli, detectXss } from './detectors.ts'
import { ipMatch, ipMatchFromFile } from './ip-match.ts'
import { geoLookup, rbl } from './lookups.ts'
import { eq, ge, gt, le, lt, ne } from './numbers.ts'
import type { OperatorFactory } from './operator.ts'
import { rx } from './rx.ts'
import { beginsWith, contains, containsWord, endsWith, streq, strmatch, within } from './text.ts'
import { verifyCc, verifyCpf, verifySsn, verifySvnr } from './verify.ts'
import { pm, pmFromFile } from './words.ts'

/** By SecLang name in lower case. */
export const OPERATORS: ReadonlyMap<string, OperatorFactory> = new Map([
  ['beginswith', beginsWith],
  ['contains', contains],
  ['containsword', containsWord],
  ['detectcommand', detectCommand],
  ['detectgraphqlcost', detectGraphqlCost],
  ['detectinsideaddress', detectInsideAddress],
  ['detectpath', detectPath],
  ['detectsqli', detectSqli],
  ['detectxss', detectXss],
  ['endswith', endsWith],
  ['eq', eq],
  ['ge', ge],
  ['geolookup', geoLookup],
  ['gt', gt],
  ['ipmatch', ipMatch],
  ['ipmatchf', ipMatchFromFile],
  ['ipmatchfromfile', ipMatchFromFile],
  ['le', le],
  ['lt', lt],
  ['ne', ne],
  ['nomatch', noMatch],
  ['pm', pm],
  ['pmf', pmFromFile],
  ['pmfromfile', pmFromFile],
  ['rbl', rbl],
  ['rx', rx],
  ['rxglobal', rx],
  ['streq', streq],
  ['strmatch', strmatch],
  ['unconditionalmatch', unconditionalMatch],
  ['validatebyterange', validateByteRange],
  ['validateurlencoding', validateUrlEncoding],
  ['validateutf8encoding', validateUtf8Encoding],
  ['verifycc', verifyCc],
  ['verifycpf', verifyCpf],
  ['verifyssn', verifySsn],
  ['verifysvnr', verifySvnr],
  ['within', within],
])

import { noMatch, unconditionalMatch } from './always.ts'
import { validateByteRange, validateUrlEncoding, validateUtf8Encoding } from './bytes.ts'
import { detectCommand, detectGraphqlCost, detectInsideAddress, detectPath, detectSqli, detectXss } from './detectors.ts'
import { ipMatch } from './ip-match.ts'
import { eq, ge, gt, le, lt, ne } from './numbers.ts'
import type { OperatorFactory } from './operator.ts'
import { rx } from './rx.ts'
import { beginsWith, contains, containsWord, endsWith, streq, within } from './text.ts'
import { pm } from './words.ts'

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
  ['gt', gt],
  ['ipmatch', ipMatch],
  ['le', le],
  ['lt', lt],
  ['ne', ne],
  ['nomatch', noMatch],
  ['pm', pm],
  ['rx', rx],
  ['streq', streq],
  ['unconditionalmatch', unconditionalMatch],
  ['validatebyterange', validateByteRange],
  ['validateurlencoding', validateUrlEncoding],
  ['validateutf8encoding', validateUtf8Encoding],
  ['within', within],
])

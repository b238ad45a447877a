/**
 * Tells values that change the meaning of a SQL statement from values that only look like SQL. A value is read as if it stood
 * bare in a statement, and as if it stood in a string of either quote; what counts is what follows the operand or the string
 * that it completes.
 */
import { foldTokens } from './fold.ts'
import { sqlTokens } from './tokenize.ts'

/** One of these occurs in every value that is found to be an injection. */
export const SQL_INJECTION_LITERALS: readonly string[] = [
  "'",
  '"',
  'and',
  'or',
  '||',
  '&&',
  'union',
  'intersect',
  'except',
  'minus',
  'select',
  'having',
  'waitfor',
  'sleep',
  'benchmark',
  'extractvalue',
  'updatexml',
  'outfile',
  'dumpfile',
  'analyse',
  ';',
  'case',
]

/** `Q`: any operand. */
const Q = '[nsuedwvfFg]'
/** What may stand behind a condition that is complete. */
const AFTER = '(?=$|[CR)lpU;BHL])'

/** Shapes in order; `$` stands for nothing here but the end of the tokens. */
const IN_STRING: readonly (readonly [name: string, shape: RegExp])[] = [
  ['comment after string', /^s\)*;?C$/],
  ['condition', new RegExp(`^s\\)*[lp]k*\\(*${Q}k?ok?\\(*(?:${Q}\\)*${AFTER}|[EcFf])`)],
  ['condition', /^s\)*[lp]k*\(*(?:[nvfgF]\)*[CR;lp)]|[vF]\)*$|d$|wC$|n$)/],
  ['query in condition', /^s\)*[lp][kwfg]*\(+E|^s\)*[lp]\(*c/],
  ['union', /^s\)*UA?\(*E/],
  ['second statement', /^s\)*;+\(*(?:D|W|E[nvfFg(aA]|Ew[,M(C])/],
  ['comparison of strings', /^s(?:[oal][sed]e?){1,4}l?$/],
  ['sort or group', /^s\)*B(?:n(?:,n)*|[nwfg](?:,[nwfg])*[CR])/],
  ['having or limit', /^s\)*(?:H(?:non|[nf])|L[n,]*[CR])/],
  ['query as operand', /^s\)*[oap]+\(*(?:E|F|c)|^s[ap]+\(*f\)?[ap]/],
  ['more columns', /^s(?:,[nswvfgd]){0,20},?(?:,F|,\(+E)|^s(?:,[nsvfgw])+\)*[C]$/],
  ['comparison and comment', /^s\)*k?o\(*[nsudwef,]+\)*C$/],
  ['delay', /^s.{0,12}W|^s\)*F/],
]

const BARE: readonly (readonly [name: string, shape: RegExp])[] = [
  ['condition', new RegExp(`^[nsvfg]\\)*[lp]k*\\(*(?:[nsudevfFg](?:a[nsvfg]){0,3}k?ok?${Q}|wk?ok?[nsudevf])\\)*${AFTER}`)],
  ['condition', /^[nsvfgw]?\)*[lp]k*\(*(?:non|so[sued])\)*(?=$|[CR)lpU;BHL])/],
  ['condition', /^[nsvfgw]\)*[lp]k*\(*(?:F|[nswvfg]k?o\(*[EcF])/],
  ['condition', /^[nsvfg]\)*[lp]k*\(*(?:[nv]\)*C|[nf]\)*R)/],
  ['query in condition', /^[nsvfgw]?\)*[lp][kwfg]*\(+E(?!w\))|^[nsvfg]\)*[lp]\(*c/],
  ['union', /UA?\(*EA?(?:[nsvfgF(a]|w[,MC])/],
  ['second statement', /^[nswvfg]?\)*;+\(*(?:D|W|E[nvfFg(aA]|Ew[,M(C])/],
  ['query as operand', /^[nsvw]\)*k?[oa]\(+E(?!w\))|^[nvw]\)*k?[oa]\(*[cF]|^n,\(+E/],
  ['query as value', /^\(+EA?[^w;]{0,30}[MF]|^\(+EA?F/],
  ['delay', /^\(*F\)*(?:$|C|a)|^[nsvfgw]?\)*W|^[nsvfg]\)*F/],
  ['sort or group', /^[nsv]\)*B(?:n(?:,n)*(?:$|[CRH])|[wfg](?:,[nwfg])*C)/],
  ['having or limit', /^[nsvw]?\)*Hnon|^[nsv]\)*Ln(?:,n)*C/],
  ['comment after statement', /^n\)*;+C$|^n\)+C$/],
]

/** The name of the shape that makes a value an injection, or nothing. */
export function sqlInjectionShape(text: string): string | undefined {
  const bare = judge(foldTokens(sqlTokens(text, 0)), BARE)
  if (bare !== undefined) return bare
  for (const quote of ["'", '"']) {
    const at = text.indexOf(quote)
    if (at < 0) continue
    const shape = judge(`s${foldTokens(sqlTokens(text, at + 1))}`, IN_STRING)
    if (shape !== undefined) return shape
  }
  return undefined
}

function judge(tokens: string, shapes: readonly (readonly [string, RegExp])[]): string | undefined {
  for (const [name, shape] of shapes) if (shape.test(tokens)) return name
  return undefined
}

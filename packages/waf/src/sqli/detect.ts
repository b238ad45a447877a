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
  'order',
  '\xef\xbc',
  '\xca',
  '\xe2\x80\xb2',
  'drop',
  'make_set',
  'elt',
  'load_',
  'xp_',
]

/** `Q`: any operand. */
const Q = '[nsuedwvfFg]'
/** What may stand behind a condition that is complete. */
const AFTER = '(?=$|[CR)lpU;BHL])'

/** Shapes in order; `$` stands for nothing here but the end of the tokens. */
const IN_STRING: readonly (readonly [name: string, shape: RegExp])[] = [
  ['comment after string', /^s\)*;?C$/],
  ['condition', new RegExp(`^s\\)*[lp]k*\\(*${Q}(?:a[nsvfg]){0,3}k?ok?\\(*(?:${Q}\\)*${AFTER}|[EcFf])`)],
  ['condition', /^s\)*[lp]k*\(*(?:[nvfgF]\)*[CR;lp)BHLU]|[vF]\)*$|d$|wC$|n$|s\)*C$)/],
  ['condition', /^s\)*ok?n[lp]/],
  ['query in condition', /^s\)*[lp][kwfg]*\(+E|^s\)*[lp]\(*c/],
  // Words without a list, a table or an end are a sentence: `union select committee asks for delay`.
  ['union', /^s(?:a[nsvw])*\)*UA?\(*(?:F|E(?!A?(?:w{1,2}u|w{3}u?)$))/],
  ['second statement', /^s\)*;+\(*(?:D(?!w{0,3}\)w)|W|E[nvfFg(aA]|Ew[,M(C])/],
  ['sort or group', /^s\)*B(?:n(?:,n)*|[nwfg](?:,[nwfg])*[CRH])|^s\)*B\(*[cEF]/],
  ['having or limit', /^s\)*(?:H(?:non|[nf])|L[n,]*[CRF])/],
  ['query as operand', /^s\)*[oap]+\(*(?:E(?:[nsvfFg(A]|w[,M)C])|F|cw)|^s[ap]+\(*f\)?[ap]/],
  ['more columns', /^s(?:,[nswvfgd]){0,20},?(?:,F|,\(+E)|^s(?:,[nsvfgw])+\)*[C]$/],
  ['comparison and comment', /^s\)*k?o\(*[nsudwef,]+\)*C$|^s\)*a[nsv]C$/],
  ['delay', /^s.{0,12}W|^s\)*F(?![su])/],
]

/** Shapes that quoted signs in a sentence have too (`unexpected '<'`): they count where the value begins, up to its first blank. */
const IN_FIRST_STRING: readonly (readonly [name: string, shape: RegExp])[] = [
  ['comparison of strings', /^s\)*(?:[oalp]\(*[sed]e?\)*){1,4}l?$/],
  ['comparison of strings', /^son$|^ss?e$|^snC$/],
]

const BARE: readonly (readonly [name: string, shape: RegExp])[] = [
  ['condition', new RegExp(`^[nsvfg]\\)*[lp]k*\\(*(?:[nsudevfFg](?:a[nsvfg]){0,3}k?ok?${Q}|wk?ok?[nsudevf])\\)*${AFTER}`)],
  ['condition', /^[nsvfgw]?\)*[lp]k*\(*(?:non|so[sued])\)*(?=$|[CR)lpU;BHL])/],
  ['condition', /^[nsvfgw]\)*[lp]k*\(*(?:[fg]\(){0,4}(?:F|[nswvfg]k?o\(*[EcF])|^[nsvfgw]\)*[lp]k*o\([^;]{0,20}F/],
  ['condition', /^[nsvfg]\)*[lp]k*\(*(?:[nv]\)*C|[nf]\)*R)/],
  ['query in condition', /^[nsvfgw]?\)*[lp][kwfg]*\(+E(?!w\))|^[nsvfg]\)*[lp]\(*c|^[nsvfgw]\)*[lp]k*E[^;]*M/],
  // A whole query that unites two is a query, not an injection, until it asks for what only attackers want.
  ['union', /^[^E]*UA?\(*(?:F|EA?(?:[nsvfgF(a]|w[,MC]))/],
  ['union', /^\(*E.*UA?\(*E(?:[^;]*[Fv]|[n,]{3})/],
  ['second statement', /^[nswvfg]?\)*;+\(*(?:D|W|E[nvfFg(aA]|Ew[,M(C])/],
  [
    'query as operand',
    /^[nsvw]\)*k?[oa]\(+E(?!w\))|^[nv]\)*k?[oa]\(*(?:cw|F)|^w\)*k?[oa]\(*(?:cw[ns(]|F)|^[nsvw],(?:F|\(+[Ec])|^[nsv]\)*\(+E[^;]*M|^[nsv]\)+Mw.{0,6}o/,
  ],
  ['query as value', /^\(+EA?[^w;]{0,30}[MF]|^\(*EA?(?:F|v(?!ww))|^\(+E[^;]{1,30}M[^;]{1,12}\)$|^\(*c(?:w\(*(?:non|E)|F)/],
  ['delay', /^\(*F\)*(?:$|C|a)|^[lp]k*\(*F\)*(?:$|[CR;)l])|^[lp]k*nC|^B\(*F|^[nsvfgw]?\)*W|^[nsvfg]\)*F/],
  ['sort or group', /^[nsv]\)*B(?:n(?:,n)*(?:$|[CRH])|[wfg](?:,[nwfg])*C|\(*[cEFf])|^(?:w,w?)?(?:w?B\(?[nw],?)?F$/],
  ['having or limit', /^[nsvw]?\)*Hnon|^[nsv]\)*B[nw,]{1,20}H|^[nsv]\)*Ln(?:,n)*[CF]/],
  ['comment after statement', /^n\)*;+C$|^n\)+C$|^Dw{0,3};C$/],
]

/** A number with a condition that is true or false, and nothing else but what ends the statement. */
const CONSTANT_CONDITION =
  /^\s{0,8}['"]?\d{1,12}['")]{0,4}(?:\s|\/\*.{0,40}?\*\/){1,8}(?:or|and|x?or|\|\||&&)(?:\s|\/\*.{0,40}?\*\/){1,8}(?:not\s{1,8})?(?:true|false)\s{0,8}(?:$|--|#|\/\*)/i
/** A name compared with itself, behind an operand or as what follows one, and nothing else but what ends the statement. */
const SAME_NAMES =
  /^\s{0,8}(?:['"]?[\w-]{1,40}['")]{0,4}\s{1,8}|['"]\)?\s{0,8}|\s{1,8})(?:or|and|xor|\|\||&&)\s{1,8}(?:not\s{1,8})?\(?([a-z_]\w{0,20})\s{0,4}(?:=|like)\s{0,4}\1\)?\s{0,8}(?:$|--|#|\/\*|;)/i
/** A string that is ended, something that is joined to it, and a string begun for what follows: `' || password || '`. */
const JOINED_INTO_STRING = /^[^'"]*(['"])\s*\|\|?[^'"|]+(?:\|\|?[^'"|]+)*\|\|?\s*\1\w*$/
/** Sums in the middle of a string that is ended and begun again: `'-0-'` is 0, which every text is equal to. */
const SUM_IN_STRING = /^[^'"\s]{0,20}(['"])\s{0,4}[-+*^&|]{1,2}\s{0,4}\d{1,8}\s{0,4}[-+*^&|]{1,2}\s{0,4}\1$/
/** A comment is of no use before a number, but to hide from filters where a path or a word ends: a `UNION` that follows tells. */
const UNION_BEHIND_COMMENT = /\*\/\s{0,8}\d{1,12}\s{1,8}union\s{1,8}(?:all|distinct)\b/i

/** A line of a script or a configuration that sets something to nothing. */
const EMPTY_SETTING = /^\s{0,16}(?:[A-Za-z_][A-Za-z0-9_]{2,40}=)?(?:''|"")\s{0,4}$/

/** `such as ' OR '1'='1 by using ...`: the sentence goes on in the last string, which no other is equal to. */
const MENTIONED =
  /^(?:[A-Za-z][\w,.:()-]{0,30} ){4}[^'"]{0,400}'\s{0,2}or\s{1,2}'(\w{1,8})'\s?=\s?'\1 (?:[A-Za-z]{1,20}[ ,.]){2}[^'"]{0,400}$/i

/** The name of the shape that makes a value an injection, or nothing. */
export function sqlInjectionShape(text: string): string | undefined {
  const value = plainQuotes(text)
  if (EMPTY_SETTING.test(value) || MENTIONED.test(value)) return undefined
  if (CONSTANT_CONDITION.test(value) || SAME_NAMES.test(value)) return 'condition'
  if (SUM_IN_STRING.test(value)) return 'joined into a string'
  if (value.includes('|') && JOINED_INTO_STRING.test(value)) return 'joined into a string'
  if (value.includes('*/') && UNION_BEHIND_COMMENT.test(value)) return 'union'
  const bare = judge(foldTokens(sqlTokens(value, 0)), BARE)
  if (bare !== undefined) return bare
  for (const quote of ["'", '"']) {
    const at = firstClosing(value, quote)
    if (at < 0) continue
    const tokens = `s${foldTokens(sqlTokens(value, at + 1))}`
    const shape =
      judge(tokens, IN_STRING) ?? (/\s/.test(value.slice(0, at).trimStart()) ? undefined : judge(tokens, IN_FIRST_STRING))
    if (shape !== undefined) return shape
  }
  return undefined
}

/** Where a string would end: at the first quote that does not begin a word for a command line, as in `unknown option '--fit'`. */
function firstClosing(value: string, quote: string): number {
  let at = value.indexOf(quote)
  while (at > 0 && /^[\s(,[{=]['"]--(?:[A-Za-z]|['"])/.test(value.slice(at - 1, at + 4))) {
    const end = value.indexOf(quote, at + 1)
    at = end < 0 ? -1 : value.indexOf(quote, end + 1)
  }
  return at
}

/** Full-width and modifier apostrophes: some programs on the way map them to the ASCII one. */
function plainQuotes(text: string): string {
  return /[\xef\xca\xe2]/.test(text)
    ? text.replace(/\xef\xbc\x87|\xca[\xb9\xbc]|\xe2\x80\xb2/g, "'").replace(/\xef\xbc\x82/g, '"')
    : text
}

function judge(tokens: string, shapes: readonly (readonly [string, RegExp])[]): string | undefined {
  for (const [name, shape] of shapes) if (shape.test(tokens)) return name
  return undefined
}

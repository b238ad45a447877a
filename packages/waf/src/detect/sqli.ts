/** Is a value SQL that breaks out of where it was put? Looked at as it is, and as if it stood within either quote. */
import { type SqlTokens, tokenizeSql } from './sql-tokens.ts'

/** Longer values are looked at in their first and last part: breaking out is done at the beginning or the end. */
const CHARS_MAX = 4_096

/** Words without which, or signs without which, nothing here can match. */
const WORTH_A_LOOK = /['"`;#*()=<>]|--|\b(?:union|select|and|or|order|having|exec|waitfor|insert|update|delete|drop)\b|&&|\|\|/i

/** A shape over token kinds, with what it means. */
interface Shape {
  readonly name: string
  readonly pattern: RegExp
  /** Which readings it is looked for in: as it is, within quotes, or both. */
  readonly reading: 'bare' | 'quoted' | 'any'
  readonly also?: (tokens: SqlTokens) => boolean
}

const DANGEROUS = new Set([
  'sleep',
  'benchmark',
  'pg_sleep',
  'dbms_pipe',
  'extractvalue',
  'updatexml',
  'load_file',
  'xp_cmdshell',
  'xp_dirtree',
  'utl_http',
  'utl_inaddr',
  'load_extension',
  'lo_import',
  'pg_read_file',
  'randomblob',
  'group_concat',
  'name_const',
  'sqlite_version',
  'make_set',
])

const operand = '[1snvf(]'

const SHAPES: readonly Shape[] = [
  {
    name: 'union select',
    pattern: /U[k(]*E(?=[1snvfok(,])/,
    reading: 'any',
    also: ({ texts, kinds }) => !/^n?U[k(]*En*$/.test(kinds) || texts.includes('all'),
  },
  {
    name: 'select … from',
    pattern: /E(?:k?(?:o|1|s|v|f\()|kn?,|n,)[^;]{0,40}F[n(]/,
    reading: 'any',
    also: ({ texts }) => texts.includes('select'),
  },
  { name: 'nested select', pattern: /\(E[^;]{1,30}(?:F|\))/, reading: 'any', also: ({ texts }) => texts.includes('select') },
  { name: 'tautology after a quote', pattern: new RegExp(`^s\\)*&\\(*o?${operand}[^c]{0,3}o`), reading: 'quoted' },
  { name: 'bare logic after a quote', pattern: /^s\)*&\(*(?:1|s)(?:$|[c;)&])/, reading: 'quoted' },
  {
    name: 'tautology after a value',
    pattern: /^o?[1n)]\)*&\(*o?(?:1o1|sos|1os|so1|1o\(|nosc|f\()/,
    reading: 'bare',
    also: ({ kinds }) => kinds[0] !== 'n' || kinds.length <= 8,
  },
  { name: 'quote, then comment', pattern: /^s\)*[;]?c/, reading: 'quoted', also: ({ texts }) => !/^#[^\s]/.test(texts[1] ?? '') },
  { name: 'stacked statement', pattern: /(?:^[s1n)]\)*|[s1)])[;]E[nF(1vs]/, reading: 'any' },
  {
    name: 'comparison after a quote',
    pattern: /^s\)*o(?:sos|s&|1&|\(E|s$|f\()/,
    reading: 'quoted',
    also: ({ texts }) => /^(=|<>|!=|>=?|<=?|like|<=>|\|\|)$/.test(texts[1] ?? ''),
  },
  {
    name: 'clause after a quote',
    pattern: /^s\)*B[kn1(]/,
    reading: 'quoted',
    also: ({ texts, kinds }) =>
      /^(order|group|having|limit|procedure)$/.test(texts[kinds.indexOf('B')] ?? '') && /[c1]/.test(kinds.slice(2)),
  },
  { name: 'clause with a comment', pattern: /^1\)*B[k]?1(?:,1)*[c;]/, reading: 'bare' },
  { name: 'having', pattern: /^[1s]\)*B1o1/, reading: 'any' },
  {
    name: 'dangerous call',
    pattern: /f\(/,
    reading: 'any',
    also: ({ kinds, texts }) =>
      texts.some((text, i) => kinds[i] === 'f' && kinds[i + 1] === '(' && DANGEROUS.has(text)) && kinds.length > 2,
  },
  { name: 'waitfor delay', pattern: /EF[s(v]/, reading: 'any', also: ({ texts }) => texts.includes('waitfor') },
  {
    name: 'into outfile',
    pattern: /FFs|F[F]v/,
    reading: 'any',
    also: ({ texts }) => texts.includes('outfile') || texts.includes('dumpfile'),
  },
  {
    name: 'call of a procedure',
    pattern: /En?[n]/,
    reading: 'any',
    also: ({ texts }) => texts.some((text) => /^(xp_|sp_oa|master\.)/.test(text)),
  },
]

/** The name of the shape that it has; undefined when it is no injection. */
export function detectSqli(value: string): string | undefined {
  if (!WORTH_A_LOOK.test(value)) return undefined
  if (value.length <= CHARS_MAX) return look(value)
  return look(value.slice(0, CHARS_MAX)) ?? look(value.slice(-CHARS_MAX))
}

function look(value: string): string | undefined {
  const bare = judge(tokenizeSql(value, ''), 'bare')
  if (bare !== undefined) return bare
  for (const quote of ["'", '"'] as const) {
    if (!value.includes(quote)) continue
    const quoted = judge(tokenizeSql(value, quote), 'quoted')
    if (quoted !== undefined) return quoted
  }
  return undefined
}

function judge(tokens: SqlTokens, reading: 'bare' | 'quoted'): string | undefined {
  for (const shape of SHAPES) {
    if (shape.reading !== 'any' && shape.reading !== reading) continue
    if (shape.pattern.test(tokens.kinds) && (shape.also === undefined || shape.also(tokens))) return shape.name
  }
  return undefined
}

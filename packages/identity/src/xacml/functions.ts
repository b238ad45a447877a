/**
 * The standard functions of XACML 3.0 (appendix A.3) on single values and bags, by their identifiers. Those that take functions, and those that
 * need not look at all of their arguments, or that ask for paths, are in `expressions.ts`. Not here: access-permitted.
 */
import { compileTextPattern, PatternRefused } from '@ringwall/waf/api'
import {
  booleanValue,
  dateTimeValue,
  dayMs,
  distinguishedName,
  doubleValue,
  integerValue,
  mod,
  parseValue,
  stringValue,
  TYPES,
  type TypeName,
  type Value,
} from './values.ts'

/** Why something could not be evaluated (section 7.19 and appendix B.8). */
export type StatusCode = 'missing-attribute' | 'syntax-error' | 'processing-error'

export class Indeterminate extends Error {
  override readonly name = 'Indeterminate'
  readonly code: StatusCode
  constructor(code: StatusCode, message: string) {
    super(message)
    this.code = code
  }
}

export interface Kind {
  readonly type: TypeName
  readonly isBag: boolean
}

/** What an expression comes to. */
export type Result = Value | readonly Value[]

export interface FunctionSpec {
  readonly id: string
  readonly parameters: readonly Kind[]
  /** Any number more of these. */
  readonly rest?: Kind
  readonly result: Kind
  /** @throws {Indeterminate} @param spend Called with work that is not one step. */
  call(all: readonly Result[], spend: (work: number) => void): Result
}

const X1 = 'urn:oasis:names:tc:xacml:1.0:function:'
const X2 = 'urn:oasis:names:tc:xacml:2.0:function:'
const X3 = 'urn:oasis:names:tc:xacml:3.0:function:'
const DAY_MS = 86_400_000
const PATTERN_WORK_MAX = 2_000_000
const PATTERNS_MAX = 256
const TEXT_CHARS_MAX = 65_536
const INTEGER_BITS_MAX = 2_048

const one = (type: TypeName): Kind => ({ type, isBag: false })
const bag = (type: TypeName): Kind => ({ type, isBag: true })

const table = new Map<string, FunctionSpec>()

/** Of all ids that it goes by. */
function define(
  ids: string | readonly string[],
  parameters: readonly Kind[],
  result: Kind,
  call: FunctionSpec['call'],
  rest?: Kind,
): void {
  for (const id of typeof ids === 'string' ? [ids] : ids)
    table.set(id, { id, parameters, result, call, ...(rest === undefined ? {} : { rest }) })
}

const single = (result: Result | undefined): Value => result as Value
const many = (result: Result | undefined): readonly Value[] => result as readonly Value[]
const numberOf = (result: Result | undefined): number => single(result).v as number
const bigOf = (result: Result | undefined): bigint => single(result).v as bigint
const textOf = (result: Result | undefined): string => single(result).v as string
const failed = (message: string): Indeterminate => new Indeterminate('processing-error', message)

/** NaN is NaN here, as OASIS's conformance cases have it (IIC350), and as in sets; IEEE 754, which A.3.1 names, says otherwise. */
export const isSame = (a: Value, b: Value): boolean => a.v === b.v || (Number.isNaN(a.v) && Number.isNaN(b.v))

function whole(v: bigint): Value {
  if (v.toString(16).length * 4 > INTEGER_BITS_MAX) throw failed('an integer that is too large')
  return integerValue(v)
}

function text(value: string): Value {
  if (value.length > TEXT_CHARS_MAX) throw failed('a text that is too long')
  return stringValue(value)
}

// Equality (A.3.1).
const DURATIONS: readonly TypeName[] = ['dayTimeDuration', 'yearMonthDuration']
const WITH_EQUAL: readonly TypeName[] = TYPES.filter((type) => type !== 'ipAddress' && type !== 'dnsName')
for (const type of WITH_EQUAL) {
  const ids = DURATIONS.includes(type) ? [`${X3}${type}-equal`, `${X1}${type}-equal`] : `${X1}${type}-equal`
  define(ids, [one(type), one(type)], one('boolean'), ([a, b]) => booleanValue(isSame(single(a), single(b))))
}
define(`${X3}string-equal-ignore-case`, [one('string'), one('string')], one('boolean'), ([a, b]) =>
  booleanValue(textOf(a).toLowerCase() === textOf(b).toLowerCase()),
)

// Arithmetic (A.3.2).
define(
  `${X1}integer-add`,
  [one('integer'), one('integer')],
  one('integer'),
  (all) => whole(all.reduce((sum, each) => sum + bigOf(each), 0n)),
  one('integer'),
)
define(
  `${X1}integer-multiply`,
  [one('integer'), one('integer')],
  one('integer'),
  (all) => all.reduce<Value>((product, each) => whole((product.v as bigint) * bigOf(each)), integerValue(1n)),
  one('integer'),
)
define(`${X1}integer-subtract`, [one('integer'), one('integer')], one('integer'), ([a, b]) => whole(bigOf(a) - bigOf(b)))
const divided = (a: bigint, b: bigint, by: (a: bigint, b: bigint) => bigint): Value => {
  if (b === 0n) throw failed('division by zero')
  return whole(by(a, b))
}
define(`${X1}integer-divide`, [one('integer'), one('integer')], one('integer'), ([a, b]) =>
  divided(bigOf(a), bigOf(b), (x, y) => x / y),
)
define(`${X1}integer-mod`, [one('integer'), one('integer')], one('integer'), ([a, b]) =>
  divided(bigOf(a), bigOf(b), (x, y) => x % y),
)
define(`${X1}integer-abs`, [one('integer')], one('integer'), ([a]) => whole(bigOf(a) < 0n ? -bigOf(a) : bigOf(a)))
define(
  `${X1}double-add`,
  [one('double'), one('double')],
  one('double'),
  (all) => doubleValue(all.reduce((sum, each) => sum + numberOf(each), 0)),
  one('double'),
)
define(
  `${X1}double-multiply`,
  [one('double'), one('double')],
  one('double'),
  (all) => doubleValue(all.reduce((product, each) => product * numberOf(each), 1)),
  one('double'),
)
define(`${X1}double-subtract`, [one('double'), one('double')], one('double'), ([a, b]) => doubleValue(numberOf(a) - numberOf(b)))
define(`${X1}double-divide`, [one('double'), one('double')], one('double'), ([a, b]) => {
  if (numberOf(b) === 0) throw failed('division by zero')
  return doubleValue(numberOf(a) / numberOf(b))
})
define(`${X1}double-abs`, [one('double')], one('double'), ([a]) => doubleValue(Math.abs(numberOf(a))))
// To the even one of two that are as near (fn:round-half-to-even).
define(`${X1}round`, [one('double')], one('double'), ([a]) => {
  const v = numberOf(a)
  const low = Math.floor(v)
  const apart = v - low
  return doubleValue(apart === 0.5 ? (low % 2 === 0 ? low : low + 1) : Math.round(v))
})
define(`${X1}floor`, [one('double')], one('double'), ([a]) => doubleValue(Math.floor(numberOf(a))))

// Strings, conversions (A.3.3, A.3.4, A.3.9).
define(`${X1}string-normalize-space`, [one('string')], one('string'), ([a]) =>
  text(textOf(a).replaceAll(/^[ \t\r\n]+|[ \t\r\n]+$/g, '')),
)
define(`${X1}string-normalize-to-lower-case`, [one('string')], one('string'), ([a]) => text(textOf(a).toLowerCase()))
define(`${X1}double-to-integer`, [one('double')], one('integer'), ([a]) => {
  if (!Number.isFinite(numberOf(a))) throw failed('no integer is near')
  return whole(BigInt(Math.trunc(numberOf(a))))
})
define(`${X1}integer-to-double`, [one('integer')], one('double'), ([a]) => doubleValue(Number(bigOf(a))))
define(
  `${X2}string-concatenate`,
  [one('string'), one('string')],
  one('string'),
  (all) => text(all.map(textOf).join('')),
  one('string'),
)
const CONVERTED = TYPES.filter((type) => type !== 'string' && type !== 'hexBinary' && type !== 'base64Binary')
for (const type of CONVERTED) {
  define(`${X3}${type}-from-string`, [one('string')], one(type), ([a]) => {
    const value = parseValue(type, textOf(a))
    if (value === undefined) throw new Indeterminate('syntax-error', `${JSON.stringify(textOf(a).slice(0, 60))} is no ${type}`)
    return value
  })
  define(`${X3}string-from-${type}`, [one(type)], one('string'), ([a]) => text(single(a).text))
}
for (const type of ['string', 'anyURI'] as const) {
  // The first argument is what is looked for.
  define(`${X3}${type}-starts-with`, [one('string'), one(type)], one('boolean'), ([a, b]) =>
    booleanValue(textOf(b).startsWith(textOf(a))),
  )
  define(`${X3}${type}-ends-with`, [one('string'), one(type)], one('boolean'), ([a, b]) =>
    booleanValue(textOf(b).endsWith(textOf(a))),
  )
  define(`${X3}${type}-contains`, [one('string'), one(type)], one('boolean'), ([a, b], spend) => {
    spend(1 + textOf(b).length / 64)
    return booleanValue(textOf(b).includes(textOf(a)))
  })
  define(`${X3}${type}-substring`, [one(type), one('integer'), one('integer')], one('string'), ([a, b, c]) => {
    const characters = textOf(a)
    const [from, to] = [bigOf(b), bigOf(c) === -1n ? BigInt(characters.length) : bigOf(c)]
    if (from < 0n || to > BigInt(characters.length) || from > to) throw failed('the substring is not within the text')
    return text(characters.slice(Number(from), Number(to)))
  })
}

// Logic: `and`, `or` and `n-of` do not look at all, and are elsewhere (A.3.5).
define(`${X1}not`, [one('boolean')], one('boolean'), ([a]) => booleanValue(single(a).v !== true))

// Comparisons (A.3.6, A.3.8).
const COMPARISONS = {
  'greater-than': (a: Value, b: Value): boolean => a.v > b.v,
  'greater-than-or-equal': (a: Value, b: Value): boolean => a.v >= b.v,
  'less-than': (a: Value, b: Value): boolean => a.v < b.v,
  'less-than-or-equal': (a: Value, b: Value): boolean => a.v <= b.v,
}
for (const type of ['integer', 'double', 'string', 'time', 'dateTime', 'date'] as const)
  for (const [name, holds] of Object.entries(COMPARISONS))
    define(`${X1}${type}-${name}`, [one(type), one(type)], one('boolean'), ([a, b]) => booleanValue(holds(single(a), single(b))))
define(`${X2}time-in-range`, [one('time'), one('time'), one('time')], one('boolean'), ([a, b, c]) => {
  // Bounds without a time zone have that of the first (A.3.8).
  const at = single(a)
  const inUtc = ({ v, zone }: Value): number => (zone === undefined ? (v as number) - (at.zone ?? 0) * 60_000 : (v as number))
  const low = inUtc(single(b))
  return booleanValue(mod((at.v as number) - low, DAY_MS) <= mod(inUtc(single(c)) - low, DAY_MS))
})

// Dates and durations (A.3.7).
function shifted({ type, v, zone }: Value, months: number): Value {
  const local = new Date((v as number) + (zone ?? 0) * 60_000)
  const total = local.getUTCFullYear() * 12 + local.getUTCMonth() + months
  const [year, month] = [Math.floor(total / 12), mod(total, 12) + 1]
  let day = local.getUTCDate()
  while (day > 28 && dayMs(year, month, day) === undefined) day -= 1
  const start = dayMs(year, month, day)
  const made = start === undefined ? undefined : start + mod(local.getTime(), DAY_MS) - (zone ?? 0) * 60_000
  return checkedDate(type as 'dateTime' | 'date', made, zone)
}

function checkedDate(type: 'dateTime' | 'date', v: number | undefined, zone: number | undefined): Value {
  // What Date has.
  if (v === undefined || !Number.isFinite(v) || Math.abs(v) > 8.6e15) throw failed('a date that is too far off')
  return dateTimeValue(type, v, zone)
}
for (const [name, sign] of [
  ['add', 1],
  ['subtract', -1],
] as const) {
  const dayTime = ['dateTime', 'dayTimeDuration'] as const
  define(
    [`${X3}dateTime-${name}-dayTimeDuration`, `${X1}dateTime-${name}-dayTimeDuration`],
    dayTime.map(one),
    one('dateTime'),
    ([a, b]) => checkedDate('dateTime', numberOf(a) + sign * numberOf(b), single(a).zone),
  )
  for (const type of ['dateTime', 'date'] as const)
    define(
      [`${X3}${type}-${name}-yearMonthDuration`, `${X1}${type}-${name}-yearMonthDuration`],
      [one(type), one('yearMonthDuration')],
      one(type),
      ([a, b]) => shifted(single(a), sign * numberOf(b)),
    )
}

// Bags and sets (A.3.10, A.3.11).
const has = (all: readonly Value[], wanted: Value): boolean => all.some((each) => isSame(each, wanted))
const distinct = (all: readonly Value[]): readonly Value[] => [...new Map(all.map((each) => [each.v, each])).values()]
for (const type of TYPES) {
  const prefixes = DURATIONS.includes(type) ? [X3, X1] : type === 'ipAddress' || type === 'dnsName' ? [X2] : [X1]
  const ids = (name: string): readonly string[] => prefixes.map((prefix) => `${prefix}${type}-${name}`)
  define(ids('one-and-only'), [bag(type)], one(type), ([a]) => {
    const [value, ...others] = many(a)
    if (value === undefined || others.length > 0) throw failed(`${many(a).length} values where one and only is expected`)
    return value
  })
  define(ids('bag-size'), [bag(type)], one('integer'), ([a]) => integerValue(BigInt(many(a).length)))
  define(ids('bag'), [], bag(type), (all) => all.map(single), one(type))
  if (!WITH_EQUAL.includes(type)) continue
  define(ids('is-in'), [one(type), bag(type)], one('boolean'), ([a, b], spend) => {
    spend(many(b).length)
    return booleanValue(has(many(b), single(a)))
  })
  const onSets = (
    name: string,
    result: Kind,
    call: (a: ReadonlySet<Value['v']>, b: ReadonlySet<Value['v']>, all: readonly Value[], others: readonly Value[]) => Result,
  ): void =>
    define(ids(name), [bag(type), bag(type)], result, ([a, b], spend) => {
      spend(many(a).length + many(b).length)
      return call(new Set(many(a).map(({ v }) => v)), new Set(many(b).map(({ v }) => v)), many(a), many(b))
    })
  onSets('intersection', bag(type), (_, b, all) => distinct(all.filter(({ v }) => b.has(v))))
  onSets('union', bag(type), (_a, _b, all, others) => distinct([...all, ...others]))
  onSets('at-least-one-member-of', one('boolean'), (a, b) => booleanValue([...a].some((v) => b.has(v))))
  onSets('subset', one('boolean'), (a, b) => booleanValue([...a].every((v) => b.has(v))))
  onSets('set-equals', one('boolean'), (a, b) => booleanValue(a.size === b.size && [...a].every((v) => b.has(v))))
}

// Patterns (A.3.13).
const patterns = new Map<string, ReturnType<typeof compileTextPattern>>()

/** What is wrong with a pattern of XML Schema; undefined: nothing. Look-around, back-references, \i, \c and subtraction are not taken. */
export function patternFault(source: string): string | undefined {
  try {
    if (/\[[^\]]*-\[/.test(source) || /\\[ic]/i.test(source.replaceAll('\\\\', '')))
      return 'classes that subtract, \\i and \\c are not taken'
    compileTextPattern(source)
    return undefined
  } catch (error) {
    if (error instanceof PatternRefused) return error.message
    throw error
  }
}

function matches(source: string, characters: string, spend: (work: number) => void): Value {
  let pattern = patterns.get(source)
  if (pattern === undefined) {
    const fault = patternFault(source)
    if (fault !== undefined)
      throw new Indeterminate('syntax-error', `the pattern ${JSON.stringify(source.slice(0, 60))}: ${fault}`)
    pattern = compileTextPattern(source)
    if (patterns.size >= PATTERNS_MAX) patterns.clear()
    patterns.set(source, pattern)
  }
  spend(1 + characters.length / 16)
  const found = pattern.matches(characters, { work: 0, building: 0 }, PATTERN_WORK_MAX)
  if (found === undefined) throw failed('a pattern that takes too long')
  return booleanValue(found)
}
define(`${X1}string-regexp-match`, [one('string'), one('string')], one('boolean'), ([a, b], spend) =>
  matches(textOf(a), textOf(b), spend),
)
for (const type of ['anyURI', 'ipAddress', 'dnsName', 'rfc822Name', 'x500Name'] as const)
  define(`${X2}${type}-regexp-match`, [one('string'), one(type)], one('boolean'), ([a, b], spend) =>
    matches(textOf(a), single(b).text, spend),
  )

// Special matching (A.3.14).
define(`${X1}x500Name-match`, [one('x500Name'), one('x500Name')], one('boolean'), ([a, b]) => {
  const [end, name] = [distinguishedName(single(a).text) ?? [], distinguishedName(single(b).text) ?? []]
  return booleanValue(end.length <= name.length && end.every((part, i) => part === name[name.length - end.length + i]))
})
define(`${X1}rfc822Name-match`, [one('string'), one('rfc822Name')], one('boolean'), ([a, b]) => {
  const wanted = textOf(a)
  const name = textOf(b)
  const domain = name.slice(name.lastIndexOf('@') + 1)
  const at = wanted.lastIndexOf('@')
  if (at >= 0) return booleanValue(`${wanted.slice(0, at)}@${wanted.slice(at + 1).toLowerCase()}` === name)
  const lower = wanted.toLowerCase()
  return booleanValue(lower.startsWith('.') ? domain.endsWith(lower) : domain === lower)
})

/** By identifier. */
export const FUNCTIONS: ReadonlyMap<string, FunctionSpec> = table

/**
 * The data types of XACML 3.0 (appendix A.2 and B.3), each value once in a form that can be compared: two values are equal when their `v` are.
 * Dates and times without a time zone are taken as UTC (section 10.2.5 leaves it to the implementation).
 */
import { parseAddress, parsePrefix } from '@ringwall/ring'

const XS = 'http://www.w3.org/2001/XMLSchema#'
export const TYPE_IDS = {
  string: `${XS}string`,
  boolean: `${XS}boolean`,
  integer: `${XS}integer`,
  double: `${XS}double`,
  time: `${XS}time`,
  date: `${XS}date`,
  dateTime: `${XS}dateTime`,
  dayTimeDuration: `${XS}dayTimeDuration`,
  yearMonthDuration: `${XS}yearMonthDuration`,
  anyURI: `${XS}anyURI`,
  hexBinary: `${XS}hexBinary`,
  base64Binary: `${XS}base64Binary`,
  rfc822Name: 'urn:oasis:names:tc:xacml:1.0:data-type:rfc822Name',
  x500Name: 'urn:oasis:names:tc:xacml:1.0:data-type:x500Name',
  ipAddress: 'urn:oasis:names:tc:xacml:2.0:data-type:ipAddress',
  dnsName: 'urn:oasis:names:tc:xacml:2.0:data-type:dnsName',
} as const
export type TypeName = keyof typeof TYPE_IDS
export const TYPES = Object.keys(TYPE_IDS) as readonly TypeName[]

const BY_ID = new Map<string, TypeName>([
  ...TYPES.map((name) => [TYPE_IDS[name], name] as const),
  // As XACML 2.0 wrote them.
  ['http://www.w3.org/TR/2002/WD-xquery-operators-20020816#dayTimeDuration', 'dayTimeDuration'],
  ['http://www.w3.org/TR/2002/WD-xquery-operators-20020816#yearMonthDuration', 'yearMonthDuration'],
])

export function typeOf(id: string): TypeName | undefined {
  return BY_ID.get(id)
}

export interface Value {
  readonly type: TypeName
  /** Of times: milliseconds, of an instant in UTC or of the day; of durations milliseconds or months. */
  readonly v: string | boolean | bigint | number
  /** Of what has one: minutes east of UTC. */
  readonly zone?: number | undefined
  /** As it is written. */
  readonly text: string
}

const DAY_MS = 86_400_000
const INTEGER_CHARS_MAX = 512
const VALUE_CHARS_MAX = 65_536
const ZONE = '(Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?'
const DATE = '(-?[0-9]{4,6})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])'
const CLOCK = '([01][0-9]|2[0-4]):([0-5][0-9]):([0-5][0-9](?:\\.[0-9]{1,9})?)'
const DATE_FORM = new RegExp(`^${DATE}${ZONE}$`)
const TIME_FORM = new RegExp(`^${CLOCK}${ZONE}$`)
const DATE_TIME_FORM = new RegExp(`^${DATE}T${CLOCK}${ZONE}$`)
const DAY_TIME_FORM = /^(-?)P(?:([0-9]{1,9})D)?(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9}(?:\.[0-9]{1,9})?)S)?)?$/
const YEAR_MONTH_FORM = /^(-?)P(?:([0-9]{1,9})Y)?(?:([0-9]{1,9})M)?$/
const DOUBLE_FORM = /^[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,4})?$/
const RFC822_FORM = /^([^@\s]{1,320})@([A-Za-z0-9.-]{1,255})$/
const PORTS = '(?::(?:[0-9]{1,5}|[0-9]{1,5}-[0-9]{0,5}|-[0-9]{1,5}))?'
const DNS_FORM = new RegExp(`^(?:\\*\\.)?[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\\.[A-Za-z0-9-]{1,63}){0,127}${PORTS}$`)
const IP_FORM = new RegExp(`^(?:\\[([0-9A-Fa-f:.]+)\\](?:/\\[([0-9A-Fa-f:.]+)\\])?|([0-9.]+)(?:/([0-9.]+))?)${PORTS}$`)

/** Undefined: it is none. Blanks around what is no string are nothing (XML Schema part 2, section 4.3.6). */
export function parseValue(type: TypeName, given: string): Value | undefined {
  if (given.length > VALUE_CHARS_MAX) return undefined
  if (type === 'string') return { type, v: given, text: given }
  const text = given.replaceAll(/^[ \t\r\n]+|[ \t\r\n]+$/g, '')
  return PARSERS[type](text)
}

const PARSERS: Readonly<Record<Exclude<TypeName, 'string'>, (text: string) => Value | undefined>> = {
  boolean: (text) => (/^(?:true|false|0|1)$/.test(text) ? booleanValue(text === 'true' || text === '1') : undefined),
  integer: (text) =>
    /^[+-]?[0-9]+$/.test(text) && text.length <= INTEGER_CHARS_MAX ? integerValue(BigInt(text.replace(/^\+/, ''))) : undefined,
  double: (text) => {
    const special = { INF: Number.POSITIVE_INFINITY, '-INF': Number.NEGATIVE_INFINITY, NaN: Number.NaN }
    if (Object.hasOwn(special, text)) return doubleValue(special[text as keyof typeof special])
    return DOUBLE_FORM.test(text) ? doubleValue(Number(text)) : undefined
  },
  time: (text) => {
    const [, hour, minute, second, zone] = TIME_FORM.exec(text) ?? []
    if (hour === undefined) return undefined
    const offset = zoneOf(zone)
    const ms = clockMs(hour, minute!, second!)
    return ms === undefined ? undefined : { type: 'time', v: mod(ms, DAY_MS) - (offset ?? 0) * 60_000, zone: offset, text }
  },
  date: (text) => {
    const [, year, month, day, zone] = DATE_FORM.exec(text) ?? []
    const at = year === undefined ? undefined : dayMs(Number(year), Number(month), Number(day))
    const offset = zoneOf(zone)
    return at === undefined ? undefined : { type: 'date', v: at - (offset ?? 0) * 60_000, zone: offset, text }
  },
  dateTime: (text) => {
    const [, year, month, day, hour, minute, second, zone] = DATE_TIME_FORM.exec(text) ?? []
    const at = year === undefined ? undefined : dayMs(Number(year), Number(month), Number(day))
    const clock = at === undefined ? undefined : clockMs(hour!, minute!, second!)
    const offset = zoneOf(zone)
    return at === undefined || clock === undefined
      ? undefined
      : { type: 'dateTime', v: at + clock - (offset ?? 0) * 60_000, zone: offset, text }
  },
  dayTimeDuration: (text) => {
    const [, sign, days, hours, minutes, seconds] = DAY_TIME_FORM.exec(text) ?? []
    if (sign === undefined || text.endsWith('T') || text.endsWith('P')) return undefined
    const ms =
      Number(days ?? 0) * DAY_MS + Number(hours ?? 0) * 3_600_000 + Number(minutes ?? 0) * 60_000 + Number(seconds ?? 0) * 1_000
    return { type: 'dayTimeDuration', v: sign === '' ? ms : 0 - ms, text }
  },
  yearMonthDuration: (text) => {
    const [, sign, years, months] = YEAR_MONTH_FORM.exec(text) ?? []
    if (sign === undefined || text.endsWith('P')) return undefined
    const count = Number(years ?? 0) * 12 + Number(months ?? 0)
    return { type: 'yearMonthDuration', v: sign === '' ? count : 0 - count, text }
  },
  anyURI: (text) => (/[\s<>"{}|\\^`]/.test(text) ? undefined : { type: 'anyURI', v: text, text }),
  hexBinary: (text) =>
    /^(?:[0-9A-Fa-f]{2})*$/.test(text) ? { type: 'hexBinary', v: text.toUpperCase(), text: text.toUpperCase() } : undefined,
  base64Binary: (text) => {
    const plain = text.replaceAll(/[ \t\r\n]/g, '')
    if (!/^[A-Za-z0-9+/]*={0,2}$/.test(plain) || plain.length % 4 !== 0) return undefined
    return { type: 'base64Binary', v: plain, text: plain }
  },
  rfc822Name: (text) => {
    const [, local, domain] = RFC822_FORM.exec(text) ?? []
    return local === undefined ? undefined : { type: 'rfc822Name', v: `${local}@${domain!.toLowerCase()}`, text }
  },
  x500Name: (text) => {
    const names = distinguishedName(text)
    return names === undefined ? undefined : { type: 'x500Name', v: names.join(','), text }
  },
  ipAddress: (text) => {
    const [, v6, mask6, v4, mask4] = IP_FORM.exec(text) ?? []
    const address = v6 ?? v4
    const mask = mask6 ?? mask4
    if (address === undefined || parseAddress(address) === undefined) return undefined
    if (mask !== undefined && parseAddress(mask) === undefined && parsePrefix(`${address}/${mask}`) === undefined)
      return undefined
    return { type: 'ipAddress', v: text.toLowerCase(), text }
  },
  dnsName: (text) => (DNS_FORM.test(text) ? { type: 'dnsName', v: text.toLowerCase(), text } : undefined),
}

export const stringValue = (v: string): Value => ({ type: 'string', v, text: v })
export const booleanValue = (v: boolean): Value => ({ type: 'boolean', v, text: String(v) })
export const integerValue = (v: bigint): Value => ({ type: 'integer', v, text: String(v) })
export function doubleValue(v: number): Value {
  const text = Number.isNaN(v)
    ? 'NaN'
    : v === Number.POSITIVE_INFINITY
      ? 'INF'
      : v === Number.NEGATIVE_INFINITY
        ? '-INF'
        : String(v)
  return { type: 'double', v, text }
}

/** @param v UTC. */
export function dateTimeValue(type: 'dateTime' | 'date' | 'time', v: number, zone: number | undefined): Value {
  const local = v + (zone ?? 0) * 60_000
  const made = new Date(local)
  const [year, rest] = [made.getUTCFullYear(), made.toISOString().replace(/^[^T]*?(-[0-9]{2}-[0-9]{2}T)/, '$1')]
  const signed = `${year < 0 ? '-' : ''}${String(Math.abs(year)).padStart(4, '0')}`
  const [day, clock] = `${signed}${rest}`.replace('Z', '').split('T') as [string, string]
  const suffix =
    zone === undefined
      ? ''
      : zone === 0
        ? 'Z'
        : `${zone < 0 ? '-' : '+'}${twoDigits(Math.floor(Math.abs(zone) / 60))}:${twoDigits(Math.abs(zone) % 60)}`
  const text = type === 'date' ? day : type === 'time' ? clock.replace(/\.000$/, '') : `${day}T${clock.replace(/\.000$/, '')}`
  return { type, v, zone, text: `${text}${suffix}` }
}

const twoDigits = (value: number): string => String(value).padStart(2, '0')

export function mod(value: number, by: number): number {
  return ((value % by) + by) % by
}

function zoneOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (text === 'Z') return 0
  const minutes = Number(text.slice(1, 3)) * 60 + Number(text.slice(4, 6))
  return text.startsWith('-') ? 0 - minutes : minutes
}

function clockMs(hour: string, minute: string, second: string): number | undefined {
  const ms = Number(hour) * 3_600_000 + Number(minute) * 60_000 + Math.round(Number(second) * 1_000)
  return ms > DAY_MS ? undefined : ms
}

/** Undefined: there is no such day. */
export function dayMs(year: number, month: number, day: number): number | undefined {
  const made = new Date(0)
  made.setUTCFullYear(year, month - 1, day)
  return made.getUTCMonth() === month - 1 && made.getUTCDate() === day ? made.getTime() : undefined
}

/** RFC 2253 relative names, each normalized as appendix A.3.1 has it compared; undefined for anything else. The most significant one is last. */
export function distinguishedName(text: string): readonly string[] | undefined {
  if (text === '') return []
  const parts = splitUnescaped(text, /[,;]/)
  const names = parts.map((part) => {
    const pairs = splitUnescaped(part, /\+/).map((pair) => {
      const [, type, value] = /^\s*([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*)\s*=\s*(.*?)\s*$/s.exec(pair) ?? []
      return type === undefined
        ? undefined
        : `${(type ?? '').toLowerCase()}=${(value ?? '').toLowerCase().replaceAll(/\s+/g, ' ')}`
    })
    return pairs.includes(undefined) ? undefined : (pairs as string[]).sort().join('+')
  })
  return names.includes(undefined) ? undefined : (names as string[])
}

function splitUnescaped(text: string, at: RegExp): readonly string[] {
  const parts: string[] = []
  let [from, isQuoted] = [0, false]
  for (let i = 0; i < text.length; i += 1) {
    const character = text[i] as string
    if (character === '\\') i += 1
    else if (character === '"') isQuoted = !isQuoted
    else if (!isQuoted && at.test(character)) {
      parts.push(text.slice(from, i))
      from = i + 1
    }
  }
  parts.push(text.slice(from))
  return parts
}

/** Formats of texts (JSON Schema draft 2020-12 validation, section 7.3; OpenAPI 3.1 section 4.4). Linear in the text. */
import type { Format } from './types.ts'

const TEXT_CHARS_MAX = 8_192
const DATE = /^(\d{4})-(\d{2})-(\d{2})$/
const TIME = /^(\d{2}):(\d{2}):(\d{2})(?:\.\d+)?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/
/** RFC 3339 appendix A: no fractions, no unit skipped. */
const DURATION =
  /^P(?:\d+W|(?:\d+Y(?:\d+M(?:\d+D)?)?|\d+M(?:\d+D)?|\d+D)(?:T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S))?|T(?:\d+H(?:\d+M(?:\d+S)?)?|\d+M(?:\d+S)?|\d+S))$/
const DAYS = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
/** Dot-atom or quoted-free local part (RFC 5321 section 4.1.2), without quoted strings and comments: those hide things. */
const LOCAL = /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/
/** RFC 3986 section 3; in brackets only what an IP literal holds. */
const URI =
  /^[A-Za-z][A-Za-z0-9+.-]*:(?:\/\/(?:(?:[A-Za-z0-9._~!$&'()*+,;=:-]|%[0-9A-Fa-f]{2})*@)?(?:\[([0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]|(?:[A-Za-z0-9._~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::\d*)?(?=[/?#]|$)|(?!\/\/))(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*(?:\?(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?(?:#(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*)?$/
const UUID = /^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$/
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/

function isDate(text: string): boolean {
  const match = DATE.exec(text)
  if (match === null) return false
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])]
  if (month < 1 || month > 12 || day < 1 || day > DAYS[month - 1]!) return false
  return month !== 2 || day < 29 || (year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0))
}

/** RFC 3339 section 5.6; a leap second stands at 23:59:60 UTC only. */
function isTime(text: string): boolean {
  const match = TIME.exec(text)
  if (match === null) return false
  const [hour, minute, second] = [Number(match[1]), Number(match[2]), Number(match[3])]
  const [zoneHour, zoneMinute] = [Number(match[5] ?? 0), Number(match[6] ?? 0)]
  if (hour > 23 || minute > 59 || second > 60 || zoneHour > 23 || zoneMinute > 59) return false
  if (second < 60) return true
  const shift = (match[4] === '-' ? 1 : -1) * (zoneHour * 60 + zoneMinute)
  return (hour * 60 + minute + shift + 2_880) % 1_440 === 1_439
}

/** Hyphens in the third and fourth place are kept for A-labels (RFC 5891 section 4.2.3.1), whose insides are not read. */
function isHostname(text: string): boolean {
  const isLabel = (label: string): boolean => LABEL.test(label) && (label.slice(2, 4) !== '--' || /^xn--/i.test(label))
  return text.length <= 253 && text.split('.').every(isLabel)
}

function isUri(text: string): boolean {
  const match = URI.exec(text)
  if (match === null) return false
  const literal = match[1]
  return literal === undefined || /^v/i.test(literal) || isIpv6(literal)
}

function isIpv4(text: string): boolean {
  const parts = text.split('.')
  return parts.length === 4 && parts.every((part) => /^(?:0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255)
}

/** RFC 4291 section 2.2. */
function isIpv6(text: string): boolean {
  if (text.length > 45) return false
  const halves = text.split('::')
  if (halves.length > 2) return false
  let groups = 0
  for (const [at, half] of halves.entries()) {
    if (half === '') continue
    const parts = half.split(':')
    for (const [index, part] of parts.entries()) {
      const last = at === halves.length - 1 && index === parts.length - 1
      if (last && part.includes('.')) {
        if (!isIpv4(part)) return false
        groups += 2
      } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups += 1
      else return false
    }
  }
  return halves.length === 2 ? groups < 8 : groups === 8
}

function isEmail(text: string): boolean {
  const sign = text.lastIndexOf('@')
  return sign > 0 && sign <= 64 && LOCAL.test(text.slice(0, sign)) && isHostname(text.slice(sign + 1))
}

const TEXT_FORMATS: Readonly<Partial<Record<Format, (text: string) => boolean>>> = {
  date: isDate,
  time: isTime,
  'date-time': (text) => (text[10] === 'T' || text[10] === 't') && isDate(text.slice(0, 10)) && isTime(text.slice(11)),
  duration: (text) => DURATION.test(text),
  email: isEmail,
  hostname: isHostname,
  ipv4: isIpv4,
  ipv6: isIpv6,
  uri: isUri,
  uuid: (text) => UUID.test(text),
}

/** Texts longer than anything of the kind are refused unread, but for `byte`, which may be long. */
export function hasTextFormat(format: Format, text: string): boolean {
  if (format === 'byte') return text.length % 4 === 0 && BASE64.test(text)
  const test = TEXT_FORMATS[format]
  return test === undefined || (text.length <= TEXT_CHARS_MAX && test(text))
}

export function hasNumberFormat(format: Format, value: number): boolean {
  if (format === 'int32') return Number.isInteger(value) && value >= -2_147_483_648 && value <= 2_147_483_647
  return format !== 'int64' || Number.isSafeInteger(value)
}

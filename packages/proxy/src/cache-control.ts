/** `Cache-Control` (RFC 9111 section 5.2), read so that what is written badly is never kept longer for it. Pure. */

/** Directives by name, in lower case, with their argument. */
export type Directives = ReadonlyMap<string, string | undefined>

/** Of a longer field nothing but this much is read, and the answer is not kept. */
const CHARS_MAX = 4_096
const SECONDS_MAX = 2 ** 31
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y
const QUOTED = /"((?:[^"\\]|\\.)*)"/y
const DIGITS = /^[0-9]+$/

/** Does an answer invite caches between us and the client to keep it? They may keep what we add to it as well. */
export function invitesKeeping(rawHeaders: readonly string[]): boolean {
  const directives = directivesOf(valuesOf(rawHeaders, 'cache-control'))
  if (directives.has('private') || directives.has('no-store') || directives.has('no-cache')) return false
  return (
    directives.has('public') ||
    directives.has('max-age') ||
    directives.has('s-maxage') ||
    valuesOf(rawHeaders, 'expires').length > 0
  )
}

/** @param values Of all lines of the field, in order. */
export function directivesOf(values: readonly string[]): Directives {
  const found = new Map<string, string | undefined>()
  if (values.reduce((sum, { length }) => sum + length, 0) > CHARS_MAX) return new Map([['no-store', undefined]])
  // Each by itself: a quote that one leaves open hides nothing in the next.
  for (const text of values) readInto(found, text)
  return found
}

function readInto(found: Map<string, string | undefined>, text: string): void {
  let at = 0
  while (at < text.length) {
    while (text[at] === ' ' || text[at] === '\t') at++
    TOKEN.lastIndex = at
    const name = TOKEN.exec(text)?.[0].toLowerCase()
    if (name !== undefined) {
      at += name.length
      let argument: string | undefined
      if (text[at] === '=') {
        at++
        QUOTED.lastIndex = at
        TOKEN.lastIndex = at
        const quoted = QUOTED.exec(text)
        argument = quoted === null ? (TOKEN.exec(text)?.[0] ?? '') : quoted[1]!
        at += quoted === null ? argument.length : quoted[0].length
      }
      found.set(name, found.has(name) ? lesser(found.get(name), argument) : argument)
    }
    // Whatever else stands here belongs to this directive, and is not understood.
    const rest = at
    at = text.indexOf(',', at)
    const end = at < 0 ? text.length : at
    if (name !== undefined && text.slice(rest, end).trim() !== '' && found.get(name) !== undefined) found.set(name, '')
    at = end + 1
  }
}

/** Of a directive that is there twice, what keeps for less long (section 4.2.1). */
function lesser(one: string | undefined, other: string | undefined): string | undefined {
  if (one === undefined || other === undefined) return undefined
  return (secondsOf(one) ?? 0) <= (secondsOf(other) ?? 0) ? one : other
}

function secondsOf(text: string): number | undefined {
  return DIGITS.test(text) ? Math.min(Number(text), SECONDS_MAX) : undefined
}

/** The argument as seconds; 0 when it is no number (section 4.2.1: then it is stale); undefined without the directive. */
export function secondsIn(directives: Directives, name: string): number | undefined {
  if (!directives.has(name)) return undefined
  const text = directives.get(name)
  return text === undefined ? 0 : (secondsOf(text) ?? 0)
}

/** The values of all lines of a field. @param fields Names and values in turn. @param name In lower case. */
export function valuesOf(fields: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let at = 0; at < fields.length; at += 2) {
    const each = fields[at]!
    if (each.length === name.length && each.toLowerCase() === name) values.push(fields[at + 1]!)
  }
  return values
}

/** Unix milliseconds of an HTTP date (RFC 9110 section 5.6.7); undefined for what is none, and for two of them. */
export function dateOf(fields: readonly string[], name: string): number | undefined {
  const [value, ...more] = valuesOf(fields, name)
  return value === undefined || more.length > 0 ? undefined : parseDate(value)
}

const DATE =
  /^(?:[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]+, \d{2}-[A-Z][a-z]{2}-\d{2} \d{2}:\d{2}:\d{2} GMT|[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d{2}:\d{2}:\d{2} \d{4})$/

export function parseDate(text: string): number | undefined {
  if (!DATE.test(text)) return undefined
  const ms = Date.parse(text.endsWith('GMT') ? text : `${text} GMT`)
  return Number.isNaN(ms) ? undefined : ms
}

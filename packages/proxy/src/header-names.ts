/** Header names, lower-cased once: names repeat over requests, so a bounded memory spares the work and the garbage. */

const KNOWN_MAX = 2_048
const NAME_LENGTH_MAX = 256
const known = new Map<string, string>()
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** In lower case; undefined when it is no token (RFC 9110 section 5.6.2) or over 256 characters. */
export function lowerName(name: string): string | undefined {
  const found = known.get(name)
  if (found !== undefined) return found
  if (name.length > NAME_LENGTH_MAX || !TOKEN.test(name)) return undefined
  const own = detached(name)
  const lower = own.toLowerCase()
  // Full of an attacker's inventions: start over rather than serve everyone else the slow way for good.
  if (known.size >= KNOWN_MAX) known.clear()
  known.set(own, lower)
  return lower
}

/**
 * The same text without what it was cut from: a slice keeps the whole header section in memory for as long as it lives
 * itself. For Latin-1 texts that outlive their request.
 */
export function detached(text: string): string {
  return text.length < SLICE_LENGTH_MIN ? text : Buffer.from(text, 'latin1').toString('latin1')
}

/** V8 copies shorter slices. */
const SLICE_LENGTH_MIN = 13

/** Meaningful for one connection only (RFC 9110 section 7.6.1), or ours to write. */
export const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** Without optional whitespace (RFC 9110 section 5.6.3): blanks and tabs, not what else JavaScript takes for a space. */
export function trimOws(text: string): string {
  let from = 0
  let to = text.length
  while (from < to && isOws(text.charCodeAt(from))) from++
  while (to > from && isOws(text.charCodeAt(to - 1))) to--
  return text.slice(from, to)
}

function isOws(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** The names that a `Connection` value lists, in lower case. */
export function connectionTokens(value: string): string[] {
  return value
    .split(',')
    .map((token) => trimOws(token).toLowerCase())
    .filter((token) => token !== '')
}

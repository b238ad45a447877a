/**
 * The path that routing goes by. A target can spell one resource in many ways; a route that refuses or limits must hold
 * for all of them, so spellings are folded here, and those that servers read differently are told apart below.
 */

/** Longest target read, UTF-16 code units; the proxy's own bound is lower. */
const TARGET_CHARS_MAX = 65_536
const SUSPECT = /[%;\\]|\/\/|\/\./
/** What would show a server's own reading: an encoded separator. */
const ENCODED_SLASH = /%2f/i
/** Letters, digits, hyphen, dot, underscore and tilde (RFC 3986 section 2.3), encoded. */
const ENCODED_UNRESERVED = /%(?:2[de]|3[0-9]|[46][1-9a-f]|5[0-9af]|7[0-9ae])/i

/**
 * Percent-decodes once, drops segment parameters (`;x=1`, RFC 3986 section 3.3), joins repeated slashes and resolves dot
 * segments (section 5.2.4).
 *
 * @param target As on the wire: origin form, or absolute form; `*` gives `*`.
 * @returns undefined when the target is none of these or holds a backslash, a control character, or an encoding that is
 *   not UTF-8, raw or encoded: refuse it with 400.
 */
export function normalizeRoutingPath(target: string): { readonly path: string } | undefined {
  const raw = rawPath(target)
  if (raw === undefined) return undefined
  if (raw === '*') return { path: '*' }
  if (!SUSPECT.test(raw)) return hasControl(raw) ? undefined : { path: raw }
  const decoded = decodeOnce(raw)
  if (decoded === undefined) return undefined
  return { path: resolved(segmentsOf(decoded).map(withoutParameters)) }
}

/**
 * All paths that a server behind might read from the target: dot segments resolved or kept, encoded slashes decoded or
 * kept, parameters dropped or kept, backslashes taken for slashes or not, needless encodings kept. Total: what is no
 * UTF-8 is decoded byte by byte. Empty for plain targets, which read one way only. When two readings belong to
 * different routes the request is ambiguous: guard and server would each apply rules of their own.
 */
export function readingsOf(target: string): readonly string[] {
  const raw = rawPath(target)
  if (raw === undefined || !SUSPECT.test(raw)) return NONE
  const decoded = decodeLeniently(raw)
  const readings = new Set<string>([decoded])
  const addFoldings = (text: string) => {
    const segments = segmentsOf(text)
    const bare = segments.map(withoutParameters)
    readings.add(`/${segments.join('/')}`)
    readings.add(`/${bare.join('/')}`)
    readings.add(resolved(segments))
    readings.add(resolved(bare))
  }
  addFoldings(decoded)
  if (decoded.includes('\\')) addFoldings(decoded.replaceAll('\\', '/'))
  // Slashes that stay encoded part no segments; any character that is no separator will do in their place.
  if (ENCODED_SLASH.test(raw)) addFoldings(decodeLeniently(raw.replace(/%2f/gi, '_')))
  // Some servers match before they decode. No honest client encodes characters that need none.
  if (ENCODED_UNRESERVED.test(raw)) readings.add(raw)
  return [...readings]
}

const NONE: readonly string[] = []

function rawPath(target: string): string | undefined {
  if (target.length > TARGET_CHARS_MAX) return undefined
  let path = target
  if (!path.startsWith('/')) {
    if (path === '*') return '*'
    const absolute = /^https?:\/\/[^/?#\\]*/i.exec(path)
    if (absolute === null) return undefined
    path = path.slice(absolute[0].length)
    if (!path.startsWith('/')) path = `/${path}`
  }
  const query = path.search(/[?#]/)
  return query < 0 ? path : path.slice(0, query)
}

function hasControl(text: string): boolean {
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}

function decodeOnce(raw: string): string | undefined {
  let decoded: string
  try {
    decoded = decodeURIComponent(raw)
  } catch {
    return undefined
  }
  return decoded.includes('\\') || hasControl(decoded) ? undefined : decoded
}

function decodeLeniently(raw: string): string {
  try {
    return decodeURIComponent(raw)
  } catch {
    return raw.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
  }
}

/** Without empty ones; a final slash leaves an empty last one. */
function segmentsOf(path: string): string[] {
  const segments = path.split('/')
  return segments.filter((segment, index) => segment !== '' || (index === segments.length - 1 && index > 0))
}

function withoutParameters(segment: string): string {
  const at = segment.indexOf(';')
  return at < 0 ? segment : segment.slice(0, at)
}

function resolved(segments: readonly string[]): string {
  const out: string[] = []
  segments.forEach((segment, index) => {
    const last = index === segments.length - 1
    if (segment === '..') out.pop()
    if (segment !== '..' && segment !== '.' && (segment !== '' || last)) out.push(segment)
    // A dot segment at the end means the directory itself.
    else if (last) out.push('')
  })
  return `/${out.join('/')}`
}

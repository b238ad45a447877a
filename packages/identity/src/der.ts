/** Distinguished Encoding Rules (X.690) for the few types that a certificate of the ring is made of. Writing only. */

type Der = Uint8Array<ArrayBuffer>

function concat(parts: readonly Uint8Array[]): Der {
  const out = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

/** Tag, length in its shortest form, contents. Contents below 64 KiB. */
function encode(tag: number, contents: Uint8Array): Der {
  const { length } = contents
  const size = length < 128 ? [length] : length < 256 ? [0x81, length] : [0x82, length >> 8, length & 255]
  return concat([Uint8Array.from([tag, ...size]), contents])
}

export const sequence = (...parts: readonly Uint8Array[]): Der => encode(0x30, concat(parts))
export const set = (part: Uint8Array): Der => encode(0x31, part)
export const octets = (contents: Uint8Array): Der => encode(0x04, contents)
export const utf8Text = (text: string): Der => encode(0x0c, new TextEncoder().encode(text))
export const boolean = (value: boolean): Der => encode(0x01, Uint8Array.of(value ? 255 : 0))
/** [number], constructed. */
export const explicit = (number: number, part: Uint8Array): Der => encode(0xa0 | number, part)
/** [number], in place of the tag of a primitive type. */
export const implicit = (number: number, contents: Uint8Array): Der => encode(0x80 | number, contents)

/** A whole number, 0 or more, from its big-endian bytes. */
export function integer(bytes: Uint8Array): Der {
  let at = 0
  while (at < bytes.length - 1 && bytes[at] === 0) at += 1
  const shortest = bytes.subarray(at)
  return encode(0x02, (shortest[0] as number) < 128 ? shortest : concat([Uint8Array.of(0), shortest]))
}

/** @param unused Bits at the end that do not count. */
export const bits = (contents: Uint8Array, unused = 0): Der => encode(0x03, concat([Uint8Array.of(unused), contents]))

/** From its dotted form. */
export function objectId(dotted: string): Der {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const arcs = [first * 40 + second, ...rest].flatMap((arc) => {
    const groups = [arc & 127]
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 127) | 128)
    return groups
  })
  return encode(0x06, Uint8Array.from(arcs))
}

/** UTCTime up to 2049, GeneralizedTime from then on (RFC 5280 section 4.1.2.5). Whole seconds. */
export function time(ms: number): Der {
  const digits = new Date(ms)
    .toISOString()
    .replace(/\.\d+Z$/, 'Z')
    .replace(/[-:T]/g, '')
  const isShort = digits < '2050'
  return encode(isShort ? 0x17 : 0x18, new TextEncoder().encode(isShort ? digits.slice(2) : digits))
}

import { codePointToText, toByteText } from '../bytes.ts'

/**
 * Text in UTF-16 or UTF-32, as readers of JSON and of XML tell it by its first bytes (RFC 4627 section 3, XML 1.0 appendix F), in
 * UTF-8; undefined for everything else.
 *
 * @param bytes One character a byte.
 */
export function wideText(bytes: string): string | undefined {
  const encoding = encodingOf(bytes)
  if (encoding === undefined) return undefined
  const wide = Uint8Array.from(bytes, (byte) => byte.charCodeAt(0))
  if (encoding !== 'utf-32be' && encoding !== 'utf-32le') return toByteText(new TextDecoder(encoding).decode(wide))
  const view = new DataView(wide.buffer)
  let text = ''
  for (let at = 0; at + 4 <= wide.length; at += 4) {
    const code = view.getUint32(at, encoding === 'utf-32le')
    if (at > 0 || code !== BYTE_ORDER_MARK) text += codePointToText(code > 0x10_ffff ? REPLACEMENT : code)
  }
  return text
}

const BYTE_ORDER_MARK = 0xfeff
const REPLACEMENT = 0xfffd

type Encoding = 'utf-16be' | 'utf-16le' | 'utf-32be' | 'utf-32le'

/** By a byte order mark, or by where the NUL bytes of ASCII are. */
function encodingOf(bytes: string): Encoding | undefined {
  const [a, b, c, d] = [bytes.charCodeAt(0), bytes.charCodeAt(1), bytes.charCodeAt(2), bytes.charCodeAt(3)]
  if (a === 0 && b === 0) return (c === 0xfe && d === 0xff) || (c === 0 && d > 0) ? 'utf-32be' : undefined
  if (a === 0xff && b === 0xfe) return c === 0 && d === 0 ? 'utf-32le' : 'utf-16le'
  if (a === 0xfe && b === 0xff) return 'utf-16be'
  if (a === 0 && b < 128) return 'utf-16be'
  if (a < 128 && b === 0) return c === 0 && d === 0 ? 'utf-32le' : 'utf-16le'
  return undefined
}

/** Base64 up to the first character that is not of its alphabet. Not an error when malformed: what decodes is looked at. */
export function base64Decode(text: string): string {
  return decode(text, false)
}

/** As `base64Decode`, passing over characters that are not of the alphabet, as PHP does. */
export function base64DecodeExt(text: string): string {
  return decode(text, true)
}

/**
 * JSON Web Tokens (RFC 7519) with header and payload in the clear, the signature as it is; empty where there is none. Of our own.
 *
 * Before and behind a token stands anything that is no letter, digit, `-` or `_`: `Bearer eyJ...`, `a=eyJ...; b`.
 */
export function jwtDecode(text: string): string {
  let out = ''
  let at = text.indexOf('eyJ')
  while (at >= 0) {
    const first = segmentEnd(text, at)
    const second = text[first] === '.' ? segmentEnd(text, first + 1) : first
    const end = text[second] === '.' && second > first ? segmentEnd(text, second + 1) : second
    if (end > second) {
      const [header, payload] = [text.slice(at, first), text.slice(first + 1, second)].map((part) =>
        decode(standard(part), false),
      )
      out += `${header}.${payload}${text.slice(second, end)}\n`
    }
    at = text.indexOf('eyJ', end)
  }
  return out
}

const standard = (part: string): string => part.replaceAll('-', '+').replaceAll('_', '/')

function segmentEnd(text: string, from: number): number {
  let at = from
  for (; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (!(sextet(code) >= 0 && code !== 43 && code !== 47) && code !== 45 && code !== 95) break
  }
  return at
}

function decode(text: string, forgiving: boolean): string {
  let out = ''
  let bits = 0
  let held = 0
  for (let i = 0; i < text.length; i += 1) {
    const value = sextet(text.charCodeAt(i))
    if (value < 0) {
      if (forgiving) continue
      break
    }
    held = ((held << 6) | value) & 0xffffff
    bits += 6
    if (bits >= 8) {
      bits -= 8
      out += String.fromCharCode((held >> bits) & 255)
    }
  }
  return out
}

function sextet(code: number): number {
  if (code >= 65 && code <= 90) return code - 65
  if (code >= 97 && code <= 122) return code - 71
  if (code >= 48 && code <= 57) return code + 4
  return code === 43 ? 62 : code === 47 ? 63 : -1
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'

export function base64Encode(text: string): string {
  let out = ''
  for (let i = 0; i < text.length; i += 3) {
    const left = text.length - i
    const group =
      (text.charCodeAt(i) << 16) | (left > 1 ? text.charCodeAt(i + 1) << 8 : 0) | (left > 2 ? text.charCodeAt(i + 2) : 0)
    out += ALPHABET[group >> 18]! + ALPHABET[(group >> 12) & 63]!
    out += (left > 1 ? ALPHABET[(group >> 6) & 63]! : '=') + (left > 2 ? ALPHABET[group & 63]! : '=')
  }
  return out
}

/** Transformations that undo encodings. Broken sequences stay as they are: an attacker's mistake must not hide the rest. */

const hex = (text: string): number => Number.parseInt(text, 16)

/** `%41` and `+` (application/x-www-form-urlencoded), bytes read as UTF-8 where they are. */
export function urlDecode(value: string): string {
  if (!value.includes('%')) return value.includes('+') ? value.replaceAll('+', ' ') : value
  return value.replaceAll('+', ' ').replace(/(?:%[0-9a-fA-F]{2})+/g, decodeRun)
}

/** The same with `%u0041`, as IIS takes it; full-width forms become ASCII. */
export function urlDecodeUni(value: string): string {
  if (!value.includes('%')) return value.includes('+') ? value.replaceAll('+', ' ') : value
  return urlDecode(value.replace(/%[uU]([0-9a-fA-F]{4})/g, (_, digits: string) => narrow(hex(digits))))
}

function narrow(point: number): string {
  return String.fromCharCode(point >= 0xff01 && point <= 0xff5e ? point - 0xfee0 : point)
}

/** Percent-encoded bytes: UTF-8 where valid, else one character a byte; overlong forms of ASCII are read as ASCII. */
function decodeRun(run: string): string {
  let ascii = ''
  const bytes: number[] = []
  for (let i = 1; i < run.length; i += 3) bytes.push(hex(run.slice(i, i + 2)))
  if (bytes.every((byte) => byte < 0x80)) {
    for (const byte of bytes) ascii += String.fromCharCode(byte)
    return ascii
  }
  try {
    return decodeURIComponent(run)
  } catch {
    let out = ''
    for (let i = 0; i < bytes.length; i += 1) {
      const [first, second] = [bytes[i] as number, bytes[i + 1]]
      // 0xC0 0xAF is an overlong slash: lenient decoders take it for one (RFC 3629, section 10).
      if ((first === 0xc0 || first === 0xc1) && second !== undefined && (second & 0xc0) === 0x80) {
        out += String.fromCharCode(((first & 0x1f) << 6) | (second & 0x3f))
        i += 1
      } else out += String.fromCharCode(first)
    }
    return out
  }
}

const ENTITIES: ReadonlyMap<string, string> = new Map([
  ['lt', '<'],
  ['gt', '>'],
  ['amp', '&'],
  ['quot', '"'],
  ['apos', "'"],
  ['nbsp', '\u00a0'],
  ['colon', ':'],
  ['tab', '\t'],
  ['newline', '\n'],
  ['lpar', '('],
  ['rpar', ')'],
  ['sol', '/'],
  ['equals', '='],
])

/** `&lt;`, `&#60;`, `&#x3c`, with or without the semicolon. */
export function htmlEntityDecode(value: string): string {
  if (!value.includes('&')) return value
  return value.replace(
    /&(?:#x([0-9a-fA-F]{1,7})|#([0-9]{1,8})|([A-Za-z]{2,8}));?/g,
    (whole, digits16: string, digits10: string, name: string) => {
      if (name !== undefined) return ENTITIES.get(name.toLowerCase()) ?? whole
      const point = digits16 === undefined ? Number(digits10) : hex(digits16)
      return point <= 0x10ffff ? String.fromCodePoint(point) : whole
    },
  )
}

/** `\x41`, `\u0041`, `\101` and single-character escapes of JavaScript. */
export function jsDecode(value: string): string {
  if (!value.includes('\\')) return value
  return value.replace(
    /\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([0-7]{1,3})|([\s\S]))/g,
    (_, unicode: string, byte: string, octal: string, single: string) => {
      if (unicode !== undefined) return narrow(hex(unicode))
      if (byte !== undefined) return String.fromCharCode(hex(byte))
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8) & 0xff)
      return { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v' }[single] ?? single
    },
  )
}

/** `\41 ` of CSS (CSS Syntax Module Level 3, section 4.3.7). */
export function cssDecode(value: string): string {
  if (!value.includes('\\')) return value
  return value.replace(/\\(?:([0-9a-fA-F]{1,6})\s?|([\s\S]))/g, (_, digits: string, single: string) => {
    if (single !== undefined) return single === '\n' ? '' : single
    const point = hex(digits)
    return point <= 0x10ffff ? narrowPoint(point) : ''
  })
}

function narrowPoint(point: number): string {
  return point <= 0xffff ? narrow(point) : String.fromCodePoint(point)
}

/** Base64 (RFC 4648) up to the first character that is none; not base64 at all: unchanged. */
export function base64Decode(value: string): string {
  const text = /^[A-Za-z0-9+/]+/.exec(value)?.[0]
  if (text === undefined || text.length < 4) return value
  try {
    return atob(text.slice(0, text.length - (text.length % 4)))
  } catch {
    return value
  }
}

export function hexDecode(value: string): string {
  return /^(?:[0-9a-fA-F]{2})+$/.test(value) ? value.replace(/../g, (pair) => String.fromCharCode(hex(pair))) : value
}

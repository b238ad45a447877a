import { bytesToText, scratchBytes } from '../bytes.ts'

/** UTF-8 sequences of two bytes and more, as `%uHHHH`; what is not valid UTF-8 stays. */
export function utf8toUnicode(text: string): string {
  if (!/[\xc0-\xf7]/.test(text)) return text
  const { length } = text
  // Two bytes become six characters.
  const bytes = scratchBytes(length * 3)
  let size = 0
  for (let i = 0; i < length; i += 1) {
    const lead = text.charCodeAt(i)
    const extra = lead >= 0xf0 && lead < 0xf8 ? 3 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xc0 && lead < 0xe0 ? 1 : 0
    let code = lead & (0x3f >> extra)
    let taken = 0
    while (taken < extra && (text.charCodeAt(i + taken + 1) & 0xc0) === 0x80) {
      taken += 1
      code = (code << 6) | (text.charCodeAt(i + taken) & 0x3f)
    }
    if (extra === 0 || taken < extra) {
      bytes[size++] = lead
      continue
    }
    bytes[size++] = 37
    bytes[size++] = 117
    for (let shift = code > 0xfffff ? 20 : code > 0xffff ? 16 : 12; shift >= 0; shift -= 4)
      bytes[size++] = '0123456789abcdef'.charCodeAt((code >> shift) & 15)
    i += extra
  }
  return bytesToText(bytes.subarray(0, size))
}

/** UTF-8 sequences of two bytes and more, as `%uHHHH`; what is not valid UTF-8 stays. */
export function utf8toUnicode(text: string): string {
  let out = ''
  let from = 0
  for (let i = 0; i < text.length; i += 1) {
    const lead = text.charCodeAt(i)
    const extra = lead >= 0xf0 && lead < 0xf8 ? 3 : lead >= 0xe0 && lead < 0xf0 ? 2 : lead >= 0xc0 && lead < 0xe0 ? 1 : 0
    if (extra === 0) continue
    let code = lead & (0x3f >> extra)
    let taken = 0
    while (taken < extra && (text.charCodeAt(i + taken + 1) & 0xc0) === 0x80) {
      taken += 1
      code = (code << 6) | (text.charCodeAt(i + taken) & 0x3f)
    }
    if (taken < extra) continue
    out += `${text.slice(from, i)}%u${code.toString(16).padStart(4, '0')}`
    i += extra
    from = i + 1
  }
  return from === 0 ? text : out + text.slice(from)
}

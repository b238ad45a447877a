/** Each C comment becomes one space; one that is not closed takes the rest. */
export function replaceComments(text: string): string {
  return withoutComments(text, ' ')
}

/** C and HTML comments vanish; `--` and `#` cut the rest off. */
export function removeComments(text: string): string {
  let out = text.includes('/*') ? withoutComments(text, '') : text
  if (out.includes('<!--')) out = cutBetween(out, '<!--', '-->', '')
  const cut = out.search(/--|#/)
  return cut < 0 ? out : out.slice(0, cut)
}

/** The marks of comments vanish, what they hold stays. */
export function removeCommentsChar(text: string): string {
  return /\/\*|\*\/|--|#/.test(text) ? text.replace(/<!--|-->|\/\*|\*\/|--|#/g, '') : text
}

function withoutComments(text: string, filler: string): string {
  return text.includes('/*') ? cutBetween(text, '/*', '*/', filler) : text
}

function cutBetween(text: string, open: string, close: string, filler: string): string {
  let out = ''
  let from = 0
  for (;;) {
    const start = text.indexOf(open, from)
    if (start < 0) return out + text.slice(from)
    out += text.slice(from, start) + filler
    const end = text.indexOf(close, start + open.length)
    if (end < 0) return out
    from = end + close.length
  }
}

import { OperatorArgumentError, type OperatorFactory } from './operator.ts'

/** `@validateByteRange`: matches when a byte lies outside of the given ranges, e.g. `9,10,13,32-126`. */
export const validateByteRange: OperatorFactory = ({ text: source }) => {
  const allowed = new Uint8Array(256)
  for (const part of source.split(',')) {
    const match = /^\s*(\d{1,3})(?:-(\d{1,3}))?\s*$/.exec(part)
    const low = Number(match?.[1])
    const high = Number(match?.[2] ?? match?.[1])
    if (match === null || low > high || high > 255) {
      throw new OperatorArgumentError(
        0,
        `the byte range ${part.trim()}`,
        'numbers and ranges from 0 to 255',
        'Write for example 9,10,13,32-126.',
      )
    }
    allowed.fill(1, low, high + 1)
  }
  return {
    matches(text, context) {
      context.work += text.length
      for (let i = 0; i < text.length; i += 1) if (allowed[text.charCodeAt(i) & 255] === 0) return true
      return false
    },
  }
}

/** `@validateUtf8Encoding`: matches what is not well-formed UTF-8 (Unicode section 3.9, table 3-7): overlong, cut, surrogate. */
export const validateUtf8Encoding: OperatorFactory = () => ({
  matches(text, context) {
    context.work += text.length
    return !isUtf8(text)
  },
})

function isUtf8(text: string): boolean {
  for (let i = 0; i < text.length; i += 1) {
    const lead = text.charCodeAt(i)
    if (lead < 0x80) continue
    const extra = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1
    if (lead < 0xc2 || lead > 0xf4 || i + extra >= text.length) return false
    const second = text.charCodeAt(i + 1)
    const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80
    const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf
    if (second < low || second > high) return false
    for (let k = 2; k <= extra; k += 1) if ((text.charCodeAt(i + k) & 0xc0) !== 0x80) return false
    i += extra
  }
  return true
}

/** `@validateUrlEncoding`: matches a percent sign that no two hexadecimal digits follow. */
export const validateUrlEncoding: OperatorFactory = () => ({
  literals: ['%'],
  matches(text, context) {
    context.work += text.length
    return /%(?![0-9a-fA-F]{2})/.test(text)
  },
})

import { bytesToText, scratchBytes } from '../bytes.ts'

/**
 * Undoes what shells let one hide words with: drops `\ " ' ^`, turns `, ;` and runs of blanks into one space, drops a space
 * before `/` and `(`, lowercases. Source: the reference of `t:cmdLine` in ModSecurity's manual.
 */
export function cmdLine(text: string): string {
  if (!/[\\"'^,;\t-\rA-Z]| [ /(]/.test(text)) return text
  const { length } = text
  const bytes = scratchBytes(length)
  let size = 0
  let blank = false
  for (let i = 0; i < length; i += 1) {
    const code = text.charCodeAt(i)
    switch (WHAT[code & 255]) {
      case DROPPED:
        break
      case BLANK:
        blank = true
        break
      case CLOSING:
        blank = false
        bytes[size++] = code
        break
      default:
        if (blank) bytes[size++] = 32
        blank = false
        bytes[size++] = code >= 65 && code <= 90 ? code | 32 : code
    }
  }
  if (blank) bytes[size++] = 32
  return bytesToText(bytes.subarray(0, size))
}

const DROPPED = 1
const BLANK = 2
/** A space before it goes. */
const CLOSING = 3

const WHAT = new Uint8Array(256)
for (const [kind, chars] of [
  [DROPPED, '\\"\'^'],
  [BLANK, ',;\t\n\v\f\r '],
  [CLOSING, '/('],
] as const)
  for (const char of chars) WHAT[char.charCodeAt(0)] = kind

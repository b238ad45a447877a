/** `@validateByteRange 32-126,9,10`: matches a value that holds a character outside the ranges. */
import { fail, type ParsedOperator } from '../parser.ts'
import type { Test } from './index.ts'

export function byteRange(operator: ParsedOperator): Test {
  const allowed = new Uint8Array(256)
  for (const part of operator.argument.split(',')) {
    const match = /^\s*([0-9]{1,3})(?:-([0-9]{1,3}))?\s*$/.exec(part)
    const first = Number(match?.[1])
    const last = Number(match?.[2] ?? match?.[1])
    if (match === null || last > 255 || first > last)
      fail(operator, `@validateByteRange ${JSON.stringify(part)}: expected numbers and ranges from 0 to 255, such as 32-126,9`)
    allowed.fill(1, first, last + 1)
  }
  return (value) => {
    for (let i = 0; i < value.length; i += 1) {
      const code = value.charCodeAt(i)
      // Beyond a byte: some text in another script, which is bytes above 127 on the wire.
      if (allowed[Math.min(code, 255)] === 0) return [value]
    }
    return undefined
  }
}

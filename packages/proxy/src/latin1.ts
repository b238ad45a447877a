/** Bytes as text, a character each: what HTTP's heads are, and what bodies pass through as. */

/** `Buffer.toString` finds out what is asked of it each time; this goes where that ends up. */
interface LatinBuffer extends Buffer {
  latin1Slice?(from: number, to: number): string
}

export const latin1: (bytes: Buffer, from: number, to: number) => string =
  (Buffer.prototype as LatinBuffer).latin1Slice === undefined
    ? (bytes, from, to) => bytes.toString('latin1', from, to)
    : (bytes: LatinBuffer, from, to) => bytes.latin1Slice!(from, to)

/** What there is to say of a decoder of bytes that come from the network or from disk, and short ways to say it. */
import type { Material } from './mutator.ts'

export interface Decoder extends Material {
  readonly name: string
  /** Share of the inputs. */
  readonly weight: number
  /**
   * True when it takes the input, false when it refuses by its answer. Throws what it declares, or anything else, which is a
   * fault: also an `Error` of this file, when what was decoded is not what it has to be.
   */
  readonly tries: (input: Uint8Array) => boolean | Promise<boolean>
  readonly isDeclared: (error: unknown) => boolean
  /** CPU that a KiB of input may cost beside the allowance of all, milliseconds. */
  readonly msPerKiB?: number
}

export const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)

export const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

/** Each byte one character, as Node hands over headers. */
export const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')

export const tokens = (...texts: readonly string[]): readonly Uint8Array[] => texts.map(bytesOf)

export const never = (): boolean => false

export const KIB = 1_024

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

/** Parses in pieces, cut by what the input itself holds: any split of the bytes is the same input. */
export function pieces(input: Uint8Array): readonly Buffer[] {
  const bytes = Buffer.from(input)
  const cut: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + (((bytes[at] as number) * 7 + at) % (bytes.length > 2_000 ? 500 : 24))
    cut.push(bytes.subarray(at, at + size))
    at += size
  }
  return cut
}

export const JSON_TOKENS = tokens(
  'null',
  'true',
  '1e999',
  '"\\ud800"',
  '\\u0000',
  '"__proto__":{}',
  '"constructor":1',
  '{}',
  '[]',
  '""',
  '  ',
  '\\',
  '"',
)

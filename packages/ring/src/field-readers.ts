/** Readers for the members of signed requests: strict, with one spelling of each value, since what is read is what was signed. */
import { decodeBase64url } from './encoding.ts'
import { EncodingInvalid } from './errors.ts'

export interface FieldReaders {
  /** An object of these members and no others. */
  record(value: unknown, where: string, keys: readonly string[]): Record<string, unknown>
  /** @param expected In words; the range unless given. */
  whole(value: unknown, where: string, least: number, most: number, expected?: string): number
  text(value: unknown, where: string, pattern: RegExp, expected: string): string
  /** base64url of so many bytes; as it was written. */
  bytes(value: unknown, where: string, least: number, most: number): string
}

/** @param fail Throws: `where` names the member, `expected` says what it must be. */
export function fieldReaders(fail: (where: string, expected: string) => never): FieldReaders {
  return {
    record(value, where, keys) {
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return fail(where, 'an object')
      const held = Object.keys(value)
      if (held.length !== keys.length || !keys.every((key) => Object.hasOwn(value, key)))
        fail(where, `an object of ${keys.join(', ')} and nothing else`)
      return value as Record<string, unknown>
    },

    whole(value, where, least, most, expected = `a whole number from ${least} to ${most}`) {
      if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) return fail(where, expected)
      return value
    },

    text(value, where, pattern, expected) {
      if (typeof value !== 'string' || !pattern.test(value)) return fail(where, expected)
      return value
    },

    bytes(value, where, least, most) {
      const expected = least === most ? `${least} bytes in base64url` : `${least} to ${most} bytes in base64url`
      if (typeof value !== 'string' || value.length > most * 2) return fail(where, expected)
      try {
        const { length } = decodeBase64url(value)
        if (length >= least && length <= most) return value
      } catch (error) {
        if (!(error instanceof EncodingInvalid)) throw error
      }
      return fail(where, expected)
    },
  }
}

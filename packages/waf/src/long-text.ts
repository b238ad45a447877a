/** A long text in forms that cost less to read than a string, for the many who read it; each is made when somebody asks for it. */
import { charactersThreeByThree } from './regex/beginnings.ts'

/** From this length on it is worth it. */
export const LONG_TEXT_CHARS_MIN = 1_024

const encoder = new TextEncoder()

export class LongText {
  readonly text: string
  #bytes: Uint8Array | undefined
  #threes: Uint16Array | undefined
  #areCharacters = true

  constructor(text: string) {
    this.text = text
  }

  /** Each character's low eight bits. */
  get bytes(): Uint8Array {
    return (this.#bytes ??= this.#read())
  }

  /** Whether no character has more than those. */
  get areCharacters(): boolean {
    return this.bytes.length > 0 && this.#areCharacters
  }

  /** As `charactersThreeByThree` says. */
  get threes(): Uint16Array {
    return (this.#threes ??= charactersThreeByThree(this.bytes))
  }

  #read(): Uint8Array {
    const { text } = this
    const { length } = text
    const bytes = new Uint8Array(length)
    // By far the fastest, where all are below 128: then a character is a byte.
    const { read, written } = encoder.encodeInto(text, bytes)
    if (read === length && written === length) return bytes
    let bits = 0
    for (let i = 0; i < length; i += 1) {
      const code = text.charCodeAt(i)
      bits |= code
      bytes[i] = code
    }
    this.#areCharacters = bits < 256
    return bytes
  }
}

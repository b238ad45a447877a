/**
 * Reads JSON (RFC 8259) so that every reader behind must come to the same value: one spelling of each key, no byte-order mark,
 * no text that is not UTF-8, no half surrogates, no number that a double cannot hold as it was written where that shows.
 */
import { JSON_DEPTH_MAX, JSON_NUMBER_CHARS_MAX } from './limits.ts'

/** Objects are maps: a key may have any name. */
export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>

/** In words, with nothing of the text. */
export class JsonRefused extends Error {
  override readonly name = 'JsonRefused'
}

const DECODER = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const ESCAPES: ReadonlyMap<string, string> = new Map([
  ['"', '"'],
  ['\\', '\\'],
  ['/', '/'],
  ['b', '\b'],
  ['f', '\f'],
  ['n', '\n'],
  ['r', '\r'],
  ['t', '\t'],
])

/** @throws {JsonRefused} */
export function parseJson(bytes: Uint8Array): Json {
  let text: string
  try {
    text = DECODER.decode(bytes)
  } catch {
    throw new JsonRefused('the body is not UTF-8')
  }
  if (text.charCodeAt(0) === 0xfeff) throw new JsonRefused('a byte-order mark stands before the JSON')
  return new Reader(text).whole()
}

class Reader {
  readonly #text: string
  #at = 0
  #depth = 0

  constructor(text: string) {
    this.#text = text
  }

  whole(): Json {
    const value = this.#value()
    this.#blanks()
    if (this.#at < this.#text.length) throw new JsonRefused('more follows after the JSON value')
    return value
  }

  #blanks(): void {
    const text = this.#text
    for (;;) {
      const code = text.charCodeAt(this.#at)
      if (code !== 32 && code !== 10 && code !== 13 && code !== 9) return
      this.#at += 1
    }
  }

  #value(): Json {
    this.#blanks()
    const code = this.#text.charCodeAt(this.#at)
    switch (code) {
      case 123:
        return this.#object()
      case 91:
        return this.#array()
      case 34:
        return this.#string()
      case 116:
        return this.#word('true', true)
      case 102:
        return this.#word('false', false)
      case 110:
        return this.#word('null', null)
      default:
        return this.#number()
    }
  }

  #word(word: string, value: boolean | null): boolean | null {
    if (!this.#text.startsWith(word, this.#at)) throw new JsonRefused('the body is not JSON')
    this.#at += word.length
    return value
  }

  #enter(): void {
    this.#at += 1
    this.#depth += 1
    if (this.#depth > JSON_DEPTH_MAX) throw new JsonRefused(`the JSON is nested more than ${JSON_DEPTH_MAX} deep`)
    this.#blanks()
  }

  #object(): ReadonlyMap<string, Json> {
    const map = new Map<string, Json>()
    this.#enter()
    if (this.#text.charCodeAt(this.#at) === 125) return this.#leave(map)
    for (;;) {
      this.#blanks()
      if (this.#text.charCodeAt(this.#at) !== 34) throw new JsonRefused('the body is not JSON')
      const key = this.#string()
      this.#blanks()
      if (this.#text.charCodeAt(this.#at) !== 58) throw new JsonRefused('the body is not JSON')
      this.#at += 1
      const value = this.#value()
      const before = map.size
      map.set(key, value)
      if (map.size === before) throw new JsonRefused('an object has the same key twice')
      this.#blanks()
      const code = this.#text.charCodeAt(this.#at)
      if (code === 125) return this.#leave(map)
      if (code !== 44) throw new JsonRefused('the body is not JSON')
      this.#at += 1
    }
  }

  #array(): readonly Json[] {
    const list: Json[] = []
    this.#enter()
    if (this.#text.charCodeAt(this.#at) === 93) return this.#leave(list)
    for (;;) {
      list.push(this.#value())
      this.#blanks()
      const code = this.#text.charCodeAt(this.#at)
      if (code === 93) return this.#leave(list)
      if (code !== 44) throw new JsonRefused('the body is not JSON')
      this.#at += 1
    }
  }

  #leave<T>(value: T): T {
    this.#at += 1
    this.#depth -= 1
    return value
  }

  #string(): string {
    const text = this.#text
    let from = this.#at + 1
    let out = ''
    for (let end = from; ; end += 1) {
      const code = text.charCodeAt(end)
      if (code > 34 && code !== 92) continue
      if (code === 32 || code === 33) continue
      if (code === 34) {
        this.#at = end + 1
        const value = out === '' ? text.slice(from, end) : out + text.slice(from, end)
        // Decoded UTF-8 is well formed: only escapes can leave half a pair.
        if (out !== '' && !value.isWellFormed()) throw new JsonRefused('a text holds half a surrogate pair')
        return value
      }
      if (Number.isNaN(code)) throw new JsonRefused('the body is not JSON')
      if (code !== 92) throw new JsonRefused('a control character stands in a text')
      const kind = text[end + 1] ?? ''
      let piece = ESCAPES.get(kind)
      let length = 2
      if (piece === undefined) {
        const digits = text.slice(end + 2, end + 6)
        if (kind !== 'u' || !/^[0-9a-fA-F]{4}$/.test(digits)) throw new JsonRefused('the body is not JSON')
        piece = String.fromCharCode(Number.parseInt(digits, 16))
        length = 6
      }
      out += text.slice(from, end) + piece
      from = end + length
      end = from - 1
    }
  }

  /** The usual number: a few digits and nothing else. */
  #shortInteger(): number | undefined {
    const text = this.#text
    let at = this.#at
    let value = 0
    for (; at < this.#at + 9; at += 1) {
      const digit = text.charCodeAt(at) - 48
      if (!(digit >= 0 && digit <= 9)) break
      value = value * 10 + digit
    }
    const length = at - this.#at
    if (length === 0 || (length > 1 && text.charCodeAt(this.#at) === 48)) return undefined
    const next = text.charCodeAt(at)
    // More digits, a point or an exponent.
    if ((next >= 48 && next <= 57) || next === 46 || next === 69 || next === 101) return undefined
    this.#at = at
    return value
  }

  #number(): number {
    const short = this.#shortInteger()
    if (short !== undefined) return short
    NUMBER.lastIndex = this.#at
    const match = NUMBER.exec(this.#text)
    if (match === null) throw new JsonRefused('the body is not JSON')
    const token = match[0]
    this.#at += token.length
    if (token.length > JSON_NUMBER_CHARS_MAX) throw new JsonRefused(`a number is longer than ${JSON_NUMBER_CHARS_MAX} characters`)
    const value = Number(token)
    if (!Number.isFinite(value)) throw new JsonRefused('a number is larger than a double holds')
    if (Number.isInteger(value) && losesFraction(token)) throw new JsonRefused('a number loses its fraction when it is read')
    return value
  }
}

/** Whether a number written like this, and read as a whole number, was none. */
function losesFraction(token: string): boolean {
  const parts = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(token)
  if (parts === null || (parts[2] === undefined && parts[3] === undefined)) return false
  const digits = `${parts[1]}${parts[2] ?? ''}`
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return false
  const places = (parts[2]?.length ?? 0) - Number(parts[3] ?? 0) - (digits.length - significant.length)
  return places > 0
}

/** A text that two values share exactly when they are equal (JSON Schema draft 2020-12, section 4.2.2). */
export function canonical(value: Json): string {
  if (value === null || typeof value === 'boolean') return String(value)
  if (typeof value === 'number') return Object.is(value, -0) ? '0' : String(value)
  if (typeof value === 'string') return JSON.stringify(value)
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`
  const entries = [...(value as ReadonlyMap<string, Json>)].sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join()}}`
}

/** A value of a policy as a value of a request. Undefined for what is no JSON. */
export function jsonOf(value: unknown): Json | undefined {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  if (Array.isArray(value)) {
    const items = value.map(jsonOf)
    return items.includes(undefined) ? undefined : (items as Json[])
  }
  if (typeof value !== 'object') return undefined
  const map = new Map<string, Json>()
  for (const [key, member] of Object.entries(value)) {
    const held = jsonOf(member)
    if (held === undefined) return undefined
    map.set(key, held)
  }
  return map
}

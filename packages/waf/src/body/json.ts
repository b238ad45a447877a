import { codePointToText, hexValues } from '../bytes.ts'
import { ARGS_MAX, JSON_DEPTH_MAX, JSON_NAME_BYTES_MAX, JSON_NAMES_CHARS_MAX } from '../limits.ts'

export interface ParsedJson {
  /** Scalars by path: `json.a.b.0`. */
  readonly fields: readonly (readonly [name: string, value: string])[]
  /** Names of arrays that hold scalars, without an index: a rule may look for how a name ends. */
  readonly arrays: readonly string[]
  /** Why parsing stopped, if it did; the fields before it are kept. */
  readonly error: string | undefined
  readonly over: boolean
}

interface Frame {
  /** Name of the container. */
  readonly path: string
  readonly array: boolean
  index: number
  /** Of the member that is read, in an object. */
  key: string
  named: boolean
  /**
   * Members by key, or the elements of an array together, that had a number, true, false or null: the first says all that
   * another could. Shared by the containers of one shape, e.g. all elements of an array.
   */
  readonly shape: Shape
}

interface Shape {
  plain: Set<string> | undefined
  inside: Map<string, Shape> | undefined
}

const newShape = (): Shape => ({ plain: undefined, inside: undefined })

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const PLAIN = /[^"\\\x00-\x1f]*/y
/** So many characters of a string are looked at one by one, which is less than asking a pattern; most have no more. */
const SHORT_CHARS = 40

const QUOTE = 34
const RECORD_SEPARATOR = 30
const BACKSLASH = 92
const COMMA = 44
const COLON = 58

/**
 * JSON (RFC 8259) over bytes, flattened. A loop with its own stack: depth is bounded by `JSON_DEPTH_MAX` and never uses the
 * call stack. Duplicate keys give one field each, since parsers behind us differ in which one they take.
 */
export function parseJson(text: string): ParsedJson {
  return readJson(text, false)
}

/** The same of several texts in a row, with blanks or record separators between them (NDJSON, JSON lines, RFC 7464). */
export function parseJsonSequence(text: string): ParsedJson {
  return readJson(text, true)
}

function readJson(text: string, isSequence: boolean): ParsedJson {
  const reader = new JsonReader(text, isSequence)
  reader.read()
  const { fields, arrays, error, over } = reader
  return { fields, arrays, error, over }
}

class JsonReader {
  readonly #text: string
  readonly #isSequence: boolean
  #at: number
  readonly fields: (readonly [string, string])[] = []
  readonly arrays: string[] = []
  readonly #stack: Frame[] = []
  #nameChars = 0
  error: string | undefined
  over = false

  constructor(text: string, isSequence: boolean) {
    this.#text = text
    this.#isSequence = isSequence
    // A byte order mark, which many writers leave and most readers skip.
    this.#at = text.startsWith('\xef\xbb\xbf') ? 3 : 0
  }

  read(): void {
    const stack = this.#stack
    let around: Frame | undefined
    for (;;) {
      if (around !== undefined && isNameTooLong(around)) {
        this.error = `a name longer than ${JSON_NAME_BYTES_MAX} bytes`
        return
      }
      const c = this.#skip()
      if (c === 123 || c === 91) {
        if (stack.length === JSON_DEPTH_MAX) {
          this.error = `nested deeper than ${JSON_DEPTH_MAX}`
          return
        }
        this.#at += 1
        const frame: Frame = {
          path: nameIn(around),
          array: c === 91,
          index: 0,
          key: '',
          named: false,
          shape: around === undefined ? newShape() : shapeIn(around),
        }
        stack.push(frame)
        around = frame
        if (this.#skip() !== (frame.array ? 93 : 125)) {
          if (!frame.array && !this.#readKey(frame)) return
          continue
        }
      } else if (!this.#readScalar(c, around)) return
      // After a value, or before the end of an empty container: close containers, or go on in the innermost.
      for (;;) {
        const next = this.#skip()
        if (around === undefined) {
          if (this.#at === this.#text.length) return
          if (this.#isSequence) break
          this.error = 'something after the end'
          return
        }
        if (next === (around.array ? 93 : 125)) {
          this.#at += 1
          stack.pop()
          around = stack.at(-1)
          continue
        }
        if (next !== COMMA) {
          this.error = 'a comma or the end of a container was expected'
          return
        }
        this.#at += 1
        if (around.array) around.index += 1
        else if (!this.#readKey(around)) return
        break
      }
    }
  }

  /** False when reading is at its end. */
  #readScalar(c: number, around: Frame | undefined): boolean {
    const from = this.#at
    let value: string | undefined
    if (c === QUOTE) value = this.#readString()
    else if (this.#skipPlain(c)) {
      if (around !== undefined && !isFirstPlain(around)) return true
      value = this.#text.slice(from, this.#at)
    }
    if (value === undefined) {
      this.error = 'a value was expected'
      return false
    }
    const name = nameIn(around)
    this.#nameChars += name.length
    if (this.fields.length === ARGS_MAX || this.#nameChars > JSON_NAMES_CHARS_MAX) {
      this.over = true
      return false
    }
    this.fields.push([name, value])
    if (around?.array === true && !around.named && this.arrays.length < ARGS_MAX) {
      around.named = true
      this.#nameChars += around.path.length
      this.arrays.push(around.path)
    }
    return true
  }

  /** Passes over blanks and returns the character after them; NaN at the end. */
  #skip(): number {
    const text = this.#text
    let at = this.#at
    let c = text.charCodeAt(at)
    while (c === 32 || c === 10 || c === 13 || c === 9 || (c === RECORD_SEPARATOR && this.#isSequence)) c = text.charCodeAt(++at)
    this.#at = at
    return c
  }

  /** Undefined for a string that is none; its quote is the next character. */
  #readString(): string | undefined {
    const text = this.#text
    const from = this.#at + 1
    const until = from + SHORT_CHARS
    for (let at = from; at < until; at += 1) {
      const c = text.charCodeAt(at)
      if (c === QUOTE) {
        this.#at = at + 1
        return text.slice(from, at)
      }
      // Also at the end, where it is not a number.
      if (c === BACKSLASH || !(c > 31)) break
    }
    return this.#readLongString(from)
  }

  #readLongString(from: number): string | undefined {
    const text = this.#text
    let at = from
    let out = ''
    for (;;) {
      PLAIN.lastIndex = at
      PLAIN.test(text)
      out += text.slice(at, PLAIN.lastIndex)
      at = PLAIN.lastIndex
      const c = text.charCodeAt(at)
      this.#at = at
      if (c === QUOTE) {
        this.#at += 1
        return out
      }
      if (c !== BACKSLASH) return undefined
      const escaped = this.#readEscape()
      if (escaped === undefined) return undefined
      out += escaped
      at = this.#at
    }
  }

  #readEscape(): string | undefined {
    const text = this.#text
    const c = text[this.#at + 1]
    this.#at += 2
    if (c === 'u') {
      const code = this.#readUnit()
      if (code === undefined) return undefined
      if (code >= 0xd800 && code < 0xdc00 && text.startsWith('\\u', this.#at)) {
        const back = this.#at
        this.#at += 2
        const low = this.#readUnit()
        if (low !== undefined && low >= 0xdc00 && low < 0xe000)
          return codePointToText(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00))
        this.#at = back
      }
      return codePointToText(code)
    }
    return c === undefined ? undefined : ESCAPES.get(c)
  }

  #readUnit(): number | undefined {
    const value = hexValues(this.#text, this.#at, 4)
    if (value < 0) return undefined
    this.#at += 4
    return value
  }

  /** Passes over a number, true, false or null, of which `c` is the first character; false when there is none. */
  #skipPlain(c: number): boolean {
    if (c === 116 || c === 102 || c === 110) {
      const word = c === 116 ? 'true' : c === 102 ? 'false' : 'null'
      if (!this.#text.startsWith(word, this.#at)) return false
      this.#at += word.length
      return true
    }
    NUMBER.lastIndex = this.#at
    if (!NUMBER.test(this.#text)) return false
    this.#at = NUMBER.lastIndex
    return true
  }

  /** Reads a key and its colon; false on an error. */
  #readKey(frame: Frame): boolean {
    const key = this.#skip() === QUOTE ? this.#readString() : undefined
    if (key === undefined) {
      this.error = 'a string key was expected'
      return false
    }
    if (this.#skip() !== COLON) {
      this.error = 'a colon was expected'
      return false
    }
    this.#at += 1
    frame.key = key
    return true
  }
}

/** The name of what is read in a container. Made when it is needed: of many numbers in an array only the first is. */
function nameIn(frame: Frame | undefined): string {
  return frame === undefined ? 'json' : `${frame.path}.${frame.array ? frame.index : frame.key}`
}

function isNameTooLong({ path, array, key, index }: Frame): boolean {
  const left = JSON_NAME_BYTES_MAX - path.length - 1
  return array ? left < 10 && (left < 1 || index >= 10 ** left) : key.length > left
}

/** The name of an array's elements among its members, which no key can be told from: arrays have no keys. */
const ELEMENTS = '#'

function shapeIn({ shape, array, key }: Frame): Shape {
  const member = array ? ELEMENTS : key
  shape.inside ??= new Map()
  let inside = shape.inside.get(member)
  if (inside === undefined) {
    inside = newShape()
    shape.inside.set(member, inside)
  }
  return inside
}

function isFirstPlain({ shape, array, key }: Frame): boolean {
  const member = array ? ELEMENTS : key
  shape.plain ??= new Set()
  if (shape.plain.has(member)) return false
  shape.plain.add(member)
  return true
}

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

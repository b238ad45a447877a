import { codePointToText } from '../bytes.ts'
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
  /** The same with every index as `#`. */
  readonly shape: string
  readonly array: boolean
  index: number
  named: boolean
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y
const PLAIN = /[^"\\\x00-\x1f]*/y

/**
 * JSON (RFC 8259) over bytes, flattened. A loop with its own stack: depth is bounded by `JSON_DEPTH_MAX` and never uses the
 * call stack. Duplicate keys give one field each, since parsers behind us differ in which one they take.
 */
export function parseJson(text: string): ParsedJson {
  const fields: (readonly [string, string])[] = []
  const arrays: string[] = []
  const stack: Frame[] = []
  // A byte order mark, which many writers leave and most readers skip.
  let at = text.startsWith('\xef\xbb\xbf') ? 3 : 0
  let name = 'json'
  let shape = 'json'
  let nameChars = 0
  /** Where numbers, true, false and null have been: the first of a shape says all that another could. */
  const plainShapes = new Set<string>()
  let error: string | undefined
  let over = false

  const skip = (): void => {
    for (;;) {
      const c = text.charCodeAt(at)
      if (c !== 32 && c !== 10 && c !== 13 && c !== 9) return
      at += 1
    }
  }

  const readString = (): string | undefined => {
    at += 1
    let out = ''
    for (;;) {
      PLAIN.lastIndex = at
      PLAIN.test(text)
      out += text.slice(at, PLAIN.lastIndex)
      at = PLAIN.lastIndex
      const c = text[at]
      if (c === '"') {
        at += 1
        return out
      }
      if (c !== '\\') return undefined
      const escaped = readEscape()
      if (escaped === undefined) return undefined
      out += escaped
    }
  }

  const readEscape = (): string | undefined => {
    const c = text[at + 1]
    at += 2
    if (c === 'u') {
      const code = readUnit()
      if (code === undefined) return undefined
      if (code >= 0xd800 && code < 0xdc00 && text[at] === '\\' && text[at + 1] === 'u') {
        const back = at
        at += 2
        const low = readUnit()
        if (low !== undefined && low >= 0xdc00 && low < 0xe000)
          return codePointToText(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00))
        at = back
      }
      return codePointToText(code)
    }
    return c === undefined ? undefined : ESCAPES.get(c)
  }

  const readUnit = (): number | undefined => {
    const digits = text.slice(at, at + 4)
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) return undefined
    at += 4
    return Number.parseInt(digits, 16)
  }

  const readScalar = (): string | undefined => {
    const c = text[at]
    if (c === '"') return readString()
    for (const word of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length
        return word
      }
    }
    NUMBER.lastIndex = at
    if (!NUMBER.test(text)) return undefined
    const number = text.slice(at, NUMBER.lastIndex)
    at = NUMBER.lastIndex
    return number
  }

  /** Reads a key and its colon; false on an error. */
  const readKey = (frame: Frame): boolean => {
    skip()
    const key = text[at] === '"' ? readString() : undefined
    if (key === undefined) {
      error = 'a string key was expected'
      return false
    }
    skip()
    if (text[at] !== ':') {
      error = 'a colon was expected'
      return false
    }
    at += 1
    name = `${frame.path}.${key}`
    shape = `${frame.shape}.${key}`
    return true
  }

  reading: for (;;) {
    if (name.length > JSON_NAME_BYTES_MAX) {
      error = `a name longer than ${JSON_NAME_BYTES_MAX} bytes`
      break
    }
    skip()
    const c = text[at]
    if (c === '{' || c === '[') {
      if (stack.length === JSON_DEPTH_MAX) {
        error = `nested deeper than ${JSON_DEPTH_MAX}`
        break
      }
      at += 1
      const frame: Frame = { path: name, shape, array: c === '[', index: 0, named: false }
      stack.push(frame)
      skip()
      if (text[at] !== (frame.array ? ']' : '}')) {
        if (frame.array) {
          name = `${frame.path}.0`
          shape = `${frame.shape}.#`
        } else if (!readKey(frame)) break
        continue
      }
    } else {
      const isText = c === '"'
      const value = readScalar()
      if (value === undefined) {
        error = 'a value was expected'
        break
      }
      if (isText || !plainShapes.has(shape)) {
        nameChars += name.length
        if (fields.length === ARGS_MAX || nameChars > JSON_NAMES_CHARS_MAX) {
          over = true
          break
        }
        fields.push([name, value])
        const frame = stack.at(-1)
        if (frame?.array === true && !frame.named && arrays.length < ARGS_MAX) {
          frame.named = true
          nameChars += frame.path.length
          arrays.push(frame.path)
        }
        if (!isText) plainShapes.add(shape)
      }
    }
    // After a value, or before the end of an empty container: close containers, or go on in the innermost.
    for (;;) {
      skip()
      const frame = stack.at(-1)
      if (frame === undefined) {
        if (at < text.length) error = 'something after the end'
        break reading
      }
      if (text[at] === (frame.array ? ']' : '}')) {
        at += 1
        stack.pop()
        continue
      }
      if (text[at] !== ',') {
        error = 'a comma or the end of a container was expected'
        break reading
      }
      at += 1
      if (frame.array) {
        frame.index += 1
        name = `${frame.path}.${frame.index}`
        shape = `${frame.shape}.#`
      } else if (!readKey(frame)) break reading
      break
    }
  }
  return { fields, arrays, error, over }
}

const WORDS = ['true', 'false', 'null'] as const
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

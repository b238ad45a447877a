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
  let nameChars = 0
  const outermost = newShape()
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

  /** Passes over a number, true, false or null; false when there is none. */
  const skipPlain = (): boolean => {
    const c = text.charCodeAt(at)
    if (c === 116 || c === 102 || c === 110) {
      const word = c === 116 ? 'true' : c === 102 ? 'false' : 'null'
      if (!text.startsWith(word, at)) return false
      at += word.length
      return true
    }
    NUMBER.lastIndex = at
    if (!NUMBER.test(text)) return false
    at = NUMBER.lastIndex
    return true
  }

  /** The name of what is read in a container. Made when it is needed: of many numbers in an array only the first is. */
  const nameIn = (frame: Frame | undefined): string =>
    frame === undefined ? 'json' : `${frame.path}.${frame.array ? frame.index : frame.key}`

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
    frame.key = key
    return true
  }

  reading: for (;;) {
    const around = stack.at(-1)
    if (around !== undefined && isNameTooLong(around)) {
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
      const frame: Frame = {
        path: nameIn(around),
        array: c === '[',
        index: 0,
        key: '',
        named: false,
        shape: around === undefined ? outermost : shapeIn(around),
      }
      stack.push(frame)
      skip()
      if (text[at] !== (frame.array ? ']' : '}')) {
        if (!frame.array && !readKey(frame)) break
        continue
      }
    } else {
      const from = at
      const value = c === '"' ? readString() : skipPlain() ? undefined : null
      if (value === null || (c === '"' && value === undefined)) {
        error = 'a value was expected'
        break
      }
      const isNew = value !== undefined || around === undefined || isFirstPlain(around)
      if (isNew) {
        const name = nameIn(around)
        nameChars += name.length
        if (fields.length === ARGS_MAX || nameChars > JSON_NAMES_CHARS_MAX) {
          over = true
          break
        }
        fields.push([name, value ?? text.slice(from, at)])
        if (around?.array === true && !around.named && arrays.length < ARGS_MAX) {
          around.named = true
          nameChars += around.path.length
          arrays.push(around.path)
        }
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
      if (frame.array) frame.index += 1
      else if (!readKey(frame)) break reading
      break
    }
  }
  return { fields, arrays, error, over }
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

/**
 * What the model sees of a request: counts, ratios, hashes of its structure, and which words of a fixed list are in it. No text of the request can be read
 * out of it: letters, digits and everything beyond ASCII count by kind and length, only punctuation stands for itself.
 *
 * The structure is the request’s target, header fields and the start of its body, percent-decoded once, as a sequence of kinds: a word of one, of two to four, of
 * more letters, a number, a blank, punctuation as it stands. Of it all runs of two to four are hashed into `STRUCTURE_BUCKETS`.
 *
 * Bounded: at most `TEXT_MAX` characters are looked at, whatever comes.
 */
import { MODEL_WORDS } from './model-words.ts'

/** Of the target, of all header fields and of the body, each. */
export const TEXT_MAX = 2_048
export const STRUCTURE_BUCKETS = 2_048

const RATIOS = [
  'the request has a body',
  'part of punctuation',
  'part of digits',
  'part of letters',
  'part of what is not ASCII',
  'part of control characters',
  'part of percent-encoding',
  'longest run of punctuation',
  'depth of brackets left open',
  'quotes left open',
  'length of the target',
  'length of the body',
  'parameters',
  'dots and slashes in a row',
  'constant',
] as const

const WORDS: readonly string[] = [...new Set(MODEL_WORDS)]
const WORD_AT: ReadonlyMap<number, number> = new Map(WORDS.map((word, at) => [wordHash(word), at]))
const WORD_MAX = 16
const RATIO_BASE = STRUCTURE_BUCKETS
const WORD_BASE = RATIO_BASE + RATIOS.length
/** How many features there are. */
export const FEATURES: number = WORD_BASE + WORDS.length
/** A change of what features mean is another model. */
export const FEATURES_VERSION = 1

export interface ModelRequest {
  readonly method: string
  /** As it stands on the wire. */
  readonly target: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: Uint8Array
}

/** Sparse, of length 1. */
export interface FeatureVector {
  readonly indices: Uint16Array
  readonly values: Float32Array
}

/** Kinds of characters. Punctuation is itself. */
const [LETTER, DIGIT, BLANK, OTHER, CONTROL] = [1, 2, 3, 4, 5]
const KIND = Uint8Array.from({ length: 256 }, (_, byte) => {
  if ((byte >= 97 && byte <= 122) || (byte >= 65 && byte <= 90)) return LETTER
  if (byte >= 48 && byte <= 57) return DIGIT
  if (byte === 32 || byte === 9 || byte === 10 || byte === 13) return BLANK
  if (byte < 32 || byte === 127) return CONTROL
  return byte >= 128 ? OTHER : byte
})
const WORD_OF_ONE = 6
const WORD_OF_FEW = 7
const WORD_OF_MANY = 8
const BEGIN = 9
const KIND_NAMES = ['', 'a', '0', ' ', 'ü', '?', 'a', 'ab', 'abcde', '^']
const GRAMS = 4

/** Fields that say how and not what, or that are the same with everybody. */
const PASSED_OVER: ReadonlySet<string> = new Set([
  'host',
  'connection',
  'content-length',
  'accept',
  'accept-encoding',
  'accept-language',
  'date',
  'authorization',
  'cookie',
  'x-forwarded-for',
  'x-real-ip',
  'traceparent',
  'tracestate',
  'if-none-match',
  'if-modified-since',
])

class Reader {
  readonly counts = new Float32Array(FEATURES)
  readonly touched: number[] = []
  readonly #last = new Uint8Array(GRAMS)
  /** What each bucket was made of first, where somebody wants to know. */
  readonly named: Map<number, string> | undefined
  #letters = 0
  #word = 0
  #digits = false
  #other = false
  characters = 0
  punctuation = 0
  digits = 0
  letters = 0
  others = 0
  controls = 0
  escapes = 0
  run = 0
  runMax = 0
  open = 0
  quotes = 0
  climbs = 0
  parameters = 0

  constructor(isNaming: boolean) {
    this.named = isNaming ? new Map() : undefined
  }

  add(index: number, value: number): void {
    if (this.counts[index] === 0) this.touched.push(index)
    this.counts[index] = this.counts[index]! + value
  }

  begin(): void {
    this.#last.fill(0)
    this.#push(BEGIN)
  }

  end(): void {
    this.#endWord()
    this.#digits = false
    this.#other = false
    this.#push(BLANK)
  }

  /** One character, decoded. */
  character(byte: number): void {
    const kind = KIND[byte]!
    this.characters += 1
    if (kind === LETTER) {
      this.letters += 1
      this.#letters += 1
      if (this.#letters <= WORD_MAX) this.#word = wordStep(this.#word, byte | 32)
      this.run = 0
      this.#digits = false
      this.#other = false
      return
    }
    this.#endWord()
    if (kind === DIGIT) {
      this.digits += 1
      this.run = 0
      if (!this.#digits) this.#push(DIGIT)
      this.#digits = true
      this.#other = false
      return
    }
    this.#digits = false
    if (kind === OTHER) {
      this.others += 1
      this.run = 0
      if (!this.#other) this.#push(OTHER)
      this.#other = true
      return
    }
    this.#other = false
    if (kind === BLANK) this.run = 0
    else if (kind === CONTROL) this.controls += 1
    else {
      this.punctuation += 1
      this.run += 1
      if (this.run > this.runMax) this.runMax = this.run
      if (byte === 0x28 || byte === 0x5b || byte === 0x7b || byte === 0x3c) this.open += 1
      else if (byte === 0x29 || byte === 0x5d || byte === 0x7d || byte === 0x3e) this.open -= 1
      else if (byte === 0x27 || byte === 0x22) this.quotes += 1
      else if (byte === 0x3d) this.parameters += 1
      else if ((byte === 0x2f || byte === 0x5c) && this.#last[GRAMS - 1] === 0x2e) this.climbs += 1
    }
    this.#push(kind)
  }

  #endWord(): void {
    if (this.#letters === 0) return
    if (this.#letters <= WORD_MAX) {
      const word = WORD_AT.get(this.#word)
      if (word !== undefined) this.add(WORD_BASE + word, 1)
    }
    this.#push(this.#letters === 1 ? WORD_OF_ONE : this.#letters <= 4 ? WORD_OF_FEW : WORD_OF_MANY)
    this.#letters = 0
    this.#word = 0
  }

  #push(kind: number): void {
    const last = this.#last
    last[0] = last[1]!
    last[1] = last[2]!
    last[2] = last[3]!
    last[3] = kind
    let hash = kind
    for (let length = 2; length <= GRAMS; length += 1) {
      const before = last[GRAMS - length]!
      if (before === 0) return
      hash = Math.imul(hash ^ (before << 8) ^ length, 0x9e3779b1)
      const bucket = (hash ^ (hash >>> 15)) & (STRUCTURE_BUCKETS - 1)
      this.add(bucket, 1)
      if (this.named !== undefined && !this.named.has(bucket))
        this.named.set(
          bucket,
          [...last.subarray(GRAMS - length)].map((one) => KIND_NAMES[one] ?? String.fromCharCode(one)).join(''),
        )
    }
  }

  /** @param plus Whether a plus is a blank. */
  text(text: string, plus: boolean): void {
    this.begin()
    const end = Math.min(text.length, TEXT_MAX)
    for (let at = 0; at < end; at += 1)
      at += this.#decoded(text.charCodeAt(at) & 255, text.charCodeAt(at + 1), text.charCodeAt(at + 2), plus)
    this.end()
  }

  bytes(bytes: Uint8Array, plus: boolean): void {
    this.begin()
    const end = Math.min(bytes.length, TEXT_MAX)
    for (let at = 0; at < end; at += 1)
      at += this.#decoded(bytes[at]!, bytes[at + 1] ?? Number.NaN, bytes[at + 2] ?? Number.NaN, plus)
    this.end()
  }

  /** @returns How many more characters it took. */
  #decoded(byte: number, second: number, third: number, plus: boolean): 0 | 2 {
    if (byte === 0x25) {
      const [high, low] = [hexOf(second), hexOf(third)]
      if (high >= 0 && low >= 0) {
        this.escapes += 1
        this.character(high * 16 + low)
        return 2
      }
    }
    this.character(plus && byte === 0x2b ? 32 : byte)
    return 0
  }
}

/** @returns Of a request, sparse and of length 1. Some ten microseconds a kilobyte. */
export function featuresOf(request: ModelRequest): FeatureVector {
  return vectorOf(read(request, false))
}

/** With the name of each feature, for people. */
export function namedFeaturesOf(request: ModelRequest): FeatureVector & { readonly nameOf: (index: number) => string } {
  const reader = read(request, true)
  return {
    ...vectorOf(reader),
    nameOf: (index) => {
      if (index >= WORD_BASE) return `the word ${WORDS[index - WORD_BASE]}`
      if (index >= RATIO_BASE) return RATIOS[index - RATIO_BASE]!
      return `the structure ${JSON.stringify(reader.named!.get(index) ?? '')}`
    },
  }
}

function read(request: ModelRequest, isNaming: boolean): Reader {
  const reader = new Reader(isNaming)
  reader.text(request.target, true)
  let left = TEXT_MAX
  let type = ''
  for (const [name, value] of request.headers) {
    const lower = name.toLowerCase()
    if (lower === 'content-type') type = value
    if (left <= 0 || PASSED_OVER.has(lower)) continue
    left -= value.length
    reader.text(value.slice(0, TEXT_MAX), false)
  }
  if (request.body.length > 0) reader.bytes(request.body, type.startsWith('application/x-www-form-urlencoded'))
  ratios(reader, request)
  return reader
}

function ratios(reader: Reader, { target, body }: ModelRequest): void {
  const all = Math.max(1, reader.characters)
  const values = [
    body.length > 0 ? 1 : 0,
    reader.punctuation / all,
    reader.digits / all,
    reader.letters / all,
    reader.others / all,
    Math.min(1, reader.controls),
    reader.escapes / all,
    Math.min(1, reader.runMax / 8),
    Math.min(1, Math.abs(reader.open) / 4),
    reader.quotes % 2,
    Math.min(1, Math.log2(1 + target.length) / 12),
    Math.min(1, Math.log2(1 + body.length) / 16),
    Math.min(1, reader.parameters / 16),
    Math.min(1, reader.climbs / 4),
    1,
  ]
  for (const [at, value] of values.entries()) if (value > 0) reader.add(RATIO_BASE + at, value)
}

/** Words say more than a run of kinds does: they weigh more. */
const WORD_WEIGHT = 2

function vectorOf({ counts, touched }: Reader): FeatureVector {
  const indices = new Uint16Array(touched.length)
  const values = new Float32Array(touched.length)
  let sum = 0
  for (let at = 0; at < touched.length; at += 1) {
    const index = touched[at]!
    const count = counts[index]!
    const value = index < RATIO_BASE ? 1 + Math.log(count) : index < WORD_BASE ? count : WORD_WEIGHT
    indices[at] = index
    values[at] = value
    sum += value * value
  }
  const scale = 1 / Math.sqrt(sum)
  for (let at = 0; at < values.length; at += 1) values[at]! *= scale
  return { indices, values }
}

function hexOf(code: number): number {
  if (code >= 48 && code <= 57) return code - 48
  const lower = code | 32
  return lower >= 97 && lower <= 102 ? lower - 87 : -1
}

function wordStep(hash: number, letter: number): number {
  return Math.imul(hash ^ letter, 0x01000193) + 0x9e37
}

function wordHash(word: string): number {
  let hash = 0
  for (let at = 0; at < word.length; at += 1) hash = wordStep(hash, word.charCodeAt(at) | 32)
  return hash
}

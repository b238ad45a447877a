/**
 * What compiling rules takes longest, as bytes: the literals that patterns need, and the automaton over all literals. With them the
 * same sources compile in a fraction of the time. Who keeps the bytes has to see to it that they are the ones that this version of the
 * compiler wrote for these sources: with another automaton rules would be passed over where they should run. Here they are only held
 * against their bounds.
 */
import { type AutomatonTables, HAS_OUTPUTS, NO_ROW, ROWS_MAX } from './automaton.ts'

/** What the compiler finds out about a pattern. */
export interface PatternFacts {
  readonly anchored: boolean
  readonly literals: readonly string[] | undefined
  /** Characters that a match has at least. */
  readonly charsMin: number
}

export interface Prepared {
  /** By the text of the pattern. */
  readonly patterns: ReadonlyMap<string, PatternFacts>
  readonly tables: AutomatonTables
}

const MAGIC = 0x52574604
const HEAD_WORDS = 8
const CLASSES = 256
/** Of each pattern: whether it is anchored, how many literals it has or -1, and its `charsMin`. */
const PATTERN_WORDS = 3
/** More than any pattern has, and few enough to be given to one call. */
const TEXT_CHARS_MAX = 60_000

/** Words of 32 bits, then characters of 16: both in the order of the machine, which the magic number tells. */
export function writePrepared({ patterns, tables }: Prepared): Uint8Array {
  const texts: string[] = []
  const numbers: number[] = []
  for (const [source, { anchored, literals, charsMin }] of patterns) {
    texts.push(source, ...(literals ?? []))
    numbers.push(anchored ? 1 : 0, literals === undefined ? -1 : literals.length, charsMin)
  }
  const { slotCount, classCount, classes, table, classOf, childrenFrom, fails, outputsFrom, outputsTo, outputs } = tables
  const rowCount = table.length / classCount
  const head = [MAGIC, patterns.size, texts.length, slotCount, classCount, rowCount, fails.length, outputs.length]
  const lengths = texts.map(({ length }) => length)
  const joined = texts.join('')
  const chars = new Uint16Array(joined.length)
  for (let i = 0; i < joined.length; i += 1) chars[i] = joined.charCodeAt(i)
  return joinBytes([
    Int32Array.from(head),
    childrenFrom,
    fails,
    outputsFrom,
    outputsTo,
    outputs,
    Int32Array.from([...numbers, ...lengths]),
    table,
    chars,
    classes,
    classOf,
  ])
}

function joinBytes(parts: readonly (Uint8Array | Int32Array | Uint16Array)[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { byteLength }) => sum + byteLength, 0))
  let at = 0
  for (const { buffer, byteOffset, byteLength } of parts) {
    bytes.set(new Uint8Array(buffer, byteOffset, byteLength), at)
    at += byteLength
  }
  return bytes
}

/** @returns undefined for bytes that are not what `writePrepared` writes. The tables are views of them. */
export function readPrepared(bytes: Uint8Array): Prepared | undefined {
  // Views of words need an aligned beginning.
  const { buffer, byteOffset, length } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()
  if (length < HEAD_WORDS * 4) return undefined
  const head = new Int32Array(buffer, byteOffset, HEAD_WORDS)
  const [magic, patternCount = 0, textCount = 0, slotCount = 0, classCount = 0, rowCount = 0, stateCount = 0, outputCount = 0] =
    head
  if (
    magic !== MAGIC ||
    head.some((count) => count < 0) ||
    classCount < 1 ||
    rowCount < 1 ||
    rowCount > ROWS_MAX ||
    stateCount < rowCount
  )
    return undefined
  const wordCount = HEAD_WORDS + stateCount * 4 + 1 + outputCount + patternCount * PATTERN_WORDS + textCount
  if (wordCount * 4 > length) return undefined
  let at = byteOffset + HEAD_WORDS * 4
  const words = (count: number): Int32Array => new Int32Array(buffer, (at += count * 4) - count * 4, count)
  const tables = {
    slotCount,
    classCount,
    childrenFrom: words(stateCount + 1),
    fails: words(stateCount),
    outputsFrom: words(stateCount),
    outputsTo: words(stateCount),
    outputs: words(outputCount),
  }
  const numbers = words(patternCount * PATTERN_WORDS)
  const lengths = words(textCount)
  let charCount = 0
  for (const chars of lengths) {
    if (chars < 0 || chars > TEXT_CHARS_MAX) return undefined
    charCount += chars
  }
  if (wordCount * 4 + (rowCount * classCount + charCount) * 2 + CLASSES + stateCount !== length) return undefined
  const table = new Uint16Array(buffer, at, rowCount * classCount)
  at += table.byteLength
  const patterns = readPatterns(numbers, lengths, new Uint16Array(buffer, at, charCount))
  at += charCount * 2
  const classes = new Uint8Array(buffer, at, CLASSES)
  const whole = { ...tables, table, classes, classOf: new Uint8Array(buffer, at + CLASSES, stateCount) }
  return patterns === undefined || !isWithin(whole) ? undefined : { patterns, tables: whole }
}

/** No scan leaves the tables, and none goes round in them for ever: children come after their parent, what a failure leads to before. */
function isWithin(tables: AutomatonTables): boolean {
  const { slotCount, classCount, classes, table, classOf, childrenFrom, fails, outputsFrom, outputsTo, outputs } = tables
  const rowCount = table.length / classCount
  const stateCount = fails.length
  for (let i = 0; i < CLASSES; i += 1) if (classes[i]! >= classCount) return false
  for (let i = 0; i < table.length; i += 1) if (table[i] !== NO_ROW && (table[i]! & ~HAS_OUTPUTS) >= rowCount) return false
  for (let i = 0; i < stateCount; i += 1) {
    if (childrenFrom[i]! <= i || childrenFrom[i + 1]! < childrenFrom[i]! || fails[i]! < 0 || (i > 0 && fails[i]! >= i))
      return false
    if (outputsFrom[i]! < 0 || outputsTo[i]! < outputsFrom[i]! || outputsTo[i]! > outputs.length) return false
  }
  for (let i = 0; i < outputs.length; i += 1) if (outputs[i]! < 0 || outputs[i]! >= slotCount) return false
  // Who looks for a state without a row among children ends at the root.
  for (let c = 0; c < classCount; c += 1)
    if (table[c] === NO_ROW && !classOf.subarray(childrenFrom[0], childrenFrom[1]).includes(c)) return false
  return fails[0] === 0 && childrenFrom[stateCount] === stateCount
}

function readPatterns(
  numbers: Int32Array,
  lengths: Int32Array,
  chars: Uint16Array,
): ReadonlyMap<string, PatternFacts> | undefined {
  const patterns = new Map<string, PatternFacts>()
  let text = 0
  let char = 0
  const next = (): string => {
    const from = char
    char += lengths[text]!
    text += 1
    return String.fromCharCode.apply(null, chars.subarray(from, char) as unknown as number[])
  }
  for (let i = 0; i < numbers.length; i += PATTERN_WORDS) {
    const count = numbers[i + 1]!
    if (count < -1 || text + 1 + Math.max(0, count) > lengths.length) return undefined
    const source = next()
    const literals = count === -1 ? undefined : Array.from({ length: count }, next)
    if (literals?.includes('') === true) return undefined
    patterns.set(source, { anchored: numbers[i] === 1, literals, charsMin: numbers[i + 2]! })
  }
  return text === lengths.length ? patterns : undefined
}

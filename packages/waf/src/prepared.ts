/**
 * What compiling rules takes longest, as bytes: the literals that patterns need. With it the same sources compile in a fraction of
 * the time. Who keeps the bytes has to see to it that they are the ones that this version of the compiler wrote for these sources: a
 * pattern with other literals would be passed over where it should run. Here they are only held against their bounds.
 */

/** What the compiler finds out about a pattern. */
export interface PatternFacts {
  readonly anchored: boolean
  readonly literals: readonly string[] | undefined
}

/** By the text of the pattern. */
export type Prepared = ReadonlyMap<string, PatternFacts>

const MAGIC = 0x52574601
const HEAD_WORDS = 3
/** More than any pattern has, and few enough to be given to one call. */
const TEXT_CHARS_MAX = 60_000

/** Words of 32 bits, then characters of 16: both in the order of the machine, which the magic number tells. */
export function writePrepared(patterns: Prepared): Uint8Array {
  const texts: string[] = []
  const numbers: number[] = []
  for (const [source, { anchored, literals }] of patterns) {
    texts.push(source, ...(literals ?? []))
    numbers.push(anchored ? 1 : 0, literals === undefined ? -1 : literals.length)
  }
  const words = Int32Array.from([MAGIC, patterns.size, texts.length, ...numbers, ...texts.map(({ length }) => length)])
  const joined = texts.join('')
  const chars = new Uint16Array(joined.length)
  for (let i = 0; i < joined.length; i += 1) chars[i] = joined.charCodeAt(i)
  const bytes = new Uint8Array(words.byteLength + chars.byteLength)
  bytes.set(new Uint8Array(words.buffer))
  bytes.set(new Uint8Array(chars.buffer), words.byteLength)
  return bytes
}

/** @returns undefined for bytes that are not what `writePrepared` writes. */
export function readPrepared(bytes: Uint8Array): Prepared | undefined {
  // Views of words need an aligned beginning.
  const { buffer, byteOffset, length } = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice()
  if (length < HEAD_WORDS * 4) return undefined
  const [magic, patternCount, textCount] = new Int32Array(buffer, byteOffset, HEAD_WORDS)
  if (magic !== MAGIC || patternCount! < 0 || textCount! < 0) return undefined
  const wordCount = patternCount! * 2 + textCount!
  const charsFrom = (HEAD_WORDS + wordCount) * 4
  if (charsFrom > length) return undefined
  const numbers = new Int32Array(buffer, byteOffset + HEAD_WORDS * 4, patternCount! * 2)
  const lengths = new Int32Array(buffer, byteOffset + (HEAD_WORDS + patternCount! * 2) * 4, textCount!)
  let charCount = 0
  for (const chars of lengths) {
    if (chars < 0 || chars > TEXT_CHARS_MAX) return undefined
    charCount += chars
  }
  if (charsFrom + charCount * 2 !== length) return undefined
  return readPatterns(numbers, lengths, new Uint16Array(buffer, byteOffset + charsFrom, charCount))
}

function readPatterns(numbers: Int32Array, lengths: Int32Array, chars: Uint16Array): Prepared | undefined {
  const patterns = new Map<string, PatternFacts>()
  let text = 0
  let char = 0
  const next = (): string => {
    const from = char
    char += lengths[text]!
    text += 1
    return String.fromCharCode.apply(null, chars.subarray(from, char) as unknown as number[])
  }
  for (let i = 0; i < numbers.length; i += 2) {
    const count = numbers[i + 1]!
    if (count < -1 || text + 1 + Math.max(0, count) > lengths.length) return undefined
    const source = next()
    const literals = count === -1 ? undefined : Array.from({ length: count }, next)
    if (literals?.includes('') === true) return undefined
    patterns.set(source, { anchored: numbers[i] === 1, literals })
  }
  return text === lengths.length ? patterns : undefined
}

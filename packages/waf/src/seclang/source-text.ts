import { RuleSyntaxError, type SourcePosition } from '../errors.ts'
import type { RuleSource } from '../types.ts'

/** A stretch of text out of a rule file that knows, for each of its characters, where it came from. */
export class Span {
  readonly text: string
  readonly #source: RuleSource
  readonly #from: number
  readonly #places: Int32Array | undefined

  /**
   * @param from Where the text begins: in the file, or among `places`.
   * @param places Where characters came from, for text that is not a stretch of the file as it stands; one place more than
   * characters, so that the position behind the last is known too. Parts of a text share it.
   */
  constructor(text: string, source: RuleSource, from: number, places?: Int32Array) {
    this.text = text
    this.#source = source
    this.#from = from
    this.#places = places
  }

  slice(from: number, to: number = this.text.length): Span {
    return new Span(this.text.slice(from, to), this.#source, this.#from + from, this.#places)
  }

  /** Without blanks at both ends. */
  trim(): Span {
    let from = 0
    let to = this.text.length
    while (from < to && isSpace(this.text, from)) from += 1
    while (to > from && isSpace(this.text, to - 1)) to -= 1
    return from === 0 && to === this.text.length ? this : this.slice(from, to)
  }

  /** Every `\x`, where `x` is the character given, becomes `x`. */
  unescape(escapable: string): Span {
    return this.#without(`\\${escapable}`, 0, 1)
  }

  /** Four backslashes become two. A lone pair stays: files for Apache are written to be read without it too. */
  halveBackslashes(): Span {
    return this.#without('\\\\\\\\', 2, 4)
  }

  /** The characters of each `found` from `low` up to `high` are left out. */
  #without(found: string, low: number, high: number): Span {
    const { text } = this
    let next = text.indexOf(found)
    if (next < 0) return this
    const places = new Int32Array(text.length + 1)
    let kept = ''
    let from = 0
    const keep = (to: number): void => {
      for (let i = from; i < to; i += 1) places[kept.length + i - from] = this.#place(i)
      kept += text.slice(from, to)
    }
    for (; next >= 0; next = text.indexOf(found, next + found.length)) {
      keep(next + low)
      from = next + high
    }
    keep(text.length)
    places[kept.length] = this.#place(text.length)
    return new Span(kept, this.#source, 0, places)
  }

  #place(index: number): number {
    const at = this.#from + Math.min(index, this.text.length)
    return this.#places === undefined ? at : this.#places[at]!
  }

  at(index = 0): SourcePosition {
    const offset = this.#place(index)
    const starts = lineStarts(this.#source)
    let low = 0
    let high = starts.length
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (starts[middle]! <= offset) low = middle
      else high = middle
    }
    return { file: this.#source.file, line: low + 1, column: offset - starts[low]! + 1 }
  }

  fail(index: number, problem: string, expected: string, remedy: string): never {
    throw new RuleSyntaxError(this.at(index), problem, expected, remedy)
  }
}

const knownStarts = new WeakMap<RuleSource, readonly number[]>()

/** Where each line of a file begins. */
function lineStarts(source: RuleSource): readonly number[] {
  const known = knownStarts.get(source)
  if (known !== undefined) return known
  const starts = [0]
  for (let at = source.text.indexOf('\n'); at >= 0; at = source.text.indexOf('\n', at + 1)) starts.push(at + 1)
  knownStarts.set(source, starts)
  return starts
}

/** Words of one directive: its name, then its arguments without their quotes. */
export type DirectiveWords = readonly Span[]

/** Takes a rule file apart into directives: comments, blank lines, continued lines (`\` at the end), quoted arguments. */
export function readDirectives(source: RuleSource): DirectiveWords[] {
  const directives: DirectiveWords[] = []
  for (const line of logicalLines(source)) {
    const words = splitWords(line, source.reader === 'apache')
    if (words.length > 0) directives.push(words)
  }
  return directives
}

function* logicalLines(source: RuleSource): Generator<Span> {
  const { text } = source
  /** Parts of a continued line, from and to. */
  let parts: (readonly [number, number])[] = []
  let at = 0
  let continued = false
  while (at <= text.length) {
    let end = text.indexOf('\n', at)
    if (end < 0) end = text.length
    const stop = end > at && text.charCodeAt(end - 1) === 13 ? end - 1 : end
    if (continued || !isComment(text, at, stop)) {
      continued = stop > at && text.charCodeAt(stop - 1) === BACKSLASH
      if (continued) parts.push([at, stop - 1])
      else if (parts.length === 0) yield new Span(text.slice(at, stop), source, at)
      else {
        parts.push([at, stop])
        yield joined(parts, source)
        parts = []
      }
    }
    at = end + 1
  }
  if (continued) {
    const line = joined([...parts, [text.length, text.length]], source)
    line.fail(
      line.text.length,
      'the file ends in a continued line',
      'another line',
      'Remove the last backslash or complete the rule.',
    )
  }
}

const BACKSLASH = 92

/** As `\s`. */
function isSpace(text: string, at: number): boolean {
  const code = text.charCodeAt(at)
  return code < 128 ? code === 32 || (code >= 9 && code <= 13) : /\s/.test(text[at]!)
}

function isBlank(code: number): boolean {
  return code === 32 || code === 9
}

function isComment(text: string, from: number, to: number): boolean {
  let at = from
  while (at < to && isBlank(text.charCodeAt(at))) at += 1
  return at === to || text[at] === '#'
}

function joined(parts: readonly (readonly [number, number])[], source: RuleSource): Span {
  const size = parts.reduce((sum, [from, to]) => sum + to - from, 0)
  const places = new Int32Array(size + 1)
  let text = ''
  let at = 0
  for (const [from, to] of parts) {
    text += source.text.slice(from, to)
    for (let i = from; i < to; i += 1) places[at++] = i
  }
  places[size] = parts.at(-1)![1]
  return new Span(text, source, 0, places)
}

function splitWords(line: Span, apache: boolean): Span[] {
  const words: Span[] = []
  const { text } = line
  let at = 0
  for (;;) {
    while (at < text.length && isBlank(text.charCodeAt(at))) at += 1
    if (at >= text.length) return words
    const quote = text[at]!
    if (quote !== '"' && quote !== "'") {
      let end = at
      while (end < text.length && !isBlank(text.charCodeAt(end))) end += 1
      words.push(line.slice(at, end))
      at = end
      continue
    }
    let end = at + 1
    const closing = quote.charCodeAt(0)
    for (let code = text.charCodeAt(end); end < text.length && code !== closing; code = text.charCodeAt(end))
      end += code === BACKSLASH ? 2 : 1
    if (end >= text.length)
      line.fail(at, 'a quote that is not closed', `a closing ${quote}`, `Close it, or write \\${quote} for a quote inside.`)
    const word = line.slice(at + 1, end).unescape(quote)
    words.push(apache ? word.halveBackslashes() : word)
    at = end + 1
    if (at < text.length && !isBlank(text.charCodeAt(at))) {
      line.fail(at, 'text right after a closing quote', 'a blank', `Write \\${quote} for a quote inside an argument.`)
    }
  }
}

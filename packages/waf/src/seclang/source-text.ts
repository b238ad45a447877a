import { RuleSyntaxError, type SourcePosition } from '../errors.ts'
import type { RuleSource } from '../types.ts'

/**
 * Where the stretches came from that a text was put together of: stretch i begins at `starts[i]` in the text, and at `places[i]` in
 * the file, or in the text of `base`. Positions are worked out when somebody asks, which is when something is wrong.
 */
interface Origin {
  readonly starts: readonly number[]
  readonly places: readonly number[]
  readonly base: Span | undefined
}

/** A stretch of text out of a rule file that knows, for each of its characters, where it came from. */
export class Span {
  readonly text: string
  readonly #source: RuleSource
  readonly #from: number
  readonly #origin: Origin | undefined

  /**
   * @param from Where the text begins: in the file, or in the text that `origin` tells about.
   * @param origin For text that is not a stretch of the file as it stands. Parts of a text share it.
   */
  constructor(text: string, source: RuleSource, from: number, origin?: Origin) {
    this.text = text
    this.#source = source
    this.#from = from
    this.#origin = origin
  }

  slice(from: number, to: number = this.text.length): Span {
    return new Span(this.text.slice(from, to), this.#source, this.#from + from, this.#origin)
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
    const starts: number[] = []
    const places: number[] = []
    let kept = ''
    let from = 0
    const keep = (to: number): void => {
      starts.push(kept.length)
      places.push(from)
      kept += text.slice(from, to)
    }
    for (; next >= 0; next = text.indexOf(found, next + found.length)) {
      keep(next + low)
      from = next + high
    }
    keep(text.length)
    return new Span(kept, this.#source, 0, { starts, places, base: this })
  }

  #place(index: number): number {
    const at = this.#from + Math.min(index, this.text.length)
    if (this.#origin === undefined) return at
    const { starts, places, base } = this.#origin
    const stretch = lastAtMost(starts, at)
    const place = places[stretch]! + at - starts[stretch]!
    return base === undefined ? place : base.#place(place)
  }

  at(index = 0): SourcePosition {
    const offset = this.#place(index)
    const starts = lineStarts(this.#source)
    const line = lastAtMost(starts, offset)
    return { file: this.#source.file, line: line + 1, column: offset - starts[line]! + 1 }
  }

  fail(index: number, problem: string, expected: string, remedy: string): never {
    throw new RuleSyntaxError(this.at(index), problem, expected, remedy)
  }
}

/** The index of the last of rising numbers, of which the first is 0, that is not above `bound`. */
function lastAtMost(rising: readonly number[], bound: number): number {
  let low = 0
  let high = rising.length
  while (high - low > 1) {
    const middle = (low + high) >> 1
    if (rising[middle]! <= bound) low = middle
    else high = middle
  }
  return low
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
  const starts: number[] = []
  const places: number[] = []
  let text = ''
  for (const [from, to] of parts) {
    starts.push(text.length)
    places.push(from)
    text += source.text.slice(from, to)
  }
  return new Span(text, source, 0, { starts, places, base: undefined })
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

import { RuleSyntaxError, type SourcePosition } from '../errors.ts'
import type { RuleSource } from '../types.ts'

/** A stretch of text out of a rule file that knows, for each of its characters, where it came from. */
export class Span {
  readonly text: string
  readonly #offsets: readonly number[]
  readonly #source: RuleSource

  constructor(text: string, offsets: readonly number[], source: RuleSource) {
    this.text = text
    this.#offsets = offsets
    this.#source = source
  }

  slice(from: number, to: number = this.text.length): Span {
    // One more offset than characters, so that the position behind the last is known too.
    return new Span(this.text.slice(from, to), this.#offsets.slice(from, Math.max(from, to) + 1), this.#source)
  }

  /** Without blanks at both ends. */
  trim(): Span {
    let from = 0
    let to = this.text.length
    while (from < to && /\s/.test(this.text[from]!)) from += 1
    while (to > from && /\s/.test(this.text[to - 1]!)) to -= 1
    return this.slice(from, to)
  }

  /** Every `\x` with `x` in `escapable` becomes `x`. */
  unescape(escapable: string): Span {
    let text = ''
    const offsets: number[] = []
    for (let i = 0; i < this.text.length; i += 1) {
      if (this.text[i] === '\\' && escapable.includes(this.text[i + 1] ?? '\0')) i += 1
      text += this.text[i]
      offsets.push(this.#offsets[i] ?? 0)
    }
    offsets.push(this.#offsets[this.text.length] ?? this.#offsets.at(-1) ?? 0)
    return new Span(text, offsets, this.#source)
  }

  /** Four backslashes become two. A lone pair stays: files for Apache are written to be read without it too. */
  halveBackslashes(): Span {
    if (!this.text.includes('\\\\\\\\')) return this
    let text = ''
    const offsets: number[] = []
    for (let i = 0; i < this.text.length; i += 1) {
      if (this.text.startsWith('\\\\\\\\', i)) {
        text += '\\\\'
        offsets.push(this.#offsets[i] ?? 0, this.#offsets[i + 1] ?? 0)
        i += 3
        continue
      }
      text += this.text[i]
      offsets.push(this.#offsets[i] ?? 0)
    }
    offsets.push(this.#offsets[this.text.length] ?? this.#offsets.at(-1) ?? 0)
    return new Span(text, offsets, this.#source)
  }

  at(index = 0): SourcePosition {
    const offset = this.#offsets[Math.min(index, this.#offsets.length - 1)] ?? 0
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
  let held = ''
  let offsets: number[] = []
  let at = 0
  let continued = false
  while (at <= text.length) {
    let end = text.indexOf('\n', at)
    if (end < 0) end = text.length
    const stop = end > at && text[end - 1] === '\r' ? end - 1 : end
    const comment = !continued && /^[ \t]*(?:#|$)/.test(text.slice(at, stop))
    if (!comment) {
      continued = text[stop - 1] === '\\' && stop > at
      const last = continued ? stop - 1 : stop
      for (let i = at; i < last; i += 1) offsets.push(i)
      held += text.slice(at, last)
      if (!continued) {
        offsets.push(last)
        yield new Span(held, offsets, source)
        held = ''
        offsets = []
      }
    }
    at = end + 1
  }
  if (continued) {
    new Span(held, [...offsets, text.length], source).fail(
      held.length,
      'the file ends in a continued line',
      'another line',
      'Remove the last backslash or complete the rule.',
    )
  }
}

function splitWords(line: Span, apache: boolean): Span[] {
  const words: Span[] = []
  const { text } = line
  let at = 0
  for (;;) {
    while (at < text.length && (text[at] === ' ' || text[at] === '\t')) at += 1
    if (at >= text.length) return words
    const quote = text[at]!
    if (quote !== '"' && quote !== "'") {
      let end = at
      while (end < text.length && text[end] !== ' ' && text[end] !== '\t') end += 1
      words.push(line.slice(at, end))
      at = end
      continue
    }
    let end = at + 1
    while (end < text.length && text[end] !== quote) end += text[end] === '\\' ? 2 : 1
    if (end >= text.length)
      line.fail(at, 'a quote that is not closed', `a closing ${quote}`, `Close it, or write \\${quote} for a quote inside.`)
    const word = line.slice(at + 1, end).unescape(quote)
    words.push(apache ? word.halveBackslashes() : word)
    at = end + 1
    if (at < text.length && text[at] !== ' ' && text[at] !== '\t') {
      line.fail(at, 'text right after a closing quote', 'a blank', `Write \\${quote} for a quote inside an argument.`)
    }
  }
}

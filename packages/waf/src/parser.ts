/**
 * SecLang, the rule language of ModSecurity (its Reference Manual, v3): text to directives. Knows the form, not the meaning:
 * names of variables, operators and actions are judged by the compiler, at the places that are kept here.
 */
import { RuleSyntaxError } from './errors.ts'
import type { RuleSource } from './types.ts'

export interface Place {
  readonly file: string
  readonly line: number
  readonly column: number
}

/** One part of a directive, unquoted. */
export interface Word extends Place {
  readonly text: string
}

export interface Directive extends Place {
  readonly name: string
  readonly words: readonly Word[]
}

export interface ParsedAction extends Place {
  readonly name: string
  readonly value: string | undefined
}

export interface ParsedVariable extends Place {
  readonly name: string
  readonly selector: string | undefined
  /** The selector was written between slashes. */
  readonly isPattern: boolean
  /** `&NAME`: how many there are. */
  readonly isCount: boolean
  /** `!NAME:selector`: all but these. */
  readonly isExclusion: boolean
}

export interface ParsedOperator extends Place {
  readonly name: string
  readonly argument: string
  readonly negated: boolean
}

export function fail(place: Place, what: string): never {
  throw new RuleSyntaxError(place.file, place.line, place.column, what)
}

/** @throws {RuleSyntaxError} */
export function parseDirectives({ file, text }: RuleSource): readonly Directive[] {
  const found: Directive[] = []
  const lines = text.split(/\r?\n/)
  for (let i = 0; i < lines.length; i += 1) {
    const first = i
    let logical = lines[i] as string
    if (/^\s*(#|$)/.test(logical)) continue
    const starts = [0]
    while (logical.endsWith('\\') && i + 1 < lines.length) {
      logical = logical.slice(0, -1)
      starts.push(logical.length)
      i += 1
      logical += lines[i] as string
    }
    /** Where in the file a character of the joined line stands. */
    const at = (index: number): Place => {
      const row = starts.findLastIndex((start) => start <= index)
      return { file, line: first + row + 1, column: index - (starts[row] as number) + 1 }
    }
    const words = splitWords(logical, at)
    const [head, ...rest] = words
    if (head !== undefined) found.push({ ...at(logical.length - logical.trimStart().length), name: head.text, words: rest })
  }
  return found
}

/** Words are separated by spaces; `"…"` and `'…'` hold spaces, and the quote itself after a backslash. */
function splitWords(line: string, at: (index: number) => Place): readonly Word[] {
  const words: Word[] = []
  for (let i = 0; i < line.length; ) {
    if (/\s/.test(line[i] as string)) {
      i += 1
      continue
    }
    const start = i
    const quote = line[i] === '"' || line[i] === "'" ? line[i] : undefined
    let text = ''
    if (quote === undefined) {
      while (i < line.length && !/\s/.test(line[i] as string)) text += line[i++]
    } else {
      for (i += 1; line[i] !== quote; i += 1) {
        if (i >= line.length) fail(at(start), `a ${quote} that is not closed; end the value with ${quote}`)
        if (line[i] === '\\' && line[i + 1] === quote) i += 1
        text += line[i]
      }
      i += 1
    }
    words.push({ ...at(quote === undefined ? start : start + 1), text })
  }
  return words
}

function within(word: Word, offset: number): Place {
  return { file: word.file, line: word.line, column: word.column + offset }
}

/** `ARGS|!ARGS:token|REQUEST_HEADERS:/^x-/|&ARGS`. */
export function parseVariables(word: Word): readonly ParsedVariable[] {
  const found: ParsedVariable[] = []
  let offset = 0
  // A bar inside /…/ belongs to the pattern.
  for (const part of word.text.match(/(?:[^|/]|\/(?:[^/\\]|\\.)*\/)+|\|/g) ?? []) {
    const place = within(word, offset)
    offset += part.length
    if (part === '|') continue
    const match = /^([!&]?)([A-Z_]+)(?::(.+))?$/.exec(part)
    if (match === null) fail(place, `${JSON.stringify(part)} is no variable; expected NAME or NAME:selector in upper case`)
    const [, prefix, name, rawSelector] = match as unknown as [string, string, string, string | undefined]
    const selector = rawSelector?.replace(/^'(.*)'$/, '$1')
    const pattern = selector === undefined ? null : /^\/(.*)\/$/.exec(selector)
    found.push({
      ...place,
      name,
      selector: pattern === null ? selector : (pattern[1] as string),
      isPattern: pattern !== null,
      isCount: prefix === '&',
      isExclusion: prefix === '!',
    })
  }
  if (found.length === 0) fail(word, 'expected at least one variable')
  return found
}

/** `@rx …`, `!@eq 0`, or a bare pattern, which means `@rx`. */
export function parseOperator(word: Word): ParsedOperator {
  const match = /^(!?)@([A-Za-z0-9]+)(?:\s+([\s\S]*))?$/.exec(word.text)
  if (match !== null) return { ...within(word, 0), name: match[2] as string, argument: match[3] ?? '', negated: match[1] === '!' }
  const negated = word.text.startsWith('!')
  return { ...within(word, 0), name: 'rx', argument: negated ? word.text.slice(1) : word.text, negated }
}

/** `id:1,phase:2,msg:'a, b',chain`. */
export function parseActions(word: Word): readonly ParsedAction[] {
  const found: ParsedAction[] = []
  const { text } = word
  for (let i = 0; i < text.length; ) {
    while (i < text.length && /[\s,]/.test(text[i] as string)) i += 1
    if (i >= text.length) break
    const start = i
    let name = ''
    while (i < text.length && !/[,:\s]/.test(text[i] as string)) name += text[i++]
    let value: string | undefined
    if (text[i] === ':') {
      i += 1
      value = ''
      if (text[i] === "'") {
        for (i += 1; text[i] !== "'"; i += 1) {
          if (i >= text.length) fail(within(word, start), `${name}: a ' that is not closed`)
          if (text[i] === '\\' && text[i + 1] === "'") i += 1
          value += text[i]
        }
        i += 1
      } else {
        while (i < text.length && text[i] !== ',') value += text[i++]
        value = value.trim()
      }
    }
    found.push({ ...within(word, start), name, value })
  }
  return found
}

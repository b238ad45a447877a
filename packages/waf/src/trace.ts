/** Notes what rules matched, for whoever asks why. No part of a request's way: only `RuleSet.examine` has one. */
import { compilePattern } from './operators/rx.ts'
import type { CompiledRule, Link } from './rule.ts'
import type { Entry, RequestState } from './state.ts'
import type { Subject } from './subject.ts'
import type { MatchedPart, RuleFinding } from './types.ts'
import { entryLabel } from './variables.ts'

const FINDINGS_MAX = 400
const PARTS_MAX = 16
const VALUE_CHARS_MAX = 4_096
const WINDOW_CHARS = 240
/** How far into a value the place of a match is looked for. */
const LOCATE_CHARS_MAX = 16_384

interface Seen {
  readonly link: Link
  readonly entry: Entry
  readonly subject: Subject
}

export class RuleTrace {
  readonly findings: RuleFinding[] = []
  #seen: Seen[] = []
  #more = 0

  begin(): void {
    this.#seen = []
    this.#more = 0
  }

  seen(link: Link, entry: Entry, subject: Subject): void {
    if (this.#seen.length < PARTS_MAX) this.#seen.push({ link, entry, subject })
    else this.#more += 1
  }

  matched(rule: CompiledRule, scoreBefore: number, scoreAfter: number, state: RequestState): void {
    if (this.findings.length >= FINDINGS_MAX) return
    const links = rule.links
    this.findings.push({
      ruleId: rule.id,
      message: state.expand(rule.message),
      severity: rule.severity,
      phase: rule.phase,
      at: rule.at,
      reported: rule.log,
      scoreBefore,
      scoreAfter,
      parts: this.#seen.map((seen) => part(seen, links.indexOf(seen.link))),
      partsLeftOut: this.#more,
    })
  }
}

function part({ link, entry, subject }: Seen, index: number): MatchedPart {
  const { told } = link
  const found = locate(link, subject.text)
  const [start, end] = windowAround(subject.text.length, found)
  return {
    variable: entryLabel(entry).slice(0, 300),
    link: index,
    transformations: told.transformations,
    operator: told.operator,
    argument: told.argument,
    negated: told.negated,
    value: entry.subject.text.slice(0, VALUE_CHARS_MAX),
    seen: subject.text.slice(start, end),
    from: found === undefined ? undefined : found[0] - start,
    to: found === undefined ? undefined : Math.min(end, found[1]) - start,
  }
}

function windowAround(length: number, found: readonly [number, number] | undefined): readonly [number, number] {
  if (length <= WINDOW_CHARS) return [0, length]
  if (found === undefined) return [0, WINDOW_CHARS]
  const [from, to] = found
  const around = Math.max(0, WINDOW_CHARS - (to - from)) >> 1
  const start = Math.max(0, Math.min(from - around, length - WINDOW_CHARS))
  return [start, start + WINDOW_CHARS]
}

/** Where the operator matched; undefined where it judges the value as a whole, or says no. */
function locate({ told, operator, negated }: Link, whole: string): readonly [number, number] | undefined {
  if (negated) return undefined
  const text = whole.slice(0, LOCATE_CHARS_MAX)
  const at = (index: number, length: number): readonly [number, number] | undefined =>
    index < 0 || length === 0 ? undefined : [index, index + length]
  const { argument } = told
  switch (told.operator.toLowerCase()) {
    case 'rx':
    case 'rxglobal':
      return argument.includes('%{') ? undefined : locatePattern(argument, text)
    case 'pm':
    case 'pmf':
    case 'pmfromfile':
      return locateWord(operator.literals ?? [], text)
    case 'contains':
    case 'containsword':
    case 'strmatch':
      return at(text.indexOf(argument), argument.length)
    case 'beginswith':
      return at(text.startsWith(argument) ? 0 : -1, argument.length)
    case 'endswith':
      return whole.endsWith(argument) ? at(whole.length - argument.length, argument.length) : undefined
    case 'validateurlencoding':
      return at(text.search(/%(?![0-9a-fA-F]{2})/), 1)
    default:
      return undefined
  }
}

function locatePattern(source: string, text: string): readonly [number, number] | undefined {
  const match = compilePattern(source).regex.exec(text)
  return match === null || match[0] === '' ? undefined : [match.index, match.index + match[0].length]
}

/** The first word; of those that begin there, the longest. */
function locateWord(words: readonly string[], text: string): readonly [number, number] | undefined {
  const lower = text.toLowerCase()
  let best: readonly [number, number] | undefined
  for (const word of words) {
    const at = lower.indexOf(word)
    if (at < 0 || (best !== undefined && (at > best[0] || (at === best[0] && at + word.length <= best[1])))) continue
    best = [at, at + word.length]
  }
  return best
}

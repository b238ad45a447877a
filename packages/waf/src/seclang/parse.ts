/** SecLang text to a tree. Syntax only: whether a variable, operator or action can be run is for the compiler to say. */
import type { RuleSource } from '../types.ts'
import { type DirectiveWords, readDirectives, type Span } from './source-text.ts'

export interface TargetNode {
  readonly span: Span
  readonly count: boolean
  readonly exclude: boolean
  /** In upper case. */
  readonly collection: string
  readonly selector: { readonly span: Span; readonly regex: boolean } | undefined
}

export interface OperatorNode {
  readonly span: Span
  readonly negated: boolean
  /** As written; `rx` when none is. */
  readonly name: string
  readonly argument: Span
}

export interface ActionNode {
  readonly span: Span
  /** In lower case. */
  readonly name: string
  readonly value: Span | undefined
}

export type DirectiveNode =
  | {
      readonly kind: 'rule'
      readonly span: Span
      readonly targets: readonly TargetNode[]
      readonly operator: OperatorNode
      readonly actions: readonly ActionNode[]
    }
  | { readonly kind: 'action'; readonly span: Span; readonly actions: readonly ActionNode[] }
  | { readonly kind: 'default'; readonly span: Span; readonly actions: readonly ActionNode[] }
  | { readonly kind: 'marker'; readonly span: Span; readonly name: string }
  /** SecRuleRemoveBy...: takes rules that stand before it out. */
  | { readonly kind: 'remove'; readonly span: Span; readonly by: RuleSelection; readonly values: readonly Span[] }
  /** SecRuleUpdateTargetBy...: adds variables or exclusions to rules that stand before it. */
  | {
      readonly kind: 'retarget'
      readonly span: Span
      readonly by: RuleSelection
      readonly value: Span
      readonly targets: readonly TargetNode[]
    }
  /** SecRuleUpdateActionById: changes what rules that stand before it do. */
  | { readonly kind: 'react'; readonly span: Span; readonly value: Span; readonly actions: readonly ActionNode[] }
  /** Any other directive: `name` in lower case, for the compiler to judge. */
  | { readonly kind: 'setting'; readonly span: Span; readonly name: string; readonly values: readonly Span[] }

export type RuleSelection = 'id' | 'tag' | 'msg'

export function parseRules(source: RuleSource): DirectiveNode[] {
  return readDirectives(source).map(parseDirective)
}

function parseDirective(words: DirectiveWords): DirectiveNode {
  const head = words[0]!
  switch (head.text.toLowerCase()) {
    case 'secrule': {
      expectWords(words, 2, 3, 'variables, an operator and actions')
      return {
        kind: 'rule',
        span: head,
        targets: parseTargets(words[1]!),
        operator: parseOperator(words[2]!),
        actions: words[3] === undefined ? [] : parseActions(words[3]),
      }
    }
    case 'secaction':
      expectWords(words, 1, 1, 'one list of actions')
      return { kind: 'action', span: head, actions: parseActions(words[1]!) }
    case 'secdefaultaction':
      expectWords(words, 1, 1, 'one list of actions')
      return { kind: 'default', span: head, actions: parseActions(words[1]!) }
    case 'secmarker':
      expectWords(words, 1, 1, 'one name')
      return { kind: 'marker', span: head, name: unquoted(words[1]!).text }
    case 'secruleremovebyid':
    case 'secruleremovebytag':
    case 'secruleremovebymsg': {
      const by = head.text.toLowerCase().slice('secruleremoveby'.length) as RuleSelection
      expectWords(words, 1, by === 'id' ? 1_000 : 1, by === 'id' ? 'ids or ranges of ids' : 'one pattern')
      return { kind: 'remove', span: head, by, values: words.slice(1).map(unquoted) }
    }
    case 'secruleupdatetargetbyid':
    case 'secruleupdatetargetbytag':
    case 'secruleupdatetargetbymsg': {
      const by = head.text.toLowerCase().slice('secruleupdatetargetby'.length) as RuleSelection
      expectWords(words, 2, 2, 'what rules are meant, and variables')
      return { kind: 'retarget', span: head, by, value: unquoted(words[1]!), targets: parseTargets(unquoted(words[2]!)) }
    }
    case 'secruleupdateactionbyid':
      expectWords(words, 2, 2, 'an id and a list of actions')
      return { kind: 'react', span: head, value: unquoted(words[1]!), actions: parseActions(words[2]!) }
    default:
      return { kind: 'setting', span: head, name: head.text.toLowerCase(), values: words.slice(1).map(unquoted) }
  }
}

function expectWords(words: DirectiveWords, min: number, max: number, what: string): void {
  const given = words.length - 1
  if (given >= min && given <= max) return
  const span = words[Math.min(words.length - 1, max + 1)]!
  span.fail(0, `${words[0]!.text} with ${given} arguments`, what, 'Put quotes around arguments that hold blanks.')
}

function unquoted(span: Span): Span {
  const { text } = span
  return text.length >= 2 && text[0] === "'" && text.at(-1) === "'" ? span.slice(1, text.length - 1) : span
}

export function parseTargets(span: Span): TargetNode[] {
  const targets: TargetNode[] = []
  const { text } = span
  let at = 0
  while (at <= text.length) {
    const start = at
    let count = false
    let exclude = false
    while (text[at] === '&' || text[at] === '!' || text[at] === ' ') {
      count ||= text[at] === '&'
      exclude ||= text[at] === '!'
      at += 1
    }
    const nameStart = at
    while (at < text.length && isWord(text.charCodeAt(at))) at += 1
    if (at === nameStart) span.fail(at, 'a variable is missing', 'the name of a variable', 'Separate variables by |.')
    const collection = text.slice(nameStart, at).toUpperCase()
    let selector: TargetNode['selector']
    if (text[at] === ':') {
      // An XPath expression begins with a slash too.
      const end = collection === 'XML' ? pathEnd(span, at + 1) : selectorEnd(span, at + 1)
      const text = span.slice(at + 1, end)
      selector = collection === 'XML' ? { span: unquoted(text), regex: false } : parseSelector(text)
      at = end
    }
    targets.push({ span: span.slice(start, at), count, exclude, collection, selector })
    if (at < text.length && text[at] !== '|' && text[at] !== ',') {
      span.fail(at, `the character ${text[at]} after a variable`, '| or the end', 'Quote regex selectors as /.../.')
    }
    at += 1
  }
  return targets
}

/** Of names: letters, digits, `_`. */
function isWord(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 48 && code <= 57) || code === 95
}

function pathEnd(span: Span, from: number): number {
  const { text } = span
  let end = from
  while (end < text.length && text[end] !== '|' && text[end] !== ',') end += 1
  if (end === from) span.fail(from, 'an empty selector', 'an XPath expression', 'Write for example XML:/* or XML://@*.')
  return end
}

/** Where a selector ends; a `|` inside `/.../` does not end it. */
function selectorEnd(span: Span, from: number): number {
  const { text } = span
  const quote = text[from] === "'" ? "'" : ''
  const start = from + quote.length
  if (text[start] === '/') {
    let end = start + 1
    while (end < text.length && text[end] !== '/') end += text[end] === '\\' ? 2 : 1
    if (end >= text.length)
      span.fail(from, 'a regex selector that is not closed', 'a closing /', 'Close it, or write \\/ inside.')
    return end + 1 + quote.length
  }
  let end = from
  while (end < text.length && text[end] !== '|' && text[end] !== ',') end += 1
  if (end === from) span.fail(from, 'an empty selector', 'a name or /regex/', 'Remove the colon to mean all of them.')
  return end
}

function parseSelector(span: Span): { readonly span: Span; readonly regex: boolean } {
  const inner = unquoted(span)
  if (inner.text.startsWith('/')) return { span: inner.slice(1, inner.text.length - 1).unescape('/'), regex: true }
  return { span: inner, regex: false }
}

function parseOperator(span: Span): OperatorNode {
  const match = /^(!?)[ ]?@([A-Za-z][A-Za-z0-9]*)[ \t]*/.exec(span.text)
  if (match !== null) return { span, negated: match[1] === '!', name: match[2]!, argument: span.slice(match[0].length) }
  const negated = span.text.startsWith('!')
  return { span, negated, name: 'rx', argument: span.slice(negated ? 1 : 0) }
}

const COMMA = 44
const BACKSLASH = 92
const QUOTE = 39

function parseActions(span: Span): ActionNode[] {
  const actions: ActionNode[] = []
  const { text } = span
  let at = 0
  while (at <= text.length) {
    let end = at
    let quoted = false
    for (; end < text.length; end += 1) {
      const code = text.charCodeAt(end)
      if (code === COMMA && !quoted) break
      if (code === BACKSLASH) end += 1
      else if (code === QUOTE) quoted = !quoted
    }
    if (quoted)
      span.fail(text.indexOf("'", at), 'a quote that is not closed', "a closing '", "Close it, or write \\' for a quote inside.")
    const one = span.slice(at, Math.min(end, text.length)).trim()
    if (one.text !== '') actions.push(parseAction(one))
    else if (end < text.length || actions.length === 0)
      span.fail(at, 'an empty action', 'the name of an action', 'Remove the comma.')
    at = end + 1
  }
  return actions
}

function parseAction(span: Span): ActionNode {
  const match = /^([A-Za-z][A-Za-z0-9_]*)[ \t]*(:?)/.exec(span.text)
  if (match === null)
    return span.fail(0, `the action ${span.text}`, 'a name, or name:value', "Put '...' around values that hold commas.")
  const name = match[1]!.toLowerCase()
  if (match[2] === '') {
    if (match[0].length < span.text.length)
      span.fail(match[0].length, 'text after an action', 'a comma or a colon', 'Separate actions by commas.')
    return { span, name, value: undefined }
  }
  const value = unquoted(span.slice(match[0].length).trim())
  return { span, name, value: value.text.includes("\\'") ? value.unescape("'") : value }
}

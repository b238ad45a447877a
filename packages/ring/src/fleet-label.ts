/** Labels of nodes, and selectors over them, as Kubernetes writes both. Safe for browsers. */

/** Of one node or device. */
export const LABELS_MAX = 16
export const SELECTOR_CHARS_MAX = 512
const TERMS_MAX = 16
const VALUES_MAX = 32

const KEY = '[a-z][a-z0-9._/-]{0,62}'
const VALUE = '[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?'
export const LABEL_KEY: RegExp = new RegExp(`^${KEY}$`)
export const LABEL_VALUE: RegExp = new RegExp(`^${VALUE}$`)
export const LABEL: RegExp = new RegExp(`^${KEY}=${VALUE}$`)
export const LABEL_EXPECTED = 'KEY=VALUE such as role=edge'
/** What every node has by itself: nobody sets them. */
export const OWN_LABELS: readonly string[] = ['node', 'region']

/** Key to value. */
export type Labels = ReadonlyMap<string, string>

export interface SelectorTerm {
  readonly key: string
  /** Has one of these; has none of these (or no such label); has the label; has it not. */
  readonly how: 'in' | 'notin' | 'exists' | 'absent'
  readonly values: readonly string[]
}

export type Selector = readonly SelectorTerm[]

const TERM = new RegExp(`^(?:(!?)(${KEY})|(${KEY})[ ]*(!=|==?)[ ]*(${VALUE})|(${KEY})[ ]+(in|notin)[ ]*\\(([^()]*)\\))$`)

/**
 * Reads `role=edge,region in (eu-1,eu-2),!spare`. All terms must hold; empty selects everything.
 *
 * @returns The terms, or what is wrong.
 */
export function parseSelector(text: string): { readonly terms: Selector } | { readonly fault: string } {
  if (text.length > SELECTOR_CHARS_MAX) return { fault: `a selector has at most ${SELECTOR_CHARS_MAX} characters` }
  if (text.trim() === '') return { terms: [] }
  const parts = splitTerms(text)
  if (parts.length > TERMS_MAX) return { fault: `a selector has at most ${TERMS_MAX} terms` }
  const terms: SelectorTerm[] = []
  for (const part of parts) {
    const term = parseTerm(part)
    if (typeof term === 'string') return { fault: term }
    terms.push(term)
  }
  return { terms }
}

export function matchesSelector(selector: Selector, labels: Labels): boolean {
  return selector.every(({ key, how, values }) => {
    const value = labels.get(key)
    if (how === 'exists') return value !== undefined
    if (how === 'absent') return value === undefined
    const isIn = value !== undefined && values.includes(value)
    return how === 'in' ? isIn : !isIn
  })
}

const SELECTORS_KEPT_MAX = 256
const kept = new Map<string, ReturnType<typeof parseSelector>>()

/** Whether a selector of the policy selects a node of these labels; one that is malformed selects none. The same few are asked for again and again. */
export function isSelected(select: string, labels: Labels): boolean {
  let read = kept.get(select)
  if (read === undefined) {
    read = parseSelector(select)
    if (kept.size >= SELECTORS_KEPT_MAX) kept.clear()
    kept.set(select, read)
  }
  return 'terms' in read && matchesSelector(read.terms, labels)
}

/** At commas outside of parentheses. */
function splitTerms(text: string): readonly string[] {
  const parts: string[] = []
  let depth = 0
  let from = 0
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at]
    if (char === '(') depth += 1
    else if (char === ')') depth -= 1
    else if (char === ',' && depth === 0) {
      parts.push(text.slice(from, at).trim())
      from = at + 1
    }
  }
  parts.push(text.slice(from).trim())
  return parts
}

function parseTerm(part: string): SelectorTerm | string {
  const match = TERM.exec(part)
  const expected = 'expected terms such as role=edge, role!=edge, region in (eu-1,eu-2), region notin (us), spare or !spare'
  if (match === null) return `${JSON.stringify(part)} is no term of a selector: ${expected}`
  const [, not, bare, key, sign, value, setKey, how, list] = match
  if (bare !== undefined) return { key: bare, how: not === '!' ? 'absent' : 'exists', values: [] }
  if (key !== undefined) return { key, how: sign === '!=' ? 'notin' : 'in', values: [value as string] }
  const values = (list as string).split(',').map((one) => one.trim())
  const wrong = values.find((one) => !LABEL_VALUE.test(one))
  if (wrong !== undefined) return `${JSON.stringify(wrong)} is no value of a label, in ${JSON.stringify(part)}`
  if (values.length > VALUES_MAX) return `a term lists at most ${VALUES_MAX} values`
  return { key: setKey as string, how: how as 'in' | 'notin', values }
}

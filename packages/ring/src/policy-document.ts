/**
 * Reads `ringwall.yaml`: text in, a policy or a list of problems out, each with line and column. Total: it never throws,
 * whatever the text, since validators run it on what others propose.
 *
 * YAML 1.2 core, one document, no tags of its own, no duplicate keys, few aliases, bounded size and depth.
 */
import { type Document, isAlias, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument } from 'yaml'
import type { z } from 'zod'
import { didYouMean } from './did-you-mean.ts'
import { type Policy, PolicySchema } from './policy.ts'
import { type PolicyFault, policyFaults } from './policy-faults.ts'

/** Longest text, UTF-16 code units. */
export const POLICY_CHARS_MAX = 1_048_576
const ALIASES_MAX = 100
const DEPTH_MAX = 32
/** More problems than this help nobody. */
const PROBLEMS_MAX = 100

/** One thing wrong. `line` and `column` count from 1. */
export interface PolicyProblem {
  readonly line: number
  readonly column: number
  /** JSON pointer (RFC 6901), e.g. `/services/shop/waf/mode`; empty for the whole. */
  readonly path: string
  readonly message: string
  /** What to do about it. */
  readonly hint?: string
}

export type PolicyDocument =
  | { readonly ok: true; readonly policy: Policy }
  | { readonly ok: false; readonly problems: readonly PolicyProblem[] }

type Path = readonly PropertyKey[]
type MoreFaults = (policy: Policy) => readonly PolicyFault[]
const noMore: MoreFaults = () => []

/**
 * @param file Names the text in messages about the text as a whole.
 * @param more What else to find fault with, once the policy is right in itself.
 */
export function parsePolicyDocument(text: string, file = 'the policy', more: MoreFaults = noMore): PolicyDocument {
  const whole = (message: string, hint?: string): PolicyDocument => ({
    ok: false,
    problems: [{ line: 1, column: 1, path: '', message, ...(hint === undefined ? {} : { hint }) }],
  })
  if (text.length > POLICY_CHARS_MAX) {
    return whole(`${file} is ${text.length} characters long, at most ${POLICY_CHARS_MAX} are read`)
  }
  if (nestedTooDeep(text)) return whole(`${file} is nested more than ${DEPTH_MAX} deep`, 'flatten it')
  try {
    return read(text, whole, more)
  } catch (error) {
    if (error instanceof RangeError) return whole(`${file} is nested too deep to be read`, 'flatten it')
    const cause = error instanceof Error ? error.message : 'the parser gave no reason'
    return whole(`${file} cannot be read as YAML: ${cause}`)
  }
}

/** Opened brackets, without regard to quotes: a bound for the parser's recursion, far above what a policy needs. */
function nestedTooDeep(text: string): boolean {
  let depth = 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    if (code === 91 || code === 123) depth += 1
    else if (code === 93 || code === 125) depth = Math.max(0, depth - 1)
    if (depth > 200) return true
  }
  return false
}

function read(text: string, whole: (message: string, hint?: string) => PolicyDocument, more: MoreFaults): PolicyDocument {
  const lines = new LineCounter()
  // Duplicate keys are looked for below: the parser's own search is quadratic.
  const document = parseDocument(text, {
    lineCounter: lines,
    uniqueKeys: false,
    prettyErrors: false,
    schema: 'core',
    version: '1.2',
  })
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }
  const syntax = [...document.errors, ...document.warnings].map(({ code, pos, message }): PolicyProblem => {
    const known = SYNTAX_WORDS.get(code)
    const plain = message.startsWith('Maximum call stack') ? 'nested too deep to be read' : firstLine(message)
    const hint = known?.hint
    return { ...at(pos[0]), path: '', message: known?.message ?? plain, ...(hint === undefined ? {} : { hint }) }
  })
  if (syntax.length > 0) return refused(syntax)
  if (document.contents === null) return whole('the policy is empty', 'it needs at least version: 1 and services')
  const structure = structureProblems(document, at)
  if (structure.length > 0) return refused(structure)
  const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX })
  const parsed = PolicySchema.safeParse(value)
  const faults = parsed.success ? faultsIn(parsed.data, more) : parsed.error.issues.flatMap((issue) => explain(issue, value))
  if (parsed.success && faults.length === 0) return { ok: true, policy: parsed.data }
  return refused(
    faults.map(({ path, onKey, message, hint, within }) => ({
      ...placeOf(document, text, path, onKey === true, within, at),
      path: pointer(path),
      message,
      ...(hint === undefined ? {} : { hint }),
    })),
  )
}

function faultsIn(policy: Policy, more: MoreFaults): readonly PolicyFault[] {
  const own = policyFaults(policy)
  return own.length > 0 ? own : more(policy)
}

/** What the parser says better in our words; by its code. */
const SYNTAX_WORDS: ReadonlyMap<string, { readonly message?: string; readonly hint: string }> = new Map([
  ['TAB_AS_INDENT', { hint: 'indent with spaces' }],
  ['BAD_INDENT', { hint: 'align it with its neighbours' }],
  ['MISSING_CHAR', { hint: 'close what was opened before' }],
  ['MULTIPLE_DOCS', { message: 'a second document begins here', hint: 'keep one, without a second ---' }],
  ['TAG_RESOLVE_FAILED', { hint: 'write plain values without tags' }],
])

function refused(problems: readonly PolicyProblem[]): PolicyDocument {
  const sorted = problems.toSorted((a, b) => a.line - b.line || a.column - b.column)
  return { ok: false, problems: sorted.slice(0, PROBLEMS_MAX) }
}

function firstLine(message: string): string {
  return message.split('\n', 1)[0]!.replace(/:$/, '')
}

/** Keys that occur twice or are not text, depth, and names for reuse in excess. */
function structureProblems(document: Document, at: (offset: number) => { line: number; column: number }): PolicyProblem[] {
  const problems: PolicyProblem[] = []
  let aliases = 0
  const report = (node: Node, path: Path, message: string, hint?: string) => {
    problems.push({ ...at(node.range?.[0] ?? 0), path: pointer(path), message, ...(hint === undefined ? {} : { hint }) })
  }
  const visit = (node: unknown, path: Path): void => {
    if (problems.length >= PROBLEMS_MAX) return
    if (isAlias(node)) {
      aliases += 1
      if (aliases === ALIASES_MAX + 1) report(node, path, `more than ${ALIASES_MAX} aliases`, 'write the values out')
    } else if (path.length > DEPTH_MAX) {
      report(node as Node, path, `nested more than ${DEPTH_MAX} deep`, 'flatten it')
    } else if (isMap(node)) {
      const seen = new Set<string>()
      for (const { key, value } of node.items) {
        if (!isScalar(key)) {
          report(node, path, 'a key that is not plain text', 'write keys as names')
          continue
        }
        const name = String(key.value)
        if (seen.has(name)) report(key, [...path, name], `${name} occurs twice`, 'keep one of the two')
        seen.add(name)
        visit(value, [...path, name])
      }
    } else if (isSeq(node)) {
      node.items.forEach((item, index) => {
        visit(item, [...path, index])
      })
    }
  }
  visit(document.contents, [])
  return problems
}

/** Where in the text a path stands: its value, or its key; what is absent stands where its parent does. */
function offsetOf(document: Document, path: Path, onKey: boolean): number {
  let node: Node | null | undefined = document.contents
  let offset = node?.range?.[0] ?? 0
  for (const [depth, step] of path.entries()) {
    if (isAlias(node)) node = node.resolve(document)
    let pair: Pair | undefined
    let next: unknown
    if (isMap(node)) {
      pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step))
      next = pair?.value
    } else if (isSeq(node)) next = node.items[Number(step)]
    if (pair === undefined && next === undefined) return offset
    const keyOffset = isScalar(pair?.key) ? pair.key.range?.[0] : undefined
    const valueNode = next as Node | null | undefined
    const last = depth === path.length - 1
    // A map is best pointed at by its key; a scalar by itself.
    const byKey = keyOffset !== undefined && (last ? onKey : true)
    offset = (byKey ? keyOffset : valueNode?.range?.[0]) ?? keyOffset ?? offset
    node = valueNode
  }
  return offset
}

type Place = { readonly line: number; readonly column: number }

/** In a literal block each line of the text is a line of the document; elsewhere the text's own place has to do. */
function placeOf(
  document: Document,
  text: string,
  path: Path,
  onKey: boolean,
  within: Place | undefined,
  at: (offset: number) => Place,
): Place {
  const node = within === undefined ? undefined : document.getIn(path, true)
  if (within === undefined || !isScalar(node) || node.type !== 'BLOCK_LITERAL' || node.range == null)
    return at(offsetOf(document, path, onKey))
  const begin = text.indexOf('\n', node.range[0]) + 1
  const first = /^(?:[ ]*\r?\n)*( *)/.exec(text.slice(begin, node.range[1]))
  return { line: at(begin).line + within.line - 1, column: within.column + (first?.[1]?.length ?? 0) }
}

function pointer(path: Path): string {
  return path.map((step) => `/${String(step).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}

function dotted(path: Path): string {
  return path.length === 0 ? 'the policy' : path.map(String).join('.')
}

/** A problem of the schema in words that say what was expected, what was found and what to do. */
function explain(issue: z.core.$ZodIssue, value: unknown): PolicyFault[] {
  const { path } = issue
  const found = valueAt(value, path)
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(PolicySchema, path)
    return issue.keys.map((key) => {
      const near = didYouMean(key, known)
      const hint = near === undefined ? `known here: ${known.join(', ')}` : `did you mean ${near}?`
      return { path: [...path, key], onKey: true, message: `${key} is not known in ${dotted(path)}`, hint }
    })
  }
  if (issue.code === 'invalid_key') {
    const message = issue.issues[0]?.message ?? issue.message
    return [{ path, onKey: true, message: `${String(path.at(-1))}: ${lower(message)}` }]
  }
  if (found === undefined) return [{ path, message: `${dotted(path)} is missing`, hint: `add ${String(path.at(-1))}` }]
  if (issue.code === 'invalid_value') {
    const allowed = issue.values.map(String)
    const near = typeof found === 'string' ? didYouMean(found, allowed) : undefined
    const fault = { path, message: `expected ${either(allowed)}, found ${show(found)}` }
    return [near === undefined ? fault : { ...fault, hint: `did you mean ${near}?` }]
  }
  if (issue.code === 'invalid_type') {
    return [{ path, message: `expected ${TYPE_WORDS.get(issue.expected) ?? issue.expected}, found ${show(found)}` }]
  }
  if (issue.code === 'invalid_union') {
    // Of the right kind, and wrong further in: what is wrong there says more than that something is.
    const meant = issue.errors.filter((option) => option.length > 0 && option.every((inner) => inner.path.length > 0))
    if (meant.length === 1) return meant[0]!.flatMap((inner) => explain({ ...inner, path: [...path, ...inner.path] }, value))
    const inner = issue.errors.flat().flatMap((option) => explain({ ...option, path: [...path, ...option.path] }, value))
    const expected = inner.map(({ message }) => message.replace(/^expected /, '').replace(/, found .*$/, ''))
    return [{ path, message: `expected ${either([...new Set(expected)])}, found ${show(found)}` }]
  }
  if (issue.code === 'invalid_format') {
    const text = issue.message.startsWith('expected ') ? issue.message : `expected text like ${issue.pattern ?? issue.format}`
    return [{ path, message: `${text}, found ${show(found)}` }]
  }
  return [{ path, message: `${lower(issue.message)}, found ${show(found)}` }]
}

const TYPE_WORDS: ReadonlyMap<string, string> = new Map([
  ['string', 'text'],
  ['number', 'a number'],
  ['int', 'a whole number'],
  ['boolean', 'true or false'],
  ['array', 'a list'],
  ['object', 'a map of keys'],
  ['record', 'a map of names'],
])

function lower(message: string): string {
  return message.charAt(0).toLowerCase() + message.slice(1)
}

function either(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? 'something else') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'object' && value !== null) return 'a map of keys'
  const text = typeof value === 'string' ? JSON.stringify(value) : value === null ? 'nothing' : String(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

function valueAt(value: unknown, path: Path): unknown {
  let at = value
  for (const step of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, step)) return undefined
    at = (at as Record<PropertyKey, unknown>)[step]
  }
  return at
}

/** The keys that the schema knows at a place. */
function keysAt(schema: z.core.$ZodType, path: Path): readonly string[] {
  const bare = unwrapped(schema)
  const { def } = bare._zod
  const [step, ...rest] = path
  if (def.type === 'union') {
    const objects = def.options.filter((option) => unwrapped(option)._zod.def.type === 'object')
    return objects.length === 1 ? keysAt(objects[0]!, path) : []
  }
  if (def.type === 'object') {
    if (step === undefined) return Object.keys(def.shape)
    const next = def.shape[String(step)]
    return next === undefined ? [] : keysAt(next, rest)
  }
  if (step !== undefined && def.type === 'record') return keysAt(def.valueType, rest)
  if (step !== undefined && def.type === 'array') return keysAt(def.element, rest)
  return []
}

function unwrapped(schema: z.core.$ZodType): z.core.$ZodTypes {
  let bare = schema as z.core.$ZodTypes
  for (;;) {
    const { def } = bare._zod
    if (def.type === 'optional' || def.type === 'default' || def.type === 'prefault' || def.type === 'nullable') {
      bare = def.innerType as z.core.$ZodTypes
    } else if (def.type === 'pipe') bare = def.in as z.core.$ZodTypes
    else if (def.type === 'lazy') bare = def.getter() as z.core.$ZodTypes
    else return bare
  }
}

/** `ringwall.yaml:12:5: message (hint)`, one line a problem. */
export function formatProblems(problems: readonly PolicyProblem[], file: string): string {
  return problems
    .map(({ line, column, message, hint }) => `${file}:${line}:${column}: ${message}${hint === undefined ? '' : ` (${hint})`}`)
    .join('\n')
}

/**
 * Location paths of XPath 1.0 (W3C, 1999) as policies ask for parts of a request's Content by: steps along child, attribute, self, parent, descendant and
 * descendant-or-self, tests of names and kinds, predicates of position, existence and equality, unions. All of it yields nodes; what else XPath
 * has is refused when the path is read. Every node that is looked at is counted, so that a path is bounded by what it may cost.
 */
import type { XmlElement } from './xml.ts'

const PATH_CHARS_MAX = 1_000
const DEPTH_MAX = 8
const STEPS_MAX = 64

export class PathInvalid extends Error {
  override readonly name = 'PathInvalid'
  readonly code = 'XPATH_INVALID'
}

export interface PathNode {
  readonly kind: 'root' | 'element' | 'attribute' | 'text'
  /** In the order of the document. */
  readonly order: number
  readonly name: string
  readonly namespace: string
  readonly parent: PathNode | undefined
  readonly children: PathNode[]
  readonly attributes: PathNode[]
  /** Of attributes and texts. */
  readonly value: string
}

type Axis = 'child' | 'attribute' | 'self' | 'parent' | 'descendant' | 'descendant-or-self'
const AXES: ReadonlySet<string> = new Set(['child', 'attribute', 'self', 'parent', 'descendant', 'descendant-or-self'])

interface Step {
  readonly axis: Axis
  readonly test: (node: PathNode) => boolean
  readonly predicates: readonly Predicate[]
}

interface LocationPath {
  readonly isAbsolute: boolean
  readonly steps: readonly Step[]
}

/** Locations, joined by `|`. */
export type Path = readonly LocationPath[]

type Predicate =
  | { readonly kind: 'position'; readonly at: number | 'last' }
  | { readonly kind: 'path'; readonly path: Path }
  | { readonly kind: 'equals'; readonly path: Path; readonly value: string; readonly isNot: boolean }
  | { readonly kind: 'and' | 'or'; readonly all: readonly Predicate[] }

/** Counts what was looked at. @throws When it was too much. */
export type Spend = (work: number) => void

const TOKEN =
  /\s*(?:(\/\/|::|\.\.|!=|[/@.*()[\]|=])|("[^"]*"|'[^']*')|(\d+)(?![\w.])|([A-Za-z_][\w.-]*(?::(?:[A-Za-z_][\w.-]*|\*))?))/y

interface Token {
  readonly kind: 'mark' | 'text' | 'number' | 'name'
  readonly text: string
}

function tokensOf(text: string): readonly Token[] {
  const tokens: Token[] = []
  const end = text.trimEnd().length
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < end) {
    const from = TOKEN.lastIndex
    const match = TOKEN.exec(text)
    if (match === null) throw new PathInvalid(`${JSON.stringify(text.slice(from, from + 20))} is not taken in a path`)
    const [, mark, quoted, number, name] = match
    if (mark !== undefined) tokens.push({ kind: 'mark', text: mark })
    else if (quoted !== undefined) tokens.push({ kind: 'text', text: quoted.slice(1, -1) })
    else if (number !== undefined) tokens.push({ kind: 'number', text: number })
    else tokens.push({ kind: 'name', text: name! })
  }
  return tokens
}

/** @param namespaces By prefix, as they are declared where the path stands. @throws {PathInvalid} */
export function parsePath(text: string, namespaces: ReadonlyMap<string, string>): Path {
  if (text.length > PATH_CHARS_MAX) throw new PathInvalid(`a path has at most ${PATH_CHARS_MAX} characters`)
  return new PathReader(tokensOf(text), namespaces).whole()
}

class PathReader {
  readonly #tokens: readonly Token[]
  readonly #namespaces: ReadonlyMap<string, string>
  #at = 0
  #depth = 0
  #steps = 0

  constructor(tokens: readonly Token[], namespaces: ReadonlyMap<string, string>) {
    this.#tokens = tokens
    this.#namespaces = namespaces
  }

  whole(): Path {
    const path = this.#union()
    if (this.#at < this.#tokens.length) throw this.#unexpected('the end')
    return path
  }

  #is(text: string, kind: Token['kind'] = 'mark', ahead = 0): boolean {
    const token = this.#tokens[this.#at + ahead]
    return token?.kind === kind && token.text === text
  }

  #take(text: string, kind: Token['kind'] = 'mark'): boolean {
    if (!this.#is(text, kind)) return false
    this.#at += 1
    return true
  }

  #expect(text: string): void {
    if (!this.#take(text)) throw this.#unexpected(text)
  }

  #unexpected(expected: string): PathInvalid {
    const token = this.#tokens[this.#at]
    return new PathInvalid(
      `${expected} is expected, not ${token === undefined ? 'the end of the path' : JSON.stringify(token.text)}`,
    )
  }

  #union(): Path {
    if (++this.#depth > DEPTH_MAX) throw new PathInvalid(`predicates more than ${DEPTH_MAX} deep`)
    const all = [this.#location()]
    while (this.#take('|')) all.push(this.#location())
    this.#depth -= 1
    return all
  }

  #location(): LocationPath {
    const steps: Step[] = []
    const isAbsolute = this.#is('/') || this.#is('//')
    if (this.#take('/') && !this.#beginsStep()) return { isAbsolute, steps }
    do {
      if (this.#take('//')) steps.push({ axis: 'descendant-or-self', test: () => true, predicates: [] })
      else if (steps.length > 0) this.#expect('/')
      steps.push(this.#step())
      this.#steps += 1
      if (this.#steps > STEPS_MAX) throw new PathInvalid(`more than ${STEPS_MAX} steps`)
    } while (this.#is('/') || this.#is('//'))
    return { isAbsolute, steps }
  }

  #beginsStep(): boolean {
    return this.#tokens[this.#at]?.kind === 'name' || ['@', '.', '..', '*'].some((mark) => this.#is(mark))
  }

  #step(): Step {
    if (this.#take('.')) return { axis: 'self', test: () => true, predicates: [] }
    if (this.#take('..')) return { axis: 'parent', test: () => true, predicates: [] }
    let axis: Axis = 'child'
    if (this.#take('@')) axis = 'attribute'
    else if (this.#is('::', 'mark', 1)) {
      const name = this.#tokens[this.#at]!.text
      if (!AXES.has(name)) throw new PathInvalid(`the axis ${name} is not taken: there are ${[...AXES].join(', ')}`)
      axis = name as Axis
      this.#at += 2
    }
    const test = this.#test(axis)
    const predicates: Predicate[] = []
    while (this.#take('[')) {
      predicates.push(this.#predicate())
      this.#expect(']')
    }
    return { axis, test, predicates }
  }

  #test(axis: Axis): Step['test'] {
    const kind = axis === 'attribute' ? 'attribute' : 'element'
    if (this.#take('*')) return (node) => node.kind === kind
    const token = this.#tokens[this.#at]
    if (token?.kind !== 'name') throw this.#unexpected('a name')
    this.#at += 1
    if (this.#take('(')) {
      if (token.text !== 'text' && token.text !== 'node')
        throw new PathInvalid(`the function ${token.text} is not taken in a path`)
      this.#expect(')')
      return (node) => token.text === 'node' || node.kind === 'text'
    }
    const colon = token.text.indexOf(':')
    const [prefix, local] = colon < 0 ? ['', token.text] : [token.text.slice(0, colon), token.text.slice(colon + 1)]
    // XPath 1.0, section 2.3: a name without a prefix has no namespace, whatever the default is.
    const namespace = prefix === '' ? '' : this.#namespaces.get(prefix)
    if (namespace === undefined) throw new PathInvalid(`the prefix ${prefix} names no namespace`)
    return (node) => node.kind === kind && node.namespace === namespace && (local === '*' || node.name === local)
  }

  #predicate(): Predicate {
    const all = [this.#conjunction()]
    while (this.#take('or', 'name')) all.push(this.#conjunction())
    return all.length === 1 ? all[0]! : { kind: 'or', all }
  }

  #conjunction(): Predicate {
    const all = [this.#comparison()]
    while (this.#take('and', 'name')) all.push(this.#comparison())
    return all.length === 1 ? all[0]! : { kind: 'and', all }
  }

  #comparison(): Predicate {
    const token = this.#tokens[this.#at]
    if (token?.kind === 'number') {
      this.#at += 1
      return { kind: 'position', at: Number(token.text) }
    }
    if (this.#is('last', 'name') && this.#is('(', 'mark', 1) && this.#is(')', 'mark', 2)) {
      this.#at += 3
      return { kind: 'position', at: 'last' }
    }
    const path = this.#union()
    const isNot = this.#is('!=')
    if (!isNot && !this.#is('=')) return { kind: 'path', path }
    this.#at += 1
    const value = this.#tokens[this.#at]
    if (value?.kind !== 'text') throw this.#unexpected('a text in quotes')
    this.#at += 1
    return { kind: 'equals', path, value: value.text, isNot }
  }
}

/** The tree of a document, by its root element. */
export function pathRoot(element: XmlElement): PathNode {
  let order = 0
  const made = (kind: PathNode['kind'], name: string, namespace: string, parent: PathNode | undefined, value = ''): PathNode => ({
    kind,
    order: order++,
    name,
    namespace,
    parent,
    children: [],
    attributes: [],
    value,
  })
  // As deep as XML may be nested: `parseXml` bounds it.
  const add = (one: XmlElement, parent: PathNode): void => {
    const node = made('element', one.name, one.namespace, parent)
    parent.children.push(node)
    for (const [name, value] of one.attributes)
      if (!name.includes(':')) node.attributes.push(made('attribute', name, '', node, value))
    for (const { name, namespace, value } of one.others) node.attributes.push(made('attribute', name, namespace, node, value))
    for (const child of one.nodes) {
      if (typeof child === 'string') node.children.push(made('text', '', '', node, child))
      else add(child, node)
    }
  }
  const root = made('root', '', '', undefined)
  add(element, root)
  return root
}

/** All texts below a node, joined (section 5). */
export function stringValue(node: PathNode, spend: Spend): string {
  spend(1 + (node.value.length >> 6))
  return node.kind === 'text' || node.kind === 'attribute'
    ? node.value
    : node.children.map((child) => stringValue(child, spend)).join('')
}

/** Nodes in the order of the document, each once. */
export function evaluatePath(path: Path, context: PathNode, spend: Spend): readonly PathNode[] {
  const found = new Set<PathNode>()
  for (const location of path) for (const node of located(location, context, spend)) found.add(node)
  return [...found].sort((a, b) => a.order - b.order)
}

function located({ isAbsolute, steps }: LocationPath, context: PathNode, spend: Spend): Iterable<PathNode> {
  let from = context
  while (isAbsolute && from.parent !== undefined) from = from.parent
  let nodes: Iterable<PathNode> = [from]
  for (const { axis, test, predicates } of steps) {
    const next = new Set<PathNode>()
    for (const node of nodes) {
      let chosen: readonly PathNode[] = along(axis, node, spend).filter(test)
      for (const predicate of predicates)
        chosen = chosen.filter((one, index) => holds(predicate, one, index + 1, chosen.length, spend))
      for (const one of chosen) next.add(one)
    }
    nodes = [...next].sort((a, b) => a.order - b.order)
  }
  return nodes
}

function along(axis: Axis, node: PathNode, spend: Spend): readonly PathNode[] {
  spend(1)
  if (axis === 'self') return [node]
  if (axis === 'parent') return node.parent === undefined ? [] : [node.parent]
  const near = axis === 'attribute' ? node.attributes : node.children
  spend(near.length)
  if (axis === 'attribute' || axis === 'child') return near
  const all: PathNode[] = axis === 'descendant-or-self' ? [node] : []
  const below = (one: PathNode): void => {
    for (const child of one.children) {
      spend(1)
      all.push(child)
      below(child)
    }
  }
  below(node)
  return all
}

function holds(predicate: Predicate, node: PathNode, position: number, size: number, spend: Spend): boolean {
  spend(1)
  switch (predicate.kind) {
    case 'position':
      return position === (predicate.at === 'last' ? size : predicate.at)
    case 'path':
      return evaluatePath(predicate.path, node, spend).length > 0
    case 'equals':
      return evaluatePath(predicate.path, node, spend).some(
        (one) => (stringValue(one, spend) === predicate.value) !== predicate.isNot,
      )
    case 'and':
      return predicate.all.every((one) => holds(one, node, position, size, spend))
    case 'or':
      return predicate.all.some((one) => holds(one, node, position, size, spend))
  }
}

/** Is a node of the one set, or anything below it, in the other (XACML 3.0, A.3.15)? */
export function pathsMatch(first: readonly PathNode[], second: readonly PathNode[], spend: Spend): boolean {
  const sought = new Set(second)
  const isIn = (node: PathNode): boolean => {
    spend(1)
    return sought.has(node) || node.attributes.some(isIn) || node.children.some(isIn)
  }
  return first.some(isIn)
}

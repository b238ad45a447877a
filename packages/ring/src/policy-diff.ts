/** What changes from one policy to another, by meaning: formatting, comments and the order of named things are no difference. */
import type { Policy } from './policy.ts'

/** `path` is dotted, e.g. `services.shop.waf.mode`; members of lists of named things go by their name. */
export interface PolicyChange {
  readonly kind: 'add' | 'remove' | 'change'
  readonly path: string
  readonly before?: unknown
  readonly after?: unknown
}

/** Lists under these keys are sets of things, known by this field. */
const NAMED_BY: ReadonlyMap<string, string> = new Map([
  ['routes', 'name'],
  ['limits', 'name'],
  ['upstreams', 'url'],
  ['issuers', 'issuer'],
  ['tests', 'name'],
  ['parameters', 'name'],
  ['exceptions', 'name'],
  ['patches', 'name'],
  ['bouncers', 'name'],
  ['indicators', 'set'],
  ['taxii', 'name'],
])

/** Empty when the two mean the same. */
export function diffPolicies(before: Policy, after: Policy): readonly PolicyChange[] {
  const changes: PolicyChange[] = []
  compare(before, after, '', '', changes)
  return changes
}

function compare(before: unknown, after: unknown, path: string, key: string, changes: PolicyChange[]): void {
  if (before === after) return
  if (before === undefined) changes.push({ kind: 'add', path, after })
  else if (after === undefined) changes.push({ kind: 'remove', path, before })
  else if (isMap(before) && isMap(after)) compareMaps(before, after, path, changes)
  else if (Array.isArray(before) && Array.isArray(after)) compareLists(before, after, path, key, changes)
  else changes.push({ kind: 'change', path, before, after })
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function compareMaps(
  before: Readonly<Record<string, unknown>>,
  after: Readonly<Record<string, unknown>>,
  path: string,
  changes: PolicyChange[],
): void {
  for (const key of [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()) {
    compare(own(before, key), own(after, key), joined(path, key), key, changes)
  }
}

function own(map: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(map, key) ? map[key] : undefined
}

function joined(path: string, key: string): string {
  const plain = /^[A-Za-z0-9_-]+$/.test(key)
  if (!plain) return `${path}[${JSON.stringify(key)}]`
  return path === '' ? key : `${path}.${key}`
}

function compareLists(
  before: readonly unknown[],
  after: readonly unknown[],
  path: string,
  key: string,
  changes: PolicyChange[],
): void {
  const by = NAMED_BY.get(key)
  const left = by === undefined ? undefined : named(before, by)
  const right = by === undefined ? undefined : named(after, by)
  if (left !== undefined && right !== undefined) {
    compareMaps(left, right, path, changes)
    return
  }
  const nested: PolicyChange[] = []
  if (before.length === after.length) for (const [index, item] of before.entries()) compare(item, after[index], '', '', nested)
  if (before.length !== after.length || nested.length > 0) changes.push({ kind: 'change', path, before, after })
}

/** Undefined when some member has no name, or two have the same. */
function named(list: readonly unknown[], by: string): Readonly<Record<string, unknown>> | undefined {
  const map = new Map<string, unknown>()
  for (const item of list) {
    const name = isMap(item) ? item[by] : undefined
    if (typeof name !== 'string' || map.has(name)) return undefined
    map.set(name, item)
  }
  return Object.fromEntries(map)
}

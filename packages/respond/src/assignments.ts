/**
 * Who works on what: by the id of a finding, the last assignment. An incident is assigned as the last of those about its findings says, whether it is open,
 * closed or found again. Joined by the later: associative, commutative and idempotent within the bounds. A node tells what operators assigned by its own
 * admin API. Pure and bounded.
 */
const ASSIGNMENTS_MAX = 2_000
const TOLD_MAX = 200
const NOTE_CHARS_MAX = 512
const AHEAD_MS = 120_000
const BYTES_MAX = 262_144
/** The first byte of what is told. */
export const ASSIGNMENTS_VERSION = 7

export interface Assignment {
  /** Of a finding, 12 hex digits. */
  readonly id: string
  /** Unix milliseconds. */
  readonly atMs: number
  /** The operator who works on it; null: nobody does any more. */
  readonly to: string | null
  /** The operator who said so. */
  readonly by: string
  readonly note: string
  /** By whose API. */
  readonly node: string
}

export class Assignments {
  readonly #byId = new Map<string, Assignment>()

  assign(assignment: Assignment): void {
    const given = { ...assignment, note: assignment.note.slice(0, NOTE_CHARS_MAX) }
    const before = this.#byId.get(given.id)
    if (before !== undefined && !isLater(given, before)) return
    this.#byId.set(given.id, given)
    if (this.#byId.size <= ASSIGNMENTS_MAX) return
    // The oldest, whatever the order in which they came.
    this.#byId.delete([...this.#byId.values()].reduce((a, b) => (isLater(a, b) ? b : a)).id)
  }

  /** The last about any of its findings; one that says that nobody works on it included. */
  last(ids: readonly string[]): Assignment | undefined {
    return ids.reduce<Assignment | undefined>((last, id) => {
      const one = this.#byId.get(id)
      return one !== undefined && (last === undefined || isLater(one, last)) ? one : last
    }, undefined)
  }

  /** Undefined: nobody works on it. */
  of(ids: readonly string[]): Assignment | undefined {
    const last = this.last(ids)
    return last?.to === null ? undefined : last
  }

  /** The latest of those that a node took. */
  summary(node: string): Uint8Array | undefined {
    const own = this.all()
      .filter((assignment) => assignment.node === node)
      .slice(-TOLD_MAX)
    if (own.length === 0) return undefined
    const json = new TextEncoder().encode(JSON.stringify(own))
    const bytes = new Uint8Array(json.length + 1)
    bytes[0] = ASSIGNMENTS_VERSION
    bytes.set(json, 1)
    return bytes
  }

  /** What is in another’s name, malformed, or of a time to come is passed over. */
  merge(node: string, payload: Uint8Array, nowMs: number): void {
    if (payload.length > BYTES_MAX || payload[0] !== ASSIGNMENTS_VERSION) return
    for (const assignment of readAssignments(payload.subarray(1)).slice(0, TOLD_MAX))
      if (assignment.node === node && assignment.atMs <= nowMs + AHEAD_MS) this.assign(assignment)
  }

  /** The latest last. */
  all(): readonly Assignment[] {
    return [...this.#byId.values()].sort((a, b) => (isLater(a, b) ? 1 : -1))
  }

  restore(bytes: Uint8Array): void {
    for (const assignment of readAssignments(bytes)) this.assign(assignment)
  }
}

/** Two at the same time are in the same order everywhere. */
function isLater(a: Assignment, b: Assignment): boolean {
  if (a.atMs !== b.atMs) return a.atMs > b.atMs
  const [one, other] = [a, b].map(({ id, node, to, by, note }) => JSON.stringify([node, to, by, note, id])) as [string, string]
  return one > other
}

function readAssignments(bytes: Uint8Array): readonly Assignment[] {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return []
  }
  return Array.isArray(value) ? (value as unknown[]).flatMap((one) => readAssignment(one) ?? []) : []
}

const isText = (value: unknown, charsMax: number): value is string =>
  typeof value === 'string' && value.length <= charsMax && !/\p{Cc}/u.test(value)

function readAssignment(value: unknown): Assignment | undefined {
  const { id, atMs, to, by, note, node } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>
  if (typeof id !== 'string' || !/^[0-9a-f]{12}$/.test(id) || !Number.isSafeInteger(atMs)) return undefined
  if (to !== null && (!isText(to, 64) || to === '')) return undefined
  if (!isText(by, 64) || !isText(node, 64) || !isText(note, NOTE_CHARS_MAX)) return undefined
  return { id, atMs: atMs as number, to, by, note, node }
}

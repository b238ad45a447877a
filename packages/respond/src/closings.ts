/**
 * What operators closed: by the id of a finding, the last closing. An incident is closed while one of its findings is, and nothing was found since. Joined
 * by the later; a node tells what operators closed by its own admin API. Pure and bounded.
 */
const CLOSINGS_MAX = 2_000
const TOLD_MAX = 200
const NOTE_CHARS_MAX = 512
const AHEAD_MS = 120_000
const BYTES_MAX = 262_144
/** The first byte of what is told. */
export const CLOSINGS_VERSION = 4

export interface Closing {
  /** Of a finding, 12 hex digits. */
  readonly id: string
  /** Unix milliseconds. */
  readonly atMs: number
  /** The operator. */
  readonly by: string
  readonly note: string
  /** By whose API. */
  readonly node: string
}

export class Closings {
  readonly #byId = new Map<string, Closing>()

  close(closing: Closing): void {
    const before = this.#byId.get(closing.id)
    if (before !== undefined && before.atMs >= closing.atMs) return
    this.#byId.delete(closing.id)
    this.#byId.set(closing.id, { ...closing, note: closing.note.slice(0, NOTE_CHARS_MAX) })
    if (this.#byId.size > CLOSINGS_MAX) this.#byId.delete(this.#byId.keys().next().value as string)
  }

  /** What closes it: the last of those about its findings, unless something was found since. */
  of({ ids, lastMs }: { readonly ids: readonly string[]; readonly lastMs: number }): Closing | undefined {
    let last: Closing | undefined
    for (const id of ids) {
      const closing = this.#byId.get(id)
      if (closing !== undefined && closing.atMs > (last?.atMs ?? 0)) last = closing
    }
    return last === undefined || last.atMs < lastMs ? undefined : last
  }

  /** The latest of those that a node took. */
  summary(node: string): Uint8Array | undefined {
    const own = [...this.#byId.values()].filter((closing) => closing.node === node).slice(-TOLD_MAX)
    if (own.length === 0) return undefined
    const json = new TextEncoder().encode(JSON.stringify(own))
    const bytes = new Uint8Array(json.length + 1)
    bytes[0] = CLOSINGS_VERSION
    bytes.set(json, 1)
    return bytes
  }

  /** What is in another’s name, malformed, or of a time to come is passed over. */
  merge(node: string, payload: Uint8Array, nowMs: number): void {
    if (payload.length > BYTES_MAX || payload[0] !== CLOSINGS_VERSION) return
    for (const closing of readClosings(payload.subarray(1)).slice(0, TOLD_MAX))
      if (closing.node === node && closing.atMs <= nowMs + AHEAD_MS) this.close(closing)
  }

  all(): readonly Closing[] {
    return [...this.#byId.values()]
  }

  restore(bytes: Uint8Array): void {
    for (const closing of readClosings(bytes)) this.close(closing)
  }
}

function readClosings(bytes: Uint8Array): readonly Closing[] {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    return []
  }
  if (!Array.isArray(value)) return []
  return (value as unknown[]).flatMap((one) => {
    const { id, atMs, by, note, node } = (typeof one === 'object' && one !== null ? one : {}) as Record<string, unknown>
    if (typeof id !== 'string' || !/^[0-9a-f]{12}$/.test(id) || !Number.isSafeInteger(atMs)) return []
    if (typeof by !== 'string' || by.length > 64 || typeof note !== 'string' || note.length > NOTE_CHARS_MAX) return []
    if (typeof node !== 'string' || node.length > 64 || /\p{Cc}/u.test(by + note + node)) return []
    return [{ id, atMs: atMs as number, by, note, node }]
  })
}

/**
 * Requests that rules matched, as they came in, so that they can be judged again: to explain them, and to see what a change of the
 * rules would let through. In memory only, bounded in bytes and number, and by source, so that one client cannot push out all others.
 */
import type { GuardRequest, WafJudgement } from '@ringwall/guard'
import type { HeaderField } from '@ringwall/waf'

const REQUESTS_MAX = 5_000
const PER_SOURCE_MAX = 100
const PER_SECOND_MAX = 200
const OVERHEAD_BYTES = 400

export interface ArchivedRequest {
  readonly requestId: string
  readonly atMs: number
  readonly policyVersion: number
  readonly request: GuardRequest
  readonly body: Uint8Array
  readonly truncated: boolean
}

interface Entry {
  readonly atMs: number
  readonly policyVersion: number
  readonly source: string
  readonly truncated: boolean
  readonly head: Buffer
  readonly body: Buffer
}

interface Head {
  readonly method: string
  readonly target: string
  readonly httpVersion: string
  readonly protocol: string | undefined
  readonly headers: readonly HeaderField[]
  readonly remoteAddress: string
  readonly host: string
  readonly path: string
}

export class RequestArchive {
  readonly #bytesMax: number
  readonly #entries = new Map<string, Entry>()
  readonly #bySource = new Map<string, Set<string>>()
  #bytes = 0
  #second = 0
  #inSecond = 0
  /** Not kept, because too many came in one second. */
  skipped = 0

  /** @param bytesMax 0 keeps nothing. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get size(): number {
    return this.#entries.size
  }

  get bytes(): number {
    return this.#bytes
  }

  add(
    { request }: Pick<WafJudgement, 'request'>,
    body: Uint8Array,
    truncated: boolean,
    policyVersion: number,
    nowMs: number,
  ): void {
    const id = request.requestId
    if (id === undefined || id === '' || this.#entries.has(id) || this.#bytesMax === 0) return
    const second = Math.floor(nowMs / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#inSecond = 0
    }
    if (this.#inSecond >= PER_SECOND_MAX) {
      this.skipped += 1
      return
    }
    this.#inSecond += 1
    // Copied out of the connection's buffers, which would be kept alive by a string that points into them.
    const { method, target, httpVersion, protocol, headers, remoteAddress, host, path } = request
    const head: Head = { method, target, httpVersion, protocol, headers, remoteAddress, host, path }
    const entry: Entry = {
      atMs: nowMs,
      policyVersion,
      source: Buffer.from(remoteAddress, 'latin1').toString('latin1'),
      truncated,
      head: Buffer.from(JSON.stringify(head)),
      body: Buffer.from(body),
    }
    const bytes = sizeOf(entry)
    if (bytes > this.#bytesMax / 4) return
    const own = this.#bySource.get(entry.source) ?? new Set()
    if (own.size >= PER_SOURCE_MAX) this.#drop(own.values().next().value as string)
    while (this.#entries.size >= REQUESTS_MAX || this.#bytes + bytes > this.#bytesMax)
      this.#drop(this.#entries.keys().next().value as string)
    const kept = Buffer.from(id, 'latin1').toString('latin1')
    own.add(kept)
    this.#bySource.set(entry.source, own)
    this.#entries.set(kept, entry)
    this.#bytes += bytes
  }

  find(requestId: string): ArchivedRequest | undefined {
    const entry = this.#entries.get(requestId)
    return entry === undefined ? undefined : whole(requestId, entry)
  }

  /** Newest first. */
  *all(): Generator<ArchivedRequest> {
    for (const id of [...this.#entries.keys()].reverse()) {
      const entry = this.#entries.get(id)
      if (entry !== undefined) yield whole(id, entry)
    }
  }

  #drop(id: string): void {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    this.#entries.delete(id)
    this.#bytes -= sizeOf(entry)
    const own = this.#bySource.get(entry.source)
    own?.delete(id)
    if (own?.size === 0) this.#bySource.delete(entry.source)
  }
}

function sizeOf({ head, body }: Entry): number {
  return head.length + body.length + OVERHEAD_BYTES
}

function whole(requestId: string, { atMs, policyVersion, truncated, head, body }: Entry): ArchivedRequest {
  const { protocol, ...rest } = JSON.parse(head.toString('utf8')) as Head
  const request = { ...rest, ...(protocol === undefined ? {} : { protocol }), requestId }
  return { requestId, atMs, policyVersion, request, body, truncated }
}

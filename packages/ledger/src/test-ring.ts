/**
 * For tests: a ring in one process. The network delivers, delays, loses and cuts as a real one does; the application
 * keeps a list of words, each at most once. `plus-ID` and `minus-ID` are words that change the validators.
 */
import { createHash, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Channel, LinkStatus, MessageHandler, NodeId, RequestHandler } from '@ringwall/fabric'
import { openLedger } from './open.ts'
import type { LedgerFabric, LedgerFault, LedgerOptions } from './options.ts'
import type { Application, Genesis, Ledger, ValidatorSet } from './types.ts'

export interface Words {
  readonly words: ReadonlySet<string>
  readonly root: string
}

const NOTHING = '00'.repeat(32)
const rootWith = (root: string, held: string) => createHash('sha256').update(`${root}${held}\n`).digest('hex')
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

/** A transaction is a word of lower-case letters, digits and dashes, with `@` and the Unix milliseconds it lapses at if it does. */
export const wordsApplication: Application<Words> = {
  initial: () => ({ words: new Set(), root: NOTHING }),
  check(state, tx, nowMs) {
    const [word = '', until] = text(tx).split('@')
    if (!/^[a-z0-9-]+$/.test(word)) return { ok: false, code: 'WORD_FORM', reason: 'not a word', hopeless: true }
    if (until !== undefined && Number(until) <= nowMs) return { ok: false, code: 'WORD_LAPSED', reason: 'its time is over' }
    if (state.words.has(word)) return { ok: false, code: 'WORD_KNOWN', reason: 'the word is there already' }
    return { ok: true, id: word }
  },
  prepare(state, candidates, context, bytesMax) {
    const chosen: Uint8Array[] = []
    const words = new Set<string>()
    let bytes = 0
    for (const tx of candidates) {
      const checked = wordsApplication.check(state, tx, context.timestampMs)
      if (!checked.ok || words.has(checked.id) || bytes + tx.length > bytesMax) continue
      words.add(checked.id)
      chosen.push(tx)
      bytes += tx.length
    }
    return chosen
  },
  execute(state, txs, context) {
    if (txs.length === 0) return { ok: true, state, results: [] }
    const words = new Set(state.words)
    let { root } = state
    for (const tx of txs) {
      const checked = wordsApplication.check({ ...state, words }, tx, context.timestampMs)
      if (!checked.ok) return { ok: false, reason: checked.reason }
      words.add(checked.id)
      root = rootWith(root, checked.id)
    }
    return {
      ok: true,
      state: { words, root },
      results: txs.map((tx) => ({ id: text(tx).split('@')[0] ?? '', ok: true })),
    }
  },
  root: (state) => state.root,
  *snapshot(state) {
    for (const held of state.words) yield new TextEncoder().encode(`${held}\n`)
  },
  restore(snapshot) {
    const words = text(snapshot).split('\n').slice(0, -1)
    return { words: new Set(words), root: words.reduce(rootWith, NOTHING) }
  },
}

interface Endpoint {
  readonly messages: Map<Channel, MessageHandler>
  readonly requests: Map<Channel, RequestHandler>
  readonly links: ((status: LinkStatus) => void)[]
  up: boolean
}

export class Network {
  readonly #endpoints = new Map<NodeId, Endpoint>()
  readonly #cut = new Set<string>()
  /** Who curbed whom. */
  readonly curbed = new Set<string>()
  /** Of 1. */
  loss = 0
  delayMs = 0
  /** Sees, and may change or swallow, every message on a channel. */
  tamper: (from: NodeId, to: NodeId, channel: Channel, payload: Uint8Array) => Uint8Array | undefined = (
    _from,
    _to,
    _channel,
    payload,
  ) => payload
  #seed: number

  constructor(seed = 1) {
    this.#seed = seed
  }

  /** A fresh endpoint: an older one of that name hears nothing any more. */
  join(id: NodeId): LedgerFabric {
    const endpoint: Endpoint = { messages: new Map(), requests: new Map(), links: [], up: true }
    this.#endpoints.set(id, endpoint)
    this.#announce(id)
    return {
      send: (to, channel, payload) => {
        if (this.#endpoints.get(id) !== endpoint || !this.#isLinked(id, to)) return false
        if (this.#random() < this.loss) return true
        const changed = this.tamper(id, to, channel, Uint8Array.from(payload))
        if (changed !== undefined) this.#later(() => this.#endpoints.get(to)?.messages.get(channel)?.(id, changed), id, to)
        return true
      },
      curb: (from) => void this.curbed.add(`${id} ${from}`),
      request: (to, channel, payload, timeoutMs) =>
        new Promise((resolve, reject) => {
          if (this.#endpoints.get(id) !== endpoint || !this.#isLinked(id, to)) return reject(new Error('FABRIC_UNREACHABLE'))
          const timer = setTimeout(() => reject(new Error('FABRIC_TIMEOUT')), timeoutMs)
          const done = (settle: () => void) => {
            clearTimeout(timer)
            settle()
          }
          const asked = Uint8Array.from(payload)
          const ask = async () => {
            try {
              const answer = await this.#endpoints.get(to)?.requests.get(channel)?.(id, asked)
              if (answer === undefined) throw new Error('nobody answers')
              this.#later(() => done(() => resolve(Uint8Array.from(answer))), to, id)
            } catch {
              done(() => reject(new Error('FABRIC_REMOTE')))
            }
          }
          this.#later(() => void ask(), id, to)
        }),
      onMessage: (channel, handler) => void endpoint.messages.set(channel, handler),
      onRequest: (channel, handler) => void endpoint.requests.set(channel, handler),
      onLink: (handler) => void endpoint.links.push(handler),
      links: () => [...this.#endpoints.keys()].filter((other) => other !== id).map((other) => this.#link(id, other)),
    }
  }

  /** Sends as if it were `from`: for liars. */
  inject(from: NodeId, to: NodeId, channel: Channel, payload: Uint8Array): void {
    this.#endpoints.get(to)?.messages.get(channel)?.(from, payload)
  }

  leave(id: NodeId): void {
    this.#endpoints.delete(id)
    this.#announce(id)
  }

  cut(a: NodeId, b: NodeId): void {
    this.#cut.add(`${a} ${b}`).add(`${b} ${a}`)
    this.#announce(a)
  }

  heal(): void {
    this.#cut.clear()
    for (const id of this.#endpoints.keys()) this.#announce(id)
  }

  #isLinked(a: NodeId, b: NodeId): boolean {
    return this.#endpoints.has(a) && this.#endpoints.has(b) && !this.#cut.has(`${a} ${b}`)
  }

  #link(from: NodeId, to: NodeId): LinkStatus {
    const connected = this.#isLinked(from, to)
    const reason = connected ? undefined : 'cut'
    return {
      id: to,
      region: 'here',
      connected,
      reason,
      roundTripMs: undefined,
      clockOffsetMs: undefined,
      sentBytes: 0,
      receivedBytes: 0,
    }
  }

  #announce(id: NodeId): void {
    for (const [other, endpoint] of this.#endpoints) {
      if (other === id) continue
      for (const handler of endpoint.links) handler(this.#link(other, id))
      for (const handler of this.#endpoints.get(id)?.links ?? []) handler(this.#link(id, other))
    }
  }

  #later(deliver: () => void, from: NodeId, to: NodeId): void {
    const arrive = () => {
      if (this.#isLinked(from, to)) deliver()
    }
    if (this.delayMs === 0) setImmediate(arrive)
    else setTimeout(arrive, this.delayMs)
  }

  /** Mulberry32. */
  #random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

const CHANGE = /^(plus|minus)-([a-z0-9]+)$/

/** The words, with validators that they add and remove: at most one change a block. */
export function changingWords(genesis: Genesis, keyOf: (id: string) => Uint8Array): Application<Words> {
  const validators = ({ words }: Words): ValidatorSet => {
    let epoch = 0
    let set = genesis.validators
    for (const held of words) {
      const [, change, id = ''] = CHANGE.exec(held) ?? []
      if (change === undefined) continue
      epoch += 1
      set = change === 'plus' ? [...set, { id, publicKey: keyOf(id) }] : set.filter((validator) => validator.id !== id)
    }
    return { epoch, validators: set }
  }
  return {
    ...wordsApplication,
    check(state, tx, nowMs) {
      const [, change, id] = CHANGE.exec(text(tx)) ?? []
      const { validators: set } = validators(state)
      const isThere = set.some((validator) => validator.id === id)
      if (change === 'plus' && isThere) return { ok: false, code: 'THERE', reason: 'it is a validator already' }
      if (change === 'minus' && (!isThere || set.length === 1)) return { ok: false, code: 'NOT_THERE', reason: 'it cannot go' }
      return wordsApplication.check(state, tx, nowMs)
    },
    prepare(state, candidates, context, bytesMax) {
      let changes = 0
      const one = candidates.filter((tx) => !CHANGE.test(text(tx)) || changes++ === 0)
      return wordsApplication.prepare(state, one, context, bytesMax)
    },
    validators,
  }
}

export class TestRing {
  readonly network = new Network()
  readonly genesis: Genesis
  readonly ids: readonly string[]
  readonly lines: string[] = []
  /** What nodes noticed of each other. */
  readonly faults: LedgerFault[] = []
  readonly ledgers = new Map<string, Ledger<Words>>()
  readonly application: Application<Words>
  readonly #keys: ReadonlyMap<string, KeyObject>
  readonly #root: string

  private constructor(root: string, size: number, more: number) {
    this.#root = root
    const ids = Array.from({ length: size + more }, (_, i) => `n${i + 1}`)
    this.ids = ids.slice(0, size)
    const pairs = ids.map((id) => ({ id, ...generateKeyPairSync('ed25519') }))
    this.#keys = new Map(pairs.map(({ id, privateKey }) => [id, privateKey]))
    const validators = pairs.map(({ id, publicKey }) => ({
      id,
      publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url'),
    }))
    this.genesis = { ring: createHash('sha256').update(root).digest('hex'), validators: validators.slice(0, size) }
    this.application = changingWords(
      this.genesis,
      (id) => validators.find((known) => known.id === id)?.publicKey ?? new Uint8Array(32),
    )
  }

  /** `more` nodes have keys and are no validators yet. */
  static async create(size: number, more = 0): Promise<TestRing> {
    return new TestRing(await mkdtemp(join(tmpdir(), 'ringwall-ledger-')), size, more)
  }

  directory(id: string): string {
    return join(this.#root, id)
  }

  privateKey(id: string): KeyObject {
    const key = this.#keys.get(id)
    if (key === undefined) throw new Error(`no ${id}`)
    return key
  }

  async open(id: string, more: Partial<LedgerOptions<Words>> = {}): Promise<Ledger<Words>> {
    const ledger = await openLedger<Words>({
      directory: this.directory(id),
      application: this.application,
      genesis: this.genesis,
      self: id,
      privateKey: this.privateKey(id),
      fabric: this.network.join(id),
      log: (level, line) => this.lines.push(`${id} ${level} ${line}`),
      onFault: (fault) => this.faults.push(fault),
      roundMs: 150,
      heartbeatMs: 60_000,
      syncMs: 100,
      ...more,
    })
    this.ledgers.set(id, ledger)
    return ledger
  }

  openAll(): Promise<readonly Ledger<Words>[]> {
    return Promise.all(this.ids.map((id) => this.open(id)))
  }

  /** As a crash looks to the others: not a word of farewell. */
  async kill(id: string): Promise<void> {
    this.network.leave(id)
    await this.ledgers.get(id)?.stop()
    this.ledgers.delete(id)
  }

  async close(): Promise<void> {
    await Promise.all([...this.ledgers.values()].map((ledger) => ledger.stop()))
    await rm(this.#root, { recursive: true })
  }
}

export const word = (value: string): Uint8Array => new TextEncoder().encode(value)

/** Waits for something that must come true; what it was is in the failure. */
export async function until(what: string, holds: () => boolean, withinMs = 60_000): Promise<void> {
  const deadline = performance.now() + withinMs
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`never: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

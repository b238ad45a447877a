/**
 * Does what the ring agreed on about users of databases. Every node has its turn with each piece of work: an order that follows from the work and the
 * nodes' names, some seconds apart, so that the work of a node that is gone is another's. Done work is said on the ledger, by whoever did it.
 */
import { hash } from 'node:crypto'
import { type Lease, leaseUser, type RingState, type TxBody, type View } from '@ringwall/ring'
import { type AskNode, openSecrets, type Reader, type VaultFacts } from '@ringwall/vault'
import type { EventLog } from '../events.ts'
import { every } from '../in-step.ts'
import { dropUser, makeUser } from './postgres.ts'

const TICK_MS = 500
/** Between one node's turn and the next one's. */
const TURN_MS = 4_000
/** Until a node tries again what failed. */
const AGAIN_MS = 10_000
const AT_A_TIME = 8

export interface LeaseKeeperOptions {
  readonly self: string
  readonly view: () => View
  readonly state: () => RingState
  readonly facts: () => VaultFacts
  /** This node: it may have the administrator's password opened while there is work. */
  readonly reader: Reader
  readonly ask: AskNode
  readonly submit: (body: TxBody) => Promise<unknown>
  /** Others do it while operators hold this node. */
  readonly isHeld: () => boolean
  readonly events: Pick<EventLog, 'add'>
}

export class LeaseKeeper {
  readonly #options: LeaseKeeperOptions
  readonly #stopTicking: () => void
  /** By the work, when it may be tried again. */
  readonly #tried = new Map<string, number>()
  #working = 0
  #stopped = false

  constructor(options: LeaseKeeperOptions) {
    this.#options = options
    this.#stopTicking = every(TICK_MS, () => this.#tick())
  }

  stop(): void {
    this.#stopped = true
    this.#stopTicking()
  }

  #tick(): void {
    const { leases } = this.#options.state()
    if (leases.length === 0 || this.#options.isHeld()) return
    const nowMs = Date.now()
    for (const [work, atMs] of this.#tried) if (atMs <= nowMs) this.#tried.delete(work)
    for (const lease of leases) {
      if (this.#working >= AT_A_TIME || this.#stopped) return
      const name = `${lease.id} ${lease.work} ${lease.dueAtMs}`
      if (lease.work === null || this.#tried.has(name) || this.#turnAtMs(lease) > nowMs) continue
      this.#tried.set(name, nowMs + AGAIN_MS)
      this.#working += 1
      void this.#work(lease).finally(() => {
        this.#working -= 1
      })
    }
  }

  #turnAtMs({ id, dueAtMs }: Lease): number {
    const { self, view } = this.#options
    const rank = (node: string): string => hash('sha256', `${id} ${node}`, 'hex')
    const own = rank(self)
    const before = view().nodes.filter((node) => rank(node.id) < own).length
    return dueAtMs + before * TURN_MS
  }

  async #work(lease: Lease): Promise<void> {
    const { view, submit, events } = this.#options
    const { id, work, dueAtMs, database: name, role: roleName } = lease
    const database = view().policy.vault.databases[name]
    const user = leaseUser(lease)
    if (database === undefined || work === null) return
    try {
      const password = await this.#password(database.password)
      if (work === 'end') await dropUser(database, password, user)
      else {
        const grants = database.roles[roleName]?.grant ?? []
        await makeUser(database, grants, password, { name: user, verifier: lease.verifier, expiresAtMs: lease.expiresAtMs })
      }
      await submit({ type: 'lease.done', id, work, dueAtMs })
      const why = lease.end === null ? '' : ` (${lease.end})`
      events.add('key', 'info', `${work === 'end' ? 'dropped' : 'made'} the user ${user} of ${name} for ${lease.holder}${why}`)
    } catch (error) {
      // Another node may have been faster: then it is no news.
      const isDone = (error as { readonly code?: unknown }).code === 'LEASE_DONE'
      if (!isDone && !this.#stopped) events.add('key', 'warn', `${name}: ${user}: ${work} failed: ${(error as Error).message}`)
    }
  }

  async #password(secret: string): Promise<string> {
    const { facts, reader, ask } = this.#options
    const { secrets } = await openSecrets(facts(), reader, [{ name: secret, version: 0 }], [ask])
    return Buffer.from(secrets[0]?.secret ?? []).toString('utf8')
  }
}

/**
 * Keeps a disk under the ring's key where the node is to (`disk.seal: ring`): makes its next storage key, has the ring take its capsule, and only then lets go
 * of what opened the disk before. Again when the ring has another sealing key, or does not know the capsule any more.
 */
import { randomBytes } from 'node:crypto'
import { diskLabel, publicKeyOf, type RingState } from '@ringwall/ring'
import { decodeBase64url, encodeBase64url, type TxBody } from '@ringwall/ring/tx'
import { STORAGE_KEY_BYTES } from '@ringwall/store'
import { encapsulate, type PublicKey, readCapsule, ThresholdError } from '@ringwall/threshold'
import type { EventLog } from '../events.ts'
import type { Disk } from './disk.ts'
import { type LocalSecrets, wrapKey } from './local-lock.ts'
import { machineFacts, machineVerifier } from './machine.ts'
import { writePeers } from './peers-file.ts'
import { RING_LOCK } from './release-asker.ts'

const RETRY_MS = 10_000

export interface DiskKeeperOptions {
  readonly self: string
  readonly ring: string
  readonly data: string
  readonly disk: Disk
  readonly local: LocalSecrets
  readonly events: Pick<EventLog, 'add'>
  /** Resolves once it is final. */
  readonly submit: (body: TxBody) => Promise<unknown>
}

export class DiskKeeper {
  readonly #options: DiskKeeperOptions
  #nodes: RingState['nodes'] | undefined
  #work: Promise<void> = Promise.resolve()
  #isWorking = false
  #notBeforeMs = 0
  #stopped = false

  constructor(options: DiskKeeperOptions) {
    this.#options = options
  }

  /** The state as of the newest block. */
  follow(state: RingState): void {
    const { data, self, events } = this.#options
    if (this.#stopped) return
    if (this.#nodes !== state.nodes && state.node(self) !== undefined) {
      this.#nodes = state.nodes
      this.#work = this.#work
        .then(() => writePeers(data, state.nodes))
        .catch((error: Error) => events.add('node', 'warn', `the list of peers cannot be written: ${error.message}`))
    }
    const publicKey = publicKeyOf(state.sealingKey)
    if (publicKey === undefined || state.sealingKey.asked === 'replace' || state.node(self) === undefined) return
    if (this.#isWorking || performance.now() < this.#notBeforeMs || this.#isKept(state, publicKey)) return
    this.#isWorking = true
    this.#work = this.#work
      .then(() => this.#hand(state, publicKey))
      .catch((error: Error) => {
        this.#notBeforeMs = performance.now() + RETRY_MS
        events.add('node', 'warn', `the ring does not keep the disk's key yet, it is tried again: ${error.message}`)
      })
      .finally(() => {
        this.#isWorking = false
      })
  }

  /** Waits for what was begun. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#work
  }

  #isKept({ disks }: RingState, publicKey: PublicKey): boolean {
    const { capsule } = this.#options.disk
    if (capsule === undefined || disks.sealed.find(({ id }) => id === this.#options.self)?.capsule !== capsule) return false
    try {
      readCapsule(publicKey, decodeBase64url(capsule))
      return true
    } catch (error) {
      if (error instanceof ThresholdError) return false
      throw error
    }
  }

  async #hand(state: RingState, publicKey: PublicKey): Promise<void> {
    const { self, ring, disk, local, submit, events } = this.#options
    if (this.#stopped) return
    const member = state.node(self)
    if (member === undefined) return
    const { proof, facts } = machineFacts(local.context)
    const machine = machineVerifier(proof)
    const label = diskLabel({ ring, node: self, publicKey: member.publicKey, machine })
    const { capsule, key } = encapsulate(publicKey, label, randomBytes(32))
    const storageKey = randomBytes(STORAGE_KEY_BYTES)
    const wrapped = wrapKey(key, storageKey, RING_LOCK)
    key.fill(0)
    // Between the ring's taking the next capsule and the disk's naming it, a crash must leave something that opens the disk.
    if (disk.capsule !== undefined) await disk.handToMachine(local)
    await submit({ type: 'disk.seal', capsule: encodeBase64url(capsule), machine })
    await disk.handToRing(encodeBase64url(capsule), wrapped, storageKey)
    storageKey.fill(0)
    const bound =
      facts.length === 0 ? 'to no machine: nothing tells this one from another' : `to this machine by ${facts.join(', ')}`
    events.add('node', 'info', `the ring keeps the disk's key from now on, bound ${bound}; the next start asks for it`)
  }
}

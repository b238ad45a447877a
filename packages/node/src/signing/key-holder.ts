/**
 * This node's part in the ceremonies of one of the ring's keys: reads from the ring's state what is to be said next, and says it.
 *
 * The ledger is the board, and the state holds all of it that matters, so nothing of a ceremony is kept here but one secret seed a
 * ceremony: the encryption key and the dealing are functions of it. It is on disk before anything that depends on it is sent; what is
 * said again after a crash is the same to the byte. A share is on disk before the one that it replaces, and the seed that it was
 * opened with, are erased.
 *
 * The arithmetic runs in the ceremony thread. When that dies nothing is said and nothing erased: the next look at the state asks again.
 */
import { hkdfSync, randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import {
  boardEvent,
  type KeyCeremony,
  type KeyName,
  lastPlanOf,
  planOf,
  publicKeyOf,
  type RingKey,
  type RingState,
  type TxBody,
  waitingFor,
} from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { makeDirectory } from '@ringwall/store'
import type { Ceremony, PublicKey } from '@ringwall/threshold'
import type { EventLog } from '../events.ts'
import type { CeremonyOutcome, CeremonyTask } from './ceremony-messages.ts'
import type { CeremonyThread } from './ceremony-thread.ts'
import { NodeShare } from './node-share.ts'
import { eraseFile, type Seal } from './sealed-file.ts'

/** A message that was not agreed on by then is said again: a leader that had not seen the phase begin has dropped it. */
const AGAIN_MS = 1_000
const SEED_FILE = /^ceremony-([0-9]{1,9})\.sealed$/

type CeremonyBody = Extract<TxBody, { type: 'key.enrol' | 'key.deal' | 'key.answer' }>

export interface KeyHolderOptions {
  readonly self: string
  readonly key: KeyName
  /** The holder's own. */
  readonly directory: string
  readonly seal: Seal
  readonly events: Pick<EventLog, 'add'>
  readonly thread: Pick<CeremonyThread, 'run' | 'warm'>
  /** Signs the statement in this node's name and hands it to the ledger. Settles when it is agreed on. */
  readonly submit: (body: CeremonyBody) => Promise<unknown>
  /** The share in force; undefined when there is none, or none any more. Called once each. */
  readonly onShare: (share: NodeShare | undefined) => void
}

interface HeldShare {
  readonly attempt: number
  readonly share: NodeShare
}

/** What is derived from a ceremony's seed. */
function drawn(seed: Uint8Array, what: 'encryption' | 'dealing'): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', seed, Buffer.alloc(0), `RINGWALL_CEREMONY_SEED_V1 ${what}`, 32))
}

export class KeyHolder {
  readonly #options: KeyHolderOptions
  #held: HeldShare | undefined
  /** Name of the key of which this node has no share: looked into once. */
  #without = ''
  #state: RingState | undefined
  #working: Promise<void> | undefined
  #again = false
  #stopped = false
  /** What was said last; the same is said again without making it anew. */
  #posted: { readonly what: string; readonly body: CeremonyBody | undefined; readonly atMs: number } = {
    what: '',
    body: undefined,
    atMs: 0,
  }
  #noted = ''

  private constructor(options: KeyHolderOptions) {
    this.#options = options
  }

  /** @throws {StartError} `KEY_INVALID` when what is on disk does not open. */
  static async open(options: KeyHolderOptions): Promise<KeyHolder> {
    const holder = new KeyHolder(options)
    const bytes = await options.seal.read(holder.#shareFile, holder.#sealedName('share'))
    if (bytes !== undefined) {
      holder.#held = decodeHeld(bytes)
      bytes.fill(0)
      options.onShare(holder.#held.share)
    }
    return holder
  }

  get share(): NodeShare | undefined {
    return this.#held?.share
  }

  /** One key's file does not pass for another's. */
  #sealedName(what: string): string {
    const { key } = this.#options
    return key === 'signing' ? what : `${key} ${what}`
  }

  get #shareFile(): string {
    return join(this.#options.directory, 'share.sealed')
  }

  #seedFile(attempt: number): string {
    return join(this.#options.directory, `ceremony-${attempt}.sealed`)
  }

  /** The state as of the newest block. What it asks for is done one after the other. */
  follow(state: RingState): void {
    this.#state = state
    this.#work()
  }

  /** As `follow`, with the last state: for what was said and not heard. */
  tick(): void {
    this.#work()
  }

  /** Resolves when nothing is being written any more. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#working
  }

  /** Resolves when all is done that the last state asked for, but for what waits for the ledger. */
  async settled(): Promise<void> {
    while (this.#working !== undefined) await this.#working
  }

  #work(): void {
    if (this.#stopped) return
    if (this.#working !== undefined) {
      this.#again = true
      return
    }
    this.#working = this.#round().finally(() => {
      this.#working = undefined
      if (!this.#again) return
      this.#again = false
      this.#work()
    })
  }

  async #round(): Promise<void> {
    const state = this.#state
    if (state === undefined) return
    try {
      await this.#collect(state)
      await this.#speak(state)
    } catch (error) {
      this.#note('warn', `the ${this.#options.key} key: ${(error as Error).message}`)
    }
  }

  /** Once each. */
  #note(level: 'info' | 'warn', line: string): void {
    if (line === this.#noted) return
    this.#noted = line
    this.#options.events.add('key', level, line)
  }

  /** Comes to the share of the key in force, from the transcript of the ceremony that made it. */
  async #collect(state: RingState): Promise<void> {
    const key = state.key(this.#options.key)
    const publicKey = publicKeyOf(key)
    if (publicKey === undefined || key.last === null) return
    if (this.#without === publicKey.name) return
    if (this.#held !== undefined && this.#held.share.keyName === publicKey.name) return
    const plan = lastPlanOf(key) as Ceremony
    const { attempt } = plan
    // A ledger that was put back in time is behind this share: it catches up.
    if (this.#held !== undefined && this.#held.attempt > attempt) return
    const share = await this.#openShare(plan, publicKey, key.last.board.map(boardEvent))
    if (share !== undefined) {
      const bytes = encodeHeld({ attempt, share })
      await this.#options.seal.write(this.#shareFile, this.#sealedName('share'), bytes)
      bytes.fill(0)
      this.#take({ attempt, share })
      const { threshold, members, epoch } = publicKey
      this.#note(
        'info',
        `holds a share of the ${this.#options.key} key, ${threshold} of ${members.length} ${this.#options.key === 'signing' ? 'sign' : 'open'}${epoch === 0 ? '' : `; hand-over ${epoch}`}`,
      )
    } else if (this.#held !== undefined) {
      await eraseFile(this.#shareFile)
      this.#take(undefined)
    }
    if (share === undefined) this.#without = publicKey.name
    await this.#eraseSeeds(attempt)
  }

  #take(held: HeldShare | undefined): void {
    const before = this.#held
    this.#held = held
    this.#options.onShare(held?.share)
    before?.share.wipe()
  }

  /** Undefined when there is none to come to. @throws When it could not be found out. */
  async #openShare(
    plan: Ceremony,
    publicKey: PublicKey,
    board: readonly ReturnType<typeof boardEvent>[],
  ): Promise<NodeShare | undefined> {
    const { self, thread, key: name } = this.#options
    if (plan.receiver(self) === undefined) return undefined
    const seed = await this.#seed(plan.attempt)
    const outcome =
      seed === undefined
        ? ({ kind: 'none', why: 'stranger' } as const)
        : await thread.run({ kind: 'open', plan: plan.encode(), self, encryption: drawn(seed, 'encryption'), board })
    seed?.fill(0)
    if (outcome.kind === 'share') {
      const share = new NodeShare(publicKey.name, outcome.share)
      outcome.share.fill(0)
      return share
    }
    if (outcome.kind !== 'none') throw new Error(failureOf(outcome))
    this.#note(
      'warn',
      outcome.why === 'stranger'
        ? `the ring has handed a share of the ${name} key to this node, and the secret to open it is gone: ask for new ones with ringwall key refresh ${name}`
        : `a dealer gave this node a bad share of the ${name} key, and its complaint came too late: ringwall key refresh ${name} makes new ones`,
    )
    return undefined
  }

  async #seed(attempt: number): Promise<Uint8Array | undefined> {
    return this.#options.seal.read(this.#seedFile(attempt), this.#sealedName(`ceremony ${attempt}`))
  }

  /** On disk before anybody hears what was made with it. */
  async #seedOf(attempt: number): Promise<Uint8Array> {
    const held = await this.#seed(attempt)
    if (held !== undefined) return held
    const seed = new Uint8Array(randomBytes(32))
    await makeDirectory(this.#options.directory)
    await this.#options.seal.write(this.#seedFile(attempt), this.#sealedName(`ceremony ${attempt}`), seed)
    return seed
  }

  /** Of ceremonies that are over, up to this one. */
  async #eraseSeeds(upTo: number): Promise<void> {
    for (const name of await readdir(this.#options.directory).catch(() => [])) {
      const attempt = SEED_FILE.exec(name)?.[1]
      if (attempt !== undefined && Number(attempt) <= upTo) await eraseFile(join(this.#options.directory, name))
    }
  }

  /** Says what the ceremony under way waits for this node to say. */
  async #speak(state: RingState): Promise<void> {
    const { validators } = state
    const key = state.key(this.#options.key)
    const { ceremony } = key
    if (ceremony === null) return
    const { attempt, phase } = ceremony
    if (!waitingFor(key, validators).includes(this.#options.self)) {
      // Soon there is something to do.
      if (phase === 'enrolling') this.#options.thread.warm()
      return
    }
    const what = `${phase} ${attempt}`
    const said = this.#posted.what === what ? this.#posted : undefined
    if (said !== undefined && Date.now() < said.atMs + AGAIN_MS) return
    const body = said?.body ?? (await this.#next(key))
    if (body === undefined || this.#stopped) return
    this.#posted = { what, body, atMs: Date.now() }
    // Whether it was agreed on is for the next state to show.
    this.#options.submit(body).catch(() => {})
  }

  async #next(held: RingKey): Promise<CeremonyBody | undefined> {
    const { attempt, phase, board } = held.ceremony as KeyCeremony
    const { key } = this.#options
    if (phase === 'enrolling') {
      const seed = await this.#seedOf(attempt)
      const encryptionKey = await this.#said({ kind: 'enrol', encryption: drawn(seed, 'encryption') })
      seed.fill(0)
      return encryptionKey === undefined ? undefined : { type: 'key.enrol', key, attempt, encryptionKey }
    }
    const plan = planOf(held)
    if (plan === undefined) return undefined
    const type = phase === 'dealing' ? 'key.deal' : 'key.answer'
    const body = phase === 'dealing' ? await this.#dealing(plan) : await this.#answer(plan, board.map(boardEvent))
    return body === undefined ? undefined : { type, key, attempt, body }
  }

  async #dealing(plan: Ceremony): Promise<string | undefined> {
    const { self } = this.#options
    if (plan.dealer(self) === undefined) return undefined
    const share = plan.previous === undefined ? undefined : this.#held?.share
    if (plan.previous !== undefined && share?.keyName !== plan.previous.name) return undefined
    const seed = await this.#seedOf(plan.attempt)
    const dealing = drawn(seed, 'dealing')
    seed.fill(0)
    return this.#said({ kind: 'deal', plan: plan.encode(), self, dealing, share: share?.copy() })
  }

  async #answer(plan: Ceremony, board: readonly ReturnType<typeof boardEvent>[]): Promise<string | undefined> {
    const { self } = this.#options
    const seed = plan.receiver(self) === undefined ? undefined : await this.#seed(plan.attempt)
    if (seed === undefined) return undefined
    const encryption = drawn(seed, 'encryption')
    seed.fill(0)
    return this.#said({ kind: 'answer', plan: plan.encode(), self, encryption, board })
  }

  /** What the thread makes of it, base64url; undefined when there is nothing to say. @throws When it could not be made. */
  async #said(task: CeremonyTask): Promise<string | undefined> {
    const outcome = await this.#options.thread.run(task)
    if (outcome.kind === 'none') return undefined
    if (outcome.kind !== 'said') throw new Error(failureOf(outcome))
    return outcome.body === undefined ? undefined : encodeBase64url(outcome.body)
  }
}

function failureOf(outcome: CeremonyOutcome): string {
  return outcome.kind === 'failed' ? outcome.reason : `bug: an outcome of the wrong kind, ${outcome.kind}`
}

/** attempt(4), then the share with its key. In the clear: to be sealed. */
function encodeHeld({ attempt, share }: HeldShare): Uint8Array {
  const secret = share.copy()
  const bytes = new Uint8Array(4 + secret.length)
  new DataView(bytes.buffer).setUint32(0, attempt)
  bytes.set(secret, 4)
  secret.fill(0)
  return bytes
}

function decodeHeld(bytes: Uint8Array): HeldShare {
  const attempt = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
  return { attempt, share: NodeShare.decode(bytes.subarray(4)) }
}

/**
 * This node's part in the ceremonies of the ring's signing key: reads from the ring's state what is to be said next, and says it.
 *
 * The ledger is the board, and the state holds all of it that matters, so nothing of a ceremony is kept here but one secret seed a
 * ceremony: the encryption key and the dealing are functions of it. It is on disk before anything that depends on it is sent; what is
 * said again after a crash is the same to the byte. A share is on disk before the one that it replaces, and the seed that it was
 * opened with, are erased.
 */
import { hkdfSync, randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { boardEvent, planOf, publicKeyOf, type RingState, type TxBody, waitingFor } from '@ringwall/ring'
import { decodeBase64url, encodeBase64url } from '@ringwall/ring/tx'
import { makeDirectory } from '@ringwall/store'
import {
  beginCeremony,
  Ceremony,
  type CeremonyState,
  DealingMemo,
  KeyShare,
  makeEncryptionKey,
  type PublicKey,
  ristretto,
  step,
} from '@ringwall/threshold'
import type { EventLog } from '../events.ts'
import { eraseFile, type Seal } from './sealed-file.ts'

/** A message that was not agreed on by then is said again: a leader that had not seen the phase begin has dropped it. */
const AGAIN_MS = 1_000
const SHARE = 'share'
const SEED_FILE = /^ceremony-([0-9]{1,9})\.sealed$/
/** Public work that the rounds of one ceremony share. */
const MEMO_ENTRIES = 128

type CeremonyBody = Extract<TxBody, { type: 'key.enrol' | 'key.deal' | 'key.answer' }>

export interface KeyHolderOptions {
  readonly self: string
  /** The holder's own. */
  readonly directory: string
  readonly seal: Seal
  readonly events: Pick<EventLog, 'add'>
  /** Signs the statement in this node's name and hands it to the ledger. Settles when it is agreed on. */
  readonly submit: (body: CeremonyBody) => Promise<unknown>
  /** The share in force; undefined when there is none, or none any more. Called once each. */
  readonly onShare: (share: KeyShare | undefined) => void
}

interface HeldShare {
  readonly attempt: number
  readonly share: KeyShare
}

/** What is derived from a ceremony's seed. */
function drawn(seed: Uint8Array, what: 'encryption' | 'dealing'): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', seed, Buffer.alloc(0), `RINGWALL_CEREMONY_SEED_V1 ${what}`, 32))
}

export class KeyHolder {
  readonly #options: KeyHolderOptions
  readonly #memo = new DealingMemo(MEMO_ENTRIES)
  #held: HeldShare | undefined
  /** Name of the key of which this node has no share: looked into once. */
  #without = ''
  #state: RingState | undefined
  #working: Promise<void> | undefined
  #again = false
  #stopped = false
  #posted = { what: '', atMs: 0 }
  #noted = ''

  private constructor(options: KeyHolderOptions) {
    this.#options = options
  }

  /** @throws {StartError} `KEY_INVALID` when what is on disk does not open. */
  static async open(options: KeyHolderOptions): Promise<KeyHolder> {
    const holder = new KeyHolder(options)
    const bytes = await options.seal.read(holder.#shareFile, SHARE)
    if (bytes !== undefined) {
      holder.#held = decodeHeld(bytes)
      bytes.fill(0)
      options.onShare(holder.#held.share)
    }
    return holder
  }

  get share(): KeyShare | undefined {
    return this.#held?.share
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
      this.#note('warn', `the signing key: ${(error as Error).message}`)
    }
  }

  /** Once each. */
  #note(level: 'info' | 'warn', line: string): void {
    if (line === this.#noted) return
    this.#noted = line
    this.#options.events.add('key', level, line)
  }

  /** Comes to the share of the key in force, from the transcript of the ceremony that made it. */
  async #collect({ signingKey }: RingState): Promise<void> {
    const publicKey = publicKeyOf(signingKey)
    if (publicKey === undefined || signingKey.last === null) return
    if (this.#without === publicKey.name) return
    if (this.#held !== undefined && sameKey(this.#held.share.publicKey, publicKey)) return
    const plan = Ceremony.decode(decodeBase64url(signingKey.last.plan))
    const { attempt } = plan
    // A ledger that was put back in time is behind this share: it catches up.
    if (this.#held !== undefined && this.#held.attempt > attempt) return
    const share = await this.#openShare(plan, signingKey.last.board.map(boardEvent))
    if (share !== undefined) {
      const bytes = encodeHeld({ attempt, share })
      await this.#options.seal.write(this.#shareFile, SHARE, bytes)
      bytes.fill(0)
      this.#take({ attempt, share })
      const { threshold, members, epoch } = publicKey
      this.#note(
        'info',
        `holds a share of the signing key, ${threshold} of ${members.length} sign${epoch === 0 ? '' : `; hand-over ${epoch}`}`,
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
    before?.share.secret.wipe()
  }

  async #openShare(plan: Ceremony, board: readonly ReturnType<typeof boardEvent>[]): Promise<KeyShare | undefined> {
    const { self } = this.#options
    const receiver = plan.receiver(self)
    if (receiver === undefined) return undefined
    const seed = await this.#seed(plan.attempt)
    const encryption = seed === undefined ? undefined : makeEncryptionKey(drawn(seed, 'encryption'))
    seed?.fill(0)
    if (encryption === undefined || !ristretto.equals(encryption.publicKey, receiver.encryptionKey)) {
      this.#note(
        'warn',
        'the ring has handed a share of the signing key to this node, and the secret to open it is gone: ask for new ones with ringwall key refresh',
      )
      return undefined
    }
    const tools = { encryptionKey: encryption.secret, memo: this.#memo }
    let state = beginCeremony(plan, self)
    let share: KeyShare | undefined
    for (const event of board) {
      const next = step(state, event, tools)
      state = next.state
      for (const effect of next.effects) if (effect.kind === 'complete') share = effect.share
    }
    encryption.secret.wipe()
    if (share === undefined)
      this.#note(
        'warn',
        'a dealer gave this node a bad share, and its complaint came too late: ringwall key refresh makes new ones',
      )
    return share
  }

  async #seed(attempt: number): Promise<Uint8Array | undefined> {
    return this.#options.seal.read(this.#seedFile(attempt), `ceremony ${attempt}`)
  }

  /** On disk before anybody hears what was made with it. */
  async #seedOf(attempt: number): Promise<Uint8Array> {
    const held = await this.#seed(attempt)
    if (held !== undefined) return held
    const seed = new Uint8Array(randomBytes(32))
    await makeDirectory(this.#options.directory)
    await this.#options.seal.write(this.#seedFile(attempt), `ceremony ${attempt}`, seed)
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
    const body = await this.#next(state)
    if (body === undefined || this.#stopped) return
    const what = `${body.type} ${body.attempt}`
    const nowMs = Date.now()
    if (this.#posted.what === what && nowMs < this.#posted.atMs + AGAIN_MS) return
    this.#posted = { what, atMs: nowMs }
    // Whether it was agreed on is for the next state to show.
    this.#options.submit(body).catch(() => {})
  }

  async #next({ signingKey, validators }: RingState): Promise<CeremonyBody | undefined> {
    const { ceremony } = signingKey
    if (ceremony === null) return undefined
    const { attempt, phase } = ceremony
    if (!waitingFor(signingKey, validators).includes(this.#options.self)) return undefined
    if (phase === 'enrolling') {
      const seed = await this.#seedOf(attempt)
      const { publicKey, secret } = makeEncryptionKey(drawn(seed, 'encryption'))
      secret.wipe()
      seed.fill(0)
      return { type: 'key.enrol', attempt, encryptionKey: encodeBase64url(ristretto.encode(publicKey)) }
    }
    const plan = planOf(signingKey)
    if (plan === undefined) return undefined
    return phase === 'dealing' ? this.#dealing(plan) : this.#answer(plan, ceremony.board.map(boardEvent))
  }

  async #dealing(plan: Ceremony): Promise<CeremonyBody | undefined> {
    const { self } = this.#options
    const dealer = plan.dealer(self)
    if (dealer === undefined) return undefined
    const share = plan.previous === undefined ? undefined : this.#held?.share
    if (plan.previous !== undefined && (share === undefined || !sameKey(share.publicKey, plan.previous))) return undefined
    const seed = await this.#seedOf(plan.attempt)
    const dealing = drawn(seed, 'dealing')
    const { effects } = step(beginCeremony(plan, self), { kind: 'begin', seed: dealing, share }, { encryptionKey: undefined })
    seed.fill(0)
    dealing.fill(0)
    const post = effects.find((effect) => effect.kind === 'post')
    return post === undefined ? undefined : { type: 'key.deal', attempt: plan.attempt, body: encodeBase64url(post.body) }
  }

  async #answer(plan: Ceremony, board: readonly ReturnType<typeof boardEvent>[]): Promise<CeremonyBody | undefined> {
    const { self } = this.#options
    const receiver = plan.receiver(self)
    const seed = receiver === undefined ? undefined : await this.#seed(plan.attempt)
    if (receiver === undefined || seed === undefined) return undefined
    const { secret, publicKey } = makeEncryptionKey(drawn(seed, 'encryption'))
    seed.fill(0)
    // Not what this node enrolled with, as after a lost disk: it cannot tell a bad share from its own loss, and so accuses nobody.
    if (!ristretto.equals(publicKey, receiver.encryptionKey)) return undefined
    const tools = { encryptionKey: secret, memo: this.#memo }
    let state: CeremonyState = beginCeremony(plan, self)
    for (const event of board) state = step(state, event, tools).state
    const { effects } = step(state, { kind: 'resume' }, tools)
    for (const opened of state.opened.values()) opened.wipe()
    secret.wipe()
    const post = effects.find((effect) => effect.kind === 'post')
    return post === undefined ? undefined : { type: 'key.answer', attempt: plan.attempt, body: encodeBase64url(post.body) }
  }
}

function sameKey(a: PublicKey, b: PublicKey): boolean {
  return a.name === b.name
}

/** attempt(4), then the share with its key. In the clear: to be sealed. */
function encodeHeld({ attempt, share }: HeldShare): Uint8Array {
  const secret = share.encodeSecret()
  const bytes = new Uint8Array(4 + secret.length)
  new DataView(bytes.buffer).setUint32(0, attempt)
  bytes.set(secret, 4)
  secret.fill(0)
  return bytes
}

function decodeHeld(bytes: Uint8Array): HeldShare {
  const attempt = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0)
  return { attempt, share: KeyShare.decode(bytes.subarray(4)) }
}

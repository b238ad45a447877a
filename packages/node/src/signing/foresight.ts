/**
 * Has the ceremony thread look at messages of ceremonies before a block with them is executed, so that executing it finds their arithmetic
 * done. What does not come in time is computed where it is needed: the state is the same, and the node stands still for it.
 */
import {
  boardEvent,
  isCeremonyWork,
  KEY_NAMES,
  type KeyName,
  learnCeremonyFindings,
  parseIssuer,
  parseTx,
  planOf,
  type RingKey,
  type RingState,
  TxMalformed,
} from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import type { BoardEvent } from './ceremony-messages.ts'
import { CeremonyThread } from './ceremony-thread.ts'

/** A vote or a transaction waits at most so long for it. */
const WAIT_MS_MAX = 500
/** A transaction proves by itself who it is by. */
const NO_ATTESTATION = new Uint8Array(0)
const MARKS = ['"type":"key.deal"', '"type":"key.answer"'].map((mark) => Buffer.from(mark))

export class Foresight {
  readonly thread: CeremonyThread = new CeremonyThread(learnCeremonyFindings)
  readonly #seen: Record<KeyName, string> = { signing: '', sealing: '' }

  /** As `foresee` of the ledger's applications. */
  foresee(state: RingState, txs: readonly Uint8Array[]): Promise<void> | undefined {
    const looks = KEY_NAMES.flatMap((name) => this.#foreseeOf(name, state.key(name), txs) ?? [])
    return looks.length === 0 ? undefined : Promise.all(looks).then(() => undefined)
  }

  #foreseeOf(name: KeyName, key: RingKey, txs: readonly Uint8Array[]): Promise<void> | undefined {
    const { ceremony } = key
    if (ceremony === null || ceremony.phase === 'enrolling') return undefined
    const next = txs.flatMap((tx) => messageIn(tx, name, ceremony.attempt))
    return isCeremonyWork(key, next) ? this.#look(key, next) : undefined
  }

  /** The state as of the newest block: a key is made ahead once all have dealt. */
  follow(state: RingState): void {
    for (const name of KEY_NAMES) {
      const key = state.key(name)
      const { ceremony } = key
      const seen = ceremony === null ? '' : `${ceremony.attempt} ${ceremony.phase} ${ceremony.board.length}`
      if (seen === this.#seen[name]) continue
      this.#seen[name] = seen
      if (ceremony?.phase === 'answering') void this.#look(key, [])
    }
  }

  #look(key: RingKey, next: readonly BoardEvent[]): Promise<void> | undefined {
    const plan = planOf(key)?.encode()
    const board = key.ceremony?.board.map(boardEvent)
    if (plan === undefined || board === undefined) return undefined
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, WAIT_MS_MAX)
    const done = (): void => {
      clearTimeout(timer)
      resolve()
    }
    this.thread.run({ kind: 'foresee', plan, board, next }).then(done, done)
    return promise
  }
}

/** The message of a ceremony in a transaction, if it is one; its signature is others' to check. */
function messageIn(tx: Uint8Array, key: KeyName, attempt: number): readonly Extract<BoardEvent, { kind: 'posted' }>[] {
  const bytes = Buffer.from(tx.buffer, tx.byteOffset, tx.byteLength)
  if (!MARKS.some((mark) => bytes.includes(mark))) return []
  try {
    const { body, issuer } = parseTx(tx).content
    if ((body.type !== 'key.deal' && body.type !== 'key.answer') || body.key !== key || body.attempt !== attempt) return []
    const from = parseIssuer(issuer)?.name ?? ''
    return [{ kind: 'posted', from, body: decodeBase64url(body.body), attestation: NO_ATTESTATION }]
  } catch (error) {
    if (error instanceof TxMalformed) return []
    throw error
  }
}

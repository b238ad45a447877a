/**
 * The thread that does the arithmetic of the signing key, which takes milliseconds each: signatures first, and what is done ahead of time
 * in between. It decides nothing: what may be signed was decided before it is asked.
 */
import { randomBytes } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import {
  CommitmentMemo,
  Coordinator,
  type CoordinatorEffect,
  KeyShare,
  NONCE_RANDOM_BYTES,
  PublicKey,
  Signer,
  splitCommitments,
  ThresholdError,
} from '@ringwall/threshold'
import { loadSodium } from '@ringwall/threshold/sodium'
import { verifySignature } from '../keys.ts'
import type { CoordinatorWish, FromThread, ThreadAnswer, ThreadTask, ToThread } from './thread-messages.ts'

// Before the first task is taken: tasks wait for it.
await loadSodium()

const port = parentPort!
/** Its node's name. */
const { self } = workerData as { readonly self: string }
const URGENT: ReadonlySet<ThreadTask['kind']> = new Set(['key', 'share', 'sign', 'begin', 'share-of', 'refused'])
const DONE: ThreadAnswer = { kind: 'done', wishes: [] }
const MEMO_ENTRIES = 4_096
const NO_ATTESTATION = new Uint8Array(0)

interface Key {
  readonly publicKey: PublicKey
  readonly memo: CommitmentMemo
  readonly coordinator: Coordinator
  share: KeyShare | undefined
  /** By coordinator: each has pairs of its own, so that none can use up another's. */
  readonly signers: Map<string, Signer>
}

let key: Key | undefined
const urgent: ToThread[] = []
const ahead: (() => void)[] = []
let isRunning = false

port.on('message', (message: ToThread) => {
  if (URGENT.has(message.task.kind)) urgent.push(message)
  else prepare(message)
  run()
})

/** One thing at a time; what came meanwhile is looked at before the next. */
function run(): void {
  if (isRunning) return
  isRunning = true
  setImmediate(function next() {
    const message = urgent.shift()
    if (message !== undefined) finish(message, () => perform(message.task))
    else ahead.shift()?.()
    isRunning = urgent.length > 0 || ahead.length > 0
    if (isRunning) setImmediate(next)
  })
}

/** What is not urgent is done a pair at a time. */
function prepare(message: ToThread): void {
  const { task } = message
  const held = key
  if (held === undefined || task.kind !== 'commitments') {
    ahead.push(() => finish(message, () => perform(task)))
    return
  }
  let parts: readonly Uint8Array[] = [task.body]
  try {
    parts = splitCommitments(held.publicKey, task.body)
  } catch (error) {
    // The coordinator is to see what is no batch at all, as its sender made it.
    if (!(error instanceof ThresholdError)) throw error
  }
  const wishes: CoordinatorWish[] = []
  for (const [at, body] of parts.entries()) {
    ahead.push(() => {
      const isLast = at === parts.length - 1
      const done = (): ThreadAnswer => {
        const answer = key === held ? perform({ ...task, body }) : DONE
        if (answer.kind === 'done') wishes.push(...answer.wishes)
        return { kind: 'done', wishes }
      }
      if (isLast) finish(message, done)
      else attempt(done)
    })
  }
}

function attempt(work: () => ThreadAnswer): ThreadAnswer {
  try {
    return work()
  } catch (error) {
    return { kind: 'refused', reason: error instanceof ThresholdError ? error.message : 'the signing thread failed' }
  }
}

function finish({ id }: ToThread, work: () => ThreadAnswer): void {
  const answer = attempt(work)
  const stock =
    key === undefined
      ? undefined
      : Object.fromEntries(key.publicKey.members.map(({ party }) => [party, key?.coordinator.stockOf(party) ?? 0]))
  port.postMessage({ id, answer, stock } satisfies FromThread)
}

function perform(task: ThreadTask): ThreadAnswer {
  if (task.kind === 'key') {
    close()
    const publicKey = PublicKey.decode(task.publicKey)
    const memo = new CommitmentMemo(MEMO_ENTRIES, 'unchecked')
    key = {
      publicKey,
      memo,
      coordinator: new Coordinator(publicKey, memo, { self, verify: verifySignature }),
      share: undefined,
      signers: new Map(),
    }
    return DONE
  }
  if (key === undefined) return { kind: 'refused', reason: 'there is no key' }
  const { coordinator, publicKey } = key
  switch (task.kind) {
    case 'share': {
      for (const signer of key.signers.values()) signer.close()
      key.signers.clear()
      key.share?.secret.wipe()
      key.share = task.share === undefined ? undefined : KeyShare.decode(task.share)
      task.share?.fill(0)
      return DONE
    }
    case 'provision': {
      if (task.key !== publicKey.name) return { kind: 'refused', reason: 'the key has changed' }
      const signer = signerFor(key, task.coordinator, task.first)
      if (signer === undefined) return { kind: 'refused', reason: 'this node holds no share of the key' }
      const random = new Uint8Array(randomBytes(task.count * NONCE_RANDOM_BYTES))
      const effects = signer.step({ kind: 'provision', random })
      random.fill(0)
      return sent(effects)
    }
    case 'sign': {
      const signer = key.signers.get(task.coordinator)
      if (signer === undefined) return { kind: 'refused', reason: 'it was given no nonces since this node started' }
      return sent(signer.step({ kind: 'sign', request: task.request }))
    }
    case 'commitments':
      return done(coordinator.step({ kind: 'commitments', from: task.from, body: task.body, attestation: NO_ATTESTATION }))
    case 'begin':
      return done(coordinator.step({ kind: 'sign', session: task.session, message: task.message }))
    case 'share-of':
      return done(coordinator.step({ kind: 'share', from: task.from, body: task.body, attestation: NO_ATTESTATION }))
    case 'refused':
      return done(coordinator.step({ kind: 'refused', session: task.session, from: task.from }))
  }
}

/** @param first Number of its first pair, when it is new: no number is used twice for one coordinator. */
function signerFor(held: Key, coordinator: string, first: number): Signer | undefined {
  let signer = held.signers.get(coordinator)
  if (signer === undefined && held.share !== undefined) {
    signer = new Signer(held.share, first, held.memo)
    held.signers.set(coordinator, signer)
  }
  return signer
}

function close(): void {
  for (const signer of key?.signers.values() ?? []) signer.close()
  key?.share?.secret.wipe()
  key = undefined
}

function sent(effects: ReturnType<Signer['step']>): ThreadAnswer {
  for (const effect of effects) {
    if (effect.kind === 'send') return { kind: 'message', body: effect.body }
    if (effect.kind === 'refuse') return { kind: 'refused', reason: effect.reason }
  }
  return { kind: 'refused', reason: 'there is no answer' }
}

function done(effects: readonly CoordinatorEffect[]): ThreadAnswer {
  const wishes = effects.flatMap((effect): readonly CoordinatorWish[] => {
    if (effect.kind === 'silent') return []
    if (effect.kind === 'accuse') return [{ kind: 'accuse', party: effect.accusation.party, fault: effect.accusation.fault }]
    if (effect.kind !== 'fail') return [effect]
    const { session, reason, wanting } = effect
    return [{ kind: 'fail', session, reason, wanting }]
  })
  return { kind: 'done', wishes }
}

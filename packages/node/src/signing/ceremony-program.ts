/**
 * The thread that does the arithmetic of ceremonies, tens of milliseconds at a time, while the node's own thread serves. It decides and keeps
 * nothing but public work: what it is asked twice, it answers twice the same. Secrets come with a task and are wiped before its answer leaves.
 */
import { parentPort } from 'node:worker_threads'
import {
  beginCeremony,
  Ceremony,
  CeremonyMemo,
  type CeremonyState,
  foreseeKey,
  KeyShare,
  makeEncryptionKey,
  observeCeremony,
  ristretto,
  type Secret,
  step,
} from '@ringwall/threshold'
import { loadSodium } from '@ringwall/threshold/sodium'
import type { BoardEvent, CeremonyOutcome, CeremonyTask, FromCeremonyThread, ToCeremonyThread } from './ceremony-messages.ts'

// Before the first task is taken: tasks wait for it.
await loadSodium()

const port = parentPort!
const memo = new CeremonyMemo()
let lastPlan: Ceremony | undefined

port.on('message', ({ id, task }: ToCeremonyThread) => {
  let answer: CeremonyOutcome
  try {
    answer = perform(task)
  } catch (error) {
    answer = { kind: 'failed', reason: (error as Error).message }
  } finally {
    if ('encryption' in task) task.encryption.fill(0)
    if (task.kind === 'deal') {
      task.dealing.fill(0)
      task.share?.fill(0)
    }
  }
  const message: FromCeremonyThread = { id, answer, findings: memo.takeFindings() }
  port.postMessage(message, answer.kind === 'share' ? [answer.share.buffer as ArrayBuffer] : [])
})

function perform(task: CeremonyTask): CeremonyOutcome {
  switch (task.kind) {
    case 'enrol': {
      const { publicKey, secret } = makeEncryptionKey(task.encryption)
      secret.wipe()
      return { kind: 'said', body: ristretto.encode(publicKey) }
    }
    case 'deal':
      return deal(planOf(task.plan), task.self, task.dealing, task.share)
    case 'answer':
    case 'open':
      return receive(task)
    case 'foresee':
      foresee(planOf(task.plan), task.board, task.next)
      return { kind: 'foreseen' }
  }
}

/** Decoding one costs as much as a dealing where there is a key already. */
function planOf(encoded: Uint8Array): Ceremony {
  if (lastPlan === undefined || Buffer.compare(lastPlan.encode(), encoded) !== 0) lastPlan = Ceremony.decode(encoded)
  return lastPlan
}

function bodyOf(effects: ReturnType<typeof step>['effects']): Uint8Array | undefined {
  return effects.find((effect) => effect.kind === 'post')?.body
}

function deal(plan: Ceremony, self: string, seed: Uint8Array, encoded: Uint8Array | undefined): CeremonyOutcome {
  const share = encoded === undefined ? undefined : KeyShare.decode(encoded)
  try {
    const { effects } = step(beginCeremony(plan, self), { kind: 'begin', seed, share }, { encryptionKey: undefined })
    const body = bodyOf(effects)
    // Everybody looks at it once it is on the board, this node too.
    const dealer = plan.dealer(self)
    if (body !== undefined && dealer !== undefined) memo.verify(plan, dealer.index, body)
    return { kind: 'said', body }
  } finally {
    share?.secret.wipe()
  }
}

function receive({
  kind,
  plan: encoded,
  self,
  encryption,
  board,
}: Extract<CeremonyTask, { kind: 'answer' | 'open' }>): CeremonyOutcome {
  const plan = planOf(encoded)
  const receiver = plan.receiver(self)
  const { publicKey, secret } = makeEncryptionKey(encryption)
  try {
    // Not what this node enrolled with, as after a lost disk: it cannot tell a bad share from its own loss, and so accuses nobody.
    if (receiver === undefined || !ristretto.equals(publicKey, receiver.encryptionKey)) return { kind: 'none', why: 'stranger' }
    return kind === 'answer' ? answer(plan, self, board, secret) : open(plan, self, board, secret)
  } finally {
    secret.wipe()
  }
}

function answer(plan: Ceremony, self: string, board: readonly BoardEvent[], encryptionKey: Secret): CeremonyOutcome {
  const tools = { encryptionKey, memo }
  const state = board.reduce<CeremonyState>((before, event) => step(before, event, tools).state, beginCeremony(plan, self))
  const { effects } = step(state, { kind: 'resume' }, tools)
  for (const opened of state.opened.values()) opened.wipe()
  return { kind: 'said', body: bodyOf(effects) }
}

function open(plan: Ceremony, self: string, board: readonly BoardEvent[], encryptionKey: Secret): CeremonyOutcome {
  const tools = { encryptionKey, memo }
  let state = beginCeremony(plan, self)
  let share: KeyShare | undefined
  for (const event of board) {
    const next = step(state, event, tools)
    state = next.state
    for (const effect of next.effects) if (effect.kind === 'complete') share = effect.share
  }
  if (share === undefined) return { kind: 'none', why: 'withheld' }
  // A copy of its own: it is transferred.
  const encoded = Uint8Array.from(share.encodeSecret())
  share.secret.wipe()
  return { kind: 'share', share: encoded }
}

function foresee(plan: Ceremony, board: readonly BoardEvent[], next: readonly BoardEvent[]): void {
  const tools = { encryptionKey: undefined, memo }
  const after = (state: CeremonyState, event: BoardEvent): CeremonyState => step(state, event, tools).state
  const now = board.reduce(after, observeCeremony(plan))
  foreseeKey(now, tools)
  // Whatever of it comes, in whatever order: what was found out serves.
  foreseeKey(next.reduce(after, now), tools)
}

/** The thread that has this node's share of the sealing key, and does the arithmetic of openings: a millisecond each. It decides nothing. */
import { parentPort } from 'node:worker_threads'
import { evaluationPoint, KeyShare, makeBarePartial, makePartial, readCapsule, verifyCapsule } from '@ringwall/threshold'
import { loadSodium } from '@ringwall/threshold/sodium'
import type { FromOpeningThread, OpeningAnswer, OpeningTask, OpeningWork, ToOpeningThread } from './opening-messages.ts'

// Before the first task is taken: tasks wait for it.
await loadSodium()

const port = parentPort!
let share: KeyShare | undefined

port.on('message', ({ id, task }: ToOpeningThread) => {
  let answer: OpeningAnswer
  try {
    answer = perform(task)
  } catch (error) {
    answer = { kind: 'failed', reason: (error as Error).message }
  }
  port.postMessage({ id, answer } satisfies FromOpeningThread)
})

function perform(task: OpeningTask): OpeningAnswer {
  if (task.kind === 'use') {
    share?.secret.wipe()
    share = task.share === undefined ? undefined : KeyShare.decode(task.share)
    task.share?.fill(0)
    return { kind: 'used' }
  }
  const held = share
  if (held === undefined) return { kind: 'failed', reason: 'this node holds no share of the sealing key' }
  return { kind: 'opened', partials: task.works.map((work) => partialOf(held, work, task.proven)) }
}

function partialOf(held: KeyShare, { kind, bytes, label }: OpeningWork, proven: boolean): Uint8Array {
  const { publicKey } = held
  if (kind === 'input') return makePartial(held, evaluationPoint(publicKey, bytes))
  if (label !== undefined && Buffer.compare(verifyCapsule(publicKey, bytes).label, label) !== 0)
    throw new Error('the capsule is of something else')
  if (proven) return makePartial(held, verifyCapsule(publicKey, bytes))
  // No share touches a capsule whose proof nobody has seen.
  if (kind === 'capsule' && label === undefined) verifyCapsule(publicKey, bytes)
  return makeBarePartial(held, readCapsule(publicKey, bytes))
}

/** The thread that has this node's share of the sealing key, and does the arithmetic of openings: a millisecond each. It decides nothing. */
import { parentPort } from 'node:worker_threads'
import { KeyShare, makeBarePartial, makePartial, readCapsule, verifyCapsule } from '@ringwall/threshold'
import type { FromOpeningThread, OpeningAnswer, OpeningTask, ToOpeningThread } from './opening-messages.ts'

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
  const { publicKey } = held
  const partials = task.capsules.map((body, at) => {
    const label = task.labels?.[at]
    if (!task.proven && label === undefined) return makeBarePartial(held, readCapsule(publicKey, body))
    const capsule = verifyCapsule(publicKey, body)
    if (label !== undefined && Buffer.compare(capsule.label, label) !== 0) throw new Error('the capsule is of something else')
    return task.proven ? makePartial(held, capsule) : makeBarePartial(held, readCapsule(publicKey, body))
  })
  return { kind: 'opened', partials }
}

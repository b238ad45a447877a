/** The thread that encrypts, codes and hashes segments of objects: some ten milliseconds each, which the node's own thread has not. */
import { hash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { ErasureCode, openObjectSegment, sealObjectSegment, VaultError } from '@ringwall/vault/object-code'
import { createDigest, type Digest } from './digests.ts'
import type { FromObjectThread, ObjectAnswer, ObjectTask, ToObjectThread } from './object-messages.ts'

const port = parentPort!
const codes = new Map<string, ErasureCode>()
const digests = new Map<number, readonly Digest[]>()
const DONE: ObjectAnswer = { kind: 'done' }

function codeOf({ data, shards }: { readonly data: number; readonly shards: number }): ErasureCode {
  const name = `${data}/${shards}`
  let code = codes.get(name)
  if (code === undefined) {
    code = new ErasureCode(data, shards)
    codes.set(name, code)
  }
  return code
}

port.on('message', ({ id, task }: ToObjectThread) => {
  let answer: ObjectAnswer
  try {
    answer = perform(task)
  } catch (error) {
    answer = { kind: 'failed', reason: (error as Error).message, isCorrupt: error instanceof VaultError }
  }
  port.postMessage({ id, answer } satisfies FromObjectThread)
})

function perform(task: ObjectTask): ObjectAnswer {
  if (task.kind === 'seal') return seal(task)
  if (task.kind === 'open') return open(task)
  if (task.kind === 'hash') return { kind: 'hashes', hashes: hash('sha256', task.bytes, 'buffer') }
  if (task.kind === 'restore') {
    codeOf(task).fillMissing(task.pieces, [task.index], [task.target])
    return DONE
  }
  if (task.kind === 'digests') {
    digests.set(task.number, task.names.map(createDigest))
    return DONE
  }
  const values = (digests.get(task.number) ?? []).map((one) => one.digest().toString('hex'))
  digests.delete(task.number)
  return { kind: 'digests', values }
}

function seal(task: ObjectTask & { readonly kind: 'seal' }): ObjectAnswer {
  const { key, about, number, isLast, data, plain, pieces } = task
  if (task.digests !== undefined) {
    const going = digests.get(task.digests)
    if (going === undefined) throw new Error('its digests are of a thread that ended')
    for (const one of going) one.update(plain)
  }
  sealObjectSegment(key, about, number, isLast, plain, pieces.slice(0, data))
  key.fill(0)
  codeOf(task).fillParity(pieces.slice(0, data), pieces.slice(data))
  return { kind: 'hashes', hashes: Buffer.concat(pieces.map((piece) => hash('sha256', piece, 'buffer'))) }
}

function open(task: ObjectTask & { readonly kind: 'open' }): ObjectAnswer {
  const { key, about, number, isLast, data, plain, spare, sealedBytes } = task
  const pieces = task.pieces.slice(0, data)
  const missing = pieces.flatMap((piece, index) => (piece === undefined ? [index] : []))
  codeOf(task).fillMissing(task.pieces, missing, spare)
  const whole = pieces.map((piece, index) => piece ?? (spare[missing.indexOf(index)] as Uint8Array))
  openObjectSegment(key, about, number, isLast, { pieces: whole, sealedBytes }, plain)
  key.fill(0)
  return DONE
}

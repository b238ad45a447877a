/** The thread that encrypts, codes and hashes segments of objects: some ten milliseconds each, which the node's own thread has not. */
import { hash } from 'node:crypto'
import { parentPort } from 'node:worker_threads'
import { ErasureCode, openObjectSegment, sealObjectSegment, VaultError } from '@ringwall/vault'
import type { FromObjectThread, ObjectAnswer, ObjectTask, ToObjectThread } from './object-messages.ts'

const port = parentPort!
const codes = new Map<string, ErasureCode>()

function codeOf(data: number, shards: number): ErasureCode {
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
  port.postMessage({ id, answer } satisfies FromObjectThread, buffersOf(answer))
})

function perform(task: ObjectTask): ObjectAnswer {
  const code = codeOf(task.data, task.shards)
  if (task.kind === 'restore') {
    const piece = code.restore(task.pieces)[task.index] as Uint8Array
    return { kind: 'restored', piece: owned(piece) }
  }
  const { key, about, number, isLast } = task
  if (task.kind === 'open') {
    const sealed = code.decode(task.pieces, task.sealedBytes)
    const plain = openObjectSegment(key, about, number, isLast, sealed)
    key.fill(0)
    return { kind: 'opened', plain: owned(plain) }
  }
  const pieces = code.encode(owned(sealObjectSegment(key, about, number, isLast, task.plain)))
  key.fill(0)
  task.plain.fill(0)
  return { kind: 'sealed', pieces, hashes: Buffer.concat(pieces.map((piece) => hash('sha256', piece, 'buffer'))) }
}

/** Small buffers lie in one that others use too. */
function owned(bytes: Uint8Array): Uint8Array {
  return bytes.byteLength === bytes.buffer.byteLength || bytes.byteLength > 1_048_576 ? bytes : new Uint8Array(bytes)
}

function buffersOf(answer: ObjectAnswer): ArrayBuffer[] {
  const views = answer.kind === 'sealed' ? answer.pieces : answer.kind === 'opened' ? [answer.plain] : []
  return [...new Set(views.map(({ buffer }) => buffer as ArrayBuffer))].filter(({ byteLength }) => byteLength > 65_536)
}

/**
 * Where a node that waits for its disk takes the parts of operators: a Unix socket in its data folder, its owner's alone. A line of JSON comes in, a line goes
 * out; nothing of it touches the disk.
 */
import { chmodSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { z } from 'zod'
import { StartError } from '../errors.ts'
import { type HeldByOperators, OperatorParts } from './recovery.ts'

const LINE_BYTES_MAX = 4_096
const LINE_MS_MAX = 5_000
const CALLERS_MAX = 8

const Part = z.strictObject({ index: z.int().min(1).max(1_000), partial: z.string().regex(/^[A-Za-z0-9_-]{1,2000}$/) })
const Answer = z.strictObject({ taken: z.boolean(), missing: z.int().min(0) })

export const unlockSocketOf = (data: string): string => join(data, 'unlock.sock')

export interface UnlockSocket {
  /** The storage key, once enough operators have given their part. */
  readonly opened: Promise<Uint8Array>
  close(): void
}

/** @param onError What keeps it from listening: the ring may open the disk all the same. */
export function listenForOperators(data: string, held: HeldByOperators, onError: (error: Error) => void): UnlockSocket {
  const parts = new OperatorParts(held)
  const { promise, resolve } = Promise.withResolvers<Uint8Array>()
  const path = unlockSocketOf(data)
  const callers = new Set<Socket>()
  const server = createServer((socket) => {
    if (callers.size >= CALLERS_MAX) {
      socket.destroy()
      return
    }
    callers.add(socket)
    socket.setTimeout(LINE_MS_MAX, () => socket.destroy())
    socket.on('error', () => {})
    socket.once('close', () => callers.delete(socket))
    let line = ''
    socket.on('data', (chunk: Buffer) => {
      line += chunk.toString('latin1')
      if (line.length > LINE_BYTES_MAX) socket.destroy()
      else if (line.endsWith('\n')) {
        const taken = take(parts, line)
        const storageKey = taken ? parts.storageKey() : undefined
        socket.end(`${JSON.stringify({ taken, missing: parts.missing } satisfies z.output<typeof Answer>)}\n`)
        if (storageKey !== undefined) resolve(storageKey)
      }
    })
  })
  server.on('error', onError)
  rmSync(path, { force: true })
  server.listen(path, () => chmodSync(path, 0o600))
  return {
    opened: promise,
    close: () => {
      server.close()
      for (const caller of callers) caller.destroySoon()
      rmSync(path, { force: true })
    },
  }
}

function take(parts: OperatorParts, line: string): boolean {
  try {
    const { index, partial } = Part.parse(JSON.parse(line))
    return parts.take(index, partial)
  } catch {
    return false
  }
}

/** Gives one operator's part to the node that waits. @throws {StartError} `DISK_LOCKED`. */
export function givePart(
  data: string,
  part: { readonly index: number; readonly partial: string },
): Promise<{ readonly missing: number }> {
  return new Promise((settle, refuse) => {
    const fail = (what: string): void => refuse(new StartError('DISK_LOCKED', what))
    const socket = connect(unlockSocketOf(data))
    let answer = ''
    socket.setTimeout(LINE_MS_MAX, () => socket.destroy())
    socket.on('error', (error: NodeJS.ErrnoException) =>
      fail(`no node waits for its disk in ${data} (${error.code}): start it first, as the same user`),
    )
    socket.on('data', (chunk: Buffer) => {
      answer = (answer + chunk.toString('latin1')).slice(0, LINE_BYTES_MAX)
    })
    socket.once('close', () => {
      const read = Answer.safeParse(safeJson(answer))
      if (!read.success) fail('the node gave no answer; see what it says')
      else if (!read.data.taken) fail('the node did not take the share: it is not of the key that the disk was sealed to')
      else settle({ missing: read.data.missing })
    })
    socket.write(`${JSON.stringify(part)}\n`)
  })
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

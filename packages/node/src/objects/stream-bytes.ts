/** Bytes of a stream, so many at a time. */
import type { IncomingMessage } from 'node:http'

/** @throws {Error} When it ends before. */
export async function readFrom(stream: IncomingMessage, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length)
  let done = 0
  while (done < length) {
    const chunk = stream.read(Math.min(stream.readableLength, length - done) || undefined) as Buffer | null
    if (chunk === null) {
      if (stream.readableEnded || stream.destroyed) throw new Error('it ended early')
      await readable(stream)
      continue
    }
    if (chunk.length > length - done) {
      stream.unshift(chunk.subarray(length - done))
      bytes.set(chunk.subarray(0, length - done), done)
      return bytes
    }
    bytes.set(chunk, done)
    done += chunk.length
  }
  return bytes
}

function readable(stream: IncomingMessage): Promise<void> {
  return new Promise((settle) => {
    const names = ['readable', 'end', 'close', 'error'] as const
    const end = (): void => {
      for (const name of names) stream.off(name, end)
      settle()
    }
    for (const name of names) stream.on(name, end)
  })
}

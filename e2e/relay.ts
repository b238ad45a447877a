/** Stands in front of a node's links and delays what passes, by where the other end is: `relay.ts HOST PORT TARGET_PORT DELAYS`. */
import { connect, createServer, type Socket } from 'node:net'

const [host, port, target, delays] = process.argv.slice(2) as [string, string, string, string]
/** One way, milliseconds, by address. */
const oneWayMs = JSON.parse(delays) as Record<string, number>

/** In order, each piece so much later; the reader's pace holds back the writer. */
function carry(from: Socket, to: Socket, delayMs: number): void {
  from.on('data', (bytes) => {
    setTimeout(() => {
      if (!to.destroyed) to.write(bytes)
    }, delayMs)
  })
  from.on('close', () => setTimeout(() => to.destroy(), delayMs))
  from.on('error', () => from.destroy())
}

createServer((outside) => {
  const delayMs = oneWayMs[(outside.remoteAddress ?? '').replace(/^::ffff:/, '')] ?? 0
  const inside = connect(Number(target), '127.0.0.1')
  outside.setNoDelay(true)
  inside.setNoDelay(true)
  carry(outside, inside, delayMs)
  carry(inside, outside, delayMs)
}).listen(Number(port), host)

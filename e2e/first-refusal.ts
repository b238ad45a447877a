/** Asks a node as a source, and waits until it refuses that. */
import { Agent, request } from 'node:http'

const agent = new Agent({ keepAlive: true, maxSockets: 8 })

/** The status that a node answers to a source. */
export function statusFor(port: number, path: string, source: string): Promise<number> {
  return new Promise((settle, refuse) => {
    request({ host: '127.0.0.1', port, path, agent, headers: { 'x-forwarded-for': source } }, (response) => {
      response.resume().on('end', () => settle(response.statusCode ?? 0))
    })
      .on('error', refuse)
      .end()
  })
}

/** When the node first answered 403 to the source. @throws When it still serves it at `deadline`, on the clock of `performance`. */
export async function firstRefusal(port: number, path: string, source: string, deadline: number): Promise<number> {
  while (performance.now() < deadline) {
    // A denial cuts what its source has open: the next request gets the answer.
    if ((await statusFor(port, path, source).catch(() => 0)) === 403) return performance.now()
  }
  throw new Error(`port ${port} still serves ${source}`)
}

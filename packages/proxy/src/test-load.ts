/** For tests: clients with kept connections, upstreams in processes of their own, and a proxy between them. */
import { Agent, request as httpRequest } from 'node:http'
import type { TestContext } from 'node:test'
import { policyOf, testProxy, viewOf } from './test-ring.ts'
import { type UpstreamProcess, upstreamProcess } from './test-upstream.ts'

export interface Answer {
  readonly status: number
  /** The upstream that answered; the proxy itself when empty. */
  readonly by: string
  readonly headers: NodeJS.Dict<string | string[]>
}

/** A client with kept connections; closed after the test. */
export function client(t: TestContext, port: number, sockets = 64) {
  const agent = new Agent({ keepAlive: true, maxSockets: sockets })
  t.after(() => agent.destroy())
  return (path = '/', options: { method?: string; headers?: Record<string, string>; body?: string } = {}): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const { body, ...rest } = options
      const request = httpRequest({ port, path, agent, ...rest }, (response) => {
        response.resume()
        response.on('error', reject)
        response.on('end', () =>
          resolve({ status: response.statusCode!, by: String(response.headers['x-upstream'] ?? ''), headers: response.headers }),
        )
      })
      request.on('error', reject)
      request.end(body)
    })
}

export async function upstreams(t: TestContext, ...names: string[]): Promise<UpstreamProcess[]> {
  const all = await Promise.all(names.map((name) => upstreamProcess(name)))
  t.after(() => Promise.all(all.map((upstream) => upstream.kill())))
  return all
}

export async function proxyFor(t: TestContext, service: object) {
  const running = await testProxy({ shop: service })
  t.after(() => running.proxy.stop(100))
  const swap = (changed: object): void => {
    running.state.view = viewOf(policyOf({ shop: changed }), running.state.view.height + 1)
  }
  return { ...running, swap }
}

export const tally = (answers: readonly Answer[]): Record<string, number> => {
  const counts: Record<string, number> = {}
  for (const { by, status } of answers)
    counts[by === '' ? String(status) : by] = (counts[by === '' ? String(status) : by] ?? 0) + 1
  return counts
}

export const times = <T>(count: number, make: () => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: count }, make))

export async function inTurn<T>(count: number, make: () => Promise<T>): Promise<T[]> {
  const all: T[] = []
  for (let at = 0; at < count; at++) all.push(await make())
  return all
}

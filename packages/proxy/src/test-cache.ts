/** For tests: a proxy that keeps answers, and an upstream that says what a test wants. */
import { type ClientRequest, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http'
import type { CacheStatus } from './response-cache.ts'
import { testProxy, upstreamServer } from './test-ring.ts'
import type { ProxyOptions } from './types.ts'

export interface Answer {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  readonly text: string
  /** What our own Cache-Status says. */
  readonly cache: string
}

export interface Asked {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly body?: string
}

export function ask(port: number, path: string, { method = 'GET', headers = {}, body }: Asked = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request: ClientRequest = httpRequest(
      { port, path, method, headers: { host: 'shop.example', ...headers } as Record<string, string>, agent: false },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const whole = Buffer.concat(chunks)
          const { statusCode = 0, headers: fields } = response
          const cache = String(fields['cache-status'] ?? '')
          resolve({ status: statusCode, headers: fields, body: whole, text: whole.toString('latin1'), cache })
        })
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

export type Say = (request: IncomingMessage, response: ServerResponse, count: number) => void

/** `count` is how often the upstream was asked, from 1; `seen` what it was asked. */
export async function cachingProxy(say: Say, cache: object = {}, service: object = {}, options: Partial<ProxyOptions> = {}) {
  const upstream = await upstreamServer((request, response) => say(request, response, upstream.seen.length))
  const ring = await testProxy({ shop: { upstreams: [{ url: upstream.url }], cache, ...service } }, options)
  return {
    ...ring,
    upstream,
    seen: upstream.seen,
    get: (path = '/a', asked: Asked = {}): Promise<Answer> => ask(ring.port, path, asked),
    status: (): CacheStatus => ring.proxy.cache(),
    close: async (): Promise<void> => {
      await ring.proxy.stop(0)
      upstream.close()
    },
  }
}

/** Whole seconds before now, as an HTTP date. */
export const httpDateAgo = (seconds: number): string =>
  new Date(Math.floor(Date.now() / 1_000) * 1_000 - seconds * 1_000).toUTCString()

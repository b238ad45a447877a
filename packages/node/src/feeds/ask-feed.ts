/** One request to the server of a feed: no redirects, nothing else than what is configured is asked, bounded in time and bytes. */
import type { IncomingHttpHeaders } from 'node:http'
import { request as requestHttps } from 'node:https'
import { nodeHttp } from '@ringwall/proxy/node-http'

export interface FeedAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Empty unless the status is 200. */
  readonly text: string
}

export interface FeedQuestion {
  readonly headers: Readonly<Record<string, string>>
  /** PEM of the authority that its certificate is from. */
  readonly ca: string | undefined
  readonly bytesMax: number
  readonly timeoutMs: number
  /** Ends it early. */
  readonly signal: AbortSignal
}

export function askFeed(target: URL, { headers, ca, bytesMax, timeoutMs, signal: ended }: FeedQuestion): Promise<FeedAnswer> {
  return new Promise((settle, refuse) => {
    const signal = AbortSignal.any([ended, AbortSignal.timeout(timeoutMs)])
    const options = { headers: { 'user-agent': 'ringwall-feed/1', ...headers }, signal, agent: false as const }
    const call =
      target.protocol === 'https:'
        ? requestHttps(target, { ...options, ...(ca === undefined ? {} : { ca }), rejectUnauthorized: true })
        : nodeHttp.request(target, options)
    const fail = (cause: Error): void =>
      refuse(signal.aborted ? new Error(`no answer from ${target.host} in ${timeoutMs / 1_000} s`) : cause)
    call.on('error', fail)
    call.on('response', (response) => {
      const { statusCode: status = 0, headers: said } = response
      if (status !== 200) {
        response.destroy()
        settle({ status, headers: said, text: '' })
        return
      }
      const chunks: Buffer[] = []
      let bytes = 0
      response.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        chunks.push(chunk)
        if (bytes > bytesMax) response.destroy(new Error(`${target.host} answers more than ${bytesMax} bytes`))
      })
      response.on('error', fail)
      response.on('end', () => settle({ status, headers: said, text: Buffer.concat(chunks).toString('utf8') }))
    })
    call.end()
  })
}

/** Requests to an ACME server: HTTPS alone (RFC 8555 section 6.1), no redirects, bounded in time and bytes. */
import { request } from 'node:https'
import { VERSION } from '../version.ts'

const BODY_BYTES_MAX = 1_048_576
const TIMEOUT_MS = 30_000

export interface AcmeResponse {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Buffer
}

export type AcmeHttp = (
  method: 'GET' | 'HEAD' | 'POST',
  url: string,
  options?: { readonly body?: string; readonly accept?: string },
) => Promise<AcmeResponse>

/** @param roots PEM of who vouches for the server; those of the runtime unless given. */
export function acmeHttp(roots: string | undefined, stop: AbortSignal): AcmeHttp {
  return (method, url, { body, accept } = {}) =>
    new Promise((resolve, reject) => {
      const target = URL.parse(url)
      const where = target === null ? 'an address that is none' : `${target.host}${target.pathname}`.slice(0, 200)
      const fail = (why: string): void => reject(new Error(`${where}: ${why}`))
      if (target?.protocol !== 'https:') {
        fail('expected https')
        return
      }
      const asked = request(
        target,
        {
          method,
          agent: false,
          signal: stop,
          ...(roots === undefined ? {} : { ca: roots }),
          headers: {
            'user-agent': `ringwall/${VERSION}`,
            'accept-language': 'en',
            ...(accept === undefined ? {} : { accept }),
            ...(body === undefined ? {} : { 'content-type': 'application/jose+json', 'content-length': Buffer.byteLength(body) }),
          },
        },
        (response) => {
          const chunks: Buffer[] = []
          let length = 0
          response.on('data', (chunk: Buffer) => {
            length += chunk.length
            if (length > BODY_BYTES_MAX) asked.destroy(new Error(`answers with more than ${BODY_BYTES_MAX} bytes`))
            else chunks.push(chunk)
          })
          response.on('end', () => {
            clearTimeout(late)
            resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) })
          })
          response.on('error', (error) => fail(error.message))
        },
      )
      const late = setTimeout(() => asked.destroy(new Error(`did not answer within ${TIMEOUT_MS / 1_000} s`)), TIMEOUT_MS)
      asked.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(late)
        fail(error.code === undefined ? error.message : `${error.code}: ${error.message}`)
      })
      asked.end(body)
    })
}

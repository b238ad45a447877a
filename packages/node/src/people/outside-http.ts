/** Requests to outside providers: https, or http on loopback; no redirects, no cookies, bounded in time and bytes. */
import { request as httpsRequest } from 'node:https'
import { nodeHttp } from '@ringwall/proxy/node-http'
import { VERSION } from '../version.ts'

const BODY_BYTES_MAX = 262_144
const TIMEOUT_MS = 5_000
/** At a time, of all providers together. */
const UNDER_WAY_MAX = 32
const LOOPBACK = /^(?:127(?:\.[0-9]{1,3}){3}|\[::1\]|localhost)$/

export interface OutsideAnswer {
  readonly status: number
  readonly body: string
}

/** What could not be asked, or gave no answer that can be read. The message names host and path, and no query. */
export class OutsideUnreachable extends Error {
  override readonly name = 'OutsideUnreachable'
  readonly code = 'OUTSIDE_UNREACHABLE'
}

export type OutsideHttp = (
  url: string,
  form?: { readonly body: string; readonly headers: Readonly<Record<string, string>> },
) => Promise<OutsideAnswer>

/** Is this an address that people's secrets may be sent to? */
export function isSafeAddress(text: string, mayBeLocal: boolean): boolean {
  const url = text.length > 2_048 ? null : URL.parse(text)
  if (url === null || url.username !== '' || url.password !== '' || url.hash !== '') return false
  return url.protocol === 'https:' || (mayBeLocal && url.protocol === 'http:' && LOOPBACK.test(url.hostname))
}

/** GET, or POST of a form. @throws {OutsideUnreachable} */
export function outsideHttp(): OutsideHttp {
  let underWay = 0
  return async (address, form) => {
    if (underWay >= UNDER_WAY_MAX) throw new OutsideUnreachable(`${UNDER_WAY_MAX} requests to providers are under way already`)
    underWay += 1
    try {
      return await ask(new URL(address), form)
    } finally {
      underWay -= 1
    }
  }
}

function ask(url: URL, form: Parameters<OutsideHttp>[1]): Promise<OutsideAnswer> {
  return new Promise((resolve, reject) => {
    const where = `${url.host}${url.pathname}`.slice(0, 200)
    const start = url.protocol === 'https:' ? httpsRequest : nodeHttp.request
    const about = form === undefined ? {} : { 'content-length': String(Buffer.byteLength(form.body)), ...form.headers }
    const headers = { accept: 'application/json', 'user-agent': `ringwall/${VERSION}`, ...about }
    const asked = start(url, { method: form === undefined ? 'GET' : 'POST', agent: false, headers }, (response) => {
      const chunks: Buffer[] = []
      let length = 0
      response.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (length > BODY_BYTES_MAX) asked.destroy(new Error(`answers with more than ${BODY_BYTES_MAX} bytes`))
        else chunks.push(chunk)
      })
      response.on('end', () => {
        clearTimeout(late)
        resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('utf8') })
      })
      response.on('error', fail)
    })
    const fail = (error: NodeJS.ErrnoException): void => {
      clearTimeout(late)
      reject(new OutsideUnreachable(`${where}: ${error.code === undefined ? error.message : `${error.code}: ${error.message}`}`))
    }
    const late = setTimeout(() => asked.destroy(new Error(`did not answer within ${TIMEOUT_MS / 1_000} s`)), TIMEOUT_MS)
    asked.on('error', fail)
    asked.end(form?.body)
  })
}

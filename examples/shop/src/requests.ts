/** Reading requests, within bounds. */
import type { IncomingMessage } from 'node:http'

const BODY_BYTES_MAX = 1_048_576

/** The answer is an HTTP status with a sentence. */
export class Refused extends Error {
  readonly status: number
  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw new Refused(413, 'Too large: at most 1 MiB.')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** Fields of a form or a JSON object; values are text. */
export async function readFields(request: IncomingMessage): Promise<ReadonlyMap<string, string>> {
  const text = (await readBody(request)).toString('utf8')
  if (!(request.headers['content-type'] ?? '').startsWith('application/json')) return new Map(new URLSearchParams(text))
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null) throw new SyntaxError('no object')
    return new Map(Object.entries(value).map(([name, member]) => [name, String(member)]))
  } catch {
    throw new Refused(400, 'The body is no JSON object.')
  }
}

/** The first file of a multipart form. */
export async function readUpload(request: IncomingMessage): Promise<{ readonly name: string; readonly bytes: Uint8Array }> {
  const body = await readBody(request)
  const type = request.headers['content-type'] ?? ''
  const form = await new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData().catch(() => {
    throw new Refused(400, 'Expected multipart/form-data with a field named file.')
  })
  const file = form.get('file')
  if (!(file instanceof File)) throw new Refused(400, 'Expected a file in the field named file.')
  return { name: file.name.slice(0, 200), bytes: new Uint8Array(await file.arrayBuffer()) }
}

export function cookie(request: IncomingMessage, name: string): string {
  for (const pair of (request.headers.cookie ?? '').split(';')) {
    const [key, value] = pair.trim().split('=', 2)
    if (key === name) return value ?? ''
  }
  return ''
}

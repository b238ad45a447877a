/**
 * Our parser beside another: where Node's server (llhttp) and ours both take a sequence of requests, they must see the same
 * requests with the same bodies. What it refuses and we take is no disagreement about framing: it is sent on in canonical form.
 */
import assert from 'node:assert/strict'
import { createServer, type IncomingMessage } from 'node:http'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import fc from 'fast-check'
import { BODY, END, HEAD, MORE, RequestParser } from './request-parser.ts'

interface Framed {
  readonly requests: readonly string[]
  /** Whether the bytes end in something refused. */
  readonly refused: boolean
}

function ours(bytes: Buffer): Framed {
  const parser = new RequestParser({ lineBytesMax: 16_384, bytesMax: 32_768, fieldsMax: 100 })
  const requests: string[] = []
  let line = ''
  let body = ''
  let at = 0
  for (;;) {
    if (parser.done) parser.next()
    const event = parser.read(bytes, at)
    at = parser.at
    if (event === MORE) return { requests, refused: false }
    if (event === BODY) body += bytes.toString('latin1', parser.from, parser.to)
    else if (event === HEAD) {
      const { method, url, head } = parser.request!
      if ('refused' in head) return { requests, refused: true }
      // Others speak another protocol from here on.
      if (head.upgrade) return { requests, refused: false }
      line = `${method} ${url}`
      if (head.contentLength === 0) requests.push(`${line} `)
    } else if (event === END) {
      requests.push(`${line} ${body}`)
      body = ''
    } else return { requests, refused: true }
  }
}

/** A connection that has said all it will. */
class Said extends Duplex {
  readonly #bytes: Buffer
  #given = false
  constructor(bytes: Buffer) {
    super({ allowHalfOpen: true })
    this.#bytes = bytes
  }
  override _read(): void {
    if (this.#given) return
    this.#given = true
    this.push(this.#bytes)
  }
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done()
  }
}

async function theirs(bytes: Buffer): Promise<Framed> {
  const requests: string[] = []
  let refused = false
  let pending = 0
  let quiet: (() => void) | undefined
  const server = createServer({ requireHostHeader: false, maxHeaderSize: 32_768 }, (request: IncomingMessage, response) => {
    pending++
    let body = ''
    const slot = requests.length
    requests.push('')
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString('latin1')
    })
    request.on('end', () => {
      requests[slot] = `${request.method} ${request.url} ${body}`
      pending--
      response.end()
    })
    request.on('error', () => undefined)
  })
  server.on('checkContinue', (request, response) => server.emit('request', request, response))
  server.on('checkExpectation', (request, response) => server.emit('request', request, response))
  server.on('upgrade', (_request, socket) => socket.destroy())
  server.on('clientError', () => {
    refused = true
    quiet?.()
  })
  const socket = new Said(bytes)
  socket.on('error', () => undefined)
  server.emit('connection', socket)
  await new Promise<void>((resolve) => {
    quiet = resolve
    let turns = 0
    // Streams hand over within a few turns of the event loop; a body that lacks its end never does.
    const wait = (): void => {
      turns++
      if (turns > 12 && (pending === 0 || turns > 24)) resolve()
      else setImmediate(wait)
    }
    wait()
  })
  socket.destroy()
  return { requests: requests.filter((request) => request !== ''), refused }
}

const line = fc.constantFrom(
  'GET / HTTP/1.1',
  'POST /p HTTP/1.1',
  'PUT /q?r HTTP/1.1',
  'POST /o HTTP/1.0',
  'HEAD / HTTP/1.1',
  'DELETE /d HTTP/1.1',
)
const field = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      'Content-Length: 0',
      'Content-Length: 3',
      'Content-Length: 5',
      'Content-Length: 05',
      'Content-Length: 3 ',
    ),
  },
  {
    weight: 3,
    arbitrary: fc.constantFrom(
      'Transfer-Encoding: chunked',
      'transfer-encoding:chunked',
      'Transfer-Encoding: Chunked\t',
      'Transfer-Encoding: gzip, chunked',
      'Transfer-Encoding: x',
    ),
  },
  fc.constantFrom(
    'X: y',
    'X:',
    'Connection: keep-alive',
    'Connection: close',
    'X: "a\\"b"',
    'Expect: 100-continue',
    'X : y',
    'X: y\n',
    ' folded',
    'X: a\rb',
    'X',
    ': y',
    'Content-Length: 3, 3',
    'Content-Length: +3',
    'Content_Length: 5',
  ),
)
const body = fc.constantFrom(
  '',
  'abc',
  'hello',
  '3\r\nabc\r\n0\r\n\r\n',
  '5;x=y\r\nhello\r\n0\r\n\r\n',
  '3\r\nabc\r\n0\r\nT: u\r\n\r\n',
  '3 \r\nabc\r\n0\r\n\r\n',
  '3\nabc\n0\n\n',
  '03\r\nabc\r\n00\r\n\r\n',
  '3\r\nabcd\r\n0\r\n\r\n',
  '0\r\n\r\n',
  '3\r\nabc\r\n0\r\n',
  'GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n',
  '0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n',
)
const message = fc
  .tuple(line, fc.array(field, { maxLength: 3 }), body)
  .map(([first, fields, rest]) => `${first}\r\nHost: a\r\n${fields.map((each) => `${each}\r\n`).join('')}\r\n${rest}`)

test('generated sequences of requests: never framed in another way than Node’s parser frames them', async () => {
  let taken = 0
  await fc.assert(
    fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 3 }), async (messages) => {
      const bytes = Buffer.from(messages.join(''), 'latin1')
      const we = ours(bytes)
      if (we.requests.length === 0) return
      // A connection that its client wants closed ends there for Node; we read on only after an answer.
      const closes = messages.findIndex((each) => /Connection: close|HTTP\/1\.0/.test(each))
      const they = await theirs(bytes)
      const compared = closes < 0 && !they.refused ? we.requests.length : Math.min(we.requests.length, they.requests.length)
      taken += compared
      assert.deepEqual(they.requests.slice(0, compared), we.requests.slice(0, compared))
    }),
    { numRuns: 1_500 },
  )
  assert.ok(taken > 300, `${taken} requests compared`)
})

test('positive control: a difference in framing would be seen', async () => {
  const bytes = Buffer.from('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /2 HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.deepEqual((await theirs(bytes)).requests, ['POST / abc', 'GET /2 '])
  assert.deepEqual(ours(bytes).requests, ['POST / abc', 'GET /2 '])
  const shorter = Buffer.from(String(bytes).replace('Length: 3', 'Length: 2'))
  assert.notDeepEqual((await theirs(shorter)).requests, ours(bytes).requests)
})

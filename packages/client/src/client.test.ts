import assert from 'node:assert/strict'
import { generateKeyPairSync, verify } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { type SignedTx, signingBytes } from '@ringwall/ring/tx'
import fc from 'fast-check'
import { RingwallClient } from './client.ts'
import { parseContext } from './context.ts'
import { EventStreamParser } from './event-stream.ts'

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const CONTEXT = {
  format: 'ringwall/context/1',
  ring: 'the-ring',
  name: 'ada',
  privateKey: privateKey.export({ format: 'jwk' }),
  nodes: [{ id: 'n1', url: 'http://127.0.0.1:1' }],
}

let answer: (request: IncomingMessage, response: ServerResponse, body: string) => void = () => {}
const server = createServer((request, response) => {
  let body = ''
  request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')))
  request.on('end', () => answer(request, response, body))
})
let client: RingwallClient

before(async () => {
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  client = new RingwallClient({
    baseUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`,
    operator: parseContext(JSON.stringify(CONTEXT)),
  })
})
after(() => {
  server.closeAllConnections()
  server.close()
})

test('a statement is signed in the operator’s name for this ring, and so is the token that carries it in', async () => {
  let sent: { tx: SignedTx; waitMs: number } | undefined
  let token = ''
  answer = (request, response, body) => {
    token = (request.headers.authorization ?? '').replace('Bearer ', '')
    sent = JSON.parse(body)
    response.setHeader('content-type', 'application/json')
    response.end('{"id":"x","height":7,"digest":"d","elapsedMs":1}')
  }
  const committed = await client.denyAdd({ kind: 'ip', value: '203.0.113.7' }, 60_000, 'test', { waitMs: 5 })
  assert.deepEqual(committed, { id: 'x', height: 7, digest: 'd', elapsedMs: 1 })
  const { content, signature } = (sent as { tx: SignedTx }).tx
  assert.equal(content.ring, 'the-ring')
  assert.equal(content.issuer, 'operator:ada')
  assert.ok(verify(null, signingBytes(content), publicKey, Buffer.from(signature, 'base64url')))
  const [head, claims, tail] = token.split('.') as [string, string, string]
  assert.ok(verify(null, Buffer.from(`${head}.${claims}`), publicKey, Buffer.from(tail, 'base64url')))
  const { iss, aud, exp, iat } = JSON.parse(Buffer.from(claims, 'base64url').toString())
  assert.deepEqual([iss, aud, exp - iat <= 300], ['ada', 'the-ring', true])
})

test('problem details become an ApiError with the node’s code; anything else, and nothing at all, is NodeUnreachable', async () => {
  answer = (_request, response) => {
    response.writeHead(422, { 'content-type': 'application/problem+json' })
    response.end('{"status":422,"title":"Refused","detail":"because","code":"NOT_ENTITLED"}')
  }
  await assert.rejects(client.status(), { name: 'ApiError', code: 'NOT_ENTITLED', status: 422, message: 'because' })
  answer = (_request, response) => {
    response.writeHead(404)
    response.end('<h1>Apache</h1>')
  }
  await assert.rejects(client.status(), { name: 'NodeUnreachable', message: /something else answers there/ })
  await assert.rejects(new RingwallClient({ baseUrl: 'http://127.0.0.1:1' }).status(), { name: 'NodeUnreachable' })
})

test('a connection that is cut before the answer is asked again, once', async () => {
  let asked = 0
  answer = (_request, response) => {
    asked += 1
    if (asked === 1) response.destroy()
    else response.end('{"denials":[]}')
  }
  assert.deepEqual(await client.denials(), { denials: [] })
  assert.equal(asked, 2)
})

test('path parameters cannot leave their place, and absent query values are left out', async () => {
  let url = ''
  answer = (request, response) => {
    url = request.url ?? ''
    response.end('{}')
  }
  await client.explain('../status?x')
  assert.equal(url, '/v1/decisions/..%2Fstatus%3Fx')
  await client.decisions({ limit: 5 })
  assert.equal(url, '/v1/decisions?limit=5')
})

test('a stream yields events as they come and ends when it is told to', async () => {
  answer = (_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(': open\n\nevent: event\ndata: {"what":"one"}\n\nevent: event\nda')
    setTimeout(() => response.write('ta: {"what":"two"}\n\n'), 20)
  }
  const abort = new AbortController()
  const seen: string[] = []
  let opened = false
  for await (const { what } of client.eventStream(abort.signal, () => (opened = true))) {
    seen.push(what)
    if (seen.length === 2) abort.abort()
  }
  assert.deepEqual(seen, ['one', 'two'])
  assert.ok(opened)
})

test('property: events come out the same however the bytes are split, with any line ending', () => {
  const text = fc.stringMatching(/^[a-zé€😀 :]{0,12}$/u)
  fc.assert(
    fc.property(
      fc.array(fc.tuple(text, fc.array(text, { minLength: 1, maxLength: 3 })), { maxLength: 4 }),
      fc.constantFrom('\n', '\r\n'),
      fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
      (events, end, cuts) => {
        const named = events.map(([name, lines]) => ({
          event: name.trim() === '' ? 'x' : name.trim().replaceAll(':', ''),
          lines,
        }))
        const bytes = new TextEncoder().encode(
          named
            .map(({ event, lines }) => `event: ${event}${end}${lines.map((line) => `data: ${line}${end}`).join('')}${end}`)
            .join(''),
        )
        const parser = new EventStreamParser()
        const found: { event: string; data: string }[] = []
        for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
          const next = at + (cuts[turn % cuts.length] as number)
          found.push(...parser.push(bytes.subarray(at, next)))
          at = next
        }
        assert.deepEqual(
          found,
          named.map(({ event, lines }) => ({ event: event === '' ? 'message' : event, data: lines.join('\n') })),
        )
      },
    ),
  )
})

test('an event without end is refused at a bound', () => {
  const parser = new EventStreamParser()
  assert.throws(() => {
    for (let i = 0; i < 30; i += 1) parser.push(new TextEncoder().encode(`data: ${'x'.repeat(65_536)}\n`))
  }, /longer than/)
})

const wrong: readonly [string, string, RegExp][] = [
  ['no JSON', 'operator', /no JSON/],
  ['another format', JSON.stringify({ ...CONTEXT, format: 'x' }), /format/],
  ['no key', JSON.stringify({ ...CONTEXT, privateKey: { kty: 'RSA' } }), /Ed25519/],
  ['no nodes', JSON.stringify({ ...CONTEXT, nodes: [] }), /nodes/],
  ['a node without URL', JSON.stringify({ ...CONTEXT, nodes: [{ id: 'n1', url: 'nowhere' }] }), /nodes\[0\]/],
]
for (const [name, text, message] of wrong) {
  test(`a context is refused, saying what is wrong and never the key: ${name}`, () => {
    assert.throws(
      () => parseContext(text),
      (error: Error) => message.test(error.message) && !error.message.includes(CONTEXT.privateKey.d as string),
    )
  })
}

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { freePort } from '../free-port.ts'
import { AdminServer, type Operation, type OtherApi } from './http.ts'
import { ApiProblem } from './problem.ts'

let port = 0
let server: AdminServer
let happens: ((event: string, data: unknown) => void) | undefined

const OPERATIONS: readonly Operation[] = [
  { method: 'GET', path: '/healthz', open: true, run: () => ({ text: 'ok\n', type: 'text/plain' }) },
  { method: 'GET', path: '/v1/who/{name}', run: (call) => ({ json: { operator: call.operator, name: call.parameters.name } }) },
  { method: 'POST', path: '/v1/echo', run: async (call) => ({ json: await call.body() }) },
  { method: 'GET', path: '/v1/fail', run: () => Promise.reject(new Error('secret detail')) },
  { method: 'GET', path: '/v1/twice', run: () => ({ text: 'operator', type: 'text/plain' }) },
  { method: 'GET', path: '/v1/twice', byKey: true, run: (call) => ({ text: call.operator, type: 'text/plain' }) },
  {
    method: 'GET',
    path: '/v1/pieces',
    byKey: true,
    run: () => ({ type: 'text/plain', pieces: Array.from({ length: 1_000 }, () => 'x'.repeat(1_000)) }),
  },
  {
    method: 'GET',
    path: '/v1/happens',
    run: () => ({
      subscribe: (emit) => {
        happens = emit
        return () => undefined
      },
    }),
  },
  { method: 'GET', path: '/v1/refuse', run: () => Promise.reject(new ApiProblem(422, 'NO', 'because')) },
]

/** Says what it was sent, but for `/v1/secret/fail`. */
const OTHER: OtherApi = {
  takes: (_method, path) => path.startsWith('/v1/secret/'),
  answer: async ({ path, text }) => {
    if (path.endsWith('/fail')) throw new Error('secret detail')
    return { status: 200, json: await text() }
  },
}

/** Raw, so that headers and paths reach the server as written. */
function ask(
  method: string,
  path: string,
  headers: Record<string, string> = {},
  body?: string | Buffer,
): Promise<{ status: number; text: string; headers: Record<string, unknown> }> {
  return new Promise((settle, refuse) => {
    const call = request(
      { host: '127.0.0.1', port, method, path, headers: { authorization: 'Bearer good', ...headers }, agent: false },
      (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
        response.on('end', () => settle({ status: response.statusCode ?? 0, text, headers: response.headers }))
      },
    )
    call.on('error', refuse)
    call.end(body)
  })
}

let root: string
const operators = new Set(['ada'])

before(async () => {
  root = mkdtempSync(join(tmpdir(), 'ringwall-admin-'))
  const dist = join(root, 'dist')
  mkdirSync(dist)
  writeFileSync(join(root, 'secret'), 'outside')
  writeFileSync(join(dist, 'index.html'), '<title>console</title>')
  port = await freePort()
  server = new AdminServer({
    other: OTHER,
    listen: { host: '127.0.0.1', port },
    operations: OPERATIONS,
    consoleDirectory: dist,
    ownerOf: (key) => (key === 'key' ? 'bouncer' : undefined),
    signIn: (token) => (token === 'good' ? { ok: true, operator: 'ada' } : { ok: false, reason: 'unknown key' }),
    isOperator: (name) => operators.has(name),
  })
  await server.start()
})

after(async () => {
  await server.stop()
  rmSync(root, { recursive: true })
})

test('an operation behind sign-in answers the operator, and refuses a missing and a bad token with 401', async () => {
  assert.deepEqual(JSON.parse((await ask('GET', '/v1/who/x%20y')).text), { operator: 'ada', name: 'x y' })
  const bad = await ask('GET', '/v1/who/x', { authorization: 'Bearer bad' })
  assert.equal(bad.status, 401)
  assert.equal(JSON.parse(bad.text).code, 'BAD_TOKEN')
  assert.equal((await ask('GET', '/v1/who/x', { authorization: '' })).status, 401)
})

test('a path may be one thing for operators and another for who brings a key; neither credential opens what is the other’s', async () => {
  assert.equal((await ask('GET', '/v1/twice')).text, 'operator')
  assert.equal((await ask('GET', '/v1/twice', { 'x-api-key': 'key' })).text, 'bouncer')
  const unknown = await ask('GET', '/v1/twice', { 'x-api-key': 'other' })
  assert.deepEqual([unknown.status, JSON.parse(unknown.text)], [403, { message: 'access forbidden' }])
  assert.equal((await ask('GET', '/v1/who/x', { authorization: '', 'x-api-key': 'key' })).status, 401)
  assert.equal((await ask('GET', '/v1/pieces')).status, 404)
  assert.equal((await ask('GET', '/v1/twice', { host: 'node.example', 'x-api-key': 'key' })).text, 'bouncer')
  assert.equal((await ask('GET', '/v1/who/x', { host: 'evil.example', 'x-api-key': 'key' })).status, 403)
})

test('a stream ends when its operator is none any more', async () => {
  const answer = ask('GET', '/v1/happens')
  await new Promise((resolve) => setTimeout(resolve, 100))
  happens?.('event', 1)
  operators.delete('ada')
  happens?.('event', 2)
  const { text } = await answer
  operators.add('ada')
  assert.match(text, /data: 1\n/)
  assert.doesNotMatch(text, /data: 2\n/)
})

test('an answer in pieces arrives whole, and HEAD has none of it', async () => {
  assert.equal((await ask('GET', '/v1/pieces', { 'x-api-key': 'key' })).text.length, 1_000_000)
  const head = await ask('HEAD', '/v1/pieces', { 'x-api-key': 'key' })
  assert.deepEqual([head.status, head.text], [200, ''])
})

test('a request under a foreign name (DNS rebinding) is refused, also for open operations', async () => {
  assert.equal((await ask('GET', '/healthz', { host: 'evil.example' })).status, 403)
  assert.equal((await ask('GET', '/healthz', { host: `localhost:${port}` })).status, 200)
})

test('a target that is no path is a 400, whoever asks', async () => {
  for (const target of ['//', '//evil.example/', 'http://[', '/\\evil.example/'])
    assert.ok([400, 404].includes((await ask('GET', target, { authorization: '' })).status), target)
})

test('an unexpected failure is a 500 that tells nothing of its cause; a refusal is problem details', async () => {
  const failed = await ask('GET', '/v1/fail')
  assert.equal(failed.status, 500)
  assert.doesNotMatch(failed.text, /secret detail/)
  const refused = await ask('GET', '/v1/refuse')
  assert.equal(refused.headers['content-type'], 'application/problem+json')
  assert.deepEqual(JSON.parse(refused.text), {
    type: 'about:blank',
    status: 422,
    title: 'Refused',
    detail: 'because',
    code: 'NO',
  })
})

test('bodies: no JSON type, broken JSON and more than the bound are each refused', async () => {
  const json = { 'content-type': 'application/json' }
  assert.equal((await ask('POST', '/v1/echo', {}, '{}')).status, 415)
  assert.equal((await ask('POST', '/v1/echo', json, '{')).status, 400)
  assert.equal((await ask('POST', '/v1/echo', json, JSON.stringify('x'.repeat(1_100_000)))).status, 413)
  assert.equal((await ask('POST', '/v1/echo', json, '{"a":1}')).text, '{"a":1}')
})

test('on another API’s paths every error has its shape: of the body, of a foreign name, of a failure, which tells nothing of its cause', async () => {
  const path = '/v1/secret/data/x'
  const vault = { 'x-vault-token': 't' }
  for (const [what, asked, status] of [
    ['too large', ask('POST', path, vault, 'x'.repeat(1_100_000)), 413],
    ['too large, in chunks', ask('POST', path, { ...vault, 'transfer-encoding': 'chunked' }, 'x'.repeat(1_048_577)), 413],
    ['another charset', ask('POST', path, { ...vault, 'content-type': 'application/json; charset="utf-16"' }, '{}'), 415],
    ['no UTF-8', ask('POST', path, vault, Buffer.from([0x22, 0xff, 0x22])), 400],
    ['a foreign name', ask('GET', path, { authorization: '', host: 'evil.example' }), 403],
    ['a failure', ask('GET', '/v1/secret/fail', vault), 500],
  ] as const) {
    const { status: given, text, headers } = await asked
    assert.equal(given, status, what)
    assert.equal(headers['content-type'], 'application/json', what)
    assert.equal((JSON.parse(text) as { errors: string[] }).errors.length, 1, what)
    assert.doesNotMatch(text, /secret detail/)
  }
  const type = 'application/json; charset=UTF-8'
  assert.equal((await ask('POST', path, { ...vault, 'content-type': type }, '{"a":"ü"}')).text, '"{\\"a\\":\\"ü\\"}"')
})

test('a LIST that fails is answered in the other API’s shape, and the listener goes on', async () => {
  const listed = (path: string): Promise<string> =>
    new Promise((settle, refuse) => {
      let text = ''
      const socket = connect(port, '127.0.0.1', () => socket.write(`LIST ${path} HTTP/1.1\r\nX-Vault-Token: t\r\n\r\n`))
      socket.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
      socket.on('end', () => settle(text))
      socket.on('error', refuse)
    })
  assert.match(
    await listed('/v1/secret/fail'),
    /^HTTP\/1\.1 500 [\s\S]*\{"errors":\["the node failed to answer; its log says more"\]\}$/,
  )
  assert.match(await listed('/v1/secret/x'), /^HTTP\/1\.1 200 /)
})

test('the console is served with a strict policy, and nothing outside its folder is', async () => {
  const page = await ask('GET', '/')
  assert.match(page.text, /console/)
  assert.match(String(page.headers['content-security-policy']), /default-src 'none'/)
  for (const path of ['/../secret', '/%2e%2e/secret', '/..%2fsecret', '//etc/passwd'])
    assert.equal((await ask('GET', path)).status, 404, path)
  assert.equal((await ask('GET', '/v1/nothing')).status, 404)
  assert.equal((await ask('POST', '/healthz')).status, 405)
})

test('a port in use is one clear error', async () => {
  const second = new AdminServer({
    other: { takes: () => false, answer: async () => ({ status: 404 }) },
    listen: { host: '127.0.0.1', port },
    operations: [],
    consoleDirectory: '/nowhere',
    ownerOf: () => undefined,
    signIn: () => ({ ok: false, reason: '' }),
    isOperator: () => false,
  })
  await assert.rejects(second.start(), new RegExp(`127\\.0\\.0\\.1:${port} .*in use`))
})

/**
 * The demo shop behind `ringwall protect`, with its OpenAPI document imported: every honest request of it passes, deviations are
 * refused before they reach it, and what it does not declare is listed.
 */

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, test } from 'node:test'
import { freePort } from '../tools/free-ports.ts'
import { type Program, startProgram, startProtect } from './program.ts'

const ROOT = resolve(import.meta.dirname, '..')
const CLI = join(ROOT, 'packages/cli/src/main.ts')
const directory = mkdtempSync(join(tmpdir(), 'ringwall-openapi-'))
const policyFile = join(directory, 'ringwall.yaml')
const context = join(directory, 'data/operator.json')
const ended: (() => Promise<void>)[] = []
let shopPort = 0
let port = 0

const wait = (ms: number): Promise<void> => new Promise((settle) => setTimeout(settle, ms))

async function start(starting: Promise<Program>): Promise<void> {
  ended.push((await starting).end)
}

function ringwall(...args: readonly string[]): {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
} {
  const { status, stdout, stderr } = spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8' })
  return { code: status, stdout, stderr }
}

const policyOf = (service: string): string =>
  `# Who runs it: the shop team.\nversion: 1\nservices:\n  shop: # the demo\n    upstreams: [{ url: "http://127.0.0.1:${shopPort}" }] # on this machine\n${service}\ntests:\n  - { name: "a page that nobody declared", request: { path: /wp-login.php }, expect: { outcome: deny, rule: "api:path" } }\n`

before(async () => {
  shopPort = await freePort()
  port = await freePort()
  const shop = ['--port', String(shopPort), '--data', join(directory, 'shop')]
  await start(startProgram(join(ROOT, 'examples/shop/src/main.ts'), shop, 'listens on'))
  writeFileSync(policyFile, policyOf('    waf: { oversize: deny }'))
  const imported = ringwall(
    'policy',
    'import',
    'openapi',
    join(ROOT, 'examples/shop/openapi.yaml'),
    '--service',
    'shop',
    '--mode',
    'enforce',
    '--policy',
    policyFile,
  )
  assert.deepEqual(
    [imported.code, imported.stderr.includes('19 operations on 16 paths, 4 schemas, 0 warnings')],
    [0, true],
    imported.stderr,
  )
  await start(startProtect(`http://127.0.0.1:${shopPort}`, port, join(directory, 'data'), '--config', policyFile))
})

after(async () => {
  for (const end of ended.reverse()) await end()
  rmSync(directory, { recursive: true, force: true })
})

/** A kept connection may have been closed while this process waited for another. */
const ask = (path: string, init: RequestInit = {}): Promise<Response> => {
  const once = (): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`, { redirect: 'manual', ...init })
  return once().catch(once)
}
const json = (value: unknown): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: typeof value === 'string' ? value : JSON.stringify(value),
})
const form = (fields: Record<string, string>): RequestInit => ({ method: 'POST', body: new URLSearchParams(fields) })
const file = (name = 'file'): RequestInit => {
  const body = new FormData()
  body.append(name, new Blob(['hello']), 'hello.txt')
  return { method: 'POST', body }
}

test('importing changed nothing of the policy but the api', () => {
  const written = readFileSync(policyFile, 'utf8')
  const [head, rest] = policyOf('    waf: { oversize: deny }').split('\ntests:') as [string, string]
  assert.ok(written.startsWith(`${head}\n    api:\n      mode: enforce\n`), written.slice(0, 400))
  assert.ok(written.endsWith(`\ntests:${rest}`))
})

test('every honest request of the shop passes', async () => {
  const password = readFileSync(join(directory, 'shop/passwords.txt'), 'utf8').match(/admin@example\.test (\S+)/)![1]!
  const signedIn = await ask('/login', form({ email: 'admin@example.test', password }))
  const cookie = signedIn.headers.get('set-cookie')!.split(';')[0]!
  const honest: readonly (readonly [path: string, init: RequestInit, status: number])[] = [
    ['/', {}, 200],
    ['/', { method: 'HEAD' }, 200],
    ['/search?q=lamp', {}, 200],
    [`/search?q=${encodeURIComponent('Lighthouse Keeper’s')}`, {}, 200],
    ['/search?q=a+b', {}, 200],
    ['/search', {}, 200],
    ['/products/3', {}, 200],
    ['/products/999', {}, 404],
    ['/login', {}, 200],
    ['/login', form({ email: 'demo@example.test', password: 'wrong' }), 401],
    ['/login', json({ email: 'demo@example.test', password: 'wrong' }), 401],
    ['/login', json({ email: 'admin@example.test', password }), 200],
    ['/signup', {}, 200],
    ['/signup', form({ email: 'ann@example.test', password: 'long enough' }), 303],
    ['/signup', json({ email: 'bob@example.test', password: 'long enough' }), 201],
    ['/upload', {}, 200],
    ['/upload', file(), 303],
    ['/admin', { headers: { cookie } }, 200],
    ['/admin', {}, 403],
    ['/healthz', {}, 200],
    ['/api/products', {}, 200],
    ['/api/products/7', {}, 200],
    ['/api/reviews', json({ product: 2, text: 'Kept me up all night; 5/5!' }), 201],
    ['/api/reviews', form({ product: '2', text: 'So good that I read it twice' }), 201],
    ['/api/cart', json({ product: 2, count: 3 }), 201],
    ['/api/cart', json({ product: 2 }), 201],
    ['/api/cart', form({ product: '2', count: '1' }), 201],
    ['/api/me', { headers: { cookie } }, 200],
    ['/api/me', {}, 401],
    ['/api/echo-headers', {}, 200],
    ['/logout', { method: 'POST', headers: { cookie } }, 303],
  ]
  for (const [path, init, status] of honest) {
    const response = await ask(path, init)
    await response.arrayBuffer()
    assert.equal(response.status, status, `${init.method ?? 'GET'} ${path}`)
  }
  const events = await ask('/events')
  assert.equal(events.status, 200)
  await events.body!.cancel()
})

/** As it is, which no client library would send. */
async function raw(request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  socket.write(request)
  return text(socket)
}

test('deviations are refused with 403 and nothing of the reason, and never reach the shop', async () => {
  const deviations: readonly (readonly [path: string, init: RequestInit])[] = [
    ['/wp-login.php', {}],
    ['/admin/', {}],
    ['/products/abc', {}],
    ['/products/0', {}],
    ['/products/1e3', {}],
    ['/products/1;id=2', {}],
    ['/api/products/1%2f..%2f2', {}],
    ['/search?q=a&q=b', {}],
    ['/search?q=a&debug=1', {}],
    [`/search?q=${'x'.repeat(201)}`, {}],
    ['/', { method: 'DELETE' }],
    ['/api/cart', { ...json({ product: 1 }), method: 'PUT' }],
    ['/api/cart', json({ product: '2' })],
    ['/api/cart', json({ product: 2, count: 100 })],
    ['/api/cart', json({ product: 2, price: 0 })],
    ['/api/cart', json({ count: 1 })],
    ['/api/cart', json('{"product":2,"count":1,"count":99}')],
    ['/api/cart', json('{"product":2')],
    ['/api/cart', json([])],
    ['/api/cart', json(`{"product":${'['.repeat(1_000)}${']'.repeat(1_000)}}`)],
    ['/api/cart', { method: 'POST', headers: { 'content-type': 'text/xml' }, body: '<cart/>' }],
    ['/api/cart', { method: 'POST' }],
    ['/api/reviews', form({ product: '2', text: 'x', admin: 'true' })],
    ['/api/reviews', json({ product: 2, text: 'x'.repeat(200_000) })],
    ['/signup', json({ email: 'no address', password: 'long enough' })],
    ['/signup', json({ email: 'eve@example.test', password: 'short' })],
    ['/upload', file('other')],
    ['/healthz', { method: 'GET', headers: { 'content-type': 'application/json' } }],
  ]
  const counted = async (): Promise<number> => {
    const response = await fetch(`http://127.0.0.1:${shopPort}/api/products`)
    return ((await response.json()) as unknown[]).length
  }
  assert.equal(await counted(), 20)
  for (const [path, init] of deviations.slice(0, -1)) {
    const response = await ask(path, init)
    const body = await response.text()
    assert.equal(response.status, 403, `${init.method ?? 'GET'} ${path} ${String(init.body ?? '').slice(0, 60)}`)
    assert.doesNotMatch(body, /api:|declared|schema|expected/)
  }
  assert.equal((await ask(...deviations.at(-1)!)).status, 200, 'a content type without a body says nothing')
  const host = `Host: 127.0.0.1:${port}\r\nConnection: close\r\n`
  assert.match(await raw(`GET /products/1 HTTP/1.1\r\n${host}Content-Length: 2\r\n\r\n{}`), /^HTTP\/1\.1 403 /)
  assert.match(
    await raw(`GET /products/%31 HTTP/1.1\r\n${host}\r\n`),
    /^HTTP\/1\.1 404 /,
    'within the api; the shop reads it otherwise',
  )
})

test('an operator reads why, what was asked, what never was, and what is not declared', async () => {
  const refused = await ask('/api/cart', json({ product: 2, count: 'many' }))
  const id = refused.headers.get('x-request-id')!
  await wait(300)
  const story = ringwall('explain', id, '--context', context)
  assert.match(story.stdout, /decided {3}by api, api:body \/count\n {2}because {3}expected integer/, story.stdout + story.stderr)
  assert.doesNotMatch(story.stdout, /many/)
  for (let asked = 0; asked < 3; asked += 1) await (await ask(`/legacy/orders/${asked}`)).arrayBuffer()
  const listed = ringwall('api', 'ls', '-o', 'json', '--context', context)
  const operations = JSON.parse(listed.stdout) as { operation: string; requests: number; outside: number }[]
  assert.equal(operations.length, 19)
  const cart = operations.find(({ operation }) => operation === 'POST /api/cart')!
  assert.ok(cart.requests > cart.outside && cart.outside > 5, JSON.stringify(cart))
  const unknown = ringwall('api', 'ls', '--unknown', '-o', 'json', '--context', context)
  const legacy = (JSON.parse(unknown.stdout) as { method: string; path: string }[]).find(({ path }) => path.startsWith('/legacy'))
  assert.deepEqual(
    { ...legacy, firstAtMs: 0, lastAtMs: 0 },
    {
      service: 'shop',
      method: 'GET',
      path: '/legacy/orders/{}',
      requests: 3,
      firstAtMs: 0,
      lastAtMs: 0,
      statuses: [{ status: 403, requests: 3 }],
    },
  )
  assert.match(ringwall('api', 'ls', '--unknown', '--context', context).stdout, /SERVICE +METHOD +PATH/)
})

test('in shadow the same requests pass, and are recorded and listed as what would have been refused', async () => {
  const watched = join(directory, 'watched.yaml')
  writeFileSync(
    watched,
    readFileSync(policyFile, 'utf8')
      .replace('mode: enforce', 'mode: shadow')
      .replace(/tests:.*$/s, ''),
  )
  const applied = ringwall('policy', 'apply', watched, '--yes', '--context', context)
  assert.equal(applied.code, 0, applied.stderr)
  const response = await ask('/nowhere/5')
  assert.equal(response.status, 404, 'the shop’s own answer')
  const id = response.headers.get('x-request-id')!
  await wait(300)
  const { decision } = JSON.parse(ringwall('explain', id, '-o', 'json', '--context', context).stdout) as {
    decision: { outcome: string; shadowOutcome: string; rule: string }
  }
  assert.deepEqual([decision.outcome, decision.shadowOutcome, decision.rule], ['allow', 'deny', 'api:path'])
  const unknown = ringwall('api', 'ls', '--unknown', '-o', 'name', '--context', context).stdout.trim().split('\n')
  assert.deepEqual(unknown, ['GET /nowhere/{}'], 'another api begins another list')
})

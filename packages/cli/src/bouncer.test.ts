/** Bouncers of CrowdSec's local API at a real node: keys, what they are told, and who is told nothing. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startTestNode, type TestNode } from './test-node.ts'

let node: TestNode
let key = ''

before(async () => {
  node = await startTestNode()
  const added = await node.run('bouncer', 'add', 'edge-1', '--yes')
  assert.equal(added.code, 0, added.stderr)
  key = added.stdout.trim()
})

after(() => node.stop())

interface Told {
  readonly new: readonly { readonly value: string; readonly scope: string; readonly scenario: string }[]
  readonly deleted: readonly { readonly value: string }[]
}

function ask(path: string, { method = 'GET', as = key } = {}): Promise<Response> {
  return fetch(`${node.client.baseUrl}${path}`, { method, headers: { 'x-api-key': as, 'user-agent': 'test-bouncer/1.0' } })
}

const told = async (path: string): Promise<Told> => (await (await ask(path)).json()) as Told

/** The journal may follow a moment behind. */
async function until<T>(get: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  for (const end = Date.now() + 10_000; ; ) {
    const value = await get()
    if (holds(value) || Date.now() > end) return value
    await new Promise((wake) => setTimeout(wake, 100))
  }
}

test('the policy holds the hash of the key and not the key; a name is given once', async () => {
  const { text } = await node.client.policy()
  assert.match(text, /name: edge-1/)
  assert.ok(!text.includes(key))
  assert.match(key, /^[A-Za-z0-9_-]{43}$/)
  assert.equal((await node.run('bouncer', 'add', 'edge-1', '--yes')).code, 2)
})

test('without a known key nothing is told, and a key opens nothing that is for operators', async () => {
  for (const as of ['', 'wrong', 'x'.repeat(10_000)]) {
    const answer = await ask('/v1/decisions/stream?startup=true', { as })
    assert.deepEqual([answer.status, await answer.json()], [403, { message: 'access forbidden' }])
  }
  assert.equal((await ask('/v1/denials')).status, 401)
})

test('a denial is told once, and so is its lifting; denials of tokens are not told', async () => {
  assert.deepEqual(await told('/v1/decisions/stream?startup=true'), { new: [], deleted: [] })
  await node.run('deny', 'add', 'ip', '198.51.100.7', '--reason', 'stuffing', '--ttl', '10m')
  await node.run('deny', 'add', 'cidr', '203.0.113.0/24', '--ttl', '10m')
  await node.run('session', 'revoke', 's1')
  const news = await until(
    () => told('/v1/decisions/stream?startup=true'),
    (one) => one.new.length === 2,
  )
  const shown = news.new.map(({ scope, value, scenario }) => `${scope} ${value} ${scenario}`)
  assert.deepEqual(shown.toSorted(), ['Ip 198.51.100.7 stuffing', 'Range 203.0.113.0/24 by hand'])
  assert.deepEqual(await told('/v1/decisions/stream'), { new: [], deleted: [] })
  await node.run('deny', 'rm', '198.51.100.7')
  const after = await until(
    () => told('/v1/decisions/stream'),
    (one) => one.deleted.length > 0,
  )
  assert.deepEqual([after.new, after.deleted.map(({ value }) => value)], [[], ['198.51.100.7']])
})

test('HEAD has no body and takes nothing from the next pull', async () => {
  await node.run('deny', 'add', 'ip', '198.51.100.8', '--ttl', '10m')
  await new Promise((wake) => setTimeout(wake, 500))
  const head = await ask('/v1/decisions/stream', { method: 'HEAD' })
  assert.deepEqual([head.status, await head.text()], [200, ''])
  assert.equal((await told('/v1/decisions/stream')).new.length, 1)
})

test('an address is looked up: at once, in what holds it; nothing is null', async () => {
  await node.run('deny', 'add', 'ip', '203.0.113.9', '--ttl', '10m')
  const found = (await (await ask('/v1/decisions?ip=203.0.113.9')).json()) as Told['new']
  assert.ok(found.some(({ value }) => value === '203.0.113.9' || value === '203.0.113.0/24'))
  assert.equal(await (await ask('/v1/decisions?ip=192.0.2.99')).json(), null)
  assert.equal(await (await ask('/v1/decisions?ip=203.0.113.9&type=captcha')).json(), null)
  assert.equal(await (await ask('/v1/decisions?ip=203.0.113.9&scope=Country')).json(), null)
  const bad = await ask('/v1/decisions?ip=203.0.113.999')
  assert.equal(bad.status, 400)
  assert.match(((await bad.json()) as { message: string }).message, /203\.0\.113\.999/)
})

test('bouncer ls says who asked, when and where', async () => {
  const { stdout } = await node.run('bouncer', 'ls')
  assert.match(stdout, /edge-1 .* ago .*127\.0\.0\.1 .*stream .*test-bouncer\/1\.0/)
})

test('who pulls whole lists without end is told to ask less often', async () => {
  const answers = await Promise.all(Array.from({ length: 14 }, () => ask('/v1/decisions/stream?startup=true')))
  const statuses = answers.map(({ status }) => status)
  assert.ok(statuses.includes(429), statuses.join())
})

test('a key that was taken back opens nothing', async () => {
  assert.equal((await node.run('bouncer', 'rm', 'edge-1', '--yes')).code, 0)
  assert.equal((await ask('/v1/decisions/stream')).status, 403)
  assert.equal((await node.run('bouncer', 'rm', 'edge-1', '--yes')).code, 2)
})

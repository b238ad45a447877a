/** A real node: limits by what answers come to, and in windows. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startTestNode, type TestNode } from './test-node.ts'

let node: TestNode

const limit = (name: string, path: string, more: string): string =>
  `      - { name: ${name}, path: ${path}, limits: [{ name: ${name}, key: [ip], ${more} }] }\n`

before(async () => {
  node = await startTestNode(
    '',
    undefined,
    `    routes:
${limit('bytes', '/bytes', 'rate: 250/d, cost: kilobytes')}${limit('cost', '/cost', 'rate: 100/d, cost: "header:X-Cost", status: [200]')}${limit('day', '/day', 'rate: 3/d, algorithm: fixed-window')}${limit('slow', '/slow', 'rate: 1200/d, cost: milliseconds')}`,
  )
})

after(() => node.stop())

const statuses = async (source: string, ...paths: readonly string[]): Promise<readonly number[]> => {
  const all: number[] = []
  for (const path of paths) all.push((await node.ask(path, { headers: { 'x-forwarded-for': source } })).status)
  return all
}

test('kilobytes: answers are counted by what went to the client, each source its own', async () => {
  const big = '/bytes/100000'
  assert.deepEqual(await statuses('198.51.100.1', big, big, big, big), [200, 200, 200, 429])
  assert.deepEqual(
    await statuses('198.51.100.2', '/bytes/10', '/bytes/10', '/bytes/10', '/bytes/10', big),
    [200, 200, 200, 200, 200],
  )
  assert.deepEqual(await statuses('198.51.100.3', '/bytes/900000', '/bytes/1'), [200, 429])
})

test('what the application says: a number in its field, else one', async () => {
  assert.deepEqual(await statuses('198.51.100.1', '/cost/60', '/cost/60', '/cost/1'), [200, 200, 429])
  assert.deepEqual(await statuses('198.51.100.2', '/cost/0', '/cost/0', '/cost/100', '/cost/1'), [200, 200, 200, 429])
  const odd = ['/cost/-50', '/cost/1e9', '/cost/', '/cost/99999999'] as const
  assert.deepEqual(await statuses('198.51.100.3', ...odd, '/cost/96', '/cost/1'), [200, 200, 200, 200, 200, 429])
})

test('milliseconds: whoever keeps the application busy for as long as that waits', async () => {
  assert.deepEqual(await statuses('198.51.100.1', '/slow/700', '/slow/700', '/slow/0'), [200, 200, 429])
})

test('a window gives its whole count at once, says until when, and is no matter of bursts', async () => {
  assert.deepEqual(await statuses('198.51.100.1', '/day', '/day', '/day', '/day'), [200, 200, 200, 429])
  const refused = await fetch(`http://127.0.0.1:${node.port}/day`, { headers: { 'x-forwarded-for': '198.51.100.1' } })
  const untilMidnight = 86_400 - (Math.floor(Date.now() / 1_000) % 86_400)
  assert.ok(Math.abs(Number(refused.headers.get('retry-after')) - untilMidnight) <= 2)
  await refused.arrayBuffer()
})

test('a policy that wants both is told which', async () => {
  const { text } = await node.client.policy()
  const cases = [
    ['rate: 3/d, algorithm: fixed-window', 'rate: 3/d, algorithm: fixed-window, burst: 9', /leave out burst and scope: ring/],
    ['rate: 250/d, cost: kilobytes', 'rate: 250/d, cost: kilobytes, scope: ring', /what answers cost is counted by each node/],
    ['rate: 250/d, cost: kilobytes', 'rate: 250/d, cost: bytes', /expected requests, kilobytes, milliseconds or header:NAME/],
  ] as const
  for (const [from, to, why] of cases) {
    const { valid, problems } = await node.client.policyPlan(text.replace(from, to))
    assert.equal(valid, false, to)
    assert.match(JSON.stringify(problems), why)
  }
})

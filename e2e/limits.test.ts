/** Limits that all nodes share, told from outside of four real processes; the others beside them. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ask, eventually, type Reply, TestRing } from './local-ring.ts'

const ALL = [1, 2, 3, 4]
const LIMITS = `    routes:
      - name: shared
        path: /search
        limits:
          - { name: shared, key: [ip], rate: 40/h, burst: 40, scope: ring }
      - name: watched
        path: /signup
        limits:
          - { name: watched, key: [network], rate: 3/h, mode: shadow }
      - name: missing
        path: /missing
        limits:
          - { name: probing, key: ["cookie:sid"], rate: 3/h, status: [404] }
`

let ring: TestRing

before(async () => {
  ring = await TestRing.start()
  const { text } = await ring.client(1).policy()
  const file = join(ring.data, 'limits.yaml')
  writeFileSync(file, text.replace('    routes:\n', LIMITS))
  const apply = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(apply.code, 0, apply.stderr)
  for (const node of ALL)
    await eventually(`n${node} has the policy`, async () => (await ring.client(node).policy()).text.includes('name: shared'))
})

after(async () => {
  await ring?.destroy()
})

const get = (node: number, path: string, source: string, headers: Record<string, string> = {}): Promise<Reply> =>
  ask(ring.traffic(node), path, { headers: { 'x-forwarded-for': source, ...headers } })

/** How many of `count` requests pass, spread over nodes, eight at a time. */
async function passed(nodes: readonly number[], count: number, path: string, source: string): Promise<number> {
  let next = 0
  let good = 0
  const one = async (): Promise<void> => {
    while (next < count) {
      const reply = await get(nodes[next++ % nodes.length]!, path, source)
      if (reply.status === 200) good += 1
      else assert.equal(reply.status, 429, reply.body)
    }
  }
  await Promise.all(Array.from({ length: 8 }, one))
  return good
}

test('one budget for all nodes: whichever is asked, and however, together they let through what one would', async () => {
  // A few may have been leased to a node that no longer needed them.
  const all = await passed(ALL, 120, '/search?q=a', '203.0.113.1')
  assert.ok(all <= 40 && all >= 37, String(all))
  // On a node that has not seen it, too.
  assert.equal(await passed([3], 10, '/search?q=a', '203.0.113.1'), 0)
  assert.equal(await passed([2], 37, '/search?q=a', '203.0.113.2'), 37)
  await passed([2], 10, '/search?q=a', '203.0.113.2')
  assert.equal(await passed([4], 5, '/search?q=a', '203.0.113.2'), 0)
})

test('what is refused says when to come back, and nothing of the limit’s name', async () => {
  await passed(ALL, 50, '/search?q=a', '203.0.113.3')
  const { status, headers, body } = await get(1, '/search?q=a', '203.0.113.3')
  assert.equal(status, 429)
  assert.equal(headers['ratelimit-policy'], '"limit";q=40;w=3600')
  assert.match(String(headers.ratelimit), /^"limit";r=0;t=\d+$/)
  assert.equal(headers['retry-after'], /t=(\d+)/.exec(String(headers.ratelimit))?.[1])
  assert.doesNotMatch(body, /shared/)
})

test('a limit that watches lets pass and tells; a limit by status counts only such answers, by cookie', async () => {
  for (let at = 0; at < 6; at += 1) assert.equal((await get(1, '/signup', `203.0.113.${20 + at}`)).status, 200)
  const story = ring.cli('explain', String((await get(1, '/signup', '203.0.113.30')).headers['x-request-id']), '--node', 'n1')
  assert.match(story.stdout, /watched is used up, and only watches/)
  const probe = async (sid: string): Promise<number> =>
    (await get(2, '/missing/page', '203.0.113.40', { cookie: `a=b; sid=${sid}` })).status
  assert.deepEqual([await probe('x'), await probe('x'), await probe('x'), await probe('x')], [404, 404, 404, 429])
  assert.equal(await probe('y'), 404)
})

test('a node killed: the others share the budget on, and nobody who is below it is refused', async () => {
  await ring.kill(2)
  let last = 0
  const fresh = (): string => `198.51.100.${++last}`
  await eventually('the others have noticed', async () => {
    // Keys have owners of their own: some were the killed node's.
    for (let at = 0; at < 8; at += 1) if ((await passed([1, 3, 4], 36, '/search?q=a', fresh())) < 36) return false
    return true
  })
  const good = await passed([1, 3, 4], 120, '/search?q=a', '203.0.113.5')
  assert.ok(good >= 37 && good <= 40, String(good))
})

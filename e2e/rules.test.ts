/** Rules over a whole ring: counts of all nodes, and an exception that holds on nodes that never saw the request. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { ask, eventually, TestRing } from './local-ring.ts'

const ATTACK = '/search?q=1%27+UNION+SELECT+password+FROM+users--'
let ring: TestRing

before(async () => {
  ring = await TestRing.start()
})

after(async () => {
  await ring?.destroy()
})

test('01 matches are added up over the nodes that answer', async () => {
  for (const node of [1, 2, 2, 4]) assert.equal((await ask(ring.traffic(node), ATTACK)).status, 403)
  await eventually('n3 hears from all', async () => (await ring.client(3).rules()).nodes.length === 4)
  const { rules, nodes } = await ring.client(3).rules()
  assert.deepEqual(nodes.toSorted(), ['n1', 'n2', 'n3', 'n4'])
  assert.equal(rules.find(({ id }) => id === 140_001)?.hits, 4)
  assert.equal((await ring.client(2).rules({ scope: 'node' })).rules.find(({ id }) => id === 140_001)?.hits, 2)
})

test('02 a request that n2 refused is explained and excepted through n1, with what n4 recorded, and passes everywhere', async () => {
  const refused = await ask(ring.traffic(2), ATTACK)
  const id = String(refused.headers['x-request-id'])
  const other = await ask(ring.traffic(4), `${ATTACK}+other`)
  assert.match(ring.cli('explain', id, '--node', 'n1').stdout, /140001 .*\n +ARGS:q = 1' UNION SELECT/)
  const told = ring.cli('rule', 'except', id, '--reason', 'people search for SQL', '--yes', '--node', 'n1')
  assert.equal(told.code, 0, told.stderr)
  assert.match(told.stderr, new RegExp(String(other.headers['x-request-id'])))
  for (const node of [1, 2, 3, 4]) {
    await eventually(`n${node} lets it pass`, async () => (await ask(ring.traffic(node), ATTACK)).status === 200)
    assert.equal((await ask(ring.traffic(node), ATTACK.replace('?q=', '?page='))).status, 403)
  }
})

test('03 a node that is down is named; the rest answer', async () => {
  await ring.kill(4)
  const listed = ring.cli('rule', 'ls', '--hit', '--node', 'n1')
  assert.equal(listed.code, 0)
  assert.match(listed.stderr, /n4 did not answer/)
})

/** A real node: an account that several addresses try, none of them often, is found, and those addresses are refused. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { findingsOf, startTestNode, type TestNode, tryLogin } from './test-node.ts'

let node: TestNode

before(async () => {
  node = await startTestNode(
    'detectors: { slowLogins: { sources: 4, window: 3d } }\n',
    undefined,
    '    routes: [{ name: login, path: /login, login: { account: user, failure: [401] } }]\n',
  )
})

after(() => node.stop())

const login = (source: string, user: string, password: string) => tryLogin(node, source, user, password)
const findings = () => findingsOf(node)

test('an address that gets in after a mistake does not count; the fourth that never does makes a finding with all of them', async () => {
  for (const source of ['198.51.100.1', '198.51.100.2', '198.51.100.3', '198.51.100.4', '198.51.100.5']) {
    assert.equal((await login(source, 'bob', 'wrong')).status, 401)
    assert.equal((await login(source, 'bob', 'right')).status, 200)
  }
  for (const source of ['203.0.113.1', '203.0.113.2', '203.0.113.3'])
    assert.equal((await login(source, 'alice', 'wrong')).status, 401)
  assert.deepEqual(await findings(), [])
  // Its denial may come before its answer.
  await login('203.0.113.4', 'alice', 'wrong')
  const [found, ...more] = await findings()
  assert.deepEqual(more, [])
  for (const source of ['203.0.113.1', '203.0.113.2', '203.0.113.3', '203.0.113.4']) assert.ok(found?.includes(source), found)
  assert.ok(!found?.includes('198.51.100'), found)
  assert.equal((await login('203.0.113.2', 'alice', 'wrong')).status, 403)
  assert.equal((await login('198.51.100.2', 'bob', 'right')).status, 200)
})

/** A real node: the sources of a file are denied together, and what is wrong with one is said with its line. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { startTestNode, type TestNode } from './test-node.ts'

let node: TestNode
const directory = mkdtempSync(join(tmpdir(), 'ringwall-deny-import-'))
const file = join(directory, 'sources.txt')

before(async () => {
  node = await startTestNode()
})

after(async () => {
  await node.stop()
  rmSync(directory, { recursive: true })
})

const denied = async () => (await node.client.denials()).denials.map(({ subject }) => subject.value)

test('a file of hundreds of sources is denied, each once, and enforced', async () => {
  const sources = Array.from({ length: 300 }, (_, at) => `198.18.${at >> 8}.${at & 255}`)
  writeFileSync(file, `# scanners\n${sources.join('\n')}\n\n2001:db8:0::/48 # all of it\n203.0.113.9/24\n198.18.0.7\n`)
  const rehearsed = await node.run('deny', 'import', file, '--ttl', '10m', '--dry-run')
  assert.match(rehearsed.stderr, /would deny 302 sources for 10m/)
  assert.deepEqual(await denied(), [])
  const done = await node.run('deny', 'import', file, '--ttl', '10m', '--reason', 'scans')
  assert.deepEqual([done.code, done.stderr.trim().split('\n').at(-1)], [0, 'denied 302 sources for 10m; 0 refused'])
  const held = await denied()
  for (const value of [...sources, '2001:db8::/48', '203.0.113.0/24']) assert.ok(held.includes(value), value)
  assert.equal((await node.ask('/', { headers: { 'x-forwarded-for': '203.0.113.77' } })).status, 403)
})

test('a line that is no source stops it before anything is denied; one that the ring refuses is told with its line', async () => {
  writeFileSync(file, '198.51.100.1\nexample.test\n')
  const wrong = await node.run('deny', 'import', file)
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /sources\.txt:2: example\.test: expected an address or a network/)
  assert.ok(!(await denied()).includes('198.51.100.1'))

  writeFileSync(file, '198.51.100.1\n0.0.0.0/0\n198.51.100.2\n')
  const refused = await node.run('deny', 'import', file, '--ttl', '10m')
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /sources\.txt:2: 0\.0\.0\.0\/0: .*\n.*denied 2 sources for 10m; 1 refused/)
  for (const none of ['', '# nothing\n']) {
    writeFileSync(file, none)
    assert.equal((await node.run('deny', 'import', file)).code, 2)
  }
  assert.equal((await node.run('deny', 'import', join(directory, 'missing'))).code, 2)
})

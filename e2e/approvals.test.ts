/** Two operators: what one of them cannot do alone. */
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { ask, eventually, TestRing } from './local-ring.ts'

let ring: TestRing

before(async () => {
  ring = await TestRing.start({ nodes: 2, extra: ['--operators', '2'] })
})

after(async () => {
  await ring?.destroy()
})

/** The second operator's command line. */
const bob = (...args: readonly string[]): ReturnType<TestRing['cli']> => ring.cliAs('operator-2.json', ...args)
const idIn = (talk: string): string => /ringwall approve ([0-9a-f]{16})/.exec(talk)?.[1] ?? 'none'

test('01 a policy that asks for two operators makes the next one wait for the second, who sees what it changes', async () => {
  const file = join(ring.data, 'two.yaml')
  const { text } = await ring.client(1).policy()
  writeFileSync(file, text.replace('denials:', 'operators:\n  approvals: { policy.set: 2, deny.remove: 2 }\ndenials:'))
  const raised = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(raised.code, 0, raised.stderr)
  assert.match(raised.stderr, /policy 2 is agreed/)
  writeFileSync(file, readFileSync(file, 'utf8').replace('perAccount: 10', 'perAccount: 11'))
  const applied = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(applied.code, 0, applied.stderr)
  assert.match(applied.stderr, /waits for 1 more approval: ringwall approve [0-9a-f]{16}/)
  assert.doesNotMatch(applied.stderr, /is agreed/)
  assert.equal((await ring.client(2).policy()).version, 2)
  const id = idIn(applied.stderr)
  assert.match(ring.cli('approve', 'ls').stdout, new RegExp(`${id}.*policy version 3.*operator:local .*1 of 2`))
  const look = bob('approve', id, '--dry-run')
  assert.match(look.stderr, /perAccount: 10 → 11[\s\S]*would approve it, and with that it is applied/)
  const twice = ring.cli('approve', id)
  assert.equal(twice.code, 1)
  assert.match(twice.stderr, /operator:local has signed this already/)
  const approved = bob('approve', id, '--reason', 'looked at it')
  assert.equal(approved.code, 0, approved.stderr)
  assert.match(approved.stderr, /it is applied/)
  assert.equal((await ring.client(2).policy()).version, 3)
  assert.equal(ring.cli('approve', 'ls', '-o', 'json').stdout.trim(), '[]')
})

test('02 one operator cannot lower the bar, and lifting a denial waits too; wrong ids are told', async () => {
  const file = join(ring.data, 'one.yaml')
  const { text } = await ring.client(1).policy()
  writeFileSync(file, text.replace(/operators:\n {2}approvals:.*\n/, ''))
  assert.match(ring.cli('policy', 'apply', file, '--yes').stderr, /waits for 1 more approval/)
  assert.equal((await ring.client(1).policy()).version, 3)
  assert.equal(ring.cli('deny', 'add', 'ip', '203.0.113.7', '--ttl', '10m').code, 0, 'denials are the fast lane')
  const refused = async (): Promise<boolean> =>
    (await ask(ring.traffic(2), '/', { headers: { 'x-forwarded-for': '203.0.113.7' } })).status === 403
  await eventually('it is refused', refused)
  const lift = ring.cli('deny', 'rm', '203.0.113.7')
  assert.match(lift.stderr, /waits for 1 more approval/)
  assert.ok(await refused())
  assert.equal(bob('approve', idIn(lift.stderr)).code, 0)
  await eventually('it is served again', async () => !(await refused()))
  assert.match(bob('approve', 'abcdef012345').stderr, /nothing waits for approval as abcdef012345/)
  assert.equal(bob('approve', 'xyz').code, 2)
  writeFileSync(file, text.replace('policy.set: 2', 'policy.set: 3'))
  assert.match(ring.cli('policy', 'plan', file).stderr, /3 operators must approve policy\.set, and the ring has 2/)
})

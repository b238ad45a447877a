/** A real node: rules of the policy find what they are about in real requests, and deny whom they name where they enforce. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { OperatorSigner, parseContext } from '@ringwall/client'
import { verifyEvidenceFile } from '@ringwall/node'
import { findingsOf, startTestNode, type TestNode, tryLogin } from './test-node.ts'

let node: TestNode

before(async () => {
  node = await startTestNode(
    `detectors:
  session: { cookie: sid }
  rules:
    - { name: guessing, attack: [T1110.003], mode: enforce, by: [source], when: { login: failed }, over: { accounts: 4 }, share: 0.8, among: { login: any }, within: 1h, reason: tries many accounts }
    - { name: shared, by: [session], when: { session: true }, over: { networks: 3, bytes: 3 }, within: 1h, reason: one session in many networks }
`,
    undefined,
    '    routes: [{ name: login, path: /login, login: { account: user, failure: [401] } }]\n',
  )
})

after(() => node.stop())

const login = (source: string, user: string, password = 'wrong') => tryLogin(node, source, user, password)
const findings = () => findingsOf(node)

test('a source that fails with many accounts is found and refused; one whose people mostly get in, and one that fails with one account, are not', async () => {
  for (let user = 0; user < 4; user += 1) {
    await login('198.51.100.1', `u${user}`)
    await login('198.51.100.1', `u${user}`, 'right')
    await login('198.51.100.2', 'bob')
  }
  assert.deepEqual(await findings(), [])
  for (let user = 0; user < 4; user += 1) await login('2001:db8::1', `u${user}`)
  const [found, ...more] = await findings()
  assert.deepEqual(more, [])
  assert.match(
    found!,
    /^guessing \(T1110\.003\): tries many accounts: source 2001:db8::\/64: 4 accounts in 1 h, 100 % of what it asked, seen on 1 node; denied$/,
  )
  assert.equal((await login('2001:db8::2', 'bob', 'right')).status, 403, 'the whole /64')
  assert.equal((await login('198.51.100.1', 'bob', 'right')).status, 200)
  const [denial] = (await node.client.denials()).denials
  assert.match(denial!.reason, /^detector guessing: tries many accounts: /)
})

test('a cookie names the session, which is counted by its hash; rules that observe deny nobody', async () => {
  for (const source of ['203.0.113.1', '198.18.1.1', '198.18.2.1'])
    assert.equal((await node.ask('/', { headers: { 'x-forwarded-for': source, cookie: 'a=b; sid=5ec2e7' } })).status, 200)
  const found = (await findings()).find((line) => line.startsWith('shared'))
  assert.match(
    found!,
    /one session in many networks: session [0-9a-f]{32}: \d+ bytes, 3 networks in 1 h.*; from .*203\.0\.113\.1/,
  )
  assert.ok(!found!.includes('5ec2e7') && !found!.includes('denied'))
  assert.equal((await node.ask('/', { headers: { 'x-forwarded-for': '203.0.113.1' } })).status, 200)
})

test('findings make incidents: listed, shown with a timeline, exported, and closed until more is found', async () => {
  const until = Date.now() + 20_000
  const opened = async (): Promise<readonly string[]> =>
    (await node.client.events({})).events.filter(({ kind }) => kind === 'incident').map(({ what }) => what)
  while ((await opened()).length < 2 && Date.now() < until) await new Promise((wake) => setTimeout(wake, 200))
  assert.equal((await opened()).length, 2)
  const { incidents } = await node.client.incidents({})
  const guessing = incidents.find(({ detectors }) => detectors.includes('guessing'))!
  assert.deepEqual(guessing.sources, ['2001:db8::/64'])
  const shown = await node.run('incident', 'show', guessing.id.slice(0, 6))
  assert.equal(shown.code, 0, shown.stderr)
  assert.match(shown.stdout, /guessing {2}source 2001:db8::\/64: tries many accounts: 4 accounts in 1 h.*; n1; denied/)
  const assigned = await node.run('incident', 'assign', guessing.id.slice(0, 6), '--note', 'knows the shop')
  assert.equal(assigned.stderr, `incident ${guessing.id} is assigned to local: ${guessing.title}\n`)
  const refused = await node.run('incident', 'assign', guessing.id, '--to', 'mallory')
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /\/to: there is no operator "mallory"; the ring has local, and null is nobody/)
  const both = await node.run('incident', 'assign', guessing.id, '--to', 'local', '--nobody')
  assert.match(both.stderr, /--nobody.*cannot be used with.*--to/)
  assert.match(
    (await node.run('incident', 'show', guessing.id)).stdout,
    /^assigned {3}to local, .* by local on n1: knows the shop$/m,
  )
  const exported = JSON.parse((await node.run('incident', 'export', guessing.id)).stdout)
  assert.equal(exported.incident.id, guessing.id)
  assert.equal(exported.incident.assigned.to, 'local')
  assert.equal(exported.denials.length, 1)
  assert.ok(exported.receipts.length > 0)
  const [file, genesis] = [join(node.folder, 'incident.json'), node.node.config.genesis]
  const verify = (bundle: unknown) => {
    writeFileSync(file, JSON.stringify(bundle))
    return verifyEvidenceFile(file, genesis)
  }
  assert.equal(verify(exported).receipts.length, exported.receipts.length)
  const verified = await node.run('incident', 'verify', file, '--genesis', genesis)
  assert.match(
    verified.stdout,
    /^good: nothing in it was changed\n.*signed by {2}n1.*receipt .*deny, of 2001:db8::.*denial .*certified by n1/s,
  )
  const report = await node.run('incident', 'report', file, '--genesis', genesis)
  assert.match(report.stdout, /^<!doctype html>[\s\S]*tries many accounts: 4 accounts in 1 h[\s\S]*which n1 certified/)
  assert.match(report.stdout, /<th scope="row">Assigned<\/th><td>to local, .*: knows the shop<\/td>/)
  const edits: readonly (readonly [(bundle: typeof exported) => void, RegExp])[] = [
    [(bundle) => (bundle.incident.timeline[0].reason = 'nothing'), /refused: \/incident\/timeline\/0: it was changed/],
    [(bundle) => (bundle.incident.assigned.to = 'mallory'), /refused: \/incident\/assigned: it was changed/],
    [(bundle) => (bundle.incident.severity = 'none'), /refused: \/incident\/severity: it was changed/],
    [(bundle) => delete bundle.incident.sources, /refused: \/incident\/sources: it was taken away/],
    [(bundle) => (bundle.receipts[0].decision.path = '/other'), /refused: \/receipts\/0: it was changed/],
    [(bundle) => bundle.receipts.pop(), /refused: \/receipts\/length: it was changed/],
    [(bundle) => (bundle.denials[0].denial.reason = 'none'), /refused: \/denials\/0: it was changed/],
    [(bundle) => (bundle.exportedAtMs += 1), /refused: \/signature: n1 did not sign/],
    [(bundle) => (bundle.state.policyVersion += 1), /refused: \/state: /],
    [(bundle) => (bundle.nodes[0].publicKey = bundle.signature), /refused: \/nodes: /],
    [(bundle) => (bundle.provenHeight += 1), /refused: \/provenHeight: /],
    [(bundle) => (bundle.blocks = `${bundle.blocks.slice(0, -8)}AAAAAAAA`), /refused: \/blocks: /],
    [(bundle) => (bundle.more = 1), /refused: \/: /],
  ]
  for (const [edit, refusal] of edits) {
    const copy = structuredClone(exported)
    edit(copy)
    assert.throws(() => verify(copy), refusal, String(edit))
  }
  assert.equal((await node.run('incident', 'close', guessing.id, '--reason', 'a test of ours')).code, 0)
  assert.ok(!(await node.run('incident', 'ls')).stdout.includes(guessing.id))
  assert.match(
    (await node.run('incident', 'ls', '--state', 'closed')).stdout,
    new RegExp(`${guessing.id}.*local +local: a test of ours`),
  )
  assert.match((await node.run('incident', 'assign', guessing.id, '--nobody')).stderr, /is assigned to nobody: /)
  assert.equal((await node.client.incident(guessing.id)).assigned, null)
  const unknown = await node.run('incident', 'show', 'ffff')
  assert.equal(unknown.code, 1)
  assert.match(unknown.stderr, /there is no one incident ffff/)
})

test('an operator who does within an hour what it never did is found, and denied nothing; what it does every day is not', async () => {
  const nowMs = Date.now()
  const ago = (days: number): number => nowMs - days * 86_400_000
  for (let days = 20; days > 0; days -= 1)
    for (const operation of ['deny.add', 'POST /v1/policy/plan'])
      node.node.insiders.operated('operator:local', operation, ago(days))
  const { text } = await node.client.policy()
  const insiders = async (): Promise<readonly string[]> =>
    (await findings()).filter((line) => line.startsWith('insider-operations'))
  await node.client.policyPlan(text)
  await node.client.denyAdd({ kind: 'ip', value: '198.18.7.7' }, 60_000, 'every day')
  const { denials } = await node.client.denials()
  assert.deepEqual(await insiders(), [])
  await node.client.denyRemove(denials.find(({ subject }) => subject.value === '198.18.7.7')!.id, 'once')
  const operator = parseContext(node.contextText())
  const authorization = `Bearer ${await new OperatorSigner(operator).token()}`
  // Refused for their bodies or not: asked for they were.
  for (const path of ['access', 'exceptions/replay', 'model/labels', 'exceptions/propose', 'notify/none/test'])
    await fetch(`${operator.nodes[0]!.url}/v1/${path}`, { method: 'POST', headers: { authorization } })
  const [found = '', ...others] = await insiders()
  assert.deepEqual(others, [])
  assert.match(
    found,
    /^insider-operations \(T1078\): identity operator:local used \d+ administrative operations within an hour, 6 of them for/,
  )
  assert.match(found, /the first time; in the last 20 days it used \d, at most [12] an hour$/)
  assert.ok((await node.client.policyPlan(text)) !== undefined)
})

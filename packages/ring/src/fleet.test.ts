import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import { fleetNode, holdOf, labelsOf } from './fleet.ts'
import { standingOf, TRIAL_GRACE_MS } from './fleet-rollout.ts'
import { isReleased } from './fleet-statements.ts'
import { parsePolicyDocument } from './policy-document.ts'
import { isInWindow } from './policy-fleet.ts'
import { type ReleaseHeader, releaseBytes } from './release.ts'
import { areNear } from './release-version.ts'
import { FleetRing, rawKey } from './test-fleet-ring.ts'
import { NOW, POLICY } from './test-ring.ts'
import { encodeBase64url } from './tx.ts'
import type { TxBody } from './types.ts'

const maker = generateKeyPairSync('ed25519')
const other = generateKeyPairSync('ed25519')
const MINUTE = 60_000
const HOUR = 60 * MINUTE
const UPDATE = `  updates:
    - name: all
      version: 0.2.0
      trial: 1m
      wait: 10m
`

function policyOf(more: string): string {
  return `${POLICY}fleet:\n  keys: [${rawKey(maker.publicKey)}]\n${more}`
}

type Who = 'operator:ada' | 'operator:bob' | 'node:n1' | 'node:n2'

class Ring extends FleetRing {
  codeOf(body: TxBody, by: Who = 'operator:ada'): string {
    const result = this.check(body, by)
    return result.ok ? 'ok' : result.code
  }

  reasonOf(body: TxBody, by: Who): string {
    const result = this.check(body, by)
    return result.ok ? 'ok' : result.reason
  }

  agree(body: TxBody, by: Who = 'operator:ada'): void {
    this.pass(0, body, by)
  }

  stage(): string {
    const { stage, stopped } = standingOf(this.state, this.policy, this.policy.updates[0]!, this.nowMs)
    return stopped === undefined ? stage : `${stage}: ${stopped}`
  }
}

function release(version: string, changes: Partial<ReleaseHeader> = {}, by: typeof maker = maker): TxBody {
  const header: ReleaseHeader = {
    format: 'ringwall/release/1',
    version,
    contents: 'ab'.repeat(32),
    files: 3,
    bytes: 100,
    programs: [version.replace(/\D/g, '').padStart(64, '0')],
    ...changes,
  }
  const signature = encodeBase64url(new Uint8Array(sign(null, releaseBytes(header), by.privateKey)))
  return { type: 'release.add', header, key: rawKey(by.publicKey), signature, reason: 'test' }
}

const report = (how: 'trying' | 'running' | 'failed', version = '0.2.0'): TxBody => ({
  type: 'fleet.report',
  how,
  version,
  reason: 'test',
})
const label = (id: string, set: readonly string[], unset: readonly string[] = []): TxBody => ({
  type: 'fleet.label',
  of: 'node',
  id,
  set,
  unset,
  reason: 'test',
})
const hold = (id: string, kind: 'cordon' | 'drain' | 'none', ttlMs = 0): TxBody => ({
  type: 'fleet.hold',
  id,
  kind,
  ttlMs,
  reason: 'test',
})

test('labels are set, replaced and taken away, by operators alone; node and region every node has', () => {
  const ring = new Ring(POLICY)
  const root = ring.app.root(ring.state)
  ring.agree(label('n1', ['role=edge', 'tier=1']))
  ring.agree(label('n1', ['role=core'], ['tier']))
  assert.deepEqual(Object.fromEntries(labelsOf(ring.state, 'n1')), { role: 'core', node: 'n1', region: 'eu' })
  assert.equal(ring.codeOf(label('n1', ['region=us'])), 'LABEL_OWN')
  assert.equal(ring.codeOf(label('n1', [], ['tier'])), 'LABEL_UNKNOWN')
  assert.equal(ring.codeOf(label('n9', ['a=b'])), 'NODE_UNKNOWN')
  assert.equal(ring.codeOf({ ...label('s1', ['a=b']), of: 'device' } as TxBody), 'DEVICE_UNKNOWN')
  assert.equal(
    ring.codeOf(
      label(
        'n1',
        Array.from({ length: 16 }, (_, at) => `k${String.fromCharCode(97 + at)}=1`),
      ),
    ),
    'LABELS_FULL',
  )
  assert.equal(ring.codeOf(label('n1', ['b=1', 'a=1'])), 'TX_MALFORMED')
  assert.equal(ring.codeOf(label('n1', ['a=1']), 'node:n1'), 'NOT_ENTITLED')
  ring.agree(label('n1', [], ['role']))
  assert.deepEqual(ring.state.fleet.nodes, [])
  assert.notEqual(ring.app.root(ring.state), root)
})

test('a hold ends by itself, or is lifted; a node that leaves takes what was said of it along', () => {
  const ring = new Ring(POLICY)
  ring.agree(hold('n1', 'drain', 2 * HOUR))
  assert.equal(holdOf(ring.state.fleet, 'n1', ring.nowMs)?.by, 'operator:ada')
  assert.equal(holdOf(ring.state.fleet, 'n1', ring.nowMs + 2 * HOUR), undefined)
  ring.agree(hold('n1', 'none'))
  assert.equal(ring.codeOf(hold('n1', 'none')), 'NODE_NOT_HELD')
  assert.equal(ring.codeOf(hold('n1', 'cordon', 366 * 24 * HOUR)), 'HOLD_TTL')
  ring.agree(hold('e3', 'cordon'))
  ring.agree({ type: 'node.remove', id: 'e3', reason: 'test' })
  assert.deepEqual(ring.state.fleet.nodes, [])
})

test('a release counts that a key of the policy signed, and its version names it for ever', () => {
  const ring = new Ring(policyOf(''))
  assert.equal(ring.codeOf(release('0.2.0', {}, other)), 'RELEASE_KEY_UNKNOWN')
  const good = release('0.2.0') as Extract<TxBody, { type: 'release.add' }>
  assert.equal(ring.codeOf({ ...good, header: { ...good.header, bytes: 101 } }), 'RELEASE_SIGNATURE')
  assert.equal(ring.codeOf(release('0.2.0', { files: 0 })), 'RELEASE_TOO_LARGE')
  assert.equal(ring.codeOf(good, 'node:n1'), 'NOT_ENTITLED')
  ring.agree(good)
  assert.equal(ring.codeOf(release('0.2.0', { bytes: 7 })), 'RELEASE_KNOWN')
  ring.agree({ type: 'release.remove', version: '0.2.0', reason: 'test' })
  assert.equal(ring.codeOf({ type: 'release.remove', version: '0.2.0', reason: 'test' }), 'RELEASE_UNKNOWN')
})

test('where the policy asks for two, a release waits for a second operator', () => {
  const ring = new Ring(policyOf('operators: { approvals: { release.add: 2 } }\n'))
  ring.agree(release('0.2.0'))
  assert.deepEqual(ring.state.fleet.releases, [])
  const [waiting] = ring.app.approvals(ring.state, ring.nowMs)
  ring.agree({ type: 'tx.approve', id: waiting!.id, reason: 'test' }, 'operator:bob')
  assert.deepEqual(
    ring.state.fleet.releases.map(({ version }) => version),
    ['0.2.0'],
  )
})

test('an update goes from one node to its region to all, each after the wait, and no node begins before its turn', () => {
  const ring = new Ring(policyOf(UPDATE))
  assert.match(ring.reasonOf(report('trying'), 'node:n2'), /knows no release/)
  ring.agree(report('running', '0.1.0'), 'node:n2')
  ring.agree(release('0.2.0'))
  ring.nowMs += MINUTE
  assert.equal(ring.codeOf(report('running'), 'node:n2'), 'UPDATE_NOT_BEGUN')
  ring.agree(report('trying'), 'node:n2')
  assert.ok(isReleased(ring.state, 'n2', '020'.padStart(64, '0')))
  assert.ok(!isReleased(ring.state, 'n1', '020'.padStart(64, '0')))
  assert.equal(ring.codeOf(report('trying'), 'node:n1'), 'UPDATE_NOT_YET')
  ring.agree(report('running'), 'node:n2')
  assert.equal(ring.stage(), 'one')
  assert.match(ring.reasonOf(report('trying'), 'node:n1'), /n2 goes first/)
  ring.nowMs += 10 * MINUTE
  // n2 is alone in its region.
  assert.equal(ring.stage(), 'all')
  ring.agree(report('trying'), 'node:n1')
  ring.agree(report('running'), 'node:n1')
  assert.equal(ring.stage(), 'all')
  ring.agree(hold('e3', 'cordon'))
  assert.equal(ring.stage(), 'done', 'one that is held is not waited for')
  assert.equal(ring.codeOf({ type: 'release.remove', version: '0.2.0', reason: 'test' }), 'RELEASE_IN_USE')
})

test('the region of the first node comes second', () => {
  const ring = new Ring(policyOf(UPDATE))
  ring.agree(release('0.2.0'))
  ring.agree(report('trying'), 'node:n1')
  ring.agree(report('running'), 'node:n1')
  ring.nowMs += 10 * MINUTE
  assert.equal(ring.stage(), 'region')
  assert.match(ring.reasonOf(report('trying'), 'node:n2'), /region of n1/)
})

test('a node that was installed with a release before the ring knew it says so, and goes on from there', () => {
  const ring = new Ring(policyOf(UPDATE))
  ring.agree(release('0.2.0'))
  ring.agree(report('running'), 'node:n2')
  assert.equal(ring.codeOf(report('running'), 'node:n2'), 'REPORT_REPEATED')
})

test('a node that fails stops the update for all, and has those go back that have it, until an operator resumes it', () => {
  const ring = new Ring(policyOf(UPDATE))
  ring.agree(release('0.2.0'))
  ring.agree(report('running', '0.1.0'), 'node:n1')
  ring.agree(report('running', '0.1.0'), 'node:n2')
  assert.equal(ring.codeOf(report('failed'), 'node:n2'), 'UPDATE_NOT_BEGUN', 'who has not begun stops nobody')
  ring.agree(report('trying'), 'node:n1')
  ring.nowMs += MINUTE
  ring.agree(report('running'), 'node:n1')
  ring.nowMs += 10 * MINUTE
  ring.agree(hold('e3', 'cordon'))
  ring.agree(report('trying'), 'node:n2')
  ring.agree(report('failed'), 'node:n2')
  assert.match(ring.stage(), /n2 failed, and all go back/)
  assert.equal(ring.codeOf(report('trying'), 'node:n2'), 'UPDATE_NOT_YET')
  // It goes back to what it ran: nobody asks for that.
  ring.agree(report('running', '0.1.0'), 'node:n1')
  assert.deepEqual([fleetNode(ring.state.fleet, 'n1').ran?.version, fleetNode(ring.state.fleet, 'n1').before], ['0.1.0', null])
  ring.agree({ type: 'fleet.resume', version: '0.2.0', reason: 'mended' })
  assert.equal(ring.stage(), 'one')
  assert.equal(ring.codeOf({ type: 'fleet.resume', version: '0.2.0', reason: 'test' }), 'UPDATE_NOT_FAILED')
})

test('a node that began and says nothing counts as failed once its time is over', () => {
  const ring = new Ring(policyOf(UPDATE))
  ring.agree(release('0.2.0'))
  ring.agree(report('trying'), 'node:n1')
  ring.nowMs += MINUTE + TRIAL_GRACE_MS
  assert.equal(ring.stage(), 'one')
  ring.nowMs += 1
  assert.match(ring.stage(), /n1 failed/)
})

test('of two validators no second begins while one is at it, whatever the policy allows at once', () => {
  const ring = new Ring(
    policyOf(`${UPDATE}      atOnce: 10\n      absent: 2\n      first: n1\n`.replace('wait: 10m', 'wait: 0s')),
  )
  ring.agree(release('0.2.0'))
  ring.agree(report('trying'), 'node:n1')
  ring.agree(report('running'), 'node:n1')
  assert.equal(ring.stage(), 'all')
  ring.agree(report('trying'), 'node:n2')
  ring.agree(release('0.3.0'))
  const policy = policyOf(UPDATE.replace('0.2.0', '0.3.0'))
  ring.agree({ type: 'policy.set', policy, expectVersion: 1 })
  assert.match(ring.reasonOf(report('trying', '0.3.0'), 'node:n1'), /n2 may be away/)
})

test('nodes more than two minor releases apart are refused, by the update and by what they say', () => {
  const ring = new Ring(policyOf(UPDATE.replace('0.2.0', '0.4.0')))
  ring.agree(release('0.4.0'))
  ring.agree(report('running', '0.1.0'), 'node:n1')
  assert.match(ring.reasonOf(report('trying', '0.4.0'), 'node:n2'), /more than two releases/)
  assert.equal(ring.codeOf(report('running', '0.4.1'), 'node:n2'), 'VERSION_SKEW')
  assert.equal(ring.codeOf(report('running', '0.3.0'), 'node:n2'), 'ok')
  for (const [a, b, expected] of [
    ['0.1.0', '0.3.9', true],
    ['0.1.0', '0.4.0', false],
    ['1.9.3', '2.0.1', true],
    ['1.9.3', '2.1.0', false],
    ['1.0.0', '3.0.0', false],
  ] as const) {
    assert.equal(areNear(a, b), expected, `${a} ${b}`)
    assert.equal(areNear(b, a), expected, `${b} ${a}`)
  }
})

test('no update begins outside of the windows, which may go on past midnight', () => {
  const fleetOf = (windows: string) => {
    const document = parsePolicyDocument(policyOf(`  windows: ${windows}\n`), 'test')
    assert.ok(document.ok, JSON.stringify(document))
    return document.policy.fleet
  }
  const at = (text: string): number => Date.parse(`2027-01-${text}:00Z`)
  const nights = fleetOf('[{ days: [sat], from: "22:00", to: "04:00" }]')
  // The 2nd of January 2027 is a Saturday.
  assert.deepEqual(
    ['02T21:59', '02T22:00', '03T03:59', '03T04:00', '03T22:30', '02T01:00'].map((text) => isInWindow(nights, at(text))),
    [false, true, true, false, false, false],
  )
  const ring = new Ring(policyOf(`  windows: [{ from: "02:00", to: "03:00" }]\n${UPDATE}`))
  ring.agree(release('0.2.0'))
  const day = Math.floor(NOW / (24 * HOUR)) * 24 * HOUR
  ring.nowMs = day + 26 * HOUR
  assert.equal(ring.codeOf(report('trying'), 'node:n1'), 'ok')
  ring.nowMs += HOUR
  assert.match(ring.reasonOf(report('trying'), 'node:n1'), /windows/)
})

test('a selector or version that cannot be read makes the policy invalid, with its place', () => {
  for (const [from, to] of [
    ['version: 0.2.0', 'version: latest'],
    ['name: all', 'name: all\n      select: role in edge'],
    ['trial: 1m', 'trial: 10ms'],
  ] as const) {
    const document = parsePolicyDocument(policyOf(UPDATE.replace(from, to)), 'test')
    assert.ok(!document.ok)
    assert.match(document.problems[0]!.path, /^\/fleet\/updates/)
  }
})

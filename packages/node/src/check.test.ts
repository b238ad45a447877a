import assert from 'node:assert/strict'
import { tmpdir } from 'node:os'
import { test } from 'node:test'
import { Enrolment, NO_RING_KEY } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { dealTrusted, type KeyShare } from '@ringwall/threshold'
import { type CheckFinding, checkCertificates, checkNode } from './check.ts'
import type { DiskLock } from './disk/disk.ts'
import type { RunningNode } from './running-node.ts'
import type { WorkloadStanding } from './workloads/workload-api.ts'

interface Facts {
  readonly reachable?: readonly string[]
  readonly unreachable?: readonly string[]
  readonly lag?: number
  readonly votes?: boolean
  readonly halted?: string
  readonly repairs?: readonly string[]
  readonly evidence?: readonly { readonly validator: string; readonly kind: string; readonly round: number }[]
  readonly certifiedAgoMs?: number
  readonly links?: readonly Record<string, unknown>[]
  readonly upstream?: { readonly healthy: boolean; readonly state?: string; readonly reason?: string }
  /** A second upstream, which is well. */
  readonly spare?: boolean
  readonly mode?: string
  readonly policyProblem?: string
  readonly exceptions?: readonly { readonly name: string; readonly owner: string; readonly until: string }[]
  readonly key?: object
  readonly workloads?: Readonly<Record<string, { readonly nodes: readonly string[] }>>
  /** As its Workload API says; without one, it has none. */
  readonly standing?: readonly WorkloadStanding[]
  readonly holdsShare?: boolean
  /** Whether the ring has a sealing key, and this node a share of it. */
  readonly sealing?: 'held' | 'lost'
  readonly liars?: readonly string[]
  readonly lock?: DiskLock
  readonly unconfirmed?: readonly { readonly issuer: string; readonly count: number }[]
}

const MEMBERS = [1, 2].map((index) => ({ party: `n${index}`, index }))
const DEALT = dealTrusted({ suite: 'ristretto255', purpose: 'tests', epoch: 0, threshold: 2, members: MEMBERS }, [5n, 6n])
const SEALING_KEY = { ...NO_RING_KEY, publicKey: encodeBase64url((DEALT[0] as KeyShare).publicKey.encode()) }

/** As much of a node as `check` looks at. */
function nodeWith(facts: Facts): RunningNode {
  const { reachable = ['n1', 'n2', 'n3', 'n4'], unreachable = [], lag = 0, votes = true, repairs = [], evidence = [] } = facts
  const {
    certifiedAgoMs = 300,
    links = [],
    upstream = { healthy: true },
    mode = 'enforce',
    unconfirmed = [],
    exceptions = [],
    policyProblem,
  } = facts
  return {
    application: { review: () => ({ tests: [], problems: policyProblem === undefined ? [] : [{ message: policyProblem }] }) },
    ledger: {
      state: () => ({
        sealingKey: facts.sealing === undefined ? NO_RING_KEY : SEALING_KEY,
        validators: [],
        nodes: [],
        enrolment: Enrolment.empty,
      }),
      status: () => ({
        validators: 4,
        quorum: 3,
        reachable,
        unreachable,
        evidence,
        height: 7,
        lag,
        syncing: lag > 0,
        mempool: 0,
        role: 'validator',
        halted: facts.halted,
        votes,
        repairs,
      }),
    },
    early: { unconfirmedByIssuer: () => unconfirmed },
    certifiedAtMs: () => Date.now() - certifiedAgoMs,
    fabric: { links: () => links },
    view: () => ({
      nodes: ['n1', 'n2', 'n3', 'n4'].map((id) => ({ id })),
      signingKey: { key: 'k', threshold: 3, holders: ['n1', 'n2', 'n3', 'n4'], faults: [], ...facts.key },
      policyVersion: 3,
      policy: {
        services: { shop: { waf: { mode } } },
        exceptions,
        workloads: facts.workloads ?? {},
        devices: { attestation: { least: 'none' } },
      },
    }),
    proxy: {
      upstreams: () => [
        { service: 'shop', url: 'http://127.0.0.1:3000', ...upstream },
        ...(facts.spare === true ? [{ service: 'shop', url: 'http://127.0.0.1:3001', healthy: true }] : []),
      ],
      certificates: () => [],
    },
    vault: { holdsShare: facts.sealing !== 'lost' },
    signing: { holdsShare: facts.holdsShare ?? true, faults: (facts.liars ?? []).map((party) => ({ party })) },
    config: { id: 'n1', data: tmpdir(), explainHeader: false },
    disk: { lock: facts.lock ?? 'local' },
    workloads: facts.standing === undefined ? undefined : { standing: () => facts.standing },
  } as unknown as RunningNode
}

function standing({ expiresAtMs }: Pick<WorkloadStanding, 'expiresAtMs'>): WorkloadStanding {
  const programs = [{ pid: 7, uid: 1_000 }]
  return { service: 'billing', spiffeId: 'spiffe://x/service/billing', expiresAtMs, reason: 'two of three', programs }
}

async function finding(facts: Facts, group: CheckFinding['group'], level: CheckFinding['level']): Promise<CheckFinding> {
  const found = (await checkNode(nodeWith(facts))).find((one) => one.group === group && one.level === level)
  assert.ok(found, `no ${level} finding in ${group}`)
  return found
}

test('a sound node has a good line in every group and nothing to fix', async () => {
  const links = [{ id: 'n2', connected: true, roundTripMs: 1.2, clockOffsetMs: 3 }]
  const findings = await checkNode(nodeWith({ links, sealing: 'held' }))
  assert.deepEqual(
    new Set(findings.map(({ group }) => group)),
    new Set(['ring', 'ledger', 'links', 'clock', 'key', 'policy', 'upstreams', 'storage']),
  )
  for (const { group, level, fix } of findings) if (group !== 'storage') assert.deepEqual([level, fix], ['ok', null], group)
})

test('each thing that is not well is one line with a fix', async () => {
  const cases: readonly (readonly [Facts, CheckFinding['group'], CheckFinding['level'], RegExp])[] = [
    [
      { reachable: ['n1', 'n2'], unreachable: ['n3', 'n4'] },
      'ring',
      'bad',
      /no quorum: 2 of 4 .* grants wait, denials still spread/,
    ],
    [
      { reachable: ['n1', 'n2', 'n3'], unreachable: ['n4'] },
      'ring',
      'warn',
      /n4 does not answer; one more failure stops agreement/,
    ],
    [{ evidence: [{ validator: 'n3', kind: 'votes', round: 9 }] }, 'ring', 'bad', /n3 signed two different votes in round 9/],
    [{ unconfirmed: [{ issuer: 'node:n2', count: 1 }] }, 'ring', 'warn', /node:n2 signed 1 denial within the hour that nobody/],
    [{ unconfirmed: [{ issuer: 'node:n2', count: 20 }] }, 'ring', 'bad', /node:n2 signed 20 denials .* no longer holds before/],
    [{ certifiedAgoMs: 30_000 }, 'ledger', 'bad', /the last certified block is 30 s old \(height 7\)/],
    [{ votes: false }, 'ledger', 'warn', /this validator does not vote/],
    [{ repairs: ['blocks.log was corrupt'] }, 'ledger', 'warn', /blocks\.log was corrupt/],
    [{ links: [{ id: 'n2', connected: false, reason: 'connection refused' }] }, 'links', 'warn', /n2: connection refused/],
    [{ links: [{ id: 'n2', connected: true, clockOffsetMs: 900 }] }, 'clock', 'warn', /n2’s clock is 0\.9 s ahead$/],
    [
      { links: [{ id: 'n2', connected: true, clockOffsetMs: -7_000 }] },
      'clock',
      'bad',
      /n2’s clock is 7\.0 s behind; its blocks are refused/,
    ],
    [
      { upstream: { healthy: false, reason: 'cannot connect' } },
      'upstreams',
      'bad',
      /shop: http:\/\/127\.0\.0\.1:3000 cannot connect; its clients get 502/,
    ],
    [
      { upstream: { healthy: false, state: 'ejected', reason: 'ejected: answers 503, 5 failures in a row' }, spare: true },
      'upstreams',
      'warn',
      /shop: http:\/\/127\.0\.0\.1:3000 ejected: answers 503, 5 failures in a row; others carry its share/,
    ],
    [{ key: { key: undefined, ceremony: { waitingFor: ['n3'] } } }, 'key', 'warn', /is being made; it waits for n3/],
    [{ key: { ceremony: { waitingFor: ['n4'] } } }, 'key', 'warn', /is being handed on; it waits for n4/],
    [{ holdsShare: false }, 'key', 'warn', /no share of the signing key/],
    [{ sealing: 'lost' }, 'key', 'warn', /no share of the sealing key, and opens nothing/],
    [{ workloads: { billing: { nodes: ['n1'] } } }, 'key', 'warn', /gives this node the workloads billing, and it serves no/],
    [
      { workloads: { billing: { nodes: ['n1'] } }, standing: [standing({ expiresAtMs: 1_800_000_000_000 })] },
      'key',
      'warn',
      /billing is not renewed, good until 2027-01-15T08:00:00\.000Z: two of three/,
    ],
    [
      { workloads: { billing: { nodes: ['n1'] } }, standing: [standing({ expiresAtMs: null })] },
      'key',
      'bad',
      /programs of billing have no certificate: two of three/,
    ],
    [{ liars: ['n2'] }, 'key', 'bad', /n2 lied with its part of the signing key/],
    [{ key: { faults: [{ party: 'n3', fault: 'bad-share' }] } }, 'key', 'bad', /n3 lied/],
    [{ halted: 'two certificates contradict each other' }, 'ledger', 'bad', /two certificates contradict/],
    [
      { policyProblem: 'the test x fails: expected deny, got allow' },
      'policy',
      'warn',
      /with the rules that this node has, the test x/,
    ],
    [
      { exceptions: [{ name: 'exc-1', owner: 'ada', until: new Date(Date.now() + 3_600_000).toISOString() }] },
      'policy',
      'warn',
      /the exception exc-1 of ada lapses at/,
    ],
    [{ mode: 'shadow' }, 'policy', 'warn', /shop: the WAF only watches \(shadow\)/],
  ]
  for (const [facts, group, level, says] of cases) {
    const { what, fix } = await finding(facts, group, level)
    assert.match(what, says)
    assert.ok(fix !== null && fix.length > 10, what)
  }
})

test('a node that is behind says by how much, and needs no hand', async () => {
  const { what, fix } = await finding({ lag: 12 }, 'ledger', 'warn')
  assert.equal(what, '12 blocks behind the others; catching up')
  assert.equal(fix, null)
})

test('certificates: valid, near their end, expired, not valid yet, and new files that are refused', () => {
  const nowMs = Date.UTC(2026, 0, 1)
  const day = 86_400_000
  const levels = (days: number, problem?: string, since = -1) =>
    checkCertificates(
      [
        {
          certificate: '/a.pem',
          names: ['a.test', 'b.test', 'c.test', 'd.test'],
          notBeforeMs: nowMs + since * day,
          notAfterMs: nowMs + days * day,
          problem,
        },
      ],
      nowMs,
    ).map(({ level, what }) => `${level} ${what}`)
  assert.deepEqual(levels(60), ['ok /a.pem (a.test, b.test, c.test, …): valid until 2026-03-02'])
  assert.match(levels(10)[0]!, /^warn .* expires in 10 days/)
  assert.match(levels(2)[0]!, /^bad .* expires in 2 days/)
  assert.match(levels(-1)[0]!, /^bad .* has expired at 2025-12-31/)
  assert.match(levels(90, undefined, 1)[0]!, /^bad .* not valid yet/)
  assert.match(levels(60, '/a.key: is no private key')[0]!, /^warn new files are refused: \/a\.key: is no private key/)
})

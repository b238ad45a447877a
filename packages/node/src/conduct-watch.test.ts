import assert from 'node:assert/strict'
import { test } from 'node:test'
import { CONDUCT, type ConductName } from '@ringwall/detect'
import { correlate, Findings, type NewFinding, readFinding } from '@ringwall/respond'
import type { RingState } from '@ringwall/ring'
import { ConductWatch, describeConduct, type RingLook } from './conduct-watch.ts'

const T0 = 1_800_000_000_000
const IDS = ['n1', 'n2', 'n3', 'n4']

function watch() {
  const found: NewFinding[] = []
  const notes: string[] = []
  const seen: string[] = []
  let nowMs = T0
  const link = (id: string) => ({ id, connected: true, clockOffsetMs: 0 })
  const healthy: RingLook = {
    links: ['n2', 'n3', 'n4'].map(link),
    validators: IDS,
    reachable: IDS,
    quorum: 3,
    unconfirmed: [],
  }
  let look = healthy
  const conduct = new ConductWatch({
    self: 'n1',
    look: () => look,
    unconfirmedMax: 20,
    onSeen: (node, kind) => seen.push(`${node} ${kind}`),
    onNote: (line) => notes.push(line),
    onFinding: (finding) => found.push(finding),
    now: () => nowMs,
  })
  /** Looks at it every ten seconds for so long. */
  const goesOn = (seconds: number, more: Partial<RingLook>): void => {
    look = { ...healthy, ...more }
    for (let passed = 0; passed < seconds; passed += 10) {
      nowMs += 10_000
      conduct.look()
    }
  }
  const withLink = (id: string, more: object) => ({
    links: healthy.links.map((one) => (one.id === id ? { ...one, ...more } : one)),
  })
  return { conduct, found, notes, seen, goesOn, withLink, pass: (ms: number) => (nowMs += ms) }
}

test('what is proven is a finding at once, with node, reason and severity; of itself a node says nothing', () => {
  const { conduct, found, notes } = watch()
  conduct.seen('n4', 'equivocation', 'in round 7, shown by node:n2')
  conduct.seen('n1', 'equivocation', 'in round 7')
  assert.deepEqual(notes, [])
  assert.equal(found.length, 1)
  const [finding] = found as [NewFinding]
  assert.deepEqual([finding.subject, finding.severity, finding.denied], [{ kind: 'node', value: 'n4' }, 'high', false])
  assert.equal(
    describeConduct(finding),
    'node-equivocation (T1565.002): node n4: signed two statements that contradict each other, and is evicted: it is faulty, or its key is in other hands: in round 7, shown by node:n2',
  )
})

test('one wrong shard is a note, five within a day a finding that says how often', () => {
  const { conduct, found, notes, pass } = watch()
  for (let shard = 0; shard < 6; shard += 1) {
    conduct.seen('n3', 'shard', `shard ${shard} of 0123`)
    pass(600_000)
    if (shard === 0) assert.equal(notes[0], 'n3: shard 0 of 0123; noted, as it may be an accident: a pattern of it is a finding')
  }
  assert.equal(found.length, 1)
  assert.match(found[0]!.reason, /^gives shards of objects that are not what was put: shard \d of 0123 \([56] times\)$/)
})

test('the ledger’s faults: forged votes by the third, malformed messages by the tenth; too much or too late only when it is not listened to', () => {
  const { conduct, found, seen } = watch()
  const fault = (kind: 'forged' | 'malformed' | 'excess', isMuted = false): void =>
    conduct.ledgerFault({ peer: 'n4', kind, what: 'a vote', isMuted })
  for (let count = 0; count < 500; count += 1) fault('excess')
  assert.deepEqual([found.length, seen.length], [0, 0])
  for (let count = 0; count < 3; count += 1) fault('forged')
  for (let count = 0; count < 10; count += 1) fault('malformed')
  for (let count = 0; count < 3; count += 1) fault('excess', true)
  assert.deepEqual(
    found.map(({ detector, subject }) => `${detector} ${subject.value}`),
    ['node-forged n4', 'node-malformed n4', 'node-muted n4'],
  )
})

test('holders that open wrongly: one a note, two a finding', () => {
  const { conduct, found, notes } = watch()
  conduct.liars(['n2'], 'when this node had something opened')
  assert.deepEqual([found.length, notes.length], [0, 1])
  conduct.liars(['n3', 'n2'], 'when this node had something opened')
  assert.deepEqual(
    found.map(({ subject }) => subject.value),
    ['n2'],
  )
})

interface Agreed {
  readonly faults?: readonly { readonly party: string; readonly fault: string; readonly attempt: number }[]
  readonly expelled?: readonly { readonly node: string; readonly code: string; readonly atMs: number }[]
}
const stateOf = ({ faults = [], expelled = [] }: Agreed): RingState =>
  ({
    key: (name: string) => ({ faults: name === 'signing' ? faults : [] }),
    enrolment: { trust: { expelled } },
  }) as unknown as RingState

test('ceremonies: a bad share is a finding at once, to stay away from one is not; whom attestation put out is a finding, who is late is none', () => {
  const { conduct, found, notes, pass } = watch()
  const bad = { party: 'n4', fault: 'bad-share', attempt: 3 }
  const away = (attempt: number) => ({ party: 'n2', fault: 'silent-dealer', attempt })
  const cloned = { node: 'n3', code: 'CLONED', atMs: T0 }
  const late = { node: 'n2', code: 'ATTESTATION_LATE', atMs: T0 }
  conduct.agreed(stateOf({ faults: [] }), stateOf({ faults: [bad, away(3)] }))
  conduct.agreed(stateOf({ faults: [bad, away(3)] }), stateOf({ faults: [bad, away(3)], expelled: [cloned, late] }))
  assert.deepEqual(
    found.map(({ detector, subject, reason }) => `${detector} ${subject.value} ${reason.split(': ').at(-1)}`),
    ['node-ceremony n4 bad-share in ceremony 3 of the signing key', 'node-expelled n3 CLONED'],
  )
  assert.deepEqual(notes, [
    'n2: silent-dealer in ceremony 3 of the signing key; noted, as it may be an accident: a pattern of it is a finding',
  ])
  for (const attempt of [4, 5, 6]) {
    pass(600_000)
    conduct.agreed(stateOf({}), stateOf({ faults: [away(attempt)] }))
  }
  assert.equal(found.at(-1)?.detector, 'node-absent')
})

test('silent for minutes over a link that is up is a finding; a node that restarts, is slow or is cut off is none', () => {
  const { found, notes, goesOn, withLink } = watch()
  const without = { reachable: ['n1', 'n2', 'n3'] }
  goesOn(60, {})
  // Gone and back, time and again.
  for (let restart = 0; restart < 10; restart += 1) {
    goesOn(30, { ...without, ...withLink('n4', { connected: false }) })
    goesOn(20, without)
    goesOn(20, {})
  }
  // Slow: nothing for half a minute, again and again.
  for (let pause = 0; pause < 10; pause += 1) {
    goesOn(30, without)
    goesOn(10, {})
  }
  assert.deepEqual([found.length, notes.length], [0, 1])
  // Of a node that hears no quorum the others are not silent.
  goesOn(600, { reachable: ['n1', 'n2'] })
  assert.equal(found.length, 0)
  goesOn(180, without)
  assert.deepEqual(
    found.map(({ detector, subject, severity }) => `${detector} ${subject.value} ${severity}`),
    ['node-silent n4 low'],
  )
})

test('a clock that is far from those of most is a finding after a minute or two; where one’s own is off, nobody’s is', () => {
  const { found, goesOn, withLink } = watch()
  const own = { links: ['n2', 'n3', 'n4'].map((id) => ({ id, connected: true, clockOffsetMs: 30_000 })) }
  goesOn(600, own)
  goesOn(10, withLink('n4', { clockOffsetMs: 30_000 }))
  goesOn(60, {})
  assert.equal(found.length, 0)
  goesOn(180, withLink('n4', { clockOffsetMs: -30_000 }))
  assert.equal(found.length, 1)
  assert.match(found[0]!.reason, /^its clock is far from those of most nodes: 30\.0 s behind/)
})

test('a node whose word on denials is no longer taken is a finding, once', () => {
  const { found, goesOn } = watch()
  goesOn(30, {
    unconfirmed: [
      { issuer: 'node:n3', count: 19 },
      { issuer: 'operator:ada', count: 50 },
    ],
  })
  assert.equal(found.length, 0)
  goesOn(600, { unconfirmed: [{ issuer: 'node:n3', count: 22 }] })
  assert.deepEqual(
    found.map(({ detector, subject }) => `${detector} ${subject.value}`),
    ['node-denials n3'],
  )
})

test('all that is found of one node is one incident, as severe as the worst of it; a record keeps its severity as it travels', () => {
  const { conduct, found } = watch()
  for (const kind of ['clock', 'silent'] as const) conduct.seen('n4', kind, 'for minutes', CONDUCT[kind].limit)
  const findings = new Findings({ self: 'n1', keepMs: 86_400_000 })
  const records = found.map((finding) => findings.add(finding))
  const severity = () => correlate(findings.all()).map((incident) => [incident.severity, incident.detectors.length])
  assert.deepEqual(severity(), [['low', 2]])
  conduct.seen('n4', 'shard', 'a shard', CONDUCT.shard.limit)
  conduct.seen('n2', 'shard', 'a shard', CONDUCT.shard.limit)
  for (const finding of found.slice(2)) findings.add(finding)
  assert.deepEqual(severity().sort(), [
    ['high', 3],
    ['medium', 1],
  ])
  for (const record of records) assert.deepEqual(readFinding(JSON.parse(JSON.stringify(record))), record)
  assert.equal(readFinding({ ...records[0], severity: 'none' }), undefined)
})

test('every kind says which technique it is, and what it means', () => {
  for (const kind of Object.keys(CONDUCT) as ConductName[]) {
    assert.match(CONDUCT[kind].attack[0], /^T\d{4}/)
    assert.ok(CONDUCT[kind].reason.length > 20)
  }
})

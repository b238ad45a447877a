import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MemoryMalformed, SummaryMalformed } from '../errors.ts'
import { hashText, type Signal } from '../signal.ts'
import type { DetectionRule, RuleFinding } from './rule.ts'
import { RuleDetector } from './rule-detector.ts'
import { decodeRuleSummary, encodeRuleSummary, RULE_SUMMARY_KEYS_MAX } from './rule-summary.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** A Monday, at noon. */
const T0 = Date.UTC(2_026, 5, 1, 12)
const NODES = ['n1', 'n2', 'n3', 'n4', 'n5']

const signal = (more: Partial<Signal> = {}): Signal => ({
  atMs: T0,
  service: 'shop',
  route: undefined,
  method: 'GET',
  status: 200,
  bytes: 1_000,
  source: '198.51.100.7',
  fingerprint: 't13d_browser',
  account: undefined,
  session: undefined,
  path: hashText('/'),
  login: undefined,
  signup: false,
  ...more,
})

const SCANNING: DetectionRule = {
  name: 'scanning',
  by: ['source'],
  when: { status: [403, 404] },
  over: { paths: 20 },
  share: 0.5,
  within: HOUR,
}

const make = (rules: readonly DetectionRule[], self = 'n1', more: object = {}): RuleDetector =>
  new RuleDetector({
    self,
    rules,
    rearmMs: HOUR,
    networkOf: (source) => source.split('.').slice(0, 3).join('.'),
    ...more,
  })

const missing = (at: number, more: Partial<Signal> = {}): Signal =>
  signal({ atMs: T0 + at * 1_000, status: 404, path: hashText(`/x${at}`), ...more })

/** Signals in turn on each of the nodes, which tell each other after each. */
function play(rules: readonly DetectionRule[], signals: readonly Signal[]): readonly RuleFinding[] {
  const nodes = NODES.map((id) => make(rules, id))
  return signals.flatMap((one, at) => {
    const node = nodes[at % nodes.length]!
    const found = [...node.observe(one)]
    const summary = node.summary(one.atMs)
    if (summary !== undefined) for (const other of nodes) found.push(...other.merge(NODES[at % nodes.length]!, summary, one.atMs))
    return found
  })
}

test('scanning fires: many paths that are not there, with what was counted in words', () => {
  const detector = make([SCANNING])
  const findings = Array.from({ length: 30 }, (_, at) => detector.observe(missing(at))).flat()
  assert.equal(findings.length, 1, 'once')
  assert.deepEqual(findings[0]!.key, [['source', '198.51.100.7']])
  assert.equal(findings[0]!.reason, '20 paths in 1 h, 100 % of what it asked, seen on 1 node')
})

test('scanning must not fire: one broken link of a page again and again, whoever asks; and many among far more that are there', () => {
  const detector = make([SCANNING])
  for (let at = 0; at < 500; at += 1) assert.deepEqual(detector.observe(missing(at, { path: hashText('/gone.js') })), [])
  const other = make([SCANNING])
  for (let at = 0; at < 100; at += 1) {
    assert.deepEqual(other.observe(missing(at)), [], `at ${at}`)
    for (let good = 0; good < 2; good += 1) other.observe(signal({ atMs: T0 + at * 1_000 + 1 }))
  }
})

test('scanning must not fire: what is spread over more than the window', () => {
  const detector = make([SCANNING])
  for (let at = 0; at < 60; at += 1) assert.deepEqual(detector.observe(missing(at, { atMs: T0 + at * 5 * MINUTE })), [])
})

test('what is spread over five nodes is found by what they tell each other, sooner than by any of them alone', () => {
  const signals = Array.from({ length: 40 }, (_, at) => missing(at))
  const findings = play([SCANNING], signals)
  assert.ok(findings.length > 0)
  assert.match(findings[0]!.reason, /seen on [2-5] nodes/)
  const alone = make([SCANNING])
  assert.deepEqual(
    signals.filter((_, at) => at % 5 === 0).flatMap((one) => alone.observe(one)),
    [],
  )
})

test('must not fire: what a liar tells of somebody whom nobody else saw; and what it tells counts as much as what was seen', () => {
  const liar = make([SCANNING], 'liar')
  for (let at = 0; at < 200; at += 1) liar.observe(missing(at))
  const tale = liar.summary(T0 + 200_000)!
  const honest = make([SCANNING])
  assert.deepEqual(honest.merge('liar', tale, T0 + 200_000), [])
  assert.equal(honest.keys, 0, 'nothing is kept')
  for (let at = 500; at < 509; at += 1) honest.observe(missing(at))
  assert.deepEqual(honest.merge('liar', tale, T0 + 510_000), [], '9 of its own, 9 of the liar')
  assert.equal(honest.observe(missing(509)).length, 1, '10 and 10 are what the rule says')
})

const STUFFING: DetectionRule = {
  name: 'stuffing',
  by: ['source'],
  when: { login: 'failed', source: 'new' },
  over: { accounts: 3 },
  share: 0.9,
  among: { login: 'any' },
  within: DAY,
}
const login = (atMs: number, account: number, outcome: 'failed' | 'good', more: Partial<Signal> = {}): Signal =>
  signal({ atMs, method: 'POST', account: account.toString(16).padStart(32, '0'), login: outcome, ...more })

test('stuffing fires slowly, for an address from which no login was good; it must not where one was, nor before a day was learned', () => {
  const detector = make([STUFFING])
  detector.observe(login(T0, 1, 'good', { source: '192.0.2.1' }))
  const from = (source: string, fromMs: number): readonly RuleFinding[] =>
    [1, 2, 3, 4].flatMap((account) => detector.observe(login(fromMs + account * 5 * HOUR, account, 'failed', { source })))
  assert.deepEqual(from('203.0.113.9', T0 + MINUTE).length, 0, 'three of the four came while it learned')
  assert.deepEqual(from('192.0.2.1', T0 + 2 * DAY), [], 'people mistype')
  assert.ok(from('203.0.113.8', T0 + 3 * DAY).length > 0)
})

const TAKEOVER: DetectionRule = {
  name: 'takeover',
  by: ['source', 'fingerprint'],
  after: { when: { login: 'good', device: 'new' }, within: HOUR },
  when: { routes: ['password', 'email'], methods: ['POST'] },
  over: { routes: 2 },
  within: HOUR,
}

test('takeover fires: another machine, then password and address changed; it must not on a known machine, for one of both, or much later', () => {
  const change = (atMs: number, more: Partial<Signal>): readonly Signal[] =>
    ['password', 'email'].map((route) => signal({ atMs, method: 'POST', route, ...more }))
  const thief = { source: '203.0.113.9', fingerprint: 't13d_other' }
  const learned = (): RuleDetector => {
    const detector = make([TAKEOVER])
    detector.observe(login(T0 - 2 * DAY, 1, 'good'))
    return detector
  }
  const found = (signals: readonly Signal[]): number => {
    const detector = learned()
    return signals.flatMap((one) => detector.observe(one)).length
  }
  assert.equal(found([login(T0, 1, 'good', thief), ...change(T0 + MINUTE, thief)]), 1)
  assert.equal(found([login(T0, 1, 'good'), ...change(T0 + MINUTE, {})]), 0, 'its own machine')
  assert.equal(found([login(T0, 1, 'good', thief), ...change(T0 + MINUTE, thief).slice(1)]), 0, 'one of both')
  assert.equal(found([login(T0, 1, 'good', thief), ...change(T0 + 2 * HOUR, thief)]), 0, 'two hours later')
  assert.equal(found(change(T0, thief)), 0, 'no login before')
})

const REPLAY: DetectionRule = {
  name: 'replay',
  by: ['session'],
  when: { session: true },
  over: { fingerprints: 2, networks: 2, events: 4 },
  within: HOUR,
}

test('replay fires: one session by two programs from two networks, with the sources; it must not for one that moves about', () => {
  const detector = make([REPLAY])
  const at = (minute: number, source: string, fingerprint: string): readonly RuleFinding[] =>
    detector.observe(signal({ atMs: T0 + minute * MINUTE, source, fingerprint, session: 'a'.repeat(32) }))
  for (let cell = 0; cell < 10; cell += 1) assert.deepEqual(at(cell, `198.51.${cell}.1`, 't13d_phone'), [])
  const [found] = at(11, '203.0.113.9', 't13d_tool')
  assert.ok(found!.sources.includes('203.0.113.9'))
})

const CAMPAIGN: DetectionRule = {
  name: 'campaign',
  by: ['service'],
  when: { login: 'failed' },
  over: { events: 20 },
  usual: 3,
  within: 5 * MINUTE,
}

test('a campaign fires: three times what is usual at that hour; it must not for a busy hour of every day', () => {
  const detector = make([CAMPAIGN])
  const failures = (fromMs: number, count: number): readonly RuleFinding[] =>
    Array.from({ length: count }, (_, at) =>
      detector.observe(login(fromMs + Math.floor((at * HOUR) / count), at, 'failed')),
    ).flat()
  for (let hour = 0; hour < 5 * 24; hour += 1)
    assert.deepEqual(failures(T0 + hour * HOUR, hour % 24 === 8 ? 600 : 120), [], `hour ${hour}`)
  assert.deepEqual(failures(T0 + 5 * DAY, 150), [], 'a little more')
  const findings = failures(T0 + 5 * DAY + HOUR, 600)
  assert.ok(findings.length > 0)
  assert.match(findings[0]!.reason, /where at most \d+ are usual/)
})

test('what is usual holds without a limit on events, too: many accounts at a busy hour are no campaign', () => {
  const detector = make([{ ...CAMPAIGN, over: { accounts: 20 } }])
  const failures = (fromMs: number, count: number): readonly RuleFinding[] =>
    Array.from({ length: count }, (_, at) =>
      detector.observe(login(fromMs + Math.floor((at * HOUR) / count), at, 'failed')),
    ).flat()
  for (let hour = 0; hour < 5 * 24; hour += 1) assert.deepEqual(failures(T0 + hour * HOUR, 360), [], `hour ${hour}`)
  assert.match(failures(T0 + 5 * DAY, 3_000)[0]!.reason, /^\d+ events, \d+ accounts in 5 min, where at most \d+ are usual/)
})

const NEW_MACHINE = { login: 'good', device: 'new', travel: 'impossible' } as const
const TRAVEL: DetectionRule = { name: 'travel', by: ['account'], when: NEW_MACHINE, over: { events: 1 }, within: HOUR }
/** New machine, impossible travel, then password and address are changed. */
const STOLEN: DetectionRule = {
  name: 'stolen',
  by: ['source', 'fingerprint'],
  after: { when: NEW_MACHINE, within: HOUR },
  when: { routes: ['password', 'email'], methods: ['POST'] },
  over: { routes: 2 },
  within: HOUR,
}
const BERLIN = { latitude: 52.5, longitude: 13.4, radiusKm: 50, asn: 3_320 }
const SYDNEY = { latitude: -33.9, longitude: 151.2, radiusKm: 50, asn: 1_221 }

test('impossible travel: a new machine in Sydney an hour after Berlin, on another node; then a change of credentials is a takeover', () => {
  const [one, other] = [make([TRAVEL, STOLEN]), make([TRAVEL, STOLEN], 'n2')]
  const good = (atMs: number, more: Partial<Signal>): Signal =>
    signal({ atMs, login: 'good', account: 'a1', route: 'login', ...more })
  const home = { source: '198.51.100.7', place: BERLIN }
  const away = { source: '203.0.113.9', fingerprint: 'another', place: SYDNEY }
  const tell = (atMs: number): void => {
    const [from, back] = [one.summary(atMs), other.summary(atMs)]
    if (from !== undefined) other.merge('n1', from, atMs)
    if (back !== undefined) one.merge('n2', back, atMs)
  }
  for (let day = 0; day < 3; day += 1) {
    assert.deepEqual(one.observe(good(T0 + day * DAY, home)), [])
    assert.deepEqual(other.observe(good(T0 + day * DAY, { ...home, account: 'a2' })), [])
    tell(T0 + day * DAY)
  }
  const atMs = T0 + 2 * DAY + HOUR
  assert.deepEqual(other.observe(good(atMs, { ...away, fingerprint: 't13d_browser' })), [], 'a VPN on a machine that is known')
  assert.deepEqual(other.observe(good(atMs, { ...away, account: 'a2', place: undefined })), [], 'nobody knows where')
  const elsewhere = { ...away, source: '192.0.2.44', fingerprint: 'third' }
  assert.deepEqual(
    other.observe(good(atMs, { ...elsewhere, account: 'a2', place: { ...SYDNEY, asn: BERLIN.asn } })),
    [],
    'roaming: the same carrier',
  )
  assert.deepEqual(one.observe(good(atMs + DAY, { ...elsewhere, account: 'a3' })), [], 'an account that nobody knows')
  // The machine that was home all the time, then another one.
  assert.deepEqual(one.observe(good(atMs + 1, home)), [])
  tell(atMs + 1)
  const thief = { source: '192.0.2.66', fingerprint: 'thief', place: SYDNEY }
  const [found] = other.observe(good(atMs + 1 + HOUR, thief))
  assert.deepEqual(found!.key, [['account', 'a1']])
  assert.match(found!.reason, /at least 16000 km from where the account was logged in to 60 min before/)
  const change = (route: string): readonly RuleFinding[] =>
    other.observe(signal({ ...thief, atMs: atMs + 2 + HOUR, route, method: 'POST' }))
  assert.deepEqual(change('password'), [])
  assert.deepEqual(change('email')[0]!.rule, 'stolen')
})

const SIGNUPS: DetectionRule = {
  name: 'signups',
  by: ['service'],
  when: { signup: true },
  over: { accounts: 20, sources: 20 },
  usual: 1.3,
  within: DAY,
}

test('slow sign-ups fire where next to nobody signs up, as hours without any are learned, too; an office that joins must not', () => {
  const detector = make([SIGNUPS])
  const join = (atMs: number, source: string, account: string): readonly RuleFinding[] =>
    detector.observe(signal({ atMs, source, account, signup: true }))
  for (let hour = 0; hour < 4 * 24; hour += 1) {
    detector.observe(signal({ atMs: T0 + hour * HOUR }))
    if (hour % 8 === 0) assert.deepEqual(join(T0 + hour * HOUR + 1, `198.51.100.${hour}`, `a${hour}`), [])
  }
  const atMs = T0 + 4 * DAY
  for (let at = 0; at < 60; at += 1) assert.deepEqual(join(atMs + at * MINUTE, '203.0.113.9', `o${at}`), [], 'one office')
  const findings = Array.from({ length: 40 }, (_, at) => join(atMs + HOUR + at * 20 * MINUTE, `192.0.2.${at}`, `f${at}`)).flat()
  assert.ok(findings.length > 0)
  assert.match(findings[0]!.reason, /sources in 1 d, where at most \d+ are usual/)
})

const BEACON: DetectionRule = { name: 'beacon', by: ['source', 'path'], when: {}, over: { beats: 60 }, within: 6 * HOUR }

test('beaconing fires: every minute, give or take a second; it must not for somebody who looks often, nor for what a page asks at once', () => {
  let seed = 7
  const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647
  const run = (wait: () => number): number => {
    const detector = make([BEACON])
    let [atMs, found] = [T0, 0]
    for (let at = 0; at < 2_000; at += 1) found += detector.observe(signal({ atMs: (atMs += Math.floor(wait())) })).length
    return found
  }
  assert.ok(run(() => MINUTE + 1_000 * random()) > 0)
  assert.equal(
    run(() => -MINUTE * Math.log(random())),
    0,
  )
  assert.equal(
    run(() => 45_000 + 30_000 * random()),
    0,
  )
  assert.equal(
    run(() => 200),
    0,
  )
})

test('memory is bounded: whoever makes up addresses pushes out the oldest, counted, and a scan that goes on is found all the same', () => {
  const detector = make([SCANNING], 'n1', { keysMax: 100 })
  let found = 0
  for (let at = 0; at < 3_000; at += 1) {
    detector.observe(missing(at, { source: `10.${at >> 8}.${at & 255}.1` }))
    if (at % 10 === 0) found += detector.observe(missing(at)).length
  }
  assert.ok(detector.keys <= 100)
  assert.ok(detector.evicted > 2_000)
  assert.equal(found, 1)
  detector.expire(T0 + DAY)
  assert.equal(detector.keys, 0)
})

test('property: what the summary’s decoder takes, its encoder makes again; and it throws nothing else than what it says', () => {
  const hash = fc.integer({ min: 0, max: 0xffff_ffff })
  const count = fc.integer({ min: 0, max: 1e12 })
  const plain = { noNullPrototype: true }
  const sample = fc.record({ level: fc.integer({ min: 0, max: 31 }), hashes: fc.array(hash, { maxLength: 256 }) }, plain)
  const counts = fc.record({ events: count, all: count, bytes: count, distinct: fc.array(sample, { maxLength: 7 }) }, plain)
  const key = fc.record({ rule: fc.string({ maxLength: 64 }), key: fc.string({ maxLength: 200 }), counts }, plain)
  const keys = fc.array(key, { maxLength: 5 })
  const degrees = (most: number): fc.Arbitrary<number> => fc.double({ min: -most, max: most, noNaN: true }).map((one) => one + 0)
  const place = fc.record(
    { latitude: degrees(90), longitude: degrees(180), radiusKm: fc.nat(20_000), asn: fc.integer({ min: 0, max: 0xffff_ffff }) },
    plain,
  )
  const travels = fc.array(fc.record({ account: fc.string({ maxLength: 64 }), atMs: count, place }, plain), { maxLength: 5 })
  fc.assert(
    fc.property(keys, fc.array(fc.tuple(hash, hash), { maxLength: 100 }), travels, (keys, known, travels) => {
      const summary = { keys, known, travels }
      assert.deepEqual(decodeRuleSummary(encodeRuleSummary(summary)), summary)
    }),
    { numRuns: 50 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.json(), (bytes, json) => {
      for (const given of [bytes, Uint8Array.from([2, ...new TextEncoder().encode(json)])]) {
        try {
          decodeRuleSummary(given)
        } catch (error) {
          assert.ok(error instanceof SummaryMalformed, String(error))
        }
      }
    }),
    { numRuns: 200 },
  )
  const wide = { keys: Array.from({ length: RULE_SUMMARY_KEYS_MAX + 1 }, () => [0]), known: [], travels: [] }
  assert.throws(
    () => decodeRuleSummary(Uint8Array.from([2, ...new TextEncoder().encode(JSON.stringify(wide))])),
    SummaryMalformed,
  )
})

test('the largest summary that a node makes is one that others take', () => {
  const rule: DetectionRule = { ...SCANNING, name: 'wide', share: undefined, over: { paths: 1_000, accounts: 1_000 } }
  const [one, other] = [make([rule]), make([rule], 'n2')]
  for (let key = 0; key < 300; key += 1) {
    for (let at = 0; at < 300; at += 1)
      one.observe(
        login(T0 + at, at + key * 1_000, 'failed', {
          source: `10.0.${key >> 8}.${key & 255}`,
          status: 404,
          path: hashText(`${key} ${at}`),
        }),
      )
  }
  for (let summary = one.summary(T0 + 300), pieces = 0; summary !== undefined; summary = one.summary(T0 + 300), pieces += 1) {
    assert.ok(pieces < 100)
    assert.deepEqual(other.merge('n1', summary, T0 + 300), [])
  }
})

const SMALL = { knownMax: 10_000 }
const FROM_NEW: DetectionRule = {
  name: 'stuffing',
  by: ['source'],
  when: { login: 'failed', source: 'new' },
  over: { accounts: 3 },
  within: HOUR,
}
const attempt = (atMs: number, source: string, account: string, how: 'failed' | 'good' = 'failed'): Signal =>
  signal({ atMs, source, account, login: how, route: 'login' })
/** Two days: one good login from each of 50 addresses, and ten failed ones every five minutes. */
function lived(rules: readonly DetectionRule[]): RuleDetector {
  const detector = make(rules, 'n1', SMALL)
  for (let at = 0; at < 576; at += 1) {
    const atMs = T0 + at * 5 * MINUTE
    detector.observe(attempt(atMs, `192.0.2.${at % 50}`, `a${at % 50}`, 'good'))
    for (let failed = 0; failed < 10; failed += 1)
      detector.observe(attempt(atMs + failed * 20_000, `192.0.2.${(at + failed) % 50}`, `a${failed}`))
  }
  return detector
}
const stuff = (detector: RuleDetector, atMs: number, source: string): number =>
  [0, 1, 2, 3]
    .flatMap((at) => detector.observe(attempt(atMs + at, source, `victim${at}`)))
    .filter(({ rule }) => rule === 'stuffing').length

test('what is known and usual is there after a restart; other rules leave it; away for days it holds nobody for new for a day', () => {
  const detector = lived([FROM_NEW, CAMPAIGN])
  const endMs = T0 + 2 * DAY
  const pieces = [...detector.memory(endMs)].map((piece) => Uint8Array.from(piece))
  const restarted = (nowMs: number, rules = [FROM_NEW, CAMPAIGN]): RuleDetector => {
    const one = make(rules, 'n1', SMALL)
    one.restore(pieces, nowMs)
    return one
  }
  assert.deepEqual(
    [...restarted(endMs).memory(endMs)].slice(2).map((one) => Uint8Array.from(one)),
    pieces.slice(2),
  )
  const soon = restarted(endMs + MINUTE)
  assert.equal(stuff(soon, endMs + 2 * MINUTE + HOUR, '203.0.113.9'), 1)
  assert.equal(stuff(soon, endMs + 2 * MINUTE + HOUR, '192.0.2.7'), 0, 'known')
  const away = endMs + 5 * DAY
  const later = restarted(away)
  assert.equal(stuff(later, away + 23 * HOUR, '203.0.113.9'), 0)
  assert.equal(stuff(later, away + 25 * HOUR, '203.0.113.10'), 1)
  const burst = (one: RuleDetector, atMs: number, count: number): number =>
    Array.from({ length: count }, (_, at) => one.observe(attempt(atMs + at * 1_000, `192.0.2.${at % 50}`, 'a')))
      .flat()
      .filter(({ rule }) => rule === 'campaign').length
  assert.equal(burst(restarted(endMs), endMs + HOUR, 15), 0, 'as usual')
  assert.equal(burst(restarted(endMs), endMs + HOUR, 90), 1)
  const other = make([FROM_NEW, { ...CAMPAIGN, usual: 2.5 }, SCANNING], 'n1', SMALL)
  other.inherit(detector)
  assert.equal(burst(other, endMs + HOUR, 90), 0, 'of another rule nothing is usual yet')
  assert.equal(stuff(other, endMs + 2 * HOUR, '192.0.2.7'), 0)
  assert.equal(stuff(other, endMs + 2 * HOUR, '203.0.113.9'), 1)
  for (const wrong of [
    pieces.slice(1),
    [pieces[0]!, ...pieces],
    [...pieces, pieces.at(-1)!],
    pieces.with(0, pieces[0]!.with(1, 9)),
  ])
    assert.throws(() => make([FROM_NEW, CAMPAIGN], 'n1', SMALL).restore(wrong, endMs), MemoryMalformed)
  assert.throws(() => restarted(endMs + 31 * DAY), /30 days/)
})

test('a clock that was a week ahead for a while leaves no counts that never pass, and holds no finding back', () => {
  const detector = make([SCANNING])
  const ahead = 7 * DAY
  for (let at = 0; at < 12; at += 1) detector.observe(missing(at, { atMs: T0 + ahead + at }))
  const slow = Array.from({ length: 60 }, (_, at) => detector.observe(missing(at, { atMs: T0 + at * 10 * MINUTE }))).flat()
  assert.deepEqual(slow, [], 'six in an hour are none')
  const soon = Array.from({ length: 25 }, (_, at) => detector.observe(missing(at, { atMs: T0 + DAY + at }))).flat()
  assert.equal(soon.length, 1)
  detector.expire(T0 + 2 * DAY)
  assert.equal(detector.keys, 0)
})

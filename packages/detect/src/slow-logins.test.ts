import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SummaryMalformed } from './errors.ts'
import { type SlowLoginFinding, SlowLogins } from './slow-logins.ts'
import { type SourceCell, SourceSet } from './source-set.ts'
import { decodeSourceSummary, encodeSourceSummary } from './source-summary.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const T0 = 1_800_000_000_000
const ALICE = 'a11ce'.padEnd(32, '0')
const NODES = ['n1', 'n2', 'n3', 'n4', 'n5']

const make = (self: string, more: object = {}): SlowLogins =>
  new SlowLogins({
    self,
    limits: { sources: 12, windowMs: 3 * DAY },
    rearmMs: DAY,
    wordsOf: (text) => (/^\d+$/.test(text) ? [0, Number(text)] : undefined),
    ...more,
  })
const login = (source: number, atMs: number, failed = true, account = ALICE) => ({
  service: 'shop',
  source: String(source),
  account,
  failed,
  atMs,
})

interface Attempt {
  readonly node: number
  readonly source: number
  readonly atMs: number
  readonly failed?: boolean
  readonly account?: string
}

/** Five nodes that tell each other all after each attempt. */
function play(attempts: readonly Attempt[]): readonly (SlowLoginFinding & { readonly by: number; readonly atMs: number })[] {
  const nodes = NODES.map((id) => make(id))
  return attempts.flatMap(({ node, source, atMs, failed = true, account = ALICE }) => {
    const found = nodes[node]!.observe(login(source, atMs, failed, account)).map((one) => ({ ...one, by: node, atMs }))
    const summary = nodes[node]!.summary()
    const heard =
      summary === undefined
        ? []
        : nodes.flatMap((other, by) => other.merge(NODES[node]!, summary, atMs).map((one) => ({ ...one, by, atMs })))
    return [...found, ...heard]
  })
}

/** One attempt of each node in eight hours, over three days, each from another address. */
const SLOW: readonly Attempt[] = Array.from({ length: 45 }, (_, at) => ({
  node: at % 5,
  source: 1_000 + at,
  atMs: T0 + Math.floor(at / 5) * 8 * HOUR + (at % 5) * 600_000,
}))

test('fires: one attempt of each node in eight hours from rotating addresses, with all addresses listed', () => {
  const findings = play(SLOW)
  assert.ok(findings.length > 0)
  assert.ok(findings[0]!.atMs - T0 <= DAY, 'within a day')
  const last = make('late')
  const nodes = NODES.map((id) => make(id, { limits: { sources: 45, windowMs: 3 * DAY } }))
  for (const { node, source, atMs } of SLOW) nodes[node]!.observe(login(source, atMs))
  const heard = NODES.flatMap((id, at) =>
    at === 0 ? [] : nodes[0]!.merge(id, nodes[at]!.summary() as Uint8Array, T0 + 3 * DAY - HOUR),
  )
  assert.equal(heard.length, 1)
  assert.deepEqual(
    heard[0]!.sources.map(([, low]) => low).toSorted(),
    SLOW.map(({ source }) => source),
  )
  assert.equal(heard[0]!.own.length, 9)
  assert.match(heard[0]!.reason, /failed from 45 addresses in 3 d and succeeded from none of them, seen on 5 nodes/)
  assert.equal(last.accounts, 0)
})

test('must not fire: one who forgot, from few addresses, however often', () => {
  const attempts = Array.from({ length: 200 }, (_, at) => ({ node: at % 5, source: 7 + (at % 3), atMs: T0 + at * 1_200_000 }))
  assert.deepEqual(play(attempts), [])
})

test('must not fire: somebody on the road whose every address gets in after a mistake, on whichever node', () => {
  const attempts = Array.from({ length: 60 }, (_, at) => {
    const atMs = T0 + Math.floor(at / 2) * 2 * HOUR
    return { node: (at * 3) % 5, source: 50 + Math.floor(at / 2), atMs, failed: at % 2 === 0 }
  })
  assert.deepEqual(play(attempts), [])
})

test('must not fire: a mistake each of many users behind many addresses', () => {
  const attempts = Array.from({ length: 300 }, (_, at) => ({
    node: at % 5,
    source: at,
    atMs: T0 + at * 60_000,
    account: at.toString(16).padStart(32, '0'),
  }))
  assert.deepEqual(play(attempts), [])
})

test('must not fire: eleven addresses in the window, and as many before it', () => {
  const attempts = Array.from({ length: 22 }, (_, at) => ({
    node: at % 5,
    source: at,
    atMs: T0 + (at < 11 ? at * 60_000 : 4 * DAY + at * 60_000),
  }))
  assert.deepEqual(play(attempts), [])
})

test('must not fire: what other nodes tell about an account at which nobody failed here; and a liar counts as much as what was seen here', () => {
  const honest = make('n1')
  const liar = make('n2')
  for (let at = 0; at < 64; at += 1) liar.observe(login(at, T0))
  const tale = liar.summary() as Uint8Array
  assert.deepEqual(honest.merge('n2', tale, T0), [])
  assert.equal(honest.accounts, 0, 'and nothing is kept of it')
  for (let at = 0; at < 5; at += 1) assert.deepEqual(honest.observe(login(900 + at, T0)), [])
  assert.deepEqual(honest.merge('n2', tale, T0), [], 'five of its own, five of the liar’s')
  assert.equal(honest.observe(login(905, T0)).length, 1, 'six and six')
})

test('a finding comes once, and again when it is re-armed', () => {
  const node = make('n1')
  const found = (from: number, count: number, atMs: number): number =>
    Array.from({ length: count }, (_, at) => node.observe(login(from + at, atMs))).flat().length
  assert.deepEqual([found(0, 20, T0), found(100, 20, T0 + HOUR), found(200, 1, T0 + DAY + HOUR)], [1, 0, 1])
})

test('what a node kept is there after it was away', () => {
  const before = make('n1')
  for (let at = 0; at < 11; at += 1) before.observe(login(at, T0))
  const after = make('n1')
  for (const piece of before.memory()) after.restore(piece)
  assert.equal(after.observe(login(11, T0 + HOUR)).length, 1)
})

test('memory is bounded: accounts beyond the bound push out the one that failed longest ago; what is over is forgotten', () => {
  const node = make('n1', { accountsMax: 100 })
  for (let at = 0; at < 150; at += 1) node.observe(login(1, T0, true, at.toString(16).padStart(32, '0')))
  assert.deepEqual([node.accounts, node.evicted], [100, 50])
  node.expire(T0 + 3 * DAY + 120_000)
  assert.equal(node.accounts, 0)
})

const cell = fc.record({
  words: fc.tuple(fc.constantFrom(0, 1), fc.nat({ max: 30 })),
  failedMin: fc.integer({ min: 1, max: 1_000 }),
  goodMin: fc.nat({ max: 1_000 }),
})
const setOf = (cells: readonly SourceCell[], max: number): SourceSet => {
  const set = new SourceSet(max)
  for (const { words, failedMin, goodMin } of cells) set.raise(words, failedMin, goodMin)
  return set
}

test('property: joining is associative, commutative and idempotent', () => {
  fc.assert(
    fc.property(fc.array(cell), fc.array(cell), fc.array(cell), (a, b, c) => {
      const join = (...parts: readonly (readonly SourceCell[])[]) => setOf(parts.flat(), 64).cells()
      assert.deepEqual(join(join(a, b), c), join(a, join(b, c)))
      assert.deepEqual(join(a, b), join(b, a))
      assert.deepEqual(join(a, a), join(a))
    }),
  )
})

test('property: joining all at once is what joining one by one is', () => {
  fc.assert(
    fc.property(fc.array(cell), fc.array(cell, { maxLength: 80 }), fc.integer({ min: 1, max: 100 }), (a, b, max) => {
      const shown = (set: SourceSet) =>
        set.cells().map(({ words, failedMin, goodMin }) => [...words, Math.max(failedMin, goodMin)])
      const others = setOf(b, 1_000).cells()
      const joined = setOf(a, max)
      joined.join(others)
      assert.deepEqual(shown(joined), shown(setOf([...a, ...others], max)))
      if (max >= 62) assert.deepEqual(joined.cells(), setOf([...a, ...others], max).cells())
    }),
  )
})

test('property: where there are too many, the same stay in every order, as late as they were', () => {
  fc.assert(
    fc.property(
      fc.array(cell, { maxLength: 80 }),
      fc.integer({ min: 1, max: 10 }),
      fc.infiniteStream(fc.nat()),
      (cells, max, order) => {
        const shown = (set: SourceSet) =>
          set.cells().map(({ words, failedMin, goodMin }) => [...words, Math.max(failedMin, goodMin)])
        const shuffled = cells
          .map((one) => ({ one, at: order.next().value as number }))
          .sort((x, y) => x.at - y.at)
          .map(({ one }) => one)
        assert.deepEqual(shown(setOf(shuffled, max)), shown(setOf(cells, max)))
        assert.ok(setOf(cells, max).size <= max)
      },
    ),
  )
})

const summaryOf = fc
  .uniqueArray(fc.tuple(fc.stringMatching(/^[a-z][a-z0-9-]{0,20}$/), fc.stringMatching(/^[0-9a-f]{32}$/)), {
    maxLength: 8,
    selector: ([a, b]) => `${a}${b}`,
  })
  .chain((keys) =>
    fc.tuple(
      fc.constant(keys),
      fc.array(fc.array(cell, { minLength: 1, maxLength: 10 }), { minLength: keys.length, maxLength: keys.length }),
    ),
  )
  .map(
    ([keys, cells]) => new Map(keys.map(([service, account], at) => [`${service}\n${account}`, setOf(cells[at]!, 64).cells()])),
  )

test('property: a summary is read as it was written, and has one spelling', () => {
  fc.assert(
    fc.property(summaryOf, (summary) => {
      const bytes = encodeSourceSummary(summary)
      assert.deepEqual(new Map([...decodeSourceSummary(bytes)].toSorted()), new Map([...summary].toSorted()))
    }),
  )
})

test('property: bytes that are read are what would be written; all others are refused as malformed, and nothing else is thrown', () => {
  const changed = fc
    .tuple(summaryOf, fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 }), fc.nat({ max: 40 }))
    .map(([summary, edits, cut]) => {
      const bytes = encodeSourceSummary(summary)
      for (const [at, value] of edits) bytes[at % bytes.length] = value
      return cut > 20 ? bytes.subarray(0, Math.max(0, bytes.length - (cut - 20))) : bytes
    })
  fc.assert(
    fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 200 })), (bytes) => {
      try {
        assert.deepEqual(encodeSourceSummary(decodeSourceSummary(bytes)), Uint8Array.from(bytes))
      } catch (error) {
        assert.ok(error instanceof SummaryMalformed, String(error))
      }
    }),
  )
})

test('property: summaries may be lost, repeated and reordered; whoever has heard all of them finds the same', () => {
  const attempts = fc.array(
    fc.record({ node: fc.nat({ max: 2 }), source: fc.nat({ max: 40 }), minute: fc.nat({ max: 4_000 }) }),
    { maxLength: 60 },
  )
  fc.assert(
    fc.property(attempts, fc.infiniteStream(fc.nat()), (list, order) => {
      const nodes = ['n2', 'n3', 'n4'].map((id) => make(id))
      const told: (readonly [string, Uint8Array])[] = []
      for (const { node, source, minute } of list) {
        nodes[node]!.observe(login(source, T0 + minute * 60_000))
        const summary = nodes[node]!.summary()
        if (summary !== undefined) told.push([`n${node + 2}`, summary])
      }
      const heard = (all: readonly (readonly [string, Uint8Array])[]): readonly string[] => {
        const final = make('n1', { limits: { sources: 64, windowMs: 3 * DAY }, rearmMs: 0 })
        for (let at = 0; at < 63; at += 1) final.observe(login(5_000 + at, T0 + 4_000 * 60_000))
        for (const [node, summary] of all) final.merge(node, summary, T0 + 4_000 * 60_000)
        return final
          .observe(login(5_063, T0 + 4_000 * 60_000))
          .flatMap(({ sources }) => sources.map(([, low]) => String(low)).toSorted())
      }
      const shuffled = told
        .map((one) => ({ one, at: order.next().value as number }))
        .sort((x, y) => x.at - y.at)
        .map(({ one }) => one)
      assert.ok(heard(told).length >= 64)
      assert.deepEqual(heard([...shuffled, ...shuffled]), heard(told))
    }),
  )
})

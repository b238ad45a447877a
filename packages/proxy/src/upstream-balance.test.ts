import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Balance, type Candidate, choose, PeakLatency } from './upstream-balance.ts'

interface Fake extends Candidate {
  load: number
  weight: number
  ms: number | undefined
}

const fake = (changes: Partial<Fake> = {}): Fake => ({
  load: 0,
  weight: 1,
  ms: 1,
  credit: 0,
  expectedLatencyMs() {
    return this.ms
  },
  ...changes,
})

/** Park and Miller's generator: the same shares at every run. */
function seeded(seed = 1): () => number {
  let state = seed
  return () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
}

/** How often each is chosen in so many turns; `after` says what a choice does. */
function counts(
  balance: Balance,
  from: readonly Fake[],
  turns: number,
  after: (chosen: Fake) => void = () => undefined,
): number[] {
  const random = seeded()
  const chosen = from.map(() => 0)
  for (let at = 0; at < turns; at++) {
    const one = choose(balance, from, from.length, random, 0)
    chosen[from.indexOf(one)]!++
    after(one)
  }
  return chosen
}

const near = (figure: number, expected: number, share: number): boolean => Math.abs(figure - expected) <= expected * share

test('idle equals get equal shares, whatever the way of balancing', () => {
  for (const balance of ['least-request', 'ewma', 'round-robin'] as const) {
    const shares = counts(balance, [fake(), fake(), fake(), fake()], 4_000)
    assert.ok(
      shares.every((share) => near(share, 1_000, 0.15)),
      `${balance}: ${shares}`,
    )
  }
})

test('idle ones of different weight get requests by their weight, whatever the way of balancing', () => {
  for (const balance of ['least-request', 'ewma', 'round-robin'] as const) {
    const [heavy, light] = counts(balance, [fake({ weight: 9 }), fake()], 10_000) as [number, number]
    // Ewma takes the first of two that cost the same.
    assert.ok(near(heavy, 9_000, 0.05) && near(light, 1_000, 0.3), `${balance}: ${heavy} ${light}`)
  }
})

test('round robin spreads the turns of a heavy one out', () => {
  const from = [fake({ weight: 3 }), fake(), fake()]
  const order = Array.from({ length: 10 }, () => from.indexOf(choose('round-robin', from, 3, seeded(), 0)))
  assert.deepEqual(order, [0, 1, 0, 2, 0, 0, 1, 0, 2, 0])
})

test('least-request never takes the busier of two, and the busiest of many never', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(50), { minLength: 2, maxLength: 16 }), fc.integer({ min: 1, max: 1e6 }), (loads, seed) => {
      const from = loads.map((load) => fake({ load }))
      const { load } = choose('least-request', from, from.length, seeded(seed), 0)
      const max = Math.max(...loads)
      if (load === max) assert.ok(loads.filter((other) => other === max).length > 1)
    }),
  )
})

test('least-request keeps loads close together under requests that stay', () => {
  const from = Array.from({ length: 10 }, () => fake())
  counts('least-request', from, 1_000, (chosen) => chosen.load++)
  const loads = from.map(({ load }) => load)
  assert.ok(Math.max(...loads) - Math.min(...loads) <= 6, String(loads))
})

test('ewma gives a slow one less, and asks one that has not answered yet just once', () => {
  const [quick, slow] = counts('ewma', [fake({ ms: 1 }), fake({ ms: 100 })], 1_000)
  assert.deepEqual([quick, slow], [1_000, 0])
  const fresh = fake({ ms: undefined })
  const known = fake({ ms: 5 })
  const asked = counts('ewma', [known, fresh], 100, (chosen) => chosen.load++)
  assert.deepEqual(asked, [99, 1])
})

test('one that starts slowly gets little, however idle it is', () => {
  const from = [fake({ load: 5 }), fake({ load: 5 }), fake({ weight: 0.1 })]
  const [, , starting] = counts('least-request', from, 10_000) as [number, number, number]
  assert.ok(starting > 200 && starting < 1_200, String(starting))
})

test('a choice is always one of the candidates counted, for any weights and loads', () => {
  const balances = fc.constantFrom<Balance[]>('least-request', 'ewma', 'round-robin')
  const loads = fc.array(fc.tuple(fc.nat(9), fc.integer({ min: 1, max: 1_000 })), { minLength: 1, maxLength: 9 })
  fc.assert(
    fc.property(balances, loads, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (balance, all, random) => {
      const from = all.map(([load, weight]) => fake({ load, weight }))
      const count = Math.max(1, from.length - 1)
      const chosen = choose(balance, from, count, () => random, 0)
      assert.ok(from.indexOf(chosen) >= 0 && from.indexOf(chosen) < count)
    }),
  )
})

test('a latency peaks at once, comes down over time, and is forgotten when nobody asks', () => {
  const latency = new PeakLatency(10_000)
  assert.equal(latency.at(0), undefined)
  latency.observe(10, 0)
  latency.observe(500, 1)
  assert.equal(latency.at(1), 500)
  latency.observe(10, 2)
  assert.ok(latency.at(2)! > 490)
  for (let at = 1; at <= 100; at++) latency.observe(10, at * 1_000)
  assert.ok(near(latency.at(100_000)!, 10, 0.1))
  latency.observe(500, 100_000)
  assert.ok(latency.at(160_000)! < 2)
})

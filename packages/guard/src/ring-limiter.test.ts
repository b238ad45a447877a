import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Budget } from './rate-limiter.ts'
import { type LimitMessage, RingLimiter } from './ring-limiter.ts'

const TICK_MS = 50
const REACH_MS = 400

interface Options {
  readonly nodes: number
  readonly budget: Budget
  /** One way, milliseconds. */
  readonly delayMs?: (from: number, to: number) => number
  /** Whether a message sent at a time arrives. */
  readonly cut?: (from: number, to: number, atMs: number) => boolean
  /** What a node does to the messages it sends. */
  readonly lie?: (from: number, message: LimitMessage) => LimitMessage
}

/** A ring of limiters in simulated time: what is asked of them, and when they let how much through. */
class Ring {
  readonly limiters: readonly RingLimiter[]
  readonly passed: { readonly node: number; readonly key: string; readonly atMs: number }[] = []
  readonly waits: number[] = []
  refused = 0
  /** In order of time; what is before `#next` is done. */
  readonly #queue: { readonly atMs: number; readonly run: () => void }[] = []
  #next = 0
  readonly #options: Options
  nowMs = 0

  constructor(options: Options) {
    this.#options = options
    const ids = Array.from({ length: options.nodes }, (_, at) => `n${at}`)
    this.limiters = ids.map((self) => {
      const limiter = new RingLimiter({ self, budgetOf: () => options.budget })
      limiter.setMembers(ids)
      return limiter
    })
    for (let at = 0; at < options.nodes; at += 1) {
      this.#every(TICK_MS, at * 3, () => this.limiters[at]!.tick(this.nowMs))
      this.#every(REACH_MS, at * 7, () => {
        const message = this.limiters[at]!.reach(this.nowMs)
        for (let to = 0; to < options.nodes; to += 1) if (to !== at) this.#send(at, to, message)
      })
    }
  }

  at(atMs: number, run: () => void): void {
    let low = this.#next
    let high = this.#queue.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#queue[middle]!.atMs <= atMs) low = middle + 1
      else high = middle
    }
    this.#queue.splice(low, 0, { atMs, run })
  }

  #every(ms: number, firstMs: number, run: () => void): void {
    const again = (): void => {
      run()
      this.at(this.nowMs + ms, again)
    }
    this.at(firstMs, again)
  }

  request(node: number, key: string, atMs: number): void {
    this.at(atMs, () => {
      const answer = this.limiters[node]!.take(key, this.#options.budget, this.nowMs)
      const settle = (waitMs: number): void => {
        if (waitMs === 0) this.passed.push({ node, key, atMs: this.nowMs })
        else this.refused += 1
        this.waits.push(this.nowMs - atMs)
      }
      if (typeof answer === 'number') settle(answer)
      else void answer.then(settle)
    })
  }

  #send(from: number, to: number, message: LimitMessage): void {
    const { delayMs = () => 40, cut = () => false, lie = (_, same) => same } = this.#options
    if (cut(from, to, this.nowMs)) return
    const sent = lie(from, message)
    this.at(this.nowMs + delayMs(from, to), () => this.limiters[to]!.receive(`n${from}`, sent, this.nowMs))
  }

  async run(untilMs: number): Promise<this> {
    for (;;) {
      const next = this.#queue[this.#next]
      if (next === undefined || next.atMs > untilMs) break
      this.#next += 1
      this.nowMs = next.atMs
      next.run()
      // What was promised is settled in the same instant.
      await Promise.resolve()
      await Promise.resolve()
      this.limiters.forEach((limiter, from) => {
        for (const [to, messages] of limiter.flush())
          for (const message of messages) this.#send(from, Number(to.slice(1)), message)
      })
    }
    return this
  }

  count(key: string, fromMs: number, toMs: number): number {
    return this.passed.filter((one) => one.key === key && one.atMs >= fromMs && one.atMs < toMs).length
  }
}

/** Three regions: 80, 150 and 250 ms there and back. */
const WAN = (from: number, to: number): number => {
  const [a, b] = [from % 3, to % 3]
  return a === b ? 1 : a + b === 1 ? 40 : a + b === 2 ? 75 : 125
}
const WARM_MS = 2_000

test('seven nodes in three regions, an attacker on all of them: the ring lets through what one node would', async () => {
  const budget = { count: 600, windowMs: 60_000, burst: 600 }
  const ring = new Ring({ nodes: 7, budget, delayMs: WAN })
  // 700 a second over all nodes for ten seconds.
  for (let at = 0; at < 7_000; at += 1) ring.request(at % 7, 'attacker', WARM_MS + Math.floor(at / 7) * 10)
  await ring.run(WARM_MS + 12_000)
  const passed = ring.count('attacker', 0, WARM_MS + 10_000)
  const allowed = 600 + 100
  assert.ok(passed <= allowed * 1.05, `${passed} of ${allowed}`)
  assert.ok(passed >= allowed * 0.9, `${passed} of ${allowed}`)
})

test('small budgets, too: six nodes are tried once another is exhausted', async () => {
  const budget = { count: 5, windowMs: 60_000, burst: 5 }
  const ring = new Ring({ nodes: 7, budget, delayMs: WAN })
  for (let node = 0; node < 7; node += 1)
    for (let at = 0; at < 20; at += 1) ring.request(node, 'login', WARM_MS + node * 1_000 + at * 20)
  await ring.run(WARM_MS + 9_000)
  assert.equal(ring.passed.length, 5)
})

test('whoever stays below the limit is never refused, and hardly ever waits', async () => {
  const budget = { count: 100, windowMs: 1_000, burst: 200 }
  const ring = new Ring({ nodes: 7, budget, delayMs: WAN })
  // Half of the limit, in bursts of ten, moving from node to node every two seconds.
  for (let at = 0; at < 1_000; at += 1) ring.request(Math.floor(at / 100) % 7, 'guest', WARM_MS + Math.floor(at / 10) * 200)
  await ring.run(WARM_MS + 25_000)
  assert.equal(ring.refused, 0)
  assert.equal(ring.passed.length, 1_000)
  const waited = ring.waits.filter((ms) => ms > 0).length
  assert.ok(waited < 250, `${waited} of 1000 waited`)
  assert.ok(Math.max(...ring.waits) <= 2 * 250, String(Math.max(...ring.waits)))
})

test('what was leased and not spent is given back', async () => {
  const budget = { count: 60, windowMs: 60_000, burst: 60 }
  const ring = new Ring({ nodes: 4, budget })
  // A burst on each node asks for much; then all of the rest is taken on one.
  for (let node = 0; node < 4; node += 1) for (let at = 0; at < 5; at += 1) ring.request(node, 'k', WARM_MS + at)
  for (let at = 0; at < 100; at += 1) ring.request(0, 'k', WARM_MS + 5_000 + at * 20)
  await ring.run(WARM_MS + 9_000)
  const passed = ring.passed.length
  assert.ok(passed >= 60 && passed <= 68, String(passed))
})

for (const [name, sides] of [
  ['3 and 4', [0, 0, 0, 1, 1, 1, 1]],
  ['2, 2 and 3', [0, 0, 1, 1, 2, 2, 2]],
  ['one by one', [0, 1, 2, 3, 4, 5, 6]],
] as const) {
  test(`a ring that falls into ${name} gives less than twice the budget, and grows together again`, async () => {
    const budget = { count: 700, windowMs: 70_000, burst: 700 }
    const cut = (from: number, to: number, atMs: number): boolean => atMs >= 10_000 && atMs < 40_000 && sides[from] !== sides[to]
    const ring = new Ring({ nodes: 7, budget, delayMs: WAN, cut })
    for (let at = 0; at < 5_000; at += 1) ring.request(at % 7, 'k', 15_000 + at * 4)
    for (let at = 0; at < 2_000; at += 1) ring.request(at % 7, 'later', 45_000 + at * 2)
    await ring.run(50_000)
    const passed = ring.count('k', 15_000, 35_000)
    assert.ok(passed <= 2 * (700 + 200), String(passed))
    assert.ok(passed > 0)
    const later = ring.count('later', 0, 50_000)
    assert.ok(later <= (700 + 50) * 1.05 && later >= 700, String(later))
  })
}

test('an owner that is lost takes no budget with it: what was spent is told to the next', async () => {
  const budget = { count: 100, windowMs: 100_000, burst: 100 }
  for (let dead = 0; dead < 4; dead += 1) {
    const cut = (from: number, to: number, atMs: number): boolean => atMs >= 8_000 && (from === dead || to === dead)
    const ring = new Ring({ nodes: 4, budget, cut })
    const others = [0, 1, 2, 3].filter((node) => node !== dead)
    for (let at = 0; at < 400; at += 1) ring.request(others[at % 3]!, 'k', 4_000 + at * 5)
    for (let at = 0; at < 400; at += 1) ring.request(others[at % 3]!, 'k', 12_000 + at * 5)
    await ring.run(16_000)
    // 100 at once, and 10 in the ten seconds from the first to the last.
    const passed = ring.passed.length
    assert.ok(passed <= 110 * 1.1 && passed >= 100, `n${dead} lost: ${passed}`)
  }
})

test('a node that lies cannot make another let more through than the whole budget', async () => {
  const budget = { count: 50, windowMs: 50_000, burst: 50 }
  const lie = (from: number, message: LimitMessage): LimitMessage =>
    from === 0 && message.kind === 'grant' ? { ...message, granted: 1_000_000, waitMs: 0 } : message
  const ring = new Ring({ nodes: 4, budget, lie })
  const keys = Array.from({ length: 20 }, (_, at) => `key ${at}`)
  for (const key of keys) for (let at = 0; at < 200; at += 1) ring.request(1, key, WARM_MS + at * 10)
  await ring.run(WARM_MS + 5_000)
  for (const key of keys) assert.ok(ring.count(key, 0, 10_000) <= 53, `${key}: ${ring.count(key, 0, 10_000)}`)
})

test('a liar that asks for everything and claims to have spent everything costs a key its window, no more', async () => {
  const budget = { count: 50, windowMs: 5_000, burst: 50 }
  const lie = (from: number, message: LimitMessage): LimitMessage =>
    from === 0 && message.kind === 'ask' ? { ...message, want: 1e9, spent: 1e9, back: 1e9 } : message
  const ring = new Ring({ nodes: 4, budget, lie })
  ring.request(0, 'k', WARM_MS)
  for (let at = 0; at < 300; at += 1) ring.request(1 + (at % 3), 'k', WARM_MS + 1_000 + at * 100)
  await ring.run(WARM_MS + 32_000)
  // Ten a second are allowed, and from two windows on they are let through.
  assert.ok(
    ring.count('k', WARM_MS + 12_000, WARM_MS + 31_000) >= 170,
    String(ring.count('k', WARM_MS + 12_000, WARM_MS + 31_000)),
  )
})

test('without an answer a request is judged by this node’s own share, after a second at most', async () => {
  const budget = { count: 8, windowMs: 60_000, burst: 8 }
  const ring = new Ring({
    nodes: 4,
    budget,
    lie: (_, message) => (message.kind === 'reach' ? message : { kind: 'stranger', key: '?' }),
  })
  for (let node = 0; node < 4; node += 1) for (let at = 0; at < 10; at += 1) ring.request(node, 'k', WARM_MS + at)
  await ring.run(WARM_MS + 3_000)
  assert.equal(ring.waits.length, 40)
  assert.ok(Math.max(...ring.waits) <= 1_100)
  // The owner counts the whole for itself, the three others two each.
  assert.ok(ring.passed.length <= 8 + 6, String(ring.passed.length))
})

test('a node whose link is down owns nothing any more, at once', async () => {
  const budget = { count: 50, windowMs: 50_000, burst: 50 }
  const ring = new Ring({ nodes: 4, budget, cut: (from, _, atMs) => from === 3 && atMs > WARM_MS })
  const keys = Array.from({ length: 8 }, (_, at) => `key ${at}`)
  ring.at(WARM_MS + 10, () => {
    for (const limiter of ring.limiters.slice(0, 3)) limiter.lost('n3')
  })
  for (const key of keys) for (let at = 0; at < 45; at += 1) ring.request(at % 3, key, WARM_MS + 600 + at)
  await ring.run(WARM_MS + 1_900)
  for (const key of keys) assert.ok(ring.count(key, 0, 10_000) >= 42, `${key}: ${ring.count(key, 0, 10_000)}`)
})

test('a flood of keys stays within bounds, and frees none that is throttled', async () => {
  const budget = { count: 5, windowMs: 3_600_000, burst: 5 }
  const limiter = new RingLimiter({ self: 'n0', entriesMax: 64, budgetOf: () => budget })
  limiter.setMembers(['n0'])
  const take = () => limiter.take('victim', budget, 0)
  while (take() === 0);
  for (let n = 0; n < 10_000; n += 1) limiter.take(`flood ${n}`, budget, n / 1_000)
  assert.ok(limiter.size <= 64)
  assert.notEqual(take(), 0)
})

test('a clock that is set back makes nobody wait for it to catch up', async () => {
  const budget = { count: 5, windowMs: 60_000, burst: 5 }
  const limiter = new RingLimiter({ self: 'n0', budgetOf: () => budget })
  limiter.setMembers(['n0', 'n1'])
  limiter.receive('n1', { kind: 'reach', nodes: ['n0', 'n1'] }, 1_000_000)
  limiter.tick(1_000_000)
  const answers = Array.from({ length: 20 }, (_, at) => limiter.take(`k${at}`, budget, 1_000_000)).filter(
    (one) => typeof one !== 'number',
  )
  assert.ok(answers.length > 0)
  limiter.tick(1_000)
  for (const answer of answers) assert.equal(await answer, 0)
})

test('property: a ring never lets more through than the limit says, whatever the schedule', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(4), fc.nat(300)), { minLength: 1, maxLength: 300 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 150 }),
      async (schedule, count, burst, delay) => {
        const budget = { count, windowMs: 10_000, burst }
        const ring = new Ring({ nodes: 5, budget, delayMs: () => delay })
        let atMs = WARM_MS
        for (const [node, gap] of schedule) {
          atMs += gap < 250 ? 0 : gap
          ring.request(node, 'k', atMs)
        }
        await ring.run(atMs + 3_000)
        assert.equal(ring.waits.length, schedule.length)
        const unasked = Math.floor((burst * 0.05) / 4) * 4
        const allowed = burst + ((ring.nowMs - WARM_MS) * count) / 10_000 + unasked + 1
        assert.ok(ring.passed.length <= allowed, `${ring.passed.length} of ${allowed}`)
      },
    ),
    { numRuns: 60 },
  )
})

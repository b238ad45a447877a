import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FloodMeter } from './flood-meter.ts'
import { type FloodFinding, type FloodLimits, Floods } from './floods.ts'

const LIMITS: FloodLimits = { perSource: 100, denyForMs: 60_000, denyForMaxMs: 3_600_000 }
const TICK_MS = 50

/** Somebody who asks: how often, over how many connections, whether the node refuses nine of ten, by which TLS library. */
interface Asker {
  readonly perSecond: number
  readonly connections?: number
  readonly refused?: boolean
  readonly fingerprint?: string
}

/** A node with one thread, and who asks it. Whoever is named is let in no more. */
class Scene {
  readonly meter = new FloodMeter()
  readonly floods: Floods
  readonly findings: FloodFinding[] = []
  nowMs = 1_000
  readonly #due = new Map<string, number>()
  #asked = 0
  readonly #denied = new Map<string, number>()

  constructor(limits = LIMITS, isSpared?: (source: string) => boolean) {
    this.floods = new Floods({
      limits,
      networkOf: (source) => source.replace(/\.\d+$/, '.0/24'),
      ...(isSpared === undefined ? {} : { isSpared }),
    })
  }

  /** Time goes on. @returns Who was named meanwhile. */
  run(ms: number, askers: ReadonlyMap<string, Asker>, pressed: boolean): readonly string[] {
    const before = this.findings.length
    for (const end = this.nowMs + ms; this.nowMs < end; ) {
      for (const [source, { perSecond, refused = false, fingerprint }] of askers) {
        if ((this.#denied.get(source) ?? 0) > this.nowMs) continue
        const due = (this.#due.get(source) ?? 0) + (perSecond * TICK_MS) / 1_000
        this.#due.set(source, due % 1)
        for (let at = 0; at < Math.floor(due); at += 1) {
          this.meter.asked(source, fingerprint, refused && this.#asked % 10 !== 0, false)
          this.#asked += 1
        }
      }
      this.nowMs += TICK_MS
      const reading = this.meter.look(pressed, this.nowMs, (source) => askers.get(source)?.connections)
      if (reading === undefined) continue
      const found = this.floods.observe(reading, this.nowMs)
      this.findings.push(...found)
      for (const { subject, denyForMs } of found) this.#denied.set(subject.value, this.nowMs + denyForMs)
    }
    return this.findings.slice(before).map(({ subject }) => subject.value)
  }
}

const many = (count: number, asker: Asker, prefix = '203.0.113'): [string, Asker][] =>
  Array.from({ length: count }, (_, at) => [`${prefix}.${at + 1}`, asker])
const FLOOD: Asker = { perSecond: 1_000, connections: 10, refused: true }
const PEOPLE = many(40, { perSecond: 5, connections: 6 }, '192.0.2')

test('sources that ask a hundred times what others do, of a node that cannot, are named within a second or two, and nobody else', () => {
  const scene = new Scene()
  scene.run(5_000, new Map(PEOPLE), false)
  const flood = new Map([...PEOPLE, ...many(20, FLOOD)])
  // Without some eighteen of them the node had time enough: the others ask as much.
  const named = scene.run(800, flood, true)
  assert.deepEqual(scene.run(3_000, flood, true), [])
  assert.deepEqual(
    named.toSorted(),
    many(20, FLOOD)
      .map(([source]) => source)
      .toSorted(),
  )
  for (const { subject, denyForMs, confidence, times, perSecond } of scene.findings) {
    assert.equal(subject.kind, 'source')
    assert.equal(denyForMs, 60_000)
    assert.equal(times, 1)
    assert.ok(confidence > 0.85 && confidence < 1, String(confidence))
    assert.ok(perSecond > 900 && perSecond < 1_100, String(perSecond))
  }
})

test('who asks less than those that are one too many waits until it shows that they were not enough', () => {
  const scene = new Scene()
  scene.run(5_000, new Map(PEOPLE), false)
  const other: [string, Asker] = ['198.51.100.1', { ...FLOOD, perSecond: 700 }]
  const flood = new Map([...PEOPLE, ...many(20, FLOOD), other])
  const named = scene.run(600, flood, true)
  assert.equal(named.length, 20)
  assert.ok(!named.includes(other[0]))
  assert.deepEqual(scene.run(3_000, flood, true), [other[0]])
})

test('a node that bears it names nobody, whatever a crawler asks', () => {
  const scene = new Scene()
  assert.deepEqual(scene.run(30_000, new Map([...PEOPLE, ['198.51.100.9', { perSecond: 5_000, connections: 1 }]]), false), [])
})

test('pressure for less than half a second names nobody', () => {
  const scene = new Scene()
  scene.run(5_000, new Map(PEOPLE), false)
  assert.deepEqual(scene.run(300, new Map([...PEOPLE, ...many(20, FLOOD)]), true), [])
  assert.deepEqual(scene.run(5_000, new Map(PEOPLE), false), [])
})

test('500 people behind one address are not named, refused or not, before a flood or only during it', () => {
  const office: [string, Asker] = ['198.51.100.1', { perSecond: 250, connections: 500, refused: true }]
  for (const isNew of [false, true]) {
    const scene = new Scene()
    scene.run(5_000, new Map(isNew ? PEOPLE : [...PEOPLE, office]), false)
    const named = scene.run(10_000, new Map([...PEOPLE, office, ...many(20, FLOOD)]), true)
    assert.equal(named.length, 20)
    assert.ok(!named.includes(office[0]))
  }
})

test('whoever asks as in calm times is not named, on however few connections', () => {
  const scene = new Scene()
  const gateway: [string, Asker] = ['198.51.100.1', { perSecond: 1_500, connections: 4, refused: true }]
  scene.run(60_000, new Map([...PEOPLE, gateway]), false)
  const named = scene.run(5_000, new Map([...PEOPLE, gateway, ...many(20, FLOOD)]), true)
  assert.equal(named.length, 20)
  assert.ok(!named.includes(gateway[0]))
  assert.ok(scene.run(5_000, new Map([['198.51.100.1', { ...gateway[1], perSecond: 15_000 }]]), true).includes(gateway[0]))
})

test('a crowd, each of whom asks little, is named by nobody: there is nothing to tell it from people', () => {
  const scene = new Scene()
  const crowd = Array.from({ length: 200 }, (_, at): [string, Asker] => [
    `10.${at}.0.1`,
    { perSecond: 20, connections: 4, refused: true },
  ])
  assert.deepEqual(scene.run(10_000, new Map([...PEOPLE, ...crowd]), true), [])
})

test('a network of which many addresses ask together what one would not is named as a whole; its neighbour is not', () => {
  const scene = new Scene()
  scene.run(5_000, new Map(PEOPLE), false)
  const named = scene.run(1_000, new Map([...PEOPLE, ...many(100, { perSecond: 60, connections: 1, refused: true })]), true)
  assert.deepEqual(named, ['203.0.113.0/24'])
  assert.equal(scene.findings[0]?.subject.kind, 'network')
})

test('no more are named than it takes', () => {
  const scene = new Scene()
  const light = many(10, { perSecond: 400, connections: 2 }, '198.51.100')
  const named = scene.run(
    5_000,
    new Map([...PEOPLE, ...light, ['203.0.113.1', { perSecond: 40_000, connections: 2, refused: true }]]),
    true,
  )
  assert.deepEqual(named, ['203.0.113.1'])
})

test('a fingerprint that most of a flood shares and nobody had before is told once a minute', () => {
  const scene = new Scene()
  scene.run(5_000, new Map(PEOPLE), false)
  const bots = Array.from({ length: 500 }, (_, at): [string, Asker] => [
    `10.${at >> 8}.${at & 255}.1`,
    { perSecond: 20, connections: 4, fingerprint: 't13d1516h2_8daaf6152771_b186095e22b6', refused: true },
  ])
  const named = scene.run(5_000, new Map([...PEOPLE, ...bots]), true)
  assert.deepEqual(named, ['t13d1516h2_8daaf6152771_b186095e22b6'])
  assert.equal(scene.findings[0]?.subject.kind, 'fingerprint')
})

test('each time within the hour it is for four times as long, up to the bound; an hour later it begins anew', () => {
  const scene = new Scene()
  const flood = new Map([...PEOPLE, ...many(1, FLOOD)])
  const times: [number, number][] = []
  const once = (): void => {
    scene.run(1_000, flood, true)
    const { denyForMs, times: count } = scene.findings.at(-1) as FloodFinding
    times.push([count, denyForMs])
    scene.run(2_000, new Map(PEOPLE), false)
    scene.nowMs += denyForMs
  }
  for (let at = 0; at < 5; at += 1) once()
  assert.deepEqual(times, [
    [1, 60_000],
    [2, 240_000],
    [3, 960_000],
    [4, 3_600_000],
    [5, 3_600_000],
  ])
  scene.nowMs += 3_700_000
  once()
  assert.deepEqual(times.at(-1), [1, 60_000])
})

test('a denied source that goes on connecting is named wherever it does so, at no pressure; one that tries a few times is not', () => {
  const knock = (perTick: number): readonly FloodFinding[] => {
    const scene = new Scene()
    const findings: FloodFinding[] = []
    for (let tick = 0; tick < 80; tick += 1) {
      for (let at = 0; at < perTick; at += 1) scene.meter.knocked('203.0.113.7')
      const reading = scene.meter.look(false, (scene.nowMs += TICK_MS), () => undefined)
      if (reading !== undefined) findings.push(...scene.floods.observe(reading, scene.nowMs))
    }
    return findings
  }
  assert.deepEqual(knock(1), [])
  const [finding, ...more] = knock(10)
  assert.deepEqual(more, [])
  assert.equal(finding?.subject.value, '203.0.113.7')
  assert.match(finding?.reason ?? '', /connections a second though it is denied/)
})

test('who is spared is not named, and what it asks is laid on nobody else', () => {
  const scene = new Scene(LIMITS, (source) => source === '203.0.113.1')
  const light = many(3, { perSecond: 150, connections: 1, refused: true }, '198.51.100')
  const named = scene.run(3_000, new Map([...PEOPLE, ...light, ['203.0.113.1', { perSecond: 20_000, refused: true }]]), true)
  assert.deepEqual(named, [])
})

test('property: nobody is named who asks less than the limit, is not refused, or asks less than five times a second a connection', () => {
  const asker = fc.record({
    perSecond: fc.integer({ min: 1, max: 3_000 }),
    connections: fc.integer({ min: 1, max: 600 }),
    refused: fc.boolean(),
  })
  fc.assert(
    fc.property(fc.array(asker, { minLength: 1, maxLength: 30 }), fc.boolean(), (list, isCalmFirst) => {
      const scene = new Scene()
      if (isCalmFirst) scene.run(3_000, new Map(PEOPLE), false)
      const askers = new Map(list.map((one, at): [string, Asker] => [`10.0.${at}.1`, one]))
      for (const source of scene.run(3_000, new Map([...PEOPLE, ...askers]), true)) {
        const one = askers.get(source)
        assert.ok(one?.refused === true, source)
        // But for what falls on either side of a reading.
        assert.ok(
          one.perSecond >= 0.8 * LIMITS.perSource && one.perSecond >= 0.8 * 5 * (one.connections ?? 0),
          JSON.stringify(one),
        )
      }
    }),
    { numRuns: 60 },
  )
})

test('memory is bounded, whoever asks: a new source for every request', () => {
  const scene = new Scene()
  for (let at = 0; at < 200; at += 1) {
    for (let each = 0; each < 2_000; each += 1) scene.meter.asked(`${at}-${each}`, `ja4-${at}-${each}`, true, true)
    for (let each = 0; each < 2_000; each += 1) scene.meter.knocked(`${at}-${each}`)
    const reading = scene.meter.look(true, (scene.nowMs += TICK_MS), () => 1)
    if (reading === undefined) continue
    assert.ok(reading.sources.length <= 1_024 && reading.knocks.length <= 1_024 && reading.fingerprints.length <= 256)
    scene.floods.observe(reading, scene.nowMs)
  }
})

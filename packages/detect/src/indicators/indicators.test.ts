import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  alternativesOf,
  type IndicatorDefaults,
  IndicatorFileInvalid,
  IndicatorList,
  readMispEvent,
  readStixBundle,
} from './indicator-files.ts'
import { type Indicator, IndicatorBuilder, type IndicatorPrefix, IndicatorSet } from './indicator-set.ts'

const T0 = 1_800_000_000_000
const NEVER = Number.POSITIVE_INFINITY

/** Enough of IPv4 for tests; the real one is of a package above. */
function readPrefix(text: string): IndicatorPrefix | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\/(\d{1,2}))?$/.exec(text)
  if (match === null) return undefined
  const length = Number(match[5] ?? 32)
  const word = match.slice(1, 5).reduce((sum, octet) => sum * 256 + Number(octet), 0)
  if (length > 32 || match.slice(1, 5).some((octet) => Number(octet) > 255)) return undefined
  return { version: 4, words: [length === 0 ? 0 : (word & (0xffffffff << (32 - length))) >>> 0], length }
}

const DEFAULTS: IndicatorDefaults = { confidence: 50, ttlMs: NEVER, nowMs: T0, readPrefix }
const make = (indicatorsMax = 1_000, seed = 7): IndicatorBuilder => new IndicatorBuilder({ seed, indicatorsMax, nowMs: T0 })
const about = (text: string, more: Partial<Indicator> = {}): Indicator => ({
  prefix: readPrefix(text)!,
  confidence: 50,
  expiresAtMs: NEVER,
  label: '',
  ...more,
})
const words = (text: string): ArrayLike<number> => readPrefix(text)!.words

function taken(read: (sink: { add(one: Indicator): void; leaveOut(kind: string): void }) => void) {
  const [added, left]: [Indicator[], string[]] = [[], []]
  read({ add: (one) => added.push(one), leaveOut: (kind) => left.push(kind) })
  return { added, left }
}
const shown = ({ prefix, confidence, label }: Indicator): string =>
  `${prefix.words[0]!.toString(16)}/${prefix.length} ${confidence} ${label}`

test('the most specific indicator in force that is sure enough matches', () => {
  const builder = make()
  for (const one of [
    about('10.0.0.0/8', { confidence: 90, label: 'wide' }),
    about('10.1.0.0/16', { confidence: 20, label: 'unsure' }),
    about('10.1.2.3', { expiresAtMs: T0 + 60_000, label: 'host' }),
  ])
    builder.add(one)
  const set = builder.build()
  const label = (text: string, confidenceMin = 0, nowMs = T0): string | undefined =>
    set.match(4, words(text), confidenceMin, nowMs)?.label
  assert.equal(label('10.1.2.3'), 'host')
  assert.equal(label('10.1.2.3', 0, T0 + 60_000), 'unsure')
  assert.equal(label('10.1.2.3', 60), 'wide')
  assert.equal(label('11.1.2.3'), undefined)
  assert.equal(set.match(6, [0, 0, 0, 0x0a010203], 0, T0), undefined, 'IPv6 is another family')
})

test('of several about one prefix the surest stays, then the one that lasts longest; what is over is not taken', () => {
  const builder = make()
  builder.add(about('10.0.0.1', { confidence: 30, label: 'a' }))
  builder.add(about('10.0.0.1', { confidence: 80, label: 'b', expiresAtMs: T0 + 5_000 }))
  builder.add(about('10.0.0.1', { confidence: 80, label: 'c', expiresAtMs: T0 + 9_000 }))
  builder.add(about('10.0.0.1', { confidence: 10, label: 'd' }))
  builder.add(about('10.0.0.2', { expiresAtMs: T0 }))
  const match = builder.build().match(4, words('10.0.0.1'), 0, T0)
  assert.deepEqual(match, { confidence: 80, expiresAtMs: T0 + 9_000, label: 'c', length: 32 })
  assert.deepEqual([builder.size, builder.counts], [1, { full: 0, expired: 1, repeated: 3 }])
})

test('a set has a bound, and says what it did not take', () => {
  const builder = make(10)
  for (let at = 0; at < 15; at += 1) builder.add(about(`10.0.0.${at}`))
  assert.deepEqual([builder.size, builder.counts.full, builder.build().size], [10, 5, 10])
})

test('its parts may lie in memory that threads share', () => {
  const builder = new IndicatorBuilder({
    seed: 1,
    indicatorsMax: 10,
    nowMs: T0,
    allocate: (bytes) => new SharedArrayBuffer(bytes),
  })
  builder.add(about('10.0.0.0/24'))
  const { parts } = builder.build()
  assert.ok(parts.tables[0]!.keys.buffer instanceof SharedArrayBuffer)
  assert.equal(new IndicatorSet(structuredClone(parts)).match(4, words('10.0.0.9'), 0, T0)?.length, 24)
})

test('property: a set answers as looking through the whole list does, whatever its seed', () => {
  const prefix = fc.record({
    word: fc.nat({ max: 63 }).map((low) => (0x0a000000 + low * 0x01010101) >>> 0),
    length: fc.nat({ max: 32 }),
  })
  fc.assert(
    fc.property(
      fc.array(prefix, { maxLength: 60 }),
      fc.nat(),
      fc.array(fc.nat({ max: 63 }), { maxLength: 30 }),
      (list, seed, asked) => {
        const builder = make(1_000, seed)
        const prefixes = list.map(({ word, length }) => ({
          version: 4 as const,
          words: [length === 0 ? 0 : (word & (0xffffffff << (32 - length))) >>> 0],
          length,
        }))
        for (const one of prefixes) builder.add({ prefix: one, confidence: 50, expiresAtMs: NEVER, label: '' })
        const set = builder.build()
        for (const low of asked) {
          const word = (0x0a000000 + low * 0x01010101) >>> 0
          const holding = prefixes.filter(
            ({ words: [of], length }) => length === 0 || of === (word & (0xffffffff << (32 - length))) >>> 0,
          )
          const longest = holding.length === 0 ? undefined : Math.max(...holding.map(({ length }) => length))
          assert.equal(set.match(4, [word], 0, T0)?.length, longest)
        }
      },
    ),
  )
})

test('lists: one a line or a first field, comments name what is before them, in pieces cut anywhere', () => {
  const text = '# a list\n192.0.2.1\n\n192.0.2.0/24 ; SBL123\r\n"198.51.100.7",443,online\nexample.com\n203.0.113.9 # scanner'
  const whole = taken((sink) => {
    const list = new IndicatorList(DEFAULTS, sink)
    list.write(text)
    list.end()
  })
  assert.deepEqual(whole.added.map(shown), [
    'c0000201/32 50 ',
    'c0000200/24 50 SBL123',
    'c6336407/32 50 ',
    'cb007109/32 50 scanner',
  ])
  assert.deepEqual(whole.left, ['line'])
  fc.assert(
    fc.property(fc.array(fc.nat({ max: text.length })), (cuts) => {
      const pieces = taken((sink) => {
        const list = new IndicatorList(DEFAULTS, sink)
        let from = 0
        for (const cut of cuts.toSorted((a, b) => a - b)) {
          list.write(text.slice(from, cut))
          from = cut
        }
        list.write(text.slice(from))
        list.end()
      })
      assert.deepEqual(pieces, whole)
    }),
  )
})

test('what is no list is refused by its line, before much of it is held', () => {
  const read = (text: string) => taken((sink) => new IndicatorList(DEFAULTS, sink).write(text))
  assert.throws(() => read('x'.repeat(2_000)), /line 1: expected lines of at most/)
  assert.throws(() => read('<html>\n'.repeat(200)), /line 101: expected a list of addresses/)
})

const indicator = (pattern: string, more: object = {}) => ({
  type: 'indicator',
  spec_version: '2.1',
  id: 'indicator--a932fcc6-e032-476c-826f-cb970a5a1ade',
  name: 'C2',
  pattern,
  pattern_type: 'stix',
  valid_from: '2020-01-01T00:00:00Z',
  ...more,
})
const bundle = (...objects: readonly object[]): string => JSON.stringify({ type: 'bundle', id: 'bundle--1', objects })
const stix = (text: string) => taken((sink) => readStixBundle(text, DEFAULTS, sink))

test('STIX: patterns that one address decides are taken in, with confidence and end; all else is listed', () => {
  const { added, left } = stix(
    bundle(
      { type: 'malware', name: 'x' },
      indicator("[ipv4-addr:value = '192.0.2.1']", { confidence: 85 }),
      indicator(
        "[ipv4-addr:value = '192.0.2.2' OR ipv4-addr:value ISSUBSET '198.51.100.0/24'] OR [ipv4-addr:value IN ('192.0.2.3', '192.0.2.4')]",
      ),
      indicator("[network-traffic:src_ref.value = '192.0.2.5']", { valid_until: '2100-01-01T00:00:00Z' }),
      indicator("[domain-name:value = 'evil.example']"),
      indicator("[url:value = 'https://evil.example/it\\'s']"),
      indicator("[file:hashes.'SHA-256' = 'aec0']"),
      indicator("[ipv4-addr:value = '192.0.2.6' AND domain-name:value = 'x']"),
      indicator("[ipv4-addr:value = '192.0.2.7'] FOLLOWEDBY [ipv4-addr:value = '192.0.2.8']"),
      indicator("[ipv4-addr:value = '192.0.2.9']", { revoked: true }),
      indicator('alert ip any', { pattern_type: 'snort' }),
      indicator("[ipv4-addr:value = '192.0.2.10']", { valid_from: '2100-01-01T00:00:00Z' }),
    ),
  )
  assert.deepEqual(added.map(shown), [
    'c0000201/32 85 C2',
    'c0000202/32 50 C2',
    'c6336400/24 50 C2',
    'c0000203/32 50 C2',
    'c0000204/32 50 C2',
    'c0000205/32 50 C2',
  ])
  assert.equal(added.at(-1)?.expiresAtMs, Date.parse('2100-01-01T00:00:00Z'))
  const undecided = 'pattern that no single observation decides'
  assert.deepEqual(left, [
    'malware',
    'domain-name',
    'url',
    'file',
    undecided,
    undecided,
    'revoked',
    'other pattern language',
    'not valid yet',
  ])
})

test('patterns: what is not read whole is not read at all', () => {
  for (const text of [
    '',
    '[',
    "[a:b = 'c'",
    "[a:b = 'c'] x",
    "[a:b != 'c']",
    "[a:b LIKE '%']",
    "[NOT a:b = 'c']",
    "[a:b = 'c'] OR",
    '[a:b IN ()]',
    "[a:b = 'c'] REPEATS 5 TIMES",
  ])
    assert.equal(alternativesOf(text), undefined, text)
  assert.deepEqual(alternativesOf("[a:b='it\\'s']"), [{ path: 'a:b', value: "it's" }])
})

test('what is no bundle and no event is refused with a pointer to what is wrong', () => {
  const misp = (text: string) => taken((sink) => readMispEvent(text, DEFAULTS, sink))
  const table: readonly (readonly [() => unknown, string])[] = [
    [() => stix('{'), ''],
    [() => stix('[]'), ''],
    [() => stix('{"type":"report"}'), '/type'],
    [() => stix('{"type":"bundle","objects":{}}'), '/objects'],
    [() => stix(bundle(indicator('x'), indicator('x', { pattern: 7 }))), '/objects/1/pattern'],
    [() => stix(bundle(indicator('x', { confidence: 101 }))), '/objects/0/confidence'],
    [() => stix(bundle(indicator('x', { valid_until: 'soon' }))), '/objects/0/valid_until'],
    [() => misp('{}'), '/Event'],
    [() => misp('{"Event":{"Attribute":[{"type":"ip-src","to_ids":true}]}}'), '/Event/Attribute/0/value'],
    [() => misp('{"Event":{"Object":[{"Attribute":[7]}]}}'), '/Event/Object/0/Attribute/0'],
  ]
  for (const [read, at] of table) assert.throws(read, (error) => error instanceof IndicatorFileInvalid && error.at === at)
})

test('MISP: addresses for detection, of objects too, named by their event', () => {
  const attribute = (type: string, value: string, toIds: unknown = true) => ({ type, value, to_ids: toIds, uuid: 'u' })
  const event = {
    info: 'Campaign',
    Attribute: [attribute('ip-dst', '192.0.2.1'), attribute('domain', 'evil.example'), attribute('ip-src', '192.0.2.2', false)],
    Object: [{ name: 'ip-port', Attribute: [attribute('ip-src|port', '192.0.2.3|443')] }],
  }
  const { added, left } = taken((sink) => readMispEvent(JSON.stringify({ Event: event }), DEFAULTS, sink))
  assert.deepEqual(added.map(shown), ['c0000201/32 50 Campaign', 'c0000203/32 50 Campaign'])
  assert.deepEqual(left, ['domain', 'not to_ids'])
})

test('property: whatever a file holds, it is read or refused as no such file', () => {
  const value = fc.oneof(
    fc.json(),
    fc.string(),
    fc.anything().map((objects) => JSON.stringify({ type: 'bundle', objects }) ?? ''),
  )
  const pattern = fc.string({ unit: fc.constantFrom('[', ']', '(', ')', ',', "'", '=', 'a:b', ' OR ', ' IN ', '\\', ' ') })
  fc.assert(
    fc.property(value, pattern, (text, words) => {
      for (const file of [text, bundle(indicator(words))]) {
        for (const read of [readStixBundle, readMispEvent]) {
          try {
            taken((sink) => read(file, DEFAULTS, sink))
          } catch (error) {
            assert.ok(error instanceof IndicatorFileInvalid, String(error))
          }
        }
      }
    }),
  )
})

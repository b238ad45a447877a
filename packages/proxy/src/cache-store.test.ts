import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { directivesOf, parseDate, secondsIn } from './cache-control.ts'
import { CacheStore, type Stored, sizeOf } from './cache-store.ts'

const terms = {
  lifetimeMs: 1,
  initialAgeMs: 0,
  vary: [],
  noCache: false,
  mustRevalidate: false,
  maxStaleHolds: true,
  forAuthorized: true,
  forCookies: true,
  staleWhileRevalidateMs: 0,
  staleIfErrorMs: 0,
}

function stored(key: string, bytes: number, variant = ''): Stored {
  const body = Buffer.alloc(bytes)
  return {
    key,
    place: 'p',
    variant,
    status: 200,
    statusText: '',
    fields: [],
    body,
    terms,
    atMs: 0,
    extraBytes: 0,
    readers: 0,
    state: 'once',
  }
}

test('property: whatever is added, asked for, changed, held and dropped, its bytes are those that are there or being sent', () => {
  const step = fc.record({
    what: fc.constantFrom('add', 'touch', 'drop', 'hold', 'release', 'grow', 'all', 'reserve', 'unreserve'),
    key: fc.integer({ min: 0, max: 6 }),
    bytes: fc.integer({ min: 0, max: 12_000 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      const store = new CacheStore(40_000)
      const held: Stored[] = []
      let reserved = 0
      for (const { what, key, bytes } of steps) {
        const name = `k${key}`
        const found = store.of(name).at(-1)
        if (what === 'add') store.add(stored(name, bytes, String(bytes % 3)))
        else if (what === 'all') store.dropAll(name)
        else if (what === 'reserve') reserved += store.reserve(bytes) ? bytes : 0
        else if (what === 'unreserve') {
          store.unreserve(reserved)
          reserved = 0
        } else if (what === 'release') {
          const one = held.pop()
          if (one !== undefined) store.release(one)
        } else if (found !== undefined) {
          if (what === 'touch') store.touch(found)
          else if (what === 'drop') store.drop(found)
          else if (what === 'grow') store.change(found, { extraBytes: bytes, fields: ['a', 'b'.repeat(bytes % 100)] })
          else {
            store.hold(found)
            held.push(found)
          }
        }
        const there = new Set([...Array.from({ length: 7 }, (_, at) => store.of(`k${at}`)).flat(), ...held])
        let sum = reserved
        for (const one of there) sum += sizeOf(one)
        assert.equal(store.bytes, sum)
        assert.ok(store.bytes <= store.bytesMax)
        assert.equal(store.entries, [...there].filter(({ state }) => state !== 'gone').length)
      }
    }),
    { numRuns: 300 },
  )
})

test('what was asked for twice outlives any number of what is asked for once', () => {
  const store = new CacheStore(100_000)
  for (let at = 0; at < 5; at++) {
    store.add(stored(`hot${at}`, 10_000))
    store.touch(store.of(`hot${at}`)[0]!)
  }
  for (let at = 0; at < 1_000; at++) store.add(stored(`scan${at}`, 10_000))
  for (let at = 0; at < 5; at++) assert.equal(store.of(`hot${at}`).length, 1)
})

test('what can never fit drives out nothing', () => {
  const store = new CacheStore(100_000)
  store.add(stored('a', 10_000))
  assert.equal(store.add(stored('b', 60_000)), false)
  assert.equal(store.of('a').length, 1)
})

test('property: no text breaks the reading of directives, and what is not plain is never kept longer', () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(1_000), (noise, seconds) => {
      assert.ok((secondsIn(directivesOf([`max-age=${seconds}`, `max-age=${noise}`]), 'max-age') ?? 0) <= seconds)
      assert.ok(directivesOf(['no-store', noise]).has('no-store'))
    }),
  )
})

test('dates in each of the three forms, and nothing else', () => {
  const ms = 784_111_777_000
  for (const text of ['Sun, 06 Nov 1994 08:49:37 GMT', 'Sunday, 06-Nov-94 08:49:37 GMT', 'Sun Nov  6 08:49:37 1994'])
    assert.equal(parseDate(text), ms, text)
  for (const text of [
    '',
    '0',
    'Sun, 06 Nov 1994',
    '1994-11-06',
    'Sun, 99 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08:49:37 CET',
  ])
    assert.equal(parseDate(text), undefined, text)
})

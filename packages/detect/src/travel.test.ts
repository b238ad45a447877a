import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { SignalPlace } from './signal.ts'
import { distanceKm, impossibleTravel, Travels } from './travel.ts'

const HOUR = 3_600_000
const T0 = Date.UTC(2_026, 5, 1)
const at = (latitude: number, longitude: number, asn = 0, radiusKm = 50): SignalPlace => ({ latitude, longitude, radiusKm, asn })
const BERLIN = at(52.5, 13.4, 3_320)
const SYDNEY = at(-33.9, 151.2, 1_221)
const LONDON = at(51.5, -0.1, 2_856)
const PARIS = at(48.9, 2.4, 3_215)

const login = (place: SignalPlace, atMs = T0) => ({ account: 'a', atMs, place })

test('distances are those of the globe, whichever way they are asked', () => {
  assert.ok(Math.abs(distanceKm(BERLIN, SYDNEY) - 16_090) < 50)
  assert.ok(Math.abs(distanceKm(at(0, 179.9), at(0, -179.9)) - 22) < 1, 'over the date line')
  const place = fc.record({
    latitude: fc.double({ min: -90, max: 90, noNaN: true }),
    longitude: fc.double({ min: -180, max: 180, noNaN: true }),
    radiusKm: fc.constant(0),
    asn: fc.constant(0),
  })
  fc.assert(
    fc.property(place, place, (a, b) => {
      const km = distanceKm(a, b)
      assert.ok(km >= 0 && km <= 20_016 && Math.abs(km - distanceKm(b, a)) < 1e-6)
    }),
  )
})

test('impossible: Berlin, and an hour later Sydney, in either order of the news', () => {
  const travel = impossibleTravel(login(BERLIN), SYDNEY, T0 + HOUR)!
  assert.ok(travel.km > 15_900 && travel.ms === HOUR)
  assert.ok(impossibleTravel(login(SYDNEY, T0 + HOUR), BERLIN, T0) !== undefined)
})

test('possible: a flight, a near place, a wide place, one carrier, the day after', () => {
  assert.equal(impossibleTravel(login(BERLIN), SYDNEY, T0 + 17 * HOUR), undefined, 'a flight')
  assert.equal(impossibleTravel(login(LONDON), PARIS, T0 + 60_000), undefined, 'databases are off by as much')
  assert.equal(impossibleTravel(login(BERLIN), at(40.7, -74, 0, 6_500), T0 + 60_000), undefined, 'somewhere in America')
  assert.equal(impossibleTravel(login(BERLIN), { ...SYDNEY, asn: BERLIN.asn }, T0 + HOUR), undefined, 'roaming, or one VPN')
  assert.equal(impossibleTravel(login(BERLIN), SYDNEY, T0 + 25 * HOUR), undefined)
})

test('memory is bounded, keeps the later, tells each login once, and believes nobody who knows the future', () => {
  const travels = new Travels(10)
  for (let number = 0; number < 50; number += 1) travels.add({ account: `a${number}`, atMs: T0 + number, place: BERLIN })
  assert.equal(travels.size, 10)
  assert.equal(travels.look('a0', SYDNEY, T0 + HOUR), undefined, 'forgotten')
  assert.ok(travels.look('a49', SYDNEY, T0 + HOUR) !== undefined)
  assert.equal(travels.news().length, 50)
  assert.equal(travels.news().length, 0)
  travels.merge([{ account: 'a49', atMs: T0 - HOUR, place: SYDNEY }], T0)
  assert.ok(travels.look('a49', SYDNEY, T0 + HOUR) !== undefined, 'what was before does not count')
  travels.merge([{ account: 'a49', atMs: T0 + 2 * HOUR, place: SYDNEY }], T0)
  assert.ok(travels.look('a49', SYDNEY, T0 + HOUR) !== undefined, 'nor what is to come')
  travels.merge([{ account: 'a49', atMs: T0 + 60, place: SYDNEY }], T0 + HOUR)
  assert.ok(travels.look('a49', BERLIN, T0 + HOUR) !== undefined)
})

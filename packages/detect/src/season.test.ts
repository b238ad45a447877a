import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Season } from './season.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR
/** A Monday, at midnight. */
const T0 = Date.UTC(2_026, 5, 1)

test('what is usual is by the hour: the most of it and those beside it; weekends begin as weekdays are', () => {
  const season = new Season()
  assert.equal(season.usual(T0), undefined)
  for (let hour = 0; hour < 3 * 24; hour += 1) {
    for (let at = 0; at < 4; at += 1)
      season.learn(hour % 24 === 12 ? 100 : 10, T0 + hour * HOUR, Number.POSITIVE_INFINITY, HOUR / 4)
  }
  assert.equal(season.usual(T0 + 4 * DAY + 8 * HOUR), 10)
  assert.equal(season.usual(T0 + 4 * DAY + 11 * HOUR), 100)
  assert.equal(season.usual(T0 + 5 * DAY + 12 * HOUR), 100, 'a Saturday')
  season.learn(2_000, T0 + 5 * DAY + 8 * HOUR, 40, HOUR / 4)
  assert.ok(season.usual(T0 + 5 * DAY + 8 * HOUR)! < 25, 'what is too much is learned as the limit')
})

test('it follows what changes: after two weeks another level is what is usual', () => {
  const season = new Season()
  for (let day = 0; day < 28; day += 1) {
    for (let hour = 0; hour < 24; hour += 1) {
      for (let at = 0; at < 6; at += 1)
        season.learn(day < 14 ? 10 : 30, T0 + day * DAY + hour * HOUR, Number.POSITIVE_INFINITY, HOUR / 6)
    }
  }
  assert.ok(season.usual(T0 + 29 * DAY)! > 27)
})

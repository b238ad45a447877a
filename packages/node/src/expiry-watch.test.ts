import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Credential, ExpiryWatch } from './expiry-watch.ts'

const DAY_MS = 86_400_000
const END = 1_800_000_000_000

test('what is about to end is told of 14, 3 and 1 days before, and when it has, once each', () => {
  const told: string[] = []
  let all: readonly Credential[] = [{ what: 'the certificate of shop', notAfterMs: END, fix: 'renew it' }]
  const watch = new ExpiryWatch(() => all, { add: (_kind, level, what) => void told.push(`${level}: ${what}`) })
  for (const days of [30, 14.01, 14, 13, 3, 2.9, 1, 0.5, 0, -1]) watch.look(END - days * DAY_MS)
  assert.deepEqual(told, [
    'warn: the certificate of shop ends at 2027-01-15 08:00Z, in less than 14 days: renew it',
    'bad: the certificate of shop ends at 2027-01-15 08:00Z, in less than 3 days: renew it',
    'bad: the certificate of shop ends at 2027-01-15 08:00Z, in less than 1 day: renew it',
    'bad: the certificate of shop ended at 2027-01-15 08:00Z: renew it',
  ])
  all = [{ what: 'the certificate of shop', notAfterMs: END + 90 * DAY_MS, fix: 'renew it' }]
  watch.look(END)
  watch.look(END + 80 * DAY_MS)
  assert.equal(told.length, 5, 'one that was renewed is another one')
})

test('of what lives for a week nobody is told before its last half', () => {
  const told: string[] = []
  const watch = new ExpiryWatch(
    () => [{ what: 'the age of this node', notAfterMs: END, lifeMs: 7 * DAY_MS, fix: 'set it up anew' }],
    {
      add: (_kind, level, what) => void told.push(`${level}: ${what}`),
    },
  )
  for (const days of [7, 4, 2, 0]) watch.look(END - days * DAY_MS)
  assert.deepEqual(
    told.map((line) => line.replace(/ at .*Z/, '')),
    ['bad: the age of this node ends, in less than 3 days: set it up anew', 'bad: the age of this node ended: set it up anew'],
  )
})

test('a node that starts late tells of the nearest stage alone', () => {
  const told: string[] = []
  const watch = new ExpiryWatch(() => [{ what: 'a voucher', notAfterMs: END, fix: 'ask' }], {
    add: (_kind, _level, what) => void told.push(what),
  })
  watch.look(END - DAY_MS / 2)
  watch.look(END - DAY_MS / 3)
  assert.deepEqual(told, ['a voucher ends at 2027-01-15 08:00Z, in less than 1 day: ask'])
})

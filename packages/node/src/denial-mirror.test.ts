import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Denial, DenialTable } from '@ringwall/ring'
import fc from 'fast-check'
import { DenialMirror } from './denial-mirror.ts'

const denial = (at: number, expiresAtMs: number): Denial => ({
  id: `d${at}`,
  subject: { kind: 'ip', value: `10.0.0.${at}` },
  reason: 'test',
  issuer: 'operator:a',
  issuedAtMs: 1,
  expiresAtMs,
  height: 1,
})

test('property: who follows the news knows the list', () => {
  const list = fc.uniqueArray(fc.tuple(fc.nat(20), fc.integer({ min: 10, max: 12 })), { selector: ([at]) => at })
  fc.assert(
    fc.property(fc.array(list, { maxLength: 12 }), (lists) => {
      const mirror = new DenialMirror()
      // Denials are the same objects until they change, as those of a table are.
      const known = new Map<string, Denial>()
      let table = DenialTable.empty
      for (const entries of lists) {
        const now = entries.map(([at, expiresAtMs]) => {
          const key = `${at} ${expiresAtMs}`
          const same = known.get(key) ?? denial(at, expiresAtMs)
          known.set(key, same)
          return same
        })
        const news = mirror.follow(now)
        for (const { id, subject } of news?.dropped ?? []) table = table.without(subject, id)
        for (const added of news?.added ?? []) table = table.with(added)
        const byId = (all: readonly Denial[]): Denial[] => [...all].sort((a, b) => (a.id < b.id ? -1 : 1))
        assert.deepEqual(byId(table.list(5)), byId(now))
        assert.deepEqual(byId(mirror.all), byId(now))
        assert.equal(mirror.follow(now), undefined)
      }
    }),
  )
})

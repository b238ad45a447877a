import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatPrefix, type Prefix, parseAddress, parsePrefix, parsePrefixLoosely, prefixContains } from './address.ts'
import { createDenialIndex, DenialTable } from './denial-index.ts'
import { HashTrie } from './hash-trie.ts'
import { MerkleTrie } from './merkle-trie.ts'
import { subjectId } from './tx.ts'
import type { Denial, DenialSubject } from './types.ts'

const NOW = 1_000
function denial(subject: DenialSubject, expiresAtMs = NOW + 1): Denial {
  return { id: subjectId(subject), subject, reason: 'test', issuer: 'operator:ada', issuedAtMs: 1, expiresAtMs, height: 1 }
}
const ip = (value: string, expiresAtMs?: number) => denial({ kind: 'ip', value }, expiresAtMs)
const cidr = (value: string, expiresAtMs?: number) => denial({ kind: 'cidr', value }, expiresAtMs)

test('the most specific denial answers, and a wider one when that is over', () => {
  const index = createDenialIndex([cidr('10.0.0.0/8'), cidr('10.1.0.0/16'), ip('10.1.2.3', NOW)])
  assert.equal(index.matchAddress('10.1.2.3', NOW - 1)?.subject.value, '10.1.2.3')
  assert.equal(index.matchAddress('10.1.2.3', NOW)?.subject.value, '10.1.0.0/16')
  assert.equal(index.matchAddress('10.2.0.1', NOW)?.subject.value, '10.0.0.0/8')
  assert.equal(index.matchAddress('11.0.0.1', NOW), undefined)
})

test('a denied source does not come in under another spelling', () => {
  const index = createDenialIndex([ip('203.0.113.7'), ip('2001:db8::1')])
  for (const text of ['203.0.113.7', '::ffff:203.0.113.7', '::FFFF:CB00:7107', '2001:DB8:0::0:1', '2001:0db8::0001%eth0']) {
    assert.ok(index.matchAddress(text, NOW), text)
  }
  assert.equal(index.matchAddress('not an address', NOW), undefined)
})

test('tokens, subjects and accounts of the same text are kept apart', () => {
  const index = createDenialIndex([
    denial({ kind: 'token', value: 'x' }),
    denial({ kind: 'account', service: 'shop', value: 'x' }),
  ])
  assert.ok(index.matchToken('x', NOW))
  assert.equal(index.matchSubject('x', NOW), undefined)
  assert.ok(index.matchAccount('shop', 'x', NOW))
  assert.equal(index.matchAccount('blog', 'x', NOW), undefined)
  assert.equal(index.matchToken('x', NOW + 1), undefined)
})

test('an older index does not change when a newer one is made from it', () => {
  const older = createDenialIndex([ip('10.0.0.1')])
  const newer = older.with(ip('10.0.0.2')).without({ kind: 'ip', value: '10.0.0.1' })
  assert.deepEqual([older.size, newer.size], [1, 1])
  assert.ok(older.matchAddress('10.0.0.1', NOW))
  assert.equal(newer.matchAddress('10.0.0.1', NOW), undefined)
})

const prefixes = fc
  .tuple(fc.oneof(fc.ipV4(), fc.ipV6()), fc.nat(128))
  .map(([base, bits]) => parsePrefixLoosely(`${base}/${base.includes(':') ? bits : bits % 33}`))
  .filter((prefix) => prefix !== undefined)

test('property: lookups agree with a search through all prefixes', () => {
  fc.assert(
    fc.property(fc.array(prefixes, { maxLength: 30 }), fc.array(fc.oneof(fc.ipV4(), fc.ipV6())), (list, others) => {
      const index = createDenialIndex(list.map((prefix) => cidr(formatPrefix(prefix))))
      const inside = list.map((prefix) => formatPrefix(prefix).split('/')[0]!)
      for (const text of [...inside, ...others]) {
        const address = parseAddress(text)!
        let best: Prefix | undefined
        for (const prefix of list) {
          if (prefixContains(prefix, address) && (best === undefined || prefix.length > best.length)) best = prefix
        }
        const found = index.matchAddress(text, NOW)
        assert.deepEqual(found && parsePrefix(found.subject.value), best)
      }
    }),
  )
})

test('property: after any changes the index lists what a plain map holds', () => {
  const step = fc.tuple(fc.boolean(), fc.nat(40))
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const plain = new Map<string, Denial>()
      let table = DenialTable.empty
      for (const [add, number] of steps) {
        const entry = number % 2 === 0 ? ip(`10.0.0.${number}`) : denial({ kind: 'token', value: String(number) })
        table = add ? table.with(entry) : table.without(entry.subject)
        if (add) plain.set(entry.id, entry)
        else plain.delete(entry.id)
      }
      assert.equal(table.size, plain.size)
      assert.deepEqual(
        table.list(NOW).map(({ id }) => id),
        [...plain.keys()].sort(),
      )
    }),
  )
})

test('property: a hash trie holds what a map holds, with keys that share every hash', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(50), fc.nat())), (steps) => {
      const plain = new Map<number, number>()
      let trie = HashTrie.empty<number, number>((a, b) => a === b)
      for (const [add, key, value] of steps) {
        const hash = key % 3 === 0 ? 7 : key << 27
        trie = add ? trie.set(hash, key, value) : trie.delete(hash, key)
        if (add) plain.set(key, value)
        else plain.delete(key)
      }
      assert.equal(trie.size, plain.size)
      for (const key of Array(51).keys()) assert.equal(trie.get(key % 3 === 0 ? 7 : key << 27, key), plain.get(key))
    }),
  )
})

test('property: a Merkle trie’s root follows from its contents alone', () => {
  const keys = fc.stringMatching(/^[0-3][0-1][0-9a-f]{2}$/)
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), keys, fc.nat(3))), (steps) => {
      const plain = new Map<string, number>()
      let trie = MerkleTrie.empty<number>()
      for (const [add, key, value] of steps) {
        trie = add ? trie.set(key, value) : trie.delete(key)
        trie.root()
        if (add) plain.set(key, value)
        else plain.delete(key)
      }
      const sorted = [...plain].sort(([a], [b]) => (a < b ? -1 : 1))
      assert.deepEqual([...trie.entries()], sorted)
      assert.deepEqual(trie.first(), sorted[0])
      assert.equal(trie.size, sorted.length)
      let again = MerkleTrie.empty<number>()
      for (const [key, value] of sorted.toReversed()) again = again.set(key, value)
      assert.equal(again.root(), trie.root())
      if (sorted.length > 0) assert.notEqual(again.set(sorted[0]![0], 99).root(), trie.root())
    }),
  )
})

const changes = fc.array(
  fc.record({
    value: fc.constantFrom('10.0.0.1', '10.0.0.2', '2001:db8::1', '10.0.0.0/8', '2001:db8::/32', 'one', 'other'),
    expiresAtMs: fc.option(fc.integer({ min: NOW + 1, max: NOW + 9 }), { nil: undefined }),
  }),
  { maxLength: 20 },
)

test('property: a draft comes to what changes one by one come to, and moves neither what it was made from nor what it became', () => {
  const changed = (table: DenialTable, all: readonly { value: string; expiresAtMs: number | undefined }[]) => {
    for (const { value, expiresAtMs } of all) {
      const kind = value.includes('/') ? 'cidr' : value.includes('.') || value.includes(':') ? 'ip' : 'token'
      table =
        expiresAtMs === undefined ? table.without({ kind, value }) : table.with(denial({ kind, value } as const, expiresAtMs))
    }
    return table
  }
  fc.assert(
    fc.property(changes, changes, changes, (begun, first, second) => {
      const base = changed(DenialTable.empty, begun)
      const before = base.list(NOW)
      const draft = base.draft()
      const one = changed(draft, first).sealed()
      const between = one.list(NOW)
      const two = changed(one.draft(), second).sealed()
      assert.deepEqual(base.list(NOW), before)
      assert.deepEqual(one.list(NOW), between)
      assert.deepEqual(between, changed(base, first).list(NOW))
      assert.deepEqual(two.list(NOW), changed(changed(base, first), second).list(NOW))
      assert.deepEqual([base.size, one.size, two.size], [before.length, between.length, two.list(NOW).length])
    }),
  )
})

test('property: a draft of a map holds what the map would, whatever collides', () => {
  const steps = fc.array(fc.tuple(fc.nat(40), fc.boolean()), { maxLength: 60 })
  // Few hashes, most bits of which are the same: leaves are shared, and pushed down.
  const hash = (key: number) => ((key % 5) << 25) | (key % 2)
  const changed = (trie: HashTrie<number, number>, all: readonly (readonly [number, boolean])[]) => {
    for (const [key, isSet] of all) trie = isSet ? trie.set(hash(key), key, key) : trie.delete(hash(key), key)
    return trie
  }
  const held = (trie: HashTrie<number, number>) => [...trie.values()].sort((a, b) => a - b)
  fc.assert(
    fc.property(steps, steps, (begun, more) => {
      const base = changed(
        HashTrie.empty<number, number>((a, b) => a === b),
        begun,
      )
      const before = held(base)
      const sealed = changed(base.draft(), more).sealed()
      assert.deepEqual(held(sealed), held(changed(base, more)))
      assert.equal(sealed.size, held(sealed).length)
      assert.deepEqual(held(base), before)
    }),
  )
})

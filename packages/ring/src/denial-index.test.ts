import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatPrefix, type Prefix, parseAddress, parsePrefix, parsePrefixLoosely, prefixContains } from './address.ts'
import { type Credential, coversCredential } from './credential.ts'
import { createDenialIndex, DenialLookup, DenialSlots, DenialTable } from './denial-index.ts'
import { HashTrie } from './hash-trie.ts'
import { joinDenials } from './meaning.ts'
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
  assert.ok(index.matchCredential({ issuer: 'i', tokenId: 'x' }, NOW))
  assert.equal(index.matchCredential({ issuer: 'i', subject: 'x' }, NOW), undefined)
  assert.ok(index.matchAccount('shop', 'x', NOW))
  assert.equal(index.matchAccount('blog', 'x', NOW), undefined)
  assert.equal(index.matchCredential({ issuer: 'i', tokenId: 'x' }, NOW + 1), undefined)
})

/** Few names, so that they meet. */
const name = fc.constantFrom('a', 'b', '', 'x'.repeat(300), 'ünï', 'a\n')
const named = fc.constantFrom('a', 'b', 'x'.repeat(300), 'ünï', 'a\n')
const scope = fc.record({ issuer: named }, { requiredKeys: [] })
const moment = fc.integer({ min: 0, max: 4 }).map((at) => new Date(at * 1_000).toISOString())
const credentialSubject: fc.Arbitrary<DenialSubject> = fc.oneof(
  fc
    .tuple(fc.constantFrom('token', 'subject', 'session', 'device'), named, scope)
    .map(([kind, value, of]) => ({ kind, value, ...of }) as const),
  fc.tuple(fc.constantFrom('key', 'issuer'), named).map(([kind, value]) => ({ kind, value }) as const),
  fc
    .tuple(moment, fc.record({ issuer: named, subject: named }, { requiredKeys: [] }))
    .map(([value, of]) => ({ kind: 'issued-before', value, ...of }) as const),
)
const credential: fc.Arbitrary<Credential> = fc.record(
  {
    issuer: name,
    subject: name,
    tokenId: name,
    sessionId: name,
    deviceId: name,
    keys: fc.array(name, { maxLength: 3 }),
    issuedAtMs: fc.integer({ min: 0, max: 5_000 }),
  },
  { requiredKeys: ['issuer'] },
)

test('property: a token is denied exactly when a denial in force covers it, whatever came and went before', () => {
  const step = fc.tuple(fc.boolean(), credentialSubject, fc.boolean())
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.array(credential, { minLength: 1, maxLength: 20 }), (steps, tokens) => {
      const plain = new Map<string, Denial>()
      let table = DenialTable.empty
      for (const [add, subject, isOver] of steps) {
        const entry = denial(subject, isOver ? NOW : NOW + 1)
        table = add ? table.with(entry) : table.without(subject, entry.id)
        if (add) plain.set(entry.id, entry)
        else plain.delete(entry.id)
      }
      assert.equal(table.size, plain.size)
      const standing = [...plain.values()].filter(({ expiresAtMs }) => expiresAtMs > NOW)
      for (const token of tokens) {
        const found = table.matchCredential(token, NOW)
        const covering = standing.filter(({ subject }) => coversCredential(subject, token))
        if (found === undefined) assert.deepEqual(covering, [])
        else assert.ok(covering.includes(found))
      }
      for (const { id } of standing) assert.ok(table.find(id, NOW))
    }),
    { numRuns: 300 },
  )
})

test('a subject of one issuer is not the subject of another that has the same name', () => {
  const index = createDenialIndex([
    denial({ kind: 'subject', value: 'alice', issuer: 'https://a.example' }),
    denial({ kind: 'issued-before', value: new Date(5_000).toISOString(), subject: 'bob', issuer: 'https://a.example' }),
  ])
  const of = (issuer: string, subject: string, issuedAtMs?: number) =>
    index.matchCredential({ issuer: `https://${issuer}.example`, subject, issuedAtMs }, NOW) !== undefined
  assert.deepEqual([of('a', 'alice'), of('b', 'alice')], [true, false])
  assert.deepEqual([of('a', 'bob', 4_999), of('a', 'bob', 5_000), of('b', 'bob', 4_999)], [true, false, false])
  assert.ok(of('a', 'bob'), 'a token that does not say when it was issued cannot show that it is newer')
})

test('a later moment takes the place of an earlier, in either order, and has the same id', () => {
  const [early, late] = [
    denial({ kind: 'issued-before', value: iso(1_000) }),
    denial({ kind: 'issued-before', value: iso(2_000) }),
  ]
  assert.equal(early.id, late.id)
  for (const joined of [joinDenials(early, late), joinDenials(late, early)]) assert.equal(joined.subject.value, iso(2_000))
  assert.notEqual(early.id, denial({ kind: 'issued-before', value: iso(1_000), subject: 'alice' }).id)
})

const iso = (ms: number): string => new Date(ms).toISOString()

test('an older index does not change when a newer one is made from it', () => {
  const older = createDenialIndex([ip('10.0.0.1')])
  const newer = older.with(ip('10.0.0.2')).without(ip('10.0.0.1').subject, ip('10.0.0.1').id)
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
        table = add ? table.with(entry) : table.without(entry.subject, entry.id)
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
  /** Slots, and the denials that they are about, as the ring's state keeps them. */
  type Held = { readonly slots: DenialSlots; readonly kept: ReadonlyMap<string, Denial> }
  const none: Held = { slots: DenialSlots.empty(), kept: new Map() }
  const changed = ({ slots, kept }: Held, all: readonly { value: string; expiresAtMs: number | undefined }[]): Held => {
    const next = new Map(kept)
    for (const { value, expiresAtMs } of all) {
      const kind = value.includes('/') ? 'cidr' : value.includes('.') || value.includes(':') ? 'ip' : 'token'
      const made = denial({ kind, value } as const, expiresAtMs ?? NOW)
      if (expiresAtMs !== undefined) {
        slots = slots.with(made)
        next.set(made.id, made)
      } else if (next.delete(made.id)) slots = slots.without(made.subject, made.id)
    }
    return { slots, kept: next }
  }
  const drafted = ({ slots, kept }: Held): Held => ({ slots: slots.draft(), kept })
  const sealed = ({ slots, kept }: Held): Held => ({ slots: slots.sealed(), kept })
  /** What is found, by all that was ever denied. */
  const found = ({ slots, kept }: Held): readonly unknown[] => {
    const lookup = new DenialLookup(slots, { get: (id) => kept.get(id), all: () => kept.values() })
    return [
      ...['10.0.0.1', '10.0.0.2', '10.9.9.9', '2001:db8::1', '2001:db8::2'].map((address) => lookup.matchAddress(address, NOW)),
      ...['one', 'other'].map((tokenId) => lookup.matchCredential({ issuer: 'i', tokenId }, NOW)),
      lookup.size,
    ]
  }
  fc.assert(
    fc.property(changes, changes, changes, (begun, first, second) => {
      const base = changed(none, begun)
      const before = found(base)
      const one = sealed(changed(drafted(base), first))
      const between = found(one)
      const two = sealed(changed(drafted(one), second))
      assert.deepEqual(found(base), before)
      assert.deepEqual(found(one), between)
      assert.deepEqual(between, found(changed(base, first)))
      assert.deepEqual(found(two), found(changed(changed(base, first), second)))
      assert.deepEqual(
        [base, one, two].map(({ slots }) => slots.size),
        [base, one, two].map(({ kept }) => kept.size),
      )
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

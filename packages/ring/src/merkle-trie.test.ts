import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { type MerkleProof, MerkleTrie, verifyMerkleProof } from './merkle-trie.ts'

const keys = fc.uniqueArray(fc.stringMatching(/^[0-9a-f]{6}$/), { minLength: 1, maxLength: 60 })
const trieOf = (held: readonly string[]) =>
  held.reduce((trie, key) => trie.set(key, { of: key }), MerkleTrie.empty<{ readonly of: string }>())

test('property: every entry is proven by the root alone, under its own key and with its own value only', () => {
  fc.assert(
    fc.property(keys, fc.stringMatching(/^[0-9a-f]{6}$/), (held, other) => {
      const trie = trieOf(held)
      const root = trie.root()
      for (const key of held) {
        const proof = trie.prove(key)
        assert.ok(proof !== undefined)
        assert.ok(verifyMerkleProof(root, key, { of: key }, proof))
        assert.ok(!verifyMerkleProof(root, key, { of: `${key}0` }, proof))
        if (other !== key) assert.ok(!verifyMerkleProof(root, other, { of: key }, proof))
        assert.ok(!verifyMerkleProof(trie.set('ffffff', { of: 'more' }).root(), key, { of: key }, proof) || key === 'ffffff')
      }
      if (!held.includes(other)) assert.equal(trie.prove(other), undefined)
    }),
  )
})

test('property: built at once or one by one, the trie is the same', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.stringMatching(/^[0-9a-f]{4}$/), fc.nat()), { maxLength: 80 }), (entries) => {
      const oneByOne = entries.reduce((trie, [key, value]) => trie.set(key, value), MerkleTrie.empty<number>())
      const atOnce = MerkleTrie.from(entries)
      assert.equal(atOnce.root(), oneByOne.root())
      assert.deepEqual([...atOnce.entries()], [...oneByOne.entries()])
    }),
  )
})

test('property: what was set is found, and nothing else, also where keys differ in their last digit alone', () => {
  const dense = fc.uniqueArray(fc.stringMatching(/^[0-3][0-9a-f]$/), { maxLength: 64 })
  fc.assert(
    fc.property(dense, (held) => {
      const trie = trieOf(held)
      for (let number = 0; number < 256; number += 1) {
        const key = number.toString(16).padStart(2, '0')
        assert.deepEqual(trie.get(key), held.includes(key) ? { of: key } : undefined)
      }
    }),
  )
})

test('property: changes made on a draft come to what they come to one by one, and leave what the draft was made of alone', () => {
  const key = fc.stringMatching(/^[0-3]{4}$/)
  const changes = fc.array(fc.tuple(key, fc.option(fc.nat(), { nil: undefined })), { maxLength: 120 })
  const changed = (trie: MerkleTrie<number>, all: readonly (readonly [string, number | undefined])[]) =>
    all.reduce((held, [at, value]) => (value === undefined ? held.delete(at) : held.set(at, value)), trie)
  fc.assert(
    fc.property(changes, changes, changes, (before, first, second) => {
      const base = changed(MerkleTrie.empty<number>(), before)
      const [entries, root] = [[...base.entries()], base.root()]
      const one = changed(base.draft(), first).sealed()
      const oneRoot = one.root()
      const two = changed(one.draft(), second).sealed()
      assert.equal(oneRoot, changed(base, first).root())
      assert.equal(two.root(), changed(changed(base, first), second).root())
      assert.deepEqual([...two.entries()], [...changed(changed(base, first), second).entries()])
      assert.equal(two.size, [...two.entries()].length)
      // Hashes are kept where nothing changed: what was shared is as it was, root and contents.
      assert.deepEqual([[...base.entries()], base.root(), MerkleTrie.from(base.entries()).root()], [entries, root, root])
      assert.deepEqual([one.root(), MerkleTrie.from(one.entries()).root()], [oneRoot, oneRoot])
      assert.equal(MerkleTrie.from(two.entries()).root(), two.root())
    }),
  )
})

test('property: the hash that is given and the portable one come to the same root', () => {
  fc.assert(
    fc.property(keys, (held) => {
      assert.equal(
        trieOf(held).root((bytes) => hash('sha256', bytes)),
        trieOf(held).root(),
      )
    }),
  )
})

test('property: a proof with one changed hash proves nothing', () => {
  fc.assert(
    fc.property(keys, fc.nat(), fc.nat(), (held, which, where) => {
      const trie = trieOf(held)
      const key = held[which % held.length] ?? ''
      const proof = trie.prove(key) as MerkleProof
      const places = [...JSON.stringify(proof).matchAll(/[0-9a-f]{64}/g)].map(({ index }) => index)
      const at = (places[where % places.length] ?? 0) + (where % 64)
      const text = JSON.stringify(proof)
      const swapped = text[at] === '1' ? '2' : '1'
      const changed = JSON.parse(text.slice(0, at) + swapped + text.slice(at + 1)) as MerkleProof
      assert.ok(!verifyMerkleProof(trie.root(), key, { of: key }, changed))
    }),
  )
})

test('what is no proof at all is refused, not thrown over', () => {
  const trie = trieOf(['aaaaaa'])
  for (const proof of [
    { leaf: [], branches: [] },
    { leaf: ['zz'], branches: [] },
    { leaf: Array.from({ length: 100 }, () => 'ab'.repeat(32)), branches: [] },
    { leaf: trie.prove('aaaaaa')?.leaf ?? [], branches: Array.from({ length: 20 }, () => []) },
  ])
    assert.equal(verifyMerkleProof(trie.root(), 'aaaaaa', { of: 'aaaaaa' }, proof), false)
})

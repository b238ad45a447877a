import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isLive, SECRET_HISTORY_MAX, SECRET_VERSIONS_MAX, VaultSecrets } from './vault-secrets.ts'

const NAMES = ['a', 'a/b', 'shop/db', 'shop/key'] as const

type Step =
  | { readonly kind: 'put'; readonly name: string; readonly ttlMs: number; readonly size: number }
  | { readonly kind: 'delete'; readonly name: string; readonly versions: readonly number[] }
  | { readonly kind: 'pass'; readonly ms: number; readonly most: number }

const name = fc.constantFrom(...NAMES)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('put' as const), name, ttlMs: fc.nat(50), size: fc.nat(40) }) },
  fc.record({ kind: fc.constant('delete' as const), name, versions: fc.array(fc.nat(40), { maxLength: 6 }) }),
  fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(20), most: fc.nat(3) }),
)

/** The rule in its own words: what each version came to. */
interface Known {
  readonly version: number
  readonly body: string
  readonly expiresAtMs: number
  isDeleted: boolean
}

test('property: of any puts, deletions and sweeps, just what nobody ended and no time passed can be read, and contents bring it all back', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const model = new Map<string, Known[]>()
      let vault = VaultSecrets.empty
      let nowMs = 1_000
      for (const one of steps) {
        if (one.kind === 'pass') {
          nowMs += one.ms
          vault = vault.swept(nowMs, one.most)
          continue
        }
        const known = model.get(one.name) ?? []
        if (one.kind === 'delete') {
          vault = vault.without(one.name, one.versions, { atMs: nowMs, why: 'deleted' })
          for (const held of known) if (one.versions.includes(held.version)) held.isDeleted = true
          continue
        }
        const version = (vault.get(one.name)?.versions.at(-1)?.version ?? 0) + 1
        assert.equal(version, (known.at(-1)?.version ?? 0) + 1, 'no number comes twice')
        const expiresAtMs = one.ttlMs === 0 ? 0 : nowMs + one.ttlMs
        const body = { capsule: `c${one.name}${version}`, ciphertext: 'x'.repeat(one.size) }
        vault = vault.with(one.name, { version, by: 'operator:ada', sealedAtMs: nowMs, expiresAtMs }, body, nowMs)
        model.set(one.name, [...known, { version, body: body.capsule, expiresAtMs, isDeleted: false }])
      }
      let bytes = 0
      for (const [secret, known] of model) {
        const versions = vault.get(secret)?.versions ?? []
        assert.ok(versions.filter(({ end }) => end === null).length <= SECRET_VERSIONS_MAX)
        assert.ok(versions.length <= SECRET_HISTORY_MAX + SECRET_VERSIONS_MAX)
        for (const { version, body, expiresAtMs, isDeleted } of known) {
          const held = vault.body(secret, version, nowMs)
          const isOver = isDeleted || (expiresAtMs > 0 && expiresAtMs <= nowMs)
          const pushedOut = versions.find((one) => one.version === version)?.end?.why === 'superseded'
          if (isOver) assert.equal(held, undefined)
          else if (held === undefined) assert.ok(pushedOut || !versions.some((one) => one.version === version))
          else assert.equal(held.capsule, body)
        }
        const live = versions.filter((one) => isLive(one, nowMs)).map(({ version }) => version)
        assert.deepEqual(
          live,
          versions.filter(({ version }) => vault.body(secret, version, nowMs)).map(({ version }) => version),
        )
      }
      for (const { bodies } of vault.contents())
        for (const { capsule, ciphertext } of bodies) bytes += capsule.length + ciphertext.length
      assert.equal(vault.bytes, bytes)
      const again = VaultSecrets.from(vault.contents())
      assert.deepEqual(again.root(), vault.root())
      assert.deepEqual(again.contents(), vault.contents())
      assert.deepEqual(again.swept(nowMs + 100, 1_000).root(), vault.swept(nowMs + 100, 1_000).root())
    }),
    { numRuns: 300 },
  )
})

test('versions beyond those that are kept push the oldest out, and a version that still opens is never forgotten', () => {
  let vault = VaultSecrets.empty
  const put = (): void => {
    const version = (vault.get('a')?.versions.at(-1)?.version ?? 0) + 1
    vault = vault.with('a', { version, by: 'operator:ada', sealedAtMs: 1, expiresAtMs: 0 }, { capsule: 'c', ciphertext: 'd' }, 1)
  }
  put()
  for (let round = 2; round <= 60; round += 1) {
    put()
    vault = vault.without('a', [round], { atMs: 2, why: 'deleted' })
  }
  assert.notEqual(vault.body('a', 1, 2), undefined)
  assert.equal(vault.get('a')?.versions.length, SECRET_HISTORY_MAX)
  for (let round = 0; round < SECRET_VERSIONS_MAX; round += 1) put()
  assert.equal(vault.body('a', 1, 2), undefined)
  assert.equal(vault.sealed, SECRET_VERSIONS_MAX)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { signingBytes } from './certificate.ts'
import type { Digest } from './types.ts'

test('statements are signed as their own words, whatever was signed before', () => {
  const statement = fc.record({
    kind: fc.constantFrom('notarize' as const, 'nullify' as const, 'finalize' as const, 'proposal' as const),
    ring: fc.constantFrom('one', 'one/1', 'zwei\u00fc'),
    round: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.constantFrom(1 + 2 ** 32, Number.MAX_SAFE_INTEGER)),
    digest: fc.constantFrom(undefined, 'ab'.repeat(32) as Digest, 'cd'.repeat(32) as Digest),
  })
  fc.assert(
    fc.property(fc.array(statement, { maxLength: 40 }), (said) => {
      for (const { kind, ring, round, digest } of said) {
        const text = `RINGWALL_SIMPLEX_${kind.toUpperCase()}_V1\n${ring}\n${round}\n${digest ?? ''}`
        assert.equal(new TextDecoder().decode(signingBytes(kind, ring, round, digest)), text)
      }
    }),
  )
})

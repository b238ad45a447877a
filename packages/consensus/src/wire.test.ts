import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { WireError } from './errors.ts'
import type { Certificate, Digest, Message, Proposal, Vote, VoteKind } from './types.ts'
import { decodeBlock, decodeMessage, encodeBlock, encodeMessage, genesisBlock, makeBlock, proposalHead } from './wire.ts'

const bytes = (max: number) => fc.uint8Array({ maxLength: max })
const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((raw) => Buffer.from(raw).toString('hex') as Digest)
const round = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const kind = fc.constantFrom<VoteKind>('notarize', 'nullify', 'finalize')
const subject = fc.tuple(kind, round, digest).map(([k, r, d]) => ({ kind: k, round: r, digest: k === 'nullify' ? undefined : d }))

const vote: fc.Arbitrary<Vote> = fc
  .tuple(subject, fc.nat({ max: 65_535 }), bytes(64))
  .map(([s, signer, signature]) => ({ ...s, signer, signature }))

const certificate: fc.Arbitrary<Certificate> = fc
  .tuple(subject, fc.uniqueArray(fc.nat({ max: 65_535 }), { maxLength: 10 }), bytes(64))
  .map(([s, signers, signature]) => ({
    ...s,
    signatures: signers.sort((a, b) => a - b).map((signer) => ({ signer, signature })),
  }))

const block = fc
  .record(
    { round, height: round, parent: digest, proposer: fc.nat({ max: 65_535 }), timestampMs: round, payload: bytes(300) },
    { noNullPrototype: true },
  )
  .map(makeBlock)

const proposal: fc.Arbitrary<Proposal> = fc.record(
  {
    block,
    parentCertificate: fc.option(certificate, { nil: undefined }),
    nullifications: fc.array(certificate, { maxLength: 3 }),
    signature: bytes(64),
  },
  { noNullPrototype: true },
)

const message: fc.Arbitrary<Message> = fc.oneof(
  vote.map((v): Message => ({ kind: 'vote', vote: v })),
  certificate.map((c): Message => ({ kind: 'certificate', certificate: c })),
  proposal.map((p): Message => ({ kind: 'proposal', proposal: p })),
)

test('property: a hash that is passed in gives the digests that the portable one gives', () => {
  const hash = (raw: Uint8Array) => createHash('sha256').update(raw).digest('hex')
  fc.assert(
    fc.property(message, (value) =>
      assert.deepEqual(decodeMessage(encodeMessage(value), hash), decodeMessage(encodeMessage(value))),
    ),
  )
})

test('property: the head of a proposal says what its block says; other messages, and cut ones, have none', () => {
  fc.assert(
    fc.property(message, fc.nat({ max: 50 }), (value, length) => {
      const { round: at, proposer } = value.kind === 'proposal' ? value.proposal.block : { round: 0, proposer: 0 }
      assert.deepEqual(proposalHead(encodeMessage(value)), value.kind === 'proposal' ? { round: at, proposer } : undefined)
      assert.equal(proposalHead(encodeMessage(value).subarray(0, length)), undefined)
    }),
  )
})

test('property: every message survives the wire unchanged', () => {
  fc.assert(fc.property(message, (value) => assert.deepEqual(decodeMessage(encodeMessage(value)), value)))
})

test('property: a message cut short or with a byte left over is refused with a WireError', () => {
  fc.assert(
    fc.property(message, fc.double({ min: 0, max: 0.999, noNaN: true }), (value, share) => {
      const encoded = encodeMessage(value)
      assert.throws(() => decodeMessage(encoded.subarray(0, Math.floor(encoded.length * share))), WireError)
      assert.throws(() => decodeMessage(Uint8Array.of(...encoded, 0)), WireError)
    }),
  )
})

test('property: arbitrary bytes are a message in its one encoding, or a WireError, never anything else', () => {
  fc.assert(
    fc.property(
      fc.oneof(
        bytes(400),
        fc.tuple(fc.constantFrom(1, 2, 3), bytes(200)).map(([tag, rest]) => Uint8Array.of(tag, ...rest)),
      ),
      (raw) => {
        try {
          assert.deepEqual(encodeMessage(decodeMessage(raw)), raw)
        } catch (error) {
          assert.ok(error instanceof WireError, String(error))
        }
      },
    ),
    { numRuns: 2_000 },
  )
})

test('a length beyond the bound is refused before anything is read', () => {
  const encoded = encodeBlock(
    makeBlock({ round: 1, height: 1, parent: genesisBlock('r').digest, proposer: 0, timestampMs: 1, payload: new Uint8Array(0) }),
  )
  new DataView(encoded.buffer).setUint32(encoded.length - 4, 0xffff_ffff)
  assert.throws(() => decodeBlock(encoded), { code: 'WIRE_LIMIT' })
})

test('a number beyond 2^53 is neither read nor written', () => {
  const parts = { round: 1, height: 1, parent: genesisBlock('r').digest, proposer: 0, timestampMs: 1, payload: new Uint8Array(0) }
  const encoded = encodeBlock(parts)
  for (const value of [2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n]) {
    new DataView(encoded.buffer).setBigUint64(0, value)
    assert.throws(() => decodeBlock(encoded), { code: 'WIRE_VALUE' })
  }
  new DataView(encoded.buffer).setBigUint64(0, 2n ** 53n - 1n)
  assert.equal(decodeBlock(encoded).round, 2 ** 53 - 1)
  for (const round of [2 ** 53, -1, 0.5, Number.NaN])
    assert.throws(() => encodeBlock({ ...parts, round }), { code: 'WIRE_VALUE' })
})

test('property: the digest depends on every field', () => {
  fc.assert(
    fc.property(block, block, (a, b) => {
      const same = Buffer.compare(encodeBlock(a), encodeBlock(b)) === 0
      assert.equal(a.digest === b.digest, same)
      assert.equal(decodeBlock(encodeBlock(a)).digest, a.digest)
    }),
  )
})

test('rings with different names share no genesis', () => {
  assert.notEqual(genesisBlock('a').digest, genesisBlock('b').digest)
})

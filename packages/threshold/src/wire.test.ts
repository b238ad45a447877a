/** Every message: one spelling, bounded, and a typed error for anything else. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeAccusation, encodeAccusation, FAULTS } from './blame.ts'
import { decodePartial, encapsulate, makePartial, verifyCapsule } from './capsule.ts'
import { beginCeremony, decodeState, encodeState, step } from './ceremony.ts'
import { decodeAnswer, encodeAnswer, makeComplaint, makeDealing, verifyDealing } from './dealing.ts'
import { ThresholdError } from './errors.ts'
import { NoncePair } from './frost.ts'
import { dealTrusted, KeyShare, PublicKey } from './key.ts'
import { Ceremony } from './plan.ts'
import { hashToScalar, ORDER } from './scalar.ts'
import {
  CommitmentMemo,
  decodeCommitments,
  decodeRequest,
  decodeSignatureShare,
  encodeCommitments,
  encodeRequest,
  encodeSignatureShare,
} from './signing-wire.ts'
import { people, plan, type Someone } from './test-ring.ts'
import { CONTEXT_BYTES, MESSAGE_BYTES_MAX, Reader, Writer } from './wire.ts'

const members = [1, 2, 5].map((index) => ({ party: `p${index}`, index }))
const draw = (label: string) => hashToScalar('test', [new TextEncoder().encode(label)])
const signing = dealTrusted({ suite: 'ed25519', purpose: 'x', epoch: 3, threshold: 2, members }, [draw('a'), draw('b')])
const sealing = dealTrusted({ suite: 'ristretto255', purpose: 'y', epoch: 0, threshold: 2, members }, [draw('c'), draw('d')])
const [signer] = signing as readonly [KeyShare, ...KeyShare[]]
const [holder] = sealing as readonly [KeyShare, ...KeyShare[]]
const ring = people(3)
const [someone] = ring as readonly [Someone, ...Someone[]]
const ceremony = plan(ring, 2, 'ed25519')
const dealingBody = makeDealing(ceremony, 1, randomBytes(32), undefined)
const dealing = verifyDealing(ceremony, 1, dealingBody)
const [receiver] = ceremony.receivers
assert.ok(receiver !== undefined)
const complaints = [makeComplaint(ceremony, dealing, receiver, someone.encryption.secret)]
const answer = encodeAnswer(ceremony, { receiver: 1, transcript: randomBytes(32), complaints })
const memo = new CommitmentMemo()
const pairs = [0, 1].map(() => new NoncePair(randomBytes(64), signer.secret))
const commitments = pairs.map(({ commitment }) => commitment)
const { capsule } = encapsulate(holder.publicKey, new TextEncoder().encode('label'), randomBytes(32))
const tools = { encryptionKey: someone.encryption.secret }
const began = step(beginCeremony(ceremony, someone.party), { kind: 'begin', seed: randomBytes(32), share: undefined }, tools)
const attested = { body: dealingBody, attestation: randomBytes(64) }
const { state } = step(began.state, { kind: 'posted', from: 'node-1', ...attested }, tools)
const request = {
  message: randomBytes(30),
  commitments: commitments.map((commitment, i) => ({ index: i + 1, number: i, ...commitment })),
}

interface Format {
  readonly bytes: Uint8Array
  /** Decodes and encodes again. */
  again(bytes: Uint8Array): Uint8Array
}

const FORMATS: Readonly<Record<string, Format>> = {
  'a public key': { bytes: signer.publicKey.encode(), again: (bytes) => PublicKey.decode(bytes).encode() },
  'a key share': { bytes: signer.encodeSecret(), again: (bytes) => KeyShare.decode(bytes).encodeSecret() },
  'a ceremony': { bytes: ceremony.encode(), again: (bytes) => Ceremony.decode(bytes).encode() },
  'a state': { bytes: encodeState(state), again: (bytes) => encodeState(decodeState(bytes, tools).state) },
  'a dealing': {
    bytes: dealingBody,
    again: (bytes) => {
      verifyDealing(ceremony, 1, bytes)
      return bytes
    },
  },
  'an answer': { bytes: answer, again: (bytes) => encodeAnswer(ceremony, decodeAnswer(ceremony, 1, bytes)) },
  commitments: {
    bytes: encodeCommitments(signer.publicKey, { index: 1, first: 7, commitments }),
    again: (bytes) => encodeCommitments(signer.publicKey, decodeCommitments(signer.publicKey, 1, bytes, memo)),
  },
  'a request': {
    bytes: encodeRequest(signer.publicKey, request),
    again: (bytes) => encodeRequest(signer.publicKey, decodeRequest(signer.publicKey, bytes, memo)),
  },
  'a signature share': {
    bytes: encodeSignatureShare(signer.publicKey, { request: randomBytes(32), index: 1, share: draw('share') }),
    again: (bytes) => encodeSignatureShare(signer.publicKey, decodeSignatureShare(signer.publicKey, 1, bytes)),
  },
  'a capsule': { bytes: capsule, again: (bytes) => verifyCapsule(holder.publicKey, bytes).body },
  'a partial decryption': {
    bytes: makePartial(holder, verifyCapsule(holder.publicKey, capsule)),
    again: (bytes) => {
      const { capsule: of, index, value, a, b, z } = decodePartial(holder.publicKey, 1, bytes)
      const { group } = holder.publicKey
      const writer = new Writer('partial', holder.publicKey.id).fixed(of).index(index)
      return writer.element(group, value).element(group, a).element(group, b).scalar(z).done()
    },
  },
  'an accusation': {
    bytes: encodeAccusation({ party: 'node-1', fault: 'bad-share', evidence: [attested, attested], subject: capsule }),
    again: (bytes) => encodeAccusation(decodeAccusation(bytes)),
  },
}

function typed(run: () => unknown): ThresholdError | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    assert.ok(error instanceof ThresholdError, `not a typed error: ${String(error)}`)
    return error
  }
}

for (const [name, { bytes, again }] of Object.entries(FORMATS)) {
  test(`${name} reads back as it was written`, () => {
    assert.deepEqual(Buffer.from(again(bytes)), Buffer.from(bytes))
  })

  test(`${name} cut anywhere, lengthened, or of another context, is refused with a typed error`, () => {
    for (let length = 0; length < bytes.length; length += length < 64 ? 1 : 7)
      assert.ok(typed(() => again(bytes.slice(0, length))) !== undefined, `${length} bytes`)
    assert.equal(typed(() => again(Uint8Array.from([...bytes, 0])))?.code, 'THRESHOLD_TRAILING')
    const elsewhere = bytes.slice()
    elsewhere[5] = (elsewhere[5] as number) ^ 1
    assert.ok(typed(() => again(elsewhere)) !== undefined)
  })

  test(`property: ${name} with changed bytes is refused with a typed error, or reads back as those bytes`, () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 1, max: 255 })), { minLength: 1, maxLength: 4 }),
        (changes) => {
          const changed = bytes.slice()
          for (const [at, by] of changes) changed[at] = (changed[at] as number) ^ by
          let out: Uint8Array | undefined
          const error = typed(() => (out = again(changed)))
          if (error === undefined) assert.deepEqual(Buffer.from(out as Uint8Array), Buffer.from(changed))
        },
      ),
      { numRuns: 60 },
    )
  })

  test(`property: garbage behind the opening of ${name} is refused with a typed error`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (tail) => {
        const garbage = Uint8Array.from([...bytes.slice(0, 37), ...tail])
        let out: Uint8Array | undefined
        const error = typed(() => (out = again(garbage)))
        if (error === undefined) assert.deepEqual(Buffer.from(out as Uint8Array), Buffer.from(garbage))
      }),
      { numRuns: 60 },
    )
  })
}

test('a message beyond the bound is refused before it is read', () => {
  const huge = new Uint8Array(MESSAGE_BYTES_MAX + 1)
  huge.set(dealingBody)
  assert.equal(typed(() => verifyDealing(ceremony, 1, huge))?.code, 'THRESHOLD_LIMIT')
  const request = new Writer('request', signer.publicKey.id).u32(0xffffffff).done()
  assert.equal(typed(() => decodeRequest(signer.publicKey, request, memo))?.code, 'THRESHOLD_LIMIT')
})

test('property: what a writer writes a reader reads', () => {
  const context = new Uint8Array(CONTEXT_BYTES)
  const text = fc.stringMatching(/^[!-~]{1,64}$/)
  fc.assert(
    fc.property(
      fc.nat({ max: 255 }),
      fc.integer({ min: 1, max: 65_535 }),
      fc.nat({ max: 2 ** 32 - 1 }),
      fc.bigInt({ min: 0n, max: ORDER - 1n }),
      fc.uint8Array({ maxLength: 100 }),
      text,
      (byte, index, word, scalar, blob, party) => {
        const bytes = new Writer('state', context)
          .u8(byte)
          .index(index)
          .u32(word)
          .scalar(scalar)
          .bytes(blob, 100)
          .party(party)
          .done()
        const reader = new Reader('state', bytes)
        assert.deepEqual([reader.u8(), reader.index(), reader.u32(), reader.scalar()], [byte, index, word, scalar])
        assert.deepEqual([...reader.bytes(100)], [...blob])
        assert.equal(reader.party(), party)
        reader.end()
      },
    ),
  )
})

test('every fault has a place in the encoding of accusations', () => {
  for (const fault of FAULTS) {
    const accusation = { party: 'p', fault, evidence: [], subject: new Uint8Array(0) }
    assert.deepEqual(decodeAccusation(encodeAccusation(accusation)), accusation)
  }
})

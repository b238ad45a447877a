/** Secrets stay out of what is printed, serialised, cloned and thrown. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { inspect } from 'node:util'
import { beginCeremony, step } from './ceremony.ts'
import { ThresholdError } from './errors.ts'
import { NoncePair } from './frost.ts'
import { dealTrusted, KeyShare } from './key.ts'
import { encodeScalar, hashToScalar } from './scalar.ts'
import { Secret } from './secret.ts'
import { Signer } from './signer.ts'
import { people, plan, type Someone } from './test-ring.ts'

const members = [1, 2].map((index) => ({ party: `node-${index}`, index }))
const value = hashToScalar('test', [new Uint8Array(3)])
const [share] = dealTrusted({ suite: 'ed25519', purpose: 'x', epoch: 0, threshold: 2, members }, [value, value]) as readonly [
  KeyShare,
  ...KeyShare[],
]

/** Every spelling that a scalar could leave in. */
function spellings(secret: Secret): readonly string[] {
  const bytes = Buffer.from(secret.revealBytes())
  const scalar = secret.reveal()
  const listed = [...bytes].slice(0, 8).join(',')
  return [bytes.toString('hex'), bytes.toString('base64'), scalar.toString(), scalar.toString(16), listed]
}

function assertHidden(holder: unknown, secret: Secret): void {
  const forms = [
    JSON.stringify(holder) ?? '',
    inspect(holder, { depth: 9, showHidden: true, breakLength: Infinity }),
    `${String(holder)}`,
  ]
  for (const form of forms)
    for (const spelling of spellings(secret))
      assert.equal(form.includes(spelling), false, `a secret shows in ${form.slice(0, 80)}`)
}

test('a secret, a share, nonces and a signer print and serialise as nothing', () => {
  assertHidden(share.secret, share.secret)
  assertHidden({ share }, share.secret)
  const random = randomBytes(64)
  const pair = new NoncePair(random, share.secret)
  const twin = new NoncePair(random, share.secret).take()
  assertHidden({ pair }, Secret.fromScalar(twin.hiding))
  const signer = new Signer(share, 0)
  signer.step({ kind: 'provision', random: randomBytes(64) })
  assertHidden({ signer }, share.secret)
})

test('a ceremony in progress shows no share', () => {
  const ring = people(2)
  const [one, two] = ring as readonly [Someone, Someone]
  const ceremony = plan(ring, 2, 'ristretto255')
  const bodies = [one, two].map((someone) => {
    const tools = { encryptionKey: someone.encryption.secret }
    const { state } = step(
      beginCeremony(ceremony, someone.party),
      { kind: 'begin', seed: randomBytes(32), share: undefined },
      tools,
    )
    return state.ownDealing as Uint8Array
  })
  let state = beginCeremony(ceremony, one.party)
  for (const [i, body] of bodies.entries()) {
    const event = { kind: 'posted', from: `node-${i + 1}`, body, attestation: new Uint8Array(0) } as const
    state = step(state, event, { encryptionKey: one.encryption.secret }).state
  }
  assert.equal(state.opened.size, 2)
  for (const secret of state.opened.values())
    assertHidden({ opened: [...state.opened.values()], state: { ...state, ceremony: 0 } }, secret)
})

test('errors hold no secret', () => {
  const wrong = Secret.fromScalar(value)
  try {
    new KeyShare(share.publicKey, 2, wrong)
    assert.fail('a wrong share was taken')
  } catch (error) {
    assert.ok(error instanceof ThresholdError)
    assertHidden(error, wrong)
    assert.equal((error.stack ?? '').includes(value.toString()), false)
  }
})

test('a wiped secret reveals nothing more', () => {
  const secret = Secret.fromScalar(value)
  secret.wipe()
  for (const reveal of [() => secret.reveal(), () => secret.revealBytes()])
    assert.throws(reveal, (error) => error instanceof ThresholdError && error.code === 'THRESHOLD_WIPED')
})

test('a secret is a copy: what it was made from may be wiped, and what it revealed as well', () => {
  const bytes = encodeScalar(value)
  const secret = Secret.fromBytes(bytes)
  bytes.fill(0)
  secret.revealBytes().fill(0)
  assert.equal(secret.reveal(), value)
})

test('bytes given as a Buffer, whose slice shares memory, are copied as well', () => {
  const bytes = Buffer.from(share.encodeSecret())
  const again = KeyShare.decode(bytes)
  bytes.fill(0)
  assert.equal(again.secret.reveal(), share.secret.reveal())
  const buffer = Buffer.from(again.secret.revealBytes())
  const secret = Secret.fromBytes(buffer)
  buffer.fill(0)
  assert.equal(secret.reveal(), share.secret.reveal())
})

test('structured cloning, as between workers, does not carry a secret', () => {
  assert.deepEqual(structuredClone(Secret.fromScalar(value)), {})
})

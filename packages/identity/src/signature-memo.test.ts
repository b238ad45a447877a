import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import { verifiesEd25519, verifiesSpki } from './signature-memo.ts'

const message = Buffer.from('what is asked for')
const changed = (bytes: Uint8Array, at: number): Uint8Array => bytes.map((byte, i) => (i === at ? byte ^ 1 : byte))

test('a good signature is good again, and nothing else is for that', () => {
  for (const type of ['ed25519', 'p256'] as const) {
    const { privateKey, publicKey } =
      type === 'ed25519' ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const spki = publicKey.export({ format: 'der', type: 'spki' })
    const signature = sign(type === 'ed25519' ? null : 'sha256', message, privateKey)
    for (let i = 0; i < 3; i += 1) {
      assert.ok(verifiesSpki(spki, message, signature))
      assert.ok(!verifiesSpki(spki, changed(message, 3), signature))
      assert.ok(!verifiesSpki(spki, message, changed(signature, 20)))
      assert.ok(!verifiesSpki(changed(spki, spki.length - 1), message, signature))
      // What goes from one to the other is another triple.
      assert.ok(!verifiesSpki(spki, message.subarray(1), Buffer.concat([signature, message.subarray(0, 1)])))
    }
  }
})

test('what is no key or no signature is no good one', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x as string, 'base64url')
  const signature = sign(null, message, privateKey)
  assert.ok(verifiesEd25519(raw, message, signature))
  for (const key of [new Uint8Array(0), raw.subarray(1), Buffer.concat([raw, raw])])
    assert.ok(!verifiesEd25519(key, message, signature))
  for (const bad of [new Uint8Array(0), signature.subarray(1), Buffer.concat([signature, signature])])
    assert.ok(!verifiesEd25519(raw, message, bad))
  assert.ok(!verifiesSpki(Buffer.from('no key'), message, signature))
})

test('more signatures than are remembered are still judged', () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const spki = publicKey.export({ format: 'der', type: 'spki' })
  const first = sign(null, message, privateKey)
  assert.ok(verifiesSpki(spki, message, first))
  for (let i = 0; i < 4_200; i += 1) {
    const one = Buffer.from(`number ${i}`)
    assert.ok(verifiesSpki(spki, one, sign(null, one, privateKey)))
  }
  assert.ok(verifiesSpki(spki, message, first))
})

import assert from 'node:assert/strict'
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { keyOfCertificate, selfSignedCertificate } from './certificate.ts'

const NOW_MS = Date.UTC(2026, 10, 22, 8, 30, 5)
const keyPair = () => generateKeyPairSync('ed25519')

test('a certificate verifies by the key that it is over, names the node, and outlasts clocks that are wrong by days', () => {
  const { privateKey, publicKey } = keyPair()
  const certificate = new X509Certificate(selfSignedCertificate('n1', privateKey, NOW_MS))
  assert.ok(certificate.verify(publicKey))
  assert.ok(!certificate.verify(keyPair().publicKey))
  assert.equal(certificate.subject, 'CN=n1')
  assert.equal(certificate.issuer, 'CN=n1')
  assert.equal(certificate.serialNumber, '01')
  assert.equal(new Date(certificate.validFrom).toISOString(), '2025-11-22T08:30:05.000Z')
  assert.equal(new Date(certificate.validTo).toISOString(), '2036-11-19T08:30:05.000Z')
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)
  assert.deepEqual(keyOfCertificate(certificate.raw), new Uint8Array(raw))
})

test('dates from 2050 on have four digits for the year', () => {
  const { privateKey } = keyPair()
  const certificate = new X509Certificate(selfSignedCertificate('n1', privateKey, Date.UTC(2051, 0)))
  assert.equal(new Date(certificate.validFrom).toISOString(), '2050-01-01T00:00:00.000Z')
  assert.equal(new Date(certificate.validTo).toISOString(), '2060-12-29T00:00:00.000Z')
})

test('property: whatever a node is called, and whatever its key, the certificate is read back as it was meant', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9][a-z0-9-]{0,31}$/), fc.uint8Array({ minLength: 32, maxLength: 32 }), (id, seed) => {
      const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), seed])
      const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
      const certificate = new X509Certificate(selfSignedCertificate(id, privateKey, NOW_MS))
      assert.equal(certificate.subject, `CN=${id}`)
      assert.ok(certificate.verify(certificate.publicKey) && certificate.checkPrivateKey(privateKey))
    }),
  )
})

import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { CSR_BYTES_MAX, readCsr } from './csr.ts'

const root = mkdtempSync(join(tmpdir(), 'ringwall-csr-'))
after(() => rmSync(root, { recursive: true }))
const skip = spawnSync('openssl', ['version']).status === 0 ? false : 'openssl is not installed'

/** As openssl makes it. */
function made(subject: string, ...key: readonly string[]): Buffer {
  const out = join(root, 'csr.der')
  const args = ['req', '-new', '-newkey', ...key, '-nodes', '-keyout', join(root, 'key.pem')]
  execFileSync('openssl', [...args, '-subj', subject, '-outform', 'DER', '-out', out], { stdio: 'pipe' })
  return readFileSync(out)
}

const P256 = ['ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-addext', 'subjectAltName=DNS:somebody.example']
const read = (bytes: Uint8Array) => readCsr(Buffer.from(bytes).toString('base64url'))

test('requests that openssl makes are read, of both kinds of key, with and without a name', { skip }, () => {
  for (const key of [['ed25519'], P256]) {
    const named = read(made('/O=Acme/CN=pump-7', ...key))
    assert.ok(named.ok, JSON.stringify(named))
    assert.equal(named.commonName, 'pump-7')
    assert.equal(Buffer.from(named.publicKey, 'base64url').length, key === P256 ? 91 : 44)
    const nameless = read(made('/', ...key))
    assert.ok(nameless.ok && nameless.commonName === null)
  }
})

test('another kind of key, hash or point is refused, and so is what another key signed', { skip }, () => {
  const reason = (bytes: Uint8Array): string => {
    const found = read(bytes)
    return found.ok ? 'ok' : found.reason
  }
  assert.match(reason(made('/', 'rsa:2048')), /its key must be Ed25519/)
  assert.match(reason(made('/', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384')), /its key must be Ed25519/)
  assert.match(reason(made('/', ...P256, '-sha512')), /is to be signed with/)
  const good = made('/CN=pump-7', ...P256)
  const renamed = Buffer.from(good)
  renamed.write('pump-8', good.indexOf('pump-7'))
  assert.match(reason(renamed), /not signed by its own key/)
  assert.match(reason(Buffer.concat([good, Buffer.alloc(1)])), /1 bytes too many/)
  assert.match(reason(Buffer.alloc(CSR_BYTES_MAX + 1)), /more than 4096 bytes/)
})

test('property: no byte of a request can be changed, and no bytes whatever make it throw', { skip }, () => {
  const good = made('/CN=pump-7', 'ed25519')
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), (at, by) => {
      const other = Buffer.from(good)
      other[at] = (other[at] as number) ^ by
      assert.equal(read(other).ok, false)
    }),
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      assert.equal(read(bytes).ok, false)
    }),
  )
})

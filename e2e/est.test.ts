/** Devices of others get certificates: openssl makes the requests, curl takes them there, openssl verifies what comes. */
import assert from 'node:assert/strict'
import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { eventually, freePorts, TestRing } from './local-ring.ts'

const missing = ['openssl', 'curl'].filter((name) => spawnSync(name, ['version']).error !== undefined)
const skip = missing.length === 0 ? false : `${missing.join(', ')} not installed`
let ring: TestRing
let url: string
const at = (name: string): string => join(ring.data, name)

function openssl(args: readonly string[], input?: string | Buffer): Buffer {
  return execFileSync('openssl', args, { input: input ?? '', stdio: 'pipe' })
}

function done(run: { readonly code: number; readonly stdout: string; readonly stderr: string }): string {
  assert.equal(run.code, 0, run.stderr)
  return run.stdout.trim()
}

/** Status and body. */
function est(path: string, ...more: readonly string[]): readonly [status: number, body: string] {
  const args = ['-sS', '--cacert', at('est.pem'), '-w', '\n%{http_code}', ...more, `${url}/.well-known/est/${path}`]
  const run = spawnSync('curl', args, { encoding: 'utf8', timeout: 30_000 })
  assert.equal(run.status, 0, run.stderr)
  const cut = run.stdout.lastIndexOf('\n')
  return [Number(run.stdout.slice(cut + 1)), run.stdout.slice(0, cut)]
}

const posted = (csr: string): readonly string[] => ['--data-binary', `@${csr}`, '-H', 'content-type: application/pkcs10']

/** A key, and a request by it in base64. */
function makeCsr(name: string, subject: string, ...key: readonly string[]): string {
  const out = ['-nodes', '-keyout', at(`${name}.key`), '-subj', subject, '-outform', 'DER']
  writeFileSync(at(`${name}.b64`), openssl(['base64'], openssl(['req', '-new', '-newkey', ...key, ...out])))
  return at(`${name}.b64`)
}

/** The one certificate in an answer, as PEM, verified under the ring's own. */
function verified(name: string, body: string): string {
  const pem = openssl(['pkcs7', '-inform', 'DER', '-print_certs'], Buffer.from(body, 'base64')).toString()
  writeFileSync(at(`${name}.pem`), pem)
  const ok = openssl(['verify', '-x509_strict', '-CAfile', at('cacerts.pem'), at(`${name}.pem`)]).toString()
  assert.match(ok, /OK/)
  return openssl(['x509', '-in', at(`${name}.pem`), '-noout', '-ext', 'subjectAltName', '-pubkey']).toString()
}

before(async () => {
  if (skip !== false) return
  ring = await TestRing.start()
  const base = await freePorts(1)
  url = `https://127.0.0.1:${base + 1}`
  const own = ['-subj', '/CN=est', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '2']
  openssl([
    'req',
    '-x509',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    at('est.key'),
    '-out',
    at('est.pem'),
    ...own,
  ])
  await ring.kill(4)
  const est = `est: { listen: '127.0.0.1:${base + 1}', certificate: ${at('est.pem')}, key: ${at('est.key')} }\n`
  appendFileSync(at('n4/node.yaml'), est)
  await ring.restart(4)
  await eventually(
    'the ring has a key',
    async () => (await ring.client(4).keys()).keys.some(({ name, state }) => name === 'signing' && state === 'ready'),
    40_000,
  )
})
after(() => ring?.destroy())

test('01 the ring’s own certificate, and what requests may be signed with', { skip }, () => {
  const [status, body] = est('cacerts')
  assert.equal(status, 200, body)
  writeFileSync(at('cacerts.pem'), openssl(['pkcs7', '-inform', 'DER', '-print_certs'], Buffer.from(body, 'base64')))
  assert.match(openssl(['x509', '-in', at('cacerts.pem'), '-noout', '-text']).toString(), /CA:TRUE/)
  const [, attributes] = est('csrattrs')
  assert.match(
    openssl(['asn1parse', '-inform', 'DER'], Buffer.from(attributes, 'base64')).toString(),
    /ED25519[\s\S]*ecdsa-with-SHA256/,
  )
})

test('02 a one-time secret gets a certificate for the key that the request is by, once', { skip }, () => {
  const csr = makeCsr('pump', '/CN=pump-7', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256')
  assert.deepEqual(est('simpleenroll', ...posted(csr))[0], 401)
  assert.match(
    est('simpleenroll', '-u', `pump-7:${'A'.repeat(43)}`, ...posted(csr))[1],
    /^EST_SECRET: this secret lets nobody be pump-7/,
  )
  const secret = done(ring.cli('device', 'certificate', 'pump-7', '--reason', 'e2e'))
  const other = makeCsr('other', '/CN=pump-8', 'ed25519')
  assert.match(est('simpleenroll', '-u', `pump-7:${secret}`, ...posted(other))[1], /^EST_NAME: the request is for pump-8/)
  const [status, body] = est('simpleenroll', '-u', `pump-7:${secret}`, ...posted(csr))
  assert.equal(status, 200, body)
  const text = verified('pump', body)
  assert.match(text, /URI:spiffe:\/\/[0-9a-f]{64}\/device\/pump-7/)
  const key = openssl(['pkey', '-in', at('pump.key'), '-pubout']).toString()
  assert.ok(text.includes(key), text)
  const again = est('simpleenroll', '-u', `pump-7:${secret}`, ...posted(makeCsr('thief', '/CN=pump-7', 'ed25519')))
  assert.deepEqual([again[0], again[1].split(':')[0]], [401, 'EST_SECRET'])
})

test('03 a certificate is renewed by whoever holds it, for its own key', { skip }, () => {
  const mine = ['--cert', at('pump.pem'), '--key', at('pump.key')]
  const [status, body] = est('simplereenroll', ...mine, ...posted(at('pump.b64')))
  assert.equal(status, 200, body)
  verified('pump', body)
  assert.match(est('simplereenroll', ...posted(at('pump.b64')))[1], /^EST_UNAUTHENTICATED/)
  assert.match(est('simplereenroll', ...mine, ...posted(at('thief.b64')))[1], /^EST_REKEY/)
  const self = ['-subj', '/CN=pump-7', '-days', '2', '-key', at('thief.key'), '-out', at('thief.pem')]
  openssl(['req', '-x509', '-new', ...self])
  assert.match(
    est('simplereenroll', '--cert', at('thief.pem'), '--key', at('thief.key'), ...posted(at('thief.b64')))[1],
    /^EST_UNKNOWN/,
  )
})

test('04 a device with a voucher enrols by the certificate that it was made with', { skip }, async () => {
  const key = done(ring.cliAlone('device', 'manufacturer', 'acme', '--directory', at('factory')))
  const { text } = await ring.client(1).policy()
  writeFileSync(
    at('ringwall.yaml'),
    `${text}\ndevices:\n  est: { ttl: 6h }\n  manufacturers:\n    - { name: acme, key: ${key} }\n`,
  )
  done(ring.cli('policy', 'apply', at('ringwall.yaml'), '--yes'))
  writeFileSync(at('ring.json'), done(ring.cli('device', 'address')))
  done(ring.cliAlone('device', 'make', 'AC-9', '--manufacturer', at('factory'), '--directory', at('AC-9')))
  const voucher = join(at('AC-9'), 'voucher.json')
  done(ring.cliAlone('device', 'ship', voucher, '--key', at('factory/manufacturer.key'), '--to', at('ring.json')))
  const idevid = ['--cert', at('AC-9/device.pem'), '--key', at('AC-9/device.key')]
  const der = openssl(['req', '-new', '-key', at('AC-9/device.key'), '-subj', '/', '-outform', 'DER'])
  writeFileSync(at('ac.b64'), openssl(['base64'], der))
  assert.match(est('simpleenroll', ...idevid, ...posted(at('ac.b64')))[1], /^EST_UNKNOWN/)
  done(ring.cli('device', 'register', voucher))
  const [status, body] = est('simpleenroll', ...idevid, ...posted(at('ac.b64')))
  assert.equal(status, 200, body)
  assert.match(verified('ac', body), /\/device\/ac-9/)
  assert.equal(spawnSync('openssl', ['x509', '-in', at('ac.pem'), '-noout', '-checkend', '21700']).status, 1, 'six hours')
  assert.match(done(ring.cli('device', 'certificates')), /ac-9[\s\S]*pump-7/)
})

test('05 what is malformed is refused with a line, and a revoked device gets nothing more', { skip }, () => {
  writeFileSync(at('bad.b64'), Buffer.from('no request').toString('base64'))
  assert.match(est('simpleenroll', ...posted(at('bad.b64')))[1], /^CSR_INVALID/)
  assert.match(est('simpleenroll', '--data-binary', 'x')[1], /^EST_TYPE/)
  writeFileSync(at('long.b64'), 'A'.repeat(20_000))
  assert.match(est('simpleenroll', ...posted(at('long.b64')))[1], /^EST_TOO_LONG/)
  assert.equal(est('fullcmc')[0], 404)
  done(ring.cli('device', 'revoke', 'pump-7', '--reason', 'lost'))
  const mine = ['--cert', at('pump.pem'), '--key', at('pump.key')]
  assert.match(est('simplereenroll', ...mine, ...posted(at('pump.b64')))[1], /^EST_UNKNOWN/)
})

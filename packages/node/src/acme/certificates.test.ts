import 'reflect-metadata'
import assert from 'node:assert/strict'
import { generateKeyPairSync, webcrypto, X509Certificate } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { AuthorityKeyIdentifierExtension, X509CertificateGenerator } from '@peculiar/x509'
import { Seal } from '../signing/sealed-file.ts'
import { AcmeCertificates, type AcmeConfig, certificateFile, sealName } from './certificates.ts'
import { newKey } from './proofs.ts'
import { isPlaceholder, placeholder, renewalName } from './x509.ts'

const NAMES = ['www.example.org', 'shop.example.org']
const NO_PROOFS = { ready: async () => {}, present: async () => {}, withdraw: () => {} }

function scene(t: TestContext, more: Partial<AcmeConfig> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-acme-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  const directory = more.directory ?? 'https://127.0.0.1:1/directory'
  const file = certificateFile(join(folder, 'acme'), directory, NAMES)
  const seal = new Seal(generateKeyPairSync('ed25519').privateKey, 'ring n1')
  const config: AcmeConfig = {
    directory,
    contact: undefined,
    challenges: ['http-01'],
    external: undefined,
    dns: undefined,
    rootsFile: undefined,
    certificates: [{ names: NAMES, file }],
    ...more,
  }
  const lines: string[] = []
  const open = (): Promise<AcmeCertificates> =>
    AcmeCertificates.open({
      config,
      folder: join(folder, 'acme'),
      seal,
      proofs: NO_PROOFS,
      say: (_level, line) => lines.push(line),
    })
  const leaf = (): X509Certificate => new X509Certificate(Buffer.from(seal.open(sealName(file), readFileSync(file))!))
  return { folder, file, seal, open, leaf, lines }
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error('waited in vain')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

test('until there is a certificate a placeholder for its names stands there, sealed, its owner’s alone', async (t) => {
  const { file, open, leaf } = scene(t)
  await open()
  assert.ok(isPlaceholder(leaf()) && NAMES.every((name) => leaf().checkHost(name) === name))
  assert.equal(readFileSync(file).subarray(0, 4).toString(), 'RWS1')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const before = leaf().fingerprint256
  await open()
  assert.equal(leaf().fingerprint256, before)
})

test('a file that is broken, or another node’s, is replaced by a placeholder: the node starts', async (t) => {
  const { file, open, leaf } = scene(t)
  await open()
  for (const broken of [Buffer.from('RWS1 what'), readFileSync(file).subarray(0, -3), Buffer.alloc(0)]) {
    writeFileSync(file, broken)
    await open()
    assert.ok(isPlaceholder(leaf()))
  }
})

test('other names, and another server, are another file; their order is not', () => {
  const files = [
    certificateFile('/d', 'https://a/', ['a.b', 'c.d']),
    certificateFile('/d', 'https://a/', ['a.b']),
    certificateFile('/d', 'https://b/', ['a.b']),
  ]
  assert.equal(new Set(files).size, 3)
  assert.match(files[0]!, /^\/d\/a\.b-[0-9a-f]{12}\.pem$/)
  assert.equal(certificateFile('/d', 'https://a/', ['c.d', 'a.b']).slice(-16), files[0]!.slice(-16))
})

test('a server that is not there is told of once, with when it is tried again, and a restart does not ask sooner', async (t) => {
  const { open, lines, folder } = scene(t)
  const first = await open()
  first.start()
  await until(() => lines.length === 1)
  assert.match(
    lines[0]!,
    /^no certificate for www\.example\.org, shop\.example\.org: 127\.0\.0\.1:1\/directory: ECONNREFUSED.*; tried again at 20/,
  )
  const [{ failures, dueMs, problem }] = first.status() as [ReturnType<AcmeCertificates['status']>[number]]
  assert.equal(failures, 1)
  assert.ok(dueMs > Date.now() + 10_000 && problem !== undefined)
  await until(() => readdirSync(join(folder, 'acme')).includes('waits.json'))
  await first.stop()
  const second = await open()
  second.start()
  await new Promise((resolve) => setTimeout(resolve, 100))
  assert.deepEqual([lines.length, second.status()[0]!.failures], [1, 1])
  await second.stop()
})

test('stopping ends what is under way', async (t) => {
  const key = newKey()
  const silent = createServer({ key: key.pem, cert: placeholder(['localhost'], key.object, Date.now()) }).listen(0, '127.0.0.1')
  await new Promise((resolve) => silent.once('listening', resolve))
  t.after(() => {
    silent.closeAllConnections()
    silent.close()
  })
  const { open, lines } = scene(t, { directory: `https://localhost:${(silent.address() as AddressInfo).port}/` })
  const acme = await open()
  const asked = new Promise((resolve) => silent.once('connection', resolve))
  acme.start()
  await asked
  await acme.stop()
  assert.deepEqual(lines, [])
})

test('files that the configuration names and that are not there are named', async (t) => {
  await assert.rejects(
    scene(t, { rootsFile: '/nowhere/ca.pem' }).open(),
    /^StartError: \/nowhere\/ca\.pem: cannot be read, and is named by acme\.roots: ENOENT$/,
  )
  await assert.rejects(
    scene(t, { external: { id: 'a', keyFile: '/nowhere/key' } }).open(),
    /acme\.externalAccount\.keyFile: ENOENT/,
  )
})

test('RFC 9773 4.1: a certificate’s name for renewal is its authority’s key and its serial number', async () => {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])) as webcrypto.CryptoKeyPair
  const made = await X509CertificateGenerator.createSelfSigned({
    // The numbers of the RFC's own example.
    serialNumber: '0087654321',
    name: 'CN=example.com',
    keys,
    signingAlgorithm: algorithm,
    extensions: [new AuthorityKeyIdentifierExtension('69885b6b87464041e1b37b847ba0ae2cde01c8d4')],
  })
  assert.equal(renewalName(new X509Certificate(made.toString('pem'))), 'aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE')
})

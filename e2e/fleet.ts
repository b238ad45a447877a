/**
 * `npm run e2e:fleet`: devices that all enrol at once (EST) at the validators of a real ring, one of which lies. `--devices`, `--liar` (0: nobody lies). How long
 * each waited for its certificate, and what that cost the validators.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { createPublicKey, randomBytes, webcrypto, X509Certificate } from 'node:crypto'
import { appendFileSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { estSecretHash } from '@ringwall/ring'
import 'reflect-metadata'
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509'
import { readOptions, whole } from '../tools/options.ts'
import { quantile } from '../tools/quantile.ts'
import { CpuMeter } from './cpu-meter.ts'
import { eventually, freePorts, TestRing } from './local-ring.ts'

const { devices: count, liar } = readOptions({ devices: whole(500, 1, 1_000), liar: whole(1, 0, 1) })
const SERVING = [1, 2, 3]
const LIAR = 4
/** Operators submit so many at a time. */
const LANES = 16
const TRY_MS = { least: 200, spread: 800, most: 300_000 } as const
const FLAGS = ['--disable-warning=ExperimentalWarning']

interface Device {
  readonly name: string
  readonly csr: string
  readonly spki: Buffer
  readonly secret: string
}

const ring = await TestRing.start()
const at = (name: string): string => join(ring.data, name)
let lying: ChildProcess | undefined

async function inLanes<T>(all: readonly T[], run: (one: T) => Promise<void>): Promise<void> {
  const left = [...all]
  await Promise.all(
    Array.from({ length: LANES }, async () => {
      for (let one = left.shift(); one !== undefined; one = left.shift()) await run(one)
    }),
  )
}

async function makeDevice(index: number): Promise<Device> {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, ['sign', 'verify'])
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const csr = await Pkcs10CertificateRequestGenerator.create({ name: '', keys, signingAlgorithm })
  const spki = Buffer.from(await webcrypto.subtle.exportKey('spki', keys.publicKey))
  const secret = randomBytes(32).toString('base64url')
  return { name: `d${index}`, csr: Buffer.from(csr.rawData).toString('base64'), spki, secret }
}

/** Status and body of one try. Rejects when the connection breaks. */
function enrol(port: number, { name, secret, csr }: Device, ca: string): Promise<readonly [number, string]> {
  return new Promise((settle, refuse) => {
    const headers = {
      'content-type': 'application/pkcs10',
      authorization: `Basic ${Buffer.from(`${name}:${secret}`).toString('base64')}`,
    }
    const path = '/.well-known/est/simpleenroll'
    const call = request({ host: '127.0.0.1', port, path, method: 'POST', headers, ca, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => settle([response.statusCode ?? 0, Buffer.concat(chunks).toString()]))
      response.on('error', refuse)
    })
    call.setTimeout(30_000, () => call.destroy(new Error('no answer')))
    call.on('error', refuse)
    call.end(csr)
  })
}

/** Goes on at another node when one is busy, as a device would. */
async function untilServed(
  device: Device,
  first: number,
  ports: readonly number[],
  ca: string,
): Promise<{ readonly ms: number; readonly tries: number; readonly body: string }> {
  const beganAtMs = performance.now()
  let why = ''
  for (let tries = 1; performance.now() - beganAtMs < TRY_MS.most; tries += 1) {
    try {
      const [status, body] = await enrol(ports[(first + tries) % ports.length] as number, device, ca)
      if (status === 200) {
        return { ms: performance.now() - beganAtMs, tries, body }
      }
      why = body
      if (status !== 503) throw new assert.AssertionError({ message: `${device.name}: ${status} ${body}` })
    } catch (error) {
      if (error instanceof assert.AssertionError) throw error
      why = (error as Error).message
    }
    await sleep(TRY_MS.least + Math.random() * TRY_MS.spread)
  }
  throw new Error(`${device.name} was not served: ${why}`)
}

let authority: X509Certificate

/** Of the ring, for this key and name. */
function checkCertificate({ name, spki }: Device, body: string): void {
  const pem = execFileSync('openssl', ['pkcs7', '-inform', 'DER', '-print_certs'], {
    input: Buffer.from(body, 'base64'),
  }).toString()
  const certificate = new X509Certificate(pem.slice(pem.indexOf('-----BEGIN')))
  assert.ok(certificate.verify(authority.publicKey))
  assert.match(certificate.subjectAltName ?? '', new RegExp(`/device/${name}$`))
  assert.ok(certificate.publicKey.equals(createPublicKey({ key: spki, format: 'der', type: 'spki' })))
}

try {
  const own = [
    '-nodes',
    '-keyout',
    at('est.key'),
    '-out',
    at('est.pem'),
    '-subj',
    '/CN=est',
    '-addext',
    'subjectAltName=IP:127.0.0.1',
    '-days',
    '2',
  ]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', ...own], { stdio: 'pipe' })
  const ca = readFileSync(at('est.pem'), 'utf8')
  const base = await freePorts(1)
  const ports = SERVING.map((node) => base + node)
  for (const [index, node] of SERVING.entries()) {
    await ring.kill(node)
    appendFileSync(
      at(`n${node}/node.yaml`),
      `est: { listen: '127.0.0.1:${ports[index]}', certificate: ${at('est.pem')}, key: ${at('est.key')} }\n`,
    )
    await ring.restart(node)
  }
  await eventually(
    'the ring has a key',
    async () => (await ring.client(1).keys()).keys.some(({ name, state }) => name === 'signing' && state === 'ready'),
    60_000,
  )
  const devices = await Promise.all(Array.from({ length: count }, (_, index) => makeDevice(index)))
  const invitedAtMs = performance.now()
  await inLanes(devices, async ({ name, secret }) => {
    await ring.client(1).submit({ type: 'est.invite', name, reason: 'fleet', secret: estSecretHash(secret), ttlMs: 3_600_000 })
  })
  process.stderr.write(`${count} secrets in ${((performance.now() - invitedAtMs) / 1_000).toFixed(1)} s\n`)
  if (liar === 1) {
    await ring.kill(LIAR)
    const port = Number(/fabric: 127\.0\.0\.1:(\d+)/.exec(readFileSync(at(`n${LIAR}/node.yaml`), 'utf8'))?.[1])
    const args = [
      resolve(import.meta.dirname, 'liar.ts'),
      at('genesis.json'),
      `n${LIAR}`,
      at(`n${LIAR}/node.key`),
      'invalid proposer',
      String(port),
    ]
    lying = spawn(process.execPath, [...FLAGS, ...args], { stdio: 'ignore' })
  }
  authority = await cacerts(ports[0] as number, ca)
  const meter = new CpuMeter(await Promise.all(SERVING.map((node) => ring.pid(node))))
  const beganAtMs = performance.now()
  const served = await Promise.all(devices.map((device, index) => untilServed(device, index, ports, ca)))
  const tookMs = performance.now() - beganAtMs
  const spent = meter.stop()
  for (const [index, { body }] of served.entries()) checkCertificate(devices[index] as Device, body)
  const { certificates } = await ring.client(2).enrolment()
  assert.equal(certificates.length, count)
  const times = served.map(({ ms }) => ms)
  const s = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`
  process.stdout.write(
    [
      `${count} devices at once, three nodes serving${liar === 1 ? ', the fourth validator lying' : ''}: all served in ${s(tookMs)}`,
      `certificate after   p50 ${s(quantile(times, 0.5))}, p95 ${s(quantile(times, 0.95))}, max ${s(quantile(times, 1))}; tries p95 ${quantile(
        served.map(({ tries }) => tries),
        0.95,
      )}`,
      `validators' CPU     ${spent.map((one) => `${(one * 100).toFixed(0)} %`).join(', ')} of a core; above 80 % for ${meter.longestAbove(0.8)} s at most`,
      '',
    ].join('\n'),
  )
} finally {
  lying?.kill('SIGKILL')
  await ring.destroy()
}

function cacerts(port: number, ca: string): Promise<X509Certificate> {
  return new Promise((settle, refuse) => {
    request({ host: '127.0.0.1', port, path: '/.well-known/est/cacerts', ca, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const input = Buffer.from(Buffer.concat(chunks).toString(), 'base64')
        const pem = execFileSync('openssl', ['pkcs7', '-inform', 'DER', '-print_certs'], { input }).toString()
        settle(new X509Certificate(pem.slice(pem.indexOf('-----BEGIN'))))
      })
    })
      .on('error', refuse)
      .end()
  })
}

/**
 * `npm run e2e:workload`: programs that use go-spiffe, SPIFFE's own library for Go, get certificates from the Workload API of a node of a ring of
 * real processes, and speak mutual TLS with each other. Prints a line for each thing that holds, with what it took; ends with 1 when one does not.
 *
 * Needs root (programs run as several users), Linux, and Go with its modules: where one is missing, says so and ends with 0.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { appendFileSync, chmodSync, copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type MintRequest, mintSigningBytes, svidProofBytes } from '@ringwall/identity/mint-request'
import { eventually, TestRing } from './local-ring.ts'
import { fail, report } from './sidecar-scene.ts'

const UPDATE_MS_MAX = 60_000
const [BILLING, SHOP, NOBODY] = [60_001, 60_002, 60_003]

function skip(reason: string): never {
  process.stdout.write(`skipped: ${reason}\n`)
  process.exit(0)
}

if (process.platform !== 'linux') skip('the Workload API needs Linux')
if (process.geteuid?.() !== 0) skip('programs run as several users here: it takes root')
// Others than root run what lies in it.
const place = mkdtempSync(join(tmpdir(), 'ringwall-workload-'))
chmodSync(place, 0o755)
const program = join(place, 'program')
const built = spawnSync('go', ['build', '-o', program, '.'], { cwd: join(import.meta.dirname, 'workload'), stdio: 'inherit' })
if (built.status !== 0) {
  rmSync(place, { recursive: true, force: true })
  skip('Go is missing, or its modules cannot be had')
}
const elsewhere = join(place, 'elsewhere')
copyFileSync(program, elsewhere)
const sha256 = spawnSync('sha256sum', [program], { encoding: 'utf8' }).stdout.slice(0, 64)
const socket = join(place, 'api.sock')

type Line = Readonly<Record<string, unknown>>
interface Running {
  readonly child: ChildProcess
  readonly lines: Line[]
}

const children: ChildProcess[] = []

/** A program of this user; what it says comes in lines. */
function run(uid: number, args: readonly string[], file = program): Running {
  const child = spawn(file, args, {
    uid,
    gid: uid,
    cwd: '/',
    env: { SPIFFE_ENDPOINT_SOCKET: `unix://${socket}` },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  children.push(child)
  const lines: Line[] = []
  let rest = ''
  child.stdout.on('data', (chunk: Buffer) => {
    const parts = (rest + String(chunk)).split('\n')
    rest = parts.pop() as string
    for (const part of parts) lines.push(JSON.parse(part) as Line)
  })
  return { child, lines }
}

async function said(
  running: Running,
  what: string,
  fits: (line: Line) => boolean,
  from = 0,
  msMax = UPDATE_MS_MAX,
): Promise<Line> {
  let found: Line | undefined
  await eventually(
    what,
    () => {
      found = running.lines.slice(from).find(fits)
      return found !== undefined
    },
    msMax,
  ).catch((error: Error) => {
    throw new Error(`${error.message}; it said ${JSON.stringify(running.lines)}`)
  })
  return found as Line
}

const is = (event: string) => (line: Line) => line.event === event
const isCode = (code: string) => (line: Line) => line.event === 'error' && line.code === code
const since = (beganMs: number): string => `${Math.round(performance.now() - beganMs)} ms`

const ring = await TestRing.start().catch((error: Error) => {
  rmSync(place, { recursive: true, force: true })
  throw error
})
try {
  const client = ring.client(1)
  await eventually('there is a key', async () => (await client.keys()).keys[0]?.state === 'ready', 60_000)
  const { ring: name } = await client.status()
  const idOf = (service: string): string => `spiffe://${name}/service/${service}`

  const policyFile = join(ring.data, 'workloads.yaml')
  const { text } = await client.policy()
  writeFileSync(
    policyFile,
    `${text}
workloads:
  billing: { nodes: [n1], unix: [{ uid: ${BILLING}, path: ${program}, sha256: ${sha256} }] }
  shop: { nodes: [n1], unix: [{ uid: ${SHOP} }], ttl: 1m }
`,
  )
  const applied = ring.cli('policy', 'apply', policyFile, '--yes')
  assert.equal(applied.code, 0, applied.stderr)
  await ring.kill(1)
  appendFileSync(join(ring.data, 'n1', 'node.yaml'), `workloadApi: { socket: ${socket} }\n`)
  await ring.restart(1)
  const settled = run(BILLING, ['fetch'])
  await said(settled, 'the first certificate is there', is('fetched'))

  const again = run(BILLING, ['fetch'])
  const fetched = await said(again, 'a certificate is fetched', is('fetched'))
  assert.equal(fetched.id, idOf('billing'))
  report('go-spiffe fetches the X.509-SVID of the service that user, path and hash of the binary fit', `${fetched.ms} ms`)

  for (const [what, running] of [
    ['another user', run(NOBODY, ['fetch'])],
    ['root', run(0, ['fetch'])],
    ['another binary of the same user', run(BILLING, ['fetch'], elsewhere)],
  ] as const) {
    await said(running, `${what} is refused`, isCode('PermissionDenied'))
    report(`${what} is refused with PermissionDenied`)
  }
  await said(run(BILLING, ['jwt']), 'JWT-SVIDs are refused', isCode('Unimplemented'))
  report('JWT-SVIDs are not implemented, and said to be')

  const server = run(BILLING, ['serve', idOf('shop')])
  const { address } = await said(server, 'it listens', is('listening'))
  const dialed = await said(run(SHOP, ['dial', String(address), idOf('billing')]), 'it answers', is('answered'))
  assert.deepEqual([dialed.text, dialed.by], [`${idOf('shop')} says hello\n`, idOf('billing')])
  report('two Go programs speak mutual TLS by spiffetls, each with the id that it expects of the other')
  await said(run(BILLING, ['dial', String(address), idOf('billing')]), 'the wrong client is refused', is('error'))
  await said(run(SHOP, ['dial', String(address), idOf('shop')]), 'the wrong server is refused', is('error'))
  report('who is another service than expected is refused, on either side')

  const refusal = await mintAsNode('n2', 'billing')
  assert.match(refusal, /422.*MINT_NOT_ENTITLED/s)
  report('a node to which the policy gives no workload of a service gets no certificate of it', refusal.slice(0, 3))

  const shop = run(SHOP, ['watch'])
  const serialOf = (line: Line): string => (line.svids as { serial: string }[])[0]?.serial as string
  const first = await said(shop, 'shop watches', is('update'))
  assert.deepEqual((first.svids as Line[])[0], {
    id: idOf('shop'),
    hint: 'shop',
    verified: true,
    serial: serialOf(first),
    seconds: 120,
  })
  await said(shop, 'the bundle is watched', is('bundle'))
  const listed = ring.cli('workload', 'ls', '--node', 'n1')
  assert.match(listed.stdout, new RegExp(`^shop +${shop.child.pid} \\(user ${SHOP}\\) +\\S+`, 'm'), listed.stdout + listed.stderr)
  report('ringwall workload ls shows the process')
  let beganMs = performance.now()
  let count = shop.lines.length
  const renewed = await said(shop, 'it is renewed', is('update'), count)
  assert.notEqual(serialOf(renewed), serialOf(first))
  report('a certificate of a minute is renewed at half of its life, on the stream that is open', since(beganMs))

  await Promise.all([ring.kill(3), ring.kill(4)])
  beganMs = performance.now()
  count = shop.lines.length
  await new Promise((wake) => setTimeout(wake, 45_000))
  assert.deepEqual(shop.lines.slice(count), [], 'with 2 of 4 holders nothing is signed: the stream stays as it is')
  await ring.restart(3)
  const late = await said(shop, 'it is renewed once the ring can sign', is('update'), count)
  assert.equal(shop.lines.slice(count).some(is('error')), false)
  assert.notEqual(serialOf(late), serialOf(renewed))
  report('without holders enough the stream keeps what it has, and is renewed when they are back', since(beganMs))
  // On a busy machine a node takes longer than others are given.
  await ring.restart(4).catch(() => eventually('n4 is back', async () => (await ring.client(4).status()).pid > 0, UPDATE_MS_MAX))

  const before = shop.lines.length
  const rotated = ring.cli('key', 'rotate', '--reason', 'a test')
  assert.equal(rotated.code, 0, rotated.stderr)
  const isOfBoth = (line: Line): boolean => line.event === 'update' && line.anchors === 2
  beganMs = performance.now()
  await said(shop, 'the bundle has both keys', isOfBoth, before, 90_000)
  const last = shop.lines.findLast(is('update')) as Line
  await said(shop, 'the certificate is of the new key', (line) => isOfBoth(line) && serialOf(line) !== serialOf(last), before)
  report('after the ring’s key was replaced the bundle has both, and the certificate is made anew', since(beganMs))

  const billing = run(BILLING, ['watch'])
  await said(billing, 'billing watches', is('update'))
  const seen = billing.lines.length
  beganMs = performance.now()
  const subject = { kind: 'subject', value: idOf('billing') } as const
  const denying = ring.client(2).denyAdd(subject, 600_000, 'stolen')
  await said(billing, 'its stream ends', isCode('PermissionDenied'), seen)
  report('a denied service loses its stream with PermissionDenied', since(beganMs))
  await denying
  await said(run(BILLING, ['fetch']), 'it gets nothing more', isCode('PermissionDenied'))
  report('and gets nothing more')

  const metrics = await (await fetch(`http://127.0.0.1:${ring.base + 1_001}/metrics`)).text()
  for (const line of metrics.match(/^ringwall_workload_\S+ .*$/gm) ?? []) process.stdout.write(`     ${line}\n`)

  /** What the ring says to a node that asks for a certificate of a service, by way of another node. */
  async function mintAsNode(node: string, service: string): Promise<string> {
    const nodeKey = createPrivateKey(readFileSync(join(ring.data, node, 'node.key'), 'utf8'))
    const pair = generateKeyPairSync('ed25519')
    const publicKey = pair.publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
    const proof = sign(null, svidProofBytes(name, { of: 'service', name: service, publicKey }), pair.privateKey).toString(
      'base64url',
    )
    const want = { type: 'svid', of: 'service', name: service, publicKey, proof, ttlS: 600 } as const
    const nonce = randomBytes(16).toString('base64url')
    const request: MintRequest = { ring: name, issuer: `node:${node}`, certificate: '', atMs: Date.now(), nonce, want }
    const signature = sign(null, mintSigningBytes(request), nodeKey).toString('base64url')
    const answer = await fetch(`http://127.0.0.1:${ring.base + 1_003}/v1/svids`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ request: { request, signature } }),
    })
    return `${answer.status} ${await answer.text()}`
  }
} catch (error) {
  fail(error)
} finally {
  for (const child of children) child.kill('SIGKILL')
  await ring.destroy()
  rmSync(place, { recursive: true, force: true })
}

/** The whole way of a call on one node: a program of this machine, the policy, the ring’s signature, and what changes it. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type ClientHttp2Session, connect } from 'node:http2'
import { connect as connectSocket } from 'node:net'
import { after, type TestContext, test } from 'node:test'
import { spiffeId } from '@ringwall/identity'
import { createDenialIndex } from '@ringwall/ring'
import { StartError } from '../errors.ts'
import { RING, Signers } from '../signing/test-signers.ts'
import { own, skip, startWorkloadApi, type TestWorkloadApi } from './test-workload-api.ts'
import { WorkloadApi } from './workload-api.ts'

// Its threads take a while to start: one for all tests, each of which begins with the same view.
const signers = new Signers(2, 2)
const { view } = signers
after(() => signers.stop())

interface Scene extends TestWorkloadApi {
  readonly signers: Signers
  deny(value: string): void
}

async function scene(t: TestContext): Promise<Scene> {
  const made = await startWorkloadApi(t, signers, view, ['billing'])
  return {
    ...made,
    signers,
    deny: (value) => {
      const at = { issuedAtMs: Date.now(), expiresAtMs: Date.now() + 600_000, height: 1 }
      const denial = {
        id: '0'.repeat(16),
        subject: { kind: 'subject', value },
        reason: 'stolen',
        issuer: 'operator:ada',
        ...at,
      } as const
      made.change({ denials: createDenialIndex([denial]) })
    },
  }
}

interface Call {
  readonly messages: Buffer[]
  /** Code and words, once it is over. */
  status: readonly [number, string] | undefined
}

function call(t: TestContext, { socket }: Scene, name: string): Call {
  const session: ClientHttp2Session = connect('http://localhost', { createConnection: () => connectSocket(socket) })
  session.on('error', () => {})
  t.after(() => session.destroy())
  const path = `/SpiffeWorkloadAPI/${name}`
  const stream = session.request({
    ':method': 'POST',
    ':path': path,
    'content-type': 'application/grpc',
    te: 'trailers',
    'workload.spiffe.io': 'true',
  })
  const made: Call = { messages: [], status: undefined }
  const end = (headers: Record<string, unknown>): void => {
    if (headers['grpc-status'] !== undefined)
      made.status = [Number(headers['grpc-status']), decodeURIComponent(String(headers['grpc-message']))]
  }
  stream.on('response', end)
  stream.on('trailers', end)
  stream.on('error', () => {})
  let rest = Buffer.alloc(0)
  stream.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 5 && rest.length >= 5 + rest.readUInt32BE(1)) {
      made.messages.push(rest.subarray(5, 5 + rest.readUInt32BE(1)))
      rest = rest.subarray(5 + rest.readUInt32BE(1))
    }
  })
  stream.end(Buffer.alloc(5))
  return made
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waits = 0; !holds() && waits < 6_000; waits += 1) await new Promise((wake) => setTimeout(wake, 5))
  assert.ok(holds(), what)
}

const idOf = (service: string): string => spiffeId(RING, 'service', service)

test('a program gets the certificate of its service at once, and anew when the policy gives it more', { skip }, async (t) => {
  const it = await scene(t)
  const svids = call(t, it, 'FetchX509SVID')
  const bundles = call(t, it, 'FetchX509Bundles')
  await until('both are answered', () => svids.messages.length === 1 && bundles.messages.length === 1)
  assert.ok(svids.messages[0]?.includes(idOf('billing')))
  assert.ok(bundles.messages[0]?.includes(`spiffe://${RING}`))
  assert.ok(it.said.some((line) => line === `process ${process.pid} of user ${own} is billing`))
  const [billing, ...others] = it.api.standing()
  assert.deepEqual(
    [billing?.service, billing?.spiffeId, billing?.reason, billing?.programs, others],
    ['billing', idOf('billing'), null, [{ pid: process.pid, uid: own }], []],
  )
  assert.ok((billing?.expiresAtMs ?? 0) > Date.now())
  it.policy({ billing: [{ uid: own }], shop: [{ uid: own, path: process.execPath }], other: [{ uid: own + 1 }] })
  await until('the second comes', () => svids.messages.length === 2)
  const latest = svids.messages[1] as Buffer
  assert.deepEqual(
    ['billing', 'shop', 'other'].map((name) => latest.includes(idOf(name))),
    [true, true, false],
  )
  assert.equal(bundles.messages.length, 1, 'what did not change is not sent')
  it.policy({ other: [{ uid: own + 1 }] })
  await until('both are over', () => svids.status !== undefined && bundles.status !== undefined)
  assert.deepEqual([svids.status?.[0], bundles.status?.[0]], [7, 7])
  assert.match(svids.status?.[1] ?? '', /no workload .* fits this program/)
  const strangers = it.said.filter((line) => line.includes('fits no workload'))
  assert.equal(strangers.length, 1, 'told once, though two calls ended')
  assert.ok(strangers[0]?.includes(`user ${own}, group ${process.getegid?.()}, ${JSON.stringify(process.execPath)}`))
  assert.deepEqual(it.api.standing(), [
    { service: 'other', spiffeId: idOf('other'), expiresAtMs: null, reason: null, programs: [] },
  ])
})

test('a denied service loses its calls at once, and so does a node that is denied', { skip }, async (t) => {
  const it = await scene(t)
  const first = call(t, it, 'FetchX509SVID')
  await until('it is answered', () => first.messages.length === 1)
  it.deny(idOf('other'))
  await new Promise((wake) => setImmediate(wake))
  assert.equal(first.status, undefined)
  it.deny(idOf('billing'))
  await until('it is over', () => first.status !== undefined)
  assert.deepEqual(first.status, [7, 'billing: denied by the ring'])
  const again = call(t, it, 'FetchX509SVID')
  await until('it is refused', () => again.status !== undefined)
  assert.deepEqual([again.status?.[0], again.messages], [7, []])
  it.deny(spiffeId(RING, 'node', 'n1'))
  const last = call(t, it, 'FetchX509Bundles')
  await until('it is refused', () => last.status !== undefined)
  assert.deepEqual(last.status, [7, 'this node has no workloads any more'])
})

test('while the ring cannot sign, who has nothing is told to come again, and why', { skip }, async (t) => {
  const it = await scene(t)
  await until('the bundle is there', () => it.api.figures().calls === 0)
  const bundles = call(t, it, 'FetchX509Bundles')
  await until('it is answered', () => bundles.messages.length === 1)
  const { signingKey } = it.signers.view
  it.signers.view = { ...it.signers.view, signingKey: { ...signingKey, key: undefined } }
  const svids = call(t, it, 'FetchX509SVID')
  await until('it is over', () => svids.status !== undefined)
  assert.equal(svids.status?.[0], 14)
  assert.match(svids.status?.[1] ?? '', /the ring signs nothing at the moment: .*no signing key/)
  assert.equal(bundles.status, undefined, 'what is served stays')
})

test('a node that cannot serve it does not start, in words', { skip }, async (t) => {
  const it = await scene(t)
  const second = new WorkloadApi({
    self: 'n1',
    socket: it.socket,
    view: () => it.signers.view,
    denied: () => undefined,
    sign: (message) => message,
    mint: () => Promise.reject(new Error('none')),
    say: () => {},
  })
  await assert.rejects(
    second.start(),
    (error: Error) => error instanceof StartError && /^workloadApi\.socket: .*another process serves it$/.test(error.message),
  )
  const session = connect('http://localhost', { createConnection: () => connectSocket(it.socket) })
  t.after(() => session.destroy())
  await once(session, 'connect')
})

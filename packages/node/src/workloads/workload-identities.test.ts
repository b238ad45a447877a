import assert from 'node:assert/strict'
import { createPrivateKey, X509Certificate } from 'node:crypto'
import { after, test } from 'node:test'
import { spiffeId } from '@ringwall/identity'
import { createDenialIndex, type DenialSubject } from '@ringwall/ring'
import { signMessage } from '../keys.ts'
import { type Member, RING, Signers } from '../signing/test-signers.ts'
import { WorkloadIdentities } from './workload-identities.ts'

const MINUTE = 60_000

// Its threads take a while to start: one for all tests, each of which begins with the same view.
const signers = new Signers(2, 2)
const { view } = signers
after(() => signers.stop())

interface Scene {
  readonly signers: Signers
  readonly identities: WorkloadIdentities
  readonly said: string[]
  /** Milliseconds from now. */
  aheadMs: number
  changes: number
  mints: number
}

/** Node n1, of a ring whose key three of four hold. */
function scene(ttl = 10 * MINUTE, mayMint: () => void = () => {}): Scene {
  signers.view = {
    ...view,
    policy: { ...view.policy, workloads: { billing: { nodes: ['n1'], unix: [{ uid: 1_000 }], ttl } } },
  }
  const [{ key, service }] = signers.members as [Member]
  const said: string[] = []
  const made: Scene = { signers, said, aheadMs: 0, changes: 0, mints: 0, identities: undefined as unknown as WorkloadIdentities }
  const identities = new WorkloadIdentities({
    self: 'n1',
    view: () => signers.view,
    sign: (message) => signMessage(key, message),
    mint: (mint) => {
      made.mints += 1
      mayMint()
      // What is signed is looked at by the others’ clocks.
      return service.mint({ mint }, 30_000)
    },
    denied: (of) => signers.view.denials.matchCredential(of, Date.now()),
    say: (_level, line) => said.push(line),
    now: () => Date.now() + made.aheadMs,
    random: () => 0.5,
  })
  return Object.assign(made, { identities })
}

async function until(holds: () => boolean): Promise<void> {
  for (let waits = 0; !holds() && waits < 6_000; waits += 1) await new Promise((wake) => setTimeout(wake, 5))
  assert.ok(holds())
}

const deny = (subject: DenialSubject) =>
  createDenialIndex([
    {
      id: '0'.repeat(16),
      subject,
      reason: 'gone',
      issuer: 'operator:ada',
      issuedAtMs: Date.now(),
      expiresAtMs: Date.now() + 600_000,
      height: 1,
    },
  ])

test('one certificate serves all programs of a service, with a key of its own, signed by the ring for this node', async () => {
  const it = scene()
  const { identities } = it
  const releases = [1, 2, 3].map(() =>
    identities.hold('billing', () => {
      it.changes += 1
    }),
  )
  assert.equal(identities.identity('billing'), undefined)
  await until(() => it.changes === 3)
  assert.deepEqual([it.mints, identities.counts.issued], [1, 1])
  const made = identities.identity('billing')
  assert.ok(made)
  const certificate = new X509Certificate(made.certificate)
  assert.equal(certificate.subjectAltName, `URI:${spiffeId(RING, 'service', 'billing')}`)
  assert.match(certificate.subject, /OU=node n1/)
  assert.ok(certificate.checkPrivateKey(createPrivateKey({ key: Buffer.from(made.key), format: 'der', type: 'pkcs8' })))
  assert.equal(made.authority, signers.view.signingKey.key)
  for (const release of releases) release()
  identities.tick()
  assert.ok(identities.identity('billing'), 'kept for who comes back soon')
  it.aheadMs = 5.5 * MINUTE
  identities.tick()
  assert.equal(identities.identity('billing'), undefined, 'and not renewed for nobody')
  assert.equal(it.mints, 1)
})

test('at half of its life it is renewed; what cannot be renewed serves on, and is tried ever more rarely', async () => {
  let isCut = false
  const it = scene(10 * MINUTE, () => {
    if (isCut) throw new Error('two of three holders answer')
  })
  const { identities } = it
  identities.hold('billing', () => {
    it.changes += 1
  })
  await until(() => it.changes === 1)
  const first = identities.identity('billing')
  it.aheadMs = 4.5 * MINUTE
  identities.tick()
  assert.equal(it.mints, 1)
  isCut = true
  const tried: number[] = []
  for (let seconds = 5 * 60; seconds < 9 * 60; seconds += 1) {
    it.aheadMs = seconds * 1_000
    const before = it.mints
    identities.tick()
    await until(() => !identities.isMaking('billing'))
    if (it.mints > before) tried.push(seconds)
    assert.equal(identities.identity('billing'), first, 'the old one serves')
  }
  assert.ok(tried.length >= 6 && tried.length <= 12, tried.join(' '))
  assert.ok((tried.at(-1) as number) - (tried.at(-2) as number) >= 40, tried.join(' '))
  assert.match(identities.reason('billing') ?? '', /two of three/)
  assert.ok(it.said.filter((line) => line.includes('tried on')).length <= 2, 'and people are not told each time')
  it.aheadMs = 10 * MINUTE
  assert.equal(identities.identity('billing'), undefined, 'to its end')
})

test('the ring’s refusal is not gone round: a service that is another node’s gets nothing here', async () => {
  const it = scene()
  const { policy } = it.signers.view
  const elsewhere = { nodes: ['n2'], unix: [{ uid: 1_000 }], ttl: 10 * MINUTE }
  it.signers.view = { ...it.signers.view, policy: { ...policy, workloads: { billing: elsewhere } } }
  it.identities.hold('billing', () => {
    it.changes += 1
  })
  await until(() => it.changes === 1)
  assert.equal(it.identities.identity('billing'), undefined)
  assert.match(it.identities.reason('billing') ?? '', /do not give billing to the node n1/)
  assert.equal(it.identities.counts.failed, 1)
})

test('a certificate that was denied is not given out: at once another one is made, unless the service is denied itself', async () => {
  const it = scene()
  const { identities } = it
  identities.hold('billing', () => {
    it.changes += 1
  })
  await until(() => it.changes === 1)
  const first = identities.identity('billing')
  assert.ok(first)
  signers.view = { ...signers.view, denials: deny({ kind: 'key', value: first.thumbprint }) }
  assert.equal(identities.identity('billing'), undefined)
  identities.tick()
  await until(() => it.changes === 2)
  assert.notEqual(identities.identity('billing')?.thumbprint, first.thumbprint)
  signers.view = { ...signers.view, denials: deny({ kind: 'subject', value: first.spiffeId }) }
  identities.tick()
  await until(() => it.changes === 3)
  assert.equal(identities.identity('billing'), undefined)
  assert.match(identities.reason('billing') ?? '', /is denied by operator:ada/)
})

test('a clock that goes back has a new one made: nobody would take one that begins tomorrow', async () => {
  const it = scene()
  it.identities.hold('billing', () => {
    it.changes += 1
  })
  await until(() => it.changes === 1)
  it.aheadMs = -10 * MINUTE
  assert.equal(it.identities.identity('billing'), undefined)
})

test('holders look for themselves: a share is not given to a node that has no workload of the service, whatever it says', async () => {
  scene()
  const [{ service, key }, second] = signers.members as [Member, Member]
  const { request } = signers.svidRequest('service', 'shop', 'node:n1')
  // As a node would that was changed to ask anyway: straight to a holder, with commitments that it gave.
  const asked = Buffer.from(JSON.stringify({ mint: signers.signed(request, key) }))
  const head = Buffer.alloc(5)
  head[0] = 's'.charCodeAt(0)
  head.writeUInt32BE(asked.length, 1)
  const handler = second.handler as (from: string, payload: Uint8Array) => Promise<Uint8Array>
  const answer = Buffer.from(await handler('n1', Buffer.concat([head, asked, Buffer.alloc(64)]))).toString()
  assert.match(answer, /^-MINT_NOT_ENTITLED: /)
  await assert.rejects(service.mint({ mint: signers.signed(request, key) }, 1_000), /do not give shop to the node n1/)
})

/** What nodes may have certificates of for the programs on their machines, and what becomes of those when they may no longer. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'
import { test } from 'node:test'
import { createDenialIndex, type DenialSubject, NO_SIGNING_KEY_VIEW } from '@ringwall/ring'
import { checkMint, type MintView } from './mint-check.ts'
import { type MintRequest, mintSigningBytes, svidProofBytes } from './mint-request.ts'
import { attestingNode, certificateOf, spiffeId } from './svid.ts'

const ringKey = generateKeyPairSync('ed25519')
const keys = { n1: generateKeyPairSync('ed25519'), n2: generateKeyPairSync('ed25519'), ada: generateKeyPairSync('ed25519') }
const raw = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string
const RING = 'cd'.repeat(32)
const NOW = 1_800_000_000_000

const workload = (nodes: readonly string[], ttl = 3_600_000) => ({ nodes: [...nodes], unix: [{ uid: 1_000 }], ttl })
const view: MintView = {
  ring: RING,
  operators: [{ name: 'ada', publicKey: raw(keys.ada.publicKey) }],
  nodes: (['n1', 'n2'] as const).map((id) => {
    return { id, region: 'eu', address: '127.0.0.1:1', publicKey: raw(keys[id].publicKey), roles: ['edge'] }
  }),
  denials: createDenialIndex([]),
  signingKey: { ...NO_SIGNING_KEY_VIEW, key: raw(ringKey.publicKey), madeAtMs: NOW - 86_400_000 },
  policy: { workloads: { billing: workload(['n1']), shop: workload(['n2'], 600_000) } },
}

const workloadKey = generateKeyPairSync('ec', { namedCurve: 'P-256' })

function asked(name: string, ttlS = 600): MintRequest {
  const publicKey = workloadKey.publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
  const proof = sign('sha256', svidProofBytes(RING, { of: 'service', name, publicKey }), workloadKey.privateKey)
  const want = { type: 'svid', of: 'service', name, publicKey, proof: proof.toString('base64url'), ttlS } as const
  return { ring: RING, issuer: '', certificate: '', atMs: NOW, nonce: randomBytes(16).toString('base64url'), want }
}

function by(node: 'n1' | 'n2', request: MintRequest, of: MintView = view, nowMs = NOW): ReturnType<typeof checkMint> {
  const whole = { ...request, issuer: `node:${node}` }
  const signature = sign(null, mintSigningBytes(whole), keys[node].privateKey).toString('base64url')
  return checkMint({ request: whole, signature }, of, nowMs)
}

const codeOf = (checked: ReturnType<typeof checkMint>): string => (checked.ok ? 'ok' : checked.code)

function denying(subject: DenialSubject): MintView {
  const said = { reason: 'gone', issuer: 'operator:ada', issuedAtMs: NOW, expiresAtMs: NOW + 600_000, height: 1 }
  return { ...view, denials: createDenialIndex([{ id: '0'.repeat(16), subject, ...said }]) }
}

/** What the ring would hand out to n1 for its workload. */
function certificate(): Buffer {
  const checked = by('n1', asked('billing'))
  assert.ok(checked.ok)
  return Buffer.from(certificateOf(checked.message, sign(null, checked.message, ringKey.privateKey)))
}

/** As the workload itself, by its certificate. */
function self(shown: Buffer, want: MintRequest['want'], of: MintView = view): ReturnType<typeof checkMint> {
  const request = { ...asked('billing'), issuer: 'service:billing', certificate: shown.toString('base64url'), want }
  const signature = sign('sha256', mintSigningBytes(request), workloadKey.privateKey).toString('base64url')
  return checkMint({ request, signature }, of, NOW)
}

const token: MintRequest['want'] = { type: 'token', service: 'billing', audience: 'shop', ttlS: 300, claims: {} }

test('a node has certificates of the services that the policy gives it, and of no others: what a stolen node can have is bounded', () => {
  assert.equal(codeOf(by('n1', asked('billing'))), 'ok')
  assert.equal(codeOf(by('n2', asked('shop'))), 'ok')
  assert.equal(codeOf(by('n1', asked('shop'))), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(by('n2', asked('billing'))), 'MINT_NOT_ENTITLED')
  for (const name of ['none', 'constructor', 'tostring', '__proto__'])
    assert.equal(codeOf(by('n1', asked(name))), 'MINT_NOT_ENTITLED', name)
  assert.equal(
    codeOf(by('n1', { ...asked('billing'), want: token })),
    'MINT_NOT_ENTITLED',
    'tokens are for the workload to ask for',
  )
  assert.equal(codeOf(by('n2', asked('shop', 601))), 'MINT_NOT_ENTITLED', 'for longer than the policy says')
  assert.equal(codeOf(by('n1', asked('billing'), { ...view, policy: { workloads: {} } })), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(by('n1', asked('billing'), { ...view, nodes: view.nodes.slice(1) })), 'MINT_ISSUER_UNKNOWN')
})

test('denying the service or the node ends what the node may have of the service', () => {
  const billing = spiffeId(RING, 'service', 'billing')
  assert.equal(codeOf(by('n1', asked('billing'), denying({ kind: 'subject', value: billing }))), 'MINT_DENIED')
  assert.equal(
    codeOf(by('n1', asked('billing'), denying({ kind: 'subject', value: spiffeId(RING, 'node', 'n1') }))),
    'MINT_DENIED',
  )
  assert.equal(codeOf(by('n1', asked('billing'), denying({ kind: 'subject', value: spiffeId(RING, 'node', 'n2') }))), 'ok')
})

test('a node whose age is over gets no certificates, from that moment on; others do', () => {
  const aged = { ...view, ages: [{ node: 'n1', endsAtMs: NOW }] }
  const early = { ...asked('billing'), atMs: NOW - 1 }
  assert.equal(codeOf(by('n1', early, aged, NOW - 1)), 'ok')
  const refused = by('n1', asked('billing'), aged)
  assert.deepEqual(
    [codeOf(refused), refused.ok ? '' : refused.reason.slice(0, 36)],
    ['MINT_DENIED', 'n1 is older than fleet.maxAge allows'],
  )
  assert.equal(codeOf(by('n2', asked('shop'), aged)), 'ok')
})

test('the certificate names the node, is read by others, and renews nothing', () => {
  const shown = certificate()
  const parsed = new X509Certificate(shown)
  assert.equal(parsed.subjectAltName, `URI:${spiffeId(RING, 'service', 'billing')}`)
  assert.equal(attestingNode(parsed.subject), 'n1')
  assert.equal(codeOf(self(shown, token)), 'ok')
  assert.equal(codeOf(self(shown, asked('billing').want)), 'MINT_NOT_ENTITLED')
})

test('tokens end with the node that the certificate names: gone, denied, or without the workload', () => {
  const shown = certificate()
  for (const [what, of] of [
    ['gone', { ...view, nodes: view.nodes.slice(1) }],
    ['without the workload', { ...view, policy: { workloads: {} } }],
    ['of another node now', { ...view, policy: { workloads: { billing: workload(['n2']) } } }],
  ] as const)
    assert.equal(codeOf(self(shown, token, of)), 'MINT_NOT_ENTITLED', what)
  assert.equal(codeOf(self(shown, token, denying({ kind: 'subject', value: spiffeId(RING, 'node', 'n1') }))), 'MINT_DENIED')
})

test('a certificate that an operator gave names no node, whatever the service is called', () => {
  const request = { ...asked('ou-node-n1'), issuer: 'operator:ada' }
  const signature = sign(null, mintSigningBytes(request), keys.ada.privateKey).toString('base64url')
  const checked = checkMint({ request, signature }, view, NOW)
  assert.ok(checked.ok)
  const made = new X509Certificate(Buffer.from(certificateOf(checked.message, sign(null, checked.message, ringKey.privateKey))))
  assert.equal(attestingNode(made.subject), undefined)
})

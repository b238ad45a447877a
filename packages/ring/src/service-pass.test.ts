/** Statements of services, which a node proposes for who has a pass. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, hash, randomBytes, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import { createDenialIndex } from './denial-index.ts'
import type { ServicePass } from './pass-shape.ts'
import type { RingKey } from './ring-key.ts'
import { judgePass, PASS_AUDIENCE, passHolder, passSigningBytes, readPass } from './service-pass.ts'
import { NOW } from './test-ring.ts'
import { parseContent } from './tx.ts'
import type { TxContent } from './types.ts'

const RING = 'ab'.repeat(32)
const ringKey = generateKeyPairSync('ed25519')
const holder = generateKeyPairSync('ed25519')
const rawKey = (pair: typeof holder): string => pair.publicKey.export({ format: 'jwk' }).x as string
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

function pass(changes: Record<string, unknown> = {}, by = ringKey): ServicePass {
  const key = rawKey(holder)
  const jkt = hash('sha256', `{"crv":"Ed25519","kty":"OKP","x":"${key}"}`, 'base64url')
  const claims = {
    aud: PASS_AUDIENCE,
    cnf: { jkt },
    exp: NOW / 1_000 + 600,
    iat: NOW / 1_000,
    iss: `urn:ringwall:${RING}`,
    jti: '0'.repeat(32),
    sub: `spiffe://${RING}/service/web`,
    ...changes,
  }
  const signed = `${part({ alg: 'EdDSA', kid: 'k', typ: 'JWT' })}.${part(claims)}`
  return { key, token: `${signed}.${sign(null, Buffer.from(signed), by.privateKey).toString('base64url')}` }
}

const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const verifies = (key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  verify(null, message, { key: Buffer.concat([SPKI, key]), format: 'der', type: 'spki' }, signature)
const isSigned = (token: string): boolean => {
  const at = token.lastIndexOf('.')
  return verify(null, Buffer.from(token.slice(0, at)), ringKey.publicKey, Buffer.from(token.slice(at + 1), 'base64url'))
}
const judge = { isSigned, denials: createDenialIndex([]) }

test('a pass is a token of the ring, for the vault, of a service, bound to the key that is shown with it, and good now', () => {
  assert.deepEqual(judgePass(RING, pass(), NOW, judge), { service: 'web' })
  const other = generateKeyPairSync('ed25519')
  for (const [what, wrong] of [
    ['another audience', pass({ aud: 'shop' })],
    ['another ring', pass({ iss: `urn:ringwall:${'cd'.repeat(32)}` })],
    ['a subject of another ring', pass({ sub: `spiffe://${'cd'.repeat(32)}/service/web` })],
    ['a node', pass({ sub: `spiffe://${RING}/node/n1` })],
    ['bound to nothing', pass({ cnf: undefined })],
    ['bound to a certificate', pass({ cnf: { 'x5t#S256': 'A'.repeat(43) } })],
    ['shown with another key', { ...pass(), key: rawKey(other) }],
    ['signed by somebody else', pass({}, other)],
    ['over', pass({ exp: NOW / 1_000 })],
    ['of later', pass({ iat: NOW / 1_000 + 60 })],
    ['no token', { ...pass(), token: 'a.b.c' }],
  ] as const)
    assert.ok('fault' in judgePass(RING, wrong, NOW, judge), what)
  const subject = { kind: 'subject', value: `spiffe://${RING}/service/web` } as const
  const said = { reason: 'stolen', issuer: 'operator:ada', issuedAtMs: NOW, expiresAtMs: NOW + 600_000, height: 1 }
  const denials = createDenialIndex([{ id: '0'.repeat(16), subject, ...said }])
  assert.match((judgePass(RING, pass(), NOW, { isSigned, denials }) as { fault: string }).fault, /denied by operator:ada: stolen/)
  assert.equal(readPass(RING, pass())?.service, 'web')
})

test('what a pass states is stated once: another node, moment, nonce or content, or another key’s signature, is refused', () => {
  const held = pass()
  const nonce = randomBytes(16).toString('base64url')
  const body = {
    type: 'vault.hide',
    name: 'web/db',
    versions: [1],
    hidden: true,
    pass: { ...held, signature: 'A'.repeat(86) },
  } as const
  const content: TxContent = { ring: RING, issuer: 'node:n1', atMs: NOW, untilMs: NOW + 60_000, nonce, body }
  const signature = sign(null, passSigningBytes(content), holder.privateKey).toString('base64url')
  const signed = { ...held, signature }
  const state = {
    signingKey: { publicKey: null, former: [{ key: rawKey(ringKey), untilMs: NOW + 1 }] } as unknown as RingKey,
    validators: [],
    denials: createDenialIndex([]) as never,
  }
  const of = (changed: TxContent, shown = signed): object => passHolder(state, changed, shown, NOW, verifies)
  assert.deepEqual(of({ ...content, body: { ...body, pass: signed } }), { service: 'web' })
  for (const changed of [
    { ...content, issuer: 'node:n2' },
    { ...content, atMs: NOW + 1 },
    { ...content, nonce: randomBytes(16).toString('base64url') },
    { ...content, body: { ...body, versions: [1, 2] } },
    { ...content, body: { ...body, hidden: false } },
  ])
    assert.ok('fault' in of(changed))
  const stranger = generateKeyPairSync('ed25519')
  assert.ok(
    'fault' in
      of(content, { ...held, signature: sign(null, passSigningBytes(content), stranger.privateKey).toString('base64url') }),
  )
  assert.deepEqual(parseContent(JSON.parse(JSON.stringify({ ...content, body: { ...body, pass: signed } }))).body, {
    ...body,
    pass: signed,
  })
})

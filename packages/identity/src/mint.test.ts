import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes, sign, X509Certificate } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createDenialIndex, NO_SIGNING_KEY_VIEW, ringIssuer } from '@ringwall/ring'
import fc from 'fast-check'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { checkAuthority, checkMint, type MintView, ringJwk } from './mint-check.ts'
import {
  type MintRequest,
  MintRequestInvalid,
  mintSigningBytes,
  parseSignedMintRequest,
  type SignedMintRequest,
  svidProofBytes,
} from './mint-request.ts'
import { certificateOf, certificatePem, spiffeId } from './svid.ts'
import { createTokenVerifier } from './token-verifier.ts'

// One key in the place of the ring's: what is signed is the same, whoever signs it.
const ringKey = generateKeyPairSync('ed25519')
const operator = generateKeyPairSync('ed25519')
const node = generateKeyPairSync('ed25519')
const raw = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string
const RING = 'ab'.repeat(32)
const NOW = 1_800_000_000_000
const view: MintView = {
  ring: RING,
  operators: [{ name: 'ada', publicKey: raw(operator.publicKey) }],
  nodes: [{ id: 'n1', region: 'eu', address: '127.0.0.1:1', publicKey: raw(node.publicKey), roles: ['validator'] }],
  denials: createDenialIndex([]),
  policy: { workloads: {} },
  signingKey: { ...NO_SIGNING_KEY_VIEW, key: raw(ringKey.publicKey), madeAtMs: NOW - 86_400_000 },
}

function request(want: Partial<MintRequest['want']> = {}, changes: Partial<MintRequest> = {}): MintRequest {
  const token = { type: 'token', service: 'billing', audience: 'shop', ttlS: 300, claims: { scope: 'read' }, ...want }
  const nonce = randomBytes(16).toString('base64url')
  return { ring: RING, issuer: 'operator:ada', certificate: '', atMs: NOW, nonce, want: token as MintRequest['want'], ...changes }
}

const signed = (asked: MintRequest, by: KeyObject = operator.privateKey): SignedMintRequest => ({
  request: asked,
  signature: sign(null, mintSigningBytes(asked), by).toString('base64url'),
})

function mint(asked: SignedMintRequest, nowMs = NOW): Uint8Array {
  const checked = checkMint(asked, view, nowMs)
  assert.ok(checked.ok, JSON.stringify(checked))
  return checked.message
}

function tokenOf(asked: MintRequest = request()): string {
  const message = Buffer.from(mint(signed(asked)))
  return `${message}.${sign(null, message, ringKey.privateKey).toString('base64url')}`
}

function svidRequest(of: 'node' | 'service', name: string, type: 'ed25519' | 'ec' = 'ed25519'): MintRequest {
  const pair = type === 'ec' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
  const publicKey = pair.publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
  const digest = type === 'ec' ? 'sha256' : null
  const proof = sign(digest, svidProofBytes(RING, { of, name, publicKey }), pair.privateKey).toString('base64url')
  const issuer = of === 'node' ? `node:${name}` : 'operator:ada'
  return request({}, { issuer, want: { type: 'svid', of, name, publicKey, proof, ttlS: 3_600 } })
}

const ownVerifier = () => createTokenVerifier({ issuers: [], ring: { ring: RING, keys: [raw(ringKey.publicKey)] } })

test('jose verifies a token of the ring with its JWKS, issuer and audience', async () => {
  const keys = createLocalJWKSet({ keys: [{ ...ringJwk(raw(ringKey.publicKey)) }] })
  const { payload, protectedHeader } = await jwtVerify(tokenOf(), keys, {
    issuer: ringIssuer(RING),
    audience: 'shop',
    subject: spiffeId(RING, 'service', 'billing'),
    algorithms: ['EdDSA'],
    currentDate: new Date(NOW),
  })
  assert.deepEqual([payload.scope, payload.exp], ['read', NOW / 1_000 + 300])
  assert.equal(protectedHeader.typ, 'JWT')
  await assert.rejects(jwtVerify(tokenOf(), keys, { audience: 'bank', currentDate: new Date(NOW) }))
})

test('the node’s verifier takes a token of the ring at once, remembers it, and sees its end', () => {
  const verifier = ownVerifier()
  const token = tokenOf()
  const verdict = verifier.verify(token, NOW)
  assert.ok(!(verdict instanceof Promise) && verdict.ok)
  assert.deepEqual([verdict.audience, verdict.subject], ['shop', spiffeId(RING, 'service', 'billing')])
  assert.deepEqual(
    [verdict.keys, verdict.issuedAtMs],
    [[ringJwk(raw(ringKey.publicKey)).kid], NOW - (NOW % 1_000)],
    'what it can be denied by beside its subject and its id',
  )
  assert.equal(verifier.verify(token, NOW + 1), verdict)
  const late = verifier.verify(token, NOW + 400_000)
  assert.ok(!(late instanceof Promise) && !late.ok && late.code === 'TOKEN_EXPIRED')
})

test('a token is bound to what the request says, and to nothing else', () => {
  const thumbprint = 'A'.repeat(43)
  for (const cnf of [{ jkt: thumbprint }, { 'x5t#S256': thumbprint }, { jkt: thumbprint, 'x5t#S256': thumbprint }]) {
    const asked = request()
    const bound = { ...asked, want: { ...asked.want, cnf } } as MintRequest
    const parsed = parseSignedMintRequest(JSON.parse(JSON.stringify(signed(bound))))
    const checked = checkMint(parsed, view, NOW)
    assert.ok(checked.ok)
    const claims = JSON.parse(
      Buffer.from(Buffer.from(checked.message).toString().split('.')[1] as string, 'base64url').toString(),
    )
    assert.deepEqual(claims.cnf, cnf)
  }
  const bad = [null, {}, 'key', [], { jwk: {} }, { jkt: thumbprint, more: 1 }, { jkt: `${thumbprint}A` }, { jkt: 7 }, { jkt: '' }]
  for (const cnf of bad) {
    const asked = signed(request())
    const want = { ...asked.request.want, cnf }
    assert.throws(
      () => parseSignedMintRequest({ ...asked, request: { ...asked.request, want } }),
      /want\.cnf/,
      JSON.stringify(cnf),
    )
  }
})

test('a token of the ring that is forged, or says it is signed in another way, is refused', async () => {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const good = tokenOf()
  const [header, claims, signature] = good.split('.') as [string, string, string]
  const own = JSON.parse(Buffer.from(claims, 'base64url').toString()) as Record<string, unknown>
  const head = JSON.parse(Buffer.from(header, 'base64url').toString()) as Record<string, unknown>
  const by = (key: KeyObject, ...parts: readonly string[]): string =>
    `${parts.join('.')}.${sign(null, Buffer.from(parts.join('.')), key).toString('base64url')}`
  const bad: readonly [string, string, string][] = [
    ['other claims', `${header}.${part({ ...own, sub: 'root' })}.${signature}`, 'TOKEN_SIGNATURE'],
    ['another key', by(operator.privateKey, header, claims), 'TOKEN_SIGNATURE'],
    ['another key, named', by(operator.privateKey, part(ringJwk(raw(operator.publicKey))), claims), 'TOKEN_KEY_UNKNOWN'],
    ['no kid', by(ringKey.privateKey, part({ ...head, kid: undefined }), claims), 'TOKEN_KEY_UNKNOWN'],
    ['alg none', `${part({ ...head, alg: 'none' })}.${claims}.${signature}`, 'TOKEN_ALGORITHM'],
    ['HS256', `${part({ ...head, alg: 'HS256' })}.${claims}.${signature}`, 'TOKEN_ALGORITHM'],
    ['crit', by(ringKey.privateKey, part({ ...head, crit: ['x'] }), claims), 'TOKEN_CRITICAL'],
    ['b64', by(ringKey.privateKey, part({ ...head, b64: false }), claims), 'TOKEN_CRITICAL'],
    ['no audience', by(ringKey.privateKey, header, part({ ...own, aud: undefined })), 'TOKEN_MALFORMED'],
    ['another spelling of the same bytes', good.replace(claims, claims.replace(/^e/, '\u0165')), 'TOKEN_MALFORMED'],
    ['a part more', `${header}.${claims}.${claims}.${signature}`, 'TOKEN_MALFORMED'],
    ['claims that are no object', by(ringKey.privateKey, header, part('text')), 'TOKEN_MALFORMED'],
    ['claims that are nothing', by(ringKey.privateKey, header, part(null)), 'TOKEN_MALFORMED'],
    ['claims that are no JSON', by(ringKey.privateKey, header, 'AAAA'), 'TOKEN_MALFORMED'],
    ['a list of audiences', by(ringKey.privateKey, header, part({ ...own, aud: ['shop'] })), 'TOKEN_MALFORMED'],
    ['another spelling of the signature', `${header}.${claims}.${signature.slice(0, -1)}${nextOf(signature)}`, 'TOKEN_SIGNATURE'],
    ['another ring', by(ringKey.privateKey, header, part({ ...own, iss: ringIssuer('cd'.repeat(32)) })), 'TOKEN_ISSUER_UNKNOWN'],
  ]
  for (const [name, token, code] of bad) {
    const verdict = await ownVerifier().verify(token, NOW)
    assert.equal(verdict.ok ? 'ok' : verdict.code, code, name)
  }
})

/** Base64url of 64 bytes ends with a character of which four bits do not count. */
function nextOf(signature: string): string {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
  return alphabet[alphabet.indexOf(signature.at(-1) as string) + 1] as string
}

test('openssl and node verify certificates of nodes and services against the ring’s own', (t) => {
  const checked = checkAuthority(view)
  assert.ok(checked.ok)
  const certify = (message: Uint8Array): Uint8Array => certificateOf(message, sign(null, message, ringKey.privateKey))
  const authority = certify(checked.message)
  const ca = new X509Certificate(authority)
  assert.ok(ca.ca && ca.verify(createPublicKey(ringKey.publicKey.export({ format: 'pem', type: 'spki' }))))
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-svid-'))
  t.after(() => rmSync(directory, { recursive: true, force: true }))
  writeFileSync(join(directory, 'ca.pem'), certificatePem(authority))
  for (const [of, name, type] of [
    ['service', 'billing', 'ed25519'],
    ['service', 'billing', 'ec'],
    ['node', 'n1', 'ed25519'],
  ] as const) {
    const asked = svidRequest(of, name, type)
    const der = certify(mint(signed(asked, of === 'node' ? node.privateKey : operator.privateKey)))
    const certificate = new X509Certificate(der)
    assert.ok(certificate.checkIssued(ca) && certificate.verify(ca.publicKey) && !certificate.ca)
    assert.equal(certificate.subjectAltName, `URI:${spiffeId(RING, of, name)}`)
    assert.equal(Date.parse(certificate.validTo), NOW + 3_600_000)
    writeFileSync(join(directory, 'leaf.pem'), certificatePem(der))
    const at = ['-attime', String(NOW / 1_000)]
    const openssl = (...more: readonly string[]): string =>
      execFileSync(
        'openssl',
        ['verify', '-x509_strict', ...at, '-CAfile', join(directory, 'ca.pem'), ...more, join(directory, 'leaf.pem')],
        {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'pipe'],
        },
      )
    try {
      execFileSync('openssl', ['version'], { stdio: 'ignore' })
    } catch {
      t.diagnostic('no openssl here: verified by node alone')
      continue
    }
    for (const purpose of ['sslserver', 'sslclient']) assert.match(openssl('-purpose', purpose), /leaf\.pem: OK/)
  }
})

test('whoever does not hold the key of a certificate does not get one; nor does a node for another, or for a service', () => {
  const codeOf = (asked: SignedMintRequest, of: MintView = view): string => {
    const checked = checkMint(asked, of, NOW)
    return checked.ok ? 'ok' : checked.code
  }
  const svid = svidRequest('service', 'billing')
  const other = svidRequest('service', 'billing')
  const want = svid.want as Extract<MintRequest['want'], { type: 'svid' }>
  const stolen = { ...svid, want: { ...want, publicKey: (other.want as typeof want).publicKey } }
  assert.equal(codeOf(signed(svid)), 'ok')
  assert.equal(codeOf(signed(stolen)), 'MINT_PROOF')
  assert.equal(codeOf(signed({ ...svid, want: { ...want, name: 'shop' } })), 'MINT_PROOF', 'the proof names whom it is of')
  const rsa = generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ format: 'der', type: 'spki' })
  assert.equal(codeOf(signed({ ...svid, want: { ...want, publicKey: rsa.toString('base64url') } })), 'MINT_KEY')
  const own = svidRequest('node', 'n1')
  assert.equal(codeOf(signed(own, node.privateKey)), 'ok')
  assert.equal(codeOf(signed(own)), 'MINT_SIGNATURE', 'an operator cannot speak for a node')
  assert.equal(codeOf(signed({ ...svid, issuer: 'node:n1' }, node.privateKey)), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(signed(request({}, { issuer: 'node:n1' }), node.privateKey)), 'MINT_NOT_ENTITLED')
  assert.equal(codeOf(signed(request()), { ...view, signingKey: NO_SIGNING_KEY_VIEW }), 'MINT_NO_KEY')
  assert.equal(codeOf(signed(own, node.privateKey), { ...view, nodes: [] }), 'MINT_ISSUER_UNKNOWN', 'a node that is gone')
})

test('one request makes one token; two alike make two', () => {
  const asked = request()
  assert.deepEqual(mint(signed(asked)), mint(signed(asked), NOW + 30_000))
  assert.notDeepEqual(mint(signed(request())), mint(signed(request())))
})

test('property: a request that was read is written the same; anything else is refused in words', () => {
  const good = JSON.parse(JSON.stringify(signed(request()))) as Record<string, unknown>
  assert.deepEqual(parseSignedMintRequest(good), good)
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.throws(() => parseSignedMintRequest(value), MintRequestInvalid)
    }),
    { numRuns: 300 },
  )
  const token = (good.request as MintRequest).want
  for (const change of [
    { audience: 'a b' },
    { audience: '' },
    { ttlS: 0 },
    { ttlS: 3_601 },
    { ttlS: '300' },
    { service: 'Billing' },
    { service: '../root' },
    { claims: { sub: 'root' } },
    { claims: { exp: '1' } },
    { claims: { __proto__x: 'x' } },
    { claims: { name: 7 } },
    { claims: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`c${i}`, 'x'])) },
    { more: 1 },
  ])
    assert.throws(
      () => parseSignedMintRequest({ ...good, request: { ...(good.request as object), want: { ...token, ...change } } }),
      MintRequestInvalid,
      JSON.stringify(change),
    )
})

test('a service with a certificate has tokens and certificates of itself made, until it is over, denied, or not its own', () => {
  const codeOf = (asked: SignedMintRequest, nowMs = NOW, of: MintView = view): string => {
    const checked = checkMint(asked, of, nowMs)
    return checked.ok ? 'ok' : checked.code
  }
  for (const type of ['ed25519', 'ec'] as const) {
    const pair = type === 'ec' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('ed25519')
    const spki = pair.publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
    const digest = type === 'ec' ? 'sha256' : null
    const proof = sign(digest, svidProofBytes(RING, { of: 'service', name: 'billing', publicKey: spki }), pair.privateKey)
    const want = {
      type: 'svid',
      of: 'service',
      name: 'billing',
      publicKey: spki,
      proof: proof.toString('base64url'),
      ttlS: 3_600,
    } as const
    const first = mint(signed(request({}, { want })))
    const certificate = Buffer.from(certificateOf(first, sign(null, first, ringKey.privateKey)))
    const by = (asked: MintRequest, shown = certificate, key = pair.privateKey): SignedMintRequest => {
      const whole = { ...asked, issuer: 'service:billing', certificate: shown.toString('base64url') }
      return { request: whole, signature: sign(digest, mintSigningBytes(whole), key).toString('base64url') }
    }
    assert.doesNotThrow(() => parseSignedMintRequest(JSON.parse(JSON.stringify(by(request())))))
    const next = svidRequest('service', 'billing')
    assert.equal(codeOf(by(request({ claims: {} } as never))), 'ok')
    for (const claims of [{ groups: 'staff' }, { roles: 'admin' }, { scope: 'read' }])
      assert.equal(
        codeOf(by(request({ claims } as never))),
        'MINT_NOT_ENTITLED',
        'what policies decide by is for operators to say',
      )
    assert.equal(codeOf(by(next)), 'ok')
    const later = NOW + 3_500_000
    assert.equal(codeOf(by({ ...next, atMs: later }), later), 'ok', 'as long as it is good')
    assert.equal(codeOf(by({ ...next, atMs: later + 200_000 }), later + 200_000), 'MINT_CERTIFICATE')
    assert.equal(codeOf(by(request({ service: 'shop' } as never))), 'MINT_NOT_ENTITLED')
    assert.equal(codeOf(by(svidRequest('service', 'shop'))), 'MINT_NOT_ENTITLED')
    assert.equal(codeOf(by({ ...svidRequest('node', 'n1') })), 'MINT_NOT_ENTITLED')
    const thief = generateKeyPairSync('ed25519').privateKey
    assert.equal(
      codeOf(by(request(), certificate, type === 'ec' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey : thief)),
      'MINT_SIGNATURE',
    )
    const foreign = Buffer.from(certificateOf(first, sign(null, first, thief)))
    assert.equal(codeOf(by(request(), foreign)), 'MINT_CERTIFICATE')
    assert.equal(codeOf(by(request(), certificate.subarray(0, -1))), 'MINT_CERTIFICATE')
    assert.equal(codeOf(by(request(), Buffer.concat([certificate, Buffer.alloc(1)]))), 'MINT_CERTIFICATE')
    const ca = checkAuthority(view)
    assert.ok(ca.ok)
    assert.equal(
      codeOf(by(request(), Buffer.from(certificateOf(ca.message, sign(null, ca.message, ringKey.privateKey))))),
      'MINT_CERTIFICATE',
    )
    const id = spiffeId(RING, 'service', 'billing')
    const thumbprint = createHash('sha256').update(certificate).digest('base64url')
    for (const subject of [
      { kind: 'subject', value: id },
      { kind: 'key', value: thumbprint },
      { kind: 'issued-before', subject: id, value: new Date(NOW + 1_000).toISOString() },
    ] as const) {
      const said = { reason: 'gone', issuer: 'operator:ada', issuedAtMs: NOW, expiresAtMs: NOW + 600_000, height: 1 }
      const denials = createDenialIndex([{ id: '0'.repeat(16), subject, ...said }])
      const at = NOW + 2_000
      assert.equal(codeOf(by({ ...next, atMs: at }), at, { ...view, denials }), 'MINT_DENIED', subject.kind)
      const fresh = signed({ ...svidRequest('service', 'billing'), atMs: at })
      assert.equal(
        codeOf(fresh, at, { ...view, denials }),
        subject.kind === 'subject' ? 'MINT_DENIED' : 'ok',
        'an operator gives another',
      )
    }
  }
  const shown = signed(request({}, { issuer: 'operator:ada', certificate: 'AAAA' }))
  assert.throws(() => parseSignedMintRequest(shown), /certificate/, 'an operator shows none')
})

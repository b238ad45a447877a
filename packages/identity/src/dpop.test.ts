import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, type KeyObject, randomUUID, sign } from 'node:crypto'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'
import type { Presentation, TokenVerdict } from '@ringwall/guard'
import { ringIssuer } from '@ringwall/ring'
import fc from 'fast-check'
import { calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, type JWTPayload, SignJWT } from 'jose'
import { DPOP_ALGORITHMS } from './dpop.ts'
import { ringHeader, ringJwk } from './mint-check.ts'
import { ProofReplays, sharedProofMemory } from './proof-replays.ts'
import { createTokenVerifier } from './token-verifier.ts'

const NOW = 1_800_000_000_000
const NOW_S = NOW / 1_000
const RING = 'ab'.repeat(32)
const URI = 'https://shop.example/orders/7'

const ringKey = generateKeyPairSync('ed25519')
const ringPublic = ringKey.publicKey.export({ format: 'jwk' }).x as string
const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A token of the ring, bound to something or to nothing. */
function token(cnf?: object, jti: string = randomUUID()): string {
  const claims = { aud: 'shop', cnf, exp: NOW_S + 300, iat: NOW_S, iss: ringIssuer(RING), jti, sub: `spiffe://${RING}/service/a` }
  const signed = `${ringHeader(ringJwk(ringPublic).kid)}.${part(claims)}`
  return `${signed}.${sign(null, Buffer.from(signed), ringKey.privateKey).toString('base64url')}`
}

const athOf = (text: string): string => createHash('sha256').update(text).digest('base64url')
const verifierOf = (replays?: ProofReplays) =>
  createTokenVerifier({
    issuers: [],
    ring: { ring: RING, keys: [ringPublic] },
    ...(replays === undefined ? {} : { replays }),
  })

const client = await generateKeyPair('ES256', { extractable: true })
const clientJwk = await exportJWK(client.publicKey)
const bound = token({ jkt: await calculateJwkThumbprint(clientJwk) })

const shown = (proofs: readonly string[], changes: Partial<Presentation> = {}): Presentation => ({
  scheme: 'DPoP',
  proofs,
  method: 'GET',
  target: '/orders/7?page=2',
  host: 'shop.example',
  isSecure: true,
  certificate: undefined,
  ...changes,
})

interface Made {
  readonly header?: object
  readonly claims?: object
  readonly key?: CryptoKey
  readonly jwk?: JWK | undefined
}
type CryptoKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey']

/** As jose makes it for any client. */
async function proof({ header = {}, claims = {}, key = client.privateKey, jwk = clientJwk }: Made = {}): Promise<string> {
  const payload = { htm: 'GET', htu: URI, jti: randomUUID(), iat: NOW_S, ath: athOf(bound), ...claims } as JWTPayload
  return new SignJWT(payload).setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk, ...header } as never).sign(key)
}

/** By hand, for what jose does not make. */
function raw(header: unknown, claims: unknown, key?: KeyObject): string {
  const text = (value: unknown): string => (typeof value === 'string' ? Buffer.from(value).toString('base64url') : part(value))
  const signed = `${text(header)}.${text(claims)}`
  const signature =
    key === undefined
      ? Buffer.alloc(64, 1)
      : sign(key.asymmetricKeyType === 'ed25519' ? null : 'sha256', Buffer.from(signed), { key, dsaEncoding: 'ieee-p1363' })
  return `${signed}.${signature.toString('base64url')}`
}

const codeOf = (verdict: TokenVerdict): string => (verdict.ok ? 'OK' : verdict.code)

async function judged(presentation: Presentation, text = bound): Promise<string> {
  const verdict = await verifierOf().verify(text, NOW, presentation)
  if (!verdict.ok) assert.ok(verdict.reason.length > 10 && !verdict.reason.includes(text))
  return codeOf(verdict)
}

test('a proof that jose makes passes, with every algorithm that is offered, and serves once', async () => {
  for (const algorithm of DPOP_ALGORITHMS) {
    const pair = await generateKeyPair(algorithm, { extractable: true })
    const jwk = await exportJWK(pair.publicKey)
    const own = token({ jkt: await calculateJwkThumbprint(jwk) })
    const verifier = verifierOf()
    const one = await proof({ header: { alg: algorithm }, claims: { ath: athOf(own) }, key: pair.privateKey, jwk })
    const two = await proof({ header: { alg: algorithm }, claims: { ath: athOf(own) }, key: pair.privateKey, jwk })
    const say = async (text: string): Promise<string> => codeOf(await verifier.verify(own, NOW, shown([text])))
    assert.deepEqual(
      [await say(one), await say(one), await say(two), await say(one)],
      ['OK', 'PROOF_REPLAYED', 'OK', 'PROOF_REPLAYED'],
    )
  }
})

test('a proof that was used stays used where the verifier changes with the policy', async () => {
  const replays = new ProofReplays(65_000)
  const one = shown([await proof()])
  assert.equal(codeOf(await verifierOf(replays).verify(bound, NOW, one)), 'OK')
  assert.equal(codeOf(await verifierOf(replays).verify(bound, NOW, one)), 'PROOF_REPLAYED')
})

test('a bound token that nobody presents is read, as for introspection', async () => {
  assert.equal(codeOf(await verifierOf().verify(bound, NOW)), 'OK')
})

test('one address has the spellings that RFC 3986 gives it, and no others', async () => {
  const uri = async (htu: string, changes: Partial<Presentation> = {}): Promise<string> =>
    judged(shown([await proof({ claims: { htu } })], changes))
  const same: readonly [string, Partial<Presentation>?][] = [
    ['https://shop.example/orders/7?other=1#part'],
    ['HTTPS://SHOP.example:443/orders/7'],
    ['https://shop.example/orders/%37'],
    ['https://shop.example/x/../orders/7'],
    ['https://shop.example/orders/7', { host: 'shop.example:443' }],
    ['https://shop.example:8443/orders/7', { host: 'Shop.example:8443' }],
    ['https://shop.example/orders/7', { target: 'https://shop.example/orders/7' }],
    ['https://shop.example/', { target: '/' }],
    ['https://shop.example', { target: '/' }],
    ['https://shop.example/caf%c3%a9', { target: '/caf%C3%A9' }],
    // Without TLS here, it may have ended before us.
    ['https://shop.example/orders/7', { isSecure: false }],
    ['http://shop.example/orders/7', { isSecure: false }],
  ]
  for (const [htu, changes] of same) assert.equal(await uri(htu, changes), 'OK', htu)
  const other: readonly [string, Partial<Presentation>?][] = [
    ['https://shop.example/orders/8'],
    ['https://shop.example/orders/7/'],
    ['https://shop.example/Orders/7'],
    ['https://shop.example/orders%2f7'],
    ['https://evil.example/orders/7'],
    ['https://shop.example.evil.example/orders/7'],
    ['https://shop.example@evil.example/orders/7'],
    ['https://user:secret@shop.example/orders/7'],
    ['https://shop.example:8443/orders/7'],
    ['http://shop.example/orders/7'],
    ['ftp://shop.example/orders/7'],
    ['/orders/7'],
    ['shop.example/orders/7'],
    ['https:shop.example/orders/7'],
    [''],
    ['https://'],
    ['https://[::1/orders/7'],
    ['https://shop.example/orders/7', { host: 'shop.example:8443' }],
    ['https://shop.example/orders/7', { host: '' }],
    ['https://shop.example/orders/7', { target: '*' }],
  ]
  for (const [htu, changes] of other) assert.equal(await uri(htu, changes), 'PROOF_URI', htu)
})

test('the corpus of bad proofs: each is refused, and for its own reason', async () => {
  const stranger = await generateKeyPair('ES256', { extractable: true })
  const strangerJwk = await exportJWK(stranger.publicKey)
  const full = (await exportJWK(client.privateKey)) as JWK
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2_048 })
  const good = await proof()
  const [head, body, signature] = good.split('.') as [string, string, string]
  const header = { typ: 'dpop+jwt', alg: 'ES256', jwk: clientJwk }
  const claims = { htm: 'GET', htu: URI, jti: 'j', iat: NOW_S, ath: athOf(bound) }
  const { x = '', y = '' } = clientJwk
  const without = (name: string): object => ({ ...claims, [name]: undefined })
  const corpus: readonly [string, string, readonly string[], Partial<Presentation>?][] = [
    ['no proof', 'PROOF_MISSING', []],
    ['the token as a bearer’s', 'PROOF_SCHEME', [good], { scheme: 'Bearer' }],
    ['the token as a bearer’s, without a proof', 'PROOF_SCHEME', [], { scheme: 'Bearer' }],
    ['two proofs', 'PROOF_REPEATED', [good, await proof()]],
    ['two in one field', 'PROOF_MALFORMED', [`${good}, ${good}`]],
    ['an empty field', 'PROOF_MALFORMED', ['']],
    ['no JWS', 'PROOF_MALFORMED', ['abc']],
    ['two parts', 'PROOF_MALFORMED', [`${head}.${body}`]],
    ['four parts', 'PROOF_MALFORMED', [`${good}.x`]],
    ['an empty signature', 'PROOF_MALFORMED', [`${head}.${body}.`]],
    ['padding', 'PROOF_MALFORMED', [`${good}==`]],
    ['beyond the bound', 'PROOF_MALFORMED', [await proof({ claims: { more: 'x'.repeat(4_000) } })]],
    ['a header that is no JSON', 'PROOF_MALFORMED', [raw('{', claims)]],
    ['a header that is a list', 'PROOF_MALFORMED', [raw('[]', claims)]],
    ['claims that are no object', 'PROOF_MALFORMED', [raw(header, '"x"')]],
    ['a doubled name in the header', 'PROOF_MALFORMED', [raw(`{"typ":"dpop+jwt","typ":"dpop+jwt"}`, claims)]],
    ['a doubled name in the claims', 'PROOF_MALFORMED', [raw(header, `{"jti":"a","jti":"b"}`)]],
    ['typ JWT', 'PROOF_TYPE', [await proof({ header: { typ: 'JWT' } })]],
    ['no typ', 'PROOF_TYPE', [await proof({ header: { typ: undefined } })]],
    ['typ in capitals', 'PROOF_TYPE', [await proof({ header: { typ: 'DPOP+JWT' } })]],
    ['an access token in its place', 'PROOF_TYPE', [bound]],
    ['alg none', 'PROOF_ALGORITHM', [raw({ ...header, alg: 'none' }, claims)]],
    ['alg HS256', 'PROOF_ALGORITHM', [raw({ ...header, alg: 'HS256' }, claims)]],
    ['alg RS256', 'PROOF_ALGORITHM', [raw({ ...header, alg: 'RS256', jwk: rsa.publicKey.export({ format: 'jwk' }) }, claims)]],
    ['alg ES512', 'PROOF_ALGORITHM', [raw({ ...header, alg: 'ES512' }, claims)]],
    ['alg in small letters', 'PROOF_ALGORITHM', [raw({ ...header, alg: 'es256' }, claims)]],
    ['alg that is a list', 'PROOF_ALGORITHM', [raw({ ...header, alg: ['ES256'] }, claims)]],
    ['no alg', 'PROOF_ALGORITHM', [raw({ ...header, alg: undefined }, claims)]],
    ['crit', 'PROOF_CRITICAL', [raw({ ...header, crit: ['exp'] }, claims)]],
    ['b64', 'PROOF_CRITICAL', [raw({ ...header, b64: false }, claims)]],
    ['no key', 'PROOF_KEY', [raw({ ...header, jwk: undefined }, claims)]],
    ['a key by name only', 'PROOF_KEY', [raw({ ...header, jwk: undefined, kid: 'k' }, claims)]],
    ['a key that is a text', 'PROOF_KEY', [raw({ ...header, jwk: 'key' }, claims)]],
    ['a key that is nothing', 'PROOF_KEY', [raw({ ...header, jwk: null }, claims)]],
    ['a key of another type', 'PROOF_KEY', [raw({ ...header, jwk: rsa.publicKey.export({ format: 'jwk' }) }, claims)]],
    ['a key of another curve', 'PROOF_KEY', [raw({ ...header, alg: 'ES384' }, claims)]],
    ['a key for another algorithm', 'PROOF_KEY', [raw({ ...header, jwk: { ...clientJwk, alg: 'ES384' } }, claims)]],
    ['a key for encryption', 'PROOF_KEY', [raw({ ...header, jwk: { ...clientJwk, use: 'enc' } }, claims)]],
    ['a coordinate too short', 'PROOF_KEY', [raw({ ...header, jwk: { ...clientJwk, x: x.slice(2) } }, claims)]],
    ['a coordinate too long', 'PROOF_KEY', [raw({ ...header, jwk: { ...clientJwk, x: `${x}AA` } }, claims)]],
    ['a coordinate with padding', 'PROOF_KEY', [raw({ ...header, jwk: { ...clientJwk, x: `${x}=` } }, claims)]],
    ['no y', 'PROOF_KEY', [raw({ ...header, jwk: { ...clientJwk, y: undefined } }, claims)]],
    ['a coordinate that is a number', 'PROOF_KEY', [raw({ ...header, jwk: { ...clientJwk, y: 7 } }, claims)]],
    ['a symmetric key', 'PROOF_PRIVATE_KEY', [raw({ ...header, jwk: { kty: 'oct', k: 'AAAA' } }, claims)]],
    ['the private key', 'PROOF_PRIVATE_KEY', [await proof({ jwk: full })]],
    ['a private key that is empty', 'PROOF_PRIVATE_KEY', [await proof({ jwk: { ...clientJwk, d: '' } })]],
    ['another key', 'PROOF_OTHER_KEY', [await proof({ key: stranger.privateKey, jwk: strangerJwk })]],
    ['the coordinates swapped', 'PROOF_OTHER_KEY', [raw({ ...header, jwk: { ...clientJwk, x: y, y: x } }, claims)]],
    ['another method', 'PROOF_METHOD', [await proof({ claims: { htm: 'POST' } })]],
    ['the method in small letters', 'PROOF_METHOD', [await proof({ claims: { htm: 'get' } })]],
    ['for another method than the request’s', 'PROOF_METHOD', [good], { method: 'DELETE' }],
    ['another address', 'PROOF_URI', [await proof({ claims: { htu: 'https://shop.example/' } })]],
    ['too old', 'PROOF_STALE', [await proof({ claims: { iat: NOW_S - 61 } })]],
    ['of the beginning of time', 'PROOF_STALE', [await proof({ claims: { iat: 0 } })]],
    ['in milliseconds', 'PROOF_EARLY', [await proof({ claims: { iat: NOW } })]],
    ['from the future', 'PROOF_EARLY', [await proof({ claims: { iat: NOW_S + 6 } })]],
    ['another token', 'PROOF_OTHER_TOKEN', [await proof({ claims: { ath: athOf('other') } })]],
    ['a hash with padding', 'PROOF_OTHER_TOKEN', [await proof({ claims: { ath: `${athOf(bound)}=` } })]],
    ['no method', 'PROOF_MALFORMED', [raw(header, without('htm'))]],
    ['no address', 'PROOF_MALFORMED', [raw(header, without('htu'))]],
    ['no time', 'PROOF_MALFORMED', [raw(header, without('iat'))]],
    ['a time that is a text', 'PROOF_MALFORMED', [raw(header, { ...claims, iat: String(NOW_S) })]],
    ['a time without end', 'PROOF_MALFORMED', [raw(header, JSON.stringify(claims).replace(String(NOW_S), '1e999'))]],
    ['no hash of the token', 'PROOF_MALFORMED', [raw(header, without('ath'))]],
    ['no id', 'PROOF_MALFORMED', [raw(header, without('jti'))]],
    ['an empty id', 'PROOF_MALFORMED', [raw(header, { ...claims, jti: '' })]],
    ['an id that is a number', 'PROOF_MALFORMED', [raw(header, { ...claims, jti: 7 })]],
    ['an id beyond the bound', 'PROOF_MALFORMED', [raw(header, { ...claims, jti: 'x'.repeat(257) })]],
    ['signed by nobody', 'PROOF_SIGNATURE', [raw(header, claims)]],
    ['signed by another key', 'PROOF_SIGNATURE', [await proof({ key: stranger.privateKey })]],
    ['the signature of another proof', 'PROOF_SIGNATURE', [`${head}.${part({ ...claims, jti: 'new' })}.${signature}`]],
    ['a signature cut', 'PROOF_SIGNATURE', [`${head}.${body}.${signature.slice(0, -2)}`]],
    ['a signature in DER', 'PROOF_SIGNATURE', [`${head}.${body}.${Buffer.alloc(70, 48).toString('base64url')}`]],
    ['a signature of zeros', 'PROOF_SIGNATURE', [`${head}.${body}.${Buffer.alloc(64).toString('base64url')}`]],
  ]
  assert.ok(corpus.length >= 70)
  for (const [name, code, proofs, changes] of corpus) assert.equal(await judged(shown(proofs, changes)), code, name)
  assert.equal(await judged(shown([good])), 'OK', 'and the one that they are made of is good')
})

test('a point that is not on the curve is refused, though the token be bound to it', async () => {
  const x = Buffer.alloc(32, 5).toString('base64url')
  const jwk = { kty: 'EC', crv: 'P-256', x, y: x }
  const own = token({ jkt: await calculateJwkThumbprint(jwk) })
  const claims = { htm: 'GET', htu: URI, jti: 'j', iat: NOW_S, ath: athOf(own) }
  assert.equal(await judged(shown([raw({ typ: 'dpop+jwt', alg: 'ES256', jwk }, claims)]), own), 'PROOF_KEY')
})

test('a token bound to nothing comes as a bearer’s, and needs no proof', async () => {
  const own = token()
  assert.equal(await judged(shown([], { scheme: 'Bearer' }), own), 'OK')
  assert.equal(await judged(shown([await proof()], { scheme: 'Bearer' }), own), 'OK')
  assert.equal(await judged(shown([await proof({ claims: { ath: athOf(own) } })]), own), 'TOKEN_NOT_BOUND')
})

test('a token bound to a certificate is taken from whoever showed that one, and one bound to both needs both', async () => {
  const certificate = athOf('the certificate')
  const own = token({ 'x5t#S256': certificate })
  const bearer = { scheme: 'Bearer' } as const
  assert.equal(await judged(shown([], { ...bearer, certificate }), own), 'OK')
  assert.equal(await judged(shown([], bearer), own), 'TOKEN_CERTIFICATE')
  assert.equal(await judged(shown([], { ...bearer, certificate: athOf('another') }), own), 'TOKEN_CERTIFICATE')
  assert.equal(await judged(shown([await proof({ claims: { ath: athOf(own) } })], { certificate }), own), 'TOKEN_NOT_BOUND')
  const both = token({ jkt: await calculateJwkThumbprint(clientJwk), 'x5t#S256': certificate })
  const made = (): Promise<string> => proof({ claims: { ath: athOf(both) } })
  assert.equal(await judged(shown([await made()], { certificate }), both), 'OK')
  assert.equal(await judged(shown([await made()]), both), 'TOKEN_CERTIFICATE')
  assert.equal(await judged(shown([], { ...bearer, certificate }), both), 'PROOF_SCHEME')
})

test('a refused proof is not used up: only what passed is remembered', async () => {
  const verifier = verifierOf()
  const one = await proof()
  assert.equal(codeOf(await verifier.verify(bound, NOW, shown([one], { method: 'POST' }))), 'PROOF_METHOD')
  const [head, body] = one.split('.') as [string, string]
  const forged = `${head}.${body}.${Buffer.alloc(64, 3).toString('base64url')}`
  assert.equal(codeOf(await verifier.verify(bound, NOW, shown([forged]))), 'PROOF_SIGNATURE')
  assert.equal(codeOf(await verifier.verify(bound, NOW, shown([one]))), 'OK')
})

test('property: no changed proof passes, and none makes the verifier throw', async () => {
  const one = await proof()
  const verifier = verifierOf()
  await fc.assert(
    fc.asyncProperty(fc.nat({ max: one.length - 1 }), fc.constantFrom(...'AbZ9_-.=~{'), async (at, character) => {
      fc.pre(one[at] !== character)
      const changed = `${one.slice(0, at)}${character}${one.slice(at + 1)}`
      assert.notEqual(codeOf(await verifier.verify(bound, NOW, shown([changed]))), 'OK')
    }),
    { numRuns: 300 },
  )
  await fc.assert(
    fc.asyncProperty(fc.string({ maxLength: 200 }), async (text) => {
      assert.notEqual(codeOf(await verifier.verify(bound, NOW, shown([text]))), 'OK')
    }),
  )
})

test('what was seen is remembered for the whole window, and forgotten soon after; each key has its part, and the table its size', () => {
  const replays = new ProofReplays(10_000, sharedProofMemory(1), 4)
  assert.equal(replays.take('a', '1', NOW), 'fresh')
  assert.equal(replays.take('b', '1', NOW), 'fresh', 'of another key')
  for (const ms of [0, 500, 9_999, 10_000, 10_900]) assert.equal(replays.take('a', '1', NOW + ms), 'replayed', String(ms))
  // A clock that is put back forgets nothing.
  assert.equal(replays.take('a', '1', NOW - 3_600_000), 'replayed')
  const later = NOW + 12_000
  for (const id of ['1', '2', '3', '4']) assert.equal(replays.take('a', id, later), 'fresh')
  assert.equal(replays.take('a', '5', later), 'full', 'this key has its part')
  for (let i = 0; i < 12; i += 1) assert.equal(replays.take(`key ${i}`, '1', later), 'fresh')
  assert.equal(replays.take('one more', '1', later), 'full', 'sixteen in one bucket')
  assert.equal(replays.take('a', '4', later), 'replayed')
  assert.equal(replays.take('a', '5', later + 12_000), 'fresh')
})

test('threads that share the memory take a proof once among them, also at once', async () => {
  const memory = sharedProofMemory(64)
  const program = `
    import { parentPort, workerData } from 'node:worker_threads'
    import { ProofReplays } from ${JSON.stringify(new URL('./proof-replays.ts', import.meta.url).href)}
    const replays = new ProofReplays(60_000, workerData.memory)
    const gate = new Int32Array(workerData.gate)
    parentPort.postMessage('ready')
    Atomics.wait(gate, 0, 0)
    const taken = []
    for (let i = 0; i < 400; i += 1) if (replays.take('key', String(i), ${NOW}) === 'fresh') taken.push(i)
    parentPort.postMessage(taken)`
  const gate = new SharedArrayBuffer(4)
  const workers = [1, 2, 3].map(
    () => new Worker(new URL(`data:text/javascript,${encodeURIComponent(program)}`), { workerData: { memory, gate } }),
  )
  await Promise.all(workers.map((worker) => once(worker, 'message')))
  const answers = workers.map((worker) => once(worker, 'message') as Promise<[number[]]>)
  Atomics.store(new Int32Array(gate), 0, 1)
  Atomics.notify(new Int32Array(gate), 0)
  const taken = (await Promise.all(answers)).flatMap(([list]) => list)
  await Promise.all(workers.map((worker) => worker.terminate()))
  assert.equal(new Set(taken).size, taken.length, 'none was taken twice')
  assert.ok(taken.length > 300)
})

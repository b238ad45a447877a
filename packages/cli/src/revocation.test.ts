/** Tokens revoked by the command line: refused at once, and what they have open is cut. */
import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { after, before, test } from 'node:test'
import { startTestNode, type TestNode } from './test-node.ts'
import { bearer, ISSUER, issuerYaml, openWebSocket, token, webSocketEcho } from './test-tokens.ts'

const [A, B] = [ISSUER, 'https://b.example']

let ring: TestNode
before(async () => {
  ring = await startTestNode(issuerYaml([A, B]), webSocketEcho)
})
after(() => ring.stop())

const ask = (text: string) => ring.ask('/', { headers: bearer(text) })
const statusOf = async (text: string): Promise<number> => (await ask(text)).status

/** A device's key, and what a request shows of it (RFC 9449). */
const device = generateKeyPairSync('ed25519')
const deviceJwk = device.publicKey.export({ format: 'jwk' })
const DEVICE_KEY = createHash('sha256')
  .update(JSON.stringify({ crv: 'Ed25519', kty: 'OKP', x: deviceJwk.x }))
  .digest('base64url')

async function statusWithProof(text: string): Promise<number> {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const ath = createHash('sha256').update(text).digest('base64url')
  const claims = {
    htm: 'GET',
    htu: `http://127.0.0.1:${ring.port}/`,
    jti: randomUUID(),
    iat: Math.floor(Date.now() / 1_000),
    ath,
  }
  const signed = `${part({ typ: 'dpop+jwt', alg: 'EdDSA', jwk: deviceJwk })}.${part(claims)}`
  const proof = `${signed}.${sign(null, Buffer.from(signed), device.privateKey).toString('base64url')}`
  return (await ring.ask('/', { headers: { authorization: `DPoP ${text}`, dpop: proof } })).status
}

const open = (text: string) => openWebSocket(ring.port, text)

test('a session that is revoked loses its open WebSocket, and explain says by what; another session keeps its own', async () => {
  const [mine, other] = [token({ sub: 'alice', sid: 's-1' }), token({ sub: 'alice', sid: 's-2' })]
  const [cut, kept] = [await open(mine), await open(other)]
  const told = await ring.run('session', 'revoke', 's-1', '--issuer', A, '--reason', 'laptop stolen')
  assert.equal(told.code, 0, told.stderr)
  assert.match(told.stderr, /denied session s-1 of https:\/\/id\.example for 1d?.*certified at height/)
  await cut.closed
  assert.ok(kept.isOpen())
  kept.socket.close()
  const refused = await ask(mine)
  assert.equal(refused.status, 401)
  const why = await ring.run('explain', refused.id)
  assert.match(why.stdout, /denial {4}[0-9a-f]{16} of session s-1 of https:\/\/id\.example, by operator:\S+: laptop stolen/)
  assert.equal(await statusOf(other), 200)
  const { decisions } = await ring.client.decisions({ outcome: 'deny' })
  const ended = decisions.find(({ path }) => path === '/chat')
  assert.match(ended?.rule ?? '', /^denial:/, 'the WebSocket that was cut is on record, with what cut it')
})

test('each kind is refused, and nothing else with it', async () => {
  const cases: readonly (readonly [args: readonly string[], denied: string, kept: string])[] = [
    [['token', 'j-1'], token({ sub: 'c', jti: 'j-1' }), token({ sub: 'c', jti: 'j-2' })],
    [['subject', 'carol', '--issuer', A], token({ sub: 'carol' }), token({ sub: 'carol', iss: B })],
    [['session', 's-9'], token({ sub: 'c', sid: 's-9' }), token({ sub: 'c', sid: 's-8' })],
    [['device', 'd-1'], token({ sub: 'c', device_id: 'd-1' }), token({ sub: 'c', device_id: 'd-2' })],
    [['key', 'k2', '--issuer', B], token({ sub: 'c', iss: B }, 'k2'), token({ sub: 'c', iss: B }, 'k1')],
    [
      ['issued-before', new Date(Date.now() - 60_000).toISOString(), '--subject', 'dave'],
      token({ sub: 'dave', iat: Math.floor(Date.now() / 1_000) - 120 }),
      token({ sub: 'dave' }),
    ],
  ]
  for (const [args, denied, kept] of cases) {
    assert.deepEqual([await statusOf(denied), await statusOf(kept)], [200, 200], `before: ${args[0]}`)
    const told = await ring.run('deny', 'add', ...args)
    assert.equal(told.code, 0, told.stderr)
    assert.deepEqual([await statusOf(denied), await statusOf(kept)], [401, 200], `after: ${args[0]}`)
  }
  const bound = token({ sub: 'c', cnf: { jkt: DEVICE_KEY } })
  assert.deepEqual([await statusWithProof(bound), await statusOf(token({ sub: 'c' }))], [200, 200])
  assert.equal((await ring.run('deny', 'add', 'key', DEVICE_KEY)).code, 0)
  assert.deepEqual([await statusWithProof(bound), await statusOf(token({ sub: 'c' }))], [401, 200], 'the key of a device')
  const listed = await ring.run('deny', 'ls')
  assert.match(listed.stdout, /issued-before +\S+Z dave/)
  assert.match(listed.stdout, /subject +carol \(https:\/\/id\.example\)/)
})

test('identity revoke with a moment lets in who signs in again; an issuer takes all of its own with it', async () => {
  const nowS = Math.floor(Date.now() / 1_000)
  const [old, fresh] = [token({ sub: 'erin', iat: nowS - 100 }), token({ sub: 'erin', iat: nowS + 20 })]
  const stream = await open(old)
  assert.equal((await ring.run('identity', 'revoke', 'erin', '--issued-before', 'now')).code, 0)
  await stream.closed
  assert.deepEqual([await statusOf(old), await statusOf(fresh)], [401, 200])
  const told = await ring.run('identity', 'revoke', 'erin')
  assert.equal(told.code, 0, told.stderr)
  assert.equal(await statusOf(fresh), 401)
  assert.equal((await ring.run('deny', 'rm', 'erin')).code, 0)
  assert.equal(await statusOf(fresh), 200)
  assert.equal((await ring.run('deny', 'add', 'issuer', B)).code, 0)
  assert.deepEqual([await statusOf(token({ sub: 'x', iss: B })), await statusOf(token({ sub: 'x' }))], [401, 200])
})

test('what would deny nothing, or everybody, is refused with what to do', async () => {
  const cases: readonly (readonly [args: readonly string[], says: RegExp, code: number])[] = [
    [['deny', 'add', 'issuer', 'https://other.example'], /believes no tokens of https:\/\/other\.example/, 1],
    [['session', 'revoke', 's', '--issuer', 'https://other.example'], /believes no tokens of/, 1],
    [['deny', 'add', 'issued-before', '2999-01-01T00:00:00Z'], /after this was signed/, 1],
    [['deny', 'add', 'issued-before', 'yesterday'], /expected now, or a time/, 2],
    [['deny', 'add', 'key', 'short'], /no thumbprint/, 2],
    [['deny', 'add', 'key', 'k9', '--issuer', A], /has no key k9/, 2],
    [['deny', 'add', 'ip', '192.0.2.1', '--issuer', A], /--issuer says nothing about ip/, 2],
    [['deny', 'add', 'token', 'x', '--subject', 'y'], /--subject says nothing about token/, 2],
    [['deny', 'add', 'tokn', 'x'], /cannot be denied; expected one of ip, cidr, token/, 2],
  ]
  for (const [args, says, code] of cases) {
    const told = await ring.run(...args)
    assert.match(told.stderr, says)
    assert.equal(told.code, code, told.stderr)
  }
})

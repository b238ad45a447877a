/**
 * Real processes: the ring's signing key comes by itself, tokens are minted by any node and taken by every other, fewer than the threshold
 * mint nothing, and the key outlives the killing of its holders in the midst of a ceremony. Steps build on one another, in order.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { get } from 'node:https'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Key } from '@ringwall/client'
import {
  calculateJwkThumbprint,
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  type JSONWebKeySet,
  jwtVerify,
  SignJWT,
} from 'jose'
import { pairFiles, temporaryFolder } from '../packages/proxy/src/test-certificates.ts'
import { ask, eventually, freePorts, TestRing } from './local-ring.ts'

let ring: TestRing
let token = ''

before(async () => {
  ring = await TestRing.start()
})

after(async () => {
  await ring?.destroy()
})

const keyOf = async (node: number): Promise<Key> => (await ring.client(node).keys()).keys[0] as Key
const mint = (node: number, audience = 'shop'): ReturnType<ReturnType<TestRing['client']>['tokenMint']> =>
  ring.client(node).tokenMint({ type: 'token', service: 'billing', audience, ttlS: 300, claims: { scope: 'read' } })
const asked = async (node: number, bearer: string): Promise<number> =>
  (await ask(ring.traffic(node), '/private/x', { headers: { authorization: `Bearer ${bearer}` } })).status
const jwksOf = async (node: number): Promise<JSONWebKeySet> =>
  JSON.parse((await ask(ring.base + 1_000 + node, '/.well-known/jwks.json')).body) as JSONWebKeySet

test('01 the key is there soon after the start, the same on all nodes, and its secret in no file and no log', async () => {
  await eventually('there is a key', async () => (await keyOf(1)).state === 'ready', 30_000)
  const { keyId, threshold, holders, faults } = await keyOf(1)
  assert.deepEqual([threshold, holders, faults], [3, ['n1', 'n2', 'n3', 'n4'], []])
  for (const node of [2, 3, 4]) {
    await eventually(`n${node} has it`, async () => (await keyOf(node)).keyId === keyId)
    assert.deepEqual(await jwksOf(node), await jwksOf(1))
  }
  const shown = ring.cli('key', 'ls')
  assert.match(shown.stdout, /signing +ready +\S+ +3 of 4/)
  assert.match(ring.cli('key', 'show').stdout, /signed by +3 of n1, n2, n3, n4/)
})

test('02 any node mints, jose verifies with any node’s keys, and every node takes it where it is meant for', async () => {
  const { text } = await ring.client(1).policy()
  const file = join(ring.data, 'private.yaml')
  const route = '      - { name: private, path: /private, identity: {} }\n'
  writeFileSync(
    file,
    text.replace(/^ {4}routes:\n/m, (routes) => routes + route),
  )
  const applied = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(applied.code, 0, applied.stderr)
  const cli = ring.cli('token', 'mint', '--service', 'billing', '--audience', 'shop', '--claim', 'scope=read')
  assert.equal(cli.code, 0, cli.stderr)
  token = cli.stdout.trim()
  const { payload } = await jwtVerify(token, createLocalJWKSet(await jwksOf(3)), { audience: 'shop', algorithms: ['EdDSA'] })
  assert.equal(payload.scope, 'read')
  const elsewhere = (await mint(2, 'bank')).token
  for (const node of [1, 2, 3, 4]) {
    await eventually(`n${node} has the policy`, async () => (await asked(node, '')) === 401)
    assert.notEqual(await asked(node, token), 401)
    assert.equal(await asked(node, elsewhere), 401, 'for another audience')
    assert.equal(await asked(node, `${token.slice(0, -8)}AAAAAAAA`), 401, 'forged')
  }
  assert.match(ring.cli('token', 'show', token).stdout, /active +true/)
})

test('03 with the node that minted killed, its token is taken and others mint; with two killed nobody mints, and tokens are still taken', async () => {
  await ring.kill(1)
  for (const node of [2, 3, 4]) {
    assert.notEqual(await asked(node, token), 401)
    assert.notEqual(await asked(node === 4 ? 2 : node + 1, (await mint(node)).token), 401)
  }
  await ring.kill(2)
  await assert.rejects(mint(3), /SIGNING|takes 3 holders|in time/)
  assert.notEqual(await asked(4, token), 401)
  await ring.restart(1)
  await ring.restart(2)
  await eventually('n1 mints again', async () => (await mint(1)).token !== '', 30_000)
})

test('04 a token bound to a key is taken with a proof by it, once, and with nothing else', async () => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true })
  const jwk = await exportJWK(publicKey)
  const minted = ring.cli(
    ...['token', 'mint', '--service', 'billing', '--audience', 'shop', '--dpop-key', await calculateJwkThumbprint(jwk)],
  )
  assert.equal(minted.code, 0, minted.stderr)
  const bound = minted.stdout.trim()
  const ath = createHash('sha256').update(bound).digest('base64url')
  const proof = (node: number): Promise<string> =>
    new SignJWT({ htm: 'GET', htu: `http://127.0.0.1:${ring.traffic(node)}/private/x`, ath })
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
      .setJti(randomUUID())
      .setIssuedAt()
      .sign(privateKey)
  const shown = async (node: number, headers: Record<string, string>): Promise<number> =>
    (await ask(ring.traffic(node), '/private/x', { headers })).status
  for (const node of [2, 3]) {
    const dpop = await proof(node)
    assert.notEqual(await shown(node, { authorization: `DPoP ${bound}`, dpop }), 401)
    assert.equal(await shown(node, { authorization: `DPoP ${bound}`, dpop }), 401, 'the same again')
    assert.equal(await shown(node, { authorization: `DPoP ${bound}` }), 401, 'without a proof')
    assert.equal(
      await shown(node, { authorization: `DPoP ${bound}`, dpop: await proof(node === 2 ? 3 : 2) }),
      401,
      'for another node',
    )
  }
  assert.equal(await asked(2, bound), 401, 'as a bearer’s')
  const refused = ring.cli('token', 'mint', '--service', 'billing', '--audience', 'shop', '--dpop-key', 'x')
  assert.equal(refused.code, 2)
  assert.match(refused.stderr, /--dpop-key x: expected a thumbprint/)
})

test('05 a revoked token is refused on every node', async () => {
  const revoked = ring.cli('token', 'revoke', token)
  assert.equal(revoked.code, 0, revoked.stderr)
  for (const node of [1, 2, 3, 4]) await eventually(`n${node} refuses it`, async () => (await asked(node, token)) === 401)
  assert.match(ring.cli('token', 'show', token, '--node', 'n4').stdout, /not active/)
  // As any OAuth client: with the token alone, to any node.
  const held = (await mint(2)).token
  assert.notEqual(await asked(3, held), 401)
  const revoke = (body: string): ReturnType<typeof ask> =>
    ask(ring.base + 1_004, '/v1/tokens/revoke', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body,
    })
  assert.equal((await revoke(`token=${held}&token_type_hint=access_token`)).status, 200)
  for (const node of [1, 2, 3, 4])
    await eventually(`n${node} refuses it`, async () => [401, 403].includes(await asked(node, held)))
  assert.equal((await revoke('token=nonsense')).status, 200, 'RFC 7009 section 2.2')
  assert.equal((await revoke('')).status, 400)
})

test('06 a service renews its certificate and has tokens made by itself, until it is denied; openssl verifies', async () => {
  const directory = join(ring.data, 'billing')
  const at = (node: number): string => `http://127.0.0.1:${ring.base + 1_000 + node}`
  const minted = ring.cli('identity', 'mint', 'billing', '--directory', directory)
  assert.equal(minted.code, 0, minted.stderr)
  const certificate = (): string => readFileSync(join(directory, 'certificate.pem'), 'utf8')
  const first = certificate()
  const own = ring.cliAlone('identity', 'token', directory, '--audience', 'shop', '--node', at(2))
  assert.equal(own.code, 0, own.stderr)
  assert.notEqual(await asked(3, own.stdout.trim()), 401)
  // The first node is none: the second is asked.
  const kept = ring.cliAlone('identity', 'keep', directory, '--once', '--node', 'http://127.0.0.1:9', '--node', at(4))
  assert.equal(kept.code, 0, kept.stderr)
  assert.notEqual(certificate(), first)
  const openssl = spawnSync('openssl', ['verify', '-x509_strict', '-CAfile', 'bundle.pem', 'certificate.pem'], { cwd: directory })
  if (openssl.error === undefined) assert.equal(openssl.status, 0, openssl.stderr.toString())
  // A crash between the files of a renewal: the key is the new one, the certificate still the old.
  renameSync(join(directory, 'certificate.pem'), join(directory, 'certificate.pem.new'))
  writeFileSync(join(directory, 'certificate.pem'), first)
  assert.equal(ring.cliAlone('identity', 'keep', directory, '--once', '--node', at(1)).code, 0)
  const subject = minted.stdout.trim()
  assert.equal(ring.cli('deny', 'add', 'subject', subject, '--ttl', '10m').code, 0)
  await eventually('nothing is signed for it', () => {
    const refused = ring.cliAlone('identity', 'keep', directory, '--once', '--node', at(3))
    return refused.code === 1 && /is denied by operator:local/.test(refused.stderr)
  })
  assert.equal(ring.cli('deny', 'rm', subject).code, 0)
  const wrong = ring.cliAlone('identity', 'keep', ring.data, '--once', '--node', at(3))
  assert.equal(wrong.code, 2)
  assert.match(wrong.stderr, /certificate\.pem: cannot be read; an operator makes it/)
})

test('07 holders killed in the midst of a refresh come to their shares, and the key stays', async () => {
  const { keyId } = await keyOf(3)
  for (const [round, waitMs] of [0, 150, 400].entries()) {
    await ring.client(3).keyRefresh(`round ${round}`)
    await sleep(waitMs)
    const victim = 1 + round
    await ring.kill(victim)
    await ring.restart(victim)
    await eventually(
      'the refresh is done, and all hold shares',
      async () => {
        const key = await keyOf(victim)
        return key.handOvers > round && key.ceremony === null && key.holders.length === 4 && key.asked === 'nothing'
      },
      120_000,
    )
    await eventually(`n${victim} mints`, async () => (await mint(victim)).token !== '', 30_000)
  }
  assert.equal((await keyOf(4)).keyId, keyId)
  const lies = (await keyOf(4)).faults.filter(({ fault }) => !fault.startsWith('silent'))
  assert.deepEqual(lies, [], 'who was killed is no liar')
})

test('08 another key: what the former one signed is still taken, and new tokens are of the new one', async () => {
  const before = (await mint(2)).token
  const { keyId } = await keyOf(2)
  const rotated = ring.cli('key', 'rotate', '--reason', 'exercise')
  assert.equal(rotated.code, 0, rotated.stderr)
  await eventually('there is another key', async () => (await keyOf(2)).keyId !== keyId, 60_000)
  await eventually('it mints', async () => (await mint(3)).token !== '', 30_000)
  const { token: later } = await mint(4)
  const kid = JSON.parse(Buffer.from(later.split('.')[0] as string, 'base64url').toString()).kid as string
  assert.notEqual(kid, keyId)
  for (const node of [1, 2, 3, 4]) {
    await eventually(`n${node} takes the new one`, async () => (await asked(node, later)) !== 401)
    assert.notEqual(await asked(node, before), 401)
  }
  assert.equal((await jwksOf(1)).keys.length, 2)
  for (const node of [1, 2, 3, 4]) {
    const log = readFileSync(join(ring.data, `n${node}`, 'output.log'), 'utf8')
    for (const text of [token, before, later]) assert.ok(!log.includes(text), 'no token in a log')
  }
})

test('09 a token bound to a service’s certificate is taken from whoever shows that one over TLS', async (t) => {
  const file = join(ring.data, 'n2', 'node.yaml')
  const tlsPort = await freePorts(1)
  const { certificate, key } = await pairFiles(temporaryFolder(t), ['localhost'])
  const text = readFileSync(file, 'utf8')
  const tls = `{address: "127.0.0.1:${tlsPort}", tls: {certificate: ${certificate}, key: ${key}, clientCertificates: ask}}`
  const changed = text.replace(/^( +traffic: )(.+)$/m, (_line, name: string, address: string) => `${name}[${address}, ${tls}]`)
  assert.notEqual(changed, text)
  writeFileSync(file, changed)
  await ring.kill(2)
  await ring.restart(2)

  const identity = (name: string): { cert: string; key: string } => {
    const made = ring.cli('identity', 'mint', name, '--directory', join(ring.data, name))
    assert.equal(made.code, 0, made.stderr)
    const read = (what: string): string => readFileSync(join(ring.data, name, what), 'utf8')
    return { cert: read('certificate.pem'), key: read('key.pem') }
  }
  const [own, other] = [identity('mailer'), identity('printer')]
  const minted = ring.cli(
    ...['token', 'mint', '--service', 'mailer', '--audience', 'shop'],
    ...['--bound-certificate', join(ring.data, 'mailer', 'certificate.pem')],
  )
  assert.equal(minted.code, 0, minted.stderr)
  const bound = minted.stdout.trim()
  const overTls = (shown: { cert?: string; key?: string }): Promise<number> =>
    new Promise((settle, refuse) => {
      const headers = { authorization: `Bearer ${bound}` }
      const options = { port: tlsPort, path: '/private/x', rejectUnauthorized: false, agent: false, headers, ...shown } as const
      get(options, (response) => response.resume().on('end', () => settle(response.statusCode ?? 0))).on('error', refuse)
    })
  assert.notEqual(await overTls(own), 401)
  assert.equal(await overTls(other), 401, 'another service’s certificate')
  assert.equal(await overTls({}), 401, 'none')
  assert.equal(await asked(3, bound), 401, 'over a plain connection')
})

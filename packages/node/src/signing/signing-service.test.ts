import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { after, type TestContext, test } from 'node:test'
import { createDenialIndex } from '@ringwall/ring'
import { encodeRequest, type KeyShare } from '@ringwall/threshold'
import fc from 'fast-check'
import { MintRefused, SigningError } from './signing-service.ts'
import { type Member, Signers } from './test-signers.ts'

/** Threads start slowly on a busy machine. */
const WAIT_MS = 60_000

type Ring = Signers & { readonly members: [Member, ...Member[]] }

/** Where nothing is broken, tests share one. */
const shared = new Signers() as Ring
after(() => shared.stop())

function begin(t: TestContext): Ring {
  const signers = new Signers() as Ring
  t.after(() => signers.stop())
  return signers
}

function verified(signers: Signers, { message, signature }: { message: Uint8Array; signature: Uint8Array }): boolean {
  const x = Buffer.from((signers.shares[0] as KeyShare).publicKey.groupKey).toString('base64url')
  return verify(null, message, createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }), signature)
}

const claimsOf = (message: Uint8Array): Record<string, unknown> =>
  JSON.parse(Buffer.from(Buffer.from(message).toString().split('.')[1] as string, 'base64url').toString()) as Record<
    string,
    unknown
  >

test('any node mints a token with others, and one that is down is gone round', async (t) => {
  const signers = begin(t)
  for (const { service } of signers.members) {
    const minted = await service.mint({ mint: signers.signed(signers.tokenRequest()) }, WAIT_MS)
    assert.ok(verified(signers, minted))
    const { aud, sub, iss, exp, iat } = claimsOf(minted.message)
    assert.deepEqual(
      [aud, sub, iss, Number(exp) - Number(iat)],
      ['shop', `spiffe://${signers.view.ring}/service/billing`, `urn:ringwall:${signers.view.ring}`, 300],
    )
  }
  const [first, second] = signers.members as [Member, Member]
  second.isDown = true
  for (let i = 0; i < 3; i += 1)
    assert.ok(verified(signers, await first.service.mint({ mint: signers.signed(signers.tokenRequest()) }, WAIT_MS)))
})

test('a node without a share keeps nothing ready until somebody asks it, and signs then', async (t) => {
  const signers = begin(t)
  const [holder, , , guest] = signers.members as [Member, Member, Member, Member]
  guest.service.use((signers.shares[0] as KeyShare).publicKey, undefined)
  const asked = new Set<string>()
  signers.tamper = (_from, to, answer) => {
    asked.add(to)
    return answer
  }
  // Threads keep no process alive that has nothing else to do.
  const alive = setTimeout(() => {}, WAIT_MS)
  t.after(() => clearTimeout(alive))
  // All look after what they have in the same step: the guest has had its turn by then.
  for (let turn = 0; turn < 500 && !asked.has(holder.id); turn += 1) await new Promise((settle) => setTimeout(settle, 20))
  assert.ok(asked.has(holder.id), 'holders keep some ready')
  assert.ok(!asked.has(guest.id))
  assert.ok(verified(signers, await guest.service.mint({ mint: signers.signed(signers.tokenRequest()) }, WAIT_MS)))
  assert.ok(asked.has(guest.id))
})

test('fewer than the threshold sign nothing', async (t) => {
  const signers = begin(t)
  const [first, ...others] = signers.members
  for (const other of others.slice(1)) other.isDown = true
  await assert.rejects(first.service.mint({ mint: signers.signed(signers.tokenRequest()) }, 1_500), (error) => {
    assert.ok(error instanceof SigningError)
    assert.ok(error.code === 'SIGNING_SHORT' || error.code === 'SIGNING_TIMEOUT')
    return true
  })
})

test('one request makes one token, however often it is shown and by whomever', async () => {
  const signers = shared
  const mint = signers.signed(signers.tokenRequest())
  const messages = await Promise.all(
    signers.members.map(async ({ service }) => Buffer.from((await service.mint({ mint }, WAIT_MS)).message).toString()),
  )
  assert.equal(new Set(messages).size, 1)
})

test('a holder that sends a bad share is named, and left out', async (t) => {
  const signers = begin(t)
  const [first] = signers.members
  signers.tamper = (from, _to, answer) => {
    // A signature share is 37 bytes of opening, its request's digest, an index and the share.
    if (from !== 'n3' || answer.length !== 1 + 37 + 32 + 2 + 32) return answer
    const changed = Uint8Array.from(answer)
    changed[80] = (changed[80] as number) ^ 1
    return changed
  }
  for (let i = 0; i < 4; i += 1)
    assert.ok(verified(signers, await first.service.mint({ mint: signers.signed(signers.tokenRequest()) }, WAIT_MS)))
  assert.deepEqual(
    first.service.faults.map(({ party, fault }) => [party, fault]),
    [['n3', 'bad-signature-share']],
  )
  assert.match(first.said.join('\n'), /n3 lied with its share/)
  assert.deepEqual(first.named, ['n3 bad-signature-share'])
})

test('what nobody may have is refused by the asked node and by every holder, whatever the coordinator says', async (t) => {
  const signers = begin(t)
  const [first, second] = signers.members as [Member, Member]
  const stranger = generateKeyPairSync('ed25519').privateKey
  const good = signers.tokenRequest()
  const denied = createDenialIndex([
    {
      id: '0'.repeat(16),
      subject: { kind: 'subject', value: `spiffe://${signers.view.ring}/service/evicted` },
      reason: 'gone',
      issuer: 'operator:ada',
      issuedAtMs: Date.now(),
      expiresAtMs: Date.now() + 60_000,
      height: 1,
    },
  ])
  signers.view = { ...signers.view, denials: denied }
  const node = signers.svidRequest('node', 'n2', 'node:n1').request
  const bad = [
    ['MINT_SIGNATURE', signers.signed(good, stranger)],
    [
      'MINT_SIGNATURE',
      { ...signers.signed(good), request: { ...good, want: { ...good.want, audience: 'bank' } as typeof good.want } },
    ],
    ['MINT_ISSUER_UNKNOWN', signers.signed({ ...good, issuer: 'operator:eve' }, stranger)],
    ['MINT_STALE', signers.signed({ ...good, atMs: Date.now() - 120_000 })],
    ['MINT_STALE', signers.signed({ ...good, atMs: Date.now() + 120_000 })],
    ['MINT_OTHER_RING', signers.signed({ ...good, ring: 'cd'.repeat(32) })],
    ['MINT_NOT_ENTITLED', signers.signed({ ...good, issuer: 'node:n1' }, first.key)],
    ['MINT_NOT_ENTITLED', signers.signed(node, first.key)],
    ['MINT_NOT_ENTITLED', signers.signed(signers.svidRequest('node', 'n1', 'operator:ada').request)],
    ['MINT_DENIED', signers.signed(signers.tokenRequest({}, { service: 'evicted' } as never))],
  ] as const
  for (const [code, mint] of bad) {
    await assert.rejects(first.service.mint({ mint }, WAIT_MS), (error) => error instanceof MintRefused && error.code === code)
    // As a coordinator that checks nothing: straight to a holder.
    const asked = Buffer.from(JSON.stringify({ mint }))
    const head = Buffer.alloc(5, 's')
    head.writeUInt32BE(asked.length, 1)
    const answer = await second.handler?.('n1', Buffer.concat([head, asked, Buffer.alloc(200)]))
    assert.match(Buffer.from(answer ?? []).toString(), new RegExp(`^-${code}`))
  }
})

test('a holder signs no bytes but those that the request comes to, and answers nothing to strangers and garbage', async () => {
  const signers = shared
  const [, second] = signers.members as [Member, Member]
  const ask = async (from: string, asked: unknown, request: Uint8Array): Promise<string> => {
    const text = Buffer.from(typeof asked === 'string' ? asked : JSON.stringify(asked))
    const head = Buffer.alloc(5, 's')
    head.writeUInt32BE(text.length, 1)
    return Buffer.from((await second.handler?.(from, Buffer.concat([head, text, request]))) ?? []).toString()
  }
  const { publicKey } = signers.shares[0] as KeyShare
  const blind = encodeRequest(publicKey, { message: Buffer.from('{"sub":"root"}'), commitments: [] })
  const mint = signers.signed(signers.tokenRequest())
  assert.match(await ask('n1', { mint }, blind), /^-what is to be signed is not what the request asks for/)
  assert.match(await ask('n9', { mint }, blind), /^-the ring has no such node/)
  assert.match(await ask('n1', { mint, authority: true }, blind), /^-nothing that the key signs/)
  assert.match(await ask('n1', '{"mint":', blind), /^-nothing that the key signs/)
  assert.match(await ask('n1', { mint: { ...mint, more: 1 } }, blind), /^-the request must be/)
  assert.match(await ask('n1', { mint }, Buffer.alloc(3)), /^-/)
  for (const payload of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(34, 'c'), Buffer.alloc(6, 255)])
    assert.match(Buffer.from((await second.handler?.('n1', payload)) ?? []).toString(), /^-/)
})

test('property: no bytes make a holder throw, hang or sign', async () => {
  const [, second] = shared.members as [Member, Member]
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...'cs?'), fc.uint8Array({ maxLength: 200 }), async (first, rest) => {
      const payload = Buffer.concat([Buffer.from(first), rest])
      assert.match(Buffer.from((await second.handler?.('n1', payload)) ?? []).toString('latin1'), /^-/)
    }),
    { numRuns: 300 },
  )
})

test('many at once are all made', async () => {
  const signers = shared
  const [first, second] = signers.members as [Member, Member]
  const mints = Array.from({ length: 12 }, (_, i) =>
    (i % 2 === 0 ? first : second).service.mint({ mint: signers.signed(signers.tokenRequest()) }, 30_000),
  )
  for (const minted of await Promise.all(mints)) assert.ok(verified(signers, minted))
})

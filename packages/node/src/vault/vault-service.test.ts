import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { Opening, openSecrets, type SignedOpenRequest } from '@ringwall/vault'
import { NodeShare } from '../signing/node-share.ts'
import { Vaults } from './test-vaults.ts'

const SECRET = 'correct horse battery staple'

function begin(t: TestContext, ...names: readonly string[]): Vaults {
  const vaults = new Vaults()
  t.after(() => vaults.stop())
  for (const name of names) vaults.put(name, SECRET)
  return vaults
}

const wanted = (...names: readonly string[]) => names.map((name) => ({ name, version: 0 }))

async function open(vaults: Vaults, ...names: readonly string[]): Promise<string> {
  const { secrets } = await openSecrets(vaults.facts, vaults.reader, wanted(...names), [vaults.ask])
  return secrets.map(({ secret }) => Buffer.from(secret).toString()).join()
}

async function request(vaults: Vaults, proven = false, ...names: readonly string[]): Promise<SignedOpenRequest> {
  return new Opening(vaults.facts, vaults.reader, wanted(...names), proven, vaults.now()).signed(vaults.reader)
}

/** As a coordinator sends it. */
function payload(signed: SignedOpenRequest, height = 0): Buffer {
  const head = Buffer.alloc(6)
  head.writeUIntBE(height, 0, 6)
  return Buffer.concat([head, Buffer.from(JSON.stringify(signed))])
}

test('three holders answer, each with the opening on its record before; a fourth one in the place of one that is away', async (t) => {
  const vaults = begin(t, 'shop/db', 'shop/key')
  assert.equal(await open(vaults, 'shop/db', 'shop/key'), `${SECRET},${SECRET}`)
  // A slow one has another one asked beside it.
  assert.ok(vaults.members.filter(({ records }) => records.length === 1).length >= 3)
  const [record] = vaults.member('n1').records
  assert.deepEqual(
    [record?.issuer, record?.coordinator, record?.secrets],
    [
      'operator:ada',
      'n1',
      [
        ['shop/db', 1],
        ['shop/key', 1],
      ],
    ],
  )
  vaults.member('n2').isDown = true
  assert.equal(await open(vaults, 'shop/db'), SECRET)
  vaults.member('n3').isDown = true
  await assert.rejects(
    open(vaults, 'shop/db'),
    (error: Error) => /it takes 3 holders/.test(error.message) && /n2: no link/.test(error.message),
  )
})

test('nothing leaves a holder whose disk does not take the record', async (t) => {
  const vaults = begin(t, 'shop/db')
  for (const member of vaults.members.slice(1))
    member.onRecord = () => Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }))
  await assert.rejects(open(vaults, 'shop/db'), /the opening could not be recorded/)
  let isWritten = false
  for (const member of vaults.members)
    member.onRecord = async () => {
      await delay(60)
      isWritten = true
    }
  const asked = open(vaults, 'shop/db').then((text) => [text, isWritten])
  assert.deepEqual(await asked, [SECRET, true])
})

test('a request serves once on each holder, whoever shows it', async (t) => {
  const vaults = begin(t, 'shop/db')
  const signed = await request(vaults, false, 'shop/db')
  const [second] = vaults.members.slice(1)
  const said = async (from: string): Promise<string> =>
    Buffer.from((await second?.handler(from, payload(signed))) ?? '').toString('latin1', 0, 60)
  assert.match(await said('n3'), /^\+/)
  assert.match(await said('n3'), /^-OPEN_REPLAYED/)
  assert.match(await said('n4'), /^-OPEN_REPLAYED/)
  assert.equal(second?.records.length, 1)
})

test('a holder believes no coordinator: what is changed, unsigned, stale or of a stranger is refused, and garbage too', async (t) => {
  const vaults = begin(t, 'shop/db', 'shop/key')
  const holder = vaults.member('n2')
  const ask = async (bytes: Uint8Array, from = 'n1'): Promise<string> =>
    Buffer.from(await holder.handler(from, bytes)).toString('latin1', 0, 90)
  const signed = await request(vaults, false, 'shop/db')
  const { request: inner } = signed
  const changed = (changes: object): Buffer => payload({ ...signed, request: { ...inner, ...changes } })
  assert.match(await ask(changed({ secrets: [{ name: 'shop/key', version: 0 }] })), /^-OPEN_ISSUER/)
  assert.match(await ask(changed({ replyTo: Buffer.alloc(32, 9).toString('base64url') })), /^-OPEN_ISSUER/)
  assert.match(await ask(changed({ issuer: 'operator:bob' })), /^-OPEN_ISSUER/)
  assert.match(await ask(changed({ ring: 'cd'.repeat(32) })), /^-OPEN_OTHER_RING/)
  assert.match(await ask(changed({ atMs: inner.atMs - 61_000 })), /^-OPEN_STALE/)
  assert.match(await ask(payload(signed), 'stranger'), /^-the ring has no such node/)
  for (const garbage of [
    Buffer.alloc(0),
    Buffer.alloc(5),
    Buffer.from('000000{'),
    Buffer.concat([Buffer.alloc(6), Buffer.from('null')]),
    Buffer.alloc(40_000),
  ])
    assert.match(await ask(garbage), /^-/)
  assert.equal(holder.records.length, 0)
  assert.match(await ask(payload(signed)), /^\+/)
})

test('what this node’s view calls deleted it does not open, whatever others still hold', async (t) => {
  const vaults = begin(t, 'shop/db')
  assert.equal(await open(vaults, 'shop/db'), SECRET)
  for (const member of vaults.members.slice(1)) member.vault = member.vault.without('shop/db', [1], { atMs: 1, why: 'deleted' })
  await assert.rejects(open(vaults, 'shop/db'), /OPEN_ENDED: version 1 of shop\/db is deleted/)
})

test('a holder that is a block behind waits for it, within bounds', async (t) => {
  const vaults = begin(t, 'shop/db')
  vaults.put('shop/new', 'just put', ['n2', 'n3', 'n4'])
  const late = vaults.members.slice(1)
  const first = vaults.member('n1')
  setTimeout(() => {
    for (const member of late) {
      member.vault = first.vault
      member.height = first.height
    }
  }, 80)
  assert.equal(await open(vaults, 'shop/new'), 'just put')
  const signed = await request(vaults, false, 'shop/db')
  const began = performance.now()
  const answer = await vaults.member('n2').handler('n1', payload(signed, 2 ** 47))
  assert.equal(answer[0], '+'.charCodeAt(0))
  assert.ok(performance.now() - began < 5_000, 'not for ever')
})

test('one asker has so much opened within ten seconds on each holder, and not more', async (t) => {
  const vaults = begin(t, ...Array.from({ length: 64 }, (_, i) => `shop/s${i}`))
  const nowMs = Date.now()
  vaults.now = () => nowMs
  const names = Array.from({ length: 64 }, (_, i) => `shop/s${i}`)
  const holder = vaults.member('n2')
  let said = ''
  let done = 0
  for (; done < 200; done += 1) {
    said = Buffer.from(await holder.handler('n1', payload(await request(vaults, false, ...names)))).toString('latin1', 0, 60)
    if (!said.startsWith('+')) break
  }
  assert.match(said, /^-OPEN_BUSY: operator:ada has had 5952 secrets opened/)
  assert.equal(done, 93)
  vaults.now = () => nowMs + 10_000
  const later = await holder.handler('n1', payload(await request(vaults, false, 'shop/s1')))
  assert.equal(later[0], '+'.charCodeAt(0))
})

test('a holder whose share is of another key answers nothing, and another one takes its place', async (t) => {
  const vaults = begin(t, 'shop/db')
  const other = new Vaults()
  t.after(() => other.stop())
  vaults.member('n2').service.use(vaults.publicKey, new NodeShare(vaults.publicKey.name, other.member('n2').share.encodeSecret()))
  const { secrets, liars } = await openSecrets(vaults.facts, vaults.reader, wanted('shop/db'), [vaults.ask])
  assert.deepEqual([Buffer.from(secrets[0]?.secret ?? '').toString(), liars], [SECRET, []])
})

test('a node without a share passes requests on, and one that gets new shares answers with those alone', async (t) => {
  const vaults = begin(t, 'shop/db')
  vaults.member('n1').service.use(vaults.publicKey, undefined)
  assert.equal(vaults.member('n1').service.holdsShare, false)
  assert.equal(await open(vaults, 'shop/db'), SECRET)
  vaults.member('n2').service.use(undefined, undefined)
  await assert.rejects(open(vaults, 'shop/db'), /n2: this node holds no share of the sealing key/)
})

test('a request is remembered for as long as it would be taken, also when the asker’s clock is ahead', async (t) => {
  const vaults = begin(t, 'shop/db')
  const nowMs = Date.now()
  vaults.now = () => nowMs + 50_000
  const signed = await request(vaults, false, 'shop/db')
  vaults.now = () => nowMs
  const holder = vaults.member('n2')
  const said = async (): Promise<string> => Buffer.from(await holder.handler('n1', payload(signed))).toString('latin1', 0, 30)
  assert.match(await said(), /^\+/)
  vaults.now = () => nowMs + 109_000
  assert.match(await said(), /^-OPEN_REPLAYED/)
  vaults.now = () => nowMs + 111_000
  assert.match(await said(), /^-OPEN_STALE/)
})

test('a node has the password of a database opened while a lease takes it, with no objects in the policy; nothing else, and not after', async (t) => {
  const vaults = begin(t, 'shop/orders', 'shop/db')
  const lease = {
    id: '1'.repeat(32),
    database: 'orders',
    role: 'reader',
    holder: 'operator:ada',
    credential: null,
    verifier: '',
    beganAtMs: 1,
    expiresAtMs: 2,
    mostAtMs: 3,
    work: 'end',
    dueAtMs: 2,
  } as unknown as (typeof vaults.leases)[number]
  const openAs = async (node: string, name: string): Promise<string> => {
    const { secrets } = await openSecrets(vaults.facts, vaults.readerOf(node), wanted(name), [vaults.ask])
    return Buffer.from(secrets[0]?.secret ?? []).toString()
  }
  await assert.rejects(openAs('n2', 'shop/orders'), { code: 'OPEN_NOT_ENTITLED' })
  vaults.leases = [lease]
  assert.equal(await openAs('n2', 'shop/orders'), SECRET)
  await assert.rejects(openAs('n2', 'shop/db'), { code: 'OPEN_NOT_ENTITLED' })
  vaults.leases = [{ ...lease, work: null }]
  await assert.rejects(openAs('n2', 'shop/orders'), { code: 'OPEN_NOT_ENTITLED' })
})

test('a node has opened what a rule lets it read, as any asker: by its own name or all nodes’, and access keys by no rule', async (t) => {
  const vaults = begin(t, 'shop/db', 'shop/other')
  const openAs = async (node: string, name: string): Promise<string> => {
    const { secrets } = await openSecrets(vaults.facts, vaults.readerOf(node), wanted(name), [vaults.ask])
    return Buffer.from(secrets[0]?.secret ?? []).toString()
  }
  const rules = (read: string): string =>
    `vault: { rules: [{ path: shop/db, read: [operator:ada] }, { path: shop/db, read: ${read} }] }`
  vaults.usePolicy(rules('["node:n2"]'))
  assert.equal(await openAs('n2', 'shop/db'), SECRET)
  await assert.rejects(openAs('n3', 'shop/db'), { code: 'OPEN_NOT_ENTITLED' })
  await assert.rejects(openAs('n2', 'shop/other'), { code: 'OPEN_NOT_ENTITLED' })
  await assert.rejects(openAs('n9', 'shop/db'))
  vaults.usePolicy(rules('["node:*"]'))
  assert.equal(await openAs('n3', 'shop/db'), SECRET)
  assert.ok(vaults.member('n1').records.some(({ issuer, secrets }) => issuer === 'node:n3' && secrets[0]?.[0] === 'shop/db'))
  vaults.usePolicy('vault: { rules: [{ path: "*", read: ["node:*"] }] }')
  await assert.rejects(openAs('n2', 'access-keys/RWABCDEFGHIJKLMNOPQR'), { code: 'OPEN_UNKNOWN' })
  for (const read of ['node:', 'node:N2', 'node:n2/x'])
    assert.throws(() => vaults.usePolicy(rules(`["${read}"]`)), /node:ID or node:\*/)
  assert.throws(() => vaults.usePolicy('vault: { rules: [{ path: shop, write: ["node:*"] }] }'), /expected operator:NAME/)
})

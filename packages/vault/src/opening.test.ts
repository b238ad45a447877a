import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { secretLabel } from '@ringwall/ring'
import { combineUnproven, makeBarePartial, PublicKey, readCapsule, ristretto } from '@ringwall/threshold'
import { Opening, openSecrets } from './opening.ts'
import { sealSecret, unsealSecret } from './seal.ts'
import { type Holder, Holders, RING } from './test-holders.ts'

const SECRET = Buffer.from('correct horse battery staple')
const ring = new Holders()
ring.put('shop/db', SECRET)
ring.put('shop/key', randomBytes(16_384))

const open = (names: readonly string[] = ['shop/db'], from = ring) =>
  openSecrets(
    from.facts,
    from.reader,
    names.map((name) => ({ name, version: 0 })),
    [from.ask],
  )

function reset(): void {
  ring.pass = (answer) => answer
  ring.requests = []
  ring.named = []
  for (const holder of ring.holders) {
    holder.isDown = false
    holder.lie = (opening) => opening
  }
}

test('any three of four holders open secrets, several in one request, without a proof', async () => {
  for (const away of ring.holders) {
    reset()
    away.isDown = true
    const { secrets, liars } = await open(['shop/db', 'shop/key'])
    assert.deepEqual([Buffer.from(secrets[0]!.secret), secrets[1]!.secret.length, liars], [SECRET, 16_384, []])
    assert.deepEqual([secrets[0]!.name, secrets[0]!.version], ['shop/db', 1])
  }
  assert.deepEqual(
    ring.requests.map(({ request }) => request.proven),
    [false],
  )
})

test('two of four holders open nothing', async () => {
  reset()
  ring.holders[0]!.isDown = true
  ring.holders[3]!.isDown = true
  await assert.rejects(open(), { code: 'VAULT_SHORT' })
})

const other = ristretto.encode(ristretto.multiplyBase(77n))
const LIES: readonly (readonly [string, Holder['lie'], boolean])[] = [
  [
    'another element, and the right one once proofs are wanted',
    (said, proven) => (proven ? said : { ...said, partial: other }),
    true,
  ],
  [
    'another element, and a proof that does not verify',
    (said, proven) => ({ ...said, partial: proven ? spoilt(said.partial) : other }),
    true,
  ],
  ['no element', (said, proven) => (proven ? said : { ...said, partial: Buffer.alloc(32, 255) }), true],
  ['an older version', (said) => ({ ...said, version: 0 }), false],
  ['of another body', (said) => ({ ...said, body: randomBytes(32) }), false],
  ['half a partial', (said) => ({ ...said, partial: said.partial.slice(0, 16) }), true],
]

function spoilt(bytes: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(bytes)
  copy[copy.length - 1]! ^= 1
  return copy
}

for (const [what, lie, isNamed] of LIES) {
  test(`a holder that answers ${what} keeps nobody from the secret, and is named alone`, async () => {
    reset()
    ring.holders[1]!.lie = lie
    const { secrets, liars } = await open()
    assert.deepEqual(Buffer.from(secrets[0]!.secret), SECRET)
    assert.deepEqual(liars, isNamed ? ['n2'] : [])
    assert.deepEqual(ring.named, isNamed ? [['n2']] : [])
  })
}

test('a node that passes on other bytes, other answers or none gets nobody to take another secret for the right one', async () => {
  const label = { ring: RING, name: 'shop/db', version: 1, sealedAtMs: Date.now(), expiresAtMs: 0 }
  const forged = sealSecret(ring.publicKey, label, Buffer.from('of the node’s choice'))
  const body = {
    capsule: Buffer.from(forged.capsule).toString('base64url'),
    ciphertext: Buffer.from(forged.ciphertext).toString('base64url'),
  }
  const passes: readonly Holders['pass'][] = [
    (answer) => ({ ...answer, bodies: [body] }),
    (answer) => ({ ...answer, bodies: [] }),
    (answer) => ({ ...answer, bodies: [{ ...answer.bodies[0]!, ciphertext: body.ciphertext }] }),
    (answer) => ({ ...answer, replies: answer.replies.map(({ reply }, i) => ({ party: `n${((i + 1) % 4) + 1}`, reply })) }),
    (answer) => ({ ...answer, replies: answer.replies.map(({ party }) => ({ party, reply: answer.replies[0]!.reply })) }),
    (answer) => ({ ...answer, replies: [answer.replies[0]!, answer.replies[0]!, answer.replies[0]!] }),
    (answer) => ({
      ...answer,
      replies: answer.replies.map(({ party }) => ({ party, reply: randomBytes(300).toString('base64url') })),
    }),
    (answer) => ({ ...answer, replies: [] }),
  ]
  for (const pass of passes) {
    reset()
    ring.pass = pass
    await assert.rejects(open(), (error: { code?: string }) => error.code === 'VAULT_SHORT' || error.code === 'VAULT_CORRUPT')
  }
  // By way of an honest node it goes on.
  reset()
  const bad = async (): Promise<never> => Promise.reject(new Error('down'))
  const { secrets } = await openSecrets(ring.facts, ring.reader, [{ name: 'shop/db', version: 1 }], [bad, ring.ask])
  assert.deepEqual(Buffer.from(secrets[0]!.secret), SECRET)
})

test('answers to one request are none to another: what was overheard opens nothing', async () => {
  reset()
  const wanted = [{ name: 'shop/db', version: 0 }]
  const first = new Opening(ring.facts, ring.reader, wanted, false, Date.now())
  const answer = await ring.ask(await first.signed(ring.reader))
  assert.deepEqual(Buffer.from(first.take(answer).secrets[0]!.secret), SECRET)
  const second = new Opening(ring.facts, ring.reader, wanted, false, Date.now())
  await second.signed(ring.reader)
  assert.throws(() => second.take(answer), { code: 'VAULT_SHORT' })
})

test('what is not granted, ended or unknown is refused by the holders, and rights come before knowledge', async () => {
  reset()
  const vault = new Holders()
  vault.put('shop/gone', SECRET)
  vault.put('shop/short', SECRET, 5_000)
  vault.put('other/db', SECRET)
  vault.vault = vault.vault.without('shop/gone', [1], { atMs: Date.now(), why: 'deleted' })
  await assert.rejects(open(['shop/gone'], vault), /version 1 of shop\/gone is deleted/)
  await assert.rejects(open(['shop/none'], vault), /there is no shop\/none/)
  await assert.rejects(open(['other/db'], vault), /lets operator:ada read other\/db/)
  await assert.rejects(open(['other/none'], vault), /lets operator:ada read other\/none/)
  await assert.rejects(open(['shop/short', 'other/db'], vault), /other\/db/, 'all or nothing')
  assert.equal((await open(['shop/short'], vault)).secrets.length, 1)
  const later = Date.now() + 6_000
  vault.nowMs = () => later
  await assert.rejects(open(['shop/short'], vault), /shop\/short is expired/)
  vault.nowMs = () => later + 60_000
  await assert.rejects(open(['shop/short'], vault), /was signed 6[0-9] s ago/)
  vault.nowMs = Date.now
  const stranger = new Holders()
  await assert.rejects(
    openSecrets(vault.facts, stranger.reader, [{ name: 'shop/short', version: 0 }], [vault.ask]),
    /not signed by ada/,
  )
})

test('as many holders as are one too few make another key, which opens nothing, even when nobody counts them', () => {
  const { publicKey, holders } = ring
  const about = secretLabel({ ring: RING, name: 'x', version: 1, sealedAtMs: 1, expiresAtMs: 0 })
  const label = { ring: RING, name: 'x', version: 1, sealedAtMs: 1, expiresAtMs: 0 }
  const sealed = sealSecret(publicKey, label, SECRET)
  const uncounted = new PublicKey({
    ...publicKey,
    members: publicKey.members,
    threshold: 2,
    commitments: publicKey.commitments.slice(0, 2),
  })
  const capsule = readCapsule(uncounted, sealed.capsule)
  const values = holders.map(({ share }) => ({ index: share.index, value: makeBarePartial(share, capsule) }))
  const opened = (count: number): Uint8Array =>
    unsealSecret(combineUnproven(uncounted, capsule, values.slice(0, count)), about, sealed.ciphertext)
  assert.throws(() => opened(2), { code: 'VAULT_CORRUPT' })
  assert.deepEqual(Buffer.from(opened(3)), SECRET)
})

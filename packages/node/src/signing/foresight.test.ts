import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { test } from 'node:test'
import { boardEvent, isCeremonyWork, parseGenesis, planOf, publicKeyOf, type RingState, type TxBody } from '@ringwall/ring'
import { encodeBase64url, encodeTx, signingBytes } from '@ringwall/ring/tx'
import { beginCeremony, type Ceremony, makeEncryptionKey, ristretto, step } from '@ringwall/threshold'
import { randomNonce } from '../keys.ts'
import { ringApplication } from '../ring-application.ts'
import { loadRuleLibrary } from '../rules.ts'
import { Foresight } from './foresight.ts'

const NOW = Date.now()

test('what a block will hold is looked at beside, and the ring comes to its key from it', async (t) => {
  const foresight = new Foresight()
  t.after(() => foresight.thread.stop())
  const nodes = ['n1', 'n2', 'n3', 'n4'].map((id) => ({
    id,
    key: generateKeyPairSync('ed25519').privateKey,
    encryption: makeEncryptionKey(randomBytes(32)),
  }))
  const rawKey = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string
  const app = ringApplication(
    parseGenesis(
      JSON.stringify({
        format: 'ringwall/genesis/1',
        createdAtMs: NOW,
        nodes: nodes.map(({ id, key }) => ({
          id,
          region: 'eu',
          address: '127.0.0.1:9',
          publicKey: rawKey(key),
          roles: ['validator'],
        })),
        operators: [{ name: 'ada', publicKey: rawKey(generateKeyPairSync('ed25519').privateKey) }],
        policy: 'version: 1\nservices:\n  shop:\n    upstreams:\n      - url: http://127.0.0.1:3000\n',
      }),
    ),
    loadRuleLibrary({}),
  )
  let state: RingState = app.initial()
  let height = 0
  const tx = (at: number, body: TxBody): Uint8Array => {
    const { id, key } = nodes[at] as (typeof nodes)[number]
    const content = { ring: app.ring, issuer: `node:${id}`, atMs: NOW, untilMs: NOW + 60_000, nonce: randomNonce(), body }
    return encodeTx({ content, signature: encodeBase64url(new Uint8Array(sign(null, signingBytes(content), key))) })
  }
  const block = (...txs: readonly Uint8Array[]): void => {
    height += 1
    const executed = app.execute(state, txs, { height, timestampMs: NOW + height, proposer: 'n1' })
    assert.ok(executed.ok, JSON.stringify(executed))
    state = executed.state
    foresight.follow(state)
  }
  block()
  assert.equal(foresight.foresee(state, [tx(0, { type: 'key.refresh', key: 'signing', reason: 'none of these' })]), undefined)
  block(
    ...nodes.map(({ encryption }, at) =>
      tx(at, {
        type: 'key.enrol',
        key: 'signing',
        attempt: 1,
        encryptionKey: encodeBase64url(ristretto.encode(encryption.publicKey)),
      }),
    ),
  )
  const plan = planOf(state.signingKey) as Ceremony
  const messages = nodes.map(({ id }) => {
    const begun = step(
      beginCeremony(plan, id),
      { kind: 'begin', seed: randomBytes(32), share: undefined },
      { encryptionKey: undefined },
    )
    return { from: id, body: begun.effects.find((effect) => effect.kind === 'post')?.body as Uint8Array }
  })
  // One of them is none, and has to be looked at as well.
  const [first] = messages as [{ from: string; body: Uint8Array }, ...unknown[]]
  first.body = first.body.map((byte, i) => (i === first.body.length - 1 ? byte ^ 1 : byte))
  const deals = messages.map(({ body }, at) =>
    tx(at, { type: 'key.deal', key: 'signing', attempt: 1, body: encodeBase64url(body) }),
  )
  assert.ok(isCeremonyWork(state.signingKey, messages))
  assert.equal(
    foresight.foresee(state, [tx(0, { type: 'key.deal', key: 'signing', attempt: 7, body: encodeBase64url(first.body) })]),
    undefined,
  )
  const foreseen = foresight.foresee(state, [Buffer.from('"type":"key.deal" and no transaction'), ...deals])
  assert.ok(foreseen instanceof Promise)
  await foreseen
  while (foresight.thread.size > 0) await new Promise((settle) => setTimeout(settle, 5))
  assert.ok(!isCeremonyWork(state.signingKey, messages), 'all of it is known')
  assert.equal(foresight.foresee(state, deals), undefined)
  block(...deals)
  assert.equal(state.signingKey.ceremony?.phase, 'answering')
  assert.deepEqual(
    state.signingKey.faults.map(({ party, fault }) => [party, fault]),
    [['n1', 'malformed-dealing']],
  )
  const board = state.signingKey.ceremony.board.map(boardEvent)
  const answers = nodes.map(({ id, encryption }, at) => {
    const tools = { encryptionKey: encryption.secret }
    const all = board.reduce((before, event) => step(before, event, tools).state, beginCeremony(plan, id))
    const body = step(all, { kind: 'resume' }, tools).effects.find((effect) => effect.kind === 'post')?.body as Uint8Array
    return tx(at, { type: 'key.answer', key: 'signing', attempt: 1, body: encodeBase64url(body) })
  })
  // Without a thread nothing waits, and the state is the same.
  await foresight.thread.stop()
  await foresight.foresee(state, answers)
  block(...answers)
  assert.equal(publicKeyOf(state.signingKey)?.members.length, 4)
})

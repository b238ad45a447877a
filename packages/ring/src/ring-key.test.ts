import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import {
  aggregate,
  beginCeremony,
  Ceremony,
  type CeremonyEffect,
  type CeremonyState,
  decodePartial,
  encapsulate,
  type KeyShare,
  makeEncryptionKey,
  makePartial,
  NoncePair,
  openCapsule,
  type PublicKey,
  ristretto,
  signingContext,
  signShare,
  step,
  verifyCapsule,
} from '@ringwall/threshold'
import fc from 'fast-check'
import { createRingApplication, type RingApplication } from './application.ts'
import { parseGenesis } from './genesis.ts'
import { boardEvent, KEY_PHASE_MS, KEY_REST_MS, type KeyName, planOf, publicKeyOf, type RingKey } from './ring-key.ts'
import type { RingState } from './state.ts'
import { compile, executeAgreed, judge, NOW, POLICY, rules } from './test-ring.ts'
import { decodeBase64url, encodeBase64url, encodeTx, signingBytes } from './tx.ts'
import type { RingNode, TxBody } from './types.ts'

const SPKI = Buffer.from('302a300506032b6570032100', 'hex')
const verified = (key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean =>
  verify(null, message, { key: Buffer.concat([SPKI, key]), format: 'der', type: 'spki' }, signature)

interface Party {
  readonly id: string
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
  seed: Uint8Array
  share: KeyShare | undefined
}

/** A ring whose validators do what honest ones do, one block after the other, unless a test has them do otherwise. */
class Ring {
  readonly app: RingApplication
  readonly parties: Party[]
  readonly operator = generateKeyPairSync('ed25519')
  state: RingState
  nowMs = NOW
  height = 0
  /** The key that the ring is at work on. */
  name: KeyName = 'signing'
  #nonce = 0

  constructor(count: number, policy: string = POLICY) {
    this.parties = Array.from({ length: count }, (_, i) => this.party(`n${i + 1}`))
    const genesis = parseGenesis(
      JSON.stringify({
        format: 'ringwall/genesis/1',
        createdAtMs: NOW - 1_000,
        nodes: this.parties.map((party) => this.entry(party)),
        operators: [{ name: 'ada', publicKey: this.operator.publicKey.export({ format: 'jwk' }).x }],
        policy,
      }),
    )
    this.app = createRingApplication({ genesis, compile, rules, judge, verify: verified })
    this.state = this.app.initial()
  }

  party(id: string): Party {
    return { id, keys: generateKeyPairSync('ed25519'), seed: randomBytes(32), share: undefined }
  }

  entry({ id, keys }: Party): RingNode {
    const publicKey = keys.publicKey.export({ format: 'jwk' }).x as string
    return { id, region: 'eu', address: '127.0.0.1:1', publicKey, roles: ['validator'] }
  }

  get key(): RingKey {
    return this.state.key(this.name)
  }

  tx(by: Party | 'ada', body: TxBody): Uint8Array {
    this.#nonce += 1
    const nonce = new Uint8Array(16)
    new DataView(nonce.buffer).setUint32(0, this.#nonce)
    const issuer = by === 'ada' ? 'operator:ada' : `node:${by.id}`
    const at = { atMs: this.nowMs, untilMs: this.nowMs + 60_000 }
    const content = { ring: this.app.ring, issuer, ...at, nonce: encodeBase64url(nonce), body }
    const key = by === 'ada' ? this.operator.privateKey : by.keys.privateKey
    return encodeTx({ content, signature: encodeBase64url(new Uint8Array(sign(null, signingBytes(content), key))) })
  }

  codeOf(by: Party | 'ada', body: TxBody): string {
    const result = this.app.check(this.state, this.tx(by, body), this.nowMs)
    return result.ok ? 'ok' : result.code
  }

  block(...txs: readonly Uint8Array[]): void {
    this.height += 1
    this.state = executeAgreed(this.app, this.state, txs, { height: this.height, timestampMs: this.nowMs, proposer: 'n1' })
  }

  pass(ms: number): void {
    this.nowMs += ms
    this.block()
  }

  encryption(party: Party): ReturnType<typeof makeEncryptionKey> {
    return makeEncryptionKey(party.seed)
  }

  enrol(...parties: readonly Party[]): void {
    const attempt = this.key.ceremony?.attempt ?? 0
    const body = (party: Party): TxBody => ({
      type: 'key.enrol',
      key: this.name,
      attempt,
      encryptionKey: encodeBase64url(ristretto.encode(this.encryption(party).publicKey)),
    })
    for (const party of parties) party.seed = randomBytes(32)
    this.block(...parties.map((party) => this.tx(party, body(party))))
  }

  /** The party's own fold of the board. */
  fold(
    party: Party,
    plan: Ceremony,
    board = this.key.ceremony?.board ?? [],
  ): readonly [CeremonyState, readonly CeremonyEffect[]] {
    const tools = { encryptionKey: this.encryption(party).secret }
    let state = beginCeremony(plan, party.id)
    let effects: readonly CeremonyEffect[] = []
    for (const line of board) ({ state, effects } = step(state, boardEvent(line), tools))
    return [state, effects]
  }

  message(party: Party): TxBody {
    const plan = planOf(this.key) as Ceremony
    const attempt = plan.attempt
    const [state] = this.fold(party, plan)
    const tools = { encryptionKey: this.encryption(party).secret }
    if (state.phase === 'dealing') {
      const { effects } = step(state, { kind: 'begin', seed: party.seed, share: party.share }, tools)
      const post = effects.find(({ kind }) => kind === 'post') as Extract<CeremonyEffect, { kind: 'post' }>
      return { type: 'key.deal', key: this.name, attempt, body: encodeBase64url(post.body) }
    }
    const { effects } = step(state, { kind: 'resume' }, tools)
    const post = effects.find(({ kind }) => kind === 'post') as Extract<CeremonyEffect, { kind: 'post' }>
    return { type: 'key.answer', key: this.name, attempt, body: encodeBase64url(post.body) }
  }

  speak(...parties: readonly Party[]): void {
    this.block(...parties.map((party) => this.tx(party, this.message(party))))
  }

  /** From the transcript alone, as one that was away. */
  collect(...parties: readonly Party[]): void {
    const { last } = this.key
    assert.ok(last !== null)
    const plan = Ceremony.decode(decodeBase64url(last.plan))
    for (const party of parties) {
      const [, effects] = this.fold(party, plan, last.board)
      party.share = (effects.find(({ kind }) => kind === 'complete') as Extract<CeremonyEffect, { kind: 'complete' }>).share
    }
  }

  generate(): void {
    this.block()
    this.enrol(...this.parties)
    this.speak(...this.parties)
    this.speak(...this.parties)
    this.collect(...this.parties)
  }

  get groupKey(): Uint8Array {
    return publicKeyOf(this.key)?.groupKey ?? new Uint8Array(0)
  }

  signs(...parties: readonly Party[]): boolean {
    const message = Buffer.from('a message')
    return verified(this.groupKey, message, this.sign(message, ...parties))
  }

  sign(message: Uint8Array, ...parties: readonly Party[]): Uint8Array {
    const publicKey = publicKeyOf(this.key)
    assert.ok(publicKey !== undefined)
    const signers = parties.map(({ share }) => share as KeyShare).sort((a, b) => a.index - b.index)
    const pairs = signers.map(({ secret }) => new NoncePair(randomBytes(64), secret))
    const list = pairs.map(({ commitment }, i) => ({ ...commitment, index: signers[i]!.index }))
    const context = signingContext(publicKey, message, list)
    const shares = new Map(signers.map((share, i) => [share.index, signShare(context, share, pairs[i] as NoncePair)]))
    return aggregate(context, shares)
  }

  token(claims: object = {}, ...parties: readonly Party[]): string {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const own = { iss: `urn:ringwall:${this.app.ring}`, jti: 'ab'.repeat(16), exp: this.nowMs / 1_000 + 300, ...claims }
    const signed = `${part({ alg: 'EdDSA' })}.${part(own)}`
    const signature = this.sign(Buffer.from(signed), ...(parties.length === 0 ? this.parties.slice(0, 3) : parties))
    return `${signed}.${Buffer.from(signature).toString('base64url')}`
  }
}

test('four validators make a key with the threshold of a quorum, over the ledger alone', () => {
  const ring = new Ring(4)
  assert.equal(ring.app.view(ring.state, 0, NOW).signingKey.key, undefined)
  ring.generate()
  const view = ring.app.view(ring.state, ring.height, NOW).signingKey
  assert.deepEqual([view.threshold, view.holders, view.epoch, view.faults], [3, ['n1', 'n2', 'n3', 'n4'], 0, []])
  assert.equal(view.key, encodeBase64url(ring.groupKey))
  assert.equal(view.ceremony, undefined)
  assert.ok(ring.signs(...ring.parties.slice(1)))
  ring.pass(KEY_PHASE_MS)
  assert.equal(ring.key.ceremony, null, 'and rests')
})

test('a ring of one has no key, and none can be asked for; with a second validator it makes one', () => {
  const ring = new Ring(1)
  ring.pass(KEY_PHASE_MS)
  assert.equal(ring.key.ceremony, null)
  assert.equal(ring.codeOf('ada', { type: 'key.refresh', key: 'signing', reason: 'now' }), 'KEY_NONE')
  const second = ring.party('n2')
  ring.block(ring.tx('ada', { type: 'node.add', node: ring.entry(second), reason: 'two' }))
  ring.parties.push(second)
  ring.generate()
  assert.ok(ring.signs(...ring.parties))
})

test('a message of the wrong time, ceremony, party or form is refused, and a second one too', () => {
  const ring = new Ring(4)
  const [first, second, third, fourth] = ring.parties as [Party, Party, Party, Party]
  const key = (party: Party): string => encodeBase64url(ristretto.encode(ring.encryption(party).publicKey))
  const enrol = (party: Party, attempt = 1, encryptionKey = key(party)): TxBody => ({
    type: 'key.enrol',
    key: 'signing',
    attempt,
    encryptionKey,
  })
  assert.equal(ring.codeOf(first, enrol(first)), 'KEY_PHASE', 'nothing has begun')
  ring.block()
  assert.equal(ring.codeOf('ada', enrol(first)), 'NOT_ENTITLED')
  assert.equal(ring.codeOf(first, enrol(first, 2)), 'KEY_PHASE')
  assert.equal(ring.codeOf(first, enrol(first, 1, encodeBase64url(new Uint8Array(32).fill(255)))), 'KEY_MESSAGE')
  assert.equal(ring.codeOf(first, enrol(first, 1, encodeBase64url(new Uint8Array(32)))), 'KEY_MESSAGE', 'the identity')
  ring.enrol(first)
  assert.equal(ring.codeOf(first, enrol(first)), 'KEY_REPEATED')
  assert.equal(ring.codeOf(second, enrol(second, 1, key(first))), 'KEY_MESSAGE', 'another’s')
  ring.enrol(second, third, fourth)
  const deal = ring.message(first) as Extract<TxBody, { type: 'key.deal' }>
  assert.equal(ring.codeOf(first, deal), 'ok')
  assert.equal(ring.codeOf(first, { ...deal, attempt: 2 }), 'KEY_PHASE')
  assert.equal(ring.codeOf(first, { ...deal, type: 'key.answer' }), 'KEY_PHASE')
  assert.equal(ring.codeOf(first, { ...deal, body: encodeBase64url(new Uint8Array(100)) }), 'KEY_MESSAGE')
  ring.block(ring.tx(first, deal))
  assert.equal(ring.codeOf(first, deal), 'KEY_REPEATED')
  const edge = ring.party('e1')
  ring.block(ring.tx('ada', { type: 'node.add', node: { ...ring.entry(edge), roles: ['edge'] }, reason: 'an edge' }))
  assert.equal(ring.codeOf(edge, deal), 'KEY_PARTY')
})

test('a dealer that lies is named in the state, and the others make the key without it', () => {
  const ring = new Ring(4)
  ring.block()
  ring.enrol(...ring.parties)
  const [liar, ...honest] = ring.parties as [Party, ...Party[]]
  const deal = ring.message(liar) as Extract<TxBody, { type: 'key.deal' }>
  const body = decodeBase64url(deal.body)
  body[body.length - 1] = (body.at(-1) as number) ^ 1
  ring.block(ring.tx(liar, { ...deal, body: encodeBase64url(body) }))
  assert.deepEqual(ring.key.faults, [{ attempt: 1, fault: 'malformed-dealing', height: ring.height, party: 'n1' }])
  ring.speak(...honest)
  ring.speak(...ring.parties)
  ring.collect(...ring.parties)
  assert.ok(ring.signs(...honest))
})

test('property: whatever a party posts behind a right opening, blocks are executed, nobody else is named, and the others make the key', () => {
  const begun = new Ring(4)
  begun.block()
  begun.enrol(...begun.parties)
  const [liar, ...honest] = begun.parties as [Party, ...Party[]]
  const OPENING = 37
  const spoilt = (good: Uint8Array, at: number, noise: Uint8Array): Uint8Array => {
    const from = OPENING + (at % (good.length - OPENING))
    return Buffer.concat([good.subarray(0, from), noise, good.subarray(from + noise.length)])
  }
  const enrolled = begun.state
  fc.assert(
    fc.property(fc.nat(10_000), fc.uint8Array({ minLength: 1, maxLength: 60 }), fc.boolean(), (at, noise, isDealing) => {
      begun.state = enrolled
      if (!isDealing) begun.speak(liar)
      else {
        const deal = begun.message(liar) as Extract<TxBody, { type: 'key.deal' }>
        begun.block(begun.tx(liar, { ...deal, body: encodeBase64url(spoilt(decodeBase64url(deal.body), at, noise)) }))
      }
      begun.speak(...honest)
      const answer = begun.message(liar) as Extract<TxBody, { type: 'key.answer' }>
      const body = isDealing ? answer.body : encodeBase64url(spoilt(decodeBase64url(answer.body), at, noise))
      begun.block(begun.tx(liar, { ...answer, body }))
      begun.speak(...honest)
      assert.ok(begun.key.faults.every(({ party }) => party === 'n1'))
      begun.collect(...honest)
      assert.ok(begun.signs(...honest))
    }),
    { numRuns: 4 },
  )
})

test('a false complaint names the complainer', () => {
  const ring = new Ring(4)
  ring.block()
  ring.enrol(...ring.parties)
  ring.speak(...ring.parties)
  const [liar, ...honest] = ring.parties as [Party, ...Party[]]
  // It reads its shares with another key than it enrolled with, and so complains about everybody.
  const { seed } = liar
  liar.seed = randomBytes(32)
  ring.speak(liar)
  assert.ok(ring.key.faults.length > 0 && ring.key.faults.every(({ party }) => party === 'n1'))
  liar.seed = seed
  ring.speak(...honest)
  ring.collect(...honest)
  assert.ok(ring.signs(...honest))
})

test('a validator that is away holds nobody up for longer than a phase, is named, and gets a share when it comes', () => {
  const ring = new Ring(4)
  ring.block()
  const [away, ...present] = ring.parties as [Party, ...Party[]]
  ring.enrol(...present)
  assert.equal(ring.key.ceremony?.phase, 'enrolling')
  ring.pass(KEY_PHASE_MS)
  assert.equal(ring.key.ceremony?.phase, 'dealing')
  ring.speak(...present)
  ring.speak(...present)
  ring.collect(...present)
  assert.ok(ring.signs(...present))
  const { groupKey } = ring
  ring.pass(1)
  assert.deepEqual(ring.app.view(ring.state, 1, NOW).signingKey.ceremony?.waitingFor, ['n1', 'n2', 'n3', 'n4'])
  ring.enrol(...present)
  ring.pass(10 * KEY_PHASE_MS)
  assert.equal(ring.key.ceremony?.phase, 'enrolling', 'those who are there do not hand the key on to themselves')
  ring.enrol(away)
  ring.speak(...present)
  ring.speak(...ring.parties)
  ring.collect(...ring.parties)
  assert.deepEqual(ring.groupKey, groupKey)
  assert.ok(ring.signs(away, present[0] as Party, present[1] as Party))
  ring.pass(1)
  assert.equal(ring.key.ceremony, null)
})

test('a dealer and a receiver that fall silent are named when their phase is over', () => {
  const ring = new Ring(4)
  ring.block()
  ring.enrol(...ring.parties)
  const [silent, ...others] = ring.parties as [Party, ...Party[]]
  ring.speak(...others)
  ring.pass(KEY_PHASE_MS)
  ring.speak(...others)
  ring.pass(KEY_PHASE_MS)
  assert.deepEqual(
    ring.key.faults.map(({ party, fault }) => [party, fault]),
    [
      ['n1', 'silent-dealer'],
      ['n1', 'silent-receiver'],
    ],
  )
  ring.collect(...ring.parties)
  assert.ok(ring.signs(silent, others[0] as Party, others[1] as Party), 'it has its share all the same')
})

/** Another validator, which the key is handed on to as well. */
function admitFifth(ring: Ring): void {
  const fifth = ring.party('n5')
  ring.block(ring.tx('ada', { type: 'node.add', node: ring.entry(fifth), reason: 'five' }))
  ring.parties.push(fifth)
  ring.block()
  ring.enrol(...ring.parties)
  ring.speak(...ring.parties.slice(0, 4))
  ring.speak(...ring.parties)
  ring.collect(...ring.parties)
}

test('the key stays when a validator joins and when one leaves; the one that left waits for nobody and gets nothing', () => {
  const ring = new Ring(4)
  ring.generate()
  const { groupKey } = ring
  admitFifth(ring)
  assert.deepEqual(ring.groupKey, groupKey)
  assert.equal(publicKeyOf(ring.key)?.threshold, 4)
  assert.ok(ring.signs(...ring.parties.slice(1)))
  ring.block(ring.tx('ada', { type: 'node.remove', id: 'n1', reason: 'old' }))
  const [gone] = ring.parties.splice(0, 1) as [Party]
  ring.block()
  ring.enrol(...ring.parties)
  ring.speak(...ring.parties)
  assert.equal(ring.key.ceremony?.phase, 'answering', 'nobody waits for the one that left')
  ring.speak(...ring.parties)
  ring.collect(...ring.parties)
  assert.deepEqual(ring.groupKey, groupKey)
  assert.deepEqual(ring.key.faults, [])
  assert.ok(ring.signs(...ring.parties.slice(0, 3)))
  assert.throws(
    () => ring.signs(gone, ring.parties[0] as Party, ring.parties[1] as Party),
    'its share is of an epoch that is over',
  )
})

test('a validator that leaves in the midst of a ceremony ends it: it gets no share; another ceremony follows', () => {
  const ring = new Ring(4)
  ring.block()
  ring.enrol(...ring.parties)
  ring.speak(...ring.parties)
  ring.block(ring.tx('ada', { type: 'node.remove', id: 'n4', reason: 'caught' }))
  ring.parties.pop()
  ring.block()
  assert.equal(ring.app.view(ring.state, 1, NOW).signingKey.ceremony, undefined)
  ring.pass(KEY_REST_MS)
  assert.equal(ring.key.ceremony?.attempt, 2)
  ring.enrol(...ring.parties)
  ring.speak(...ring.parties)
  ring.speak(...ring.parties)
  ring.collect(...ring.parties)
  assert.ok(ring.signs(...ring.parties))
})

test('a refresh makes shares that do not fit the old ones, a rotation another key; the former is remembered for a while', () => {
  const ring = new Ring(4)
  ring.generate()
  const { groupKey } = ring
  const before = ring.parties.map(({ share }) => share)
  ring.block(ring.tx('ada', { type: 'key.refresh', key: 'signing', reason: 'monthly' }))
  assert.equal(ring.codeOf('ada', { type: 'key.refresh', key: 'signing', reason: 'again' }), 'KEY_REPEATED')
  ring.generate()
  assert.deepEqual(ring.groupKey, groupKey)
  assert.ok(ring.signs(...ring.parties.slice(0, 3)))
  assert.ok(ring.parties.every(({ share }, i) => share?.secret.reveal() !== before[i]?.secret.reveal()))
  ring.pass(1)
  assert.equal(ring.key.ceremony, null)
  ring.block(ring.tx('ada', { type: 'key.rotate', key: 'signing', reason: 'suspected' }))
  ring.generate()
  assert.notDeepEqual(ring.groupKey, groupKey)
  assert.ok(ring.signs(...ring.parties.slice(0, 3)))
  assert.deepEqual(
    ring.key.former.map(({ key }) => key),
    [encodeBase64url(groupKey)],
  )
  ring.pass(3_600_000)
  assert.deepEqual(ring.key.former, [])
})

test('a snapshot with a key that cannot be read is refused', () => {
  const ring = new Ring(4)
  ring.generate()
  const text = Buffer.concat([...ring.app.snapshot(ring.state)]).toString()
  const { publicKey } = ring.key
  const spoilt = text.replace(`"publicKey":"${publicKey}"`, `"publicKey":"${publicKey?.slice(0, -8)}"`)
  assert.notEqual(spoilt, text)
  assert.throws(() => ring.app.restore(Buffer.from(spoilt)), /signing key/)
})

test('who shows a token of the ring ends it, early and for good; nobody ends one that it cannot show', () => {
  const ring = new Ring(4)
  ring.generate()
  const [first] = ring.parties as [Party]
  const revoke = (token: string): TxBody => ({ type: 'token.revoke', token })
  const token = ring.token()
  const jti = 'ab'.repeat(16)
  const tx = ring.tx(first, revoke(token))
  const early = ring.app.provisional(ring.state, tx, ring.nowMs)
  assert.ok(early.ok)
  assert.deepEqual(early.denial.subject, { kind: 'token', value: jti })
  const foreign = generateKeyPairSync('ed25519').privateKey
  const [head, body, signature] = token.split('.') as [string, string, string]
  const forged = sign(null, Buffer.from(`${head}.${body}`), foreign).toString('base64url')
  for (const [bad, code] of [
    [`${head}.${body}.${forged}`, 'TOKEN_UNKNOWN'],
    [`${head}.${Buffer.from('{"jti":"x"}').toString('base64url')}.${signature}`, 'TOKEN_UNKNOWN'],
    [`${head}.AAAA.${signature}`, 'TOKEN_UNKNOWN'],
    [ring.token({ iss: 'urn:ringwall:other' }), 'TOKEN_UNKNOWN'],
    [ring.token({ jti: 'anything else' }), 'TOKEN_UNKNOWN'],
    [ring.token({ exp: 'never' }), 'TOKEN_UNKNOWN'],
    [ring.token({ exp: 1e300 }), 'TOKEN_UNKNOWN'],
    [ring.token({ exp: ring.nowMs / 1_000 - 61 }), 'DENIAL_OVER'],
    [`${head}.${body}`, 'TX_MALFORMED'],
  ] as const)
    assert.equal(ring.codeOf(first, revoke(bad)), code, bad.slice(0, 40))
  ring.block(tx)
  const { denials } = ring.app.view(ring.state, ring.height, ring.nowMs)
  const shown = { issuer: 'urn:ringwall:r', tokenId: jti }
  assert.equal(denials.matchCredential(shown, ring.nowMs)?.issuer, 'node:n1')
  assert.equal(denials.matchCredential(shown, ring.nowMs + 359_000)?.expiresAtMs, ring.nowMs + 360_000)
  assert.equal(denials.matchCredential(shown, ring.nowMs + 360_000), undefined)
})

test('a token of a key that was replaced is ended by who shows it, as long as it is taken', () => {
  const ring = new Ring(4)
  ring.generate()
  const token = ring.token()
  ring.block(ring.tx('ada', { type: 'key.rotate', key: 'signing', reason: 'suspected' }))
  ring.generate()
  assert.equal(ring.codeOf(ring.parties[0] as Party, { type: 'token.revoke', token }), 'ok')
})

const OPEN_VAULT = `${POLICY}\nvault:\n  rules:\n    - path: '*'\n      read: [operator:ada]\n`

test('the sealing key is made once the policy opens the vault, after the signing key, and is handed on by the same ceremonies', () => {
  const ring = new Ring(4)
  ring.generate()
  ring.pass(KEY_PHASE_MS)
  assert.equal(ring.state.key('sealing').ceremony, null, 'a closed vault needs no key')
  assert.equal(ring.codeOf('ada', { type: 'key.refresh', key: 'sealing', reason: 'none yet' }), 'KEY_NONE')
  ring.block(ring.tx('ada', { type: 'policy.set', policy: OPEN_VAULT, expectVersion: 1 }))
  assert.equal(ring.state.sealingKey.ceremony?.phase, 'enrolling')
  const signing = publicKeyOf(ring.key)?.groupKey
  ring.name = 'sealing'
  ring.generate()
  const publicKey = publicKeyOf(ring.key) as PublicKey
  assert.deepEqual(
    [publicKey.suite, publicKey.threshold, publicKey.purpose],
    ['ristretto255', 3, `ringwall sealing ${ring.app.ring}`],
  )
  const { capsule: body, key } = encapsulate(publicKey, Buffer.from('label'), randomBytes(32))
  const opens = (...parties: readonly Party[]): boolean => {
    const now = publicKeyOf(ring.key) as PublicKey
    const capsule = verifyCapsule(now, body)
    const partials = parties.map(({ share }) => {
      assert.ok(share !== undefined)
      return decodePartial(now, share.index, makePartial(share, capsule))
    })
    return Buffer.compare(openCapsule(now, capsule, partials), key) === 0
  }
  assert.ok(opens(...ring.parties.slice(0, 3)) && opens(...ring.parties.slice(1)))
  const { groupKey } = ring
  ring.block(ring.tx('ada', { type: 'key.refresh', key: 'sealing', reason: 'monthly' }))
  ring.generate()
  assert.deepEqual(ring.groupKey, groupKey)
  admitFifth(ring)
  assert.deepEqual(ring.groupKey, groupKey, 'what is sealed stays open to its readers')
  assert.ok(opens(...ring.parties.slice(1)))
  assert.deepEqual(publicKeyOf(ring.state.signingKey)?.groupKey, signing)
  assert.equal(ring.state.signingKey.ceremony?.phase, 'enrolling', 'the other key waits for its own ceremony')
})

test('a ring that begins with an open vault makes its signing key first, and begins with the sealing key in the same block', () => {
  const ring = new Ring(4, OPEN_VAULT)
  ring.block()
  assert.deepEqual([ring.state.signingKey.ceremony?.phase, ring.state.sealingKey.ceremony], ['enrolling', null])
  ring.enrol(...ring.parties)
  ring.speak(...ring.parties)
  ring.speak(...ring.parties)
  assert.deepEqual([ring.state.signingKey.ceremony, ring.state.sealingKey.ceremony?.phase], [null, 'enrolling'])
})

test('what is said in the ceremony of one key is nothing to the other', () => {
  const ring = new Ring(4, OPEN_VAULT)
  ring.generate()
  ring.name = 'sealing'
  ring.enrol(...ring.parties)
  const [first] = ring.parties as [Party]
  const deal = ring.message(first) as Extract<TxBody, { type: 'key.deal' }>
  assert.equal(ring.codeOf(first, deal), 'ok')
  assert.equal(ring.codeOf(first, { ...deal, key: 'signing' }), 'KEY_PHASE')
})

import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { test } from 'node:test'
import { type Digest, epochDomain, signingBytes } from '@ringwall/consensus'
import fc from 'fast-check'
import type { RingState } from './state.ts'
import { begin, genesis, keyOf, NOW, POLICY, signed, signedBytes } from './test-ring.ts'
import { encodeBase64url, encodeTx, orderStatements, txId } from './tx.ts'
import type { RingNode, SignedStatement, TxBody } from './types.ts'

const app = begin()
const { ring } = app
const context = { height: 1, timestampMs: NOW, proposer: 'n1' }

function run(state: RingState, ...txs: readonly Uint8Array[]): RingState {
  const result = app.execute(state, txs, context)
  assert.ok(result.ok, JSON.stringify(result))
  return result.state
}

const codeOf = (state: RingState, tx: Uint8Array): string => {
  const result = app.check(state, tx, NOW)
  return result.ok ? 'ok' : result.code
}

const freshKey = () => generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }).x as string
const node = (id: string, roles: RingNode['roles'] = ['validator'], publicKey = freshKey()): RingNode => ({
  id,
  region: 'eu',
  address: '10.0.0.3:7000',
  publicKey,
  roles,
})
const add = (added: RingNode) => signedBytes(ring, 'operator:ada', { type: 'node.add', node: added, reason: 'more' })
const remove = (id: string) => signedBytes(ring, 'operator:ada', { type: 'node.remove', id, reason: 'old' })

test('a validator that joins begins an epoch, and one that leaves; an edge does neither', () => {
  const before = app.initial()
  const three = run(before, add(node('n3')))
  assert.deepEqual([before.epoch, three.epoch], [0, 1])
  assert.deepEqual(
    app.validators(three).validators.map(({ id }) => id),
    ['n1', 'n2', 'n3'],
  )
  const edge = run(three, add(node('e1', ['edge'])))
  assert.equal(edge.epoch, 1)
  assert.equal(app.validators(edge).validators.length, 3)
  const two = run(edge, remove('n1'))
  assert.equal(two.epoch, 2)
  assert.deepEqual(
    app.view(two, 2, NOW).nodes.map(({ id }) => id),
    ['n2', 'n3', 'e1'],
  )
  assert.equal(run(two, remove('e1')).epoch, 2)
  const restored = app.restore(Buffer.concat([...app.snapshot(two)]))
  assert.equal(app.root(restored), app.root(two))
  assert.deepEqual(app.validators(restored), app.validators(two))
})

test('ids and keys are never used twice, also not of nodes that are gone, and not those of operators', () => {
  const key = freshKey()
  const gone = run(run(app.initial(), add(node('n3', ['edge'], key))), remove('n3'))
  assert.equal(codeOf(gone, add(node('n3'))), 'NODE_ID_USED')
  assert.equal(codeOf(gone, add(node('n4', ['edge'], key))), 'NODE_KEY_USED')
  assert.equal(codeOf(gone, add(node('n2'))), 'NODE_ID_USED')
  assert.equal(codeOf(gone, add(node('n4', ['edge'], genesis.operators[0]!.publicKey))), 'NODE_KEY_USED')
  assert.equal(codeOf(gone, remove('n3')), 'NODE_UNKNOWN')
  assert.equal(codeOf(gone, add({ ...node('n4'), address: 'host:0' })), 'NODE_ADDRESS')
})

test('a node that is gone signs nothing more, and only operators say who joins and leaves', () => {
  const deny: TxBody = { type: 'deny.add', subject: { kind: 'ip', value: '10.0.0.9' }, ttlMs: 60_000, reason: 'bad' }
  const byNode = signedBytes(ring, 'node:n2', deny)
  assert.equal(codeOf(app.initial(), byNode), 'ok')
  const gone = run(app.initial(), remove('n2'))
  assert.equal(codeOf(gone, byNode), 'ISSUER_UNKNOWN')
  assert.equal(codeOf(gone, signedBytes(ring, 'node:n2', deny)), 'ISSUER_UNKNOWN')
  assert.equal(
    codeOf(app.initial(), signedBytes(ring, 'node:n1', { type: 'node.remove', id: 'n2', reason: 'no' })),
    'NOT_ENTITLED',
  )
  assert.equal(
    codeOf(app.initial(), signedBytes(ring, 'node:n1', { type: 'node.add', node: node('n3'), reason: 'no' })),
    'NOT_ENTITLED',
  )
})

test('the last validator stays, and a block changes the validators once', () => {
  const one = run(app.initial(), remove('n2'))
  assert.equal(codeOf(one, remove('n1')), 'LAST_VALIDATOR')
  const twice = app.execute(app.initial(), [add(node('n3')), add(node('n4'))], context)
  assert.ok(!twice.ok && twice.reason.includes('CHANGE_UNDER_WAY'))
  const both = app.execute(app.initial(), [add(node('n3')), add(node('e4', ['edge']))], context)
  assert.ok(both.ok)
  const chosen = app.prepare(app.initial(), [add(node('n3')), remove('n2'), add(node('e4', ['edge']))], context, 100_000)
  assert.equal(chosen.length, 2)
})

const digest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'))
const kinds = fc.constantFrom('notarize' as const, 'nullify' as const, 'finalize' as const, 'proposal' as const)

function statement(
  kind: SignedStatement['kind'],
  named: string,
  round: number,
  by: 'n1' | 'n2',
  epoch = 0,
  of = ring,
): SignedStatement {
  const held = kind === 'nullify' ? null : named
  const message = signingBytes(kind, epochDomain(of, epoch), round, (held ?? undefined) as Digest | undefined)
  return { kind, digest: held, signature: encodeBase64url(new Uint8Array(sign(null, message, keyOf(by)))) }
}

const evidence = (a: SignedStatement, b: SignedStatement, round: number, epoch = 0): Uint8Array => {
  const [first, second] = orderStatements(a, b)
  return signedBytes(ring, 'node:n1', { type: 'evidence', validator: 'n2', epoch, round, first, second })
}

test('property: two statements evict their validator exactly when no honest one makes both', () => {
  fc.assert(
    fc.property(kinds, kinds, digest, digest, fc.nat(1_000), (one, other, x, y, round) => {
      const tx = evidence(statement(one, x, round, 'n2'), statement(other, y, round, 'n2'), round)
      const same = one === other && one !== 'nullify' && x !== y
      const opposite = new Set([one, other]).has('nullify') && new Set([one, other]).has('finalize')
      assert.equal(codeOf(app.initial(), tx), same || opposite ? 'ok' : 'EVIDENCE_INVALID')
      if (!same && !opposite) return
      const after = run(app.initial(), tx)
      assert.deepEqual([after.node('n2'), after.epoch], [undefined, 1])
      // Shown by somebody else, or again: it is gone already.
      assert.equal(
        codeOf(after, evidence(statement(one, x, round, 'n2'), statement(other, y, round, 'n2'), round)),
        'NODE_UNKNOWN',
      )
    }),
    { numRuns: 100 },
  )
})

test('property: statements of another validator, round, epoch or ring are no evidence, nor is one changed byte', () => {
  fc.assert(
    fc.property(digest, digest, fc.nat(1_000), fc.nat(63), fc.integer({ min: 1, max: 255 }), (x, y, round, at, flip) => {
      fc.pre(x !== y)
      const good = statement('notarize', x, round, 'n2')
      const bytes = Buffer.from(good.signature, 'base64url')
      bytes[at]! ^= flip
      const cases = [
        [good, statement('notarize', y, round, 'n1'), 0],
        [good, statement('notarize', y, round + 1, 'n2'), 0],
        [good, statement('notarize', y, round, 'n2', 1), 0],
        [good, { ...statement('notarize', y, round, 'n2'), kind: 'proposal' as const }, 0],
        [{ ...good, signature: encodeBase64url(bytes) }, statement('notarize', y, round, 'n2'), 0],
        [statement('notarize', x, round, 'n2', 1), statement('notarize', y, round, 'n2', 1), 1],
      ] as const
      for (const [a, b, epoch] of cases) assert.equal(codeOf(app.initial(), evidence(a, b, round, epoch)), 'EVIDENCE_INVALID')
    }),
    { numRuns: 50 },
  )
})

test('a statement of an epoch that is over still counts, and evidence has one spelling', () => {
  const later = run(app.initial(), add(node('n3')))
  const [x, y] = ['11'.repeat(32), '22'.repeat(32)]
  const [a, b] = [statement('finalize', x, 7, 'n2'), statement('finalize', y, 7, 'n2')]
  assert.equal(codeOf(later, evidence(a, b, 7)), 'ok')
  const turned = signedBytes(ring, 'node:n1', { type: 'evidence', validator: 'n2', epoch: 0, round: 7, first: b, second: a })
  assert.equal(codeOf(later, turned), 'EVIDENCE_INVALID')
})

test('where the policy asks for several operators, a node leaves with the last approval, and not before', () => {
  const strict = begin(`${POLICY}operators: { approvals: { node.remove: 2 } }\n`)
  const start = strict.initial()
  const execute = (state: RingState, ...txs: readonly Uint8Array[]): RingState => {
    const result = strict.execute(state, txs, context)
    assert.ok(result.ok, JSON.stringify(result))
    return result.state
  }
  const first = signed(strict.ring, 'operator:ada', { type: 'node.remove', id: 'n2', reason: 'old' })
  const waiting = execute(start, encodeTx(first))
  assert.deepEqual([waiting.epoch, waiting.node('n2')?.id], [0, 'n2'])
  const approval: TxBody = { type: 'tx.approve', id: txId(first.content), reason: 'so it is' }
  const applied = execute(waiting, signedBytes(strict.ring, 'operator:bob', approval))
  assert.deepEqual([applied.epoch, applied.node('n2')], [1, undefined])
  // It needs nobody's leave to show that a validator lied.
  const lies = [
    statement('finalize', '11'.repeat(32), 7, 'n2', 0, strict.ring),
    statement('nullify', '', 7, 'n2', 0, strict.ring),
  ] as const
  const [a, b] = orderStatements(...lies)
  const shown: TxBody = { type: 'evidence', validator: 'n2', epoch: 0, round: 7, first: a, second: b }
  assert.equal(execute(start, signedBytes(strict.ring, 'node:n1', shown)).epoch, 1)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Refusal, RingState, TxBody } from '@ringwall/ring'
import { Reception } from './reception.ts'

const INVITED = 'A'.repeat(43)
const DEVICE = `${'B'.repeat(42)}A`

interface Outcome {
  readonly reception: Reception
  readonly proposed: TxBody[]
}

function reception(outcome: { readonly height: number } | Refusal | 'silent', status = 'registered'): Outcome {
  const proposed: TxBody[] = []
  const device = { serial: 'AC-1', head: 'ab'.repeat(32), roles: ['edge'], region: null, status }
  const state = {
    node: (id: string) => (id === 'held' ? { id, publicKey: 'K' } : undefined),
    enrolment: {
      invitation: (key: string) => (key === INVITED ? { roles: ['edge'], region: 'eu' } : undefined),
      deviceWithKey: (key: string) => (key === DEVICE ? device : undefined),
    },
  } as unknown as RingState
  return {
    proposed,
    reception: new Reception({
      ring: 'cd'.repeat(32),
      genesis: '{}',
      region: 'eu',
      state: () => state,
      nowMs: () => 1_000,
      rehearse: (body) => (body.type === 'device.join' ? undefined : { code: 'INVITATION_USED', reason: 'used' }),
      propose: (body) => {
        proposed.push(body)
        return outcome === 'silent' ? Promise.reject(new Error('no quorum')) : Promise.resolve(outcome)
      },
      onRefused: () => undefined,
    }),
  }
}

const codeOf = (answer: unknown): string | undefined => (answer as { error?: { code: string } }).error?.code
const node = { id: 'e1', publicKey: 'P' }

test('nothing is said to a key that the ring does not expect, and nothing of it reaches the ledger', async () => {
  const { reception: desk, proposed } = reception({ height: 1 })
  for (const ask of ['welcome', 'rehearse', 'join', 'anything'])
    assert.equal(codeOf(await desk.answer('C'.repeat(43), { ask, node })), 'ISSUER_UNKNOWN')
  assert.deepEqual(proposed, [])
})

test('what is proposed is of the key that the guest showed, whatever it says', async () => {
  const { reception: desk, proposed } = reception({ height: 7 })
  const said = { ask: 'join', node, own: 'o', proof: 'p', invitation: 'another’s', serial: 'AC-9', atMs: 5, head: 'h' }
  assert.deepEqual(await desk.answer(INVITED, said), { ok: { id: 'e1', height: 7 } })
  assert.deepEqual(await desk.answer(DEVICE, said), { ok: { id: 'e1', height: 7 } })
  assert.deepEqual(proposed, [
    { type: 'node.join', invitation: INVITED, node, own: 'o', proof: 'p' },
    { type: 'device.join', serial: 'AC-1', atMs: 5, head: 'h', node, own: 'o', proof: 'p' },
  ])
})

test('one who did not hear the answer asks again and is told, without another transaction', async () => {
  const { reception: desk, proposed } = reception({ height: 7 })
  assert.deepEqual(await desk.answer(INVITED, { ask: 'join', node: { id: 'held', publicKey: 'K' } }), { ok: { id: 'held' } })
  assert.deepEqual(proposed, [])
})

test('refusals of the ring, its silence, and what is no request have codes', async () => {
  const refused = reception({ code: 'INVITATION_EXPIRED', reason: 'over' }).reception
  assert.equal(codeOf(await refused.answer(INVITED, { ask: 'join', node })), 'INVITATION_EXPIRED')
  assert.equal(codeOf(await refused.answer(INVITED, { ask: 'rehearse', node })), 'INVITATION_USED')
  assert.equal(codeOf(await refused.answer(INVITED, { ask: 'join', node: null })), 'GUEST_MESSAGE')
  assert.equal(codeOf(await refused.answer(INVITED, { ask: 'steal', node })), 'GUEST_MESSAGE')
  assert.equal(codeOf(await reception('silent').reception.answer(INVITED, { ask: 'join', node })), 'NO_QUORUM')
  for (const [status, code] of [
    ['removed', 'DEVICE_REMOVED'],
    ['transferred', 'DEVICE_TRANSFERRED'],
  ] as const)
    assert.equal(codeOf(await reception({ height: 1 }, status).reception.answer(DEVICE, { ask: 'welcome' })), code)
})

test('joins that wait for the ring are bounded', async () => {
  const { reception: desk } = reception({ height: 1 })
  const waiting = Array.from({ length: 64 }, () => desk.answer(INVITED, { ask: 'join', node }))
  assert.equal(codeOf(await desk.answer(INVITED, { ask: 'join', node })), 'RECEPTION_BUSY')
  for (const answer of await Promise.all(waiting)) assert.equal(codeOf(answer), undefined)
})

import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { TpmDevice } from '@ringwall/enroll'
import type { RequestHandler } from '@ringwall/fabric'
import type { RingState } from '@ringwall/ring'
import { Vouching } from './vouching.ts'

const ENDORSEMENT = randomBytes(316)
const RING = 'ab'.repeat(32)

/** A validator, with a device as the node d1 whose voucher names that endorsement key. */
function validator(ek: string | null = createHash('sha256').update(ENDORSEMENT).digest('hex')) {
  let handler: RequestHandler | undefined
  const state = {
    enrolment: { trust: { endorsements: [] }, deviceOfNode: (node: string) => (node === 'd1' ? { ek } : undefined) },
    validators: [{ id: 'n1' }, { id: 'n2' }],
  } as unknown as RingState
  new Vouching({
    self: 'n1',
    ring: RING,
    fabric: {
      onRequest: (_channel, given) => {
        handler = given
      },
      request: () => Promise.reject(new Error('nobody there')),
    },
    state: () => state,
    sign: () => new Uint8Array(64),
  })
  return async (from: string, said: unknown): Promise<Record<string, unknown>> => {
    const answer = await (handler as RequestHandler)(from, Buffer.from(JSON.stringify(said)))
    return JSON.parse(Buffer.from(answer).toString()) as Record<string, unknown>
  }
}

const ek = ENDORSEMENT.toString('base64url')
const ak = randomBytes(90).toString('base64url')

test('a validator vouches for nobody but a node with the TPM that the ring knows of it', async () => {
  assert.match(String((await validator()('n9', { ek, ak })).refused), /the ring knows no TPM of n9/)
  assert.match(String((await validator(null)('d1', { ek, ak })).refused), /the ring knows no TPM of d1/)
  assert.match(String((await validator()('d1', { ek: ak, ak })).refused), /its TPM was replaced/)
  assert.match(String((await validator()('d1', { ek, ak })).refused), /the public area/, 'the right hash of what is no key')
  assert.match(String((await validator()('d1', { ek: 1, ak })).refused), /expected ek and ak/)
})

test('a secret that was not asked for is no answer, and what is too long or no JSON is not read', async () => {
  const ask = validator()
  assert.deepEqual(await ask('d1', { secret: 'AAAA' }), { refused: 'nothing was asked' })
  await assert.rejects(ask('d1', { secret: 'A'.repeat(9_000) }), /too long/)
  await assert.rejects(ask('d1', null))
})

test('validators that do not answer are named, and none is vouched for in their place', async () => {
  const self = {
    endorsementKey: () => Promise.resolve(ENDORSEMENT),
    attestationKey: () => Promise.resolve(randomBytes(90)),
  } as unknown as TpmDevice
  const state = { validators: [{ id: 'n1' }, { id: 'n2' }] } as unknown as RingState
  const fabric = { onRequest: () => undefined, request: () => Promise.reject(new Error('nobody there')) }
  const vouching = new Vouching({ self: 'd1', ring: RING, fabric, state: () => state, sign: () => new Uint8Array(64) })
  const { verdicts, refused } = await vouching.gather(self)
  assert.deepEqual(verdicts, [])
  assert.deepEqual(refused, ['n1: nobody there', 'n2: nobody there'])
})

test('a validator that refuses what most of them vouch for is told of; one that does not answer is not, nor is a refusal that most share', async () => {
  const self = {
    endorsementKey: () => Promise.resolve(ENDORSEMENT),
    attestationKey: () => Promise.resolve(randomBytes(90)),
    activate: () => Promise.resolve(randomBytes(32)),
  } as unknown as TpmDevice
  const gatherWith = async (answers: Readonly<Record<string, unknown>>): Promise<readonly string[]> => {
    const dissents: string[] = []
    const ids = Object.keys(answers)
    const vouching = new Vouching({
      self: 'd1',
      ring: RING,
      fabric: {
        onRequest: () => undefined,
        request: (to) => {
          const answer = answers[to]
          return answer === undefined
            ? Promise.reject(new Error('nobody there'))
            : Promise.resolve(Buffer.from(JSON.stringify(answer)))
        },
      },
      state: () => ({ validators: ids.map((id) => ({ id })) }) as unknown as RingState,
      sign: () => new Uint8Array(64),
      onDissent: (validator, reason) => dissents.push(`${validator}: ${reason}`),
    })
    await vouching.gather(self)
    return dissents
  }
  const vouches = { credential: 'AAAA', signature: 'AAAA' }
  const refuses = { refused: 'I know no such TPM' }
  assert.deepEqual(await gatherWith({ n1: vouches, n2: vouches, n3: vouches, n4: refuses }), ['n4: I know no such TPM'])
  assert.deepEqual(await gatherWith({ n1: vouches, n2: vouches, n3: vouches, n4: undefined }), [])
  assert.deepEqual(await gatherWith({ n1: vouches, n2: vouches, n3: refuses, n4: refuses }), [])
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DevicesPolicy, Enrolment, type RingState } from '@ringwall/ring'
import { checkAttestation } from './check-attestation.ts'

const NOW = 1_800_000_000_000
const attestation = { least: 'tpm', nodes: 'all', disks: false, every: 60_000, absence: 0 } as const
const policy: DevicesPolicy = { attestation, est: { ttl: 86_400_000 }, manufacturers: [] }

function record(node: string, atMs: number | null, staleInMs: number, untilInMs: number) {
  const times = { atMs, outAtMs: NOW + untilInMs, saidMs: 0, staleAtMs: NOW + staleInMs, untilMs: NOW + untilInMs }
  const measured = { configuration: null, held: { pcrs: null, program: null }, pcrs: null, program: null }
  return { ak: null, boot: null, clock: null, former: [], kind: 'tpm' as const, node, ...times, ...measured }
}

function state(...nodes: readonly ReturnType<typeof record>[]): RingState {
  const endorsements = [{ node: 'n3', ek: 'a'.repeat(64) }]
  const trust = { beacons: [], endorsements, expelled: [], nodes, references: [] }
  const members = nodes.map(({ node: id }) => ({ id }))
  const enrolment = Enrolment.from({ invitations: [], devices: [], trust, est: { clients: [], secrets: [] } })
  return { enrolment, nodes: members, node: (id: string) => members.find((one) => one.id === id) } as unknown as RingState
}

test('each node that is late is named, with what is left to it and what to do; the others are one line', () => {
  const known = state(record('n1', NOW, 1, 2), record('n2', NOW, 1, 2), record('n3', NOW, -1, 30_000), record('n4', NOW, -2, -1))
  assert.deepEqual(
    checkAttestation(known, policy, NOW).map(({ level, what }) => [level, what]),
    [
      ['warn', 'n3 is late with its attestation; its trust lapses in 30 s'],
      ['bad', 'n4 has not attested in time: nothing that it says counts'],
      ['ok', '2 nodes are trusted, by their TPMs'],
    ],
  )
  assert.match(checkAttestation(known, policy, NOW)[0]?.fix ?? '', /ringwall events --node n3/)
  assert.match(checkAttestation(known, policy, NOW)[1]?.fix ?? '', /ringwall device bind n4/)
})

test('a policy that asks for nothing has nothing to say', () => {
  const none = { ...policy, attestation: { ...attestation, least: 'none' } } as const
  assert.deepEqual(checkAttestation(state(record('n4', null, -2, -1)), none, NOW), [])
})

import assert from 'node:assert/strict'
import { sign } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Digest, encodeMessage, epochDomain, signingBytes, type VoteKind } from '@ringwall/consensus'
import { EVIDENCE_FILE, readEvidence, writeEvidence } from './evidence-file.ts'
import { TestRing, until, word } from './test-ring.ts'
import type { LedgerEvidence } from './types.ts'

const digest = (digit: string) => digit.repeat(64) as Digest

/** A vote of n4 as it travels: tag, epoch 0, message. */
function voteOf(ring: TestRing, kind: VoteKind, round: number, about: Digest | undefined): Uint8Array {
  const message = signingBytes(kind, epochDomain(ring.genesis.ring, 0), round, about)
  const signature = new Uint8Array(sign(null, message, ring.privateKey('n4')))
  const vote = { kind, round, digest: about, signer: 3, signature }
  return Buffer.concat([Buffer.alloc(5), encodeMessage({ kind: 'vote', vote })])
}

test('a lie that was found is shown again after a restart, until the ring has let go of who told it', async () => {
  const ring = await TestRing.create(4)
  try {
    const shown: LedgerEvidence[] = []
    const onEvidence = (evidence: LedgerEvidence) => void shown.push(evidence)
    await ring.open('n1', { onEvidence })
    for (const id of ['n2', 'n3']) await ring.open(id)
    ring.network.join('n4')
    await ring.ledgers.get('n1')?.submit(word('first'), 60_000)

    const round = (ring.ledgers.get('n1')?.status().round ?? 0) + 9
    for (const about of [digest('a'), digest('b')])
      ring.network.inject('n4', 'n1', 'consensus', voteOf(ring, 'notarize', round, about))
    await until('n1 shows the lie', () => shown.length === 1)
    const [found] = shown
    assert.deepEqual([found?.validator, found?.epoch, found?.round], ['n4', 0, round])
    // It is on disk before anybody hears of it: what kills the process from here on kills no proof.
    assert.deepEqual(readEvidence(ring.directory('n1')), shown)

    await ring.kill('n1')
    shown.length = 0
    const again = await ring.open('n1', { onEvidence })
    assert.deepEqual(again.status().evidence, [{ validator: 'n4', kind: 'votes', round }])
    await until('n1 shows it again', () => shown.length === 1)
    assert.deepEqual(shown, [found])

    await again.submit(word('minus-n4'), 60_000)
    await until('n4 is gone', () => again.status().epoch === 1)
    await ring.kill('n1')
    shown.length = 0
    await ring.open('n1', { onEvidence })
    await until('the lie is forgotten', () => readEvidence(ring.directory('n1')).length === 0)
    assert.deepEqual(shown, [])
  } finally {
    await ring.close()
  }
})

test('evidence is read as it was written, and a file that is none is refused as a whole and costs no start', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'ringwall-evidence-'))
  try {
    assert.deepEqual(readEvidence(directory), [])
    const signature = new Uint8Array(64).fill(7)
    const lie: LedgerEvidence = {
      validator: 'n4',
      epoch: 2,
      round: 17,
      first: { kind: 'nullify', digest: undefined, signature },
      second: { kind: 'finalize', digest: digest('c'), signature },
    }
    await writeEvidence(directory, [lie, { ...lie, round: 18 }])
    assert.deepEqual(readEvidence(directory), [lie, { ...lie, round: 18 }])

    const good = { kind: 'finalize', digest: digest('c'), signature: Buffer.from(signature).toString('base64') }
    const whole = { validator: 'n4', epoch: 2, round: 17, first: good, second: good }
    const file = (lies: unknown) => JSON.stringify({ format: 'ringwall/evidence/1', lies })
    const bad = [
      '{',
      '[]',
      '{"format":"ringwall/evidence/1"}',
      '{"format":"ringwall/evidence/2","lies":[]}',
      file([null]),
      file([{ ...whole, round: -1 }]),
      file([{ ...whole, validator: 4 }]),
      file([{ ...whole, first: { ...good, digest: null } }]),
      file([{ ...whole, first: { ...good, digest: 'C'.repeat(64) } }]),
      file([{ ...whole, first: { ...good, kind: 'nullify' } }]),
      file([{ ...whole, second: { ...good, signature: 'AAAA' } }]),
      file(Array.from({ length: 65 }, () => whole)),
    ]
    for (const text of bad) {
      await writeFile(join(directory, EVIDENCE_FILE), text)
      assert.throws(() => readEvidence(directory), new RegExp(EVIDENCE_FILE), text)
    }
  } finally {
    await rm(directory, { recursive: true })
  }
  const ring = await TestRing.create(1)
  try {
    await ring.open('n1')
    await ring.kill('n1')
    await writeFile(join(ring.directory('n1'), EVIDENCE_FILE), 'not JSON')
    const ledger = await ring.open('n1')
    await ledger.submit(word('goes-on'), 60_000)
    assert.ok(ring.lines.some((line) => line.includes(EVIDENCE_FILE)))
  } finally {
    await ring.close()
  }
})

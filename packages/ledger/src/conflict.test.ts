import assert from 'node:assert/strict'
import { sign } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { decodeCertificate, makeBlock, signingBytes } from '@ringwall/consensus'
import { CONFLICT_FILE } from './conflict.ts'
import { encodeStatus } from './sync-codec.ts'
import { TestRing, until, word } from './test-ring.ts'

test('two certificates for one height, signed by more than a third, stop the ledger and name who signed both', async () => {
  const ring = await TestRing.create(4)
  try {
    const ledgers = await ring.openAll()
    const [ledger] = ledgers
    await ledger!.submit(word('true'), 10_000)
    await until('all are equally far', () => new Set(ledgers.map((each) => each.status().digest)).size === 1)
    /** Another block in place of the last one, certified by the three others: whatever is the last one when it is asked for. */
    const forge = async () => {
      const { height } = ledger!.status()
      const real = (await ledger!.block(height))!
      const { digest: _, ...parts } = real.block
      const forged = makeBlock({ ...parts, payload: new Uint8Array(0), timestampMs: parts.timestampMs + 1 })
      const message = signingBytes('finalize', ring.genesis.ring, forged.round, forged.digest)
      const signatures = [1, 2, 3].map((signer) => ({
        signer,
        signature: sign(null, message, ring.privateKey(`n${signer + 1}`)),
      }))
      const certificate = { kind: 'finalize' as const, round: forged.round, digest: forged.digest, signatures }
      return { height, real, forged, certificate }
    }
    let told = await forge()
    await ring.kill('n4')
    const liar = ring.network.join('n4')
    liar.onRequest('sync', async () => {
      if (ledger!.status().halted === undefined) told = await forge()
      const { height, forged, certificate } = told
      return encodeStatus({ epoch: 0, height, digest: forged.digest, certificate, closing: [] })
    })
    await until('it has stopped', () => ring.lines.some((line) => /n1 warn LEDGER HALTED/.test(line)))
    const { height, real, forged } = told
    await assert.rejects(ledger!.submit(word('more'), 5000), { code: 'LEDGER_HALTED' })
    const accused = ledger!.status().evidence.map(({ validator }) => validator)
    assert.ok(accused.length >= 2, accused.join())
    assert.ok(accused.every((validator) => validator !== 'n1'))
    assert.equal(ledger!.status().height, height)
    await until('the proof is kept', () => existsSync(join(ring.directory('n1'), CONFLICT_FILE)))
    const proof = JSON.parse(await readFile(join(ring.directory('n1'), CONFLICT_FILE), 'utf8'))
    assert.equal(proof.height, height)
    assert.ok(accused.every((validator) => proof.signedBoth.includes(validator)))
    const kept = proof.certificates.map(({ bytes }: { bytes: string }) => decodeCertificate(Buffer.from(bytes, 'base64')))
    assert.deepEqual(
      kept.map(({ digest }: { digest: string }) => digest),
      [real.block.digest, forged.digest],
    )
    await ring.kill('n1')
    const again = await ring.open('n1')
    assert.match(again.status().halted ?? '', /proves two histories/)
    await assert.rejects(again.submit(word('after'), 5000), { code: 'LEDGER_HALTED' })
  } finally {
    await ring.close()
  }
})

/**
 * Random lives of a ring whose validators change: nodes join, leave, die and come back while the network loses, delays and parts, and
 * transactions come from all of them. The real ledger on a real disk; what happens follows from a seed, when it happens from the machine.
 *
 *     node packages/ledger/src/membership-run.ts [--seeds N] [--first N]
 *
 * Checked: one history everywhere, nothing acknowledged is lost, nobody honest is accused, every folder verifies offline, and
 * the ring goes on once the network is whole.
 */

import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { faultsOf } from '@ringwall/consensus'
import { readOptions, whole } from '../../../tools/options.ts'
import { FIRST_START_FILE } from './marks.ts'
import { TestRing, until, type Words, word } from './test-ring.ts'
import type { Ledger } from './types.ts'
import { verifyLedgerDirectory } from './verify-directory.ts'

const STEPS = 14
const SETTLE_MS = 60_000

/** Mulberry32. */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

export interface MembershipOutcome {
  readonly epochs: number
  readonly height: number
  readonly acknowledged: number
}

/** @throws {AssertionError} When something does not hold. */
export async function runMembership(seed: number, trace: (line: string) => void = () => {}): Promise<MembershipOutcome> {
  const random = randomOf(seed)
  const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T
  const ring = await TestRing.create(pick([1, 4, 4, 5]), 3)
  const ids = [...ring.ids, ...[1, 2, 3].map((i) => `n${ring.ids.length + i}`)]
  const acknowledged: string[] = []
  const waiting: Promise<void>[] = []
  const accused: string[] = []
  const onEvidence = ({ validator }: { readonly validator: string }) => accused.push(validator)
  let words = 0
  const alive = () => [...ring.ledgers.keys()]
  const any = () => ring.ledgers.get(pick(alive())) as Ledger<Words>
  const newest = () => [...ring.ledgers.values()].reduce((a, b) => (b.status().height > a.status().height ? b : a))
  const members = () => (ring.application.validators?.(newest().state()).validators ?? []).map(({ id }) => id)
  const down = (of: readonly string[]) => of.filter((id) => !ring.ledgers.has(id)).length
  const change = async (value: string) => {
    await newest()
      .submit(word(value), 10_000)
      .catch((error: Error) => trace(`${value}: ${error.message}`))
  }
  try {
    for (const id of ids) {
      await mkdir(ring.directory(id), { recursive: true })
      await writeFile(join(ring.directory(id), FIRST_START_FILE), '')
      await ring.open(id, { onEvidence })
    }
    for (let step = 0; step < STEPS; step++) {
      ring.network.delayMs = pick([0, 0, 3])
      ring.network.loss = pick([0, 0, 0.05])
      for (let n = Math.floor(random() * 4); n > 0; n--) {
        const value = `w${words++}`
        waiting.push(
          any()
            .submit(word(value), SETTLE_MS)
            .then(
              () => void acknowledged.push(value),
              (error: Error) => trace(`${value}: ${error.message}`),
            ),
        )
      }
      const set = members()
      const what = pick(['add', 'add', 'remove', 'kill', 'kill', 'restart', 'restart', 'cut', 'heal'])
      if (what === 'add') {
        const id = pick(alive().filter((one) => !set.includes(one) && !newest().state().words.has(`plus-${one}`)) as string[])
        if (id !== undefined && !ring.ids.includes(id) && down(set) <= faultsOf(set.length + 1)) {
          trace(`${id} joins ${set.join(' ')}`)
          ring.network.heal()
          await change(`plus-${id}`)
        }
      } else if (what === 'remove') {
        const id = pick(set)
        const left = set.filter((one) => one !== id)
        if (left.length > 0 && down(left) <= faultsOf(left.length) && down(set) <= faultsOf(set.length)) {
          trace(`${id} leaves ${set.join(' ')}`)
          ring.network.heal()
          await change(`minus-${id}`)
        }
      } else if (what === 'kill') {
        const id = pick(alive())
        if (alive().length > 1 && down(set) + (set.includes(id) ? 1 : 0) <= faultsOf(set.length)) {
          trace(`${id} dies`)
          await ring.kill(id)
        }
      } else if (what === 'restart') {
        const gone = ids.filter((id) => !ring.ledgers.has(id))
        if (gone.length > 0) {
          const id = pick(gone)
          trace(`${id} comes back`)
          await ring.open(id, { onEvidence })
        }
      } else if (what === 'cut') ring.network.cut(pick(ids), pick(ids))
      else ring.network.heal()
      await sleep(random() * 60)
    }
    ring.network.loss = 0
    ring.network.delayMs = 0
    ring.network.heal()
    for (const id of ids) if (!ring.ledgers.has(id)) await ring.open(id, { onEvidence })
    await any().submit(word('end'), SETTLE_MS)
    await Promise.all(waiting)
    const ledgers = [...ring.ledgers.values()]
    await until('all have all that was acknowledged', () =>
      ledgers.every((ledger) => ['end', ...acknowledged].every((value) => ledger.state().words.has(value))),
    )
    await until('all are equally far', () => new Set(ledgers.map((ledger) => ledger.status().digest)).size === 1)
    const { height, epoch } = newest().status()
    for (const [id, ledger] of ring.ledgers) {
      const { role, halted, evidence } = ledger.status()
      assert.equal(halted, undefined, id)
      assert.deepEqual(evidence, [], id)
      assert.equal(role === 'validator', members().includes(id), id)
    }
    assert.deepEqual(accused, [])
    for (let at = 1; at <= height; at++) {
      const digests = await Promise.all(ledgers.map(async (ledger) => (await ledger.block(at))?.block.digest))
      assert.equal(new Set(digests.filter((digest) => digest !== undefined)).size, 1, `height ${at}`)
    }
    for (const id of ids) await ring.kill(id)
    for (const id of ids) {
      const options = { directory: ring.directory(id), application: ring.application, genesis: ring.genesis }
      assert.deepEqual((await verifyLedgerDirectory(options)).problems, [], id)
    }
    return { epochs: epoch, height, acknowledged: acknowledged.length }
  } catch (error) {
    for (const line of ring.lines.slice(-40)) trace(line)
    for (const [id, ledger] of ring.ledgers) trace(`${id} ${JSON.stringify(ledger.status())}`)
    throw error
  } finally {
    await ring.close()
  }
}

if (import.meta.main) {
  const { seeds, first } = readOptions({ seeds: whole(20), first: whole(1) })
  for (let seed = first; seed < first + seeds; seed++) {
    const lines: string[] = []
    try {
      const { epochs, height, acknowledged } = await runMembership(seed, (line) => lines.push(line))
      process.stdout.write(`seed ${seed}: ${epochs} changes, height ${height}, ${acknowledged} transactions\n`)
    } catch (error) {
      process.stdout.write(`${lines.join('\n')}\nseed ${seed} FAILS: ${(error as Error).stack}\n`)
      process.exitCode = 1
      break
    }
  }
}

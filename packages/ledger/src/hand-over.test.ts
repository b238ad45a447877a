import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Certificate, genesisBlock, makeBlock } from '@ringwall/consensus'
import { Chain } from './chain.ts'
import { advanceOver, type Folder, handOverSteps, memoryOf } from './hand-over.ts'
import { encodePayload } from './payload.ts'
import { wordsApplication } from './test-ring.ts'

const whole: Folder = {
  hasBlocks: true,
  hasJournal: true,
  hasSigned: true,
  isDamaged: false,
  isMarked: false,
  isAlone: false,
}
const nothing: Folder = { ...whole, hasBlocks: false, hasJournal: false, hasSigned: false }

for (const [name, folder, expected] of [
  ['blocks with their epoch’s journal', whole, 'whole'],
  ['blocks without their epoch’s journal', { ...whole, hasJournal: false, hasSigned: false }, 'lost'],
  ['something missing that was there', { ...whole, isDamaged: true }, 'lost'],
  ['a mark of forgetting, and votes', { ...whole, isMarked: true }, 'lost'],
  ['a mark of forgetting, and votes before any block', { ...whole, hasBlocks: false, isMarked: true }, 'lost'],
  ['a mark of forgetting, and nothing else', { ...nothing, isMarked: true }, 'unknown'],
  ['a first start', nothing, 'whole'],
  ['damage, and nobody else who agrees', { ...whole, isDamaged: true, isMarked: true, isAlone: true }, 'whole'],
] as const) {
  test(`a folder with ${name}: what it knows of its votes is ${expected}`, () => assert.equal(memoryOf(folder), expected))
}

test('whatever a crash leaves of a hand-over, the journal of the epoch that the blocks reach into is there', () => {
  const steps = handOverSteps([], 5)
  for (let done = 0; done <= steps.length; done++) {
    const journals = new Set([4])
    let epoch = 4
    for (const step of steps.slice(0, done)) {
      if (step.kind === 'journal') journals.add(step.epoch)
      else if (step.kind === 'blocks') epoch = 5
      else if (step.kind === 'remove-journals') for (const number of journals) if (number < step.before) journals.delete(number)
    }
    assert.ok(journals.has(epoch), `after ${done} steps`)
  }
})

test('final blocks move the tip; those known are skipped, a gap, another history and an invalid block stop', () => {
  const base = genesisBlock('r')
  const initial = wordsApplication.initial()
  const chainOf = () => new Chain(wordsApplication, { nameOf: () => 'n1' }, { block: base, state: initial, txs: [], results: [] })
  const block = (parent: typeof base, round: number, word?: string) => {
    const txs = word === undefined ? [] : [new TextEncoder().encode(word)]
    const payload = encodePayload({ root: wordsApplication.root(initial), txs })
    const { height, digest, timestampMs } = parent
    return makeBlock({ round, height: height + 1, parent: digest, proposer: 0, timestampMs: timestampMs + 1, payload })
  }
  const first = block(base, 1)
  const second = block(first, 2)
  const third = block(second, 3)
  const proof = (of: typeof base): Certificate => ({ kind: 'finalize', round: of.round, digest: of.digest, signatures: [] })
  const chain = chainOf()
  const both = advanceOver(chain, [first, second], proof(second), undefined)
  assert.deepEqual(
    both.records.map(({ certificate }) => certificate?.digest),
    [undefined, second.digest],
  )
  assert.equal(both.obstacle, undefined)
  const again = advanceOver(chain, [first, second, third], proof(third), undefined)
  assert.deepEqual(
    again.fresh.map(({ block: { height } }) => height),
    [3],
  )
  assert.equal(chain.tip.block.digest, third.digest)
  assert.deepEqual(advanceOver(chainOf(), [second], proof(second), undefined).obstacle, { kind: 'gap' })
  const other = block(second, 4)
  assert.deepEqual(advanceOver(chain, [other], proof(other), undefined).obstacle, { kind: 'conflict' })
  const bad = block(base, 1, 'NO WORD')
  assert.equal(advanceOver(chainOf(), [bad], proof(bad), undefined).obstacle?.kind, 'invalid')
})

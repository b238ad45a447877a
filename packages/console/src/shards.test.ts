import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { VaultNode } from '@ringwall/client'
import { counted, percent, size } from './format.ts'
import { accused, obstacles, stateOf, verdict } from './shards.ts'

type Standing = NonNullable<VaultNode['standing']>

const NOW = 1_000_000
const whole: Standing = {
  versions: 3,
  versionsMax: 100_000,
  shards: 3,
  missing: 0,
  waiting: 0,
  waits: [],
  bytes: 10,
  bytesMax: 100,
  store: 'folder',
  storeAway: null,
  passedAtMs: NOW,
  uncompared: 0,
  comparedAtMs: NOW,
  repairing: null,
  mending: null,
  repaired: 0,
  corrupt: 0,
  erased: 0,
  moved: 0,
  scrubbedBytes: 0,
  repairedBytes: 0,
  put: 0,
  read: 0,
  faults: 0,
  culprits: [],
  away: [],
}

const node = (id: string, standing: Partial<Standing> | null = {}): VaultNode => ({
  id,
  region: 'eu-1',
  self: id === 'n1',
  reason: standing === null ? 'connection refused' : null,
  standing: standing === null ? null : { ...whole, ...standing },
})

const repairing: Partial<Standing> = {
  repairing: { version: 'abcdef0123', index: 1, bytes: 512, of: 1_024 },
  mending: { shards: 1, ofShards: 4, bytes: 1_048_576, ofBytes: 4_194_304 },
}
const storeAway = { sinceMs: NOW - 90_000, reason: 'no answer in 10 s' }

test('sizes are in the units of 1,024 that the command line has', () => {
  assert.deepEqual([0, 1, 1_023, 1_024, 1_536, 1_073_741_824, 2 ** 60].map(size), [
    '0 B',
    '1 B',
    '1023 B',
    '1.0 KiB',
    '1.5 KiB',
    '1.0 GiB',
    '1048576.0 TiB',
  ])
})

test('a percentage is 100 only once all is there, and stays within its bounds', () => {
  assert.deepEqual(
    [
      [0, 10],
      [999, 1_000],
      [10, 10],
      [11, 10],
      [-1, 10],
      [0, 0],
    ].map(([done, of]) => percent(done as number, of as number)),
    [0, 99, 100, 100, 0, 100],
  )
  assert.deepEqual([counted(1, 'shard'), counted(0, 'shard')], ['1 shard', '0 shards'])
})

test('the verdict on a ring is one line, and the gravest decides how it is shown', () => {
  const two = (standing: Partial<Standing> | null): readonly VaultNode[] => [node('n1'), node('n2', standing)]
  for (const [nodes, level, text] of [
    [two({}), 'good', 'All whole: 6 shards of 3 versions on 2 nodes.'],
    [two(repairing), 'warn', 'Repairing on 1 node: 1.0 MiB of 4.0 MiB (25 %).'],
    [
      [node('n1', repairing), node('n2', { repairing: { version: 'a', index: 0, bytes: 1_048_576, of: 1_048_576 } })],
      'warn',
      'Repairing on 2 nodes: 2.0 MiB of 5.0 MiB (40 %).',
    ],
    [two({ missing: 3, waiting: 2 }), 'warn', '1 shard to repair. 2 shards waiting.'],
    [two({ passedAtMs: null }), 'warn', 'Not looked yet: n2.'],
    [two(null), 'bad', 'Whole on 1 node. No answer from n2.'],
    [two({ storeAway }), 'bad', 'Whole on 1 node. Shards out of reach on n2.'],
    [
      [node('n1', { ...repairing, missing: 2, waiting: 2 }), node('n2', null)],
      'bad',
      'Repairing on 1 node: 1.0 MiB of 4.0 MiB (25 %). 2 shards waiting. No answer from n2.',
    ],
  ] as const)
    assert.deepEqual(verdict(nodes, 3), { level, text })
  assert.deepEqual(verdict(two({}), 0), { level: 'good', text: 'No objects yet.' })
})

test('a node that does not answer, or cannot get at its shards, is shown as such, with why, and who makes its shards', () => {
  const nodes = [node('n1', { away: ['n3'] }), node('n2', { storeAway }), node('n3', null)]
  assert.deepEqual(
    nodes.map((one) => stateOf(one, NOW)),
    [
      { level: 'good', text: 'whole' },
      { level: 'bad', text: 'store away for 1 min 30 s' },
      { level: 'bad', text: 'does not answer' },
    ],
  )
  assert.deepEqual(
    obstacles(nodes, NOW).map(({ text }) => text),
    [
      'store away for 1 min 30 s: no answer in 10 s',
      'does not answer: connection refused; its shards are made anew elsewhere, say n1',
    ],
  )
})

test('what a node is at: repairs come before what waits, and comparing does not make it less whole', () => {
  const told = (standing: Partial<Standing>): string => stateOf(node('n1', standing), NOW).text
  assert.equal(told({ ...repairing, waiting: 1 }), 'repairing, 25 %')
  assert.equal(told({ waiting: 1, missing: 1 }), '1 waiting')
  assert.equal(told({ missing: 1 }), '1 to repair')
  assert.equal(told({ passedAtMs: null }), 'not looked yet')
  assert.equal(told({ uncompared: 4 }), 'whole; 4 still to compare')
  assert.equal(told({}), 'whole')
})

test('what waits is named with why, as far as the node names it', () => {
  const list = obstacles(
    [node('n1', { waiting: 3, waits: [{ version: 'v', reason: 'too few' }] }), node('n2', null), node('n3')],
    NOW,
  )
  assert.deepEqual(
    list.map(({ node: id, version, text }) => [id, version, text]),
    [
      ['n1', 'v', 'too few'],
      ['n1', undefined, 'and 2 more waiting'],
      ['n2', undefined, 'does not answer: connection refused'],
    ],
  )
})

test('whose shards were wrong is added up over who says so, the last first', () => {
  const list = accused([
    node('n1', { culprits: [{ party: 'n3', wrong: 2, missing: 1, lastAtMs: 5 }] }),
    node('n2', {
      culprits: [
        { party: 'n3', wrong: 1, missing: 0, lastAtMs: 9 },
        { party: 'n4', wrong: 0, missing: 1, lastAtMs: 20 },
      ],
    }),
    node('n3', null),
  ])
  assert.deepEqual(list, [
    { party: 'n4', wrong: 0, missing: 1, lastAtMs: 20, by: ['n2'] },
    { party: 'n3', wrong: 3, missing: 1, lastAtMs: 9, by: ['n1', 'n2'] },
  ])
})

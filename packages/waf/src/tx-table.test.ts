import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NameSelection, TxTable } from './tx-table.ts'

const name = fc.constantFrom('a', 'b', 'c', 'd')
const change = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), name, value: fc.constantFrom('', '0', '5') }),
  fc.record({ kind: fc.constant('delete' as const), name }),
)

test('property: a table over shared variables answers as a map of its own would, and leaves the shared ones alone', () => {
  fc.assert(
    fc.property(fc.dictionary(name, fc.constantFrom('1', '', '5')), fc.array(change), (shared, changes) => {
      const base = new Map<string, string>(Object.entries(shared))
      const before = [...base]
      const vowels = new NameSelection((one) => one === 'a' || one === 'e')
      const table = new TxTable(base)
      const map = new Map<string, string>(base)
      for (const step of changes) {
        if (step.kind === 'set') {
          table.set(step.name, step.value)
          map.set(step.name, step.value)
        } else {
          table.delete(step.name)
          map.delete(step.name)
        }
        assert.equal(table.size, map.size)
        for (const one of 'abcde') {
          assert.equal(table.get(one), map.get(one))
          assert.equal(table.has(one), map.has(one))
        }
        assert.deepEqual(new Map(table.entries()), map)
        assert.deepEqual(new Map(table.matching(vowels)), new Map([...map].filter(([one]) => one === 'a')))
      }
      assert.deepEqual([...base], before)
    }),
    { numRuns: 1_000 },
  )
})

test('what is captured is found out when somebody asks, and only the last of it', () => {
  const table = new TxTable(new Map([['score', '0']]))
  const found: string[] = []
  const later = (value: string): void =>
    table.captureLater(() => {
      found.push(value)
      table.set('0', value)
    })
  later('a')
  later('b')
  assert.equal(table.get('score'), '0')
  assert.deepEqual(found, [])
  assert.equal(table.get('0'), 'b')
  later('c')
  table.set('1', 'x')
  later('d')
  assert.deepEqual(
    new Map(table.entries()),
    new Map([
      ['score', '0'],
      ['0', 'd'],
      ['1', 'x'],
    ]),
  )
  assert.deepEqual(found, ['b', 'c', 'd'])
})

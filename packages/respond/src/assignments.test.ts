import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Assignment, Assignments } from './assignments.ts'

const T0 = 1_800_000_000_000
const [ID, OTHER] = ['abcdef012345', '0123456789ab']
const assignment = (atMs: number, to: string | null = 'bob', node = 'n1'): Assignment => ({
  id: ID,
  atMs,
  to,
  by: 'ada',
  note: '',
  node,
})

test('the last assignment stands, of whichever of its findings; nobody is nobody', () => {
  const assignments = new Assignments()
  assert.equal(assignments.of([ID, OTHER]), undefined)
  assignments.assign(assignment(T0))
  assignments.assign({ ...assignment(T0 + 1, 'cyd'), id: OTHER })
  assert.equal(assignments.of([ID, OTHER])?.to, 'cyd')
  assert.equal(assignments.of([ID])?.to, 'bob')
  assignments.assign(assignment(T0 + 2, null))
  assert.equal(assignments.of([OTHER, ID]), undefined)
  assignments.assign(assignment(T0 + 1, 'too late'))
  assert.equal(assignments.last([OTHER, ID])?.to, null)
})

test('a node tells what was assigned on it, and of others nothing; one of a time to come is passed over', () => {
  const [one, other] = [new Assignments(), new Assignments()]
  one.assign(assignment(T0))
  other.merge('n2', one.summary('n1')!, T0)
  assert.deepEqual(other.all(), [])
  other.merge('n1', one.summary('n1')!, T0)
  assert.deepEqual(other.all(), one.all())
  assert.equal(other.summary('n2'), undefined)
  const late = new Assignments()
  one.assign(assignment(T0 + 3_600_000))
  late.merge('n1', one.summary('n1')!, T0)
  assert.deepEqual(late.all(), [])
})

test('at most 2,000 are kept: the latest', () => {
  const assignments = new Assignments()
  for (let at = 0; at < 2_010; at += 1)
    assignments.assign({ ...assignment(T0 + ((at * 7) % 2_010)), id: at.toString(16).padStart(12, '0') })
  const kept = assignments.all()
  assert.equal(kept.length, 2_000)
  assert.equal(kept[0]?.atMs, T0 + 10)
})

const someAssignment: fc.Arbitrary<Assignment> = fc.record({
  id: fc.constantFrom(ID, OTHER),
  atMs: fc.integer({ min: T0, max: T0 + 3 }),
  to: fc.constantFrom('bob', 'cyd', null),
  by: fc.constantFrom('ada', 'bob'),
  note: fc.constantFrom('', 'a note'),
  node: fc.constantFrom('n1', 'n2'),
})

test('property: whatever the order and however often they come, the same stands, and a file keeps it', () => {
  fc.assert(
    fc.property(fc.array(someAssignment, { maxLength: 12 }), fc.infiniteStream(fc.nat()), (given, places) => {
      const [one, other, kept] = [new Assignments(), new Assignments(), new Assignments()]
      for (const each of given) one.assign(each)
      const shuffled = given.map((each) => [places.next().value as number, each] as const).sort(([a], [b]) => a - b)
      for (const [, each] of [...shuffled, ...shuffled.slice(0, 3)]) other.assign(each)
      assert.deepEqual(other.all(), one.all())
      kept.restore(new TextEncoder().encode(JSON.stringify(one.all())))
      assert.deepEqual(kept.all(), one.all())
    }),
  )
})

test('property: garbage changes nothing', () => {
  fc.assert(
    fc.property(fc.json(), (json) => {
      const assignments = new Assignments()
      assignments.merge('n1', Uint8Array.from([7, ...new TextEncoder().encode(json)]), T0)
      assert.deepEqual(assignments.all(), [])
    }),
  )
})

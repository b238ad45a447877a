import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { chainOf, Subject, SubjectMemo, stepOf } from './subject.ts'

test('values that come once leave no more behind than was said, and those that repeat stay known', () => {
  const memo = new SubjectMemo(64)
  const usual = memo.of('usual')
  for (let at = 0; at < 1_000; at += 1) {
    memo.of(`once ${at}`)
    if (at % 8 === 0) assert.equal(memo.of('usual'), usual)
    assert.ok(memo.size <= 64)
  }
})

test('a value goes through as many steps as there may be, each of them once', () => {
  const asked: string[] = []
  const steps = Array.from({ length: 40 }, (_, index) =>
    stepOf(index, (text) => {
      asked.push(`${index} ${text}`)
      return index % 7 === 3 ? `${text}${index}` : text
    }),
  )
  const [all, some, none] = [steps, steps.slice(0, 30), steps.slice(0, 3)].map((part, index) => chainOf(index, part))
  const subject = new Subject('x')
  const meter = { work: 0, building: 0 }
  const last = subject.through(all!, meter)
  assert.equal(last.text, 'x31017243138')
  const asks = asked.length
  assert.equal(asks, 40)
  assert.equal(subject.through(some!, meter).text, 'x3101724')
  assert.equal(subject.through(none!, meter), subject)
  assert.equal(asked.length, asks)
  assert.equal(subject.through(all!, meter), last)
})

test('what is remembered of a piece does not keep the body in memory that it was cut out of', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const memo = new SubjectMemo(1_000)
  const body = (i: number): string => Buffer.from(`value number ${i} of a thousand, ${'x'.repeat(1_000_000)}`).toString('latin1')
  collect()
  const before = process.memoryUsage().heapUsed
  for (let i = 0; i < 300; i += 1) memo.of(body(i).slice(0, 30))
  collect()
  const grown = process.memoryUsage().heapUsed - before
  assert.equal(memo.size, 300)
  assert.ok(grown < 20_000_000, `${grown} bytes more`)
})

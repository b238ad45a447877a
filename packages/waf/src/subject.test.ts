import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SubjectMemo } from './subject.ts'

test('values that come once leave no more behind than was said, and those that repeat stay known', () => {
  const memo = new SubjectMemo(64)
  const usual = memo.of('usual')
  for (let at = 0; at < 1_000; at += 1) {
    memo.of(`once ${at}`)
    if (at % 8 === 0) assert.equal(memo.of('usual'), usual)
    assert.ok(memo.size <= 64)
  }
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { checkFloors, importsOf, judgeImport } from './floors.ts'

test('an import of a higher floor, of the same floor, and of Node by a pure package are refused', () => {
  assert.match(judgeImport('ring', '@ringwall/guard', false) ?? '', /floor 2/)
  assert.match(judgeImport('proxy', '@ringwall/telemetry', false) ?? '', /may not import/)
  assert.match(judgeImport('waf', 'node:fs', false) ?? '', /pure/)
  assert.match(judgeImport('waf', '@ringwall/nowhere', false) ?? '', /no package/)
})

test('an import of a lower floor, of a library and of Node by a shell are fine', () => {
  assert.equal(judgeImport('guard', '@ringwall/ring/tx', false), undefined)
  assert.equal(judgeImport('ring', 'zod', false), undefined)
  assert.equal(judgeImport('fabric', 'node:tls', false), undefined)
})

test('imports are found in every form: static, type, re-export, side effect, dynamic', () => {
  const source = `import a from 'a'\nimport type { B } from "b"\nexport * from 'c'\nimport 'd'\nconst e = await import('e')\nimport {\n  f,\n} from 'f'`
  assert.deepEqual(importsOf(source), ['a', 'b', 'c', 'd', 'e', 'f'])
})

test('the house stands: no package imports upward or sideways', () => {
  assert.deepEqual(checkFloors(`${import.meta.dirname}/..`), [])
})

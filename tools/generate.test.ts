import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { generated } from './generate.ts'
import { typeOf } from './generate-client.ts'

for (const [path, content] of Object.entries(generated)) {
  test(`${path} is what its source makes of it: npm run generate`, () => {
    assert.equal(readFileSync(join(import.meta.dirname, '..', path), 'utf8'), content())
  })
}

test('a schema outside the part that is used is refused, not guessed', () => {
  assert.throws(() => typeOf({ type: 'tuple' }), /no type/)
})

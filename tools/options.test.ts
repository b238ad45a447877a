import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

const OPTIONS = JSON.stringify(join(import.meta.dirname, 'options.ts'))
const PROGRAM = `
  const { flag, readArguments, text, whole } = await import(${OPTIONS})
  console.log(JSON.stringify(readArguments({ count: whole(3, 1, 9), seed: whole(undefined), name: text('a'), all: flag() })))`

function run(...args: readonly string[]): { readonly code: number | null; readonly out: string; readonly err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', PROGRAM, '--', ...args], {
    encoding: 'utf8',
  })
  return { code: status, out: stdout, err: stderr }
}

test('options are read with their kinds, and words beside them', () => {
  assert.deepEqual(JSON.parse(run().out), { options: { count: 3, name: 'a', all: false }, words: [] })
  const { out } = run('base', '--count', '9', '--seed', '7', '--name=b', '--all', 'crs')
  assert.deepEqual(JSON.parse(out), { options: { count: 9, seed: 7, name: 'b', all: true }, words: ['base', 'crs'] })
})

test('what is no option, or has no such value, ends the program with one line', () => {
  for (const [args, said] of [
    [['--nope', '1'], /Unknown option '--nope'; there are --count, --seed, --name, --all\n$/],
    [['--count', '10'], /--count 10: expected a whole number from 1 to 9\n$/],
    [['--count', 'x'], /--count x: expected a whole number from 1 to 9\n$/],
    [['--count'], /argument missing; there are/],
  ] as const) {
    const { code, err } = run(...args)
    assert.equal(code, 2)
    assert.match(err, said)
    assert.equal(err.trim().split('\n').length, 1)
  }
})

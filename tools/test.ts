/**
 * What `npm test` runs: types, style, floors, then every test. `npm test -- PATTERN` runs the test files whose path
 * contains the pattern, without the checks.
 */
import { spawnSync } from 'node:child_process'
import { globSync } from 'node:fs'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')
const pattern = process.argv[2]

function step(name: string, command: string, args: readonly string[]): boolean {
  const began = performance.now()
  process.stdout.write(`── ${name}\n`)
  // What V8 made of the code is kept: hundreds of processes load the same.
  const env = { ...process.env, NODE_COMPILE_CACHE: process.env.NODE_COMPILE_CACHE ?? join(root, 'node_modules/.cache/code') }
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', env, shell: process.platform === 'win32' })
  process.stdout.write(
    `── ${name}: ${status === 0 ? 'good' : 'FAILED'} in ${((performance.now() - began) / 1_000).toFixed(1)} s\n`,
  )
  return status === 0
}

const bin = (name: string): string => join('node_modules', '.bin', name)
const testFiles = [
  'packages/*/src/**/*.test.ts',
  'examples/*/src/**/*.test.ts',
  'tools/*.test.ts',
  'sim/**/*.test.ts',
  'fuzz/**/*.test.ts',
  'e2e/**/*.test.ts',
]
  .flatMap((glob) => globSync(glob, { cwd: root }))
  .filter((file) => !file.includes('node_modules') && (pattern === undefined || file.includes(pattern)))
  .sort()

let good = true
if (pattern === undefined) {
  good = step('types', bin('tsc'), ['-p', 'tsconfig.json']) && good
  good = step('types of the console', bin('tsc'), ['-p', 'packages/console/tsconfig.json']) && good
  good = step('style', bin('biome'), ['check', '--error-on-warnings', '.']) && good
}
if (testFiles.length === 0) {
  process.stderr.write(`no test file's path contains ${JSON.stringify(pattern)}\n`)
  good = false
} else {
  const flags = ['--disable-warning=ExperimentalWarning', '--test', '--test-concurrency=2', '--test-timeout=240000']
  good = step('tests', process.execPath, [...flags, ...testFiles]) && good
}
process.exitCode = good ? 0 : 1

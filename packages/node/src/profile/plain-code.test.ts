import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type PlainCode, plainName, preparePlainCode } from './plain-code.ts'

const LOADER = new URL('./plain-loader.mjs', import.meta.url).href
const SOURCE = `const said: string = 'grün \\u{1f600} 😀'
interface Unused { readonly a: number }
const { moduleLoadList } = process as unknown as { moduleLoadList: string[] }
const stripped = moduleLoadList.some((name) => name.includes('amaro'))
process.stdout.write(said + (stripped ? ' stripped' : ' plain'))
`

function scene(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-plain-'))
  t.after(() => rmSync(root, { recursive: true }))
  const source = join(root, 'packages', 'a', 'src', 'said.ts')
  mkdirSync(join(source, '..'), { recursive: true })
  writeFileSync(source, SOURCE)
  writeFileSync(join(source, '..', 'said.test.ts'), 'no test is part of the program: <')
  const folder = join(root, 'plain')
  const prepare = (): PlainCode => preparePlainCode(folder, root)!
  const run = ({ folder: RINGWALL_PLAIN, index: RINGWALL_PLAIN_INDEX }: PlainCode): string => {
    const env = { ...process.env, RINGWALL_PLAIN, RINGWALL_PLAIN_INDEX, NODE_DISABLE_COMPILE_CACHE: '1' }
    const { stdout, stderr } = spawnSync(process.execPath, ['--import', LOADER, source], { encoding: 'utf8', env })
    assert.doesNotMatch(stderr, /Error/)
    return stdout
  }
  return { source, folder, prepare, run, plainFile: join(folder, `${plainName(SOURCE)}.js`) }
}

test('a program is loaded as plain JavaScript, and what strips types is not', (t) => {
  const { prepare, run } = scene(t)
  const plain = prepare()
  assert.equal(run(plain), 'grün 😀 😀 plain')
  assert.deepEqual(prepare(), plain)
})

test('whoever changes plain files changes nothing that runs, and the next start makes them anew', (t) => {
  const { prepare, run, plainFile, folder } = scene(t)
  const plain = prepare()
  const good = readFileSync(plainFile)
  writeFileSync(plainFile, `process.stdout.write('theirs')`)
  assert.equal(run(plain), 'grün 😀 😀 stripped')
  // With an index to suit it, too.
  writeFileSync(join(folder, plain.index), `${plainName(SOURCE)} ${'0'.repeat(64)}\n`)
  assert.equal(run(plain), 'grün 😀 😀 stripped')
  rmSync(join(folder, plain.index))
  assert.equal(run(plain), 'grün 😀 😀 stripped')
  assert.equal(run(prepare()), 'grün 😀 😀 plain')
  assert.deepEqual(readFileSync(plainFile), good)
})

test('a program that was changed is what runs, also without a new start; old files go after a month', (t) => {
  const { prepare, run, source, plainFile, folder } = scene(t)
  const plain = prepare()
  writeFileSync(source, SOURCE.replace('grün', 'rot'))
  assert.equal(run(plain), 'rot 😀 😀 stripped')
  const before = new Date(Date.now() - 31 * 86_400_000)
  utimesSync(plainFile, before, before)
  const next = prepare()
  assert.equal(run(next), 'rot 😀 😀 plain')
  assert.ok(!readdirSync(folder).includes(`${plainName(SOURCE)}.js`))
  assert.ok(readdirSync(folder).includes(plain.index))
})

test('without a folder to write to, an edge strips by itself', (t) => {
  const { source } = scene(t)
  assert.equal(preparePlainCode(join(source, 'plain')), undefined)
})

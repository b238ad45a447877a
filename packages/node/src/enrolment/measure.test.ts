import assert from 'node:assert/strict'
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createMeasurer } from './measure.ts'

const root = mkdtempSync(join(tmpdir(), 'ringwall-measure-'))
after(() => rmSync(root, { recursive: true }))

function write(path: string, text: string): string {
  const file = join(root, path)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, text)
  return file
}

/** As much later as it takes until what was measured is not read again unless it was changed. */
const later = () => Date.now() + 60_000

const own = write('packages/node/src/node.ts', 'run()')
write('packages/node/package.json', JSON.stringify({ dependencies: { used: '1.0.0', '@ringwall/ring': '0.1.0' } }))
write('packages/node/src/node.test.ts', 'check()')
const used = write('node_modules/used/index.js', 'use()')
write('node_modules/used/package.json', JSON.stringify({ dependencies: { below: '1.0.0' } }))
const below = write('node_modules/below/index.js', 'below()')
write('node_modules/below/package.json', '{}')
write('node_modules/unused/index.js', 'never()')
const settings = write('node.yaml', 'id: n1')

for (const [when, now] of [
  ['just written', Date.now],
  ['known', later],
] as const)
  test(`what changes in the program, in what it depends on, or in its configuration is measured, and nothing else: ${when}`, async () => {
    const measurer = createMeasurer([settings], root, [], now)
    const first = await measurer.measure()
    assert.deepEqual(await measurer.measure(), first)
    assert.deepEqual(await createMeasurer([settings], root, [], now).measure(), first, 'another process comes to the same')
    write('packages/node/src/node.test.ts', `check(again, ${when})`)
    write('node_modules/unused/index.js', `changed(${when})`)
    utimesSync(own, 1, 1)
    assert.deepEqual(await measurer.measure(), first, 'tests, what is not used, and times alone')
    let before = first
    for (const file of [own, used, below]) {
      appendFileSync(file, ' ')
      const next = await measurer.measure()
      assert.notEqual(next.program, before.program, file)
      assert.equal(next.configuration, first.configuration)
      before = next
    }
    const more = write('packages/node/src/more.ts', 'more()')
    assert.notEqual((await measurer.measure()).program, before.program, 'a file that was not there')
    rmSync(more)
    assert.equal((await measurer.measure()).program, before.program, 'it is away again')
    write('node_modules/used/package.json', JSON.stringify({ dependencies: { below: '1.0.0', unused: '1.0.0' } }))
    const wider = await measurer.measure()
    write('node_modules/unused/index.js', `changed(again, ${when})`)
    assert.notEqual((await measurer.measure()).program, wider.program, 'it is used by now')
    write('node_modules/used/package.json', JSON.stringify({ dependencies: { below: '1.0.0' } }))
    appendFileSync(settings, '\n')
    assert.notEqual((await measurer.measure()).configuration, first.configuration)
  })

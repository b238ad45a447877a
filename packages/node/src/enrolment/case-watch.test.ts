import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type CaseInput, CaseWatch } from './case-watch.ts'
import { isDebugged } from './measure.ts'

const root = mkdtempSync(join(tmpdir(), 'ringwall-case-'))
after(() => rmSync(root, { recursive: true }))

async function seen(input: CaseInput, looks = 1): Promise<boolean> {
  const watch = new CaseWatch(input)
  for (let i = 0; i < looks; i += 1) await watch.look()
  return watch.isOpen
}

test('a case is open once its file says anything else, and stays open when it is closed again', async () => {
  const file = join(root, 'gpio')
  writeFileSync(file, '0\n')
  const watch = new CaseWatch({ file, closed: '0' })
  await watch.look()
  assert.equal(watch.isOpen, false)
  writeFileSync(file, '1\n')
  await watch.look()
  assert.equal(watch.isOpen, true)
  writeFileSync(file, '0\n')
  await watch.look()
  assert.equal(watch.isOpen, true)
})

test('an input that cannot be read is cut off after three looks, and not before', async () => {
  const gone = { file: join(root, 'none'), closed: '0' }
  assert.equal(await seen(gone, 2), false)
  assert.equal(await seen(gone, 3), true)
  const none = { command: [join(root, 'none')] } as const
  assert.equal(await seen(none, 2), false)
  assert.equal(await seen(none, 3), true)
})

test('a command says that the case is closed by ending with 0', async () => {
  assert.equal(await seen({ command: [process.execPath, '-e', ''] }), false)
  assert.equal(await seen({ command: [process.execPath, '-e', 'process.exit(4)'] }), true)
})

test('a process that is traced is debugged', () => {
  const status = (text: string): string => {
    const file = join(root, 'status')
    writeFileSync(file, text)
    return file
  }
  assert.equal(isDebugged(status('Name:\tnode\nTracerPid:\t0\n')), false)
  assert.equal(isDebugged(status('Name:\tnode\nTracerPid:\t4711\n')), true)
  assert.equal(isDebugged(join(root, 'no-such-file')), false)
})

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { LineWriter } from './line-writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-lines-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const logged: string[] = []
const log = (_: string, line: string): void => void logged.push(line)

test('lines come out whole and in order, readable by their owner only', async () => {
  const file = join(folder, 'a.log')
  const writer = new LineWriter({ file, bytesMax: 10_000_000, log })
  await writer.start()
  const lines = Array.from({ length: 5_000 }, (_, i) => `line ${i} é`)
  for (const line of lines) writer.write(line)
  await writer.stop()
  assert.deepEqual(readFileSync(file, 'utf8').split('\n'), [...lines, ''])
  assert.equal(statSync(file).mode & 0o777, 0o600)
  assert.deepEqual([writer.written, writer.dropped], [5_000, 0])
})

test('what does not fit into the queue is dropped and counted; nobody waits', async () => {
  const file = join(folder, 'b.log')
  const writer = new LineWriter({ file, bytesMax: 1_000, log })
  await writer.start()
  for (let i = 0; i < 1_000; i += 1) writer.write('x'.repeat(99))
  assert.equal(writer.dropped, 990)
  await writer.stop()
  assert.equal(readFileSync(file, 'utf8').length, 1_000)
  writer.write('after the end')
  assert.equal(writer.dropped, 991)
})

test('a file that was renamed away is left, and a new one begun', async () => {
  const file = join(folder, 'c.log')
  const writer = new LineWriter({ file, bytesMax: 10_000, log })
  await writer.start()
  writer.write('old')
  while (writer.written < 1) await new Promise((wake) => setTimeout(wake, 5))
  renameSync(file, `${file}.1`)
  const deadline = Date.now() + 20_000
  let found = ''
  while (found === '' && Date.now() < deadline) {
    writer.write('new')
    await new Promise((wake) => setTimeout(wake, 50))
    try {
      found = readFileSync(file, 'utf8')
    } catch {
      found = ''
    }
  }
  await writer.stop()
  assert.match(readFileSync(`${file}.1`, 'utf8'), /^old\n(new\n)*$/)
  assert.match(readFileSync(file, 'utf8'), /^(new\n)+$/)
})

test('a path that cannot be written is told at start; one that goes away costs lines, not the node', async () => {
  await assert.rejects(new LineWriter({ file: join(folder, 'none', 'd.log'), bytesMax: 100, log }).start(), /ENOENT/)
  const full = new LineWriter({ file: '/dev/full', bytesMax: 1_000, log })
  await full.start()
  full.write('lost')
  await full.stop()
  assert.deepEqual([full.written, full.dropped], [0, 1])
  assert.match(logged.at(-1) ?? '', /1 lines could not be written: ENOSPC/)
})

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { NewFinding } from '@ringwall/respond'
import { IncidentDesk } from './incidents.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-incidents-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const found = (atMs: number): NewFinding => ({
  atMs,
  detector: 'scanning',
  attack: ['T1595.003'],
  service: 'shop',
  subject: { kind: 'source', value: '203.0.113.7' },
  sources: ['203.0.113.7'],
  reason: 'asks for many paths',
  denied: true,
})

function desk(name: string) {
  const lines: string[] = []
  const file = join(folder, name)
  const made = new IncidentDesk({
    self: 'n1',
    fabric: { broadcast: () => {} },
    file,
    onOpened: () => {},
    log: (_, line) => lines.push(line),
  })
  return { made, lines, file }
}

test('incidents and what was closed outlive the process; found again, it is open again', async () => {
  const first = desk('kept')
  await first.made.start()
  const nowMs = Date.now()
  first.made.add(found(nowMs))
  const [incident] = first.made.list()
  first.made.close(incident!, 'ada', 'our own', nowMs)
  await first.made.stop()
  assert.equal(statSync(`${first.file}.findings`).mode & 0o777, 0o600)
  const second = desk('kept')
  await second.made.start()
  const again = second.made.find(incident!.id.slice(0, 5))
  assert.equal(again?.closed?.by, 'ada')
  second.made.add(found(nowMs + 60_000))
  assert.equal(second.made.find(incident!.id)?.closed, undefined)
  assert.equal(second.made.list().length, 1)
  assert.deepEqual(second.lines, [])
  await second.made.stop()
})

test('who works on an incident outlives the process, its being closed and found again; whoever says so last is believed', async () => {
  const first = desk('assigned')
  await first.made.start()
  const nowMs = Date.now()
  first.made.add(found(nowMs))
  const [incident] = first.made.list()
  assert.equal(incident?.assigned, undefined)
  first.made.assign(incident!, 'bob', 'ada', 'knows that shop', nowMs + 5_000)
  assert.equal(first.made.assign(incident!, 'cyd', 'bob', '', nowMs).atMs, nowMs + 5_001, 'by a clock that is behind')
  first.made.close(incident!, 'ada', 'our own', nowMs)
  await first.made.stop()
  assert.equal(statSync(`${first.file}.assignments`).mode & 0o777, 0o600)
  const second = desk('assigned')
  await second.made.start()
  assert.equal(second.made.find(incident!.id)?.assigned?.to, 'cyd')
  second.made.add(found(nowMs + 60_000))
  assert.equal(second.made.find(incident!.id)?.closed, undefined)
  assert.equal(second.made.find(incident!.id)?.assigned?.by, 'bob')
  second.made.assign(incident!, null, 'ada', 'done', nowMs + 70_000)
  assert.equal(second.made.find(incident!.id)?.assigned, undefined)
  await second.made.stop()
})

test('files that cannot be read begin anew, and no start fails for it', async () => {
  const { made, file } = desk('broken')
  writeFileSync(`${file}.findings`, 'RWSX\0\0not what it should be')
  writeFileSync(`${file}.closings`, '[{"id": 7}')
  writeFileSync(`${file}.assignments`, '[{"id": 7}]')
  await made.start()
  assert.deepEqual(made.list(), [])
  await made.stop()
})

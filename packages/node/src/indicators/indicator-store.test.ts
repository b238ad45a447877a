import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import type { IndicatorSettings } from './indicator-loader.ts'
import { IndicatorSets, IndicatorStore } from './indicator-store.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-indicators-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const settings = (name: string, more: Partial<IndicatorSettings> = {}): IndicatorSettings => ({
  name,
  path: join(folder, name),
  format: 'list',
  confidence: 50,
  ttlMs: undefined,
  indicatorsMax: 1_000,
  ...more,
})

async function start(...all: readonly IndicatorSettings[]) {
  const lines: string[] = []
  const store = new IndicatorStore(all, (_, line) => lines.push(line))
  await store.start()
  const has = (set: string, word: number): boolean => store.sets.match(set, 4, [word], 0, Date.now()) !== undefined
  return { store, lines, has }
}

test('files are loaded in a thread, again when they change, and what is broken leaves what was there', async (t) => {
  writeFileSync(join(folder, 'list'), '192.0.2.1\n198.51.100.0/24\nexample.com\n')
  const { store, lines, has } = await start(settings('list'))
  t.after(() => store.stop())
  assert.ok(has('list', 0xc0000201) && has('list', 0xc6336409) && !has('list', 0xc0000202))
  assert.deepEqual(store.status()[0]?.leftOut, [['line', 1]])
  writeFileSync(join(folder, 'list'), '192.0.2.2\n')
  await store.look()
  assert.ok(has('list', 0xc0000202) && !has('list', 0xc0000201))
  writeFileSync(join(folder, 'list'), `${'x'.repeat(5_000)}\n`)
  await store.look()
  assert.ok(has('list', 0xc0000202))
  assert.match(store.status()[0]?.problem ?? '', /list: line 1: expected at most|list: line 1: expected lines of at most/)
  assert.equal(lines.length, 3)
})

test('a folder is one set; what is missing is said and keeps nobody from starting', async (t) => {
  mkdirSync(join(folder, 'misp'))
  const event = (value: string): string =>
    JSON.stringify({ Event: { info: 'Campaign', Attribute: [{ type: 'ip-src', to_ids: true, value }] } })
  writeFileSync(join(folder, 'misp/a.json'), event('192.0.2.1'))
  writeFileSync(join(folder, 'misp/b.json'), event('2001:db8::1'))
  writeFileSync(join(folder, 'misp/manifest.json'), '{}')
  const { store, has } = await start(settings('misp', { format: 'misp' }), settings('nothing'))
  t.after(() => store.stop())
  assert.ok(has('misp', 0xc0000201))
  assert.equal(store.sets.match('misp', 6, [0x20010db8, 0, 0, 1], 0, Date.now())?.label, 'Campaign')
  assert.match(store.status()[1]?.problem ?? '', /ENOENT/)
})

test('other threads look up in the same memory', async (t) => {
  writeFileSync(join(folder, 'shared'), '192.0.2.1\n')
  const { store } = await start(settings('shared'))
  t.after(() => store.stop())
  const [[, parts]] = store.shared() as [readonly [string, ReturnType<typeof store.shared>[number][1]]]
  assert.ok(parts.expiries.buffer instanceof SharedArrayBuffer)
  assert.ok(new IndicatorSets(store.shared()).match('shared', 4, [0xc0000201], 0, 0))
})

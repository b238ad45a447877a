import assert from 'node:assert/strict'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { cachingCompiler } from './rule-cache.ts'

const sources = (pattern: string) => [{ file: 'a.conf', text: `SecRule ARGS "@rx ${pattern}" "id:1,phase:2,deny"` }]

function directory(context: { after(end: () => void): void }): string {
  const made = mkdtempSync(join(tmpdir(), 'ringwall-rules-'))
  context.after(() => rmSync(made, { recursive: true, force: true }))
  return join(made, 'rules')
}

function blocks(rules: ReturnType<ReturnType<typeof cachingCompiler>>, query: string): boolean {
  const transaction = rules.begin()
  transaction.requestHead({ method: 'GET', target: `/?q=${query}`, httpVersion: '1.1', headers: [], remoteAddress: '192.0.2.1' })
  return transaction.requestBody(new Uint8Array(), false).blocked
}

test('what was prepared is kept by the rules and their paranoia, and read again', (context) => {
  const folder = directory(context)
  const compile = cachingCompiler(folder)
  assert.equal(blocks(compile(sources('evil[0-9]'), { paranoia: 1 }), 'evil7'), true)
  const [first] = readdirSync(folder)
  const { ino } = statSync(join(folder, first!))
  assert.equal(blocks(compile(sources('evil[0-9]'), { paranoia: 1 }), 'evil7'), true)
  assert.equal(statSync(join(folder, first!)).ino, ino)
  compile(sources('evil[0-9]'), { paranoia: 2 })
  assert.equal(blocks(compile(sources('worse'), { paranoia: 1 }), 'worse'), true)
  assert.equal(readdirSync(folder).length, 3)
  for (let i = 0; i < 20; i += 1) compile(sources(`other${i}`), { paranoia: 1 })
  assert.equal(readdirSync(folder).length, 16)
})

test('a file that is damaged, cut or empty is not believed, and is written anew', (context) => {
  const folder = directory(context)
  const compile = cachingCompiler(folder)
  compile(sources('evil[0-9]'), { paranoia: 1 })
  const [name] = readdirSync(folder)
  const file = join(folder, name!)
  const good = readFileSync(file)
  const spoilt = [Buffer.alloc(0), good.subarray(0, 20), good.subarray(0, -1), Buffer.concat([good, Buffer.alloc(1)])]
  for (let at = 0; at < good.length; at += 3) {
    const bytes = Buffer.from(good)
    bytes[at]! ^= 0x10
    spoilt.push(bytes)
  }
  for (const bytes of spoilt) {
    writeFileSync(file, bytes)
    const rules = compile(sources('evil[0-9]'), { paranoia: 1 })
    assert.equal(blocks(rules, 'evil7'), true)
    assert.equal(blocks(rules, 'good'), false)
    assert.deepEqual(readFileSync(file), good)
  }
})

test('where nothing can be written, rules compile all the same', (context) => {
  const folder = directory(context)
  writeFileSync(folder, 'a file where the directory would be')
  assert.equal(blocks(cachingCompiler(folder)(sources('evil'), { paranoia: 1 }), 'evil'), true)
})

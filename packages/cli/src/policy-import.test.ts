import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { parsePolicyDocument } from '@ringwall/ring'
import { RINGWALL } from './test-command.ts'

const directory = mkdtempSync(join(tmpdir(), 'ringwall-import-'))
after(() => rmSync(directory, { recursive: true }))
const document = join(directory, 'openapi.json')
const paths = {
  '/orders/{id}': { get: { parameters: [{ name: 'id', in: 'path', required: true, schema: { type: 'integer' } }] } },
}
writeFileSync(document, JSON.stringify({ openapi: '3.1.0', paths }))

function importInto(
  policy: string,
  ...more: readonly string[]
): { readonly code: number | null; readonly text: string; readonly stderr: string } {
  const file = join(directory, 'ringwall.yaml')
  writeFileSync(file, policy)
  const { status, stderr } = spawnSync(
    process.execPath,
    [...RINGWALL, 'policy', 'import', 'openapi', document, '--service', 'shop', '--policy', file, ...more],
    { encoding: 'utf8' },
  )
  return { code: status, text: readFileSync(file, 'utf8'), stderr }
}

const BEFORE = 'version: 1 # the first\nservices:\n  shop:\n    upstreams: [ {url: "http://127.0.0.1:1"} ]   # odd blanks stay\n'

const STYLES: Readonly<Record<string, readonly [before: string, after: (api: string) => string]>> = {
  'at the end of the file': [BEFORE, (api) => BEFORE + api],
  'before what follows': [
    `${BEFORE}\n# Of others.\ntrustedProxies: []\n`,
    (api) => `${BEFORE}${api}\n# Of others.\ntrustedProxies: []\n`,
  ],
  'without a last line end': [BEFORE.trimEnd(), (api) => BEFORE + api],
  'in the place of another': [
    `${BEFORE}    api:\n      paths: { /old: { get: {} } }\n    limits: [] # none\n`,
    (api) => `${BEFORE}${api}    limits: [] # none\n`,
  ],
}

for (const [name, [before, after]] of Object.entries(STYLES)) {
  test(`the api is written ${name}, and every other character stays`, () => {
    const { code, text, stderr } = importInto(before)
    assert.equal(code, 0, stderr)
    const parsed = parsePolicyDocument(text)
    assert.ok(parsed.ok)
    assert.deepEqual(Object.keys(parsed.policy.services.shop!.api!.paths), ['/orders/{id}'])
    const [, own] = /( {4}api:\n(?: {6}.*\n)+)/.exec(text) ?? []
    assert.ok(own !== undefined, text)
    assert.equal(text, after(own))
    assert.equal(importInto(text).text, text, 'a second time changes nothing')
  })
}

test('a service on one line is rewritten, with its meaning', () => {
  const { code, text } = importInto(
    'version: 1\nservices: { shop: { upstreams: [{ url: "http://127.0.0.1:1" }] } } # all\n',
    '--mode',
    'enforce',
  )
  assert.equal(code, 0)
  const parsed = parsePolicyDocument(text)
  assert.equal(parsed.ok && parsed.policy.services.shop!.api!.mode, 'enforce')
  assert.match(text, /# all/)
})

test('what would not be a valid policy is not written', () => {
  const broken = `${BEFORE}    wfa: {}\n`
  const { code, text, stderr } = importInto(broken)
  assert.deepEqual([code, text], [1, broken])
  assert.match(stderr, /5:5: wfa is not known/)
  const absent = importInto(BEFORE.replace('shop', 'blog'))
  assert.equal(absent.code, 2)
  assert.match(absent.stderr, /there is no service shop \(known here: blog\)/)
})

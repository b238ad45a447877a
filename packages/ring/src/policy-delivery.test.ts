import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatProblems, parsePolicyDocument } from './policy-document.ts'

const SHOP = 'version: 1\nservices:\n  shop:\n    upstreams:\n      - { url: http://127.0.0.1:1 }\n'

/** What follows the upstream, and the line that it earns, without the file’s name. */
const CASES: Record<string, readonly [text: string, line: string]> = {
  'a mode of another kind': ['cache: { mode: shadow }', '6:20: expected on or off, found "shadow"'],
  'a ttl of nothing': ['cache: { ttl: 0s }', '6:19: expected 1s to 365d, found 0 s'],
  'a wait that holds requests up': ['cache: { wait: 2m }', '6:20: expected 0s to 1m, found 120 s'],
  'an object larger than is kept': [
    'cache: { objectBytesMax: 99999999 }',
    '6:30: too big: expected number to be <=16777216, found 99999999',
  ],
  'Authorization ignored': [
    'cache: { ignoreHeaders: [Authorization] }',
    '6:30: Authorization cannot be ignored: what it lets in is not everybody’s',
  ],
  'a key unknown': ['cache: { ttlmax: 1h }', '6:14: ttlmax is not known in services.shop.cache (did you mean ttlMax?)'],
  'a coding that browsers do not know': ['compress: { codings: [lzma] }', '6:27: expected br, zstd or gzip, found "lzma"'],
  'a type that is none': [
    'compress: { types: [html] }',
    '6:25: expected a media type in lower case, such as text/html, text/* or application/*+json, found "html"',
  ],
  'a fault in a route': [
    'routes: [{ name: a, path: /a, cache: { ttlMax: 400d } }]',
    '6:52: expected 1s to 365d, found 34560000 s',
  ],
}

for (const [name, [text, line]] of Object.entries(CASES)) {
  test(`${name} is reported with line, column and what was expected`, () => {
    const document = parsePolicyDocument(`${SHOP}    ${text}\n`)
    assert.ok(!document.ok)
    assert.equal(formatProblems(document.problems, 'ringwall.yaml'), `ringwall.yaml:${line}`)
  })
}

test('nothing is kept unless the policy says so; what it says has defaults', () => {
  const plain = parsePolicyDocument(SHOP)
  assert.ok(plain.ok && plain.policy.services.shop!.cache === undefined)
  const document = parsePolicyDocument(`${SHOP}    cache: {}\n    routes: [{ name: a, path: /a, cache: { mode: off } }]\n`)
  assert.ok(document.ok, document.ok ? '' : formatProblems(document.problems, 'x'))
  assert.deepEqual(document.policy.services.shop!.cache, {
    mode: 'on',
    objectBytesMax: 1_048_576,
    ttlMax: 86_400_000,
    wait: 5_000,
    cookies: 'heed',
    setCookie: 'refuse',
    ignoreHeaders: [],
  })
  assert.equal(document.policy.services.shop!.routes[0]!.cache!.mode, 'off')
})

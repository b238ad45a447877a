import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import {
  loadTrialRules,
  parseCases,
  parseRawRequest,
  RequestUnreadable,
  requestOfParts,
  runCase,
  tryRequest,
} from './rule-trial.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-trial-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const base = loadTrialRules(['base'], 1)
const raw = (text: string) => parseRawRequest(Buffer.from(text), 'r.http')

test('a raw request: lines may end in LF, the body ends where Content-Length says', () => {
  const { method, target, httpVersion, headers, body } = raw('POST /a?b=c HTTP/1.0\nHost: x\nContent-Length: 3\n\nq=1\nmore')
  assert.deepEqual(
    [method, target, httpVersion, headers.length, Buffer.from(body).toString()],
    ['POST', '/a?b=c', '1.0', 2, 'q=1'],
  )
  assert.equal(Buffer.from(raw('GET / HTTP/1.1\r\nHost: x\r\n\r\nall of it').body).toString(), 'all of it')
  assert.equal(raw('GET /x').headers.length, 0)
})

const unreadable: readonly [string, string, RegExp][] = [
  ['no request line', 'hello', /r\.http:1:1: expected a request line/],
  ['a blank in the target', 'GET /a b HTTP/1.1\n\n', /r\.http:1:1/],
  ['a line that is no field', 'GET / HTTP/1.1\nHost: x\nnonsense\n\n', /r\.http:3:1: expected a header field/],
  ['a folded field', 'GET / HTTP/1.1\nA: b\n c\n\n', /r\.http:3:1/],
  ['a body without end', `POST / HTTP/1.1\n\n${'a'.repeat(1_048_577)}`, /at most 1048576/],
]
for (const [name, text, message] of unreadable) {
  test(`a raw request is refused with its place: ${name}`, () => assert.throws(() => raw(text), message))
}

test('property: any bytes are read or refused, never more', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        tryRequest(base, parseRawRequest(bytes, 'x'))
      } catch (error) {
        assert.ok(error instanceof RequestUnreadable, String(error))
      }
    }),
  )
})

test('parts become a request as curl would send it', () => {
  const plain = { method: undefined, headers: [], body: undefined, source: undefined }
  const sent = requestOfParts({ ...plain, target: 'https://shop.example:8443?q=a', body: 'x=1' })
  assert.deepEqual([sent.method, sent.target], ['POST', '/?q=a'])
  assert.deepEqual(
    sent.headers.map(([name]) => name),
    ['Host', 'User-Agent', 'Accept', 'Content-Type', 'Content-Length'],
  )
  assert.equal(sent.headers[0]![1], 'shop.example:8443')
  assert.throws(() => requestOfParts({ ...plain, target: 'search' }), /expected a target/)
})

test('an attack is refused with what matched; a friendly request is not', () => {
  const attack = tryRequest(base, raw("GET /?q=1'%20UNION%20SELECT%20a%20FROM%20b-- HTTP/1.1\nHost: x\nUser-Agent: y\n\n"))
  assert.equal(attack.outcome, 'deny')
  assert.ok(attack.ruleIds.includes(140_001))
  assert.equal(tryRequest(base, raw('GET /?q=lighthouse HTTP/1.1\nHost: x\nUser-Agent: y\n\n')).outcome, 'allow')
})

test('rules from a folder, a file, or what is none', () => {
  const file = join(folder, 'own.conf')
  writeFileSync(file, 'SecRule ARGS "@pmFromFile words.data" "id:1,phase:2,deny,status:418,msg:\'a word\'"\n')
  writeFileSync(join(folder, 'words.data'), 'wombat\n')
  for (const named of [file, folder]) {
    const rules = loadTrialRules([named], 1)
    assert.equal(tryRequest(rules, raw('GET /?a=wombat HTTP/1.1\n\n')).status, 418)
  }
  assert.throws(() => loadTrialRules([join(folder, 'nothing')], 1), /expected base, crs, a folder/)
  const broken = join(folder, 'broken')
  writeFileSync(`${broken}.conf`, '# first line\nSecRule ARGS "@rxx a" "id:2"\n')
  assert.throws(() => loadTrialRules([`${broken}.conf`], 1), /broken\.conf:2:\d+: the operator @rxx/)
  rmSync(`${broken}.conf`)
})

const CASES = `rules: [base]
cases:
  - name: an injection
    request: { path: "/?q=1'%20UNION%20SELECT%20a%20FROM%20b--" }
    expect: { outcome: deny, status: 403, rules: [140001], notRules: [150001] }
  - name: raw
    raw: |
      GET /?q=fine HTTP/1.1
      Host: x
      User-Agent: y
    expect: allow
  - name: wrong
    request: { path: /, headers: { X-A: [one, two] } }
    expect: { rules: [140001] }
`

test('cases run as they say, and tell what came instead', () => {
  const cases = parseCases(CASES, 'c.yaml')
  assert.ok(cases.ok)
  const results = cases.value.cases.map((one) => runCase(base, one, 'c.yaml'))
  assert.deepEqual(
    results.map(({ ok }) => ok),
    [true, true, false],
  )
  assert.equal(results[2]?.expected, 'by 140001')
  assert.equal(results[2]?.got, 'allow, nothing matched')
})

const wrongCases: readonly [string, string, string, RegExp][] = [
  ['an unknown key', 'expect: allow', 'expects: allow', /c\.yaml:6:5: cases\.1.*|c\.yaml:\d+:\d+: cases\.1/],
  ['a bad outcome', 'expect: allow', 'expect: perhaps', /c\.yaml:11:13: cases\.1\.expect/],
  ['both kinds of request', '    raw: |', '    request: {}\n    raw: |', /expected either request or raw/],
  ['broken YAML', 'cases:', 'cases: [', /c\.yaml:\d+:\d+: /],
  ['no cases', CASES, 'cases: []', /c\.yaml:1:8: cases/],
]
for (const [name, from, to, message] of wrongCases) {
  test(`cases are refused with line and column: ${name}`, () => {
    const cases = parseCases(CASES.replace(from, to), 'c.yaml')
    assert.ok(!cases.ok)
    assert.match(cases.problems.join('\n'), message)
  })
}

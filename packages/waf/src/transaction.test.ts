import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRules } from './compile.ts'
import { LIMIT_RULE_ID } from './limits.ts'
import { baseRuleSources, compile, type Sent, send } from './test-requests.ts'

const ids = (rules: string, sent: Sent): readonly number[] => send(compile(rules), sent).matches.map(({ ruleId }) => ruleId)

/** One rule that denies; whether `sent` is refused by it. */
const refuses = (rule: string, sent: Sent): boolean => send(compile(`SecRule ${rule} "id:1,phase:2,deny,t:none"`), sent).blocked

test('variables hold what they are named for', () => {
  const sent: Sent = {
    method: 'POST',
    target: '/a/b.php?x=1&y=%27&x=2',
    headers: [
      ['Content-Type', 'application/x-www-form-urlencoded'],
      ['Cookie', 'sid=abc; theme=dark'],
    ],
    body: 'z=3&w=a+b',
  }
  for (const [variable, value] of [
    ['REQUEST_METHOD', 'POST'],
    ['REQUEST_URI_RAW', '/a/b.php?x=1&y=%27&x=2'],
    ['REQUEST_FILENAME', '/a/b.php'],
    ['REQUEST_BASENAME', 'b.php'],
    ['QUERY_STRING', 'x=1&y=%27&x=2'],
    ['ARGS:y', "'"],
    ['ARGS:z', '3'],
    ['ARGS_POST:w', 'a b'],
    ['&ARGS', '5'],
    ['&ARGS_GET:x', '2'],
    ['REQUEST_COOKIES:theme', 'dark'],
    ['REQUEST_HEADERS:COOKIE', 'sid=abc; theme=dark'],
    ['REQUEST_BODY', 'z=3&w=a+b'],
    ['REQBODY_PROCESSOR', 'URLENCODED'],
    ['REMOTE_ADDR', '192.0.2.1'],
    ['REQUEST_PROTOCOL', 'HTTP/1.1'],
    ['REQUEST_LINE', 'POST /a/b.php?x=1&y=%27&x=2 HTTP/1.1'],
  ] as const) {
    assert.equal(refuses(`${variable} "@streq ${value}"`, sent), true, variable)
    assert.equal(refuses(`${variable} "!@streq ${value}"`, sent), false, variable)
  }
  assert.equal(refuses('ARGS_NAMES "@streq w"', sent), true)
  assert.equal(refuses('ARGS|!ARGS:y "@contains \'"', sent), false)
  assert.equal(refuses('ARGS:/^[wz]$/ "@streq 3"', sent), true)
  assert.equal(refuses('ARGS:/^[wz]$/ "@streq 1"', sent), false)
})

test('scores add up, and the last rule judges', () => {
  const rules = compile(`SecAction "id:1,phase:1,pass,nolog,setvar:tx.inbound_anomaly_score=0,setvar:tx.weight=3"
SecRule ARGS "@contains bad" "id:2,phase:2,pass,msg:'bad in %{MATCHED_VAR_NAME}',setvar:tx.inbound_anomaly_score=+%{tx.weight}"
SecRule TX:inbound_anomaly_score "@ge 6" "id:3,phase:2,deny,status:429,nolog"`)
  const once = send(rules, { target: '/?q=bad' })
  assert.deepEqual([once.blocked, once.score], [false, 3])
  const twice = send(rules, { target: '/?q=bad&r=bad' })
  assert.deepEqual([twice.blocked, twice.status, twice.score], [true, 429, 6])
  assert.deepEqual(
    twice.matches.map(({ ruleId, message, variable, excerpt }) => ({ ruleId, message, variable, excerpt })),
    [{ ruleId: 2, message: 'bad in ARGS:r', variable: 'ARGS:r', excerpt: 'bad' }],
  )
})

test('a chain matches as a whole; its links see what matched before', () => {
  const rules = `SecRule REQUEST_METHOD "@streq POST" "id:1,phase:2,deny,chain"
SecRule ARGS:q "@rx ^(\\w+)-(\\w+)$" "capture,chain"
SecRule TX:2 "@streq two"`
  assert.equal(send(compile(rules), { method: 'POST', target: '/?q=one-two' }).blocked, true)
  assert.equal(send(compile(rules), { method: 'POST', target: '/?q=one-three' }).blocked, false)
  assert.equal(send(compile(rules), { method: 'GET', target: '/?q=one-two' }).blocked, false)
})

test('skipAfter passes over rules up to the marker', () => {
  const rules = `SecRule ARGS:skip "@streq 1" "id:1,phase:2,pass,nolog,skipAfter:END"
SecRule ARGS "@contains bad" "id:2,phase:2,pass"
SecMarker END
SecRule ARGS "@contains bad" "id:3,phase:2,pass"`
  assert.deepEqual(ids(rules, { target: '/?q=bad&skip=0' }), [2, 3])
  assert.deepEqual(ids(rules, { target: '/?q=bad&skip=1' }), [3])
})

test('ctl takes rules out of this request only', () => {
  const rules =
    compile(`SecRule REQUEST_FILENAME "@beginsWith /editor" "id:1,phase:1,pass,nolog,ctl:ruleRemoveById=20-29,ctl:ruleRemoveByTag=noisy"
SecRule ARGS "@contains bad" "id:25,phase:2,pass"
SecRule ARGS "@contains bad" "id:30,phase:2,pass,tag:'noisy'"
SecRule ARGS "@contains bad" "id:31,phase:2,pass"`)
  assert.deepEqual(
    send(rules, { target: '/editor?q=bad' }).matches.map(({ ruleId }) => ruleId),
    [31],
  )
  assert.deepEqual(
    send(rules, { target: '/other?q=bad' }).matches.map(({ ruleId }) => ruleId),
    [25, 30, 31],
  )
})

test('DetectionOnly reports and does not refuse, by directive and by ctl', () => {
  const rule = 'SecRule ARGS "@contains bad" "id:2,phase:2,deny"'
  for (const first of ['SecRuleEngine DetectionOnly', 'SecAction "id:1,phase:1,pass,nolog,ctl:ruleEngine=DetectionOnly"']) {
    const verdict = send(compile(`${first}\n${rule}`), { target: '/?q=bad' })
    assert.deepEqual([verdict.blocked, verdict.matches.length], [false, 1])
  }
  assert.equal(send(compile(rule), { target: '/?q=bad' }).blocked, true)
})

test('the defaults of a phase complete its rules', () => {
  const rules = `SecDefaultAction "phase:2,deny,status:406"\nSecRule ARGS "@contains bad" "id:1,phase:2,block"`
  const verdict = send(compile(rules), { target: '/?q=bad' })
  assert.deepEqual([verdict.blocked, verdict.status], [true, 406])
})

test('a refused head is final: the body is not asked for', () => {
  const transaction = compile('SecRule REQUEST_METHOD "@streq GET" "id:1,phase:1,deny"').begin()
  const request = { method: 'GET', target: '/', httpVersion: '1.1', headers: [], remoteAddress: '192.0.2.1' } as const
  assert.equal(transaction.requestHead(request).blocked, true)
  assert.equal(transaction.requestBody(new Uint8Array([1]), false).matches.length, 1)
})

test('more than is looked at is refused by name, never half looked at', () => {
  const rules = compile('SecRule ARGS "@contains bad" "id:1,phase:2,deny"')
  const many = Array.from({ length: 1_001 }, (_, i) => `a${i}=1`).join('&')
  const cookies = Array.from({ length: 201 }, (_, i) => `c${i}=1`).join('; ')
  const form: Sent = { headers: [['Content-Type', 'application/x-www-form-urlencoded']], body: many }
  const json: Sent = {
    headers: [['Content-Type', 'application/json']],
    body: JSON.stringify(Array.from({ length: 1_001 }, () => 'a')),
  }
  for (const sent of [{ target: `/?${many}` }, { headers: [['Cookie', cookies]] } satisfies Sent, form, json]) {
    const verdict = send(rules, sent)
    assert.deepEqual([verdict.blocked, verdict.matches.at(-1)?.ruleId], [true, LIMIT_RULE_ID])
  }
})

test('work beyond a request’s budget is refused', () => {
  const rules = Array.from({ length: 400 }, (_, i) => `SecRule ARGS "@rx a{${i + 2}}b" "id:${i + 1},phase:2,pass,nolog"`).join(
    '\n',
  )
  const headers = [['Content-Type', 'application/x-www-form-urlencoded']] as const
  const body = `q=${'ab'.repeat(60_000)}`
  const verdict = send(compile(rules), { headers, body })
  assert.deepEqual([verdict.blocked, verdict.matches.at(-1)?.ruleId], [true, LIMIT_RULE_ID])
  for (const [overrun, blocked] of [
    ['deny', true],
    ['pass', false],
  ] as const) {
    const judged = (sent: string) => {
      const transaction = compile(rules).begin({ clock: () => 0, uniqueId: '', overrun })
      transaction.requestHead({ method: 'POST', target: '/', httpVersion: '1.1', headers, remoteAddress: '192.0.2.1' })
      return transaction.requestBody(new TextEncoder().encode(sent), false)
    }
    const over = judged(body)
    assert.deepEqual([over.blocked, over.matches.map(({ ruleId }) => ruleId)], [blocked, [LIMIT_RULE_ID]], overrun)
    assert.equal(judged(Array.from({ length: 1_001 }, () => 'a=1').join('&')).blocked, true, 'what is not work is refused')
  }
})

test('excerpts and the number of matches are bounded', () => {
  const rules = Array.from({ length: 150 }, (_, i) => `SecRule ARGS "@contains a" "id:${i + 1},phase:2,pass"`).join('\n')
  const { matches } = send(compile(rules), { target: `/?q=${'a'.repeat(5_000)}` })
  assert.equal(matches.length, 100)
  for (const { excerpt } of matches) assert.ok(excerpt.length <= 120)
})

test('what one request sets is unknown to the next', () => {
  const rules = compile(`SecRule ARGS:set "@streq 1" "id:1,phase:1,pass,nolog,setvar:tx.seen=1"
SecRule TX:seen "@eq 1" "id:2,phase:2,deny"`)
  assert.equal(send(rules, { target: '/?set=1' }).blocked, true)
  assert.equal(send(rules, { target: '/?set=0' }).blocked, false)
})

test('a body judged in slices gives the verdict of the whole, and a long one takes several', () => {
  const rules = compileRules(baseRuleSources(), { paranoia: 1 })
  const head = {
    method: 'POST',
    target: '/',
    httpVersion: '1.1',
    headers: [['Content-Type', 'application/x-www-form-urlencoded'] as const],
    remoteAddress: '192.0.2.1',
  }
  for (const [text, least] of [
    ['a=1', 1],
    ["a=1' or 1=1--", 1],
    [`a=${'%3Ca+b%3D%24(;%7C'.repeat(7_000)}`, 3],
    [`a=${'%3Ca+b%3D%24(;%7C'.repeat(7_000)}&b=1'+or+1=1--`, 3],
  ] as const) {
    const body = new TextEncoder().encode(text)
    const whole = rules.begin()
    whole.requestHead(head)
    const sliced = rules.begin()
    sliced.requestHead(head)
    const slice = sliced.requestBodyInSlices(body, false)
    let slices = 1
    let verdict = slice()
    for (; verdict === undefined; slices += 1) verdict = slice()
    assert.deepEqual(verdict, whole.requestBody(body, false))
    assert.ok(slices >= least, `${slices} slices`)
    assert.deepEqual(sliced.log(), whole.log())
  }
})

test('what a long value captures is found near its match, also by a pattern that may stand at the beginning', () => {
  const rules = compile(`SecRule ARGS "@rx (?:^|\\W)data:([a-z]*)," "id:1,phase:2,pass,capture,log,logdata:'%{TX.1}'"`)
  const said = (q: string) => send(rules, { body: `q=${q}`, headers: [['Content-Type', 'application/x-www-form-urlencoded']] })
  for (const before of [0, 1, 4_000, 32_000, 60_000]) {
    const { matches } = said(`${'a'.repeat(before)}${before === 0 ? '' : '%20'}data:found,${'data:other, '.repeat(2_000)}`)
    assert.equal(matches[0]?.data, 'found', `after ${before} characters`)
  }
})

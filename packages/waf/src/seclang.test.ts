/** What SecLang asks for beyond one rule on one request: phases, collections that last, rules about rules, settings. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createCollectionStore } from './collections.ts'
import { compileRules } from './compile.ts'
import { LIMIT_RULE_ID } from './limits.ts'
import { compile, type Sent, send } from './test-requests.ts'
import type { RuleSet, WafEnvironment, WafTransaction, WafVerdict } from './types.ts'

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const ids = ({ matches }: WafVerdict): readonly number[] => matches.map(({ ruleId }) => ruleId)
const matched = (rules: string, sent: Sent): readonly number[] => ids(send(compile(rules), sent))

function begin(rules: RuleSet, target = '/', environment?: WafEnvironment): WafTransaction {
  const transaction = rules.begin(environment)
  const headers = [['Host', 'shop.example']] as const
  transaction.requestHead({ method: 'GET', target, httpVersion: '1.1', headers, remoteAddress: '192.0.2.1' })
  transaction.requestBody(new Uint8Array(), false)
  return transaction
}

test('rules about a response see its head, then its body as far as it is wanted, and the log phase sees all', () => {
  const rules = compile(`SecResponseBodyAccess On
SecResponseBodyMimeType application/json
SecResponseBodyLimit 64
SecResponseBodyLimitAction ProcessPartial
SecRule RESPONSE_STATUS "@streq 500" "id:1,phase:3,pass"
SecRule RESPONSE_HEADERS:X-Powered-By "@contains PHP" "id:2,phase:3,pass"
SecRule RESPONSE_BODY "@contains ORA-00942" "id:3,phase:4,deny,status:502"
SecRule RESPONSE_BODY "@contains late" "id:4,phase:4,pass"
SecRule OUTBOUND_DATA_ERROR "@eq 1" "id:5,phase:4,pass"
SecAction "id:6,phase:5,pass"`)
  const transaction = begin(rules)
  assert.equal(
    transaction.responseHead({
      status: 500,
      protocol: 'HTTP/1.1',
      headers: [
        ['X-Powered-By', 'PHP/8'],
        ['Content-Type', 'text/html; charset=utf-8'],
      ],
    }).blocked,
    false,
  )
  assert.equal(transaction.responseBytesWanted, 64)
  const verdict = transaction.responseBody(bytes(`${'x'.repeat(10)}ORA-00942${'x'.repeat(80)}late`), false)
  assert.deepEqual([verdict.blocked, verdict.status], [true, 502])
  assert.deepEqual(ids(transaction.log()), [1, 2, 3, 6])
  const picture = begin(rules)
  picture.responseHead({ status: 200, protocol: 'HTTP/1.1', headers: [['Content-Type', 'image/png']] })
  assert.equal(picture.responseBytesWanted, 0)
  const cut = begin(rules)
  cut.responseHead({ status: 200, protocol: 'HTTP/1.1', headers: [['Content-Type', 'application/json']] })
  assert.deepEqual(ids(cut.responseBody(bytes('x'.repeat(100)), false)), [5])
})

test('a collection lasts from request to request, its values expire, and other keys know nothing of it', () => {
  const rules = compile(`SecCollectionTimeout 600
SecAction "id:1,phase:1,pass,nolog,initcol:ip=%{REMOTE_ADDR}_%{ARGS.who}"
SecRule IP:blocked "@eq 1" "id:2,phase:1,deny"
SecAction "id:3,phase:5,pass,nolog,setvar:ip.count=+1"
SecRule IP:COUNT "@ge 3" "id:4,phase:5,pass,setvar:ip.blocked=1,expirevar:ip.blocked=60,setvar:!ip.count"`)
  const collections = createCollectionStore()
  const at = (seconds: number, who: string): boolean => {
    const transaction = begin(rules, `/?who=${who}`, { clock: () => seconds * 1_000, uniqueId: 'u', collections })
    return transaction.log().blocked
  }
  assert.deepEqual([at(0, 'a'), at(1, 'a'), at(2, 'a')], [false, false, false])
  assert.equal(at(3, 'a'), true)
  assert.equal(at(3, 'b'), false)
  assert.equal(at(61, 'a'), true)
  assert.equal(at(63, 'a'), false)
  assert.equal(at(2_000, 'a'), false)
  assert.equal(collections.size, 2)
})

test('collections are bounded: the one opened longest ago goes', () => {
  const store = createCollectionStore(3)
  for (const key of ['a', 'b', 'c']) store.open('IP', key, 0).set('n', key, 0)
  assert.equal(store.open('IP', 'a', 1).get('n', 1), 'a')
  store.open('IP', 'd', 1)
  assert.equal(store.size, 3)
  assert.equal(store.open('IP', 'b', 1).get('n', 1), undefined)
  const score = store.open('IP', 's', 0)
  score.set('score', '10', 0)
  score.deprecate('score', 2, 60, 150_000)
  assert.equal(score.get('score', 150_000), '6')
})

test('ctl takes variables from rules by id, tag and message for one request', () => {
  const rules = (ctl: string): string => `SecAction "id:1,phase:1,pass,nolog,ctl:${ctl}"
SecRule ARGS "@contains bad" "id:20,phase:2,pass,tag:'OWASP_CRS/X',msg:'first'"
SecRule ARGS|REQUEST_HEADERS:X-A "@contains bad" "id:21,phase:2,pass,tag:'other',msg:'second'"`
  const sent: Sent = { target: '/?pw=bad' }
  assert.deepEqual(matched(rules('ruleRemoveTargetById=20;ARGS:pw'), sent), [21])
  assert.deepEqual(matched(rules('ruleRemoveTargetById=20-21;ARGS:/^p/'), sent), [])
  assert.deepEqual(matched(rules('ruleRemoveTargetByTag=OWASP_CRS;ARGS'), sent), [21])
  assert.deepEqual(matched(rules('ruleRemoveTargetByMsg=second;ARGS:PW'), sent), [20])
  assert.deepEqual(matched(rules('ruleRemoveTargetById=21;ARGS:pw'), { ...sent, headers: [['X-A', 'bad']] }), [20, 21])
  assert.deepEqual(matched(rules('ruleRemoveByMsg=second'), sent), [20])
})

test('directives change and remove rules that stand before them', () => {
  const rules = (more: string): string => `SecRule ARGS "@contains bad" "id:20,phase:2,pass,tag:'noisy'"
SecRule ARGS:a "@contains bad" "id:21,phase:2,pass,msg:'about a'"
${more}`
  const sent: Sent = { target: '/?a=bad', headers: [['X-B', 'bad']] }
  assert.deepEqual(matched(rules(''), sent), [20, 21])
  assert.deepEqual(matched(rules('SecRuleRemoveById 20 30-40'), sent), [21])
  assert.deepEqual(matched(rules('SecRuleRemoveByTag nois'), sent), [21])
  assert.deepEqual(matched(rules('SecRuleRemoveByMsg "about a"'), sent), [20])
  assert.deepEqual(matched(rules('SecRuleUpdateTargetById 20 "!ARGS:a"'), sent), [21])
  assert.deepEqual(matched(rules('SecRuleUpdateTargetByTag noisy "!ARGS,REQUEST_HEADERS:X-B"'), sent), [20, 21])
  assert.equal(send(compile(rules('SecRuleUpdateActionById 21 "deny,status:418"')), sent).status, 418)
  assert.deepEqual(matched(`SecRuleRemoveById 20\n${rules('')}`, sent), [20, 21])
})

test('skip passes over rules; allow ends a phase, the request or everything but the log', () => {
  const rules = (action: string): RuleSet =>
    compile(`SecRule ARGS:go "@eq 1" "id:1,phase:1,nolog,${action}"
SecAction "id:2,phase:1,pass"
SecAction "id:3,phase:1,pass"
SecAction "id:4,phase:2,pass"
SecAction "id:5,phase:3,pass"
SecAction "id:6,phase:5,pass"`)
  const run = (action: string): readonly number[] => {
    const transaction = begin(rules(action), '/?go=1')
    transaction.responseHead({ status: 200, protocol: 'HTTP/1.1', headers: [] })
    return ids(transaction.log())
  }
  assert.deepEqual(run('pass,skip:1'), [3, 4, 5, 6])
  assert.deepEqual(run('pass,skipAfter:2'), [3, 4, 5, 6])
  assert.deepEqual(run('allow:phase'), [4, 5, 6])
  assert.deepEqual(run('allow:request'), [5, 6])
  assert.deepEqual(run('allow'), [6])
})

test('transformations come from the defaults unless t:none; multiMatch looks after each of them', () => {
  const text = (rule: string): string => `SecDefaultAction "phase:2,pass,t:lowercase"\n${rule}`
  assert.deepEqual(matched(text('SecRule ARGS "@streq bad" "id:1,phase:2"'), { target: '/?q=BAD' }), [1])
  assert.deepEqual(matched(text('SecRule ARGS "@streq bad" "id:1,phase:2,t:none"'), { target: '/?q=BAD' }), [])
  assert.deepEqual(
    matched('SecRule ARGS "@streq B%41D" "id:1,phase:2,pass,t:urlDecode,t:lowercase"', { target: '/?q=B%2541D' }),
    [],
  )
  assert.deepEqual(
    matched('SecRule ARGS "@streq B%41D" "id:1,phase:2,pass,multiMatch,t:urlDecode,t:lowercase"', { target: '/?q=B%2541D' }),
    [1],
  )
  const hash = 'SecRule ARGS "@streq 900150983cd24fb0d6963f7d28e17f72" "id:1,phase:2,pass,t:md5,t:hexEncode"'
  assert.deepEqual(matched(hash, { target: '/?q=abc' }), [1])
})

test('words and addresses come from data files beside the rules, and a pattern may hold macros', () => {
  const sources = [
    {
      file: 'rules/a.conf',
      text: 'SecRule ARGS "@pmFromFile words.data" "id:1,phase:2,pass,capture,msg:\'%{TX.0}\'"\nSecRule REMOTE_ADDR "@ipMatchFromFile nets.data" "id:2,phase:2,pass"',
    },
    { file: 'rules/words.data', text: '# comment\n\nevil thing\nworse\n', kind: 'data' as const },
    { file: 'rules/nets.data', text: '10.0.0.0/8\n192.0.2.0/24 # documentation\n', kind: 'data' as const },
  ]
  const rules = compileRules(sources, { paranoia: 1 })
  assert.deepEqual(
    send(rules, { target: '/?q=an+EVIL+thing' }).matches.map(({ ruleId, message }) => [ruleId, message]),
    [
      [1, 'evil thing'],
      [2, ''],
    ],
  )
  const macro = `SecAction "id:1,phase:1,pass,nolog,setvar:tx.allowed=utf-8|latin1"
SecRule ARGS:c "!@rx ^%{tx.allowed}$" "id:2,phase:2,pass"`
  assert.deepEqual(matched(macro.replace('^%{tx.allowed}$', '^(?:%{tx.allowed})$'), { target: '/?c=latin1' }), [])
  assert.deepEqual(matched(macro, { target: '/?c=utf-7' }), [2])
  // What a client sends becomes no pattern that could take long.
  assert.deepEqual(matched('SecRule ARGS:b "@rx %{ARGS.a}" "id:1,phase:2,pass"', { target: '/?a=(a)%5C1&b=aa' }), [])
})

test('bodies: limits, another processor, XPath, what multipart has wrong', () => {
  const form = [['Content-Type', 'application/x-www-form-urlencoded']] as const
  const limited = send(compile('SecRequestBodyLimit 4'), { headers: form, body: 'a=123' })
  assert.deepEqual([limited.blocked, limited.status, ids(limited)], [true, 413, [LIMIT_RULE_ID]])
  const part = 'SecRequestBodyLimit 4\nSecRequestBodyLimitAction ProcessPartial\nSecRule ARGS:a "@streq 12" "id:1,phase:2,pass"'
  assert.deepEqual(matched(part, { headers: form, body: 'a=123' }), [1])
  const forced =
    'SecAction "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=URLENCODED"\nSecRule ARGS:a "@streq b" "id:2,phase:2,pass"'
  assert.deepEqual(matched(forced, { headers: [['Content-Type', 'text/plain']], body: 'a=b' }), [2])
  assert.deepEqual(matched('SecArgumentSeparator ;\nSecRule ARGS:b "@eq 2" "id:1,phase:2,pass"', { target: '/?a=1;b=2' }), [1])
  const xml: Sent = { headers: [['Content-Type', 'text/xml']], body: '<a x="one"><b>two</b><c><b y="three">four</b></c></a>' }
  for (const [path, value] of [
    ['/*', 'twofour'],
    ['//@*', 'three'],
    ['/a/@x', 'one'],
    ['//b', 'four'],
    ['/a/b/text()', 'two'],
    ['//c//text()', 'four'],
  ] as const)
    assert.deepEqual(matched(`SecRule XML:${path} "@streq ${value}" "id:1,phase:2,pass"`, xml), [1], path)
  const json: Sent = { headers: [['Content-Type', 'application/json']], body: '{"a":{"b":["x"]}}' }
  assert.deepEqual(
    matched(
      'SecRule ARGS:json.a.b.0 "@streq x" "id:1,phase:2,pass"\nSecRule ARGS_NAMES "@endsWith .b" "id:2,phase:2,pass"',
      json,
    ),
    [1, 2],
  )
  const multipart: Sent = {
    headers: [['Content-Type', 'multipart/form-data; boundary="B"']],
    body: 'junk\r\n--B\r\nContent-Disposition: form-data; name="f"; filename="a.php"\r\nContent-Type: text/plain\r\n\r\n<?php\r\n--B--\r\n',
  }
  for (const variable of [
    'MULTIPART_DATA_BEFORE "@eq 1',
    'MULTIPART_BOUNDARY_QUOTED "@eq 1',
    'MULTIPART_STRICT_ERROR "@eq 1',
    'FILES:f "@streq a.php',
    'FILES_NAMES "@streq f',
    'FILES_SIZES "@eq 5',
    'FILES_COMBINED_SIZE "@eq 5',
    'FILES_TMP_CONTENT "@beginsWith <?php',
    'MULTIPART_PART_HEADERS:f "@rx ^Content-Type: text',
    'REQBODY_PROCESSOR "@streq MULTIPART',
  ])
    assert.deepEqual(matched(`SecRule ${variable}" "id:1,phase:2,pass"`, multipart), [1], variable)
})

test('the time is the caller’s, and numbers with check digits are recognized', () => {
  const rules = compile(`SecRule TIME_EPOCH "@eq 86400" "id:1,phase:1,pass"
SecRule TIME "@streq 00:00:00" "id:2,phase:1,pass"
SecRule TIME_WDAY "@eq 5" "id:3,phase:1,pass"`)
  const transaction = rules.begin({ clock: () => 86_400_000, uniqueId: '' })
  const request = { method: 'GET', target: '/', httpVersion: '1.1', headers: [], remoteAddress: '192.0.2.1' } as const
  assert.deepEqual(ids(transaction.requestHead(request)), [1, 2, 3])
  const cards = 'SecRule ARGS "@verifyCC \\d{13,16}" "id:1,phase:2,pass,t:none"'
  assert.deepEqual(matched(cards, { target: '/?q=pay+4111111111111111' }), [1])
  assert.deepEqual(matched(cards, { target: '/?q=pay+4111111111111112' }), [])
})

test('lookups are the caller’s: without them nothing is known', () => {
  const rules = compile(`SecRule REMOTE_ADDR "@geoLookup" "id:1,phase:1,pass,chain"
  SecRule GEO:COUNTRY_CODE "@streq XX"
SecRule REMOTE_ADDR "@rbl list.example" "id:2,phase:1,pass"`)
  const request = { method: 'GET', target: '/', httpVersion: '1.1', headers: [], remoteAddress: '192.0.2.1' } as const
  assert.deepEqual(ids(rules.begin().requestHead(request)), [])
  const environment = {
    clock: () => 0,
    uniqueId: '',
    geo: () => ({ COUNTRY_CODE: 'XX' }),
    blockListed: (list: string) => list === 'list.example',
  }
  assert.deepEqual(ids(rules.begin(environment).requestHead(request)), [1, 2])
})

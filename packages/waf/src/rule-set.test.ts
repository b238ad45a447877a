import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRules } from './compile.ts'
import { compileExclusions } from './exclusions.ts'
import type { RuleSet, WafEnvironment, WafExamination, WafRequest, WafTransaction } from './types.ts'

const RULES = `SecDefaultAction "phase:2,pass,log,t:lowercase"
SecAction "id:1,phase:1,pass,nolog"
SecRule ARGS|!ARGS:text "@rx union\\s+select" \\
  "id:2,phase:2,block,t:urlDecodeUni,severity:CRITICAL,msg:'union in %{MATCHED_VAR_NAME}',tag:'sql',setvar:tx.inbound_anomaly_score=+5"
SecRule REQUEST_HEADERS:User-Agent|REQUEST_COOKIES "@pm sqlmap evil" "id:3,phase:1,pass,severity:WARNING,msg:'a tool'"
SecRule REQUEST_METHOD "@streq post" "id:4,phase:2,pass,severity:NOTICE,chain,msg:'posted'"
  SecRule ARGS "@contains drop" "t:none,chain"
  SecRule MATCHED_VAR "@rx table" "t:none,setvar:tx.inbound_anomaly_score=+5"
SecRule TX:inbound_anomaly_score "@ge 5" "id:9,phase:2,deny,t:none,severity:CRITICAL,msg:'too high'"
SecRule ARGS "@rx high" "id:5,phase:2,deny,tag:'paranoia-level/3',msg:'only at 3'"
SecRule ARGS "@rx gone" "id:6,phase:2,deny,msg:'removed below'"
SecRuleRemoveById 6
`
const rules = compileRules([{ file: 'r.conf', text: RULES }], { paranoia: 1 })
const body = (text: string): Uint8Array => new TextEncoder().encode(text)

function ask<T extends WafTransaction>(waf: T, target: string, more: Partial<WafRequest> = {}, form = ''): T {
  const headers = [
    ['Host', 'shop.example'],
    ...(more.headers ?? []),
    ['Content-Type', 'application/x-www-form-urlencoded'],
  ] as const
  const method = form === '' ? 'GET' : 'POST'
  waf.requestHead({ method, target, httpVersion: '1.1', remoteAddress: '192.0.2.1', ...more, headers })
  waf.requestBody(body(form), false)
  waf.log()
  return waf
}

function hitsOf(set: RuleSet, id: number): number {
  return set.counters.hits[set.rules.find((rule) => rule.id === id)!.index]!
}

test('every rule of a set is listed with where it is; those left out say why', () => {
  assert.deepEqual(
    rules.rules.map(({ id, at, phase, severity, index }) => [id, at, phase, severity, index]),
    [
      [1, 'r.conf:2', 1, 'notice', 0],
      [2, 'r.conf:3', 2, 'critical', 1],
      [3, 'r.conf:5', 1, 'warning', 2],
      [4, 'r.conf:6', 2, 'notice', 3],
      [9, 'r.conf:9', 2, 'critical', 4],
    ],
  )
  assert.deepEqual(
    rules.leftOut.map(({ id, why }) => [id, why]),
    [
      [5, 'paranoia'],
      [6, 'removed'],
    ],
  )
})

test('a rule is described as it was written, with what defaults add, also when it was left out', () => {
  assert.deepEqual(rules.describe(2)?.links, [
    {
      line: 3,
      variables: ['ARGS', '!ARGS:text'],
      transformations: ['lowercase', 'urldecodeuni'],
      operator: 'rx',
      argument: 'union\\s+select',
      negated: false,
      actions: [
        'id:2',
        'phase:2',
        'block',
        'severity:CRITICAL',
        "msg:'union in %{MATCHED_VAR_NAME}'",
        "tag:'sql'",
        'setvar:tx.inbound_anomaly_score=+5',
      ],
    },
  ])
  assert.equal(rules.describe(2)?.disruption, 'pass')
  assert.deepEqual(
    rules.describe(4)?.links.map(({ line, operator }) => [line, operator]),
    [
      [6, 'streq'],
      [7, 'contains'],
      [8, 'rx'],
    ],
  )
  assert.equal(rules.describe(5)?.index, -1)
  assert.equal(rules.describe(77), undefined)
})

test('traffic is counted by rule; rehearsals and examinations are not; sets that exclude share the counters', () => {
  const set = compileRules([{ file: 'r.conf', text: RULES }], { paranoia: 1 })
  ask(set.begin(), '/?q=1+union+select+2')
  ask(set.begin(), '/?q=harmless')
  ask(set.rehearse(), '/?q=1+union+select+2')
  ask(set.examine(), '/?q=1+union+select+2')
  ask(set.excluding([3]).begin(), '/?q=union+select')
  assert.equal(set.counters.requests, 3)
  assert.deepEqual(
    [1, 2, 3, 4, 9].map((id) => hitsOf(set, id)),
    // The first only sets variables: that is done once for all requests, and not counted.
    [0, 2, 0, 0, 2],
  )
  assert.equal(set.counters.timedRequests, 0)
})

test('a request with a stopwatch has each rule timed once a phase; others have none', () => {
  const set = compileRules([{ file: 'r.conf', text: RULES }], { paranoia: 1 })
  let nowUs = 0
  const environment: WafEnvironment = { clock: () => 0, uniqueId: '', stopwatch: () => (nowUs += 3) }
  ask(set.begin(environment), '/?q=a')
  ask(set.begin({ clock: () => 0, uniqueId: '' }), '/?q=a')
  assert.equal(set.counters.timedRequests, 1)
  assert.deepEqual([...set.counters.timed], [0, 1, 1, 1, 1])
  assert.deepEqual([...set.counters.micros], [0, 3, 3, 3, 3])
  assert.deepEqual([...set.counters.microsMax], [0, 3, 3, 3, 3])
})

function examined(target: string, more: Partial<WafRequest> = {}, form = ''): WafExamination['findings'] {
  return ask(rules.examine(), target, more, form).findings
}

test('an examination says which part matched, after what, where in it, and what it scored', () => {
  const findings = examined('/?a=b&q=x%2520UNION%20%20SELECT+y')
  assert.deepEqual(
    findings.map(({ ruleId, scoreBefore, scoreAfter, reported }) => [ruleId, scoreBefore, scoreAfter, reported]),
    [
      [1, 0, 0, false],
      [2, 0, 5, true],
      [9, 5, 5, true],
    ],
  )
  const [part] = findings[1]!.parts
  assert.equal(part!.variable, 'ARGS:q')
  assert.equal(part!.value, 'x%20UNION  SELECT y')
  assert.equal(part!.seen, 'x union  select y')
  assert.equal(part!.seen.slice(part!.from, part!.to), 'union  select')
  assert.deepEqual(part!.transformations, ['lowercase', 'urldecodeuni'])
  assert.equal(findings[1]!.message, 'union in ARGS:q')
})

test('every link of a chain tells its part; a rule whose chain is not complete tells nothing', () => {
  const finding = examined('/', {}, 'a=1&b=drop+table').find(({ ruleId }) => ruleId === 4)
  assert.deepEqual(
    finding?.parts.map(({ link, variable, seen, from, to }) => [
      link,
      variable,
      from === undefined ? seen : seen.slice(from, to),
    ]),
    [
      [0, 'REQUEST_METHOD', 'post'],
      [1, 'ARGS:b', 'drop'],
      [2, 'MATCHED_VAR', 'table'],
    ],
  )
  assert.deepEqual(
    examined('/', {}, 'b=drop+it').map(({ ruleId }) => ruleId),
    [1],
  )
})

test('a match far into a long value is shown with what stands around it', () => {
  const [finding] = examined(`/?q=${'a'.repeat(3_000)}+union+select+${'b'.repeat(500)}`).filter(({ ruleId }) => ruleId === 2)
  const [part] = finding!.parts
  assert.equal(part!.seen.length, 240)
  assert.equal(part!.seen.slice(part!.from, part!.to), 'union select')
})

test('a report names what came in, not the copy that a chain judged', () => {
  const text = `SecRule ARGS "@contains drop" "id:1,phase:2,deny,chain"
  SecRule MATCHED_VAR "@contains table"`
  const set = compileRules([{ file: 'c.conf', text }], { paranoia: 1 })
  const waf = set.begin()
  waf.requestHead({ method: 'GET', target: '/?b=drop+table', httpVersion: '1.1', headers: [], remoteAddress: '192.0.2.1' })
  assert.equal(waf.requestBody(body(''), false).matches[0]?.variable, 'ARGS:b')
})

const attack = '/?q=1+union+select+2&text=x'
const exclusions: readonly [string, readonly { ruleId: number; variable: string }[], boolean][] = [
  ['rule and member', [{ ruleId: 2, variable: 'ARGS:q' }], false],
  ['a name in another case', [{ ruleId: 2, variable: 'args:Q' }], false],
  ['another rule', [{ ruleId: 3, variable: 'ARGS:q' }], true],
  ['another member', [{ ruleId: 2, variable: 'ARGS:query' }], true],
  ['the collection without a name is not all of its members', [{ ruleId: 2, variable: 'ARGS' }], true],
  ['a pattern is a name', [{ ruleId: 2, variable: 'ARGS:/q/' }], true],
]
for (const [name, list, found] of exclusions) {
  test(`exclusion by ${name}`, () => {
    const waf = ask(rules.examine(undefined, compileExclusions(list)), attack)
    assert.equal(
      waf.findings.some(({ ruleId }) => ruleId === 2),
      found,
    )
    // As when it counts.
    assert.equal(waf.log().blocked, found)
    assert.equal(ask(rules.begin(undefined, compileExclusions(list)), attack).log().blocked, found)
  })
}

test('an exclusion leaves other members to the rule, and ends with the request', () => {
  const list = compileExclusions([{ ruleId: 2, variable: 'ARGS:q' }])
  assert.equal(ask(rules.begin(undefined, list), '/?q=union+select&r=union+select').log().blocked, true)
  assert.equal(ask(rules.begin(), attack).log().blocked, true)
})

/**
 * The Core Rule Set as the machine has it installed, unmodified, over the engine: attacks of each of its files, what it must let
 * pass, its scoring and blocking, and that each of its patterns is matched in linear time. With `CRS_TESTS` naming the folder of
 * CRS's own tests, those run too. Without the rules (Debian: apt-get install modsecurity-crs) all of it is skipped.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRules, type HeaderField, type RuleSet, type WafVerdict } from '@ringwall/waf'
import { boundPatternTime, type CrsInstallation, findCrs, readCrs } from '../packages/node/src/rules.ts'
import { toByteText } from '../packages/waf/src/bytes.ts'
import { linearMatcher } from '../packages/waf/src/regex/dfa.ts'
import { parsePattern } from '../packages/waf/src/regex/syntax.ts'
import { parseRules } from '../packages/waf/src/seclang/parse.ts'
import { runThrough } from './crs/front.ts'
import { judgeFtw, readFtwCases } from './crs/ftw.ts'
import { CRS_TEST_SETUP } from './crs/setup.ts'

function installed(): CrsInstallation | undefined {
  try {
    return findCrs()
  } catch {
    return undefined
  }
}

const crs = installed()
const skip = crs === undefined ? 'no Core Rule Set is installed here; on Debian: apt-get install modsecurity-crs' : false
boundPatternTime()

/** Patterns with look-around or back-references: V8 runs them, over small windows. None in version 4. */
const IRREGULAR: ReadonlySet<string> = new Set(['920120', '942130', '953120'])

const HEAD: readonly HeaderField[] = [
  ['Host', 'shop.example'],
  ['User-Agent', 'Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0'],
  ['Accept', '*/*'],
]

interface Sent {
  readonly target?: string
  readonly headers?: readonly HeaderField[]
  readonly type?: string
  readonly body?: string
}

function judge(rules: RuleSet, { target = '/', headers = [], type, body = '' }: Sent): WafVerdict {
  const transaction = rules.begin()
  const bytes = new TextEncoder().encode(body)
  const typed: readonly HeaderField[] = type === undefined ? [] : [['Content-Type', type]]
  const all = [...HEAD, ...headers, ...typed, ['Content-Length', String(bytes.length)] as const]
  const request = { method: body === '' ? 'GET' : 'POST', target, httpVersion: '1.1', headers: all, remoteAddress: '192.0.2.1' }
  const head = transaction.requestHead(request)
  return head.blocked ? head : transaction.requestBody(bytes, false)
}

const FORM = 'application/x-www-form-urlencoded'

const ATTACKS: readonly (readonly [ruleId: number, sent: Sent])[] = [
  [913100, { headers: [['User-Agent', 'sqlmap/1.8']] }],
  [921110, { type: FORM, body: 'a=x%0d%0aGET%20/admin%20HTTP/1.1' }],
  [930120, { target: '/?file=../../../etc/passwd' }],
  [931100, { target: '/?page=http://203.0.113.7/shell' }],
  [932160, { target: '/?c=%3Bcat+/etc/passwd' }],
  [933150, { target: '/?q=base64_decode(x)%3B+call_user_func' }],
  [941100, { target: '/?q=%3Cscript%3Ealert(1)%3C/script%3E' }],
  [941110, { type: 'application/json', body: '{"a":["<script>alert(1)</script>"]}' }],
  [942100, { target: "/?id=1'%20or%20'1'='1" }],
  [942100, { type: 'text/xml', body: "<a><b>1' or '1'='1</b></a>" }],
  [943110, { target: '/?jsessionid=1', headers: [['Referer', 'http://evil.example/']] }],
  [944100, { type: FORM, body: 'a=java.lang.Runtime' }],
]

const BENIGN: readonly Sent[] = [
  {},
  { target: '/search?q=blue+lamp&page=2&sort=price' },
  { target: "/?name=O'Neill" },
  { type: FORM, body: 'comment=I+would+like+to+order+two+of+them%2C+please.' },
  { type: 'application/json', body: '{"items":[{"id":7,"name":"A lamp, blue & round"}]}' },
  { type: 'multipart/form-data; boundary=B', body: '--B\r\nContent-Disposition: form-data; name="a"\r\n\r\nhello\r\n--B--\r\n' },
]

test('the rules compile as they are; attacks of every file are recognized and refused, ordinary requests pass', { skip }, () => {
  const rules = compileRules(readCrs(crs!), { paranoia: 1 })
  assert.ok(rules.ruleCount > 200, String(rules.ruleCount))
  for (const [ruleId, sent] of ATTACKS) {
    const { matches, blocked, status } = judge(rules, sent)
    const seen = matches.map((match) => match.ruleId)
    assert.ok(seen.includes(ruleId), `${JSON.stringify(sent)}: ${seen.join()} and not ${ruleId}`)
    assert.deepEqual([blocked, status], [true, 403], JSON.stringify(sent))
  }
  for (const sent of BENIGN) {
    const { blocked, matches } = judge(rules, sent)
    assert.equal(
      blocked,
      false,
      `${JSON.stringify(sent)}: ${matches.map(({ ruleId, message }) => `${ruleId} ${message}`).join('; ')}`,
    )
  }
})

test('each level of paranoia holds the rules of those below it', { skip }, () => {
  const counts = ([1, 2, 3, 4] as const).map((paranoia) => compileRules(readCrs(crs!), { paranoia }).ruleCount)
  assert.deepEqual(
    [...counts].sort((a, b) => a - b),
    counts,
  )
  assert.equal(new Set(counts).size, 4, counts.join())
})

test('a response that gives away what the database said is held back', { skip }, () => {
  const transaction = compileRules(readCrs(crs!), { paranoia: 1 }).begin()
  transaction.requestHead({ method: 'GET', target: '/', httpVersion: '1.1', headers: HEAD, remoteAddress: '192.0.2.1' })
  transaction.requestBody(new Uint8Array(), false)
  transaction.responseHead({ status: 200, protocol: 'HTTP/1.1', headers: [['Content-Type', 'text/html']] })
  const page = 'You have an error in your SQL syntax; check the manual that corresponds to your MySQL server version'
  const verdict = transaction.responseBody(new TextEncoder().encode(page), false)
  assert.ok(verdict.matches.some(({ ruleId }) => ruleId >= 951_000 && ruleId < 952_000))
  assert.equal(verdict.blocked, true)
})

test('every pattern is matched in linear time, or is one of those listed', { skip }, () => {
  let id = ''
  for (const source of readCrs(crs!)) {
    if (source.kind === 'data') continue
    for (const node of parseRules(source)) {
      if (node.kind !== 'rule') continue
      id = node.actions.find(({ name }) => name === 'id')?.value?.text ?? id
      const pattern = node.operator.argument.text
      if (node.operator.name !== 'rx' || pattern.includes('%{')) continue
      const matcher = linearMatcher(parsePattern(toByteText(pattern)))
      assert.ok(matcher !== undefined, `${id}: the pattern is too large for the linear matcher`)
      assert.ok(matcher.exact || IRREGULAR.has(id), `${id} has look-around or a back-reference; list it`)
      // Work is counted, not timed: beyond the pass over the text only building states costs, and it must end.
      for (const unit of ['a', ' ', "'", '"\t', '(', '1=', 'select ', '%0a', '../', '{"', '<a ', "' or 1"]) {
        const text = unit.repeat(16_384 / unit.length)
        const meter = { work: 0, building: 0 }
        matcher.search(text, meter, Number.POSITIVE_INFINITY)
        matcher.search(text, meter, Number.POSITIVE_INFINITY)
        assert.ok(meter.work < text.length * 64, `${id} on ${JSON.stringify(unit)} repeated: ${meter.work} units of work`)
      }
    }
  }
})

const testsFolder = process.env.CRS_TESTS
const own = skip === false && testsFolder === undefined ? 'CRS_TESTS does not name the folder of CRS’s own tests' : skip

test('at most three in a thousand of CRS’s own tests fail', { skip: own }, () => {
  const rules = compileRules(readCrs(crs!, [CRS_TEST_SETUP]), { paranoia: 4 })
  const cases = readFtwCases(testsFolder!)
  const failures = cases.flatMap(({ title, backend, stages }) => {
    const problem = stages
      .map(({ request, expected }) => judgeFtw(expected, runThrough(rules, request, backend, 1_700_000_000_000)))
      .find((found) => found !== undefined)
    return problem === undefined ? [] : [`${title}: ${problem}`]
  })
  assert.ok(cases.length > 2_000, String(cases.length))
  assert.ok(failures.length <= cases.length * 0.003, failures.join('\n'))
})

/** Every function of XACML 3.0 that is understood has a case here: what it says, what it does not take, and that none was left out. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { knownFunctions, parseXacmlPolicy, respond } from './index.ts'
import { TYPE_IDS, type TypeName } from './values.ts'

const NS = 'urn:oasis:names:tc:xacml:3.0:core:schema:wd-17'
const X1 = 'urn:oasis:names:tc:xacml:1.0:function:'
const X2 = 'urn:oasis:names:tc:xacml:2.0:function:'
const X3 = 'urn:oasis:names:tc:xacml:3.0:function:'
const used = new Set<string>()

const value = (type: TypeName, text: string): string => `<AttributeValue DataType="${TYPE_IDS[type]}">${text}</AttributeValue>`
const call = (id: string, ...parts: readonly string[]): string => {
  used.add(id)
  return `<Apply FunctionId="${id}">${parts.join('')}</Apply>`
}
const fn = (id: string): string => {
  used.add(id)
  return `<Function FunctionId="${id}"/>`
}
const NOW = Date.parse('2027-03-01T12:00:00Z')

function decisionOf(condition: string): string {
  const policy = `<Policy xmlns="${NS}" PolicyId="p" Version="1.0" RuleCombiningAlgId="urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-overrides"><Target/><Rule RuleId="r" Effect="Permit"><Condition>${condition}</Condition></Rule></Policy>`
  const answer = respond(parseXacmlPolicy(policy), '{"Request":{}}', NOW)
  return (JSON.parse(answer) as { Response: { Decision: string }[] }).Response[0]!.Decision
}
const holds = (condition: string): void => assert.equal(decisionOf(condition), 'Permit', condition)
const fails = (condition: string): void => assert.equal(decisionOf(condition), 'NotApplicable', condition)
const unknown = (condition: string): void => assert.equal(decisionOf(condition), 'Indeterminate', condition)

const s = (text: string): string => value('string', text)
const i = (text: number | string): string => value('integer', String(text))
const d = (text: number | string): string => value('double', String(text))
const same = (type: TypeName, a: string, b: string): string => call(`${X1}${type}-equal`, a, b)
const isInteger = (a: string, b: number | string): void => holds(same('integer', a, i(b)))
const isDouble = (a: string, b: number | string): void => holds(same('double', a, d(b)))
const isString = (a: string, b: string): void => holds(same('string', a, s(b)))

/** Two values of each type that are written otherwise and equal, and one that is another. */
const SAMPLES: Readonly<Record<TypeName, readonly [string, string, string]>> = {
  string: ['a', 'a', 'A'],
  boolean: ['true', '1', 'false'],
  integer: ['7', '+07', '-7'],
  double: ['1.50', '15e-1', '1.51'],
  time: ['12:00:00Z', '14:00:00+02:00', '12:00:01Z'],
  date: ['2027-01-31', '2027-01-31Z', '2027-02-01'],
  dateTime: ['2027-01-31T12:00:00Z', '2027-01-31T11:00:00.000-01:00', '2027-01-31T12:00:01Z'],
  dayTimeDuration: ['P1D', 'PT24H', '-P1D'],
  yearMonthDuration: ['P1Y', 'P12M', 'P13M'],
  anyURI: ['urn:a', ' urn:a ', 'urn:A'],
  hexBinary: ['0aFF', '0AFF', '0AFE'],
  base64Binary: ['AQI=', 'A QI=', 'AQM='],
  rfc822Name: ['Ann@Example.org', 'Ann@example.ORG', 'ann@example.org'],
  x500Name: ['CN=Ann, O=Example', 'cn=ann,o=example', 'cn=ann,o=other'],
  ipAddress: ['10.0.0.1', '10.0.0.1', '10.0.0.2'],
  dnsName: ['a.example', 'A.example', 'b.example'],
}
const WITHOUT_EQUAL: readonly string[] = ['ipAddress', 'dnsName']

test('equality, bags and sets, of every type', () => {
  for (const [type, texts] of Object.entries(SAMPLES) as [TypeName, readonly [string, string, string]][]) {
    const [a, b, c] = texts.map((text) => value(type, text)) as [string, string, string]
    const prefixes = type.endsWith('Duration') ? [X1, X3] : WITHOUT_EQUAL.includes(type) ? [X2] : [X1]
    for (const prefix of prefixes) {
      const f = (name: string, ...parts: readonly string[]): string => call(`${prefix}${type}-${name}`, ...parts)
      const bag = (...all: readonly string[]): string => f('bag', ...all)
      isInteger(f('bag-size', bag(a, b, c)), 3)
      unknown(same('integer', f('bag-size', f('bag', f('one-and-only', bag(a, c)))), i(1)))
      isInteger(f('bag-size', f('bag', f('one-and-only', bag(a)))), 1)
      if (WITHOUT_EQUAL.includes(type)) continue
      holds(f('equal', a, b))
      fails(f('equal', a, c))
      holds(f('is-in', b, bag(c, a)))
      fails(f('is-in', c, bag(a, b)))
      isInteger(f('bag-size', f('intersection', bag(a, c, a), bag(b))), 1)
      isInteger(f('bag-size', f('union', bag(a, b), bag(c, a))), 2)
      holds(f('at-least-one-member-of', bag(a), bag(c, b)))
      fails(f('at-least-one-member-of', bag(a), bag(c)))
      holds(f('subset', bag(a), bag(c, b)))
      fails(f('subset', bag(a, c), bag(b)))
      holds(f('set-equals', bag(a, c, a), bag(c, b)))
      fails(f('set-equals', bag(a), bag(b, c)))
    }
  }
})

test('arithmetic, with its errors', () => {
  isInteger(call(`${X1}integer-add`, i(1), i(2), i(3)), 6)
  isInteger(call(`${X1}integer-multiply`, i('99999999999999999999'), i(2)), '199999999999999999998')
  isInteger(call(`${X1}integer-subtract`, i(1), i(3)), -2)
  isInteger(call(`${X1}integer-divide`, i(-7), i(2)), -3)
  isInteger(call(`${X1}integer-mod`, i(-7), i(2)), -1)
  isInteger(call(`${X1}integer-abs`, i(-7)), 7)
  unknown(same('integer', call(`${X1}integer-divide`, i(1), i(0)), i(0)))
  unknown(same('integer', call(`${X1}integer-mod`, i(1), i(0)), i(0)))
  isDouble(call(`${X1}double-add`, d(0.5), d(1), d(2)), 3.5)
  isDouble(call(`${X1}double-multiply`, d(0.5), d(3)), 1.5)
  isDouble(call(`${X1}double-subtract`, d(0.5), d(3)), -2.5)
  isDouble(call(`${X1}double-divide`, d(1), d(4)), 0.25)
  unknown(same('double', call(`${X1}double-divide`, d(1), d(0)), d(0)))
  isDouble(call(`${X1}double-abs`, d(-2.5)), 2.5)
  for (const [from, to] of [
    [2.5, 2],
    [3.5, 4],
    [-2.5, -2],
    [2.4, 2],
    [2.6, 3],
  ] as const)
    isDouble(call(`${X1}round`, d(from)), to)
  isDouble(call(`${X1}floor`, d(-2.1)), -3)
  isInteger(call(`${X1}double-to-integer`, d(-2.9)), -2)
  unknown(same('integer', call(`${X1}double-to-integer`, d('INF')), i(0)))
  isDouble(call(`${X1}integer-to-double`, i(7)), 7)
})

test('strings, conversions and substrings', () => {
  isString(call(`${X1}string-normalize-space`, s(' \n a b ')), 'a b')
  isString(call(`${X1}string-normalize-to-lower-case`, s('ÄB')), 'äb')
  isString(call(`${X2}string-concatenate`, s('a'), s('b'), s('c')), 'abc')
  holds(call(`${X3}string-equal-ignore-case`, s('Äb'), s('äB')))
  for (const [type, texts] of Object.entries(SAMPLES) as [TypeName, readonly [string, string, string]][]) {
    if (['string', 'hexBinary', 'base64Binary'].includes(type)) continue
    isString(
      call(`${X3}string-from-${type}`, call(`${X3}${type}-from-string`, s(texts[0].trim()))),
      { double: '1.5' }[type as string] ?? texts[0].trim(),
    )
    if (type !== 'anyURI' && type !== 'dnsName')
      unknown(call(`${X1}string-equal`, call(`${X3}string-from-${type}`, call(`${X3}${type}-from-string`, s('?'))), s('')))
  }
  for (const type of ['string', 'anyURI'] as const) {
    const whole = value(type, 'http://a.example/x')
    holds(call(`${X3}${type}-starts-with`, s('http://'), whole))
    fails(call(`${X3}${type}-starts-with`, s('x'), whole))
    holds(call(`${X3}${type}-ends-with`, s('/x'), whole))
    holds(call(`${X3}${type}-contains`, s('a.ex'), whole))
    fails(call(`${X3}${type}-contains`, s('b.ex'), whole))
    isString(call(`${X3}${type}-substring`, whole, i(7), i(8)), 'a')
    isString(call(`${X3}${type}-substring`, whole, i(15), i(-1)), 'e/x')
    for (const [from, to] of [
      [-2, 3],
      [3, 99],
      [4, 3],
    ] as const)
      unknown(same('string', call(`${X3}${type}-substring`, whole, i(from), i(to)), s('')))
  }
})

test('logic looks no further than it needs to', () => {
  const [yes, no] = [value('boolean', 'true'), value('boolean', 'false')]
  const error = same('integer', call(`${X1}integer-divide`, i(1), i(0)), i(0))
  holds(call(`${X1}and`))
  fails(call(`${X1}and`, yes, no, error))
  unknown(call(`${X1}and`, yes, error, no))
  fails(call(`${X1}or`))
  holds(call(`${X1}or`, no, yes, error))
  unknown(call(`${X1}or`, no, error, yes))
  holds(call(`${X1}not`, no))
  holds(call(`${X1}n-of`, i(0), error))
  holds(call(`${X1}n-of`, i(2), yes, no, yes, error))
  fails(call(`${X1}n-of`, i(2), yes, no))
  unknown(call(`${X1}n-of`, i(3), yes, yes))
})

test('comparisons, times and dates', () => {
  const pairs = {
    integer: ['2', '10'],
    double: ['2', '10'],
    string: ['B', 'a'],
    time: ['09:00:00Z', '10:00:00+00:30'],
    date: ['2026-12-31', '2027-01-01'],
    dateTime: ['2026-12-31T23:00:00Z', '2027-01-01T01:00:00+01:00'],
  } as const
  for (const [type, [low, high]] of Object.entries(pairs) as [TypeName, readonly [string, string]][]) {
    const [a, b] = [value(type, low), value(type, high)]
    for (const [name, ab, ba, aa] of [
      ['greater-than', false, true, false],
      ['greater-than-or-equal', false, true, true],
      ['less-than', true, false, false],
      ['less-than-or-equal', true, false, true],
    ] as const) {
      const ask = (x: string, y: string): boolean => decisionOf(call(`${X1}${type}-${name}`, x, y)) === 'Permit'
      assert.deepEqual([ask(a, b), ask(b, a), ask(a, a)], [ab, ba, aa], `${type} ${name}`)
    }
  }
  const t = (text: string): string => value('time', text)
  const inRange = (...all: readonly [string, string, string]): string =>
    call(`${X2}time-in-range`, ...(all.map(t) as [string, string, string]))
  holds(inRange('12:00:00Z', '09:00:00Z', '17:00:00Z'))
  fails(inRange('08:59:59Z', '09:00:00Z', '17:00:00Z'))
  holds(inRange('23:30:00Z', '22:00:00Z', '06:00:00Z'))
  fails(inRange('12:00:00Z', '22:00:00Z', '06:00:00Z'))
  holds(inRange('10:00:00+02:00', '09:00:00', '11:00:00'))
  const at = (type: TypeName, text: string): string => value(type, text)
  const cases = [
    ['dateTime', 'add', 'dayTimeDuration', '2027-02-28T23:30:00Z', 'PT1H', '2027-03-01T00:30:00Z'],
    ['dateTime', 'subtract', 'dayTimeDuration', '2027-03-01T00:30:00Z', 'PT1H', '2027-02-28T23:30:00Z'],
    ['dateTime', 'add', 'yearMonthDuration', '2024-02-29T10:00:00Z', 'P1Y', '2025-02-28T10:00:00Z'],
    ['dateTime', 'subtract', 'yearMonthDuration', '2027-03-31T10:00:00+01:00', 'P1M', '2027-02-28T10:00:00+01:00'],
    ['date', 'add', 'yearMonthDuration', '2027-01-31', 'P1M', '2027-02-28'],
    ['date', 'subtract', 'yearMonthDuration', '2027-01-31', 'P1Y2M', '2025-11-30'],
  ] as const
  for (const [type, how, by, from, much, to] of cases)
    for (const prefix of [X1, X3])
      holds(same(type, call(`${prefix}${type}-${how}-${by}`, at(type, from), at(by, much)), at(type, to)))
})

test('patterns and matching of names; a pattern that would take for ever is told of when it is read', () => {
  holds(call(`${X1}string-regexp-match`, s('^a+b?$'), s('aaa')))
  fails(call(`${X1}string-regexp-match`, s('^a+$'), s('aab')))
  holds(call(`${X2}anyURI-regexp-match`, s('^https:'), value('anyURI', 'https://a')))
  holds(call(`${X2}ipAddress-regexp-match`, s('^10[.]'), value('ipAddress', '10.0.0.1')))
  holds(call(`${X2}dnsName-regexp-match`, s('example$'), value('dnsName', 'a.example')))
  holds(call(`${X2}rfc822Name-regexp-match`, s('^ann@'), value('rfc822Name', 'ann@a.example')))
  holds(call(`${X2}x500Name-regexp-match`, s('O=Example'), value('x500Name', 'CN=a, O=Example')))
  for (const bad of ['(', '(?=a)b', '(a)\\1', '[a-z-[aeiou]]', '\\i', `${'a'.repeat(1_001)}`])
    assert.throws(() => decisionOf(call(`${X1}string-regexp-match`, s(bad), s('x'))), /pattern/, bad)
  fails(call(`${X1}string-regexp-match`, s('^(a+)+$'), s(`${'a'.repeat(5_000)}b`)))
  const x = (text: string): string => value('x500Name', text)
  holds(call(`${X1}x500Name-match`, x('O=Medico, C=US'), x('cn=Ann, o=medico,c=US')))
  fails(call(`${X1}x500Name-match`, x('O=Medico'), x('cn=Ann, o=medico,c=US')))
  const mail = value('rfc822Name', 'Ann@east.Sun.com')
  for (const [pattern, is] of [
    ['Ann@east.sun.COM', true],
    ['ann@east.sun.com', false],
    ['EAST.sun.com', true],
    ['sun.com', false],
    ['.sun.com', true],
  ] as const)
    assert.equal(decisionOf(call(`${X1}rfc822Name-match`, s(pattern), mail)) === 'Permit', is, pattern)
})

test('functions of functions', () => {
  const bag = (...all: readonly number[]): string => call(`${X1}integer-bag`, ...all.map(i))
  const gt = fn(`${X1}integer-greater-than`)
  for (const prefix of [X1, X3]) {
    holds(call(`${prefix}any-of`, gt, i(5), bag(9, 4)))
    fails(call(`${prefix}any-of`, gt, i(5), bag(9, 5)))
    holds(call(`${prefix}all-of`, gt, i(5), bag(4, 3)))
    fails(call(`${prefix}all-of`, gt, i(5), bag(4, 5)))
    holds(call(`${prefix}all-of`, gt, i(5), bag()))
    holds(call(`${prefix}any-of-any`, gt, bag(1, 5), bag(4, 9)))
    fails(call(`${prefix}any-of-any`, gt, bag(1, 4), bag(4, 9)))
    isInteger(call(`${X1}integer-bag-size`, call(`${prefix}map`, fn(`${X1}integer-abs`), bag(-1, 1))), 2)
  }
  holds(call(`${X1}all-of-any`, gt, bag(5, 9), bag(4, 10)))
  fails(call(`${X1}all-of-any`, gt, bag(3, 9), bag(4, 10)))
  holds(call(`${X1}any-of-all`, gt, bag(3, 9), bag(4, 8)))
  fails(call(`${X1}any-of-all`, gt, bag(3, 7), bag(4, 8)))
  holds(call(`${X1}all-of-all`, gt, bag(9, 10), bag(4, 8)))
  fails(call(`${X1}all-of-all`, gt, bag(8, 10), bag(4, 8)))
  const wide = call(`${X1}integer-bag`, ...Array.from({ length: 1_000 }, () => i(1)))
  unknown(call(`${X1}any-of-any`, gt, wide, wide))
})

test('no function was left out', () => {
  assert.deepEqual(
    // Those on paths need a request's Content: `policy.test.ts`.
    knownFunctions().filter((id) => !used.has(id) && !id.includes(':xpath-node-')),
    [],
  )
})

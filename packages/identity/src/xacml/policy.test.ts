/** Policies of XACML 3.0 as a whole: targets, combining, duties, references, several decisions, and what is refused and where. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compileXacml } from './authorizer.ts'
import { type Child, type Decision, POLICY_ALGORITHMS, RULE_ALGORITHMS } from './combining.ts'
import { decide, parseRequest, parseXacmlPolicy, respond, XacmlInvalid } from './index.ts'
import { CATEGORIES } from './request.ts'
import { parseXml } from './xml.ts'

const NS = 'urn:oasis:names:tc:xacml:3.0:core:schema:wd-17'
const STRING = 'http://www.w3.org/2001/XMLSchema#string'
const INTEGER = 'http://www.w3.org/2001/XMLSchema#integer'
const SUBJECT = 'urn:oasis:names:tc:xacml:1.0:subject-category:access-subject'
const ROLE = `<AttributeDesignator Category="${SUBJECT}" AttributeId="role" DataType="${STRING}" MustBePresent="false"/>`
const AGE = `<AttributeDesignator Category="${SUBJECT}" AttributeId="age" DataType="${INTEGER}" MustBePresent="true"/>`
const NOW = Date.parse('2027-03-01T12:00:00Z')
const value = (text: string, type = STRING): string => `<AttributeValue DataType="${type}">${text}</AttributeValue>`
const match = (role: string, of = ROLE): string =>
  `<Match MatchId="urn:oasis:names:tc:xacml:1.0:function:${of === AGE ? 'integer' : 'string'}-equal">${value(role, of === AGE ? INTEGER : STRING)}${of}</Match>`
const target = (...any: readonly (readonly string[])[]): string =>
  `<Target>${any.map((all) => `<AnyOf>${all.map((one) => `<AllOf>${one}</AllOf>`).join('')}</AnyOf>`).join('')}</Target>`
const rule = (id: string, effect: string, inner = ''): string => `<Rule RuleId="${id}" Effect="${effect}">${inner}</Rule>`
const policy = (inner: string, algorithm = 'deny-overrides', id = 'p', version = '1.0'): string =>
  `<Policy xmlns="${NS}" PolicyId="${id}" Version="${version}" RuleCombiningAlgId="urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:${algorithm}">${inner}</Policy>`
const set = (inner: string, algorithm = '3.0:policy-combining-algorithm:deny-overrides'): string =>
  `<PolicySet xmlns="${NS}" PolicySetId="s" Version="1.0" PolicyCombiningAlgId="urn:oasis:names:tc:xacml:${algorithm}"><Target/>${inner}</PolicySet>`
const DOUBT = target([match('5', AGE)])
const request = (attributes: Readonly<Record<string, unknown>> = {}, more: object = {}): string =>
  JSON.stringify({
    Request: {
      AccessSubject: {
        Attribute: Object.entries(attributes).map(([AttributeId, Value]) => ({
          AttributeId,
          Value,
          IncludeInResult: AttributeId === 'back',
        })),
      },
      ...more,
    },
  })
const ask = (text: string, attributes: Readonly<Record<string, unknown>> = {}, more: object = {}) =>
  decide(parseXacmlPolicy(text), parseRequest(request(attributes, more)), NOW)
const extended = (text: string, attributes: Readonly<Record<string, unknown>> = {}): Decision =>
  ask(text, attributes)[0]!.extended

test('a target is any of all: it matches, does not, or cannot be told', () => {
  const of = (inner: string): string => policy(`${inner}${rule('r', 'Permit')}`)
  assert.equal(extended(of('<Target/>')), 'Permit')
  assert.equal(extended(of(target([match('a'), match('b')])), { role: 'b' }), 'Permit')
  assert.equal(extended(of(target([match('a')], [match('b')])), { role: ['b', 'a'] }), 'Permit')
  assert.equal(extended(of(target([match('a')], [match('b')])), { role: 'b' }), 'NotApplicable')
  assert.equal(extended(of(DOUBT)), 'Indeterminate{P}')
  assert.equal(extended(of(target([match('5', AGE), match('b')])), { role: 'b' }), 'Permit', 'what matches outdoes doubt')
  assert.equal(extended(of(target([match('5', AGE)], [match('b')])), { role: 'a' }), 'NotApplicable', 'and so does what does not')
  assert.equal(ask(of(DOUBT))[0]?.status.code, 'missing-attribute')
})

/** All decisions that a child can come to. */
const ALL: readonly Decision[] = ['Permit', 'Deny', 'NotApplicable', 'Indeterminate{D}', 'Indeterminate{P}', 'Indeterminate{DP}']
const children = (of: readonly Decision[]): readonly Child[] =>
  of.map((decision) => ({
    decide: () => decision,
    isApplicable: () => (decision === 'Indeterminate{DP}' ? undefined : decision !== 'NotApplicable'),
  }))
const RULE = 'rule-combining-algorithm:'
const combine = (id: string, of: readonly Decision[]): Decision =>
  RULE_ALGORITHMS.get(`urn:oasis:names:tc:xacml:${id}`)!(children(of))

test('combining: pairs of decisions come to what appendix C says, whichever comes first where order says nothing', () => {
  const [P, D, N, ID, IP, IDP] = ALL as [Decision, Decision, Decision, Decision, Decision, Decision]
  const denyOverrides: readonly (readonly [Decision, Decision, Decision])[] = [
    [P, D, D],
    [P, N, P],
    [P, ID, IDP],
    [P, IP, P],
    [P, IDP, IDP],
    [D, ID, D],
    [D, IDP, D],
    [N, N, N],
    [N, ID, ID],
    [N, IP, IP],
    [ID, IP, IDP],
    [ID, IDP, IDP],
    [IP, IDP, IDP],
  ]
  const flip = (decision: Decision): Decision =>
    ({ Permit: D, Deny: P, 'Indeterminate{D}': IP, 'Indeterminate{P}': ID, NotApplicable: N, 'Indeterminate{DP}': IDP })[decision]
  for (const [a, b, expected] of denyOverrides)
    for (const pair of [
      [a, b],
      [b, a],
    ] as const)
      for (const name of ['deny-overrides', 'ordered-deny-overrides']) {
        assert.equal(combine(`3.0:${RULE}${name}`, pair), expected, `${name} ${pair}`)
        assert.equal(combine(`3.0:${RULE}${name.replace('deny', 'permit')}`, pair.map(flip)), flip(expected), `permit ${pair}`)
      }
  for (const a of ALL)
    for (const b of ALL) {
      assert.equal(combine(`3.0:${RULE}deny-unless-permit`, [a, b]), a === P || b === P ? P : D)
      assert.equal(combine(`3.0:${RULE}permit-unless-deny`, [a, b]), a === D || b === D ? D : P)
      assert.equal(combine(`1.0:${RULE}first-applicable`, [a, b]), a === N ? b : a)
    }
  for (const id of ['1.0:rule-combining-algorithm:deny-overrides', '1.1:rule-combining-algorithm:ordered-deny-overrides']) {
    assert.equal(combine(id, [P, ID]), ID)
    assert.equal(combine(id, [P, IP]), P)
    assert.equal(combine(id, [P, D]), D)
  }
  for (const id of ['1.0:rule-combining-algorithm:permit-overrides', '1.1:rule-combining-algorithm:ordered-permit-overrides']) {
    assert.equal(combine(id, [D, IP]), IP)
    assert.equal(combine(id, [D, ID]), D)
  }
  const ofPolicies = (id: string, of: readonly Decision[]): Decision =>
    POLICY_ALGORITHMS.get(`urn:oasis:names:tc:xacml:${id}`)!(children(of))
  for (const id of ['1.0:policy-combining-algorithm:deny-overrides', '1.1:policy-combining-algorithm:ordered-deny-overrides']) {
    assert.equal(ofPolicies(id, [P, IP]), D)
    assert.equal(ofPolicies(id, [P, N]), P)
  }
  for (const id of [
    '1.0:policy-combining-algorithm:permit-overrides',
    '1.1:policy-combining-algorithm:ordered-permit-overrides',
  ]) {
    assert.equal(ofPolicies(id, [D, IP]), D)
    assert.equal(ofPolicies(id, [N, IP]), IP)
  }
  const only = '1.0:policy-combining-algorithm:only-one-applicable'
  assert.deepEqual(
    [ofPolicies(only, [N, P]), ofPolicies(only, [D, P]), ofPolicies(only, [N, N]), ofPolicies(only, [N, IDP])],
    [P, IDP, N, IDP],
  )
  assert.equal(RULE_ALGORITHMS.size, 11)
  assert.equal(POLICY_ALGORITHMS.size, 12)
})

test('policies in doubt: what they could have said, by table 7', () => {
  const inDoubt = (inner: string, algorithm?: string): Decision => extended(policy(`${DOUBT}${inner}`, algorithm))
  assert.equal(inDoubt(rule('r', 'Deny')), 'Indeterminate{D}')
  assert.equal(inDoubt(rule('r', 'Permit', DOUBT)), 'Indeterminate{P}')
  assert.equal(inDoubt(rule('r', 'Permit', target([match('x')]))), 'NotApplicable')
  assert.equal(inDoubt(rule('r', 'Permit', DOUBT) + rule('q', 'Deny', DOUBT)), 'Indeterminate{DP}')
  assert.equal(
    extended(set(policy(`<Target/>${rule('r', 'Deny', DOUBT)}`) + policy(`<Target/>${rule('r', 'Permit')}`, undefined, 'q'))),
    'Indeterminate{DP}',
  )
})

const duty = (list: string, each: string, id: string, on: string, effect: string, expression: string): string =>
  `<${list}><${each} ${each.startsWith('Ob') ? 'ObligationId' : 'AdviceId'}="${id}" ${on}="${effect}"><AttributeAssignmentExpression AttributeId="a" Category="c">${expression}</AttributeAssignmentExpression></${each}></${list}>`
const obligation = (id: string, effect: string, expression = value('v')): string =>
  duty('ObligationExpressions', 'ObligationExpression', id, 'FulfillOn', effect, expression)
const advice = (id: string, effect: string): string =>
  duty('AdviceExpressions', 'AdviceExpression', id, 'AppliesTo', effect, ROLE)

test('obligations and advice come from all that said the same, inside out; one that cannot be made leaves all in doubt', () => {
  const text = set(
    policy(
      `<Target/>${rule('r', 'Permit', obligation('o1', 'Permit') + advice('a1', 'Permit'))}${obligation('o2', 'Permit')}${obligation('o3', 'Deny')}`,
    ) +
      policy(`<Target/>${rule('q', 'Permit', obligation('o4', 'Permit'))}`, undefined, 'q') +
      obligation('o5', 'Permit'),
  )
  const [result] = ask(text, { role: ['x', 'y'] })
  assert.deepEqual(
    result?.obligations.map(({ id }) => id),
    ['o1', 'o2', 'o4', 'o5'],
  )
  assert.deepEqual(
    result?.advice[0]?.assignments.map((one) => one.value.v),
    ['x', 'y'],
  )
  assert.deepEqual(result?.obligations[0]?.assignments[0], {
    id: 'a',
    category: 'c',
    issuer: undefined,
    value: { type: 'string', v: 'v', text: 'v' },
  })
  assert.equal(extended(policy(`<Target/>${rule('r', 'Permit', obligation('o', 'Permit', AGE))}`)), 'Indeterminate{P}')
  assert.equal(extended(policy(`<Target/>${rule('r', 'Deny')}${obligation('o', 'Deny', AGE)}`)), 'Indeterminate{D}')
  const denied = policy(`<Target/>${rule('r', 'Deny', obligation('o1', 'Permit') + obligation('o2', 'Deny'))}`)
  assert.deepEqual(
    ask(denied)[0]?.obligations.map(({ id }) => id),
    ['o2'],
  )
})

test('a Response says it in XML and JSON: decision, status, duties, what is to come back, and which policies', () => {
  const text = policy(`<Target/>${rule('r', 'Permit', obligation('o&lt;', 'Permit', value('a&lt;b')) + advice('a', 'Permit'))}`)
  const more = { ReturnPolicyIdList: true }
  const json = JSON.parse(respond(parseXacmlPolicy(text), request({ back: [1, 2], role: 'x' }, more), NOW)) as unknown
  assert.deepEqual(json, {
    Response: [
      {
        Decision: 'Permit',
        Status: { StatusCode: { Value: 'urn:oasis:names:tc:xacml:1.0:status:ok' } },
        Obligations: [{ Id: 'o<', AttributeAssignment: [{ AttributeId: 'a', Value: 'a<b', DataType: STRING, Category: 'c' }] }],
        AssociatedAdvice: [{ Id: 'a', AttributeAssignment: [{ AttributeId: 'a', Value: 'x', DataType: STRING, Category: 'c' }] }],
        Category: [
          { CategoryId: SUBJECT, Attribute: [{ AttributeId: 'back', Value: [1, 2], DataType: INTEGER, IncludeInResult: true }] },
        ],
        PolicyIdentifierList: { PolicyIdReference: [{ Id: 'p', Version: '1.0' }], PolicySetIdReference: [] },
      },
    ],
  })
  const asked = `<Request xmlns="${NS}" ReturnPolicyIdList="true" CombinedDecision="false"><Attributes Category="${SUBJECT}"><Attribute AttributeId="back" IncludeInResult="true">${value('&lt;&#65;')}</Attribute></Attributes></Request>`
  const xml = parseXml(respond(parseXacmlPolicy(text), asked, NOW))
  const [result] = xml.children
  assert.deepEqual(
    result?.children.map(({ name }) => name),
    ['Decision', 'Status', 'Obligations', 'AssociatedAdvice', 'Attributes', 'PolicyIdentifierList'],
  )
  assert.equal(result?.children[2]?.children[0]?.attributes.get('ObligationId'), 'o<')
  assert.equal(result?.children[4]?.children[0]?.children[0]?.text, '<A')
  const bad = respond(parseXacmlPolicy(text), '<Request', NOW)
  assert.match(bad, /<Decision>Indeterminate<\/Decision><Status><StatusCode Value="[^"]+:syntax-error"\/><StatusMessage>1:9: /)
})

test('several of one category ask several questions, each with each; references say which; one answer for all where all agree', () => {
  const text = policy(`<Target/>${rule('r', 'Permit', target([match('a')]))}${rule('d', 'Deny', target([match('b')]))}`)
  const group = (role: string, Id?: string): object => ({
    Attribute: [{ AttributeId: 'role', Value: role }],
    ...(Id === undefined ? {} : { Id }),
  })
  const many = (more: object): readonly string[] =>
    decide(parseXacmlPolicy(text), parseRequest(JSON.stringify({ Request: more })), NOW).map(({ decision }) => decision)
  const both = [group('a', 'one'), group('b', 'two')]
  assert.deepEqual(many({ AccessSubject: both, Action: [group('x'), group('y')] }), ['Permit', 'Permit', 'Deny', 'Deny'])
  assert.deepEqual(many({ AccessSubject: both, MultiRequests: { RequestReference: [{ ReferenceId: ['two'] }] } }), ['Deny'])
  assert.deepEqual(many({ AccessSubject: both, CombinedDecision: true }), ['Indeterminate'])
  assert.deepEqual(many({ AccessSubject: [group('a'), group('a')], CombinedDecision: true }), ['Permit'])
  assert.throws(() => many({ AccessSubject: Array.from({ length: 101 }, () => group('a')) }), /more than 100 questions/)
  assert.throws(
    () => many({ AccessSubject: both, MultiRequests: { RequestReference: [{ ReferenceId: ['three'] }] } }),
    /0 Attributes are called three/,
  )
})

test('policies that are referred to are found by id and version; going round in a ring is refused', () => {
  const reference = (more = ''): string => set(`<PolicyIdReference${more}>p</PolicyIdReference>`)
  const versions = [
    policy(`<Target/>${rule('r', 'Permit')}`, undefined, 'p', '1.2'),
    policy(`<Target/>${rule('r', 'Deny')}`, undefined, 'p', '1.10'),
  ]
  const of = (more: string): Decision =>
    decide(parseXacmlPolicy(reference(more), versions), parseRequest(request()), NOW)[0]!.extended
  assert.deepEqual(
    [of(''), of(' Version="1.2"'), of(' LatestVersion="1.9"'), of(' Version="1.*" EarliestVersion="1.3"'), of(' Version="1.+"')],
    ['Deny', 'Permit', 'Permit', 'Deny', 'Deny'],
  )
  assert.throws(() => of(' Version="2.0"'), /no version of Policy p here/)
  assert.throws(() => parseXacmlPolicy(reference()), /Policy p is referred to, and is not here/)
  assert.throws(() => parseXacmlPolicy(set('<PolicySetIdReference>s</PolicySetIdReference>')), /refers to itself/)
})

const selector = (path: string, type = 'string', more = 'MustBePresent="false"'): string =>
  `<AttributeSelector Category="${CATEGORIES.Resource}" DataType="http://www.w3.org/2001/XMLSchema#${type}" Path="${path}" ${more}/>`

test('a policy asks for parts of the Content of a request, in XML and in JSON, and counts and compares them', () => {
  const X3 = 'urn:oasis:names:tc:xacml:3.0:function:'
  const path = (text: string): string =>
    `<AttributeValue DataType="urn:oasis:names:tc:xacml:3.0:data-type:xpathExpression" XPathCategory="${CATEGORIES.Resource}">${text}</AttributeValue>`
  const one = (id: string, bag: string): string =>
    `<Apply FunctionId="urn:oasis:names:tc:xacml:1.0:function:${id}">${bag}</Apply>`
  const of = (id: string, ...inner: readonly string[]): string => `<Apply FunctionId="${id}">${inner.join('')}</Apply>`
  const equal = (type: string, a: string, b: string): string => one(`${type}-equal`, a + b)
  const content =
    '<r:record xmlns:r="urn:r" r:no="7"><r:name>Ann</r:name><r:dose>5</r:dose><r:dose unit="mg">9</r:dose></r:record>'
  const permits = (condition: string, document: string | null = content): readonly string[] => {
    const text = policy(`<Target/>${rule('r', 'Permit', `<Condition>${condition}</Condition>`)}`).replace(
      'xmlns=',
      'xmlns:r="urn:r" xmlns=',
    )
    const xml = `<Request xmlns="${NS}" ReturnPolicyIdList="false" CombinedDecision="false"><Attributes Category="${CATEGORIES.Resource}">${document === null ? '' : `<Content>${document}</Content>`}</Attributes></Request>`
    const json = JSON.stringify({ Request: { Resource: document === null ? {} : { Content: document } } })
    return [xml, json].map((asked) => decide(parseXacmlPolicy(text), parseRequest(asked), NOW)[0]!.decision)
  }
  const cases: readonly (readonly [string, string])[] = [
    [equal('string', one('string-one-and-only', selector('/r:record/r:name')), value('Ann')), 'Permit'],
    [equal('string', one('string-one-and-only', selector('//r:name/text()')), value('Bob')), 'NotApplicable'],
    [equal('integer', one('integer-one-and-only', selector('/r:record/@r:no', 'integer')), value('7', INTEGER)), 'Permit'],
    [equal('integer', one('integer-bag-size', selector('//r:dose', 'integer')), value('2', INTEGER)), 'Permit'],
    [equal('integer', one('integer-one-and-only', selector("//r:dose[@unit='mg']", 'integer')), value('9', INTEGER)), 'Permit'],
    [equal('integer', one('integer-bag-size', selector('//r:name', 'integer')), value('1', INTEGER)), 'Indeterminate'],
    [
      equal('integer', one('string-bag-size', selector('//r:none', 'string', 'MustBePresent="true"')), value('0', INTEGER)),
      'Indeterminate',
    ],
    [equal('integer', of(`${X3}xpath-node-count`, path('//r:dose | //r:name')), value('3', INTEGER)), 'Permit'],
    [of(`${X3}xpath-node-match`, path('/r:record'), path('//r:dose/@unit')), 'Permit'],
    [of(`${X3}xpath-node-match`, path('//r:name'), path('//r:dose')), 'NotApplicable'],
    [of(`${X3}xpath-node-equal`, path('//r:dose[2]'), path('//r:dose[last()]')), 'Permit'],
    [of(`${X3}xpath-node-equal`, path('/r:record'), path('//r:dose')), 'NotApplicable'],
  ]
  for (const [condition, decision] of cases) assert.deepEqual(permits(condition), [decision, decision], condition)
  assert.deepEqual(permits(equal('integer', of(`${X3}xpath-node-count`, path('/r:record')), value('0', INTEGER)), null), [
    'Permit',
    'Permit',
  ])
  const many = `<r:record xmlns:r="urn:r">${'<r:a>'.repeat(90)}${'<r:b/>'.repeat(2_000)}${'</r:a>'.repeat(90)}</r:record>`
  const costly = `${'//r:a'.repeat(3)}[//r:a//r:b]//r:b[//r:b]`
  assert.deepEqual(permits(equal('integer', of(`${X3}xpath-node-count`, path(costly)), value('0', INTEGER)), many), [
    'Indeterminate',
    'Indeterminate',
  ])
  assert.throws(
    () => parseRequest(`<Request xmlns="${NS}"><Attributes Category="x"><Content>text</Content></Attributes></Request>`),
    /one Content with one element/,
  )
  assert.throws(() => parseRequest('{"Request":{"Resource":{"Content":"<a>"}}}'), /Resource\/Content: <a> is not closed/)
})

test('what is not understood is refused, by line and column', () => {
  const condition = (inner: string): string => policy(`<Target/>\n${rule('r', 'Permit', `\n  <Condition>${inner}</Condition>`)}`)
  const apply = (id: string, inner = ''): string =>
    `<Apply FunctionId="urn:oasis:names:tc:xacml:1.0:function:${id}">${inner}</Apply>`
  const cases: readonly (readonly [string, RegExp, string])[] = [
    [condition(apply('string-eqaul', value('a') + value('b'))), /string-eqaul is not known/, '3:14'],
    [condition(apply('xpath-node-count')), /xpath-node-count is not known/, '3:14'],
    [
      condition(value('/a', 'urn:oasis:names:tc:xacml:3.0:data-type:xpathExpression')),
      /stands as an AttributeValue of xpath-node-count/,
      '3:14',
    ],
    [condition(apply('string-equal', value('a'))), /takes 2 arguments, found 1/, '3:14'],
    [condition(apply('string-equal', value('a') + ROLE)), /argument 2 of .*: expected string, found a bag of string/, ''],
    [condition(apply('integer-add', value('1', INTEGER) + value('2', INTEGER))), /a Condition is boolean/, '3:14'],
    [condition(value('x', INTEGER)), /"x" is no integer/, '3:14'],
    [condition('<VariableReference VariableId="v"/>'), /no variable is called v/, '3:14'],
    [condition('<AttributeSelector/>'), /AttributeSelector without Category/, '3:14'],
    [condition(selector('count(/a)')), /path "count\(\/a\)": the function count is not taken/, '3:14'],
    [condition(selector('/x:a')), /the prefix x names no namespace/, '3:14'],
    [condition(value('x', 'urn:unknown')), /data type urn:unknown is not known/, '3:14'],
    [policy(`<Target/>${rule('r', 'Maybe')}`), /Effect is Permit or Deny/, ''],
    [policy(`<Target/>${rule('r', 'Permit')}${rule('r', 'Deny')}`), /the rule r occurs twice/, ''],
    [policy('<Target/>', 'deny-overides'), /combining algorithm .* is not known/, '1:1'],
    [policy('<Target/><Rul/>'), /Rul does not belong into Policy/, ''],
    [policy('<Target/><PolicyIssuer/>'), /administration profile/, ''],
    [
      policy(`<Target/><VariableDefinition VariableId="v"><VariableReference VariableId="v"/></VariableDefinition>`),
      /defined by itself/,
      '',
    ],
    [policy('<Target/>').replace('3.0:core', '2.0:core').replace('wd-17', 'os'), /is not XACML 3\.0/, '1:1'],
    ['<x/>', /expected Policy or PolicySet, found x/, '1:1'],
    ['<!DOCTYPE a><a/>', /document types/, '1:1'],
    ['<a>&b;</a>', /entities are not taken/, '1:4'],
    ['<a><b></a></b>', /<\/a> where <\/b> is expected/, '1:7'],
    ['<a x="1" x="2"/>', /occurs twice/, '1:10'],
    ['<p:a/>', /the prefix p names no namespace/, '1:1'],
    ['<?xml version="1.1"?><a/>', /expected XML 1\.0/, '1:1'],
    ['<a/><b/>', /second root/, '1:5'],
    ['<a>\u0000</a>', /a character that XML does not have/, '1:4'],
    ['<a>&#0;</a>', /no character reference/, '1:4'],
    ['<a>'.repeat(200), /nested more than 100 deep/, ''],
    [`<a>${'<b/>'.repeat(50_001)}</a>`, /more than 50000 elements/, ''],
  ]
  for (const [text, message, at] of cases)
    assert.throws(
      () => parseXacmlPolicy(text),
      (error: Error) =>
        error instanceof XacmlInvalid &&
        message.test(error.message) &&
        (at === '' || `${error.place.line}:${error.place.column}` === at),
      `${message} ${text.slice(0, 400)}`,
    )
})

test('property: whatever the text, a policy and a request are read or refused in words, and answered', () => {
  const known = policy(`<Target/>${rule('r', 'Permit', obligation('o', 'Permit'))}`)
  const piece = fc.constantFrom(
    '<',
    '>',
    '/',
    '"',
    '&',
    ';',
    'Policy',
    'Rule',
    '<Target/>',
    ']]>',
    '<![CDATA[',
    '<!--',
    '-->',
    '{',
    '}',
    '[',
    ':',
    ' xmlns="',
    NS,
    '\u0000',
    '\ud800',
    '<?xml',
  )
  const text = fc.oneof(
    fc.string(),
    fc.array(fc.oneof(piece, fc.string({ maxLength: 4 })), { maxLength: 40 }).map((all) => all.join('')),
    fc.nat(known.length).chain((at) => piece.map((one) => known.slice(0, at) + one + known.slice(at))),
  )
  fc.assert(
    fc.property(text, (given) => {
      try {
        parseXacmlPolicy(given)
      } catch (error) {
        assert.ok(error instanceof XacmlInvalid, String((error as Error).stack))
      }
      assert.match(respond(parseXacmlPolicy(known), given, NOW), /Decision/)
    }),
    { numRuns: 300 },
  )
})

test('as a service’s authorization: what is permitted passes, but not with obligations that nobody fulfils', () => {
  const authorization = (policies: string) => ({
    language: 'xacml' as const,
    policies,
    claims: {},
    groups: 'groups',
    roles: 'roles',
  })
  const told = (policies: string, claims: Readonly<Record<string, unknown>> | undefined) => {
    const compiled = compileXacml({ name: 'shop', authorization: authorization(policies), actions: [] })
    assert.ok(compiled.ok, JSON.stringify(compiled))
    const principal = claims === undefined ? undefined : { issuer: 'i', subject: 'ann', claims }
    return compiled.authorizer.decide({
      principal,
      method: 'GET',
      action: undefined,
      route: 'r',
      path: '/a',
      host: 'h',
      remoteAddress: '192.0.2.1',
      nowMs: NOW,
    })
  }
  const by = (category: string, id: string, text: string): string =>
    target([
      `<Match MatchId="urn:oasis:names:tc:xacml:1.0:function:string-equal">${value(text)}<AttributeDesignator Category="${category}" AttributeId="${id}" DataType="${STRING}" MustBePresent="false"/></Match>`,
    ])
  const RESOURCE = 'urn:oasis:names:tc:xacml:3.0:attribute-category:resource'
  const staff = policy(
    `${by(RESOURCE, 'urn:oasis:names:tc:xacml:1.0:resource:resource-id', 'shop/a')}${rule('staff', 'Permit', by(SUBJECT, 'urn:ringwall:subject:group', 'staff'))}`,
  )
  assert.deepEqual(told(staff, { groups: ['x', 'staff'] }), { allowed: true, policies: ['staff', 'p'], failed: [] })
  assert.deepEqual(told(staff, { groups: 'x' }), { allowed: false, policies: [], failed: [] })
  assert.equal(told(staff, undefined).allowed, false)
  const level = policy(
    `<Target/>${rule('level', 'Deny', by(SUBJECT, 'urn:ringwall:claim:level', 'low'))}${rule('all', 'Permit', obligation('log', 'Permit'))}`,
  )
  assert.deepEqual(told(level, { level: 'low' }), { allowed: false, policies: ['level', 'p'], failed: [] })
  assert.match(told(level, {}).reason ?? '', /all of shop permits it with obligations that nothing here fulfils: log/)
  const doubt = told(policy(`${DOUBT}${rule('r', 'Permit')}`), {})
  assert.deepEqual([doubt.allowed, doubt.failed], [false, ['p']])
  assert.match(doubt.reason ?? '', /cannot say \(Indeterminate\{P\}\): age is missing/)
  const wrong = compileXacml({ name: 'shop', authorization: authorization('<Policy/>'), actions: [] })
  assert.ok(!wrong.ok && wrong.faults[0]?.line === 1)
})

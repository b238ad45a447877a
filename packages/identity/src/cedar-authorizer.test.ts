import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { type AccessQuestion, type AuthorizedService, type Authorizer, parsePolicyDocument } from '@ringwall/ring'
import fc from 'fast-check'
import { compileAuthorization, POLICIES_MAX } from './cedar-authorizer.ts'
import { withCedar } from './cedar-engine.ts'
import { isLike } from './cedar-reads.ts'

const NOW = Date.parse('2026-11-21T14:05:09.500Z')
const ISSUER = 'https://id.example'
const CLAIMS = { department: 'String', level: 'Long', verified: 'Boolean', tenants: 'Set<String>' } as const

function service(policies: string, actions: AuthorizedService['actions'] = []): AuthorizedService {
  return {
    name: 'shop',
    authorization: { language: 'cedar', policies, claims: CLAIMS, groups: 'groups', roles: 'roles' },
    actions,
  }
}

function authorizer(policies: string, actions: AuthorizedService['actions'] = []): Authorizer {
  const compilation = compileAuthorization(service(policies, actions))
  assert.ok(compilation.ok, JSON.stringify(compilation))
  return compilation.authorizer
}

function faultsOf(policies: string): readonly string[] {
  const compilation = compileAuthorization(service(policies))
  return compilation.ok
    ? []
    : compilation.faults.map(({ line, column, message, hint }) => `${line}:${column} ${message} ${hint ?? ''}`)
}

const user = (subject: string, claims: Readonly<Record<string, unknown>> = {}) => ({ issuer: ISSUER, subject, claims })

function question(changes: Partial<AccessQuestion> = {}): AccessQuestion {
  return {
    principal: undefined,
    method: 'GET',
    action: undefined,
    route: undefined,
    path: '/',
    host: 'shop.example',
    remoteAddress: '198.51.100.1',
    nowMs: NOW,
    ...changes,
  }
}

const POLICIES = `// Staff reads everything.
@id("staff-reads")
permit (principal in Group::"staff", action in Action::"read", resource);

@id("own-hours")
permit (principal in Role::"clerk", action == Action::"POST", resource)
when { resource.path like "/orders/*" && context.time.hour >= 9 && context.time.hour < 17 };

@id("refunds")
permit (principal is User, action == Action::"refund", resource in Route::"refunds")
when { principal.claims has level && principal.claims.level >= 3 };

@id("alice")
permit (principal == User::"https://id.example#alice", action, resource);

@id("office-only")
forbid (principal, action in Action::"write", resource)
unless { context.source.isInRange(ip("198.51.100.0/24")) };

@id("public")
permit (principal, action == Action::"GET", resource) when { resource.path == "/" };
`

test('who may do what: groups, roles, users, named actions, routes, paths, hours, sources', () => {
  const shop = authorizer(POLICIES, [{ name: 'refund', methods: ['POST'] }])
  const cases: readonly (readonly [Partial<AccessQuestion>, allowed: boolean, policies: readonly string[]])[] = [
    [{}, true, ['public']],
    [{ path: '/orders/1' }, false, []],
    [{ path: '/orders/1', principal: user('bob', { groups: ['staff'] }) }, true, ['staff-reads']],
    [{ path: '/orders/1', principal: user('bob', { groups: 'staff' }), method: 'HEAD' }, true, ['staff-reads']],
    [{ path: '/orders/1', principal: user('bob', { groups: ['staff2', 'Staff'] }) }, false, []],
    [{ path: '/orders/1', principal: user('bob', { roles: ['staff'] }) }, false, []],
    [{ path: '/orders/1', principal: user('bob', { roles: ['clerk'] }), method: 'POST' }, true, ['own-hours']],
    [{ path: '/orders', principal: user('bob', { roles: ['clerk'] }), method: 'POST' }, false, []],
    [{ path: '/orders/1', principal: user('bob', { roles: ['clerk'] }), method: 'POST', nowMs: NOW + 3 * 3_600_000 }, false, []],
    [
      { path: '/orders/1', principal: user('bob', { roles: ['clerk'] }), method: 'POST', remoteAddress: '203.0.113.1' },
      false,
      ['office-only'],
    ],
    [{ method: 'POST', action: 'refund', route: 'refunds', principal: user('c', { level: 3 }) }, true, ['refunds']],
    [{ method: 'POST', action: 'refund', route: 'refunds', principal: user('c', { level: '3' }) }, false, []],
    [{ method: 'POST', action: 'refund', route: 'refunds', principal: user('c', { level: 2 }) }, false, []],
    [{ method: 'POST', action: 'refund', route: 'other', principal: user('c', { level: 3 }) }, false, []],
    [{ method: 'DELETE', path: '/x', principal: user('alice') }, true, ['alice']],
    [{ method: 'DELETE', path: '/x', principal: { ...user('alice'), issuer: 'https://other.example' } }, false, []],
    [{ method: 'DELETE', path: '/x', principal: user('alice'), remoteAddress: '::ffff:198.51.100.7' }, true, ['alice']],
    [{ method: 'DELETE', path: '/x', principal: user('alice'), remoteAddress: 'no address' }, false, ['office-only']],
    [{ method: 'BREW', path: '/x', principal: user('alice') }, true, ['alice']],
    [{ method: 'get', path: '/' }, false, []],
  ]
  for (const round of ['first', 'remembered']) {
    for (const [changes, allowed, policies] of cases) {
      const answer = shop.decide(question(changes))
      assert.deepEqual([answer.allowed, answer.policies], [allowed, policies], `${round}: ${JSON.stringify(changes)}`)
    }
  }
})

test('a policy that forbids and fails to evaluate forbids; one that permits and fails permits nothing', () => {
  const hard = authorizer(`@id("all") permit (principal, action, resource);
    @id("big") forbid (principal, action, resource)
    when { context.claims has level && context.claims.level * 9007199254740991 * 9007199254740991 > 0 };`)
  const broken = hard.decide(question({ principal: user('a', { level: 1_000_000 }) }))
  assert.deepEqual([broken.allowed, broken.policies, broken.failed], [false, ['big'], ['big']])
  assert.equal(hard.decide(question()).allowed, true)
  const permits = authorizer(`@id("big") permit (principal, action, resource)
    when { context.claims has level && context.claims.level * 9007199254740991 * 9007199254740991 > 0 };`)
  const none = permits.decide(question({ principal: user('a', { level: 1_000_000 }) }))
  assert.deepEqual([none.allowed, none.policies, none.failed], [false, [], ['big']])
})

test('mistakes are named with line and column, and what to do', () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['permit (principal, action, resource', /^1:36 unexpected end of input/],
    ['// ä\npermit (principal, action, resource) when { principal.nope == 1 };', /^2:45 attribute `nope`.*not found/],
    ['permit (principal in Grup::"x", action, resource);', /^1:22 unrecognized entity type `Grup` did you mean `Group`\?/],
    ['permit (principal, action == Action::"DELET", resource);', /^1:30 unrecognized action.*did you mean/],
    ['permit (principal, action, resource) when { context.claims.level > 1 };', /optional attribute.*claims\.level.*has level/],
    ['permit (principal, action, resource) when { context.claims.color == "x" };', /color.*not found/],
    ['permit (principal, action, resource) when { context.source.isInRange(ip("10.0.0.0/80")) };', /failed to parse as IP/],
    ['permit (principal == ?principal, action, resource);', /template/],
    [
      '@id("a") permit (principal,action,resource);\n@id("a") permit (principal,action,resource);',
      /^2:1 the policy a occurs twice/,
    ],
    ['@id("default") permit (principal,action,resource);', /no policy permits/],
    ['@id("ä\\n") permit (principal,action,resource);', /is no id/],
    [`permit (principal,action,resource) when { ${'('.repeat(60)}true${')'.repeat(60)} };`, /^1:92 nested more than 50 deep/],
    [`permit (principal,action,resource) when { 1${'+1'.repeat(9_000)} == 1 };`, /nested too deep, or too long/],
    [`permit (principal,action,resource) when { ${'true && '.repeat(7_000)}true };`, /nested too deep, or too long/],
    ['permit(principal,action,resource);'.repeat(POLICIES_MAX + 1), /501 policies, at most 500/],
  ]
  for (const [text, says] of cases) {
    const [first] = faultsOf(text)
    assert.match(first ?? 'none', says, text.slice(0, 100))
  }
  assert.deepEqual(faultsOf(POLICIES.replace(/refund"/, 'POST"')), [], 'and the engine goes on after it had to be thrown away')
})

test('property: `like` as the engine has it', () => {
  const letter = fc.constantFrom('a', 'b', '/', 'é', '😀', '*')
  const text = fc.array(letter, { maxLength: 8 }).map((all) => all.join(''))
  const pattern = fc.array(
    fc.oneof(
      letter.map((literal) => ({ literal })),
      fc.constant({ literal: undefined }),
    ),
    { maxLength: 8 },
  )
  const cedar = createRequire(import.meta.url)(
    '@cedar-policy/cedar-wasm/nodejs',
  ) as typeof import('@cedar-policy/cedar-wasm/nodejs')
  fc.assert(
    fc.property(text, pattern, (value, elements) => {
      const written = elements.map(({ literal }) => (literal === undefined ? '*' : literal === '*' ? '\\*' : literal)).join('')
      const parts = ['']
      for (const { literal } of elements) {
        if (literal === undefined) parts.push('')
        else parts[parts.length - 1] += literal
      }
      const answer = cedar.isAuthorized({
        principal: { type: 'U', id: 'u' },
        action: { type: 'Action', id: 'a' },
        resource: { type: 'R', id: 'r' },
        context: { value },
        entities: [],
        policies: {
          staticPolicies: `permit (principal, action, resource) when { context.value like ${JSON.stringify(written).replaceAll('\\\\*', '\\*')} };`,
        },
      })
      assert.ok(answer.type === 'success', JSON.stringify(answer))
      assert.equal(isLike(value, parts), answer.response.decision === 'allow')
    }),
    { numRuns: 300 },
  )
})

/** Conditions that read every part of a request in every way that is told apart. */
const condition = fc.letrec<{ bool: string; text: string }>((tie) => ({
  bool: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(
      'true',
      'principal is User',
      'principal is Anonymous',
      'principal in Group::"a"',
      'principal in Role::"a"',
      'principal in [Group::"a", Group::"b"]',
      'principal == User::"https://id.example#ann"',
      'principal is User in Group::"b"',
      'action in Action::"read"',
      'action == Action::"refund"',
      'resource in Route::"r1"',
      'resource in Service::"shop"',
      'resource == Path::"shop/a"',
      'resource has route',
      'resource has route && resource.route == "r2"',
      'resource.path like "/a*"',
      'resource.path like "*/b"',
      'resource.path == "/a"',
      'resource.host == "b.example"',
      'context.claims has level && context.claims.level > 2',
      'context.claims has verified && context.claims.verified',
      'context.claims has tenants && context.claims.tenants.contains("t1")',
      'context.claims has tenants && context.claims.tenants == ["t1", "t2"]',
      'context.claims has department && context.claims.department like "s*"',
      'principal is User && principal.claims has level && principal.claims.level == 3',
      'principal is User && principal.subject == "ann"',
      'principal is User && principal.issuer like "https://*"',
      'context.source.isInRange(ip("10.0.0.0/8"))',
      'context.source.isInRange(ip("2001:db8::/32"))',
      'context.source.isLoopback()',
      'context.time.hour >= 12',
      'context.time.weekday == 6',
      'context.time == {date: "2026-11-21", hour: 14, minute: 5, weekday: 6}',
      'context.now > datetime("2026-11-21T14:05:09Z")',
      'context.method == "HEAD"',
      '(if principal is User then principal.claims else context.claims) has level',
    ),
    fc.tuple(tie('bool'), tie('bool'), fc.constantFrom('&&', '||')).map(([a, b, operator]) => `(${a} ${operator} ${b})`),
    tie('bool').map((inner) => `!(${inner})`),
    fc.tuple(tie('bool'), tie('bool'), tie('bool')).map(([a, b, c]) => `(if ${a} then ${b} else ${c})`),
    fc.tuple(tie('text'), tie('text')).map(([a, b]) => `(${a} == ${b})`),
  ),
  text: fc.constantFrom('resource.path', 'resource.host', 'context.method', '"/a"', 'resource.service', 'context.time.date'),
})).bool

const scope = fc
  .tuple(
    fc.constantFrom(
      'principal',
      'principal',
      'principal is User',
      'principal is Anonymous',
      'principal == User::"https://id.example#ann"',
      'principal in User::"https://id.example#ann"',
      'principal == Anonymous::"anonymous"',
      'principal in Group::"a"',
      'principal in Role::"b"',
      'principal is User in Group::"c"',
    ),
    fc.constantFrom(
      'action',
      'action',
      'action == Action::"GET"',
      'action in Action::"read"',
      'action in [Action::"POST", Action::"refund"]',
      'action in [Action::"write"]',
      'action == Action::"OTHER"',
    ),
    fc.constantFrom(
      'resource',
      'resource',
      'resource is Path',
      'resource in Route::"r1"',
      'resource in Service::"shop"',
      'resource == Path::"shop/a"',
    ),
  )
  .map((parts) => parts.join(', '))

const asked: fc.Arbitrary<AccessQuestion> = fc.record({
  principal: fc.option(
    fc.record({
      issuer: fc.constantFrom(ISSUER, 'https://other.example'),
      subject: fc.constantFrom('ann', 'bob\n', '"'),
      claims: fc.record(
        {
          groups: fc.oneof(fc.subarray(['a', 'b', 'c']), fc.constantFrom('a', 7)),
          roles: fc.subarray(['a', 'b']),
          level: fc.constantFrom(1, 3, 5, '5', 1.5),
          verified: fc.constantFrom(true, false, 'yes'),
          tenants: fc.oneof(fc.subarray(['t1', 't2']), fc.constantFrom('t1', [1])),
          department: fc.constantFrom('sales', 'it'),
        },
        { requiredKeys: [] },
      ),
    }),
    { nil: undefined },
  ),
  method: fc.constantFrom('GET', 'HEAD', 'POST', 'BREW'),
  action: fc.constantFrom(undefined, undefined, 'refund'),
  route: fc.constantFrom(undefined, 'r1', 'r2'),
  path: fc.constantFrom('/', '/a', '/a/b', '/b'),
  host: fc.constantFrom('a.example', 'b.example'),
  remoteAddress: fc.constantFrom('10.1.2.3', '127.0.0.1', '2001:db8::1', '::ffff:10.0.0.1'),
  nowMs: fc.constantFrom(NOW, NOW + 1_000, NOW - 10 * 3_600_000, NOW + 86_400_000),
})

/** Everything is told to the engine, with the policies as they stand and nothing remembered. */
function withoutShortcuts(policies: string, asked: AccessQuestion): boolean {
  const { principal, path, host, route, method } = asked
  const named = asked.action ?? (method === 'BREW' ? 'OTHER' : method)
  const reading = ['GET', 'HEAD'].includes(named) ? 'read' : ['POST', 'refund'].includes(named) ? 'write' : undefined
  const claims: Record<string, string | number | boolean | string[]> = {}
  const { level, verified, tenants, department, groups, roles } = principal?.claims ?? {}
  if (Number.isSafeInteger(level)) claims.level = level as number
  if (typeof verified === 'boolean') claims.verified = verified
  if (Array.isArray(tenants) && tenants.every((each) => typeof each === 'string')) claims.tenants = tenants
  if (typeof department === 'string') claims.department = department
  const idsOf = (held: unknown): string[] => (Array.isArray(held) ? (held as string[]) : typeof held === 'string' ? [held] : [])
  const uid =
    principal === undefined
      ? { type: 'Anonymous', id: 'anonymous' }
      : { type: 'User', id: `${principal.issuer}#${principal.subject}` }
  const resource = { type: 'Path', id: `shop${path}` }
  const parents = [...idsOf(groups).map((id) => ({ type: 'Group', id })), ...idsOf(roles).map((id) => ({ type: 'Role', id }))]
  const at = [{ type: 'Service', id: 'shop' }, ...(route === undefined ? [] : [{ type: 'Route', id: route }])]
  const now = new Date(Math.floor(asked.nowMs / 1_000) * 1_000)
  const arg = asked.remoteAddress.replace('::ffff:', '')
  const answer = withCedar((cedar) =>
    cedar.isAuthorized({
      principal: uid,
      action: { type: 'Action', id: named },
      resource,
      policies: { staticPolicies: policies },
      entities: [
        ...(principal === undefined
          ? []
          : [{ uid, attrs: { issuer: principal.issuer, subject: principal.subject ?? '', claims }, parents }]),
        { uid: resource, attrs: { service: 'shop', path, host, ...(route === undefined ? {} : { route }) }, parents: at },
        {
          uid: { type: 'Action', id: named },
          attrs: {},
          parents: reading === undefined ? [] : [{ type: 'Action', id: reading }],
        },
      ],
      context: {
        source: { __extn: { fn: 'ip', arg } },
        now: { __extn: { fn: 'datetime', arg: now.toISOString() } },
        time: {
          date: now.toISOString().slice(0, 10),
          hour: now.getUTCHours(),
          minute: now.getUTCMinutes(),
          weekday: now.getUTCDay() || 7,
        },
        method,
        claims,
      },
    }),
  )
  assert.ok(answer.type === 'success', JSON.stringify(answer))
  assert.deepEqual(answer.response.diagnostics.errors, [])
  return answer.response.decision === 'allow'
}

test('property: with what policies read alone, and with what is remembered, the decision is the engine’s own', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.constantFrom('permit', 'permit', 'forbid'), scope, condition), { minLength: 1, maxLength: 4 }),
      fc.array(asked, { minLength: 1, maxLength: 12 }),
      (list, questions) => {
        const text = list.map(([effect, head, when]) => `${effect} (${head}) when { ${when} };`).join('\n')
        const compilation = compileAuthorization(service(text, [{ name: 'refund', methods: ['POST'] }]))
        fc.pre(compilation.ok)
        for (const one of [...questions, ...questions])
          assert.equal(compilation.authorizer.decide(one).allowed, withoutShortcuts(text, one), `${text} ${JSON.stringify(one)}`)
      },
    ),
    { numRuns: 50 },
  )
})

test('a policy document with authorization parses, and names what is wrong in it', () => {
  const document = (more: string): string => `version: 1
services:
  shop:
    upstreams: [{ url: "http://127.0.0.1:1" }]
${more}`
  const good = parsePolicyDocument(document('    authorization:\n      policies: ""\n      claims: { level: Long }\n'))
  assert.ok(good.ok)
  const bad = parsePolicyDocument(document('    authorization: { policies: "", claims: { level: Float, __x: Long } }\n'))
  assert.ok(!bad.ok && bad.problems.some(({ message }) => message.includes('expected String, Long, Boolean or Set<String>')))
  const lonely = parsePolicyDocument(document('    routes: [{ name: r, path: /r, action: refund }]\n'))
  assert.ok(!lonely.ok && lonely.problems[0]?.message.includes('the service has no authorization'))
})

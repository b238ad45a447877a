import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Authorizer,
  accountKey,
  compilePolicy,
  createDenialIndex,
  type Denial,
  type DenialSubject,
  NO_SIGNING_KEY_VIEW,
  parsePolicyDocument,
  subjectId,
  type View,
} from '@ringwall/ring'
import { createCounters, type HeaderField, type RuleSet, type WafMatch, type WafVerdict } from '@ringwall/waf'
import fc from 'fast-check'
import { createGuard, loginFailed } from './guard.ts'
import { normalizeRoutingPath } from './routing-path.ts'
import type { Decision, Guard, GuardEnvironment, GuardRequest, Judgement, Presentation, TokenVerdict } from './types.ts'

const NOW = 1_800_000_000_000
const RING = 'f'.repeat(64)

const POLICY = `version: 1
services:
  shop:
    hosts: [shop.example]
    upstreams: [{ url: "http://127.0.0.1:1" }]
    waf: { bodyBytesMax: 64 }
    limits: [{ name: all, rate: 100/s }]
    routes:
      - { name: admin, path: /admin, deny: true }
      - { name: static, path: /static, waf: { mode: "off" } }
      - { name: watched, path: /watched, waf: { mode: shadow } }
      - { name: learned, path: /learned, waf: { mode: learn } }
      - { name: login, path: /login, login: { account: user } }
      - { name: slow, path: /slow, limits: [{ name: few, rate: 2/m }] }
      - { name: busy, path: /busy, limits: [{ name: at-once, concurrency: 2 }] }
      - { name: observed, path: /observed, limits: [{ name: at-once, concurrency: 1, mode: shadow }, { name: few, rate: 2/m }] }
      - { name: tls, path: /tls, limits: [{ name: by-tls, rate: 1/m, key: [ja4] }] }
      - { name: frames, path: /frames, limits: [{ name: by-frames, rate: 1/m, key: [http2] }] }
      - { name: keyed, path: /keyed, limits: [{ name: perKey, rate: 1/m, key: ["header:X-Key"] }] }
      - { name: strict, path: /strict, staleness: { max: 10s, beyond: closed } }
      - { name: lenient, path: /lenient, staleness: { max: 10s, beyond: open } }
      - { name: account, path: /account, identity: { claims: { role: customer } } }
      - { name: partner, path: /partner, identity: { issuers: ["https://partner.example"] } }
      - { name: inside, path: /inside, identity: { issuers: [ring] } }
      - { name: mine, path: /mine, identity: {}, limits: [{ name: perSubject, rate: 1/m, key: [subject] }] }
  strictBodies:
    hosts: [strict.example]
    upstreams: [{ url: "http://127.0.0.1:2" }]
    waf: { bodyBytesMax: 8, oversize: deny }
    routes: [{ name: watched, path: /watched, waf: { mode: shadow } }]
issuers:
  - { issuer: "https://id.example", audience: shop, jwks: { keys: [{ kty: OKP }] } }
  - { issuer: "https://partner.example", audience: shop, jwks: { keys: [{ kty: OKP }] } }
`
  .replaceAll('strictBodies', 'strict')
  .replaceAll('perKey', 'per-key')
  .replaceAll('perSubject', 'per-subject')

const match = (ruleId: number, phase: WafMatch['phase'], severity: WafMatch['severity'] = 'critical'): WafMatch => ({
  ruleId,
  message: `rule ${ruleId}`,
  severity,
  tags: [],
  phase,
  variable: 'ARGS:q',
  excerpt: 'evil',
})

/** Rules with behaviour: `evil` in target or body scores 5 and blocks, `odd` scores 2, `crash` throws. */
const rules: RuleSet = {
  ruleCount: 2,
  rules: [],
  all: [],
  leftOut: [],
  counters: createCounters(0),
  describe: () => undefined,
  excluding: () => rules,
  begin() {
    const matches: WafMatch[] = []
    const judge = (text: string, phase: 1 | 2): WafVerdict => {
      if (text.includes('crash')) throw new Error('rule crashed')
      if (text.includes('evil')) matches.push(match(1_000 + phase, phase))
      if (text.includes('odd')) matches.push(match(2_000 + phase, phase, 'notice'))
      const score = matches.reduce((sum, { severity }) => sum + (severity === 'critical' ? 5 : 2), 0)
      return { blocked: score >= 5, status: 403, score, matches: [...matches] }
    }
    return {
      audit: { engine: undefined, parts: undefined, wanted: false, isRelevant: undefined, ruleEngine: 'On', components: [] },
      requestHead: ({ target }) => judge(target, 1),
      requestBody: (body) => judge(new TextDecoder().decode(body), 2),
      // A slice for each 1,000 bytes.
      requestBodyInSlices(body) {
        let left = Math.floor(body.length / 1_000)
        return () => (left-- > 0 ? undefined : judge(new TextDecoder().decode(body), 2))
      },
      responseHead: () => judge('', 2),
      inspectsResponses: false,
      responseBytesWanted: 0,
      responseBody: () => judge('', 2),
      log: () => judge('', 2),
    }
  },
  rehearse: () => ({ ...rules.begin(), work: 7 }),
  examine: () => ({ ...rules.begin(), work: 7, findings: [] }),
}

const document = parsePolicyDocument(POLICY)
assert.ok(document.ok, JSON.stringify(document))
const compilation = compilePolicy(document.policy, () => rules, new Map([['base', []]]))
assert.ok(compilation.ok)
const { policy } = document
const { route } = compilation.compiled

function denial(subject: DenialSubject): Denial {
  return {
    id: subjectId(subject),
    subject,
    reason: 'seen attacking',
    issuer: 'node:n1',
    issuedAtMs: NOW,
    expiresAtMs: NOW + 60_000,
    height: 7,
  }
}

const DENIED = [
  denial({ kind: 'ip', value: '203.0.113.7' }),
  denial({ kind: 'token', value: 'stolen' }),
  denial({ kind: 'subject', value: 'mallory' }),
  denial({ kind: 'account', service: 'shop', value: accountKey(RING, 'shop', 'victim') }),
]
const GOSSIPED = [
  denial({ kind: 'ip', value: '203.0.113.8' }),
  denial({ kind: 'subject', value: 'trudy' }),
  denial({ kind: 'session', value: 'session-of-eve', issuer: 'https://id.example' }),
]

const view: View = {
  ring: RING,
  height: 7,
  blockTimestampMs: NOW - 5_000,
  policyVersion: 1,
  policy,
  policyText: POLICY,
  denials: createDenialIndex(DENIED),
  operators: [],
  nodes: [],
  epoch: 0,
  signingKey: NO_SIGNING_KEY_VIEW,
  routes: compilation.compiled.routes,
  route,
}

/** Tokens are `SUBJECT.ID.ISSUER.AUDIENCE` in clear; `bad` is invalid, `crash` throws. */
function verify(token: string): TokenVerdict {
  if (token === 'crash') throw new Error('verifier crashed')
  const [subject, tokenId, issuer = 'id', audience] = token.split('.')
  if (token === 'bad' || subject === undefined) return { ok: false, code: 'SIGNATURE', reason: 'the signature does not verify' }
  const claims = { role: subject === 'guest' ? ['visitor'] : ['customer', 'reader'] }
  const bound = audience === undefined ? {} : { audience }
  const session = { sessionId: `session-of-${subject}` }
  return { ok: true, issuer: `https://${issuer}.example`, subject, tokenId, claims, ...session, ...bound }
}

const ENVIRONMENT: GuardEnvironment = {
  view,
  provisional: createDenialIndex(GOSSIPED),
  tokens: { verify },
  nowMs: NOW,
  certifiedAtMs: NOW - 100,
}

function request(target: string, changes: Partial<GuardRequest> = {}): GuardRequest {
  return {
    method: 'GET',
    target,
    httpVersion: '1.1',
    headers: [],
    remoteAddress: '198.51.100.1',
    host: 'shop.example',
    path: normalizeRoutingPath(target)?.path ?? '/',
    ...changes,
  }
}

test('a request whose fields no check asks for is judged without a list of them', () => {
  const unread = {
    ...request('/'),
    get headers(): never {
      return assert.fail('the fields were read')
    },
  }
  const own = parsePolicyDocument(
    'version: 1\nservices: { open: { upstreams: [{ url: "http://127.0.0.1:1" }], waf: { mode: "off" } } }\n',
  )
  assert.ok(own.ok)
  const compiled = compilePolicy(own.policy, () => rules, new Map([['base', []]]))
  assert.ok(compiled.ok)
  const passes = { check: () => undefined, redeem: () => ({ refused: 'none' }) }
  const environment = { ...ENVIRONMENT, view: { ...view, policy: own.policy, route: compiled.compiled.route } }
  const guard = createGuard({ passes })
  const judgement = guard.head(unread, environment)
  assert.ok(!(judgement instanceof Promise))
  assert.equal(guard.body(judgement, new Uint8Array(0), false, environment).decision?.outcome, 'allow')
})

const bearer = (token: string) => ({ headers: [['Authorization', `Bearer ${token}`]] as const })

interface Trial {
  readonly guard?: Guard
  readonly body?: string
  readonly truncated?: boolean
  readonly environment?: Partial<GuardEnvironment>
}

async function judge(
  of: GuardRequest,
  { guard = createGuard(), body = '', truncated = false, environment = {} }: Trial = {},
): Promise<Judgement> {
  const whole = { ...ENVIRONMENT, ...environment }
  return guard.body(await guard.head(of, whole), new TextEncoder().encode(body), truncated, whole)
}

async function decide(of: GuardRequest, trial: Trial = {}): Promise<Decision> {
  const { decision } = await judge(of, trial)
  assert.ok(decision)
  return decision
}

const brief = ({ status, check, rule }: Decision) => [status, check, rule].filter((part) => part !== undefined).join(' ')
const [IP, TOKEN, SUBJECT, ACCOUNT] = DENIED.map(({ id }) => `denial:${id}`)

const OUTCOMES: readonly (readonly [name: string, request: GuardRequest, outcome: string, trial?: Trial])[] = [
  ['a plain request', request('/'), '200 none'],
  ['a denied source', request('/', { remoteAddress: '203.0.113.7' }), `403 denial ${IP}`],
  ['a denied source as mapped IPv6', request('/', { remoteAddress: '::ffff:203.0.113.7' }), `403 denial ${IP}`],
  ['a source denied by gossip', request('/', { remoteAddress: '203.0.113.8' }), `403 denial denial:${GOSSIPED[0]!.id}`],
  ['an unknown host', request('/', { host: 'other.example' }), '404 route'],
  ['a closed route', request('/admin/users'), '403 route'],
  ['a closed route with two slashes', request('//admin'), '403 route'],
  ['a closed route by a dot segment', request('/x/%2e%2e/admin'), '403 route'],
  ['a closed route by a letter encoded', request('/%61dmin'), '403 route'],
  ['an open path that a server might read as the closed route', request('/admin/../other'), '403 route'],
  ['a path that might dodge the WAF by another route', request('/x/../static/a?q=evil'), '403 route'],
  [
    'a closed route with a parameter that the path was read with',
    request('/admin;x/users', { path: '/admin;x/users' }),
    '403 route',
  ],
  ['a closed route behind bytes that are no UTF-8', request('/x/../admin/%ff', { path: '/x/../admin/%ff' }), '403 route'],
  ['an encoded name that is no other route', request('/caf%C3%A9'), '200 none'],
  ['an attack in the query', request('/?q=evil'), '403 waf rule:1001'],
  ['an attack in the body', request('/'), '403 waf rule:1002', { body: 'evil' }],
  ['an attack beyond what is inspected', request('/'), '200 none', { body: `${' '.repeat(64)}evil` }],
  ['an attack where the WAF is off', request('/static/a?q=evil'), '200 none'],
  ['an attack where the WAF watches', request('/watched?q=evil'), '200 none'],
  ['a long body where that is refused', request('/', { host: 'strict.example' }), '403 waf', { body: '123456789' }],
  ['a cut body where that is refused', request('/', { host: 'strict.example' }), '403 waf', { body: '1', truncated: true }],
  ['a long body where the WAF watches', request('/watched', { host: 'strict.example' }), '200 none', { body: '123456789' }],
  [
    'a stale view on a strict route',
    request('/strict'),
    '503 staleness view:stale',
    { environment: { certifiedAtMs: NOW - 10_001 } },
  ],
  ['a view at the edge of staleness', request('/strict'), '200 none', { environment: { certifiedAtMs: NOW - 10_000 } }],
  ['a stale view on a lax route', request('/'), '200 none', { environment: { certifiedAtMs: 0 } }],
  ['a view that was never certified since start', request('/strict'), '200 none', { environment: { certifiedAtMs: undefined } }],
  ['no token where one is needed', request('/account'), '401 identity'],
  ['an invalid token', request('/account', bearer('bad')), '401 identity'],
  ['a good token', request('/account', bearer('alice.1')), '200 none'],
  ['a token without the claim', request('/account', bearer('guest.1')), '403 identity'],
  ['a token of an issuer not taken here', request('/partner', bearer('alice.1')), '401 identity'],
  ['a token of the ring for this service', request('/account', bearer('alice.1.id.shop')), '200 none'],
  ['a token of the ring where only those are taken', request('/inside', bearer('alice.1.id.shop')), '200 none'],
  ['a token of another issuer there', request('/inside', bearer('alice.1')), '401 identity'],
  ['a token of the ring where another issuer is named', request('/partner', bearer('alice.1.id.shop')), '401 identity'],
  ['a token of the ring for another service', request('/account', bearer('alice.1.id.bank')), '401 identity'],
  ['a token of the issuer taken here', request('/partner', bearer('alice.1.partner')), '200 none'],
  [
    'two Authorization fields',
    request('/account', {
      headers: [
        ['Authorization', 'Bearer a'],
        ['authorization', 'Bearer b'],
      ],
    }),
    '401 identity',
  ],
  ['a denied token', request('/account', bearer('alice.stolen')), `401 denial ${TOKEN}`],
  ['a denied token where none is needed', request('/', bearer('alice.stolen')), `401 denial ${TOKEN}`],
  ['a denied subject where no token is needed', request('/', bearer('mallory.1')), `401 denial ${SUBJECT}`],
  ['a session denied by gossip', request('/', bearer('eve.1')), `401 denial denial:${GOSSIPED[2]!.id}`],
  ['a session of that name with another issuer', request('/', bearer('eve.1.partner')), '200 none'],
  ['an invalid token where none is needed', request('/', bearer('bad')), '200 none'],
  ['a denied account, form', request('/login', { method: 'POST' }), `403 denial ${ACCOUNT}`, { body: 'pw=x&user=%20Victim' }],
  ['a denied account, second value', request('/login'), `403 denial ${ACCOUNT}`, { body: 'user=bob&user=victim' }],
  [
    'a denied account, JSON',
    request('/login', { headers: [['content-type', 'application/json; charset=utf-8']] }),
    `403 denial ${ACCOUNT}`,
    { body: '{"pw":1,"user":"VICTIM"}' },
  ],
  [
    'a denied account, multipart',
    request('/login', { headers: [['Content-Type', 'multipart/form-data; boundary=b']] }),
    `403 denial ${ACCOUNT}`,
    { body: '--b\r\nContent-Disposition: form-data; name="user"\r\n\r\nvictim\r\n--b--' },
  ],
  ['another account', request('/login', { method: 'POST' }), '200 none', { body: 'user=bob' }],
  [
    'a denied account, JSON under another type',
    request('/login', { headers: [['content-type', 'text/plain']] }),
    `403 denial ${ACCOUNT}`,
    { body: '{"user":["bob","victim"]}' },
  ],
  [
    'a denied account behind repetitions',
    request('/login'),
    `403 denial ${ACCOUNT}`,
    { body: `${'user=a&'.repeat(20)}user=victim` },
  ],
  ['a login longer than is read', request('/login'), '413 denial', { body: 'user=bob', truncated: true }],
  [
    'a login that names many',
    request('/login'),
    '400 denial',
    { body: Array.from({ length: 9 }, (_, i) => `user=u${i}`).join('&') },
  ],
  ['a rule that crashes', request('/?q=crash'), '500 waf'],
  ['a rule that crashes on the body', request('/'), '500 waf', { body: 'crash' }],
  ['a rule that crashes where the WAF watches', request('/watched?q=crash'), '500 waf'],
  ['a verifier that crashes', request('/account', bearer('crash')), '500 identity'],
  [
    'a verifier that rejects',
    request('/account', bearer('x')),
    '500 identity',
    { environment: { tokens: { verify: () => Promise.reject(new Error('down')) } } },
  ],
]

for (const [name, of, outcome, trial] of OUTCOMES) {
  test(`${name}: ${outcome.replace(/[0-9a-f]{16}/, 'ID')}`, async () => {
    const decision = await decide(of, trial)
    assert.equal(brief(decision), outcome)
    assert.equal(decision.outcome === 'allow', decision.status === 200)
  })
}

test('a decision tells height, age of the view and what decided', async () => {
  assert.deepEqual(await decide(request('/?q=evil+odd')), {
    outcome: 'deny',
    status: 403,
    check: 'waf',
    reason: 'rule 1001',
    rule: 'rule:1001',
    height: 7,
    viewAgeMs: 100,
    stale: false,
    provisional: false,
    retryAfterS: undefined,
    matches: [match(1_001, 1), match(2_001, 1, 'notice')],
    wafScore: 7,
    shadowOutcome: 'deny',
  })
  assert.equal((await decide(request('/'), { environment: { certifiedAtMs: undefined } })).viewAgeMs, 5_000)
})

test('where the WAF watches, the decision tells what it would have done', async () => {
  const decision = await decide(request('/watched?q=evil'))
  assert.deepEqual(
    [decision.outcome, decision.shadowOutcome, decision.wafScore, decision.matches.length],
    ['allow', 'deny', 5, 1],
  )
  const calm = await decide(request('/watched'))
  assert.deepEqual([calm.outcome, calm.shadowOutcome], ['allow', 'allow'])
})

test('matches below the threshold are told with an allowed request', async () => {
  const decision = await decide(request('/?q=odd'))
  assert.deepEqual([decision.outcome, decision.wafScore, decision.matches.length], ['allow', 2, 1])
})

/** Rules that look at responses: `x-leak` in the head or `leak` in the body blocks, `odd` is noted. Counts ends. */
function leakRules(ended: { count: number }): RuleSet {
  const whole: RuleSet = {
    ...rules,
    excluding: () => whole,
    begin() {
      const matches: WafMatch[] = []
      const judge = (blocked: boolean): WafVerdict => ({ blocked, status: 403, score: 0, matches: [...matches] })
      let blocked = false
      return {
        ...rules.begin(),
        requestHead: () => judge(false),
        requestBody: () => judge(false),
        inspectsResponses: true,
        responseBytesWanted: 8,
        responseHead({ headers }) {
          blocked = headers.some(([name]) => name === 'x-leak')
          return judge(blocked)
        },
        responseBody(body) {
          const text = new TextDecoder().decode(body)
          if (text.includes('leak')) matches.push(match(4_001, 4))
          if (text.includes('odd')) matches.push(match(4_002, 4, 'notice'))
          blocked = text.includes('leak')
          return judge(blocked)
        },
        log() {
          ended.count += 1
          return judge(blocked)
        },
      }
    },
  }
  return whole
}

test('a response is judged where rules ask for it; phase 5 comes once, after it', async () => {
  for (const mode of ['enforce', 'shadow', 'off'] as const) {
    const ended = { count: 0 }
    const leaks = compilePolicy(policy, () => leakRules(ended), new Map([['base', []]]))
    assert.ok(leaks.ok)
    const found = leaks.compiled.route('shop.example', '/', 'GET')!
    const waf = { ...found.service.waf, responses: mode === 'off' ? ('off' as const) : ('inspect' as const) }
    const route = { ...found, service: { ...found.service, waf }, wafMode: mode === 'shadow' ? mode : ('enforce' as const) }
    const environment = { ...ENVIRONMENT, view: { ...view, route: () => route } }
    const guard = createGuard()
    const allowed = async (): Promise<Judgement> =>
      guard.body(await guard.head(request('/'), environment), new Uint8Array(), false, environment)
    const answer = async (body: string, headers: readonly HeaderField[] = []): Promise<Judgement> => {
      const judged = guard.responseHead(await allowed(), { status: 200, protocol: 'HTTP/1.1', headers }, environment)
      return guard.responseBody(judged, new TextEncoder().encode(body), false, environment)
    }
    assert.equal((await allowed()).responseWanted, mode !== 'off')
    const expected = { enforce: ['deny', 'deny'], shadow: ['allow', 'deny'], off: ['allow', 'allow'] }[mode]
    ended.count = 0
    for (const judged of [await answer('a leak'), await answer('', [['x-leak', '1']])]) {
      assert.deepEqual([judged.decision!.outcome, judged.decision!.shadowOutcome], expected, mode)
      assert.equal(judged.responseWanted, false)
    }
    const odd = await answer('odd')
    assert.deepEqual([odd.decision!.outcome, odd.decision!.matches.length], ['allow', mode === 'off' ? 0 : 1])
    assert.equal(ended.count, 3, mode)
    const gone = await allowed()
    guard.end(gone)
    guard.end(gone)
    assert.equal(ended.count, 4, mode)
  }
})

test('whether gossip alone decided is told', async () => {
  assert.equal((await decide(request('/', { remoteAddress: '203.0.113.8' }))).provisional, true)
  assert.equal((await decide(request('/', { remoteAddress: '203.0.113.7' }))).provisional, false)
  assert.equal((await decide(request('/', bearer('trudy.1')))).provisional, true)
})

test('precedence: denials come before routes, limits before the WAF, the WAF before identity', async () => {
  assert.equal((await decide(request('/', { remoteAddress: '203.0.113.7', host: 'other.example' }))).check, 'denial')
  const guard = createGuard()
  const attack = request('/slow?q=evil')
  assert.deepEqual(
    [await decide(attack, { guard }), await decide(attack, { guard }), await decide(attack, { guard })].map(({ check }) => check),
    ['waf', 'waf', 'limit'],
  )
  assert.equal((await decide(request('/account?q=evil', bearer('bad')))).check, 'waf')
})

test('a limit lets its burst through, then says when to come back', async () => {
  const guard = createGuard()
  const take = (nowMs: number, changes: Partial<GuardRequest> = {}) =>
    decide(request('/slow', changes), { guard, environment: { nowMs } })
  assert.equal((await take(NOW)).status, 200)
  assert.equal((await take(NOW)).status, 200)
  const over = await take(NOW + 1)
  assert.deepEqual([over.outcome, over.status, over.rule, over.retryAfterS], ['throttle', 429, 'limit:few', 30])
  assert.equal((await take(NOW + 1, { remoteAddress: '198.51.100.2' })).status, 200)
  assert.equal((await take(NOW + 29_999)).status, 429)
  assert.equal((await take(NOW + 30_000)).status, 200)
})

test('one /64 of IPv6 shares a budget, two do not', async () => {
  const guard = createGuard()
  const statuses: number[] = []
  for (const remoteAddress of ['2001:db8::1', '2001:db8::2', '2001:db8:0:0:ffff::3', '2001:db8:0:1::1']) {
    statuses.push((await decide(request('/slow', { remoteAddress }), { guard })).status)
  }
  assert.deepEqual(statuses, [200, 200, 429, 200])
})

test('so many of one source may be under way at once; one that is over makes room, however often that is said', async () => {
  const guard = createGuard()
  const ask = async (target: string, remoteAddress = '198.51.100.1') =>
    await guard.head(request(target, { remoteAddress }), ENVIRONMENT)
  const first = await ask('/busy')
  const second = await ask('/busy')
  assert.deepEqual([first.decision, second.decision], [undefined, undefined])
  const third = await ask('/busy')
  assert.equal(third.decision?.status, 429)
  assert.equal(third.decision?.rule, 'limit:at-once')
  assert.equal(third.decision?.retryAfterS, 1)
  assert.equal(third.decision?.budget, undefined)
  assert.equal((await ask('/busy', '198.51.100.2')).decision, undefined)
  guard.release(third)
  assert.equal((await ask('/busy')).decision?.status, 429, 'what was refused held nothing')
  guard.release(first)
  guard.release(first)
  assert.equal((await ask('/busy')).decision, undefined)
  assert.equal((await ask('/busy')).decision?.status, 429)
  guard.release(second)
  assert.equal((await ask('/busy')).decision, undefined)
})

test('a limit on what is under way that only watches says so; what another limit refuses is given back, too', async () => {
  const guard = createGuard()
  const ask = async () => await guard.head(request('/observed'), ENVIRONMENT)
  const [first, second, third] = [await ask(), await ask(), await ask()]
  assert.equal(third.decision?.rule, 'limit:few')
  for (const one of [first, second]) guard.body(one, new Uint8Array(0), false, ENVIRONMENT)
  assert.equal(first.decision?.shadowOutcome, 'allow')
  assert.equal(second.decision?.shadowOutcome, 'throttle')
  for (const one of [first, second, third]) guard.release(one)
  const later = { ...ENVIRONMENT, nowMs: ENVIRONMENT.nowMs + 3_600_000 }
  const again = await guard.head(request('/observed'), later)
  guard.body(again, new Uint8Array(0), false, later)
  assert.equal(again.decision?.shadowOutcome, 'allow')
})

test('limits by fingerprint hold a library to one budget from whatever address; who shows none is told apart by the address', async () => {
  const guard = createGuard()
  const asks = async (target: string, remoteAddress: string, of: object): Promise<number> =>
    (await decide(request(target, { remoteAddress, ...of }), { guard })).status
  for (const [target, one, other] of [
    ['/tls', { ja4: 't13d1516h2_8daaf6152771_b186095e22b6' }, { ja4: 't13d1517h2_8daaf6152771_b0da82dd1658' }],
    ['/frames', { http2: '1:65536|00|0|m,a,s,p' }, { http2: '1:65536|00|0|m,p,a,s' }],
  ] as const) {
    assert.equal(await asks(target, '198.51.100.1', one), 200)
    for (let at = 2; at < 20; at += 1) assert.equal(await asks(target, `198.51.100.${at}`, one), 429)
    assert.equal(await asks(target, '198.51.100.1', other), 200)
    assert.equal(await asks(target, '198.51.100.1', {}), 200)
    assert.equal(await asks(target, '198.51.100.1', {}), 429)
    assert.equal(await asks(target, '198.51.100.2', {}), 200)
  }
})

test('limits by header and by subject count apart', async () => {
  const guard = createGuard()
  const keyed = async (key: string) => (await decide(request('/keyed', { headers: [['x-key', key]] }), { guard })).status
  assert.deepEqual([await keyed('a'), await keyed('b'), await keyed('a')], [200, 200, 429])
  const mine = async (token: string) => brief(await decide(request('/mine', bearer(token)), { guard }))
  assert.deepEqual(
    [await mine('alice.1'), await mine('bob.1'), await mine('alice.2'), await mine('alice.2.partner')],
    ['200 none', '200 none', '429 limit limit:per-subject', '200 none'],
  )
})

test('a login is told to detectors with the account hashed, and its failure by the response', async () => {
  const judgement = await judge(request('/login', { method: 'POST' }), { body: 'user=Bob&pw=1' })
  assert.deepEqual(judgement.login, { service: 'shop', account: accountKey(RING, 'shop', 'bob') })
  assert.ok(loginFailed(judgement, 401))
  assert.ok(!loginFailed(judgement, 200))
  assert.deepEqual((await judge(request('/login'))).login, { service: 'shop', account: undefined })
  const elsewhere = await judge(request('/'), { body: 'user=Bob' })
  assert.equal(elsewhere.login, undefined)
  assert.ok(!loginFailed(elsewhere, 401))
})

test('bodies are asked for only where a check will read them', () => {
  const wanted = (target: string) => (createGuard().head(request(target), ENVIRONMENT) as Judgement).bodyBytesWanted
  assert.deepEqual(['/', '/static/a', '/login', '/admin'].map(wanted), [64, 0, 16_384, 0])
})

test('head answers at once unless the verifier does not, and nothing is allowed before the body was seen', async () => {
  const at = createGuard().head(request('/account', bearer('alice.1')), ENVIRONMENT)
  assert.ok(!(at instanceof Promise))
  assert.equal(at.decision, undefined)
  const tokens = { verify: (token: string) => Promise.resolve(verify(token)) }
  const later = createGuard().head(request('/account', bearer('alice.1')), { ...ENVIRONMENT, tokens })
  assert.ok(later instanceof Promise)
  assert.equal((await later).decision, undefined)
})

test('the verifier hears how a token comes: its scheme, the proofs, what is asked for and over what', () => {
  const seen: unknown[] = []
  const tokens = {
    verify: (token: string, _nowMs: number, shown?: Presentation) => {
      seen.push(shown)
      return verify(token)
    },
  }
  const environment = { ...ENVIRONMENT, tokens }
  const asked = (headers: GuardRequest['headers'], more: Partial<GuardRequest> = {}): unknown => {
    createGuard().head(request('/account?x=1', { headers, ...more }), environment)
    return seen.pop()
  }
  const plain = { method: 'GET', target: '/account?x=1', host: 'shop.example', isSecure: false, certificate: undefined }
  assert.deepEqual(asked([['Authorization', 'Bearer alice.1']]), { ...plain, scheme: 'Bearer', proofs: [] })
  const headers = [
    ['Host', 'Shop.example:8443'],
    ['authorization', 'dpop alice.1'],
    ['DPoP', ' one '],
    ['dpop', 'two'],
    ['DPoP-Nonce', 'no proof'],
  ] as const
  assert.deepEqual(asked(headers, { ja4: 't13d', clientCertificate: 'thumbprint' }), {
    ...plain,
    scheme: 'DPoP',
    proofs: ['one', 'two'],
    host: 'Shop.example:8443',
    isSecure: true,
    certificate: 'thumbprint',
  })
  assert.equal(asked([['Authorization', 'DPoPx alice.1']]), undefined)
})

const anyHeader = fc.tuple(
  fc.constantFrom('Authorization', 'content-type', 'X-Key', 'cookie'),
  fc.oneof(fc.string(), fc.constant('Bearer crash')),
)
const anyTarget = fc.oneof(
  fc.webUrl({ withQueryParameters: true }),
  fc.string().map((text) => `/${text}`),
  fc.constantFrom('/login', '/mine', '/account', '/watched'),
)
const anyRequest = fc.record({
  method: fc.string(),
  target: anyTarget,
  httpVersion: fc.constantFrom('1.0', '1.1', '2'),
  headers: fc.array(anyHeader),
  remoteAddress: fc.oneof(fc.ipV4(), fc.ipV6(), fc.string()),
  host: fc.oneof(fc.constantFrom('shop.example', 'strict.example'), fc.string()),
  path: fc.string().map((text) => `/${text}`),
})

test('a body judged in slices is undecided until the last, and decided as in one piece', async () => {
  for (const body of ['a=1', `a=${'x'.repeat(3_500)}`, `a=evil${'x'.repeat(3_500)}`, `a=crash${'x'.repeat(3_500)}`]) {
    const bytes = new TextEncoder().encode(body)
    const guard = createGuard()
    const whole = guard.body(await guard.head(request('/'), ENVIRONMENT), bytes, false, ENVIRONMENT)
    const judgement = await guard.head(request('/'), ENVIRONMENT)
    const slice = guard.bodyInSlices(judgement, bytes, false, ENVIRONMENT)
    let judged = slice()
    for (let slices = 1; judged === undefined; slices += 1) {
      assert.equal(judgement.decision, undefined)
      assert.ok(slices <= 4)
      judged = slice()
    }
    assert.equal(judged, judgement)
    assert.deepEqual(judged.decision, whole.decision)
    assert.equal(slice(), judged)
  }
})

test('property: no request makes the guard throw, and each gets a decision', async () => {
  const guard = createGuard()
  await fc.assert(
    fc.asyncProperty(anyRequest, fc.uint8Array({ maxLength: 200 }), fc.boolean(), async (of, body, truncated) => {
      const { decision } = guard.body(await guard.head(of, ENVIRONMENT), body, truncated, ENVIRONMENT)
      assert.ok(decision)
      assert.equal(decision.outcome === 'allow', decision.status === 200)
    }),
    { numRuns: 300 },
  )
})

test('property: a denied source is denied whatever the rest', async () => {
  const guard = createGuard()
  await fc.assert(
    fc.asyncProperty(anyRequest, async (of) => {
      const judgement = await guard.head({ ...of, remoteAddress: '203.0.113.7' }, ENVIRONMENT)
      assert.equal(judgement.decision?.rule, IP)
    }),
  )
})

test('a stale view: closed refuses and says when to come back, open judges on and marks the decision', async () => {
  const stale = { environment: { certifiedAtMs: NOW - 10_001 } }
  const closed = await decide(request('/strict'), stale)
  assert.deepEqual([closed.stale, closed.viewAgeMs, closed.retryAfterS], [true, 10_001, 5])
  const open = await decide(request('/lenient'), stale)
  assert.deepEqual([open.outcome, open.stale, open.viewAgeMs], ['allow', true, 10_001])
  const attack = await decide(request('/lenient?q=evil'), stale)
  assert.deepEqual([attack.outcome, attack.stale], ['deny', true], 'what it refuses it still refuses')
  const fresh = await decide(request('/lenient'), { environment: { certifiedAtMs: NOW - 10_000 } })
  assert.equal(fresh.stale, false)
  const denied = await decide(request('/strict', { remoteAddress: '203.0.113.7' }), stale)
  assert.deepEqual([denied.check, denied.stale], ['denial', false], 'denials do not grow old')
})

test('cut off for seven days a node enforces its last view, and says how old that is', async () => {
  const days = 7 * 86_400_000
  const cutOff = { environment: { nowMs: NOW + days, certifiedAtMs: NOW } }
  const allowed = await decide(request('/'), cutOff)
  assert.deepEqual([allowed.outcome, allowed.viewAgeMs, allowed.stale], ['allow', days, true])
  const attack = await decide(request('/?q=evil'), cutOff)
  assert.deepEqual([attack.outcome, attack.check, attack.viewAgeMs], ['deny', 'waf', days])
  const strict = await decide(request('/strict'), cutOff)
  assert.deepEqual([strict.check, strict.status], ['staleness', 503], 'a route that tolerates less refuses')
})

test('what was allowed is judged again when its token or its source is denied, also by what is kept of it', async () => {
  const guard = createGuard()
  const allowed = await judge(request('/', bearer('alice.1')), { guard })
  assert.equal(allowed.decision?.outcome, 'allow')
  assert.equal(allowed.credential?.subject, 'alice')
  const kept = guard.lasting(allowed)
  assert.equal(JSON.stringify(kept.decision), JSON.stringify(allowed.decision))
  const now = (subject?: DenialSubject): GuardEnvironment => ({
    ...ENVIRONMENT,
    provisional: createDenialIndex(subject === undefined ? [] : [denial(subject)]),
  })
  for (const judgement of [allowed, kept]) {
    assert.equal(guard.review(judgement, now()), undefined)
    assert.equal(guard.review(judgement, now({ kind: 'subject', value: 'bob' })), undefined)
    for (const subject of [
      { kind: 'subject', value: 'alice' },
      { kind: 'session', value: 'session-of-alice', issuer: 'https://id.example' },
      { kind: 'issuer', value: 'https://id.example' },
      { kind: 'ip', value: '198.51.100.1' },
    ] as const) {
      const decision = guard.review(judgement, now(subject))
      assert.deepEqual(
        [decision?.outcome, decision?.status, decision?.rule, decision?.provisional],
        ['deny', subject.kind === 'ip' ? 403 : 401, `denial:${subjectId(subject)}`, true],
      )
    }
  }
  const refused = await judge(request('/', bearer('mallory.1')), { guard })
  assert.equal(guard.review(refused, now({ kind: 'subject', value: 'mallory' })), undefined, 'it is over already')
})

/** Lets in who is named in the path: `/alice/…` is alice’s. `/broken` cannot be evaluated. */
const named: Authorizer = {
  decide: ({ principal, path, action, method }) => {
    if (path === '/broken') return { allowed: false, policies: [], failed: ['p9'] }
    if (principal === undefined) return { allowed: path === '/', policies: [], failed: [] }
    const allowed = path.startsWith(`/${principal.subject}/`) && (action ?? method) !== 'DELETE'
    return { allowed, policies: allowed ? ['own'] : path.startsWith('/closed') ? ['closed', 'late'] : [], failed: [] }
  },
}

test('authorization: nobody known gets 401, somebody known 403, each with the policy that decided', async () => {
  const parsed = parsePolicyDocument(POLICY)
  assert.ok(parsed.ok)
  const shop = (host: string, path: string, method: string) => {
    const found = compilation.compiled.route(host, path, method)
    return found === undefined ? undefined : { ...found, authorizer: named }
  }
  const environment = { view: { ...view, route: shop } }
  const cases: readonly (readonly [GuardRequest, string, RegExp])[] = [
    [request('/'), '200 none', /nothing objected/],
    [request('/alice/1'), '401 authorization authorization:default', /no policy of shop permits it/],
    [request('/alice/1', bearer('alice.1')), '200 none', /nothing objected/],
    [request('/bob/1', bearer('alice.1')), '403 authorization authorization:default', /no policy of shop permits it/],
    [
      request('/closed', bearer('alice.1')),
      '403 authorization authorization:closed',
      /policy closed \(and late\) of shop forbids/,
    ],
    [request('/broken', bearer('alice.1')), '403 authorization authorization:default', /could not be evaluated: p9/],
    [request('/alice/1', { ...bearer('alice.1'), method: 'DELETE' }), '403 authorization authorization:default', /no policy/],
    // The server behind may resolve it otherwise.
    [request('/alice/..;x/bob/1', bearer('alice.1')), '403 authorization authorization:default', /no policy/],
    [
      request('/bob/%2e%2e/alice/1', bearer('alice.1')),
      '403 authorization authorization:default',
      /reads otherwise, too: no policy of shop/,
    ],
    [request('/alice/1', bearer('alice.stolen')), `401 denial ${TOKEN}`, /seen attacking/],
    // An issuer whose tokens this route does not take says nothing about who it is.
    [request('/account/x', bearer('guest.1')), '403 identity', /claim role/],
  ]
  const guard = createGuard()
  for (const [asked, outcome, reason] of cases) {
    const judgement = await judge(asked, { guard, environment })
    assert.equal(brief(judgement.decision!), outcome, asked.target)
    assert.match(judgement.decision!.reason, reason)
    // Asked without a request, it is the same.
    const { headers } = asked
    const token = headers.length === 0 ? undefined : verify(headers[0]![1].replace('Bearer ', ''))
    const access = guard.access(asked, token, { ...ENVIRONMENT, ...environment })
    assert.deepEqual([brief(access), access.reason], [outcome, judgement.decision!.reason])
  }
})

test('what is under way ends when the policy lets it in no more, its service goes, or its issuer is believed no more', async () => {
  const guard = createGuard()
  const open = guard.lasting(await judge(request('/alice/1', bearer('alice.1')), { guard }))
  const under = (changes: Partial<View>): string => {
    const decision = guard.review(open, { ...ENVIRONMENT, view: { ...view, ...changes } })
    return decision === undefined ? 'goes on' : brief(decision)
  }
  const within = (authorizer: Authorizer) => ({
    route: (host: string, path: string, method: string) => {
      const found = compilation.compiled.route(host, path, method)
      return found === undefined ? undefined : { ...found, authorizer }
    },
  })
  assert.equal(under({}), 'goes on')
  assert.equal(under(within(named)), 'goes on')
  const nobody: Authorizer = { decide: () => ({ allowed: false, policies: ['lockdown'], failed: [] }) }
  assert.equal(under(within(nobody)), '403 authorization authorization:lockdown')
  const broken: Authorizer = {
    decide: () => {
      throw new Error('engine')
    },
  }
  assert.equal(under(within(broken)), '500 authorization')
  assert.equal(under({ route: () => undefined }), '404 route')
  assert.equal(under({ ...within(named), policy: { ...policy, issuers: [] } }), '401 authorization authorization:default')
})

/** Limits about accounts, from both sides: those who try many, and people who log in. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { compilePolicy, createDenialIndex, parsePolicyDocument, type View } from '@ringwall/ring'
import { createCounters, type RuleSet, type WafVerdict } from '@ringwall/waf'
import { createGuard, type GuardOptions } from './guard.ts'
import { viewOf } from './test-view.ts'
import type { Decision, Guard, GuardEnvironment, GuardRequest, Judgement } from './types.ts'

const NOW = 1_800_000_000_000
const BROWSER = 't13d1516h2_8daaf6152771_e5627efa2ab1'
const PROGRAM = 't13d0912h1_aaaaaaaaaaaa_bbbbbbbbbbbb'

/** Finds fault with whatever a body holds, and quotes it. */
const finder: RuleSet = {
  ruleCount: 1,
  rules: [],
  all: [],
  leftOut: [],
  counters: createCounters(0),
  describe: () => undefined,
  excluding: () => finder,
  begin() {
    const nothing: WafVerdict = { blocked: false, status: 403, score: 0, matches: [] }
    let last = nothing
    const found = (body: Uint8Array): WafVerdict => {
      const matches = [...new URLSearchParams(new TextDecoder().decode(body))].map(([name, value]) => ({
        ruleId: 1,
        message: `found ${value}`,
        severity: 'critical' as const,
        tags: [],
        phase: 2 as const,
        variable: `ARGS:${name}`,
        excerpt: value,
      }))
      last = { blocked: true, status: 403, score: 5, matches }
      return last
    }
    return {
      audit: { engine: undefined, parts: undefined, wanted: false, isRelevant: undefined, ruleEngine: 'On', components: [] },
      requestHead: () => nothing,
      requestBody: found,
      requestBodyInSlices: (body) => () => found(body),
      responseHead: () => nothing,
      inspectsResponses: false,
      responseBytesWanted: 0,
      responseBody: () => nothing,
      log: () => last,
    }
  },
  rehearse: () => ({ ...finder.begin(), work: 1 }),
  examine: () => ({ ...finder.begin(), work: 1, findings: [] }),
}

function policyOf(routes: string, waf = '{ mode: "off", rules: [] }'): { readonly problems: string } | { readonly view: View } {
  const document = parsePolicyDocument(
    `version: 1\nservices:\n  shop:\n    upstreams: [{ url: "http://127.0.0.1:1" }]\n    waf: ${waf}\n    routes:\n${routes}`,
  )
  if (!document.ok) return { problems: document.problems.map(({ path, message }) => `${path} ${message}`).join('\n') }
  const compilation = compilePolicy(document.policy, () => finder, new Map([['base', []]]))
  assert.ok(compilation.ok, JSON.stringify(compilation))
  return { view: viewOf(compilation.compiled, NOW) }
}

interface Login {
  readonly account?: string
  readonly body?: string | Uint8Array
  readonly headers?: readonly (readonly [name: string, value: string])[]
  readonly source?: string
  readonly ja4?: string
  readonly atMs?: number
  /** What the application answers. */
  readonly status?: number
  readonly path?: string
}

class Site {
  readonly #guard: Guard
  readonly #view: View

  constructor(routes: string, options: GuardOptions = {}, waf?: string) {
    const made = policyOf(routes, waf)
    assert.ok('view' in made, JSON.stringify(made))
    this.#view = made.view
    this.#guard = createGuard(options)
  }

  async judge({
    account,
    body,
    headers = [['content-type', 'application/x-www-form-urlencoded']],
    source = '203.0.113.7',
    ja4 = BROWSER,
    atMs = NOW,
    path = '/login',
    status = 401,
  }: Login): Promise<Judgement> {
    const environment: GuardEnvironment = {
      view: this.#view,
      provisional: createDenialIndex([]),
      tokens: { verify: () => ({ ok: false, code: '', reason: '' }) },
      nowMs: atMs,
      certifiedAtMs: atMs,
    }
    const request: GuardRequest = {
      method: 'POST',
      target: path,
      path,
      httpVersion: '1.1',
      headers,
      remoteAddress: source,
      host: 'shop.example',
      ja4,
    }
    const text = body ?? (account === undefined ? '' : `email=${encodeURIComponent(account)}&password=secret`)
    const head = await this.#guard.head(request, environment)
    const slice = this.#guard.bodyInSlices(
      head,
      typeof text === 'string' ? new TextEncoder().encode(text) : text,
      false,
      environment,
    )
    for (;;) {
      const judged = slice()
      if (judged instanceof Promise) await judged
      else if (judged !== undefined) {
        if (judged.decision!.outcome === 'allow') this.#guard.answered(judged, { status, rawHeaders: [] }, atMs)
        return judged
      }
    }
  }

  async try(login: Login): Promise<Decision> {
    return (await this.judge(login)).decision!
  }

  /** How many of these get through. */
  async passed(logins: readonly Login[]): Promise<number> {
    let passed = 0
    for (const login of logins) if ((await this.try(login)).outcome === 'allow') passed++
    return passed
  }
}

const login = (limit: string): string => `      - { name: login, path: /login, login: { account: email }, limits: [${limit}] }\n`
const address = (at: number): string => `10.${at >> 16}.${(at >> 8) & 255}.${at & 255}`

test('credential stuffing: 10,000 addresses with one fingerprint are stopped by the accounts that fail, people go on', async () => {
  const site = new Site(
    login('{ name: stuffing, key: [ja4], count: accounts, status: [401], forgive: 1, rate: 30/m, action: deny }'),
  )
  const attack = Array.from({ length: 10_000 }, (_, at) => ({
    account: `victim-${at}@example.org`,
    source: address(at),
    ja4: PROGRAM,
    atMs: NOW + at * 2,
    // One in a hundred is right.
    status: at % 100 === 0 ? 302 : 401,
  }))
  const passed = await site.passed(attack)
  assert.ok(passed >= 30 && passed <= 60, `${passed} of 10,000 attempts passed in 20 s`)
  // 500 people behind one address, with one browser; one in five mistypes first.
  let refused = 0
  for (let person = 0; person < 500; person++) {
    const own = { account: `person-${person}@example.org`, source: '192.0.2.1', atMs: NOW + person * 50 }
    if (person % 5 === 0 && (await site.try({ ...own, status: 401 })).outcome !== 'allow') refused++
    if ((await site.try({ ...own, status: 302 })).outcome !== 'allow') refused++
  }
  assert.equal(refused, 0)
})

test('people alone, without an attack, are never met: also many with one fingerprint, a third of whom fail', async () => {
  const site = new Site(
    login('{ name: stuffing, key: [ja4], count: accounts, status: [401], forgive: 1, rate: 30/m, action: deny }'),
  )
  const people = Array.from({ length: 3_000 }, (_, at) => ({
    account: `person-${at}@example.org`,
    source: address(at),
    atMs: NOW + at * 10,
    status: at % 3 === 0 ? 401 : 302,
  }))
  assert.equal(await site.passed(people), 3_000)
})

test('succeeding with one’s own account again and again takes nothing back', async () => {
  const site = new Site(
    login('{ name: stuffing, key: [ja4], count: accounts, status: [401], forgive: 1, rate: 10/m, action: deny }'),
  )
  const mixed = Array.from({ length: 400 }, (_, at) =>
    at % 2 === 0
      ? { account: 'mallory@example.org', status: 302, atMs: NOW + at }
      : { account: `victim-${at}@example.org`, status: 401, atMs: NOW + at },
  )
  assert.ok((await site.passed(mixed.filter(({ status }) => status === 401))) <= 11)
  const again = new Site(
    login('{ name: stuffing, key: [ja4], count: accounts, status: [401], forgive: 1, rate: 10/m, action: deny }'),
  )
  const passed = await again.passed(mixed)
  assert.ok(passed <= 24, `${passed}`)
})

test('guessing one account: stopped whatever the sources, and a decoy beside the name does not help', async () => {
  const site = new Site(login('{ name: guessing, key: [account], status: [401], rate: 5/m, action: challenge }'))
  const attack = Array.from({ length: 1_000 }, (_, at) => ({ account: 'ada@example.org', source: address(at), atMs: NOW + at }))
  assert.equal(await site.passed(attack), 5)
  const challenged = await site.try({ account: 'ADA@example.org ', atMs: NOW + 1_000 })
  assert.deepEqual([challenged.outcome, challenged.status, challenged.rule], ['challenge', 429, 'limit:guessing'])
  assert.equal((await site.try({ account: 'bob@example.org' })).outcome, 'allow')
  const decoys = await site.try({ body: 'email=zoe@example.org&email=decoy@example.org' })
  assert.deepEqual([decoys.outcome, decoys.status], ['deny', 400])
})

test('one account is counted wherever a server may find its name; bodies that only some can read are refused', async () => {
  const guessing = login('{ name: guessing, key: [account], status: [401], rate: 1/m }')
  const FORM = 'application/x-www-form-urlencoded'
  const MULTIPART = 'multipart/form-data; boundary=x'
  const part = (head: string, value = 'ada'): string =>
    `--x\r\nContent-Disposition: form-data; ${head}\r\n\r\n${value}\r\n--x--\r\n`
  const outcomeOf = async (type: string, body: string | Uint8Array, more: Login['headers'] = []): Promise<string> => {
    const site = new Site(guessing)
    await site.try({ account: 'ada' })
    const { outcome, status } = await site.try({ body, headers: [['content-type', type], ...more] })
    return `${outcome} ${status ?? ''}`.trim()
  }
  const json = '{"email":"ada"}'
  for (const [type, body] of [
    [FORM, 'email=ada'],
    [FORM, 'EMAIL=ada'],
    [FORM, ' email=ada'],
    [FORM, 'a=1;email=ada'],
    [FORM, json],
    ['application/json', `\ufeff${' '.repeat(100)}${json}`],
    ['application/json', '{"em\\u0061il":"ada"}'],
    ['application/x-ndjson', `{"a":1}\n${json}`],
    ['text/plain', `${' '.repeat(100)}${json}`],
    ['text/plain', Buffer.from(json, 'utf16le')],
    ['', 'email=ada'],
    [MULTIPART, part('name=email')],
    [MULTIPART, part('name="email"; filename="a"')],
  ] as const)
    assert.equal(await outcomeOf(type, body), 'throttle 429', `${type} ${body}`)
  for (const [type, body] of [
    [`${FORM}; charset=utf-7`, 'email=+AGEAZABh-'],
    [FORM, '{/**/"email":"ada"}'],
    ['application/json', '{"a":"b"/*","email":"ada"*/}'],
    ['text/plain', '{"email":"bob" /**/,"email":"ada"}'],
    ['application/json', Buffer.from(json, 'utf16le')],
    ['application/msgpack', '\x81\xa5email\xa3ada'],
    ['multipart/mixed; boundary=x', part('name=email')],
    [MULTIPART, part("name='email'")],
    [MULTIPART, part("name*=utf-8''email")],
    [MULTIPART, part('name=email\r\nContent-Type: text/plain; charset=ibm037', '\x81\x84\x81')],
    [MULTIPART, part('name=email\r\nContent-Transfer-Encoding: base64', 'YWRh')],
  ] as const)
    assert.equal(await outcomeOf(type, body), 'deny 400', `${type} ${body}`)
  assert.equal(await outcomeOf(FORM, gzipSync('email=ada'), [['Content-Encoding', 'gzip']]), 'deny 400')
  assert.equal(await outcomeOf(FORM, 'email=bob', [['Content-Encoding', 'identity']]), 'allow 200')
  assert.equal(await outcomeOf(MULTIPART, part('name="email"', 'bob')), 'allow 200')
  assert.equal(await outcomeOf('application/json; charset=utf-8', '{"email":"bob"}'), 'allow 200')
})

test('enumeration: many accounts asked about from one network are stopped; one account asked about often is not', async () => {
  const site = new Site(login('{ name: names, key: [network], count: accounts, rate: 20/m }'))
  const attack = Array.from({ length: 500 }, (_, at) => ({
    account: `name-${at}`,
    source: `203.0.113.${at % 256}`,
    atMs: NOW + at,
  }))
  assert.equal(await site.passed(attack), 20)
  // What was refused is refused the second time as well; what was asked about before goes on.
  assert.equal((await site.try({ account: 'name-499', atMs: NOW + 500 })).outcome, 'throttle')
  for (let at = 0; at < 50; at++) assert.equal((await site.try({ account: 'name-3', atMs: NOW + 500 + at })).outcome, 'allow')
  assert.equal((await site.try({ account: 'name-500', source: '198.51.100.1', atMs: NOW + 600 })).outcome, 'allow')
})

test('fake sign-ups: by fingerprint and by network, whatever the addresses; people sign up', async () => {
  const route = `      - name: join
        path: /join
        signup: { account: email }
        limits:
          - { name: by-program, key: [ja4], count: accounts, status: [201], rate: 20/h, action: challenge }
`
  const site = new Site(route)
  const bots = Array.from({ length: 2_000 }, (_, at) => ({
    account: `bot-${at}@example.org`,
    source: address(at),
    ja4: PROGRAM,
    path: '/join',
    status: 201,
    atMs: NOW + at,
  }))
  assert.equal(await site.passed(bots), 20)
  for (let at = 0; at < 15; at++)
    assert.equal(
      (await site.try({ account: `p-${at}@example.org`, path: '/join', status: 201, atMs: NOW + at })).outcome,
      'allow',
    )
})

test('shared by all nodes: an enumeration limit asks whoever counts, and waits for the answer', async () => {
  let taken = 0
  const shared = { take: (): Promise<number> => Promise.resolve(++taken > 3 ? 1_000 : 0) }
  const site = new Site(login('{ name: names, key: [network], count: accounts, rate: 3/m, scope: ring }'), { shared })
  const attack = Array.from({ length: 10 }, (_, at) => ({ account: `name-${at}`, atMs: NOW + at }))
  assert.equal(await site.passed(attack), 3)
  assert.equal((await site.try({ account: 'name-0', atMs: NOW + 20 })).outcome, 'allow', 'asked about before')
  assert.equal(taken, 10, 'and not counted again')
})

test('a breached password is said upstream, challenged or refused, as the policy says; nobody else is', async () => {
  const breaches = { has: (password: string) => (password === 'later' ? Promise.resolve(true) : password === '123456') }
  const route = (rest: string): string =>
    `      - { name: login, path: /login, login: { account: email, password: secret${rest} } }\n`
  const asked = (password: string): Login => ({ body: `email=ada&secret=${encodeURIComponent(password)}` })
  const told = new Site(route(''), { breaches })
  for (const password of ['123456', 'later']) {
    const judged = await told.judge(asked(password))
    assert.deepEqual([judged.decision!.outcome, judged.breached], ['allow', true], password)
  }
  assert.equal((await told.judge(asked('correct horse'))).breached, false)
  assert.equal((await told.judge({ body: 'email=ada&secret=correct&secret=123456' })).breached, true, 'either may be the one')
  const denying = new Site(route(', breached: deny'), { breaches })
  const denied = await denying.try(asked('123456'))
  assert.deepEqual([denied.outcome, denied.status, denied.rule], ['deny', 403, 'password:breached'])
  assert.doesNotMatch(JSON.stringify(denied), /123456/)
  assert.equal((await denying.try(asked('correct horse'))).outcome, 'allow')
  assert.equal((await new Site(route(', breached: challenge'), { breaches }).try(asked('later'))).outcome, 'challenge')
  assert.equal((await new Site(route(', breached: deny')).try(asked('123456'))).outcome, 'allow', 'the node has no list')
  const many = Array.from({ length: 9 }, (_, at) => `secret=${at}`).join('&')
  assert.equal((await told.try({ body: `email=ada&${many}` })).status, 400)
})

test('a password list that fails refuses, closed, as any check that fails', async () => {
  const breaches = { has: () => Promise.reject(new Error('disk')) }
  const site = new Site('      - { name: login, path: /login, login: { account: email, password: secret } }\n', { breaches })
  assert.equal((await site.try({ body: 'email=ada&secret=x' })).status, 500)
})

test('what rules quote of a password is masked, whatever the policy says that its field is called', async () => {
  const route = '      - { name: login, path: /login, login: { account: email, password: pin } }\n'
  const site = new Site(route, {}, '{ mode: shadow }')
  const { matches } = await site.try({ body: 'email=ada@example.org&pin=hunter2secret&again=hunter2secret' })
  assert.equal(matches.length, 3)
  assert.equal(matches[0]!.excerpt, 'ada@example.org')
  assert.doesNotMatch(JSON.stringify(matches), /hunter2/)
})

test('limits about accounts want a route that names them, and say so', () => {
  const problems = (routes: string): string => {
    const made = policyOf(routes)
    assert.ok('problems' in made, routes)
    return made.problems
  }
  assert.match(problems('      - { name: a, path: /a, limits: [{ name: l, key: [account], rate: 1/m }] }\n'), /about accounts/)
  assert.match(problems(login('{ name: l, key: [account], concurrency: 3 }')), /once the body is there/)
  assert.match(problems(login('{ name: l, key: [ip], rate: 1/m, forgive: 2 }')), /take back/)
  assert.match(
    problems('      - { name: a, path: /a, login: { account: e }, signup: { account: e } }\n'),
    /both login and signup/,
  )
  assert.match(problems('      - { name: a, path: /a, login: { account: e, breached: deny } }\n'), /which field holds/)
})

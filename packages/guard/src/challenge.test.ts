import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDenialIndex, parsePolicyDocument, type View } from '@ringwall/ring'
import { CHALLENGE_PATH, PASS_COOKIE, type Passes, SOLUTION_FIELD } from './challenge.ts'
import { createGuard } from './guard.ts'
import { normalizeRoutingPath } from './routing-path.ts'
import { compiledWithoutRules, viewOf } from './test-view.ts'
import type { Guard, GuardEnvironment, GuardRequest, Judgement } from './types.ts'

const NOW = 1_800_000_000_000

function viewWith(services: string): View {
  const document = parsePolicyDocument(`version: 1\nservices:\n${services}`)
  assert.ok(document.ok, JSON.stringify(document))
  return viewOf(compiledWithoutRules(document.policy), NOW)
}

const service = (more: string): string =>
  `  shop:\n    upstreams: [{ url: "http://127.0.0.1:1" }]\n    waf: { mode: "off", rules: [] }\n${more}`

/** Passes with behaviour: `pass ID BINDING` is good for that holder; the proof `right` gives one. */
const passes: Passes = {
  check(pass, binding) {
    const [id, holder] = pass.split('|')
    return holder === binding.replaceAll('\n', '+').replaceAll(' ', '_') ? id : undefined
  },
  redeem: (solution, binding) =>
    solution === 'right' ? { pass: `new|${binding.replaceAll('\n', '+')}`, forS: 60 } : { refused: 'the proof is wrong' },
}

class Asker {
  readonly #guard: Guard
  readonly #view: View

  constructor(services: string, guard: Guard = createGuard({ passes })) {
    this.#view = viewWith(services)
    this.#guard = guard
  }

  ask(target: string, more: Partial<GuardRequest> & { readonly nowMs?: number } = {}): Judgement {
    const environment: GuardEnvironment = {
      view: this.#view,
      provisional: createDenialIndex([]),
      tokens: { verify: () => ({ ok: false, code: '', reason: '' }) },
      nowMs: more.nowMs ?? NOW,
      certifiedAtMs: NOW,
    }
    const head = this.#guard.head(
      {
        method: 'GET',
        target,
        httpVersion: '1.1',
        headers: [],
        remoteAddress: '203.0.113.7',
        host: 'shop.example',
        path: normalizeRoutingPath(target)!.path,
        ...more,
      },
      environment,
    )
    assert.ok(!(head instanceof Promise))
    return this.#guard.body(head, new Uint8Array(0), false, environment)
  }

  outcome(target: string, more: Partial<GuardRequest> & { readonly nowMs?: number } = {}): string {
    const { outcome, status } = this.ask(target, more).decision!
    return `${outcome} ${status}`
  }
}

const shown = (id: string, network = '203.0.113', tls = ''): Partial<GuardRequest> => ({
  headers: [['Cookie', `a=b; ${PASS_COOKIE}=${id}|shop+${network}+${tls}`]],
})

test('always: who shows no pass is challenged, with what the policy says; who shows one goes on', () => {
  const asker = new Asker(service('    challenge: { when: always, difficulty: 9, passFor: 2h }'))
  const judged = asker.ask('/')
  assert.equal(judged.decision!.check, 'challenge')
  assert.deepEqual(judged.challenge, { binding: 'shop\n203.0.113\n', difficulty: 9, passForMs: 7_200_000 })
  assert.equal(asker.outcome('/'), 'challenge 403')
  assert.equal(asker.outcome('/', shown('p1')), 'allow 200')
  assert.equal(asker.outcome('/', { ...shown('p1'), remoteAddress: '203.0.113.200' }), 'allow 200', 'the same network')
  assert.equal(asker.outcome('/', { ...shown('p1'), remoteAddress: '203.0.114.7' }), 'challenge 403', 'another network')
  assert.equal(asker.outcome('/', { ...shown('p1'), ja4: 't13d1516h2_8daaf6152771_e5627efa2ab1' }), 'challenge 403')
})

test('a pass is of a TLS client, not of one connection: resumption and WebSockets show another JA4', () => {
  const asker = new Asker(service('    challenge: { when: always }'))
  const held = shown('p1', '203.0.113', 't13_8daaf6152771')
  for (const ja4 of ['t13d1516h2_8daaf6152771_e5627efa2ab1', 't13d1517h1_8daaf6152771_02713d6af862'])
    assert.equal(asker.outcome('/', { ...held, ja4 }), 'allow 200', ja4)
  for (const ja4 of ['t13d1516h2_aaaaaaaaaaaa_e5627efa2ab1', 't12d1516h2_8daaf6152771_e5627efa2ab1', undefined])
    assert.equal(asker.outcome('/', { ...held, ja4 }), 'challenge 403', ja4)
})

test('a route says otherwise than its service, both ways; overload alone challenges where the policy says so', () => {
  const routes =
    '    routes:\n      - { name: open, path: /open, challenge: never }\n      - { name: api, path: /api, challenge: always }'
  const asker = new Asker(service(`    challenge: { when: overload }\n${routes}`))
  assert.equal(asker.outcome('/'), 'allow 200')
  assert.equal(asker.outcome('/', { pressed: true }), 'challenge 403')
  assert.equal(asker.outcome('/', { pressed: true, ...shown('p') }), 'allow 200')
  assert.equal(asker.outcome('/open', { pressed: true }), 'allow 200')
  assert.equal(asker.outcome('/api'), 'challenge 403')
})

test('a limit that challenges gives each pass a budget of its own, and beyond it 429', () => {
  const limit = 'limits: [{ name: few, rate: 2/m, key: [network], action: challenge }]'
  const asker = new Asker(service(`    ${limit}`))
  assert.equal(asker.outcome('/'), 'allow 200')
  assert.equal(asker.outcome('/'), 'allow 200')
  const over = asker.ask('/')
  assert.deepEqual([over.decision!.outcome, over.decision!.status, over.decision!.rule], ['challenge', 429, 'limit:few'])
  assert.ok(over.challenge !== undefined && over.decision!.retryAfterS! > 0)
  for (const id of ['p1', 'p2']) {
    assert.equal(asker.outcome('/', shown(id)), 'allow 200')
    assert.equal(asker.outcome('/', shown(id)), 'allow 200')
    assert.equal(asker.outcome('/', shown(id)), 'throttle 429', 'to do the work again would not help')
  }
  assert.equal(asker.outcome('/', shown('stolen', '198.51.100')), 'challenge 429')
})

test('500 people behind one address go on with passes while the address is used up; programs without stay outside', () => {
  const limit = 'limits: [{ name: few, rate: 20/m, key: [ip], action: challenge }]'
  const asker = new Asker(service(`    ${limit}`))
  let programs = 0
  for (let at = 0; at < 1_000; at++) if (asker.outcome('/') === 'allow 200') programs++
  assert.equal(programs, 20)
  for (let person = 0; person < 500; person++)
    for (let at = 0; at < 3; at++) assert.equal(asker.outcome('/', shown(`person-${person}`)), 'allow 200')
})

test('limits by concurrency challenge too; a limit may deny; a limit in shadow says what it would do', () => {
  const limits = (text: string): Asker => new Asker(service(`    limits: [${text}]`))
  const concurrent = limits('{ name: c, concurrency: 1, action: challenge }')
  assert.equal(concurrent.outcome('/'), 'allow 200')
  assert.equal(concurrent.outcome('/'), 'challenge 429')
  assert.equal(concurrent.outcome('/', shown('p')), 'allow 200')
  const denying = limits('{ name: d, rate: 1/m, action: deny }')
  assert.equal(denying.outcome('/'), 'allow 200')
  assert.equal(denying.outcome('/'), 'deny 403')
  const shadow = limits('{ name: s, rate: 1/m, action: challenge, mode: shadow }')
  assert.equal(shadow.outcome('/'), 'allow 200')
  assert.equal(shadow.ask('/').decision!.shadowOutcome, 'challenge')
})

test('a proof is brought to a path of our own, also where the route is closed, and only where something challenges', () => {
  const bring = (solution: string): Partial<GuardRequest> => ({ method: 'POST', headers: [[SOLUTION_FIELD, solution]] })
  const closed = '    routes: [{ name: all, path: /, deny: true }]'
  const asker = new Asker(service(`    challenge: { when: always }\n${closed}`))
  const good = asker.ask(CHALLENGE_PATH, bring('right'))
  assert.equal(good.decision!.status, 200)
  assert.deepEqual(good.granted, { pass: 'new|shop+203.0.113+', forS: 60 })
  const bad = asker.ask(CHALLENGE_PATH, bring('wrong'))
  assert.deepEqual([bad.decision!.outcome, bad.decision!.status, bad.granted], ['deny', 403, undefined])
  assert.equal(asker.outcome(CHALLENGE_PATH, { method: 'POST' }), 'deny 403')
  assert.equal(asker.ask(`${CHALLENGE_PATH}?x=1`, bring('right')).granted, undefined)
  const plain = new Asker(service(''))
  assert.equal(plain.outcome(CHALLENGE_PATH, bring('right')), 'allow 200', 'the application’s own path')
})

test('many passes in one request: the first few are looked at, whoever sends them pays for no more', () => {
  let checks = 0
  const counting: Passes = {
    ...passes,
    check: (...given) => {
      checks++
      return passes.check(...given)
    },
  }
  const asker = new Asker(service('    challenge: { when: always }'), createGuard({ passes: counting }))
  const many = Array.from({ length: 1_000 }, () => `${PASS_COOKIE}=x|y`).join('; ')
  assert.equal(asker.outcome('/', { headers: [['cookie', many]] }), 'challenge 403')
  assert.equal(checks, 2)
})

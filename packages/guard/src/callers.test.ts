/** Which services may call which: by certificates of the ring, tokens of the ring, and what stands over the policy. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createDenialIndex, type Denial, type DenialSubject, PolicySchema, ringIssuer, type View } from '@ringwall/ring'
import { createGuard } from './guard.ts'
import { compiledWithoutRules, viewOf } from './test-view.ts'
import type { Decision, GuardEnvironment, GuardRequest, Judgement, Peer, TokenVerdict } from './types.ts'

const NOW = 1_800_000_000_000
const RING = 'f'.repeat(64)
const idOf = (name: string): string => `spiffe://${RING}/${name}`

const plain = { upstreams: [{ url: 'http://127.0.0.1:1' }], waf: { mode: 'off', rules: [] } }
const policyOf = (mode: string, workloads: object = {}) =>
  PolicySchema.parse({
    version: 1,
    segmentation: { mode },
    workloads,
    services: {
      ledger: {
        ...plain,
        hosts: ['ledger'],
        callers: ['service/billing', 'node/*'],
        routes: [{ name: 'health', path: '/health', callers: ['anyone'] }],
      },
      web: { ...plain, hosts: ['web'], callers: ['people', 'service/*'] },
      open: { ...plain, hosts: ['open'] },
    },
  })

const viewFor = (mode: string, workloads: object = {}, changes: Partial<View> = {}): View => ({
  ...viewOf(compiledWithoutRules(policyOf(mode, workloads)), NOW),
  ...changes,
})

const peer = (name: string, more: Partial<Peer> = {}): Peer => ({
  issuer: ringIssuer(RING),
  subject: idOf(name),
  keys: ['thumbprint'],
  hash: 'aa',
  issuedAtMs: NOW - 1_000,
  expiresAtMs: NOW + 1_000,
  ...more,
})

const service = (audience: string): TokenVerdict => ({
  ok: true,
  issuer: ringIssuer(RING),
  subject: idOf('service/billing'),
  audience,
  claims: {},
})
const person: TokenVerdict = { ok: true, issuer: 'https://id.example', subject: 'ann', claims: {} }

function environmentOf(view: View, verdict?: TokenVerdict): GuardEnvironment {
  return {
    view,
    provisional: createDenialIndex([]),
    tokens: { verify: () => verdict ?? { ok: false, code: 'NO', reason: 'no' } },
    nowMs: NOW,
    certifiedAtMs: NOW,
  }
}

function begin(view: View, host: string, shown?: Peer, verdict?: TokenVerdict, path = '/'): Judgement {
  const headers = verdict === undefined ? [] : ([['Authorization', 'Bearer x']] as const)
  const request: GuardRequest = {
    method: 'GET',
    target: path,
    httpVersion: '1.1',
    headers,
    remoteAddress: '192.0.2.1',
    host,
    path,
    peer: shown,
  }
  const judged = createGuard().head(request, environmentOf(view, verdict))
  assert.ok(!(judged instanceof Promise))
  return judged
}

const told = (decision: Decision | undefined): string =>
  decision === undefined || decision.outcome === 'allow' ? 'allow' : `${decision.status} ${decision.rule}`
const judge = (view: View, host: string, shown?: Peer, verdict?: TokenVerdict, path = '/'): string =>
  told(begin(view, host, shown, verdict, path).decision)

test('who is named may call, by certificate or by token, and nobody else', () => {
  const view = viewFor('off')
  const cases: readonly (readonly [string, Peer | undefined, TokenVerdict | undefined, string])[] = [
    ['ledger', undefined, undefined, '401 callers:ledger'],
    ['ledger', peer('service/billing'), undefined, 'allow'],
    ['ledger', peer('node/n3'), undefined, 'allow'],
    ['ledger', peer('service/shop'), undefined, '403 callers:ledger'],
    ['ledger', peer('service/billing2'), undefined, '403 callers:ledger'],
    ['ledger', undefined, person, '403 callers:ledger'],
    ['ledger', undefined, service('ledger'), 'allow'],
    ['ledger', undefined, service('web'), '401 callers:ledger'],
    ['ledger', peer('service/shop'), service('ledger'), '403 callers:ledger'],
    ['ledger', peer('service/billing'), person, 'allow'],
    ['web', undefined, person, 'allow'],
    ['web', undefined, undefined, '401 callers:web'],
    ['web', peer('service/shop'), undefined, 'allow'],
    ['web', peer('node/n1'), undefined, '403 callers:web'],
    ['open', undefined, undefined, 'allow'],
  ]
  for (const [host, shown, verdict, expected] of cases)
    assert.equal(judge(view, host, shown, verdict), expected, `${host} ${shown?.subject} ${JSON.stringify(verdict)}`)
  assert.equal(judge(view, 'ledger', undefined, undefined, '/health/live'), 'allow', 'the route’s own list takes the place')
})

test('with segmentation, a service that names nobody is called by nobody; in shadow that is recorded alone', () => {
  assert.equal(judge(viewFor('enforce'), 'open', peer('service/shop')), '403 callers:default')
  assert.equal(judge(viewFor('enforce'), 'open'), '401 callers:default')
  const shadow = begin(viewFor('shadow'), 'open', peer('service/shop'))
  assert.equal(told(shadow.decision), 'allow')
  const { decision } = createGuard().body(shadow, new Uint8Array(0), false, environmentOf(viewFor('shadow')))
  assert.deepEqual([decision?.outcome, decision?.shadowOutcome], ['allow', 'deny'])
  assert.match(decision?.reason ?? '', /names no callers: segmentation is on, which only watches/)
})

test('a certificate that is over, denied, or of a node that may not say so any more names nobody', () => {
  const workloads = { billing: { nodes: ['n1'], unix: [{ uid: 1 }] } }
  const nodes = [{ id: 'n1' }] as unknown as View['nodes']
  const attested = peer('service/billing', { attestedBy: 'n1' })
  assert.equal(judge(viewFor('off', workloads, { nodes }), 'ledger', attested), 'allow')
  assert.equal(judge(viewFor('off', workloads), 'ledger', attested), '401 callers:ledger', 'the node left')
  assert.equal(judge(viewFor('off', {}, { nodes }), 'ledger', attested), '401 callers:ledger', 'the policy takes it away')
  assert.equal(judge(viewFor('off'), 'ledger', peer('service/billing', { expiresAtMs: NOW })), '401 callers:ledger')
  const denied = (subject: DenialSubject): Partial<View> => {
    const denial: Denial = {
      id: '0'.repeat(16),
      subject,
      reason: 'stolen',
      issuer: 'operator:ada',
      issuedAtMs: NOW,
      expiresAtMs: NOW + 600_000,
      height: 1,
    }
    return { denials: createDenialIndex([denial]), nodes }
  }
  for (const subject of [
    { kind: 'subject', value: idOf('service/billing') },
    { kind: 'key', value: 'thumbprint' },
    { kind: 'subject', value: idOf('node/n1') },
  ] as const)
    assert.equal(
      judge(viewFor('off', workloads, denied(subject)), 'ledger', attested),
      `403 denial:${'0'.repeat(16)}`,
      subject.value,
    )
})

test('what is under way is ended by a policy that names others, a denial, or the node’s leaving', () => {
  const guard = createGuard()
  const before = viewFor('off')
  const open = guard.lasting(begin(before, 'ledger', peer('service/billing')))
  assert.equal(guard.review(open, environmentOf(before)), undefined)
  const policy = policyOf('off')
  const services = { ...policy.services, ledger: { ...policy.services.ledger!, callers: ['service/shop'] } }
  const after = viewOf(compiledWithoutRules({ ...policy, services }), NOW)
  assert.equal(told(guard.review(open, environmentOf(after))), '403 callers:ledger')
  const anybody = guard.lasting(begin(before, 'open'))
  assert.equal(guard.review(anybody, environmentOf(before)), undefined)
  assert.equal(told(guard.review(anybody, environmentOf(viewFor('enforce')))), '401 callers:default')
})

test('a certificate’s id is a principal for authorization, and a token that comes with it goes before it', () => {
  const asked: unknown[] = []
  const view = viewFor('off')
  const authorizer = {
    decide: ({ principal }: { principal: unknown }) => {
      asked.push(principal)
      return { allowed: true, policies: ['p'], failed: [] }
    },
  }
  const authorized: View = { ...view, route: (...of) => ({ ...view.route(...of)!, authorizer }) }
  begin(authorized, 'web', peer('service/shop'))
  begin(authorized, 'web', peer('service/shop'), person)
  const [own, onBehalf] = asked as { issuer: string; subject: string; claims: object }[]
  assert.deepEqual([own?.issuer, own?.subject, own?.claims], [ringIssuer(RING), idOf('service/shop'), {}])
  assert.equal(onBehalf?.subject, 'ann')
})

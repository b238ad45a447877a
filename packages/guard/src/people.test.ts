import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { CompiledRoute, View } from '@ringwall/ring'
import { isPortal, isSession, personRefusal, sessionOf } from './people.ts'
import type { GuardRequest, TokenVerdict } from './types.ts'

const RING = 'ab'.repeat(32)
const people = { login: 'required', methods: ['passkey', 'password'], groups: [] as string[] }
const view = { ring: RING, policy: {} } as unknown as View
const NOW = 1_800_000_000_000

const route = (more: object = {}, own?: 'required' | 'optional'): CompiledRoute =>
  ({
    service: { name: 'app', people: { ...people, ...more } },
    route: own === undefined ? undefined : { people: own },
  }) as unknown as CompiledRoute

const verdict = (claims: object = {}, more: object = {}): Extract<TokenVerdict, { ok: true }> => {
  const times = { iat: NOW / 1_000 - 1_000, exp: NOW / 1_000 + 800, session_end: NOW / 1_000 + 40_000 }
  return {
    ok: true,
    issuer: `urn:ringwall:${RING}`,
    subject: 'person:alice',
    audience: 'app',
    claims: { use: 'session', groups: ['staff'], amr: ['pop'], ...times, ...claims },
    ...more,
  } as unknown as Extract<TokenVerdict, { ok: true }>
}

test('of all tokens only the session of this service is one', () => {
  assert.ok(isSession(verdict(), 'app', view))
  for (const other of [
    verdict({ use: 'access' }),
    verdict({ use: undefined }),
    verdict({}, { audience: 'shop' }),
    verdict({}, { issuer: 'https://id.example' }),
    verdict({}, { subject: `spiffe://${RING}/service/person:alice` }),
    { ok: false, code: 'TOKEN_EXPIRED', reason: 'over' } as const,
    undefined,
  ])
    assert.ok(!isSession(other, 'app', view), JSON.stringify(other))
})

test('who is not logged in may not, unless the route lets them; who began by what is not taken any more may not', () => {
  assert.equal(personRefusal(route(), undefined, view)?.status, 401)
  assert.equal(personRefusal(route(), verdict(), view), undefined)
  assert.equal(personRefusal(route({}, 'optional'), undefined, view), undefined)
  assert.equal(personRefusal(route({ login: 'optional' }, 'required'), undefined, view)?.status, 401)
  assert.equal(personRefusal(route({ groups: ['board'] }), verdict(), view)?.status, 403)
  assert.equal(personRefusal(route({ groups: ['board', 'staff'] }), verdict(), view), undefined)
  assert.equal(personRefusal(route({ methods: ['passkey'] }), verdict({ amr: ['pwd'] }), view)?.status, 401)
  assert.equal(personRefusal(route(), verdict({ use: 'access' }), view)?.status, 401)
})

test('a session is read from the one cookie that the connection allows, and renewed from half of its time on', () => {
  const asked: string[] = []
  const said = { now: verdict() }
  const verify = (token: string): TokenVerdict => {
    asked.push(token)
    return said.now
  }
  const environment = { view, nowMs: NOW, tokens: { verify } }
  const service = route().service
  const request = (cookie: string, secure = false): GuardRequest =>
    ({ headers: [['Cookie', cookie]], secure }) as unknown as GuardRequest
  assert.equal(sessionOf(request('a=b'), service, environment), undefined)
  assert.equal(sessionOf(request('ringwall_session=one', true), service, environment), undefined, 'a subdomain could have set it')
  assert.equal(sessionOf(request('__Host-ringwall_session=one'), service, environment), undefined)
  assert.deepEqual(asked, [])
  assert.equal(sessionOf(request('x=y; ringwall_session=one; ringwall_session=two'), service, environment)?.isHalfOver, true)
  assert.equal(sessionOf(request('__Host-ringwall_session=three', true), service, environment)?.token, 'three')
  assert.deepEqual(asked, ['one', 'three'])
  said.now = verdict({ iat: NOW / 1_000 - 10 })
  assert.equal(sessionOf(request('ringwall_session=one'), service, environment)?.isHalfOver, false)
  said.now = verdict({ session_end: NOW / 1_000 + 800 })
  assert.equal(sessionOf(request('ringwall_session=one'), service, environment)?.isHalfOver, false, 'its end is the session’s')
  said.now = verdict({ exp: NOW / 1_000 })
  assert.equal(sessionOf(request('ringwall_session=one'), service, environment), undefined, 'over')
  assert.equal(sessionOf(request(`ringwall_session=${'x'.repeat(5_000)}`), service, environment), undefined)
})

test('pages of ours are those and no others, of services that people log in to', () => {
  const at = (target: string): GuardRequest => ({ target }) as unknown as GuardRequest
  const provider = { policy: { openid: { service: 'app' } } } as unknown as View
  for (const path of ['/.ringwall/login', '/.ringwall/login?to=/', '/.ringwall/logout', '/.ringwall/enrol?name=a'])
    assert.ok(isPortal(route(), at(path), view), path)
  for (const path of ['/', '/.ringwall/loginx', '/.ringwall/login/', '/a/.ringwall/login', '/.ringwall/oidc/token'])
    assert.ok(!isPortal(route(), at(path), view), path)
  assert.ok(isPortal(route(), at('/.ringwall/oidc/token'), provider))
  assert.ok(!isPortal({ service: { name: 'app' } } as unknown as CompiledRoute, at('/.ringwall/login'), provider))
})

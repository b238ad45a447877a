import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Judgement } from '@ringwall/guard'
import type { Policy } from '@ringwall/ring'
import { endedRequest } from './ended-request.ts'

const POLICY = { detectors: { session: { cookie: 'sid' } } } as Policy

function ended(status: number, more: object = {}, rawHeaders: readonly string[] = [], method = 'POST', outcome = 'allow') {
  const route = { service: { name: 'shop' }, route: { name: 'in', login: { failure: [401] }, signup: {} } }
  const judgement = { route, decision: { outcome }, login: { service: 'shop', account: 'a' }, account: 'a', ...more }
  const facts = { atMs: 1, method, path: '/in', status, bytes: 3, source: '203.0.113.7', fingerprint: undefined, rawHeaders }
  return endedRequest(judgement as unknown as Judgement, facts, POLICY)
}

test('a login is failed as the route says, good when it was answered well, and neither when the application failed or nobody asked it', () => {
  assert.equal(ended(401)?.login, 'failed')
  assert.equal(ended(200)?.login, 'good')
  assert.equal(ended(302)?.login, 'good')
  assert.equal(ended(500)?.login, undefined)
  assert.equal(ended(429)?.login, undefined)
  assert.equal(ended(401, {}, [], 'POST', 'deny')?.login, undefined)
  assert.equal(ended(200, { login: undefined })?.login, undefined)
})

test('an account is made by a POST that was answered well', () => {
  assert.equal(ended(201)?.signup, true)
  assert.equal(ended(200, {}, [], 'GET')?.signup, false)
  assert.equal(ended(409)?.signup, false)
  assert.equal(ended(201, {}, [], 'POST', 'deny')?.signup, false)
})

test('the session is the token’s, else the first cookie of the name that the policy gives; nothing else of the fields is there', () => {
  const fields = ['Cookie', 'asid=no; sid=; x=y', 'cookie', 'sid=one; sid=two', 'authorization', 'Bearer secret']
  const seen = ended(200, {}, fields)
  assert.equal(seen?.session, 'one')
  assert.ok(!JSON.stringify(seen).includes('secret'))
  assert.equal(ended(200, {}, ['cookie', `sid=${'x'.repeat(9_000)}`])?.session?.length, 4_096)
  assert.equal(ended(200)?.session, undefined)
  const credential = { issuer: 'https://id.example', tokenId: 't1', subject: 'alice' }
  assert.equal(ended(200, { credential }, fields)?.session, 'https://id.example\nt1')
  assert.equal(endedRequest({ route: undefined } as unknown as Judgement, {} as never, POLICY), undefined)
})

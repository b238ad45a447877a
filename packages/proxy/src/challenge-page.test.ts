import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { test } from 'node:test'
import { challengeAnswer, passAnswer } from './challenge-page.ts'

const asked = (method: string, ...rawHeaders: string[]) =>
  challengeAnswer({
    status: 429,
    requestId: 'n1-1',
    method,
    target: '/a',
    rawHeaders,
    retryAfterS: 2.2,
    difficulty: 12,
    issue: () => 'CHALLENGE',
  })

const field = (headers: readonly string[], name: string): string | undefined => {
  const at = headers.indexOf(name)
  return at < 0 ? undefined : headers[at + 1]
}

test('the page’s own policy names its script and style by hash, and its length is in bytes', () => {
  const { headers, body } = asked('GET', 'Accept', 'text/html')
  const policy = field(headers, 'content-security-policy')!
  for (const tag of ['script', 'style']) {
    const text = new RegExp(`<${tag}>([\\s\\S]*)</${tag}>`).exec(body)![1]!
    assert.ok(policy.includes(`${tag}-src 'sha256-${hash('sha256', text, 'base64')}'`), tag)
  }
  assert.equal(field(headers, 'content-length'), String(Buffer.byteLength(body)))
  assert.equal(field(headers, 'retry-after'), '3')
  assert.match(body, /data-challenge="CHALLENGE" data-bits="12" data-asker="page"/)
  assert.doesNotMatch(body, / on[a-z]+=|style=|src=|href=/)
})

test('who gets the page: whoever says that it shows pages', () => {
  const type = (method: string, ...rawHeaders: string[]): string | undefined =>
    field(asked(method, ...rawHeaders).headers, 'content-type')
  const [page, problem] = ['text/html; charset=utf-8', 'application/problem+json']
  assert.equal(type('GET', 'accept', 'text/html,*/*'), page)
  assert.equal(type('HEAD', 'accept', 'text/html', 'sec-fetch-mode', 'navigate'), page)
  assert.equal(type('POST', 'accept', 'text/html', 'sec-fetch-mode', 'navigate'), page)
  assert.equal(type('GET'), problem)
  assert.equal(type('GET', 'accept', '*/*'), problem)
  assert.equal(type('GET', 'accept', 'text/html', 'sec-fetch-mode', 'cors'), problem)
  assert.equal(type('POST', 'accept', 'text/html'), problem)
})

test('the cookie is kept from scripts, and over TLS from all else', () => {
  const cookie = (secure: boolean): string => field(passAnswer({ pass: 'P', forS: 60 }, 'n1-1', secure).headers, 'set-cookie')!
  assert.equal(cookie(false), 'ringwall_pass=P; Path=/; Max-Age=60; HttpOnly; SameSite=Lax')
  assert.equal(cookie(true), 'ringwall_pass=P; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure')
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Policy } from './policy.ts'
import { compilePolicy } from './policy-compile.ts'
import { diffPolicies } from './policy-diff.ts'
import { parsePolicyDocument } from './policy-document.ts'
import { isTrustedProxy } from './prefix-set.ts'
import { compile, rules } from './test-ring.ts'

function policy(text: string): Policy {
  const document = parsePolicyDocument(text)
  assert.ok(document.ok, JSON.stringify(document))
  return document.policy
}

const BASE = `version: 1
trustedProxies: [127.0.0.1, 10.0.0.0/8]
services:
  shop:
    hosts: [shop.example, "*.shop.example"]
    upstreams: [{ url: "http://127.0.0.1:1" }, { url: "http://127.0.0.1:2" }]
    routes:
      - { name: admin, path: /admin/, deny: true }
      - { name: login, path: /login, methods: [POST] }
      - { name: static, path: /static, waf: { mode: "off" } }
      - { name: api, path: /api, waf: { mode: shadow, exclude: [7] } }
  rest:
    upstreams: [{ url: "http://127.0.0.1:3" }]
`

test('formatting, comments, defaults written out and order of named things are no difference', () => {
  const other = BASE.replace('version: 1', '# a comment\nversion:   1\nissuers: []').replace(
    '[{ url: "http://127.0.0.1:1" }, { url: "http://127.0.0.1:2" }]',
    '\n      - url: http://127.0.0.1:2\n      - { url: "http://127.0.0.1:1" }',
  )
  assert.notEqual(other, BASE)
  assert.deepEqual(diffPolicies(policy(BASE), policy(other)), [])
})

test('each difference is named by its path', () => {
  const after = policy(
    BASE.replace('/static', '/assets')
      .replace('      - { name: admin, path: /admin/, deny: true }\n', '')
      .replace('    hosts: [shop.example, "*.shop.example"]', '    hosts: [shop.example]\n    waf: { mode: shadow }')
      .concat('denials: { ttlMax: 1d }\n'),
  )
  const changes = diffPolicies(policy(BASE), after)
  assert.deepEqual(
    changes.map(({ kind, path }) => `${kind} ${path}`),
    [
      'change denials.ttlMax',
      'change services.shop.hosts',
      'remove services.shop.routes.admin',
      'change services.shop.routes.static.path',
      'change services.shop.waf.mode',
    ],
  )
  assert.deepEqual(changes[4], { kind: 'change', path: 'services.shop.waf.mode', before: 'enforce', after: 'shadow' })
})

test('hosts and paths find their route: exact before wild before any, longest path first, whole segments', () => {
  const compilation = compilePolicy(policy(BASE), compile, rules)
  assert.ok(compilation.ok)
  const { route } = compilation.compiled
  const cases: readonly (readonly [host: string, path: string, method: string, label: string])[] = [
    ['shop.example', '/', 'GET', 'shop'],
    ['shop.example.', '/admin', 'GET', 'shop admin'],
    ['shop.example', '/admin/users', 'GET', 'shop admin'],
    ['shop.example', '/administrator', 'GET', 'shop'],
    ['shop.example', '/Admin', 'GET', 'shop'],
    ['a.b.shop.example', '/login', 'POST', 'shop login'],
    ['shop.example', '/login', 'GET', 'shop'],
    ['other.example', '/admin', 'GET', 'rest'],
  ]
  for (const [host, path, method, label] of cases)
    assert.equal(route(host, path, method)?.label, label, `${method} ${host}${path}`)
  assert.equal(route('shop.example', '/static/a.css', 'GET')?.rules, undefined)
  assert.equal(route('shop.example', '/api/a', 'GET')?.wafMode, 'shadow')
  assert.equal(route('shop.example', '/', 'GET')?.rules, route('shop.example', '/login', 'POST')?.rules)
})

test('a rule set that nobody has, and one that does not compile, are named', () => {
  const unknown = compilePolicy(policy(BASE.replace('  rest:\n', '  rest:\n    waf: { rules: [bsae] }\n')), compile, rules)
  assert.deepEqual(unknown, { ok: false, problems: ['services.rest.waf.rules: no rule set is called bsae (did you mean base?)'] })
  const broken = compilePolicy(policy(BASE.replace('  rest:\n', '  rest:\n    waf: { rules: [bad] }\n')), compile, rules)
  assert.deepEqual(broken, { ok: false, problems: ['services.rest.waf: the rules do not compile: line 1: no such operator'] })
})

test('trusted proxies are known by address and prefix, in any spelling', () => {
  for (const address of ['127.0.0.1', '::ffff:127.0.0.1', '10.9.8.7']) assert.ok(isTrustedProxy(policy(BASE), address), address)
  for (const address of ['127.0.0.2', '11.0.0.1', '', 'unix']) assert.ok(!isTrustedProxy(policy(BASE), address), address)
})

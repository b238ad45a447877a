import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { test } from 'node:test'
import type { PassKey } from '@ringwall/proxy'
import fc from 'fast-check'
import { LoginForms } from './login-forms.ts'
import { safeTarget } from './login-portal.ts'
import { loginPage } from './pages.ts'
import { Passwords, PasswordsBusy } from './passwords.ts'

const NOW = 1_800_000_000_000

const newKey = (): PassKey => ({ id: randomBytes(6).toString('hex'), bytes: randomBytes(32), madeAtMs: NOW })

test('where a login goes on to is a path of this site, whatever it is made to look like', () => {
  for (const good of ['/', '/a?b=c', '/a/b;c', '/%2F%2Fevil.example']) assert.equal(safeTarget(good), good)
  for (const bad of [
    undefined,
    '',
    'a',
    'https://evil.example/',
    '//evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/a\\b',
    '/\tevil',
    '/a\r\nset-cookie: x=y',
    '/.//evil.example',
    '/a/..//evil.example',
    'javascript:alert(1)',
    '/é',
    `/${'a'.repeat(3_000)}`,
    '/.ringwall/logout',
    '/.ringwall/login?to=/',
  ])
    assert.equal(safeTarget(bad), '/', String(bad))
})

test('property: nothing leads a browser to another origin', () => {
  const piece = fc.constantFrom('/', '\\', '.', '..', '%2e', '//', '@', ':', 'evil.example', '\t', ' ', '?', '#', 'a')
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const to = safeTarget(`/${pieces.join('')}`)
      assert.equal(new URL(to, 'https://app.example/.ringwall/login').origin, 'https://app.example')
    }),
    { numRuns: 500 },
  )
})

test('a form is for one page, one browser and some minutes, on every node that has the key', () => {
  const [own, other, stranger] = [new LoginForms(), new LoginForms(), new LoginForms()]
  const keys = [newKey(), newKey()]
  own.use(keys)
  other.use(keys.toReversed())
  stranger.use([newKey()])
  const browser = own.browser(undefined)
  const { text, occasion } = own.issue('login app', browser, NOW)
  assert.deepEqual(own.open(text, 'login app', browser, NOW + 1_000), occasion)
  assert.deepEqual(other.open(text, 'login app', browser, NOW), occasion)
  assert.equal(stranger.open(text, 'login app', browser, NOW), undefined)
  assert.equal(own.open(text, 'logout app', browser, NOW), undefined)
  assert.equal(own.open(text, 'login app', own.browser(undefined), NOW), undefined)
  assert.equal(own.open(text, 'login app', undefined, NOW), undefined)
  assert.equal(own.open(text, 'login app', browser, NOW + 301_000), undefined)
  assert.equal(own.open(text, 'login app', browser, NOW - 10_000), undefined)
  assert.equal(own.browser('x'.repeat(500)).length, 22)
  fc.assert(
    fc.property(fc.nat(text.length - 1), fc.constantFrom('A', 'b', '0', '.', '-'), (at, character) => {
      const changed = text.slice(0, at) + character + text.slice(at + 1)
      if (changed !== text) assert.equal(own.open(changed, 'login app', browser, NOW), undefined)
    }),
  )
})

test('passwords wait in turn: a few run, one source waits for itself, and too many are turned away', async () => {
  let release: () => void = () => {}
  let [running, most] = [0, 0]
  const gate = new Promise<void>((settle) => (release = settle))
  const passwords = new Passwords(async () => {
    running += 1
    most = Math.max(most, running)
    await gate
    running -= 1
    return generateKeyPairSync('ed25519').privateKey
  })
  const checks = (count: number, source: (at: number) => string): Promise<unknown>[] =>
    Array.from({ length: count }, (_, at) =>
      passwords.check('alice', 'x', undefined, source(at)).catch((error: unknown) => error),
    )
  const flood = checks(20, () => '203.0.113.1')
  const others = checks(60, (at) => `198.51.100.${at}`)
  await new Promise((settle) => setImmediate(settle))
  release()
  const [own, rest] = [await Promise.all(flood), await Promise.all(others)]
  const refused = (all: readonly unknown[]): number => all.filter((one) => one instanceof PasswordsBusy).length
  assert.equal(most, 2)
  assert.equal(refused(own), 14, 'two run and four wait')
  assert.equal(refused(rest), 32, 'what waits is bounded')
  assert.equal(await passwords.check('alice', 'x', undefined, '203.0.113.1'), undefined)
})

test('a password takes the same work whether there is such a person or not, and is told by its key alone', async () => {
  const costs: string[] = []
  const key = generateKeyPairSync('ed25519')
  const passwords = new Passwords((_password, salt, cost) => {
    costs.push(`${salt.length} ${JSON.stringify(cost)}`)
    return Promise.resolve(key.privateKey)
  })
  const enrolled = await passwords.enrol('x', 's')
  assert.equal(await passwords.check('alice', 'x', enrolled, 's'), key.privateKey)
  assert.equal(await passwords.check('nobody', 'x', undefined, 's'), undefined)
  assert.equal(await passwords.check('alice', 'x', { ...enrolled, publicKey: 'A'.repeat(43) }, 's'), undefined)
  assert.equal(new Set(costs).size, 1)
  for (let tries = 0; tries < 10; tries++) passwords.failed('alice', NOW)
  assert.equal(passwords.waitS('alice', NOW), 300)
  assert.equal(passwords.waitS('bob', NOW), 0)
  assert.equal(passwords.waitS('alice', NOW + 300_000), 0)
  for (let at = 0; at < 10_001; at++) passwords.failed(`name${at}`, NOW)
  assert.equal(passwords.waitS('alice', NOW), 0, 'of ten thousand names the oldest is forgotten')
})

test('the page says nothing that it was sent but as text', () => {
  const hostile = `"><script>alert(1)</script>'&é`
  const shown = {
    host: hostile,
    form: hostile,
    to: hostile,
    methods: ['passkey', 'password'] as const,
    providers: [{ title: hostile, href: `/${hostile}` }],
    challenge: hostile,
    domain: hostile,
    said: hostile,
  }
  const { body, headers } = loginPage(shown, { status: 200 })
  assert.equal(body.split('<script>').length, 2, 'its own and no other')
  assert.ok(/^[\n -~]*$/.test(body))
  assert.doesNotMatch(body, / on[a-z]+=|style=|src=|href="(?!\/)/)
  const policy = headers[headers.indexOf('content-security-policy') + 1]!
  assert.match(
    policy,
    /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'$/,
  )
})

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { startShop } from './index.ts'

const data = mkdtempSync(join(tmpdir(), 'shop-'))
let shop: Awaited<ReturnType<typeof startShop>>

before(async () => {
  shop = await startShop({ port: 0, data })
})
after(() => shop.stop())

const form = (fields: Record<string, string>): RequestInit => ({
  method: 'POST',
  body: new URLSearchParams(fields),
  redirect: 'manual',
})

test('searching is literal: a quote and a percent sign find themselves, and the page shows markup as text', async () => {
  const search = async (q: string): Promise<string> => (await fetch(`${shop.url}/search?q=${encodeURIComponent(q)}`)).text()
  assert.match(await search("O'Brien"), /Guide to Rope/)
  assert.match(await search('%'), /Nothing found/)
  assert.match(await search("' OR 1=1--"), /Nothing found/)
  assert.doesNotMatch(await search('<script>alert(1)</script>'), /<script>/)
})

test('a wrong password and an unknown user get the same 401; the right password a session', async () => {
  const wrong = await fetch(`${shop.url}/login`, form({ email: 'demo@example.test', password: 'wrong' }))
  const unknown = await fetch(`${shop.url}/login`, form({ email: 'nobody@example.test', password: 'wrong' }))
  assert.deepEqual([wrong.status, unknown.status], [401, 401])
  assert.equal(await wrong.text(), await unknown.text())
  const file = join(data, 'passwords.txt')
  assert.equal(statSync(file).mode & 0o777, 0o600)
  const [, password] = readFileSync(file, 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .find(([email]) => email === 'admin@example.test') as [string, string]
  const right = await fetch(`${shop.url}/login`, form({ email: 'admin@example.test', password }))
  const session = right.headers.get('set-cookie') ?? ''
  assert.match(session, /HttpOnly; SameSite=Lax/)
  assert.equal((await fetch(`${shop.url}/admin`, { headers: { cookie: session } })).status, 200)
  assert.equal((await fetch(`${shop.url}/admin`)).status, 403)
})

test('signing up: JSON works, a second time is refused', async () => {
  const sign = (): Promise<Response> =>
    fetch(`${shop.url}/signup`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{"email":"new@example.test","password":"long enough"}',
    })
  assert.equal((await sign()).status, 201)
  assert.equal((await sign()).status, 409)
})

test('an upload is stored and listed by its name as text; too much and broken JSON are refused', async () => {
  const body = new FormData()
  body.append('file', new Blob(['hello']), '../<b>.txt')
  assert.equal((await fetch(`${shop.url}/upload`, { method: 'POST', body, redirect: 'manual' })).status, 303)
  assert.match(await (await fetch(`${shop.url}/upload`)).text(), /&#60;b&#62;\.txt/)
  assert.equal((await fetch(`${shop.url}/upload`, { method: 'POST', body: 'x'.repeat(1_100_000) })).status, 413)
  assert.equal(
    (await fetch(`${shop.url}/api/cart`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{' })).status,
    400,
  )
})

test('the API lists, adds and refuses', async () => {
  assert.equal(((await (await fetch(`${shop.url}/api/products`)).json()) as unknown[]).length, 20)
  const add = (value: unknown): Promise<Response> =>
    fetch(`${shop.url}/api/cart`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(value),
    })
  assert.equal((await add({ product: 2, count: 3 })).status, 201)
  assert.equal((await add({ product: 2, count: -3 })).status, 422)
  assert.equal((await fetch(`${shop.url}/api/me`)).status, 401)
})

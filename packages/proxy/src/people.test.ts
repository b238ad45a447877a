import assert from 'node:assert/strict'
import { get, type IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { createGuard } from '@ringwall/guard'
import { loginLocation, type Portal, type PortalRequest, personFields, sessionCookieText } from './people.ts'
import { testProxy, upstreamServer } from './test-ring.ts'

test('who it is the proxy says alone, and its own cookies stay here', () => {
  const people = { userHeader: 'X-User', groupsHeader: 'x-groups' } as Parameters<typeof personFields>[0]
  const raw = ['Cookie', 'a=b; ringwall_session=secret; c=d', 'cookie', '__Host-ringwall_session=other', 'x_user', 'root']
  const claims = { use: 'session', groups: ['staff', 'board'] }
  const { dropped, added } = personFields(people, claims, 'person:alice', raw)
  assert.deepEqual([...dropped].sort(), ['cookie', 'x-groups', 'x-user'])
  assert.equal(added, 'cookie: a=b; c=d\r\nX-User: alice\r\nx-groups: staff,board\r\n')
  assert.equal(personFields(people, undefined, undefined, raw).added, 'cookie: a=b; c=d\r\n')
  assert.equal(personFields(people, { use: 'access' }, 'person:alice', []).added, '')
})

test('browsers are sent to the page where they log in, programs and forms are told', () => {
  const html = ['Accept', 'text/html']
  assert.equal(loginLocation('GET', '/a?b=c', html), '/.ringwall/login?to=%2Fa%3Fb%3Dc')
  assert.equal(loginLocation('GET', `/${'a'.repeat(3_000)}`, html), '/.ringwall/login')
  assert.equal(loginLocation('POST', '/a', html), undefined)
  assert.equal(loginLocation('GET', '/a', ['accept', '*/*']), undefined)
  assert.equal(loginLocation('GET', '/a', [...html, 'Sec-Fetch-Mode', 'cors']), undefined)
})

test('the cookie of a session is kept from scripts, and over TLS from all else', () => {
  const session = { token: 'T', forS: 60 }
  assert.equal(sessionCookieText(session, false), 'ringwall_session=T; Path=/; Max-Age=60; HttpOnly; SameSite=Lax')
  assert.equal(sessionCookieText(session, true), '__Host-ringwall_session=T; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure')
})

test('pages are asked for with the whole form, and bodies past their bound are refused', async (t) => {
  const upstream = await upstreamServer((_, response) => response.end('application'))
  t.after(() => upstream.close())
  const asked: PortalRequest[] = []
  const portal: Portal = {
    answer: (request) => {
      asked.push(request)
      if (request.target.endsWith('fail')) return Promise.reject(new Error('no'))
      return Promise.resolve({ status: 401, headers: ['content-type', 'text/plain'], body: 'page' })
    },
    renew: () => Promise.resolve(undefined),
  }
  const { proxy, port } = await testProxy(
    { shop: { upstreams: [{ url: upstream.url }], people: {} } },
    { guard: createGuard({}), portal },
  )
  t.after(() => proxy.stop(100))
  const post = (path: string, body: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      body,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
    })
  const answer = await post('/.ringwall/login', 'name=alice&password=%27+OR+1%3D1--')
  assert.equal(answer.status, 401)
  assert.equal(await answer.text(), 'page')
  assert.equal(Buffer.from(asked[0]!.body).toString(), 'name=alice&password=%27+OR+1%3D1--')
  assert.deepEqual([asked[0]!.service, asked[0]!.secure, asked[0]!.authority], ['shop', false, `127.0.0.1:${port}`])
  assert.equal((await post('/.ringwall/login', 'name=a&name=b')).status, 400)
  assert.equal((await post('/.ringwall/login?fail', '')).status, 503)
  const long = await post('/.ringwall/login', 'x'.repeat(17_000)).then(
    ({ status }) => status,
    () => 413,
  )
  assert.equal(long, 413)
  assert.equal(asked.length, 2)
  const page = await new Promise<IncomingMessage>((settle, refuse) =>
    get({ host: '127.0.0.1', port, headers: { accept: 'text/html' }, agent: false }, settle).on('error', refuse),
  )
  page.resume()
  assert.deepEqual([page.statusCode, page.headers.location], [303, '/.ringwall/login?to=%2F'])
  const program = await fetch(`http://127.0.0.1:${port}/`, { headers: { accept: 'application/json' } })
  assert.deepEqual([program.status, ((await program.json()) as { code: string }).code], [401, 'login-required'])
  assert.equal(upstream.seen.length, 0)
})

/**
 * People log in between real processes, a real Chromium with a virtual authenticator, and a browser without script: what one node lets in, all do;
 * what is revoked is out everywhere; guessing is bounded.
 */
import assert from 'node:assert/strict'
import { generateKeyPairSync, hash, randomBytes, sign } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createRemoteJWKSet, importPKCS8, jwtVerify } from 'jose'
import * as openid from 'openid-client'
import { type Browser, chromium, type Page } from 'playwright-core'
import { Authenticator } from '../packages/identity/src/people/test-people.ts'
import { ask, eventually, type Reply, TestRing } from './local-ring.ts'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const skip = CHROMIUM === undefined ? 'no Chromium on this machine (Debian: apt-get install chromium)' : false
const PASSWORD = "'; drop table fish -- three words"

const SECRET = randomBytes(32).toString('base64url')
/** Of a client that shows itself by what it signs. */
const signer = generateKeyPairSync('ec', { namedCurve: 'P-256' })

let ring: TestRing
let callback: string
let browser: Browser | undefined
let application: Server

before(async () => {
  application = createServer((request, response) => {
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ path: request.url, headers: request.headers }))
  })
  application.listen(0, '127.0.0.1')
  await once(application, 'listening')
  ring = await TestRing.start({ nodes: 2 })
  const url = `http://127.0.0.1:${(application.address() as AddressInfo).port}`
  callback = `${url}/callback`
  const file = join(ring.data, 'login.yaml')
  writeFileSync(
    file,
    JSON.stringify({
      version: 1,
      trustedProxies: ['127.0.0.0/8'],
      detectors: { floods: { mode: 'off' }, failedLogins: { perAccount: 6, perSource: 1_000 } },
      openid: {
        service: 'app',
        issuer: at(1).slice(0, -1),
        clients: [
          { id: 'spa', redirectUris: [callback] },
          {
            id: 'web',
            secretHash: `sha256:${hash('sha256', SECRET)}`,
            redirectUris: [callback],
            postLogoutRedirectUris: [callback],
            consent: 'skip',
          },
          {
            id: 'signer',
            jwks: { keys: [{ ...signer.publicKey.export({ format: 'jwk' }), kid: 's', alg: 'ES256' }] },
            dpop: true,
            redirectUris: [callback],
            consent: 'skip',
          },
          { id: 'board', redirectUris: [callback], consent: 'skip', groups: ['board'] },
        ],
      },
      services: {
        app: {
          upstreams: [{ url }],
          people: { userHeader: 'x-user', groupsHeader: 'x-groups' },
          routes: [
            { name: 'open', path: '/open', people: 'optional' },
            { name: 'socket', path: '/socket' },
          ],
          authorization: {
            policies:
              '@id("staff") permit (principal in Group::"staff", action, resource); @id("open") permit (principal, action, resource) when { resource.path like "/open*" };',
          },
        },
      },
    }),
  )
  const apply = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(apply.code, 0, apply.stderr)
  for (const node of [1, 2]) {
    await eventually(`n${node} has the policy`, async () => (await ring.client(node).policy()).text.includes('groupsHeader'))
    await eventually(`n${node} knows the ring’s key`, async () => {
      const { keys } = (await ring.client(node).keys()) as { keys: readonly { name: string; state: string }[] }
      return keys.some(({ name, state }) => name === 'signing' && state === 'ready')
    })
  }
  if (CHROMIUM !== undefined)
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-background-networking'] })
})

after(async () => {
  await browser?.close()
  await ring?.destroy()
  application?.close()
})

const at = (node: number, path = '/'): string => `http://localhost:${ring.traffic(node)}${path}`

function invited(name: string, node: number): string {
  const add = ring.cli('person', 'add', name, '--group', 'staff', '--invite', at(node).slice(0, -1), '--reason', 'joins')
  assert.equal(add.code, 0, add.stderr)
  return add.stdout.trim()
}

async function told(page: Page): Promise<{ path: string; headers: Record<string, string> }> {
  return JSON.parse(await page.locator('body').innerText()) as { path: string; headers: Record<string, string> }
}

const cookieOf = (reply: Reply, name: string): string | undefined =>
  [reply.headers['set-cookie'] ?? []]
    .flat()
    .find((text) => text.startsWith(`${name}=`))
    ?.split(';')[0]

/** As a program does it: the form of the page, and its cookie. */
async function formOf(node: number, path: string): Promise<{ form: string; cookie: string; challenge: string }> {
  const reply = await ask(ring.traffic(node), path)
  const form = /name="form" value="([^"]+)"/.exec(reply.body)?.[1]
  assert.ok(form !== undefined, `${reply.status} ${reply.body}`)
  const challenge = /data-challenge="([^"]+)"/.exec(reply.body)?.[1] ?? ''
  return { form, cookie: cookieOf(reply, 'ringwall_form') as string, challenge }
}

const FORM = { 'content-type': 'application/x-www-form-urlencoded' }

async function logIn(node: number, name: string, password: string, more: Record<string, string> = {}): Promise<Reply> {
  const { form, cookie } = await formOf(node, '/.ringwall/login')
  const body = new URLSearchParams({ form, with: 'password', to: '/', name, password }).toString()
  return ask(ring.traffic(node), '/.ringwall/login', { method: 'POST', headers: { ...FORM, cookie, ...more }, body })
}

test('Chromium makes a passkey, logs in with it through two nodes, and is out everywhere once it is revoked', {
  timeout: 60_000,
  skip,
}, async () => {
  const context = await browser!.newContext()
  const page = await context.newPage()
  const cdp = await context.newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  })
  const link = invited('alice', 1)
  await page.goto(link)
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  const faults = async (): Promise<unknown> => {
    await page.evaluate(axe)
    return page.evaluate('axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))')
  }
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    assert.deepEqual(await faults(), [], colorScheme)
  }
  await page.getByRole('button', { name: 'Make a passkey' }).click()
  await page.waitForURL(/\/\.ringwall\/login/)
  assert.deepEqual(await faults(), [])
  assert.equal((await page.goto(link))?.status(), 404, 'the link works once')

  // Through node 1; node 2 believes it.
  await page.goto(at(1, '/a?b=c'))
  await page.getByRole('button', { name: 'Log in with a passkey' }).click()
  await page.waitForURL(at(1, '/a?b=c'))
  const seen = await told(page)
  assert.equal(seen.path, '/a?b=c')
  assert.equal(seen.headers['x-user'], 'alice')
  assert.equal(seen.headers['x-groups'], 'staff')
  assert.equal(seen.headers.cookie, undefined, 'the session is not the application’s to see')
  await page.goto(at(2, '/b'))
  assert.equal((await told(page)).headers['x-user'], 'alice')

  const session = (await context.cookies(at(1))).find(({ name }) => name === 'ringwall_session')
  assert.ok(session?.httpOnly && session.sameSite === 'Lax')
  const claims = JSON.parse(Buffer.from(session.value.split('.')[1] as string, 'base64url').toString()) as Record<string, string>
  assert.equal(claims.sub, 'person:alice')
  const revoke = ring.cli('session', 'revoke', String(claims.sid), '--reason', 'lost the laptop')
  assert.equal(revoke.code, 0, revoke.stderr)
  const cookie = `ringwall_session=${session.value}`
  for (const node of [1, 2])
    await eventually(
      `n${node} refuses it`,
      async () => (await ask(ring.traffic(node), '/', { headers: { cookie } })).status === 401,
    )
  await page.goto(at(2, '/c'))
  assert.equal(new URL(page.url()).pathname, '/.ringwall/login', 'she may log in again')

  // Who knows which passkey she has learns nothing by it, and uses up nothing of hers: a person has 30 logins in five minutes.
  const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId })
  const id = Buffer.from(credentials[0]!.credentialId, 'base64').toString('base64url')
  const { form, cookie: seal, challenge } = await formOf(2, '/.ringwall/login')
  const shown = async (passkey: string): Promise<string> => {
    const says = new Authenticator().says({ challenge, origin: at(2).slice(0, -1), rpId: 'localhost' })
    const body = new URLSearchParams({ form, with: 'passkey', to: '/', id: passkey, ...says }).toString()
    const headers = { ...FORM, cookie: seal, host: `localhost:${ring.traffic(2)}` }
    const reply = await ask(ring.traffic(2), '/.ringwall/login', { method: 'POST', headers, body })
    assert.equal(reply.status, 401)
    return reply.body.replace(/(name="form" value|data-challenge)="[^"]*"/g, '')
  }
  const other = await shown(randomBytes(16).toString('base64url'))
  for (let tries = 0; tries < 31; tries += 1) assert.equal(await shown(id), other)

  // Through node 2, a session of its own.
  await context.clearCookies()
  await page.goto(at(2, '/again'))
  await page.getByRole('button', { name: 'Log in with a passkey' }).click()
  await page.waitForURL(at(2, '/again'))
  await page.goto(at(1, '/again'))
  assert.equal((await told(page)).headers['x-user'], 'alice')
  await page.goto(at(1, '/.ringwall/logout'))
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('heading', { name: 'Logged out' }).waitFor()
  await page.goto(at(2, '/again'))
  assert.match(page.url(), /\.ringwall\/login/)
  await context.close()
})

test('a password works without script, is stored nowhere, and guessing it is bounded', { timeout: 60_000, skip }, async () => {
  const context = await browser!.newContext({ javaScriptEnabled: false })
  const page = await context.newPage()
  await page.goto(invited('bob', 2))
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByLabel('The same again').fill(PASSWORD)
  await page.getByRole('button', { name: 'Set a password' }).click()
  await page.waitForURL(/\/\.ringwall\/login/)
  await page.goto(at(1, '/home'))
  await page.getByLabel('Name').fill('Bob')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in with a password' }).click()
  await page.waitForURL(at(1, '/home'))
  assert.equal((await told(page)).headers['x-user'], 'bob')

  // Another name is one's own: nobody says who it is but the proxy.
  const forged = await ask(ring.traffic(1), '/open', { headers: { 'x-user': 'root', X_User: 'root', 'X-Groups': 'staff' } })
  const { headers } = JSON.parse(forged.body) as { headers: Record<string, string> }
  assert.deepEqual(
    Object.keys(headers).filter((name) => /^x[-_](user|groups)$/i.test(name)),
    [],
  )

  // Wrong name and wrong password are told alike; then no more of it, on either node.
  const answers: number[] = []
  const [wrong, nobody] = [await logIn(1, 'bob', 'not the password'), await logIn(1, 'nobody', 'not the password')]
  const plain = ({ body }: Reply): string => body.replace(/(name="form" value|data-challenge)="[^"]+"/g, '')
  assert.equal(wrong.status, 401)
  assert.equal(nobody.status, 401)
  assert.equal(plain(wrong), plain(nobody))
  for (let tries = 0; tries < 8; tries++) answers.push((await logIn(1 + (tries % 2), 'bob', `guess number ${tries}`)).status)
  await eventually('bob’s account rests', async () => (await logIn(2, 'bob', PASSWORD)).status === 403)
  assert.ok(
    answers.every((status) => [401, 403, 429].includes(status)),
    answers.join(),
  )
  const cookie = `ringwall_session=${(await context.cookies(at(1))).find(({ name }) => name === 'ringwall_session')?.value}`
  assert.equal((await ask(ring.traffic(2), '/', { headers: { cookie } })).status, 200, 'who is in stays in')

  const remove = ring.cli('person', 'rm', 'bob', '--reason', 'left')
  assert.equal(remove.code, 0, remove.stderr)
  for (const node of [1, 2])
    await eventually(
      `n${node} lets bob go`,
      async () => (await ask(ring.traffic(node), '/', { headers: { cookie } })).status === 401,
    )
  await context.close()
})

/** Somebody with a password, enrolled and logged in by a program: the cookie of the session. */
async function enrolled(name: string): Promise<string> {
  const link = new URL(invited(name, 1))
  const { form, cookie } = await formOf(1, link.pathname + link.search)
  const key = link.searchParams.get('key') as string
  const fields = { form, name, key, with: 'password', password: PASSWORD, again: PASSWORD }
  const headers = { ...FORM, cookie }
  const done = await ask(ring.traffic(1), '/.ringwall/enrol', {
    method: 'POST',
    headers,
    body: new URLSearchParams(fields).toString(),
  })
  assert.equal(done.status, 303, done.body)
  return session(await logIn(1, name, PASSWORD))
}

function session(reply: Reply): string {
  const cookie = cookieOf(reply, 'ringwall_session')
  assert.ok(reply.status === 303 && cookie !== undefined, `${reply.status} ${reply.body}`)
  return cookie
}

const VERIFIER = 'v'.repeat(50)

/** What comes back from the authorization endpoint. */
async function authorized(cookie: string, more: Record<string, string> = {}): Promise<URL> {
  const asked = {
    client_id: 'web',
    redirect_uri: callback,
    response_type: 'code',
    scope: 'openid offline_access',
    code_challenge: hash('sha256', VERIFIER, 'base64url'),
    code_challenge_method: 'S256',
    state: 's',
    ...more,
  }
  const reply = await ask(ring.traffic(1), `/.ringwall/oidc/authorize?${new URLSearchParams(asked)}`, { headers: { cookie } })
  assert.equal(reply.status, 303, reply.body)
  return new URL(String(reply.headers.location), at(1))
}

const BASIC = `Basic ${Buffer.from(`web:${SECRET}`).toString('base64')}`

async function post(node: number, path: string, fields: Record<string, string>, authorization: string = BASIC) {
  const headers = { ...FORM, ...(authorization === '' ? {} : { authorization }) }
  const body = new URLSearchParams(fields).toString()
  const reply = await ask(ring.traffic(node), `/.ringwall/oidc/${path}`, { method: 'POST', headers, body })
  return { status: reply.status, ...(JSON.parse(reply.body) as Record<string, string>) } as Record<string, string> & {
    status: number
  }
}

test('openid-client logs in with consent, jose verifies what the ring signed, and logging out ends it', {
  timeout: 60_000,
  skip,
}, async () => {
  const cookie = await enrolled('carol')
  const issuer = at(1).slice(0, -1)
  const config = await openid.discovery(new URL(issuer), 'spa', undefined, openid.None(), {
    execute: [openid.allowInsecureRequests],
  })
  openid.enableNonRepudiationChecks(config)
  const pkceCodeVerifier = openid.randomPKCECodeVerifier()
  const [expectedState, expectedNonce] = [openid.randomState(), openid.randomNonce()]
  const context = await browser!.newContext({ javaScriptEnabled: false })
  const [name, value] = cookie.split('=') as [string, string]
  await context.addCookies([{ name, value, url: at(1) }])
  const page = await context.newPage()
  const challenge = await openid.calculatePKCECodeChallenge(pkceCodeVerifier)
  const asked = {
    redirect_uri: callback,
    scope: 'openid profile groups offline_access',
    state: expectedState,
    nonce: expectedNonce,
  }
  await page.goto(
    openid.buildAuthorizationUrl(config, { ...asked, code_challenge: challenge, code_challenge_method: 'S256' }).href,
  )
  assert.match(await page.locator('main').innerText(), /You are carol\.[\s\S]*spa/)
  await page.getByRole('button', { name: 'Allow' }).click()
  await page.waitForURL(/\/callback\?code=/)
  const tokens = await openid.authorizationCodeGrant(config, new URL(page.url()), {
    pkceCodeVerifier,
    expectedState,
    expectedNonce,
  })
  const keys = createRemoteJWKSet(new URL(`${issuer}/.ringwall/oidc/jwks`))
  const { payload, protectedHeader } = await jwtVerify(tokens.id_token as string, keys, { issuer, audience: 'spa' })
  assert.equal(protectedHeader.alg, 'EdDSA')
  assert.deepEqual([payload.sub, payload.preferred_username, payload.groups], ['person:carol', 'carol', ['staff']])
  await assert.rejects(jwtVerify(tokens.id_token as string, keys, { issuer, audience: 'web' }))
  const info = await openid.fetchUserInfo(config, tokens.access_token, 'person:carol')
  assert.equal(info.preferred_username, 'carol')
  const next = await openid.refreshTokenGrant(config, tokens.refresh_token as string)
  assert.notEqual(next.refresh_token, tokens.refresh_token)
  // Neither opens the application, nor is any of them a session.
  for (const token of [tokens.id_token, next.access_token, next.refresh_token] as string[]) {
    assert.notEqual((await ask(ring.traffic(2), '/', { headers: { authorization: `Bearer ${token}` } })).status, 200)
    assert.equal((await ask(ring.traffic(2), '/', { headers: { cookie: `ringwall_session=${token}` } })).status, 401)
  }
  // Logged out at the provider: the grant is over everywhere.
  await page.goto(at(2, '/.ringwall/logout'))
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByRole('heading', { name: 'Logged out' }).waitFor()
  await assert.rejects(openid.refreshTokenGrant(config, next.refresh_token as string), { error: 'invalid_grant' })
  await assert.rejects(openid.fetchUserInfo(config, next.access_token, 'person:carol'))
  await context.close()
})

test('codes serve once on all nodes, refresh tokens rotate, and a second use ends the grant; what is wrong is refused by its name', {
  timeout: 60_000,
}, async () => {
  const cookie = await enrolled('dave')
  const code = async (more: Record<string, string> = {}): Promise<string> => {
    const back = await authorized(cookie, more)
    assert.equal(back.searchParams.get('iss'), at(1).slice(0, -1))
    return back.searchParams.get('code') as string
  }
  const redeem = (of: string, more: Record<string, string> = {}, node = 2, by: string = BASIC) =>
    post(
      node,
      'token',
      { grant_type: 'authorization_code', code: of, redirect_uri: callback, code_verifier: VERIFIER, ...more },
      by,
    )

  // Before anybody may be sent anywhere.
  for (const bad of [
    { client_id: 'nobody' },
    { redirect_uri: `${callback}/` },
    { redirect_uri: `${callback}?a=b` },
    { redirect_uri: 'https://evil.example/' },
  ]) {
    const asked = { client_id: 'web', redirect_uri: callback, response_type: 'code', scope: 'openid', ...bad }
    const reply = await ask(ring.traffic(1), `/.ringwall/oidc/authorize?${new URLSearchParams(asked)}`, { headers: { cookie } })
    assert.equal(reply.status, 400)
    assert.equal(reply.headers.location, undefined)
  }
  const errorOf = async (more: Record<string, string>, who = cookie): Promise<string | null> => {
    const back = await authorized(who, more)
    assert.equal(back.origin, new URL(callback).origin, back.href)
    assert.equal(back.searchParams.get('state'), 's')
    return back.searchParams.get('error')
  }
  assert.equal(await errorOf({ response_type: 'token' }), 'unsupported_response_type')
  assert.equal(await errorOf({ code_challenge_method: 'plain' }), 'invalid_request')
  assert.equal(await errorOf({ code_challenge: 'short' }), 'invalid_request')
  assert.equal(await errorOf({ scope: 'email' }), 'invalid_scope')
  assert.equal(await errorOf({ request: 'x.y.z' }), 'request_not_supported')
  assert.equal(await errorOf({ prompt: 'none' }, 'ringwall_session=x'), 'login_required')
  assert.equal(await errorOf({ prompt: 'none', client_id: 'spa' }), 'consent_required')
  assert.equal(await errorOf({ client_id: 'board' }), 'access_denied')
  assert.match((await authorized(cookie, { prompt: 'login' })).pathname, /login/)
  assert.match((await authorized('ringwall_session=x')).pathname, /login/)

  // Wrong in one thing each: nothing of it uses the code up.
  const good = await code()
  const basic = (text: string): string => `Basic ${Buffer.from(text).toString('base64')}`
  assert.equal((await redeem(good, { code_verifier: 'w'.repeat(50) })).error, 'invalid_grant')
  assert.equal((await redeem(good, { code_verifier: '' })).error, 'invalid_grant')
  assert.equal((await redeem(good, { redirect_uri: `${callback}/` })).error, 'invalid_grant')
  assert.equal((await redeem(good, {}, 2, basic('web:wrong'))).error, 'invalid_client')
  assert.equal((await redeem(good, { client_id: 'web' }, 2, '')).error, 'invalid_client')
  assert.equal(
    (
      await post(
        2,
        'token',
        { grant_type: 'authorization_code', code: good, client_id: 'spa', redirect_uri: callback, code_verifier: VERIFIER },
        '',
      )
    ).error,
    'invalid_grant',
    'another client’s',
  )
  assert.equal((await redeem(good, { grant_type: 'password' })).error, 'unsupported_grant_type')
  const [head, body, seal] = good.split('.') as [string, string, string]
  const none = Buffer.from('{"alg":"none","typ":"JWT"}').toString('base64url')
  assert.equal((await redeem(`${none}.${body}.`)).error, 'invalid_grant', 'alg none')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Record<string, unknown>
  const other = Buffer.from(JSON.stringify({ ...claims, sub: 'person:root' })).toString('base64url')
  assert.equal((await redeem(`${head}.${other}.${seal}`)).error, 'invalid_grant')
  assert.equal((await redeem(cookie.slice('ringwall_session='.length))).error, 'invalid_grant', 'a session is no code')

  // Issued through node 1, redeemed at node 2, and of three attempts at once on both nodes one at most is given anything.
  const first = await redeem(good)
  assert.equal(first.status, 200, JSON.stringify(first))
  const active = async (token: string): Promise<unknown> => (await post(1, 'introspect', { token })).active
  assert.equal(await active(first.access_token as string), true)
  assert.equal(
    (await post(1, 'introspect', { token: first.access_token as string, client_id: 'spa' }, '')).error,
    'invalid_client',
  )
  const refresh = (token: string, node: number) => post(node, 'token', { grant_type: 'refresh_token', refresh_token: token })
  const second = await refresh(first.refresh_token as string, 1)
  assert.equal(second.status, 200, JSON.stringify(second))
  assert.equal((await refresh(first.refresh_token as string, 2)).error, 'invalid_grant', 'it was used')
  await eventually('the family is over', async () => (await active(second.access_token as string)) === false)
  for (const node of [1, 2])
    assert.equal((await refresh(second.refresh_token as string, node)).error, 'invalid_grant', `on n${node}`)

  const raced = await code()
  const answers = await Promise.all([redeem(raced, {}, 1), redeem(raced, {}, 2), redeem(raced, {}, 1)])
  assert.ok(answers.filter(({ status }) => status === 200).length <= 1, JSON.stringify(answers.map(({ status }) => status)))
  assert.equal((await redeem(raced, {}, 2)).error, 'invalid_grant')

  const third = await redeem(await code())
  assert.equal((await post(2, 'revoke', { token: third.refresh_token as string })).status, 200)
  await eventually('what was revoked is over', async () => (await active(third.access_token as string)) === false)
  assert.equal((await refresh(third.refresh_token as string, 1)).error, 'invalid_grant')
  assert.equal((await post(1, 'revoke', { token: 'x' })).status, 200, 'what is no token is answered likewise')

  const fourth = await redeem(await code())
  const ends = new URLSearchParams({ id_token_hint: fourth.id_token as string, post_logout_redirect_uri: callback, state: 'z' })
  const end = await ask(ring.traffic(2), `/.ringwall/oidc/end?${ends}`, { headers: { cookie } })
  assert.match(String(end.headers.location), /^\/\.ringwall\/logout\?client=web&to=/)
  ends.set('post_logout_redirect_uri', 'https://evil.example/')
  assert.equal((await ask(ring.traffic(2), `/.ringwall/oidc/end?${ends}`)).headers.location, '/.ringwall/logout')
})

test('openid-client shows itself by what it signs, and its tokens are bound to a key of its own', {
  timeout: 60_000,
}, async () => {
  const cookie = await enrolled('erin')
  const key = await importPKCS8(signer.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string, 'ES256')
  const server = (await (await fetch(`${at(1)}.well-known/openid-configuration`)).json()) as openid.ServerMetadata
  assert.ok((server.token_endpoint_auth_methods_supported ?? []).includes('private_key_jwt'))
  const config = new openid.Configuration(server, 'signer', undefined, openid.PrivateKeyJwt({ key, kid: 's' }))
  openid.allowInsecureRequests(config)
  const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256'))
  const code = async (): Promise<URL> => {
    const back = await authorized(cookie, { client_id: 'signer', dpop_jkt: await DPoP.calculateThumbprint() })
    assert.equal(back.searchParams.get('error'), null, back.href)
    return back
  }
  const checks = { pkceCodeVerifier: VERIFIER, expectedState: 's' }
  const tokens = await openid.authorizationCodeGrant(config, await code(), checks, undefined, { DPoP })
  assert.equal(tokens.token_type, 'dpop')
  const info = await openid.fetchUserInfo(config, tokens.access_token, 'person:erin', { DPoP })
  assert.equal(info.sub, 'person:erin')
  const next = await openid.refreshTokenGrant(config, tokens.refresh_token as string, undefined, { DPoP })
  const seen = await openid.tokenIntrospection(config, next.access_token)
  assert.deepEqual([seen.active, seen.token_type, seen.cnf], [true, 'DPoP', { jkt: await DPoP.calculateThumbprint() }])

  // Without the key the token is worth nothing, and without the proof nothing is given.
  for (const scheme of ['Bearer', 'DPoP']) {
    const reply = await ask(ring.traffic(2), '/.ringwall/oidc/userinfo', {
      headers: { authorization: `${scheme} ${next.access_token}` },
    })
    assert.equal(reply.status, 401)
    assert.match(String(reply.headers['www-authenticate']), /DPoP .*error="invalid_dpop_proof"/)
  }
  const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const shows = (more: object = {}, header: object = {}): Record<string, string> => {
    const nowS = Math.floor(Date.now() / 1_000)
    const claims = {
      iss: 'signer',
      sub: 'signer',
      aud: at(1).slice(0, -1),
      exp: nowS + 60,
      jti: randomBytes(8).toString('hex'),
      ...more,
    }
    const body = `${encoded({ alg: 'ES256', kid: 's', ...header })}.${encoded(claims)}`
    const signature = sign('sha256', Buffer.from(body), { key: signer.privateKey, dsaEncoding: 'ieee-p1363' }).toString(
      'base64url',
    )
    return {
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: `${body}.${signature}`,
    }
  }
  const redeem = async (by: Record<string, string>): Promise<unknown> => {
    const given = { grant_type: 'authorization_code', code: (await code()).searchParams.get('code') as string }
    return (await post(2, 'token', { ...given, redirect_uri: callback, code_verifier: VERIFIER, ...by }, '')).error
  }
  assert.equal(await redeem(shows()), 'invalid_dpop_proof')
  const once = shows()
  assert.equal((await post(2, 'introspect', { token: 'x', ...once }, '')).active, false)
  assert.equal((await post(2, 'introspect', { token: 'x', ...once }, '')).error, 'invalid_client', 'shown twice')
  for (const [what, wrong] of Object.entries({
    'for another': shows({ aud: 'https://other.example' }),
    'for several': shows({ aud: [at(1).slice(0, -1), 'https://other.example'] }),
    'of another': shows({ iss: 'web' }),
    'as another': shows({ iss: 'web', sub: 'web' }),
    over: shows({ exp: 1 }),
    'for a day': shows({ exp: Math.floor(Date.now() / 1_000) + 86_400 }),
    'without an id': shows({ jti: undefined }),
    none: shows({}, { alg: 'none' }),
    'a MAC': shows({}, { alg: 'HS256' }),
    'of another kind': { ...shows(), client_assertion_type: 'urn:x' },
    'and a name': { ...shows(), client_id: 'web' },
    'the client’s name alone': { client_id: 'signer' },
  }))
    assert.equal((await post(2, 'introspect', { token: 'x', ...wrong }, '')).error, 'invalid_client', what)
})

test('forms of other sites, other browsers and other pages are refused; nobody is sent elsewhere', async () => {
  const post = (headers: Record<string, string>, fields: Record<string, string>, path = '/.ringwall/login'): Promise<Reply> =>
    ask(ring.traffic(1), path, { method: 'POST', headers: { ...FORM, ...headers }, body: new URLSearchParams(fields).toString() })
  const { form, cookie } = await formOf(1, '/.ringwall/login?to=//evil.example/')
  const fields = { form, with: 'password', to: '//evil.example', name: 'nobody', password: 'a password of no one' }
  assert.equal((await post({ cookie, origin: 'http://evil.example' }, fields)).status, 403)
  assert.equal((await post({ cookie, 'sec-fetch-site': 'same-site' }, fields)).status, 403)
  assert.equal((await post({}, fields)).status, 400, 'without the cookie of the page')
  assert.equal((await post({ cookie: `ringwall_form=${'A'.repeat(22)}` }, fields)).status, 400, 'with another’s')
  assert.equal((await post({ cookie }, { ...fields, form: `${form.slice(0, -2)}AA` })).status, 400)
  const failed = await post({ cookie }, fields)
  assert.equal(failed.status, 401)
  assert.match(failed.body, /name="to" value="\/"/)
  assert.equal((await ask(ring.traffic(1), '/.ringwall/login', { method: 'DELETE' })).status, 405)
  // A session of nobody, of another key, or a token that is none.
  for (const value of ['x', `${'A'.repeat(40)}.${'B'.repeat(40)}.${'C'.repeat(86)}`, 'eyJhbGciOiJub25lIn0.e30.'])
    assert.equal((await ask(ring.traffic(1), '/', { headers: { cookie: `ringwall_session=${value}` } })).status, 401)
})

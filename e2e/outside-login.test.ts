/**
 * People of outside providers log in between real processes with a real Chromium: by `oidc-provider`, by the provider of a second ring. Each holder of
 * the ring's key fetches the provider's keys and verifies its word by itself.
 */
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, hash, randomBytes, sign, verify } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createRemoteJWKSet, jwtVerify } from 'jose'
import Provider from 'oidc-provider'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { ask, eventually, type Reply, TestRing } from './local-ring.ts'
import { type OutsideIdp, type OutsideParty, outsideIdp, outsideParty } from './saml-parties.ts'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const skip = CHROMIUM === undefined ? 'no Chromium on this machine (Debian: apt-get install chromium)' : false
const SECRET = randomBytes(32).toString('base64url')
const AUDIT = 'https://audit.example'
const keyHashOf = (key: string): string => `sha256:${hash('sha256', key)}`
const PASSWORD = 'several words that nobody guesses'
const NODES = 2
const corpKey = generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey

let ring: TestRing
let other: TestRing
let browser: Browser | undefined
let application: Server
let corp: Server
let idp: OutsideIdp
const parties = new Map<string, OutsideParty>()
let acs: Server

const at = (node: number, path = '/'): string => `http://localhost:${ring.traffic(node)}${path}`
const portOf = (server: Server): number => (server.address() as AddressInfo).port

async function listening(server: Server): Promise<Server> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

/** A provider that was not written here; its accounts are whatever is typed into its form. */
function corpProvider(issuer: string): Provider {
  return new Provider(issuer, {
    // It would not fetch the ring's keys from this machine otherwise.
    fetch: (url, options) => fetch(url, { ...options, dispatcher: undefined } as unknown as RequestInit),
    clients: [
      {
        client_id: 'ringwall',
        client_secret: SECRET,
        redirect_uris: [1, 2].map((node) => at(node, '/.ringwall/outside/callback')),
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
      {
        client_id: 'ringwall-signed',
        token_endpoint_auth_method: 'private_key_jwt',
        token_endpoint_auth_signing_alg: 'EdDSA',
        jwks_uri: at(1, '/.ringwall/oidc/jwks'),
        redirect_uris: [1, 2].map((node) => at(node, '/.ringwall/outside/callback')),
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
    ],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    jwks: { keys: [{ ...corpKey.export({ format: 'jwk' }), kid: 'corp', use: 'sig', alg: 'RS256' }] },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        preferred_username: id,
        groups: id === 'nell-9' ? [] : ['engineers', 'smokers'],
        email: `${id}@${id === 'mallory' ? 'evil' : 'corp'}.example`,
        email_verified: true,
      }),
    }),
  })
}

before(async () => {
  application = await listening(
    createServer((request, response) => {
      response.setHeader('content-type', 'application/json')
      response.end(JSON.stringify({ path: request.url, headers: request.headers }))
    }),
  )
  corp = await listening(createServer())
  process.env.CORP_SECRET = SECRET
  const rings = await Promise.all([TestRing.start({ nodes: NODES }), TestRing.start({ nodes: 1 })])
  ring = rings[0]
  other = rings[1]
  const issuer = `http://localhost:${portOf(corp)}`
  idp = outsideIdp(
    () => `http://127.0.0.1:${portOf(idp.server)}`,
    'Sam-1',
    async () =>
      (await ask(ring.traffic(1), '/.ringwall/saml/metadata', { headers: { host: `localhost:${ring.traffic(1)}` } })).body,
  )
  await listening(idp.server)
  acs = await listening(createServer((request, response) => void answerParty(request, response)))
  const certificates = [1, 2].map((node) => samlCertificateOf(node))
  const entry = {
    idp: at(1, '/.ringwall/saml/idp'),
    signOn: at(1, '/.ringwall/saml/sso'),
    acs: `http://127.0.0.1:${portOf(acs)}`,
  }
  const party = (path: string, more: object = {}): string => {
    const entityId = `https://party.example${path}`
    const [, second] = certificates
    const keys = path === '/other' ? [second!.certificate] : certificates.map(({ certificate }) => certificate)
    parties.set(path, outsideParty(entityId, entry.acs + path, entry.signOn, entry.idp, keys, more))
    return entityId
  }
  const provider = corpProvider(issuer)
  corp.on('request', provider.callback())
  const upstreams = [{ url: `http://127.0.0.1:${portOf(application)}` }]
  apply(other, {
    openid: {
      service: 'app',
      issuer: `http://127.0.0.1:${other.traffic(1)}`,
      clients: [
        {
          id: 'ringwall',
          secretHash: `sha256:${hash('sha256', SECRET)}`,
          redirectUris: [1, 2].map((node) => at(node, '/.ringwall/outside/callback')),
          consent: 'skip',
        },
      ],
      streams: [
        {
          name: 'ring',
          audience: 'ringwall',
          keyHash: keyHashOf('unused'),
          delivery: 'push',
          endpoint: at(2, '/.ringwall/outside/signals'),
        },
        { name: 'audit', audience: AUDIT, keyHash: keyHashOf(SECRET) },
      ],
    },
    services: { app: { upstreams, people: {} } },
  })
  apply(ring, {
    vault: { rules: [{ path: 'providers', read: ['node:*'], write: ['operator:*'] }] },
    providers: [
      {
        kind: 'openid',
        name: 'corp',
        title: 'Corp',
        issuer,
        clientId: 'ringwall',
        authentication: { secretVariable: 'CORP_SECRET' },
        accounts: 'both',
        groups: { engineers: 'staff' },
        domains: ['corp.example'],
        signals: {},
      },
      {
        kind: 'openid',
        name: 'corp-signed',
        title: 'Corp, signed',
        issuer,
        clientId: 'ringwall-signed',
        authentication: { method: 'private_key_jwt' },
        accounts: 'made',
        groups: { engineers: 'staff' },
      },
      {
        kind: 'openid',
        name: 'other-ring',
        issuer: `http://127.0.0.1:${other.traffic(1)}`,
        clientId: 'ringwall',
        authentication: { method: 'client_secret_post', secret: 'vault:providers/other-ring' },
        scopes: ['openid', 'profile', 'groups'],
        accounts: 'both',
        signals: {},
      },
      {
        kind: 'saml',
        name: 'works',
        entityId: idp.entityId,
        signOn: `http://127.0.0.1:${portOf(idp.server)}/sso`,
        certificates: [idp.certificate],
        accounts: 'made',
        groups: { engineers: 'staff' },
      },
    ],
    openid: {
      service: 'app',
      issuer: at(1).slice(0, -1),
      streams: [{ name: 'audit', audience: AUDIT, keyHash: keyHashOf(SECRET), events: ['session-revoked'] }],
    },
    saml: {
      service: 'app',
      origin: at(1).slice(0, -1),
      keys: certificates,
      parties: [
        { entityId: party('/wiki'), acs: [`${entry.acs}/wiki`] },
        { entityId: party('/board'), acs: [`${entry.acs}/board`], groups: ['board'] },
        { entityId: party('/other'), acs: [`${entry.acs}/other`], nameId: 'pseudonym' },
        { entityId: party('/quiet', { passive: true }), acs: [`${entry.acs}/quiet`] },
        { entityId: party('/frost'), acs: [`${entry.acs}/frost`], nameId: 'pseudonym', signature: 'ring' },
      ],
    },
    services: {
      app: {
        upstreams,
        people: {
          userHeader: 'x-user',
          groupsHeader: 'x-groups',
          groups: ['staff'],
          providers: ['corp', 'corp-signed', 'other-ring', 'works'],
        },
        routes: [{ name: 'open', path: '/open', people: 'optional' }],
      },
    },
  })
  for (let node = 1; node <= NODES; node += 1) {
    await eventually(`n${node} has the policy`, async () => (await ring.client(node).policy()).text.includes('other-ring'))
    await eventually(`n${node} knows the ring’s key`, async () => {
      const { keys } = (await ring.client(node).keys()) as { keys: readonly { name: string; state: string }[] }
      return ['signing', 'sealing'].every((wanted) => keys.some(({ name, state }) => name === wanted && state === 'ready'))
    })
  }
  if (CHROMIUM !== undefined)
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-background-networking'] })
})

after(async () => {
  await browser?.close()
  await Promise.all([ring?.destroy(), other?.destroy()])
  for (const server of [application, corp, idp?.server, acs]) server?.close()
})

/** A security event of the provider, pushed to node 2 (RFC 8935). */
function pushed(more: { readonly sub?: string; readonly aud?: string; readonly iss?: string }): Promise<Reply> {
  const { sub = 'Al-77', aud = 'ringwall', iss = `http://localhost:${portOf(corp)}` } = more
  const nowS = Math.floor(Date.now() / 1_000)
  const encoded = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const event = { 'https://schemas.openid.net/secevent/caep/event-type/session-revoked': { event_timestamp: nowS } }
  const about = { format: 'iss_sub', iss: `http://localhost:${portOf(corp)}`, sub }
  const claims = { iss, aud, iat: nowS, jti: randomBytes(8).toString('hex'), sub_id: about, events: event }
  const body = `${encoded({ alg: 'RS256', kid: 'corp', typ: 'secevent+jwt' })}.${encoded(claims)}`
  const set = `${body}.${sign('sha256', Buffer.from(body), corpKey).toString('base64url')}`
  const headers = { 'content-type': 'application/secevent+jwt', accept: 'application/json' }
  return ask(ring.traffic(2), '/.ringwall/outside/signals', { method: 'POST', headers, body: set })
}

function samlCertificateOf(node: number): { node: string; certificate: string } {
  const shown = ring.cli('key', 'saml', '--node', `n${node}`, '-o', 'json')
  assert.equal(shown.code, 0, shown.stderr)
  return JSON.parse(shown.stdout) as { node: string; certificate: string }
}

/** What a party makes of what browsers post to it, as it says it itself. */
async function answerParty(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const fields = new URLSearchParams(Buffer.concat(chunks).toString('utf8'))
  const said = await parties
    .get(request.url ?? '')!
    .read(fields.get('SAMLResponse') ?? '')
    .then(
      (profile) => ({ nameID: profile?.nameID, uid: profile?.uid, groups: profile?.groups, issuer: profile?.issuer }),
      (error: Error) => ({ error: error.message }),
    )
  response.end(JSON.stringify({ ...said, relayState: fields.get('RelayState') }))
}

function apply(to: TestRing, policy: object): void {
  const file = join(to.data, 'outside.yaml')
  const common = { version: 1, trustedProxies: ['127.0.0.0/8'], detectors: { floods: { mode: 'off' } } }
  writeFileSync(file, JSON.stringify({ ...common, ...policy }))
  const done = to.cli('policy', 'apply', file, '--yes')
  assert.equal(done.code, 0, done.stderr)
}

/** Nothing is asked but on this machine: pages of `oidc-provider` name fonts elsewhere. */
async function visitor(options: { javaScriptEnabled?: boolean } = {}): Promise<BrowserContext> {
  const context = await browser!.newContext(options)
  await context.route(
    (url) => !['localhost', '127.0.0.1'].includes(url.hostname),
    (route) => route.abort(),
  )
  return context
}

async function cookieOf(context: BrowserContext): Promise<string> {
  return `ringwall_session=${(await context.cookies(at(1))).find(({ name }) => name === 'ringwall_session')?.value}`
}

/** What node 2 answers to whoever shows this, where nobody has to be logged in. */
async function openTo(cookie: string): Promise<number> {
  return (await ask(ring.traffic(2), '/open', { headers: { cookie } })).status
}

async function told(page: Page): Promise<{ path: string; headers: Record<string, string> }> {
  return JSON.parse(await page.locator('body').innerText()) as { path: string; headers: Record<string, string> }
}

/** Through the pages of `oidc-provider`, up to where it sends the browser back to. */
async function throughCorp(page: Page, name: string): Promise<void> {
  await page.waitForURL(/\/interaction\//)
  await page.locator('[name=login]').fill(name)
  await page.locator('[name=password]').fill('any')
  await page.locator('button[type=submit]').click()
  await page.getByRole('button', { name: 'Continue' }).click()
}

test('somebody of oidc-provider logs in without script, is known on every node, and is out everywhere once revoked', {
  timeout: 60_000,
  skip,
}, async () => {
  const context = await visitor({ javaScriptEnabled: false })
  const page = await context.newPage()
  await page.goto(at(1, '/a?b=c'))
  await page.getByRole('link', { name: 'Log in with Corp', exact: true }).click()
  await throughCorp(page, 'bob')
  await page.waitForURL(at(1, '/a?b=c'))
  const seen = await told(page)
  assert.deepEqual([seen.headers['x-user'], seen.headers['x-groups'], seen.path], ['corp:bob', 'staff', '/a?b=c'])
  await page.goto(at(2, '/b'))
  assert.equal((await told(page)).headers['x-user'], 'corp:bob')
  const cookie = `ringwall_session=${(await context.cookies(at(1))).find(({ name }) => name === 'ringwall_session')?.value}`
  const revoke = ring.cli('identity', 'revoke', 'person:corp:bob', '--issued-before', 'now', '--reason', 'lost')
  assert.equal(revoke.code, 0, revoke.stderr)
  for (const node of [1, 2])
    await eventually(
      `n${node} lets him go`,
      async () => (await ask(ring.traffic(node), '/', { headers: { cookie } })).status === 401,
    )
  await context.close()
})

test('the ring is known to a provider by what its key signs, without a secret anywhere', { timeout: 60_000, skip }, async () => {
  const context = await visitor({ javaScriptEnabled: false })
  const page = await context.newPage()
  await page.goto(at(2, '/signed'))
  await page.getByRole('link', { name: 'Log in with Corp, signed' }).click()
  await throughCorp(page, 'kim')
  await page.waitForURL(at(2, '/signed'))
  assert.equal((await told(page)).headers['x-user'], 'corp-signed:kim')
  await context.close()
})

test('an invitation links an account outside to somebody of the directory; an address elsewhere is not let in', {
  timeout: 60_000,
  skip,
}, async () => {
  const add = ring.cli('person', 'add', 'alice', '--group', 'staff', '--invite', at(1).slice(0, -1), '--reason', 'joins')
  assert.equal(add.code, 0, add.stderr)
  const context = await visitor()
  const page = await context.newPage()
  await page.goto(add.stdout.trim())
  await page.getByRole('link', { name: 'Use Corp' }).click()
  await throughCorp(page, 'Al-77')
  await page.waitForURL(/\/\.ringwall\/login/)
  await page.goto(at(2, '/home'))
  await page.getByRole('link', { name: 'Log in with Corp', exact: true }).click()
  // Known there already.
  await page.waitForURL(at(2, '/home'))
  assert.equal((await told(page)).headers['x-user'], 'alice')
  const { people } = (await ring.client(1).people()) as { people: readonly { name: string; outside: unknown }[] }
  assert.deepEqual(people.find(({ name }) => name === 'alice')?.outside, [{ provider: 'corp', subject: 'Al-77' }])

  // The provider says that her session is revoked: to one node, and she is out on both.
  const cookie = `ringwall_session=${(await context.cookies(at(1))).find(({ name }) => name === 'ringwall_session')?.value}`
  assert.equal((await pushed({ sub: 'nobody' })).status, 202, 'somebody who never was here')
  assert.equal((await pushed({ aud: 'other' })).status, 400)
  assert.equal((await pushed({ iss: 'https://other.example' })).status, 400)
  assert.equal((await ask(ring.traffic(1), '/', { headers: { cookie } })).status, 200)
  assert.equal((await pushed({})).status, 202)
  for (const node of [1, 2])
    await eventually(
      `n${node} lets her go`,
      async () => (await ask(ring.traffic(node), '/', { headers: { cookie } })).status === 401,
    )
  await context.close()

  const elsewhere = await visitor()
  const evil = await elsewhere.newPage()
  await evil.goto(at(1, '/'))
  await evil.getByRole('link', { name: 'Log in with Corp', exact: true }).click()
  await throughCorp(evil, 'mallory')
  await evil.getByRole('heading', { name: 'Not logged in' }).waitFor()
  assert.equal((await ask(ring.traffic(1), '/')).status, 401)
  await elsewhere.close()
})

test('somebody who is logged in by the very account that an invitation links is in as who it is now, in all browsers', {
  timeout: 60_000,
  skip,
}, async () => {
  const [context, elsewhere] = [await visitor(), await visitor()]
  const [page, beside] = [await context.newPage(), await elsewhere.newPage()]
  for (const one of [page, beside]) {
    await one.goto(at(1, '/'))
    await one.getByRole('link', { name: 'Log in with Corp', exact: true }).click()
    await throughCorp(one, 'nell-9')
    await one.waitForURL(at(1, '/'))
    assert.equal((await one.reload())?.status(), 403, 'made of the provider’s word, and in no group')
  }
  const add = ring.cli('person', 'add', 'nell', '--group', 'staff', '--invite', at(1).slice(0, -1), '--reason', 'joins')
  assert.equal(add.code, 0, add.stderr)
  const held = await cookieOf(context)
  assert.equal(await openTo(held), 200)
  await page.goto(add.stdout.trim())
  await page.getByText('You are logged in here as corp:nell-9.').waitFor()
  assert.equal(await page.getByRole('link', { name: 'Use works' }).count(), 0, 'its people are never of the directory')
  await page.getByRole('link', { name: 'Use Corp' }).click()
  await page.waitForURL(at(1, '/'))
  assert.notEqual(await cookieOf(context), held)
  await eventually('the session of before is over on the other node', async () => (await openTo(held)) === 401)
  assert.equal((await told(page)).headers['x-user'], 'nell')
  // Where she was logged in besides she is asked, and not sent back to where she is refused.
  await beside.goto(at(2, '/.ringwall/login'))
  await beside.getByRole('link', { name: 'Log in with Corp', exact: true }).click()
  await beside.waitForURL(at(2, '/'))
  assert.equal((await told(beside)).headers['x-user'], 'nell')
  // Her account attaches to nobody else, and a link makes no session for whoever else is logged in.
  const other = ring.cli('person', 'add', 'oz', '--group', 'staff', '--invite', at(1).slice(0, -1), '--reason', 'joins')
  assert.equal(other.code, 0, other.stderr)
  await page.goto(other.stdout.trim())
  await page.getByText('You are logged in here as nell.').waitFor()
  await page.getByRole('link', { name: 'Use Corp' }).click()
  await page.getByText('Somebody is known by this account already.').waitFor()
  await page.goto(other.stdout.trim())
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD)
  await page.getByLabel('The same again').fill(PASSWORD)
  await page.getByRole('button', { name: 'Set a password' }).click()
  await page.getByRole('heading', { name: 'Log in' }).waitFor()
  await page.goto(at(1, '/'))
  assert.equal((await told(page)).headers['x-user'], 'nell')
  await context.close()
  await elsewhere.close()
})

test('somebody of a second ring logs in by its OpenID Provider', { timeout: 60_000, skip }, async () => {
  const add = other.cli(
    'person',
    'add',
    'zoe',
    '--group',
    'staff',
    '--invite',
    `http://127.0.0.1:${other.traffic(1)}`,
    '--reason',
    'x',
  )
  assert.equal(add.code, 0, add.stderr)
  const context = await visitor({ javaScriptEnabled: false })
  const page = await context.newPage()
  await page.goto(add.stdout.trim())
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByLabel('The same again').fill(PASSWORD)
  await page.getByRole('button', { name: 'Set a password' }).click()
  await page.waitForURL(/\/\.ringwall\/login/)
  await page.goto(at(2, '/open'))
  assert.equal((await told(page)).headers['x-user'], undefined)
  await page.goto(at(2, '/.ringwall/login?to=/open'))
  const follow = async (on: Page, name: string): Promise<void> => {
    await on.getByRole('link', { name }).click()
    await on.getByLabel('Name').fill('zoe')
    await on.getByLabel('Password').fill(PASSWORD)
    await on.getByRole('button', { name: 'Log in with a password' }).click()
  }
  await follow(page, 'Log in with other-ring')
  // This ring shows its secret to the other one, each node as the vault has it now.
  await page.getByText('other-ring cannot be asked just now.').waitFor()
  const events = ring.cli('events', '-o', 'json').stdout
  assert.match(events, /CLIENT_SECRET_MISSING: the vault has no secret providers\/other-ring; put it there: ringwall vault put/)
  const put = (secret: string): void => {
    const file = join(ring.data, 'client-secret')
    writeFileSync(file, `${secret}\n`)
    const done = ring.cli('vault', 'put', 'providers/other-ring', '--file', file)
    assert.equal(done.code, 0, done.stderr)
  }
  put('of another client')
  const again = async (): Promise<void> => {
    await page.goto(at(2, '/.ringwall/login?to=/open'))
    await page.getByRole('link', { name: 'Log in with other-ring' }).click()
  }
  await again()
  await page.getByText('other-ring cannot be asked just now.').waitFor()
  put(SECRET)
  await again()
  await page.waitForURL(at(2, '/open'))
  assert.equal((await told(page)).headers['x-user'], 'other-ring:zoe')

  // Linked to somebody here, and out here once the other ring says so: it pushes an event that its own key signed.
  const invite = ring.cli('person', 'add', 'yan', '--group', 'staff', '--invite', at(1).slice(0, -1), '--reason', 'joins')
  await context.close()
  const anew = await visitor({ javaScriptEnabled: false })
  const second = await anew.newPage()
  await second.goto(invite.stdout.trim())
  await follow(second, 'Use other-ring')
  await second.waitForURL(/\/\.ringwall\/login/)
  await second.goto(at(1, '/.ringwall/login?to=/home'))
  await second.getByRole('link', { name: 'Log in with other-ring' }).click()
  await second.waitForURL(at(1, '/home'))
  assert.equal((await told(second)).headers['x-user'], 'yan')
  const cookie = `ringwall_session=${(await anew.cookies(at(1))).find(({ name }) => name === 'ringwall_session')?.value}`
  await anew.close()
  assert.equal((await ask(ring.traffic(2), '/', { headers: { cookie } })).status, 200)
  const revoke = other.cli('identity', 'revoke', 'person:zoe', '--issued-before', 'now', '--reason', 'left')
  assert.equal(revoke.code, 0, revoke.stderr)
  for (const node of [1, 2])
    await eventually(
      `n${node} lets her go`,
      async () => (await ask(ring.traffic(node), '/', { headers: { cookie } })).status === 401,
    )
  const logs = [1, 2].map((node) => readFileSync(join(ring.data, `n${node}`, 'output.log'), 'utf8')).join('')
  assert.match(logs, /a login by other-ring: OUTSIDE_UNREACHABLE: the token endpoint of other-ring says invalid_client/)
  assert.ok(!`${logs}${ring.cli('events', '-o', 'json').stdout}`.includes(SECRET))
  const sets = await polled(other, 1)
  assert.deepEqual(
    sets.map(({ events, sub_id: about }) => [Object.keys(events)[0]?.split('/').at(-1), about.sub]),
    [
      ['credential-change', 'person:zoe'],
      ['session-revoked', 'person:zoe'],
    ],
  )
  assert.deepEqual(sets[0]?.events[`${CAEP}credential-change`]?.change_type, 'create')
})

const CAEP = 'https://schemas.openid.net/secevent/caep/event-type/'

interface Set {
  readonly jti: string
  readonly aud: string
  readonly events: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly sub_id: Readonly<Record<string, string>>
}

function signals(of: TestRing, node: number, path: string, body?: object, key = SECRET): Promise<Reply> {
  const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', accept: 'application/json' }
  const init = body === undefined ? { headers } : { headers, method: 'POST', body: JSON.stringify(body) }
  return ask(of.traffic(node), `/.ringwall/signals/${path}`, init)
}

/** What the receiver of the stream `audit` has not acknowledged, as jose reads it. */
async function polled(of: TestRing, node: number, ack: readonly string[] = []): Promise<readonly Set[]> {
  const reply = await signals(of, node, 'poll', { returnImmediately: true, ack })
  assert.equal(reply.status, 200, reply.body)
  const { sets } = JSON.parse(reply.body) as { sets: Readonly<Record<string, string>> }
  const origin = `http://127.0.0.1:${of.traffic(node)}`
  const metadata = JSON.parse((await ask(of.traffic(node), '/.well-known/ssf-configuration')).body) as {
    issuer: string
    jwks_uri: string
  }
  const jwks = createRemoteJWKSet(new URL(new URL(metadata.jwks_uri).pathname, origin))
  return Promise.all(
    Object.entries(sets).map(async ([jti, set]) => {
      const { payload } = await jwtVerify(set, jwks, { issuer: metadata.issuer, audience: AUDIT, typ: 'secevent+jwt' })
      assert.equal(payload.jti, jti)
      return payload as unknown as Set
    }),
  )
}

test('any node hands out events of the stream, and what is acknowledged at one is not told by another', {
  timeout: 60_000,
}, async () => {
  const revoke = (name: string): void => {
    const done = ring.cli('identity', 'revoke', name, '--issued-before', 'now', '--reason', 'lost')
    assert.equal(done.code, 0, done.stderr)
  }
  const about = async (node: number, sub: string, ack: readonly string[] = []): Promise<Set | undefined> =>
    (await polled(ring, node, ack)).find(({ sub_id: named }) => named.sub === sub)
  revoke('person:gil')
  let set: Set | undefined
  for (const node of [1, 2])
    await eventually(`n${node} tells of gil`, async () => (set = await about(node, 'person:gil')) !== undefined)
  assert.equal(set!.sub_id.iss, at(1).slice(0, -1))
  assert.deepEqual(set!.events[`${CAEP}session-revoked`]?.initiating_entity, 'admin')
  assert.equal(await about(2, 'person:gil', [set!.jti]), undefined)
  await eventually('n1 knows that it was acknowledged', async () => (await about(1, 'person:gil')) === undefined)

  const stream = JSON.parse((await signals(ring, 2, 'stream')).body) as readonly {
    stream_id: string
    delivery: { method: string }
  }[]
  assert.deepEqual([stream.length, stream[0]?.delivery.method], [1, 'urn:ietf:rfc:8936'])
  const subject = { format: 'iss_sub', iss: at(1).slice(0, -1), sub: 'person:hal' }
  const table: readonly (readonly [() => Promise<Reply>, number])[] = [
    [() => signals(ring, 1, 'stream', undefined, 'another'), 401],
    [() => signals(ring, 1, 'stream', {}), 409],
    [() => signals(ring, 1, 'stream?stream_id=none'), 404],
    [() => signals(ring, 1, 'status', { stream_id: 'none', status: 'paused' }), 404],
    [() => signals(ring, 1, 'status', { stream_id: 'audit', status: 'off' }), 400],
    [() => signals(ring, 1, 'subjects/add', { stream_id: 'audit', subject: { ...subject, iss: 'https://other.example' } }), 400],
    [() => signals(ring, 1, 'subjects/remove', { stream_id: 'audit', subject }), 204],
    [() => signals(ring, 1, 'verify', { stream_id: 'audit', state: 'seen' }), 204],
    [() => signals(ring, 1, 'verify', { stream_id: 'audit' }), 429],
    [() => signals(ring, 1, 'poll', { maxEvents: 'many' }), 400],
  ]
  // One after the other: of two verifications at once either may be the one too many.
  for (const [send, status] of table) assert.equal((await send()).status, status)
  await eventually('n2 verifies the stream', async () =>
    (await polled(ring, 2)).some(({ events }) => Object.values(events)[0]?.state === 'seen'),
  )
  revoke('person:hal')
  revoke('person:ida')
  await eventually('n2 tells of ida', async () => (await about(2, 'person:ida')) !== undefined)
  assert.equal(await about(2, 'person:hal'), undefined, 'the receiver took him out')
  assert.equal((await signals(ring, 2, 'status', { stream_id: 'audit', status: 'paused' })).status, 200)
  await eventually('n1 tells nothing while it is paused', async () => (await about(1, 'person:ida')) === undefined)
  assert.equal((await signals(ring, 2, 'status', { stream_id: 'audit', status: 'enabled' })).status, 200)
  await eventually('n1 tells what waited', async () => (await about(1, 'person:ida')) !== undefined)
})

for (const javaScriptEnabled of [true, false])
  test(`somebody of samlify’s identity provider logs in${javaScriptEnabled ? '' : ', without script'}`, {
    timeout: 60_000,
    skip,
  }, async () => {
    const context = await visitor({ javaScriptEnabled })
    const page = await context.newPage()
    await page.goto(at(1, '/a?b=c'))
    await page.getByRole('link', { name: 'Log in with works' }).click()
    await page.getByRole('button', { name: 'Send' }).click()
    if (!javaScriptEnabled) await page.getByRole('button', { name: 'Go on' }).click()
    await page.waitForURL(at(1, '/a?b=c'))
    const seen = await told(page)
    assert.deepEqual([seen.headers['x-user'], seen.headers['x-groups']], ['works:sam-1', 'staff'])
    await page.goto(at(2, '/b'))
    assert.equal((await told(page)).headers['x-user'], 'works:sam-1')
    await context.close()
  })

test('parties that node-saml is for take the ring’s assertions, by keys that the policy names; nobody else gets in', {
  timeout: 60_000,
  skip,
}, async () => {
  const context = await visitor({ javaScriptEnabled: false })
  const page = await context.newPage()
  const said = async (): Promise<Record<string, string>> =>
    JSON.parse(await page.locator('body').innerText()) as Record<string, string>
  // Nobody is logged in, and nobody is to be asked.
  await page.goto(await parties.get('/quiet')!.begin('r0'))
  await page.getByRole('button', { name: 'Go on' }).click()
  assert.match((await said()).error ?? '', /NoPassive/)
  await page.goto(await parties.get('/wiki')!.begin('r1'))
  await page.getByRole('link', { name: 'Log in with works' }).click()
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByRole('button', { name: 'Go on' }).click()
  await page.waitForURL(/saml\/sso/)
  await page.getByRole('button', { name: 'Go on' }).click()
  assert.deepEqual(await said(), {
    nameID: 'works:sam-1',
    uid: 'works:sam-1',
    groups: 'staff',
    issuer: at(1, '/.ringwall/saml/idp'),
    relayState: 'r1',
  })
  // Somebody of oidc-provider, whose way back is longer than a state may be.
  const another = await visitor({ javaScriptEnabled: false })
  const beside = await another.newPage()
  await beside.goto(await parties.get('/wiki')!.begin('r5'))
  await beside.getByRole('link', { name: 'Log in with Corp', exact: true }).click()
  await throughCorp(beside, 'carla')
  await beside.getByRole('button', { name: 'Go on' }).click()
  assert.match(await beside.locator('body').innerText(), /"corp:carla"/)
  await another.close()
  await page.goto(await parties.get('/board')!.begin('r2'))
  await page.getByRole('button', { name: 'Go on' }).click()
  assert.match((await said()).error ?? '', /RequestDenied|Responder/)
  // By the key that no node holds: whoever knows RFC 9231 verifies it by the metadata.
  await page.goto(await parties.get('/frost')!.begin('r6'))
  const xml = Buffer.from((await page.locator('[name=SAMLResponse]').getAttribute('value')) ?? '', 'base64').toString()
  const [, info = '', value = ''] = /<ds:SignedInfo>(.*)<\/ds:SignedInfo><ds:SignatureValue>([^<]+)</.exec(xml) ?? []
  const metadata = (await ask(ring.traffic(2), '/.ringwall/saml/idp')).body
  const [, der = ''] = /DEREncodedKeyValue[^>]*>([^<]+)</.exec(metadata) ?? []
  const key = createPublicKey({ key: Buffer.from(der, 'base64'), format: 'der', type: 'spki' })
  const signed = `<ds:SignedInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#">${info}</ds:SignedInfo>`
  assert.ok(verify(null, Buffer.from(signed), key, Buffer.from(value, 'base64')))
  assert.doesNotMatch(xml, /sam-1/)
  // This one believes the other node alone.
  await page.goto(await parties.get('/other')!.begin('r3'))
  await page.getByRole('button', { name: 'Go on' }).click()
  assert.match((await said()).error ?? '', /signature/i)
  const wrong = new URL(await parties.get('/wiki')!.begin('r4'))
  wrong.searchParams.set('SAMLRequest', 'AAAA')
  assert.equal((await page.goto(wrong.href))?.status(), 400)
  await context.close()
})

test('an answer for another browser, another place, or from another provider goes nowhere', { timeout: 60_000 }, async () => {
  const begun = await ask(ring.traffic(1), '/.ringwall/outside?provider=corp&to=/x', {
    headers: { host: `localhost:${ring.traffic(1)}` },
  })
  assert.equal(begun.status, 303)
  const location = new URL(String(begun.headers.location))
  assert.equal(location.searchParams.get('code_challenge_method'), 'S256')
  assert.equal(location.searchParams.get('nonce')?.length, 43)
  const state = location.searchParams.get('state') as string
  const cookie = String([begun.headers['set-cookie']].flat()[0]).split(';')[0] as string
  const host = `localhost:${ring.traffic(1)}`
  const back = async (more: Record<string, string>, headers: Record<string, string> = { cookie }): Promise<number> =>
    (
      await ask(ring.traffic(1), `/.ringwall/outside/callback?${new URLSearchParams({ state, code: 'c', ...more })}`, {
        headers: { host, ...headers },
      })
    ).status
  const iss = `http://localhost:${portOf(corp)}`
  assert.equal(await back({ iss }, {}), 400, 'another browser')
  assert.equal(await back({}), 400, 'it says who it is from, always')
  assert.equal(await back({ iss: `http://127.0.0.1:${other.traffic(1)}` }), 400, 'from another provider')
  assert.equal(await back({ iss, state: state.replace('~corp~', '~other-ring~') }), 400, 'for another provider')
  assert.equal(await back({ iss, state: state.replace(/~[^~]*~$/, '~L2V2aWw~') }), 400, 'to another place')
  assert.equal(await back({ iss, error: 'access_denied' }), 403)
  assert.equal(await back({ iss }), 503, 'a code that the provider never gave')
  assert.equal((await ask(ring.traffic(1), '/.ringwall/outside?provider=nobody')).status, 404)
})

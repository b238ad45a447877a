/**
 * People of outside providers log in between real processes with a real Chromium: by `oidc-provider`, by the provider of a second ring. Each holder of
 * the ring's key fetches the provider's keys and verifies its word by itself.
 */
import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import Provider from 'oidc-provider'
import { type Browser, type BrowserContext, chromium, type Page } from 'playwright-core'
import { ask, eventually, TestRing } from './local-ring.ts'
import { type OutsideIdp, type OutsideParty, outsideIdp, outsideParty } from './saml-parties.ts'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const skip = CHROMIUM === undefined ? 'no Chromium on this machine (Debian: apt-get install chromium)' : false
const SECRET = randomBytes(32).toString('base64url')
const PASSWORD = 'several words that nobody guesses'
const NODES = 2

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
    clients: [
      {
        client_id: 'ringwall',
        client_secret: SECRET,
        redirect_uris: [1, 2].map((node) => at(node, '/.ringwall/outside/callback')),
        grant_types: ['authorization_code'],
        response_types: ['code'],
      },
    ],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email', 'email_verified'] },
    conformIdTokenClaims: false,
    cookies: { keys: [randomBytes(16).toString('hex')] },
    findAccount: (_context, id) => ({
      accountId: id,
      claims: () => ({
        sub: id,
        preferred_username: id,
        groups: ['engineers', 'smokers'],
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
  process.env.OTHER_SECRET = SECRET
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
    },
    services: { app: { upstreams, people: {} } },
  })
  apply(ring, {
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
      },
      {
        kind: 'openid',
        name: 'other-ring',
        issuer: `http://127.0.0.1:${other.traffic(1)}`,
        clientId: 'ringwall',
        authentication: { method: 'client_secret_post', secretVariable: 'OTHER_SECRET' },
        scopes: ['openid', 'profile', 'groups'],
        accounts: 'made',
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
    saml: {
      service: 'app',
      origin: at(1).slice(0, -1),
      keys: certificates,
      parties: [
        { entityId: party('/wiki'), acs: [`${entry.acs}/wiki`] },
        { entityId: party('/board'), acs: [`${entry.acs}/board`], groups: ['board'] },
        { entityId: party('/other'), acs: [`${entry.acs}/other`], nameId: 'pseudonym' },
        { entityId: party('/quiet', { passive: true }), acs: [`${entry.acs}/quiet`] },
      ],
    },
    services: {
      app: {
        upstreams,
        people: { userHeader: 'x-user', groupsHeader: 'x-groups', groups: ['staff'], providers: ['corp', 'other-ring', 'works'] },
        routes: [{ name: 'open', path: '/open', people: 'optional' }],
      },
    },
  })
  for (let node = 1; node <= NODES; node += 1) {
    await eventually(`n${node} has the policy`, async () => (await ring.client(node).policy()).text.includes('other-ring'))
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
  await Promise.all([ring?.destroy(), other?.destroy()])
  for (const server of [application, corp, idp?.server, acs]) server?.close()
})

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
  await page.getByRole('link', { name: 'Log in with Corp' }).click()
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
      async () => (await ask(ring.traffic(node), '/', { headers: { cookie } })).status === 403,
    )
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
  await page.getByRole('link', { name: 'Log in with Corp' }).click()
  // Known there already.
  await page.waitForURL(at(2, '/home'))
  assert.equal((await told(page)).headers['x-user'], 'alice')
  const { people } = (await ring.client(1).people()) as { people: readonly { name: string; outside: unknown }[] }
  assert.deepEqual(people.find(({ name }) => name === 'alice')?.outside, [{ provider: 'corp', subject: 'Al-77' }])
  await context.close()

  const elsewhere = await visitor()
  const evil = await elsewhere.newPage()
  await evil.goto(at(1, '/'))
  await evil.getByRole('link', { name: 'Log in with Corp' }).click()
  await throughCorp(evil, 'mallory')
  await evil.getByRole('heading', { name: 'Not logged in' }).waitFor()
  assert.equal((await ask(ring.traffic(1), '/')).status, 401)
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
  await page.getByRole('link', { name: 'Log in with other-ring' }).click()
  await page.getByLabel('Name').fill('zoe')
  await page.getByLabel('Password').fill(PASSWORD)
  await page.getByRole('button', { name: 'Log in with a password' }).click()
  await page.waitForURL(at(2, '/open'))
  assert.equal((await told(page)).headers['x-user'], 'other-ring:zoe')
  await context.close()
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
  await page.goto(await parties.get('/board')!.begin('r2'))
  await page.getByRole('button', { name: 'Go on' }).click()
  assert.match((await said()).error ?? '', /RequestDenied|Responder/)
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

/**
 * People log in between real processes, a real Chromium with a virtual authenticator, and a browser without script: what one node lets in, all do;
 * what is revoked is out everywhere; guessing is bounded.
 */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Browser, chromium, type Page } from 'playwright-core'
import { ask, eventually, type Reply, TestRing } from './local-ring.ts'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const skip = CHROMIUM === undefined ? 'no Chromium on this machine (Debian: apt-get install chromium)' : false
const PASSWORD = "'; drop table fish -- three words"

let ring: TestRing
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
  const file = join(ring.data, 'login.yaml')
  writeFileSync(
    file,
    JSON.stringify({
      version: 1,
      trustedProxies: ['127.0.0.0/8'],
      detectors: { floods: { mode: 'off' }, failedLogins: { perAccount: 6, perSource: 1_000 } },
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
async function formOf(node: number, path: string): Promise<{ form: string; cookie: string }> {
  const reply = await ask(ring.traffic(node), path)
  const form = /name="form" value="([^"]+)"/.exec(reply.body)?.[1]
  assert.ok(form !== undefined, `${reply.status} ${reply.body}`)
  return { form, cookie: cookieOf(reply, 'ringwall_form') as string }
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
  await cdp.send('WebAuthn.addVirtualAuthenticator', {
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
      async () => (await ask(ring.traffic(node), '/', { headers: { cookie } })).status === 403,
    )

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
      async () => (await ask(ring.traffic(node), '/', { headers: { cookie } })).status === 403,
    )
  await context.close()
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

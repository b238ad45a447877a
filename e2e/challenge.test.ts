/**
 * The proof of work between real processes, a real Chromium and programs: a browser is challenged, works, and goes on, on every node; what is
 * forged, another's, or over is refused.
 */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Browser, chromium, type Page } from 'playwright-core'
import { pairFiles, temporaryFolder } from '../packages/proxy/src/test-certificates.ts'
import { freePort } from '../tools/free-ports.ts'
import { ask, eventually, type Reply, TestRing } from './local-ring.ts'
import { type Program, startProtect } from './program.ts'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const skip = CHROMIUM === undefined ? 'no Chromium on this machine (Debian: apt-get install chromium)' : false
const BOTH = [1, 2]
const BRIEF_MS = 5_000

let ring: TestRing
let browser: Browser | undefined

before(async () => {
  // Two nodes, one of them of two threads: what one gives, all take.
  ring = await TestRing.start({ nodes: 2 })
  await ring.kill(2)
  appendFileSync(join(ring.data, 'n2', 'node.yaml'), '\nworkers: 2\n')
  await ring.restart(2)
  const { text } = await ring.client(1).policy()
  const url = /url: "?(http:[^"\s,}]+)/.exec(text)![1]
  const file = join(ring.data, 'challenge.yaml')
  const upstreams = [{ url }]
  const service = { upstreams, waf: { mode: 'off' } }
  writeFileSync(
    file,
    JSON.stringify({
      version: 1,
      trustedProxies: ['127.0.0.0/8'],
      detectors: { floods: { mode: 'off' } },
      services: {
        shop: {
          ...service,
          challenge: { when: 'always', difficulty: 10 },
          routes: [
            { name: 'form', path: '/contact', challenge: 'never', limits: [{ name: 'forms', rate: '1/h', action: 'challenge' }] },
          ],
        },
        brief: { ...service, hosts: ['brief.example'], challenge: { when: 'always', difficulty: 4, passFor: `${BRIEF_MS}ms` } },
        limited: {
          ...service,
          hosts: ['limited.example'],
          challenge: { difficulty: 4 },
          limits: [{ name: 'few', key: ['network'], rate: '5/h', action: 'challenge', scope: 'ring' }],
        },
      },
    }),
  )
  const apply = ring.cli('policy', 'apply', file, '--yes')
  assert.equal(apply.code, 0, apply.stderr)
  for (const node of BOTH)
    await eventually(`n${node} challenges`, async () => (await ring.client(node).policy()).text.includes('challenge'))
  if (CHROMIUM !== undefined)
    browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', '--disable-background-networking'] })
})

after(async () => {
  await browser?.close()
  await ring?.destroy()
})

const HTML = { accept: 'text/html,*/*;q=0.8' }
const from = (source: string, more: Record<string, string> = {}): Record<string, string> => ({
  'x-forwarded-for': source,
  ...more,
})
const get = (node: number, headers: Record<string, string>, path = '/'): Promise<Reply> =>
  ask(ring.traffic(node), path, { headers })

/** As the page does it. Independent of the code that checks it. */
function solve(challenge: string, bits: number): string {
  const block = Buffer.alloc(4_096)
  block.fill(challenge, 8)
  for (let counter = 0; ; counter++) {
    block.writeUInt32BE(counter, 4)
    const digest = BigInt(`0x${hash('sha256', block, 'hex')}`)
    if (digest >> BigInt(256 - bits) === 0n) return `${challenge}.${counter}`
  }
}

async function challengeOf(
  node: number,
  headers: Record<string, string>,
): Promise<{ challenge: string; bits: number; status: number }> {
  const reply = await get(node, { ...headers, ...HTML })
  const [, challenge, bits] = /data-challenge="([\w-]+)" data-bits="(\d+)"/.exec(reply.body) ?? []
  assert.ok(challenge !== undefined, `${reply.status} ${reply.body}`)
  return { challenge, bits: Number(bits), status: reply.status }
}

const bring = (node: number, solution: string, headers: Record<string, string>): Promise<Reply> =>
  ask(ring.traffic(node), '/.ringwall/challenge', { method: 'POST', headers: { 'ringwall-solution': solution, ...headers } })

/** The cookie, as a client sends it. */
async function passFrom(node: number, headers: Record<string, string>): Promise<string> {
  const { challenge, bits } = await challengeOf(node, headers)
  const reply = await bring(node, solve(challenge, bits), headers)
  assert.equal(reply.status, 200, reply.body)
  return String(reply.headers['set-cookie']).split(';')[0]!
}

async function visit(page: Page, node: number, path = '/'): Promise<void> {
  await page.goto(`http://127.0.0.1:${ring.traffic(node)}${path}`)
}

test('Chromium is challenged, works, goes on, and is not challenged again; the other node believes its pass', {
  skip,
}, async (t) => {
  const context = await browser!.newContext({ extraHTTPHeaders: from('203.0.113.7') })
  const page = await context.newPage()
  const problems: string[] = []
  const statuses: number[] = []
  page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
  page.on('pageerror', (error) => problems.push(error.message))
  page.on('response', (response) => {
    if (response.request().isNavigationRequest()) statuses.push(response.status())
  })
  const startMs = performance.now()
  await visit(page, 1, '/search?q=lamp')
  // Its status comes before its page: who goes elsewhere meanwhile interrupts it.
  await eventually('the page is answered', () => statuses.length === 2)
  await page.locator('[data-challenge]').waitFor({ state: 'detached' })
  await page.waitForLoadState()
  t.diagnostic(`from challenge to page: ${Math.round(performance.now() - startMs)} ms`)
  assert.deepEqual(statuses, [403, 200])
  assert.match(page.url(), /\/search\?q=lamp$/)
  assert.deepEqual(
    problems.filter((line) => !line.startsWith('Failed to load resource')),
    [],
    'nothing that its own policy forbids',
  )
  const [pass] = (await context.cookies()).filter(({ name }) => name === 'ringwall_pass')
  assert.ok(pass !== undefined)
  assert.deepEqual([pass.httpOnly, pass.sameSite, pass.secure, pass.path], [true, 'Lax', false, '/'])
  statuses.length = 0
  await visit(page, 1, '/')
  // Cookies know no ports: the other node is shown the same one.
  await visit(page, 2, '/')
  assert.deepEqual(statuses, [200, 200])
  await context.close()
})

test('the page does without JavaScript what it can, says so in plain words, and axe finds nothing', { skip }, async () => {
  const plain = await browser!.newContext({ javaScriptEnabled: false, extraHTTPHeaders: from('203.0.113.8') })
  const still = await plain.newPage()
  await visit(still, 1)
  assert.match(await still.locator('main').innerText(), /needs JavaScript: allow it/)
  await plain.close()
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  for (const colorScheme of ['light', 'dark'] as const) {
    const context = await browser!.newContext({ colorScheme, extraHTTPHeaders: from('203.0.113.9') })
    const page = await context.newPage()
    // The work never ends: the page stays.
    await context.route('**/*', async (route) => {
      const response = await route.fetch()
      const body = (await response.text()).replace(/data-bits="\d+"/, 'data-bits="250"')
      await route.fulfill({ response, body })
    })
    await visit(page, 1)
    const cdp = await context.newCDPSession(page)
    await cdp.send('Runtime.evaluate', { expression: axe })
    const found = (await page.evaluate(
      'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))',
    )) as string[][]
    assert.deepEqual(found, [], colorScheme)
    await context.close()
  }
})

test('a form that is challenged says what to do, and what was sent is not sent again by itself', { skip }, async () => {
  const context = await browser!.newContext({ extraHTTPHeaders: from('203.0.113.60') })
  const page = await context.newPage()
  await visit(page, 1, '/contact')
  const posts: string[] = []
  page.on('request', (request) => request.method() === 'POST' && posts.push(new URL(request.url()).pathname))
  await page.evaluate(
    `const form = Object.assign(document.createElement('form'), { method: 'post', action: '/contact' })
    document.body.append(form)
    form.submit()`,
  )
  await page.getByRole('button', { name: 'Go back' }).waitFor()
  assert.match(await page.getByRole('status').innerText(), /has not arrived yet: go back and send it again/)
  assert.deepEqual(posts, ['/contact', '/.ringwall/challenge'])
  await context.close()
})

test('programs get problem details, which hold no challenge; a client that posts is given no page', async () => {
  for (const [headers, method] of [
    [{ accept: 'application/json' }, 'GET'],
    [{}, 'GET'],
    [HTML, 'POST'],
    [{ ...HTML, 'sec-fetch-mode': 'no-cors' }, 'GET'],
  ] as const) {
    const reply = await ask(ring.traffic(1), '/', { method, headers: from('203.0.113.10', headers) })
    assert.equal(reply.status, 403)
    assert.equal(reply.headers['content-type'], 'application/problem+json')
    assert.equal(reply.headers['cache-control'], 'no-store')
    assert.equal(JSON.parse(reply.body).code, 'challenge')
  }
  const page = await get(1, from('203.0.113.10', HTML))
  assert.equal(page.headers['cache-control'], 'no-store')
  assert.match(
    String(page.headers['content-security-policy']),
    /^default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-/,
  )
  assert.doesNotMatch(page.body, /https?:\/\//, 'nothing from elsewhere')
  const explained = ring.cli('explain', String(page.headers['x-request-id']))
  assert.match(explained.stdout, /challenge/)
})

test('a pass is its network’s and its service’s alone; a forged one and a proof by another are refused, on every node', async () => {
  const mine = from('198.51.100.7')
  const cookie = await passFrom(1, mine)
  for (const node of BOTH) {
    assert.equal((await get(node, { ...mine, cookie })).status, 200, `n${node}`)
    assert.equal((await get(node, { ...from('198.51.100.99'), cookie })).status, 200, 'the same /24')
    assert.equal((await get(node, { ...from('192.0.2.7'), cookie })).status, 403, 'another network')
    assert.equal((await get(node, { ...mine, cookie, host: 'brief.example' })).status, 403, 'another service')
    const forged = `${cookie.slice(0, -1)}${cookie.endsWith('A') ? 'B' : 'A'}`
    assert.equal((await get(node, { ...mine, cookie: forged })).status, 403)
  }
  const { challenge, bits } = await challengeOf(1, mine)
  const solution = solve(challenge, bits)
  assert.equal((await bring(1, solution, from('192.0.2.7'))).status, 403)
  assert.equal((await bring(2, `${challenge}.${Number(solution.split('.')[1]) + 1}`, mine)).status, 403)
  assert.equal((await bring(2, solution, mine)).status, 200, 'a proof for a challenge of the other node')
})

test('a limit that challenges: programs stop at it, each pass has a budget of its own on all nodes', async () => {
  const mine = from('198.51.100.20', { host: 'limited.example' })
  let through = 0
  let challenged = 0
  for (let at = 0; at < 40; at++) {
    const { status } = await get(BOTH[at % 2]!, from(`198.51.100.${at}`, { host: 'limited.example' }))
    if (status === 200) through++
    else if (status === 429) challenged++
  }
  assert.ok(through <= 5 && through >= 4, `${through}`)
  assert.equal(challenged, 40 - through)
  const person = await passFrom(1, mine)
  assert.equal((await get(2, { ...mine, cookie: person })).status, 200)
  let good = 1
  let throttled: Reply | undefined
  for (let at = 0; at < 9; at++) {
    const reply = await get(BOTH[at % 2]!, { ...mine, ...HTML, cookie: person })
    if (reply.status === 200) good++
    else throttled = reply
  }
  assert.ok(good <= 5 && good >= 3, `${good}`)
  assert.equal(throttled!.status, 429)
  assert.doesNotMatch(throttled!.body, /data-challenge/)
})

test('a pass that is over is refused', async () => {
  const mine = from('198.51.100.30', { host: 'brief.example' })
  const startMs = performance.now()
  const cookie = await passFrom(1, mine)
  assert.equal((await get(2, { ...mine, cookie })).status, 200)
  await eventually('the pass is over', async () => (await get(2, { ...mine, cookie })).status === 403)
  assert.ok(performance.now() - startMs > BRIEF_MS - 1_100, 'not before')
  assert.equal((await get(1, { ...mine, cookie })).status, 403)
})

test('over TLS and HTTP/2: the pass is kept from plain HTTP, and holds on another connection, after a restart too', {
  skip,
}, async (t) => {
  const folder = temporaryFolder(t)
  const files = await pairFiles(folder, ['localhost'])
  const application = createServer((_, response) => response.setHeader('content-type', 'text/html').end('<title>hello</title>'))
  application.listen(0, '127.0.0.1')
  await once(application, 'listening')
  t.after(() => {
    application.closeAllConnections()
    application.close()
  })
  const url = `http://127.0.0.1:${(application.address() as AddressInfo).port}`
  const policy = join(folder, 'policy.yaml')
  const challenge = { when: 'always', difficulty: 8 }
  writeFileSync(
    policy,
    JSON.stringify({ version: 1, services: { app: { upstreams: [{ url }], waf: { mode: 'off' }, challenge } } }),
  )
  const port = await freePort()
  const start = (): Promise<Program> =>
    startProtect(url, port, join(folder, 'data'), '--tls-cert', files.certificate, '--tls-key', files.key, '--config', policy)
  let node = await start()
  t.after(() => node.end())
  const context = await browser!.newContext({ ignoreHTTPSErrors: true })
  const page = await context.newPage()
  const statuses: number[] = []
  page.on('response', (response) => {
    if (response.request().isNavigationRequest()) statuses.push(response.status())
  })
  await page.goto(`https://localhost:${port}/`)
  await eventually('the page is there', () => statuses.length === 2)
  // Asked while it goes from one page to the other, it has no answer.
  await eventually('the page has taken the place of the challenge', async () => (await page.title().catch(() => '')) === 'hello')
  assert.deepEqual(statuses, [403, 200])
  assert.equal(await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol"), 'h2')
  const [pass] = (await context.cookies()).filter(({ name }) => name === 'ringwall_pass')
  assert.deepEqual([pass?.secure, pass?.httpOnly], [true, true])
  await node.end()
  node = await start()
  // The same context resumes its session: another JA4.
  assert.equal((await page.goto(`https://localhost:${port}/again`))?.status(), 200)
  const other = await browser!.newContext({ ignoreHTTPSErrors: true, storageState: await context.storageState() })
  assert.equal((await (await other.newPage()).goto(`https://localhost:${port}/other`))?.status(), 200)
  await other.close()
  await context.close()
})

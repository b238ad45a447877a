/**
 * The built console in a real Chromium, against a real node: signing in, adding a denial, reading why a request was
 * refused; and axe finds nothing on any page, in light and dark, wide and narrow.
 */
import assert from 'node:assert/strict'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, test } from 'node:test'
import { type RunningNode, startProtect } from '@ringwall/node'
import { type Browser, chromium, type Page } from 'playwright-core'

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(existsSync)
const BUILT = existsSync(resolve(import.meta.dirname, '../packages/console/dist/index.html'))
const skip =
  CHROMIUM === undefined
    ? 'no Chromium on this machine (Debian: apt-get install chromium)'
    : BUILT
      ? false
      : 'the console is not built: npm test builds it'

const data = mkdtempSync(join(tmpdir(), 'ringwall-console-'))
const upstream = createServer((_request, response) => response.end('hello'))
let node: RunningNode
let browser: Browser
let base = ''
let traffic = ''

before(async () => {
  if (skip !== false) return
  await new Promise<void>((settle) => upstream.listen(0, '127.0.0.1', settle))
  const free = async (): Promise<number> => {
    const probe = createServer()
    await new Promise<void>((settle) => probe.listen(0, '127.0.0.1', settle))
    const { port } = probe.address() as AddressInfo
    await new Promise((settle) => probe.close(settle))
    return port
  }
  traffic = `127.0.0.1:${await free()}`
  node = await startProtect({
    url: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`,
    listen: traffic,
    rules: ['base'],
    paranoia: 1,
    mode: 'enforce',
    explainHeader: false,
    config: undefined,
    data,
    admin: `127.0.0.1:${await free()}`,
  })
  base = `http://127.0.0.1:${node.config.listen.admin.port}`
  browser = await chromium.launch({
    executablePath: CHROMIUM as string,
    args: ['--no-sandbox', '--disable-background-networking'],
  })
})

after(async () => {
  await browser?.close()
  await node?.stop()
  upstream.close()
  upstream.closeAllConnections()
  rmSync(data, { recursive: true, force: true })
})

async function signedIn(options: { readonly colorScheme?: 'light' | 'dark'; readonly width?: number } = {}): Promise<Page> {
  const context = await browser.newContext({
    colorScheme: options.colorScheme ?? 'light',
    viewport: { width: options.width ?? 1_280, height: 900 },
  })
  const page = await context.newPage()
  page.on('dialog', (dialog) => void dialog.accept())
  const link = Buffer.from(readFileSync(join(data, 'operator.json'), 'utf8')).toString('base64url')
  await page.goto(`${base}/#login=${link}`)
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  return page
}

test('the link signs in, its key leaves the address bar at once, and a reload stays signed in', { skip }, async () => {
  const page = await signedIn()
  assert.doesNotMatch(page.url(), /login/)
  await page.reload()
  await page.getByRole('heading', { name: 'Overview' }).waitFor()
  await page.getByText('1 of 1').waitFor()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByRole('heading', { name: 'Ringwall' }).waitFor()
  await page.reload()
  await page.getByLabel('Context file').waitFor()
  await page.context().close()
})

test('a file that is no context is refused in words', { skip }, async () => {
  const page = await (await browser.newContext()).newPage()
  await page.goto(base)
  await page.getByLabel('or its text').fill('{"format":"other"}')
  await page.getByRole('button', { name: 'Sign in' }).click()
  assert.match(await page.getByRole('alert').innerText(), /format is not ringwall\/context\/1/)
  await page.context().close()
})

test('a denial is added and lifted; a wrong one is refused in the ring’s words', { skip }, async () => {
  const page = await signedIn()
  await page.getByRole('link', { name: 'Denials' }).click()
  await page.getByLabel('Address or prefix').fill('203.0.113.99')
  await page.getByRole('button', { name: 'Deny everywhere' }).click()
  await page.getByText(/certified at height \d+\./).waitFor()
  await page.getByRole('cell', { name: 'ip 203.0.113.99' }).waitFor()
  const refused = await fetch(`http://${traffic}/`, { headers: { 'x-forwarded-for': '203.0.113.99' } })
  assert.equal(refused.status, 403)
  await page.getByRole('button', { name: 'Lift the denial of 203.0.113.99' }).click()
  await page.getByText('Nothing is denied.').waitFor()
  await page.getByLabel('Address or prefix').fill('0.0.0.0/0')
  await page.getByRole('button', { name: 'Deny everywhere' }).click()
  await page
    .getByText(/prefix|wide/i)
    .last()
    .waitFor()
  await page.context().close()
})

test('a refused request shows live, and its page says which part of it matched', { skip }, async () => {
  const page = await signedIn()
  await page.getByRole('link', { name: 'Decisions' }).click()
  await fetch(`http://${traffic}/buy?q=${encodeURIComponent('<script>alert(1)</script>')}`)
  await page.getByRole('link', { name: 'GET /buy' }).first().click()
  await page.getByText('ARGS:q').first().waitFor()
  assert.equal(await page.getByText('alert(1)').first().isVisible(), true, 'shown as text')
  await page.context().close()
})

test('axe finds nothing to object to on any page, light and dark, wide and narrow', { skip }, async () => {
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
  for (const [colorScheme, width] of [
    ['light', 1_280],
    ['dark', 360],
  ] as const) {
    const page = await signedIn({ colorScheme, width })
    for (const hash of ['overview', 'decisions', 'denials', 'policy']) {
      await page.goto(`${base}/#/${hash}`)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.waitForTimeout(400)
      const cdp = await page.context().newCDPSession(page)
      // Through the debugger: the page's own policy allows no script that is not its own.
      await cdp.send('Runtime.evaluate', { expression: axe })
      const found = (await page.evaluate(
        'axe.run().then(({ violations }) => violations.map(({ id, nodes }) => [id, nodes[0].html]))',
      )) as string[][]
      assert.deepEqual(found, [], `${hash} ${colorScheme} ${width}`)
      const overflow = (await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      )) as number
      assert.ok(overflow <= 0, `${hash} at ${width} px is wider than the window by ${overflow} px`)
    }
    await page.context().close()
  }
})

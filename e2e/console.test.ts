/**
 * The built console in a real Chromium, against a real node: signing in, adding a denial, reading why a request was
 * refused; and axe finds nothing on any page, in light and dark, wide and narrow.
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import type { VaultShards } from '@ringwall/client'
import { type RunningNode, startProtect } from '@ringwall/node'
import type { Browser, Page } from 'playwright-core'
import { axeFindings, launchChromium, overflowOf, signedInAt, consoleSkip as skip } from './console-page.ts'

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
  browser = await launchChromium()
})

after(async () => {
  await browser?.close()
  await node?.stop()
  upstream.close()
  upstream.closeAllConnections()
  rmSync(data, { recursive: true, force: true })
})

const signedIn = (options: Parameters<typeof signedInAt>[3] = {}): Promise<Page> =>
  signedInAt(browser, base, join(data, 'operator.json'), options)

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

test('an incident is taken, given to another who has to be an operator, and closed; whoever looks next sees who works on it', {
  skip,
}, async () => {
  const reason = 'asks for <b>many</b> paths'
  const found = { detector: 'scanning', attack: ['T1595.003'], service: 'app', sources: ['203.0.113.7'], denied: false }
  node.desk.add({ ...found, atMs: Date.now(), subject: { kind: 'source', value: '203.0.113.7' }, reason })
  const [incident] = node.desk.list()
  const page = await signedIn()
  await page.getByRole('link', { name: 'Incidents' }).click()
  await page.getByRole('button', { name: `Take incident ${incident!.id}` }).click()
  await page.getByRole('button', { name: `Leave incident ${incident!.id}` }).waitFor()
  await page.getByRole('link', { name: incident!.title }).click()
  await page.getByText('to local, by local').waitFor()
  await page.getByText(reason).waitFor()
  await page.getByLabel('Operator').fill('mallory')
  await page.getByRole('button', { name: 'Assign' }).click()
  assert.match(await page.getByRole('alert').innerText(), /there is no operator "mallory"; the ring has local/)
  await page.getByRole('button', { name: 'To nobody' }).click()
  await page.getByText('to nobody', { exact: true }).waitFor()
  await page.getByLabel('Note').fill('a scanner of ours')
  await page.getByRole('button', { name: 'Close' }).click()
  await page.getByText('by local: a scanner of ours').waitFor()
  assert.equal(node.desk.find(incident!.id)?.closed?.by, 'local')
  await page.context().close()
})

/** Of a ring of four in which one node repairs, one does not answer, and one cannot get at its bucket. */
function troubledShards(): VaultShards {
  const atMs = Date.now()
  const version = '0123456789abcdef0123456789abcdef'
  const standing: NonNullable<VaultShards['nodes'][number]['standing']> = {
    versions: 4,
    versionsMax: 100_000,
    shards: 4,
    missing: 2,
    waiting: 1,
    waits: [{ version, reason: 'no node that can be reached has the manifest of it' }],
    bytes: 96 * 1_048_576,
    bytesMax: 2 ** 40,
    store: 'folder',
    storeAway: null,
    passedAtMs: atMs,
    uncompared: 1,
    comparedAtMs: null,
    repairing: { version, index: 3, bytes: 24 * 1_048_576, of: 32 * 1_048_576 },
    mending: { shards: 1, ofShards: 3, bytes: 56 * 1_048_576, ofBytes: 96 * 1_048_576 },
    repaired: 1,
    corrupt: 1,
    erased: 0,
    moved: 0,
    scrubbedBytes: 0,
    repairedBytes: 32 * 1_048_576,
    put: 4,
    read: 0,
    faults: 2,
    culprits: [{ party: 'n3', wrong: 2, missing: 0, lastAtMs: atMs - 90_000 }],
    away: ['n4'],
  }
  const store = 'https://s3.eu-central-1.amazonaws.com shop-shards'
  const storeAway = { sinceMs: atMs - 30_000, reason: 'no answer in 10 s' }
  const whole = { missing: 0, waiting: 0, waits: [], repairing: null, mending: null, uncompared: 0, comparedAtMs: atMs - 5_000 }
  const bucket = { data: 2, shards: 4, versioning: 'on' as const }
  return {
    versions: 4,
    versionsMax: 100_000,
    buckets: [
      { ...bucket, name: 'shop-photos', versions: 3, bytes: 134_217_728, residency: ['eu-1', 'eu-2'] },
      { ...bucket, name: `shop-${'x'.repeat(50)}`, versions: 1, bytes: 0, residency: [] },
    ],
    nodes: [
      { id: 'n1', region: 'eu-1', self: true, reason: null, standing },
      { id: 'n2', region: 'eu-2', self: false, reason: null, standing: { ...standing, ...whole, culprits: [] } },
      { id: 'n3', region: 'us-1', self: false, reason: null, standing: { ...standing, ...whole, store, storeAway } },
      { id: 'n4', region: 'us-1', self: false, reason: 'connect ECONNREFUSED', standing: null },
    ],
  }
}

test('the page of objects says what is repaired and how far, what waits and why, who is silent, and whose shards were wrong', {
  skip,
}, async () => {
  const page = await signedIn()
  await page.route('**/v1/vault/shards', (route) => route.fulfill({ json: troubledShards() }))
  await page.getByRole('link', { name: 'Objects' }).click()
  await page
    .getByText(
      'Repairing on 1 node: 56.0 MiB of 96.0 MiB (58 %). 1 shard waiting. No answer from n4. Shards out of reach on n3.',
      { exact: true },
    )
    .waitFor()
  assert.equal(await page.getByRole('progressbar', { name: 'Repairs of n1' }).getAttribute('value'), '58')
  await page.getByText('shard 3 of 01234567: 24.0 MiB of 32.0 MiB (75 %)').waitFor()
  await page.getByText('version 01234567: no node that can be reached').waitFor()
  await page.getByRole('cell', { name: 'does not answer', exact: true }).waitFor()
  await page.getByText('n4 does not answer: connect ECONNREFUSED; its shards are made anew elsewhere, say n1, n2, n3').waitFor()
  const accused = page.getByRole('region', { name: 'Nodes that gave wrong shards, or none' }).getByRole('row', { name: 'n3' })
  assert.match(await accused.innerText(), /^n3\s+4\s+0\s+1 min 3\d s ago\s+n1 n3$/)
  for (const [colorScheme, width] of [
    ['light', 1_280],
    ['dark', 360],
  ] as const) {
    await page.emulateMedia({ colorScheme })
    await page.setViewportSize({ width, height: 900 })
    assert.deepEqual(await axeFindings(page), [], `${colorScheme} ${width}`)
    assert.ok((await overflowOf(page)) <= 0, `wider than the window at ${width} px`)
  }
  await page.context().close()
})

test('axe finds nothing to object to on any page, light and dark, wide and narrow', { skip }, async () => {
  for (const [colorScheme, width] of [
    ['light', 1_280],
    ['dark', 360],
  ] as const) {
    const page = await signedIn({ colorScheme, width })
    const { id } = node.desk.list()[0]!
    for (const hash of ['overview', 'decisions', 'denials', 'incidents', `incidents/${id}`, 'objects', 'policy']) {
      await page.goto(`${base}/#/${hash}`)
      await page.getByRole('heading', { level: 1 }).waitFor()
      await page.waitForTimeout(400)
      assert.deepEqual(await axeFindings(page), [], `${hash} ${colorScheme} ${width}`)
      const overflow = await overflowOf(page)
      assert.ok(overflow <= 0, `${hash} at ${width} px is wider than the window by ${overflow} px`)
    }
    await page.context().close()
  }
})

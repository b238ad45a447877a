/** Countries and autonomous systems from files, told from outside of a real process with two threads. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { mmdb } from '../packages/node/src/test-mmdb.ts'
import { freePort } from '../tools/free-ports.ts'
import { ask, eventually } from './local-ring.ts'
import { type Program, startProtect } from './program.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-places-'))
const [countries, systems] = [join(folder, 'country.mmdb'), join(folder, 'asn.mmdb')]
const application = createServer((_, response) => response.end('hello'))
let node: Program | undefined
let port = 0

before(async () => {
  application.listen(0, '127.0.0.1')
  await once(application, 'listening')
  const url = `http://127.0.0.1:${(application.address() as AddressInfo).port}`
  writeFileSync(countries, mmdb('Test-Country', [['203.0.113.0/24', { country: { iso_code: 'KP' } }]]))
  writeFileSync(systems, mmdb('Test-ASN', [['198.51.100.0/24', { autonomous_system_number: 64_500 }]]))
  const policy = join(folder, 'policy.yaml')
  const app = {
    upstreams: [{ url }],
    waf: { mode: 'off' },
    sources: { deny: { countries: ['KP'] } },
    pretenders: 'deny',
    limits: [{ name: 'hosting', key: ['asn'], rate: '5/h', from: { asns: [64_500] } }],
  }
  const bots = { example: { userAgent: 'ExampleBot', prefixes: ['192.0.2.64/26'] } }
  const tests = [{ name: 'far away', request: { country: 'KP' }, expect: 'deny' }]
  writeFileSync(policy, JSON.stringify({ version: 1, trustedProxies: ['127.0.0.0/8'], services: { app }, bots, tests }))
  port = await freePort()
  const files = ['--places', countries, '--places', systems]
  node = await startProtect(url, port, join(folder, 'ring'), '--config', policy, ...files, '--workers', '2')
})

after(async () => {
  await node?.end()
  application.closeAllConnections()
  application.close()
  rmSync(folder, { recursive: true, force: true })
})

const from = async (source: string, headers: Record<string, string> = {}): Promise<number> =>
  (await ask(port, '/', { headers: { 'x-forwarded-for': source, connection: 'close', ...headers } })).status

test('who says that it is a bot and is elsewhere is refused; the bot is not', async () => {
  const agent = { 'user-agent': 'Mozilla/5.0 (compatible; ExampleBot/2.1)' }
  assert.equal(await from('192.0.2.70', agent), 200)
  assert.equal(await from('192.0.2.7', agent), 403)
  assert.equal(await from('192.0.2.7'), 200)
})

test('a country that is denied is refused, a system has one budget, the rest goes on', async () => {
  for (let at = 0; at < 8; at++) {
    assert.equal(await from(`203.0.113.${at}`), 403)
    assert.equal(await from(`192.0.2.${at}`), 200)
  }
  const answers = []
  for (let at = 0; at < 12; at++) answers.push(await from(`198.51.100.${at}`))
  assert.deepEqual([answers.filter((status) => status === 200).length, answers.filter((status) => status === 429).length], [5, 7])
})

test('a file that is replaced holds within seconds, on all threads; a broken one changes nothing', async () => {
  const replace = (bytes: Buffer): void => {
    writeFileSync(`${countries}.new`, bytes)
    renameSync(`${countries}.new`, countries)
  }
  replace(mmdb('Test-Country', [['192.0.2.0/24', { country: { iso_code: 'KP' } }]]))
  const settled = async (): Promise<boolean> => {
    for (let at = 0; at < 8; at++) if ((await from('192.0.2.1')) !== 403 || (await from('203.0.113.1')) !== 200) return false
    return true
  }
  await eventually('the new file holds', settled)
  replace(Buffer.from('broken'))
  await new Promise((settle) => setTimeout(settle, 2_500))
  assert.equal(await settled(), true)
})

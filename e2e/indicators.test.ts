/**
 * Indicators at a real node of two threads: a list and a STIX bundle, by the Python package stix2 where it is installed. The policy refuses
 * one set, watches another; a changed list takes effect without a restart.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { application } from '../packages/node/src/test-protect.ts'
import { freePort } from '../tools/free-ports.ts'
import { ask, CLI, eventually } from './local-ring.ts'
import { startProgram, startProtect } from './program.ts'

const folderOf = (t: TestContext): string => {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-indicators-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A node whose policy refuses what `refused` lists and watches what `watched` does. */
async function startNode(t: TestContext, folder: string, sets: string) {
  const [port, adminPort] = [await freePort(), await freePort()]
  const upstream = await application(t, 'hello')
  const policy = join(folder, 'ringwall.yaml')
  writeFileSync(
    policy,
    `version: 1\nservices: { app: { upstreams: [{ url: "${upstream}" }] } }\ntrustedProxies: ["127.0.0.1"]\ndenials: { safe: ["198.51.100.9"] }\nindicators: [{ set: refused, mode: deny }, { set: watched }, { set: posted, mode: deny }]\n`,
  )
  const data = join(folder, 'ring')
  const made = await startProtect(upstream, port, data, '--admin', `127.0.0.1:${adminPort}`, '--config', policy, '--workers', '2')
  await made.end()
  const config = join(data, 'n1/node.yaml')
  appendFileSync(config, `\nindicators: ${sets}\n`)
  const node = await startProgram(CLI, ['node', '--config', config], 'serving at')
  t.after(() => node.end())
  const ringwall = (...args: readonly string[]): string => {
    const env = { ...process.env, RINGWALL_CONTEXT: join(data, 'operator.json') }
    return spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8', env }).stdout
  }
  const statusFor = async (source: string): Promise<number> =>
    (await ask(port, '/', { headers: { 'x-forwarded-for': source } })).status
  return { ringwall, statusFor }
}

test('what a list names is refused on every thread, what is safe is not, and a changed list counts', async (t) => {
  const folder = folderOf(t)
  const taxii = await freePort()
  const [list, watched] = [join(folder, 'list.txt'), join(folder, 'watched.txt')]
  writeFileSync(list, '198.51.100.0/24 # scanners\n')
  writeFileSync(watched, '203.0.113.0/24\n')
  const { ringwall, statusFor } = await startNode(
    t,
    folder,
    `[{ name: refused, path: ${list}, format: list }, { name: watched, path: ${watched}, format: list }, { name: posted, format: inbox }]\ntaxii: { listen: "127.0.0.1:${taxii}", share: [refused] }`,
  )
  for (let time = 0; time < 8; time += 1) {
    assert.equal(await statusFor('198.51.100.7'), 403)
    assert.equal(await statusFor('198.51.100.9'), 200)
    assert.equal(await statusFor('203.0.113.7'), 200)
  }
  assert.match(ringwall('indicator', 'ls'), /refused +list +1 /)
  writeFileSync(list, '192.0.2.0/24\n')
  await eventually('the changed list is in force', async () => (await statusFor('192.0.2.7')) === 403, 20_000)
  assert.equal(await statusFor('198.51.100.7'), 200)

  const key = ringwall('taxii', 'add', 'partner', '--read', 'refused', '--write', 'posted', '--yes').trim()
  const object = {
    type: 'indicator',
    spec_version: '2.1',
    id: 'indicator--00000000-0000-4000-8000-000000000000',
    created: '2026-01-01T00:00:00Z',
    modified: '2026-01-01T00:00:00Z',
    pattern: "[ipv4-addr:value = '203.0.113.99']",
    pattern_type: 'stix',
    valid_from: '2026-01-01T00:00:00Z',
  }
  const call = async (collection: string, init: RequestInit = {}): Promise<Response> => {
    const authorization = `Basic ${btoa(`partner:${key}`)}`
    const headers = { authorization, 'content-type': 'application/taxii+json;version=2.1' }
    return fetch(`http://127.0.0.1:${taxii}/taxii2/ring/collections/${collection}/objects/`, { ...init, headers })
  }
  assert.equal((await call('posted', { method: 'POST', body: JSON.stringify({ objects: [object] }) })).status, 202)
  await eventually('what was posted is refused', async () => (await statusFor('203.0.113.99')) === 403, 20_000)
  assert.match(await (await call('refused')).text(), /ipv4-addr:value = '192\.0\.2\.0\/24'/)
  assert.equal((await call('denials')).status, 404)
  assert.match(ringwall('taxii', 'ls'), /partner +refused +posted/)
})

const PYTHON = process.env.PYTHON ?? 'python3'
const hasStix = spawnSync(PYTHON, ['-c', 'import stix2']).status === 0
const skip = hasStix ? false : `the Python package stix2 is not installed for ${PYTHON} (PYTHON names another): pip install stix2`

test('a bundle that stix2 wrote is taken in', { skip }, async (t) => {
  const folder = folderOf(t)
  const bundle = join(folder, 'bundle.json')
  const script = `
import stix2, sys
patterns = ["[ipv4-addr:value = '198.51.100.7']", "[ipv6-addr:value = '2001:db8::7']", "[ipv4-addr:value ISSUBSET '203.0.113.0/24']",
            "[domain-name:value = 'evil.example']", "[file:hashes.'SHA-256' = '" + "a" * 64 + "']"]
objects = [stix2.Indicator(name="C2", pattern=p, pattern_type="stix", confidence=80) for p in patterns]
objects.append(stix2.Indicator(name="old", pattern="[ipv4-addr:value = '192.0.2.1']", pattern_type="stix",
                               valid_from="2020-01-01T00:00:00Z", valid_until="2020-02-01T00:00:00Z"))
objects.append(stix2.Malware(name="x", is_family=False))
print(stix2.Bundle(objects).serialize())
`
  const { stdout, status, stderr } = spawnSync(PYTHON, ['-c', script], { encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  writeFileSync(bundle, stdout)
  const { ringwall, statusFor } = await startNode(t, folder, `[{ name: refused, path: ${bundle}, format: stix }]`)
  for (const source of ['198.51.100.7', '2001:db8::7', '203.0.113.200']) assert.equal(await statusFor(source), 403, source)
  for (const source of ['192.0.2.1', '198.51.100.8']) assert.equal(await statusFor(source), 200, source)
  assert.match(ringwall('indicator', 'ls'), /refused +stix +3 .* 1 +(?=.*domain-name 1)(?=.*file 1)(?=.*malware 1)/)
})

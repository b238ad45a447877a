/** Kept and compressed answers through a node whose two workers each keep their own, with curl as the client. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort } from '../tools/free-ports.ts'
import { ask, CLI, eventually } from './local-ring.ts'
import { startProtect } from './program.ts'

const NO_CURL = spawnSync('curl', ['--version']).status === 0 ? false : 'curl is not installed'

test('workers keep what they may, forget together what was changed, and compress; the guard goes first', async (t) => {
  const seen: string[] = []
  let version = 1
  const app = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    request.resume()
    if (request.method === 'POST') {
      version++
      response.end()
      return
    }
    response.writeHead(200, { 'content-type': 'text/html', 'cache-control': 'max-age=60', etag: `"v${version}"` })
    response.end(`version ${version} ${'of a page '.repeat(500)}`)
  }).listen(0, '127.0.0.1')
  await once(app, 'listening')
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-delivery-'))
  const url = `http://127.0.0.1:${(app.address() as AddressInfo).port}`
  const policy = join(folder, 'ringwall.yaml')
  writeFileSync(policy, `version: 1\nservices:\n  app:\n    upstreams: [{ url: "${url}" }]\n    cache: {}\n    compress: {}\n`)
  const [port, admin] = [await freePort(), await freePort()]
  const more = ['--workers', '2', '--admin', `127.0.0.1:${admin}`, '--config', policy]
  const node = await startProtect(url, port, join(folder, 'data'), ...more)
  t.after(async () => {
    await node.end()
    app.close()
    app.closeAllConnections()
    rmSync(folder, { recursive: true, force: true })
  })
  const get = (path = '/page', headers: Record<string, string> = {}) => ask(port, path, { headers })
  const versionOf = async (): Promise<string> => (await get()).body.slice(0, 9)
  // Connections are dealt out over the workers: soon both have it.
  await eventually('hits alone', async () => {
    const before = seen.length
    for (let at = 0; at < 12; at++) assert.equal(await versionOf(), 'version 1')
    return seen.length === before
  })
  assert.ok(seen.length <= 2, `asked ${seen.length} times`)
  assert.match(String((await get()).headers['cache-status']), /^ringwall; hit; ttl=\d+$/)
  // Judged although it is kept.
  assert.equal((await get("/page?q=1'%20UNION%20SELECT%20password%20FROM%20users--")).status, 403)
  await ask(port, '/page', { method: 'POST' })
  await eventually('both to have forgotten', async () => {
    for (let at = 0; at < 12; at++) if ((await versionOf()) !== 'version 2') return false
    return true
  })
  version++
  const env = { ...process.env, RINGWALL_CONTEXT: join(folder, 'data', 'operator.json') }
  const purge = (...args: string[]) =>
    spawnSync(process.execPath, [CLI, 'cache', 'purge', ...args, '--reason', 'a new release'], { env, encoding: 'utf8' })
  const unknown = purge('shop')
  assert.equal(unknown.status, 1)
  assert.match(unknown.stderr, /the policy has no service shop; it has app/)
  assert.equal(purge('app', '/other').status, 0)
  for (let at = 0; at < 12; at++) assert.equal(await versionOf(), 'version 2')
  const said = purge('app', '/page')
  assert.equal(said.status, 0, said.stderr)
  await eventually('both to have forgotten it', async () => {
    for (let at = 0; at < 12; at++) if ((await versionOf()) !== 'version 3') return false
    return true
  })
  const metrics = (await ask(admin, '/metrics')).body
  const metric = (name: string): number => Number(new RegExp(`^ringwall_${name}(?:\\{[^}]*\\})? (\\d+)`, 'm').exec(metrics)?.[1])
  await eventually('the counts of both workers', async () => {
    const { body } = await ask(admin, '/metrics')
    return /^ringwall_cache_hits_total\{service="app"\} [1-9]\d+/m.test(body)
  })
  assert.equal(metric('cache_bytes_max'), 67_108_864)
  await t.test('curl reads each coding', { skip: NO_CURL }, () => {
    for (const coding of ['br', 'zstd', 'gzip']) {
      const said = spawnSync(
        'curl',
        ['-s', '-D', '-', '--compressed', '-H', `Accept-Encoding: ${coding}`, `http://127.0.0.1:${port}/page`],
        { encoding: 'utf8' },
      )
      assert.match(said.stdout, new RegExp(`content-encoding: ${coding}\r\n`, 'i'))
      assert.match(said.stdout, /version 3 of a page/)
    }
  })
})

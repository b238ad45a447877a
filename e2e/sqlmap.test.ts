/** sqlmap against an application that it can break into: with a node in front it finds no way. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { startProtect } from './program.ts'

const isInstalled = spawnSync('sqlmap', ['--version']).status === 0

/** Pastes what it is asked for into its statement, as one should not. */
async function injectable(t: TestContext): Promise<number> {
  const database = new DatabaseSync(':memory:')
  database.exec("CREATE TABLE items (id INTEGER, name TEXT); INSERT INTO items VALUES (1, 'lamp'), (2, 'chair')")
  database.exec("CREATE TABLE users (name TEXT, password TEXT); INSERT INTO users VALUES ('ann', 'secret')")
  const server = createServer((request, response) => {
    const wanted = new URL(request.url ?? '/', 'http://localhost').searchParams.get('q') ?? ''
    try {
      response.end(JSON.stringify(database.prepare(`SELECT * FROM items WHERE name LIKE '%${wanted}%'`).all()))
    } catch (error) {
      response.statusCode = 500
      response.end((error as Error).message)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

async function protect(t: TestContext, upstream: number): Promise<number> {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-sqlmap-'))
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  const node = await startProtect(`http://127.0.0.1:${upstream}`, port, data)
  t.after(async () => {
    await node.end()
    rmSync(data, { recursive: true, force: true })
  })
  return port
}

async function sqlmap(t: TestContext, port: number, more: readonly string[]): Promise<string> {
  const output = mkdtempSync(join(tmpdir(), 'ringwall-sqlmap-out-'))
  t.after(() => rmSync(output, { recursive: true, force: true }))
  const args = [
    '-u',
    `http://127.0.0.1:${port}/?q=lamp`,
    '-p',
    'q',
    '--batch',
    '--flush-session',
    '--random-agent',
    '--output-dir',
    output,
  ]
  const child = spawn('sqlmap', [...args, '--technique', 'BEU', ...more])
  let said = ''
  for await (const chunk of child.stdout) said += String(chunk)
  return said
}

test('sqlmap', {
  skip: isInstalled ? false : 'sqlmap is not installed (Debian: apt-get install sqlmap)',
  timeout: 240_000,
}, async (t) => {
  const direct = await injectable(t)
  assert.match(await sqlmap(t, direct, ['--level', '1']), /GET parameter 'q' is vulnerable|is 'Generic UNION query|injectable/)
  const guarded = await protect(t, direct)
  for (const tamper of [[], ['--tamper', 'space2comment,randomcase'], ['--tamper', 'between,charencode']]) {
    const said = await sqlmap(t, guarded, ['--level', '2', '--risk', '3', ...tamper])
    assert.match(said, /does not seem to be injectable|do not appear to be injectable/, said.slice(-2_000))
    assert.doesNotMatch(said, /is vulnerable/)
    assert.match(said, /403 \(Forbidden\)/)
  }
})

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect } from 'node:tls'
import { formatHostPort } from './address.ts'
import type { Call } from './admin/http.ts'
import { adminOperations } from './admin/operations.ts'
import { checkNode } from './check.ts'
import { freePort } from './free-port.ts'
import { readOperator, signAsOperator } from './local/operator.ts'
import { contextFile } from './local/provision.ts'
import { startProtect } from './protect.ts'
import type { RunningNode } from './running-node.ts'
import { application, protectOptions } from './test-protect.ts'

const get = (node: RunningNode, path = '/'): Promise<Response> =>
  fetch(`http://${formatHostPort(node.config.listen.traffic[0]!)}${path}`)

test('protect: other options at the next start are taken, a policy that an operator applied stays', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-protect-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const port = await freePort()
  const [first, second] = [await application(t, 'first'), await application(t, 'second')]

  let node = await startProtect(protectOptions(data, first, port))
  assert.equal(await (await get(node)).text(), 'first')
  assert.equal((await get(node, "/?q=1'+UNION+SELECT+1,2--")).status, 403)
  await node.stop()

  node = await startProtect(protectOptions(data, second, port))
  assert.equal(await (await get(node)).text(), 'second')
  assert.equal(node.view().policyVersion, 2)
  const edited = `# kept\n${node.view().policyText}`
  const body = { type: 'policy.set', policy: edited, expectVersion: 2 } as const
  await node.propose(signAsOperator(readOperator(contextFile(data)), body), 5_000)
  await node.stop()

  node = await startProtect(protectOptions(data, first, port))
  assert.equal(node.view().policyText, edited)
  assert.equal(await (await get(node)).text(), 'second')
  await node.stop()
})

test('protect: a first start that failed leaves nothing behind that overrules the next', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-protect-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const url = await application(t, 'hello')
  const taken = Number(new URL(url).port)
  await assert.rejects(startProtect(protectOptions(data, url, taken, { mode: 'shadow' })))
  const node = await startProtect(protectOptions(data, url, await freePort()))
  t.after(() => node.stop())
  assert.equal((await get(node, "/?q=1'+UNION+SELECT+1,2--")).status, 403)
})

test('protect: shadow lets an attack pass', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-protect-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const node = await startProtect(protectOptions(data, await application(t, 'hello'), await freePort(), { mode: 'shadow' }))
  t.after(() => node.stop())
  assert.equal((await get(node, "/?q=1'+UNION+SELECT+1,2--")).status, 200)
})

test('protect: the upstream is down: 502 with a request id; bad options are one clear error', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-protect-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const port = await freePort()
  const node = await startProtect(protectOptions(data, `http://127.0.0.1:${await freePort()}`, port))
  t.after(() => node.stop())
  const response = await get(node)
  assert.equal(response.status, 502)
  assert.match(response.headers.get('x-request-id') ?? '', /^[0-9A-Za-z-]{16,}$/)
  await assert.rejects(startProtect(protectOptions(data, 'http://127.0.0.1:1', port)), /in use|locked|already/i)
  await assert.rejects(startProtect(protectOptions(data, 'ftp://x', port)), /expected http:\/\/HOST:PORT/)
})

test('protect: status and metrics tell how the upstream is, and what became of requests', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-protect-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const url = await application(t, 'hello')
  const node = await startProtect(protectOptions(data, url, await freePort()))
  t.after(() => node.stop())
  for (let at = 0; at < 3; at++) await (await get(node)).text()
  const ask = async (path: string) => {
    const operation = adminOperations(node).find((each) => each.method === 'GET' && each.path === path)!
    return operation.run({} as Call)
  }
  const { json } = (await ask('/v1/status')) as { json: { upstreams: object[]; balancing: object[] } }
  const [upstream] = json.upstreams as [{ url: string; state: string; requests: number; latencyMs: number }]
  assert.deepEqual([upstream.url, upstream.state, upstream.requests], [url, 'up', 3])
  assert.ok(upstream.latencyMs > 0)
  const nothing = { retries: 0, retriesRefused: 0, overloaded: 0, hedges: 0, hedgesWon: 0, mirrored: 0, mirrorsDropped: 0 }
  assert.deepEqual(json.balancing, [{ service: 'app', ...nothing }])
  const { text } = (await ask('/metrics')) as { text: string }
  assert.match(text, new RegExp(`^ringwall_upstream_requests_total\\{service="app",upstream="${url}"\\} 3$`, 'm'))
  assert.match(text, /^ringwall_retries_refused_total\{service="app"\} 0$/m)
})

test('protect: an answer that tells how the application broke is held back', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-protect-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const url = await application(t, (_, response) =>
    response.writeHead(500, { 'Content-Type': 'text/html' }).end('ORA-00933: SQL command not properly ended'),
  )
  const node = await startProtect(protectOptions(data, url, await freePort()))
  t.after(() => node.stop())
  const response = await get(node)
  assert.equal(response.status, 403)
  assert.doesNotMatch(await response.text(), /ORA/)
})

test('protect: with a name for ACME it serves at once, by a placeholder, and says why there is nothing better yet', async (t) => {
  const data = mkdtempSync(join(tmpdir(), 'ringwall-protect-'))
  t.after(() => rmSync(data, { recursive: true, force: true }))
  const [port, plain, url] = [await freePort(), await freePort(), await application(t, 'fine')]
  const acme = {
    names: ['www.example.org'],
    agreed: true,
    contact: 'ops@example.org',
    directory: 'https://127.0.0.1:1/directory',
    roots: undefined,
    hsts: true,
  }
  const more = { acme, redirectFrom: `127.0.0.1:${plain}` }
  await assert.rejects(
    startProtect(protectOptions(data, url, port, { ...more, acme: { ...acme, agreed: false } })),
    /--acme needs --acme-agree/,
  )
  const node = await startProtect(protectOptions(data, url, port, more))
  assert.equal((await fetch(`http://127.0.0.1:${plain}/`, { redirect: 'manual' })).status, 308)
  const shown = await new Promise<string | undefined>((settle, refuse) => {
    const socket = connect({ port, host: '127.0.0.1', servername: 'www.example.org', rejectUnauthorized: false }, () => {
      settle(socket.getPeerX509Certificate()?.subjectAltName)
      socket.destroy()
    })
    socket.on('error', refuse)
  })
  assert.equal(shown, 'DNS:www.example.org')
  const deadline = performance.now() + 5_000
  while (node.acme!.failed === 0 && performance.now() < deadline) await new Promise((settle) => setTimeout(settle, 10))
  const findings = await checkNode(node)
  const about = findings.filter(({ group }) => group === 'certificates').map(({ what }) => what)
  assert.ok(
    about.some((what) => /^no new certificate for www\.example\.org: 127\.0\.0\.1:1\/directory: ECONNREFUSED/.test(what)),
    about.join('; '),
  )
  await node.stop()
})

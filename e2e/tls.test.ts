/** TLS and HTTP/2 from the outside: real processes, with curl, OpenSSL, h2load and Chromium as clients. What is not installed is skipped. */

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, resolve } from 'node:path'
import { type TestContext, test } from 'node:test'
import { makePair, pairFiles, temporaryFolder, writePair } from '../packages/proxy/src/test-certificates.ts'
import { freePort } from '../tools/free-ports.ts'
import { type Program, startProtect } from './program.ts'

const CLI = resolve(import.meta.dirname, '../packages/cli/src/main.ts')
const without = (program: string, ...args: string[]): string | false =>
  spawnSync(program, args).status === 0 ? false : `${program} is not installed`
const NO_CURL = without('curl', '--version')
const NO_OPENSSL = without('openssl', 'version')
const NO_HAPROXY = without('haproxy', '-v')
const NO_H2LOAD = without('h2load', '--version')
const NO_WRK = spawnSync('wrk', ['--version']).error === undefined ? false : 'wrk is not installed'
const NO_CHROMIUM = without('chromium', '--version')

async function application(t: TestContext): Promise<string> {
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'text/html')
    response.end(
      `<title>hello</title>${request.headers['x-forwarded-proto']} ${request.url} for ${request.headers['x-forwarded-for']}`,
    )
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

interface Protected {
  readonly port: number
  readonly plain: number
  readonly admin: number
  readonly folder: string
  readonly files: { readonly certificate: string; readonly key: string }
  readonly node: Program
}

async function protect(t: TestContext, ...more: string[]): Promise<Protected> {
  const folder = temporaryFolder(t)
  const files = await pairFiles(folder, ['localhost'])
  const [port, plain, admin] = [await freePort(), await freePort(), await freePort()]
  const node = await startProtect(
    await application(t),
    port,
    join(folder, 'data'),
    '--tls-cert',
    files.certificate,
    '--tls-key',
    files.key,
    '--hsts',
    '--redirect-from',
    `127.0.0.1:${plain}`,
    '--admin',
    `127.0.0.1:${admin}`,
    ...more,
  )
  t.after(() => node.end())
  assert.match(node.said(), /protects on https:\/\//)
  return { port, plain, admin, folder, files, node }
}

/** A program's output, without holding this process up: it may be the server. */
async function run(program: string, args: readonly string[], input = ''): Promise<string> {
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  child.stdout.on('data', (chunk) => (said += String(chunk)))
  child.stderr.on('data', (chunk) => (said += String(chunk)))
  child.stdin.end(input)
  await once(child, 'close')
  return said
}

test('curl: TLS 1.3 and 1.2 with the certificate verified, HSTS, the redirect followed, an attack refused', {
  skip: NO_CURL,
}, async (t) => {
  const { port, plain, files } = await protect(t)
  const curl = (...args: string[]): Promise<string> =>
    run('curl', ['-sSi', '--http1.1', '--cacert', files.certificate, '--resolve', `localhost:${port}:127.0.0.1`, ...args])
  for (const version of [['--tlsv1.3'], ['--tls-max', '1.2']]) {
    const said = await curl(...version, `https://localhost:${port}/a`)
    assert.match(said, /^HTTP\/1\.1 200 /)
    assert.match(said, /strict-transport-security: max-age=31536000\r\n/)
    assert.match(said, /https \/a/)
  }
  assert.match(await curl('--tls-max', '1.1', `https://localhost:${port}/`), /alert|error|unsupported/i)
  assert.match(await curl('-L', `http://localhost:${plain}/b?c=1`), /308[\s\S]*https \/b\?c=1/)
  assert.match(await curl(`https://localhost:${port}/?q=1'+UNION+SELECT+1,2--`), /^HTTP\/1\.1 403 /)
  assert.match(await curl(`http://localhost:${port}/`), /^HTTP\/1\.1 400 [\s\S]*speaks TLS/)
})

test('openssl s_client: no old version, no renegotiation, no weak cipher', { skip: NO_OPENSSL }, async (t) => {
  const { port } = await protect(t)
  const client = (...args: string[]): Promise<string> => run('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args])
  assert.match(await client('-tls1_3'), /New, TLSv1\.3, Cipher is TLS_AES_/)
  assert.match(await client('-tls1_2'), /New, TLSv1\.2, Cipher is ECDHE-ECDSA-/)
  for (const args of [
    ['-tls1_1', '-cipher', 'DEFAULT@SECLEVEL=0'],
    ['-tls1_2', '-cipher', 'AES128-SHA'],
    ['-tls1_2', '-cipher', 'ECDHE-ECDSA-AES128-SHA256'],
  ])
    assert.match(await client(...args), /Cipher is \(NONE\)|handshake failure|no ciphers/i)
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${port}`, '-tls1_2'], { stdio: ['pipe', 'pipe', 'pipe'] })
  let said = ''
  child.stdout.on('data', (chunk) => {
    const before = said
    said += String(chunk)
    if (!before.includes('Verify return code') && said.includes('Verify return code')) child.stdin.write('R\n')
  })
  child.stderr.on('data', (chunk) => (said += String(chunk)))
  const timer = setTimeout(() => child.kill(), 10_000)
  await once(child, 'close')
  clearTimeout(timer)
  assert.match(said, /RENEGOTIATING[\s\S]*no renegotiation/)
})

test('Chromium opens a page over TLS', { skip: NO_CHROMIUM }, async (t) => {
  const { chromium } = await import('playwright-core')
  const { port } = await protect(t)
  const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] })
  t.after(() => browser.close())
  const page = await browser.newPage({ ignoreHTTPSErrors: true })
  const response = await page.goto(`https://localhost:${port}/page`)
  assert.equal(response?.status(), 200)
  assert.equal(await page.title(), 'hello')
  assert.equal((await response!.securityDetails())?.protocol, 'TLS 1.3')
  assert.equal(await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol"), 'h2')
  // A page's worth of requests at once, and one that is taken back.
  const texts = await page.evaluate(
    `Promise.all(Array.from({ length: 60 }, (_, at) => fetch('/' + at).then((answer) => answer.text())))`,
  )
  assert.deepEqual(
    (texts as string[]).map((text) => / \/([0-9]+) for /.exec(text)?.[1]),
    Array.from({ length: 60 }, (_, at) => String(at)),
  )
  const posted = await page.evaluate(
    `fetch('/posted', { method: 'POST', body: 'x'.repeat(300000) }).then((answer) => answer.status)`,
  )
  assert.equal(posted, 200)
  const attack = await page.evaluate(`fetch("/?q=1'+UNION+SELECT+1,2--").then((answer) => answer.status)`)
  assert.equal(attack, 403)
})

test('check and /metrics tell of the certificate', async (t) => {
  const { admin, folder, files } = await protect(t)
  const metrics = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text()
  assert.match(metrics, /ringwall_tls_certificate_not_after_seconds\{certificate="[^"]*localhost\.pem"\} 1[0-9]{9}/)
  const said = await run(process.execPath, [CLI, 'check', '--context', join(folder, 'data', 'operator.json')])
  assert.ok(said.includes(`${files.certificate} (localhost): valid until`), said)
})

test('certificates are replaced under load, by watching and by SIGHUP: no request fails', { skip: NO_WRK }, async (t) => {
  const { port, admin, folder, node } = await protect(t)
  const taken = async (): Promise<number> => {
    const metrics = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text()
    return Number(/ringwall_tls_certificate_reloads ([0-9]+)/.exec(metrics)?.[1])
  }
  const takenUp = async (count: number): Promise<void> => {
    while ((await taken()) < count) await new Promise((wake) => setTimeout(wake, 20))
  }
  // One load on kept connections, and one that shakes hands for every request.
  const loads = [[], ['-H', 'Connection: close']].map((more) =>
    run('wrk', ['-t1', '-c8', '-d5s', ...more, `https://127.0.0.1:${port}/`]),
  )
  for (let round = 1; round <= 4; round++) {
    await new Promise((wake) => setTimeout(wake, 400))
    writePair(folder, 'localhost', await makePair(['localhost']))
    if (round % 2 === 0) node.process.kill('SIGHUP')
    await takenUp(round)
  }
  for (const said of await Promise.all(loads)) {
    assert.ok(Number(/([0-9]+) requests in/.exec(said)?.[1]) > 4, said)
    assert.doesNotMatch(said, /Non-2xx|Socket errors/)
  }
})

test('behind HAProxy with send-proxy and send-proxy-v2, and with curl --haproxy-protocol, sources are whose they are', {
  skip: NO_HAPROXY || NO_CURL,
}, async (t) => {
  const { port, folder } = await protect(t, '--proxy-protocol-from', '127.0.0.1/32')
  const said = await run('curl', ['-sSik', '--haproxy-protocol', '--interface', '127.0.0.1', `https://localhost:${port}/direct`])
  assert.match(said, /https \/direct for 127\.0\.0\.1/)
  const [one, two] = [await freePort(), await freePort()]
  const backend = (name: string, from: number, how: string): string => `
listen ${name}
  bind 127.0.0.1:${from}
  source 127.0.0.1
  server node 127.0.0.1:${port} ${how} check-send-proxy check inter 200`
  const config = join(folder, 'haproxy.cfg')
  writeFileSync(
    config,
    `defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 9s\n  timeout server 9s\n${backend('one', one, 'send-proxy')}${backend('two', two, 'send-proxy-v2')}\n`,
  )
  const haproxy = spawn('haproxy', ['-db', '-f', config], { stdio: 'ignore' })
  t.after(async () => {
    haproxy.kill('SIGKILL')
    await once(haproxy, 'exit')
  })
  for (const through of [one, two]) {
    // From another address of loopback, which only HAProxy sees.
    const ask = (): Promise<string> =>
      run('curl', ['-sSik', '--retry', '10', '--retry-connrefused', '--interface', '127.0.0.77', `https://127.0.0.1:${through}/`])
    assert.match(await ask(), /https \/ for 127\.0\.0\.77/)
  }
})

test('curl --http2: answers, a body, an attack refused; HTTP/1.1 with who does not offer HTTP/2', {
  skip: NO_CURL,
}, async (t) => {
  const { port, files } = await protect(t)
  const curl = (...args: string[]): Promise<string> =>
    run('curl', ['-sSi', '--cacert', files.certificate, '--resolve', `localhost:${port}:127.0.0.1`, ...args])
  assert.match(
    await curl('--http2', `https://localhost:${port}/a`),
    /^HTTP\/2 200 [\s\S]*strict-transport-security[\s\S]*https \/a/,
  )
  assert.match(await curl('--http2', '-d', 'x=1', `https://localhost:${port}/b`), /^HTTP\/2 200 /)
  assert.match(await curl('--http2', `https://localhost:${port}/?q=1'+UNION+SELECT+1,2--`), /^HTTP\/2 403 /)
  assert.match(await curl('--http2', '-d', "q=1' UNION SELECT 1,2--", `https://localhost:${port}/`), /^HTTP\/2 403 /)
  assert.match(await curl('--no-alpn', `https://localhost:${port}/a`), /^HTTP\/1\.1 200 /)
})

test('h2load: thousands of requests on a few connections, none lost', { skip: NO_H2LOAD }, async (t) => {
  const { port } = await protect(t)
  const said = await run('h2load', ['-n4000', '-c4', '-m50', `https://127.0.0.1:${port}/`])
  assert.match(said, /Application protocol: h2/)
  assert.match(said, /4000 total, 4000 started, 4000 done, 4000 succeeded, 0 failed, 0 errored, 0 timeout/)
  assert.match(said, /4000 2xx/)
})

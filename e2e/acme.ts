/**
 * `npm run e2e:acme`: two nodes of one ring get certificates from Pebble, which refuses a fifth of all nonces and wants an account named. Its
 * validations by HTTP always meet one of them and those by TLS the other, so that each proves names for the other; one of them takes
 * traffic by two threads. Then a renewal, at the time that the server says, while requests go on. Then a wildcard, proven by records that BIND
 * is told to have.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { isSealedFile } from '@ringwall/store'
import { provisionRing, writeNodeConfigs } from '../packages/node/src/local/provision.ts'
import { makePair, writePair } from '../packages/proxy/src/test-certificates.ts'
import { freePorts } from '../tools/free-ports.ts'
import { startBind, whyNoBind } from './bind.ts'
import { EXTERNAL_ACCOUNT, startPebble, whyNoPebble } from './pebble.ts'

const NODE_MAIN = resolve(import.meta.dirname, '../packages/node/src/main.ts')
const FLAGS = ['--disable-warning=ExperimentalWarning']
const WAIT_MS_MAX = 60_000
const NAMES = ['www.acme.test', 'shop.acme.test'] as const
const OTHER = 'api.acme.test'
const BLOCKED = 'blocked.acme.test'

interface Seen {
  readonly serial: string
  readonly names: string
  readonly verified: boolean
  readonly pem: string
  readonly answer: string
}

/** One request over TLS, and what it was shown. */
function visit(port: number, name: string, ca: string): Promise<Seen> {
  return new Promise((settle, refuse) => {
    const socket = connect({ host: '127.0.0.1', port, servername: name, ca, rejectUnauthorized: false }, () => {
      const shown = socket.getPeerX509Certificate()
      socket.write(`GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`)
      let answer = ''
      socket.on('data', (chunk) => {
        answer += chunk.toString('latin1')
      })
      socket.on('end', () => {
        const { serialNumber = '', subjectAltName = '' } = shown ?? {}
        settle({ serial: serialNumber, names: subjectAltName, verified: socket.authorized, pem: shown?.toString() ?? '', answer })
        socket.end()
      })
    })
    socket.setTimeout(10_000, () => socket.destroy(new Error('no answer in 10 s')))
    socket.on('error', refuse)
  })
}

async function eventually(what: string, holds: () => Promise<boolean> | boolean): Promise<number> {
  const startMs = performance.now()
  let reason = 'it stayed false'
  while (performance.now() - startMs < WAIT_MS_MAX) {
    try {
      if (await holds()) return performance.now() - startMs
    } catch (error) {
      reason = (error as Error).message
    }
    await sleep(100)
  }
  throw new Error(`${what}: not within ${WAIT_MS_MAX / 1_000} s (${reason})`)
}

function check(what: string, holds: boolean, detail = ''): void {
  process.stdout.write(`${holds ? 'ok  ' : 'BAD '} ${what}${detail === '' ? '' : `: ${detail}`}\n`)
  if (!holds) process.exitCode = 1
}

async function main(): Promise<void> {
  const reason = whyNoPebble()
  if (reason !== undefined) {
    process.stdout.write(`skipped: ${reason}\n`)
    return
  }
  const root = mkdtempSync(join(tmpdir(), 'ringwall-acme-'))
  const app = createServer((_, response) => response.end('fine')).listen(0, '127.0.0.1')
  await once(app, 'listening')
  const upstream = `http://127.0.0.1:${(app.address() as AddressInfo).port}`
  const ports = await freePorts(8)
  const [tls1, plain1, admin1, fabric1, tls2, plain2, admin2, fabric2] = ports as [
    number,
    number,
    number,
    number,
    number,
    number,
    number,
    number,
  ]
  const roots = writePair(root, 'pebble', await makePair(['localhost']))
  // By HTTP at the first node, by TLS at the second.
  const pebble = await startPebble({ folder: root, files: roots, httpPort: plain1, tlsPort: tls2, blocked: [BLOCKED] })
  const nodes = [
    { id: 'n1', region: 'eu', traffic: tls1, admin: admin1, fabric: fabric1, configFile: join(root, 'n1', 'node.yaml') },
    { id: 'n2', region: 'us', traffic: tls2, admin: admin2, fabric: fabric2, configFile: join(root, 'n2', 'node.yaml') },
  ]
  const policy = `version: 1\nservices:\n  app:\n    upstreams: [{ url: "${upstream}" }]\n    waf: { mode: "off" }\n`
  provisionRing(root, nodes, { text: policy, file: 'policy' }, Date.now())
  const keyFile = join(root, 'account.key')
  writeFileSync(keyFile, `${EXTERNAL_ACCOUNT.key}\n`, { mode: 0o600 })
  const configure = (
    at: number,
    plain: number,
    certificates: readonly (readonly string[])[],
    challenge: string,
    more: string,
  ): void => {
    const node = nodes[at]!
    const [first, ...others] = certificates
    const listeners = [
      { address: `127.0.0.1:${node.traffic}`, tls: { acme: first, unknownNames: 'refuse' } },
      { address: `127.0.0.1:${plain}`, redirectToTls: node.traffic },
      ...others.map((names) => ({ address: '127.0.0.1:0', tls: { acme: names } })),
    ]
    const acme = {
      directory: pebble.directory,
      contact: 'ops@acme.test',
      agreeToTerms: true,
      challenges: [challenge],
      externalAccount: { id: EXTERNAL_ACCOUNT.id, keyFile },
      roots: roots.certificate,
    }
    writeNodeConfigs(root, [{ ...node, listeners }], () => `acme: ${JSON.stringify(acme)}\n${more}`)
  }
  configure(0, plain1, [NAMES], 'tls-alpn-01', 'workers: 2')
  configure(1, plain2, [[OTHER], [BLOCKED]], 'http-01', '')
  const children: (ChildProcess | undefined)[] = []
  const said = ['', '']
  const start = (at: number): void => {
    const child = spawn(process.execPath, [...FLAGS, NODE_MAIN, '--config', nodes[at]!.configFile], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk) => {
        said[at] += chunk
      })
    children[at] = child
  }
  const stop = async (at: number): Promise<void> => {
    const child = children[at]
    if (child === undefined || child.exitCode !== null) return
    const gone = new Promise((settle) => child.once('exit', settle))
    child.kill('SIGTERM')
    await gone
  }
  try {
    start(0)
    start(1)
    const ca = await pebble.root()
    let [one, other]: (Seen | undefined)[] = []
    const firstMs = await eventually(
      `a certificate for ${NAMES[0]}`,
      async () => (one = await visit(tls1, NAMES[0], ca)).verified,
    )
    const secondMs = await eventually(`a certificate for ${OTHER}`, async () => (other = await visit(tls2, OTHER, ca)).verified)
    check(
      'TLS-ALPN-01, shown by the other node',
      one!.names === `DNS:${NAMES[0]}, DNS:${NAMES[1]}`,
      `${one!.names}, ${(firstMs / 1_000).toFixed(1)} s`,
    )
    check(
      'HTTP-01, shown by two threads of the other node',
      other!.names === `DNS:${OTHER}`,
      `${other!.names}, ${(secondMs / 1_000).toFixed(1)} s more`,
    )
    check('requests are answered', one!.answer.includes('200 OK') && one!.answer.endsWith('fine'))
    await eventually('the refusal to be told', () => said[1]!.includes(`no certificate for ${BLOCKED}`))
    const line = said[1]!.split('\n').find((each) => each.includes(`no certificate for ${BLOCKED}`)) ?? ''
    check(
      'a name that the server refuses says why, and holds up no other',
      line.includes('rejectedIdentifier'),
      line.slice(line.indexOf('no certificate')),
    )
    const folder = join(root, 'n1', 'acme')
    const files = readdirSync(folder).map((name) => join(folder, name))
    const sealed = files.filter((file) => !file.endsWith('waits.json') && isSealedFile(readFileSync(file)))
    check(
      'keys and account are sealed, and their owner’s alone',
      sealed.length === 2 &&
        files.every((file) => (statSync(file).mode & 0o077) === 0 && !readFileSync(file).includes('PRIVATE')),
    )

    // Whoever asks for what is not being proven gets what anybody gets.
    const probe = await fetch(`http://127.0.0.1:${plain1}/.well-known/acme-challenge/guess`, { redirect: 'manual' })
    check('a token that is none is no way past', probe.status === 308, `status ${probe.status}`)

    const [asked, failed] = [{ count: 0 }, { count: 0 }]
    let isOver = false
    const load = (async () => {
      while (!isOver) {
        asked.count++
        const seen = await visit(tls1, NAMES[0], ca).catch(() => undefined)
        if (seen?.verified !== true || !seen.answer.endsWith('fine')) failed.count++
        await sleep(20)
      }
    })()
    await pebble.renew(other!.pem, { start: new Date(Date.now() - 7_200_000), end: new Date(Date.now() - 3_600_000) })
    await stop(1)
    start(1)
    const renewedMs = await eventually('the renewal', async () => {
      const seen = await visit(tls2, OTHER, ca)
      return seen.verified && seen.serial !== other!.serial
    })
    isOver = true
    await load
    check(
      'a certificate whose time the server says has come is renewed',
      true,
      `${(renewedMs / 1_000).toFixed(1)} s after the node was started again`,
    )
    check(
      'the other node serves on meanwhile',
      failed.count === 0 && asked.count > 10,
      `${asked.count} requests, ${failed.count} failed`,
    )
    const before = one!.serial
    await stop(0)
    start(0)
    await eventually('the first node again', async () => (one = await visit(tls1, NAMES[1], ca)).verified)
    check('a node that starts again keeps its certificate', one!.serial === before)
  } catch (error) {
    process.stdout.write(
      `BAD  ${(error as Error).message}\n--- n1\n${said[0]!.slice(-3_000)}\n--- n2\n${said[1]!.slice(-3_000)}\n`,
    )
    process.exitCode = 1
  } finally {
    await Promise.all([stop(0), stop(1)])
    pebble.stop()
    app.close()
    app.closeAllConnections()
    rmSync(root, { recursive: true, force: true })
  }
}

/** A node of its own, whose names are proven in DNS. */
async function wildcards(): Promise<void> {
  const reason = whyNoPebble() ?? whyNoBind()
  if (reason !== undefined) {
    process.stdout.write(`skipped: ${reason}\n`)
    return
  }
  const root = mkdtempSync(join(tmpdir(), 'ringwall-acme-dns-'))
  const roots = writePair(root, 'pebble', await makePair(['localhost']))
  const [traffic, admin, fabric] = (await freePorts(3)) as [number, number, number]
  const record = '_acme-challenge.acme.test'
  const bind = await startBind(join(root, 'bind'), 'acme.test', [record])
  const pebble = await startPebble({ folder: root, files: roots, httpPort: 1, tlsPort: 1, blocked: [], dnsServer: bind.server })
  const node = { id: 'n1', region: 'eu', traffic, admin, fabric, configFile: join(root, 'n1', 'node.yaml') }
  provisionRing(
    root,
    [node],
    {
      text: 'version: 1\nservices:\n  app:\n    upstreams: [{ url: "http://127.0.0.1:9" }]\n    waf: { mode: "off" }\n',
      file: 'policy',
    },
    Date.now(),
  )
  const keyFile = join(root, 'account.key')
  writeFileSync(keyFile, `${EXTERNAL_ACCOUNT.key}\n`, { mode: 0o600 })
  const acme = {
    directory: pebble.directory,
    agreeToTerms: true,
    dns: { server: bind.server, keyFile: bind.keyFile },
    externalAccount: { id: EXTERNAL_ACCOUNT.id, keyFile },
    roots: roots.certificate,
  }
  // The second is not for the key to prove.
  const listeners = [
    { address: `127.0.0.1:${traffic}`, tls: { acme: ['*.acme.test', 'acme.test'] } },
    { address: '127.0.0.1:0', tls: { acme: ['*.inner.acme.test'] } },
  ]
  writeNodeConfigs(root, [{ ...node, listeners }], () => `acme: ${JSON.stringify(acme)}\n`)
  const child = spawn(process.execPath, [...FLAGS, NODE_MAIN, '--config', node.configFile], { stdio: ['ignore', 'pipe', 'pipe'] })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += chunk
    })
  try {
    const ca = await pebble.root()
    let seen: Seen | undefined
    const ms = await eventually('a wildcard', async () => (seen = await visit(traffic, 'any.acme.test', ca)).verified)
    check(
      'DNS-01, a wildcard and its name',
      seen!.names === 'DNS:*.acme.test, DNS:acme.test',
      `${seen!.names}, ${(ms / 1_000).toFixed(1)} s`,
    )
    check('the name itself is served by it', (await visit(traffic, 'acme.test', ca)).verified)
    await eventually('no record left', async () => (await bind.texts(record)).length === 0)
    check('no record is left', true)
    await eventually('the refusal to be told', () => said.includes('no certificate for *.inner.acme.test'))
    const line = said.split('\n').find((each) => each.includes('no certificate for *.inner')) ?? ''
    check('what the key may not change is said', line.includes('REFUSED'), line.slice(line.indexOf('no certificate')))
  } catch (error) {
    process.stdout.write(`BAD  ${(error as Error).message}\n${said.slice(-3_000)}\n`)
    process.exitCode = 1
  } finally {
    child.kill('SIGKILL')
    pebble.stop()
    bind.stop()
    rmSync(root, { recursive: true, force: true })
  }
}

await main()
await wildcards()

/** Pebble, the small ACME server that Let's Encrypt tests clients with, as a process of its own. Built once by Go, which fetches and verifies its source. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../tools/free-ports.ts'

const VERSION = 'v2.10.1'
const FOLDER = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'ringwall', `pebble-${VERSION}`)
const SOURCE = 'github.com/letsencrypt/pebble/v2/cmd'
const PROGRAMS = ['pebble', 'pebble-challtestsrv'] as const
const BUILD_MS_MAX = 300_000
const READY_MS_MAX = 15_000

export const EXTERNAL_ACCOUNT = { id: 'kid-1', key: Buffer.from('the key of an account that is not ours').toString('base64url') }

/** Undefined when it is at hand; otherwise why not. */
export function whyNoPebble(): string | undefined {
  if (PROGRAMS.every((name) => existsSync(join(FOLDER, name)))) return undefined
  if (spawnSync('go', ['version']).status !== 0) return 'Go is not installed, which builds Pebble: https://go.dev/dl'
  mkdirSync(FOLDER, { recursive: true })
  process.stderr.write(`building Pebble ${VERSION} in ${FOLDER} (once)\n`)
  const names = PROGRAMS.map((name) => `${SOURCE}/${name}@${VERSION}`)
  const built = spawnSync('go', ['install', ...names], {
    env: { ...process.env, GOBIN: FOLDER },
    timeout: BUILD_MS_MAX,
    encoding: 'utf8',
  })
  return built.status === 0 ? undefined : `go install ${names[0]} failed: ${(built.stderr ?? '').trim().split('\n').at(-1)}`
}

export interface PebbleOptions {
  readonly folder: string
  /** Of the server itself, with its key: files. */
  readonly files: { readonly certificate: string; readonly key: string }
  /** Where validations go. */
  readonly httpPort: number
  readonly tlsPort: number
  readonly blocked: readonly string[]
  /** Whom it asks for names, `ADDRESS:PORT`; unless given, every name is this machine. */
  readonly dnsServer?: string
}

export interface Pebble {
  readonly directory: string
  /** PEM of who vouches for what it issues. */
  root(): Promise<string>
  /** When the certificate (PEM) is to be renewed. */
  renew(certificate: string, window: { readonly start: Date; readonly end: Date }): Promise<void>
  stop(): void
}

export async function startPebble({ folder, files, httpPort, tlsPort, blocked, dnsServer }: PebbleOptions): Promise<Pebble> {
  const [port, management, dns] = (await freePorts(3)) as [number, number, number]
  const config = join(folder, 'pebble.json')
  const pebble = {
    listenAddress: `127.0.0.1:${port}`,
    managementListenAddress: `127.0.0.1:${management}`,
    certificate: files.certificate,
    privateKey: files.key,
    httpPort,
    tlsPort,
    ocspResponderURL: '',
    externalAccountBindingRequired: true,
    externalAccountMACKeys: { [EXTERNAL_ACCOUNT.id]: EXTERNAL_ACCOUNT.key },
    domainBlocklist: blocked,
    retryAfter: { authz: 1, order: 1 },
    keyAlgorithm: 'ecdsa',
    profiles: { default: { description: 'for tests', validityPeriod: 7_776_000 } },
  }
  writeFileSync(config, JSON.stringify({ pebble }))
  const asked = dnsServer ?? `127.0.0.1:${dns}`
  const names = ['-dnsserver', `127.0.0.1:${dns}`, '-defaultIPv4', '127.0.0.1', '-defaultIPv6', '']
  const none = ['-http01', '', '-https01', '', '-tlsalpn01', '', '-doh', '', '-management', '']
  const children: ChildProcess[] = [
    spawn(join(FOLDER, 'pebble-challtestsrv'), [...names, ...none], { stdio: 'ignore' }),
    spawn(join(FOLDER, 'pebble'), ['-config', config, '-strict', '-dnsserver', asked], {
      stdio: 'ignore',
      // Every fifth nonce is refused, so that refusals are met.
      env: { ...process.env, PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '20' },
    }),
  ]
  const stop = (): void => {
    for (const child of children) child.kill('SIGKILL')
  }
  const directory = `https://localhost:${port}/dir`
  const deadline = performance.now() + READY_MS_MAX
  while ((await ask(directory).catch(() => undefined)) === undefined) {
    if (performance.now() > deadline) {
      stop()
      throw new Error('Pebble did not start')
    }
    await sleep(50)
  }
  return {
    directory,
    root: () => ask(`https://127.0.0.1:${management}/roots/0`),
    renew: async (certificate, { start, end }) => {
      const ariResponse = JSON.stringify({ suggestedWindow: { start: start.toISOString(), end: end.toISOString() } })
      await ask(`https://127.0.0.1:${management}/set-renewal-info/`, JSON.stringify({ certificate, ariResponse }))
    },
    stop,
  }
}

function ask(url: string, body?: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const asked = request(
      url,
      {
        method: body === undefined ? 'GET' : 'POST',
        rejectUnauthorized: false,
        agent: false,
        headers: { 'user-agent': 'ringwall-e2e' },
      },
      (response) => {
        let text = ''
        response.on('data', (chunk) => {
          text += chunk
        })
        response.on('end', () =>
          response.statusCode === 200 ? resolve(text) : reject(new Error(`${url}: ${response.statusCode} ${text}`)),
        )
      },
    )
    asked.on('error', reject)
    asked.end(body)
  })
}

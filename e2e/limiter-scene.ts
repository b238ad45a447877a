/**
 * Each key of rate limits against an attack that has it in common and everything else different, while 500 people behind one address go on: how
 * much of the attack is let through, and what the people see.
 */
import { type ChildProcess, fork, spawn } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { OutgoingHttpHeaders } from 'node:http2'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { mmdb } from '../packages/node/src/test-mmdb.ts'
import { makePair } from '../packages/proxy/src/test-certificates.ts'
import { freePort } from '../tools/free-ports.ts'
import type { ProgramOrder, ProgramReport } from './limiter-clients.ts'
import { startProtect } from './program.ts'

/** Of every limit here: what is left over for people. */
export const PER_SECOND = 300
export const PEOPLE = 500
const PEOPLE_PER_SECOND = 150
const ADDRESSES = 10_000
const ISSUER = 'https://id.example'

/** Tells apart the TLS of the attack's program and of the people's browser. */
const BROWSER = { ciphers: 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384', initialWindowSize: 131_072 }
const OTHER_TLS = { ...BROWSER, ciphers: 'TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256' }
const OTHER_HTTP2 = { ...BROWSER, initialWindowSize: 65_536 }

export interface LimiterCase {
  readonly name: string
  /** In the policy's words. */
  readonly key: readonly string[]
  readonly status?: readonly number[]
  /** The program that attacks, where not the people's own. */
  readonly program?: { readonly ciphers: string; readonly initialWindowSize: number }
  /** Source and whatever else request `at` of the attack differs by. */
  readonly attack: (at: number) => OutgoingHttpHeaders
}

const address = (at: number): string => `10.${20 + (at >> 16)}.${(at >> 8) & 255}.${at & 255}`
const anywhere = (at: number): OutgoingHttpHeaders => ({ 'x-forwarded-for': address(at) })

export const CASES: readonly LimiterCase[] = [
  { name: 'ip', key: ['ip'], attack: () => ({ 'x-forwarded-for': '203.0.113.9' }) },
  { name: 'network', key: ['network'], attack: (at) => ({ 'x-forwarded-for': `203.0.113.${at % 256}` }) },
  { name: 'asn', key: ['asn'], attack: anywhere },
  { name: 'country', key: ['country'], attack: anywhere },
  { name: 'ja4', key: ['ja4'], program: OTHER_TLS, attack: anywhere },
  { name: 'http2', key: ['http2'], program: OTHER_HTTP2, attack: anywhere },
  { name: 'header', key: ['header:x-api-key'], attack: (at) => ({ ...anywhere(at), 'x-api-key': 'stolen' }) },
  { name: 'cookie', key: ['cookie:sid'], attack: (at) => ({ ...anywhere(at), cookie: 'sid=stolen' }) },
  { name: 'subject', key: ['subject'], attack: (at) => ({ ...anywhere(at), authorization: `Bearer ${token('mallory')}` }) },
  { name: 'host', key: ['host'], attack: (at) => ({ ...anywhere(at), ':authority': 'other.example' }) },
  { name: 'method', key: ['method'], attack: (at) => ({ ...anywhere(at), ':method': 'HEAD' }) },
  { name: 'path', key: ['path'], attack: (at) => ({ ...anywhere(at), ':path': '/path/costly' }) },
  { name: 'route', key: ['route', 'ip'], attack: () => ({ 'x-forwarded-for': '203.0.113.9' }) },
  {
    name: 'status',
    key: ['network'],
    status: [404],
    attack: (at) => ({ 'x-forwarded-for': `203.0.113.${at % 256}`, ':path': `/status/missing-${at}` }),
  },
]

const { privateKey, publicKey } = generateKeyPairSync('ed25519')
const tokens = new Map<string, string>()

function token(subject: string): string {
  const known = tokens.get(subject)
  if (known !== undefined) return known
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const iat = Math.floor(Date.now() / 1_000)
  const signed = `${part({ alg: 'EdDSA', kid: 'k' })}.${part({ iss: ISSUER, aud: 'app', sub: subject, iat, exp: iat + 3_600 })}`
  const made = `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`
  tokens.set(subject, made)
  return made
}

/** One of the people: the same address and browser as all of them. */
function person(name: string, at: number): OutgoingHttpHeaders {
  return {
    ':path': `/${name}/page-${at}`,
    'x-forwarded-for': '192.0.2.1',
    cookie: `sid=s${at}`,
    'x-api-key': `k${at}`,
    authorization: `Bearer ${token(`person-${at}`)}`,
  }
}

const UPSTREAM = `
const server = require('node:http').createServer((asked, response) => {
  asked.resume()
  response.statusCode = asked.url.includes('missing') ? 404 : 200
  response.end('hello')
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
`

export interface LimiterResult {
  readonly attack: ProgramReport
  readonly people: ProgramReport
  readonly alone: ProgramReport
}

export class LimiterScene {
  readonly #folder: string
  readonly #port: number
  readonly #processes: readonly ChildProcess[]
  readonly #clients: readonly ChildProcess[]

  private constructor(folder: string, port: number, processes: readonly ChildProcess[], clients: readonly ChildProcess[]) {
    this.#folder = folder
    this.#port = port
    this.#processes = processes
    this.#clients = clients
  }

  static async start(): Promise<LimiterScene> {
    const folder = mkdtempSync(join(tmpdir(), 'ringwall-limiters-'))
    const pair = await makePair(['localhost'])
    const [certificate, key] = [join(folder, 'site.pem'), join(folder, 'site.key')]
    writeFileSync(certificate, pair.certificate)
    writeFileSync(key, pair.key, { mode: 0o600 })
    const upstream = spawn(process.execPath, ['-e', UPSTREAM], { stdio: ['ignore', 'pipe', 'inherit'] })
    const [said] = (await once(upstream.stdout!, 'data')) as [Buffer]
    const url = `http://127.0.0.1:${String(said).trim()}`
    const policy = join(folder, 'policy.yaml')
    const routes = CASES.map(({ name, key: parts, status }) => ({
      name,
      path: `/${name}`,
      limits: [{ name, key: parts, rate: `${PER_SECOND}/s`, ...(status === undefined ? {} : { status }) }],
      ...(name === 'subject' ? { identity: {} } : {}),
    }))
    const jwk = { ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'EdDSA' }
    writeFileSync(
      policy,
      JSON.stringify({
        version: 1,
        trustedProxies: ['127.0.0.0/8'],
        issuers: [{ issuer: ISSUER, audience: 'app', jwks: { keys: [jwk] } }],
        // What the limits do is to be seen by itself.
        detectors: { floods: { mode: 'off' } },
        services: { app: { upstreams: [{ url }], waf: { mode: 'off' }, routes } },
      }),
    )
    const places = join(folder, 'places.mmdb')
    writeFileSync(
      places,
      mmdb('Test', [
        ['10.0.0.0/8', { country_code: 'KP', asn: 'AS64500' }],
        ['192.0.2.0/24', { country_code: 'SE', asn: 'AS64501' }],
      ]),
    )
    const port = await freePort()
    const node = await startProtect(
      url,
      port,
      join(folder, 'ring'),
      '--tls-cert',
      certificate,
      '--tls-key',
      key,
      '--config',
      policy,
      '--places',
      places,
    )
    const clients = [0, 1].map(() =>
      fork(join(import.meta.dirname, 'limiter-clients.ts'), { execArgv: ['--disable-warning=ExperimentalWarning'] }),
    )
    await Promise.all(clients.map((client) => once(client, 'message')))
    return new LimiterScene(folder, port, [node.process, upstream], clients)
  }

  async #play(which: 0 | 1, order: ProgramOrder): Promise<ProgramReport> {
    const client = this.#clients[which]!
    const answer = once(client, 'message')
    client.send(order)
    const [report] = (await answer) as [ProgramReport]
    return report
  }

  /** People alone for half of the time, then beside the attack. */
  async run({ name, program, attack }: LimiterCase, ms: number): Promise<LimiterResult> {
    const common = { port: this.#port, ms }
    const people: ProgramOrder = {
      ...common,
      ...BROWSER,
      sessions: 20,
      atOnce: 0,
      perSecond: PEOPLE_PER_SECOND,
      requests: Array.from({ length: PEOPLE }, (_, at) => person(name, at)),
    }
    const requests = Array.from({ length: ADDRESSES }, (_, at) => {
      const own = name === 'subject' ? {} : { authorization: `Bearer ${token('somebody')}` }
      return { ':path': `/${name}/page-${at}`, cookie: `sid=a${at}`, 'x-api-key': `a${at}`, ...own, ...attack(at) }
    })
    const alone = await this.#play(0, { ...people, ms: ms / 2 })
    const [attacked, seen] = await Promise.all([
      this.#play(1, { ...common, ...(program ?? BROWSER), sessions: 8, atOnce: 64, perSecond: undefined, requests }),
      this.#play(0, people),
    ])
    return { attack: attacked, people: seen, alone }
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.disconnect()
    for (const child of this.#processes) {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      await ended
    }
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Requests of the attack that reached the application. */
export const passedOf = ({ answers }: ProgramReport): number => (answers['200'] ?? 0) + (answers['404'] ?? 0)
/** As many as one budget lets through. */
export const allowedOf = ({ tookMs }: ProgramReport): number => PER_SECOND + (PER_SECOND * tookMs) / 1_000

export function limiterLine({ name, key }: LimiterCase, { attack, people, alone }: LimiterResult): string {
  const at = (times: readonly number[], part: number): string =>
    `${(times.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(times.length * part) - 1)] ?? Number.NaN).toFixed(1)}`
  const good = people.answers['200'] ?? 0
  return [
    `${name} [${key.join(', ')}]`.padEnd(26),
    String(attack.asked).padStart(8),
    String(passedOf(attack)).padStart(8),
    String(Math.round(allowedOf(attack))).padStart(9),
    `${((100 * (attack.asked - passedOf(attack))) / attack.asked).toFixed(1)} %`.padStart(9),
    `${good} of ${people.asked}`.padStart(14),
    `${at(alone.timesMs, 0.5)} → ${at(people.timesMs, 0.5)}`.padStart(16),
    `${at(alone.timesMs, 0.99)} → ${at(people.timesMs, 0.99)}`.padStart(18),
  ].join('')
}

export const LIMITER_HEAD: string = [
  ''.padEnd(26),
  'asked'.padStart(8),
  'passed'.padStart(8),
  'allowed'.padStart(9),
  'stopped'.padStart(9),
  'people’s good'.padStart(14),
  'p50 ms'.padStart(16),
  'p99 ms'.padStart(18),
].join('')

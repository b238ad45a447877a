/**
 * Whether the proxy of a real node and `ringwall can` (the admin API behind it) say the same of generated requests: by certificates of the ring, tokens, both
 * and neither, to services with Cedar, callers, both and neither, with denials, over HTTP/1.1 and TLS.
 */
import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { Agent, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import type { AccessRequest, RingwallClient } from '@ringwall/client'
import { svidProofBytes } from '@ringwall/identity/mint-request'
import { makePair } from '../packages/proxy/src/test-certificates.ts'
import { eventually, TestRing } from './local-ring.ts'

const ISSUER = 'https://id.example'
const SERVICES = 12
const IN_FLIGHT = 8
const KEY_MS_MAX = 60_000
/** Beside the base of a ring: none of its nodes has it. */
const TLS_PORT = 51
const issuerKey = generateKeyPairSync('ed25519')

/** The same numbers for one seed (mulberry32). */
function numbers(from: number): (below: number) => number {
  let seed = from
  return (below) => {
    seed = (seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const cedarOf = (n: number, ring: string): string => `
@id("staff-reads") permit (principal in Group::"staff", action in Action::"read", resource);
@id("refunds") permit (principal in Role::"clerk", action == Action::"refund", resource in Route::"refunds");
@id("seniors") permit (principal is User, action, resource) when { principal.claims has level && principal.claims.level >= 4 };
@id("caller") permit (principal == User::"urn:ringwall:${ring}#spiffe://${ring}/service/c${n % 6}", action, resource);
@id("front-page") permit (principal, action == Action::"GET", resource) when { resource.path == "/" || resource.path like "/static/*" };
@id("no-interns") forbid (principal in Group::"interns", action in Action::"write", resource);
@id("admin") forbid (principal, action, resource) when { resource.path like "/admin/*" } unless { principal in Group::"admins" };`

/** Every fourth has Cedar, callers, both or neither. */
function serviceYaml(n: number, upstream: string, ring: string): string {
  const block = cedarOf(n, ring).trim().replaceAll('\n', '\n        ')
  const callers = [
    `service/c${n % 6}`,
    `spiffe://${ring}/service/c${(n + 1) % 6}`,
    ...(n % 3 === 0 ? ['people'] : []),
    ...(n % 5 === 0 ? ['service/*'] : []),
  ]
  return `  s${n}:
    hosts: [s${n}.example]
    upstreams: [{ url: "${upstream}" }]
    waf: { mode: "off" }
${n % 4 === 0 || n % 4 === 2 ? `    authorization:\n      claims: { level: Long }\n      policies: |\n        ${block}\n` : ''}${n % 4 === 1 || n % 4 === 2 ? `    callers: ${JSON.stringify(callers)}\n` : ''}${n % 6 === 5 ? `    identity: { issuers: ["${ISSUER}"], claims: { team: "t1" } }\n` : ''}    routes:
      - { name: refunds, path: /refunds, methods: [POST]${n % 2 === 0 ? ', action: refund' : ''} }
      - { name: health, path: /health, callers: [anyone] }
      - { name: closed, path: /closed, deny: true }
`
}

function policyText(upstream: string, ring: string): string {
  const jwks = JSON.stringify({ keys: [{ ...issuerKey.publicKey.export({ format: 'jwk' }), kid: 'k1' }] })
  const services = Array.from({ length: SERVICES }, (_, n) => serviceYaml(n, upstream, ring)).join('')
  return `version: 1\nsegmentation: { mode: enforce }\nservices:\n${services}issuers:\n  - { issuer: "${ISSUER}", audience: app, algorithms: [EdDSA], jwks: ${jwks} }\n`
}

interface Person {
  readonly subject: string
  readonly claims: Readonly<Record<string, unknown>>
  readonly token: string
}

interface Asked {
  readonly host: string
  readonly method: string
  readonly path: string
  readonly person: Person | undefined
  readonly caller: number | undefined
}

export interface Agreement {
  /** How many got each status. */
  readonly counts: ReadonlyMap<number, number>
  readonly differences: readonly string[]
}

export async function agreement(requests: number, seed: number): Promise<Agreement> {
  const random = numbers(seed)
  const pick = <T>(all: readonly T[]): T => all[random(all.length)] as T
  const upstream = createServer((_, response) => response.end('ok'))
  await new Promise<void>((settle) => upstream.listen(0, '127.0.0.1', settle))
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const ring = await TestRing.start()
  try {
    const port = await listenOverTls(ring)
    const client = ring.client(1)
    const { ring: name } = await client.status()
    await eventually('there is a key', async () => (await client.keys()).keys[0]?.state === 'ready', KEY_MS_MAX)
    const { version } = await client.policy()
    await client.policyApply(policyText(url, name), version)
    const agents = await Promise.all(Array.from({ length: 7 }, (_, n) => agentOf(client, name, n)))
    await client.denyAdd({ kind: 'subject', value: 'user-3' }, 600_000, 'a test')
    await client.denyAdd({ kind: 'subject', value: `spiffe://${name}/service/c5` }, 600_000, 'a test')
    const people = Array.from({ length: 40 }, (_, n) => personOf(n, random))
    const all = Array.from({ length: requests }, (): Asked => {
      const id = random(1_000)
      return {
        host: random(40) === 0 ? 'nobody.example' : `s${random(SERVICES)}.example`,
        method: pick(['GET', 'GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS']),
        path: pick([
          '/',
          `/static/${id}.css`,
          `/orders/${id}`,
          `/admin/${id}`,
          `/refunds/${id}`,
          '/refunds',
          '/health',
          '/closed',
          `/a/../admin/${id}`,
          `/%61dmin/${id}`,
          `//admin/${id}`,
          `/static/..%2fadmin/${id}`,
        ]),
        person: random(2) === 0 ? undefined : pick(people),
        caller: random(3) === 0 ? undefined : random(6),
      }
    })
    const counts = new Map<number, number>()
    const differences: string[] = []
    const worker = async (): Promise<void> => {
      for (let one = all.pop(); one !== undefined; one = all.pop()) {
        const [proxy, can] = await Promise.all([through(port, agents, one), client.access(questionOf(one))])
        counts.set(proxy, (counts.get(proxy) ?? 0) + 1)
        if (proxy === can.status) continue
        const who = `${one.person?.subject ?? 'anonymous'} by ${one.caller === undefined ? 'nobody' : `service/c${one.caller}`}`
        differences.push(
          `${one.method} ${one.host}${one.path} ${who}: the proxy says ${proxy}, can ${can.status} (${can.reason})`,
        )
      }
    }
    await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
    for (const agent of agents) agent.destroy()
    return { counts, differences }
  } finally {
    await ring.destroy()
    upstream.close()
  }
}

/** Beside what it has: a port that asks clients for certificates. */
async function listenOverTls(ring: TestRing): Promise<number> {
  const pair = await makePair(['s0.example'])
  const [certificate, key] = ['server.pem', 'server.key'].map((file) => join(ring.data, file)) as [string, string]
  writeFileSync(certificate, pair.certificate)
  writeFileSync(key, pair.key, { mode: 0o600 })
  const [plain, port] = [ring.traffic(1), ring.base + TLS_PORT]
  const traffic = [
    { address: `127.0.0.1:${plain}` },
    { address: `127.0.0.1:${port}`, tls: { certificate, key, clientCertificates: 'ask' } },
  ]
  const config = join(ring.data, 'n1', 'node.yaml')
  const text = readFileSync(config, 'utf8')
  await ring.kill(1)
  writeFileSync(config, text.replace(/^ {2}traffic: .*$/m, `  traffic: ${JSON.stringify(traffic)}`))
  await ring.restart(1)
  return port
}

/** Connections that show the certificate of a service; the last shows none. */
async function agentOf(client: RingwallClient, ring: string, n: number): Promise<Agent> {
  const common = { keepAlive: true, maxSockets: 4, rejectUnauthorized: false }
  if (n === 6) return new Agent(common)
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const publicKey = createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).toString('base64url')
  const named = { of: 'service', name: `c${n}`, publicKey } as const
  const proof = sign('sha256', svidProofBytes(ring, named), privateKey).toString('base64url')
  const { certificate } = await client.svidMint({ type: 'svid', ...named, proof, ttlS: 3_600 })
  return new Agent({ ...common, cert: certificate, key: privateKey.export({ format: 'pem', type: 'pkcs8' }) })
}

function personOf(n: number, random: (below: number) => number): Person {
  const claims = {
    groups: ['staff', 'interns', 'admins', 'others'].filter(() => random(3) === 0),
    roles: random(4) === 0 ? ['clerk'] : [],
    team: `t${random(2)}`,
    ...(random(2) === 0 ? { level: random(6) } : {}),
  }
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const nowS = Math.floor(Date.now() / 1_000)
  const all = { iss: ISSUER, aud: 'app', sub: `user-${n}`, iat: nowS, exp: nowS + 3_600, ...claims }
  const text = `${part({ alg: 'EdDSA', kid: 'k1' })}.${part(all)}`
  return {
    subject: `user-${n}`,
    claims,
    token: `${text}.${sign(null, Buffer.from(text), issuerKey.privateKey).toString('base64url')}`,
  }
}

function questionOf({ host, method, path, person, caller }: Asked): AccessRequest {
  return {
    principal: person === undefined ? null : { issuer: ISSUER, subject: person.subject, claims: person.claims },
    ...(caller === undefined ? {} : { caller: `service/c${caller}` }),
    action: method,
    host,
    path,
    source: '127.0.0.1',
  }
}

function through(port: number, agents: readonly Agent[], { host, method, path, person, caller }: Asked): Promise<number> {
  return new Promise((settle, refuse) => {
    const headers = { host, ...(person === undefined ? {} : { authorization: `Bearer ${person.token}` }) }
    const agent = agents[caller ?? 6] as Agent
    const sent = request({ host: '127.0.0.1', port, servername: 's0.example', method, path, agent, headers }, (response) => {
      response.resume()
      response.on('end', () => settle(response.statusCode as number))
    })
    sent.on('error', refuse)
    sent.end()
  })
}

/**
 * `npm run bench:authorization [-- --requests N]`: what deciding costs with 500 Cedar policies over 50 services, by the authorizer alone,
 * the first of their kind and later ones; and whether the proxy of a real node and `ringwall can` (the admin API behind it) say the
 * same of N generated requests, 10,000 unless given. Times are wall clock, of single decisions; the mean is CPU time.
 */

import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AccessRequest, parseContext, RingwallClient } from '@ringwall/client'
import { compileAuthorization } from '@ringwall/identity'
import { startProtect } from '@ringwall/node'
import { type AccessQuestion, type Authorizer, parsePolicyDocument } from '@ringwall/ring'
import { protectOptions } from '../packages/node/src/test-protect.ts'
import { freePort } from '../tools/free-ports.ts'
import { readOptions, whole } from '../tools/options.ts'

const SERVICES = 50
const ISSUER = 'https://id.example'
const key = generateKeyPairSync('ed25519')
const { requests: REQUESTS } = readOptions({ requests: whole(10_000) })
const IN_FLIGHT = 8

/** The same numbers each run (mulberry32). */
let seed = 0x2545f491
function random(below: number): number {
  seed = (seed + 0x6d2b79f5) | 0
  let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1)
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
  return ((mixed ^ (mixed >>> 14)) >>> 0) % below
}
const pick = <T>(all: readonly T[]): T => all[random(all.length)] as T

/** Ten policies, as services have them: groups, roles, paths, named actions, claims, sources, hours. */
function policiesOf(n: number): string {
  return `
@id("staff-reads") permit (principal in Group::"staff", action in Action::"read", resource);
@id("team-writes") permit (principal in Group::"team-${n}", action in Action::"write", resource);
@id("own-area") permit (principal is User, action, resource) when { resource.path like "/users/${n}/*" && principal.subject like "user-1*" };
@id("refunds") permit (principal in Role::"clerk", action == Action::"refund", resource in Route::"refunds");
@id("seniors") permit (principal is User, action, resource) when { principal.claims has level && principal.claims.level >= 4 };
@id("named") permit (principal == User::"${ISSUER}#user-7", action, resource);
@id("front-page") permit (principal, action == Action::"GET", resource) when { resource.path == "/" || resource.path like "/static/*" };
@id("no-interns") forbid (principal in Group::"interns", action in Action::"write", resource);
@id("admin-office") forbid (principal, action, resource)
when { resource.path like "/admin/*" } unless { context.source.isInRange(ip("127.0.0.0/8")) && principal in Group::"admins" };
@id("closed-tenant") forbid (principal, action, resource)
when { context.claims has tenants && context.claims.tenants.contains("closed-${n}") };`
}

function policyText(upstream: string): string {
  const jwks = JSON.stringify({ keys: [{ ...key.publicKey.export({ format: 'jwk' }), kid: 'k1' }] })
  const services = Array.from({ length: SERVICES }, (_, n) => {
    const block = policiesOf(n).trim().replaceAll('\n', '\n        ')
    return `  s${n}:
    hosts: [s${n}.example]
    upstreams: [{ url: "${upstream}" }]
    waf: { mode: "off" }
    authorization:
      claims: { level: Long, tenants: "Set<String>" }
      policies: |
        ${block}
    routes: [{ name: refunds, path: /refunds, methods: [POST], action: refund }]
`
  })
  return `version: 1\nservices:\n${services.join('')}issuers:\n  - { issuer: "${ISSUER}", audience: app, algorithms: [EdDSA], jwks: ${jwks} }\n`
}

interface Person {
  readonly subject: string
  readonly claims: Readonly<Record<string, unknown>>
  readonly token: string
}

function personOf(n: number): Person {
  const claims = {
    groups: ['staff', `team-${random(SERVICES)}`, 'interns', 'admins', 'others'].filter(() => random(3) === 0),
    roles: random(4) === 0 ? ['clerk'] : [],
    ...(random(2) === 0 ? { level: random(6) } : {}),
    ...(random(3) === 0 ? { tenants: [`closed-${random(SERVICES)}`, 'open'] } : {}),
  }
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const nowS = Math.floor(Date.now() / 1_000)
  const all = { iss: ISSUER, aud: 'app', sub: `user-${n}`, iat: nowS, exp: nowS + 3_600, ...claims }
  const text = `${part({ alg: 'EdDSA', kid: 'k1' })}.${part(all)}`
  return { subject: `user-${n}`, claims, token: `${text}.${sign(null, Buffer.from(text), key.privateKey).toString('base64url')}` }
}

interface Asked {
  readonly service: number
  readonly method: string
  readonly path: string
  readonly person: Person | undefined
}

function askedOf(people: readonly Person[]): Asked {
  const service = random(SERVICES)
  const id = random(1_000_000)
  const path = pick([
    '/',
    `/static/${id}.css`,
    `/orders/${id}`,
    `/users/${random(2) === 0 ? service : random(SERVICES)}/${id}`,
    `/admin/${id}`,
    `/refunds/${id}`,
    '/refunds',
    `/a/../admin/${id}`,
    `/%61dmin/${id}`,
  ])
  const method = pick(['GET', 'GET', 'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'])
  return { service, method, path, person: random(8) === 0 ? undefined : pick(people) }
}

function timed(what: string, work: readonly (() => void)[]): void {
  const times = new Float64Array(work.length)
  const before = process.cpuUsage()
  for (let n = 0; n < work.length; n += 1) {
    const start = performance.now()
    work[n]!()
    times[n] = performance.now() - start
  }
  const { user, system } = process.cpuUsage(before)
  times.sort()
  const quantile = (part: number): string => (times[Math.floor(part * (times.length - 1))]! * 1_000).toFixed(1)
  const mean = ((user + system) / work.length).toFixed(1)
  process.stdout.write(
    `${what.padEnd(46)} p50 ${quantile(0.5)} us, p99 ${quantile(0.99)} us, p99.9 ${quantile(0.999)} us; mean ${mean} us of CPU\n`,
  )
}

function decisions(asked: readonly Asked[], others: readonly Asked[]): void {
  const document = parsePolicyDocument(policyText('http://127.0.0.1:1'))
  if (!document.ok) throw new Error(JSON.stringify(document.problems))
  const start = process.cpuUsage()
  const authorizers = Object.entries(document.policy.services).map(([name, { authorization, routes }]): Authorizer => {
    const actions = routes.flatMap(({ action, methods }) => (action === undefined ? [] : [{ name: action, methods }]))
    const compilation = compileAuthorization({ name, authorization: authorization!, actions })
    if (!compilation.ok) throw new Error(JSON.stringify(compilation.faults))
    return compilation.authorizer
  })
  const { user, system } = process.cpuUsage(start)
  process.stdout.write(
    `${SERVICES * 10} policies over ${SERVICES} services, checked and compiled in ${((user + system) / 1_000).toFixed(0)} ms of CPU\n`,
  )
  const questionOf = ({ service, method, path, person }: Asked): readonly [Authorizer, AccessQuestion] => [
    authorizers[service] as Authorizer,
    {
      principal: person === undefined ? undefined : { issuer: ISSUER, subject: person.subject, claims: person.claims },
      method,
      action: path.startsWith('/refunds') && method === 'POST' ? 'refund' : undefined,
      route: path.startsWith('/refunds') && method === 'POST' ? 'refunds' : undefined,
      path,
      host: `s${service}.example`,
      remoteAddress: '127.0.0.1',
      nowMs: Date.now(),
    },
  ]
  const questions = asked.map(questionOf)
  // The engine’s own warming up is not a decision’s cost.
  for (const [authorizer, question] of questions.slice(0, 500))
    authorizer.decide({ ...question, principal: { issuer: ISSUER, subject: 'warm', claims: { level: 9_999 } } })
  const work = (all: typeof questions) =>
    all.map(
      ([authorizer, question]) =>
        () =>
          void authorizer.decide(question),
    )
  timed(`the first ${questions.length} requests`, work(questions))
  timed('as many others of the same people', work(others.map(questionOf)))
  timed('the first again', work(questions))
}

async function agreement(asked: readonly Asked[], people: readonly Person[]): Promise<number> {
  const upstream = createServer((_, response) => response.end('ok'))
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-bench-'))
  const config = join(folder, 'ringwall.yaml')
  writeFileSync(config, policyText(url))
  const data = join(folder, 'data')
  const port = await freePort()
  const node = await startProtect(protectOptions(data, url, port, { config }))
  const operator = parseContext(readFileSync(join(data, 'operator.json'), 'utf8'))
  const client = new RingwallClient({ baseUrl: operator.nodes[0]!.url, operator })
  const agent = new Agent({ keepAlive: true, maxSockets: IN_FLIGHT })
  const through = ({ service, method, path, person }: Asked): Promise<number> =>
    new Promise((resolve, reject) => {
      const headers = {
        host: `s${service}.example`,
        ...(person === undefined ? {} : { authorization: `Bearer ${person.token}` }),
      }
      const sent = request({ host: '127.0.0.1', port, method, path, agent, headers }, (response) => {
        response.resume()
        response.on('end', () => resolve(response.statusCode as number))
      })
      sent.on('error', reject)
      sent.end()
    })
  const asks = ({ service, method, path, person }: Asked): Promise<{ readonly status: number; readonly reason: string }> => {
    const principal = person === undefined ? null : { issuer: ISSUER, subject: person.subject, claims: person.claims }
    const question: AccessRequest = { principal, action: method, host: `s${service}.example`, path, source: '127.0.0.1' }
    return client.access(question)
  }
  let differences = 0
  const counts = new Map<number, number>()
  const waiting = [...asked]
  const worker = async (): Promise<void> => {
    for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
      const [proxy, can] = await Promise.all([through(one), asks(one)])
      counts.set(proxy, (counts.get(proxy) ?? 0) + 1)
      if (proxy === can.status) continue
      differences += 1
      if (differences <= 5)
        process.stderr.write(
          `${one.method} s${one.service}${one.path} ${one.person?.subject ?? 'anonymous'}: ${proxy} and ${can.status} (${can.reason})\n`,
        )
    }
  }
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker))
  agent.destroy()
  await node.stop()
  upstream.close()
  rmSync(folder, { recursive: true, force: true })
  const told = [...counts].sort(([a], [b]) => a - b).map(([status, count]) => `${count} of ${status}`)
  process.stdout.write(`${asked.length} requests of ${people.length} people and of nobody, through a node: ${told.join(', ')}\n`)
  process.stdout.write(`differences between the proxy and ringwall can: ${differences}\n`)
  return differences
}

const people = Array.from({ length: 200 }, (_, n) => personOf(n))
const asked = Array.from({ length: REQUESTS }, () => askedOf(people))
const others = Array.from({ length: REQUESTS }, () => askedOf(people))
decisions(asked, others)
process.exitCode = (await agreement(asked, people)) === 0 ? 0 : 1

/**
 * `npm run e2e:wan-revocation`: tokens that are revoked on seven validators in three regions, one absent and one lying (`wan-scene.ts`), each
 * node in turn revoking: one by its id (jti) and all of a service (sub), of tokens that the ring minted, and a session (sid) of an outside
 * issuer's. A WebSocket that the token opened is held through every honest node. Prints how long it takes until the last honest node refuses the
 * token (401) and until the last WebSocket is cut.
 *
 * Then each region is cut off in turn, a token is revoked on one side, and the regions are joined again. No honest node may take the token
 * after it first refused it, nor any of them SETTLED_MS after the healing; both are asked for 20 s more. Exits with 1 when one does.
 *
 * `--count N` revocations, 300 unless given; `--partitions N`, 6.
 */
import { createServer, request } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError } from '@ringwall/client'
import type { DenialSubject } from '@ringwall/ring'
import {
  bearer,
  ISSUER,
  issuerYaml,
  type OpenWebSocket,
  openWebSocket,
  token,
  webSocketEcho,
} from '../packages/cli/src/test-tokens.ts'
import { readOptions, whole } from '../tools/options.ts'
import { address, cut, heal, POLICY } from './namespaces.ts'
import { farthestMs, HONEST, head, NODES, progress, REGIONS, row, SCENE, type WanRing, withWanRing } from './wan-scene.ts'

const { count: COUNT, partitions: PARTITIONS } = readOptions({ count: whole(300, 0), partitions: whole(6, 0) })
const PORT = 8_080
const REVOKED_MS_MAX = 20_000
const READY_MS_MAX = 60_000
const TTL_MS = 600_000
/** Longer than the 10 s that a denial holds without a quorum's word. */
const APART_MS = 12_000
/** A link is made anew within this time after it can be. */
const SETTLED_MS = 15_000
const WATCHED_MS = 20_000
const POLL_MS = 4

interface Revocable {
  readonly token: string
  readonly subject: DenialSubject
}

let made = 0

async function revocable({ client }: WanRing, node: number): Promise<Revocable> {
  made += 1
  const name = `w${process.pid}-${made}`
  if (made % 3 === 0) return { token: token({ sub: name, sid: name }), subject: { kind: 'session', issuer: ISSUER, value: name } }
  const want = { type: 'token', service: name, audience: 'app', ttlS: 600, claims: {} } as const
  const minted = (await client(node).tokenMint(want)).token
  const { jti, iss, sub } = JSON.parse(Buffer.from(minted.split('.')[1] ?? '', 'base64url').toString()) as Record<string, string>
  const subject: DenialSubject =
    made % 3 === 1 ? { kind: 'token', value: jti ?? '' } : { kind: 'subject', issuer: iss ?? '', value: sub ?? '' }
  return { token: minted, subject }
}

/** Status of one request with the token, on a connection of its own; 0 for none. */
function statusWith(node: number, text: string): Promise<number> {
  return new Promise((settle) => {
    const call = request({ host: address(node), port: PORT, path: '/chat', agent: false, headers: bearer(text) }, (response) => {
      response.resume()
      settle(response.statusCode ?? 0)
    })
    call.setTimeout(3_000, () => call.destroy())
    call.on('error', () => settle(0))
    call.end()
  })
}

async function until(node: number, text: string, status: number, most: number): Promise<number> {
  const began = performance.now()
  for (;;) {
    const seen = await statusWith(node, text)
    if (seen === status) return performance.now()
    if (performance.now() - began > most) throw new Error(`n${node} answers ${seen}, not ${status}, after ${most / 1_000} s`)
    await sleep(POLL_MS)
  }
}

const everywhere = (text: string, status: number, nodes = HONEST, most = READY_MS_MAX): Promise<readonly number[]> =>
  Promise.all(nodes.map((node) => until(node, text, status, most)))

const at = (times: readonly number[], began: number): number => Math.max(...times) - began

async function revocations(ring: WanRing): Promise<void> {
  const [refused, refusedOver, cutAfter, cutOver] = [[], [], [], []] as [number[], number[], number[], number[]]
  for (let i = 0; i < COUNT; i += 1) {
    const from = HONEST[i % HONEST.length] as number
    const one = await revocable(ring, from)
    await everywhere(one.token, 200)
    const sockets = await Promise.all(HONEST.map((node) => openWebSocket(PORT, one.token, address(node))))
    const closed = Promise.all(sockets.map(({ closed }) => closed.then(() => performance.now())))
    const began = performance.now()
    const watched = everywhere(one.token, 401, HONEST, REVOKED_MS_MAX)
    const told = ring.client(from).denyAdd(one.subject, TTL_MS, 'measured', { waitMs: 20_000 })
    const last = at(await watched, began)
    const lastCut = at(await withinMs(closed, REVOKED_MS_MAX, 'a WebSocket of a revoked token is still open'), began)
    await told
    refused.push(last)
    refusedOver.push(last - farthestMs(from))
    cutAfter.push(lastCut)
    cutOver.push(lastCut - farthestMs(from))
    progress(`${i + 1}/${COUNT}`)
    // Anywhere within a round, as real ones come.
    await sleep(Math.random() * 700)
  }
  progress('')
  if (COUNT === 0) return
  process.stdout.write(`${SCENE}; ${COUNT} revocations, ${HONEST.length * COUNT} WebSockets\n${head()}`)
  process.stdout.write(row('until the last honest node’s first refusal', refused))
  process.stdout.write(row('  of that, beyond the one-way delay to the farthest', refusedOver))
  process.stdout.write(row('until the last WebSocket was cut', cutAfter))
  process.stdout.write(row('  of that, beyond the one-way delay to the farthest', cutOver))
}

async function withinMs<T>(work: Promise<T>, most: number, otherwise: string): Promise<T> {
  const late = sleep(most, undefined, { ref: false }).then(() => Promise.reject(new Error(otherwise)))
  return Promise.race([work, late])
}

/** Asks a node with the token until it is stopped; what it answered, in the order of its answers. */
function watch(node: number, text: string): { readonly stop: () => Promise<readonly { atMs: number; status: number }[]> } {
  const seen: { atMs: number; status: number }[] = []
  let going = true
  const asking = (async () => {
    while (going) {
      const status = await statusWith(node, text)
      // Of the moment at which it was answered.
      seen.push({ atMs: performance.now(), status })
      await sleep(20)
    }
  })()
  return {
    stop: async () => {
      going = false
      await asking
      return seen
    },
  }
}

/** One region is cut off. Returns how often a revoked token was taken where it may not be, and how long after the healing the last refused it. */
async function apart(ring: WanRing, nth: number): Promise<{ readonly taken: number; readonly settledMs: number }> {
  const region = ['a', 'b', 'c'][nth % 3] as string
  const inside = HONEST.filter((node) => REGIONS[node] === region)
  const outside = HONEST.filter((node) => REGIONS[node] !== region)
  // The smaller side and the larger one, in turn.
  const revoking = nth % 2 === 0 ? inside : outside
  const waiting = nth % 2 === 0 ? outside : inside
  const from = revoking[0] as number
  const one = await revocable(ring, from)
  await everywhere(one.token, 200)
  const sockets = await Promise.all(HONEST.map((node) => openWebSocket(PORT, one.token, address(node))))
  cut(
    NODES.filter((node) => REGIONS[node] === region),
    NODES.filter((node) => REGIONS[node] !== region),
  )
  try {
    await sleep(1_000)
    const watches = new Map(HONEST.map((node) => [node, watch(node, one.token)]))
    await ring
      .client(from)
      .denyAdd(one.subject, TTL_MS, 'revoked while cut off', { waitMs: 1_500 })
      .catch((error: unknown) => {
        if (!(error instanceof ApiError)) throw error
      })
    await everywhere(one.token, 401, revoking, REVOKED_MS_MAX)
    await sleep(APART_MS)
    const stillTaken = (await Promise.all(waiting.map((node) => statusWith(node, one.token)))).every((status) => status === 200)
    heal(NODES)
    const healedMs = performance.now()
    const settledMs = at(await everywhere(one.token, 401, HONEST, REVOKED_MS_MAX + SETTLED_MS), healedMs)
    await withinMs(Promise.all(sockets.map(({ closed }: OpenWebSocket) => closed)), REVOKED_MS_MAX, 'a WebSocket is still open')
    await sleep(WATCHED_MS)
    let taken = 0
    for (const [node, { stop }] of watches) {
      const seen = await stop()
      const first = seen.findIndex(({ status }) => status === 401)
      const again = seen.filter(({ atMs, status }, i) => status === 200 && (i > first || atMs > healedMs + SETTLED_MS)).length
      if (again > 0)
        process.stdout.write(`  BAD   n${node} took the token ${again} times after it was refused, or too long after\n`)
      taken += again
    }
    const sides = `region ${region} cut off, revoked at n${from}`
    const control = stillTaken ? 'the other side took it meanwhile' : 'the other side knew it in spite of the cut'
    process.stdout.write(
      `  ${sides}: ${control}; all refuse ${(settledMs / 1_000).toFixed(1)} s after healing; taken again ${taken} times\n`,
    )
    return { taken, settledMs }
  } finally {
    heal(NODES)
  }
}

async function partitions(ring: WanRing): Promise<void> {
  let taken = 0
  const settled: number[] = []
  for (let nth = 0; nth < PARTITIONS; nth += 1) {
    const result = await apart(ring, nth)
    taken += result.taken
    settled.push(result.settledMs)
  }
  if (PARTITIONS === 0) return
  process.stdout.write(`${PARTITIONS} partitions: a revoked token was taken again ${taken} times\n${head()}`)
  process.stdout.write(row('after healing, until the last honest node refuses', settled))
  if (taken > 0 || settled.some((ms) => ms > SETTLED_MS)) process.exitCode = 1
}

async function protect({ client }: WanRing): Promise<void> {
  const route = '    routes:\n      - { name: chat, path: /chat, identity: {}, waf: { mode: off } }\n'
  const { version } = await client(1).policy()
  await client(1).policyApply(`${POLICY}${route}${issuerYaml()}`, version, { waitMs: 30_000 })
  await everywhere('', 401)
}

const application = createServer((_, response) => response.end('fine\n'))
application.on('upgrade', (call, socket) => webSocketEcho(call, socket))
await withWanRing(application, async (ring) => {
  await protect(ring)
  await revocations(ring)
  await partitions(ring)
})

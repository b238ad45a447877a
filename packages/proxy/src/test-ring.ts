/** For tests: a guard that judges by real policy and by what a request says, a recorder that keeps, upstreams and raw clients. */
import { randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http'
import { type AddressInfo, connect, type Socket } from 'node:net'
import type { Decision, Guard, GuardEnvironment, GuardRequest, Judgement } from '@ringwall/guard'
import { NO_SIGNING_KEY_VIEW, type Policy, PolicySchema, type View } from '@ringwall/ring'
import { createProxy } from './proxy.ts'
import type { DecisionRecord, ProxyOptions, Recorder, RequestMeasure, Span } from './types.ts'

export const BODY_BYTES_MAX = 1_024

export const RESPONSE_BYTES_MAX = 2_048

/**
 * Denies `/denied`, throttles `/limited`, wants a token under `/private`, fails at `/broken`, and denies bodies with `attack`. Under
 * `/inspected` it looks at the response: denies one with `x-leak`, and bodies with `leak` in what it wants to see of them.
 */
export function testGuard(seen: GuardRequest[] = []): Guard {
  const decide = (environment: GuardEnvironment, changes: Partial<Decision>): Decision => ({
    outcome: 'allow',
    status: 200,
    check: 'none',
    reason: '',
    rule: undefined,
    height: environment.view.height,
    viewAgeMs: 0,
    stale: false,
    provisional: false,
    retryAfterS: undefined,
    matches: [],
    wafScore: 0,
    shadowOutcome: 'allow',
    ...changes,
  })
  return {
    head(request, environment): Judgement | Promise<Judgement> {
      seen.push(request)
      const route = environment.view.route(request.host, request.path, request.method)
      const judge = (changes: Partial<Decision>): Judgement => ({
        route,
        decision: decide(environment, changes),
        bodyBytesWanted: 0,
        login: undefined,
        api: undefined,
        responseWanted: false,
        responseBytesWanted: 0,
      })
      if (request.path.startsWith('/denied')) {
        const match = {
          ruleId: 942100,
          message: 'SQL injection',
          severity: 'critical',
          tags: [],
          phase: 1,
          variable: 'ARGS:q',
          excerpt: "'",
        } as const
        return judge({
          outcome: 'deny',
          status: 403,
          check: 'waf',
          reason: 'rule 942100',
          rule: 'rule:942100',
          matches: [match, match],
        })
      }
      if (request.path.startsWith('/limited'))
        return judge({ outcome: 'throttle', status: 429, check: 'limit', retryAfterS: 2.2 })
      if (request.path.startsWith('/private')) return Promise.resolve(judge({ outcome: 'deny', status: 401, check: 'identity' }))
      if (request.path.startsWith('/broken')) throw new Error('guard bug')
      if (route === undefined) return judge({ outcome: 'deny', status: 404, check: 'route' })
      const responseWanted = request.path.startsWith('/inspected')
      const rest = { bodyBytesWanted: BODY_BYTES_MAX, login: undefined, api: undefined, responseWanted, responseBytesWanted: 0 }
      const judgement = { route, decision: undefined, ...rest }
      return request.path.startsWith('/later') ? new Promise((resolve) => setImmediate(() => resolve(judgement))) : judgement
    },
    body(judgement, body, _truncated, environment): Judgement {
      const attack = Buffer.from(body).includes('attack')
      const login =
        judgement.route?.route?.login === undefined ? undefined : { service: judgement.route.service.name, account: 'hash' }
      return {
        ...judgement,
        login,
        decision: decide(environment, attack ? { outcome: 'deny', status: 403, check: 'waf', reason: 'attack' } : {}),
      }
    },
    responseHead(judgement, { headers }, environment): Judgement {
      const leak = headers.some(([name]) => name.toLowerCase() === 'x-leak')
      const decision = decide(environment, leak ? { outcome: 'deny', status: 403, check: 'waf', reason: 'leak' } : {})
      return { ...judgement, decision, responseBytesWanted: RESPONSE_BYTES_MAX }
    },
    responseBody(judgement, body, truncated, environment): Judgement {
      const leak = Buffer.from(body).includes('leak')
      const changes = leak
        ? ({ outcome: 'deny', status: 403, check: 'waf', reason: 'leak' } as const)
        : { reason: `${truncated}` }
      return { ...judgement, decision: decide(environment, changes), responseWanted: false }
    },
    review: () => undefined,
    access: (_request, _verdict, environment) => decide(environment, {}),
    lasting: (judgement) => judgement,
    answered() {},
    sent() {},
    release() {},
    end() {},
    // Every hundred bytes are a slice.
    bodyInSlices(judgement, body, truncated, environment) {
      let left = Math.floor(body.length / 100)
      return () => (left-- > 0 ? undefined : this.body(judgement, body, truncated, environment))
    },
  }
}

export function policyOf(services: Readonly<Record<string, unknown>>, rest: object = {}): Policy {
  return PolicySchema.parse({ version: 1, services, ...rest })
}

/** A view whose routes are the first service whose host fits; routes by longest path. */
export function viewOf(policy: Policy, height = 1): View {
  const nothing = { size: 0, matchAddress: none, matchCredential: none, matchAccount: none, find: none, list: () => [] }
  const services = Object.entries(policy.services).map(([name, service]) => ({ ...service, name }))
  return {
    ring: 'test',
    height,
    blockTimestampMs: 0,
    policyVersion: height,
    policy,
    policyText: '',
    denials: nothing,
    operators: [],
    nodes: [],
    epoch: 0,
    signingKey: NO_SIGNING_KEY_VIEW,
    routes: [],
    route(host, path) {
      const service = services.find(({ hosts }) => hosts.includes('*') || hosts.includes(host))
      if (service === undefined) return undefined
      const route = service.routes.find((each) => path.startsWith(each.path))
      return {
        service,
        route,
        label: service.name,
        rules: undefined,
        wafMode: 'off',
        bodyBytesMax: BODY_BYTES_MAX,
        api: undefined,
        apiMode: 'off',
        authorizer: undefined,
        exceptions: [],
        patches: [],
      }
    },
  }
}

const none = () => undefined

export function testRecorder() {
  const records: DecisionRecord[] = []
  const spans: Span[] = []
  const measures: RequestMeasure[] = []
  const recorder: Recorder = {
    wants: () => true,
    recordDecision: (record) => records.push(record),
    recordSpan: (span) => spans.push(span),
    observeRequest: (measure) => measures.push(measure),
    parseTraceparent(header, traceState) {
      const match = /^00-([0-9a-f]{32})-([0-9a-f]{16})-01$/.exec(header ?? '')
      return match === null ? undefined : { traceId: match[1]!, spanId: match[2]!, sampled: true, traceState }
    },
    newTrace: () => ({ traceId: hex(16), spanId: hex(8), sampled: true, traceState: undefined }),
    childOf: (parent) => ({ ...parent, spanId: hex(8) }),
    formatTraceparent: ({ traceId, spanId }) => `00-${traceId}-${spanId}-01`,
    requestId: (node) => `${node}-${hex(10)}`,
  }
  return { recorder, records, spans, measures }
}

const hex = (bytes: number): string => randomBytes(bytes).toString('hex')

export async function upstreamServer(
  listener: RequestListener,
  port = 0,
): Promise<{ server: Server; url: string; seen: IncomingMessage[]; close: () => void }> {
  const seen: IncomingMessage[] = []
  const server = createServer((request, response) => {
    seen.push(request)
    listener(request, response)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen, close }
}

/** A proxy on a free port in front of the services given; `policy` may be swapped. */
export async function testProxy(
  services: Readonly<Record<string, unknown>>,
  options: Partial<ProxyOptions> = {},
  rest: object = {},
) {
  const recording = testRecorder()
  const state = { view: viewOf(policyOf(services, rest)) }
  const tokens = { verify: () => ({ ok: false, code: 'NONE', reason: '' }) as const }
  const seen: GuardRequest[] = []
  const lines: string[] = []
  const proxy = createProxy({
    listeners: [{ host: '127.0.0.1', port: 0 }],
    guard: testGuard(seen),
    environment: () => ({
      view: state.view,
      provisional: state.view.denials,
      tokens,
      nowMs: Date.now(),
      certifiedAtMs: undefined,
    }),
    recorder: recording.recorder,
    node: 'n1',
    region: 'eu',
    explainHeader: false,
    log: (_level, line) => lines.push(line),
    ...options,
  })
  const bound = await proxy.start()
  const { port } = bound[0]!
  return { proxy, port, ports: bound.map((each) => each.port), url: `http://127.0.0.1:${port}`, state, seen, lines, ...recording }
}

/** Everything the other side says to these bytes, until it closes or has been quiet for `quietMs`. */
export function rawExchange(port: number, bytes: string | Buffer, quietMs = 300): Promise<{ text: string; closed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    let text = ''
    socket.setTimeout(quietMs, () => {
      resolve({ text, closed: false })
      socket.destroy()
    })
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
    })
    socket.on('error', () => undefined)
    socket.on('close', () => resolve({ text, closed: true }))
    socket.write(bytes)
  })
}

export function openSocket(port: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => resolve(socket))
    socket.on('error', reject)
  })
}

/** Waits until something holds; fails after five seconds, saying what was waited for. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

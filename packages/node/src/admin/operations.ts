/** What the admin API does; its description is `openapi` in `../api/openapi.ts`. */
import { faultsOf } from '@ringwall/consensus'
import { type Committed, type FinalBlock, LedgerError } from '@ringwall/ledger'
import type { CacheCounts, ServiceStatus, UpstreamStatus } from '@ringwall/proxy'
import {
  type Denial,
  diffPolicies,
  isEnrolmentStatement,
  isFleetStatement,
  isPlayStatement,
  liveStatements,
  type Policy,
  type PolicyChange,
  parsePolicyDocument,
  policyJsonSchema,
  type RingState,
  recordOf,
  servedBy,
} from '@ringwall/ring'
import { encodeTx, parseTx, type SignedTx, subjectId, type TxContent, TxMalformed, txId } from '@ringwall/ring/tx'
import { z } from 'zod'
import { AccessBody, EvaluationBody, EvaluationsBody, evaluate, evaluateAll, judgeAccess } from '../access.ts'
import { formatHostPort } from '../address.ts'
import { openapi } from '../api/openapi.ts'
import { checkNode } from '../check.ts'
import { summarizeEnrolment } from '../enrolment/summary.ts'
import { trustState } from '../enrolment/trust.ts'
import { summarizeFleet } from '../fleet/summary.ts'
import type { TrafficListener } from '../listeners.ts'
import type { ReplayAnswer } from '../queries.ts'
import { listRules, showRule } from '../rule-book.ts'
import { estimateOf } from '../rule-watch.ts'
import type { RunningNode } from '../running-node.ts'
import { describeSubject } from '../subject-text.ts'
import { VERSION } from '../version.ts'
import { bouncerOperations } from './bouncer-operations.ts'
import { enrolmentOperations } from './enrolment-operations.ts'
import { fleetOperations, shownAge } from './fleet-operations.ts'
import type { Call, Operation } from './http.ts'
import { incidentOperations } from './incident-operations.ts'
import { keyOperations } from './key-operations.ts'
import { leaseOperations } from './lease-operations.ts'
import { modelOperations } from './model-operations.ts'
import { peopleOperations } from './people-operations.ts'
import { playbookOperations, summarizePlay } from './playbook-operations.ts'
import { ApiProblem } from './problem.ts'
import { transitOperations } from './transit-operations.ts'
import { vaultOperations } from './vault-operations.ts'

const WAIT_MS_DEFAULT = 15_000
const WAIT_MS_MAX = 60_000
const LIMIT_MAX = 1_000

export function adminOperations(node: RunningNode): readonly Operation[] {
  return [
    { method: 'GET', path: '/healthz', open: true, run: () => ({ text: 'ok\n', type: 'text/plain; charset=utf-8' }) },
    { method: 'GET', path: '/readyz', open: true, run: () => readiness(node) },
    { method: 'GET', path: '/metrics', open: true, run: () => metrics(node) },
    { method: 'GET', path: '/openapi.json', open: true, run: () => ({ json: openapi }) },
    { method: 'GET', path: '/v1/status', run: () => ({ json: status(node) }) },
    { method: 'GET', path: '/v1/nodes', run: async () => ({ json: { nodes: await nodes(node) } }) },
    { method: 'GET', path: '/v1/disks', run: () => ({ json: disks(node) }) },
    { method: 'GET', path: '/v1/check', run: async () => ({ json: { findings: await checkNode(node) } }) },
    { method: 'GET', path: '/v1/policy', run: () => ({ json: policy(node) }) },
    { method: 'GET', path: '/v1/policy/schema', open: true, run: () => ({ json: policyJsonSchema() }) },
    { method: 'POST', path: '/v1/policy/plan', run: async (call) => ({ json: await plan(node, call) }) },
    { method: 'POST', path: '/v1/transactions', run: (call) => submit(node, call) },
    { method: 'POST', path: '/v1/transactions/rehearsal', run: async (call) => ({ json: rehearsal(node, await call.body()) }) },
    { method: 'POST', path: '/v1/access', run: async (call) => ({ json: access(node, await call.body()) }) },
    {
      method: 'POST',
      path: '/access/v1/evaluation',
      run: async (call) => ({ json: evaluate(node, parseBody(EvaluationBody, await call.body())) }),
    },
    {
      method: 'POST',
      path: '/access/v1/evaluations',
      run: async (call) => ({ json: evaluateAll(node, parseBody(EvaluationsBody, await call.body())) }),
    },
    { method: 'GET', path: '/v1/approvals', run: () => ({ json: { approvals: approvals(node) } }) },
    { method: 'GET', path: '/v1/denials', run: () => ({ json: { denials: denials(node), pending: pendingDenials(node) } }) },
    {
      method: 'GET',
      path: '/v1/decisions',
      run: async (call) => ({ json: { decisions: await node.telemetry.decisions(decisionFilter(call.query)) } }),
    },
    {
      method: 'GET',
      path: '/v1/decisions/stream',
      run: () => ({ subscribe: (emit) => node.telemetry.onDecision((record) => emit('decision', record)) }),
    },
    {
      method: 'GET',
      path: '/v1/decisions/{requestId}',
      run: async (call) => ({ json: await explain(node, call.parameters.requestId as string) }),
    },
    {
      method: 'GET',
      path: '/v1/decisions/{requestId}/receipt',
      run: async (call) => ({ json: await receipt(node, call.parameters.requestId as string) }),
    },
    {
      method: 'GET',
      path: '/v1/traces/{traceId}',
      run: async (call) => ({ json: { spans: await node.queries.findTrace(traceId(call)) } }),
    },
    { method: 'GET', path: '/v1/ledger', run: async (call) => ({ json: await blocks(node, call.query) }) },
    {
      method: 'GET',
      path: '/v1/ledger/{height}',
      run: async (call) => ({ json: await block(node, call.parameters.height as string) }),
    },
    {
      method: 'GET',
      path: '/v1/events',
      run: (call) => ({ json: { events: node.events.last(whole(call.query, 'limit', 100, LIMIT_MAX)) } }),
    },
    {
      method: 'GET',
      path: '/v1/events/stream',
      run: () => ({ subscribe: (emit) => node.events.listen((event) => emit('event', event)) }),
    },
    { method: 'GET', path: '/v1/rules', run: async (call) => ({ json: await listRules(node, isLocal(call.query)) }) },
    {
      method: 'GET',
      path: '/v1/rules/{id}',
      run: async (call) => ({ json: await showRule(node, call.parameters.id as string, isLocal(call.query)) }),
    },
    { method: 'GET', path: '/v1/exceptions', run: () => ({ json: { exceptions: exceptions(node) } }) },
    { method: 'POST', path: '/v1/exceptions/propose', run: async (call) => ({ json: await propose(node, call) }) },
    { method: 'POST', path: '/v1/exceptions/replay', run: async (call) => ({ json: await replayed(node, call) }) },
    { method: 'GET', path: '/v1/estimate', run: async (call) => ({ json: await estimate(node, isLocal(call.query)) }) },
    { method: 'GET', path: '/v1/endpoints', run: () => ({ json: endpoints(node) }) },
    ...keyOperations(node),
    ...vaultOperations(node),
    ...transitOperations(node),
    ...leaseOperations(node),
    ...peopleOperations(node),
    ...bouncerOperations(node),
    ...modelOperations(node),
    ...incidentOperations(node),
    ...playbookOperations(node),
    ...enrolmentOperations(node),
    ...fleetOperations(node),
    { method: 'GET', path: '/v1/top', run: async (call) => ({ json: { rows: await top(node, call.query) } }) },
  ]
}

/** A whole number in a query. @throws {ApiProblem} 400. */
function whole(query: URLSearchParams, name: string, fallback: number, max: number): number {
  const text = query.get(name)
  if (text === null) return fallback
  if (!/^[0-9]{1,15}$/.test(text) || Number(text) > max) {
    throw new ApiProblem(400, 'BAD_QUERY', `${name}=${text.slice(0, 40)}: expected a whole number up to ${max}`)
  }
  return Number(text)
}

function choice<T extends string>(query: URLSearchParams, name: string, choices: readonly T[]): T | undefined {
  const text = query.get(name)
  if (text === null) return undefined
  const found = choices.find((value) => value === text)
  if (found === undefined)
    throw new ApiProblem(400, 'BAD_QUERY', `${name}=${text.slice(0, 40)}: expected one of ${choices.join(', ')}`)
  return found
}

async function estimate(node: RunningNode, isOwn: boolean): Promise<unknown> {
  const reports = isOwn ? new Map([[node.config.id, node.watch.report()]]) : await node.queries.watched()
  return estimateOf(node.view(), reports)
}

function exceptions(node: RunningNode): readonly unknown[] {
  const nowMs = Date.now()
  return node.view().policy.exceptions.map((exception) => {
    const untilMs = Date.parse(exception.until)
    return { ...exception, untilMs, lapsed: untilMs <= nowMs }
  })
}

const ProposeBody = z.strictObject({
  requestId: z.string().max(128),
  path: z.string().max(1_024).optional(),
  rule: z.int().positive().optional(),
})

async function propose(node: RunningNode, call: Call): Promise<unknown> {
  const { requestId, path, rule } = parseBody(ProposeBody, await call.body())
  checkRequestId(requestId)
  const found = await node.queries.proposeExceptions(requestId, path, rule).catch((cause: Error) => {
    throw new ApiProblem(503, 'NODE_SILENT', `the node that served ${requestId} does not answer: ${cause.message}`)
  })
  if (found !== null) return found
  throw new ApiProblem(
    404,
    'NOT_HELD',
    `no node holds the request ${requestId}: no rule matched it, it is too long ago, or its node was started since`,
  )
}

const ReplayBody = z.strictObject({
  exceptions: z
    .array(
      z.strictObject({
        rule: z.int().positive(),
        service: z.string().max(64),
        route: z.string().max(64).optional(),
        path: z.string().max(1_024).optional(),
        variable: z.string().max(300),
      }),
    )
    .min(1)
    .max(64),
})

async function replayed(node: RunningNode, call: Call): Promise<unknown> {
  const { exceptions: scopes } = parseBody(ReplayBody, await call.body())
  const answers = await node.queries.replay(scopes)
  const known = [...answers].flatMap(([id, answer]) => (answer === undefined ? [] : [{ id, answer }]))
  const sum = (of: (answer: ReplayAnswer) => number): number => known.reduce((all, { answer }) => all + of(answer), 0)
  return {
    nodes: known.map(({ id }) => id),
    silent: [...answers].filter(([, answer]) => answer === undefined).map(([id]) => id),
    held: sum(({ held }) => held),
    judged: sum(({ judged }) => judged),
    left: sum(({ left }) => left),
    refused: sum(({ refused }) => refused),
    passing: sum(({ passing }) => passing),
    letThrough: known
      .flatMap(({ id, answer }) => answer.letThrough.map((one) => ({ ...one, node: id })))
      .sort((a, b) => b.atMs - a.atMs),
  }
}

function isLocal(query: URLSearchParams): boolean {
  return choice(query, 'scope', ['ring', 'node']) === 'node'
}

function readiness(node: RunningNode): { readonly json: unknown; readonly status: number } {
  const why = node.whyNotReady()
  const json = { ready: why === undefined, reason: why ?? 'serving', viewAgeMs: node.viewAgeMs() }
  return { json, status: why === undefined ? 200 : 503 }
}

function metrics(node: RunningNode): { readonly text: string; readonly type: string } {
  const { height, round, lag, mempool, reachable, muted } = node.ledger.status()
  const proxy = node.proxy.stats()
  const gauges = {
    ledger_height: height,
    ledger_round: round,
    ledger_lag_blocks: lag,
    ledger_mempool_transactions: mempool,
    ring_validators_reachable: reachable.length,
    view_age_seconds: node.viewAgeMs() / 1_000,
    policy_version: node.view().policyVersion,
    denials: node.view().denials.size,
    denials_provisional: node.early.enforced.size,
    denials_pending: node.ledger.state().pending.size,
    proxy_connections: proxy.activeConnections,
    proxy_connections_dropped: proxy.droppedConnections,
    proxy_connections_evicted: proxy.evictedConnections,
    proxy_requests_shed: proxy.shed,
    proxy_streams_cut: proxy.streamsCut,
    proxy_headers_refused: proxy.proxyHeadersRefused,
    http2_errors: proxy.http2Errors,
    http2_floods: proxy.http2Floods,
    tls_handshakes: proxy.tlsHandshakes,
    tls_handshakes_resumed: proxy.tlsResumed,
    tls_handshakes_failed: proxy.tlsFailed,
    tls_handshakes_dropped: proxy.tlsDropped,
    tls_handshakes_open: proxy.activeHandshakes,
    key_signatures_coordinated: node.signing.counts.coordinated,
    key_signatures_failed: node.signing.counts.failed,
    key_shares_given: node.signing.counts.shares,
    key_shares_refused: node.signing.counts.refused,
    vault_openings_passed_on: node.vault.counts.passedOn,
    vault_openings_short: node.vault.counts.short,
    vault_partials_given: node.vault.counts.opened,
    vault_partials_refused: node.vault.counts.refused,
    compressed_answers: proxy.compressed,
    compression_skipped: proxy.compressionSkipped,
    compression_bytes_in: proxy.compressedBytesIn,
    compression_bytes_out: proxy.compressedBytesOut,
    tls_certificate_reloads: proxy.certificatesTaken,
    tls_certificate_reloads_refused: proxy.certificatesRefused,
  }
  const workloads = node.workloads?.figures()
  if (workloads !== undefined)
    Object.assign(gauges, {
      workload_connections: workloads.connections,
      workload_calls: workloads.calls,
      workload_connections_refused: workloads.refused,
      workload_certificates_issued: workloads.issued,
      workload_certificates_failed: workloads.failed,
    })
  const audit = node.audit ?? (node.config.audit === undefined ? undefined : node.workers?.audit())
  if (audit !== undefined) Object.assign(gauges, { audit_lines_written: audit.written, audit_lines_dropped: audit.dropped })
  if (node.acme !== undefined) Object.assign(gauges, { acme_obtained: node.acme.obtained, acme_failures: node.acme.failed })
  for (const [name, value] of Object.entries(gauges)) node.telemetry.setGauge(name, value)
  for (const [sort, value] of Object.entries(node.insiders.counts()))
    node.telemetry.setGauge('insider_identities', value, { sort })
  for (const { certificate, notAfterMs, problem } of node.proxy.certificates()) {
    node.telemetry.setGauge('tls_certificate_not_after_seconds', notAfterMs / 1_000, { certificate })
    node.telemetry.setGauge('tls_certificate_refused', problem === undefined ? 0 : 1, { certificate })
  }
  const nowMs = Date.now()
  for (const { id } of node.application.members(node.ledger.state())) {
    const issuer = `node:${id}`
    node.telemetry.setGauge('denials_unconfirmed', node.early.unconfirmed(issuer, nowMs), { issuer })
    if (id !== node.config.id) node.telemetry.setGauge('ledger_peer_muted', muted.includes(id) ? 1 : 0, { peer: id })
  }
  upstreamMetrics(node)
  cacheMetrics(node)
  return { text: node.telemetry.metrics(), type: 'text/plain; version=0.0.4; charset=utf-8' }
}

function upstreamMetrics({ proxy, telemetry }: RunningNode): void {
  const ofUpstreams = (kind: 'gauge' | 'counter', name: string, value: (upstream: UpstreamStatus) => number): void => {
    const series = proxy.upstreams().map((upstream) => {
      return { labels: { service: upstream.service, upstream: upstream.url }, value: value(upstream) }
    })
    telemetry.setFamily(kind, name, series)
  }
  ofUpstreams('gauge', 'upstream_up', ({ healthy }) => (healthy ? 1 : 0))
  ofUpstreams('gauge', 'upstream_active_requests', ({ active }) => active)
  ofUpstreams('gauge', 'upstream_pending_requests', ({ pending }) => pending)
  ofUpstreams('counter', 'upstream_requests_total', ({ requests }) => requests)
  ofUpstreams('counter', 'upstream_failures_total', ({ failures }) => failures)
  ofUpstreams('counter', 'upstream_ejections_total', ({ ejections }) => ejections)
  const ofServices = (name: string, value: (service: ServiceStatus) => number): void => {
    const series = proxy.services().map((service) => ({ labels: { service: service.service }, value: value(service) }))
    telemetry.setFamily('counter', name, series)
  }
  ofServices('retries_total', ({ retries }) => retries)
  ofServices('retries_refused_total', ({ retriesRefused }) => retriesRefused)
  ofServices('overloaded_total', ({ overloaded }) => overloaded)
  ofServices('hedges_total', ({ hedges }) => hedges)
  ofServices('hedges_won_total', ({ hedgesWon }) => hedgesWon)
  ofServices('mirrored_total', ({ mirrored }) => mirrored)
  ofServices('mirrors_dropped_total', ({ mirrorsDropped }) => mirrorsDropped)
}

function cacheMetrics({ proxy, telemetry }: RunningNode): void {
  const { entries, bytes, bytesMax, evictions, services } = proxy.cache()
  telemetry.setGauge('cache_entries', entries)
  telemetry.setGauge('cache_bytes', bytes)
  telemetry.setGauge('cache_bytes_max', bytesMax)
  telemetry.setFamily('counter', 'cache_evictions_total', [{ labels: {}, value: evictions }])
  const ofServices = (name: string, value: (counts: CacheCounts) => number): void => {
    const series = services.map((counts) => ({ labels: { service: counts.service }, value: value(counts) }))
    telemetry.setFamily('counter', name, series)
  }
  ofServices('cache_hits_total', ({ hits }) => hits)
  ofServices('cache_stale_hits_total', ({ stale }) => stale)
  ofServices('cache_revalidated_total', ({ revalidated }) => revalidated)
  ofServices('cache_misses_total', ({ misses }) => misses)
  ofServices('cache_collapsed_total', ({ collapsed }) => collapsed)
  ofServices('cache_sent_bytes_total', ({ bytes: sent }) => sent)
}

function status(node: RunningNode): unknown {
  const { certifiedAtMs: _certifiedAtMs, muted: _muted, ...ledger } = node.ledger.status()
  const certifiedAtMs = node.certifiedAtMs()
  const stats = node.proxy.stats()
  const entry = node.view().nodes.find(({ id }) => id === node.config.id)
  const { traffic, admin, fabric } = node.config.listen
  return {
    node: node.config.id,
    region: node.region,
    ring: node.ring,
    version: VERSION,
    pid: process.pid,
    startedAtMs: node.startedAtMs,
    roles: entry?.roles ?? [],
    listen: { traffic: traffic.map(formatListener).join(', '), admin: formatHostPort(admin), fabric: formatHostPort(fabric) },
    ledger: {
      ...ledger,
      halted: ledger.halted ?? null,
      viewAgeMs: certifiedAtMs === undefined ? null : Math.max(0, Date.now() - certifiedAtMs),
      blockAgeMs: Math.max(0, Date.now() - node.view().blockTimestampMs),
      faultsTolerated: faultsOf(ledger.validators),
    },
    hold: node.hold() ?? null,
    notReady: node.whyNotReady() ?? null,
    age: shownAge(node.age()),
    policyVersion: node.view().policyVersion,
    denials: node.view().denials.list(Date.now()).length,
    provisionalDenials: node.early.enforced.list(Date.now()).length,
    pendingDenials: pendingDenials(node).length,
    unconfirmedDenials: node.early.unconfirmedByIssuer(Date.now()),
    links: node.fabric.links().map((link) => ({
      ...link,
      reason: link.reason ?? null,
      roundTripMs: link.roundTripMs ?? null,
      clockOffsetMs: link.clockOffsetMs ?? null,
    })),
    upstreams: node.proxy.upstreams().map((upstream) => ({
      ...upstream,
      region: upstream.region ?? null,
      subset: upstream.subset ?? null,
      latencyMs: upstream.latencyMs ?? null,
    })),
    balancing: node.proxy.services(),
    traffic: {
      requests: stats.requests,
      allowed: stats.allowed,
      denied: stats.denied,
      throttled: stats.throttled,
      upstreamErrors: stats.upstreamErrors,
      overloaded: stats.overloaded,
      ...node.queries.rates(),
    },
  }
}

function formatListener(listener: TrafficListener): string {
  return `${formatHostPort(listener)}${listener.tls === undefined ? '' : ' (TLS)'}`
}

async function nodes(node: RunningNode): Promise<readonly unknown[]> {
  const links = new Map(node.fabric.links().map((link) => [link.id, link]))
  return Promise.all(
    node.view().nodes.map(async ({ id, region, roles }) => {
      const self = id === node.config.id
      const attested = attestedOf(node, id)
      const roundTripMs = links.get(id)?.roundTripMs ?? null
      const unknown = {
        height: null,
        lag: null,
        viewAgeMs: null,
        policyVersion: null,
        denials: null,
        requestsPerSecond: null,
        deniedPerSecond: null,
        version: null,
        adminUrl: null,
      }
      try {
        const summary = self ? node.queries.summary() : await node.queries.askSummary(id)
        return { id, region, roles, self, attested, reachable: true, reason: null, roundTripMs, ...summary }
      } catch {
        const why = links.get(id)?.reason ?? 'does not answer'
        return { id, region, roles, self, attested, reachable: false, reason: why, roundTripMs, ...unknown }
      }
    }),
  )
}

function attestedOf(node: RunningNode, id: string): unknown {
  const record = recordOf(node.ledger.state().enrolment.trust, id)
  return record === undefined ? null : { kind: record.kind, state: trustState(record, Date.now()) }
}

function disks(node: RunningNode): unknown {
  const { sealed, wipes } = node.ledger.state().disks
  return { disks: sealed.map(({ id, atMs }) => ({ id, atMs })), wipes: [...wipes].reverse() }
}

function policy(node: RunningNode): unknown {
  const { policyVersion, policyText, height } = node.view()
  return { version: policyVersion, height, text: policyText, changedAtMs: null }
}

const PlanBody = z.strictObject({ text: z.string().max(262_144) })

async function plan(node: RunningNode, call: Call): Promise<unknown> {
  const { text } = parseBody(PlanBody, await call.body())
  const version = node.view().policyVersion
  const { policy: wanted, problems, tests, costs } = node.application.review(node.ledger.state(), text, Date.now())
  const told = problems.map((problem) => ({ ...problem, hint: problem.hint ?? null }))
  if (wanted === undefined || told.length > 0)
    return { version, valid: false, problems: told, changes: [], tests, costs, served: [] }
  const changes = diffPolicies(node.view().policy as Policy, wanted).map(shownChange)
  return { version, valid: true, problems: [], changes, tests, costs, served: servedBy(node.ledger.state(), wanted) }
}

const SubmitBody = z.strictObject({ tx: z.unknown(), waitMs: z.int().min(0).max(WAIT_MS_MAX).default(WAIT_MS_DEFAULT) })

function parseBody<T>(schema: z.ZodType<T>, body: unknown): T {
  const parsed = schema.safeParse(body)
  if (parsed.success) return parsed.data
  const problems = parsed.error.issues.map(({ path, message }) => ({ pointer: `/${path.join('/')}`, message }))
  throw new ApiProblem(
    400,
    'BAD_BODY',
    `the body has ${problems.length} problems; the first: ${problems[0]?.pointer} ${problems[0]?.message}`,
    problems,
  )
}

/** Takes in a signed transaction. Who carries it in does not matter: what counts is who signed. */
async function submit(node: RunningNode, call: Call): Promise<{ readonly json: unknown; readonly status?: number }> {
  const { tx, waitMs } = parseBody(SubmitBody, await call.body())
  const { bytes, signed } = decodeSubmitted(tx)
  try {
    const { id, height, digest, elapsedMs }: Committed = await node.propose(bytes, waitMs)
    const { body } = signed.content
    const waits = waitingFor(node, body.type === 'tx.approve' ? body.id : id)
    return { json: { id, height, digest, elapsedMs, ...(waits === undefined ? {} : { waits }) } }
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    const { body } = signed.content
    if (error.code === 'TX_REFUSED' && body.type === 'deny.remove' && isHeldEarly(node, body.id))
      throw new ApiProblem(
        409,
        'NOT_CERTAIN_YET',
        `denial ${body.id} is enforced but no quorum has confirmed it yet, and lifting is for a quorum too; it can be lifted once it is certain, and lapses if it is refused`,
      )
    if (error.code === 'TX_REFUSED')
      throw new ApiProblem(422, error.refusal?.code ?? 'TX_REFUSED', error.refusal?.reason ?? error.message)
    if (error.code === 'NO_QUORUM' && signed.content.body.type === 'deny.add' && isProvisional(node, signed)) {
      return { status: 202, json: { id: txId(signed.content), provisional: true, waiting: error.message } }
    }
    throw new ApiProblem(503, error.code, error.message)
  }
}

const RehearsalBody = z.strictObject({ content: z.looseObject({}) })

function rehearsal(node: RunningNode, given: unknown): unknown {
  const { content } = parseBody(RehearsalBody, given)
  const { height } = node.view()
  const result = node.application.rehearse(node.ledger.state(), content as unknown as TxContent, Date.now())
  if (!result.ok) throw new ApiProblem(422, result.code, result.reason)
  return { height }
}

function access(node: RunningNode, body: unknown): unknown {
  const { allowed, decision, service, route, principal, method, action, path } = judgeAccess(node, parseBody(AccessBody, body))
  const { status, check, rule, reason, height, provisional } = decision
  return {
    allowed,
    status,
    check,
    rule: rule ?? null,
    reason,
    height,
    provisional,
    node: node.config.id,
    policyVersion: node.view().policyVersion,
    service: service ?? null,
    route: route ?? null,
    principal,
    method,
    action,
    path,
  }
}

/** What still waits for approvals, though its transaction is final. */
function waitingFor(node: RunningNode, id: string): unknown {
  const found = node.application.approvals(node.ledger.state(), Date.now()).find((waiting) => waiting.id === id)
  if (found === undefined) return undefined
  const { signedBy, needed, lapsesAtMs } = found
  return { id, signedBy, needed, lapsesAtMs }
}

function approvals(node: RunningNode): readonly unknown[] {
  const inForce = node.view().policy as Policy
  return node.application.approvals(node.ledger.state(), Date.now()).map(({ id, content, signedBy, needed, lapsesAtMs }) => {
    const { body, issuer, atMs } = content
    const parsed = body.type === 'policy.set' ? parsePolicyDocument(body.policy) : undefined
    const changes = parsed?.ok === true ? diffPolicies(inForce, parsed.policy).map(shownChange) : []
    return { id, type: body.type, issuer, atMs, summary: summarize(body), signedBy, needed, lapsesAtMs, changes }
  })
}

function shownChange({ kind, path, before, after }: PolicyChange): unknown {
  return { kind, path, before: before ?? null, after: after ?? null }
}

function decodeSubmitted(tx: unknown): { readonly bytes: Uint8Array; readonly signed: SignedTx } {
  try {
    const bytes = encodeTx(tx as SignedTx)
    return { bytes, signed: parseTx(bytes) }
  } catch (error) {
    const why = error instanceof TxMalformed ? error.message : 'expected {content, signature}'
    throw new ApiProblem(400, 'TX_MALFORMED', `/tx: ${why}`)
  }
}

function isProvisional(node: RunningNode, { content }: SignedTx): boolean {
  if (content.body.type !== 'deny.add') return false
  return isHeldEarly(node, subjectId(content.body.subject))
}

function isHeldEarly(node: RunningNode, id: string): boolean {
  return node.early.enforced.find(id, Date.now()) !== undefined
}

function denials(node: RunningNode): readonly unknown[] {
  const nowMs = Date.now()
  const certified = node.view().denials.list(nowMs)
  const known = new Set(certified.map(({ id }) => id))
  const provisional = node.early.enforced.list(nowMs).filter(({ id }) => !known.has(id))
  const show = (denial: Denial, isProvisional: boolean): unknown => ({
    ...denial,
    height: denial.height ?? null,
    provisional: isProvisional,
  })
  return [...provisional.map((denial) => show(denial, true)), ...certified.map((denial) => show(denial, false))]
}

/** What some nodes say and the ring does not enforce yet. */
function pendingDenials(node: RunningNode): readonly unknown[] {
  const state = node.ledger.state()
  const nowMs = Date.now()
  const { nodes, regions } = node.application.corroboration(state)
  return state.pending.contents().flatMap((pending) => {
    const statements = liveStatements(pending, nowMs)
    const denial = state.denial(pending.id)
    if (statements.length === 0 || (denial !== undefined && denial.expiresAtMs > nowMs)) return []
    return [{ id: pending.id, subject: pending.subject, statements, nodesNeeded: nodes, regionsNeeded: regions }]
  })
}

function decisionFilter(query: URLSearchParams): Parameters<RunningNode['telemetry']['decisions']>[0] {
  const outcome = choice(query, 'outcome', ['allow', 'deny', 'challenge', 'throttle'])
  const source = query.get('source')
  return {
    limit: whole(query, 'limit', 100, LIMIT_MAX),
    ...(outcome === undefined ? {} : { outcome }),
    ...(source === null ? {} : { source: source.slice(0, 64) }),
    ...(query.has('sinceMs') ? { sinceMs: whole(query, 'sinceMs', 0, Number.MAX_SAFE_INTEGER) } : {}),
  }
}

function checkRequestId(requestId: string): void {
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(requestId))
    throw new ApiProblem(400, 'BAD_REQUEST_ID', 'a request id is what responses carry in x-request-id')
}

function noDecision(requestId: string): ApiProblem {
  return new ApiProblem(
    404,
    'NO_DECISION',
    `no record of ${requestId}: never issued here, older than what is kept, or an allowed request beyond the rate that is recorded`,
  )
}

async function receipt(node: RunningNode, requestId: string): Promise<unknown> {
  checkRequestId(requestId)
  const answer = await node.queries.findReceipt(requestId).catch((cause: Error) => {
    throw new ApiProblem(503, 'NODE_SILENT', `the node that served ${requestId} does not answer: ${cause.message}`)
  })
  if (answer.receipt !== null) return JSON.parse(answer.receipt)
  if (answer.why === 'not yet')
    throw new ApiProblem(409, 'NOT_CERTIFIED_YET', 'no later block is certified yet: ask again in a moment')
  if (answer.why === 'gone')
    throw new ApiProblem(410, 'STATE_GONE', 'the blocks that would prove it are not kept on the node that decided')
  throw noDecision(requestId)
}

async function explain(node: RunningNode, requestId: string): Promise<unknown> {
  checkRequestId(requestId)
  const found = await node.queries.findDecision(requestId).catch((cause: Error) => {
    throw new ApiProblem(503, 'NODE_SILENT', `the node that served ${requestId} does not answer: ${cause.message}`)
  })
  if (found === undefined) throw noDecision(requestId)
  const denialId = /^denial:(.+)$/.exec(found.decision?.rule ?? '')?.[1]
  const nowMs = Date.now()
  const denial =
    denialId === undefined ? undefined : (node.view().denials.find(denialId, nowMs) ?? node.early.enforced.find(denialId, nowMs))
  return {
    ...found,
    denial: denial === undefined ? null : { ...denial, height: denial.height ?? null, provisional: denial.height === undefined },
  }
}

function traceId(call: Call): string {
  const id = call.parameters.traceId as string
  if (!/^[0-9a-f]{32}$/.test(id)) throw new ApiProblem(400, 'BAD_TRACE_ID', 'a trace id has 32 lower-case hex digits')
  return id
}

type StoredBlock = Pick<FinalBlock<RingState>, 'block' | 'txs' | 'certificate'>

function blockSummary(node: RunningNode, { block, txs }: StoredBlock): Record<string, unknown> {
  const proposer = node.ledger.validatorsAt(block.height)[block.proposer]?.id ?? String(block.proposer)
  const { height, round, digest, parent, timestampMs } = block
  return { height, round, digest, parent, proposer, timestampMs, transactions: txs.length }
}

async function blocks(node: RunningNode, query: URLSearchParams): Promise<unknown> {
  const { height } = node.ledger.status()
  const from = whole(query, 'from', height, Number.MAX_SAFE_INTEGER)
  const limit = whole(query, 'limit', 20, 200)
  const found: unknown[] = []
  for (let at = Math.min(from, height); at >= 1 && found.length < limit; at -= 1) {
    const stored = await node.ledger.block(at)
    if (stored !== undefined) found.push(blockSummary(node, stored))
  }
  return { height, blocks: found }
}

async function block(node: RunningNode, text: string): Promise<unknown> {
  const stored = /^[0-9]{1,15}$/.test(text) ? await node.ledger.block(Number(text)) : undefined
  if (stored === undefined)
    throw new ApiProblem(404, 'NO_BLOCK', `no block ${text.slice(0, 20)}; the newest is ${node.ledger.status().height}`)
  const validators = node.ledger.validatorsAt(stored.block.height)
  const { certificate } = stored
  return {
    ...blockSummary(node, stored),
    transactions: stored.txs.map((bytes) => {
      const { content } = parseTx(bytes)
      return {
        id: txId(content),
        type: content.body.type,
        issuer: content.issuer,
        summary: summarize(content.body),
      }
    }),
    certificate: {
      kind: certificate.kind,
      round: certificate.round,
      digest: certificate.digest ?? null,
      signers: certificate.signatures.map(({ signer }) => validators[signer]?.id ?? String(signer)),
    },
  }
}

function summarize(body: SignedTx['content']['body']): string {
  if (isEnrolmentStatement(body)) return summarizeEnrolment(body)
  if (isFleetStatement(body)) return summarizeFleet(body)
  if (body.type === 'policy.set') return `policy version ${body.expectVersion + 1}, ${body.policy.length} characters`
  if (body.type === 'deny.remove') return `lift ${body.id}: ${body.reason}`
  if (body.type === 'deny.withdraw') return `no longer says ${body.id}: ${body.reason}`
  if (body.type === 'node.add') return `${body.node.id} joins as ${body.node.roles.join(' and ')}: ${body.reason}`
  if (body.type === 'node.remove') return `${body.id} leaves: ${body.reason}`
  if (body.type === 'evidence') return `${body.validator} signed two contradicting statements in round ${body.round}: it is out`
  if (body.type === 'tx.approve') return `approve ${body.id.slice(0, 16)}…: ${body.reason}`
  if (body.type === 'key.refresh' || body.type === 'key.rotate')
    return `${body.type === 'key.refresh' ? 'new shares of the' : 'a new'} ${body.key} key: ${body.reason}`
  if (body.type === 'token.revoke') return 'a token is revoked by who held it'
  if (body.type === 'token.use') return 'a token that serves once is redeemed'
  if (body.type === 'person.put') return `person ${body.name}, groups ${body.groups.join(', ') || 'none'}: ${body.reason}`
  if (body.type === 'person.reset') return `person ${body.name} starts anew: ${body.reason}`
  if (body.type === 'person.remove') return `person ${body.name} is gone: ${body.reason}`
  if (body.type === 'person.enrol') return `person ${body.name} has a ${body.credential.kind}`
  if (body.type === 'key.enrol') return `enrols for ceremony ${body.attempt} of the ${body.key} key`
  if (body.type === 'key.deal' || body.type === 'key.answer')
    return `${body.type === 'key.deal' ? 'dealing' : 'answer'} in ceremony ${body.attempt} of the ${body.key} key`
  if (body.type === 'cache.purge') return `forget the answers of ${body.service}${body.path}: ${body.reason}`
  if (body.type === 'disk.seal') return 'has its disk opened by the ring'
  if (body.type === 'node.wipe') return `${body.id} is wiped: ${body.reason}`
  if (body.type === 'node.wiped') return `${body.id} has erased ${body.receipt.files} files`
  if (body.type === 'object.act') return `${body.act.kind} in the bucket ${body.act.bucket}, by the access key ${body.accessKey}`
  if (body.type === 'access.put') return `access key ${body.id} of ${body.identity}: ${body.reason}`
  if (body.type === 'access.remove') return `access key ${body.id} removed: ${body.reason}`
  if (body.type === 'vault.put') return `secret ${body.name}, version ${body.expectVersion + 1}`
  if (body.type === 'vault.delete')
    return `secret ${body.name}, ${body.versions.length === 0 ? 'all versions' : `version ${body.versions.join(', ')}`} deleted: ${body.reason}`
  if (isPlayStatement(body)) return summarizePlay(body)
  if (body.type === 'vault.hide')
    return `secret ${body.name}, version ${body.versions.join(', ')} ${body.hidden ? 'hidden' : 'shown again'}`
  if (body.type === 'lease.begin') return `a user of ${body.database}/${body.role}`
  if (body.type === 'lease.renew') return `lease ${body.id} is renewed`
  if (body.type === 'lease.revoke') return `lease ${body.id} is revoked`
  if (body.type === 'lease.done') return `the user of lease ${body.id} is ${body.work === 'make' ? 'made' : 'dropped'}`
  if (body.type === 'transit.create') return `key ${body.name}, to ${body.use}`
  if (body.type === 'transit.rotate') return `another version of the key ${body.name}`
  if (body.type === 'transit.trim') return `versions of the key ${body.name} before ${body.least} end`
  if (body.type === 'transit.delete') return `key ${body.name} deleted: ${body.reason}`
  return `deny ${describeSubject(body.subject)} for ${Math.round(body.ttlMs / 1_000)} s: ${body.reason}`
}

/** What services declare, what of it was asked, and what was asked beyond it. */
function endpoints(node: RunningNode): unknown {
  const { api, startedAtMs } = node
  return {
    sinceMs: startedAtMs,
    operations: api.operations(node.view().policy).map(({ lastAtMs, ...rest }) => ({ ...rest, lastAtMs: lastAtMs ?? null })),
    unknown: api.unknown().map(({ statuses, ...rest }) => ({
      ...rest,
      statuses: [...statuses].map(([status, requests]) => ({ status, requests })),
    })),
    dropped: api.dropped,
  }
}

async function top(node: RunningNode, query: URLSearchParams): Promise<unknown> {
  const by = choice(query, 'by', ['source', 'path', 'rule', 'service']) ?? 'source'
  const windowMs = whole(query, 'windowMs', 300_000, 30 * 86_400_000)
  return node.telemetry.top(by, Date.now() - windowMs, whole(query, 'limit', 20, LIMIT_MAX))
}

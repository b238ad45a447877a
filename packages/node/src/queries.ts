/** What nodes ask of one another for people's sake: how are you, and what do you know of a request. */

import type { WatchReport } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import { LedgerError } from '@ringwall/ledger'
import { parseAddress, parsePrefix, prefixContains } from '@ringwall/ring'
import { type DecisionRecord, nodeOfRequestId } from '@ringwall/telemetry'
import { z } from 'zod'
import { formatHostPort } from './address.ts'
import { PULLERS_MAX } from './bouncers/bouncers.ts'
import { Decision } from './decision-schema.ts'
import { type ExceptionScope, proposeExceptions, replayExceptions } from './exceptions.ts'
import { every } from './in-step.ts'
import { PeerStanding } from './objects/peer-standing.ts'
import { makeReceipt } from './receipt.ts'
import { replay, tellingFindings } from './replay.ts'
import { ruleCountsOf } from './rule-book.ts'
import { shownFindings } from './rule-findings.ts'
import { WatchReportShape } from './rule-watch.ts'
import type { RunningNode } from './running-node.ts'
import { VERSION } from './version.ts'

const ANSWER_MS_MAX = 1_500
/** A receipt of long ago has blocks executed again. */
const RECEIPT_MS_MAX = 30_000
/** Judging recorded requests again takes its time. */
const REPLAY_MS_MAX = 15_000
const REPLAYS_WAITING_MAX = 4
const RULES_MAX = 50_000
/** Of one question. */
const SOURCES_MAX = 50
const SCANNED_MAX = 1_000
const RATE_WINDOW_MS = 2_000

const Scope = z.strictObject({
  rule: z.int().positive(),
  service: z.string().max(64),
  route: z.string().max(64).optional(),
  path: z.string().max(1_024).optional(),
  variable: z.string().max(300),
})

const Question = z.discriminatedUnion('ask', [
  z.strictObject({ ask: z.literal('summary') }),
  z.strictObject({ ask: z.literal('decision'), requestId: z.string().max(128) }),
  z.strictObject({
    ask: z.literal('refused'),
    sources: z.array(z.string().max(64)).max(256),
    sinceMs: z.int().min(0),
    limit: z.int().min(1).max(100),
  }),
  z.strictObject({ ask: z.literal('receipt'), requestId: z.string().max(128) }),
  z.strictObject({ ask: z.literal('rule-counts') }),
  z.strictObject({ ask: z.literal('watch') }),
  z.strictObject({ ask: z.literal('pullers') }),
  z.strictObject({ ask: z.literal('shards') }),
  z.strictObject({
    ask: z.literal('except'),
    requestId: z.string().max(128),
    path: z.string().max(1_024).optional(),
    rule: z.int().positive().optional(),
  }),
  z.strictObject({ ask: z.literal('replay'), exceptions: z.array(Scope).min(1).max(64) }),
  z.strictObject({ ask: z.literal('trace'), traceId: z.string().regex(/^[0-9a-f]{32}$/) }),
])
type Question = z.output<typeof Question>

const text = z.string().max(512)
const count = z.number().min(0)

/** A node of another release may say more. */
const Summary = z.object({
  height: count,
  lag: count,
  viewAgeMs: count.nullable(),
  policyVersion: count,
  denials: count,
  requestsPerSecond: count,
  deniedPerSecond: count,
  version: text,
  adminUrl: text,
  ready: z.boolean().optional(),
})
export type Summary = z.output<typeof Summary>

/** Of the rules that are in use on a node: id, matches, times timed, microseconds in all and at most. */
const RuleCounts = z.strictObject({
  startedAtMs: z.number(),
  requests: count,
  timedRequests: count,
  rules: z.array(z.tuple([count, count, count, count, count])).max(RULES_MAX),
})
export type RuleCounts = z.output<typeof RuleCounts>

const PeerSpan = z.strictObject({
  traceId: text,
  spanId: text,
  parentSpanId: text.optional(),
  name: text,
  kind: z.enum(['server', 'client', 'internal']),
  startUs: z.number(),
  endUs: z.number(),
  ok: z.boolean(),
  attributes: z.record(z.string().max(128), z.union([z.string().max(8_192), z.number(), z.boolean()])),
})

const wideText = z.string().max(8_192)
const Finding = z.strictObject({
  ruleId: count,
  message: wideText,
  severity: z.enum(['critical', 'error', 'warning', 'notice']),
  phase: count,
  at: wideText,
  reported: z.boolean(),
  scoreBefore: z.number(),
  scoreAfter: z.number(),
  parts: z
    .array(
      z.strictObject({
        variable: wideText,
        link: z.number(),
        transformations: z.array(text).max(64),
        operator: text,
        argument: text,
        negated: z.boolean(),
        value: wideText,
        seen: wideText,
        from: z.number().nullable(),
        to: z.number().nullable(),
      }),
    )
    .max(64),
  partsLeftOut: count,
})

/** What the rules say of the request when they judge it again now. Null when the node does not hold it any more. */
const Again = z
  .strictObject({
    policyVersionThen: count,
    policyVersionNow: count,
    blocked: z.boolean(),
    score: z.number(),
    findings: z.array(Finding).max(64),
  })
  .nullable()

const ProposalAnswer = z
  .strictObject({
    method: text,
    path: wideText,
    service: text.nullable(),
    route: text.nullable(),
    refused: z.boolean(),
    bodySeen: z.boolean(),
    exceptions: z.array(Scope.extend({ message: wideText })).max(64),
    passes: z.boolean(),
    remaining: z.array(count).max(1_000),
  })
  .nullable()

const ReplayAnswer = z.strictObject({
  held: count,
  judged: count,
  left: count,
  refused: count,
  passing: count,
  letThrough: z
    .array(
      z.strictObject({
        requestId: text,
        atMs: z.number(),
        source: text,
        method: text,
        path: wideText,
        findings: z.array(Finding).max(64),
      }),
    )
    .max(200),
})
export type ReplayAnswer = z.output<typeof ReplayAnswer>

/** Bouncers that asked a node. */
const Pullers = z
  .array(
    z.strictObject({
      name: text,
      source: text,
      agent: text,
      kind: z.enum(['stream', 'lookup']),
      lastMs: count,
      behind: count.nullable(),
    }),
  )
  .max(PULLERS_MAX)
export type Pullers = z.output<typeof Pullers>

const DecisionAnswer = z.strictObject({
  decision: Decision.nullable(),
  spans: z.array(PeerSpan).max(1_000),
  again: Again.default(null),
})
/** The text of a receipt; null with the reason when there is none. Whoever gets it verifies it. */
const ReceiptAnswer = z.strictObject({
  receipt: z
    .string()
    .max(4 * 1_048_576)
    .nullable(),
  why: z.enum(['no decision', 'not yet', 'gone']).optional(),
})
export type ReceiptAnswer = z.output<typeof ReceiptAnswer>
/** Request ids, with when they were refused. */
const RefusedAnswer = z.array(z.tuple([z.number(), z.string().max(128)])).max(100)
const TraceAnswer = z.strictObject({ spans: z.array(PeerSpan).max(1_000) })

export type PeerDecision = z.output<typeof DecisionAnswer>

/** Requests and refusals a second over the last seconds, from the proxy's counters. */
class RateMeter {
  #previous = { atMs: 0, requests: 0, denied: 0 }
  #rates = { requestsPerSecond: 0, deniedPerSecond: 0 }

  read(
    requests: number,
    denied: number,
    nowMs: number,
  ): { readonly requestsPerSecond: number; readonly deniedPerSecond: number } {
    const elapsedMs = nowMs - this.#previous.atMs
    if (elapsedMs >= RATE_WINDOW_MS) {
      const per = (now: number, before: number): number =>
        this.#previous.atMs === 0 ? 0 : Math.round(((now - before) * 10_000) / elapsedMs) / 10
      this.#rates = {
        requestsPerSecond: per(requests, this.#previous.requests),
        deniedPerSecond: per(denied, this.#previous.denied),
      }
      this.#previous = { atMs: nowMs, requests, denied }
    }
    return this.#rates
  }
}

export class PeerQueries {
  readonly #fabric: Fabric
  readonly #meter = new RateMeter()
  #node: RunningNode | undefined
  #stopMeasuring: (() => void) | undefined
  #replays: Promise<unknown> = Promise.resolve()
  #replaysWaiting = 0

  constructor(fabric: Fabric) {
    this.#fabric = fabric
  }

  serve(node: RunningNode): void {
    this.#node = node
    this.#fabric.onRequest('query', async (_from, payload) =>
      Buffer.from(JSON.stringify(await this.#answer(parseQuestion(payload)))),
    )
    this.#stopMeasuring = every(RATE_WINDOW_MS, () => this.rates())
  }

  stop(): void {
    this.#stopMeasuring?.()
  }

  rates(): { readonly requestsPerSecond: number; readonly deniedPerSecond: number } {
    const stats = this.#node?.proxy.stats()
    return this.#meter.read(stats?.requests ?? 0, (stats?.denied ?? 0) + (stats?.throttled ?? 0), Date.now())
  }

  /** This node's own summary. */
  summary(): Summary {
    const node = this.#node as RunningNode
    const { height, lag } = node.ledger.status()
    const view = node.view()
    const certifiedAtMs = node.certifiedAtMs()
    return {
      height,
      lag,
      viewAgeMs: certifiedAtMs === undefined ? null : Math.max(0, Date.now() - certifiedAtMs),
      policyVersion: view.policyVersion,
      denials: view.denials.size,
      ...this.rates(),
      version: VERSION,
      adminUrl: `http://${formatHostPort(node.config.listen.admin)}`,
      ready: node.ready(),
    }
  }

  /** @throws When the peer does not answer in time, or not in the agreed form. */
  async askSummary(peer: string): Promise<Summary> {
    return Summary.parse(await this.#ask(peer, { ask: 'summary' }))
  }

  /** The record of a request and its spans, from here or from the node that its id names. */
  async findDecision(requestId: string): Promise<PeerDecision | undefined> {
    const node = this.#node as RunningNode
    const own = await this.#answer({ ask: 'decision', requestId })
    const local = own as PeerDecision
    if (local.decision !== null) return local
    const peer = nodeOfRequestId(requestId)
    if (peer === undefined || !node.view().nodes.some(({ id }) => id === peer) || peer === node.config.id) return undefined
    const answer = DecisionAnswer.parse(await this.#ask(peer, { ask: 'decision', requestId }))
    return answer.decision === null ? undefined : answer
  }

  /** The receipt of a decision, from the node that made it. */
  async findReceipt(requestId: string): Promise<ReceiptAnswer> {
    const node = this.#node as RunningNode
    const maker = nodeOfRequestId(requestId)
    const isOther = maker !== undefined && maker !== node.config.id && node.view().nodes.some(({ id }) => id === maker)
    const question = { ask: 'receipt', requestId } as const
    return ReceiptAnswer.parse(isOther ? await this.#ask(maker, question, RECEIPT_MS_MAX) : await this.#answer(question))
  }

  /** Ids of requests of these sources that any node refused, the last first. Of nodes that answer. */
  async refusedOf(sources: readonly string[], sinceMs: number, limit: number): Promise<readonly string[]> {
    const node = this.#node as RunningNode
    const question = { ask: 'refused', sources: sources.slice(0, SOURCES_MAX), sinceMs, limit } as const
    const answers = await Promise.allSettled(
      node
        .view()
        .nodes.map(async ({ id }) =>
          RefusedAnswer.parse(
            id === node.config.id
              ? await this.#answer({ ...question, sources: [...question.sources] })
              : await this.#ask(id, { ...question, sources: [...question.sources] }),
          ),
        ),
    )
    return answers
      .flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
      .sort(([a], [b]) => b - a)
      .slice(0, limit)
      .map(([, requestId]) => requestId)
  }

  /** Counters of rules, by node; `undefined` for one that does not answer. */
  async ruleCounts(): Promise<ReadonlyMap<string, RuleCounts | undefined>> {
    const node = this.#node as RunningNode
    const own = node.config.id
    const others = node
      .view()
      .nodes.map(({ id }) => id)
      .filter((id) => id !== own)
    const answers = await Promise.allSettled(
      others.map(async (id) => RuleCounts.parse(await this.#ask(id, { ask: 'rule-counts' }))),
    )
    const counts = new Map<string, RuleCounts | undefined>([[own, ruleCountsOf(node)]])
    for (const [index, answer] of answers.entries())
      counts.set(others[index]!, answer.status === 'fulfilled' ? answer.value : undefined)
    return counts
  }

  /** What rules that only watch would do, by node; `undefined` for one that does not answer. */
  async watched(): Promise<ReadonlyMap<string, WatchReport | undefined>> {
    const node = this.#node as RunningNode
    const ids = node.view().nodes.map(({ id }) => id)
    const answers = await Promise.allSettled(
      ids.map(async (id) =>
        id === node.config.id
          ? node.watch.report()
          : WatchReportShape.parse(await this.#ask(id, { ask: 'watch' }, REPLAY_MS_MAX)),
      ),
    )
    return new Map(answers.map((answer, at) => [ids[at]!, answer.status === 'fulfilled' ? answer.value : undefined]))
  }

  /** Bouncers that asked, by node; `undefined` for one that does not answer. */
  async pullers(): Promise<ReadonlyMap<string, Pullers | undefined>> {
    const node = this.#node as RunningNode
    const ids = node.view().nodes.map(({ id }) => id)
    const answers = await Promise.allSettled(
      ids.map(async (id) =>
        Pullers.parse(id === node.config.id ? node.bouncers.pullers() : await this.#ask(id, { ask: 'pullers' })),
      ),
    )
    return new Map(answers.map((answer, at) => [ids[at]!, answer.status === 'fulfilled' ? answer.value : undefined]))
  }

  /** How the shards of every node stand; `undefined` for one that does not answer. */
  async shards(): Promise<ReadonlyMap<string, PeerStanding | undefined>> {
    const node = this.#node as RunningNode
    const ids = node.view().nodes.map(({ id }) => id)
    const answers = await Promise.allSettled(
      ids.map(async (id) =>
        PeerStanding.parse(id === node.config.id ? node.objects.status() : await this.#ask(id, { ask: 'shards' })),
      ),
    )
    return new Map(answers.map((answer, at) => [ids[at]!, answer.status === 'fulfilled' ? answer.value : undefined]))
  }

  /** The narrowest exceptions that a recorded request needs, from the node that holds it. */
  async proposeExceptions(
    requestId: string,
    path: string | undefined,
    rule: number | undefined,
  ): Promise<z.output<typeof ProposalAnswer>> {
    const node = this.#node as RunningNode
    const maker = nodeOfRequestId(requestId)
    const isOther = maker !== undefined && maker !== node.config.id && node.view().nodes.some(({ id }) => id === maker)
    const question = { ask: 'except', requestId, path, rule } as const
    return ProposalAnswer.parse(isOther ? await this.#ask(maker, question, REPLAY_MS_MAX) : await this.#answer(question))
  }

  /** What recorded requests of every node become of with more exceptions; `undefined` for a node that does not answer. */
  async replay(exceptions: readonly ExceptionScope[]): Promise<ReadonlyMap<string, ReplayAnswer | undefined>> {
    const node = this.#node as RunningNode
    const question: Question = { ask: 'replay', exceptions: [...exceptions] }
    const ids = node.view().nodes.map(({ id }) => id)
    const answers = await Promise.allSettled(
      ids.map(async (id) =>
        ReplayAnswer.parse(id === node.config.id ? await this.#answer(question) : await this.#ask(id, question, REPLAY_MS_MAX)),
      ),
    )
    return new Map(answers.map((answer, at) => [ids[at]!, answer.status === 'fulfilled' ? answer.value : undefined]))
  }

  /** Spans of a trace from every node that answers. */
  async findTrace(traceId: string): Promise<readonly PeerDecision['spans'][number][]> {
    const node = this.#node as RunningNode
    const connected = node.fabric.links().filter((link) => link.connected)
    const answers = await Promise.allSettled(
      connected.map(async ({ id }) => TraceAnswer.parse(await this.#ask(id, { ask: 'trace', traceId })).spans),
    )
    const own = TraceAnswer.parse(await this.#answer({ ask: 'trace', traceId })).spans
    const spans = [own, ...answers.map((answer) => (answer.status === 'fulfilled' ? answer.value : []))].flat()
    return [...new Map(spans.map((span) => [span.spanId, span])).values()].sort((a, b) => a.startUs - b.startUs)
  }

  async #ask(peer: string, question: Question, answerMs: number = ANSWER_MS_MAX): Promise<unknown> {
    const answer = await this.#fabric.request(peer, 'query', Buffer.from(JSON.stringify(question)), answerMs)
    return JSON.parse(Buffer.from(answer).toString('utf8'))
  }

  /** Judging again costs what traffic costs: one asker after the other, and few who wait. */
  async #oneByOne<T>(work: () => Promise<T>): Promise<T> {
    if (this.#replaysWaiting >= REPLAYS_WAITING_MAX) throw new Error('too many ask for requests to be judged again')
    this.#replaysWaiting += 1
    const turn = this.#replays.then(work, work)
    this.#replays = turn.catch(() => undefined)
    try {
      return await turn
    } finally {
      this.#replaysWaiting -= 1
    }
  }

  async #answer(question: Question): Promise<unknown> {
    const { telemetry } = this.#node as RunningNode
    if (question.ask === 'summary') return this.summary()
    if (question.ask === 'rule-counts') return ruleCountsOf(this.#node as RunningNode)
    if (question.ask === 'pullers') return (this.#node as RunningNode).bouncers.pullers()
    if (question.ask === 'shards') return (this.#node as RunningNode).objects.status()
    if (question.ask === 'watch') return (this.#node as RunningNode).watch.report()
    if (question.ask === 'except') {
      const node = this.#node as RunningNode
      const kept = node.archive.find(question.requestId)
      return kept === undefined ? null : this.#oneByOne(() => proposeExceptions(node.view(), kept, question.path, question.rule))
    }
    if (question.ask === 'replay') {
      const node = this.#node as RunningNode
      return this.#oneByOne(() => replayExceptions(node.view(), node.archive, question.exceptions))
    }
    if (question.ask === 'refused') return refusedHere(this.#node as RunningNode, question)
    if (question.ask === 'trace') return { spans: await telemetry.trace(question.traceId) }
    const decision = await telemetry.decision(question.requestId)
    if (question.ask === 'receipt') return receiptAnswer(this.#node as RunningNode, decision)
    const spans = decision === undefined ? [] : await telemetry.trace(decision.traceId)
    return { decision: decision ?? null, spans, again: judgedAgain(this.#node as RunningNode, question.requestId) }
  }
}

async function refusedHere(
  { telemetry }: RunningNode,
  { sources, sinceMs, limit }: Extract<Question, { readonly ask: 'refused' }>,
): Promise<z.output<typeof RefusedAnswer>> {
  const found = new Map<string, number>()
  const asked = sources.slice(0, SOURCES_MAX)
  const networks = asked.filter((source) => source.includes('/')).flatMap((source) => parsePrefix(source) ?? [])
  for (const outcome of ['deny', 'throttle'] as const) {
    for (const source of asked.filter((one) => !one.includes('/')))
      for (const { atMs, requestId } of await telemetry.decisions({ source, sinceMs, outcome, limit })) found.set(requestId, atMs)
    // Decisions are found by address: those of networks among the last.
    if (networks.length === 0) continue
    for (const { atMs, requestId, source } of await telemetry.decisions({ sinceMs, outcome, limit: SCANNED_MAX })) {
      const address = parseAddress(source)
      if (address !== undefined && networks.some((network) => prefixContains(network, address))) found.set(requestId, atMs)
    }
  }
  return [...found]
    .map(([requestId, atMs]) => [atMs, requestId] as [number, string])
    .sort(([a], [b]) => b - a)
    .slice(0, limit)
}

function judgedAgain(node: RunningNode, requestId: string): PeerDecision['again'] {
  const kept = node.archive.find(requestId)
  if (kept === undefined) return null
  const view = node.view()
  const { blocked, score, findings } = replay(view, kept, Date.now())
  return {
    policyVersionThen: kept.policyVersion,
    policyVersionNow: view.policyVersion,
    blocked,
    score,
    findings: shownFindings(tellingFindings(findings)),
  }
}

async function receiptAnswer(node: RunningNode, decision: DecisionRecord | undefined): Promise<ReceiptAnswer> {
  if (decision === undefined) return { receipt: null, why: 'no decision' }
  try {
    const receipt = await makeReceipt(node, Decision.parse(decision))
    return receipt === undefined ? { receipt: null, why: 'not yet' } : { receipt: `${JSON.stringify(receipt, undefined, 2)}\n` }
  } catch (error) {
    if (error instanceof LedgerError && error.code === 'STATE_GONE') return { receipt: null, why: 'gone' }
    throw error
  }
}

function parseQuestion(payload: Uint8Array): Question {
  return Question.parse(JSON.parse(Buffer.from(payload).toString('utf8')))
}

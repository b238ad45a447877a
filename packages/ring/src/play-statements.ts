/**
 * What may be stated about runs of playbooks, and how a run goes on. What a step does within the ring (a denial, sessions that end, a ceremony of keys, a
 * wait, approvals) is done by the block that reaches it: once, whatever becomes of any node. What reaches outside (`notify`, `evidence`) a node does that
 * holds the step's claim; a claim that its node does not keep lapses, and another node takes the step. A run goes on by the steps that it began with, or not at all.
 */
import { parseAddress } from './address.ts'
import { canonicalJson } from './canonical-json.ts'
import { corroborationOf, isCorroborated } from './corroboration.ts'
import { encodeUtf8 } from './encoding.ts'
import { personSubject } from './person-statements.ts'
import { playId } from './play-id.ts'
import { isOver, PLAYS_MAX, type Play, type PlayInputs, type PlayOutcome, type Plays } from './plays.ts'
import type { Policy } from './policy.ts'
import { inputsOf, nameOfStep, PLAY_INPUTS, type PlaybookPolicy, type PlaybookStep } from './policy-playbooks.ts'
import type { RingState } from './state.ts'
import { ringIssuer } from './token-revocation.ts'
import { portableSha256, subjectId } from './tx.ts'
import type { Denial, DenialSubject, RingNode } from './types.ts'

/** How long a node has for a step before another may take it. */
export const PLAY_CLAIM_MS = 6_000
/** How often a step is tried before it has failed. */
export const PLAY_ATTEMPTS_MAX = 5
/** How often it is taken up by nodes that say nothing of what came of it. */
const PLAY_CLAIMS_MAX = 20
/** Sessions of people last no longer. */
const SESSIONS_MS = 30 * 86_400_000
const APPROVE_MS = 86_400_000
const NOTE_CHARS_MAX = 200

export type PlayStatement =
  /** By an operator, or by a node for a finding of its own. Of one `key` there is one run. */
  | {
      readonly type: 'play.start'
      readonly playbook: string
      readonly key: string
      readonly inputs: PlayInputs
      readonly reason: string
    }
  /** By a node that is about to do the step. */
  | { readonly type: 'play.claim'; readonly run: string; readonly step: number; readonly attempt: number }
  /** By the node that has its claim. */
  | {
      readonly type: 'play.report'
      readonly run: string
      readonly step: number
      readonly attempt: number
      readonly ok: boolean
      readonly note: string
    }
  /** By an operator. */
  | { readonly type: 'play.approve'; readonly run: string; readonly reason: string }
  | { readonly type: 'play.cancel'; readonly run: string; readonly reason: string }
  | { readonly type: 'play.undo'; readonly run: string; readonly reason: string }

export type PlayRefusalCode =
  | 'PLAYBOOK_UNKNOWN'
  | 'PLAY_INPUTS'
  | 'PLAY_KNOWN'
  | 'PLAYS_FULL'
  | 'PLAY_UNKNOWN'
  | 'PLAY_STEP'
  | 'PLAY_CLAIMED'
  | 'PLAY_OVER'
  | 'PLAY_NOT_ENTITLED'

type Refusal = { readonly code: PlayRefusalCode; readonly reason: string }
const refuse = (code: PlayRefusalCode, reason: string): Refusal => ({ code, reason })

export function isPlayStatement(body: { readonly type: string }): body is PlayStatement {
  return body.type.startsWith('play.')
}

export function playbookDigest({ steps }: PlaybookPolicy): string {
  const plain = steps.map((step) => Object.fromEntries(Object.entries(step).filter(([, value]) => value !== undefined)))
  return portableSha256(encodeUtf8(canonicalJson(plain))).slice(0, 16)
}

function playbookOf(policy: Policy, name: string): PlaybookPolicy | undefined {
  return Object.hasOwn(policy.playbooks, name) ? policy.playbooks[name] : undefined
}

/** The step that a run is at; undefined when it is over, or its playbook is another by now. */
export function stepOf(policy: Policy, play: Play): PlaybookStep | undefined {
  const playbook = playbookOf(policy, play.playbook)
  if (playbook === undefined || playbookDigest(playbook) !== play.digest) return undefined
  return playbook.steps[play.at]
}

/** Whether a node has to do it, outside of the ring. */
export function isOutside({ do: kind }: PlaybookStep): boolean {
  return kind === 'notify' || kind === 'evidence'
}

interface Issuer {
  readonly kind: 'operator' | 'node'
  readonly name: string
}

export function refusalOfPlayStatement(
  state: RingState,
  body: PlayStatement,
  issuer: Issuer,
  policy: Policy,
  nowMs: number,
): Refusal | undefined {
  if (body.type === 'play.start') return refusalOfStart(state, body, issuer, policy)
  const play = state.plays.get(body.run)
  if (play === undefined) return refuse('PLAY_UNKNOWN', `there is no run ${body.run}; list them with playbook runs`)
  if (body.type === 'play.undo') return refusalOfUndo(play, issuer, policy)
  if (isOver(play)) return refuse('PLAY_OVER', `the run ${play.id} is ${play.status}`)
  if (body.type === 'play.approve' || body.type === 'play.cancel') {
    if (issuer.kind !== 'operator') return refuse('PLAY_NOT_ENTITLED', `${body.type} is for operators`)
    if (body.type === 'play.cancel') return undefined
    if (play.status !== 'running' || stepOf(policy, play)?.do !== 'approve')
      return refuse('PLAY_STEP', `the run ${play.id} waits for no approval now`)
    return play.approvedBy.includes(`operator:${issuer.name}`)
      ? refuse('PLAY_KNOWN', `operator:${issuer.name} has approved it already; it takes another operator`)
      : undefined
  }
  if (issuer.kind !== 'node') return refuse('PLAY_NOT_ENTITLED', `${body.type} is for nodes`)
  const step = stepOf(policy, play)
  if (play.status !== 'running' || step === undefined || body.step !== play.at || !isOutside(step))
    return refuse('PLAY_STEP', `step ${body.step} of the run ${play.id} is nothing that a node does now`)
  const { claim } = play
  if (body.type === 'play.claim') {
    if (claim !== null && claim.untilMs > nowMs) return refuse('PLAY_CLAIMED', `${claim.node} does this step`)
    return body.attempt === (claim?.attempt ?? 0) + 1
      ? undefined
      : refuse('PLAY_STEP', `attempt ${(claim?.attempt ?? 0) + 1} is next, not ${body.attempt}`)
  }
  // Late is well: who holds the claim that was made last knows what came of it.
  if (claim === null || claim.node !== issuer.name || claim.attempt !== body.attempt)
    return refuse('PLAY_CLAIMED', `${issuer.name} does not have attempt ${body.attempt} of this step`)
  return undefined
}

function refusalOfStart(
  state: RingState,
  { playbook: name, key, inputs }: Extract<PlayStatement, { type: 'play.start' }>,
  issuer: Issuer,
  policy: Policy,
): Refusal | undefined {
  const playbook = playbookOf(policy, name)
  if (playbook === undefined) return refuse('PLAYBOOK_UNKNOWN', `the policy has no playbook ${name}; see playbook ls`)
  const fault = inputFault(playbook, inputs, policy)
  if (fault !== undefined) return refuse('PLAY_INPUTS', fault)
  const known = state.plays.get(playId(name, key))
  if (issuer.kind === 'node') {
    if (playbook.when === undefined)
      return refuse('PLAY_NOT_ENTITLED', `${name} is started by hand: it has no when in the policy`)
    if (known !== undefined && !isOver(known) && canonicalJson(known.inputs) !== canonicalJson(inputs))
      return refuse('PLAY_KNOWN', `the run ${known.id} is about something else`)
    if (known?.status === 'proposed') {
      return known.statedBy.includes(`node:${issuer.name}`)
        ? refuse('PLAY_KNOWN', `node:${issuer.name} has said so already`)
        : undefined
    }
  }
  if (known !== undefined && known.status !== 'lapsed')
    return refuse('PLAY_KNOWN', `there is a run of ${name} with this key: ${known.id}, ${known.status}`)
  // What is over makes room, the oldest first: see `withRoom`.
  if (state.plays.size >= PLAYS_MAX && state.plays.list().every((play) => !isOver(play)))
    return refuse('PLAYS_FULL', `${PLAYS_MAX} runs are under way; cancel some of them`)
  return undefined
}

/** One sentence; undefined: they are what the playbook wants. */
export function inputFault(playbook: PlaybookPolicy, inputs: PlayInputs, policy: Policy): string | undefined {
  for (const input of inputsOf(playbook))
    if (inputs[input] === undefined) return `this playbook needs ${input}: give it with --${input}`
  const { source, service, account } = inputs
  if (source !== undefined && parseAddress(source) === undefined && !source.includes('/'))
    return `source: ${source} is no IP address or prefix`
  if (service !== undefined && !Object.hasOwn(policy.services, service)) return `service: the policy has no service ${service}`
  if (account !== undefined && !/^[0-9a-f]{32}$/.test(account)) return 'account: expected 32 hex digits, as findings name it'
  return undefined
}

function refusalOfUndo(play: Play, issuer: Issuer, policy: Policy): Refusal | undefined {
  if (issuer.kind !== 'operator') return refuse('PLAY_NOT_ENTITLED', 'play.undo is for operators')
  if (play.status === 'undone') return refuse('PLAY_OVER', `the run ${play.id} is undone already`)
  if (play.status === 'proposed') return refuse('PLAY_STEP', `the run ${play.id} has not begun; cancel it`)
  if (policy.operators.approvals['deny.remove'] > 1)
    return refuse('PLAY_NOT_ENTITLED', 'lifting a denial takes several operators here: lift each with deny rm')
  return undefined
}

/** What a run asks of the ring, as `application.ts` does it. */
export interface PlayMeans {
  readonly ring: string
  readonly policy: Policy
  readonly members: readonly RingNode[]
  readonly nowMs: number
  readonly height: number
  /** Why a subject may not be denied; undefined: it may. */
  readonly subjectFault: (state: RingState, subject: DenialSubject) => string | undefined
  readonly deny: (state: RingState, denial: Denial) => RingState
  /** @returns Why not, else the state in which it is asked for. */
  readonly rotate: (state: RingState, step: PlaybookStep, reason: string) => RingState | string
}

/** Applies a statement that was not refused. */
export function withPlayStatement(state: RingState, body: PlayStatement, issuer: string, means: PlayMeans): RingState {
  const { nowMs } = means
  if (body.type === 'play.start') return started(state, body, issuer, means)
  const play = state.plays.get(body.run) as Play
  const put = (changed: Partial<Play>): RingState =>
    state.withPlays(state.plays.with({ ...play, ...changed, changedAtMs: nowMs }))
  switch (body.type) {
    case 'play.claim':
      if (body.attempt > PLAY_CLAIMS_MAX)
        return advanced(state, settled(play, means, 'failed', 'ring', 'no node finished it'), means)
      return put({ claim: { node: issuer.slice('node:'.length), attempt: body.attempt, untilMs: nowMs + PLAY_CLAIM_MS } })
    case 'play.report': {
      const note = body.note.slice(0, NOTE_CHARS_MAX)
      // Another attempt is due once this one's claim has lapsed: that is the pause between them, too.
      if (!body.ok && body.attempt < PLAY_ATTEMPTS_MAX) return state
      return advanced(state, settled(play, means, body.ok ? 'done' : 'failed', issuer, note), means)
    }
    case 'play.approve': {
      const approvedBy = [...play.approvedBy, issuer].sort()
      return advanced(state, { ...play, approvedBy, changedAtMs: nowMs }, means)
    }
    case 'play.cancel':
      return put({ status: 'cancelled', claim: null, dueMs: 0 })
    case 'play.undo':
      return undone(state, play, issuer, means)
  }
}

function started(
  state: RingState,
  { playbook: name, key, inputs, reason }: Extract<PlayStatement, { type: 'play.start' }>,
  issuer: string,
  means: PlayMeans,
): RingState {
  const { policy, members, nowMs } = means
  const id = playId(name, key)
  const known = state.plays.get(id)
  const isNode = issuer.startsWith('node:')
  const before = known?.status === 'proposed' ? known.statedBy : []
  const need = corroborationOf(policy, members)
  const statedBy = isNode ? [...before, issuer].sort() : []
  const isAgreed = !isNode || isCorroborated(statedBy, need, members)
  const play: Play = {
    id,
    playbook: name,
    digest: playbookDigest(policy.playbooks[name] as PlaybookPolicy),
    inputs: Object.fromEntries(PLAY_INPUTS.flatMap((input) => (inputs[input] === undefined ? [] : [[input, inputs[input]]]))),
    reason,
    by: isNode && known?.status === 'proposed' ? known.by : issuer,
    statedBy,
    status: isAgreed ? 'running' : 'proposed',
    startedAtMs: nowMs,
    changedAtMs: nowMs,
    at: 0,
    dueMs: isAgreed ? 0 : nowMs + need.withinMs,
    claim: null,
    approvedBy: [],
    outcomes: [],
  }
  const roomy = state.withPlays(withRoom(state.plays))
  return isAgreed ? advanced(roomy, play, means) : roomy.withPlays(roomy.plays.with(play))
}

/** When it is full the run that ended longest ago goes. */
function withRoom(plays: Plays): Plays {
  if (plays.size < PLAYS_MAX) return plays
  const over = plays.list().filter(isOver)
  const oldest = over.reduce<Play | undefined>((a, b) => (a === undefined || b.changedAtMs < a.changedAtMs ? b : a), undefined)
  return oldest === undefined ? plays : plays.without(oldest.id)
}

/** The step that it is at is over; the next, or the end. */
function settled(play: Play, { policy, nowMs }: PlayMeans, result: 'done' | 'failed', by: string, note: string): Play {
  const step = stepOf(policy, play)
  const outcome: PlayOutcome = { step: play.at, atMs: nowMs, result, by, note }
  const next = { ...play, outcomes: [...play.outcomes, outcome], claim: null, approvedBy: [], dueMs: 0, changedAtMs: nowMs }
  if (result === 'failed' && step?.onFailure !== 'continue') return { ...next, status: 'failed' }
  return { ...next, at: play.at + 1 }
}

/** Goes on for as long as the ring can do so by itself. */
function advanced(state: RingState, from: Play, means: PlayMeans): RingState {
  const { policy, nowMs } = means
  let [next, play] = [state, from]
  while (play.status === 'running') {
    const playbook = playbookOf(policy, play.playbook)
    if (playbook === undefined || playbookDigest(playbook) !== play.digest) {
      play = settled(play, means, 'failed', 'ring', 'the playbook was changed while it ran')
      break
    }
    const step = playbook.steps[play.at]
    if (step === undefined) {
      play = { ...play, status: 'done', changedAtMs: nowMs }
      break
    }
    if (isOutside(step)) break
    const ended = within(next, play, step, means)
    if ('dueMs' in ended) {
      play = { ...play, dueMs: ended.dueMs }
      break
    }
    next = ended.state
    play = settled(play, means, ended.ok ? 'done' : 'failed', ended.by ?? 'ring', ended.note.slice(0, NOTE_CHARS_MAX))
  }
  return next.withPlays(next.plays.with(play))
}

type Ended = { readonly state: RingState; readonly ok: boolean; readonly note: string; readonly by?: string }

/** A step of the ring's own: what came of it, or when it is due. */
function within(state: RingState, play: Play, step: PlaybookStep, means: PlayMeans): Ended | { readonly dueMs: number } {
  const { nowMs } = means
  const failed = (note: string): Ended => ({ state, ok: false, note })
  switch (step.do) {
    case 'wait': {
      const dueMs = play.dueMs === 0 ? nowMs + (step.for ?? 0) : play.dueMs
      return dueMs > nowMs ? { dueMs } : { state, ok: true, note: 'waited' }
    }
    case 'approve': {
      if (play.approvedBy.length >= (step.operators ?? 1))
        return { state, ok: true, note: `approved by ${play.approvedBy.join(', ')}` }
      const dueMs = play.dueMs === 0 ? nowMs + (step.within ?? APPROVE_MS) : play.dueMs
      return dueMs > nowMs ? { dueMs } : failed(`${play.approvedBy.length} of ${step.operators} operators approved in time`)
    }
    case 'rotate': {
      const asked = means.rotate(state, step, reasonOf(play, step))
      return typeof asked === 'string' ? failed(asked) : { state: asked, ok: true, note: `${step.key}: asked for` }
    }
    default:
      return denying(state, play, step, means)
  }
}

function denying(state: RingState, play: Play, step: PlaybookStep, means: PlayMeans): Ended {
  const { policy, nowMs, height } = means
  const subject = subjectOf(play, step, means)
  const fault = means.subjectFault(state, subject)
  if (fault !== undefined) return { state, ok: false, note: fault }
  const most = play.statedBy.length > 0 ? Math.min(policy.denials.nodeTtlMax, policy.denials.ttlMax) : policy.denials.ttlMax
  const ttlMs = step.do === 'end-sessions' ? Math.min(SESSIONS_MS, policy.denials.ttlMax) : Math.min(step.for ?? 0, most)
  const denial: Denial = {
    expiresAtMs: nowMs + ttlMs,
    height,
    id: subjectId(subject),
    issuedAtMs: nowMs,
    issuer: play.by,
    reason: reasonOf(play, step),
    ...(play.statedBy.length > 1 ? { statedBy: play.statedBy } : {}),
    subject,
  }
  return { state: means.deny(state, denial), ok: true, note: `${subject.kind} ${subject.value} for ${ttlMs / 1_000} s` }
}

/** By its beginning a run's own denials are told from others. */
function reasonOf({ id, playbook, reason }: Play, step: PlaybookStep): string {
  return `playbook ${playbook} ${id} ${nameOfStep(step)}: ${reason}`.slice(0, NOTE_CHARS_MAX)
}

export function subjectOf(
  { inputs }: Pick<Play, 'inputs'>,
  step: PlaybookStep,
  { ring, nowMs }: Pick<PlayMeans, 'ring' | 'nowMs'>,
): DenialSubject {
  if (step.do === 'end-sessions') {
    const subject = personSubject(inputs.person ?? '')
    return { issuer: ringIssuer(ring), kind: 'issued-before', subject, value: new Date(nowMs).toISOString() }
  }
  if (step.subject === 'account') return { kind: 'account', service: inputs.service ?? '', value: inputs.account ?? '' }
  const value = inputs.source ?? ''
  return { kind: value.includes('/') ? 'cidr' : 'ip', value }
}

/** Of a policy that was changed: runs whose playbook is another by now, or gone, end. */
export function endedPlays(state: RingState, means: PlayMeans): RingState {
  const running = state.plays.list().filter((play) => play.status === 'running' && stepOf(means.policy, play) === undefined)
  return running.reduce((next, play) => advanced(next, play, means), state)
}

/** What time brings: waits that end, approvals and statements of nodes that did not come, runs that are forgotten. */
export function tickedPlays(state: RingState, means: PlayMeans): RingState {
  let next = state
  for (const play of state.plays.due(means.nowMs)) {
    if (isOver(play)) next = next.withPlays(next.plays.without(play.id))
    else if (play.status === 'proposed')
      next = next.withPlays(next.plays.with({ ...play, status: 'lapsed', dueMs: 0, changedAtMs: means.nowMs }))
    else next = advanced(next, play, means)
  }
  return next
}

/** Takes back what can be: the last step first. Its denials go where nothing else holds them; the rest is kept, and says so. */
function undone(state: RingState, play: Play, issuer: string, means: PlayMeans): RingState {
  const { nowMs, policy } = means
  let next = state
  const outcomes: PlayOutcome[] = []
  const steps = playbookOf(policy, play.playbook)?.steps ?? []
  for (const { step: at, result } of play.outcomes.toReversed()) {
    const step = steps[at]
    if (result !== 'done' || step === undefined || !['deny', 'end-sessions', 'rotate', 'notify', 'evidence'].includes(step.do))
      continue
    let note = `${step.do} cannot be undone`
    let isLifted = false
    if (step.do === 'deny') {
      const id = subjectId(subjectOf(play, step, means))
      isLifted = next.denial(id)?.reason.startsWith(`playbook ${play.playbook} ${play.id} `) === true
      note = isLifted ? 'the denial is lifted' : 'no denial of this run stands'
      if (isLifted) next = next.withoutDenial(id).withPending(next.pending.without(id))
    }
    outcomes.push({ step: at, atMs: nowMs, result: isLifted ? 'undone' : 'kept', by: issuer, note })
  }
  const over: Play = {
    ...play,
    status: 'undone',
    claim: null,
    dueMs: 0,
    changedAtMs: nowMs,
    outcomes: [...play.outcomes, ...outcomes],
  }
  return next.withPlays(next.plays.with(over))
}

/** What each step would come to now, if the run were started. Changes nothing. */
export function rehearsedPlay(
  state: RingState,
  playbook: PlaybookPolicy,
  inputs: PlayInputs,
  means: Pick<PlayMeans, 'ring' | 'nowMs' | 'subjectFault' | 'policy'>,
): readonly { readonly step: string; readonly does: string; readonly fault: string | undefined }[] {
  return playbook.steps.map((step) => {
    const name = nameOfStep(step)
    const seconds = (ms: number | undefined) => `${(ms ?? 0) / 1_000} s`
    switch (step.do) {
      case 'wait':
        return { step: name, does: `waits ${seconds(step.for)}`, fault: undefined }
      case 'approve':
        return {
          step: name,
          does: `waits for ${step.operators} operators, ${seconds(step.within ?? APPROVE_MS)}`,
          fault: undefined,
        }
      case 'rotate':
        return { step: name, does: `asks for ${step.how ?? 'refresh'} of the ${step.key} key`, fault: undefined }
      case 'notify':
        return { step: name, does: `tells ${step.to}: ${step.text}`, fault: undefined }
      case 'evidence':
        return { step: name, does: 'writes evidence to a file of the node that does it', fault: undefined }
      default: {
        const subject = subjectOf({ inputs }, step, means)
        const does = `denies ${subject.kind} ${subject.value}${step.do === 'deny' ? ` for ${seconds(step.for)}` : ''}`
        return { step: name, does, fault: means.subjectFault(state, subject) }
      }
    }
  })
}

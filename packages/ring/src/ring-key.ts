/**
 * A key of the ring, which its validators make and hand on together: what the ledger knows of it. There are two: the signing key, and the
 * sealing key of the vault. `@ringwall/threshold` has the ceremony; the ledger is its board. Everybody folds the same transactions, and so
 * comes to the same key and the same accusations.
 *
 * A ceremony has three phases. Validators *enrol*: each names a fresh key that its shares are encrypted to. The old holders, or in a
 * first ceremony the enrolled, *deal*. Who enrolled *answers*. A phase ends when all who can speak have spoken, or after some time of the
 * ledger: a block that comes later ends it before its own transactions.
 *
 * The threshold is the quorum of the validators: who can sign together could agree on anything together as well, and whenever the
 * ring agrees it can sign. A ring of one has no such key: a share of one is the whole key.
 *
 * The signing key is due from the beginning. The sealing key is due once the policy opens the vault, and then begins with the signing key
 * there: a ring that only signs does no work for it, and one that starts is not kept waiting.
 *
 * Pure and total: what comes from others is checked and refused, or accepted and held against its sender.
 */
import { quorumOf } from '@ringwall/consensus'
import {
  Ceremony,
  type CeremonyEffect,
  type CeremonyEvent,
  CeremonyMemo,
  type CeremonyState,
  type Element,
  type Fault,
  type Finding,
  isFor,
  observeCeremony,
  PublicKey,
  ristretto,
  type SuiteName,
  step,
  THRESHOLD_MIN,
  ThresholdError,
} from '@ringwall/threshold'
import { decodeBase64url, encodeBase64url } from './encoding.ts'
import type { RingNode } from './types.ts'

/** The keys that a ring holds together. */
export const KEY_NAMES = ['signing', 'sealing'] as const
export type KeyName = (typeof KEY_NAMES)[number]

/** What signatures verify with anywhere; what capsules are opened with. */
const SUITES: Readonly<Record<KeyName, SuiteName>> = { signing: 'ed25519', sealing: 'ristretto255' }

/** Validators that hold shares: the first so many, in the order of the ring. */
export const KEY_PARTIES_MAX = 31
/** Of a dealing or an answer, for so many parties. */
export const KEY_MESSAGE_BYTES_MAX = 8_192
/** How long a phase waits for the silent, by the clock of the ledger. */
export const KEY_PHASE_MS = 30_000
/** After a ceremony that made no key, before the next one. */
export const KEY_REST_MS = 30_000
/** How long a key that was replaced still verifies what it signed. */
export const FORMER_KEY_MS = 3_600_000
const FAULTS_MAX = 64
const FORMER_MAX = 8
const NO_ATTESTATION = new Uint8Array(0)

/** What the board says: a message of a party, or that a phase is over. */
export type BoardLine = { readonly body: string; readonly from: string } | { readonly close: 'dealing' | 'answering' }

/** A ceremony under way. Bytes are base64url. */
export interface KeyCeremony {
  readonly attempt: number
  readonly board: readonly BoardLine[]
  /** Id and encryption key, in the order of ids. */
  readonly enrolled: readonly (readonly [id: string, encryptionKey: string])[]
  readonly phase: 'enrolling' | 'dealing' | 'answering'
  /** `Ceremony.encode`; empty while parties enrol. */
  readonly plan: string
  /** Of the block that the phase began with. */
  readonly sinceMs: number
}

/** Who lied in a ceremony, and how: `Fault` of `@ringwall/threshold`. */
export interface KeyFault {
  readonly attempt: number
  readonly fault: Fault
  readonly height: number
  readonly party: string
}

/** A signing key that was replaced. */
export interface FormerKey {
  /** Ed25519, raw, base64url. */
  readonly key: string
  readonly untilMs: number
}

export interface RingKey {
  /** What operators asked for. */
  readonly asked: 'nothing' | 'refresh' | 'replace'
  /** Ceremonies begun so far. */
  readonly attempts: number
  readonly ceremony: KeyCeremony | null
  /** Oldest first; so many are remembered. */
  readonly faults: readonly KeyFault[]
  readonly former: readonly FormerKey[]
  /** Of the ceremony that made the key: with it a holder that was away comes to its share. */
  readonly last: { readonly board: readonly BoardLine[]; readonly plan: string } | null
  /** Of the block that the key first stood in, whatever was reshared since. */
  readonly madeAtMs: number
  /** No ceremony begins before. */
  readonly notBeforeMs: number
  /** `PublicKey.encode`. */
  readonly publicKey: string | null
}

export const NO_RING_KEY: RingKey = {
  asked: 'nothing',
  attempts: 0,
  ceremony: null,
  faults: [],
  former: [],
  last: null,
  madeAtMs: 0,
  notBeforeMs: 0,
  publicKey: null,
}

/** Of a ring without validators enough. */
export const NO_SIGNING_KEY_VIEW: RingKeyView = {
  key: undefined,
  epoch: 0,
  threshold: 0,
  holders: [],
  madeAtMs: 0,
  ceremony: undefined,
  asked: 'nothing',
  faults: [],
  former: [],
}

/** What a step needs to know beside the key. */
export interface KeyMeeting {
  readonly name: KeyName
  /** May the first key of this name be made? Once there is one it is handed on, whatever else. */
  readonly isWanted: boolean
  readonly ring: string
  readonly validators: readonly RingNode[]
  readonly height: number
  readonly nowMs: number
}

/** What everybody may know of the key. */
export interface RingKeyView {
  /** Ed25519, or an element of ristretto255; raw, base64url. Undefined until there is one. */
  readonly key: string | undefined
  /** Hand-overs and refreshes of this key. */
  readonly epoch: number
  readonly threshold: number
  readonly holders: readonly string[]
  readonly madeAtMs: number
  /** The ceremony under way, if there is one. */
  readonly ceremony:
    | { readonly attempt: number; readonly phase: KeyCeremony['phase']; readonly waitingFor: readonly string[] }
    | undefined
  readonly asked: RingKey['asked']
  readonly faults: readonly KeyFault[]
  readonly former: readonly FormerKey[]
}

/** By their text: the one in force, that of a state before, those of snapshots. */
const publicKeys = new Map<string, PublicKey>()
const PUBLIC_KEYS_MAX = 16
const folded = new WeakMap<KeyCeremony, CeremonyState>()
/** Shares public work between the states of one process. */
const memo = new CeremonyMemo()
/** That of whoever folds a board: it only looks on. */
const TOOLS = { encryptionKey: undefined, memo }

/**
 * What another thread of this program found out about messages of a ceremony. Nothing depends on it but how long it takes to come to the
 * same state.
 */
export function learnCeremonyFindings(findings: readonly Finding[]): void {
  memo.learn(findings)
}

/** Would these messages of the ceremony under way, each with its sender, have to be looked at here first? */
export function isCeremonyWork({ ceremony }: RingKey, messages: readonly CeremonyMessage[]): boolean {
  if (ceremony === null || ceremony.phase === 'enrolling') return false
  const { ceremony: plan, phase } = fold(ceremony)
  return messages.some(({ from, body }) => {
    // An answer may hold complaints, and the last one makes the key.
    if (phase !== 'dealing') return true
    const dealer = plan.dealer(from)
    return dealer !== undefined && !memo.knows(plan, dealer.index, body)
  })
}

export interface CeremonyMessage {
  readonly from: string
  readonly body: Uint8Array
}

/** The key in all its parts; undefined until there is one. */
export function publicKeyOf(key: RingKey): PublicKey | undefined {
  if (key.publicKey === null) return undefined
  return publicKeys.get(key.publicKey) ?? keepPublicKey(key.publicKey, PublicKey.decode(decodeBase64url(key.publicKey)))
}

function keepPublicKey(text: string, publicKey: PublicKey): PublicKey {
  if (publicKeys.size >= PUBLIC_KEYS_MAX) publicKeys.delete(publicKeys.keys().next().value as string)
  publicKeys.set(text, publicKey)
  return publicKey
}

/** The board as the ceremony takes it. */
export function boardEvent(line: BoardLine): Extract<CeremonyEvent, { kind: 'posted' | 'close' }> {
  if ('close' in line) return { kind: 'close', phase: line.close }
  return { kind: 'posted', from: line.from, body: decodeBase64url(line.body), attestation: NO_ATTESTATION }
}

/** Of the ring's validators, those who hold shares. */
function keyParties(validators: readonly RingNode[]): readonly RingNode[] {
  return validators.slice(0, KEY_PARTIES_MAX)
}

function thresholdFor(parties: number): number {
  return Math.max(THRESHOLD_MIN, quorumOf(parties))
}

function namesOf(list: readonly { readonly id: string }[]): ReadonlySet<string> {
  return new Set(list.map(({ id }) => id))
}

/** Is there anything to make or to hand on? */
function isDue(key: RingKey, parties: readonly RingNode[]): boolean {
  if (parties.length < THRESHOLD_MIN) return false
  const held = publicKeyOf(key)
  if (held === undefined || key.asked !== 'nothing') return true
  if (held.threshold !== thresholdFor(parties.length) || held.members.length !== parties.length) return true
  const names = namesOf(parties)
  return held.members.some(({ party }) => !names.has(party))
}

/**
 * Would a ceremony with those who have enrolled change anything? Where one validator stays away, the others do not hand the key
 * on to themselves over and over.
 */
function isWorthwhile(key: RingKey, parties: readonly RingNode[], enrolled: ReadonlySet<string>): boolean {
  const held = publicKeyOf(key)
  if (held === undefined || key.asked !== 'nothing' || held.threshold !== thresholdFor(parties.length)) return true
  const names = namesOf(parties)
  const holders = new Set(held.members.map(({ party }) => party))
  return [...enrolled].some((id) => !holders.has(id)) || [...holders].some((id) => !names.has(id))
}

/** By their text: of the ceremony under way, and of the one before. */
const plans = new Map<string, Ceremony>()
const PLANS_MAX = 8

function planNamed(text: string): Ceremony {
  return plans.get(text) ?? keepPlan(text, Ceremony.decode(decodeBase64url(text)))
}

function keepPlan(text: string, plan: Ceremony): Ceremony {
  if (plans.size >= PLANS_MAX) plans.delete(plans.keys().next().value as string)
  plans.set(text, plan)
  return plan
}

/** Of the ceremony that made the key in force. */
export function lastPlanOf({ last }: RingKey): Ceremony | undefined {
  return last === null ? undefined : planNamed(last.plan)
}

function fold(ceremony: KeyCeremony): CeremonyState {
  let state = folded.get(ceremony)
  if (state === undefined) {
    state = observeCeremony(planNamed(ceremony.plan))
    for (const line of ceremony.board) state = step(state, boardEvent(line), TOOLS).state
    folded.set(ceremony, state)
  }
  return state
}

/** The plan of the ceremony under way; undefined while parties enrol, and when there is none. */
export function planOf(key: RingKey): Ceremony | undefined {
  return key.ceremony === null || key.ceremony.phase === 'enrolling' ? undefined : fold(key.ceremony).ceremony
}

/** What time has brought: before a block's first transaction. The same object when nothing. */
export function tickedKey(key: RingKey, meeting: KeyMeeting): RingKey {
  const { nowMs } = meeting
  const parties = keyParties(meeting.validators)
  let next = key
  if (next.former.some(({ untilMs }) => untilMs <= nowMs))
    next = { ...next, former: next.former.filter(({ untilMs }) => untilMs > nowMs) }
  if (next.ceremony === null) {
    if (next.publicKey === null && !meeting.isWanted) return next
    if (nowMs < next.notBeforeMs || !isDue(next, parties)) return next
    const attempts = next.attempts + 1
    const ceremony = { attempt: attempts, board: [], enrolled: [], phase: 'enrolling', plan: '', sinceMs: nowMs } as const
    return { ...next, attempts, ceremony }
  }
  const names = namesOf(parties)
  const { ceremony } = next
  if (ceremony.phase === 'enrolling') {
    if (!isDue(next, parties)) return { ...next, ceremony: null }
    const enrolled = ceremony.enrolled.filter(([id]) => names.has(id))
    if (enrolled.length !== ceremony.enrolled.length) next = { ...next, ceremony: { ...ceremony, enrolled } }
    return dealt(next, meeting)
  }
  // Nobody who has left gets a share.
  if (fold(ceremony).ceremony.receivers.some(({ party }) => !names.has(party))) return ended(next, nowMs)
  return nowMs >= ceremony.sinceMs + KEY_PHASE_MS ? onBoard(next, { close: ceremony.phase }, meeting) : onwards(next, meeting)
}

/** Ends the enrolment when it is time to. */
function dealt(key: RingKey, { name, ring, validators, nowMs }: KeyMeeting): RingKey {
  const ceremony = key.ceremony as KeyCeremony
  const parties = keyParties(validators)
  const enrolled = new Map(ceremony.enrolled)
  if (enrolled.size < parties.length) {
    if (nowMs < ceremony.sinceMs + KEY_PHASE_MS || enrolled.size < thresholdFor(parties.length)) return key
    if (!isWorthwhile(key, parties, new Set(enrolled.keys()))) return key
  }
  const receivers = parties
    .filter(({ id }) => enrolled.has(id))
    .map(({ id }, at) => ({ party: id, index: at + 1, encryptionKey: encryptionKeyOf(enrolled.get(id) as string) }))
  const plan = new Ceremony({
    suite: SUITES[name],
    purpose: `ringwall ${name} ${ring}`,
    attempt: ceremony.attempt,
    threshold: thresholdFor(parties.length),
    receivers,
    previous: key.asked === 'replace' ? undefined : publicKeyOf(key),
  })
  const text = encodeBase64url(plan.encode())
  keepPlan(text, plan)
  return { ...key, ceremony: { ...ceremony, phase: 'dealing', plan: text, sinceMs: nowMs } }
}

/** @throws {ThresholdError} When it is none. */
function encryptionKeyOf(text: string): Element {
  return ristretto.decode(decodeBase64url(text))
}

function ended(key: RingKey, nowMs: number): RingKey {
  return { ...key, ceremony: null, notBeforeMs: nowMs + KEY_REST_MS }
}

/** Adds a line to the board and does what follows from it. */
function onBoard(key: RingKey, line: BoardLine, meeting: KeyMeeting): RingKey {
  const { nowMs, height } = meeting
  const before = key.ceremony as KeyCeremony
  const { state, effects } = step(fold(before), boardEvent(line), TOOLS)
  const board = [...before.board, line]
  const faults = faultsOf(effects, meeting).map(([party, fault]) => ({ attempt: before.attempt, fault, height, party }))
  const next: RingKey = faults.length === 0 ? key : { ...key, faults: [...key.faults, ...faults].slice(-FAULTS_MAX) }
  if (effects.some(({ kind }) => kind === 'abort')) return ended(next, nowMs)
  const complete = effects.find((effect) => effect.kind === 'complete')
  if (complete !== undefined) return completed(next, before.plan, board, complete.publicKey, meeting)
  const phase = state.phase === 'answering' ? 'answering' : 'dealing'
  const ceremony = { ...before, board, phase, sinceMs: phase === before.phase ? before.sinceMs : nowMs } as const
  folded.set(ceremony, state)
  return onwards({ ...next, ceremony }, meeting)
}

/** Who has left has nothing to say any more: its silence is no fault. */
function faultsOf(effects: readonly CeremonyEffect[], { validators }: KeyMeeting): readonly (readonly [string, Fault])[] {
  const names = namesOf(validators)
  return effects.flatMap((effect) =>
    effect.kind === 'accuse' && (names.has(effect.accusation.party) || effect.accusation.fault !== 'silent-dealer')
      ? [[effect.accusation.party, effect.accusation.fault] as const]
      : [],
  )
}

/** Those who are gone are not waited for. */
function onwards(key: RingKey, meeting: KeyMeeting): RingKey {
  const ceremony = key.ceremony as KeyCeremony
  if (ceremony.phase !== 'dealing' || waitingFor(key, meeting.validators).length > 0) return key
  return onBoard(key, { close: 'dealing' }, meeting)
}

function completed(
  key: RingKey,
  plan: string,
  board: readonly BoardLine[],
  made: PublicKey,
  { name, nowMs }: KeyMeeting,
): RingKey {
  const before = publicKeyOf(key)
  const publicKey = encodeBase64url(made.encode())
  keepPublicKey(publicKey, made)
  const done = { ...key, ceremony: null, last: { board, plan }, publicKey, notBeforeMs: nowMs }
  if (before !== undefined && made.epoch > 0) return { ...done, asked: key.asked === 'replace' ? 'replace' : 'nothing' }
  // What was sealed to a former key opens with it alone, and its shares are gone.
  const gone =
    before === undefined || name !== 'signing' ? [] : [{ key: encodeBase64url(before.groupKey), untilMs: nowMs + FORMER_KEY_MS }]
  return { ...done, asked: 'nothing', former: [...key.former, ...gone].slice(-FORMER_MAX), madeAtMs: nowMs }
}

/** Who has yet to speak in the phase under way. */
export function waitingFor(key: RingKey, validators: readonly RingNode[]): readonly string[] {
  const { ceremony } = key
  if (ceremony === null) return []
  if (ceremony.phase === 'enrolling') {
    const enrolled = new Map(ceremony.enrolled)
    return keyParties(validators).flatMap(({ id }) => (enrolled.has(id) ? [] : [id]))
  }
  const { ceremony: plan, dealings: held, disqualified, answers } = fold(ceremony)
  const names = namesOf(validators)
  const silent =
    ceremony.phase === 'dealing'
      ? plan.dealers.filter(({ index }) => !held.has(index) && !disqualified.has(index))
      : plan.receivers.filter(({ index }) => !answers.has(index))
  return silent.map(({ party }) => party).filter((party) => names.has(party))
}

export type KeyRefusalCode = 'KEY_PHASE' | 'KEY_PARTY' | 'KEY_REPEATED' | 'KEY_MESSAGE' | 'KEY_NONE'
type KeyRefusal = { readonly code: KeyRefusalCode; readonly reason: string }

const refuse = (code: KeyRefusalCode, reason: string): KeyRefusal => ({ code, reason })

/** The statements about a key: of nodes, in a ceremony, and of operators. */
export type KeyStatement =
  | { readonly type: 'key.enrol'; readonly key: KeyName; readonly attempt: number; readonly encryptionKey: string }
  | { readonly type: 'key.deal'; readonly key: KeyName; readonly attempt: number; readonly body: string }
  | { readonly type: 'key.answer'; readonly key: KeyName; readonly attempt: number; readonly body: string }
  | { readonly type: 'key.refresh'; readonly key: KeyName; readonly reason: string }
  | { readonly type: 'key.rotate'; readonly key: KeyName; readonly reason: string }

const PHASES = { 'key.enrol': 'enrolling', 'key.deal': 'dealing', 'key.answer': 'answering' } as const

/** @param from The node that signed it; empty for an operator. */
export function refusalOfKeyStatement(
  key: RingKey,
  statement: KeyStatement,
  from: string,
  validators: readonly RingNode[],
): KeyRefusal | undefined {
  if (statement.type === 'key.refresh' || statement.type === 'key.rotate') {
    if (keyParties(validators).length < THRESHOLD_MIN)
      return refuse('KEY_NONE', `a ring of one validator has no ${statement.key} key; add validators first`)
    if (statement.key === 'sealing' && key.publicKey === null)
      return refuse('KEY_NONE', 'the ring has no sealing key yet; it makes one when the policy opens the vault')
    const asked = statement.type === 'key.refresh' ? 'refresh' : 'replace'
    return key.asked === asked ? refuse('KEY_REPEATED', 'this is asked for already; see its state with key ls') : undefined
  }
  const { ceremony } = key
  if (ceremony === null || ceremony.attempt !== statement.attempt || ceremony.phase !== PHASES[statement.type]) {
    const now = ceremony === null ? 'no ceremony is under way' : `ceremony ${ceremony.attempt} is ${ceremony.phase}`
    return refuse('KEY_PHASE', `${statement.type} of ceremony ${statement.attempt} comes at the wrong time: ${now}`)
  }
  if (statement.type === 'key.enrol') {
    if (!keyParties(validators).some(({ id }) => id === from))
      return refuse('KEY_PARTY', `${from} holds no share: the first ${KEY_PARTIES_MAX} validators do`)
    if (ceremony.enrolled.some(([id]) => id === from)) return refuse('KEY_REPEATED', `${from} has enrolled already`)
    if (ceremony.enrolled.some(([, other]) => other === statement.encryptionKey))
      return refuse('KEY_MESSAGE', 'another validator has this encryption key')
    return isElement(statement.encryptionKey) ? undefined : refuse('KEY_MESSAGE', 'encryptionKey is no ristretto255 element')
  }
  const { ceremony: plan } = fold(ceremony)
  const party = statement.type === 'key.deal' ? plan.dealer(from) : plan.receiver(from)
  if (party === undefined) return refuse('KEY_PARTY', `${from} takes no part in ceremony ${ceremony.attempt}`)
  const type = statement.type === 'key.deal' ? 'dealing' : 'answer'
  const body = decodeBase64url(statement.body)
  if (body.length > KEY_MESSAGE_BYTES_MAX || !isFor(body, type, plan.id))
    return refuse('KEY_MESSAGE', `the body is no ${type} of ceremony ${ceremony.attempt}`)
  if (!waitingFor(key, validators).includes(from)) return refuse('KEY_REPEATED', `${from} has posted its ${type} already`)
  return undefined
}

function isElement(text: string): boolean {
  try {
    return !ristretto.isIdentity(encryptionKeyOf(text))
  } catch (error) {
    if (error instanceof ThresholdError) return false
    throw error
  }
}

/** Applies a statement that was not refused. */
export function withKeyStatement(key: RingKey, statement: KeyStatement, from: string, meeting: KeyMeeting): RingKey {
  if (statement.type === 'key.refresh') return { ...key, asked: key.asked === 'replace' ? 'replace' : 'refresh' }
  if (statement.type === 'key.rotate') return { ...key, asked: 'replace' }
  const ceremony = key.ceremony as KeyCeremony
  if (statement.type !== 'key.enrol') return onBoard(key, { body: statement.body, from }, meeting)
  const enrolled = [...ceremony.enrolled, [from, statement.encryptionKey] as const].sort(([a], [b]) => (a < b ? -1 : 1))
  return dealt({ ...key, ceremony: { ...ceremony, enrolled } }, meeting)
}

const views = new WeakMap<RingKey, { readonly nodes: readonly RingNode[]; readonly view: RingKeyView }>()

/** @param validators A list that stays the same object until it changes. */
export function viewOfKey(key: RingKey, validators: readonly RingNode[]): RingKeyView {
  const known = views.get(key)
  if (known?.nodes === validators) return known.view
  const held = publicKeyOf(key)
  const { ceremony, asked, faults, former, madeAtMs } = key
  const view: RingKeyView = {
    key: held === undefined ? undefined : encodeBase64url(held.groupKey),
    epoch: held?.epoch ?? 0,
    threshold: held?.threshold ?? 0,
    holders: held?.members.map(({ party }) => party) ?? [],
    madeAtMs,
    ceremony:
      ceremony === null
        ? undefined
        : { attempt: ceremony.attempt, phase: ceremony.phase, waitingFor: waitingFor(key, validators) },
    asked,
    faults,
    former,
  }
  views.set(key, { nodes: validators, view })
  return view
}

/**
 * One ceremony as a state machine: generates a key, or hands one on to new parties, another threshold and fresh shares.
 *
 * Pure: no clock, network, disk or randomness. `step` folds what an agreed, ordered and authenticated board says (the ring's ledger)
 * into a state, and says what to do. Everybody folds the same board, so everybody comes to the same key, the same dealers and
 * the same accusations; what differs is the own share.
 *
 * - `begin`: a dealer makes its dealing; it is durable (`persist`) before it is sent (`post`), since a dealer that restarts and
 *   deals anew would equivocate.
 * - `posted`, a dealing: checked in public (`verifyDealing`); a bad one disqualifies its dealer. When every dealer has dealt, or at
 *   `close`, receivers open their shares and answer: the transcript they saw, and complaints (`makeComplaint`).
 * - `posted`, an answer: each complaint is judged by everybody (`judgeComplaint`): either the dealer is disqualified or the complainer
 *   is named. When every receiver has answered, or at `close`, the dealings that stand make the key.
 * - A second dealing of one dealer that is not the first one, at any time before the end, disqualifies it.
 *
 * Key generation is Pedersen's (1991) with proofs of possession, as FROST's KeyGen: the key is the sum of what stands. Its
 * distribution can be bent by dealers that speak last (Gennaro, Jarecki, Krawczyk, Rabin, 1999); the README says why that is
 * accepted here. A resharing is Desmedt and Jajodia's (1997), verifiable after Wong, Wang and Wing (2002): each party of the old key
 * deals its own share, and the new shares interpolate what was dealt, so that the key stays. A refresh is a resharing to the same
 * parties (its aim is that of Herzberg, Jarecki, Krawczyk, Yung, 1995).
 */
import { concatBytes } from '@noble/hashes/utils.js'
import { type Accusation, type Fault, NO_SUBJECT } from './blame.ts'
import { type Answer, type Dealing, decodeAnswer, encodeAnswer, makeComplaint, makeDealing, openShare } from './dealing.ts'
import { fail, ThresholdError } from './errors.ts'
import { type Element, groupNamed } from './group.ts'
import { sha256 } from './hash.ts'
import { KeyShare, type Member, PublicKey } from './key.ts'
import { CeremonyMemo } from './memo.ts'
import { Ceremony, type Receiver } from './plan.ts'
import { add, lagrangeAtZero, multiply, type Scalar } from './scalar.ts'
import { Secret } from './secret.ts'
import {
  ATTESTATION_BYTES_MAX,
  type Attested,
  assertParty,
  isFor,
  MESSAGE_BYTES_MAX,
  type Party,
  Reader,
  sameBytes,
  Writer,
} from './wire.ts'

export type Phase = 'dealing' | 'answering' | 'done' | 'aborted'

export type CeremonyEvent =
  /**
   * Makes the own dealing, once. A party whose disk was lost folds the board first: if its dealing is there, none is made.
   * @property seed 32 secret random bytes. @property share Of the previous epoch, for a dealer of a resharing.
   */
  | { readonly kind: 'begin'; readonly seed: Uint8Array; readonly share: KeyShare | undefined }
  /** After a restart: says again what the board has not shown yet. */
  | { readonly kind: 'resume' }
  /** The board shows a message of `from`; `attestation` is what others can check that by. */
  | { readonly kind: 'posted'; readonly from: Party; readonly body: Uint8Array; readonly attestation: Uint8Array }
  /** The board says that nobody is waited for any longer in this phase. */
  | { readonly kind: 'close'; readonly phase: 'dealing' | 'answering' }

/** What the shell does, in this order. */
export type CeremonyEffect =
  /** Makes the state that came with the effects durable (`encodeState`), before any effect that follows. */
  | { readonly kind: 'persist' }
  | { readonly kind: 'post'; readonly body: Uint8Array }
  | { readonly kind: 'accuse'; readonly accusation: Accusation }
  /**
   * The key is made. `share` is undefined for who receives none, and for a receiver whose complaint came too late to count: the
   * next resharing gives it one. The shell makes the share durable, then erases that of the previous epoch.
   */
  | { readonly kind: 'complete'; readonly publicKey: PublicKey; readonly share: KeyShare | undefined }
  /** No key can be made of what stands. `culprits` are all that were accused. */
  | { readonly kind: 'abort'; readonly culprits: readonly Party[] }

type BoardEntry = Extract<CeremonyEvent, { kind: 'posted' | 'close' }>

interface HeldDealing {
  readonly dealing: Dealing
  readonly message: Attested
}

export interface CeremonyState {
  readonly ceremony: Ceremony
  readonly self: Party
  readonly phase: Phase
  readonly ownDealing: Uint8Array | undefined
  /** What of the board made a difference, in its order: the state is its fold. */
  readonly board: readonly BoardEntry[]
  readonly dealings: ReadonlyMap<number, HeldDealing>
  readonly disqualified: ReadonlySet<number>
  readonly transcript: Uint8Array
  readonly answers: ReadonlyMap<number, Attested>
  /** Receivers whose second answer was another than the first: accused of it once. */
  readonly answeredTwice: ReadonlySet<number>
  readonly accused: ReadonlySet<Party>
  /** The own shares of the dealings, by dealer; no entry where the dealer lied. Not in the durable form. */
  readonly opened: ReadonlyMap<number, Secret>
}

export interface CeremonyTools {
  /** The secret of this party's encryption key; undefined for one that receives nothing. */
  readonly encryptionKey: Secret | undefined
  /** Shares public work between parties of one process. */
  readonly memo?: CeremonyMemo
}

export interface Step {
  readonly state: CeremonyState
  readonly effects: readonly CeremonyEffect[]
}

export function beginCeremony(ceremony: Ceremony, self: Party): CeremonyState {
  assertParty(self)
  if (ceremony.dealer(self) === undefined && ceremony.receiver(self) === undefined)
    fail('THRESHOLD_CONFIG', `${self} takes no part in this ceremony`)
  return startOf(ceremony, self)
}

function startOf(ceremony: Ceremony, self: Party): CeremonyState {
  return {
    ceremony,
    self,
    phase: 'dealing',
    ownDealing: undefined,
    board: [],
    dealings: new Map(),
    disqualified: new Set(),
    transcript: new Uint8Array(32),
    answers: new Map(),
    answeredTwice: new Set(),
    accused: new Set(),
    opened: new Map(),
  }
}

/** Nobody's name: the parties of a ring begin with a letter or a digit. */
const OBSERVER: Party = '~'

/**
 * The ceremony as somebody sees it who takes no part: folds the board to the same key and the same accusations, posts nothing and
 * gets no share. Such a state has no durable form: fold the board again.
 *
 * @throws {ThresholdError} THRESHOLD_CONFIG when a party is named `~`.
 */
export function observeCeremony(ceremony: Ceremony): CeremonyState {
  if (ceremony.dealer(OBSERVER) !== undefined || ceremony.receiver(OBSERVER) !== undefined)
    fail('THRESHOLD_CONFIG', `no party is named ${OBSERVER}: that is who only looks on`)
  return startOf(ceremony, OBSERVER)
}

/** @throws {ThresholdError} Only for wrong arguments of the caller; what others send never throws. */
export function step(state: CeremonyState, event: CeremonyEvent, tools: CeremonyTools): Step {
  switch (event.kind) {
    case 'begin':
      return begin(state, event.seed, event.share)
    case 'resume':
      return resume(state, tools)
    case 'posted':
      return withEntry(state, event, posted(state, event, tools))
    case 'close':
      return withEntry(state, event, close(state, event.phase, tools))
  }
}

function withEntry(before: CeremonyState, entry: BoardEntry, { state, effects }: Step): Step {
  return state === before ? { state, effects } : { state: { ...state, board: [...before.board, entry] }, effects }
}

const nothing = (state: CeremonyState): Step => ({ state, effects: [] })

function begin(state: CeremonyState, seed: Uint8Array, share: KeyShare | undefined): Step {
  const { ceremony, self } = state
  const dealer = ceremony.dealer(self)
  if (dealer === undefined) return nothing(state)
  if (state.ownDealing !== undefined) return { state, effects: [{ kind: 'post', body: state.ownDealing }] }
  const dealt = state.dealings.has(dealer.index) || state.disqualified.has(dealer.index)
  if (dealt || state.phase !== 'dealing') return nothing(state)
  if (ceremony.previous !== undefined && (share === undefined || !sameBytes(share.publicKey.id, ceremony.previous.id)))
    fail('THRESHOLD_CONFIG', 'a dealer of a resharing needs its share of the previous epoch')
  const body = makeDealing(ceremony, dealer.index, seed, ceremony.previous === undefined ? undefined : share?.secret)
  return { state: { ...state, ownDealing: body }, effects: [{ kind: 'persist' }, { kind: 'post', body }] }
}

function resume(state: CeremonyState, tools: CeremonyTools): Step {
  const { ceremony, self, ownDealing } = state
  const effects: CeremonyEffect[] = []
  const dealer = ceremony.dealer(self)
  if (state.phase === 'dealing' && ownDealing !== undefined && dealer !== undefined && !state.dealings.has(dealer.index))
    effects.push({ kind: 'post', body: ownDealing })
  const receiver = ceremony.receiver(self)
  if (state.phase === 'answering' && receiver !== undefined && !state.answers.has(receiver.index))
    effects.push({ kind: 'post', body: ownAnswer(state, receiver, tools) })
  return { state, effects }
}

function accuse(
  state: CeremonyState,
  party: Party,
  fault: Fault,
  evidence: readonly Attested[] = [],
): readonly [CeremonyState, CeremonyEffect] {
  const accusation: Accusation = { party, fault, evidence, subject: NO_SUBJECT }
  return [
    { ...state, accused: new Set([...state.accused, party]) },
    { kind: 'accuse', accusation },
  ]
}

function disqualify(state: CeremonyState, dealer: number): CeremonyState {
  return { ...state, disqualified: new Set([...state.disqualified, dealer]) }
}

function posted(
  state: CeremonyState,
  { from, body, attestation }: Extract<CeremonyEvent, { kind: 'posted' }>,
  tools: CeremonyTools,
): Step {
  if (state.phase === 'done' || state.phase === 'aborted') return nothing(state)
  if (body.length > MESSAGE_BYTES_MAX || attestation.length > ATTESTATION_BYTES_MAX) return nothing(state)
  const { ceremony } = state
  const message: Attested = { body: new Uint8Array(body), attestation: new Uint8Array(attestation) }
  const dealer = ceremony.dealer(from)
  if (dealer !== undefined && isFor(body, 'dealing', ceremony.id)) return onDealing(state, dealer, message, tools)
  const receiver = ceremony.receiver(from)
  if (receiver !== undefined && isFor(body, 'answer', ceremony.id)) return onAnswer(state, receiver, message, tools)
  return nothing(state)
}

function onDealing(state: CeremonyState, { party, index }: Member, message: Attested, tools: CeremonyTools): Step {
  if (state.disqualified.has(index)) return nothing(state)
  const held = state.dealings.get(index)
  if (held !== undefined) {
    if (sameBytes(held.message.body, message.body)) return nothing(state)
    const [accused, effect] = accuse(state, party, 'equivocation', [held.message, message])
    return { state: disqualify(accused, index), effects: [effect] }
  }
  if (state.phase !== 'dealing') return nothing(state)
  let next: CeremonyState
  const effects: CeremonyEffect[] = []
  try {
    const dealing = (tools.memo ?? new CeremonyMemo(1)).verify(state.ceremony, index, message.body)
    next = { ...state, dealings: new Map(state.dealings).set(index, { dealing, message }) }
  } catch (error) {
    if (!(error instanceof ThresholdError)) throw error
    const [accused, effect] = accuse(state, party, 'malformed-dealing', [message])
    next = disqualify(accused, index)
    effects.push(effect)
  }
  const heard = next.ceremony.dealers.every((dealer) => next.dealings.has(dealer.index) || next.disqualified.has(dealer.index))
  if (!heard) return { state: next, effects }
  const answering = startAnswering(next, tools)
  return { state: answering.state, effects: [...effects, ...answering.effects] }
}

/** In the order of identifiers, so that everybody hashes and adds in the same order. */
function standing(state: CeremonyState): readonly HeldDealing[] {
  return [...state.dealings.values()]
    .filter(({ dealing }) => !state.disqualified.has(dealing.dealer))
    .sort((a, b) => a.dealing.dealer - b.dealing.dealer)
}

function startAnswering(state: CeremonyState, tools: CeremonyTools): Step {
  const { ceremony, self } = state
  const held = standing(state)
  const transcript = sha256(concatBytes(ceremony.id, ...held.map(({ message }) => sha256(message.body))))
  const receiver = ceremony.receiver(self)
  const opened = new Map<number, Secret>()
  if (receiver !== undefined) {
    const key = encryptionKeyOf(tools)
    for (const { dealing } of held) {
      const share = openShare(ceremony, dealing, receiver, key)
      if (share !== undefined) opened.set(dealing.dealer, Secret.fromScalar(share))
    }
  }
  const next: CeremonyState = { ...state, phase: 'answering', transcript, opened }
  const effects: CeremonyEffect[] = [{ kind: 'persist' }]
  if (receiver !== undefined) effects.push({ kind: 'post', body: ownAnswer(next, receiver, tools) })
  return { state: next, effects }
}

function encryptionKeyOf({ encryptionKey }: CeremonyTools): Secret {
  return encryptionKey ?? fail('THRESHOLD_CONFIG', 'a receiver needs the secret of its encryption key')
}

function ownAnswer(state: CeremonyState, receiver: Receiver, tools: CeremonyTools): Uint8Array {
  const { ceremony, transcript } = state
  const key = encryptionKeyOf(tools)
  const complaints = standing(state)
    .filter(({ dealing }) => !state.opened.has(dealing.dealer))
    .map(({ dealing }) => makeComplaint(ceremony, dealing, receiver, key))
  return encodeAnswer(ceremony, { receiver: receiver.index, transcript, complaints })
}

function onAnswer(state: CeremonyState, receiver: Receiver, message: Attested, tools: CeremonyTools): Step {
  if (state.phase !== 'answering') return nothing(state)
  const held = state.answers.get(receiver.index)
  if (held !== undefined) {
    if (sameBytes(held.body, message.body) || state.answeredTwice.has(receiver.index)) return nothing(state)
    const [next, effect] = accuse(state, receiver.party, 'equivocation', [held, message])
    return { state: { ...next, answeredTwice: new Set([...state.answeredTwice, receiver.index]) }, effects: [effect] }
  }
  let next: CeremonyState = { ...state, answers: new Map(state.answers).set(receiver.index, message) }
  const effects: CeremonyEffect[] = []
  const name = (party: Party, fault: Fault, evidence: readonly Attested[]): void => {
    const [accused, effect] = accuse(next, party, fault, evidence)
    next = accused
    effects.push(effect)
  }
  let answer: Answer | undefined
  try {
    answer = decodeAnswer(state.ceremony, receiver.index, message.body)
  } catch (error) {
    if (!(error instanceof ThresholdError)) throw error
    name(receiver.party, 'malformed-answer', [message])
  }
  if (answer !== undefined && !sameBytes(answer.transcript, state.transcript)) name(receiver.party, 'wrong-transcript', [message])
  for (const complaint of answer?.complaints ?? []) {
    const accused = state.dealings.get(complaint.dealer)
    const dealer = state.ceremony.dealers.find(({ index }) => index === complaint.dealer)
    if (accused === undefined || dealer === undefined) {
      name(receiver.party, 'wrong-transcript', [message])
      continue
    }
    const memo = tools.memo ?? new CeremonyMemo(1)
    const verdict = memo.judge(state.ceremony, accused.dealing, accused.message.body, receiver, complaint)
    if (verdict === 'dealer') {
      if (next.disqualified.has(dealer.index)) continue
      name(dealer.party, 'bad-share', [accused.message, message])
      next = disqualify(next, dealer.index)
    } else {
      name(receiver.party, verdict === 'receiver' ? 'false-complaint' : 'unproven-complaint', [message, accused.message])
    }
  }
  if (next.answers.size < next.ceremony.receivers.length) return { state: next, effects }
  const finished = finish(next, tools)
  return { state: finished.state, effects: [...effects, ...finished.effects] }
}

function close(state: CeremonyState, phase: 'dealing' | 'answering', tools: CeremonyTools): Step {
  if (state.phase !== phase) return nothing(state)
  let next = state
  const effects: CeremonyEffect[] = []
  const missing =
    phase === 'dealing'
      ? state.ceremony.dealers.filter(({ index }) => !state.dealings.has(index) && !state.disqualified.has(index))
      : state.ceremony.receivers.filter(({ index }) => !state.answers.has(index))
  for (const { party } of missing) {
    const [accused, effect] = accuse(next, party, phase === 'dealing' ? 'silent-dealer' : 'silent-receiver')
    next = accused
    effects.push(effect)
  }
  const rest = phase === 'dealing' ? startAnswering(next, tools) : finish(next, tools)
  return { state: rest.state, effects: [...effects, ...rest.effects] }
}

function finish(state: CeremonyState, tools: CeremonyTools): Step {
  const { ceremony } = state
  const stand = standing(state)
  const receiver = ceremony.receiver(state.self)
  if (receiver !== undefined) encryptionKeyOf(tools)
  const publicKey = madeKey(state, tools)
  if (publicKey === undefined) {
    for (const share of state.opened.values()) share.wipe()
    return {
      state: { ...state, phase: 'aborted', opened: new Map() },
      effects: [{ kind: 'persist' }, { kind: 'abort', culprits: [...state.accused].sort() }],
    }
  }
  const weights = weightsOf(ceremony, stand)
  const secrets = stand.map(({ dealing }) => state.opened.get(dealing.dealer))
  let share: KeyShare | undefined
  if (receiver !== undefined && secrets.every((secret) => secret !== undefined)) {
    const sum = secrets.reduce((total, secret, i) => add(total, multiply(weights[i] as Scalar, secret.reveal())), 0n)
    share = new KeyShare(publicKey, receiver.index, Secret.fromScalar(sum))
  }
  for (const secret of state.opened.values()) secret.wipe()
  return {
    state: { ...state, phase: 'done', opened: new Map() },
    effects: [{ kind: 'persist' }, { kind: 'complete', publicKey, share }],
  }
}

/** How much each dealing that stands counts for: all alike in a key generation, and so that they interpolate in a resharing. */
function weightsOf(ceremony: Ceremony, stand: readonly HeldDealing[]): readonly Scalar[] {
  return ceremony.previous === undefined || stand.length === 0
    ? stand.map(() => 1n)
    : lagrangeAtZero(stand.map(({ dealing }) => dealing.dealer))
}

/** Undefined when what stands makes none. */
function madeKey(state: CeremonyState, { memo }: CeremonyTools): PublicKey | undefined {
  const { ceremony } = state
  const stand = standing(state)
  if (stand.length < ceremony.dealingsNeeded) return undefined
  const make = (): PublicKey | undefined => keyOf(ceremony, stand, weightsOf(ceremony, stand))
  return memo === undefined ? make() : memo.key(ceremony, standingBodies(stand), make)
}

const standingBodies = (stand: readonly HeldDealing[]): readonly Uint8Array[] => stand.map(({ message }) => message.body)

/** Makes the key that the ceremony comes to if nobody is disqualified any more, for the memo: the end is then at hand at once. */
export function foreseeKey(state: CeremonyState, tools: CeremonyTools): void {
  if (state.phase === 'answering') madeKey(state, tools)
}

/**
 * The commitments of the new polynomial: the sum of those that stand, weighted. Undefined when one of them is the identity: where
 * fewer than the threshold are honest, dealers that speak last can cancel a coefficient (not the constant, which takes a proof).
 */
function keyOf(ceremony: Ceremony, stand: readonly HeldDealing[], weights: readonly Scalar[]): PublicKey | undefined {
  const group = groupNamed(ceremony.suite)
  const commitments = Array.from({ length: ceremony.threshold }, (_, k) => {
    const dealt = stand.map(({ dealing }) => dealing.commitments[k] as Element)
    return group.combine(dealt, weights)
  })
  if (commitments.some((commitment) => group.isIdentity(commitment))) return undefined
  const { suite, purpose, threshold, previous } = ceremony
  const members = ceremony.receivers
  const publicKey = new PublicKey({ suite, purpose, epoch: (previous?.epoch ?? -1) + 1, threshold, members, commitments })
  if (previous !== undefined && !sameBytes(previous.groupKey, publicKey.groupKey))
    throw new Error('bug: a resharing changed the key')
  return publicKey
}

/** What `persist` makes durable. It holds no secret: shares are opened again from the board. */
export function encodeState({ ceremony, self, ownDealing, board }: CeremonyState): Uint8Array {
  const writer = new Writer('state', ceremony.id).bytes(ceremony.encode(), MESSAGE_BYTES_MAX).party(self)
  writer.bytes(ownDealing ?? NO_SUBJECT, MESSAGE_BYTES_MAX).u16(board.length)
  for (const entry of board) {
    if (entry.kind === 'close') {
      writer.u8(entry.phase === 'dealing' ? 1 : 2)
      continue
    }
    writer.u8(0).party(entry.from).bytes(entry.body, MESSAGE_BYTES_MAX).bytes(entry.attestation, ATTESTATION_BYTES_MAX)
  }
  return writer.done()
}

const STATE_BYTES_MAX = 64 * 1_024 * 1_024
const BOARD_ENTRIES_MAX = 1_024

/**
 * The state again after a restart, by folding the board. A ceremony that was done comes back with its `complete` effect, so that a
 * crash between the end and the storing of the share loses nothing.
 *
 * @throws {ThresholdError} For bytes that `encodeState` does not write.
 */
export function decodeState(bytes: Uint8Array, tools: CeremonyTools): Step {
  const reader = new Reader('state', bytes, STATE_BYTES_MAX)
  const ceremony = Ceremony.decode(reader.bytes(MESSAGE_BYTES_MAX))
  if (!sameBytes(reader.context, ceremony.id)) fail('THRESHOLD_CONTEXT', 'a state of another ceremony')
  const self = reader.party()
  const dealing = reader.bytes(MESSAGE_BYTES_MAX)
  const count = reader.u16()
  if (count > BOARD_ENTRIES_MAX) fail('THRESHOLD_LIMIT', `${count} entries of a board, at most ${BOARD_ENTRIES_MAX} fit`)
  const board = Array.from({ length: count }, (): BoardEntry => {
    const kind = reader.u8()
    if (kind === 1 || kind === 2) return { kind: 'close', phase: kind === 1 ? 'dealing' : 'answering' }
    if (kind !== 0) fail('THRESHOLD_VALUE', 'no such entry of a board')
    const from = reader.party()
    const body = reader.bytes(MESSAGE_BYTES_MAX)
    return { kind: 'posted', from, body, attestation: reader.bytes(ATTESTATION_BYTES_MAX) }
  })
  reader.end()
  let state: CeremonyState = { ...beginCeremony(ceremony, self), ownDealing: dealing.length === 0 ? undefined : dealing }
  let end: CeremonyEffect | undefined
  for (const entry of board) {
    const next = step(state, entry, tools)
    if (next.state === state) fail('THRESHOLD_VALUE', 'an entry of a board that makes no difference')
    state = next.state
    end = next.effects.find(({ kind }) => kind === 'complete' || kind === 'abort') ?? end
  }
  return { state, effects: end === undefined ? [] : [end] }
}

/**
 * One run: a ring of 4 to 10 parties, up to one less than the threshold of them liars, makes a key, uses it, hands it on to the same
 * or other parties, and uses it again, over a board and a network in any order, with crashes between any two effects.
 *
 * What is checked, in arithmetic of its own where it can be: no signature is wrong (node:crypto verifies it; in the exponent, its
 * equation does: `arithmetic.ts`), no capsule opens to
 * another key, every honest party holds the same key and a share of it, t honest shares make the secret of that key and mixed epochs
 * do not, no nonce answers two requests, whoever is named lied and whoever lied is named, with evidence that a stranger accepts, and
 * whenever the threshold's number of parties are honest it all succeeds.
 */
import { createHash } from 'node:crypto'
import {
  type Accusation,
  beginCeremony,
  Ceremony,
  type CeremonyEffect,
  CeremonyMemo,
  type CeremonyState,
  CommitmentMemo,
  Coordinator,
  type CoordinatorEffect,
  decodeAccusation,
  decodeCommitments,
  decodeRequest,
  decodeState,
  digestOf,
  edwards,
  encapsulate,
  encodeAccusation,
  encodeRequest,
  encodeState,
  groupNamed,
  KeyShare,
  lagrangeAtZero,
  type Member,
  makeEncryptionKey,
  makePartial,
  type NonceCommitment,
  Opener,
  ORDER,
  type Party,
  PublicKey,
  SEEN_ON_THE_BOARD,
  type Secret,
  Signer,
  type Step,
  type SuiteName,
  step,
  ThresholdError,
  verifyCapsule,
  verifyCeremonyAccusation,
  verifyKeyAccusation,
} from '@ringwall/threshold'
import { decodeAnswer, makeDealing } from '../../packages/threshold/src/dealing.ts'
import { same, tag } from '../keys.ts'
import { Random } from '../random.ts'
import { type ArithmeticName, chooseArithmetic, usedArithmetic } from './arithmetic.ts'
import { randomBytes } from './forge.ts'
import { COMMIT_LIES, DEALER_LIES, HONEST, type Lie, PARTIAL_LIES, RECEIVER_LIES, RESHARING_LIES, SHARE_LIES } from './liars.ts'

/** Faults planted in the shell around the machines. */
export interface Mutation {
  /** Dealings are sent before they are durable. */
  readonly postsBeforePersist?: true
  /** A restarted signer counts its nonces from zero. */
  readonly forgetsJournal?: true
}

export interface RunOptions {
  /** The real groups unless given. */
  readonly arithmetic?: ArithmeticName
  readonly parties?: number
  readonly mutation?: Mutation
  readonly trace?: (line: string) => void
}

export interface RunResult {
  readonly parties: number
  readonly threshold: number
  readonly suite: SuiteName
  readonly violation: string | undefined
  /** By what liars did: how often, and how often an honest party named it. */
  readonly lies: Readonly<Record<string, { readonly told: number; readonly named: number }>>
  readonly ceremonies: number
  readonly signatures: number
  readonly openings: number
  readonly crashes: number
}

class Violation extends Error {}

function demand(good: boolean, what: string): asserts good {
  if (!good) throw new Violation(what)
}

interface Lies {
  readonly dealer: string
  readonly receiver: string
  readonly commit: string
  readonly share: string
  readonly partial: string
}

interface Node {
  readonly party: Party
  readonly encryption: ReturnType<typeof makeEncryptionKey>
  readonly liar: boolean
  lies: Lies
  share: KeyShare | undefined
}

type Posting = { readonly from: Party; readonly body: Uint8Array; readonly attestation: Uint8Array }
type Entry = ({ readonly kind: 'posted' } & Posting) | { readonly kind: 'close'; readonly phase: 'dealing' | 'answering' }

const attest = (from: Party, body: Uint8Array): Posting => ({ from, body, attestation: tag(from, body) })
const attests = (party: Party, { body, attestation }: { body: Uint8Array; attestation: Uint8Array }): boolean =>
  same(tag(party, body), attestation)
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

interface Held {
  readonly index: number
  readonly value: bigint
}

const modulo = (value: bigint): bigint => {
  const rest = value % ORDER
  return rest < 0n ? rest + ORDER : rest
}

/** What these shares interpolate at zero, as a fraction, in arithmetic of this file: identifiers are small, so that nothing is inverted. */
function interpolate(shares: readonly Held[]): { readonly top: bigint; readonly bottom: bigint } {
  const parts = shares.map(({ index, value }) => {
    let [top, bottom] = [value, 1n]
    for (const { index: other } of shares) {
      if (other === index) continue
      top *= BigInt(other)
      bottom *= BigInt(other - index)
    }
    return { top, bottom }
  })
  const bottom = parts.reduce((product, part) => product * part.bottom, 1n)
  return { top: parts.reduce((sum, part) => sum + part.top * (bottom / part.bottom), 0n), bottom }
}

const interpolates = (shares: readonly Held[], secret: bigint): boolean => {
  const { top, bottom } = interpolate(shares)
  return modulo(top - bottom * secret) === 0n
}

/** Euclid's algorithm. */
function divide(top: bigint, bottom: bigint): bigint {
  let [a, b, x, y] = [ORDER, modulo(bottom), 0n, 1n]
  while (b !== 0n) {
    const quotient = a / b
    ;[a, b, x, y] = [b, a - quotient * b, y, x - quotient * y]
  }
  return modulo(top * x)
}

class World {
  readonly random: Random
  readonly options: RunOptions
  readonly memo = new CeremonyMemo()
  readonly points = new CommitmentMemo()
  readonly lies: Record<string, { told: number; named: number }> = {}
  readonly counts = { ceremonies: 0, signatures: 0, openings: 0, crashes: 0 }
  crashesLeft: number

  constructor(seed: number, options: RunOptions) {
    this.random = new Random(seed)
    this.options = options
    this.crashesLeft = this.random.whole(0, 4)
  }

  trace(line: string): void {
    this.options.trace?.(line)
  }

  bytes(count: number): Uint8Array {
    return randomBytes(this.random, count)
  }

  crashes(): boolean {
    if (this.crashesLeft === 0 || !this.random.chance(0.06)) return false
    this.crashesLeft -= 1
    this.counts.crashes += 1
    return true
  }

  told(lie: string): void {
    this.lies[lie] ??= { told: 0, named: 0 }
    this.lies[lie].told += 1
  }

  named(lie: string): void {
    ;(this.lies[lie] as { named: number }).named += 1
  }
}

function shuffled<T>(random: Random, list: readonly T[]): T[] {
  const out = [...list]
  for (let i = out.length - 1; i > 0; i -= 1) {
    const j = random.whole(0, i)
    ;[out[i], out[j]] = [out[j] as T, out[i] as T]
  }
  return out
}

// Ceremonies

/** One party in a ceremony: its machine, its disk, and what came out. */
class Seat {
  readonly node: Node
  readonly member: Member | undefined
  state: CeremonyState
  cursor = 0
  /** States do not change: what a disk would hold is written when it is read, after a crash. */
  disk: { readonly state: CeremonyState; readonly cursor: number } | undefined
  begun = false
  outcome: Extract<CeremonyEffect, { kind: 'complete' | 'abort' }> | undefined
  readonly accusations = new Map<string, Accusation>()

  constructor(node: Node, ceremony: Ceremony) {
    this.node = node
    this.member = ceremony.dealer(node.party) ?? ceremony.receiver(node.party)
    this.state = beginCeremony(ceremony, node.party)
  }

  get secret(): Secret {
    return this.node.encryption.secret
  }
}

/** Runs a ceremony to its end; every honest receiver's share is put into its node. Returns the key, or undefined for an abort. */
function runCeremony(world: World, ceremony: Ceremony, nodes: readonly Node[], live: boolean): PublicKey | undefined {
  const { random } = world
  world.counts.ceremonies += 1
  const taking = nodes.filter(({ party }) => ceremony.dealer(party) !== undefined || ceremony.receiver(party) !== undefined)
  const seats = taking.map((node) => new Seat(node, ceremony))
  const honest = seats.filter(({ node }) => !node.liar)
  const board: Entry[] = []
  const pending: Posting[][] = []
  /** What has to be named, by party and fault; `after` is where on the board the lie stands. */
  const expected: { party: Party; lie: string; fault: string | undefined; body: Uint8Array | undefined }[] = []
  const lied = new Map<string, readonly Uint8Array[]>()
  const hasty = random.chance(0.04)
  const rushing = random.chance(0.6)
  const tools = (seat: Seat): { encryptionKey: Secret; memo: CeremonyMemo } => ({ encryptionKey: seat.secret, memo: world.memo })
  world.trace(
    `ceremony ${ceremony.previous === undefined ? 'generates' : 'reshares'}: dealers ${ceremony.dealers.length}, receivers ${ceremony.receivers.length}, threshold ${ceremony.threshold}${hasty ? ', closed hastily' : ''}`,
  )

  const lieOf = (seat: Seat, body: Uint8Array): readonly Uint8Array[] => {
    const { node } = seat
    const isDealing = body[4] === 1
    const name = isDealing ? node.lies.dealer : node.lies.receiver
    if (!node.liar || name === HONEST) return [body]
    // A liar that restarts tells the same lie again.
    const toldBefore = lied.get(`${node.party} ${name}`)
    if (toldBefore !== undefined) return toldBefore
    const sent = lieNow(seat, body, isDealing, name)
    lied.set(`${node.party} ${name}`, sent)
    return sent
  }
  const lieNow = (seat: Seat, body: Uint8Array, isDealing: boolean, name: string): readonly Uint8Array[] => {
    const { node } = seat
    if (isDealing) {
      const lie = DEALER_LIES[name] ?? (RESHARING_LIES[name] as Lie<never>)
      const others = new Map(
        [...seat.state.dealings].map(([index, { dealing, message }]) => [index, { body: message.body, dealing }] as const),
      )
      others.delete(seat.member?.index as number)
      const earlierSeed = world.bytes(32)
      const share = ceremony.previous === undefined ? undefined : node.share
      const sent = (lie as (typeof DEALER_LIES)[string]).send({
        ceremony,
        index: seat.member?.index as number,
        random,
        honest: body,
        share,
        victims: honest.flatMap(({ node: { party } }) => ceremony.receiver(party)?.index ?? []),
        others,
        get earlier() {
          const plan = new Ceremony({ ...ceremony, attempt: ceremony.attempt + 1_000 })
          return makeDealing(plan, seat.member?.index as number, earlierSeed, share?.secret)
        },
      })
      expected.push({ party: node.party, lie: name, fault: lie.named, body: sent.at(-1) })
      world.told(name)
      return sent
    }
    const index = ceremony.receiver(node.party)?.index as number
    const lie = RECEIVER_LIES[name] as (typeof RECEIVER_LIES)[string]
    const good = honest.flatMap(({ node: { party } }) => ceremony.dealer(party)?.index ?? [])
    const sent = lie.send({
      ceremony,
      index,
      random,
      honest: body,
      transcript: seat.state.transcript,
      complaints: decodeAnswer(ceremony, index, body).complaints,
      encryptionKey: seat.secret,
      target: seat.state.dealings.get(good.find((dealer) => seat.state.dealings.has(dealer)) ?? 0)?.dealing,
    })
    const fault = sent.length === 0 ? 'silent-receiver' : lie.named
    expected.push({ party: node.party, lie: name, fault, body: sent.at(-1) })
    world.told(name)
    return sent
  }

  const perform = (seat: Seat, { state, effects }: Step): void => {
    seat.state = state
    const ordered = world.options.mutation?.postsBeforePersist === true ? postsFirst(effects) : effects
    for (const effect of ordered) {
      if (world.crashes()) {
        world.trace(`${seat.node.party} crashes before ${effect.kind}`)
        restart(seat)
        return
      }
      if (effect.kind === 'persist') seat.disk = { state: seat.state, cursor: seat.cursor }
      else if (effect.kind === 'post') pending.push(lieOf(seat, effect.body).map((body) => attest(seat.node.party, body)))
      else if (effect.kind === 'accuse') seat.accusations.set(hex(encodeAccusation(effect.accusation)), effect.accusation)
      else seat.outcome = effect
    }
  }

  const begin = (seat: Seat): void => {
    seat.begun = true
    if (ceremony.dealer(seat.node.party) === undefined) return
    if (ceremony.previous !== undefined && seat.node.share === undefined) return
    perform(seat, step(seat.state, { kind: 'begin', seed: world.bytes(32), share: seat.node.share }, tools(seat)))
  }

  const restart = (seat: Seat): void => {
    if (seat.disk === undefined) {
      seat.state = beginCeremony(ceremony, seat.node.party)
      seat.cursor = 0
      if (seat.begun) begin(seat)
      return
    }
    const restored = decodeState(encodeState(seat.disk.state), tools(seat))
    seat.cursor = seat.disk.cursor
    perform(seat, restored)
    perform(seat, step(seat.state, { kind: 'resume' }, tools(seat)))
  }

  for (const seat of shuffled(random, seats)) if (!(rushing && seat.node.liar)) begin(seat)
  const doneAt = new Map<Seat, number>()
  for (let steps = 0; ; steps += 1) {
    demand(steps < 20_000, 'a ceremony does not end')
    const behind = seats.filter(({ cursor }) => cursor < board.length)
    if (pending.length > 0 && (behind.length === 0 || random.chance(0.3))) {
      const [group] = pending.splice(random.whole(0, pending.length - 1), 1)
      for (const posting of group as Posting[]) board.push({ kind: 'posted', ...posting })
      continue
    }
    if (behind.length > 0) {
      const seat = random.pick(behind)
      const entry = board[seat.cursor] as Entry
      seat.cursor += 1
      perform(seat, step(seat.state, entry, tools(seat)))
      if (seat.outcome !== undefined && !doneAt.has(seat)) doneAt.set(seat, seat.cursor)
      if (hasty && random.chance(0.02)) board.push({ kind: 'close', phase: random.pick(['dealing', 'answering'] as const) })
      continue
    }
    const waiting = seats.filter(({ begun }) => !begun)
    if (waiting.length > 0) {
      for (const seat of waiting) begin(seat)
      continue
    }
    const phase = honest.map(({ state }) => state.phase).find((found) => found === 'dealing' || found === 'answering')
    if (phase === undefined) break
    board.push({ kind: 'close', phase: phase as 'dealing' | 'answering' })
  }
  return judgeCeremony(world, ceremony, honest, seats, { expected, board, doneAt, live: live && !hasty, hasty })
}

function postsFirst(effects: readonly CeremonyEffect[]): readonly CeremonyEffect[] {
  return [...effects.filter(({ kind }) => kind === 'post'), ...effects.filter(({ kind }) => kind !== 'post')]
}

function judgeCeremony(
  world: World,
  ceremony: Ceremony,
  honest: readonly Seat[],
  seats: readonly Seat[],
  facts: {
    readonly expected: readonly { party: Party; lie: string; fault: string | undefined; body: Uint8Array | undefined }[]
    readonly board: readonly Entry[]
    readonly doneAt: ReadonlyMap<Seat, number>
    readonly live: boolean
    readonly hasty: boolean
  },
): PublicKey | undefined {
  const liars = new Set(seats.filter(({ node }) => node.liar).map(({ node }) => node.party))
  const shareless = new Set(seats.filter(({ node }) => node.share === undefined).map(({ node }) => node.party))
  const [first] = honest as readonly [Seat, ...Seat[]]
  const list = (seat: Seat): string => [...seat.accusations.keys()].sort().join()
  for (const seat of honest) {
    demand(list(seat) === list(first), `${seat.node.party} and ${first.node.party} accuse differently`)
    demand(seat.outcome?.kind === first.outcome?.kind, `${seat.node.party} and ${first.node.party} end differently`)
  }
  for (const accusation of first.accusations.values()) {
    const { party, fault } = accusation
    world.trace(`${party} is accused: ${fault}`)
    const silent = fault === 'silent-dealer' || fault === 'silent-receiver'
    // A ceremony that was closed hastily leaves some without a share to hand on.
    const hadNothing = fault === 'silent-dealer' && ceremony.previous !== undefined && shareless.has(party)
    demand(liars.has(party) || (facts.hasty && silent) || hadNothing, `honest ${party} is accused: ${fault}`)
    if (SEEN_ON_THE_BOARD.has(fault)) continue
    const received = decodeAccusation(encodeAccusation(accusation))
    demand(verifyCeremonyAccusation(ceremony, received, attests), `the evidence against ${party} (${fault}) is not accepted`)
    const other = [...honest][0]?.node.party as Party
    demand(
      !verifyCeremonyAccusation(ceremony, { ...received, party: other }, attests),
      `the evidence against ${party} (${fault}) serves against ${other} too`,
    )
  }
  for (const { party, lie, fault, body } of facts.expected) {
    const found = [...first.accusations.values()].filter((accusation) => accusation.party === party)
    if (fault === undefined) {
      const receiverLie = seats.find(({ node }) => node.party === party)?.node.lies.receiver
      const dealerFaults = new Set(['malformed-dealing', 'bad-share', 'silent-dealer'])
      demand(
        !found.some((accusation) => dealerFaults.has(accusation.fault)) || lie === receiverLie || facts.hasty,
        `${party} is named for what is no fault (${lie})`,
      )
      continue
    }
    if (found.some((accusation) => accusation.fault === fault)) {
      world.named(lie)
      continue
    }
    const at = facts.board.findIndex((entry) => entry.kind === 'posted' && body !== undefined && same(entry.body, body))
    const inTime = at !== -1 && at < (facts.doneAt.get(first) ?? 0)
    demand(facts.hasty || (body !== undefined && !inTime), `${party} is not named for a lie: ${lie}, expected ${fault}`)
  }

  const { outcome } = first
  demand(!(facts.live && outcome?.kind !== 'complete'), 'a ceremony with enough honest parties did not complete')
  if (outcome?.kind !== 'complete') return undefined
  const { publicKey } = outcome
  const dealerFaults = new Set(['malformed-dealing', 'bad-share', 'silent-dealer', 'equivocation'])
  const fallen = new Set([...first.accusations.values()].filter(({ fault }) => dealerFaults.has(fault)).map(({ party }) => party))
  const stood = ceremony.dealers.filter(({ party }) => !fallen.has(party)).length
  const answeredTwice = [...first.state.answeredTwice].length
  const needed = ceremony.previous?.threshold ?? ceremony.threshold
  demand(stood + answeredTwice >= needed, `a key of ${stood} dealings, ${needed} are needed`)
  const again = PublicKey.decode(publicKey.encode())
  demand(same(again.id, publicKey.id), 'a public key reads back as another')
  if (ceremony.previous !== undefined) demand(same(ceremony.previous.groupKey, publicKey.groupKey), 'a resharing changed the key')
  const held: KeyShare[] = []
  for (const seat of seats) {
    if (seat.outcome?.kind !== 'complete') {
      demand(seat.node.liar, `honest ${seat.node.party} did not complete`)
      continue
    }
    demand(same(seat.outcome.publicKey.id, publicKey.id), `${seat.node.party} has another key`)
    const { share } = seat.outcome
    if (share === undefined) {
      demand(
        seat.node.liar || facts.hasty || ceremony.receiver(seat.node.party) === undefined,
        `honest ${seat.node.party} has no share`,
      )
      continue
    }
    if (!seat.node.liar) held.push(KeyShare.decode(share.encodeSecret()))
  }
  const values = shuffled(world.random, held).map(({ index, secret }) => ({ index, value: secret.reveal() }))
  const group = groupNamed(ceremony.suite)
  if (values.length >= ceremony.threshold) {
    const { top, bottom } = interpolate(values.slice(0, ceremony.threshold))
    const secret = divide(top, bottom)
    demand(same(group.encode(group.multiplyBase(secret)), publicKey.groupKey), 'shares do not make the secret of the key')
    demand(interpolates(values, secret), 'shares lie on no polynomial of the degree agreed')
    demand(!interpolates(values.slice(0, ceremony.threshold - 1), secret), 'fewer shares than the threshold make the secret')
    const old = seats.flatMap(({ node }) => (node.share === undefined ? [] : [node.share]))
    if (ceremony.previous !== undefined) {
      const stolen = old
        .slice(0, ceremony.previous.threshold - 1)
        .map(({ index, secret: value }) => ({ index, value: value.reveal() }))
      for (const value of values.slice(0, ceremony.threshold - 1)) {
        const rest = stolen.filter(({ index }) => index !== value.index)
        demand(!interpolates([...rest, value], secret), 'shares of two epochs make the secret')
      }
    }
  }
  for (const seat of seats) {
    if (seat.outcome?.kind !== 'complete') continue
    seat.node.share?.secret.wipe()
    seat.node.share = seat.outcome.share
  }
  for (const { node } of seats) if (node.share?.secret.wiped === true) node.share = undefined
  return publicKey
}

// Signing

function judgeUse(
  world: World,
  publicKey: PublicKey,
  nodes: readonly Node[],
  accusations: readonly Accusation[],
  expected: ReadonlyMap<Party, { readonly lie: string; readonly fault: string }[]>,
): void {
  for (const accusation of accusations) {
    const { party, fault } = accusation
    world.trace(`${party} is accused: ${fault}`)
    demand(nodes.find((node) => node.party === party)?.liar === true, `honest ${party} is accused: ${fault}`)
    const received = decodeAccusation(encodeAccusation(accusation))
    demand(verifyKeyAccusation(publicKey, received, attests), `the evidence against ${party} (${fault}) is not accepted`)
    const other = nodes.find((node) => !node.liar && publicKey.indexOf(node.party) !== undefined)?.party as Party
    demand(
      !verifyKeyAccusation(publicKey, { ...received, party: other }, attests),
      `the evidence against ${party} (${fault}) serves against ${other} too`,
    )
  }
  for (const [party, lies] of expected) {
    const faults = accusations.filter((accusation) => accusation.party === party).map(({ fault }) => fault)
    const [first] = lies
    demand(
      first === undefined || lies.some(({ fault }) => faults.includes(fault as never)),
      `${party} is not named for a lie: ${first?.lie}, expected ${first?.fault}`,
    )
    for (const { lie, fault } of lies) if (faults.includes(fault as never)) world.named(lie)
  }
}

const ATTEMPTS_MAX = 40
/** At first a signer sends pairs when it has none left, so that they run out in the middle of a signature; later it keeps enough, as nodes do. */
const SCARCE_ATTEMPTS = 20
const STOCK_TRIES = 16

function signMessages(world: World, publicKey: PublicKey, nodes: readonly Node[], live: boolean, count: number): void {
  const { random } = world
  world.crashesLeft += random.whole(0, 2)
  const coordinator = new Coordinator(publicKey, world.points)
  const holders = nodes.filter(({ share, party }) => share !== undefined && publicKey.indexOf(party) !== undefined)
  const signers = new Map(holders.map(({ party, share }) => [party, new Signer(share as KeyShare, 0, world.points)]))
  const journal = new Map<Party, number>()
  const nodeOf = (party: Party): Node => holders.find((node) => node.party === party) as Node
  const accusations: Accusation[] = []
  const expected = new Map<Party, { lie: string; fault: string }[]>()
  const committedFalsely = new Set<Party>()
  const answered = new Map<string, string>()
  const sent = new Map<Party, Uint8Array[]>()
  const network: (() => void)[] = []
  const requests: Uint8Array[] = []
  /** What the session asks for now; shares for what it asked before are nobody's business. */
  let current: Uint8Array | undefined
  const provisioned: Posting[] = []
  let session = ''
  let outcome: Extract<CoordinatorEffect, { kind: 'signature' | 'fail' }> | undefined

  const expect = (party: Party, lie: string, fault: string | undefined): void => {
    world.told(lie)
    if (fault !== undefined) expected.set(party, [...(expected.get(party) ?? []), { lie, fault }])
  }
  const restart = (party: Party): void => {
    signers.get(party)?.close()
    const next = world.options.mutation?.forgetsJournal === true ? 0 : (journal.get(party) ?? 0)
    signers.set(party, new Signer(nodeOf(party).share as KeyShare, next, world.points))
  }
  const asked = new Map<string, string>()
  const take = (effects: readonly CoordinatorEffect[]): void => {
    for (const effect of effects) {
      if (effect.kind === 'request') {
        const digest = hex(digestOf(effect.body))
        for (const { index, number } of decodeRequest(publicKey, effect.body, world.points).commitments) {
          const name = `${index}.${number}`
          demand((asked.get(name) ?? digest) === digest, `the coordinator asked for the pair ${number} of signer ${index} twice`)
          asked.set(name, digest)
        }
      }
      if (effect.kind === 'request') current = effect.body
      if (effect.kind === 'request') network.push(() => request(effect.to, effect.body, effect.session))
      else if (effect.kind === 'accuse') accusations.push(effect.accusation)
      else if (effect.kind !== 'silent') outcome = effect
    }
  }
  const provision = (party: Party): void => {
    const node = nodeOf(party)
    const pairs = random.whole(1, 3)
    for (const effect of (signers.get(party) as Signer).step({ kind: 'provision', random: world.bytes(64 * pairs) })) {
      if (!node.liar && world.crashes()) {
        world.trace(`${party} crashes before ${effect.kind}`)
        restart(party)
        return
      }
      if (effect.kind === 'persist') journal.set(party, effect.next)
      if (effect.kind !== 'send') continue
      let bodies: readonly Uint8Array[] = [effect.body]
      const lie = COMMIT_LIES[node.lies.commit]
      if (node.liar && lie !== undefined && !committedFalsely.has(party)) {
        committedFalsely.add(party)
        bodies = lie.send({ random, share: node.share as KeyShare, honest: effect.body })
        expect(party, node.lies.commit, lie.named)
      }
      for (const body of bodies) {
        take(coordinator.step({ kind: 'commitments', ...attest(party, body) }))
        provisioned.push(attest(party, body))
      }
    }
  }
  /** Whatever an honest signer sends: no pair of nonces answers two requests. */
  const watch = (party: Party, request: Uint8Array): void => {
    const { commitments } = decodeRequest(publicKey, request, world.points)
    const own = commitments.find(({ index }) => index === publicKey.indexOf(party))
    const name = `${party} ${hex(own?.hidingBytes as Uint8Array)}`
    const digest = hex(digestOf(request))
    demand((answered.get(name) ?? digest) === digest, `${party} used a nonce for two requests`)
    answered.set(name, digest)
  }
  const ask = (party: Party, body: Uint8Array): Uint8Array | undefined => {
    const [effect] = (signers.get(party) as Signer).step({ kind: 'sign', request: body })
    if (effect?.kind !== 'send') return undefined
    if (!nodeOf(party).liar) watch(party, body)
    return effect.body
  }
  const request = (party: Party, body: Uint8Array, name: string): void => {
    const node = nodeOf(party)
    requests.push(body)
    if (!node.liar && world.crashes()) {
      world.trace(`${party} crashes before it signs`)
      restart(party)
      // Sends new commitments at once, while the coordinator still counts on the old ones.
      if (random.chance(0.7)) provision(party)
    }
    const honest = ask(party, body)
    if (honest === undefined) {
      network.push(() => take(coordinator.step({ kind: 'refused', session: name, from: party })))
      return
    }
    let bodies: readonly Uint8Array[] = [honest]
    let lied: Lie<never> | undefined
    const lie = SHARE_LIES[node.lies.share]
    const before = sent.get(party) ?? []
    if (node.liar && lie !== undefined) {
      lied = lie as Lie<never>
      bodies = lie.send({
        random,
        share: node.share as KeyShare,
        request: decodeRequest(publicKey, body, world.points),
        honest,
        before,
        others: [...sent].flatMap(([from, all]) => (nodeOf(from).liar ? [] : all)),
      })
    }
    sent.set(party, [...before, honest])
    if (!node.liar && random.chance(0.03)) return // lost on the way
    for (const answer of bodies)
      network.push(() => {
        const active = session === name && outcome === undefined && current !== undefined && same(current, body)
        const accused = coordinator.accused.has(party)
        if (lied !== undefined && active && !accused) expect(party, node.lies.share, lied.named)
        take(coordinator.step({ kind: 'share', ...attest(party, answer) }))
        if (random.chance(0.1)) take(coordinator.step({ kind: 'share', ...attest(party, answer) }))
      })
    if (lied !== undefined && bodies.length === 0) world.told(node.lies.share)
  }

  for (let nth = 0; nth < count; nth += 1) {
    const message = world.bytes(random.whole(0, 120))
    let signature: Uint8Array | undefined
    for (let attempt = 0; attempt < ATTEMPTS_MAX && signature === undefined; attempt += 1) {
      const stocked = attempt < SCARCE_ATTEMPTS ? 1 : holders.length
      if (provisioned.length > 0 && random.chance(0.3))
        take(coordinator.step({ kind: 'commitments', ...random.pick(provisioned) }))
      for (const { party } of shuffled(random, holders))
        for (let tries = 0; tries < STOCK_TRIES && coordinator.stockOf(party) < stocked; tries += 1)
          if (!coordinator.accused.has(party)) provision(party)
      session = `${nth}.${attempt}`
      outcome = undefined
      take(coordinator.step({ kind: 'sign', session, message }))
      for (let steps = 0; outcome === undefined; steps += 1) {
        demand(steps < 5_000, 'a signature takes for ever')
        const [task] = network.splice(random.whole(0, Math.max(0, network.length - 1)), 1)
        if (task === undefined) take(coordinator.step({ kind: 'timeout', session }))
        else task()
      }
      if ((outcome as CoordinatorEffect).kind === 'signature') signature = (outcome as { signature: Uint8Array }).signature
      // What is still on its way is late; a liar's late word is nobody's business.
      session = ''
      for (const task of network.splice(0)) task()
    }
    demand(!(live && signature === undefined), 'enough honest signers made no signature')
    if (signature === undefined) break
    world.counts.signatures += 1
    demand(usedArithmetic().verifies(signature, message, publicKey.groupKey), 'a signature does not verify elsewhere')
    demand(same(signature.subarray(0, 32), edwards.encode(edwards.decode(signature.slice(0, 32)))), 'R is spelled otherwise')
  }
  // A coordinator that lies: the same nonces again, for another message; a signer twice in the list; signers that are none.
  for (const body of shuffled(random, requests).slice(0, 2)) {
    const { commitments, message } = decodeRequest(publicKey, body, world.points)
    const other = encodeRequest(publicKey, { message: Uint8Array.from([...message, 1]), commitments })
    for (const { party, liar } of holders) if (!liar) ask(party, other)
  }
  for (const { party, liar } of holders) if (!liar) hostileRequests(world, publicKey, party, signers.get(party) as Signer)
  judgeUse(world, publicKey, nodes, accusations, expected)
  for (const signer of signers.values()) signer.close()
}

/** Requests that no honest coordinator makes: none may be answered. Each takes a fresh pair of nonces. */
function hostileRequests(world: World, publicKey: PublicKey, party: Party, signer: Signer): void {
  const index = publicKey.indexOf(party) as number
  const base = signer.step({ kind: 'provision', random: world.bytes(64) }).find(({ kind }) => kind === 'send')
  const body = (base as { body: Uint8Array }).body
  const number = new DataView(body.buffer, body.byteOffset).getUint32(39)
  const [commitment] = decodeCommitments(publicKey, index, body, world.points).commitments
  const own = { index, number, ...(commitment as NonceCommitment) }
  const repeated = Array.from({ length: publicKey.threshold }, () => own)
  const zero = encodeRequest(publicKey, { message: world.bytes(4), commitments: [own] })
  // The identifier of the first entry, by its place: opening, length, message, count.
  const entry = zero.slice(37 + 4 + 4 + 1)
  entry.set([0, 0])
  const withZero = Uint8Array.from([...zero, ...entry])
  withZero[37 + 4 + 4] = 2
  const swapped = publicKey.members
    .slice(0, Math.max(publicKey.threshold, publicKey.members.findIndex((member) => member.index === index) + 1))
    .map((member) => ({
      index: member.index,
      number,
      hiding: own.binding,
      hidingBytes: own.bindingBytes,
      binding: own.hiding,
      bindingBytes: own.hidingBytes,
    }))
  const bodies = [
    encodeRequest(publicKey, { message: world.bytes(4), commitments: swapped }),
    encodeRequest(publicKey, { message: world.bytes(4), commitments: repeated }),
    withZero,
    encodeRequest(publicKey, { message: world.bytes(4), commitments: [own] }),
  ]
  const [effect] = signer.step({ kind: 'sign', request: world.random.pick(bodies) })
  demand(effect?.kind === 'refuse', `${party} signed for a list with doubles, with zero, too short, or with nonces not its own`)
}

// Decryption

interface Sealed {
  readonly capsule: Uint8Array
  readonly key: Uint8Array
}

function openCapsules(
  world: World,
  publicKey: PublicKey,
  nodes: readonly Node[],
  live: boolean,
  sealed: readonly Sealed[],
): void {
  const { random } = world
  const opener = new Opener(publicKey)
  const holders = nodes.filter(({ share, party }) => share !== undefined && publicKey.indexOf(party) !== undefined)
  const accusations: Accusation[] = []
  const expected = new Map<Party, { lie: string; fault: string }[]>()
  for (const { capsule, key } of sealed) {
    const asked = opener.step({ kind: 'open', capsule }).filter(({ kind }) => kind === 'request')
    const honestBodies: Uint8Array[] = []
    let opened: Uint8Array | undefined
    for (const effect of shuffled(random, asked)) {
      const { to } = effect as { to: Party }
      const node = holders.find(({ party }) => party === to)
      if (node === undefined) continue
      const honest = makePartial(node.share as KeyShare, verifyCapsule(publicKey, capsule))
      const lie = node.liar ? PARTIAL_LIES[node.lies.partial] : undefined
      const view = { random, share: node.share as KeyShare, capsule, honest, others: honestBodies }
      const bodies = lie === undefined ? [honest] : lie.send(view)
      if (!node.liar) honestBodies.push(honest)
      if (lie !== undefined) world.told(node.lies.partial)
      if (lie?.named !== undefined && opened === undefined && !opener.accused.has(to))
        expected.set(to, [...(expected.get(to) ?? []), { lie: node.lies.partial, fault: lie.named }])
      for (const body of bodies) {
        for (const result of opener.step({ kind: 'partial', ...attest(to, body) })) {
          if (result.kind === 'opened') opened = result.key
          if (result.kind === 'accuse') accusations.push(result.accusation)
        }
      }
    }
    if (opened === undefined) opener.step({ kind: 'timeout', capsule })
    demand(!(live && opened === undefined), 'enough honest parties did not open a capsule')
    if (opened === undefined) {
      // The threshold was not reached: what came was perhaps never looked at.
      for (const [party, lies] of expected) if (!opener.accused.has(party) && lies.length > 0) expected.delete(party)
      continue
    }
    world.counts.openings += 1
    demand(same(opened, key), 'a capsule opened to another key')
  }
  const [one] = sealed
  if (one !== undefined) hostileCapsules(world, publicKey, one.capsule)
  judgeUse(world, publicKey, nodes, accusations, expected)
}

/** Capsules made from another: none may be taken for one. */
function hostileCapsules(world: World, publicKey: PublicKey, capsule: Uint8Array): void {
  const group = groupNamed('ristretto255')
  const { u, uBar, label } = verifyCapsule(publicKey, capsule)
  const at = 37 + 4 + label.length
  const related = (first: Uint8Array, second: Uint8Array): Uint8Array => {
    const body = capsule.slice()
    body.set(first, at)
    body.set(second, at + 32)
    return body
  }
  const flipped = capsule.slice()
  const bit = world.random.whole(37 * 8, capsule.length * 8 - 1)
  flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
  const hostile = [
    flipped,
    related(group.encode(group.add(u, u)), group.encode(group.add(uBar, uBar))),
    related(group.encode(group.add(u, group.base)), group.encode(uBar)),
    capsule.slice(0, -1),
    Uint8Array.from([...capsule, 0]),
  ]
  for (const body of hostile) {
    let refused = false
    try {
      verifyCapsule(publicKey, body)
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      refused = true
    }
    demand(refused, 'a changed capsule is taken for one')
  }
}

/** Sets of identifiers that interpolate nothing. */
function hostileIdentifiers(): void {
  for (const indexes of [[], [0, 1], [1, 1], [2, 3, 2], [1, 65_536], [1, 1.5], [-1, 2]]) {
    let refused = false
    try {
      lagrangeAtZero(indexes)
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      refused = error.code === 'THRESHOLD_IDENTIFIER' || error.code === 'THRESHOLD_SHORT'
    }
    demand(refused, `the identifiers ${indexes.join()} were interpolated`)
  }
}

// A run

const pickLie = (random: Random, names: readonly string[], chance = 0.8): string =>
  random.chance(chance) ? random.pick(names) : HONEST

function liesOf(random: Random, resharing: boolean): Lies {
  const dealer = [...Object.keys(DEALER_LIES), ...(resharing ? Object.keys(RESHARING_LIES) : [])]
  return {
    dealer: pickLie(random, dealer),
    receiver: pickLie(random, Object.keys(RECEIVER_LIES), 0.6),
    commit: pickLie(random, Object.keys(COMMIT_LIES), 0.3),
    share: pickLie(random, Object.keys(SHARE_LIES)),
    partial: pickLie(random, Object.keys(PARTIAL_LIES)),
  }
}

function makeNode(world: World, name: number, liar: boolean): Node {
  const encryption = makeEncryptionKey(world.bytes(32))
  return { party: `party-${name}`, encryption, liar, lies: liesOf(world.random, false), share: undefined }
}

function use(world: World, publicKey: PublicKey, nodes: readonly Node[], live: boolean, sealed: Sealed[]): void {
  if (publicKey.suite === 'ed25519') {
    signMessages(world, publicKey, nodes, live, 2)
    return
  }
  sealed.push(encapsulate(publicKey, world.bytes(world.random.whole(0, 40)), world.bytes(32)))
  openCapsules(world, publicKey, nodes, live, sealed)
}

function play(world: World, parties: number, threshold: number, suite: SuiteName): void {
  const { random } = world
  hostileIdentifiers()
  const liars = random.chance(0.8) ? threshold - 1 : random.whole(0, threshold - 1)
  const nodes = shuffled(
    random,
    Array.from({ length: parties }, (_, i) => i < liars),
  ).map((liar, i) => makeNode(world, i, liar))
  const places = shuffled(
    random,
    Array.from({ length: 3 * parties }, (_, i) => i + 1),
  )
  const receiversOf = (list: readonly Node[], indexes: readonly number[]) =>
    list
      .map(({ party, encryption }, i) => ({ party, index: indexes[i] as number, encryptionKey: encryption.publicKey }))
      .sort((a, b) => a.index - b.index)
  const receivers = receiversOf(nodes, places)
  const plan = { suite, purpose: 'a key of a simulated ring', attempt: random.whole(0, 9), threshold, receivers }
  const live = parties - liars >= threshold
  world.trace(`${parties} parties, threshold ${threshold}, ${liars} liars, ${suite}`)
  const publicKey = runCeremony(world, new Ceremony({ ...plan, previous: undefined }), nodes, live)
  if (publicKey === undefined) return
  const complete = nodes.every(({ liar, share }) => liar || share !== undefined)
  const sealed: Sealed[] = []
  use(world, publicKey, nodes, live && complete, sealed)

  for (const node of nodes) node.lies = liesOf(random, true)
  // Either the same parties, or others: some leave, some join, another threshold; places change hands.
  const refresh = random.chance(0.5)
  const staying = refresh ? nodes : nodes.filter(() => random.chance(0.7))
  const joining = refresh ? 0 : random.whole(Math.max(0, 3 - staying.length), 3)
  const joined = Array.from({ length: joining }, (_, i) => makeNode(world, 100 + i, false))
  const next = refresh ? nodes : shuffled(random, [...staying, ...joined])
  const nextLiars = next.filter(({ liar }) => liar).length
  const nextThreshold = refresh ? threshold : Math.max(2, Math.min(next.length, nextLiars + 1 + random.whole(0, 1)))
  if (next.length < 2 || nextLiars >= nextThreshold || next.length === nextLiars) return
  const nextPlaces = refresh
    ? undefined
    : shuffled(
        random,
        Array.from({ length: 3 * next.length }, (_, i) => i + 1),
      )
  const handed = new Ceremony({
    ...plan,
    attempt: plan.attempt + 1,
    threshold: nextThreshold,
    receivers: nextPlaces === undefined ? receivers : receiversOf(next, nextPlaces),
    previous: publicKey,
  })
  const everybody = [...new Set([...nodes, ...next])]
  const reshared = runCeremony(world, handed, everybody, live && complete)
  if (reshared === undefined) return
  const ready = next.every(({ liar, share }) => liar || share !== undefined)
  use(world, reshared, next, ready && next.length - nextLiars >= nextThreshold, sealed)
}

/** The same seed is the same run, on every machine. */
export function runThreshold(seed: number, options: RunOptions = {}): RunResult {
  chooseArithmetic(options.arithmetic ?? 'real')
  const world = new World(seed, options)
  // Drawn even when it is given, so that a replay that gives it goes the same way.
  const drawn = world.random.whole(4, 10)
  const parties = options.parties ?? drawn
  const most = world.random.chance(0.75) ? Math.floor((parties + 1) / 2) : parties
  const threshold = world.random.whole(2, most)
  const suite: SuiteName = world.random.chance(0.5) ? 'ed25519' : 'ristretto255'
  let violation: string | undefined
  try {
    play(world, parties, threshold, suite)
  } catch (error) {
    const bug = error instanceof Error ? `${error.name}: ${error.message} ${(error.stack ?? '').split('\n')[1] ?? ''}` : 'thrown'
    violation = error instanceof Violation ? error.message : bug
  }
  return { parties, threshold, suite, violation, lies: world.lies, ...world.counts }
}

/** A name for what a run did, to compare two runs by. */
export function fingerprint(seed: number, options: RunOptions = {}): string {
  const hash = createHash('sha256')
  runThreshold(seed, { ...options, trace: (line) => hash.update(`${line}\n`) })
  return hash.digest('hex')
}

/**
 * Parties that lie, each lie a named part. A liar is a whole party underneath, so that it holds a share to lie with later; a lie
 * replaces what it would have sent. `named` is what an honest party has to call it; undefined where a lie harms nobody and shows
 * nothing (a message of another place is nobody's fault).
 */
import {
  type Ceremony,
  type Dealing,
  decodePartial,
  decodeSignatureShare,
  type Element,
  encapsulate,
  encodeCommitments,
  encodeSignatureShare,
  type Fault,
  groupNamed,
  type KeyShare,
  makePartial,
  NoncePair,
  ristretto,
  type Scalar,
  Secret,
  type SigningRequest,
  verifyCapsule,
} from '@ringwall/threshold'
import { partialChallenge } from '../../packages/threshold/src/capsule.ts'
import { type Answer, type Complaint, encodeAnswer, makeComplaint } from '../../packages/threshold/src/dealing.ts'
import { proveEquality } from '../../packages/threshold/src/proof.ts'
import { add, multiply, negate } from '../../packages/threshold/src/scalar.ts'
import { Writer } from '../../packages/threshold/src/wire.ts'
import type { Random } from '../random.ts'
import { usedArithmetic } from './arithmetic.ts'
import { forgeDealing, randomBytes, randomScalar, spelledOtherwise } from './forge.ts'

export interface DealerView {
  readonly ceremony: Ceremony
  readonly index: number
  readonly random: Random
  /** What it would deal if it were honest. */
  readonly honest: Uint8Array
  /** Its share of the previous epoch. */
  readonly share: KeyShare | undefined
  /** Identifiers of honest receivers. */
  readonly victims: readonly number[]
  /** Dealings of others that are on the board already, by identifier. */
  readonly others: ReadonlyMap<number, { readonly body: Uint8Array; readonly dealing: Dealing }>
  /** Its dealing of an attempt that nobody waits for any more. */
  readonly earlier: Uint8Array
}

export interface Lie<View> {
  readonly named: Fault | undefined
  /** What is sent, one after the other without anybody between. */
  send(view: View): readonly Uint8Array[]
}

const pick = (random: Random, count: number): readonly Scalar[] => Array.from({ length: count }, () => randomScalar(random))

/** The polynomial that an honest dealer could have: with its share as the constant in a resharing. */
function polynomial({ ceremony, random, share }: DealerView): readonly Scalar[] {
  const rest = pick(random, ceremony.threshold - 1)
  return [share?.secret.reveal() ?? randomScalar(random), ...rest]
}

function encodedPolynomial(view: DealerView, coefficients: readonly Scalar[]): Uint8Array[] {
  const group = groupNamed(view.ceremony.suite)
  return coefficients.map((value) => group.encode(group.multiplyBase(value)))
}

export const DEALER_LIES: Readonly<Record<string, Lie<DealerView>>> = {
  'deals nothing': { named: 'silent-dealer', send: () => [] },
  'deals one bad share': {
    named: 'bad-share',
    send: (view) => {
      const victim = view.random.pick(view.victims)
      const shift = (index: number): Scalar => (index === victim ? 1n : 0n)
      return [forgeDealing(view.ceremony, view.index, view.random, { coefficients: polynomial(view), shift })]
    },
  },
  'commits to another polynomial': {
    named: 'bad-share',
    send: (view) => {
      const coefficients = polynomial(view)
      const commitments = encodedPolynomial(view, [coefficients[0] as Scalar, ...pick(view.random, coefficients.length - 1)])
      return [forgeDealing(view.ceremony, view.index, view.random, { coefficients, commitments })]
    },
  },
  'deals twice': {
    named: 'equivocation',
    send: (view) => [view.honest, forgeDealing(view.ceremony, view.index, view.random, { coefficients: polynomial(view) })],
  },
  'proves nothing': {
    named: 'malformed-dealing',
    send: (view) => [forgeDealing(view.ceremony, view.index, view.random, { coefficients: polynomial(view), lieInProof: true })],
  },
  'takes its constant from another': {
    named: 'malformed-dealing',
    send: (view) => {
      const coefficients = polynomial(view)
      const group = groupNamed(view.ceremony.suite)
      const other = [...view.others.values()][0]?.dealing.commitments[0]
      const rogue: Element = other === undefined ? group.multiplyBase(5n) : group.add(group.multiplyBase(3n), group.negate(other))
      const commitments = [group.encode(rogue), ...encodedPolynomial(view, coefficients).slice(1)]
      return [forgeDealing(view.ceremony, view.index, view.random, { coefficients, commitments })]
    },
  },
  "deals under another's ephemeral key": {
    named: 'malformed-dealing',
    send: (view) => {
      const ephemeral = [...view.others.values()][0]?.dealing.ephemeral ?? ristretto.base
      return [forgeDealing(view.ceremony, view.index, view.random, { coefficients: polynomial(view), ephemeral })]
    },
  },
  "sends another's dealing as its own": {
    named: 'malformed-dealing',
    send: (view) => [[...view.others.values()][0]?.body ?? view.honest.slice(0, -1)],
  },
  "puts its name on another's dealing": {
    named: 'malformed-dealing',
    send: (view) => {
      const body = ([...view.others.values()][0]?.body ?? new Uint8Array(view.honest.length)).slice()
      body.set(view.honest.subarray(0, 39))
      return [body]
    },
  },
  'commits to too many coefficients': {
    named: 'malformed-dealing',
    send: (view) => {
      const coefficients = [...polynomial(view), randomScalar(view.random)]
      return [forgeDealing(view.ceremony, view.index, view.random, { coefficients })]
    },
  },
  'commits to too few coefficients': {
    named: 'malformed-dealing',
    send: (view) => {
      const coefficients = polynomial(view).slice(0, -1)
      return [forgeDealing(view.ceremony, view.index, view.random, { coefficients })]
    },
  },
  'commits to points of low order': {
    named: 'malformed-dealing',
    send: (view) => {
      const coefficients = polynomial(view)
      const commitments = encodedPolynomial(view, coefficients)
      const { LOW_ORDER, IDENTITY, RISTRETTO_IDENTITY } = usedArithmetic()
      const spoilt = view.ceremony.suite === 'ed25519' ? [LOW_ORDER, IDENTITY] : [RISTRETTO_IDENTITY, LOW_ORDER]
      commitments[view.random.whole(0, commitments.length - 1)] = view.random.pick(spoilt)
      return [forgeDealing(view.ceremony, view.index, view.random, { coefficients, commitments })]
    },
  },
  'spells scalars otherwise': {
    named: 'malformed-dealing',
    send: (view) => [
      forgeDealing(view.ceremony, view.index, view.random, { coefficients: polynomial(view), spoil: spelledOtherwise }),
    ],
  },
  'deals as party zero': {
    named: 'malformed-dealing',
    send: (view) => [forgeDealing(view.ceremony, view.index, view.random, { coefficients: polynomial(view), dealer: 0 })],
  },
  'sends half, or more than all': {
    named: 'malformed-dealing',
    send: ({ honest, random }) => [
      random.chance(0.5) ? honest.slice(0, random.whole(37, honest.length - 1)) : Uint8Array.from([...honest, 0]),
    ],
  },
  'changes a bit': {
    named: 'malformed-dealing',
    send: ({ honest, random }) => {
      const body = honest.slice()
      const at = random.whole(37, body.length - 1)
      body[at] = (body[at] as number) ^ (1 << random.whole(0, 7))
      return [body]
    },
  },
  'replays an earlier attempt': { named: 'silent-dealer', send: ({ earlier }) => [earlier] },
  'deals a polynomial that is zero at a victim': {
    // Legitimate, if odd: a victim that complained would itself be named.
    named: undefined,
    send: (view) => {
      const coefficients = [...polynomial(view)]
      const victim = BigInt(view.random.pick(view.victims))
      const value = coefficients.reduceRight((sum, coefficient) => add(multiply(sum, victim), coefficient), 0n)
      const inverse = inverseOf(victim)
      coefficients[1] = add(coefficients[1] as Scalar, negate(multiply(value, inverse)))
      return [forgeDealing(view.ceremony, view.index, view.random, { coefficients })]
    },
  },
}

/** Only in a resharing is this a lie: deals a secret of its own instead of its share. */
export const RESHARING_LIES: Readonly<Record<string, Lie<DealerView>>> = {
  'reshares another secret': {
    named: 'malformed-dealing',
    send: (view) => [
      forgeDealing(view.ceremony, view.index, view.random, { coefficients: pick(view.random, view.ceremony.threshold) }),
    ],
  },
}

function inverseOf(value: bigint): Scalar {
  let [base, exponent, result] = [value, 2n ** 252n + 27742317777372353535851937790883648493n - 2n, 1n]
  for (; exponent > 0n; exponent >>= 1n) {
    if ((exponent & 1n) === 1n) result = multiply(result, base)
    base = multiply(base, base)
  }
  return result
}

export interface ReceiverView {
  readonly ceremony: Ceremony
  readonly index: number
  readonly random: Random
  readonly honest: Uint8Array
  readonly transcript: Uint8Array
  readonly complaints: readonly Complaint[]
  readonly encryptionKey: Secret
  /** A dealing of an honest dealer that stands. */
  readonly target: Dealing | undefined
}

function answerWith({ ceremony, index, transcript }: ReceiverView, changes: Partial<Answer>): Uint8Array {
  return encodeAnswer(ceremony, { receiver: index, transcript, complaints: [], ...changes })
}

function complaintIn(view: ReceiverView, dealing: Dealing): Complaint {
  const receiver = view.ceremony.receivers.find(({ index }) => index === view.index)
  if (receiver === undefined) throw new Error('no receiver')
  return makeComplaint(view.ceremony, dealing, receiver, view.encryptionKey)
}

export const RECEIVER_LIES: Readonly<Record<string, Lie<ReceiverView>>> = {
  'answers nothing': { named: 'silent-receiver', send: () => [] },
  'complains about a good share': {
    named: 'false-complaint',
    send: (view) => (view.target === undefined ? [] : [answerWith(view, { complaints: [complaintIn(view, view.target)] })]),
  },
  'opens something else in its complaint': {
    named: 'unproven-complaint',
    send: (view) => {
      if (view.target === undefined) return []
      const secret = randomScalar(view.random)
      const sharedPoint = ristretto.multiply(view.target.ephemeral, secret)
      const statement = {
        leftBase: ristretto.base,
        left: ristretto.multiplyBase(secret),
        rightBase: view.target.ephemeral,
        right: sharedPoint,
        label: 'RINGWALL_THRESHOLD_COMPLAINT_V1',
        context: [view.ceremony.id],
      }
      const proof = proveEquality(statement, secret, randomScalar(view.random))
      return [answerWith(view, { complaints: [{ dealer: view.target.dealer, sharedPoint, proof }] })]
    },
  },
  'saw another transcript': {
    named: 'wrong-transcript',
    send: (view) => [answerWith(view, { transcript: randomBytes(view.random, 32) })],
  },
  'complains about nobody': {
    named: 'wrong-transcript',
    send: (view) => {
      if (view.target === undefined) return []
      const complaint = { ...complaintIn(view, view.target), dealer: 60_000 }
      return [answerWith(view, { complaints: [complaint] })]
    },
  },
  'complains out of order': {
    named: 'malformed-answer',
    send: (view) => {
      if (view.target === undefined) return []
      const complaint = complaintIn(view, view.target)
      return view.ceremony.dealers.length < 2 ? [] : [answerWith(view, { complaints: [complaint, complaint] })]
    },
  },
  'answers garbage': {
    named: 'malformed-answer',
    send: ({ honest, random }) => [
      random.chance(0.5) ? honest.slice(0, random.whole(37, honest.length - 1)) : Uint8Array.from([...honest, 7]),
    ],
  },
  'answers twice': {
    named: 'equivocation',
    send: (view) => [view.honest, answerWith(view, { transcript: randomBytes(view.random, 32) })],
  },
}

export interface CommitView {
  readonly random: Random
  readonly share: KeyShare
  readonly honest: Uint8Array
}

export const COMMIT_LIES: Readonly<Record<string, Lie<CommitView>>> = {
  'commits to bad points': {
    named: 'malformed-commitments',
    send: ({ honest, random }) => {
      const body = honest.slice()
      const { LOW_ORDER, IDENTITY } = usedArithmetic()
      const point = random.pick([LOW_ORDER, IDENTITY, new Uint8Array(32).fill(255)])
      body.set(point, body.length - 32)
      return [body]
    },
  },
  'commits in the name of another': {
    named: 'malformed-commitments',
    send: ({ honest }) => {
      const body = honest.slice()
      body[38] = (body[38] as number) + 1
      return [body]
    },
  },
  'commits to two things under one number': {
    named: 'equivocation',
    send: ({ share, honest, random }) => {
      const pair = new NoncePair(randomBytes(random, 64), share.secret)
      const first = new DataView(honest.buffer, honest.byteOffset).getUint32(39)
      return [honest, encodeCommitments(share.publicKey, { index: share.index, first, commitments: [pair.commitment] })]
    },
  },
}

export interface ShareView {
  readonly random: Random
  readonly share: KeyShare
  readonly request: SigningRequest
  readonly honest: Uint8Array
  /** What it signed before, and what others sent. */
  readonly before: readonly Uint8Array[]
  readonly others: readonly Uint8Array[]
}

export const SHARE_LIES: Readonly<Record<string, Lie<ShareView>>> = {
  'sends a wrong signature share': {
    named: 'bad-signature-share',
    send: ({ share, honest }) => {
      const sent = decodeSignatureShare(share.publicKey, share.index, honest)
      return [encodeSignatureShare(share.publicKey, { ...sent, share: add(sent.share, 1n) })]
    },
  },
  'sends zero as its signature share': {
    named: 'bad-signature-share',
    send: ({ share, honest }) => {
      const sent = decodeSignatureShare(share.publicKey, share.index, honest)
      return [encodeSignatureShare(share.publicKey, { ...sent, share: 0n })]
    },
  },
  'answers a request with an earlier share': {
    named: 'bad-signature-share',
    send: ({ share, honest, before, random }) => {
      const sent = decodeSignatureShare(share.publicKey, share.index, honest)
      const earlier = before[0]
      const value =
        earlier === undefined ? randomScalar(random) : decodeSignatureShare(share.publicKey, share.index, earlier).share
      return [encodeSignatureShare(share.publicKey, { ...sent, share: value })]
    },
  },
  'replays an earlier signature share': { named: undefined, send: ({ before }) => before.slice(0, 1) },
  'sends no signature share': { named: undefined, send: () => [] },
  'spells its signature share otherwise': {
    named: 'malformed-signature-share',
    send: ({ honest }) => {
      const body = honest.slice()
      body.set(spelledOtherwise(body.slice(-32)), body.length - 32)
      return [body]
    },
  },
  'sends the signature share of another': {
    named: 'malformed-signature-share',
    send: ({ others, honest }) => [others[0] ?? honest.slice(0, -1)],
  },
}

export interface PartialView {
  readonly random: Random
  readonly share: KeyShare
  readonly capsule: Uint8Array
  readonly honest: Uint8Array
  readonly others: readonly Uint8Array[]
}

function encodePartial({ share, capsule }: PartialView, value: Element, a: Element, b: Element, z: Scalar): Uint8Array {
  const { digest } = verifyCapsule(share.publicKey, capsule)
  const writer = new Writer('partial', share.publicKey.id).fixed(digest).index(share.index)
  return writer.element(ristretto, value).element(ristretto, a).element(ristretto, b).scalar(z).done()
}

export const PARTIAL_LIES: Readonly<Record<string, Lie<PartialView>>> = {
  'decrypts to another point': {
    named: 'bad-partial',
    send: (view) => {
      const { value, a, b, z } = decodePartial(view.share.publicKey, view.share.index, view.honest)
      return [encodePartial(view, ristretto.add(value, ristretto.base), a, b, z)]
    },
  },
  'decrypts with another share': {
    named: 'bad-partial',
    send: (view) => {
      const { publicKey, index } = view.share
      // All there is of a share but its check: what is made with it is consistent, and of the wrong secret.
      const stranger = { publicKey, index, secret: Secret.fromScalar(randomScalar(view.random)) } as unknown as KeyShare
      return [makePartial(stranger, verifyCapsule(publicKey, view.capsule))]
    },
  },
  'proves half of its partial decryption': {
    named: 'bad-partial',
    send: (view) => {
      const { publicKey, index, secret } = view.share
      const capsule = verifyCapsule(publicKey, view.capsule)
      const nonce = randomScalar(view.random)
      const [a, b] = [ristretto.multiplyBase(nonce), ristretto.multiply(capsule.u, nonce)]
      const value = ristretto.add(ristretto.multiply(capsule.u, secret.reveal()), ristretto.base)
      const challenge = partialChallenge(publicKey, capsule, { index, value, a, b })
      return [encodePartial(view, value, a, b, add(nonce, multiply(challenge, secret.reveal())))]
    },
  },
  'proves its partial decryption wrongly': {
    named: 'bad-partial',
    send: (view) => {
      const { value, a, b, z } = decodePartial(view.share.publicKey, view.share.index, view.honest)
      return [encodePartial(view, value, a, b, add(z, 1n))]
    },
  },
  'replays the partial decryption of another capsule': {
    named: undefined,
    send: (view) => {
      const { publicKey } = view.share
      const { capsule } = encapsulate(publicKey, new Uint8Array(1), randomBytes(view.random, 32))
      return [makePartial(view.share, verifyCapsule(publicKey, capsule))]
    },
  },
  'passes that off as one of this capsule': {
    named: 'bad-partial',
    send: (view) => {
      const { publicKey, index } = view.share
      const { capsule } = encapsulate(publicKey, new Uint8Array(1), randomBytes(view.random, 32))
      const { value, a, b, z } = decodePartial(publicKey, index, makePartial(view.share, verifyCapsule(publicKey, capsule)))
      return [encodePartial(view, value, a, b, z)]
    },
  },
  'decrypts nothing': { named: undefined, send: () => [] },
  'decrypts in the name of another': {
    named: 'malformed-partial',
    send: ({ others, honest }) => [others[0] ?? honest.slice(0, -1)],
  },
  'decrypts to the identity': {
    named: 'malformed-partial',
    send: ({ honest }) => {
      const body = honest.slice()
      body.set(usedArithmetic().RISTRETTO_IDENTITY, 37 + 32 + 2)
      return [body]
    },
  },
}

/** A lie told by nobody: so that stages without one are possible. */
export const HONEST = 'is honest'

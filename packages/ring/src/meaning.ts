/**
 * What a transaction may do: checked by every validator before it votes. Each refusal has a stable code and a sentence
 * that says what to do. Signature, ring and time are checked in `application.ts`.
 */
import { formatAddress, formatPrefix, isSource, type Prefix, parseAddress, parsePrefix, parsePrefixLoosely } from './address.ts'
import { type NodeRefusalCode, refusalOfEvidence, refusalOfNodeAddition, refusalOfNodeRemoval, type Verify } from './nodes.ts'
import type { Policy } from './policy.ts'
import { prefixSetOf } from './prefix-set.ts'
import { DENIALS_MAX, type RingState } from './state.ts'
import { subjectId } from './tx.ts'
import type { Denial, DenialSubject, TxBody, TxContent } from './types.ts'

/** Longest policy text, bytes of UTF-8: leaves room for the rest of a transaction of 256 KiB. */
export const POLICY_BYTES_MAX = 245_760
const TTL_MS_MIN = 1_000

export type RefusalCode =
  | 'TX_MALFORMED'
  | 'RING_MISMATCH'
  | 'ISSUER_UNKNOWN'
  | 'SIGNATURE_INVALID'
  | 'TX_LAPSED'
  | 'TX_EARLY'
  | 'TX_LIFETIME'
  | 'TX_REPLAYED'
  | 'NOT_ENTITLED'
  | 'POLICY_CONFLICT'
  | 'POLICY_TOO_LARGE'
  | 'POLICY_INVALID'
  | 'TTL_OUT_OF_RANGE'
  | 'DENIAL_OVER'
  | 'SUBJECT_INVALID'
  | 'PREFIX_TOO_WIDE'
  | 'SUBJECT_SAFE'
  | 'SERVICE_UNKNOWN'
  | 'QUOTA_EXCEEDED'
  | 'DENIALS_FULL'
  | 'DENIAL_ID_TAKEN'
  | 'NOT_DENIED'
  | NodeRefusalCode
  | 'INTERNAL'

export interface Refusal {
  readonly code: RefusalCode
  readonly reason: string
}

/** How the policy in force and a proposed one are read. */
export interface PolicyReader {
  inForce(state: RingState): Policy
  /** Sentences, empty when the text is a policy that compiles. */
  problems(text: string): readonly string[]
}

export interface Meeting {
  readonly state: RingState
  readonly content: TxContent
  readonly issuer: { readonly kind: 'operator' | 'node'; readonly name: string }
  readonly nowMs: number
  /** That the block began in, or the state's own where there is no block. */
  readonly epoch: number
  /** Base64url: a node must not have an operator's key. */
  readonly operatorKeys: ReadonlySet<string>
}

function refuse(code: RefusalCode, reason: string): Refusal {
  return { code, reason }
}

/** Undefined when the statement may be applied. */
export function refusalOf(meeting: Meeting, reader: PolicyReader, verify: Verify): Refusal | undefined {
  const { body } = meeting.content
  if (body.type === 'evidence') return refusalOfEvidence(meeting, body, verify)
  if (body.type === 'deny.add') return refusalOfDenial(meeting, body, reader.inForce(meeting.state))
  if (meeting.issuer.kind !== 'operator') {
    return refuse('NOT_ENTITLED', `${body.type} needs an operator’s signature; a node may only propose deny.add and evidence`)
  }
  if (body.type === 'deny.remove') return refusalOfRemoval(meeting, body)
  if (body.type === 'node.add') return refusalOfNodeAddition(meeting, body.node)
  if (body.type === 'node.remove') return refusalOfNodeRemoval(meeting, body.id)
  return refusalOfPolicy(meeting, body, reader)
}

function refusalOfPolicy(
  { state }: Meeting,
  { policy, expectVersion }: Extract<TxBody, { type: 'policy.set' }>,
  reader: PolicyReader,
): Refusal | undefined {
  if (expectVersion !== state.policyVersion) {
    const versions = `version ${state.policyVersion} is in force, the proposal was made against version ${expectVersion}`
    return refuse('POLICY_CONFLICT', `the policy has changed: ${versions}; plan again and apply`)
  }
  // Code units times three bounds the bytes from above; the exact count is taken only near the bound.
  const bytes = policy.length * 3 > POLICY_BYTES_MAX ? new TextEncoder().encode(policy).length : policy.length
  if (bytes > POLICY_BYTES_MAX)
    return refuse('POLICY_TOO_LARGE', `the policy has ${bytes} bytes, at most ${POLICY_BYTES_MAX} are allowed`)
  const problems = reader.problems(policy)
  if (problems.length === 0) return undefined
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : ''
  return refuse('POLICY_INVALID', `the policy is not valid: ${problems.slice(0, 5).join('; ')}${more}`.slice(0, 2_000))
}

function refusalOfRemoval({ state, nowMs }: Meeting, { id }: Extract<TxBody, { type: 'deny.remove' }>): Refusal | undefined {
  const denial = state.denial(id)
  if (denial !== undefined && denial.expiresAtMs > nowMs) return undefined
  return refuse('NOT_DENIED', `no denial ${id} is in force; list the denials to find its id`)
}

function refusalOfDenial(
  { state, content, issuer, nowMs }: Meeting,
  { subject, ttlMs }: Extract<TxBody, { type: 'deny.add' }>,
  policy: Policy,
): Refusal | undefined {
  const { ttlMax, nodeTtlMax, nodePerHour } = policy.denials
  const byNode = issuer.kind === 'node'
  const most = byNode ? Math.min(nodeTtlMax, ttlMax) : ttlMax
  if (ttlMs < TTL_MS_MIN || ttlMs > most) {
    const who = byNode ? 'a node' : 'an operator'
    return refuse(
      'TTL_OUT_OF_RANGE',
      `${who} may deny for 1 s to ${most / 1_000} s, not ${ttlMs / 1_000} s; see denials in the policy`,
    )
  }
  if (byNode && subject.kind !== 'ip' && subject.kind !== 'account') {
    return refuse('NOT_ENTITLED', `a node may deny an ip or an account, not a ${subject.kind}; ask an operator to sign it`)
  }
  const wrong = refusalOfSubject(subject, policy)
  if (wrong !== undefined) return wrong
  if (content.atMs + ttlMs <= nowMs) return refuse('DENIAL_OVER', 'the denial would be over already; sign it again')
  if (byNode && state.usedInHour(content.issuer, nowMs) >= nodePerHour) {
    return refuse(
      'QUOTA_EXCEEDED',
      `${content.issuer} has proposed ${nodePerHour} denials within the hour; raise denials.nodePerHour or wait`,
    )
  }
  const before = state.denial(subjectId(subject))
  if (before === undefined && state.denials.size >= DENIALS_MAX) {
    return refuse('DENIALS_FULL', `the ring holds ${DENIALS_MAX} denials; remove some, or deny prefixes instead of addresses`)
  }
  if (before !== undefined && subjectId(before.subject) === subjectId(subject) && !sameSubject(before.subject, subject)) {
    return refuse('DENIAL_ID_TAKEN', 'another subject has this id already; deny a prefix that holds this one')
  }
  return undefined
}

function sameSubject(a: DenialSubject, b: DenialSubject): boolean {
  return (
    a.kind === b.kind &&
    a.value === b.value &&
    (a.kind === 'account' ? a.service : '') === (b.kind === 'account' ? b.service : '')
  )
}

function refusalOfSubject(subject: DenialSubject, policy: Policy): Refusal | undefined {
  if (subject.kind === 'account') {
    if (Object.hasOwn(policy.services, subject.service)) return undefined
    return refuse('SERVICE_UNKNOWN', `the policy has no service ${subject.service}; name one of its services`)
  }
  if (subject.kind !== 'ip' && subject.kind !== 'cidr') return undefined
  const prefix = subject.kind === 'ip' ? addressOf(subject.value) : prefixOf(subject.value)
  if ('code' in prefix) return prefix
  const least = prefix.version === 4 ? policy.denials.prefixMinV4 : policy.denials.prefixMinV6
  if (prefix.length < least) {
    return refuse(
      'PREFIX_TOO_WIDE',
      `/${prefix.length} is too wide: at least /${least} for IPv${prefix.version}; split it, or change denials in the policy`,
    )
  }
  if (!isSource(prefix)) {
    return refuse('SUBJECT_INVALID', `${subject.value} is no address that requests come from (unspecified or multicast)`)
  }
  if (prefixSetOf(policy.denials.safe).overlaps(prefix)) {
    return refuse('SUBJECT_SAFE', `${subject.value} overlaps the safe list; change denials.safe in the policy first`)
  }
  return undefined
}

function addressOf(value: string): Prefix | Refusal {
  const address = parseAddress(value)
  if (address === undefined) return refuse('SUBJECT_INVALID', `${value} is no IP address`)
  const canonical = formatAddress(address)
  if (canonical !== value) return refuse('SUBJECT_INVALID', `${value} must be written as ${canonical}`)
  return { ...address, length: address.words.length * 32 }
}

function prefixOf(value: string): Prefix | Refusal {
  const prefix = parsePrefix(value)
  const loose = prefix ?? parsePrefixLoosely(value)
  if (loose === undefined) return refuse('SUBJECT_INVALID', `${value} is no CIDR prefix; write ADDRESS/LENGTH`)
  // One subject, one id: a prefix of full length is an ip.
  if (loose.length === loose.words.length * 32) return refuse('SUBJECT_INVALID', `${value} is one address: deny it as ip`)
  const canonical = formatPrefix(loose)
  return canonical === value ? loose : refuse('SUBJECT_INVALID', `${value} must be written as ${canonical}`)
}

/**
 * The denial that a `deny.add` states, as of a height; undefined height while provisional. It lasts from when it was
 * signed, not from when it was agreed, so that all who hear of it agree on its end.
 */
export function denialOf(content: TxContent, height: number | undefined): Denial | undefined {
  const { body } = content
  if (body.type !== 'deny.add') return undefined
  return {
    id: subjectId(body.subject),
    subject: body.subject,
    reason: body.reason,
    issuer: content.issuer,
    issuedAtMs: content.atMs,
    expiresAtMs: content.atMs + body.ttlMs,
    height,
  }
}

/**
 * Two denials of one subject become the one that lasts longer; between equals a fixed order decides. The join is
 * commutative, associative and idempotent: the order of denials changes nothing. The earliest height stays.
 */
export function joinDenials(a: Denial, b: Denial): Denial {
  const rank = ({ expiresAtMs, issuedAtMs, issuer, reason }: Denial) => [expiresAtMs, issuedAtMs, issuer, reason] as const
  const [left, right] = [rank(a), rank(b)]
  const at = left.findIndex((value, index) => value !== right[index])
  const stays = at < 0 || left[at]! > right[at]! ? a : b
  const height = Math.min(a.height ?? Number.POSITIVE_INFINITY, b.height ?? Number.POSITIVE_INFINITY)
  return { ...stays, height: height === Number.POSITIVE_INFINITY ? undefined : height }
}

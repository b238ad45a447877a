/**
 * What a transaction may do: checked by every validator before it votes. Each refusal has a stable code and a sentence
 * that says what to do. Signature, ring and time are checked in `application.ts`.
 */
import { formatAddress, formatPrefix, isSource, type Prefix, parseAddress, parsePrefix, parsePrefixLoosely } from './address.ts'
import { approvalsNeeded, approvedAs } from './approvals.ts'
import type { VerifiedAsker } from './asker.ts'
import { isLapsed } from './attestation.ts'
import type { QuoteReader } from './attestation-statements.ts'
import { canonicalJson } from './canonical-json.ts'
import { corroborationOf, liveStatements, PENDING_DENIALS_MAX, PENDING_PER_ISSUER_MAX } from './corroboration.ts'
import { isCredentialSubject, joinSubjects } from './credential.ts'
import { isEnrolmentStatement } from './enrolment-parse.ts'
import {
  type EnrolmentMeans,
  type EnrolmentRefusalCode,
  type EnrolmentStatement,
  refusalOfEnrolment,
  type VoucherReader,
} from './enrolment-statements.ts'
import type { CsrReader } from './est.ts'
import { type FleetRefusalCode, isFleetStatement, refusalOfFleet } from './fleet-statements.ts'
import { isLeaseStatement, type LeaseRefusalCode, refusalOfLease, refusalOfLeaseWork } from './leases.ts'
import { isOverAge } from './node-age.ts'
import { type DiskRefusalCode, refusalOfDiskSeal, refusalOfWipeReceipt } from './node-disks.ts'
import { type NodeRefusalCode, refusalOfEvidence, refusalOfNodeAddition, refusalOfNodeRemoval, type Verify } from './nodes.ts'
import { type ObjectRefusalCode, refusalOfAccessKey, refusalOfObjectAct } from './object-acts.ts'
import type { SignedPass } from './pass-shape.ts'
import { endedBy, type PersonRefusalCode, refusalOfPersonStatement } from './person-statements.ts'
import { isPlayStatement, type PlayRefusalCode, type PlayStatement, refusalOfPlayStatement } from './play-statements.ts'
import type { Policy } from './policy.ts'
import { prefixSetOf } from './prefix-set.ts'
import { type KeyName, type KeyRefusalCode, refusalOfKeyStatement } from './ring-key.ts'
import { passHolder } from './service-pass.ts'
import { DENIALS_MAX, type RingState } from './state.ts'
import { isSignedByRing, readRingToken, ringIssuer } from './token-revocation.ts'
import { isTransitStatement, refusalOfTransitStatement, type TransitRefusalCode } from './transit-statements.ts'
import { parseIssuer, subjectId } from './tx.ts'
import type { Denial, DenialSubject, RingNode, RingOperator, TxBody, TxContent } from './types.ts'
import { refusalOfVaultStatement, type VaultRefusalCode, type VaultStatement } from './vault-statements.ts'

/** Longest policy text, bytes of UTF-8: leaves room for the rest of a transaction of 256 KiB. */
export const POLICY_BYTES_MAX = 245_760
const TTL_MS_MIN = 1_000
/** What is redeemed leaves room for what is denied. */
const DENIALS_WITH_USES_MAX = DENIALS_MAX / 2

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
  | 'TOKEN_ISSUER_UNKNOWN'
  | 'PREFIX_TOO_WIDE'
  | 'SUBJECT_SAFE'
  | 'SERVICE_UNKNOWN'
  | 'QUOTA_EXCEEDED'
  | 'DENIALS_FULL'
  | 'PENDING_FULL'
  | 'DENIAL_ID_TAKEN'
  | 'NOT_DENIED'
  | NodeRefusalCode
  | EnrolmentRefusalCode
  | KeyRefusalCode
  | 'KEY_IN_USE'
  | 'VAULT_PASS'
  | VaultRefusalCode
  | TransitRefusalCode
  | LeaseRefusalCode
  | ObjectRefusalCode
  | PlayRefusalCode
  | DiskRefusalCode
  | FleetRefusalCode
  | PersonRefusalCode
  | 'TOKEN_UNKNOWN'
  | 'TOKEN_USED'
  | 'APPROVAL_UNKNOWN'
  | 'APPROVAL_REPEATED'
  | 'APPROVALS_FULL'
  | 'INTERNAL'

export interface Refusal {
  readonly code: RefusalCode
  readonly reason: string
}

/** How the policy in force and a proposed one are read. */
export interface PolicyReader {
  inForce(state: RingState): Policy
  /**
   * Sentences, empty when the text is a policy that compiles and asks for nothing that the ring has not; with `isRehearsed`,
   * also when its own tests pass and its rules are within their budget.
   */
  problems(
    text: string,
    ring: Pick<Meeting, 'members' | 'operators' | 'nowMs'> & { readonly state?: RingState },
    isRehearsed: boolean,
  ): readonly string[]
  /** Undefined when it is none. */
  policyOf(text: string): Policy | undefined
}

export interface Meeting {
  readonly state: RingState
  readonly content: TxContent
  readonly issuer: { readonly kind: 'operator' | 'node'; readonly name: string }
  /** `subjectId` of what a `deny.add` denies. */
  readonly denialId: string | undefined
  /** What its subject came to before, where that is kept. */
  readonly memo?: SubjectMemo | undefined
  readonly nowMs: number
  /** That the block began in, or the state's own where there is no block. */
  readonly epoch: number
  /** Base64url: a node must not have an operator's key. */
  readonly operatorKeys: ReadonlySet<string>
  /** Judged by a quorum already: what depends on the rules that this node has is not judged again. */
  readonly isCertified: boolean
  /** The nodes of the ring. */
  readonly members: readonly RingNode[]
  readonly operators: readonly RingOperator[]
  readonly verify: Verify
  readonly voucher: VoucherReader | undefined
  readonly quote: QuoteReader | undefined
  readonly csr: CsrReader | undefined
}

function refuse(code: RefusalCode, reason: string): Refusal {
  return { code, reason }
}

/** Undefined when the statement may be applied. */
export function refusalOf(meeting: Meeting, reader: PolicyReader): Refusal | undefined {
  const { verify } = meeting
  const { body } = meeting.content
  const lapsed = refusalOfLapsed(meeting, reader)
  if (lapsed !== undefined) return lapsed
  if (isPlayStatement(body)) return refusalOfPlay(meeting, body, reader.inForce(meeting.state))
  if (body.type === 'evidence') return refusalOfEvidence(meeting, body, verify)
  if (body.type === 'deny.add') return refusalOfDenial(meeting, body, reader.inForce(meeting.state))
  if (body.type === 'deny.withdraw') return refusalOfWithdrawal(meeting, body.id)
  if (body.type === 'token.revoke') return refusalOfRevocation(meeting, body.token, verify)
  if (body.type === 'token.use') return refusalOfUse(meeting, body.token, verify)
  if (body.type === 'person.enrol')
    return refusalOfPersonStatement(meeting.state.people, meeting.content, body, meeting.nowMs, verify)
  if (body.type === 'key.enrol' || body.type === 'key.deal' || body.type === 'key.answer') {
    const { state, issuer } = meeting
    if (issuer.kind === 'node') return refusalOfKeyStatement(state.key(body.key), body, issuer.name, state.validators)
    return refuse('NOT_ENTITLED', `${body.type} is for the nodes that hold the key; ask for a ceremony with key refresh`)
  }
  if (
    body.type === 'node.join' ||
    body.type === 'device.join' ||
    body.type === 'attest.quote' ||
    body.type === 'attest.enrol' ||
    body.type === 'est.enrol'
  ) {
    if (meeting.issuer.kind === 'node') return refusalOfEnrolment(meeting, body, enrolmentMeans(meeting, reader))
    return refuse('NOT_ENTITLED', `${body.type} is for nodes; an operator lets one in with node.add`)
  }
  if (body.type === 'disk.seal') {
    const { state, content, issuer, nowMs } = meeting
    if (issuer.kind === 'node') return refusalOfDiskSeal(state, content, body, issuer.name, nowMs)
    return refuse('NOT_ENTITLED', 'disk.seal is for nodes, each about its own disk')
  }
  if (body.type === 'object.act')
    return refusalOfObjectAct(meeting.state, meeting.content.ring, body, reader.inForce(meeting.state), meeting.nowMs, verify)
  if (body.type === 'node.wiped') return refusalOfWipeReceipt(meeting.state, meeting.content, body, verify)
  if (body.type === 'fleet.report') {
    if (meeting.issuer.kind === 'node') return refusalOfFleet(meeting, body, reader.inForce(meeting.state).fleet)
    return refuse('NOT_ENTITLED', 'fleet.report is for nodes, each about itself')
  }
  if (body.type === 'lease.done') {
    if (meeting.issuer.kind === 'node') return refusalOfLeaseWork(meeting.state.leases, body)
    return refuse('NOT_ENTITLED', 'lease.done is for nodes; end a lease with lease.revoke')
  }
  if (isLeaseStatement(body)) {
    const asker = askerOf(meeting, body)
    if ('code' in asker) return asker
    return refusalOfLease(meeting.state, body, asker, reader.inForce(meeting.state), meeting.nowMs)
  }
  if (body.type === 'vault.put' || body.type === 'vault.hide') return refusalOfVault(meeting, body, reader)
  if (body.type === 'vault.delete' && body.pass !== undefined) {
    if (neededFor(meeting.state, body, reader) <= 1) return refusalOfVault(meeting, body, reader)
    return refuse('NOT_ENTITLED', 'the policy has several operators approve what is deleted: no service deletes')
  }
  if (meeting.issuer.kind !== 'operator') {
    const may =
      'a node may only propose play.start, deny.add, deny.withdraw, token.revoke, token.use, person.enrol, evidence, joins, what concerns its own disk, what it measured of itself and what it runs, object.act, and its part in the ceremonies of keys'
    return refuse('NOT_ENTITLED', `${body.type} needs an operator’s signature; ${may}`)
  }
  if (body.type === 'access.put' || body.type === 'access.remove')
    return refusalOfAccessKey(meeting.state, body, reader.inForce(meeting.state))
  if (isFleetStatement(body) && body.type !== 'release.add')
    return refusalOfFleet(meeting, body, reader.inForce(meeting.state).fleet)
  if (isTransitStatement(body) && body.type !== 'transit.delete')
    return refusalOfTransitStatement(meeting.state, body, meeting.issuer.name, reader.inForce(meeting.state))
  if (body.type === 'person.put' || body.type === 'person.reset' || body.type === 'person.remove')
    return refusalOfPersonStatement(meeting.state.people, meeting.content, body, meeting.nowMs, verify)
  if (body.type === 'tx.approve') return refusalOfApproval(meeting, body, reader)
  return refusalOfStatement(meeting, reader) ?? refusalOfWaiting(meeting, reader)
}

/** What proves itself, and what the others need of it, counts of anybody. */
const OF_ANYBODY: readonly TxBody['type'][] = [
  'attest.quote',
  'attest.enrol',
  'evidence',
  'key.enrol',
  'key.deal',
  'key.answer',
  'node.wiped',
]

/** No fresh quote, no trust: what such a node says counts again once it has attested. */
function refusalOfLapsed({ state, issuer, content, nowMs }: Meeting, reader: PolicyReader): Refusal | undefined {
  if (issuer.kind !== 'node' || OF_ANYBODY.includes(content.body.type)) return undefined
  const age = reader.inForce(state).fleet
  if (isOverAge(state, age, issuer.name, nowMs))
    return refuse(
      'NODE_AGED',
      `${issuer.name} is older than fleet.maxAge allows: nothing that it says counts. Set it up anew, or replace it: ringwall node rm`,
    )
  if (!isLapsed(state.enrolment.trust, issuer.name, nowMs)) return undefined
  return refuse(
    'TRUST_LAPSED',
    `${issuer.name} has not attested in time: until it does, nothing that it says counts. See ringwall device trust`,
  )
}

/** What one node starts counts as what it denies: there is a bound for an hour. */
function refusalOfPlay({ state, content, issuer, nowMs }: Meeting, body: PlayStatement, policy: Policy): Refusal | undefined {
  const isQuotaUsed = issuer.kind === 'node' && state.usedInHour(content.issuer, nowMs) >= policy.denials.nodePerHour
  if (body.type === 'play.start' && isQuotaUsed)
    return refuse('QUOTA_EXCEEDED', `${content.issuer} has started or denied as much as it may in an hour`)
  return refusalOfPlayStatement(state, body, issuer, policy, nowMs)
}

/** Why a run of a playbook may not deny a subject; undefined: it may. */
export function subjectFault(state: RingState, subject: DenialSubject, policy: Policy, ring: string): string | undefined {
  if (state.denials.size >= DENIALS_MAX) return 'the ring holds as many denials as it can'
  return refusalOfSubject(subject, policy, ring)?.reason
}

/** Of what operators state, now: when it is proposed, and again with each approval. */
function refusalOfStatement(meeting: Meeting, reader: PolicyReader): Refusal | undefined {
  const { body } = meeting.content
  if (body.type === 'deny.remove') return refusalOfRemoval(meeting, body)
  if (body.type === 'node.add') return refusalOfNodeAddition(meeting, body.node)
  if (body.type === 'node.remove' || body.type === 'node.wipe') return refusalOfNodeRemoval(meeting, body.id)
  if (body.type === 'policy.set') return refusalOfPolicy(meeting, body, reader)
  if (body.type === 'vault.delete') return refusalOfVault(meeting, body, reader)
  if (body.type === 'transit.delete')
    return refusalOfTransitStatement(meeting.state, body, meeting.issuer.name, reader.inForce(meeting.state))
  if (body.type === 'release.add') return refusalOfFleet(meeting, body, reader.inForce(meeting.state).fleet)
  if (body.type === 'cache.purge') return refusalOfPurge(meeting.state, body.service, reader)
  if (isEnrolmentStatement(body))
    return refusalOfEnrolment(meeting, body, enrolmentMeans(meeting, reader)) ?? refusalOfParting(meeting, body)
  if (body.type === 'key.refresh' || body.type === 'key.rotate') return refusalOfAsked(meeting.state, body)
  return refuse('NOT_ENTITLED', `${body.type} is nothing that waits for approvals`)
}

/** Of a ceremony that is asked for. */
export function refusalOfAsked(
  state: RingState,
  body: { readonly type: 'key.refresh' | 'key.rotate'; readonly key: KeyName; readonly reason: string },
): Refusal | undefined {
  if (body.type === 'key.rotate' && body.key === 'sealing') {
    const keys = state.transit.filter(({ use }) => use !== 'sign').map(({ name }) => name)
    const { size, accessKeyCount } = state.objects
    const held =
      state.vault.sealed > 0
        ? `${state.vault.sealed} versions of secrets are sealed to it, and nothing else opens them`
        : keys.length > 0
          ? `${keys.length} keys of the transit rest on it (${keys.slice(0, 3).join(', ')})`
          : size + accessKeyCount > 0
            ? `${size} versions of objects and ${accessKeyCount} access keys are sealed to it, and nothing else opens them`
            : undefined
    if (held !== undefined) return refuse('KEY_IN_USE', `${held}: delete them first, or make new shares with key refresh sealing`)
  }
  return refusalOfKeyStatement(state.key(body.key), body, '', state.validators)
}

function refusalOfPurge(state: RingState, service: string, reader: PolicyReader): Refusal | undefined {
  const { services } = reader.inForce(state)
  if (Object.hasOwn(services, service)) return undefined
  return refuse('SERVICE_UNKNOWN', `the policy has no service ${service}; it has ${Object.keys(services).join(', ')}`)
}

export function enrolmentMeans(
  meeting: Pick<Meeting, 'state' | 'verify' | 'voucher' | 'quote' | 'csr'>,
  reader: PolicyReader,
): EnrolmentMeans {
  const { state, verify, voucher, quote, csr } = meeting
  const { devices, fleet } = reader.inForce(state)
  return { verify, voucher, quote, csr, policy: devices, fleet }
}

/** A device that goes takes its node along. */
function refusalOfParting(meeting: Meeting, body: EnrolmentStatement): Refusal | undefined {
  if (body.type !== 'device.remove' && body.type !== 'device.transfer') return undefined
  const node = meeting.state.enrolment.device(body.serial)?.node ?? undefined
  return node === undefined || meeting.state.node(node) === undefined ? undefined : refusalOfNodeRemoval(meeting, node)
}

/** The operator who signed it, or the service whose pass a node shows. */
function askerOf(
  { state, content, issuer: { kind, name }, nowMs, verify }: Meeting,
  { type, pass }: { readonly type: string; readonly pass?: SignedPass },
): VerifiedAsker | Refusal {
  if (pass === undefined) {
    if (kind === 'operator') return { kind, name }
    return refuse('NOT_ENTITLED', `${type} needs an operator’s signature, or the pass of a service`)
  }
  const holder = passHolder(state, content, pass, nowMs, verify)
  return 'fault' in holder ? refuse('VAULT_PASS', holder.fault) : { kind: 'service', name: holder.service }
}

function refusalOfVault(meeting: Meeting, body: VaultStatement, reader: PolicyReader): Refusal | undefined {
  const { state, content, nowMs } = meeting
  const asker = askerOf(meeting, body)
  if ('code' in asker) return asker
  return refusalOfVaultStatement(state, content, body, asker, reader.inForce(state), nowMs)
}

/** How many operators must have signed the statement, by the policy in force. */
export function neededFor(state: RingState, body: TxBody, reader: PolicyReader): number {
  if (approvedAs(body.type) === undefined) return 1
  const proposed = body.type === 'policy.set' ? reader.policyOf(body.policy) : undefined
  return approvalsNeeded(reader.inForce(state), body, proposed)
}

function refusalOfWaiting({ state, content, nowMs }: Meeting, reader: PolicyReader): Refusal | undefined {
  if (neededFor(state, content.body, reader) <= 1 || state.approvals.hasRoomFor(content.issuer, nowMs)) return undefined
  return refuse('APPROVALS_FULL', 'too much waits for approvals already; have some of it approved, or let it lapse')
}

function refusalOfApproval(
  meeting: Meeting,
  { id }: Extract<TxBody, { type: 'tx.approve' }>,
  reader: PolicyReader,
): Refusal | undefined {
  const { state, content, nowMs } = meeting
  const waiting = state.approvals.get(id, nowMs)
  if (waiting === undefined)
    return refuse('APPROVAL_UNKNOWN', `nothing waits for approval as ${id.slice(0, 16)}…; list what does`)
  if (waiting.content.issuer === content.issuer || waiting.approvedBy.includes(content.issuer)) {
    return refuse('APPROVAL_REPEATED', `${content.issuer} has signed this already; it takes another operator`)
  }
  const issuer = parseIssuer(waiting.content.issuer) as Meeting['issuer']
  const now = refusalOfStatement({ ...meeting, content: waiting.content, issuer }, reader)
  return now === undefined ? undefined : refuse(now.code, `what it approves can no longer be applied: ${now.reason}`)
}

function refusalOfPolicy(
  { state, members, operators, isCertified, nowMs }: Meeting,
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
  const problems = reader.problems(policy, { members, operators, nowMs, state }, !isCertified)
  if (problems.length === 0) return undefined
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : ''
  return refuse('POLICY_INVALID', `the policy is not valid: ${problems.slice(0, 5).join('; ')}${more}`.slice(0, 2_000))
}

function refusalOfRemoval({ state, nowMs }: Meeting, { id }: Extract<TxBody, { type: 'deny.remove' }>): Refusal | undefined {
  const denial = state.denial(id)
  if (denial !== undefined && denial.expiresAtMs > nowMs) return undefined
  const pending = state.pending.get(id)
  if (pending !== undefined && liveStatements(pending, nowMs).length > 0) return undefined
  return refuse('NOT_DENIED', `no denial ${id} is in force; list the denials to find its id`)
}

/** What a node said it may take back; what an operator said it may not. */
function refusalOfWithdrawal({ state, content, issuer, nowMs }: Meeting, id: string): Refusal | undefined {
  if (issuer.kind !== 'node')
    return refuse('NOT_ENTITLED', 'deny.withdraw is for nodes; an operator lifts a denial with deny.remove')
  const isPending = state.pending.get(id)?.statements.some((one) => one.issuer === content.issuer) === true
  const denial = state.denial(id)
  const isStanding = denial !== undefined && denial.expiresAtMs > nowMs && speakersOf(denial).includes(content.issuer)
  return isPending || isStanding
    ? undefined
    : refuse('NOT_DENIED', `${content.issuer} says nothing about ${id} that it could take back`)
}

function speakersOf({ issuer, statedBy }: Denial): readonly string[] {
  return statedBy ?? (issuer.startsWith('node:') ? [issuer] : [])
}

/**
 * A denial when a node takes back its word: it stands for as long as one of those who made it does not, since what several nodes agreed on
 * no single one undoes; and where an operator denied it as well. Undefined when nobody is left.
 */
export function withoutWordOf(denial: Denial, node: string): Denial | undefined {
  const speakers = speakersOf(denial)
  if (!speakers.includes(node)) return denial
  const left = speakers.filter((one) => one !== node)
  if (left.length > 0) return { ...denial, statedBy: left }
  return denial.operatorToo === true ? denial : undefined
}

function refusalOfDenial(
  { state, content, issuer, denialId, memo, nowMs, members }: Meeting,
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
  if (byNode && subject.kind !== 'ip' && subject.kind !== 'cidr' && subject.kind !== 'account') {
    return refuse(
      'NOT_ENTITLED',
      `a node may deny an ip, a cidr or an account, not a ${subject.kind}; ask an operator to sign it`,
    )
  }
  const wrong =
    judgedSubject(subject, policy, content.ring, memo) ??
    refusalOfMoment(subject, content.atMs) ??
    (byNode ? refusalOfNodePrefix(subject, policy) : undefined)
  if (wrong !== undefined) return wrong
  if (content.atMs + ttlMs <= nowMs) return refuse('DENIAL_OVER', 'the denial would be over already; sign it again')
  if (byNode && state.usedInHour(content.issuer, nowMs) >= nodePerHour) {
    return refuse(
      'QUOTA_EXCEEDED',
      `${content.issuer} has proposed ${nodePerHour} denials within the hour; raise denials.nodePerHour or wait`,
    )
  }
  const id = denialId ?? subjectId(subject)
  if (byNode && corroborationOf(policy, members).nodes > 1 && isPendingFull(state, id, content.issuer)) {
    return refuse('PENDING_FULL', 'too many statements wait for other nodes to say the same; they lapse by themselves')
  }
  const before = state.denial(id)
  if (before === undefined && state.denials.size >= DENIALS_MAX) {
    return refuse('DENIALS_FULL', `the ring holds ${DENIALS_MAX} denials; remove some, or deny prefixes instead of addresses`)
  }
  const waiting = state.pending.get(id)?.subject
  if (
    (before !== undefined && !sameSubject(before.subject, subject)) ||
    (waiting !== undefined && !sameSubject(waiting, subject))
  ) {
    return refuse('DENIAL_ID_TAKEN', 'another subject has this id already; deny a prefix that holds this one')
  }
  return undefined
}

function refusalOfRevocation({ state, content, nowMs }: Meeting, token: string, verify: Verify): Refusal | undefined {
  const read = readRingToken(content.ring, token)
  if (read === undefined || !isSignedByRing(token, state.signingKey, state.validators, verify))
    return refuse('TOKEN_UNKNOWN', 'this is no token that the ring signed; deny its id or subject as an operator')
  if (read.overAtMs <= nowMs) return refuse('DENIAL_OVER', 'the token has expired already')
  if (state.denial(subjectId({ kind: 'token', value: read.id })) === undefined && state.denials.size >= DENIALS_MAX)
    return refuse('DENIALS_FULL', `the ring holds ${DENIALS_MAX} denials; remove some`)
  return undefined
}

/** A token that serves once was shown by who redeems it. The second time is taken too: it ends the session. */
function refusalOfUse(meeting: Meeting, token: string, verify: Verify): Refusal | undefined {
  const { state, content, issuer, nowMs } = meeting
  if (issuer.kind !== 'node') return refuse('NOT_ENTITLED', 'token.use is for nodes that redeem tokens')
  const wrong = refusalOfRevocation(meeting, token, verify)
  if (wrong !== undefined) return wrong
  const session = readRingToken(content.ring, token)?.session
  if (session === undefined) return refuse('TOKEN_UNKNOWN', 'the token belongs to no session')
  if (state.denials.size >= DENIALS_WITH_USES_MAX)
    return refuse('DENIALS_FULL', `the ring holds ${DENIALS_WITH_USES_MAX} denials: until some end, no token is redeemed`)
  const ended = state.denial(subjectId(sessionSubject(content.ring, session.id)))
  if (ended !== undefined && ended.expiresAtMs > nowMs) return refuse('TOKEN_USED', 'its session is over already')
  return undefined
}

/** A node, as its certificates name it. */
export function nodeSubject(ring: string, id: string): DenialSubject {
  return { issuer: ringIssuer(ring), kind: 'subject', value: `spiffe://${ring}/node/${id}` }
}

export function sessionSubject(ring: string, value: string): DenialSubject {
  return { issuer: ringIssuer(ring), kind: 'session', value }
}

/** Of a `token.use` of a token that was used before: its session is denied. */
export function denialOfReuse(content: TxContent, height: number | undefined): Denial | undefined {
  return content.body.type === 'token.use' ? denialOfSession(content, height, 'a token that serves once came twice') : undefined
}

function denialOfSession(content: TxContent, height: number | undefined, reason: string): Denial | undefined {
  const { body } = content
  const isShown = body.type === 'token.use' || body.type === 'token.revoke'
  const session = isShown ? readRingToken(content.ring, body.token)?.session : undefined
  if (session === undefined) return undefined
  const subject = sessionSubject(content.ring, session.id)
  const { atMs: issuedAtMs, issuer } = content
  return { expiresAtMs: session.overAtMs, height, id: subjectId(subject), issuedAtMs, issuer, reason, subject }
}

function refusalOfNodePrefix(subject: DenialSubject, { denials }: Policy): Refusal | undefined {
  const prefix = subject.kind === 'cidr' ? parsePrefix(subject.value) : undefined
  if (prefix === undefined) return undefined
  const least = prefix.version === 4 ? denials.nodePrefixMinV4 : denials.nodePrefixMinV6
  if (prefix.length >= least) return undefined
  return refuse(
    'PREFIX_TOO_WIDE',
    `/${prefix.length} is too wide for a node: at least /${least} for IPv${prefix.version}; see denials in the policy`,
  )
}

/** A node that floods fills its own share only. */
function isPendingFull(state: RingState, id: string, issuer: string): boolean {
  const waiting = state.pending.get(id)
  if (waiting?.statements.some((statement) => statement.issuer === issuer) === true) return false
  if (state.pending.heldBy(issuer) >= PENDING_PER_ISSUER_MAX) return true
  return waiting === undefined && state.pending.size >= PENDING_DENIALS_MAX
}

/** But for the moment of `issued-before`, of which the later stands. */
function sameSubject(a: DenialSubject, b: DenialSubject): boolean {
  const text = ({ value, ...scope }: DenialSubject) => canonicalJson(scope.kind === 'issued-before' ? scope : { ...scope, value })
  return a === b || text(a) === text(b)
}

/** What is yet to be issued must not be denied by a date: it would lock everybody out until then. */
function refusalOfMoment(subject: DenialSubject, atMs: number): Refusal | undefined {
  if (subject.kind !== 'issued-before' || Date.parse(subject.value) <= atMs) return undefined
  return refuse('SUBJECT_INVALID', `${subject.value} is after this was signed; name a moment that has passed`)
}

/** What a policy made of a subject: a transaction is judged several times. */
export interface SubjectMemo {
  policy: Policy | undefined
  refusal: Refusal | undefined
}

function judgedSubject(subject: DenialSubject, policy: Policy, ring: string, memo: SubjectMemo | undefined): Refusal | undefined {
  if (memo?.policy === policy) return memo.refusal
  const refusal = refusalOfSubject(subject, policy, ring)
  if (memo !== undefined) {
    memo.policy = policy
    memo.refusal = refusal
  }
  return refusal
}

function refusalOfSubject(subject: DenialSubject, policy: Policy, ring: string): Refusal | undefined {
  if (subject.kind === 'account') {
    if (Object.hasOwn(policy.services, subject.service)) return undefined
    return refuse('SERVICE_UNKNOWN', `the policy has no service ${subject.service}; name one of its services`)
  }
  if (isCredentialSubject(subject)) {
    const issuer = subject.kind === 'issuer' ? subject.value : subject.kind === 'key' ? undefined : subject.issuer
    if (issuer === undefined || issuer === ringIssuer(ring) || policy.issuers.some((known) => known.issuer === issuer))
      return undefined
    const known = policy.issuers.map((one) => one.issuer).join(', ') || 'none'
    return refuse(
      'TOKEN_ISSUER_UNKNOWN',
      `the policy believes no tokens of ${issuer}; it believes those of: ${known.slice(0, 300)}`,
    )
  }
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
  // Four octets in dotted decimal have one spelling that parses; an IPv4 address in IPv6 form is none of it.
  const canonical = address.version === 4 && !value.includes(':') ? value : formatAddress(address)
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
 * The denial that a statement comes to, as of a height; undefined height while provisional. It lasts from when it was
 * signed, not from when it was agreed, so that all who hear of it agree on its end. `id` is that of its subject, when known.
 */
export function denialOf(content: TxContent, height: number | undefined, id?: string): Denial | undefined {
  const { body } = content
  if (body.type === 'person.reset' || body.type === 'person.remove') {
    const ended = endedBy(body, content.atMs)
    if (ended === undefined) return undefined
    const value = new Date(content.atMs).toISOString()
    const subject = { issuer: ringIssuer(content.ring), kind: 'issued-before', subject: ended.subject, value } as const
    const { atMs: issuedAtMs, issuer } = content
    return { expiresAtMs: ended.untilMs, height, id: subjectId(subject), issuedAtMs, issuer, reason: body.reason, subject }
  }
  if (body.type === 'token.revoke' || body.type === 'token.use') {
    const read = readRingToken(content.ring, body.token)
    if (read === undefined) return undefined
    if (body.type === 'token.revoke' && read.ends !== undefined) {
      const value = new Date(read.ends.beforeMs).toISOString()
      const subject = { issuer: ringIssuer(content.ring), kind: 'issued-before', subject: read.ends.subject, value } as const
      const { atMs: issuedAtMs, issuer } = content
      const reason = 'the provider that vouched for them says so'
      return { expiresAtMs: read.overAtMs, height, id: subjectId(subject), issuedAtMs, issuer, reason, subject }
    }
    if (body.type === 'token.revoke' && read.isSession) return denialOfSession(content, height, 'ended by who held it')
    const subject = { kind: 'token', value: read.id } as const
    const { atMs: issuedAtMs, issuer } = content
    // Who redeems it sees by this whether it was first.
    const reason = body.type === 'token.use' ? `used once: ${content.nonce}` : 'revoked by who held it'
    const said = { reason, subject }
    return { expiresAtMs: read.overAtMs, height, id: subjectId(subject), issuedAtMs, issuer, ...said }
  }
  if (body.type !== 'deny.add') return undefined
  // Keys in canonical order: so each is hashed without being put in order first.
  return {
    expiresAtMs: content.atMs + body.ttlMs,
    height,
    id: id ?? subjectId(body.subject),
    issuedAtMs: content.atMs,
    issuer: content.issuer,
    reason: body.reason,
    subject: body.subject,
  }
}

/**
 * Two denials of one subject become the one that lasts longer; between equals a fixed order decides. The join is
 * commutative, associative and idempotent: the order of denials changes nothing. The earliest height stays.
 */
export function joinDenials(a: Denial, b: Denial): Denial {
  const rank = ({ expiresAtMs, issuedAtMs, issuer, reason, statedBy = [] }: Denial) =>
    [expiresAtMs, issuedAtMs, issuer, reason, statedBy.length, statedBy.join()] as const
  const isByOperator = ({ issuer, operatorToo }: Denial) => operatorToo === true || issuer.startsWith('operator:')
  const [left, right] = [rank(a), rank(b)]
  const at = left.findIndex((value, index) => value !== right[index])
  const stays = at < 0 || left[at]! > right[at]! ? a : b
  const subject = joinSubjects(a.subject, b.subject)
  const height = Math.min(a.height ?? Number.POSITIVE_INFINITY, b.height ?? Number.POSITIVE_INFINITY)
  const { expiresAtMs, id, issuedAtMs, issuer, reason, statedBy } = stays
  const isHeld = !issuer.startsWith('operator:') && (isByOperator(a) || isByOperator(b))
  // Keys in canonical order, as in `denialOf`.
  return {
    expiresAtMs,
    height: height === Number.POSITIVE_INFINITY ? undefined : height,
    id,
    issuedAtMs,
    issuer,
    ...(isHeld ? { operatorToo: true } : {}),
    reason,
    ...(statedBy === undefined ? {} : { statedBy }),
    subject,
  }
}

/**
 * The ring as a replicated application: check, prepare, execute, root, snapshot, restore. It knows nothing of how
 * agreement happens; `ledger` runs it, through an interface of its own that this one fits (its `Application<S>`).
 *
 * All methods are deterministic and total: whatever the bytes, the answer is a refusal and not an exception.
 */

import { type PendingStatement, signersOf } from './approvals.ts'
import { isLapsed, lateNodes, tickedTrust } from './attestation.ts'
import { type AttestationStatement, type QuoteReader, withAttestation } from './attestation-statements.ts'
import { type AuthorizationCompiler, authorizationFaults } from './authorization.ts'
import { SignatureChecker } from './batch-signature.ts'
import { type Corroboration, corroborationOf, denialOfStatements, withStatement } from './corroboration.ts'
import type { HashSeed } from './denial-index.ts'
import { decodeBase64url, encodeBase64url } from './encoding.ts'
import { isAttestationStatement, isEnrolmentStatement } from './enrolment-parse.ts'
import { type EnrolmentStatement, type VoucherReader, withEnrolmentStatement } from './enrolment-statements.ts'
import { GenesisInvalid, TxMalformed } from './errors.ts'
import { type CsrReader, estSubject } from './est.ts'
import { labelsOf } from './fleet.ts'
import { type FleetStatement, isFleetStatement, withFleetStatement } from './fleet-statements.ts'
import { genesisHash } from './genesis.ts'
import { isLeaseStatement, tickedLeases, withLeaseStatement } from './leases.ts'
import {
  denialOf,
  denialOfReuse,
  enrolmentMeans,
  joinDenials,
  type Meeting,
  neededFor,
  nodeSubject,
  type PolicyReader,
  type Refusal,
  refusalOf,
  refusalOfAsked,
  subjectFault,
  withoutWordOf,
} from './meaning.ts'
import { AGED_REASON, ageFaults, agesOf, endedNodes, tickedAges } from './node-age.ts'
import { withDisk, withReceipt, withWipe } from './node-disks.ts'
import { withObjectStatement } from './object-acts.ts'
import { withPersonStatement } from './person-statements.ts'
import { endedPlays, isPlayStatement, type PlayMeans, tickedPlays, withPlayStatement } from './play-statements.ts'
import type { Policy } from './policy.ts'
import { type CompiledPolicy, compilePolicy, type RuleCompiler } from './policy-compile.ts'
import { formatProblems, type PolicyProblem, parsePolicyDocument } from './policy-document.ts'
import { lapseFaults, policyFitFaults } from './policy-fit.ts'
import { wantsSealingKey } from './policy-vault.ts'
import { type PolicyJudge, type Rehearsal, type RuleCost, rehearse, type TestResult } from './rehearsal.ts'
import {
  KEY_NAMES,
  type KeyMeeting,
  type KeyName,
  type KeyStatement,
  tickedKey,
  viewOfKey,
  withKeyStatement,
} from './ring-key.ts'
import { readPass } from './service-pass.ts'
import { encodeSnapshot, parseSnapshot } from './snapshot.ts'
import { DENIALS_MAX, isValidator, RingState } from './state.ts'
import { isTransitStatement, withTransitStatement } from './transit-statements.ts'
import { encodeTx, idOfSigned, parseIssuer, readTx, type Sha256, subjectId, TX_BYTES_MAX } from './tx.ts'
import type { Denial, DenialSubject, GenesisDocument, RingNode, RuleLibrary, TxContent, TxId, View } from './types.ts'
import { withVaultStatement } from './vault-statements.ts'
import { VerifiedTransaction, VerifiedTransactions } from './verified-transactions.ts'

/** How long a transaction may live, from signing to lapsing. */
export const TX_LIFETIME_MS_MAX = 600_000
/** How far ahead the signer’s clock may be. */
export const TX_SKEW_MS_MAX = 5_000
/** Certificates of the ring stand for no longer (`devices.est.ttl`). */
const IDENTITY_MS_MAX = 30 * 86_400_000
/** Compiled policies kept: the one in force, its successor, a few proposals. */
const COMPILED_MAX = 4

export interface RingTxResult {
  readonly id: TxId
  readonly ok: boolean
  readonly code?: string
  readonly reason?: string
}

export interface RingBlockContext {
  readonly height: number
  readonly timestampMs: number
  readonly proposer: string
  /** A quorum has certified the block: what depends on this node’s rules was judged when it was voted on. */
  readonly certified?: boolean
}

export interface RingApplicationOptions {
  readonly genesis: GenesisDocument
  /** Ed25519. */
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  /** The portable one unless given. */
  readonly hash?: Sha256
  /** Random: keeps others from choosing what falls together in the index of denials. */
  readonly hashSeed?: HashSeed
  /** `compileRules` of `@ringwall/waf`. */
  readonly compile: RuleCompiler
  readonly rules: RuleLibrary
  /** Evaluates what services say about who may do what. Without it a policy that does so is refused. */
  readonly authorization?: AuthorizationCompiler
  /** `readVoucher` of `@ringwall/enroll`. Without it no device is registered. */
  readonly voucher?: VoucherReader
  /** `readQuote` of `@ringwall/enroll`. Without it no node attests by a TPM. */
  readonly quote?: QuoteReader
  /** `readCsr` of `@ringwall/enroll`. Without it no device of others gets a certificate. */
  readonly csr?: CsrReader
  /** `judgePolicy` of `@ringwall/guard`: a policy’s own tests are run before it is voted for. */
  readonly judge: PolicyJudge
}

/** What is wrong with a policy, and how it did when it was tried out. */
export interface PolicyReview {
  /** Undefined when it does not parse. */
  readonly policy: Policy | undefined
  readonly problems: readonly PolicyProblem[]
  readonly tests: readonly TestResult[]
  readonly costs: readonly RuleCost[]
}

export type CheckResult =
  | { readonly ok: true; readonly id: TxId }
  /** `hopeless`: it is refused in every state and at any time, so that no honest node passes it on. */
  | { readonly ok: false; readonly code: string; readonly reason: string; readonly hopeless: boolean }

export interface RingValidators {
  readonly epoch: number
  readonly validators: readonly { readonly id: string; readonly publicKey: Uint8Array }[]
}

export interface RingApplication {
  /** Hash of the genesis document. */
  readonly ring: string
  initial(): RingState
  check(state: RingState, tx: Uint8Array, nowMs: number): CheckResult
  /** What `check` would say if the signature were right: for somebody who wants to know before signing. */
  rehearse(state: RingState, content: TxContent, nowMs: number): { readonly ok: true } | (Refusal & { readonly ok: false })
  prepare(state: RingState, candidates: readonly Uint8Array[], context: RingBlockContext, bytesMax: number): readonly Uint8Array[]
  execute(
    state: RingState,
    txs: readonly Uint8Array[],
    context: RingBlockContext,
  ):
    | { readonly ok: true; readonly state: RingState; readonly results: readonly RingTxResult[] }
    | { readonly ok: false; readonly reason: string }
  /** Lower-case hex. */
  root(state: RingState): string
  /** In pieces, so that a large state blocks nobody. */
  snapshot(state: RingState): Iterable<Uint8Array>
  /** @throws {SnapshotInvalid} */
  restore(snapshot: Uint8Array): RingState
  /** Who agrees on what follows; `epoch` counts changes. */
  validators(state: RingState): RingValidators
  /**
   * What guards enforce. The policy of a state is compiled once.
   *
   * @param self The node whose guard it is: what it serves goes by its labels. Of nobody's, every service is served.
   * @throws {GenesisInvalid} When the policy in force does not compile here: this node lacks rules that the ring has.
   */
  view(state: RingState, height: number, blockTimestampMs: number, self?: string): View
  /** Everything that a proposal of this policy would be refused for, with its place in the text. */
  review(state: RingState, text: string, nowMs: number): PolicyReview
  /** What waits for more operators to approve it, oldest first: who has signed, and how many it takes. */
  approvals(
    state: RingState,
    nowMs: number,
  ): readonly (PendingStatement & { readonly signedBy: readonly string[]; readonly needed: number })[]
  /** What it takes before a denial that nodes sign holds on all nodes. */
  corroboration(state: RingState): Corroboration
  /** How long other nodes enforce what a single one says. */
  aloneMs(state: RingState): number
  /** The nodes of the ring. */
  members(state: RingState): readonly RingNode[]
  /**
   * The denial that a gossiped transaction states, when it passes every check on this state; to be enforced ahead of
   * consensus. A refusal otherwise.
   */
  provisional(
    state: RingState,
    tx: Uint8Array,
    nowMs: number,
  ): { readonly ok: true; readonly denial: Denial } | (Refusal & { readonly ok: false })
}

interface Compiled {
  readonly compiled: CompiledPolicy
  /** Once it was asked for. */
  rehearsal?: Rehearsal
}

type Compilation = Compiled | { readonly problems: readonly string[] }

type Accepted = Pick<VerifiedTransaction, 'id' | 'content' | 'denialId' | 'seenKey'>

/** Keys that were decoded last: few, as the ring has few issuers. */
const decodedKeys = new Map<string, Uint8Array>()
const DECODED_MAX = 1_024

function keyBytes(text: string): Uint8Array {
  let bytes = decodedKeys.get(text)
  if (bytes === undefined) {
    bytes = decodeBase64url(text)
    if (decodedKeys.size >= DECODED_MAX) decodedKeys.clear()
    decodedKeys.set(text, bytes)
  }
  return bytes
}

type Issuer = NonNullable<ReturnType<typeof parseIssuer>>

/** Lists of nodes stay the same objects until they change. */
const validatorLists = new WeakMap<readonly RingNode[], RingValidators['validators']>()

function validatorsOf({ validators: nodes, epoch }: RingState): RingValidators {
  let validators = validatorLists.get(nodes)
  if (validators === undefined) {
    validators = nodes.map(({ id, publicKey }) => ({ id, publicKey: decodeBase64url(publicKey) }))
    validatorLists.set(nodes, validators)
  }
  return { epoch, validators }
}

function unknownIssuer({ issuer }: TxContent): Refusal {
  return {
    code: 'ISSUER_UNKNOWN',
    reason: `${issuer} is none of this ring’s operators and nodes; sign as one of them`,
  }
}

/** In the place of a signature that is not there. */
const UNSIGNED = encodeBase64url(new Uint8Array(64))
const HOPELESS: ReadonlySet<string> = new Set(['TX_MALFORMED', 'RING_MISMATCH', 'TX_LIFETIME', 'SIGNATURE_INVALID'])

const REPLAYED: Refusal = { code: 'TX_REPLAYED', reason: 'the ring has this transaction already' }

/** @throws {GenesisInvalid} When the first policy is not valid with these rules. */
export function createRingApplication(options: RingApplicationOptions): RingApplication {
  const { genesis } = options
  const ring = genesisHash(genesis)
  const operators = new Map(genesis.operators.map(({ name, publicKey }) => [name, publicKey]))
  const operatorKeys = new Set(operators.values())
  /** The key that an issuer signs with, as of a state; undefined when the ring does not know it, or no longer. */
  const keyOf = (state: RingState, issuer: Issuer): string | undefined =>
    issuer.kind === 'operator' ? operators.get(issuer.name) : state.node(issuer.name)?.publicKey

  /** By policy text, least recently used first. */
  const compilations = new Map<string, Compilation>()
  const compiled = (text: string): Compilation => {
    let compilation = compilations.get(text)
    if (compilation === undefined) compilation = compileText(text, options)
    compilations.delete(text)
    compilations.set(text, compilation)
    if (compilations.size > COMPILED_MAX) compilations.delete(compilations.keys().next().value!)
    return compilation
  }
  const rehearsed = (compilation: Compiled): Rehearsal => {
    compilation.rehearsal ??= rehearse(compilation.compiled, options.judge)
    return compilation.rehearsal
  }
  /** Asked for with each transaction. */
  let last: { readonly text: string; readonly compiled: CompiledPolicy } | undefined
  const inForce = (state: RingState): CompiledPolicy => {
    if (last?.text === state.policyText) return last.compiled
    const compilation = compiled(state.policyText)
    if ('compiled' in compilation) {
      last = { text: state.policyText, compiled: compilation.compiled }
      return compilation.compiled
    }
    // Only when this node has other rules than the validators that accepted the policy.
    throw new GenesisInvalid(`the policy in force does not compile here: ${compilation.problems.join('; ')}`)
  }
  const members = (state: RingState): readonly RingNode[] => state.nodes
  const reader: PolicyReader = {
    inForce: (state): Policy => inForce(state).policy,
    policyOf: (text) => {
      const compilation = compiled(text)
      return 'compiled' in compilation ? compilation.compiled.policy : undefined
    },
    problems: (text, { members: nodes, operators, nowMs, state }, isRehearsed) => {
      const compilation = compiled(text)
      if ('problems' in compilation) return compilation.problems
      const { policy } = compilation.compiled
      const aged = state === undefined ? [] : ageFaults(policy, state, nowMs)
      const fit = [...policyFitFaults(policy, nodes, operators), ...lapseFaults(policy, nowMs), ...aged]
      const faults = isRehearsed ? [...fit, ...rehearsed(compilation).faults] : fit
      if (faults.length === 0) return []
      const document = parsePolicyDocument(text, 'the policy', () => faults)
      return document.ok ? [] : formatProblems(document.problems, 'ringwall.yaml').split('\n')
    },
  }

  const first = RingState.begin(genesis.policy, genesis.nodes, options.hashSeed)
  // Its tests are not run: rules that were updated since must not keep a ring from starting.
  const firstMeeting = { members: members(first), operators: genesis.operators, nowMs: genesis.createdAtMs }
  const firstProblems = reader.problems(genesis.policy, firstMeeting, false)
  if (firstProblems.length > 0) throw new GenesisInvalid(`policy: ${firstProblems.join('; ')}`)

  const verified = new VerifiedTransactions()
  const signatures = new SignatureChecker(options.verify, options.hash)

  /** `epoch` is the one that the block began in. */
  interface Circumstances {
    readonly nowMs: number
    readonly epoch: number
    readonly isCertified: boolean
  }

  /** Written out: it is made for each transaction, several times. */
  const meaning = (
    state: RingState,
    { content, issuer, denialId, memo }: Pick<VerifiedTransaction, 'content' | 'issuer' | 'denialId'> & Pick<Meeting, 'memo'>,
    { nowMs, epoch, isCertified }: Circumstances,
  ) =>
    refusalOf(
      {
        state,
        content,
        issuer,
        denialId,
        memo,
        nowMs,
        epoch,
        operatorKeys,
        isCertified,
        members: state.nodes,
        operators: genesis.operators,
        verify: options.verify,
        voucher: options.voucher,
        quote: options.quote,
        csr: options.csr,
      },
      reader,
    )

  /** Every check, cheap ones first. */
  const accept = (state: RingState, bytes: Uint8Array, nowMs: number, epoch: number, isCertified = false): Accepted | Refusal => {
    try {
      const known = verified.get(bytes)
      const accepted = known === undefined ? admit(state, bytes, nowMs) : again(state, known, nowMs)
      return 'code' in accepted ? accepted : (meaning(state, accepted, { nowMs, epoch, isCertified }) ?? accepted)
    } catch (error) {
      if (error instanceof TxMalformed) return { code: 'TX_MALFORMED', reason: error.reason }
      return { code: 'INTERNAL', reason: 'checking this transaction failed; it is refused. Report it with the transaction' }
    }
  }

  /** One whose signature is known to be good. */
  const again = (state: RingState, known: VerifiedTransaction, nowMs: number): VerifiedTransaction | Refusal => {
    const timely = envelopeRefusal(known.content, nowMs)
    if (timely !== undefined) return timely
    if (state.hasSeen(known.seenKey)) return REPLAYED
    // Its signature is good for ever, since keys are never used twice; its issuer may be gone.
    return keyOf(state, known.issuer) === undefined ? unknownIssuer(known.content) : known
  }

  /** @throws {TxMalformed} */
  const admit = (state: RingState, bytes: Uint8Array, nowMs: number): VerifiedTransaction | Refusal => {
    const { tx, signed } = readTx(bytes)
    const { content } = tx
    const timely = envelopeRefusal(content, nowMs)
    if (timely !== undefined) return timely
    const issuer = parseIssuer(content.issuer)
    const key = issuer === undefined ? undefined : keyOf(state, issuer)
    if (issuer === undefined || key === undefined) return unknownIssuer(content)
    const id = idOfSigned(signed, options.hash)
    const denialId = content.body.type === 'deny.add' ? subjectId(content.body.subject, options.hash) : undefined
    const admitted = new VerifiedTransaction(id, content, issuer, denialId)
    if (state.hasSeen(admitted.seenKey)) return REPLAYED
    if (!signatures.isSigned(keyBytes(key), signed, decodeBase64url(tx.signature))) {
      return {
        code: 'SIGNATURE_INVALID',
        reason: `the signature is not by ${content.issuer}’s key; sign with the key that the ring knows`,
      }
    }
    verified.set(bytes, admitted)
    return admitted
  }

  const envelopeRefusal = ({ ring: named, atMs, untilMs }: TxContent, nowMs: number): Refusal | undefined => {
    if (named !== ring)
      return { code: 'RING_MISMATCH', reason: `it is for the ring ${named.slice(0, 12)}, this is ${ring.slice(0, 12)}` }
    if (untilMs <= atMs || untilMs - atMs > TX_LIFETIME_MS_MAX) {
      return {
        code: 'TX_LIFETIME',
        reason: `untilMs must be at most ${TX_LIFETIME_MS_MAX / 60_000} minutes after atMs, and after it`,
      }
    }
    if (nowMs > untilMs) return { code: 'TX_LAPSED', reason: 'its time is over; sign it again' }
    if (atMs > nowMs + TX_SKEW_MS_MAX) return { code: 'TX_EARLY', reason: 'it is signed in the future; set the signer’s clock' }
    return undefined
  }

  const keyMeeting = (name: KeyName, state: RingState, { height, timestampMs }: RingBlockContext): KeyMeeting => ({
    name,
    isWanted:
      name === 'signing' ||
      state.sealingKey.publicKey !== null ||
      (state.signingKey.publicKey !== null && wantsSealingKey(inForce(state).policy)),
    ring,
    validators: state.validators,
    height,
    nowMs: timestampMs,
  })

  /** Ceremonies begin and end with blocks, and with what makes them due: an idle ring makes no block for seconds. */
  const ticked = (state: RingState, context: RingBlockContext): RingState =>
    KEY_NAMES.reduce((next, name) => next.withKey(name, tickedKey(next.key(name), keyMeeting(name, next, context))), state)

  const withStatementOfKey = (state: RingState, body: KeyStatement, from: string, context: RingBlockContext): RingState => {
    const before = state.key(body.key)
    const key = withKeyStatement(before, body, from, keyMeeting(body.key, state, context))
    const next = state.withKey(body.key, key)
    // What is over may make another ceremony due.
    return key.publicKey === before.publicKey ? next : ticked(next, context)
  }

  const apply = (state: RingState, { id, content, denialId, seenKey }: Accepted, context: RingBlockContext): RingState => {
    const seen = state.withSeen(seenKey)
    const { body, issuer } = content
    if (isPlayStatement(body)) {
      const counted = body.type === 'play.start' && issuer.startsWith('node:')
      const next = withPlayStatement(seen, body, issuer, playMeans(seen, context))
      return counted ? next.withUsage(issuer, context.timestampMs) : next
    }
    if (body.type === 'tx.approve') {
      const waiting = seen.approvals.get(body.id, context.timestampMs)!
      return approved(seen, { ...waiting, approvedBy: [...waiting.approvedBy, issuer].sort() }, context)
    }
    if (body.type === 'disk.seal') {
      const { capsule, machine } = body
      const disk = { id: parseIssuer(issuer)?.name ?? '', capsule, machine, atMs: context.timestampMs }
      return seen.withDisks(withDisk(seen.disks, disk))
    }
    if (body.type === 'node.wiped') return seen.withDisks(withReceipt(seen.disks, body))
    if (body.type === 'evidence') return ticked(seen.withoutNode(body.validator), context)
    if (body.type === 'token.revoke') return denied(seen, denialOf(content, context.height)!, context)
    if (body.type === 'token.use') {
      const use = denialOf(content, context.height)!
      const before = seen.denial(use.id)
      const isFirst = before === undefined || before.expiresAtMs <= context.timestampMs
      return denied(seen, isFirst ? use : denialOfReuse(content, context.height)!, context)
    }
    if (
      body.type === 'person.put' ||
      body.type === 'person.reset' ||
      body.type === 'person.remove' ||
      body.type === 'person.enrol'
    ) {
      const next = seen.withPeople(withPersonStatement(seen.people, body, context.timestampMs))
      const ended = denialOf(content, context.height)
      return ended === undefined ? next : denied(next, ended, context)
    }
    if (body.type === 'key.enrol' || body.type === 'key.deal' || body.type === 'key.answer') {
      const from = parseIssuer(issuer)?.name ?? ''
      return withStatementOfKey(seen, body, from, context)
    }
    if (body.type === 'attest.quote' || body.type === 'attest.enrol') return attested(seen, content, body, context)
    if (body.type === 'est.enrol') return enrolled(seen, content, body, context)
    if (body.type === 'node.join') return ticked(enrolled(seen, content, body, context).withNode(body.node), context)
    if (body.type === 'device.join') {
      // It was set up anew, when its age was nearly over: what it was is out.
      const before = seen.enrolment.device(body.serial)?.node ?? ''
      const left = seen.node(before) === undefined ? seen : outAged(seen, before, context)
      return ticked(enrolled(left, content, body, context).withNode(body.node), context)
    }
    if (body.type === 'object.act' || body.type === 'access.put' || body.type === 'access.remove')
      return seen.withObjects(withObjectStatement(seen.objects, content, body, context.timestampMs))
    if (body.type === 'vault.put' || body.type === 'vault.hide' || (body.type === 'vault.delete' && body.pass !== undefined))
      return seen.withVault(withVaultStatement(seen.vault, content, body, context.timestampMs))
    if (isLeaseStatement(body)) {
      const read = 'pass' in body && body.pass !== undefined ? readPass(ring, body.pass) : undefined
      const asker = read === undefined ? undefined : { kind: 'service' as const, name: read.service, credential: read.credential }
      const { databases } = inForce(seen).policy.vault
      return seen.withLeases(withLeaseStatement(seen.leases, { id, content }, body, asker, databases, context.timestampMs))
    }
    if (isFleetStatement(body) && body.type !== 'release.add') return withFleet(seen, content, body, context)
    if (isTransitStatement(body) && body.type !== 'transit.delete')
      return seen.withTransit(withTransitStatement(seen, content, body, id, context.timestampMs))
    if (body.type === 'deny.withdraw') return withdrawn(seen, body.id, issuer)
    if (body.type === 'deny.add') {
      const denial = denialOf(content, context.height, denialId)!
      if (!issuer.startsWith('node:')) return denied(seen, denial, context)
      return stated(seen, denial, context).withUsage(issuer, context.timestampMs)
    }
    const lapsesAtMs = context.timestampMs + inForce(seen).policy.operators.within
    return approved(seen, { id, content, approvedBy: [], lapsesAtMs }, context)
  }

  /** Applied when enough operators have signed it; else it waits. */
  const approved = (seen: RingState, statement: PendingStatement, context: RingBlockContext): RingState => {
    const { id, content } = statement
    if (signersOf(statement, genesis.operators).length < neededFor(seen, content.body, reader)) {
      return seen.withApprovals(seen.approvals.with(statement))
    }
    return perform(seen.withApprovals(seen.approvals.without(id)), id, content, context)
  }

  const perform = (state: RingState, id: TxId, content: TxContent, context: RingBlockContext): RingState => {
    const { body } = content
    if (body.type === 'transit.delete')
      return state.withTransit(withTransitStatement(state, content, body, id, context.timestampMs))
    if (body.type === 'vault.delete') return state.withVault(withVaultStatement(state.vault, content, body, context.timestampMs))
    if (body.type === 'release.add') return withFleet(state, content, body, context)
    if (body.type === 'policy.set') return replayed(ticked(state.withPolicy(body.policy), context), context)
    if (body.type === 'deny.remove') return state.withoutDenial(body.id).withPending(state.pending.without(body.id))
    if (body.type === 'node.add') return ticked(state.withNode(body.node), context)
    if (body.type === 'node.remove') return ticked(state.withoutNode(body.id), context)
    if (isAttestationStatement(body)) return attested(state, content, body, context)
    if (isEnrolmentStatement(body)) {
      const next = enrolled(state, content, body, context)
      if (body.type === 'est.revoke')
        return withoutSubject(next, estSubject(ring, body.name), body.reason, content.issuer, context)
      if (body.type !== 'device.remove' && body.type !== 'device.transfer') return next
      const node = next.enrolment.device(body.serial)?.node ?? ''
      return ticked(next.withoutNode(node), context)
    }
    if (body.type === 'node.wipe') {
      const { id, reason } = body
      const publicKey = state.node(id)?.publicKey ?? ''
      const wipe = { id, publicKey, by: content.issuer, reason, atMs: context.timestampMs, receipt: null }
      const gone = state.withoutNode(id)
      return ticked(gone.withDisks(withWipe(gone.disks, wipe)), context)
    }
    if (body.type === 'key.refresh' || body.type === 'key.rotate')
      return ticked(withStatementOfKey(state, body, '', context), context)
    return state
  }

  const withFleet = (state: RingState, content: TxContent, body: FleetStatement, context: RingBlockContext): RingState => {
    const name = parseIssuer(content.issuer)?.name ?? ''
    return state.withFleet(withFleetStatement(state.fleet, content, name, body, context.timestampMs))
  }

  const playMeans = (state: RingState, context: RingBlockContext): PlayMeans => {
    const { policy } = inForce(state)
    return {
      ring,
      policy,
      members: state.nodes,
      nowMs: context.timestampMs,
      height: context.height,
      subjectFault: (of, subject) => subjectFault(of, subject, policy, ring),
      deny: (of, denial) => denied(of, denial, context),
      rotate: (of, { key = 'signing', how }, reason) => {
        const body = { type: how === 'replace' ? 'key.rotate' : 'key.refresh', key, reason } as const
        const refusal = refusalOfAsked(of, body)
        return refusal === undefined ? ticked(withStatementOfKey(of, body, '', context), context) : refusal.reason
      },
    }
  }

  /** Runs of playbooks that are others by now end. */
  const replayed = (state: RingState, context: RingBlockContext): RingState => endedPlays(state, playMeans(state, context))

  const meansOf = (state: RingState) =>
    enrolmentMeans({ state, verify: options.verify, voucher: options.voucher, quote: options.quote, csr: options.csr }, reader)

  const attested = (state: RingState, content: TxContent, body: AttestationStatement, context: RingBlockContext): RingState => {
    const name = parseIssuer(content.issuer)?.name ?? ''
    const enrolment = withAttestation(state, content, name, body, context.timestampMs, meansOf(state))
    const isOut = enrolment.trust.expelled !== state.enrolment.trust.expelled
    const next = state.withEnrolment(enrolment)
    return isOut ? ticked(withoutIdentity(next.withoutNode(name), name, context), context) : next
  }

  /** Certificates that a node had when it was put out are worth nothing any more, on any node. */
  const withoutIdentity = (state: RingState, id: string, context: RingBlockContext): RingState => {
    const code = state.enrolment.trust.expelled.findLast(({ node }) => node === id)?.code
    return withoutSubject(state, nodeSubject(ring, id), `put out: ${code}`, `node:${id}`, context)
  }

  const withoutSubject = (
    state: RingState,
    subject: DenialSubject,
    reason: string,
    issuer: string,
    context: RingBlockContext,
  ): RingState => {
    if (state.denials.size >= DENIALS_MAX) return state
    const { height, timestampMs: issuedAtMs } = context
    const expiresAtMs = issuedAtMs + IDENTITY_MS_MAX
    return denied(state, { id: subjectId(subject), subject, reason, issuer, issuedAtMs, expiresAtMs, height }, context)
  }

  /**
   * Nodes that are late with their attestation are out: of validators one a block, and as long as most of them are trusted: what keeps the others
   * from attesting as well is no tampering, and a ring is not to end by it.
   */
  const trusted = (state: RingState, context: RingBlockContext): RingState => {
    const { timestampMs } = context
    const policy = inForce(state).policy.devices
    const trust = tickedTrust(state, policy, timestampMs, () => state.parts(options.hash).seen)
    let next = state.withEnrolment(state.enrolment.withTrust(trust))
    for (const id of lateNodes(trust, timestampMs, policy.attestation.absence)) {
      const node = next.node(id)
      if (node === undefined || (isValidator(node) && (next.epoch !== state.epoch || !areMostTrusted(next, timestampMs))))
        continue
      const expelled = { atMs: timestampMs, code: 'ATTESTATION_LATE', node: id } as const
      next = withoutIdentity(next.withEnrolment(next.enrolment.withExpelled(expelled)).withoutNode(id), id, context)
    }
    return next
  }

  /** Those whose age is over are out; what they had is worth nothing any more, and a device may join anew. */
  const aged = (state: RingState, context: RingBlockContext): RingState => {
    const { fleet } = inForce(state).policy
    if (fleet.maxAge.length === 0) return state
    const next = state.withFleet(tickedAges(state, fleet, context.timestampMs))
    return endedNodes(next, fleet, context.timestampMs).reduce((left, id) => outAged(left, id, context), next)
  }

  const outAged = (state: RingState, id: string, context: RingBlockContext): RingState =>
    withoutSubject(state.withoutNode(id), nodeSubject(ring, id), AGED_REASON, `node:${id}`, context)

  const areMostTrusted = ({ validators, enrolment }: RingState, nowMs: number): boolean => {
    const trusted = validators.filter(({ id }) => !isLapsed(enrolment.trust, id, nowMs))
    return 2 * trusted.length > validators.length
  }

  const enrolled = (
    state: RingState,
    content: TxContent,
    body: Exclude<EnrolmentStatement, AttestationStatement>,
    { timestampMs }: RingBlockContext,
  ): RingState => {
    const means = meansOf(state)
    return state.withEnrolment(withEnrolmentStatement(state.enrolment, content, body, timestampMs, means))
  }

  const denied = (seen: RingState, denial: Denial, context: RingBlockContext): RingState => {
    const before = seen.denial(denial.id)
    // One that is over but not yet swept counts as gone: how much was swept must not show.
    const stands = before !== undefined && before.expiresAtMs > context.timestampMs
    return seen.withDenial(stands ? joinDenials(before, denial) : denial)
  }

  /** What one node says: a denial once enough have said so. */
  const stated = (seen: RingState, denial: Denial, context: RingBlockContext): RingState => {
    const nodes = members(seen)
    const need = corroborationOf(inForce(seen).policy, nodes)
    if (need.nodes === 1 && need.regions === 1) return denied(seen, denial, context)
    const { id, subject, reason, issuer, issuedAtMs, expiresAtMs } = denial
    const lapsesAtMs = Math.min(expiresAtMs, context.timestampMs + need.withinMs)
    const statement = { issuer, reason, issuedAtMs, expiresAtMs, lapsesAtMs }
    const pending = withStatement(seen.pending.get(id), id, subject, statement, context.timestampMs)
    const next = seen.withPending(seen.pending.with(pending))
    const agreed = denialOfStatements(pending, need, nodes, context.timestampMs, context.height)
    return agreed === undefined ? next : denied(next, agreed, context)
  }

  const withdrawn = (seen: RingState, id: string, issuer: string): RingState => {
    const pending = seen.pending.get(id)
    const statements = pending?.statements.filter((one) => one.issuer !== issuer) ?? []
    const others = seen.pending.without(id)
    const next =
      pending === undefined ? seen : seen.withPending(statements.length === 0 ? others : others.with({ ...pending, statements }))
    const denial = seen.denial(id)
    const left = denial === undefined ? undefined : withoutWordOf(denial, issuer)
    if (denial === undefined || left === denial) return next
    return left === undefined ? next.withoutDenial(id) : next.withDenial(left)
  }

  const leased = (state: RingState, { timestampMs }: RingBlockContext): RingState =>
    state.leases.length === 0
      ? state
      : state.withLeases(tickedLeases(state.leases, inForce(state).policy, state.denials, timestampMs))

  /** What the block ended is gone before its first transaction, and so for the leader that chooses them. */
  const opened = (state: RingState, context: RingBlockContext, txCount: number): RingState =>
    played(ticked(leased(trusted(aged(state.swept(context.timestampMs, txCount), context), context), context), context), context)

  /** Most blocks find nothing of it due. */
  const played = (state: RingState, context: RingBlockContext): RingState =>
    state.plays.due(context.timestampMs).length === 0 ? state : tickedPlays(state, playMeans(state, context))

  /** What a transaction means to a state, its signature aside. */
  const weigh = (state: RingState, content: TxContent, nowMs: number): Refusal | undefined => {
    const timely = envelopeRefusal(content, nowMs)
    if (timely !== undefined) return timely
    const issuer = parseIssuer(content.issuer)
    if (issuer === undefined || keyOf(state, issuer) === undefined) return unknownIssuer(content)
    const denialId = content.body.type === 'deny.add' ? subjectId(content.body.subject, options.hash) : undefined
    return meaning(state, { content, issuer, denialId }, { nowMs, epoch: state.epoch, isCertified: false })
  }
  /** What a leader chose for its block, applied already: it is about to execute just that. */
  const prepared = new WeakMap<
    readonly Uint8Array[],
    {
      readonly on: RingState
      readonly context: RingBlockContext
      readonly state: RingState
      readonly results: readonly RingTxResult[]
    }
  >()

  return {
    ring,
    initial: () => first,
    check(state, tx, nowMs) {
      const accepted = accept(state, tx, nowMs, state.epoch)
      return 'code' in accepted
        ? { ok: false, ...accepted, hopeless: HOPELESS.has(accepted.code) }
        : { ok: true, id: accepted.id }
    },
    rehearse(state, given, nowMs) {
      try {
        // By way of its bytes, as everything that comes from outside.
        const { tx } = readTx(encodeTx({ content: given, signature: UNSIGNED }))
        const refusal = weigh(state, tx.content, nowMs)
        return refusal === undefined ? { ok: true } : { ok: false, ...refusal }
      } catch (error) {
        if (!(error instanceof TxMalformed)) throw error
        return { ok: false, code: 'TX_MALFORMED', reason: error.reason }
      }
    },
    prepare(state, candidates, context, bytesMax) {
      const chosen: Uint8Array[] = []
      const results: RingTxResult[] = []
      let bytes = 0
      const begun = opened(state, context, 0)
      let next = begun.drafted()
      for (const tx of candidates) {
        if (tx.length > TX_BYTES_MAX || bytes + tx.length > bytesMax) continue
        const accepted = accept(next, tx, context.timestampMs, state.epoch)
        if ('code' in accepted) continue
        next = apply(next, accepted, context)
        chosen.push(tx)
        results.push({ id: accepted.id, ok: true })
        bytes += tx.length
      }
      // A block sweeps more the more it holds: only when nothing was left to sweep does that come to the same.
      if (chosen.length > 0 && begun.isSwept(context.timestampMs))
        prepared.set(chosen, { on: state, context, state: next.sealed(), results })
      return chosen
    },
    execute(state, txs, context) {
      const done = prepared.get(txs)
      if (done?.on === state && sameContext(done.context, context)) return { ok: true, state: done.state, results: done.results }
      let next = opened(state, context, txs.length)
      if (txs.length === 0) return { ok: true, state: next, results: [] }
      next = next.drafted()
      const results: RingTxResult[] = []
      for (let index = 0; index < txs.length; index += 1) {
        const accepted = accept(next, txs[index]!, context.timestampMs, state.epoch, context.certified)
        if ('code' in accepted) {
          return {
            ok: false,
            reason: `transaction ${index} of block ${context.height} is invalid: ${accepted.code}: ${accepted.reason}`,
          }
        }
        next = apply(next, accepted, context)
        results.push({ id: accepted.id, ok: true })
      }
      return { ok: true, state: next.sealed(), results }
    },
    root: (state) => state.root(options.hash),
    snapshot: (state) => encodeSnapshot(ring, state),
    restore: (snapshot) => parseSnapshot(ring, snapshot, options.hash, options.hashSeed),
    validators: (state) => validatorsOf(state),
    view(state, height, blockTimestampMs, self) {
      const { policy, nodes } = inForce(state)
      const { elsewhere, routes, route } =
        self === undefined || nodes.areAlike ? nodes.without([]) : nodes.of(labelsOf(state, self))
      return {
        ring,
        height,
        blockTimestampMs,
        policyVersion: state.policyVersion,
        policy,
        policyText: state.policyText,
        denials: state.denials,
        operators: genesis.operators,
        nodes: state.nodes,
        epoch: state.epoch,
        signingKey: viewOfKey(state.signingKey, state.validators),
        trust: state.enrolment.trust.nodes,
        ages: agesOf(state, policy.fleet),
        certified: (name) => state.enrolment.est.clients.find((one) => one.name === name)?.publicKey,
        elsewhere,
        routes,
        route,
      }
    },
    review(state, text, nowMs) {
      const document = parsePolicyDocument(text, 'the policy', (policy) => authorizationFaults(policy, options.authorization))
      if (!document.ok) return { policy: undefined, problems: document.problems, tests: [], costs: [] }
      const { policy } = document
      const compilation = compiled(text)
      if ('problems' in compilation) {
        const problems = compilation.problems.map((message) => ({ line: 1, column: 1, path: '', message }))
        return { policy, problems, tests: [], costs: [] }
      }
      const { faults, tests, costs } = rehearsed(compilation)
      const fit = [
        ...policyFitFaults(policy, members(state), genesis.operators),
        ...lapseFaults(policy, nowMs),
        ...ageFaults(policy, state, nowMs),
      ]
      const all = [...fit, ...faults]
      const again = parsePolicyDocument(text, 'the policy', () => all)
      return { policy, problems: again.ok ? [] : again.problems, tests, costs }
    },
    approvals(state, nowMs) {
      return state.approvals.list(nowMs).map((statement) => ({
        ...statement,
        signedBy: signersOf(statement, genesis.operators),
        needed: neededFor(state, statement.content.body, reader),
      }))
    },
    corroboration: (state) => corroborationOf(inForce(state).policy, members(state)),
    aloneMs: (state) => inForce(state).policy.denials.corroboration.alone,
    members,
    provisional(state, tx, nowMs) {
      const accepted = accept(state, tx, nowMs, state.epoch)
      if ('code' in accepted) return { ok: false, ...accepted }
      const denial = denialOf(accepted.content, undefined, accepted.denialId)
      if (denial !== undefined) return { ok: true, denial }
      return { ok: false, code: 'NOT_ENTITLED', reason: 'only denials are enforced ahead of consensus' }
    },
  }
}

function sameContext(a: RingBlockContext, b: RingBlockContext): boolean {
  return a.height === b.height && a.timestampMs === b.timestampMs && a.proposer === b.proposer && a.certified === b.certified
}

function compileText(text: string, { compile, rules, authorization }: RingApplicationOptions): Compilation {
  const document = parsePolicyDocument(text, 'the policy', (policy) => authorizationFaults(policy, authorization))
  if (!document.ok) return { problems: formatProblems(document.problems, 'ringwall.yaml').split('\n') }
  const compilation = compilePolicy(document.policy, compile, rules, authorization)
  return compilation.ok ? { compiled: compilation.compiled } : { problems: compilation.problems }
}

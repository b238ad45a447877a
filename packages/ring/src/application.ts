/**
 * The ring as a replicated application: check, prepare, execute, root, snapshot, restore. It knows nothing of how
 * agreement happens; `ledger` runs it, through an interface of its own that this one fits (its `Application<S>`).
 *
 * All methods are deterministic and total: whatever the bytes, the answer is a refusal and not an exception.
 */
import { decodeBase64url } from './encoding.ts'
import { GenesisInvalid, TxMalformed } from './errors.ts'
import { genesisHash } from './genesis.ts'
import { denialOf, joinDenials, type PolicyReader, type Refusal, refusalOf } from './meaning.ts'
import type { Policy } from './policy.ts'
import { type CompiledPolicy, compilePolicy, type RuleCompiler } from './policy-compile.ts'
import { formatProblems, parsePolicyDocument } from './policy-document.ts'
import { encodeSnapshot, parseSnapshot } from './snapshot.ts'
import { isValidator, RingState } from './state.ts'
import { parseIssuer, parseTx, signingBytes, TX_BYTES_MAX, txId } from './tx.ts'
import type { Denial, GenesisDocument, RingNode, RuleLibrary, TxContent, TxId, View } from './types.ts'
import { VerifiedTransactions } from './verified-transactions.ts'

/** How long a transaction may live, from signing to lapsing. */
export const TX_LIFETIME_MS_MAX = 600_000
/** How far ahead the signer’s clock may be. */
export const TX_SKEW_MS_MAX = 5_000
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
}

export interface RingApplicationOptions {
  readonly genesis: GenesisDocument
  /** Ed25519. */
  readonly verify: (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean
  /** `compileRules` of `@ringwall/waf`. */
  readonly compile: RuleCompiler
  readonly rules: RuleLibrary
}

export type CheckResult =
  | { readonly ok: true; readonly id: TxId }
  | { readonly ok: false; readonly code: string; readonly reason: string }

export interface RingValidators {
  readonly epoch: number
  readonly validators: readonly { readonly id: string; readonly publicKey: Uint8Array }[]
}

export interface RingApplication {
  /** Hash of the genesis document. */
  readonly ring: string
  initial(): RingState
  check(state: RingState, tx: Uint8Array, nowMs: number): CheckResult
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
   * @throws {GenesisInvalid} When the policy in force does not compile here: this node lacks rules that the ring has.
   */
  view(state: RingState, height: number, blockTimestampMs: number): View
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

type Compilation = { readonly compiled: CompiledPolicy } | { readonly problems: readonly string[] }

interface Accepted {
  readonly id: TxId
  readonly content: TxContent
}

type Issuer = NonNullable<ReturnType<typeof parseIssuer>>

/** Lists of nodes stay the same objects until they change. */
const validatorLists = new WeakMap<readonly RingNode[], RingValidators['validators']>()

function validatorsOf({ nodes, epoch }: RingState): RingValidators {
  let validators = validatorLists.get(nodes)
  if (validators === undefined) {
    validators = nodes.filter(isValidator).map(({ id, publicKey }) => ({ id, publicKey: decodeBase64url(publicKey) }))
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
  const inForce = (state: RingState): CompiledPolicy => {
    const compilation = compiled(state.policyText)
    if ('compiled' in compilation) return compilation.compiled
    // Only when this node has other rules than the validators that accepted the policy.
    throw new GenesisInvalid(`the policy in force does not compile here: ${compilation.problems.join('; ')}`)
  }
  const reader: PolicyReader = {
    inForce: (state): Policy => inForce(state).policy,
    problems: (text) => {
      const compilation = compiled(text)
      return 'problems' in compilation ? compilation.problems : []
    },
  }

  const first = RingState.begin(genesis.policy, genesis.nodes)
  const firstProblems = reader.problems(genesis.policy)
  if (firstProblems.length > 0) throw new GenesisInvalid(`policy: ${firstProblems.join('; ')}`)

  const verified = new VerifiedTransactions()

  const meaning = (state: RingState, content: TxContent, issuer: Issuer, nowMs: number, epoch: number): Refusal | undefined =>
    refusalOf({ state, content, issuer, nowMs, epoch, operatorKeys }, reader, options.verify)

  /** Every check, cheap ones first. `epoch` is the one that the block began in. */
  const accept = (state: RingState, bytes: Uint8Array, nowMs: number, epoch: number): Accepted | Refusal => {
    try {
      const known = verified.get(bytes)
      if (known !== undefined) {
        const { id, content, issuer } = known
        const timely = envelopeRefusal(content, nowMs)
        if (timely !== undefined) return timely
        if (state.hasSeen(id, content.untilMs)) return REPLAYED
        // Its signature is good for ever, since keys are never used twice; its issuer may be gone.
        if (keyOf(state, issuer) === undefined) return unknownIssuer(content)
        return meaning(state, content, issuer, nowMs, epoch) ?? { id, content }
      }
      const tx = parseTx(bytes)
      const { content } = tx
      const timely = envelopeRefusal(content, nowMs)
      if (timely !== undefined) return timely
      const issuer = parseIssuer(content.issuer)
      const key = issuer === undefined ? undefined : keyOf(state, issuer)
      if (issuer === undefined || key === undefined) return unknownIssuer(content)
      const id = txId(content)
      if (state.hasSeen(id, content.untilMs)) return REPLAYED
      if (!options.verify(decodeBase64url(key), signingBytes(content), decodeBase64url(tx.signature))) {
        return {
          code: 'SIGNATURE_INVALID',
          reason: `the signature is not by ${content.issuer}’s key; sign with the key that the ring knows`,
        }
      }
      verified.set(bytes, { id, content, issuer })
      return meaning(state, content, issuer, nowMs, epoch) ?? { id, content }
    } catch (error) {
      if (error instanceof TxMalformed) return { code: 'TX_MALFORMED', reason: error.reason }
      return { code: 'INTERNAL', reason: 'checking this transaction failed; it is refused. Report it with the transaction' }
    }
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

  const apply = (state: RingState, { id, content }: Accepted, context: RingBlockContext): RingState => {
    const seen = state.withSeen(id, content.untilMs)
    const { body } = content
    if (body.type === 'policy.set') return seen.withPolicy(body.policy)
    if (body.type === 'deny.remove') return seen.withoutDenial(body.id)
    if (body.type === 'node.add') return seen.withNode(body.node)
    if (body.type === 'node.remove') return seen.withoutNode(body.id)
    if (body.type === 'evidence') return seen.withoutNode(body.validator)
    const denial = denialOf(content, context.height)!
    const before = seen.denial(denial.id)
    // One that is over but not yet swept counts as gone: how much was swept must not show.
    const stands = before !== undefined && before.expiresAtMs > context.timestampMs
    const denied = seen.withDenial(stands ? joinDenials(before, denial) : denial)
    return content.issuer.startsWith('node:') ? denied.withUsage(content.issuer, context.timestampMs) : denied
  }

  /** What the block ended is gone before its first transaction, and so for the leader that chooses them. */
  const opened = (state: RingState, context: RingBlockContext, txCount: number) => state.swept(context.timestampMs, txCount)

  return {
    ring,
    initial: () => first,
    check(state, tx, nowMs) {
      const accepted = accept(state, tx, nowMs, state.epoch)
      return 'code' in accepted ? { ok: false, ...accepted } : { ok: true, id: accepted.id }
    },
    prepare(state, candidates, context, bytesMax) {
      const chosen: Uint8Array[] = []
      let bytes = 0
      let next = opened(state, context, 0)
      for (const tx of candidates) {
        if (tx.length > TX_BYTES_MAX || bytes + tx.length > bytesMax) continue
        const accepted = accept(next, tx, context.timestampMs, state.epoch)
        if ('code' in accepted) continue
        next = apply(next, accepted, context)
        chosen.push(tx)
        bytes += tx.length
      }
      return chosen
    },
    execute(state, txs, context) {
      let next = opened(state, context, txs.length)
      const results: RingTxResult[] = []
      for (const [index, tx] of txs.entries()) {
        const accepted = accept(next, tx, context.timestampMs, state.epoch)
        if ('code' in accepted) {
          return {
            ok: false,
            reason: `transaction ${index} of block ${context.height} is invalid: ${accepted.code}: ${accepted.reason}`,
          }
        }
        next = apply(next, accepted, context)
        results.push({ id: accepted.id, ok: true })
      }
      return { ok: true, state: next, results }
    },
    root: (state) => state.root(),
    snapshot: (state) => encodeSnapshot(ring, state),
    restore: (snapshot) => parseSnapshot(ring, snapshot),
    validators: (state) => validatorsOf(state),
    view(state, height, blockTimestampMs) {
      const { policy, route } = inForce(state)
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
        route,
      }
    },
    provisional(state, tx, nowMs) {
      const accepted = accept(state, tx, nowMs, state.epoch)
      if ('code' in accepted) return { ok: false, ...accepted }
      const denial = denialOf(accepted.content, undefined)
      if (denial !== undefined) return { ok: true, denial }
      return { ok: false, code: 'NOT_ENTITLED', reason: 'only denials are enforced ahead of consensus' }
    },
  }
}

function compileText(text: string, { compile, rules }: RingApplicationOptions): Compilation {
  const document = parsePolicyDocument(text)
  if (!document.ok) return { problems: formatProblems(document.problems, 'ringwall.yaml').split('\n') }
  const compilation = compilePolicy(document.policy, compile, rules)
  return compilation.ok ? { compiled: compilation.compiled } : { problems: compilation.problems }
}

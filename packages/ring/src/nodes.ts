/**
 * Who may join and leave, and what proves that a validator lied. Ids and keys are never used twice, also not those of nodes
 * that are gone: what an old key signed must not gain a new meaning.
 */
import { type Digest, epochDomain, signingBytes } from '@ringwall/consensus'
import { decodeBase64url } from './encoding.ts'
import type { Meeting, Refusal } from './meaning.ts'
import { isValidator, type RingState } from './state.ts'
import { orderStatements } from './tx.ts'
import type { EvidenceOfLies, RingNode, SignedStatement } from './types.ts'

/** Nodes of a ring at a time; every one has links with every other. */
export const NODES_MAX = 100
/** Nodes that have left, over the life of a ring. */
export const RETIRED_MAX = 10_000

export type NodeRefusalCode =
  | 'NODE_ID_USED'
  | 'NODE_KEY_USED'
  | 'NODES_FULL'
  | 'NODE_ADDRESS'
  | 'NODE_UNKNOWN'
  | 'LAST_VALIDATOR'
  | 'CHANGE_UNDER_WAY'
  | 'EVIDENCE_INVALID'

export type Verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

function refuse(code: NodeRefusalCode, reason: string): Refusal {
  return { code, reason }
}

export function refusalOfNodeAddition({ state, epoch, operatorKeys }: Meeting, node: RingNode): Refusal | undefined {
  const { id, publicKey } = node
  const known = [...state.nodes, ...state.retired]
  if (known.some((other) => other.id === id)) {
    return refuse('NODE_ID_USED', `${id} is, or was, a node of this ring; choose an id that was never used`)
  }
  if (known.some((other) => other.publicKey === publicKey) || operatorKeys.has(publicKey)) {
    return refuse('NODE_KEY_USED', 'the ring knows this key already; make a new one with ringwall node init')
  }
  const port = Number(node.address.slice(node.address.lastIndexOf(':') + 1))
  if (port < 1 || port > 65_535) return refuse('NODE_ADDRESS', `${node.address} has no port from 1 to 65535`)
  if (state.nodes.length >= NODES_MAX) return refuse('NODES_FULL', `a ring has at most ${NODES_MAX} nodes; remove one first`)
  return isValidator(node) ? refusalOfChange(state, epoch) : undefined
}

export function refusalOfNodeRemoval({ state, epoch }: Meeting, id: string): Refusal | undefined {
  const node = state.node(id)
  if (node === undefined) {
    return refuse(
      'NODE_UNKNOWN',
      `${id} is no node of this ring; its nodes are ${state.nodes.map((other) => other.id).join(', ')}`,
    )
  }
  if (state.retired.length >= RETIRED_MAX)
    return refuse('NODES_FULL', `${RETIRED_MAX} nodes have left this ring; begin a new one`)
  if (!isValidator(node)) return undefined
  if (state.nodes.filter(isValidator).length === 1) {
    return refuse('LAST_VALIDATOR', `${id} is the only validator: without it nobody agrees on anything; add another first`)
  }
  return refusalOfChange(state, epoch)
}

/** Validators hand over to the next set at the end of a block: one change, so that each set is agreed on by the one before. */
function refusalOfChange(state: RingState, epoch: number): Refusal | undefined {
  if (state.epoch === epoch) return undefined
  return refuse('CHANGE_UNDER_WAY', 'the block changes the validators already; the next one may again')
}

/** Statements of one validator in one round that contradict each other, both signed by it: anybody may show them. */
export function refusalOfEvidence(meeting: Meeting, evidence: EvidenceOfLies, verify: Verify): Refusal | undefined {
  const { state, content } = meeting
  const { validator, epoch, round, first, second } = evidence
  const node = state.node(validator)
  if (node === undefined || !isValidator(node)) {
    return refuse('NODE_UNKNOWN', `${validator} is no validator of this ring; if it was one, it is gone already`)
  }
  if (epoch > state.epoch) return refuse('EVIDENCE_INVALID', `epoch ${epoch} has not begun`)
  const [lower] = orderStatements(first, second)
  if (lower !== first) return refuse('EVIDENCE_INVALID', 'its statements are not in order')
  if (!contradict(first, second)) return refuse('EVIDENCE_INVALID', 'an honest validator may make both statements')
  const key = decodeBase64url(node.publicKey)
  for (const { kind, digest, signature } of [first, second]) {
    const message = signingBytes(kind, epochDomain(content.ring, epoch), round, (digest ?? undefined) as Digest | undefined)
    if (!verify(key, message, decodeBase64url(signature))) {
      return refuse('EVIDENCE_INVALID', `${validator} did not sign the ${kind} statement`)
    }
  }
  return refusalOfNodeRemoval(meeting, validator)
}

/** The two rules of the voter, and one proposal a round. */
function contradict(first: SignedStatement, second: SignedStatement): boolean {
  if (first.kind === second.kind) return first.kind !== 'nullify' && first.digest !== second.digest
  return first.kind === 'nullify' && second.kind === 'finalize'
}

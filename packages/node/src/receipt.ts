/**
 * A receipt: one decision, signed by the node that made it, with proof of the policy and of the denial that it rested on, down to
 * a quorum's certificate. Whoever holds the ring's genesis document can check it without a ring, a network or a key.
 *
 * What it proves: this node says that it decided so; at the height named, the ring had agreed on this policy and, when a denial
 * decided, on this denial. What it does not prove: that the node looked at the request that it describes.
 */
import { type Malformed, verifyStateProof } from '@ringwall/ledger'
import {
  canonicalJson,
  type DenialSubject,
  type GenesisDocument,
  genesisHash,
  nodesHash,
  policyHash,
  type RingNode,
  type StateParts,
  stateRoot,
  verifyMerkleProof,
} from '@ringwall/ring'
import { decodeBase64url, subjectId } from '@ringwall/ring/tx'
import { z } from 'zod'
import { Decision, type DecisionOfNode } from './decision-schema.ts'
import { verifySignature } from './keys.ts'
import type { RunningNode } from './running-node.ts'
import { describeSubject } from './subject-text.ts'

const DOMAIN = 'RINGWALL_RECEIPT_V1\n'
const FILE_CHARS_MAX = 64 * 1_048_576
/** A node's clock may differ so much from those of the validators that made the blocks. */
const CLOCK_MS = 60_000

const hash = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits')
/** One spelling of the same bytes. */
const base64 = z.string().refine((text) => Buffer.from(text, 'base64url').toString('base64url') === text, 'expected base64url')

const Receipt = z.strictObject({
  format: z.literal('ringwall/receipt/1'),
  ring: hash,
  decision: Decision,
  /** Ed25519 over `RINGWALL_RECEIPT_V1`, a line break, and the canonical JSON of ring, decision and `provenHeight`. */
  signature: base64,
  /** The state that is proven is the one after this block: where the decision's view stood, or where its denial became certain. */
  provenHeight: z.int().min(0),
  /** Blocks from the one after `provenHeight` to the first that is certified. */
  blocks: base64,
  /** What the state's root is made of. */
  state: z.looseObject({ policy: hash, policyVersion: z.int().min(1), nodes: hash, denials: hash }),
  /** The ring's nodes in that state, with their keys. */
  nodes: z.array(z.looseObject({ id: z.string().max(63), publicKey: base64 })).max(1_000),
  policy: z.string().max(262_144),
  denial: z
    .strictObject({
      denial: z.looseObject({
        id: z.string(),
        subject: z.unknown(),
        issuer: z.string(),
        reason: z.string(),
        issuedAtMs: z.number(),
        expiresAtMs: z.number(),
        height: z.number(),
      }),
      proof: z.strictObject({
        leaf: z.array(z.string()).max(64),
        branches: z.array(z.array(z.tuple([z.int(), z.string()])).max(16)).max(64),
      }),
    })
    .nullable(),
})
export type Receipt = z.output<typeof Receipt>

function signedBytes(ring: string, decision: DecisionOfNode, provenHeight: number): Uint8Array {
  return new TextEncoder().encode(DOMAIN + canonicalJson({ ring, decision, provenHeight }))
}

const denialIdOf = (rule: string | undefined): string | undefined => /^denial:(.+)$/.exec(rule ?? '')?.[1]

/**
 * The receipt of a decision of this node; undefined as long as no later block is certified.
 *
 * @throws {LedgerError} `STATE_GONE` when the state that the decision rested on cannot be had any more.
 */
export async function makeReceipt(node: RunningNode, decision: DecisionOfNode): Promise<Receipt | undefined> {
  const denialId = denialIdOf(decision.rule)
  const later = denialId === undefined ? undefined : node.ledger.state().denial(denialId)?.height
  // A provisional denial was enforced before it was agreed on: what can be proven is where it became certain.
  const provenHeight = decision.provisional ? Math.max(decision.height, later ?? 0) : decision.height
  const found = await node.ledger.stateAt(provenHeight)
  if (found === undefined) return undefined
  const { state, proof } = found
  const denial = denialId === undefined ? undefined : state.denial(denialId)
  const merkle = denialId === undefined ? undefined : state.proveDenial(denialId)
  const { ring } = node
  return {
    format: 'ringwall/receipt/1',
    ring,
    decision,
    signature: Buffer.from(node.sign(signedBytes(ring, decision, provenHeight))).toString('base64url'),
    provenHeight,
    blocks: Buffer.from(proof).toString('base64url'),
    state: { ...state.parts() },
    nodes: state.nodes.map((one) => ({ ...one })),
    policy: state.policyText,
    denial:
      denial === undefined || merkle === undefined
        ? null
        : {
            denial: { ...denial, height: denial.height ?? 0 },
            proof: {
              leaf: [...merkle.leaf],
              branches: merkle.branches.map((children) => children.map(([digit, held]) => [digit, held] as [number, string])),
            },
          },
  }
}

/** What a good receipt shows. */
export interface ReceiptVerdict {
  readonly decision: DecisionOfNode
  readonly provenHeight: number
  readonly policyVersion: number
  readonly denial: string | undefined
  /** Validators whose signatures certify the state. */
  readonly signers: readonly string[]
}

/** @throws {ReceiptInvalid} Naming the part that does not hold. */
export function verifyReceipt(text: string, genesis: GenesisDocument): ReceiptVerdict {
  const receipt = parseReceipt(text)
  const { ring, decision, provenHeight, state, nodes, policy, denial } = receipt
  const proven = verifyProvenState(receipt, genesis)
  if (policyHash(policy) !== state.policy) throw new ReceiptInvalid('/policy', 'it is not the policy of that state')

  if (nodesHash(nodes as unknown as readonly RingNode[]) !== state.nodes)
    throw new ReceiptInvalid('/nodes', 'they are not the nodes of that state')
  const signer = nodes.find(({ id }) => id === decision.node)
  const signature = Buffer.from(receipt.signature, 'base64url')
  if (signer === undefined) throw new ReceiptInvalid('/decision/node', `${decision.node} is no node of this ring`)
  if (!verifySignature(decodeBase64url(signer.publicKey), signedBytes(ring, decision, provenHeight), signature)) {
    throw new ReceiptInvalid('/signature', `${decision.node} did not sign this decision`)
  }
  if (decision.provisional ? provenHeight < decision.height : provenHeight !== decision.height) {
    throw new ReceiptInvalid('/provenHeight', `the decision was made at height ${decision.height}`)
  }
  if (!decision.provisional && proven.timestampMs < decision.atMs - decision.viewAgeMs - CLOCK_MS) {
    throw new ReceiptInvalid('/decision/viewAgeMs', 'the view was older than the decision says')
  }
  const denialId = denialIdOf(decision.rule)
  if (denial !== null) {
    const { id } = denial.denial
    if (id !== denialId) throw new ReceiptInvalid('/denial/denial/id', `the decision names ${decision.rule ?? 'no rule'}`)
    if (!verifyMerkleProof(state.denials, id, denial.denial, denial.proof)) {
      throw new ReceiptInvalid('/denial', 'it does not stand in that state')
    }
  } else if (denialId !== undefined && !decision.provisional) {
    throw new ReceiptInvalid('/denial', `the decision rests on denial ${denialId}, which is not proven`)
  }
  return {
    decision,
    provenHeight,
    policyVersion: state.policyVersion,
    denial: denial === null ? undefined : subjectLine(denial.denial),
    signers: proven.signers,
  }
}

/** What a file says of a state, and the blocks that prove it. */
export interface ProvenStateFile {
  readonly ring: string
  /** Base64url. */
  readonly blocks: string
  readonly provenHeight: number
  readonly state: unknown
}

/** That validators of the genesis certify the state that a file carries. @throws {ReceiptInvalid} Naming the part that does not hold. */
export function verifyProvenState(
  { ring, blocks, provenHeight, state }: ProvenStateFile,
  genesis: GenesisDocument,
): ReturnType<typeof verifyStateProof> {
  const named = genesisHash(genesis)
  if (ring !== named)
    throw new ReceiptInvalid('/ring', `it is of ring ${ring.slice(0, 12)}…, the genesis document of ${named.slice(0, 12)}…`)
  const validators = genesis.nodes
    .filter(({ roles }) => roles.includes('validator'))
    .map(({ id, publicKey }) => ({ id, publicKey: decodeBase64url(publicKey) }))
  let proven: ReturnType<typeof verifyStateProof>
  try {
    proven = verifyStateProof({ ring, validators }, Buffer.from(blocks, 'base64url'))
  } catch (error) {
    throw new ReceiptInvalid('/blocks', (error as Malformed).message)
  }
  if (proven.height !== provenHeight)
    throw new ReceiptInvalid('/provenHeight', `the blocks prove the state after block ${proven.height}`)
  if (stateRoot(state as StateParts) !== proven.root)
    throw new ReceiptInvalid('/state', 'it is not the state that the certified block builds on')
  return proven
}

/** Says what the proven denial is about; the subject's form was checked by the ring. */
function subjectLine({ id, subject, issuer, reason }: { id: string; subject: unknown; issuer: string; reason: string }): string {
  const own = subject as DenialSubject
  return `${subjectId(own) === id ? describeSubject(own) : id}, by ${issuer}: ${reason}`
}

function parseReceipt(text: string): Receipt {
  if (text.length > FILE_CHARS_MAX) throw new ReceiptInvalid('', `longer than ${FILE_CHARS_MAX} characters`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ReceiptInvalid('', 'it is not JSON')
  }
  const parsed = Receipt.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw new ReceiptInvalid(`/${(issue?.path ?? []).join('/')}`, issue?.message ?? 'it is not a receipt')
}

export class ReceiptInvalid extends Error {
  override readonly name = 'ReceiptInvalid'
  readonly code = 'RECEIPT_INVALID'
  /** JSON pointer (RFC 6901) to the part that does not hold. */
  readonly pointer: string
  constructor(pointer: string, what: string) {
    super(`${pointer === '' ? 'the receipt' : pointer}: ${what}`)
    this.pointer = pointer
  }
}

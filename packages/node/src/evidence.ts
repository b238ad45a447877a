/**
 * The evidence bundle of an incident: what a node knows of it, receipts of decisions about its sources, and the denials that stand, each
 * with its proof. The node signs what every part hashes to; so whoever holds the ring's genesis document can check all of it without a ring,
 * a network or a key, and is told which part was changed.
 *
 * What it proves: this node says so of the incident; each receipt proves its decision, and the denials stood at the height that is named.
 */
import { hash } from 'node:crypto'
import { canonicalJson, type GenesisDocument, nodesHash, type RingNode, verifyMerkleProof } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { z } from 'zod'
import type { DeskIncident } from './incidents.ts'
import { verifySignature } from './keys.ts'
import { ReceiptInvalid, type ReceiptVerdict, verifyProvenState, verifyReceipt } from './receipt.ts'
import type { RunningNode } from './running-node.ts'

const DOMAIN = 'RINGWALL_INCIDENT_V1\n'
const FILE_CHARS_MAX = 256 * 1_048_576
export const RECEIPTS_MAX = 20
const DENIALS_MAX = 256
const PARTS_MAX = 2_000

const hex = z.string().regex(/^[0-9a-f]{64}$/, 'expected 64 hex digits')
const base64 = z.string().refine((text) => Buffer.from(text, 'base64url').toString('base64url') === text, 'expected base64url')
const plain = z.record(z.string(), z.unknown())

const Evidence = z.strictObject({
  format: z.literal('ringwall/incident/2'),
  ring: hex,
  /** Who says so. */
  node: z.string().max(63),
  exportedAtMs: z.int(),
  incident: plain,
  receipts: z.array(plain).max(RECEIPTS_MAX),
  /** Decisions whose receipts could not be had. */
  missing: z.array(z.strictObject({ requestId: z.string().max(128), why: z.string().max(200) })).max(1_000),
  denials: z
    .array(
      z.strictObject({
        denial: z.looseObject({ id: z.string() }),
        proof: z.strictObject({
          leaf: z.array(z.string()).max(64),
          branches: z.array(z.array(z.tuple([z.int(), z.string()])).max(16)).max(64),
        }),
      }),
    )
    .max(DENIALS_MAX),
  provenHeight: z.int().min(0),
  blocks: base64,
  state: z.looseObject({ policy: hex, policyVersion: z.int().min(1), nodes: hex, denials: hex }),
  nodes: z.array(z.looseObject({ id: z.string().max(63), publicKey: base64 })).max(1_000),
  /** SHA-256 of the canonical JSON of each part, by its JSON pointer. */
  parts: z.record(z.string().max(200), hex),
  /** Ed25519 over `RINGWALL_INCIDENT_V1`, a line break, and the canonical JSON of format, ring, node, exportedAtMs, provenHeight and parts. */
  signature: base64,
})
export type Evidence = z.output<typeof Evidence>

type Signed = Pick<Evidence, 'format' | 'ring' | 'node' | 'exportedAtMs' | 'provenHeight' | 'parts'>

function signedBytes({ format, ring, node, exportedAtMs, provenHeight, parts }: Signed): Uint8Array {
  return Buffer.from(DOMAIN + canonicalJson({ format, ring, node, exportedAtMs, provenHeight, parts }))
}

/** By pointer: each member of the incident, each entry of its timeline, each receipt and denial. */
function partsOf({ incident, receipts, missing, denials }: Pick<Evidence, 'incident' | 'receipts' | 'missing' | 'denials'>) {
  const parts = new Map<string, unknown>()
  const each = (pointer: string, list: readonly unknown[]): void => {
    parts.set(`${pointer}/length`, list.length)
    for (const [index, value] of list.entries()) parts.set(`${pointer}/${index}`, value)
  }
  for (const [name, value] of Object.entries(incident)) {
    const pointer = `/incident/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
    if (name === 'timeline' && Array.isArray(value)) each(pointer, value)
    else parts.set(pointer, value)
  }
  each('/receipts', receipts)
  each('/denials', denials)
  parts.set('/missing', missing)
  return new Map([...parts].map(([pointer, value]) => [pointer, hash('sha256', canonicalJson(value), 'hex')]))
}

/**
 * What is known here of an incident, signed; undefined as long as no later block is certified.
 *
 * @param incident As it is shown. @throws {LedgerError} As `Ledger.stateAt`.
 */
export async function makeEvidence(
  node: RunningNode,
  { sources, accounts, firstMs }: DeskIncident,
  incident: object,
): Promise<Evidence | undefined> {
  const { ring, config } = node
  const found = await latestProven(node)
  if (found === undefined) return undefined
  const { state, proof, height } = found
  const named = new Set([...sources, ...accounts])
  const denials = state.denials
    .list(Date.now())
    .filter(({ subject }) => named.has(subject.value))
    .slice(0, DENIALS_MAX)
    .flatMap((denial) => {
      const merkle = state.proveDenial(denial.id)
      if (merkle === undefined) return []
      const branches = merkle.branches.map((children) => children.map(([digit, held]) => [digit, held] as [number, string]))
      return [{ denial: { ...denial, height: denial.height ?? 0 }, proof: { leaf: [...merkle.leaf], branches } }]
    })
  const { receipts, missing } = await receiptsOf(node, sources, firstMs)
  // As it will be read: what JSON does not have is not signed.
  const body = JSON.parse(JSON.stringify({ incident, receipts, missing, denials })) as Pick<
    Evidence,
    'incident' | 'receipts' | 'missing' | 'denials'
  >
  const signed: Signed = {
    format: 'ringwall/incident/2',
    ring,
    node: config.id,
    exportedAtMs: Date.now(),
    provenHeight: height,
    parts: Object.fromEntries(partsOf(body)),
  }
  return {
    ...signed,
    ...body,
    blocks: Buffer.from(proof).toString('base64url'),
    state: { ...state.parts() },
    nodes: state.nodes.map((one) => ({ ...one })),
    signature: Buffer.from(node.sign(signedBytes(signed))).toString('base64url'),
  }
}

const BACK_MAX = 8

/** The newest state that a certified block builds on. */
async function latestProven(node: RunningNode) {
  const top = node.ledger.status().height
  for (let height = top; height >= Math.max(0, top - BACK_MAX); height -= 1) {
    const found = await node.ledger.stateAt(height)
    if (found !== undefined) return { ...found, height }
  }
  return undefined
}

async function receiptsOf(
  node: RunningNode,
  sources: readonly string[],
  sinceMs: number,
): Promise<Pick<Evidence, 'receipts' | 'missing'>> {
  const receipts: Evidence['receipts'] = []
  const missing: Evidence['missing'] = []
  for (const requestId of await node.queries.refusedOf(sources, sinceMs, RECEIPTS_MAX)) {
    try {
      const { receipt, why } = await node.queries.findReceipt(requestId)
      if (receipt === null) missing.push({ requestId, why: why ?? 'no decision' })
      else receipts.push(JSON.parse(receipt) as Evidence['receipts'][number])
    } catch (error) {
      missing.push({ requestId, why: (error as Error).message.slice(0, 200) })
    }
  }
  return { receipts, missing }
}

/** What a good bundle shows. */
export interface EvidenceVerdict {
  readonly incident: Evidence['incident']
  readonly node: string
  readonly exportedAtMs: number
  readonly provenHeight: number
  readonly receipts: readonly ReceiptVerdict[]
  readonly missing: Evidence['missing']
  readonly denials: readonly Evidence['denials'][number]['denial'][]
  /** Validators whose signatures certify the state. */
  readonly signers: readonly string[]
}

/** @throws {ReceiptInvalid} Naming the part that does not hold. */
export function verifyEvidence(text: string, genesis: GenesisDocument): EvidenceVerdict {
  const evidence = parseEvidence(text)
  const { node, exportedAtMs, provenHeight, state, nodes, incident, missing, denials } = evidence
  const proven = verifyProvenState(evidence, genesis)
  if (nodesHash(nodes as unknown as readonly RingNode[]) !== state.nodes)
    throw new ReceiptInvalid('/nodes', 'they are not the nodes of that state')
  const signer = nodes.find(({ id }) => id === node)
  if (signer === undefined) throw new ReceiptInvalid('/node', `${node} is no node of this ring`)
  if (!verifySignature(decodeBase64url(signer.publicKey), signedBytes(evidence), Buffer.from(evidence.signature, 'base64url')))
    throw new ReceiptInvalid('/signature', `${node} did not sign this bundle`)
  const parts = partsOf(evidence)
  for (const [pointer, digest] of parts)
    if (evidence.parts[pointer] !== digest) throw new ReceiptInvalid(pointer, `it was changed since ${node} signed it`)
  const gone = Object.keys(evidence.parts).find((pointer) => !parts.has(pointer))
  if (gone !== undefined) throw new ReceiptInvalid(gone, `it was taken away since ${node} signed it`)
  for (const [index, { denial, proof }] of denials.entries())
    if (!verifyMerkleProof(state.denials, denial.id, denial, proof))
      throw new ReceiptInvalid(`/denials/${index}`, 'it does not stand in that state')
  const receipts = evidence.receipts.map((receipt, index) => {
    try {
      return verifyReceipt(JSON.stringify(receipt), genesis)
    } catch (error) {
      if (!(error instanceof ReceiptInvalid)) throw error
      const what = error.message.slice(error.message.indexOf(': ') + 2)
      throw new ReceiptInvalid(`/receipts/${index}${error.pointer}`, what)
    }
  })
  return {
    incident,
    node,
    exportedAtMs,
    provenHeight,
    receipts,
    missing,
    denials: denials.map(({ denial }) => denial),
    signers: proven.signers,
  }
}

function parseEvidence(text: string): Evidence {
  if (text.length > FILE_CHARS_MAX) throw new ReceiptInvalid('', `longer than ${FILE_CHARS_MAX} characters`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ReceiptInvalid('', 'it is not JSON')
  }
  const parsed = Evidence.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new ReceiptInvalid(`/${(issue?.path ?? []).join('/')}`, issue?.message ?? 'it is not a bundle of evidence')
  }
  if (Object.keys(parsed.data.parts).length > PARTS_MAX) throw new ReceiptInvalid('/parts', `more than ${PARTS_MAX}`)
  return parsed.data
}

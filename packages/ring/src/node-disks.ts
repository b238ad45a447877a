/**
 * The disks of nodes as the ring knows them: the storage key of each, encapsulated to the ring's sealing key; and nodes that were wiped. A node that
 * is gone has no disk here any more: nobody honest opens it again.
 */
import { ThresholdError, verifyCapsule } from '@ringwall/threshold'
import { canonicalJson } from './canonical-json.ts'
import { diskLabel } from './disk-label.ts'
import { decodeBase64url, encodeUtf8, equalBytes } from './encoding.ts'
import type { Verify } from './nodes.ts'
import { publicKeyOf } from './ring-key.ts'
import type { RingState } from './state.ts'
import { portableSha256 } from './tx.ts'
import type { TxContent } from './types.ts'

/** Wipes that are remembered. */
export const WIPES_MAX = 1_000
export const DISK_CAPSULE_BYTES_MAX = 1_024

/** Strings in base64url but for ids and names. */
export interface NodeDisk {
  readonly id: string
  readonly capsule: string
  /** SHA-256 of what the machine proves itself with. */
  readonly machine: string
  /** Of the block that it came in. */
  readonly atMs: number
}

/** What a node says of its own end, with its last signature. */
export interface WipeReceipt {
  readonly atMs: number
  /** Files that were there, and are gone. */
  readonly files: number
  readonly bytes: number
}

export interface NodeWipe {
  readonly id: string
  readonly publicKey: string
  readonly by: string
  readonly reason: string
  readonly atMs: number
  /** Null while the node has not said that it is done. */
  readonly receipt: (WipeReceipt & { readonly signature: string }) | null
}

export type DiskStatement =
  /** Of a node, about its own disk. */
  | { readonly type: 'disk.seal'; readonly capsule: string; readonly machine: string }
  /** Of an operator: the node is removed, its disk is never opened again, and if it hears of it, it erases what it has. */
  | { readonly type: 'node.wipe'; readonly id: string; readonly reason: string }
  /** Of a node, that another one which was wiped handed its receipt to. */
  | { readonly type: 'node.wiped'; readonly id: string; readonly receipt: WipeReceipt; readonly signature: string }

export type DiskRefusalCode = 'DISK_CAPSULE' | 'DISK_KEY' | 'WIPE_UNKNOWN' | 'WIPE_RECEIPT'

interface Refusal {
  readonly code: DiskRefusalCode
  readonly reason: string
}

const refuse = (code: DiskRefusalCode, reason: string): Refusal => ({ code, reason })

/** What is kept of them in a state. Each list in order of ids. */
export interface NodeDisks {
  readonly sealed: readonly NodeDisk[]
  /** Oldest first. */
  readonly wipes: readonly NodeWipe[]
}

export const NO_DISKS: NodeDisks = { sealed: [], wipes: [] }

const hashes = new WeakMap<NodeDisks, string>()

/** Undefined of none: a ring that has never had any commits to what it did before. */
export function hashOfDisks(disks: NodeDisks): string | undefined {
  if (disks.sealed.length === 0 && disks.wipes.length === 0) return undefined
  let hash = hashes.get(disks)
  if (hash === undefined) {
    hash = portableSha256(encodeUtf8(canonicalJson(disks)))
    hashes.set(disks, hash)
  }
  return hash
}

export function withoutDisk(disks: NodeDisks, id: string): NodeDisks {
  return disks.sealed.some((disk) => disk.id === id) ? { ...disks, sealed: disks.sealed.filter((disk) => disk.id !== id) } : disks
}

export function withDisk(disks: NodeDisks, disk: NodeDisk): NodeDisks {
  const others = disks.sealed.filter(({ id }) => id !== disk.id)
  return { ...disks, sealed: [...others, disk].sort((a, b) => (a.id < b.id ? -1 : 1)) }
}

export function withWipe(disks: NodeDisks, wipe: NodeWipe): NodeDisks {
  return { ...withoutDisk(disks, wipe.id), wipes: [...disks.wipes, wipe].slice(-WIPES_MAX) }
}

const RECEIPT_DOMAIN = 'RINGWALL_WIPED_V1\n'

/** What a wiped node signs. */
export function wipeReceiptBytes(ring: string, id: string, { atMs, files, bytes }: WipeReceipt): Uint8Array {
  return encodeUtf8(RECEIPT_DOMAIN + canonicalJson({ ring, id, atMs, files, bytes }))
}

/** @param node Who signed the statement. */
export function refusalOfDiskSeal(
  state: RingState,
  { ring }: Pick<TxContent, 'ring'>,
  { capsule, machine }: Extract<DiskStatement, { type: 'disk.seal' }>,
  node: string,
): Refusal | undefined {
  const member = state.node(node)
  const publicKey = publicKeyOf(state.sealingKey)
  if (member === undefined) return refuse('DISK_CAPSULE', `${node} is no node of this ring`)
  if (publicKey === undefined || state.sealingKey.asked === 'replace')
    return refuse('DISK_KEY', 'the ring has no sealing key now, or another one is being made')
  const label = diskLabel({ ring, node, publicKey: member.publicKey, machine })
  try {
    if (equalBytes(verifyCapsule(publicKey, decodeBase64url(capsule)).label, label)) return undefined
  } catch (error) {
    if (!(error instanceof ThresholdError)) throw error
  }
  return refuse('DISK_CAPSULE', 'the capsule is not sealed to the ring’s key for this node and machine')
}

export function refusalOfWipeReceipt(
  { disks }: Pick<RingState, 'disks'>,
  { ring }: Pick<TxContent, 'ring'>,
  { id, receipt, signature }: Extract<DiskStatement, { type: 'node.wiped' }>,
  verify: Verify,
): Refusal | undefined {
  const wipe = disks.wipes.find((one) => one.id === id)
  if (wipe === undefined) return refuse('WIPE_UNKNOWN', `${id} was not wiped`)
  if (wipe.receipt !== null) return refuse('WIPE_UNKNOWN', `${id} has handed in its receipt already`)
  const bytes = wipeReceiptBytes(ring, id, receipt)
  if (verify(decodeBase64url(wipe.publicKey), bytes, decodeBase64url(signature))) return undefined
  return refuse('WIPE_RECEIPT', `the receipt is not signed by ${id}`)
}

export function withReceipt(
  disks: NodeDisks,
  { id, receipt, signature }: Extract<DiskStatement, { type: 'node.wiped' }>,
): NodeDisks {
  const wipes = disks.wipes.map((wipe) => (wipe.id === id ? { ...wipe, receipt: { ...receipt, signature } } : wipe))
  return { ...disks, wipes }
}

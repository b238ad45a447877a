/**
 * Whether somebody may have secrets opened. Each holder of the sealing key asks this of its own view before its share touches a capsule: what a
 * coordinator says is not believed, and no capsule is opened but those of the state, which every validator verified before it voted.
 */
import {
  accessKeyName,
  hasLeaseWork,
  isVaultOpen,
  mayUseObjects,
  mayUseVault,
  objectLabel,
  type Policy,
  publicKeyOf,
  type RingState,
  type SealedBody,
} from '@ringwall/ring'
import { sha256Hex } from './object-manifest.ts'
import { type AskerFields, openSigningBytes, type SignedOpenRequest } from './open-request.ts'

/** How old a request may be, and how far ahead its signer's clock. */
export const OPEN_REQUEST_MS_MAX = 60_000

export type OpenRefusalCode =
  | 'OPEN_OTHER_RING'
  | 'OPEN_STALE'
  | 'OPEN_CLOSED'
  | 'OPEN_ISSUER'
  | 'OPEN_NOT_ENTITLED'
  | 'OPEN_UNKNOWN'
  | 'OPEN_ENDED'

export interface OpenRefusal {
  readonly ok: false
  readonly code: OpenRefusalCode
  readonly reason: string
}

export interface Openable {
  readonly name: string
  readonly version: number
  readonly body: SealedBody
  /** Of what no validator verified: what its capsule must be bound to, with a proof that is to be looked at. */
  readonly label?: Uint8Array
}

export interface AskView {
  readonly ring: string
  readonly policy: Policy
  /**
   * Is the signature that of the issuer's key, and the issuer one of the ring, not denied? What is wrong; undefined when all is good.
   * @param signed What the signature is over.
   */
  askerFault(request: AskerFields, signed: Uint8Array, signature: string, nowMs: number): string | undefined
}

export interface OpenView extends AskView {
  readonly state: Pick<RingState, 'vault' | 'objects' | 'sealingKey' | 'leases'>
}

export const refuse = (code: OpenRefusalCode, reason: string): OpenRefusal => ({ ok: false, code, reason })

/** Why nothing is done for who asks, whatever it is that they ask for. @param signed What the signature is over. */
export function refusalOfAsking(
  request: AskerFields,
  signed: Uint8Array,
  signature: string,
  view: AskView,
  nowMs: number,
): OpenRefusal | undefined {
  const { ring, atMs } = request
  if (ring !== view.ring)
    return refuse('OPEN_OTHER_RING', `it is for the ring ${ring.slice(0, 12)}, this is ${view.ring.slice(0, 12)}`)
  if (Math.abs(nowMs - atMs) > OPEN_REQUEST_MS_MAX) {
    const s = Math.round((nowMs - atMs) / 1_000)
    return refuse('OPEN_STALE', `it was signed ${s} s ago by this node’s clock, ${OPEN_REQUEST_MS_MAX / 1_000} s are allowed`)
  }
  const fault = view.askerFault(request, signed, signature, nowMs)
  return fault === undefined ? undefined : refuse('OPEN_ISSUER', fault)
}

/** All that is asked for, or why not: a request is granted whole. */
export function checkOpen(
  { request, signature, bodies }: SignedOpenRequest,
  view: OpenView,
  nowMs: number,
): { readonly ok: true; readonly secrets: readonly Openable[] } | OpenRefusal {
  const { issuer } = request
  const { policy, state } = view
  // Nodes have access keys opened for objects, and passwords of databases for leases.
  const hasObjects = policy.vault.objects.length > 0
  const isClosed = issuer.startsWith('key:') ? !hasObjects : !isVaultOpen(policy) && !(issuer.startsWith('node:') && hasObjects)
  if (isClosed) return refuse('OPEN_CLOSED', 'the policy has no rules for the vault: add vault.rules or vault.objects to it')
  if (publicKeyOf(state.sealingKey) === undefined)
    return refuse('OPEN_CLOSED', 'the ring has no sealing key yet: ringwall key ls shows how it stands')
  const refused = refusalOfAsking(request, openSigningBytes(request), signature, view, nowMs)
  if (refused !== undefined) return refused
  if (issuer.startsWith('key:')) return objectsOf(request, bodies ?? [], view)
  const [kind, asker] = issuer.split(':') as ['operator' | 'service' | 'node', string]
  // Those are of clients of objects, whose names no rule is about.
  if (kind === 'node' && request.secrets.every(({ name }) => name.startsWith(accessKeyName(''))))
    return accessKeysOf(request, state)
  // Rights first: who may not read a name learns nothing of it.
  for (const { name } of request.secrets) {
    if (mayUseVault(policy.vault, { kind, name: asker }, 'read', name)) continue
    // A node may where the ring agreed on something that takes it, too.
    if (kind === 'node' && hasLeaseWork(state.leases, policy.vault, name)) continue
    return refuse('OPEN_NOT_ENTITLED', `no rule of the policy (vault.rules) lets ${issuer} read ${name}`)
  }
  const secrets: Openable[] = []
  for (const { name, version: asked } of request.secrets) {
    const versions = state.vault.get(name)?.versions ?? []
    const version = asked === 0 ? versions.at(-1)?.version : asked
    const known = versions.find((one) => one.version === version)
    if (known === undefined) return refuse('OPEN_UNKNOWN', `there is no ${asked === 0 ? '' : `version ${asked} of `}${name}`)
    const body = state.vault.body(name, known.version, nowMs)
    if (body === undefined)
      return refuse(
        'OPEN_ENDED',
        `version ${known.version} of ${name} is ${known.end?.why ?? (known.hiddenAtMs === undefined ? 'expired' : 'hidden')}: nobody opens it${known.hiddenAtMs === undefined ? ' any more' : ' until it is shown again'}`,
      )
    secrets.push({ name, version: known.version, body })
  }
  return { ok: true, secrets }
}

/** A node that clients talk to needs their secrets to check what they sign. It is one of the ring, and every holder records it. */
function accessKeysOf(
  { secrets }: SignedOpenRequest['request'],
  { objects }: OpenView['state'],
): { readonly ok: true; readonly secrets: readonly Openable[] } | OpenRefusal {
  const found: Openable[] = []
  for (const { name } of secrets) {
    const id = name.slice(name.indexOf('/') + 1)
    const key = name === accessKeyName(id) ? objects.accessKey(id) : undefined
    if (key === undefined) return refuse('OPEN_UNKNOWN', `there is no access key ${name}`)
    found.push({ name, version: 1, body: { capsule: key.capsule, ciphertext: key.ciphertext } })
  }
  return { ok: true, secrets: found }
}

/** `BUCKET/VERSION`, with what the asker says opens it: that is believed by its hash. */
function objectsOf(
  { issuer, ring, secrets }: SignedOpenRequest['request'],
  bodies: readonly SealedBody[],
  { policy, state: { objects } }: OpenView,
): { readonly ok: true; readonly secrets: readonly Openable[] } | OpenRefusal {
  const identity = objects.accessKey(issuer.slice('key:'.length))?.identity
  if (identity === undefined) return refuse('OPEN_ISSUER', `the ring has no access key ${issuer}`)
  const found: Openable[] = []
  for (const [at, { name }] of secrets.entries()) {
    const [bucket, id, ...more] = name.split('/')
    const held = id === undefined || more.length > 0 ? undefined : objects.version(id)
    const body = bodies[at]
    if (held === undefined || held.bucket.name !== bucket || held.version.marker)
      return refuse('OPEN_UNKNOWN', `there is no version ${name}`)
    if (!mayUseObjects(policy.vault.objects, identity, 'read', bucket, held.key))
      return refuse('OPEN_NOT_ENTITLED', `no rule of the policy (vault.objects) lets ${identity} read it`)
    if (body === undefined || sha256Hex(Buffer.from(`${body.capsule} ${body.ciphertext}`)) !== held.version.capsule)
      return refuse('OPEN_UNKNOWN', `what is to open ${name} is not what the ring has of it`)
    const label = objectLabel({ ring, bucket, version: held.version.id }, sha256Hex(Buffer.from(held.key)))
    found.push({ name, version: 1, body, label })
  }
  return { ok: true, secrets: found }
}

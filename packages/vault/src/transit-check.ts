/**
 * Whether somebody may use keys of the transit. Each holder of the sealing key asks this of its own view: the capsule that it is handed says in its
 * label which key and version it is of, under its maker's proof, and a label of anything else is refused before a share touches it.
 */
import { hash } from 'node:crypto'
import {
  mayUseTransit,
  publicKeyOf,
  type RingState,
  type TransitKey,
  transitCapsuleLabel,
  transitKey,
  transitMacInput,
  transitPlace,
} from '@ringwall/ring'
import { type PublicKey, readCapsule, ThresholdError } from '@ringwall/threshold'
import { type AskView, type OpenRefusal, refusalOfAsking, refuse } from './open-check.ts'
import { type SignedTransitRequest, type TransitUseWanted, transitSigningBytes } from './transit-request.ts'

export interface TransitView extends AskView {
  readonly state: Pick<RingState, 'transit' | 'sealingKey'>
}

/** One use that is granted. */
export interface TransitGrant {
  readonly key: string
  readonly version: number
  /** SHA-256 of what a holder works on. */
  readonly digest: Uint8Array
  /** `capsule`: one that nobody has verified yet. `input`: of an evaluation. */
  readonly kind: 'capsule' | 'input'
  readonly bytes: Uint8Array
}

/** What holders and askers call one use. */
export function transitDigest(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer')
}

/** All that is asked for, or why not: a request is granted whole. */
export function checkTransit(
  { request, signature }: SignedTransitRequest,
  view: TransitView,
  nowMs: number,
): { readonly ok: true; readonly grants: readonly TransitGrant[] } | OpenRefusal {
  const { policy, state } = view
  if (policy.vault.transit.length === 0)
    return refuse('OPEN_CLOSED', 'the policy has no rules for the transit: add vault.transit to it')
  const refused = refusalOfAsking(request, transitSigningBytes(request), signature, view, nowMs)
  if (refused !== undefined) return refused
  const publicKey = publicKeyOf(state.sealingKey)
  if (publicKey === undefined)
    return refuse('OPEN_CLOSED', 'the ring has no sealing key yet: ringwall key ls shows how it stands')
  const [kind, name] = request.issuer.split(':') as ['operator' | 'service' | 'node', string]
  // Rights first: who may not use a key learns nothing of it.
  for (const { key } of request.uses)
    if (kind === 'node' || !mayUseTransit(policy.vault, { kind, name }, key))
      return refuse('OPEN_NOT_ENTITLED', `no rule of the policy (vault.transit) lets ${request.issuer} use ${key}`)
  const grants: TransitGrant[] = []
  for (const use of request.uses) {
    const key = transitKey(state.transit, use.key)
    if (key === undefined) return refuse('OPEN_UNKNOWN', `there is no key ${use.key}; list them with transit ls`)
    const granted = grantOf(request.ring, publicKey, key, request.act, use)
    if ('ok' in granted) return granted
    grants.push(granted)
  }
  return { ok: true, grants }
}

function grantOf(
  ring: string,
  publicKey: PublicKey,
  key: TransitKey,
  act: 'decrypt' | 'mac',
  { version, context, input }: TransitUseWanted,
): TransitGrant | OpenRefusal {
  const wanted = act === 'decrypt' ? 'encrypt' : 'mac'
  if (key.use !== wanted) return refuse('OPEN_UNKNOWN', `${key.name} is a key to ${key.use}, not to ${wanted}`)
  const place = transitPlace(ring, key, version)
  if (place === undefined) {
    const [first, last] = [key.versions[0]?.version, key.versions.at(-1)?.version]
    return refuse('OPEN_ENDED', `version ${version} of ${key.name} cannot be used: it has versions ${first} to ${last}`)
  }
  if (act === 'mac') {
    const bytes = transitMacInput(place, input)
    return { key: key.name, version, digest: transitDigest(bytes), kind: 'input', bytes }
  }
  const bytes = new Uint8Array(Buffer.from(input, 'base64url'))
  try {
    const { label } = readCapsule(publicKey, bytes)
    if (Buffer.compare(label, transitCapsuleLabel(place, context)) === 0)
      return { key: key.name, version, digest: transitDigest(bytes), kind: 'capsule', bytes }
  } catch (error) {
    if (!(error instanceof ThresholdError)) throw error
  }
  return refuse('OPEN_UNKNOWN', `what is to be decrypted was not encrypted to version ${version} of ${key.name} in this context`)
}

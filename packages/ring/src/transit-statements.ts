/** What operators may state about the keys of the transit: that there is one, another version of it, that old versions or all of it end. */
import { encodeBase64url } from './encoding.ts'
import type { Policy } from './policy.ts'
import { mayManageTransit } from './policy-vault.ts'
import { publicKeyOf } from './ring-key.ts'
import type { RingState } from './state.ts'
import {
  newestTransitVersion,
  TRANSIT_KEYS_MAX,
  TRANSIT_VERSIONS_MAX,
  type TransitKey,
  type TransitKeys,
  type TransitUse,
  transitKey,
  withoutTransitKey,
  withTransitKey,
} from './transit-keys.ts'
import type { TxContent, TxId } from './types.ts'

export type TransitStatement =
  | { readonly type: 'transit.create'; readonly name: string; readonly use: TransitUse }
  | { readonly type: 'transit.rotate'; readonly name: string }
  /** Versions below `least` end, for ever. */
  | { readonly type: 'transit.trim'; readonly name: string; readonly least: number }
  | { readonly type: 'transit.delete'; readonly name: string; readonly reason: string }

export type TransitRefusalCode =
  | 'TRANSIT_NOT_ENTITLED'
  | 'TRANSIT_EXISTS'
  | 'TRANSIT_UNKNOWN'
  | 'TRANSIT_VERSION'
  | 'TRANSIT_FULL'
  | 'TRANSIT_NO_KEY'

type Refusal = { readonly code: TransitRefusalCode; readonly reason: string }

const refuse = (code: TransitRefusalCode, reason: string): Refusal => ({ code, reason })

export function isTransitStatement(body: { readonly type: string }): body is TransitStatement {
  return body.type.startsWith('transit.')
}

/** The ring's signing key, raw, base64url; undefined while there is none. */
function signerOf({ signingKey }: RingState): string | undefined {
  const key = publicKeyOf(signingKey)
  return key === undefined ? undefined : encodeBase64url(key.groupKey)
}

function refusalOfKeys(state: RingState, use: TransitUse): Refusal | undefined {
  const name = use === 'sign' ? 'signing' : 'sealing'
  if (publicKeyOf(state.key(name)) === undefined)
    return refuse('TRANSIT_NO_KEY', `the ring has no ${name} key yet: ringwall key ls shows how it stands`)
  if (state.key(name).asked === 'replace')
    return refuse('TRANSIT_NO_KEY', `another ${name} key is being made: try again when that is there, see ringwall key ls`)
  return undefined
}

/** @param operator The name of who signed it. */
export function refusalOfTransitStatement(
  state: RingState,
  body: TransitStatement,
  operator: string,
  policy: Policy,
): Refusal | undefined {
  const { name } = body
  if (!mayManageTransit(policy.vault, operator, name))
    return refuse('TRANSIT_NOT_ENTITLED', `no rule of the policy (vault.transit) lets operator:${operator} manage ${name}`)
  const key = transitKey(state.transit, name)
  if (body.type === 'transit.create') {
    if (key !== undefined) return refuse('TRANSIT_EXISTS', `there is a key ${name}; rotate it, or delete it first`)
    if (state.transit.length >= TRANSIT_KEYS_MAX)
      return refuse('TRANSIT_FULL', `the ring has ${TRANSIT_KEYS_MAX} keys; delete what is not needed`)
    return refusalOfKeys(state, body.use)
  }
  if (key === undefined) return refuse('TRANSIT_UNKNOWN', `there is no key ${name}; list them with transit ls`)
  if (body.type === 'transit.rotate') {
    if (key.versions.length >= TRANSIT_VERSIONS_MAX)
      return refuse('TRANSIT_FULL', `${name} has ${TRANSIT_VERSIONS_MAX} versions in use; end old ones first: transit trim`)
    return refusalOfKeys(state, key.use)
  }
  if (body.type === 'transit.trim') {
    const [first, newest] = [key.versions[0]?.version ?? 0, newestTransitVersion(key).version]
    if (body.least <= first || body.least > newest)
      return refuse('TRANSIT_VERSION', `${name} has versions ${first} to ${newest}; name one after ${first}`)
  }
  return undefined
}

/** Applies a statement that was not refused. @param id Of its transaction. */
export function withTransitStatement(
  state: RingState,
  { issuer }: Pick<TxContent, 'issuer'>,
  body: TransitStatement,
  id: TxId,
  nowMs: number,
): TransitKeys {
  const { name } = body
  const made = (version: number, use: TransitUse) => ({
    version,
    atMs: nowMs,
    by: issuer,
    signer: use === 'sign' ? (signerOf(state) ?? '') : '',
  })
  if (body.type === 'transit.create')
    return withTransitKey(state.transit, { name, id: id.slice(0, 32), use: body.use, versions: [made(1, body.use)] })
  if (body.type === 'transit.delete') return withoutTransitKey(state.transit, name)
  const key = transitKey(state.transit, name) as TransitKey
  const versions =
    body.type === 'transit.rotate'
      ? [...key.versions, made(newestTransitVersion(key).version + 1, key.use)]
      : key.versions.filter(({ version }) => version >= body.least)
  return withTransitKey(state.transit, { ...key, versions })
}

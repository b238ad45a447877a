/**
 * What operators, and services with a pass, may state about the vault: that there is another version of a secret, sealed to the ring's key; that
 * versions are gone, or hidden.
 * Every validator checks the right, the version and the capsule's proof before it votes, so that holders of the key open capsules of the
 * state without a second look.
 */
import { type PublicKey, ThresholdError, verifyCapsule } from '@ringwall/threshold'
import { decodeBase64url, equalBytes } from './encoding.ts'
import type { SignedPass } from './pass-shape.ts'
import type { Policy } from './policy.ts'
import { isVaultOpen, mayUseVault, type VaultAsker } from './policy-vault.ts'
import { publicKeyOf } from './ring-key.ts'
import { readPass } from './service-pass.ts'
import { portableSha256 } from './sha256.ts'
import type { RingState } from './state.ts'
import type { TxContent } from './types.ts'
import { secretLabel } from './vault-label.ts'
import { isLive, SECRETS_MAX, VAULT_BYTES_MAX, type VaultSecrets } from './vault-secrets.ts'

/** Of a secret's ciphertext: 16 KiB of plaintext and what sealing adds. */
export const SECRET_CIPHERTEXT_BYTES_MAX = 16_640
export const SECRET_CAPSULE_BYTES_MAX = 2_048
export const SECRET_TTL_MS_MAX = 3_650 * 86_400_000

export type VaultRefusalCode =
  | 'VAULT_CLOSED'
  | 'VAULT_NOT_ENTITLED'
  | 'VAULT_CONFLICT'
  | 'VAULT_CAPSULE'
  | 'VAULT_FULL'
  | 'VAULT_UNKNOWN'

export type VaultStatement =
  /** `ttlMs` 0: it does not expire. Capsule and ciphertext in base64url. */
  | {
      readonly type: 'vault.put'
      readonly name: string
      readonly expectVersion: number
      readonly ttlMs: number
      readonly capsule: string
      readonly ciphertext: string
      readonly pass?: SignedPass
    }
  /** Empty `versions`: all. */
  | {
      readonly type: 'vault.delete'
      readonly name: string
      readonly versions: readonly number[]
      readonly reason: string
      readonly pass?: SignedPass
    }
  /** Nobody opens these versions until they are shown again. */
  | {
      readonly type: 'vault.hide'
      readonly name: string
      readonly versions: readonly number[]
      readonly hidden: boolean
      readonly pass?: SignedPass
    }

type Refusal = { readonly code: VaultRefusalCode; readonly reason: string }

const refuse = (code: VaultRefusalCode, reason: string): Refusal => ({ code, reason })

/** Capsules whose proof was verified, by key and digest: each is judged several times. */
const verified = new Set<string>()
const VERIFIED_MAX = 1_024

function isProven(publicKey: PublicKey, text: string, label: Uint8Array): boolean {
  const body = decodeBase64url(text)
  const name = `${portableSha256(publicKey.groupKey)} ${portableSha256(label)} ${portableSha256(body)}`
  if (verified.has(name)) return true
  try {
    if (!equalBytes(verifyCapsule(publicKey, body).label, label)) return false
  } catch (error) {
    if (error instanceof ThresholdError) return false
    throw error
  }
  if (verified.size >= VERIFIED_MAX) verified.delete(verified.values().next().value as string)
  verified.add(name)
  return true
}

export const newestVersion = (vault: VaultSecrets, name: string): number => vault.get(name)?.versions.at(-1)?.version ?? 0

export function refusalOfVaultStatement(
  state: RingState,
  { ring, atMs }: Pick<TxContent, 'ring' | 'atMs'>,
  body: VaultStatement,
  asker: VaultAsker,
  policy: Policy,
  nowMs: number,
): Refusal | undefined {
  const { vault } = state
  const { name } = body
  if (!isVaultOpen(policy)) return refuse('VAULT_CLOSED', 'the policy has no rules for the vault: add vault.rules to it')
  if (!mayUseVault(policy.vault, asker, 'write', name))
    return refuse('VAULT_NOT_ENTITLED', `no rule of the policy (vault.rules) lets ${asker.kind}:${asker.name} write ${name}`)
  const newest = newestVersion(vault, name)
  if (body.type === 'vault.delete') {
    const versions = vault.get(name)?.versions ?? []
    if (versions.length === 0) return refuse('VAULT_UNKNOWN', `there is no secret ${name}; list them with vault ls`)
    const named = versions.filter(({ version }) => body.versions.length === 0 || body.versions.includes(version))
    if (named.some((one) => isLive(one, nowMs))) return undefined
    return refuse('VAULT_UNKNOWN', `${name} has no such version that has not ended already; see vault history`)
  }
  if (body.type === 'vault.hide') {
    const known = vault.get(name)?.versions ?? []
    const changes = known.filter((one) => body.versions.includes(one.version) && isLive(one, nowMs))
    if (changes.some(({ hiddenAtMs }) => (hiddenAtMs !== undefined) !== body.hidden)) return undefined
    return refuse('VAULT_UNKNOWN', `${name} has no such version that is to be ${body.hidden ? 'hidden' : 'shown again'}`)
  }
  const publicKey = publicKeyOf(state.sealingKey)
  if (publicKey === undefined)
    return refuse('VAULT_CLOSED', 'the ring has no sealing key yet: ringwall key ls shows how it stands')
  if (state.sealingKey.asked === 'replace')
    return refuse('VAULT_CLOSED', 'another sealing key is being made: put it when that is there, see ringwall key ls')
  if (body.expectVersion !== newest)
    return refuse(
      'VAULT_CONFLICT',
      `${name} is at version ${newest}, this was sealed after version ${body.expectVersion}: seal anew`,
    )
  if (body.ttlMs > SECRET_TTL_MS_MAX || (body.ttlMs > 0 && atMs + body.ttlMs <= nowMs))
    return refuse('VAULT_CAPSULE', 'ttlMs must end in the future, and within ten years')
  if (newest === 0 && vault.size >= SECRETS_MAX)
    return refuse('VAULT_FULL', `the vault knows ${SECRETS_MAX} names; use one of them again`)
  if (vault.bytes + body.capsule.length + body.ciphertext.length > VAULT_BYTES_MAX)
    return refuse('VAULT_FULL', `the vault holds ${VAULT_BYTES_MAX} bytes; delete what is not needed`)
  if (isProven(publicKey, body.capsule, secretLabel(labelOf(ring, atMs, body)))) return undefined
  return refuse('VAULT_CAPSULE', 'the capsule is not sealed to the ring’s key for this secret, version, time and expiry')
}

export function labelOf(
  ring: string,
  atMs: number,
  { name, expectVersion, ttlMs }: Pick<Extract<VaultStatement, { type: 'vault.put' }>, 'name' | 'expectVersion' | 'ttlMs'>,
): Parameters<typeof secretLabel>[0] {
  return { ring, name, version: expectVersion + 1, sealedAtMs: atMs, expiresAtMs: ttlMs === 0 ? 0 : atMs + ttlMs }
}

/** A node proposes what the holder of a pass states. */
function stater(issuer: string, pass: SignedPass | undefined, ring: string): string {
  const read = pass === undefined ? undefined : readPass(ring, pass)
  return read === undefined ? issuer : `service:${read.service}`
}

/** Applies a statement that was not refused. */
export function withVaultStatement(
  vault: VaultSecrets,
  { ring, issuer, atMs }: Pick<TxContent, 'ring' | 'issuer' | 'atMs'>,
  body: VaultStatement,
  nowMs: number,
): VaultSecrets {
  if (body.type === 'vault.delete') {
    const all = vault.get(body.name)?.versions.map(({ version }) => version) ?? []
    return vault.without(body.name, body.versions.length === 0 ? all : body.versions, { atMs: nowMs, why: 'deleted' })
  }
  if (body.type === 'vault.hide') return vault.hiding(body.name, body.versions, body.hidden ? nowMs : undefined)
  const { name, version, sealedAtMs, expiresAtMs } = labelOf(ring, atMs, body)
  const { capsule, ciphertext } = body
  return vault.with(
    name,
    { version, by: stater(issuer, body.pass, ring), sealedAtMs, expiresAtMs },
    { capsule, ciphertext },
    nowMs,
  )
}

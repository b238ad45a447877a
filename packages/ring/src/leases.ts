/**
 * Leases of database users: what the ring agreed to have made, until when, for whom, and what is left to do about it. Nodes do it, any of them: each
 * step may be done twice. Passwords are made by who asks; the ledger has SCRAM verifiers (RFC 5803), of which no password can be found. Immutable.
 */
import { z } from 'zod'
import type { VerifiedAsker } from './asker.ts'
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'
import type { SignedPass } from './pass-shape.ts'
import type { Policy } from './policy.ts'
import { type DatabasePolicy, databaseRole } from './policy-vault.ts'
import { SCRAM_VERIFIER } from './scram-verifier.ts'
import { portableSha256 } from './sha256.ts'
import type { RingState } from './state.ts'
import type { DenialIndex, TxContent, TxId } from './types.ts'

export const LEASES_MAX = 1_000
export const LEASES_PER_HOLDER_MAX = 100
/** After that nobody tries to drop the user any more: its password has long ended. */
export const LEASE_GIVEN_UP_MS = 86_400_000
export const LEASE_TTL_MS_MIN = 10_000
export const LEASE_ENDS = ['expired', 'revoked', 'denied', 'policy'] as const

export interface LeaseCredential {
  readonly issuer: string
  readonly subject: string
  readonly tokenId: string
  readonly keys: readonly string[]
  readonly issuedAtMs: number
}

export interface Lease {
  /** 32 hex digits, of the transaction that began it; the user is `rw_` and the first 24 of them. */
  readonly id: string
  readonly database: string
  readonly role: string
  /** `operator:NAME` or `service:NAME`. */
  readonly holder: string
  /** Of a service: what it asked by. A denial of that ends the lease. */
  readonly credential: LeaseCredential | null
  readonly verifier: string
  readonly beganAtMs: number
  readonly expiresAtMs: number
  /** It is not renewed beyond. */
  readonly mostAtMs: number
  /** What is to be done at the database; null: it is as it is to be. */
  readonly work: 'make' | 'end' | null
  /** When that became due. */
  readonly dueAtMs: number
  readonly end: (typeof LEASE_ENDS)[number] | null
}

/** In order of ids. */
export type Leases = readonly Lease[]
export const NO_LEASES: Leases = []

export type LeaseStatement =
  | {
      readonly type: 'lease.begin'
      readonly database: string
      readonly role: string
      /** 0: as the role has it. */
      readonly ttlMs: number
      readonly verifier: string
      readonly pass?: SignedPass
    }
  | { readonly type: 'lease.renew'; readonly id: string; readonly ttlMs: number; readonly pass?: SignedPass }
  | { readonly type: 'lease.revoke'; readonly id: string; readonly pass?: SignedPass }
  /** Of a node, that did what was to be done: `made` or `ended`, as of when it was due. */
  | { readonly type: 'lease.done'; readonly id: string; readonly work: 'make' | 'end'; readonly dueAtMs: number }

export type LeaseRefusalCode = 'LEASE_NOT_ENTITLED' | 'LEASE_UNKNOWN' | 'LEASE_TTL' | 'LEASE_FULL' | 'LEASE_DONE'

type Refusal = { readonly code: LeaseRefusalCode; readonly reason: string }
const refuse = (code: LeaseRefusalCode, reason: string): Refusal => ({ code, reason })

export function leaseUser({ id }: Pick<Lease, 'id'>): string {
  return `rw_${id.slice(0, 24)}`
}

export function isLeaseStatement(body: { readonly type: string }): body is LeaseStatement {
  return body.type.startsWith('lease.')
}

const hashes = new WeakMap<Leases, string>()

/** Undefined of none. */
export function hashOfLeases(leases: Leases): string | undefined {
  if (leases.length === 0) return undefined
  let hash = hashes.get(leases)
  if (hash === undefined) {
    hash = portableSha256(encodeUtf8(canonicalJson(leases)))
    hashes.set(leases, hash)
  }
  return hash
}

function withLease(leases: Leases, lease: Lease): Leases {
  return [...leases.filter(({ id }) => id !== lease.id), lease].sort((a, b) => (a.id < b.id ? -1 : 1))
}

/** Of nodes: that something is done. */
export function refusalOfLeaseWork(leases: Leases, body: Extract<LeaseStatement, { type: 'lease.done' }>): Refusal | undefined {
  const lease = leases.find(({ id }) => id === body.id)
  if (lease?.work === body.work && lease.dueAtMs === body.dueAtMs) return undefined
  return refuse('LEASE_DONE', 'that is not to be done, or is done already')
}

export function refusalOfLease(
  { leases }: Pick<RingState, 'leases'>,
  body: Exclude<LeaseStatement, { type: 'lease.done' }>,
  { kind, name }: VerifiedAsker,
  policy: Policy,
  nowMs: number,
): Refusal | undefined {
  const who = `${kind}:${name}`
  if (body.type === 'lease.begin') {
    const role = databaseRole(policy.vault, { kind, name }, body.database, body.role)
    if (role === undefined)
      return refuse('LEASE_NOT_ENTITLED', `no role of the policy (vault.databases) lets ${who} use ${body.database}/${body.role}`)
    if (leases.length >= LEASES_MAX || leases.filter(({ holder }) => holder === who).length >= LEASES_PER_HOLDER_MAX)
      return refuse('LEASE_FULL', `too many leases: ${LEASES_PER_HOLDER_MAX} of one holder, ${LEASES_MAX} in all; revoke some`)
    return refusalOfTtl(body.ttlMs, role.ttlMax)
  }
  const lease = leases.find(({ id }) => id === body.id)
  // Of others' leases nobody learns whether there are any, but operators who may use the role.
  const mayEnd =
    lease !== undefined && kind === 'operator' && databaseRole(policy.vault, { kind, name }, lease.database, lease.role)
  if (lease === undefined || lease.end !== null || (lease.holder !== who && (body.type === 'lease.renew' || !mayEnd)))
    return refuse('LEASE_UNKNOWN', 'there is no such lease; list them with vault leases')
  if (body.type === 'lease.revoke') return undefined
  const role = databaseRole(policy.vault, { kind, name }, lease.database, lease.role)
  if (role === undefined)
    return refuse('LEASE_NOT_ENTITLED', `the policy does not let ${who} use ${lease.database}/${lease.role} any more`)
  if (nowMs + LEASE_TTL_MS_MIN > lease.mostAtMs) return refuse('LEASE_TTL', 'it cannot be renewed any further: begin another one')
  return refusalOfTtl(body.ttlMs, role.ttlMax)
}

function refusalOfTtl(ttlMs: number, most: number): Refusal | undefined {
  if (ttlMs === 0 || (ttlMs >= LEASE_TTL_MS_MIN && ttlMs <= most)) return undefined
  return refuse('LEASE_TTL', `ttlMs must be 0, for what the role has, or ${LEASE_TTL_MS_MIN} to ${most}`)
}

/** Applies a statement that was not refused. */
export function withLeaseStatement(
  leases: Leases,
  { id: txId, content }: { readonly id: TxId; readonly content: TxContent },
  body: LeaseStatement,
  asker: (VerifiedAsker & { readonly credential: LeaseCredential | null }) | undefined,
  databases: Readonly<Record<string, DatabasePolicy>>,
  nowMs: number,
): Leases {
  if (body.type === 'lease.begin') {
    const role = databases[body.database]?.roles[body.role]
    if (role === undefined) return leases
    const holder = asker === undefined ? content.issuer : `${asker.kind}:${asker.name}`
    const mostAtMs = nowMs + role.ttlMax
    const expiresAtMs = nowMs + (body.ttlMs === 0 ? role.ttl : body.ttlMs)
    const { database, verifier } = body
    const times = { beganAtMs: nowMs, expiresAtMs, mostAtMs, work: 'make', dueAtMs: nowMs, end: null } as const
    const credential = asker?.credential ?? null
    return withLease(leases, { id: txId.slice(0, 32), database, role: body.role, holder, credential, verifier, ...times })
  }
  const lease = leases.find(({ id }) => id === body.id)
  if (lease === undefined) return leases
  if (body.type === 'lease.revoke') return withLease(leases, { ...lease, work: 'end', dueAtMs: nowMs, end: 'revoked' })
  if (body.type === 'lease.renew') {
    const ttlMs = body.ttlMs === 0 ? (databases[lease.database]?.roles[lease.role]?.ttl ?? LEASE_TTL_MS_MIN) : body.ttlMs
    const expiresAtMs = Math.min(lease.mostAtMs, nowMs + ttlMs)
    return withLease(leases, { ...lease, expiresAtMs, work: 'make', dueAtMs: nowMs })
  }
  return body.work === 'end' ? leases.filter(({ id }) => id !== body.id) : withLease(leases, { ...lease, work: null })
}

/** What time, denials and the policy have ended; the same list when nothing did. */
export function tickedLeases(
  leases: Leases,
  policy: Policy,
  denials: Pick<DenialIndex, 'matchCredential'>,
  nowMs: number,
): Leases {
  const next = leases.flatMap((lease): readonly Lease[] => {
    if (lease.end !== null) return lease.dueAtMs + LEASE_GIVEN_UP_MS > nowMs ? [lease] : []
    const [kind, name] = lease.holder.split(':') as ['operator' | 'service', string]
    const end =
      lease.expiresAtMs <= nowMs
        ? 'expired'
        : lease.credential !== null && denials.matchCredential(lease.credential, nowMs) !== undefined
          ? 'denied'
          : databaseRole(policy.vault, { kind, name }, lease.database, lease.role) === undefined
            ? 'policy'
            : null
    return end === null ? [lease] : [{ ...lease, end, work: 'end', dueAtMs: nowMs }]
  })
  return next.length === leases.length && next.every((lease, at) => lease === leases[at]) ? leases : next
}

/** May a node have the password of the database's administrator opened: is there anything to do there? */
export function hasLeaseWork(leases: Leases, { databases }: Policy['vault'], secret: string): boolean {
  return leases.some(({ work, database }) => work !== null && databases[database]?.password === secret)
}

const Ms = z.int().min(0)
const Name = z.string().min(1).max(200)

/** The form of what a snapshot says of them. */
export const LeasesShape = z
  .array(
    z.strictObject({
      id: z.string().regex(/^[0-9a-f]{32}$/),
      database: Name,
      role: Name,
      holder: Name,
      credential: z
        .strictObject({ issuer: Name, subject: Name, tokenId: Name, keys: z.array(Name).max(4), issuedAtMs: Ms })
        .nullable(),
      verifier: z.string().regex(SCRAM_VERIFIER),
      beganAtMs: Ms,
      expiresAtMs: Ms,
      mostAtMs: Ms,
      work: z.enum(['make', 'end']).nullable(),
      dueAtMs: Ms,
      end: z.enum(LEASE_ENDS).nullable(),
    }),
  )
  .min(1)
  .max(LEASES_MAX)
  .refine((all) => all.every(({ id }, at) => at === 0 || (all[at - 1] as { id: string }).id < id), {
    error: 'leases are out of order',
  })

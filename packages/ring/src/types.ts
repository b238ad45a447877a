/** The words of what the ring agrees on. */
import type { CompiledExclusions, RuleSet, RuleSource } from '@ringwall/waf'
import type { ApiCheck } from '@ringwall/waf/api'
import type { Authorizer } from './authorization.ts'
import type { Credential } from './credential.ts'
import type { EnrolmentStatement } from './enrolment-statements.ts'
import type { FleetStatement } from './fleet-statements.ts'
import type { LeaseStatement } from './leases.ts'
import type { DiskStatement } from './node-disks.ts'
import type { ObjectStatement } from './object-acts.ts'
import type { PersonStatement } from './person-parsing.ts'
import type { PlayStatement } from './play-statements.ts'
import type { ExceptionPolicy, PatchPolicy, Policy, RoutePolicy, ServicePolicy } from './policy.ts'
import type { KeyStatement, RingKeyView } from './ring-key.ts'
import type { TransitStatement } from './transit-statements.ts'
import type { VaultStatement } from './vault-statements.ts'

/** Lower-case hex SHA-256 of a signed transaction's canonical body. */
export type TxId = string

/**
 * What a denial is about. `ip` is one address, `cidr` a prefix, and `account` the name typed into a login form, as `accountKey`
 * hashes it: names themselves never reach the ledger. The rest is about tokens, by what `Credential` says of them: `token` is a
 * `jti`, `session` a `sid`, `key` a thumbprint, `issuer` everything of an issuer. `issued-before` is everything that was issued
 * before a moment (UTC, as `toISOString` writes it): of a subject, of an issuer, or of all; there is one for each of these, and the
 * latest moment stands. `issuer` beside another kind: of that issuer alone.
 */
export type DenialSubject =
  | { readonly kind: 'ip'; readonly value: string }
  | { readonly kind: 'cidr'; readonly value: string }
  | {
      readonly kind: 'token' | 'subject' | 'session' | 'device'
      readonly issuer?: string
      readonly value: string
    }
  | { readonly kind: 'key'; readonly value: string }
  | { readonly kind: 'issuer'; readonly value: string }
  | { readonly kind: 'issued-before'; readonly issuer?: string; readonly subject?: string; readonly value: string }
  | { readonly kind: 'account'; readonly service: string; readonly value: string }

/** A denial as it stands. `id` is derived from the subject: denying twice extends, it does not add. */
export interface Denial {
  readonly id: string
  readonly subject: DenialSubject
  readonly reason: string
  /** Who signed it: `operator:NAME` or `node:ID`. */
  readonly issuer: string
  /** The nodes that said so, in order, when it took several; `issuer` is the one whose word decided how long it lasts. */
  readonly statedBy?: readonly string[]
  /** An operator denied it as well, for not as long: no node takes that back. */
  readonly operatorToo?: true
  /** Unix milliseconds. */
  readonly issuedAtMs: number
  readonly expiresAtMs: number
  /** Height at which it became certain; undefined while provisional. */
  readonly height: number | undefined
}

/** The statements that may be proposed. */
export type TxBody =
  | { readonly type: 'policy.set'; readonly policy: string; readonly expectVersion: number }
  | { readonly type: 'deny.add'; readonly subject: DenialSubject; readonly ttlMs: number; readonly reason: string }
  | { readonly type: 'deny.remove'; readonly id: string; readonly reason: string }
  /** Of a node, that no longer says so: see `withoutWordOf`. */
  | { readonly type: 'deny.withdraw'; readonly id: string; readonly reason: string }
  | { readonly type: 'node.add'; readonly node: RingNode; readonly reason: string }
  | { readonly type: 'node.remove'; readonly id: string; readonly reason: string }
  | ({ readonly type: 'evidence' } & EvidenceOfLies)
  /** Of a node, for whoever showed it a token of the ring. */
  | { readonly type: 'token.revoke'; readonly token: string }
  /** Nodes forget the answers of a service that they keep, those of `path` and below. */
  | { readonly type: 'cache.purge'; readonly service: string; readonly path: string; readonly reason: string }
  /** Of validators in a ceremony, or of operators who want one. */
  | KeyStatement
  /** Of a node that redeems a token of the ring that serves once. A second time its session ends. */
  | { readonly type: 'token.use'; readonly token: string }
  /** Of operators, about secrets. */
  | VaultStatement
  /** Of operators, about keys of the transit. */
  | TransitStatement
  /** About leases of database users. */
  | LeaseStatement
  /** Of access keys, about objects; of operators, about access keys. */
  | ObjectStatement
  /** Of operators about invitations and devices, and of nodes for those who come with one. */
  | EnrolmentStatement
  /** Of operators, about people; of nodes, for those who are invited. */
  | PersonStatement
  /** About the disks of nodes. */
  | DiskStatement
  /** About labels, holds, releases and updates. */
  | FleetStatement
  /** About runs of playbooks. */
  | PlayStatement
  /** Of a statement that waits for more operators, by the id of its transaction. */
  | { readonly type: 'tx.approve'; readonly id: TxId; readonly reason: string }

/** What a validator signed in a round: a vote (its digest is null exactly when it nullifies), or a proposal. */
export interface SignedStatement {
  readonly kind: 'notarize' | 'nullify' | 'finalize' | 'proposal'
  /** Lower-case hex of SHA-256. */
  readonly digest: string | null
  /** Ed25519, base64url. */
  readonly signature: string
}

/** Two statements that no honest validator makes in one round. In one order: that of kinds, then of digests. */
export interface EvidenceOfLies {
  readonly validator: string
  readonly epoch: number
  readonly round: number
  readonly first: SignedStatement
  readonly second: SignedStatement
}

/** The envelope that is signed: `RINGWALL_TX_V1\n` + canonical JSON (RFC 8785) of this. Refused after `untilMs`. */
export interface TxContent {
  readonly ring: string
  readonly issuer: string
  readonly atMs: number
  readonly untilMs: number
  /** 16 random bytes, base64url: makes two like statements two transactions. */
  readonly nonce: string
  readonly body: TxBody
}

export interface SignedTx {
  readonly content: TxContent
  /** Ed25519, base64url. */
  readonly signature: string
}

/** A node as genesis or `node.add` lists it, and an operator. Keys are raw Ed25519, base64url. */
export interface RingNode {
  readonly id: string
  readonly region: string
  /** `host:port` of its fabric listener. */
  readonly address: string
  readonly publicKey: string
  readonly roles: readonly ('validator' | 'edge')[]
}

export interface RingOperator {
  readonly name: string
  readonly publicKey: string
}

/** How a ring begins. Its hash is the ring's name. */
export interface GenesisDocument {
  readonly format: 'ringwall/genesis/1'
  readonly createdAtMs: number
  readonly nodes: readonly RingNode[]
  readonly operators: readonly RingOperator[]
  /** The first policy, as YAML text. */
  readonly policy: string
}

/** Rules that a policy can name, with their text: `base`, and whatever the operator installed. */
export type RuleLibrary = ReadonlyMap<string, readonly RuleSource[]>

/** Looks up denials. No method allocates on a miss. */
export interface DenialIndex {
  readonly size: number
  /** `address` is textual IPv4 or IPv6 (RFC 5952 or any other spelling); the most specific, unexpired denial. */
  matchAddress(address: string, nowMs: number): Denial | undefined
  /** Of a token that verified: the first denial that is about it. */
  matchCredential(credential: Credential, nowMs: number): Denial | undefined
  matchAccount(service: string, key: string, nowMs: number): Denial | undefined
  /** The unexpired denial with this id. */
  find(id: string, nowMs: number): Denial | undefined
  /** All unexpired, newest first. */
  list(nowMs: number): readonly Denial[]
}

/** A route with everything that judging needs, compiled. */
export interface CompiledRoute {
  readonly service: ServicePolicy & { readonly name: string }
  readonly route: RoutePolicy | undefined
  /** `service` or `service route`, for traces. */
  readonly label: string
  /** Undefined when the WAF is off here. */
  readonly rules: RuleSet | undefined
  /** `shadow` records what it would refuse, `learn` what rules match. Neither refuses anything. */
  readonly wafMode: 'enforce' | 'shadow' | 'learn' | 'off'
  readonly bodyBytesMax: number
  /** Undefined where requests are not held against the service’s API. */
  readonly api: ApiCheck | undefined
  readonly apiMode: 'enforce' | 'shadow' | 'off'
  /** Undefined where the service says nothing about who may do what. */
  readonly authorizer: Authorizer | undefined
  /** Those of the policy that are about this route, lapsed ones too. */
  readonly exceptions: readonly CompiledException[]
  /** Likewise. They count whatever the mode of the WAF here. */
  readonly patches: readonly CompiledPatch[]
}

/** A virtual patch: rules of its own, judged apart from all others. */
export interface CompiledPatch {
  readonly patch: PatchPolicy
  /** Unix milliseconds: in force before. */
  readonly untilMs: number
  readonly rules: RuleSet
}

/** What one rule does not look at in requests to a path. */
export interface CompiledException {
  readonly exception: ExceptionPolicy
  /** Unix milliseconds: in force before. */
  readonly untilMs: number
  readonly exclusion: CompiledExclusions[number]
  /** @param path Decoded and normalized, as for routing. */
  covers(path: string): boolean
}

/** The immutable result of applying the ledger up to `height`: what guards enforce. */
export interface View {
  readonly ring: string
  readonly height: number
  readonly blockTimestampMs: number
  readonly policyVersion: number
  readonly policy: Policy
  readonly policyText: string
  readonly denials: DenialIndex
  readonly operators: readonly RingOperator[]
  /** Those of the ring as of this height. */
  readonly nodes: readonly RingNode[]
  /** Counts changes of the validators. */
  readonly epoch: number
  /** The key that the validators hold together. */
  readonly signingKey: RingKeyView
  /** Of nodes that have to attest: until when they are believed. */
  readonly trust?: readonly { readonly node: string; readonly untilMs: number }[]
  /** Of nodes with a maximum age: when they are given nothing any more. */
  readonly ages?: readonly { readonly node: string; readonly endsAtMs: number }[]
  /** The key of a device that may have certificates of this name (EST): SubjectPublicKeyInfo, base64url. */
  readonly certified?: (name: string) => string | undefined
  /** Services that other nodes serve and this one does not (`services.NAME.nodes`): no route leads to them. */
  readonly elsewhere?: ReadonlySet<string>
  /** Every route of every service, and each service as a whole. */
  readonly routes: readonly CompiledRoute[]
  /** By Host (without port, lower case) and path; undefined when no service answers to it. */
  route(host: string, path: string, method: string): CompiledRoute | undefined
}

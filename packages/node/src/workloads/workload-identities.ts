/**
 * Certificates (X.509-SVIDs) of the services whose programs run on this machine: one a service, with a key of its own that never leaves the
 * memory of this node and of those programs. Made when the first program asks, renewed at half of its life for as long as one listens.
 *
 * What cannot be renewed is tried again, ever more rarely, and serves until it ends.
 */
import { generateKeyPair, hash, randomBytes, sign } from 'node:crypto'
import { promisify } from 'node:util'
import {
  certificateOf,
  type MintRequest,
  mintSigningBytes,
  ringJwk,
  type SignedMintRequest,
  spiffeId,
  svidProofBytes,
} from '@ringwall/identity'
import { type Denial, mayAttest, ringIssuer, type View, workloadOf } from '@ringwall/ring'

const makeKey = promisify(generateKeyPair)

const RETRY_MS = { first: 1_000, most: 60_000 } as const
/** Of its life: 45 to 55 hundredths. */
const RENEW_AT = { least: 0.45, most: 0.55 } as const
/** After the ring's key was replaced: those who are to verify hear of the new one first, and not all ask at once. */
const REPLACED_MS = { least: 2_000, most: 10_000 } as const
const CLOCK_BACK_MS = 120_000

/** What denials may be about, as of a token. */
export type SubjectOfDenial = Parameters<View['denials']['matchCredential']>[0]

export interface WorkloadIdentity {
  readonly service: string
  readonly spiffeId: string
  /** DER. */
  readonly certificate: Uint8Array
  /** PKCS#8, DER: ECDSA on P-256, which every TLS library has. */
  readonly key: Uint8Array
  /** SHA-256 of the certificate, base64url. */
  readonly thumbprint: string
  /** The ring's key that signed it. */
  readonly authority: string
  readonly issuedAtMs: number
  readonly expiresAtMs: number
}

export interface WorkloadIdentitiesOptions {
  readonly self: string
  readonly view: () => View
  /** Ed25519, by this node's key. */
  readonly sign: (message: Uint8Array) => Uint8Array
  /** Has the ring sign. */
  readonly mint: (asked: SignedMintRequest) => Promise<{ readonly message: Uint8Array; readonly signature: Uint8Array }>
  readonly denied: (of: SubjectOfDenial) => Denial | undefined
  readonly say: (level: 'info' | 'warn', line: string) => void
  /** Unix milliseconds. */
  readonly now?: () => number
  /** From 0 to 1. */
  readonly random?: () => number
}

interface Held {
  readonly listeners: Set<() => void>
  identity: WorkloadIdentity | undefined
  isMaking: boolean
  /** When to ask the ring next. */
  dueMs: number
  failures: number
  reason: string | undefined
  /** The ring's key is another one since, and that was taken note of. */
  isHastened: boolean
}

export class WorkloadIdentities {
  readonly #options: WorkloadIdentitiesOptions
  readonly #now: () => number
  readonly #random: () => number
  readonly #held = new Map<string, Held>()
  readonly counts = { issued: 0, failed: 0 }

  constructor(options: WorkloadIdentitiesOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#random = options.random ?? Math.random
  }

  /** Keeps the service's certificate renewed until it is let go. @param onChange It is there, is another one, or could not be made. */
  hold(service: string, onChange: () => void): () => void {
    const held = this.#of(service)
    const listener = (): void => onChange()
    held.listeners.add(listener)
    this.#tend(service, held)
    return () => {
      held.listeners.delete(listener)
    }
  }

  /** Good now, and not denied. */
  identity(service: string): WorkloadIdentity | undefined {
    const identity = this.#held.get(service)?.identity
    return identity !== undefined && this.#isGood(identity) ? identity : undefined
  }

  isMaking(service: string): boolean {
    return this.#held.get(service)?.isMaking === true
  }

  /** Why there is none, as far as is known. */
  reason(service: string): string | undefined {
    return this.#held.get(service)?.reason
  }

  /** To be called every second or so. */
  tick(): void {
    for (const [service, held] of this.#held) {
      if (held.listeners.size > 0) this.#tend(service, held)
      // Kept for who comes back soon, as is when to try again; a key that nobody may have any more is not kept.
      else if (!held.isMaking && (held.dueMs <= this.#now() || this.#isForNobody(service, held))) this.#held.delete(service)
    }
  }

  #of(service: string): Held {
    const known = this.#held.get(service)
    if (known !== undefined) return known
    const held: Held = {
      listeners: new Set(),
      identity: undefined,
      isMaking: false,
      dueMs: 0,
      failures: 0,
      reason: undefined,
      isHastened: false,
    }
    this.#held.set(service, held)
    return held
  }

  #isForNobody(service: string, { identity }: Held): boolean {
    return (
      !mayAttest(this.#options.view().policy, this.#options.self, service) || (identity !== undefined && !this.#isGood(identity))
    )
  }

  #isGood({ spiffeId: subject, thumbprint, authority, issuedAtMs, expiresAtMs }: WorkloadIdentity): boolean {
    const nowMs = this.#now()
    if (nowMs >= expiresAtMs || nowMs < issuedAtMs - CLOCK_BACK_MS) return false
    const { ring } = this.#options.view()
    const keys = [thumbprint, ringJwk(authority).kid]
    return this.#options.denied({ issuer: ringIssuer(ring), subject, keys, issuedAtMs }) === undefined
  }

  #tend(service: string, held: Held): void {
    if (held.isMaking) return
    const nowMs = this.#now()
    const { identity } = held
    if (identity !== undefined && !this.#isGood(identity)) {
      held.identity = undefined
      // One that was made before a denial is replaced at once; one that ran out has been tried for all the time.
      if (nowMs < identity.expiresAtMs) held.dueMs = 0
    }
    if (identity !== undefined && identity.authority !== this.#options.view().signingKey.key && !held.isHastened) {
      held.isHastened = true
      held.dueMs = Math.min(held.dueMs, nowMs + this.#between(REPLACED_MS.least, REPLACED_MS.most))
    }
    if (nowMs < held.dueMs) return
    held.isMaking = true
    this.#make(service)
      .then(
        (made) => {
          held.identity = made
          held.failures = 0
          held.reason = undefined
          held.isHastened = false
          held.dueMs = made.issuedAtMs + (made.expiresAtMs - made.issuedAtMs) * this.#between(RENEW_AT.least, RENEW_AT.most)
          this.counts.issued += 1
          const until = new Date(made.expiresAtMs).toISOString()
          this.#options.say('info', `certificate of service ${service} for its programs here, good until ${until}`)
        },
        (error: Error) => {
          held.failures += 1
          held.reason = error.message
          const most = Math.min(RETRY_MS.most, RETRY_MS.first * 2 ** Math.min(held.failures - 1, 16))
          held.dueMs = this.#now() + this.#between(most / 2, most)
          this.counts.failed += 1
          // The first of a row, and each that comes as rarely as can be.
          if (held.failures === 1 || held.failures % 8 === 0)
            this.#options.say('warn', `no certificate of service ${service} for its programs here (tried on): ${error.message}`)
        },
      )
      .finally(() => {
        held.isMaking = false
        for (const listener of [...held.listeners]) listener()
      })
  }

  #between(least: number, most: number): number {
    return least + (most - least) * this.#random()
  }

  async #make(service: string): Promise<WorkloadIdentity> {
    const view = this.#options.view()
    const workload = workloadOf(view.policy, service)
    const authority = view.signingKey.key
    if (workload === undefined) throw new Error('the policy’s workloads do not name it')
    if (authority === undefined) throw new Error('the ring has no signing key (yet): ringwall key ls shows how it stands')
    const { publicKey, privateKey } = await makeKey('ec', { namedCurve: 'P-256' })
    const spki = publicKey.export({ format: 'der', type: 'spki' }).toString('base64url')
    const named = { of: 'service', name: service, publicKey: spki } as const
    const proof = sign('sha256', svidProofBytes(view.ring, named), privateKey).toString('base64url')
    const atMs = this.#now()
    const ttlS = Math.floor(workload.ttl / 1_000)
    const request: MintRequest = {
      ring: view.ring,
      issuer: `node:${this.#options.self}`,
      certificate: '',
      atMs,
      nonce: randomBytes(16).toString('base64url'),
      want: { type: 'svid', ...named, proof, ttlS },
    }
    const asked = { request, signature: Buffer.from(this.#options.sign(mintSigningBytes(request))).toString('base64url') }
    const { message, signature } = await this.#options.mint(asked)
    const certificate = certificateOf(message, signature)
    return {
      service,
      spiffeId: spiffeId(view.ring, 'service', service),
      certificate,
      key: privateKey.export({ format: 'der', type: 'pkcs8' }),
      thumbprint: Buffer.from(hash('sha256', certificate, 'buffer')).toString('base64url'),
      // Should it have been replaced meanwhile, this is found to be another one, and the certificate is made anew.
      authority,
      issuedAtMs: atMs,
      expiresAtMs: atMs + ttlS * 1_000,
    }
  }
}

/**
 * Opening secrets, on the side of who reads them: asks through any node, combines what holders answer, and lets the authenticated encryption
 * judge. Only when that fails are the proofs asked for, which name who lied. The node that passes things on is not trusted: answers are signed
 * by their holders and encrypted to a key of this one request.
 */
import { randomBytes } from 'node:crypto'
import type { SealedBody, ServicePass } from '@ringwall/ring'
import {
  combineUnproven,
  decodePartial,
  type PublicKey,
  readCapsule,
  ThresholdError,
  verifyCapsule,
  verifyPartial,
} from '@ringwall/threshold'
import { loadSodium } from '@ringwall/threshold/sodium'
import { type Claim, readClaims } from './claims.ts'
import { VaultError } from './errors.ts'
import { type OpenRequest, openSigningBytes, type SecretWanted, type SignedOpenRequest } from './open-request.ts'
import { bodyDigest, ReplyKey } from './reply.ts'
import { readSecretLabel, unsealSecret } from './seal.ts'

/** What a reader knows of the ring, from more than one of its nodes. */
export interface VaultFacts {
  readonly ring: string
  readonly publicKey: PublicKey
  /** Of the holders: verifies a signature by the node's own Ed25519 key. */
  verify(party: string, message: Uint8Array, signature: Uint8Array): boolean
  /** Holders that answered wrongly, whether or not it could be opened all the same. */
  onLiars?(parties: readonly string[]): void
}

/** Who reads. */
export interface Reader {
  readonly issuer: string
  /** DER, base64url; empty for an operator. */
  readonly certificate: string
  /** In the place of a certificate. */
  readonly pass?: ServicePass
  /** Base64url. */
  sign(message: Uint8Array): Promise<string>
  /** What the capsule of this name must be bound to, where it is no secret of a path. */
  readonly labelOf?: (name: string) => Uint8Array
}

/** What a node answers. */
export interface OpenAnswer {
  /** Base64url. */
  readonly replies: readonly { readonly party: string; readonly reply: string }[]
  /** Of what was asked for, in its order. */
  readonly bodies: readonly SealedBody[]
  /** Holders that did not open, and why. */
  readonly refusals: readonly { readonly party: string; readonly reason: string }[]
}

export interface OpenedSecret {
  readonly name: string
  readonly version: number
  readonly sealedAtMs: number
  /** 0: never. */
  readonly expiresAtMs: number
  readonly secret: Uint8Array
}

export interface OpenedSecrets {
  readonly secrets: readonly OpenedSecret[]
  /** Holders that answered wrongly. */
  readonly liars: readonly string[]
}

/** One request and what comes of it. */
export class Opening {
  readonly #facts: VaultFacts
  readonly #replyKey = new ReplyKey()
  readonly #request: OpenRequest
  readonly #labelOf: Reader['labelOf']

  constructor(
    facts: VaultFacts,
    { issuer, certificate, pass, labelOf }: Reader,
    secrets: readonly SecretWanted[],
    proven: boolean,
    atMs: number,
  ) {
    this.#facts = facts
    this.#labelOf = labelOf
    const nonce = randomBytes(16).toString('base64url')
    const { replyTo } = this.#replyKey
    const held = pass === undefined ? {} : { pass }
    this.#request = { ring: facts.ring, issuer, certificate, ...held, atMs, nonce, replyTo, proven, secrets }
  }

  async signed(reader: Reader): Promise<SignedOpenRequest> {
    return { request: this.#request, signature: await reader.sign(openSigningBytes(this.#request)) }
  }

  /** By the place of the secret: what each holder says of it, whoever made up or garbled an answer left out. */
  claims({ replies }: OpenAnswer): readonly (readonly Claim[])[] {
    const { publicKey, verify } = this.#facts
    const signed = openSigningBytes(this.#request)
    const versions = this.#request.secrets.map(({ version }) => version)
    return readClaims({ publicKey, verify, replyKey: this.#replyKey, signed, versions }, replies)
  }

  /**
   * What the answer comes to.
   *
   * @throws {VaultError} VAULT_SHORT: too few holders say the same. VAULT_CORRUPT: what they say does not open it; of an answer with proofs,
   * with those who lied.
   */
  take(answer: OpenAnswer): OpenedSecrets {
    const { publicKey, ring } = this.#facts
    const liars = new Set<string>()
    const secrets = this.claims(answer).map((claims, at) => {
      const { name } = this.#request.secrets[at] as SecretWanted
      const agreeing = agreed(claims, publicKey.threshold)
      if (agreeing === undefined) {
        const why = answer.refusals.map(({ party, reason }) => `${party}: ${reason}`).join('; ')
        throw new VaultError(
          'VAULT_SHORT',
          `${name}: it takes ${publicKey.threshold} holders that say the same${why === '' ? '' : ` (${why})`}`,
        )
      }
      const { version, body } = agreeing[0] as Claim
      const given = answer.bodies[at]
      if (given === undefined || Buffer.from(bodyDigest(given)).toString('hex') !== body)
        throw new VaultError('VAULT_CORRUPT', `${name}: the node handed out other bytes than the holders opened`)
      try {
        const capsule = readCapsule(publicKey, Buffer.from(given.capsule, 'base64url'))
        const expected = this.#labelOf?.(name)
        const label =
          expected === undefined ? readSecretLabel(capsule.label) : { ring, name, version, sealedAtMs: 0, expiresAtMs: 0 }
        if (
          label === undefined ||
          label.ring !== ring ||
          label.name !== name ||
          label.version !== version ||
          (expected !== undefined && Buffer.compare(expected, capsule.label) !== 0)
        )
          throw new VaultError('VAULT_CORRUPT', `${name}: its capsule is of something else`)
        const values = this.#request.proven ? proven(publicKey, given, agreeing, liars) : bare(agreeing)
        const key = combineUnproven(publicKey, capsule, values.slice(0, publicKey.threshold))
        const secret = unsealSecret(key, capsule.label, Buffer.from(given.ciphertext, 'base64url'))
        key.fill(0)
        const { sealedAtMs, expiresAtMs } = label
        return { name, version, sealedAtMs, expiresAtMs, secret }
      } catch (error) {
        if (!(error instanceof ThresholdError) && !(error instanceof VaultError)) throw error
        throw new VaultError('VAULT_CORRUPT', `${name}: ${error.message}`, [...liars])
      }
    })
    return { secrets, liars: [...liars] }
  }
}

/** Those of the largest version that the threshold's number of holders say the same of. */
function agreed(claims: readonly Claim[], threshold: number): readonly Claim[] | undefined {
  const groups = Map.groupBy(claims, ({ version, body }) => `${version} ${body}`)
  return [...groups.values()]
    .filter((group) => group.length >= threshold)
    .sort((a, b) => (b[0] as Claim).version - (a[0] as Claim).version)[0]
}

type Value = { readonly index: number; readonly value: Uint8Array }

function bare(claims: readonly Claim[]): readonly Value[] {
  return claims.map(({ index, partial }) => ({ index, value: partial }))
}

/** Those whose proof verifies; who sent another is added to `liars`. */
function proven(
  publicKey: PublicKey,
  { capsule: body }: SealedBody,
  claims: readonly Claim[],
  liars: Set<string>,
): readonly Value[] {
  // Everybody voted for it: whose proof is looked at here are the holders.
  const capsule = verifyCapsule(publicKey, Buffer.from(body, 'base64url'))
  return claims.flatMap(({ party, index, partial }) => {
    try {
      const decoded = decodePartial(publicKey, index, partial)
      if (Buffer.compare(decoded.capsule, capsule.digest) === 0 && verifyPartial(publicKey, capsule, decoded))
        return [{ index, value: publicKey.group.encode(decoded.value) }]
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
    }
    liars.add(party)
    return []
  })
}

/** A command opens one secret and is done before libsodium would be loaded; a service that opens many has it from then on. */
const FEW = 2
let openings = 0

function loadForMany(): void {
  openings += 1
  // While holders answer. Where it does not load, everything works without.
  if (openings === FEW) loadSodium().catch(() => {})
}

/** One way to ask. @throws Whatever kept it from answering: another node is asked then. */
export type AskNode = (request: SignedOpenRequest) => Promise<OpenAnswer>

/**
 * Opens secrets by way of the first node that leads to it.
 *
 * @param nodes Ways to ask, in the order of preference.
 * @throws {VaultError} Or what the last node's way threw.
 */
export async function openSecrets(
  facts: VaultFacts,
  reader: Reader,
  wanted: readonly SecretWanted[],
  nodes: readonly AskNode[],
): Promise<OpenedSecrets> {
  loadForMany()
  let last: unknown = new VaultError('VAULT_SHORT', 'there is no node to ask')
  for (const ask of nodes) {
    try {
      const opened = await openThrough(facts, reader, wanted, ask)
      if (opened.liars.length > 0) facts.onLiars?.(opened.liars)
      return opened
    } catch (error) {
      if (error instanceof VaultError && error.culprits.length > 0) facts.onLiars?.(error.culprits)
      last = error
    }
  }
  throw last
}

async function openThrough(
  facts: VaultFacts,
  reader: Reader,
  wanted: readonly SecretWanted[],
  ask: AskNode,
): Promise<OpenedSecrets> {
  const first = new Opening(facts, reader, wanted, false, Date.now())
  const answer = await ask(await first.signed(reader))
  try {
    return first.take(answer)
  } catch (error) {
    if (!(error instanceof VaultError)) throw error
  }
  // With proofs of all who can be reached: a liar among the first may be all that was missing.
  const second = new Opening(facts, reader, wanted, true, Date.now())
  const again = await ask(await second.signed(reader))
  const opened = second.take(again)
  // Who answered wrongly at first, and rightly once a proof was wanted, lied all the same: both answers are signed.
  const before = first.claims(answer).flat()
  const after = second.claims(again).flat()
  const liars = before.filter(({ party, version, body, partial }) => {
    const now = after.find((claim) => claim.party === party && claim.version === version && claim.body === body)
    return now !== undefined && !isValueOf(facts.publicKey, now, partial)
  })
  return { secrets: opened.secrets, liars: [...new Set([...opened.liars, ...liars.map(({ party }) => party)])] }
}

function isValueOf(publicKey: PublicKey, { index, partial }: Claim, value: Uint8Array): boolean {
  try {
    return Buffer.compare(publicKey.group.encode(decodePartial(publicKey, index, partial).value), value) === 0
  } catch (error) {
    if (error instanceof ThresholdError) return false
    throw error
  }
}

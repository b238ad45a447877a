/** Uses of keys of the transit that take holders, on the side of who asks: what they answer only the asker can read and combine. */
import { randomBytes } from 'node:crypto'
import { type TransitPlace, transitMacInput } from '@ringwall/ring'
import {
  combineEvaluations,
  combineUnproven,
  decodePartial,
  type PublicKey,
  readCapsule,
  ThresholdError,
  verifyCapsule,
  verifyPartial,
} from '@ringwall/threshold'
import { type Claim, readClaims } from './claims.ts'
import { VaultError } from './errors.ts'
import type { OpenAnswer, Reader, VaultFacts } from './opening.ts'
import { ReplyKey } from './reply.ts'
import { transitDigest } from './transit-check.ts'
import { type SignedTransitRequest, TRANSIT_USES_MAX, type TransitRequest, transitSigningBytes } from './transit-request.ts'
import {
  AUTHENTICATOR_BYTES,
  contextDigest,
  decryptSegments,
  messageDigest,
  readCiphertext,
  type TransitCiphertext,
  transitText,
} from './transit-text.ts'

/** One way to have a request passed to holders. */
export type AskTransit = (request: SignedTransitRequest) => Promise<Pick<OpenAnswer, 'replies' | 'refusals'>>

export interface Decryption {
  readonly key: string
  readonly ciphertext: string
  /** As it was given when it was encrypted; empty for none. */
  readonly context: Uint8Array
}

interface Uses {
  readonly act: TransitRequest['act']
  readonly uses: TransitRequest['uses']
  /** What holders say that they worked on, hex. */
  readonly digests: readonly string[]
}

/** As many claims of each use as it takes, or more. @throws {VaultError} VAULT_SHORT, with what holders say. */
async function askHolders(
  facts: VaultFacts,
  reader: Reader,
  { act, uses, digests }: Uses,
  proven: boolean,
  ask: AskTransit,
): Promise<readonly (readonly Claim[])[]> {
  const { publicKey, ring } = facts
  const replyKey = new ReplyKey()
  const nonce = randomBytes(16).toString('base64url')
  const { issuer, certificate, pass } = reader
  const held = pass === undefined ? {} : { pass }
  const asker = { ring, issuer, certificate, ...held, atMs: Date.now(), nonce, replyTo: replyKey.replyTo, proven }
  const request: TransitRequest = { ...asker, act, uses }
  const signed = transitSigningBytes(request)
  const answer = await ask({ request, signature: await reader.sign(signed) })
  const versions = uses.map(({ version }) => version)
  const claims = readClaims({ publicKey, verify: facts.verify, replyKey, signed, versions }, answer.replies)
  return claims.map((all, at) => {
    const fitting = all.filter(({ body }) => body === digests[at])
    if (fitting.length >= publicKey.threshold) return fitting
    const why = answer.refusals.map(({ party, reason }) => `${party}: ${reason}`).join('; ')
    throw new VaultError('VAULT_SHORT', `it takes ${publicKey.threshold} holders of the key${why === '' ? '' : ` (${why})`}`)
  })
}

/** Tries one node after the other. */
async function byAny<T>(ways: readonly AskTransit[], run: (ask: AskTransit) => Promise<T>): Promise<T> {
  let last: unknown = new VaultError('VAULT_SHORT', 'no node was asked')
  for (const ask of ways) {
    try {
      return await run(ask)
    } catch (error) {
      last = error
    }
  }
  throw last
}

function* batchesOf<T>(all: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < all.length; at += TRANSIT_USES_MAX) yield all.slice(at, at + TRANSIT_USES_MAX)
}

/**
 * What was encrypted, in order. The data's keys are in this process for as long as that takes, and nowhere else.
 *
 * @throws {VaultError} VAULT_SHORT, VAULT_MALFORMED; VAULT_CORRUPT with the holders that lied.
 */
export async function decryptTransit(
  facts: VaultFacts,
  reader: Reader,
  all: readonly Decryption[],
  ways: readonly AskTransit[],
): Promise<readonly Buffer[]> {
  const plaintexts: Buffer[] = []
  for (const batch of batchesOf(all)) {
    const read = batch.map(({ ciphertext }) => readCiphertext(ciphertext))
    const uses = batch.map(({ key, context }, at) => {
      const { version, capsule } = read[at] as TransitCiphertext
      return { key, version, context: contextDigest(context), input: Buffer.from(capsule).toString('base64url') }
    })
    const digests = read.map(({ capsule }) => Buffer.from(transitDigest(capsule)).toString('hex'))
    const wanted: Uses = { act: 'decrypt', uses, digests }
    const opened = await byAny(ways, async (ask) => {
      try {
        return combined(facts.publicKey, read, await askHolders(facts, reader, wanted, false, ask), false)
      } catch (error) {
        if (!(error instanceof VaultError)) throw error
      }
      // With proofs of all who can be reached: a liar among the first may be all that was missing.
      return combined(facts.publicKey, read, await askHolders(facts, reader, wanted, true, ask), true)
    })
    plaintexts.push(...opened)
  }
  return plaintexts
}

function combined(
  publicKey: PublicKey,
  read: readonly TransitCiphertext[],
  claims: readonly (readonly Claim[])[],
  proven: boolean,
): readonly Buffer[] {
  return read.map(({ capsule: body, segments }, at) => {
    const liars: string[] = []
    try {
      const capsule = readCapsule(publicKey, body)
      const held = claims[at] ?? []
      const values = proven
        ? provenValues(publicKey, body, held, liars)
        : held.map(({ index, partial }) => ({ index, value: partial }))
      const key = combineUnproven(publicKey, capsule, values.slice(0, publicKey.threshold))
      const plaintext = decryptSegments(key, capsule.label, segments)
      key.fill(0)
      return plaintext
    } catch (error) {
      if (!(error instanceof ThresholdError) && !(error instanceof VaultError)) throw error
      throw new VaultError('VAULT_CORRUPT', `ciphertext ${at + 1}: ${error.message}`, liars)
    }
  })
}

function provenValues(
  publicKey: PublicKey,
  body: Uint8Array,
  claims: readonly Claim[],
  liars: string[],
): readonly { readonly index: number; readonly value: Uint8Array }[] {
  const capsule = verifyCapsule(publicKey, body)
  return claims.flatMap(({ party, index, partial }) => {
    try {
      const decoded = decodePartial(publicKey, index, partial)
      if (verifyPartial(publicKey, capsule, decoded)) return [{ index, value: publicKey.group.encode(decoded.value) }]
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
    }
    liars.push(party)
    return []
  })
}

/**
 * Authenticators of messages, in order: the same for the same message, key and version, and of no use in finding another. No holder, and nobody else,
 * has the key: each gives its part of one evaluation, with a proof.
 *
 * @throws {VaultError} VAULT_SHORT
 */
export async function authenticateTransit(
  facts: VaultFacts,
  reader: Reader,
  all: readonly { readonly place: TransitPlace; readonly message: Uint8Array }[],
  ways: readonly AskTransit[],
): Promise<readonly string[]> {
  const { publicKey } = facts
  const texts: string[] = []
  for (const batch of batchesOf(all)) {
    const inputs = batch.map(({ message }) => messageDigest(message))
    const worked = batch.map(({ place }, at) => transitMacInput(place, inputs[at] as string))
    const uses = batch.map(({ place }, at) => ({
      key: place.key,
      version: place.version,
      context: '',
      input: inputs[at] as string,
    }))
    const digests = worked.map((bytes) => Buffer.from(transitDigest(bytes)).toString('hex'))
    const made = await byAny(ways, async (ask) => {
      const claims = await askHolders(facts, reader, { act: 'mac', uses, digests }, true, ask)
      return worked.map((bytes, at) => evaluated(publicKey, bytes, claims[at] ?? []))
    })
    texts.push(...made.map((bytes, at) => transitText((batch[at] as { place: TransitPlace }).place.version, bytes)))
  }
  return texts
}

function evaluated(publicKey: PublicKey, input: Uint8Array, claims: readonly Claim[]): Uint8Array {
  let partials = claims.flatMap(({ index, partial }) => {
    try {
      return [decodePartial(publicKey, index, partial)]
    } catch (error) {
      if (error instanceof ThresholdError) return []
      throw error
    }
  })
  for (;;) {
    try {
      return combineEvaluations(publicKey, input, partials.slice(0, publicKey.threshold)).slice(0, AUTHENTICATOR_BYTES)
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      if (error.code !== 'THRESHOLD_SHARE') throw new VaultError('VAULT_SHORT', error.message)
      // Those that lied left out, as often as there are any.
      partials = partials.filter(({ index }) => !error.culprits.includes(index))
    }
  }
}

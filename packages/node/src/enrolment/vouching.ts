/**
 * Validators see for themselves that an attestation key lives in the TPM of a device: each makes a secret that only that TPM can read, and signs once it
 * hears it again. It takes as many of them as agree on blocks; one alone lets nobody in, and keeps nobody out.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { endorsementHash, makeCredential, type TpmDevice, TpmMalformed } from '@ringwall/enroll'
import type { Fabric } from '@ringwall/fabric'
import { endorsementOf, type RingState, verdictBytes } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'

const ANSWER_MS_MAX = 10_000
const CHALLENGE_MS_MAX = 30_000
const MESSAGE_BYTES_MAX = 8_192

export interface VouchingOptions {
  readonly self: string
  readonly ring: string
  readonly fabric: Pick<Fabric, 'request' | 'onRequest'>
  state(): RingState
  sign(message: Uint8Array): Uint8Array
  /** A validator refused what most of them vouched for. */
  readonly onDissent?: (validator: string, reason: string) => void
}

/** A refusal in a validator's own words. */
class Refused extends Error {}

interface Challenge {
  readonly ak: string
  readonly ek: string
  readonly secret: Buffer
  readonly atMs: number
}

export interface Verdict {
  readonly node: string
  readonly signature: string
}

export class Vouching {
  readonly #options: VouchingOptions
  /** By node: one at a time, and one answer each. */
  readonly #challenges = new Map<string, Challenge>()

  constructor(options: VouchingOptions) {
    this.#options = options
    options.fabric.onRequest('attest', async (from, payload) => {
      if (payload.length > MESSAGE_BYTES_MAX) throw new Error('too long')
      const asked = JSON.parse(Buffer.from(payload).toString('utf8')) as Record<string, unknown>
      return Buffer.from(
        JSON.stringify(typeof asked.secret === 'string' ? this.#verdict(from, asked.secret) : this.#challenge(from, asked)),
      )
    })
  }

  #challenge(from: string, { ek, ak }: Record<string, unknown>): unknown {
    if (typeof ek !== 'string' || typeof ak !== 'string') return { refused: 'expected ek and ak' }
    const endorsement = Buffer.from(ek, 'base64url')
    const known = endorsementOf(this.#options.state(), from)
    if (known === null) return { refused: `the ring knows no TPM of ${from}: an operator binds it, ringwall device bind` }
    if (endorsementHash(endorsement) !== known)
      return { refused: 'this is not the endorsement key that the ring knows of this node: its TPM was replaced' }
    try {
      const secret = randomBytes(32)
      const credential = makeCredential(endorsement, Buffer.from(ak, 'base64url'), secret, randomBytes(32))
      this.#challenges.set(from, { ak, ek: known, secret, atMs: performance.now() })
      return { credential: encodeBase64url(credential) }
    } catch (error) {
      if (error instanceof TpmMalformed) return { refused: error.message }
      throw error
    }
  }

  #verdict(from: string, answer: string): unknown {
    const challenge = this.#challenges.get(from)
    this.#challenges.delete(from)
    const secret = Buffer.from(answer, 'base64url')
    if (challenge === undefined || performance.now() - challenge.atMs > CHALLENGE_MS_MAX) return { refused: 'nothing was asked' }
    if (secret.length !== challenge.secret.length || !timingSafeEqual(secret, challenge.secret))
      return { refused: 'this is not the secret: the attestation key is not in the TPM of the endorsement key' }
    return { signature: this.#signed(from, challenge) }
  }

  #signed(node: string, { ak, ek }: Pick<Challenge, 'ak' | 'ek'>): string {
    return encodeBase64url(this.#options.sign(verdictBytes(this.#options.ring, node, ak, ek)))
  }

  /**
   * Has the validators vouch for the attestation key of this node's TPM.
   *
   * @throws {TpmMalformed} When the TPM fails.
   */
  async gather(
    tpm: TpmDevice,
  ): Promise<{ readonly ak: string; readonly verdicts: readonly Verdict[]; readonly refused: readonly string[] }> {
    const { self, state } = this.#options
    const endorsement = await tpm.endorsementKey()
    const ak = encodeBase64url(await tpm.attestationKey())
    const ek = encodeBase64url(endorsement)
    const verdicts: Verdict[] = []
    const refused: string[] = []
    const dissents: [validator: string, reason: string][] = []
    // One after another: a TPM does one thing at a time.
    for (const { id } of state().validators) {
      try {
        if (id === self) verdicts.push({ node: id, signature: this.#signed(id, { ak, ek: endorsementHash(endorsement) }) })
        else verdicts.push({ node: id, signature: await this.#ask(id, tpm, ak, ek) })
      } catch (error) {
        if (error instanceof TpmMalformed) throw error
        refused.push(`${id}: ${(error as Error).message}`)
        if (error instanceof Refused) dissents.push([id, error.message])
      }
    }
    const isMost = verdicts.length * 2 > state().validators.length
    if (isMost) for (const [id, reason] of dissents) this.#options.onDissent?.(id, reason)
    return { ak, verdicts, refused }
  }

  async #ask(validator: string, tpm: TpmDevice, ak: string, ek: string): Promise<string> {
    const { credential } = await this.#request(validator, { ak, ek }, 'credential')
    const secret = await tpm.activate(Buffer.from(credential as string, 'base64url'))
    const { signature } = await this.#request(validator, { secret: encodeBase64url(secret) }, 'signature')
    return signature as string
  }

  async #request(to: string, said: Record<string, string>, expected: string): Promise<Record<string, unknown>> {
    const answer = await this.#options.fabric.request(to, 'attest', Buffer.from(JSON.stringify(said)), ANSWER_MS_MAX)
    const read = JSON.parse(Buffer.from(answer).toString('utf8')) as Record<string, unknown>
    if (typeof read[expected] !== 'string') throw new Refused(String(read.refused ?? 'it answers something else').slice(0, 200))
    return read
  }
}

/**
 * A holder's side of opening another node's disk: finds out by its own view whether the node is a member, asks from its own machine, and asks for the
 * capsule that stands in the ring's state, and for no other; records it; and answers with its partial decryption, encrypted to the node's one-time
 * key. A node that was removed, evicted or wiped has no disk in the state, and gets nothing.
 */
import { hash, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Fabric } from '@ringwall/fabric'
import { type DevicesPolicy, mustAttest, type QuoteReader, type RingState, refusalOfBoot } from '@ringwall/ring'
import { decodeBase64url, encodeBase64url } from '@ringwall/ring/tx'
import { ReplyMaker, requestDigest, VaultError } from '@ringwall/vault'
import { verifySignature } from '../keys.ts'
import { ThreadGone } from '../signing/task-thread.ts'
import type { OpeningLog } from '../vault/opening-log.ts'
import type { VaultService } from '../vault/vault-service.ts'
import { machineVerifier } from './machine.ts'
import { parseRelease, type ReleaseAnswer, releaseNonce, releaseSigningBytes, type SignedRelease } from './release-wire.ts'

/** How far the clock of a node that starts may be off. */
const SKEW_MS_MAX = 300_000
/** Each costs this holder some milliseconds. */
const ASKED_MAX = 20
const WINDOW_MS = 10_000
const SEEN_MAX = 4_096
/** A TPM takes some hundred milliseconds, its tools more. */
const CHALLENGE_MS_MAX = 30_000
const TELL_MS = 60_000

export interface ReleaseHolderOptions {
  readonly self: string
  readonly ring: string
  readonly fabric: Pick<Fabric, 'onRequest'>
  readonly state: () => RingState
  /** Is this node catching up? Then what it does not know may be there. */
  readonly isBehind: () => boolean
  readonly vault: Pick<VaultService, 'prove'>
  readonly openings: Pick<OpeningLog, 'add'>
  /** Ed25519, by this node's key. */
  readonly sign: (message: Uint8Array) => Uint8Array
  /** What the policy asks of nodes before their disks are opened. */
  readonly policy: () => DevicesPolicy
  readonly quote: QuoteReader
  /** Of each disk that was opened with this node's share. */
  readonly onRelease: (node: string) => void
  /** Of nodes that do not measure what they are to: once a minute each. */
  readonly onRefusal: (node: string, code: string, reason: string) => void
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
}

type Refusal = Extract<ReleaseAnswer, { readonly code: string }>

export class ReleaseHolder {
  readonly #options: ReleaseHolderOptions
  readonly #maker: ReplyMaker
  readonly #now: () => number
  /** Requests that were answered, until nobody takes them any more. */
  readonly #seen = new Map<string, number>()
  /** By node: one at a time, good for one answer. */
  readonly #challenges = new Map<string, { readonly value: string; readonly atMs: number }>()
  readonly #told = new Map<string, number>()
  readonly #asked = new Map<string, { sinceMs: number; count: number }>()

  constructor(options: ReleaseHolderOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#maker = new ReplyMaker(options.self, options.sign)
    options.fabric.onRequest('disk', async (from, payload) => Buffer.from(JSON.stringify(await this.answer(from, payload))))
  }

  /** @param from Who asks, as the link proves it. */
  async answer(from: string, payload: Uint8Array): Promise<ReleaseAnswer> {
    let signed: SignedRelease
    try {
      signed = parseRelease(payload)
    } catch {
      return { code: 'DISK_REQUEST', reason: 'a malformed request' }
    }
    const { request } = signed
    const digest = requestDigest(releaseSigningBytes(request))
    const checked = this.#refusal(from, signed, digest)
    if ('code' in checked) return checked
    const { capsule } = checked
    const record = {
      atMs: this.#now(),
      issuer: `node:${request.node}`,
      request: Buffer.from(digest).toString('base64url'),
      coordinator: from,
      secrets: [[`disk:${request.node}`, 0] as [string, number]],
    }
    try {
      const [{ publicKey, index, partial }] = await Promise.all([
        this.#options.vault.prove(capsule),
        this.#options.openings.add(record),
      ])
      // What was agreed meanwhile counts: this is the last moment to refuse.
      if (!this.#isCurrent(request.node, capsule))
        return { code: 'DISK_GONE', reason: `${request.node} has no disk in this ring any more` }
      const openings = [{ version: 0, body: hash('sha256', capsule, 'buffer'), partial }]
      const reply = this.#maker.make({ epoch: publicKey.id, index, openings }, request.replyTo, digest)
      this.#options.onRelease(request.node)
      return { publicKey: encodeBase64url(publicKey.encode()), reply: encodeBase64url(reply) }
    } catch (error) {
      if (error instanceof ThreadGone && /another key/.test(error.message))
        return {
          code: 'DISK_KEY_REPLACED',
          reason: 'the ring has another sealing key now than the one that this disk was sealed to',
        }
      const reason =
        error instanceof VaultError || error instanceof ThreadGone ? error.message : 'the release could not be recorded'
      return { code: 'DISK_LATER', reason: reason.slice(0, 300) }
    }
  }

  #isCurrent(node: string, capsule: Uint8Array): boolean {
    const disk = this.#options.state().disks.sealed.find(({ id }) => id === node)
    return disk !== undefined && Buffer.compare(decodeBase64url(disk.capsule), capsule) === 0
  }

  #refusal(
    from: string,
    { request, signature, tpm }: SignedRelease,
    digest: Uint8Array,
  ): Refusal | { readonly capsule: Uint8Array } {
    const { ring, state, isBehind } = this.#options
    const nowMs = this.#now()
    if (request.ring !== ring || request.node !== from)
      return { code: 'DISK_REQUEST', reason: 'a request of another ring, or in another node’s name' }
    if (this.#isBusy(from, nowMs)) return { code: 'DISK_LATER', reason: `${from} asks too often; later` }
    if (Math.abs(nowMs - request.atMs) > SKEW_MS_MAX)
      return { code: 'DISK_LATER', reason: `its clock is off by more than ${SKEW_MS_MAX / 60_000} minutes; set it` }
    if (isBehind()) return { code: 'DISK_LATER', reason: 'it is catching up itself' }
    const { disks } = state()
    const member = state().node(from)
    if (disks.wipes.some(({ id }) => id === from)) return { code: 'DISK_GONE', reason: `${from} was wiped` }
    if (member === undefined) return { code: 'DISK_GONE', reason: `${from} is no node of this ring any more` }
    if (!verifySignature(decodeBase64url(member.publicKey), releaseSigningBytes(request), decodeBase64url(signature)))
      return { code: 'DISK_REQUEST', reason: 'not signed by the node’s key' }
    const disk = disks.sealed.find(({ id }) => id === from)
    const capsule = disk === undefined ? undefined : decodeBase64url(disk.capsule)
    if (disk === undefined || capsule === undefined || hash('sha256', capsule, 'base64url') !== request.capsule)
      return {
        code: 'DISK_UNKNOWN',
        reason: `the ring keeps no key for this disk of ${from}: it is an old copy, or of another time`,
      }
    const proven = Buffer.from(machineVerifier(decodeBase64url(request.proof)))
    const expected = Buffer.from(disk.machine)
    if (proven.length !== expected.length || !timingSafeEqual(proven, expected))
      return { code: 'DISK_MACHINE', reason: 'it asks from another machine than the disk was sealed on' }
    const untrusted = this.#attestationRefusal(from, { request, signature, tpm }, nowMs)
    if (untrusted !== undefined) return untrusted
    const name = Buffer.from(digest).toString('base64url')
    for (const [held, untilMs] of this.#seen) if (untilMs < nowMs) this.#seen.delete(held)
    if (this.#seen.has(name) || this.#seen.size >= SEEN_MAX)
      return { code: 'DISK_LATER', reason: 'this request was answered already; sign another one' }
    this.#seen.set(name, nowMs + 2 * SKEW_MS_MAX)
    return { capsule }
  }

  /** What the node is now, shown to this holder, where the policy asks for it. */
  #attestationRefusal(from: string, { request, tpm }: SignedRelease, nowMs: number): Refusal | undefined {
    const { state, policy, quote, onRefusal } = this.#options
    const wanted = policy()
    if (!wanted.attestation.disks || !mustAttest(state(), from, wanted)) return undefined
    const given = this.#challenges.get(from)
    this.#challenges.delete(from)
    const isFresh = given !== undefined && nowMs - given.atMs <= CHALLENGE_MS_MAX
    if (request.attested === null || !isFresh || given.value !== request.attested.challenge) {
      const value = randomBytes(32).toString('base64url')
      this.#challenges.set(from, { value, atMs: nowMs })
      return { code: 'DISK_ATTEST', reason: 'the policy has nodes attest before their disks are opened', challenge: value }
    }
    const evidence = { measured: request.attested.measured, tpm: tpm === null ? null : { ...tpm, log: '' } }
    const refused = refusalOfBoot(state(), from, evidence, releaseNonce(request), { policy: wanted, quote }, nowMs)
    if (refused === undefined) return undefined
    const toldAtMs = this.#told.get(from)
    if (toldAtMs === undefined || nowMs - toldAtMs >= TELL_MS) {
      this.#told.set(from, nowMs)
      onRefusal(from, refused.code, refused.reason)
    }
    return { code: 'DISK_UNTRUSTED', reason: `${refused.code}: ${refused.reason}`.slice(0, 600) }
  }

  /** Members alone come this far: few. */
  #isBusy(node: string, nowMs: number): boolean {
    const before = this.#asked.get(node)
    const window = before === undefined || nowMs >= before.sinceMs + WINDOW_MS ? { sinceMs: nowMs, count: 0 } : before
    window.count += 1
    this.#asked.set(node, window)
    return window.count > ASKED_MAX
  }
}

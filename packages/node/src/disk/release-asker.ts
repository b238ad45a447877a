/**
 * A node that starts has the ring open its disk: dials its peers, signs a request with a one-time key in it, and combines what holders answer. Whoever
 * answers wrongly only costs time: partial decryptions come with proofs, and the storage key's own seal says whether what they come to is right.
 */
import { hash, type KeyObject, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { faultsOf } from '@ringwall/consensus'
import { createFabric, type Peer, refusesThisNode } from '@ringwall/fabric'
import type { Measured } from '@ringwall/ring'
import { decodeBase64url, encodeBase64url } from '@ringwall/ring/tx'
import {
  decodePartial,
  openCapsule,
  type Partial,
  PublicKey,
  ThresholdError,
  verifyCapsule,
  verifyPartial,
} from '@ringwall/threshold'
import { ReplyKey, requestDigest, VaultError } from '@ringwall/vault'
import { StartError } from '../errors.ts'
import { signMessage, verifySignature } from '../keys.ts'
import { unwrapKey } from './local-lock.ts'
import {
  FINAL_REFUSALS,
  parseReleaseAnswer,
  type ReleaseAnswer,
  type ReleaseRequest,
  releaseNonce,
  releaseSigningBytes,
  type SignedRelease,
} from './release-wire.ts'

/** What the storage key is wrapped for under a capsule's key. */
export const RING_LOCK = 'storage key of the ring'
const ASK_MS = 1_000
const LOOK_MS = 50
const ANSWER_MS_MAX = 4_000
/** A peer that refuses this node may have just not heard of it. */
const REFUSED_MS_MIN = 3_000
const SAY_MS = 15_000

export interface BootProver {
  measure(): Promise<Measured>
  /** By its TPM, over 32 bytes in hex; undefined: it has none. */
  readonly quote?: (nonce: string) => Promise<NonNullable<SignedRelease['tpm']>>
}

export interface AskRingOptions {
  readonly ring: string
  readonly self: Peer
  readonly peers: readonly Peer[]
  readonly privateKey: KeyObject
  readonly held: { readonly capsule: string; readonly wrapped: string }
  /** Of the machine. */
  readonly proof: Uint8Array
  /** What this node is, for holders who ask for it. */
  readonly prove: BootProver
  /** Ends the asking: somebody else opened the disk. */
  readonly signal?: AbortSignal
  /** Now and then, while it waits: why. */
  readonly say: (line: string) => void
}

/** Waits for as long as it takes. @throws {StartError} `DISK_REFUSED` when the ring does not open this disk again. */
export async function askRing(options: AskRingOptions): Promise<Uint8Array> {
  const { ring, self, peers, privateKey } = options
  const fabric = createFabric({ ring, self, privateKey, peers, dialsOnly: true })
  const capsule = decodeBase64url(options.held.capsule)
  /** By the public key that they say it is of. */
  const given = new Map<string, Map<number, Partial>>()
  const refusals = new Map<string, { code: string; reason: string }>()
  const refusing = new Map<string, number>()
  const askedAtMs = new Map<string, number>()
  const asking = new Set<string>()
  let storageKey: Uint8Array | undefined
  const ask = async (peer: Peer, attested: ReleaseRequest['attested'] = null): Promise<void> => {
    const replyKey = new ReplyKey()
    const request: ReleaseRequest = {
      ring,
      node: self.id,
      capsule: hash('sha256', capsule, 'base64url'),
      proof: encodeBase64url(options.proof),
      atMs: Date.now(),
      nonce: randomBytes(16).toString('base64url'),
      replyTo: replyKey.replyTo,
      attested,
    }
    const bytes = releaseSigningBytes(request)
    try {
      const tpm = attested === null ? null : await quoted(options.prove, releaseNonce(request))
      const signed: SignedRelease = { request, signature: encodeBase64url(signMessage(privateKey, bytes)), tpm }
      const payload = Buffer.from(JSON.stringify(signed))
      const answer = parseReleaseAnswer(await fabric.request(peer.id, 'disk', payload, ANSWER_MS_MAX))
      if ('code' in answer) {
        refusals.set(peer.id, answer)
        const challenge = attested === null ? challengeOf(answer) : undefined
        if (challenge !== undefined) await ask(peer, { challenge, measured: await options.prove.measure() })
        return
      }
      refusals.delete(peer.id)
      const publicKey = PublicKey.decode(decodeBase64url(answer.publicKey))
      const content = replyKey.open(decodeBase64url(answer.reply), peer.id, requestDigest(bytes), (message, signature) =>
        verifySignature(peer.publicKey, message, signature),
      )
      const index = publicKey.indexOf(peer.id)
      const opening = content.openings[0]
      if (index === undefined || index !== content.index || opening === undefined) return
      const partial = decodePartial(publicKey, index, opening.partial)
      const verified = verifyCapsule(publicKey, capsule)
      if (!verifyPartial(publicKey, verified, partial)) return
      const group = given.get(publicKey.name) ?? new Map<number, Partial>()
      given.set(publicKey.name, group.set(index, partial))
      if (group.size < publicKey.threshold) return
      const key = openCapsule(publicKey, verified, [...group.values()])
      storageKey ??= unwrapKey(key, options.held.wrapped, RING_LOCK)
      // Nobody honest says that this is the ring's key: others do.
      if (storageKey === undefined) given.delete(publicKey.name)
    } catch (error) {
      if (error instanceof ThresholdError || error instanceof VaultError) return
      refusals.set(peer.id, { code: 'DISK_LATER', reason: (error as Error).message })
    }
  }
  try {
    await fabric.start()
    let saidAtMs = performance.now()
    for (;;) {
      const nowMs = performance.now()
      for (const status of fabric.links()) {
        const peer = peers.find(({ id }) => id === status.id)
        if (refusesThisNode(status)) refusing.set(status.id, refusing.get(status.id) ?? nowMs)
        else if (status.connected) refusing.delete(status.id)
        if (peer === undefined || !status.connected || nowMs - (askedAtMs.get(peer.id) ?? Number.NEGATIVE_INFINITY) < ASK_MS)
          continue
        askedAtMs.set(peer.id, nowMs)
        if (asking.has(peer.id)) continue
        asking.add(peer.id)
        void ask(peer).finally(() => asking.delete(peer.id))
      }
      if (storageKey !== undefined) return storageKey
      options.signal?.throwIfAborted()
      refuseIfFinal(options, refusals, refusing, nowMs)
      if (nowMs - saidAtMs > SAY_MS) {
        saidAtMs = nowMs
        const why = fabric
          .links()
          .map((link) => `${link.id}: ${refusalText(refusals.get(link.id)) ?? (link.connected ? 'linked' : link.reason)}`)
        options.say(`the disk waits for the ring to open it (${why.join('; ')})`)
      }
      await sleep(LOOK_MS)
    }
  } finally {
    await fabric.stop()
  }
}

function refusalText(refusal: { readonly code: string; readonly reason: string } | undefined): string | undefined {
  return refusal === undefined ? undefined : `${refusal.code}: ${refusal.reason}`
}

function challengeOf(answer: ReleaseAnswer): string | undefined {
  return 'code' in answer && answer.code === 'DISK_ATTEST' ? answer.challenge : undefined
}

/** A TPM does one thing at a time. */
let tpmWork: Promise<unknown> = Promise.resolve()

function quoted({ quote }: BootProver, nonce: string): Promise<SignedRelease['tpm']> {
  if (quote === undefined) return Promise.resolve(null)
  const work = tpmWork.then(() => quote(nonce))
  tpmWork = work.catch(() => {})
  return work
}

/** When more say so than may lie, at least one of them is honest. */
function refuseIfFinal(
  { peers, self }: AskRingOptions,
  refusals: ReadonlyMap<string, { readonly code: string; readonly reason: string }>,
  refusing: ReadonlyMap<string, number>,
  nowMs: number,
): void {
  const final = [...refusals].filter(([, { code }]) => FINAL_REFUSALS.includes(code))
  const closed = [...refusing].filter(([, sinceMs]) => nowMs - sinceMs > REFUSED_MS_MIN)
  const who = [...new Set([...final, ...closed].map(([id]) => id))]
  if (who.length <= faultsOf(peers.length + 1)) return
  const reason = final[0]?.[1].reason ?? `they know no node with the key of ${self.id}: it was removed, evicted or wiped`
  const code = final[0]?.[1].code ?? 'DISK_GONE'
  const fix =
    code === 'DISK_GONE'
      ? 'its id and key are spent; make a new node (ringwall node init) and have it added'
      : 'empty its data folder but for first-start, and have it join anew: the ring holds all that it held'
  throw new StartError('DISK_REFUSED', `${code}: ${who.join(', ')} do not open the disk of ${self.id}: ${reason}; ${fix}`)
}

/**
 * The hostile validator of `bench/flood.ts`: it has a true key and good links, votes for nothing, and sends the others one kind
 * of message as fast as it can for a share of its time; or spends that share on nothing, which is what floods are compared with.
 */
import { randomBytes, sign } from 'node:crypto'
import {
  type Certificate,
  type Digest,
  decodeMessage,
  encodeMessage,
  leaderOf,
  type Message,
  makeBlock,
  signingBytes,
  type VoteKind,
} from '@ringwall/consensus'
import { u32 } from '../packages/ledger/src/bytes.ts'
import { encodePayload } from '../packages/ledger/src/payload.ts'
import { encodeRequest } from '../packages/ledger/src/sync-codec.ts'
import { joinRing, type NodeConfig } from './test-ring.ts'

export interface FloodOrder {
  readonly kind: FloodKind | 'silent'
  readonly seconds: number
}

export interface FloodResult {
  readonly messages: number
  readonly bytes: number
  readonly cpuMs: number
}

/** Of each period, so much is spent on making and sending messages, or on nothing. */
const PERIOD_MS = 10
const WORK_MS = 4
const REMEMBERED = 2_000
const HUGE_BYTES = 500_000
const KINDS = ['notarize', 'nullify', 'finalize'] as const

const config = JSON.parse(process.argv[2] ?? '') as NodeConfig
const member = joinRing(config)
const { fabric, peers, index, ring, privateKey } = member
const others = peers.filter((_, i) => i !== index).map(({ id }) => id)

/** A voter's message, of the first epoch. */
const VOTER_HEAD = Buffer.from([0, 0, 0, 0, 0])

/** What the honest say: replayed, and where the ring is. */
const heard: Uint8Array[] = []
const certificates: Certificate[] = []
let round = 1
fabric.onMessage('consensus', (_from, payload) => {
  if (payload[0] !== 0) return
  heard[Math.floor(Math.random() * REMEMBERED) % (heard.length + 1)] = payload
  try {
    const message = decodeMessage(Uint8Array.from(payload.subarray(VOTER_HEAD.length)))
    if (message.kind === 'certificate') {
      certificates[certificates.length % 64] = message.certificate
      round = Math.max(round, message.certificate.round + 1)
    } else if (message.kind === 'vote') round = Math.max(round, message.vote.round)
  } catch {
    // Honest messages are read; others have nothing to teach.
  }
})
await fabric.start()
process.send?.({ kind: 'ready' })

const digest = (): Digest => randomBytes(32).toString('hex') as Digest
const voter = (message: Message): Uint8Array => Buffer.concat([VOTER_HEAD, encodeMessage(message)])
const tx = (bytes: Uint8Array): Uint8Array => Buffer.concat([Buffer.from([1]), u32(bytes.length), bytes])
const whole = (least: number, most: number): number => least + Math.floor(Math.random() * (most - least + 1))

function vote(kind: VoteKind, at: number, named: Digest | undefined, isSigned: boolean): Message {
  const own = kind === 'nullify' ? undefined : named
  const signature = isSigned ? new Uint8Array(sign(null, signingBytes(kind, ring, at, own), privateKey)) : randomBytes(64)
  return { kind: 'vote', vote: { kind, round: at, digest: own, signer: index, signature } }
}

/** A certificate for a round to come: signatures of the right form, by nobody. */
function forgedCertificate(): Certificate {
  const signatures = peers.slice(0, 3).map((_, signer) => ({ signer, signature: randomBytes(64) }))
  return { kind: 'notarize', round: round + whole(0, 60), digest: digest(), signatures }
}

/** A large block in a round of its own, well signed. */
function proposal(payload: Uint8Array): Message {
  let at = round + whole(0, 60)
  while (leaderOf(at, peers.length) !== index) at += 1
  const block = makeBlock({ round: at, height: at, parent: digest(), proposer: index, timestampMs: Date.now(), payload })
  const signature = new Uint8Array(sign(null, signingBytes('proposal', ring, at, block.digest), privateKey))
  return { kind: 'proposal', proposal: { block, parentCertificate: forgedCertificate(), nullifications: [], signature } }
}

const flip = (bytes: Uint8Array): Uint8Array => {
  const copy = Uint8Array.from(bytes)
  // Within the signature, which stands at the end: form and canonical spelling stay good.
  const at = copy.length - 20
  copy[at] = copy[at] === 0x41 ? 0x42 : 0x41
  return copy
}

type Send = (to: string) => number

const consensus =
  (make: () => Uint8Array): Send =>
  (to) => {
    const bytes = make()
    return fabric.send(to, 'consensus', bytes) ? Math.max(1, bytes.length) : 0
  }

/** Made once and sent again and again: signing is not what is measured. */
function pool<T>(count: number, make: (i: number) => T): () => T {
  const made = Array.from({ length: count }, (_, i) => make(i))
  let next = 0
  return () => made[next++ % count] as T
}

const asked =
  (make: () => Uint8Array): Send =>
  (to) => {
    const bytes = make()
    fabric.request(to, 'sync', bytes, 1_000).catch(() => {})
    return bytes.length
  }

/** Each makes its material when its turn comes, then sends. */
const FLOODS = {
  'garbage bytes': () => consensus(pool(64, () => Buffer.concat([VOTER_HEAD, randomBytes(whole(1, 400))]))),
  'empty messages': () => consensus(() => new Uint8Array(0)),
  'badly signed votes': () =>
    consensus(() => voter(vote(KINDS[whole(0, 2)] ?? 'notarize', round + whole(0, 3), digest(), false))),
  'contradicting votes': () => consensus(pool(2_000, () => voter(vote('notarize', round + whole(0, 60), digest(), true)))),
  'votes far ahead': () => consensus(pool(2_000, () => voter(vote('nullify', round + whole(65, 1e9), undefined, true)))),
  'old messages again': () => consensus(() => heard[whole(0, Math.max(0, heard.length - 1))] ?? new Uint8Array([0])),
  'forged certificates': () => consensus(() => voter({ kind: 'certificate', certificate: forgedCertificate() })),
  'huge proposals': () => {
    const payload = encodePayload({ root: 'ab'.repeat(32), txs: [randomBytes(200_000), randomBytes(HUGE_BYTES - 200_200)] })
    return consensus(pool(24, () => voter(proposal(payload))))
  },
  'badly signed transactions': (from: number) => consensus(pool(2_000, (i) => tx(flip(member.deny(from + i))))),
  'final transactions again': (from: number) => {
    const denials = pool(200, (i) => tx(member.deny(from + i)))
    return consensus(denials)
  },
  'sync: status': () =>
    asked(() =>
      encodeRequest({ kind: 'status', tip: { epoch: 0, height: 0, digest: digest(), certificate: undefined, closing: [] } }),
    ),
  'sync: blocks': () => asked(() => encodeRequest({ kind: 'blocks', from: 1, count: 256 })),
  'sync: block': () => asked(() => encodeRequest({ kind: 'block', digest: digest() })),
  gossip: (from: number) => {
    const payloads = pool(4_000, (i) => flip(member.deny(from + i)))
    return (): number => {
      const bytes = payloads()
      fabric.gossip(Buffer.concat([bytes, randomBytes(2)]))
      return bytes.length * others.length
    }
  },
} as const satisfies Readonly<Record<string, (from: number) => Send>>

export type FloodKind = keyof typeof FLOODS

process.on('message', async (order: FloodOrder) => {
  // Addresses that no honest validator denies here, and others in each run.
  const send = order.kind === 'silent' ? undefined : FLOODS[order.kind](whole(12_000_000, 16_000_000))
  process.send?.({ kind: 'prepared' })
  const cpuBefore = process.cpuUsage()
  const end = performance.now() + order.seconds * 1_000
  let messages = 0
  let bytes = 0
  while (performance.now() < end) {
    const until = performance.now() + WORK_MS
    while (performance.now() < until) {
      if (send === undefined) continue
      for (const to of others) {
        const sent = send(to)
        bytes += sent
        if (sent > 0) messages += 1
      }
    }
    await new Promise((wake) => setTimeout(wake, PERIOD_MS - WORK_MS))
  }
  const { user, system } = process.cpuUsage(cpuBefore)
  const result: FloodResult = { messages, bytes, cpuMs: (user + system) / 1_000 }
  process.send?.({ kind: 'done', result })
})

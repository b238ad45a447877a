/** For tests: parties with real Ed25519 attestations, and a board that everybody reads in one order. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign, verify } from 'node:crypto'
import type { Accusation, Attests } from './blame.ts'
import {
  beginCeremony,
  type CeremonyEffect,
  type CeremonyEvent,
  type CeremonyState,
  decodeState,
  encodeState,
  step,
} from './ceremony.ts'
import type { SuiteName } from './group.ts'
import type { KeyShare, PublicKey } from './key.ts'
import { Ceremony, makeEncryptionKey } from './plan.ts'
import type { Party } from './wire.ts'

export interface Someone {
  readonly party: Party
  readonly index: number
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
  readonly encryption: ReturnType<typeof makeEncryptionKey>
  share: KeyShare | undefined
}

export function people(count: number, first = 1): readonly Someone[] {
  return Array.from({ length: count }, (_, i) => ({
    party: `node-${first + i}`,
    index: first + i,
    keys: generateKeyPairSync('ed25519'),
    encryption: makeEncryptionKey(randomBytes(32)),
    share: undefined,
  }))
}

export function plan(
  ring: readonly Someone[],
  threshold: number,
  suite: SuiteName,
  previous: PublicKey | undefined = undefined,
  attempt = 0,
): Ceremony {
  const receivers = ring.map(({ party, index, encryption }) => ({ party, index, encryptionKey: encryption.publicKey }))
  return new Ceremony({ suite, purpose: 'a key to test with', attempt, threshold, receivers, previous })
}

export const attestationOf = ({ keys }: Someone, body: Uint8Array): Uint8Array => sign(null, body, keys.privateKey)

export function attestsOf(ring: readonly Someone[]): Attests {
  return (party, { body, attestation }) => {
    const someone = ring.find((one) => one.party === party)
    return someone !== undefined && verify(null, body, someone.keys.publicKey, attestation)
  }
}

export interface Outcome {
  readonly states: ReadonlyMap<Party, CeremonyState>
  readonly accusations: readonly Accusation[]
  readonly publicKey: PublicKey | undefined
  readonly board: readonly CeremonyEvent[]
}

export interface Tampering {
  /** What is posted in place of a message; several, or none. */
  readonly post?: (someone: Someone, body: Uint8Array) => readonly Uint8Array[]
  /** Every state goes through its durable form after every step. */
  readonly throughDisk?: boolean
}

/** Runs a ceremony over one board; whoever completes has its share after it. */
export function hold(ceremony: Ceremony, ring: readonly Someone[], tampering: Tampering = {}): Outcome {
  const states = new Map<Party, CeremonyState>(ring.map(({ party }) => [party, beginCeremony(ceremony, party)]))
  const board: CeremonyEvent[] = []
  const accusations = new Map<string, Accusation>()
  const completed = new Map<Party, Extract<CeremonyEffect, { kind: 'complete' }>>()
  const apply = (someone: Someone, event: CeremonyEvent): void => {
    const tools = { encryptionKey: someone.encryption.secret }
    const { state, effects } = step(states.get(someone.party) as CeremonyState, event, tools)
    states.set(someone.party, state)
    for (const effect of effects) {
      if (effect.kind === 'post') {
        const bodies = tampering.post?.(someone, effect.body) ?? [effect.body]
        for (const body of bodies)
          board.push({ kind: 'posted', from: someone.party, body, attestation: attestationOf(someone, body) })
      } else if (effect.kind === 'accuse') {
        const name = createHash('sha256')
          .update(JSON.stringify([effect.accusation.party, effect.accusation.fault]))
          .digest('hex')
        accusations.set(name, effect.accusation)
      } else if (effect.kind === 'complete') completed.set(someone.party, effect)
    }
    if (tampering.throughDisk === true) states.set(someone.party, decodeState(encodeState(state), tools).state)
  }
  for (const someone of ring) {
    // Without a share there is nothing to reshare.
    if (ceremony.dealer(someone.party) !== undefined && (ceremony.previous === undefined || someone.share !== undefined))
      apply(someone, { kind: 'begin', seed: randomBytes(32), share: someone.share })
  }
  for (let at = 0; ; at += 1) {
    if (at >= board.length) {
      const phase = [...states.values()].map((state) => state.phase).find((found) => found === 'dealing' || found === 'answering')
      if (phase === undefined) break
      board.push({ kind: 'close', phase: phase as 'dealing' | 'answering' })
    }
    for (const someone of ring) apply(someone, board[at] as CeremonyEvent)
  }
  for (const someone of ring) someone.share = completed.get(someone.party)?.share
  const [first] = [...completed.values()]
  return { states, accusations: [...accusations.values()], publicKey: first?.publicKey, board }
}

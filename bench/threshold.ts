/**
 * `npm run bench:threshold`: what collectively held keys cost, all parties in one process on one core, messages handed over as bytes
 * without a network. A ceremony's figure is for one party (the whole, divided); signing and opening are the whole way from the
 * request to the checked result, by all parties that take part, one after the other. CPU time of the thread. Means and
 * medians: where the kernel counts in ticks of milliseconds, the mean of many is the truer one. `ARITHMETIC=noble` leaves libsodium out.
 */
import { randomBytes } from 'node:crypto'
import { cpus } from 'node:os'
import {
  beginCeremony,
  Ceremony,
  type CeremonyEvent,
  type CeremonyState,
  CommitmentMemo,
  Coordinator,
  type CoordinatorEffect,
  edwards,
  encapsulate,
  type KeyShare,
  makeEncryptionKey,
  makePartial,
  Opener,
  type PublicKey,
  Signer,
  type SuiteName,
  step,
  verifyCapsule,
} from '@ringwall/threshold'
import { loadSodium } from '@ringwall/threshold/sodium'

const ROUNDS = Number(process.env.ROUNDS ?? 200)
const RINGS = [
  [3, 4],
  [5, 7],
  [7, 10],
] as const

interface Party {
  readonly party: string
  readonly index: number
  readonly encryption: ReturnType<typeof makeEncryptionKey>
  share: KeyShare | undefined
}

function line(name: string, times: readonly number[]): void {
  const sorted = [...times].sort((a, b) => a - b)
  const mean = (times.reduce((sum, time) => sum + time, 0) / times.length).toFixed(2).padStart(8)
  const median = (sorted[Math.floor(sorted.length / 2)] as number).toFixed(2).padStart(8)
  process.stdout.write(`${name.padEnd(56)}mean ${mean} ms  p50 ${median} ms  n ${times.length}\n`)
}

/** CPU time of this thread, in milliseconds: the same as the clock's on a machine that does nothing else. */
function now(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}

function timed<T>(times: number[], work: () => T): T {
  const began = now()
  const result = work()
  times.push(now() - began)
  return result
}

/** One ceremony over a board; each party does all public work itself, as on a machine of its own. */
function ceremony(
  ring: readonly Party[],
  threshold: number,
  suite: SuiteName,
  previous: PublicKey | undefined,
): { readonly key: PublicKey; readonly shares: ReadonlyMap<string, KeyShare> } {
  const receivers = ring.map(({ party, index, encryption }) => ({ party, index, encryptionKey: encryption.publicKey }))
  const plan = new Ceremony({ suite, purpose: 'bench', attempt: 0, threshold, receivers, previous })
  const states = new Map<string, CeremonyState>(ring.map(({ party }) => [party, beginCeremony(plan, party)]))
  const shares = new Map<string, KeyShare>()
  const board: CeremonyEvent[] = []
  let key: PublicKey | undefined
  const apply = ({ party, encryption }: Party, event: CeremonyEvent): void => {
    const tools = { encryptionKey: encryption.secret }
    const { state, effects } = step(states.get(party) as CeremonyState, event, tools)
    states.set(party, state)
    for (const effect of effects) {
      if (effect.kind === 'post') board.push({ kind: 'posted', from: party, body: effect.body, attestation: new Uint8Array(64) })
      if (effect.kind === 'complete') {
        key = effect.publicKey
        shares.set(party, effect.share as KeyShare)
      }
    }
  }
  for (const one of ring) apply(one, { kind: 'begin', seed: randomBytes(32), share: one.share })
  for (const event of board) for (const one of ring) apply(one, event)
  return { key: key as PublicKey, shares }
}

function benchCeremonies(threshold: number, parties: number, suite: SuiteName, samples: number): readonly Party[] {
  const ring: Party[] = Array.from({ length: parties }, (_, i) => ({
    party: `node-${i + 1}`,
    index: i + 1,
    encryption: makeEncryptionKey(randomBytes(32)),
    share: undefined,
  }))
  const times: number[] = []
  const resharing: number[] = []
  let previous: PublicKey | undefined
  for (let i = 0; i < samples; i += 1) {
    for (const one of ring) one.share = undefined
    const made = timed(times, () => ceremony(ring, threshold, suite, undefined))
    for (const one of ring) one.share = made.shares.get(one.party)
    previous = made.key
    const next = timed(resharing, () => ceremony(ring, threshold, suite, previous))
    for (const one of ring) one.share = next.shares.get(one.party)
  }
  const each = (list: readonly number[]): readonly number[] => list.map((ms) => ms / parties)
  line(`generate/suite=${suite} t=${threshold} n=${parties}, one party`, each(times))
  line(`refresh/suite=${suite} t=${threshold} n=${parties}, one party`, each(resharing))
  return ring
}

function benchSigning(ring: readonly Party[], threshold: number): void {
  const { publicKey } = (ring as readonly [Party])[0].share as KeyShare
  const memos = new Map(ring.map(({ party }) => [party, new CommitmentMemo()]))
  const coordinator = new Coordinator(publicKey)
  const signers = new Map(
    ring.map(({ party, share }) => [party, new Signer(share as KeyShare, 0, memos.get(party) as CommitmentMemo)]),
  )
  const provisioning: number[] = []
  const checking: number[] = []
  const provision = (): void => {
    for (const [from, signer] of signers) {
      const began = now()
      const effects = signer.step({ kind: 'provision', random: randomBytes(64 * 16) })
      provisioning.push((now() - began) / 16)
      const body = effects.flatMap((effect) => (effect.kind === 'send' ? [effect.body] : []))[0] as Uint8Array
      const at = now()
      coordinator.step({ kind: 'commitments', from, body, attestation: new Uint8Array(64) })
      checking.push((now() - at) / 16)
      for (const { party } of ring)
        if (party !== from) (signers.get(party) as Signer).step({ kind: 'learn', from: publicKey.indexOf(from) as number, body })
    }
  }
  const times: number[] = []
  const cold: number[] = []
  const sign = (session: string): void => {
    let queue = coordinator.step({ kind: 'sign', session, message: randomBytes(200) })
    while (queue.length > 0) {
      const next: CoordinatorEffect[] = []
      for (const effect of queue) {
        if (effect.kind === 'fail') throw new Error(effect.reason)
        if (effect.kind !== 'request') continue
        const [made] = (signers.get(effect.to) as Signer).step({ kind: 'sign', request: effect.body })
        if (made?.kind !== 'send') throw new Error('a signer refused')
        next.push(...coordinator.step({ kind: 'share', from: effect.to, body: made.body, attestation: new Uint8Array(64) }))
      }
      queue = next
    }
  }
  for (let i = 0; i < ROUNDS; i += 1) {
    if (ring.some(({ party }) => coordinator.stockOf(party) === 0)) provision()
    timed(i < 10 ? cold : times, () => sign(`${i}`))
  }
  line(`commit ahead/t=${threshold} n=${ring.length}, one pair, by its signer`, provisioning)
  line(`check ahead/t=${threshold} n=${ring.length}, one pair, by one other`, checking)
  line(`sign/t=${threshold} n=${ring.length}, preprocessed nonces`, times)
}

function benchOpening(ring: readonly Party[], threshold: number): void {
  const { publicKey } = (ring as readonly [Party])[0].share as KeyShare
  const label = randomBytes(40)
  const sealing: number[] = []
  const verifying: number[] = []
  const partial: number[] = []
  const opening: number[] = []
  const whole: number[] = []
  for (let i = 0; i < Math.ceil(ROUNDS / 4); i += 1) {
    const { capsule } = timed(sealing, () => encapsulate(publicKey, label, randomBytes(32)))
    const opener = new Opener(publicKey)
    const began = now()
    timed(verifying, () => opener.step({ kind: 'open', capsule }))
    for (const { party, share } of ring.slice(0, threshold)) {
      const body = timed(partial, () => makePartial(share as KeyShare, verifyCapsule(publicKey, capsule)))
      const at = now()
      const effects = opener.step({ kind: 'partial', from: party, body, attestation: new Uint8Array(64) })
      if (effects.some(({ kind }) => kind === 'opened')) opening.push(now() - at)
    }
    whole.push(now() - began)
  }
  line('seal', sealing)
  line('check a capsule', verifying)
  line(`decrypt partially/t=${threshold}, capsule checked, by one party`, partial)
  line(`verify ${threshold} proofs at once and combine`, opening)
  line(`open/t=${threshold} n=${ring.length}, the whole way`, whole)
}

if (process.env.ARITHMETIC !== 'noble') await loadSodium()
const [cpu] = cpus()
process.stdout.write(`${cpu?.model ?? 'unknown CPU'}, Node ${process.versions.node}, one core, ${ROUNDS} rounds\n\n`)
// What the rest is made of: compare with it, where the machine is busy.
const single: number[] = []
const point = edwards.multiplyBase(2n ** 200n + 1n)
for (let i = 0; i < 200; i += 1) timed(single, () => edwards.combine([point], [2n ** 251n + 12_345n]))
line('one multiplication of a public point', single)
process.stdout.write('\n')
for (const [threshold, parties] of RINGS) {
  const samples = parties > 4 ? 2 : 5
  benchSigning(benchCeremonies(threshold, parties, 'ed25519', samples), threshold)
  benchOpening(benchCeremonies(threshold, parties, 'ristretto255', samples), threshold)
  process.stdout.write('\n')
}

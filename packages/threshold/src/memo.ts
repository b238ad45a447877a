/**
 * What was found out about the public messages of ceremonies: which dealings are good, who was right where one complained, which key
 * what stands makes. Pure functions of what the board says, and what a ceremony costs: with a memo one process with several parties, or a
 * second look at the same bytes, does that work once. Bounded: the oldest go first.
 *
 * What one thread found out another can learn (`takeFindings`, `learn`): a finding is believed, so it must be this program's own. Findings
 * hold nothing secret, and are plain values that a structured clone carries.
 */
import { bytesToHex, concatBytes } from '@noble/hashes/utils.js'
import { type Complaint, type Dealing, judgeComplaint, provenDealing, type Verdict, verifyDealing } from './dealing.ts'
import { type ThresholdCode, ThresholdError } from './errors.ts'
import { ristretto } from './group.ts'
import { sha256 } from './hash.ts'
import { PublicKey } from './key.ts'
import type { Ceremony, Receiver } from './plan.ts'
import { encodeScalar } from './scalar.ts'

export type Finding =
  /** `fault` is why it is bad; undefined when it is good. */
  | {
      readonly kind: 'dealing'
      readonly name: string
      readonly fault: { readonly code: ThresholdCode; readonly message: string } | undefined
    }
  | { readonly kind: 'verdict'; readonly name: string; readonly verdict: Verdict }
  /** `PublicKey.encode`; undefined when none can be made. */
  | { readonly kind: 'key'; readonly name: string; readonly key: Uint8Array | undefined }

type Known<T> = Map<string, { readonly value: T }>

export class CeremonyMemo {
  /** Undefined: good, and not taken apart here yet. */
  readonly #dealings: Known<Dealing | ThresholdError | undefined> = new Map()
  readonly #verdicts: Known<Verdict> = new Map()
  readonly #keys: Known<PublicKey | undefined> = new Map()
  readonly #entriesMax: number
  #findings: Finding[] = []

  /** @param entriesMax Of each kind, and of findings that were not taken. */
  constructor(entriesMax = 256) {
    this.#entriesMax = entriesMax
  }

  /** As `verifyDealing`. */
  verify(ceremony: Ceremony, from: number, body: Uint8Array): Dealing {
    const name = dealingName(ceremony, from, body)
    const known = this.#dealings.get(name)
    if (known?.value instanceof ThresholdError) throw known.value
    if (known?.value !== undefined) return known.value
    if (known !== undefined) return this.#keep(this.#dealings, name, provenDealing(ceremony, body))
    try {
      const dealing = verifyDealing(ceremony, from, body)
      this.#note({ kind: 'dealing', name, fault: undefined })
      return this.#keep(this.#dealings, name, dealing)
    } catch (error) {
      if (!(error instanceof ThresholdError)) throw error
      this.#keep(this.#dealings, name, error)
      this.#note({ kind: 'dealing', name, fault: { code: error.code, message: error.message } })
      throw error
    }
  }

  /** Was this dealing looked at already? */
  knows(ceremony: Ceremony, from: number, body: Uint8Array): boolean {
    return this.#dealings.has(dealingName(ceremony, from, body))
  }

  /** As `judgeComplaint`. @param body That of the dealing. */
  judge(ceremony: Ceremony, dealing: Dealing, body: Uint8Array, receiver: Receiver, complaint: Complaint): Verdict {
    const { sharedPoint, proof } = complaint
    const said = concatBytes(ristretto.encode(sharedPoint), encodeScalar(proof.challenge), encodeScalar(proof.response))
    const name = `${dealingName(ceremony, dealing.dealer, body)} ${receiver.index} ${bytesToHex(sha256(said))}`
    const known = this.#verdicts.get(name)
    if (known !== undefined) return known.value
    const verdict = judgeComplaint(ceremony, dealing, receiver, complaint)
    this.#note({ kind: 'verdict', name, verdict })
    return this.#keep(this.#verdicts, name, verdict)
  }

  /** @param dealings The bodies that stand, in the order of their dealers. @param make The key of these, by its arithmetic. */
  key(ceremony: Ceremony, dealings: readonly Uint8Array[], make: () => PublicKey | undefined): PublicKey | undefined {
    const name = `${ceremony.name} ${bytesToHex(sha256(concatBytes(...dealings.map((body) => sha256(body)))))}`
    const known = this.#keys.get(name)
    if (known !== undefined) return known.value
    const key = make()
    this.#note({ kind: 'key', name, key: key?.encode() })
    return this.#keep(this.#keys, name, key)
  }

  /** What was found out here since the last time. */
  takeFindings(): readonly Finding[] {
    const taken = this.#findings
    this.#findings = []
    return taken
  }

  /** Believes what this program found out elsewhere. */
  learn(findings: readonly Finding[]): void {
    for (const finding of findings) {
      const { kind, name } = finding
      if (kind === 'dealing') {
        const { fault } = finding
        const value = fault === undefined ? undefined : new ThresholdError(fault.code, fault.message)
        if (!this.#dealings.has(name)) this.#keep(this.#dealings, name, value)
      } else if (kind === 'verdict') this.#keep(this.#verdicts, name, finding.verdict)
      else if (!this.#keys.has(name))
        this.#keep(this.#keys, name, finding.key === undefined ? undefined : PublicKey.decode(finding.key, 'unchecked'))
    }
  }

  #keep<T, V extends T>(known: Known<T>, name: string, value: V): V {
    if (known.size >= this.#entriesMax) known.delete(known.keys().next().value as string)
    known.set(name, { value })
    return value
  }

  #note(finding: Finding): void {
    if (this.#findings.length >= this.#entriesMax) this.#findings.shift()
    this.#findings.push(finding)
  }
}

function dealingName(ceremony: Ceremony, from: number, body: Uint8Array): string {
  return `${ceremony.name} ${from} ${ceremony.digest(body)}`
}

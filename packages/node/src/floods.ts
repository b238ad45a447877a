/** Sources that flood this node: brings together what its threads see, and turns findings into denials in the node's name. */
import { type FloodFinding, type FloodReading, Floods } from '@ringwall/detect'
import { subjectOfSource } from '@ringwall/guard'
import { type DenialSubject, FLOOD_REASON, type Policy, parsePrefix, prefixSetOf, type View } from '@ringwall/ring'
import { describeSubject } from './subject-text.ts'

/** Named in one line of the log. */
const NAMED_MAX = 3

export interface FloodWatchOptions {
  readonly view: () => View
  /** Denies in this node's name. */
  readonly deny: (subject: DenialSubject, ttlMs: number, reason: string) => void
  readonly say: (line: string) => void
  /** Sources and networks that were named, and whether they are denied. */
  readonly onFound?: (named: readonly string[], reason: string, isDenied: boolean) => void
  /** So many sources and networks more were named. */
  readonly count: (named: number) => void
}

export class FloodWatch {
  readonly #options: FloodWatchOptions
  #detector: Floods | undefined
  #settings = ''

  constructor(options: FloodWatchOptions) {
    this.#options = options
  }

  /** @param thread From 0. */
  observe(reading: FloodReading, nowMs: number, thread = 0): void {
    const { policy } = this.#options.view()
    const findings = this.#current(policy)?.observe(reading, nowMs, thread) ?? []
    if (findings.length > 0) this.#conclude(findings, policy)
  }

  /** The detector for the policy in force; a changed policy begins anew. */
  #current({ detectors, denials }: Policy): Floods | undefined {
    const { mode, perSource, denyFor, denyForMax } = detectors.floods
    // For longer the statement does not wait, nor does the node enforce it by itself.
    const longest = Math.min(denyForMax, denials.nodeTtlMax, denials.corroboration.within)
    const settings = JSON.stringify([mode, perSource, denyFor, longest])
    if (settings !== this.#settings) {
      this.#settings = settings
      this.#detector =
        mode === 'off'
          ? undefined
          : new Floods({
              limits: { perSource, denyForMs: Math.min(denyFor, longest), denyForMaxMs: longest },
              networkOf: (key) => subjectOfSource(key)?.network,
              isSpared: (key) => isSpared(key, this.#options.view().policy),
            })
    }
    return this.#detector
  }

  #conclude(findings: readonly FloodFinding[], policy: Policy): void {
    const isShadow = policy.detectors.floods.mode === 'shadow'
    const denied: string[] = []
    const named: string[] = []
    let reason = ''
    for (const finding of findings) {
      if (finding.subject.kind === 'fingerprint') {
        this.#options.say(`${FLOOD_REASON}${finding.reason}; a limit with the key ja4 would hold them to one budget`)
        continue
      }
      const subject = subjectOf(finding)
      if (subject === undefined) continue
      denied.push(describeSubject(subject))
      if (subject.kind === 'ip' || subject.kind === 'cidr') named.push(subject.value)
      if (reason === '') reason = finding.reason
      if (!isShadow) this.#options.deny(subject, finding.denyForMs, `${FLOOD_REASON}${finding.reason}`)
    }
    if (denied.length === 0) return
    this.#options.count(denied.length)
    this.#options.onFound?.(named, reason, !isShadow)
    const who = denied.slice(0, NAMED_MAX).join(', ')
    const more = denied.length > NAMED_MAX ? ` and ${denied.length - NAMED_MAX} more` : ''
    this.#options.say(`${FLOOD_REASON}${who}${more} ${isShadow ? 'would be denied' : 'denied'}; the first: ${reason}`)
  }
}

function subjectOf({ subject: { kind, value } }: FloodFinding): DenialSubject | undefined {
  return kind === 'network' ? { kind: 'cidr', value } : subjectOfSource(value)?.source
}

/** Trusted proxies carry the requests of others, and what is safe is denied by nobody. */
function isSpared(key: string, policy: Policy): boolean {
  const value = key.includes('/') ? key : subjectOfSource(key)?.source.value
  const prefix = value === undefined ? undefined : parsePrefix(value)
  if (value === undefined || prefix === undefined) return true
  return prefixSetOf(policy.denials.safe).overlaps(prefix) || prefixSetOf(policy.trustedProxies).overlaps(prefix)
}

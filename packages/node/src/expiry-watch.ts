/** Tells of credentials that are about to end, in time and not more often than it helps: 14, 3 and 1 days before, and when they have. */
import type { CertificateStatus } from '@ringwall/proxy'
import type { RingState } from '@ringwall/ring'
import type { EventLog } from './events.ts'

export interface Credential {
  /** What it is, for people: also what it is known by. */
  readonly what: string
  readonly notAfterMs: number
  /** How long it is good for in all: of what is short-lived nobody is told for most of its life. */
  readonly lifeMs?: number
  readonly fix: string
}

const DAY_MS = 86_400_000
/** The nearest first. */
const DAYS = [0, 1, 3, 14] as const
const LOOK_MS = 600_000
const KNOWN_MAX = 20_000

export class ExpiryWatch {
  readonly #credentials: () => readonly Credential[]
  readonly #events: Pick<EventLog, 'add'>
  /** By credential and end: the stage that was told of. */
  readonly #told = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(credentials: () => readonly Credential[], events: Pick<EventLog, 'add'>) {
    this.#credentials = credentials
    this.#events = events
  }

  start(): void {
    this.look(Date.now())
    this.#timer = setInterval(() => this.look(Date.now()), LOOK_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** @param nowMs Unix milliseconds. */
  look(nowMs: number): void {
    const standing = new Set<string>()
    for (const { what, notAfterMs, lifeMs = Number.POSITIVE_INFINITY, fix } of this.#credentials().slice(0, KNOWN_MAX)) {
      const left = notAfterMs - nowMs
      const stage = DAYS.find((days) => left <= days * DAY_MS && days * DAY_MS <= lifeMs / 2)
      const key = `${notAfterMs} ${what}`
      standing.add(key)
      if (stage === undefined || stage >= (this.#told.get(key) ?? Number.POSITIVE_INFINITY)) continue
      this.#told.set(key, stage)
      const until = new Date(notAfterMs).toISOString().slice(0, 16).replace('T', ' ')
      if (stage === 0) this.#events.add('node', 'bad', `${what} ended at ${until}Z: ${fix}`)
      else
        this.#events.add(
          'node',
          stage === 14 ? 'warn' : 'bad',
          `${what} ends at ${until}Z, in less than ${stage} ${stage === 1 ? 'day' : 'days'}: ${fix}`,
        )
    }
    for (const key of this.#told.keys()) if (!standing.has(key)) this.#told.delete(key)
  }
}

/** A certificate that the node's configuration names. */
export interface ExpiringFile {
  readonly file: string
  readonly notAfterMs: number
}

/** Of a node: certificates that it shows, and vouchers that devices still need. */
export function credentialsOf(
  certificates: readonly CertificateStatus[],
  est: ExpiringFile | undefined,
  { enrolment }: Pick<RingState, 'enrolment'>,
): readonly Credential[] {
  const shown = certificates.map(({ certificate, names, notAfterMs }) => ({
    what: `the certificate ${certificate} (${names.slice(0, 3).join(', ')})`,
    notAfterMs,
    fix: 'renew it; the new files are taken up by themselves',
  }))
  const own =
    est === undefined
      ? []
      : [{ what: `the certificate ${est.file} (EST)`, notAfterMs: est.notAfterMs, fix: 'renew it, and start this node again' }]
  const vouchers = enrolment.devices().flatMap(({ serial, status, expiresAtMs }) => {
    if (expiresAtMs === null || (status !== 'registered' && status !== 'joined')) return []
    const fix = 'without it the device cannot be set up anew: ask its manufacturer for another'
    return [{ what: `the voucher of ${serial}`, notAfterMs: expiresAtMs, fix }]
  })
  return [...shown, ...own, ...vouchers]
}

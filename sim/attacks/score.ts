/** What was caught, how soon, and who was taken for an attacker. The truth is who played; what detectors say is held against it. */
import type { Incident } from '@ringwall/respond'
import { accountKey } from '@ringwall/ring/tx'
import type { AttackKind } from './kinds.ts'
import type { Found, Outcome } from './ring.ts'
import { DAY, HOUR, type Play } from './traffic.ts'

/** How long after its end an attack may still be found: by what remembers days, and by what sees the whole service. */
const LATE_MS = 3 * DAY
const LATE_SERVICE_MS = HOUR

export interface Instance {
  readonly kind: AttackKind
  readonly who: number
  readonly startMs: number
  readonly endMs: number
  readonly sources: Set<string>
  plays: number
  refused: number
  /** By the detector that found it first. */
  foundBy: string | undefined
  foundAtMs: number
  /** Of its sources, those that were named. */
  readonly named: Set<string>
}

export interface KindScore {
  readonly kind: string
  readonly attack: string
  readonly instances: number
  readonly found: number
  /** Median, of those that were found; undefined: none was. */
  readonly afterMs: number | undefined
  readonly by: readonly string[]
  /** Of all requests of the kind. */
  readonly refusedShare: number
  /** Of the sources of those that were found. */
  readonly namedShare: number
}

export interface DetectorScore {
  readonly detector: string
  readonly findings: number
  /** That name nobody who attacks; one subject a day counts once. */
  readonly falseFindings: number
  /** People that were refused for it at least once. */
  readonly refusedPeople: number
}

export interface IncidentScore {
  readonly incidents: number
  /** That name nobody who attacks. */
  readonly falseIncidents: number
  /** Conclusions that said again what was said. */
  readonly duplicates: number
  /** Attacks of which some incident tells. */
  readonly told: number
}

export interface Score {
  readonly kinds: readonly KindScore[]
  readonly detectors: readonly DetectorScore[]
  readonly plays: number
  readonly refusedPeople: number
  readonly logins: number
  readonly refusedLogins: number
}

interface Blamed {
  findings: number
  readonly wrong: Set<string>
  readonly people: Set<number>
}

/** Of the reason of a denial: who said it. */
function detectorOf(reason: string): string {
  if (reason.includes('flood:')) return 'floods'
  if (reason.includes('logins to one account failed')) return 'slow-logins'
  if (reason.includes('failed logins')) return 'failed-logins'
  return /detector ([a-z0-9-]{1,64}):/.exec(reason)?.[1] ?? 'other'
}

export class Scorer {
  readonly #ring: string
  readonly #service: string
  readonly #instances = new Map<number, Instance>()
  /** Which instances have a subject, the latest last. */
  readonly #owners = new Map<string, number[]>()
  readonly #blamed = new Map<string, Blamed>()
  readonly #people = new Set<number>()
  readonly #wrong: string[] = []
  #plays = 0
  #logins = 0
  #refusedLogins = 0

  constructor(ring: string, service: string) {
    this.#ring = ring
    this.#service = service
  }

  begin(kind: AttackKind, who: number, startMs: number): void {
    const endMs = startMs + kind.lastsMs
    const rest = { sources: new Set<string>(), plays: 0, refused: 0, foundBy: undefined, foundAtMs: 0, named: new Set<string>() }
    this.#instances.set(who, { kind, who, startMs, endMs, ...rest })
  }

  played(play: Play, outcome: Outcome): void {
    this.#plays += 1
    const { who } = play
    if (who !== undefined && who < 0) {
      const instance = this.#instances.get(who)!
      instance.plays += 1
      if (!outcome.allowed) instance.refused += 1
      this.#own(`ip:${play.source}`, who)
      instance.sources.add(`ip:${play.source}`)
      if (play.ja4.includes('_tool')) this.#own(`fingerprint:${play.ja4}`, who)
      if (play.session !== undefined) this.#own(`session:${play.session}`, who)
      if (play.account !== undefined) this.#own(`account:${accountKey(this.#ring, this.#service, play.account)}`, who)
      return
    }
    const isLogin = play.path === '/login'
    if (isLogin) this.#logins += 1
    if (outcome.allowed) return
    if (isLogin) this.#refusedLogins += 1
    // Of machines each source is somebody.
    const person = who ?? -1 - Number.parseInt(play.source.replaceAll('.', '').slice(-8), 10)
    this.#people.add(person)
    this.#blame(detectorOf(outcome.reason)).people.add(person)
  }

  #own(subject: string, who: number): void {
    const owners = this.#owners.get(subject)
    if (owners === undefined) this.#owners.set(subject, [who])
    else if (owners.at(-1) !== who) owners.push(who)
  }

  #blame(detector: string): Blamed {
    let blamed = this.#blamed.get(detector)
    if (blamed === undefined) {
      blamed = { findings: 0, wrong: new Set(), people: new Set() }
      this.#blamed.set(detector, blamed)
    }
    return blamed
  }

  #isOn({ startMs, endMs }: Instance, atMs: number, lateMs = LATE_MS): boolean {
    return atMs >= startMs && atMs <= endMs + lateMs
  }

  /** @param kinds Of those that a finding about the whole service may mean; whichever is under way is found by it. */
  found({ atMs, detector, subjects, reason }: Found, kinds: readonly string[] = []): void {
    const blamed = this.#blame(detector)
    blamed.findings += 1
    const meant = new Set<Instance>()
    for (const subject of subjects) {
      for (const who of this.#owners.get(subject) ?? []) {
        const instance = this.#instances.get(who)!
        if (!this.#isOn(instance, atMs)) continue
        meant.add(instance)
        if (instance.sources.has(subject)) instance.named.add(subject)
      }
    }
    if (kinds.length > 0) {
      for (const instance of this.#instances.values())
        if (kinds.includes(instance.kind.name) && this.#isOn(instance, atMs, LATE_SERVICE_MS) && instance.plays > 0)
          meant.add(instance)
    }
    for (const instance of meant) {
      if (instance.foundBy !== undefined) continue
      instance.foundBy = detector
      instance.foundAtMs = atMs
    }
    if (meant.size > 0) return
    const key = `${subjects[0]} ${Math.floor(atMs / DAY)}`
    if (!blamed.wrong.has(key) && this.#wrong.length < 200)
      this.#wrong.push(`${new Date(atMs).toISOString()} ${detector}: ${subjects[0]}: ${reason}`)
    blamed.wrong.add(key)
  }

  /** Findings that name nobody who attacks, the first 200. */
  get wrong(): readonly string[] {
    return this.#wrong
  }

  /** @param serviceKinds By detector, or by a subject, as `found` has it. */
  incidents(all: readonly Incident[], serviceKinds: ReadonlyMap<string, readonly string[]>): IncidentScore {
    const told = new Set<number>()
    let falseIncidents = 0
    for (const { sources, accounts, sessions, timeline, detectors, firstMs, lastMs } of all) {
      const subjects = [
        ...sources.map((source) => `ip:${source}`),
        ...accounts.map((account) => `account:${account}`),
        ...sessions.map((session) => `session:${session}`),
        ...timeline.map(({ subject: { kind, value } }) => `${kind}:${value}`),
      ]
      const kinds = [...detectors, ...subjects].flatMap((about) => serviceKinds.get(about) ?? [])
      const meant = [...this.#instances.values()].filter(
        (instance) =>
          firstMs <= instance.endMs + LATE_MS &&
          lastMs >= instance.startMs &&
          (subjects.some((subject) => this.#owners.get(subject)?.includes(instance.who)) ||
            (kinds.includes(instance.kind.name) && firstMs <= instance.endMs + LATE_SERVICE_MS)),
      )
      if (meant.length === 0) falseIncidents += 1
      for (const { who } of meant) told.add(who)
    }
    return {
      incidents: all.length,
      falseIncidents,
      duplicates: all.reduce((sum, { duplicates }) => sum + duplicates, 0),
      told: told.size,
    }
  }

  score(): Score {
    const byKind = Map.groupBy(this.#instances.values(), ({ kind }) => kind.name)
    const kinds = [...byKind].map(([name, all]): KindScore => {
      const found = all.filter(({ foundBy }) => foundBy !== undefined)
      const after = found.map(({ foundAtMs, startMs }) => foundAtMs - startMs).sort((a, b) => a - b)
      const plays = all.reduce((sum, one) => sum + one.plays, 0)
      const sources = found.reduce((sum, one) => sum + one.sources.size, 0)
      return {
        kind: name,
        attack: all[0]!.kind.attack,
        instances: all.length,
        found: found.length,
        afterMs: after[(after.length - 1) >> 1],
        by: [...new Set(found.map(({ foundBy }) => foundBy!))].sort(),
        refusedShare: plays === 0 ? 0 : all.reduce((sum, one) => sum + one.refused, 0) / plays,
        namedShare: sources === 0 ? 0 : found.reduce((sum, one) => sum + one.named.size, 0) / sources,
      }
    })
    const detectors = [...this.#blamed]
      .map(([detector, { findings, wrong, people }]) => ({
        detector,
        findings,
        falseFindings: wrong.size,
        refusedPeople: people.size,
      }))
      .sort((a, b) => (a.detector < b.detector ? -1 : 1))
    return {
      kinds,
      detectors,
      plays: this.#plays,
      refusedPeople: this.#people.size,
      logins: this.#logins,
      refusedLogins: this.#refusedLogins,
    }
  }
}

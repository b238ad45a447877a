/**
 * The desk: findings of all nodes, the incidents that they make, what operators closed and who works on what. Tells the other nodes, so that each can
 * answer for the ring, and keeps it while the node is away. What belongs together is `@ringwall/respond`'s to say.
 */
import type { Fabric } from '@ringwall/fabric'
import {
  ASSIGNMENTS_VERSION,
  type Assignment,
  Assignments,
  CLOSINGS_VERSION,
  type Closing,
  Closings,
  correlate,
  FINDINGS_VERSION,
  Findings,
  type Incident,
  type NewFinding,
} from '@ringwall/respond'
import { type DiskSeal, readFileSealed, writeFileSealed } from '@ringwall/store'

const KEEP_MS = 30 * 86_400_000
const TELL_MS = 5_000
const SAVE_MS = 60_000
const HEARD_MS_MIN = 1_000
/** Told of as new to people; known again for so long. */
const OPENED_MAX = 10_000

export interface DeskIncident extends Incident {
  readonly closed: Closing | undefined
  /** Who works on it. */
  readonly assigned: Assignment | undefined
}

export interface IncidentDeskOptions {
  readonly self: string
  readonly fabric: Pick<Fabric, 'broadcast'>
  /** Without its ending. */
  readonly file: string
  /** Of the disk that it is on. */
  readonly disk?: DiskSeal | undefined
  /** An incident that was not there before. */
  readonly onOpened: (incident: Incident) => void
  readonly log: (level: 'warn', line: string) => void
}

export class IncidentDesk {
  readonly #options: IncidentDeskOptions
  readonly #findings: Findings
  readonly #closings = new Closings()
  readonly #assignments = new Assignments()
  readonly #heardMs = new Map<string, number>()
  /** Ids of findings whose incidents people were told of. */
  readonly #opened = new Set<string>()
  #incidents: readonly Incident[] = []
  #incidentsOf = -1
  #savedAt = ''
  #timers: readonly NodeJS.Timeout[] = []
  #saving: Promise<void> = Promise.resolve()

  constructor(options: IncidentDeskOptions) {
    this.#options = options
    this.#findings = new Findings({ self: options.self, keepMs: KEEP_MS })
  }

  /** Takes up what was kept. */
  async start(): Promise<void> {
    const { file, disk, log } = this.#options
    const [findings, closings, assignments] = await Promise.all(
      ['findings', 'closings', 'assignments'].map((name) =>
        readFileSealed(`${file}.${name}`, disk).catch((error: Error) => {
          log('warn', `incidents of before are not known: ${error.message}`)
          return undefined
        }),
      ),
    )
    if (findings !== undefined) this.#findings.restore(findings)
    if (closings !== undefined) this.#closings.restore(closings)
    if (assignments !== undefined) this.#assignments.restore(assignments)
    for (const { ids } of this.#all()) for (const id of ids) this.#opened.add(id)
    this.#timers = [setInterval(() => this.#tell(), TELL_MS), setInterval(() => void this.keep(), SAVE_MS)]
    for (const timer of this.#timers) timer.unref()
  }

  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await this.keep()
  }

  add(finding: NewFinding): void {
    this.#findings.add(finding)
  }

  /** What another node tells, whose findings, closings or assignments. Of each node a few in a second. */
  merge(from: string, payload: Uint8Array, nowMs: number): void {
    const key = `${payload[0]} ${from}`
    if (nowMs - (this.#heardMs.get(key) ?? 0) < HEARD_MS_MIN) return
    this.#heardMs.set(key, nowMs)
    if (payload[0] === FINDINGS_VERSION) this.#findings.merge(from, payload, nowMs)
    else if (payload[0] === CLOSINGS_VERSION) this.#closings.merge(from, payload, nowMs)
    else if (payload[0] === ASSIGNMENTS_VERSION) this.#assignments.merge(from, payload, nowMs)
  }

  #all(): readonly Incident[] {
    if (this.#incidentsOf !== this.#findings.changes) {
      this.#incidentsOf = this.#findings.changes
      this.#incidents = correlate(this.#findings.all())
    }
    return this.#incidents
  }

  /** The latest first. */
  list(): readonly DeskIncident[] {
    return this.#all().map((incident) => ({
      ...incident,
      closed: this.#closings.of(incident),
      assigned: this.#assignments.of(incident.ids),
    }))
  }

  /** By its id, or that of one of its findings, or the beginning of either. */
  find(id: string): DeskIncident | undefined {
    const fits = this.list().filter((incident) => incident.ids.some((one) => one.startsWith(id)))
    return fits.length === 1 ? fits[0] : undefined
  }

  close(incident: Incident, by: string, note: string, atMs: number): Closing {
    const closing: Closing = { id: incident.id, atMs: Math.max(atMs, incident.lastMs), by, note, node: this.#options.self }
    this.#closings.close(closing)
    const summary = this.#closings.summary(this.#options.self)
    if (summary !== undefined) this.#options.fabric.broadcast('signals', summary)
    return closing
  }

  /** @param to Null: nobody. What was said last stands, also where this node's clock is behind that of whoever said it before. */
  assign({ id, ids }: Incident, to: string | null, by: string, note: string, atMs: number): Assignment {
    const before = this.#assignments.last(ids)
    const assignment: Assignment = { id, atMs: Math.max(atMs, (before?.atMs ?? 0) + 1), to, by, note, node: this.#options.self }
    this.#assignments.assign(assignment)
    const summary = this.#assignments.summary(this.#options.self)
    if (summary !== undefined) this.#options.fabric.broadcast('signals', summary)
    return assignment
  }

  #tell(): void {
    this.#findings.expire(Date.now())
    for (const incident of this.#all()) {
      const isNew = !incident.ids.some((id) => this.#opened.has(id))
      for (const id of incident.ids) this.#opened.add(id)
      if (isNew) this.#options.onOpened(incident)
    }
    while (this.#opened.size > OPENED_MAX) this.#opened.delete(this.#opened.values().next().value as string)
    const { self } = this.#options
    for (const summary of [this.#findings.summary(), this.#closings.summary(self), this.#assignments.summary(self)])
      if (summary !== undefined) this.#options.fabric.broadcast('signals', summary)
  }

  /** Writes it to its files, when it is not there yet. One after the other. */
  keep(): Promise<void> {
    this.#saving = this.#saving.then(async () => {
      const { file, disk, log } = this.#options
      const closings = JSON.stringify(this.#closings.all())
      const assignments = JSON.stringify(this.#assignments.all())
      const state = `${this.#findings.changes} ${closings} ${assignments}`
      if (state === this.#savedAt) return
      try {
        for (const [name, content] of [
          ['findings', this.#findings.memory()],
          ['closings', new TextEncoder().encode(closings)],
          ['assignments', new TextEncoder().encode(assignments)],
        ] as const) {
          await writeFileSealed(`${file}.${name}`, content, disk)
        }
        this.#savedAt = state
      } catch (error) {
        log('warn', `incidents are not kept: ${(error as Error).message}`)
      }
    })
    return this.#saving
  }
}

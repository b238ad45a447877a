/**
 * Playbooks on a node: starts runs for what its own detectors found, and does the steps that reach outside when it has their claim.
 */
import { createHash } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Incident, type Message, type NewFinding, type Notifier, PlayRunner, type StepTask } from '@ringwall/respond'
import { type Denial, inputFault, inputsOf, isOver, type PlayInputs, playId, type RingState, type View } from '@ringwall/ring'
import type { TxBody } from '@ringwall/ring/tx'
import { type DiskSeal, readFileSealed, writeFileSealed } from '@ringwall/store'
import { every } from '../in-step.ts'

const LOOK_MS = 500
/** Findings of a burst: each subject starts one run, and what is over is left to the next. */
const STARTING_MAX = 32
const EVIDENCE_INCIDENTS_MAX = 20

export interface PlaybooksOptions {
  readonly self: string
  readonly ring: string
  /** Folder of evidence. */
  readonly folder: string
  readonly disk: DiskSeal | undefined
  readonly state: () => RingState
  readonly view: () => View
  readonly propose: (body: TxBody) => Promise<void>
  readonly notifier: Notifier
  readonly incidents: () => readonly Incident[]
  readonly say: (level: 'info' | 'warn', line: string) => void
  /** Others do the steps while operators hold this node. */
  readonly isHeld: () => boolean
}

/** What of a finding a playbook can be told; undefined: less than it needs. */
export function inputsFrom(
  { subject, sources, service }: NewFinding,
  wanted: ReturnType<typeof inputsOf>,
): PlayInputs | undefined {
  const known: PlayInputs = {
    source:
      subject.kind === 'source' || subject.kind === 'network' ? subject.value : sources.length === 1 ? sources[0] : undefined,
    account: subject.kind === 'account' ? subject.value : undefined,
    service,
  }
  const entries = wanted.map((input) => [input, known[input]] as const)
  return entries.every(([, value]) => value !== undefined) ? Object.fromEntries(entries) : undefined
}

export class NodePlaybooks {
  readonly #options: PlaybooksOptions
  readonly #runner: PlayRunner
  #starting = 0
  #stopLooking: (() => void) | undefined

  constructor(options: PlaybooksOptions) {
    this.#options = options
    const { self, state, view, propose } = options
    this.#runner = new PlayRunner({
      self,
      plays: () => (state().plays.size === 0 ? [] : state().plays.list()),
      policy: () => view().policy,
      members: () => state().nodes.map(({ id }) => id),
      propose,
      perform: (task) => this.#perform(task),
      nowMs: Date.now,
    })
  }

  start(): void {
    this.#stopLooking = every(LOOK_MS, () => {
      if (!this.#options.isHeld()) this.#runner.look()
    })
  }

  stop(): void {
    this.#stopLooking?.()
  }

  /** What this node's own detectors found. All nodes that find it give the run one key. */
  found(finding: NewFinding): void {
    const { view, state, propose, say } = this.#options
    const { policy } = view()
    for (const [name, playbook] of Object.entries(policy.playbooks)) {
      if (playbook.when === undefined || !playbook.when.detectors.includes(finding.detector)) continue
      const inputs = inputsFrom(finding, inputsOf(playbook))
      if (inputs === undefined || inputFault(playbook, inputs, policy) !== undefined) continue
      const { detector, subject, reason, atMs } = finding
      const key = `${detector} ${subject.kind}:${subject.value} ${Math.floor(atMs / playbook.again)}`.slice(0, 300)
      const known = state().plays.get(playId(name, key))
      if (known !== undefined && (known.status !== 'proposed' || known.statedBy.includes(`node:${this.#options.self}`))) continue
      if (this.#starting >= STARTING_MAX) continue
      this.#starting += 1
      void propose({ type: 'play.start', playbook: name, key, inputs, reason: lineOf(`${detector}: ${reason}`) })
        .catch((error: Error) => say('warn', `playbook ${name} is not started: ${error.message}`))
        .finally(() => {
          this.#starting -= 1
        })
    }
  }

  #perform(task: StepTask): Promise<string> {
    return task.step.do === 'evidence' ? this.#keepEvidence(task) : this.#notify(task)
  }

  async #notify({ play, step, key }: StepTask): Promise<string> {
    const { notifier, ring, self } = this.#options
    const channel = step.to ?? ''
    const message: Message = {
      id: key,
      type: 'playbook.step',
      severity: 'high',
      title: `playbook ${play.playbook}: ${step.text ?? ''}`,
      text: play.reason,
      atMs: play.startedAtMs,
      ring,
      node: self,
      facts: { ...plainOf(play.inputs), run: play.id, by: play.by },
    }
    await notifier.deliver(channel, message)
    return `told ${channel}`
  }

  /** What the ring knew then: the run, incidents that name what it is about, denials of it. */
  async #keepEvidence({ play, key }: StepTask): Promise<string> {
    const { ring, view, incidents, folder, disk, self } = this.#options
    const named = new Set(Object.values(plainOf(play.inputs)))
    const isAbout = ({ sources, accounts }: Incident): boolean => [...sources, ...accounts].some((value) => named.has(value))
    const { height, denials } = view()
    const about = denials.list(Date.now()).filter(({ subject }: Denial) => named.has(subject.value))
    const evidence = {
      format: 'ringwall/evidence/1',
      ring,
      height,
      node: self,
      atMs: Date.now(),
      run: play,
      incidents: incidents().filter(isAbout).slice(0, EVIDENCE_INCIDENTS_MAX),
      denials: about,
    }
    const bytes = new TextEncoder().encode(`${JSON.stringify(evidence, undefined, 2)}\n`)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFileSealed(join(folder, `evidence-${key}`), bytes, disk)
    return `sha256:${createHash('sha256').update(bytes).digest('hex')} on ${self}`
  }

  /** Of a step that this node did; undefined: it did not. @param step From 0. */
  evidence(run: string, step: number): Promise<Uint8Array | undefined> {
    const { folder, disk } = this.#options
    return readFileSealed(join(folder, `evidence-${run}-${step}`), disk).catch(() => undefined)
  }

  /** Runs that are not over. */
  get open(): number {
    return this.#options
      .state()
      .plays.list()
      .filter((play) => !isOver(play)).length
  }
}

function plainOf(inputs: PlayInputs): Record<string, string> {
  return Object.fromEntries(Object.entries(inputs).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]])))
}

/** As a statement takes it. */
function lineOf(text: string): string {
  return text
    .toWellFormed()
    .replace(/[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu, ' ')
    .slice(0, 200)
    .toWellFormed()
}

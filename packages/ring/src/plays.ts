/** Runs of playbooks: what was started, how far it is, and what came of each step. Immutable; bounded. */
import { z } from 'zod'
import { MerkleTrie } from './merkle-trie.ts'
import { PLAYBOOK_STEPS_MAX } from './policy-playbooks.ts'
import { timeKey } from './time-key.ts'
import type { Sha256 } from './tx.ts'

/** Runs that a ring knows, those that ended included. */
export const PLAYS_MAX = 4_096
/** An ended run is known for so long. */
export const PLAY_KEEP_MS = 7 * 86_400_000
/** What time makes due, looked at in one block at most. */
const DUE_MAX = 500

export const PLAY_STATUSES = ['proposed', 'running', 'done', 'failed', 'cancelled', 'undone', 'lapsed'] as const
export type PlayStatus = (typeof PLAY_STATUSES)[number]

/** What came of a step. */
export interface PlayOutcome {
  readonly step: number
  readonly atMs: number
  readonly result: 'done' | 'failed' | 'undone' | 'kept'
  /** Who did it: `ring`, `node:ID` or `operator:NAME`. */
  readonly by: string
  readonly note: string
}

export interface PlayInputs {
  readonly source?: string | undefined
  readonly service?: string | undefined
  readonly account?: string | undefined
  readonly person?: string | undefined
}

export interface Play {
  /** 16 hex digits. */
  readonly id: string
  readonly playbook: string
  /** Of its steps, as they were when it began: a run does not go on by others. */
  readonly digest: string
  readonly inputs: PlayInputs
  readonly reason: string
  /** `operator:NAME`, or the node that said so first. */
  readonly by: string
  /** Nodes that said so, in order; empty when an operator started it. */
  readonly statedBy: readonly string[]
  readonly status: PlayStatus
  readonly startedAtMs: number
  readonly changedAtMs: number
  /** The step that is next, or under way. */
  readonly at: number
  /** When time alone changes something; 0: never. */
  readonly dueMs: number
  /** Who does the step that is under way, and until when that holds. */
  readonly claim: { readonly node: string; readonly attempt: number; readonly untilMs: number } | null
  readonly approvedBy: readonly string[]
  readonly outcomes: readonly PlayOutcome[]
}

const Ms = z.int().min(0)
const Issuer = z
  .string()
  .regex(/^(operator|node):/)
  .max(80)
const Text = z.string().max(512).optional()
/** The form of a run in a snapshot. */
export const PlayShape = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  playbook: z.string().min(1).max(63),
  digest: z.string().regex(/^[0-9a-f]{16}$/),
  inputs: z.strictObject({ source: Text, service: Text, account: Text, person: Text }),
  reason: z.string().max(200),
  by: Issuer,
  statedBy: z.array(Issuer).max(1_000),
  status: z.enum(PLAY_STATUSES),
  startedAtMs: Ms,
  changedAtMs: Ms,
  at: z.int().min(0).max(PLAYBOOK_STEPS_MAX),
  dueMs: Ms,
  claim: z.strictObject({ node: z.string().max(63), attempt: z.int().min(1), untilMs: Ms }).nullable(),
  approvedBy: z.array(Issuer).max(1_000),
  outcomes: z
    .array(
      z.strictObject({
        step: z.int().min(0).max(PLAYBOOK_STEPS_MAX),
        atMs: Ms,
        result: z.enum(['done', 'failed', 'undone', 'kept']),
        by: z.string().max(80),
        note: z.string().max(200),
      }),
    )
    .max(2 * PLAYBOOK_STEPS_MAX),
})

export function isOver({ status }: Play): boolean {
  return status !== 'proposed' && status !== 'running'
}

/** When time alone changes something of it: its own moment, or when it is forgotten. */
function agendaMs(play: Play): number {
  return isOver(play) ? play.changedAtMs + PLAY_KEEP_MS : play.dueMs
}

export class Plays {
  static readonly empty: Plays = new Plays(MerkleTrie.empty(), MerkleTrie.empty())
  readonly #byId: MerkleTrie<Play>
  readonly #agenda: MerkleTrie<1>

  private constructor(byId: MerkleTrie<Play>, agenda: MerkleTrie<1>) {
    this.#byId = byId
    this.#agenda = agenda
  }

  /** From contents that are known to be well formed. */
  static from(contents: readonly Play[]): Plays {
    return contents.reduce((all, play) => all.with(play), Plays.empty)
  }

  get size(): number {
    return this.#byId.size
  }

  get(id: string): Play | undefined {
    return this.#byId.get(id)
  }

  /** In order of id. */
  list(): readonly Play[] {
    return [...this.#byId.entries()].map(([, play]) => play)
  }

  /** Adds a run, or takes the place of the one of its id. */
  with(play: Play): Plays {
    const cleared = this.without(play.id)
    const atMs = agendaMs(play)
    const agenda = atMs === 0 ? cleared.#agenda : cleared.#agenda.set(timeKey(atMs, play.id), 1)
    return new Plays(cleared.#byId.set(play.id, play), agenda)
  }

  without(id: string): Plays {
    const play = this.#byId.get(id)
    if (play === undefined) return this
    const atMs = agendaMs(play)
    return new Plays(this.#byId.delete(id), atMs === 0 ? this.#agenda : this.#agenda.delete(timeKey(atMs, id)))
  }

  /** Those whose time has come, the longest due first. */
  due(nowMs: number): readonly Play[] {
    const due: Play[] = []
    const before = timeKey(nowMs + 1, '')
    for (const [key] of this.#agenda.entries()) {
      if (key >= before || due.length >= DUE_MAX) break
      due.push(this.#byId.get(key.slice(14)) as Play)
    }
    return due
  }

  root(hash?: Sha256): string {
    return this.#byId.root(hash)
  }
}

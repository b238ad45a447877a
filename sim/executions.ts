/**
 * What blocks do to states, each worked out once for all validators of a schedule: execution is a function of the state, the
 * block's transactions and its context, and states never change. A number stands for the root of a state. In some
 * schedules each validator executes for itself, roots are those of the states, and all have to come to one (`isEachOnItsOwn`).
 */
import type { Digest } from '@ringwall/consensus'
import type { RingApplication, RingState } from '@ringwall/ring'
import { parsePayload } from '../packages/ledger/src/payload.ts'
import type { Application, BlockContext } from '../packages/ledger/src/types.ts'
import { same } from './keys.ts'

type Outcome = ReturnType<RingApplication['execute']>

interface Execution {
  readonly txs: readonly Uint8Array[]
  readonly context: BlockContext
  readonly outcome: Outcome
}

export class Executions {
  /** The ring's application, as a chain runs it. */
  readonly application: Application<RingState>
  readonly #known = new Map<RingState, Execution[]>()
  readonly #parsed = new Map<Uint8Array, readonly Uint8Array[] | undefined>()
  readonly #roots = new Map<RingState, string>()
  readonly #states = new Map<Digest, RingState>()

  constructor(application: RingApplication, isEachOnItsOwn: boolean) {
    const known = (state: RingState): Execution[] => {
      let executions = this.#known.get(state)
      if (executions === undefined) {
        executions = []
        this.#known.set(state, executions)
      }
      return executions
    }
    this.application = {
      initial: () => application.initial(),
      check: (state, tx, nowMs) => application.check(state, tx, nowMs),
      prepare: (state, candidates, context, bytesMax) => application.prepare(state, candidates, context, bytesMax),
      root: (state) => this.#root(state),
      snapshot: (state) => application.snapshot(state),
      restore: (snapshot) => application.restore(snapshot),
      validators: (state) => application.validators(state),
      execute: (state, txs, context) => {
        const before = known(state)
        const found = before.find((execution) => isSame(execution, txs, context))
        if (found !== undefined && !isEachOnItsOwn) return found.outcome
        const outcome = application.execute(state, txs, context)
        if (found === undefined) {
          before.push({ txs, context, outcome })
          if (outcome.ok && !isEachOnItsOwn && outcome.state !== state)
            this.#roots.set(outcome.state, (this.#roots.size + 1).toString(16).padStart(64, '0'))
        } else if (rootOf(found.outcome) !== rootOf(outcome)) throw new Error(`block ${context.height} has two outcomes`)
        return outcome
      },
    }
  }

  /** The transactions in a payload; undefined when it is malformed. Payloads are the same object wherever they are sent. */
  txsOf(payload: Uint8Array): readonly Uint8Array[] | undefined {
    if (payload.length === 0) return []
    if (this.#parsed.has(payload)) return this.#parsed.get(payload)
    let txs: readonly Uint8Array[] | undefined
    try {
      txs = parsePayload(payload).txs
    } catch {
      txs = undefined
    }
    this.#parsed.set(payload, txs)
    return txs
  }

  #root(state: RingState): string {
    return this.#roots.get(state) ?? state.root()
  }

  /** Everybody may know the state after a block that somebody executed. */
  learn(digest: Digest, state: RingState): void {
    this.#states.set(digest, state)
  }

  rootAfter(digest: Digest): string | undefined {
    const state = this.#states.get(digest)
    return state === undefined ? undefined : this.#root(state)
  }
}

/** What was found valid when it was voted on is so once it is certified; what was not may be. */
function isSame({ txs, context, outcome }: Execution, others: readonly Uint8Array[], other: BlockContext): boolean {
  return (
    context.timestampMs === other.timestampMs &&
    context.height === other.height &&
    context.proposer === other.proposer &&
    (outcome.ok || (context.certified ?? false) === (other.certified ?? false)) &&
    txs.length === others.length &&
    txs.every((tx, i) => same(tx, others[i] as Uint8Array))
  )
}

function rootOf(outcome: Outcome): string | undefined {
  return outcome.ok ? outcome.state.root() : undefined
}

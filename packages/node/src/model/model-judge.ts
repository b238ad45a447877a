/**
 * The model in the guard: scores what the WAF let pass, and refuses or only watches, as the policy's stage has it for this node. One that refuses more than the
 * policy expects of it goes back to watching by itself, until operators name another model or stage.
 */
import { explainScore, type ModelRequest, scoreRequest, type Weights } from '@ringwall/detect'
import type { GuardRequest, ModelVerdict, RequestModel } from '@ringwall/guard'
import type { ModelPolicy, View } from '@ringwall/ring'

/** Over so many requests the share of those refused is looked at; fewer refusals are never too many. */
const LOOK_AT = 500
const REFUSED_MIN = 10
const REASON_FEATURES = 3

export interface ModelJudgeOptions {
  readonly self: string
  readonly region: string
  readonly view: () => View
  readonly weights: (hash: string) => Weights | undefined
  /** It refused too much here. */
  readonly onReverted: (line: string) => void
}

export interface ModelCounts {
  readonly judged: number
  /** At the threshold or above. */
  readonly over: number
  readonly refused: number
}

export function modelRequest({ method, target, headers }: GuardRequest, body: Uint8Array): ModelRequest {
  return { method, target, headers, body }
}

export class ModelJudge implements RequestModel {
  readonly #options: ModelJudgeOptions
  readonly #flagged = new WeakSet<GuardRequest>()
  #policy: ModelPolicy | undefined
  #counts = { judged: 0, over: 0, refused: 0 }
  #window = { judged: 0, over: 0 }
  #reverted: string | undefined

  constructor(options: ModelJudgeOptions) {
    this.#options = options
  }

  #current(): ModelPolicy | undefined {
    const policy = this.#options.view().policy.detectors.model
    if (policy === this.#policy) return policy
    // Only another model or another stage is another trial.
    const trial = (one: ModelPolicy | undefined): string => JSON.stringify([one?.use, one?.stage, one?.threshold, one?.refuseMax])
    if (trial(policy) !== trial(this.#policy)) {
      this.#counts = { judged: 0, over: 0, refused: 0 }
      this.#window = { judged: 0, over: 0 }
      this.#reverted = undefined
    }
    this.#policy = policy
    return policy
  }

  get counts(): ModelCounts {
    this.#current()
    return this.#counts
  }

  /** Why it only watches here although the policy would have it refuse. */
  get reverted(): string | undefined {
    this.#current()
    return this.#reverted
  }

  /** Whether it refuses here. */
  get enforces(): boolean {
    const policy = this.#current()
    return policy !== undefined && policy.use !== undefined && this.#reverted === undefined && this.#isStaged(policy.stage)
  }

  #isStaged(stage: ModelPolicy['stage']): boolean {
    if (stage === 'all') return true
    const [kind, name] = stage.split(':')
    return kind === 'node' ? name === this.#options.self : kind === 'region' && name === this.#options.region
  }

  /** Whether the model would refuse this one, or did. */
  isFlagged(request: GuardRequest): boolean {
    return this.#flagged.has(request)
  }

  judge(request: GuardRequest, body: Uint8Array): ModelVerdict | undefined {
    const policy = this.#current()
    const weights = policy?.use === undefined ? undefined : this.#options.weights(policy.use)
    if (policy?.use === undefined || weights === undefined) return undefined
    const asked = modelRequest(request, body)
    const score = scoreRequest(weights, asked)
    this.#counts.judged += 1
    this.#window.judged += 1
    const isOver = score >= policy.threshold
    if (isOver) this.#window.over += 1
    this.#look(policy)
    if (!isOver) return undefined
    this.#counts.over += 1
    this.#flagged.add(request)
    const refuses = this.enforces
    if (refuses) this.#counts.refused += 1
    const { top } = explainScore(weights, asked, REASON_FEATURES)
    const why = top.map(({ feature, part }) => `${feature} ${part.toFixed(1)}`).join(', ')
    return { refuses, rule: `model:${policy.use.slice(0, 12)}`, reason: `the model scores ${score.toFixed(3)}: ${why}` }
  }

  /** What everybody else lets pass is honest, all in all: whoever refuses much of it is wrong. */
  #look({ use, stage, refuseMax }: ModelPolicy): void {
    const { judged, over } = this.#window
    const isTooMuch = over >= REFUSED_MIN && over > refuseMax * Math.max(judged, LOOK_AT)
    if (isTooMuch && this.enforces) {
      this.#reverted = `it would refuse ${over} of the last ${judged} requests that nothing else objects to, more than ${(100 * refuseMax).toFixed(1)} %`
      this.#options.onReverted(`model ${use?.slice(0, 12)} (${stage}) only watches here from now on: ${this.#reverted}`)
    }
    if (judged >= LOOK_AT) this.#window = { judged: 0, over: 0 }
  }
}

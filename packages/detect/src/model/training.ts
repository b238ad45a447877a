/**
 * One step of training on a node’s own requests, and what of it may leave: the sum of the gradients of single requests, each clipped to length `CLIP`, with
 * Gaussian noise on every coordinate (DP-SGD: Abadi et al. 2016, with all requests in each step), divided by their number.
 *
 * Privacy is that of one request among a node’s: adding or removing it changes the sum by at most `CLIP`, so that a step with noise σ·CLIP satisfies ρ-zCDP with
 * ρ = 1 / (2σ²), steps add up, and ρ-zCDP is (ρ + 2·√(ρ·ln(1/δ)), δ)-differential privacy (Bun and Steinke 2016, propositions 1.3, 1.6 and 1.7). Whoever
 * sent k of the requests is protected k² times less in ρ. The number of requests is told as it is.
 */
import type { FeatureVector } from './features.ts'
import { scoreOf, type Weights } from './linear-model.ts'

/** Features have length 1 and a residual is at most 1: no gradient of a logistic loss is longer. */
export const CLIP = 1

export interface Example {
  readonly features: FeatureVector
  readonly hostile: boolean
}

/** One draw of the standard normal distribution. */
export type Gaussian = () => number

/**
 * @param sigma Standard deviation of the noise, in units of `CLIP`; 0: none, and nothing is private.
 * @param hostileWeight Of an attack, against 1 of an honest request: at most 1 keeps the clip.
 * @returns The direction in which the weights are to go.
 */
export function privateStep(weights: Weights, examples: readonly Example[], sigma: number, gaussian: Gaussian): Float32Array {
  const sum = new Float64Array(weights.length)
  for (const { features, hostile } of examples) {
    const residual = (hostile ? 1 : 0) - scoreOf(weights, features)
    const { indices, values } = features
    let square = 0
    for (let at = 0; at < values.length; at += 1) square += values[at]! * values[at]!
    const length = Math.abs(residual) * Math.sqrt(square)
    const clipped = length > CLIP ? (residual * CLIP) / length : residual
    for (let at = 0; at < indices.length; at += 1) sum[indices[at]!]! += clipped * values[at]!
  }
  const step = new Float32Array(weights.length)
  const count = Math.max(1, examples.length)
  for (let at = 0; at < step.length; at += 1) step[at] = (sum[at]! + (sigma === 0 ? 0 : sigma * CLIP * gaussian())) / count
  return step
}

/** Of so many steps with this noise, in zero-concentrated differential privacy. */
export function rhoOf(sigma: number, steps: number): number {
  return steps / (2 * sigma * sigma)
}

/** The ε of (ε, δ)-differential privacy that a ρ comes to. */
export function epsilonOf(rho: number, delta: number): number {
  return rho + 2 * Math.sqrt(rho * Math.log(1 / delta))
}

/** Pairs of independent draws by Box and Muller. @param uniform In (0, 1). */
export function gaussianFrom(uniform: () => number): Gaussian {
  let kept: number | undefined
  return () => {
    if (kept !== undefined) {
      const given = kept
      kept = undefined
      return given
    }
    const radius = Math.sqrt(-2 * Math.log(uniform()))
    const angle = 2 * Math.PI * uniform()
    kept = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }
}

/**
 * What a node tells of its steps: their average that forgets. It costs no privacy, as only steps that are private already go into it, and it is what makes lies
 * stand out: the noise of single steps would hide them (Karimireddy, He, Jaggi, "Learning from history", ICML 2021).
 */
export class StepAverage {
  readonly #forget: number
  #average: Float32Array | undefined

  /** @param forget The part of a new step. */
  constructor(forget: number) {
    this.#forget = forget
  }

  add(step: Float32Array): Float32Array {
    const before = this.#average
    this.#average = before === undefined ? step : before.map((one, at) => one + this.#forget * (step[at]! - one))
    return this.#average
  }
}

/** How the weights follow the steps: heavy ball, with weights kept within a ball. */
export interface Descent {
  readonly rate: number
  readonly momentum: number
  /** Longer weights are shortened to it. */
  readonly lengthMax: number
}

export class Descender {
  readonly #options: Descent
  readonly #velocity: Float32Array
  #weights: Weights

  constructor(weights: Weights, options: Descent) {
    this.#options = options
    this.#velocity = new Float32Array(weights.length)
    this.#weights = weights
  }

  get weights(): Weights {
    return this.#weights
  }

  follow(step: Float32Array): void {
    const { rate, momentum, lengthMax } = this.#options
    const weights = new Float32Array(step.length)
    let square = 0
    for (let at = 0; at < step.length; at += 1) {
      this.#velocity[at] = momentum * this.#velocity[at]! + step[at]!
      weights[at] = this.#weights[at]! + rate * this.#velocity[at]!
      square += weights[at]! * weights[at]!
    }
    const length = Math.sqrt(square)
    if (length > lengthMax) for (let at = 0; at < weights.length; at += 1) weights[at]! *= lengthMax / length
    this.#weights = weights
  }
}

/** The area under the ROC curve: how often an attack scores above an honest request, ties half. Undefined without either. */
export function areaUnderCurve(weights: Weights, examples: readonly Example[]): number | undefined {
  const scored = examples.map(({ features, hostile }) => ({ score: scoreOf(weights, features), hostile }))
  scored.sort((a, b) => a.score - b.score)
  let [hostile, ranks] = [0, 0]
  for (let from = 0; from < scored.length; ) {
    let to = from
    while (to < scored.length && scored[to]!.score === scored[from]!.score) to += 1
    for (let at = from; at < to; at += 1) {
      if (!scored[at]!.hostile) continue
      hostile += 1
      ranks += (from + to + 1) / 2
    }
    from = to
  }
  const honest = scored.length - hostile
  return hostile === 0 || honest === 0 ? undefined : (ranks - (hostile * (hostile + 1)) / 2) / (hostile * honest)
}

/** What nodes train with; chosen by `npm run bench:model`. */
export const TRAINING = {
  rounds: 200,
  sigma: 10,
  stepLengthMax: CLIP,
  how: 'agreeing',
  mixed: true,
  forget: 0.1,
  descent: { rate: 200, momentum: 0, lengthMax: 400 },
} as const

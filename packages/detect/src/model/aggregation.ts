/**
 * Joins the steps of n nodes, of which up to f may say anything. Ways to do it, none of which one wild step can move far:
 *
 * - `trimmed-mean`: of each coordinate the mean without the f largest and the f smallest (Yin, Chen, Ramchandran, Bartlett, ICML 2018);
 * - `median`: of each coordinate the median (the same);
 * - `multi-krum`: the mean of the n − f steps that are nearest to their n − f − 2 nearest others (Blanchard, El Mhamdi, Guerraoui, Stainer, NeurIPS 2017).
 * - `agreeing`: the mean of the n − f steps whose direction is nearest to the first one, which is the joining node’s own and honest to it, all as long as the median of
 *   lengths at most (after FLTrust: Cao, Fang, Liu, Gong, NDSS 2021).
 *
 * Nodes see different traffic, which makes honest steps differ, too. With `mixed`, each step is first replaced by the mean of the n − f nearest to it (nearest
 * neighbour mixing: Allouah et al., AISTATS 2023).
 */
export type Aggregation = 'mean' | 'trimmed-mean' | 'median' | 'multi-krum' | 'agreeing'

export interface AggregationOptions {
  readonly how: Aggregation
  /** How many may lie; less than half of them. */
  readonly f: number
  readonly mixed: boolean
  /** Longer steps are shortened to it first. */
  readonly lengthMax: number
}

type Step = Float32Array

/** @throws {RangeError} When there are fewer steps than 2f + 1. */
export function aggregate(given: readonly Step[], { how, f, mixed, lengthMax }: AggregationOptions): Step {
  if (given.length < 2 * f + 1) throw new RangeError(`${given.length} steps, at least ${2 * f + 1} are needed where ${f} may lie`)
  const short = given.map((step) => shortened(step, lengthMax))
  const steps = mixed ? mix(short, f) : short
  if (how === 'agreeing') return meanOf(agreeing(short, steps, f))
  if (how === 'mean') return meanOf(steps)
  if (how === 'multi-krum') return meanOf(krum(steps, f))
  return trimmed(steps, how === 'median' ? (steps.length - 1) >> 1 : f)
}

function lengthOf(step: Step): number {
  let square = 0
  for (const one of step) square += one * one
  return Math.sqrt(square)
}

/** What is no number counts as nothing. */
function shortened(given: Step, lengthMax: number): Step {
  const step = given.map((one) => (Number.isFinite(one) ? one : 0))
  const length = lengthOf(step)
  if (length <= lengthMax) return step
  // 32 bits do not hold the square of everything that they hold.
  const scale = Number.isFinite(length) ? lengthMax / length : 0
  return step.map((one) => one * scale)
}

function meanOf(steps: readonly Step[]): Step {
  const mean = new Float32Array(steps[0]!.length)
  for (const step of steps) for (let at = 0; at < mean.length; at += 1) mean[at]! += step[at]! / steps.length
  return mean
}

function trimmed(steps: readonly Step[], cut: number): Step {
  const result = new Float32Array(steps[0]!.length)
  const column = new Float64Array(steps.length)
  const kept = steps.length - 2 * cut
  for (let at = 0; at < result.length; at += 1) {
    for (let which = 0; which < steps.length; which += 1) column[which] = steps[which]![at]!
    column.sort()
    let sum = 0
    for (let which = cut; which < steps.length - cut; which += 1) sum += column[which]!
    result[at] = sum / kept
  }
  return result
}

function distances(steps: readonly Step[]): readonly (readonly number[])[] {
  const apart = steps.map(() => new Array<number>(steps.length).fill(0))
  for (let a = 0; a < steps.length; a += 1) {
    for (let b = a + 1; b < steps.length; b += 1) {
      let square = 0
      for (let at = 0; at < steps[a]!.length; at += 1) square += (steps[a]![at]! - steps[b]![at]!) ** 2
      apart[a]![b] = square
      apart[b]![a] = square
    }
  }
  return apart
}

function dot(a: Step, b: Step): number {
  let sum = 0
  for (let at = 0; at < a.length; at += 1) sum += a[at]! * b[at]!
  return sum
}

/** @param steps What is joined in the place of `short`, in the same order. */
function agreeing(short: readonly Step[], steps: readonly Step[], f: number): readonly Step[] {
  const own = short[0]!
  const lengths = steps.map(lengthOf)
  const median = lengths.toSorted((a, b) => a - b)[lengths.length >> 1]!
  const agreement = short.map(
    (step, at) => dot(own, step) / Math.max(Number.MIN_VALUE, lengthOf(step)) + (at === 0 ? own.length : 0),
  )
  const order = short.map((_, at) => at).sort((a, b) => agreement[b]! - agreement[a]! || a - b)
  return order.slice(0, steps.length - f).map((at) => shortened(steps[at]!, median))
}

function krum(steps: readonly Step[], f: number): readonly Step[] {
  const neighbours = Math.max(1, steps.length - f - 2)
  const scores = distances(steps).map((row, at) => {
    const others = row.filter((_, other) => other !== at).sort((a, b) => a - b)
    return others.slice(0, neighbours).reduce((sum, one) => sum + one, 0)
  })
  const order = steps.map((_, at) => at).sort((a, b) => scores[a]! - scores[b]! || a - b)
  return order.slice(0, steps.length - f).map((at) => steps[at]!)
}

function mix(steps: readonly Step[], f: number): readonly Step[] {
  return distances(steps).map((row) => {
    const nearest = steps.map((_, at) => at).sort((a, b) => row[a]! - row[b]! || a - b)
    return meanOf(nearest.slice(0, steps.length - f).map((at) => steps[at]!))
  })
}

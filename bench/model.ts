/**
 * `npm run bench:model`: the model of requests, trained by seven nodes on the corpus of `corpus:waf`, each with a mixture of classes of its own (Dirichlet,
 * `--alpha`, in percent), against the same model trained on all of it in one place. Scored on the held-out part, by the area under the ROC curve. Then with two of the seven
 * poisoning the training in five ways, by each way of joining the steps. Prints the privacy that the noise comes to, and what a score costs.
 */
import {
  type Aggregation,
  aggregate,
  areaUnderCurve,
  Descender,
  type Example,
  epsilonOf,
  explainScore,
  featuresOf,
  gaussianFrom,
  type ModelRequest,
  noWeights,
  privateStep,
  rhoOf,
  StepAverage,
  scoreRequest,
  TRAINING,
  type Weights,
} from '../packages/detect/src/index.ts'
import { loadCorpus } from '../packages/waf/src/test-corpus.ts'
import type { Sent } from '../packages/waf/src/test-requests.ts'
import { Random } from '../sim/random.ts'
import { flag, readOptions, text, whole } from '../tools/options.ts'

const options = readOptions({
  seed: whole(1),
  alpha: whole(100, 1, 10_000),
  rounds: whole(TRAINING.rounds, 1, 1_000),
  /** Of the corpus every so-manieth request; 1: all. */
  every: whole(1, 1, 100),
  sigma: whole(TRAINING.sigma, 1, 1_000),
  how: text(TRAINING.how),
  /** Steps as they come, not those of neighbours with them. */
  unmixed: flag(),
  /** All ways of joining steps. */
  all: flag(),
})
const NODES = 7
const LIARS = 2
const DELTA = 1e-5
/** In one place, until little changes. */
const CENTRAL_ROUNDS = 400
const encoder = new TextEncoder()

interface Labelled extends Example {
  readonly class: string
}

function requestOf({ method, target, headers, body }: Sent): ModelRequest {
  return {
    method: method ?? 'GET',
    target: target ?? '/',
    headers: [['User-Agent', 'Mozilla/5.0'], ...(headers ?? [])],
    body: typeof body === 'string' ? encoder.encode(body) : (body ?? new Uint8Array()),
  }
}

function load(part: 'attacks' | 'benign' | 'held-out/attacks' | 'held-out/benign'): readonly Labelled[] {
  const hostile = part.endsWith('attacks')
  return loadCorpus(part)
    .filter((_, at) => at % options.every === 0)
    .map((one) => ({ class: `${hostile} ${one.class}`, hostile, features: featuresOf(requestOf(one.sent)) }))
}

const random = new Random(options.seed)
const uniform = (): number => Math.max(Number.MIN_VALUE, random.next())
const gaussian = gaussianFrom(uniform)

/** Marsaglia and Tsang, 2000. */
function gamma(shape: number): number {
  if (shape < 1) return gamma(shape + 1) * uniform() ** (1 / shape)
  const d = shape - 1 / 3
  const c = 1 / Math.sqrt(9 * d)
  for (;;) {
    const x = gaussian()
    const v = (1 + c * x) ** 3
    if (v > 0 && Math.log(uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v
  }
}

/** Each class over the nodes by a draw of its own. */
function split(examples: readonly Labelled[]): readonly (readonly Labelled[])[] {
  const nodes: Labelled[][] = Array.from({ length: NODES }, () => [])
  for (const ofClass of Map.groupBy(examples, (one) => one.class).values()) {
    const shares = Array.from({ length: NODES }, () => gamma(options.alpha / 100))
    const sum = shares.reduce((all, one) => all + one, 0)
    for (const example of ofClass) {
      let left = random.next() * sum
      const node = shares.findIndex((share) => (left -= share) < 0)
      nodes[node < 0 ? NODES - 1 : node]!.push(example)
    }
  }
  return nodes
}

type Poison =
  | 'none'
  | 'silence'
  | 'label flips'
  | 'scaled, other way'
  | 'sign flips'
  | 'a little is enough'
  | 'honest mean, other way'
const POISONS: readonly Poison[] = [
  'none',
  'silence',
  'label flips',
  'scaled, other way',
  'sign flips',
  'a little is enough',
  'honest mean, other way',
]
/** Deviations from the mean that still look honest among seven with two liars (Baruch, Baruch, Goldberg, NeurIPS 2019: Φ(z) = (n − f − s) / (n − f)). */
const LITTLE = 0.84

/** The last two are liars that know what everybody else says. */
function poisoned(steps: readonly Float32Array[], poison: Poison): readonly Float32Array[] {
  const honest = steps.slice(0, NODES - LIARS)
  const lie = (make: (step: Float32Array) => Float32Array): readonly Float32Array[] => [
    ...honest,
    ...steps.slice(NODES - LIARS).map(make),
  ]
  // What their data would have given is lost in any case.
  if (poison === 'silence') return honest
  if (poison === 'scaled, other way') return lie((step) => step.map((one) => -100 * one))
  if (poison === 'sign flips') return lie((step) => step.map((one) => -one))
  if (poison !== 'a little is enough' && poison !== 'honest mean, other way') return steps
  const mean = honest[0]!.map((_, at) => honest.reduce((sum, step) => sum + step[at]!, 0) / honest.length)
  if (poison === 'honest mean, other way') return lie(() => mean.map((one) => -one))
  const bad = mean.map((one, at) => {
    const variance = honest.reduce((sum, step) => sum + (step[at]! - one) ** 2, 0) / honest.length
    return one - LITTLE * Math.sqrt(variance) * Math.sign(one)
  })
  return lie(() => bad)
}

function train(nodes: readonly (readonly Example[])[], how: Aggregation, mixed: boolean, poison: Poison): Weights {
  const data =
    poison === 'label flips'
      ? nodes.map((examples, at) => (at < NODES - LIARS ? examples : examples.map((one) => ({ ...one, hostile: !one.hostile }))))
      : nodes
  const descender = new Descender(noWeights(), TRAINING.descent)
  const averages = data.map(() => new StepAverage(TRAINING.forget))
  for (let round = 0; round < options.rounds; round += 1) {
    const steps = data.map((examples, at) => averages[at]!.add(privateStep(descender.weights, examples, options.sigma, gaussian)))
    descender.follow(
      aggregate(poisoned(steps, poison), { how, f: poison === 'silence' ? 0 : LIARS, mixed, lengthMax: TRAINING.stepLengthMax }),
    )
  }
  return descender.weights
}

function trainCentrally(examples: readonly Example[]): Weights {
  const descender = new Descender(noWeights(), TRAINING.descent)
  const average = new StepAverage(TRAINING.forget)
  for (let round = 0; round < CENTRAL_ROUNDS; round += 1)
    descender.follow(average.add(privateStep(descender.weights, examples, 0, gaussian)))
  return descender.weights
}

const say = (line: string): void => void process.stdout.write(`${line}\n`)
const training = [...load('attacks'), ...load('benign')]
const heldOut = [...load('held-out/attacks'), ...load('held-out/benign')]
const nodes = split(training)
const auc = (weights: Weights): number => areaUnderCurve(weights, heldOut)!

say(
  `${training.length} requests to train on, ${heldOut.length} held out; attacks/all of each node: ${nodes.map((all) => `${all.filter(({ hostile }) => hostile).length}/${all.length}`).join(' ')}`,
)
const central = auc(trainCentrally(training))
say(`in one place, without noise, ${CENTRAL_ROUNDS} steps: AUC ${central.toFixed(4)}`)
const rho = rhoOf(options.sigma, options.rounds)
say(
  `privacy of one request: sigma ${options.sigma}, ${options.rounds} steps: ${rho.toFixed(3)}-zCDP, epsilon ${epsilonOf(rho, DELTA).toFixed(2)} at delta ${DELTA}`,
)
const ways: readonly (readonly [Aggregation, boolean])[] = options.all
  ? [
      ['mean', false],
      ['trimmed-mean', false],
      ['trimmed-mean', true],
      ['median', true],
      ['multi-krum', false],
      ['multi-krum', true],
      ['agreeing', false],
      ['agreeing', true],
    ]
  : [[options.how as Aggregation, !options.unmixed]]
let last: Weights = noWeights()
for (const [how, mixed] of ways) {
  let honest = 0
  for (const poison of POISONS) {
    const weights = train(nodes, how, mixed, poison)
    const area = auc(weights)
    if (poison === 'none') [honest, last] = [area, weights]
    const beside =
      poison === 'none'
        ? `${((100 * area) / central).toFixed(1)} % of one place`
        : `${(100 * (honest - area)).toFixed(2)} points lost`
    say(
      `${`${how}${mixed ? ', mixed' : ''}`.padEnd(22)} ${(poison === 'none' ? 'nobody lies' : `2 of 7: ${poison}`).padEnd(34)} AUC ${area.toFixed(4)}  ${beside}`,
    )
  }
}

const shown = loadCorpus('held-out/attacks')[Math.floor(random.next() * 800)]!
const { score, top } = explainScore(last, requestOf(shown.sent), 5)
say(
  `${shown.class} ${JSON.stringify(shown.text.slice(0, 60))}: ${score.toFixed(3)}; ${top.map(({ feature, part }) => `${feature} ${part.toFixed(2)}`).join(', ')}`,
)
const timed = [...loadCorpus('held-out/attacks'), ...loadCorpus('held-out/benign')].map(({ sent }) => requestOf(sent))
for (const request of timed) scoreRequest(last, request)
const times = timed.map((request) => {
  const began = process.hrtime.bigint()
  scoreRequest(last, request)
  return Number(process.hrtime.bigint() - began) / 1_000
})
times.sort((a, b) => a - b)
say(`a score: p50 ${times[times.length >> 1]!.toFixed(1)} µs, p99 ${times[Math.floor(times.length * 0.99)]!.toFixed(1)} µs`)

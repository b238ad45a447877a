/**
 * Training over the nodes of the ring. Whoever an operator asks leads: it hands the weights around, every node answers with a private step over its own
 * requests, and the leader joins them so that f of them may say anything. What comes of it is a model on the leader's disk, and nothing else: it judges nothing
 * until operators put its hash into the policy.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as pause } from 'node:timers/promises'
import {
  aggregate,
  areaUnderCurve,
  Descender,
  decodeWeights,
  type Example,
  encodeWeights,
  epsilonOf,
  FEATURES,
  type Gaussian,
  gaussianFrom,
  noWeights,
  privateStep,
  rhoOf,
  StepAverage,
  TRAINING,
  type Weights,
} from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import type { View } from '@ringwall/ring'
import { z } from 'zod'
import type { Examples } from './examples.ts'
import type { AboutModel, ModelStore } from './model-store.ts'

/** Of the ε that is told. */
export const DELTA = 1e-5
/** A node's budget is for so long. */
const BUDGET_MS = 30 * 86_400_000
const STEP_MS_MAX = 5_000
const FETCH_MS_MAX = 2_000
/** Of either kind; fewer say more of single requests than of what is usual. */
const EXAMPLES_MIN = 50
/** Of its own, the leader keeps every fifth to measure what came of it. */
const HELD_OUT = 5
/** Text of base64. */
const WEIGHTS_CHARS_MAX = 4 * (FEATURES + 4) * 2

const Question = z.discriminatedUnion('ask', [
  z.strictObject({
    ask: z.literal('step'),
    run: z.string().regex(/^[0-9a-f]{16}$/),
    weights: z.string().max(WEIGHTS_CHARS_MAX),
  }),
  z.strictObject({ ask: z.literal('weights'), hash: z.string().regex(/^[0-9a-f]{64}$/) }),
])
const StepAnswer = z.union([
  z.strictObject({ step: z.string().max(WEIGHTS_CHARS_MAX) }),
  z.strictObject({ refused: z.string().max(256) }),
])
const WeightsAnswer = z.strictObject({ weights: z.string().max(WEIGHTS_CHARS_MAX).nullable() })
const Spent = z.array(z.strictObject({ atMs: z.number(), rho: z.number().min(0) })).max(100_000)

/** Why a node takes no part, or a training comes to nothing. `code` is stable. */
export class TrainingRefused extends Error {
  override readonly name = 'TrainingRefused'
  readonly code = 'TRAINING_REFUSED'
}

export interface ModelTrainerOptions {
  readonly self: string
  readonly folder: string
  readonly fabric: Pick<Fabric, 'request' | 'onRequest'>
  readonly view: () => View
  readonly examples: Examples
  readonly store: ModelStore
}

export interface Trained extends AboutModel {
  /** Nodes that took no part, and why. */
  readonly missing: readonly { readonly node: string; readonly why: string }[]
}

export class ModelTrainer {
  readonly #options: ModelTrainerOptions
  readonly #gaussian: Gaussian = gaussianFrom(cryptoUniform())
  #run: { readonly id: string; readonly average: StepAverage } | undefined
  #spent: z.output<typeof Spent>
  #isLeading = false

  constructor(options: ModelTrainerOptions) {
    this.#options = options
    this.#spent = readSpent(this.#file)
    options.fabric.onRequest('model', (_from, payload) => Promise.resolve(this.#answer(payload)))
  }

  get #file(): string {
    return join(this.#options.folder, 'privacy.json')
  }

  /** What was told of single requests within 30 days: ε at δ = 1e-5. */
  epsilon(nowMs: number): number {
    const rho = this.#rho(nowMs)
    return rho === 0 ? 0 : epsilonOf(rho, DELTA)
  }

  #rho(nowMs: number): number {
    return this.#spent.filter(({ atMs }) => nowMs - atMs < BUDGET_MS).reduce((sum, one) => sum + one.rho, 0)
  }

  #answer(payload: Uint8Array): Uint8Array {
    const question = Question.parse(JSON.parse(Buffer.from(payload).toString('utf8')))
    const said = (answer: unknown): Uint8Array => Buffer.from(JSON.stringify(answer))
    if (question.ask === 'weights') {
      const weights = this.#options.store.get(question.hash)
      return said({ weights: weights === undefined ? null : toText(weights) })
    }
    try {
      return said({ step: toText(this.#step(question.run, fromText(question.weights), this.#options.examples.all())) })
    } catch (error) {
      return said({ refused: error instanceof TrainingRefused ? error.message : 'the question cannot be answered' })
    }
  }

  /** @throws {TrainingRefused} */
  #step(run: string, weights: Weights, examples: readonly Example[]): Float32Array {
    const policy = this.#options.view().policy.detectors.model
    if (policy?.train !== true) throw new TrainingRefused('the policy has nobody train: detectors.model.train')
    const hostile = examples.filter((one) => one.hostile).length
    if (hostile < EXAMPLES_MIN || examples.length - hostile < EXAMPLES_MIN)
      throw new TrainingRefused(
        `it has ${hostile} attacks and ${examples.length - hostile} honest requests to train on, at least ${EXAMPLES_MIN} of either are needed`,
      )
    const nowMs = Date.now()
    const rho = rhoOf(TRAINING.sigma, 1)
    const epsilon = epsilonOf(this.#rho(nowMs) + rho, DELTA)
    if (epsilon > policy.epsilonMax)
      throw new TrainingRefused(
        `its budget of privacy for 30 days is used up: epsilon would be ${epsilon.toFixed(2)} of ${policy.epsilonMax} (detectors.model.epsilonMax)`,
      )
    // What is told is on disk before it is told.
    this.#spend(nowMs, rho)
    if (this.#run?.id !== run) this.#run = { id: run, average: new StepAverage(TRAINING.forget) }
    return this.#run.average.add(privateStep(weights, examples, TRAINING.sigma, this.#gaussian))
  }

  #spend(atMs: number, rho: number): void {
    const day = Math.floor(atMs / 86_400_000) * 86_400_000
    const kept = this.#spent.filter((one) => atMs - one.atMs < BUDGET_MS)
    const today = kept.find((one) => one.atMs === day)
    if (today === undefined) kept.push({ atMs: day, rho })
    else today.rho += rho
    this.#spent = kept
    writeFileSync(`${this.#file}.new`, JSON.stringify(kept), { mode: 0o600 })
    renameSync(`${this.#file}.new`, this.#file)
  }

  /** @throws {TrainingRefused} */
  async train(): Promise<Trained> {
    if (this.#isLeading) throw new TrainingRefused('a training is under way on this node')
    this.#isLeading = true
    try {
      return await this.#lead()
    } finally {
      this.#isLeading = false
    }
  }

  async #lead(): Promise<Trained> {
    const { self, view, examples, store } = this.#options
    const own = examples.all()
    const training = own.filter((_, at) => at % HELD_OUT !== 0)
    const heldOut = own.filter((_, at) => at % HELD_OUT === 0)
    const run = randomBytes(8).toString('hex')
    const missing = new Map<string, string>()
    const others = view()
      .nodes.map(({ id }) => id)
      .filter((id) => id !== self)
    const tolerates = Math.floor(others.length / 3)
    const least = 2 * tolerates + 1
    const descender = new Descender(noWeights(), TRAINING.descent)
    for (let round = 0; round < TRAINING.rounds; round += 1) {
      const { weights } = descender
      const asked = others.filter((id) => !missing.has(id))
      const steps = [
        this.#step(run, weights, training),
        ...(await Promise.all(asked.map((id) => this.#ask(id, run, weights, missing)))).filter((step) => step !== undefined),
      ]
      if (steps.length < least) {
        const why = [...missing].map(([node, said]) => `${node}: ${said}`).join('; ')
        throw new TrainingRefused(`${steps.length} of ${others.length + 1} nodes take part, at least ${least} are needed; ${why}`)
      }
      const { how, mixed, stepLengthMax } = TRAINING
      descender.follow(aggregate(steps, { how, f: tolerates, mixed, lengthMax: stepLengthMax }))
      await pause()
    }
    const about = {
      madeAtMs: Date.now(),
      nodes: [self, ...others.filter((id) => !missing.has(id))],
      steps: TRAINING.rounds,
      tolerates,
      auc: areaUnderCurve(descender.weights, heldOut) ?? null,
      epsilon: epsilonOf(rhoOf(TRAINING.sigma, TRAINING.rounds), DELTA),
    }
    const hash = store.add(descender.weights, about, view().policy.detectors.model?.use)
    return { hash, ...about, missing: [...missing].map(([node, why]) => ({ node, why })) }
  }

  /** Undefined: it takes no part any more, and why is noted. */
  async #ask(id: string, run: string, weights: Weights, missing: Map<string, string>): Promise<Float32Array | undefined> {
    try {
      const payload = Buffer.from(JSON.stringify({ ask: 'step', run, weights: toText(weights) }))
      const answer = await this.#options.fabric.request(id, 'model', payload, STEP_MS_MAX)
      const said = StepAnswer.parse(JSON.parse(Buffer.from(answer).toString('utf8')))
      if ('step' in said) return fromText(said.step)
      missing.set(id, said.refused)
    } catch (error) {
      missing.set(id, error instanceof z.ZodError ? 'its answer is malformed' : (error as Error).message.slice(0, 256))
    }
    return undefined
  }

  /** Asks one node after the other for the model that the policy names. */
  async fetch(hash: string): Promise<boolean> {
    const { self, view, fabric, store } = this.#options
    for (const { id } of view().nodes) {
      if (id === self) continue
      try {
        const answer = await fabric.request(id, 'model', Buffer.from(JSON.stringify({ ask: 'weights', hash })), FETCH_MS_MAX)
        const { weights } = WeightsAnswer.parse(JSON.parse(Buffer.from(answer).toString('utf8')))
        if (weights !== null && store.take(hash, Buffer.from(weights, 'base64'))) return true
      } catch {
        // Another may have it.
      }
    }
    return false
  }
}

function readSpent(file: string): z.output<typeof Spent> {
  try {
    return Spent.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new Error(`${file}: what was told of requests cannot be read; restore it, or remove it once 30 days have passed`, {
      cause: error,
    })
  }
}

function toText(numbers: Float32Array): string {
  return Buffer.from(encodeWeights(numbers)).toString('base64')
}

/** @throws {ModelMalformed} */
function fromText(text: string): Float32Array {
  return decodeWeights(Buffer.from(text, 'base64'))
}

/** In (0, 1), by the system's generator: noise that can be guessed protects nobody. */
function cryptoUniform(): () => number {
  const buffer = Buffer.alloc(8_192)
  let at = buffer.length
  return () => {
    if (at === buffer.length) {
      randomBytes(buffer.length).copy(buffer)
      at = 0
    }
    const high = buffer.readUInt32LE(at) >>> 5
    const low = buffer.readUInt32LE(at + 4) >>> 6
    at += 8
    return (high * 67_108_864 + low + 0.5) / 9_007_199_254_740_992
  }
}

/** The model on one node: what it trains on, what it has, what judges. */
import { join } from 'node:path'
import { type Explanation, explainScore } from '@ringwall/detect'
import type { Fabric } from '@ringwall/fabric'
import type { WafJudgement } from '@ringwall/guard'
import type { View } from '@ringwall/ring'
import type { ArchivedRequest } from '../request-archive.ts'
import { Examples } from './examples.ts'
import { ModelJudge, modelRequest } from './model-judge.ts'
import { ModelStore } from './model-store.ts'
import { ModelTrainer, type Trained } from './model-trainer.ts'

const FETCH_EVERY_MS = 5_000

export interface NodeModelOptions {
  readonly self: string
  readonly region: string
  readonly data: string
  readonly fabric: Pick<Fabric, 'request' | 'onRequest'>
  readonly view: () => View
  readonly say: (level: 'info' | 'warn' | 'bad', line: string) => void
}

export class NodeModel {
  readonly judge: ModelJudge
  readonly #options: NodeModelOptions
  readonly #examples = new Examples()
  readonly #store: ModelStore
  readonly #trainer: ModelTrainer
  readonly #timer: NodeJS.Timeout
  #isFetching = false

  constructor(options: NodeModelOptions) {
    const { self, region, data, fabric, view, say } = options
    this.#options = options
    const folder = join(data, 'model')
    this.#store = new ModelStore(folder)
    this.#trainer = new ModelTrainer({ self, folder, fabric, view, examples: this.#examples, store: this.#store })
    this.judge = new ModelJudge({
      self,
      region,
      view,
      weights: (hash) => this.#store.get(hash),
      onReverted: (line) => say('bad', line),
    })
    this.#timer = setInterval(() => void this.#fetch(), FETCH_EVERY_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** What rules said of a request is what it is trained on. Of what they matched and let pass nobody knows. */
  observe({ request, verdict }: WafJudgement, body: Uint8Array): void {
    if (this.#options.view().policy.detectors.model?.train !== true) return
    if (!verdict.blocked && verdict.matches.length > 0) return
    this.#examples.add(modelRequest(request, body), verdict.blocked)
  }

  label({ requestId, request, body }: ArchivedRequest, hostile: boolean): void {
    this.#examples.label(requestId, modelRequest(request, body), hostile)
  }

  /** By the model that the policy names; undefined: there is none here. */
  explain({ request, body }: ArchivedRequest): (Explanation & { readonly model: string }) | undefined {
    const model = this.#options.view().policy.detectors.model?.use
    const weights = model === undefined ? undefined : this.#store.get(model)
    return model === undefined || weights === undefined
      ? undefined
      : { model, ...explainScore(weights, modelRequest(request, body)) }
  }

  train(): Promise<Trained> {
    return this.#trainer.train()
  }

  status() {
    const policy = this.#options.view().policy.detectors.model
    return {
      node: this.#options.self,
      train: policy?.train ?? false,
      use: policy?.use ?? null,
      stage: policy?.stage ?? null,
      threshold: policy?.threshold ?? null,
      previous: policy?.previous ?? null,
      held: policy?.use !== undefined && this.#store.get(policy.use) !== undefined,
      enforces: this.judge.enforces,
      reverted: this.judge.reverted ?? null,
      counts: this.judge.counts,
      examples: this.#examples.counts,
      epsilon: this.#trainer.epsilon(Date.now()),
      epsilonMax: policy?.epsilonMax ?? null,
      models: this.#store.list().map(({ hash, about }) => ({ hash, about: about ?? null })),
    }
  }

  /** The model that the policy names comes from whoever has it. */
  async #fetch(): Promise<void> {
    const use = this.#options.view().policy.detectors.model?.use
    if (use === undefined || this.#isFetching || this.#store.get(use) !== undefined) return
    this.#isFetching = true
    try {
      if (await this.#trainer.fetch(use)) this.#options.say('info', `model ${use.slice(0, 12)} is here`)
    } finally {
      this.#isFetching = false
    }
  }
}

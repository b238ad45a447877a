/** Models that this node has, by the SHA-256 of their bytes: what was trained here, and what the policy names. What a peer hands over is what its hash says, or nothing. */
import { hash } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeWeights, encodeWeights, type Weights } from '@ringwall/detect'
import { z } from 'zod'

const KEPT_MAX = 16
const HASH = /^[0-9a-f]{64}$/

/** How a model came to be, as the node that trained it knows. */
const About = z.strictObject({
  hash: z.string().regex(HASH),
  madeAtMs: z.number(),
  nodes: z.array(z.string()),
  steps: z.number(),
  tolerates: z.number(),
  auc: z.number().nullable(),
  epsilon: z.number(),
})
export type AboutModel = z.output<typeof About>

export class ModelStore {
  readonly #folder: string
  readonly #known = new Map<string, { readonly weights: Weights; readonly about: AboutModel | undefined }>()

  /** What cannot be read is passed over: it can be had again. */
  constructor(folder: string) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    for (const file of readdirSync(folder)) {
      const name = file.slice(0, -'.bin'.length)
      if (!file.endsWith('.bin') || !HASH.test(name)) continue
      try {
        const bytes = readFileSync(join(folder, file))
        if (hash('sha256', bytes) === name) this.#known.set(name, { weights: decodeWeights(bytes), about: this.#about(name) })
      } catch {}
    }
  }

  #about(name: string): AboutModel | undefined {
    try {
      return About.parse(JSON.parse(readFileSync(join(this.#folder, `${name}.json`), 'utf8')))
    } catch {
      return undefined
    }
  }

  get(name: string): Weights | undefined {
    return this.#known.get(name)?.weights
  }

  /** The latest first. */
  list(): readonly { readonly hash: string; readonly about: AboutModel | undefined }[] {
    return [...this.#known]
      .map(([name, { about }]) => ({ hash: name, about }))
      .sort((a, b) => (b.about?.madeAtMs ?? 0) - (a.about?.madeAtMs ?? 0))
  }

  /** @param keep Is not let go to make room. @returns Its hash. */
  add(weights: Weights, about: Omit<AboutModel, 'hash'>, keep: string | undefined): string {
    const bytes = encodeWeights(weights)
    const name = hash('sha256', bytes)
    this.#write(name, bytes)
    const whole = { hash: name, ...about }
    writeFileSync(join(this.#folder, `${name}.json`), JSON.stringify(whole), { mode: 0o600 })
    this.#known.set(name, { weights, about: whole })
    this.#bound(keep, name)
    return name
  }

  /** What a peer says it is. @returns Whether it is. @throws {ModelMalformed} */
  take(name: string, bytes: Uint8Array): boolean {
    if (hash('sha256', bytes) !== name) return false
    const weights = decodeWeights(bytes)
    this.#write(name, bytes)
    this.#known.set(name, { weights, about: undefined })
    this.#bound(name, name)
    return true
  }

  #write(name: string, bytes: Uint8Array): void {
    const file = join(this.#folder, `${name}.bin`)
    writeFileSync(`${file}.new`, bytes, { mode: 0o600 })
    renameSync(`${file}.new`, file)
  }

  #bound(...keep: readonly (string | undefined)[]): void {
    for (const { hash: name } of [...this.list()].reverse()) {
      if (this.#known.size <= KEPT_MAX) return
      if (keep.includes(name)) continue
      this.#known.delete(name)
      for (const end of ['bin', 'json']) rmSync(join(this.#folder, `${name}.${end}`), { force: true })
    }
  }
}

/**
 * A logistic regression over the features of requests: how alike a request is to those that rules refused. Linear, so that each score is the sum of what its
 * features say, and the explanation is the score itself.
 */
import { ModelMalformed } from '../errors.ts'
import { FEATURES, FEATURES_VERSION, type FeatureVector, featuresOf, type ModelRequest, namedFeaturesOf } from './features.ts'

/** What each feature weighs. */
export type Weights = Float32Array

/** Weights are at most so large, either way: what an honest training never comes near. */
const WEIGHT_MAX = 1_000
const MAGIC = [0x52, 0x57, 0x4d, FEATURES_VERSION]
const TOP_MAX = 20

export function noWeights(): Weights {
  return new Float32Array(FEATURES)
}

function sumOf(weights: Weights, { indices, values }: FeatureVector): number {
  let sum = 0
  for (let at = 0; at < indices.length; at += 1) sum += weights[indices[at]!]! * values[at]!
  return sum
}

function sigmoid(sum: number): number {
  return 1 / (1 + Math.exp(-sum))
}

/** @returns How likely it is an attack, from 0 to 1, as far as the model knows. */
export function scoreOf(weights: Weights, features: FeatureVector): number {
  return sigmoid(sumOf(weights, features))
}

export function scoreRequest(weights: Weights, request: ModelRequest): number {
  return scoreOf(weights, featuresOf(request))
}

export interface Explanation {
  readonly score: number
  /** The sum of all parts; the score is 1 / (1 + e^−sum). */
  readonly sum: number
  /** Those with the largest part in it, for (above 0) or against. */
  readonly top: readonly { readonly feature: string; readonly part: number }[]
}

/** @param count At most 20. */
export function explainScore(weights: Weights, request: ModelRequest, count = 8): Explanation {
  const named = namedFeaturesOf(request)
  const parts = [...named.indices].map((index, at) => ({ index, part: weights[index]! * named.values[at]! }))
  parts.sort((a, b) => Math.abs(b.part) - Math.abs(a.part))
  const sum = sumOf(weights, named)
  const top = parts.slice(0, Math.min(count, TOP_MAX)).map(({ index, part }) => ({ feature: named.nameOf(index), part }))
  return { score: sigmoid(sum), sum, top }
}

/** Four bytes of magic and version, then the weights, 32-bit floats, little-endian. The same weights are the same bytes. */
export function encodeWeights(weights: Weights): Uint8Array {
  const bytes = new Uint8Array(MAGIC.length + FEATURES * 4)
  bytes.set(MAGIC)
  const view = new DataView(bytes.buffer)
  for (let at = 0; at < FEATURES; at += 1) view.setFloat32(MAGIC.length + at * 4, weights[at]!, true)
  return bytes
}

/** @throws {ModelMalformed} */
export function decodeWeights(bytes: Uint8Array): Weights {
  if (bytes.length !== MAGIC.length + FEATURES * 4)
    throw new ModelMalformed(`a model has ${MAGIC.length + FEATURES * 4} bytes, not ${bytes.length}`)
  if (MAGIC.some((byte, at) => bytes[at] !== byte))
    throw new ModelMalformed(`a model of features version ${FEATURES_VERSION} is expected`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const weights = noWeights()
  for (let at = 0; at < FEATURES; at += 1) {
    const weight = view.getFloat32(MAGIC.length + at * 4, true)
    if (!(Math.abs(weight) <= WEIGHT_MAX)) throw new ModelMalformed(`weight ${at}: a number of at most ${WEIGHT_MAX}, either way`)
    weights[at] = weight
  }
  return weights
}

/**
 * Masses of one node’s half-space trees, as they travel: one spelling for one content. A byte of version, one of the rule, four of the trees’ seed, the
 * length of the service’s name and the name, the number of points; then for each tree, for each of its leaves that has any mass, how many leaves
 * were passed over and its mass, until the tree has all points. Numbers are in seven bits a byte, the lowest first (LEB128), in as few bytes as they take.
 */
import { ANOMALY_RULES, type AnomalyRule } from './anomaly-finding.ts'
import { SummaryMalformed } from './errors.ts'
import { MASSES_LENGTH, type Masses, POINTS_MAX, TREES } from './half-space-trees.ts'

/** The first byte: no JSON begins with it, nor a summary of another kind. */
export const ANOMALY_SUMMARY_VERSION = 9
const SERVICE_BYTES_MAX = 63
const BYTES_MAX = 262_144
const LEAVES = MASSES_LENGTH / TREES

const [encoder, decoder] = [new TextEncoder(), new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })]

export interface AnomalySummary {
  readonly rule: AnomalyRule
  /** 32 bits of the seed that the trees were made of. */
  readonly seed: number
  readonly service: string
  readonly masses: Masses
}

export function encodeAnomalySummary({ rule, seed, service, masses }: AnomalySummary): Uint8Array {
  const name = encoder.encode(service)
  const bytes = [
    ANOMALY_SUMMARY_VERSION,
    ANOMALY_RULES.indexOf(rule),
    seed >>> 24,
    (seed >>> 16) & 255,
    (seed >>> 8) & 255,
    seed & 255,
  ]
  bytes.push(name.length, ...name)
  pushNumber(bytes, masses.count)
  for (let tree = 0; tree < TREES; tree += 1) {
    let passed = 0
    for (let leaf = 0; leaf < LEAVES; leaf += 1) {
      const mass = masses.leaves[tree * LEAVES + leaf]!
      if (mass === 0) {
        passed += 1
        continue
      }
      pushNumber(bytes, passed)
      pushNumber(bytes, mass)
      passed = 0
    }
  }
  return Uint8Array.from(bytes)
}

function pushNumber(bytes: number[], value: number): void {
  let rest = value
  for (; rest > 127; rest >>>= 7) bytes.push((rest & 127) | 128)
  bytes.push(rest)
}

/** @throws {SummaryMalformed} For anything but what `encodeAnomalySummary` makes. */
export function decodeAnomalySummary(bytes: Uint8Array): AnomalySummary {
  let at = 0
  const fail = (why: string): never => {
    throw new SummaryMalformed(`byte ${at}: ${why}`)
  }
  const number = (max: number, what: string): number => {
    let value = 0
    for (let shift = 0; shift < 28; shift += 7) {
      const byte = bytes[at] ?? fail('it ends early')
      at += 1
      value += (byte & 127) << shift
      if (byte > 127) continue
      if (byte === 0 && shift > 0) fail('a number is in as few bytes as it takes')
      return value <= max ? value : fail(`${what}: at most ${max}`)
    }
    return fail(`${what}: at most ${max}`)
  }
  if (bytes.length > BYTES_MAX) fail(`at most ${BYTES_MAX} bytes`)
  if (bytes[0] !== ANOMALY_SUMMARY_VERSION) fail(`version ${ANOMALY_SUMMARY_VERSION} is expected`)
  if (bytes.length < 8) fail('it ends early')
  const rule = ANOMALY_RULES[bytes[1]!] ?? fail('a rule of anomalies')
  const seed = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(2)
  const length = bytes[6]!
  at = 7 + length
  if (length === 0 || length > SERVICE_BYTES_MAX || at > bytes.length) fail('a name of a service')
  const service = textOf(bytes.subarray(7, at)) ?? fail('a name of a service in UTF-8, without controls')
  const count = number(POINTS_MAX, 'points')
  if (count === 0) fail('points')
  const leaves = new Uint32Array(MASSES_LENGTH)
  for (let tree = 0; tree < TREES; tree += 1) {
    let [leaf, left] = [0, count]
    while (left > 0) {
      leaf += number(LEAVES - 1, 'leaves')
      const mass = number(left, 'mass')
      if (mass === 0 || leaf >= LEAVES) fail(`a tree has ${LEAVES} leaves, and those that are told of have mass`)
      leaves[tree * LEAVES + leaf] = mass
      left -= mass
      leaf += 1
    }
  }
  if (at !== bytes.length) fail('nothing comes after the last tree')
  return { rule, seed, service, masses: { count, leaves } }
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = decoder.decode(bytes)
    return /\p{Cc}/u.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

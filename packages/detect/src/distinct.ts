/**
 * How many different texts were seen, in 1 KiB: HyperLogLog (Flajolet, Fusy, Gandouet, Meunier, 2007) with 1,024 registers, a standard
 * error of 3.3 %, and linear counting below 2,560. Mergeable: the union of two is the larger of each register.
 *
 * Whoever knows the hash can choose texts that count as few or as many: for estimates, not for limits.
 */
const REGISTERS = 1_024
const INDEX_BITS = 10
const ALPHA = 0.7213 / (1 + 1.079 / REGISTERS)

export type DistinctSketch = Uint8Array

export function createDistinct(): DistinctSketch {
  return new Uint8Array(REGISTERS)
}

export function addDistinct(sketch: DistinctSketch, text: string): void {
  addDistinctHash(sketch, hash32(text))
}

/** @param hash 32 bits, evenly spread: of one text always the same. */
export function addDistinctHash(sketch: DistinctSketch, hash: number): void {
  const index = hash >>> (32 - INDEX_BITS)
  const rank = Math.min(32 - INDEX_BITS, Math.clz32(hash << INDEX_BITS)) + 1
  if (rank > sketch[index]!) sketch[index] = rank
}

export function countDistinct(sketch: DistinctSketch): number {
  let sum = 0
  let empty = 0
  for (const rank of sketch) {
    sum += 2 ** -rank
    if (rank === 0) empty += 1
  }
  const estimate = (ALPHA * REGISTERS * REGISTERS) / sum
  if (estimate <= 2.5 * REGISTERS && empty > 0) return Math.round(REGISTERS * Math.log(REGISTERS / empty))
  return Math.round(estimate)
}

/** Adds what `from` saw. */
export function mergeDistinct(into: DistinctSketch, from: DistinctSketch): void {
  for (let at = 0; at < REGISTERS; at += 1) if (from[at]! > into[at]!) into[at] = from[at]!
}

/** FNV-1a over code units, with an avalanche at the end: the first bits choose the register. */
function hash32(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

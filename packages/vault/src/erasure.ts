/**
 * Reed-Solomon in systematic form: k shards of data and n - k of parity, of which any k bring all back. The parity rows are those of a Cauchy
 * matrix, all of whose square parts can be inverted (Blömer, Kalfane, Karp, Karpinski, Luby, Zuckerman, "An XOR-Based Erasure-Resilient Coding
 * Scheme", 1995).
 *
 * A shard that was changed is not found by the code but by its hash: see `ShardTree`. Pure but for the platform's SHA-256.
 */
import { hash } from 'node:crypto'
import { combine, inverse, times } from './erasure-kernel.ts'
import { VaultError } from './errors.ts'

/** Of one object, data and parity together. */
export const SHARDS_MAX = 32

export class ErasureCode {
  readonly dataShards: number
  readonly shards: number
  /** A row for each shard of parity. */
  readonly #rows: readonly Uint8Array[]

  /** @param dataShards From 1, fewer than `shards`. @param shards At most 32. @throws {RangeError} */
  constructor(dataShards: number, shards: number) {
    if (
      !Number.isInteger(dataShards) ||
      !Number.isInteger(shards) ||
      dataShards < 1 ||
      shards <= dataShards ||
      shards > SHARDS_MAX
    )
      throw new RangeError(`${dataShards} of ${shards} shards; from 1 of 2 to ${SHARDS_MAX - 1} of ${SHARDS_MAX} are possible`)
    this.dataShards = dataShards
    this.shards = shards
    this.#rows = Array.from({ length: shards - dataShards }, (_, row) =>
      Uint8Array.from({ length: dataShards }, (_unused, column) => inverse((dataShards + row) ^ column)),
    )
  }

  /** Of an object of so many bytes: how long each shard is. */
  shardBytes(objectBytes: number): number {
    return Math.max(1, Math.ceil(objectBytes / this.dataShards))
  }

  /** All shards of an object: its bytes one after the other, filled up with zeros, then parity. */
  encode(object: Uint8Array): readonly Uint8Array[] {
    const length = this.shardBytes(object.length)
    const data = Array.from({ length: this.dataShards }, (_, at) => {
      const part = object.subarray(at * length, (at + 1) * length)
      if (part.length === length) return part
      const filled = new Uint8Array(length)
      filled.set(part)
      return filled
    })
    const parity = this.#rows.map(() => new Uint8Array(length))
    this.fillParity(data, parity)
    return [...data, ...parity]
  }

  /** Overwrites `parity` with what belongs to `data`. All of one length. */
  fillParity(data: readonly Uint8Array[], parity: readonly Uint8Array[]): void {
    combine(this.#rows, data, parity)
  }

  /**
   * All shards, of any that are enough.
   *
   * @param held By index; undefined for one that is missing. Whether they are right is for `ShardTree` to say.
   * @throws {VaultError} VAULT_SHORT: fewer than it takes. VAULT_MALFORMED: of different lengths, or too many.
   */
  restore(held: readonly (Uint8Array | undefined)[]): readonly Uint8Array[] {
    return this.#first(held, this.shards)
  }

  /** The first so many shards. @throws {VaultError} */
  #first(held: readonly (Uint8Array | undefined)[], count: number): readonly Uint8Array[] {
    const wanted = held.slice(0, count)
    const missing = wanted.flatMap((shard, index) => (shard === undefined ? [index] : []))
    const length = held.find((shard) => shard !== undefined)?.length ?? 0
    const made = missing.map(() => new Uint8Array(length))
    this.fillMissing(held, missing, made)
    return wanted.map((shard, index) => shard ?? (made[missing.indexOf(index)] as Uint8Array))
  }

  /**
   * Overwrites `made` with the shards of these indexes.
   *
   * @param held As of `restore`.
   * @throws {VaultError} As `restore`.
   */
  fillMissing(held: readonly (Uint8Array | undefined)[], missing: readonly number[], made: readonly Uint8Array[]): void {
    if (held.length !== this.shards)
      throw new VaultError('VAULT_MALFORMED', `${held.length} places for shards, ${this.shards} expected`)
    const there = held.flatMap((shard, index) => (shard === undefined ? [] : [index])).slice(0, this.dataShards)
    if (there.length < this.dataShards)
      throw new VaultError('VAULT_SHORT', `${there.length} shards are there, it takes ${this.dataShards}`)
    const inputs = there.map((index) => held[index] as Uint8Array)
    const length = (inputs[0] as Uint8Array).length
    if (held.some((shard) => shard !== undefined && shard.length !== length))
      throw new VaultError('VAULT_MALFORMED', 'the shards have different lengths')
    if (missing.length === 0) return
    // Rows of data in terms of what is there, and with them any row at all.
    const back = inverted(there.map((index) => this.#row(index)))
    const rows = missing.map((index) => product(this.#row(index), back))
    combine(rows, inputs, made)
  }

  /** The object, of any shards that are enough. @throws {VaultError} As `restore`. */
  decode(held: readonly (Uint8Array | undefined)[], objectBytes: number): Uint8Array {
    const data = this.#first(held, this.dataShards)
    const length = data[0]?.length ?? 0
    if (this.shardBytes(objectBytes) !== length)
      throw new VaultError('VAULT_MALFORMED', `${objectBytes} bytes make shards of another length than ${length}`)
    return Buffer.concat(data).subarray(0, objectBytes)
  }

  #row(index: number): Uint8Array {
    return index < this.dataShards
      ? Uint8Array.from({ length: this.dataShards }, (_, column) => (column === index ? 1 : 0))
      : (this.#rows[index - this.dataShards] as Uint8Array)
  }
}

/** A row times a matrix. */
function product(row: Uint8Array, matrix: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(row, (_, column) =>
    row.reduce((sum, factor, at) => sum ^ times(factor, (matrix[at] as Uint8Array)[column] as number), 0),
  )
}

/** By Gauss and Jordan. Of a matrix that has an inverse, as any k rows of the code do. */
function inverted(matrix: readonly Uint8Array[]): readonly Uint8Array[] {
  const size = matrix.length
  const work: Uint8Array[] = matrix.map((row, at) =>
    Uint8Array.from({ length: 2 * size }, (_, i) => (i < size ? (row[i] as number) : i - size === at ? 1 : 0)),
  )
  for (let pivot = 0; pivot < size; pivot += 1) {
    const found = work.findIndex((row, at) => at >= pivot && row[pivot] !== 0)
    const row = work[found] as Uint8Array
    work[found] = work[pivot] as Uint8Array
    work[pivot] = row
    const factor = inverse(row[pivot] as number)
    for (let i = 0; i < row.length; i += 1) row[i] = times(row[i] as number, factor)
    for (const other of work) {
      const by = other === row ? 0 : (other[pivot] as number)
      if (by !== 0) for (let i = 0; i < other.length; i += 1) other[i] = (other[i] as number) ^ times(row[i] as number, by)
    }
  }
  return work.map((row) => row.slice(size))
}

/** Hashes from a leaf's neighbour up to the root's child. */
export type ShardProof = readonly Uint8Array[]

/**
 * Tells right shards from changed ones: a Merkle tree over the shards of one object (as RFC 9162 section 2.1.1: leaves and inner nodes hash apart).
 * Each leaf has its index and the number of shards in it, so that no shard passes for another.
 */
export class ShardTree {
  readonly root: Uint8Array
  readonly #levels: readonly (readonly Uint8Array[])[]

  constructor(shards: readonly Uint8Array[]) {
    const levels: Uint8Array[][] = [shards.map((shard, index) => leafOf(shard, index, shards.length))]
    for (let level = levels[0] as Uint8Array[]; level.length > 1; level = levels.at(-1) as Uint8Array[]) {
      const above: Uint8Array[] = []
      for (let at = 0; at < level.length; at += 2) {
        const [left, right] = [level[at] as Uint8Array, level[at + 1]]
        // Who has no neighbour goes up as it is.
        above.push(right === undefined ? left : nodeOf(left, right))
      }
      levels.push(above)
    }
    this.#levels = levels
    this.root = levels.at(-1)?.[0] ?? new Uint8Array(32)
  }

  prove(index: number): ShardProof {
    const proof: Uint8Array[] = []
    let at = index
    for (const level of this.#levels.slice(0, -1)) {
      const neighbour = level[at ^ 1]
      if (neighbour !== undefined) proof.push(neighbour)
      at >>= 1
    }
    return proof
  }
}

/** Is this the shard of that index, of an object with this root and so many shards? */
export function isShard(root: Uint8Array, shard: Uint8Array, index: number, shards: number, proof: ShardProof): boolean {
  if (!Number.isInteger(index) || index < 0 || index >= shards || shards > SHARDS_MAX) return false
  let hashed = leafOf(shard, index, shards)
  const left = [...proof]
  for (let at = index, size = shards; size > 1; at >>= 1, size = (size + 1) >> 1) {
    if ((at ^ 1) >= size) continue
    const neighbour = left.shift()
    if (neighbour === undefined || neighbour.length !== 32) return false
    hashed = at % 2 === 0 ? nodeOf(hashed, neighbour) : nodeOf(neighbour, hashed)
  }
  return left.length === 0 && Buffer.compare(hashed, root) === 0
}

function leafOf(shard: Uint8Array, index: number, shards: number): Uint8Array {
  return hash('sha256', Buffer.concat([Buffer.of(0, index, shards), hash('sha256', shard, 'buffer')]), 'buffer')
}

function nodeOf(left: Uint8Array, right: Uint8Array): Uint8Array {
  return hash('sha256', Buffer.concat([Buffer.of(1), left, right]), 'buffer')
}

/** Random bytes in small pieces: one call to the system's generator fills many requests' worth. */
import { randomFillSync } from 'node:crypto'

const pool = Buffer.allocUnsafe(4_096)
let used = pool.length

/** `count` random bytes, valid until the next call: read them at once. At most 64. */
export function randomSlice(count: number): Buffer {
  if (used + count > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += count
  return pool.subarray(used - count, used)
}

/** `count` random bytes as lower-case hex. */
export function randomHex(count: number): string {
  if (used + count > pool.length) {
    randomFillSync(pool)
    used = 0
  }
  used += count
  return pool.toString('hex', used - count, used)
}

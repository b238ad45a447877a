/** Random bytes in small pieces: one call to the system's generator fills many requests' worth. */
import { randomFillSync } from 'node:crypto'

/** Small: a text cut from a pool's hex keeps all of that hex in memory for as long as it lives itself. */
const POOL_BYTES = 2_048
const pool = Buffer.allocUnsafe(POOL_BYTES)
let used = POOL_BYTES
const hexPool = Buffer.allocUnsafe(POOL_BYTES)
let hex = ''
let hexUsed = 0

/** Where `count` random bytes begin in `randomPool`, until the next call: read them at once. At most 64. */
export function randomAt(count: number): number {
  if (used + count > POOL_BYTES) {
    randomFillSync(pool)
    used = 0
  }
  used += count
  return used - count
}

export const randomPool: Uint8Array = pool

/** `count` random bytes as lower-case hex. At most 64. */
export function randomHex(count: number): string {
  if (hexUsed + count * 2 > hex.length) {
    hex = randomFillSync(hexPool).toString('hex')
    hexUsed = 0
  }
  hexUsed += count * 2
  return hex.slice(hexUsed - count * 2, hexUsed)
}

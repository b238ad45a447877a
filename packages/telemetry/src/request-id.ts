/**
 * Request ids: `NODE-TTTTTTTTTTRRRRRRRRRRRRRRRR`, the node's id, 48 bits of Unix milliseconds and 80 random bits, in
 * lower-case Crockford base32 (as ULID lays them out). One node's ids sort by time; nobody guesses one; and whoever holds
 * one knows which node to ask about it.
 */
import { randomAt, randomPool } from './random-bytes.ts'

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz'
const SHAPE = /^([a-z0-9][a-z0-9-]{0,62})-([0-7][0-9a-hjkmnp-tv-z]{25})$/

let lastMs = -1
let lastTime = ''

/** @param node Lower-case letters, digits and hyphens, at most 63. */
export function requestId(node: string, nowMs: number = Date.now()): string {
  if (nowMs !== lastMs) {
    lastTime = encodeTime(nowMs)
    lastMs = nowMs
  }
  const at = randomAt(10)
  return `${node}-${lastTime}${encodeFive(randomPool, at)}${encodeFive(randomPool, at + 5)}`
}

/** The node that gave out an id; undefined when it is not one of ours in shape. */
export function nodeOfRequestId(id: string): string | undefined {
  return id.length > 96 ? undefined : SHAPE.exec(id)?.[1]
}

function encodeTime(ms: number): string {
  let rest = ms
  let text = ''
  for (let digit = 0; digit < 10; digit++) {
    text = ALPHABET[rest % 32]! + text
    rest = Math.floor(rest / 32)
  }
  return text
}

/** Five bytes are eight digits. */
function encodeFive(bytes: Uint8Array, at: number): string {
  const high = ((bytes[at]! << 12) | (bytes[at + 1]! << 4) | (bytes[at + 2]! >> 4)) & 0xfffff
  const low = ((bytes[at + 2]! << 16) | (bytes[at + 3]! << 8) | bytes[at + 4]!) & 0xfffff
  return encodeTwenty(high) + encodeTwenty(low)
}

function encodeTwenty(bits: number): string {
  return PAIRS[bits >> 10]! + PAIRS[bits & 1_023]!
}

/** All pairs of digits, in order. */
const PAIRS: readonly string[] = Array.from({ length: 1_024 }, (_, bits) => ALPHABET[bits >> 5]! + ALPHABET[bits & 31]!)

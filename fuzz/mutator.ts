/**
 * Inputs for decoders: valid samples changed the way that a hostile sender changes them, and garbage. The same seed gives the
 * same input on every machine.
 */
import { Random } from '../sim/random.ts'

export interface Material {
  /** Valid inputs. At least one. */
  readonly samples: readonly Uint8Array[]
  /** What means something to the decoder: put in anywhere. */
  readonly tokens: readonly Uint8Array[]
  /** Longest input made. */
  readonly bytesMax: number
}

const LENGTHS = [
  0, 1, 2, 3, 4, 6, 8, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 65_535, 65_536, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff,
]
const NESTS = ['[', '{"a":', '(', '<a>', '- ', '{', '%25', '../', '\\', '"']
const PLAIN = 'abcxyz019 ,.:;-_=/\\"\'{}[]()<>&%+*#@!?~^|\t\r\n\0é'
const encoder = new TextEncoder()

export function inputOf(seed: number, material: Material): Uint8Array {
  const random = new Random(seed)
  const { samples, bytesMax } = material
  if (random.chance(0.02)) return garbage(random, random.chance(0.02) ? bytesMax : Math.min(bytesMax, 512))
  let bytes = random.pick(samples)
  // A part of the valid ones go through as they are: a decoder that refuses everything would pass else.
  if (random.chance(0.02)) return bytes
  const rounds = random.whole(1, random.chance(0.3) ? 6 : 2)
  for (let i = 0; i < rounds; i += 1) bytes = changed(random, bytes, material)
  return bytes.length > bytesMax ? bytes.subarray(0, bytesMax) : bytes
}

function garbage(random: Random, bytesMax: number): Uint8Array {
  const bytes = new Uint8Array(random.whole(0, bytesMax))
  const textual = random.chance(0.5)
  for (let i = 0; i < bytes.length; i += 1) {
    bytes[i] = textual ? PLAIN.charCodeAt(random.whole(0, PLAIN.length - 1)) : random.whole(0, 255)
  }
  return bytes
}

/** Where a change goes: the ends of an input matter more than its middle. */
function place(random: Random, length: number): number {
  if (length === 0) return 0
  if (random.chance(0.2)) return random.whole(0, Math.min(length, 24) - 1)
  if (random.chance(0.1)) return length - random.whole(1, Math.min(length, 24))
  return random.whole(0, length - 1)
}

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}

function changed(random: Random, bytes: Uint8Array, { samples, tokens, bytesMax }: Material): Uint8Array {
  const { length } = bytes
  const at = place(random, length)
  const end = Math.min(length, at + (random.chance(0.7) ? random.whole(0, 40) : random.whole(0, length)))
  const before = bytes.subarray(0, at)
  const after = bytes.subarray(at)
  switch (random.whole(0, 13)) {
    case 0: {
      if (length === 0) return bytes
      const copy = Uint8Array.from(bytes)
      copy[at] = (copy[at] as number) ^ (1 << random.whole(0, 7))
      return copy
    }
    case 1: {
      if (length === 0) return bytes
      const copy = Uint8Array.from(bytes)
      copy[at] = random.chance(0.5) ? random.whole(0, 255) : PLAIN.charCodeAt(random.whole(0, PLAIN.length - 1))
      return copy
    }
    case 2:
      return Uint8Array.from(before)
    case 3:
      return joined(bytes, garbage(random, random.chance(0.05) ? Math.min(bytesMax, 4_096) : 16))
    case 4:
      return joined(before, garbage(random, 12), after)
    case 5:
      return joined(before, bytes.subarray(end))
    case 6:
      return joined(before, bytes.subarray(at, end), after)
    case 7: {
      const other = random.pick(samples)
      return joined(before, other.subarray(place(random, other.length)))
    }
    case 8: {
      const other = random.pick(samples)
      const from = place(random, other.length)
      return joined(before, other.subarray(from, from + random.whole(0, 64)), bytes.subarray(end))
    }
    case 9:
      return withLength(random, bytes, at)
    case 10:
      return tokens.length === 0 ? bytes : joined(before, random.pick(tokens), random.chance(0.5) ? after : bytes.subarray(end))
    case 11: {
      const unit = tokens.length > 0 && random.chance(0.5) ? random.pick(tokens) : encoder.encode(random.pick(NESTS))
      return joined(before, repeated(unit, timesOf(random, unit.length, bytesMax - length)), after)
    }
    case 12:
      return joined(before, repeated(bytes.subarray(at, end), timesOf(random, end - at, bytesMax - length)), after)
    default:
      return withDigits(random, bytes, at)
  }
}

/** Mostly a few, now and then all that fits: time must not grow faster than the input. */
function timesOf(random: Random, unit: number, room: number): number {
  const most = unit === 0 ? 0 : Math.max(0, Math.floor(room / unit))
  return random.chance(0.02) ? most : Math.min(most, random.whole(1, random.chance(0.2) ? 300 : 8))
}

function repeated(unit: Uint8Array, times: number): Uint8Array {
  const whole = new Uint8Array(unit.length * times)
  for (let i = 0; i < times; i += 1) whole.set(unit, i * unit.length)
  return whole
}

/** A big-endian length somewhere: one of note, or what stands there and one more or less. */
function withLength(random: Random, bytes: Uint8Array, at: number): Uint8Array {
  const width = random.pick([1, 2, 4, 6, 8])
  if (at + width > bytes.length) return bytes
  const copy = Buffer.from(bytes)
  const low = Math.min(width, 6)
  const offset = at + width - low
  const held = copy.readUIntBE(offset, low)
  const left = bytes.length - at - width
  const next = random.pick([held + 1, held - 1, left, left + 1, left - 1, random.pick(LENGTHS)])
  copy.fill(random.chance(0.1) ? 255 : 0, at, offset)
  copy.writeUIntBE(Math.max(0, next) % 256 ** low, offset, low)
  return new Uint8Array(copy)
}

/** In text: a number made another. */
function withDigits(random: Random, bytes: Uint8Array, at: number): Uint8Array {
  let from = at
  while (from < bytes.length && !isDigit(bytes[from] as number)) from += 1
  if (from === bytes.length) return bytes
  let end = from
  while (end < bytes.length && isDigit(bytes[end] as number)) end += 1
  const numbers = [
    '0',
    '-1',
    '00',
    '1e3',
    '1e999',
    '0x10',
    '9007199254740993',
    '18446744073709551616',
    '4294967295',
    '0.1',
    '+1',
    '',
  ]
  return joined(bytes.subarray(0, from), encoder.encode(random.pick(numbers)), bytes.subarray(end))
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}

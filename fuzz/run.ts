/** Runs decoders on made inputs, and says what they did that they must not. */
import type { Decoder } from './decoder.ts'
import { inputOf } from './mutator.ts'

/** CPU that one input may cost, beside what the decoder says that its size may cost. */
const CPU_MS_MAX = 250
/** Bytes outside of the heap that one input may make the decoder allocate, beside 64 for each of its own. */
const BUFFER_BYTES_MAX: number = 16 * 1024 * 1024
const MEMORY_EVERY = 64

export interface Fault {
  readonly decoder: string
  readonly seed: number
  readonly what: string
}

export interface Tally {
  inputs: number
  accepted: number
  refused: number
  ms: number
  worstMs: number
  worstSeed: number
  heapPeakBytes: number
  readonly faults: Fault[]
}

const FAULTS_MAX = 20

/** Inputs `from` to `from + count - 1` of a decoder; `onInput` hears of each before it is tried. */
export async function runDecoder(
  decoder: Decoder,
  from: number,
  count: number,
  onInput: (seed: number) => void = () => {},
): Promise<Tally> {
  const tally: Tally = { inputs: 0, accepted: 0, refused: 0, ms: 0, worstMs: 0, worstSeed: from, heapPeakBytes: 0, faults: [] }
  const began = performance.now()
  for (let seed = from; seed < from + count && tally.faults.length < FAULTS_MAX; seed += 1) {
    onInput(seed)
    const input = inputOf(seed, decoder)
    const watched = (seed - from) % MEMORY_EVERY === 0
    const buffersBefore = watched ? process.memoryUsage().arrayBuffers : 0
    const { verdict, ms } = await tried(decoder, input)
    if (watched) {
      const { arrayBuffers, heapUsed } = process.memoryUsage()
      tally.heapPeakBytes = Math.max(tally.heapPeakBytes, heapUsed)
      const grown = arrayBuffers - buffersBefore
      if (grown > BUFFER_BYTES_MAX + 64 * input.length) {
        tally.faults.push({ decoder: decoder.name, seed, what: `${input.length} bytes of input took ${grown} bytes of buffers` })
      }
    }
    tally.inputs += 1
    if (verdict === 'accepted') tally.accepted += 1
    else if (verdict === 'refused') tally.refused += 1
    else tally.faults.push({ decoder: decoder.name, seed, what: verdict.fault })
    if (ms > tally.worstMs) {
      tally.worstMs = ms
      tally.worstSeed = seed
    }
    const allowed = CPU_MS_MAX + (decoder.msPerKiB ?? 0) * (input.length / 1_024)
    if (ms > allowed) {
      const again = await leastCpuMs(decoder, input)
      if (again > allowed) {
        const what = `${input.length} bytes of input took ${again.toFixed(0)} ms of CPU, at most ${allowed.toFixed(0)} are allowed`
        tally.faults.push({ decoder: decoder.name, seed, what })
      }
    }
  }
  tally.ms = performance.now() - began
  return tally
}

type Verdict = 'accepted' | 'refused' | { readonly fault: string }

async function tried(decoder: Decoder, input: Uint8Array): Promise<{ readonly verdict: Verdict; readonly ms: number }> {
  const copy = Uint8Array.from(input)
  const began = performance.now()
  try {
    const outcome = decoder.tries(copy)
    const accepted = outcome instanceof Promise ? await outcome : outcome
    const ms = performance.now() - began
    if (Buffer.compare(copy, input) !== 0) return { verdict: { fault: 'it wrote to its input' }, ms }
    return { verdict: accepted ? 'accepted' : 'refused', ms }
  } catch (error) {
    const ms = performance.now() - began
    if (decoder.isDeclared(error)) return { verdict: 'refused', ms }
    const { name, message } = error as Error
    return { verdict: { fault: `${name}: ${message}`.slice(0, 500) }, ms }
  }
}

/** Other processes and the collector of garbage slow one try down, not three in a row. */
async function leastCpuMs(decoder: Decoder, input: Uint8Array): Promise<number> {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < 3; i += 1) {
    const before = process.threadCpuUsage()
    await tried(decoder, input)
    const { user, system } = process.threadCpuUsage(before)
    least = Math.min(least, (user + system) / 1_000)
  }
  return least
}

/**
 * The arithmetic of the erasure code: dst ^= c * src over GF(2^8), sixteen bytes at a time. A product by a constant is linear, so that it is the
 * sum of what it makes of the low and of the high half of a byte: two tables of sixteen, which one SIMD shuffle looks up sixteen times
 * at once (Plank, Greenan, Miller, "Screaming Fast Galois Field Arithmetic Using Intel SIMD Instructions", FAST 2013).
 *
 * The one function is written out here in the bytes of WebAssembly (core specification 3.0 with relaxed SIMD; every index is below sixteen,
 * where the relaxed shuffle has one result). Field: x^8 + x^4 + x^3 + x^2 + 1, generator 2.
 */

const POLYNOMIAL = 0x11d

const exp = new Uint8Array(512)
const log = new Uint8Array(256)
for (let power = 0, value = 1; power < 255; power += 1) {
  exp[power] = value
  exp[power + 255] = value
  log[value] = power
  value <<= 1
  if (value > 255) value ^= POLYNOMIAL
}

/** Of two elements of the field. */
export function times(a: number, b: number): number {
  return a === 0 || b === 0 ? 0 : (exp[(log[a] as number) + (log[b] as number)] as number)
}

/** Of an element that is not 0. */
export function inverse(a: number): number {
  if (a === 0) throw new RangeError('0 has no inverse')
  return exp[255 - (log[a] as number)] as number
}

/** Bytes of a shard that are worked on at a time: all that a step touches fits into a core's nearest cache but one. */
const BLOCK_BYTES = 16_384
/** Shards that go in or come out of one step. */
const SLOTS = 64
const TABLE_BYTES = 32
const TABLES_BYTES = 256 * TABLE_BYTES
const PAGE_BYTES = 65_536
const PAGES = Math.ceil((TABLES_BYTES + SLOTS * BLOCK_BYTES) / PAGE_BYTES)

const I32 = 0x7f
const V128 = 0x7b
const [GET, SET, TEE] = [0x20, 0x21, 0x22]
const LOAD = [0xfd, 0x00, 0x00]
const STORE = [0xfd, 0x0b, 0x00, 0x00]
const XOR = [0xfd, 0x51]
const SWIZZLE = [0xfd, 0x80, 0x02]
// Parameters and locals.
const [DST, SRC, END, TABLE, LOW, HIGH, MASK, BYTES] = [0, 1, 2, 3, 4, 5, 6, 7]
const step16 = (pointer: number): readonly number[] => [GET, pointer, 0x41, 16, 0x6a, SET, pointer]

const BODY: readonly number[] = [
  // Four locals: v128.
  ...[0x01, 0x04, V128],
  ...[GET, TABLE, ...LOAD, 0, SET, LOW],
  ...[GET, TABLE, ...LOAD, 16, SET, HIGH],
  ...[0xfd, 0x0c, ...new Array<number>(16).fill(0x0f), SET, MASK],
  // The third parameter comes as a length.
  ...[GET, SRC, GET, END, 0x6a, SET, END],
  ...[0x03, 0x40],
  ...[GET, DST, GET, DST, ...LOAD, 0],
  ...[GET, LOW, GET, SRC, ...LOAD, 0, TEE, BYTES, GET, MASK, 0xfd, 0x4e, ...SWIZZLE, ...XOR],
  ...[GET, HIGH, GET, BYTES, 0x41, 4, 0xfd, 0x6d, ...SWIZZLE, ...XOR],
  ...STORE,
  ...step16(DST),
  ...step16(SRC),
  ...[GET, SRC, GET, END, 0x49, 0x0d, 0x00],
  0x0b,
  0x0b,
]

/** LEB128. */
function unsigned(value: number): readonly number[] {
  return value < 128 ? [value] : [(value & 127) | 128, ...unsigned(value >> 7)]
}

const sized = (bytes: readonly number[]): readonly number[] => [...unsigned(bytes.length), ...bytes]
const section = (id: number, bytes: readonly number[]): readonly number[] => [id, ...sized(bytes)]
const text = (name: string): readonly number[] => sized([...name].map((character) => character.charCodeAt(0)))

const MODULE = Uint8Array.from([
  ...[0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00],
  ...section(1, [1, 0x60, 4, I32, I32, I32, I32, 0]),
  ...section(3, [1, 0]),
  ...section(5, [1, 0x00, ...unsigned(PAGES)]),
  ...section(7, [2, ...text('memory'), 0x02, 0, ...text('addTimes'), 0x00, 0]),
  ...section(10, [1, ...sized(BODY)]),
])

/** What of the platform is used here; its own types come with those of browsers. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object
  readonly Instance: new (module: object) => { readonly exports: Readonly<Record<string, unknown>> }
}

interface Kernel {
  readonly bytes: Uint8Array
  addTimes(dst: number, src: number, length: number, table: number): void
}

let kernel: Kernel | undefined

function theKernel(): Kernel {
  if (kernel === undefined) {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(MODULE))
    const { memory, addTimes } = exports as unknown as { memory: { readonly buffer: ArrayBuffer }; addTimes: Kernel['addTimes'] }
    const bytes = new Uint8Array(memory.buffer)
    for (let factor = 0; factor < 256; factor += 1)
      for (let half = 0; half < 16; half += 1) {
        bytes[factor * TABLE_BYTES + half] = times(factor, half)
        bytes[factor * TABLE_BYTES + 16 + half] = times(factor, half << 4)
      }
    kernel = { bytes, addTimes }
  }
  return kernel
}

/**
 * Each output becomes the sum of the inputs times the factors of its row.
 *
 * @param inputs All of one length, as the outputs are. Together at most 64.
 */
export function combine(rows: readonly Uint8Array[], inputs: readonly Uint8Array[], outputs: readonly Uint8Array[]): void {
  const length = inputs[0]?.length ?? 0
  if (inputs.length + outputs.length > SLOTS) throw new RangeError(`${SLOTS} shards at most`)
  if ([...inputs, ...outputs].some((shard) => shard.length !== length)) throw new RangeError('shards have one length')
  const { bytes, addTimes } = theKernel()
  const slot = (index: number): number => TABLES_BYTES + index * BLOCK_BYTES
  for (let at = 0; at < length; at += BLOCK_BYTES) {
    const count = Math.min(BLOCK_BYTES, length - at)
    // Whole runs of sixteen; what lies behind the end is computed and not looked at.
    const run = (count + 15) & ~15
    for (const [index, input] of inputs.entries()) bytes.set(input.subarray(at, at + count), slot(index))
    for (const [index, output] of outputs.entries()) {
      const target = slot(inputs.length + index)
      bytes.fill(0, target, target + run)
      for (let from = 0; from < inputs.length; from += 1) {
        const factor = rows[index]?.[from] ?? 0
        if (factor !== 0) addTimes(target, slot(from), run, factor * TABLE_BYTES)
      }
      output.set(bytes.subarray(target, target + count), at)
    }
  }
}

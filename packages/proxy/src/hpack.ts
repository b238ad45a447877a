/**
 * HPACK, the header compression of HTTP/2 (RFC 7541). Pure. Texts are Latin-1: one character a byte.
 *
 * Decoding is strict and bounded: past the bound on a header list nothing more of it is kept, but all is read, since the
 * table must stay the sender's. Encoding keeps no table of its own, so that nothing of one response can be guessed from the size of
 * another (CRIME).
 */

/** Of our table, as SETTINGS_HEADER_TABLE_SIZE has it unless told otherwise. */
const TABLE_BYTES_MAX = 4_096
/** RFC 7541 section 4.1. */
const ENTRY_OVERHEAD = 32
const INTEGER_MAX = 0x0fff_ffff

/** Appendix A, from index 1 on: name and value. */
const STATIC: readonly (readonly [name: string, value: string])[] = [
  [':authority', ''],
  [':method', 'GET'],
  [':method', 'POST'],
  [':path', '/'],
  [':path', '/index.html'],
  [':scheme', 'http'],
  [':scheme', 'https'],
  [':status', '200'],
  [':status', '204'],
  [':status', '206'],
  [':status', '304'],
  [':status', '400'],
  [':status', '404'],
  [':status', '500'],
  ['accept-charset', ''],
  ['accept-encoding', 'gzip, deflate'],
  ...[
    'accept-language',
    'accept-ranges',
    'accept',
    'access-control-allow-origin',
    'age',
    'allow',
    'authorization',
    'cache-control',
    'content-disposition',
    'content-encoding',
    'content-language',
    'content-length',
    'content-location',
    'content-range',
    'content-type',
    'cookie',
    'date',
    'etag',
    'expect',
    'expires',
    'from',
    'host',
    'if-match',
    'if-modified-since',
    'if-none-match',
    'if-range',
    'if-unmodified-since',
    'last-modified',
    'link',
    'location',
    'max-forwards',
    'proxy-authenticate',
    'proxy-authorization',
    'range',
    'referer',
    'refresh',
    'retry-after',
    'server',
    'set-cookie',
    'strict-transport-security',
    'transfer-encoding',
    'user-agent',
    'vary',
    'via',
    'www-authenticate',
  ].map((name) => [name, ''] as const),
]
const STATUS_INDEX = 8
const STATUSES = new Map(STATIC.flatMap(([name, value], at) => (name === ':status' ? [[Number(value), at + 1]] : [])))
const NAMES = new Map(STATIC.map(([name], at) => [name, at + 1] as const).reverse())
/** Whoever passes these on must not put them into a table (section 7.1.3). */
const SENSITIVE: ReadonlySet<string> = new Set(['set-cookie', 'authorization', 'proxy-authorization'])

/**
 * Appendix B by the lengths of its codes alone, for 0 to 255 and the end of the string; `N*M`: M times. The code is
 * canonical: of one length codes follow each other in the order of their symbols.
 */
const HUFFMAN_LENGTHS = `13 23 28*7 24 30 28*2 30 28*8 30 28*9 6 10*2 12 13 6 8 11 10*2 8 11 8 6*3 5*3 6*7 7 8 15 6 12 10 13 6
  7*22 8 7 8 13 19 13 14 6 15 5 6 5 6 5 6*3 5 7*2 6*3 5 6 7 6 5*2 6 7*5 15 11 14 13 28 20 22 20*2 22*3 23 22 23*5 24 23 24*2 22
  23 24 23*4 21 22 23 22 23*2 24 22 21 20 22*2 23*2 21 23 22*2 24 21 22 23*2 21*2 22 21 23 22 23*2 20 22*3 23 22*2 23 26*2 20
  19 22 23 22 25 26*3 27*2 26 24 25 19 21 26 27*2 26 27 24 21*2 26*2 28 27*3 20 24 20 21 22 21*2 23 22*2 25*2 24*2 26 23 26
  27 26*2 27*5 28 27*5 26 30`
  .split(/\s+/)
  .flatMap((run) => {
    const [length, times = '1'] = run.split('*')
    return new Array<number>(Number(times)).fill(Number(length))
  })
const END_OF_STRING = 256

/**
 * A state is an inner node of the code's tree; four bits lead to the next. `TRANSITIONS[state * 16 + bits]` is the next state, plus
 * 1 + symbol in the bits from 16 on where one ends on the way, or -1 where the end of the string is spelled out.
 */
const { TRANSITIONS, MAY_END } = buildHuffman()

function buildHuffman(): { readonly TRANSITIONS: Int32Array; readonly MAY_END: Uint8Array } {
  // Children by node and bit: an inner node, or the symbol as -1 - symbol.
  const tree: [number, number][] = [[0, 0]]
  let code = 0
  let before = 0
  const symbols = HUFFMAN_LENGTHS.map((length, symbol) => ({ length, symbol })).sort(
    (a, b) => a.length - b.length || a.symbol - b.symbol,
  )
  for (const { length, symbol } of symbols) {
    code = before === 0 ? 0 : (code + 1) * 2 ** (length - before)
    before = length
    let node = 0
    for (let bit = length - 1; bit > 0; bit--) {
      const side = Math.floor(code / 2 ** bit) % 2
      if (tree[node]![side] === 0) tree[node]![side] = tree.push([0, 0]) - 1
      node = tree[node]![side]!
    }
    tree[node]![code % 2] = -1 - symbol
  }
  const transitions = new Int32Array(tree.length * 16)
  for (let state = 0; state < tree.length; state++) {
    for (let bits = 0; bits < 16; bits++) {
      let node = state
      let symbol = 0
      for (let bit = 3; bit >= 0 && symbol >= 0; bit--) {
        const next = tree[node]![(bits >> bit) & 1]!
        if (next === -1 - END_OF_STRING) symbol = -1
        else if (next < 0) {
          symbol = -next
          node = 0
        } else node = next
      }
      transitions[state * 16 + bits] = symbol < 0 ? -1 : node + symbol * 65_536
    }
  }
  // Up to seven bits of the end of the string, all ones, fill the last byte (section 5.2).
  const mayEnd = new Uint8Array(tree.length)
  for (let depth = 0, node = 0; depth < 8; depth++) {
    mayEnd[node] = 1
    node = tree[node]![1]
  }
  return { TRANSITIONS: transitions, MAY_END: mayEnd }
}

/** What one string may decode to: more than any header list may hold. */
let unpacked = Buffer.allocUnsafeSlow(4_096)

/** Undefined when it is no such code. */
function huffmanText(bytes: Buffer, from: number, to: number): string | undefined {
  // The shortest codes have five bits.
  const most = Math.ceil(((to - from) * 8) / 5)
  if (unpacked.length < most) unpacked = Buffer.allocUnsafeSlow(most)
  let state = 0
  let length = 0
  for (let at = from; at < to; at++) {
    const byte = bytes[at]!
    let next = TRANSITIONS[state * 16 + (byte >> 4)]!
    if (next < 0) return undefined
    if (next > 65_535) unpacked[length++] = (next >> 16) - 1
    next = TRANSITIONS[(next & 65_535) * 16 + (byte & 15)]!
    if (next < 0) return undefined
    if (next > 65_535) unpacked[length++] = (next >> 16) - 1
    state = next & 65_535
  }
  return MAY_END[state] === 1 ? unpacked.toString('latin1', 0, length) : undefined
}

export interface ListBounds {
  /** Names, values, and 32 for each field (RFC 9113 section 6.5.2). */
  readonly bytesMax: number
  readonly fieldsMax: number
}

export interface HeaderList {
  /** Names and values in turn. */
  readonly fields: readonly string[]
  /** There was more than the bounds allow, which is left out. */
  readonly tooLong: boolean
}

export class HpackDecoder {
  /** Oldest first. */
  readonly #names: string[] = []
  readonly #values: string[] = []
  #bytes = 0
  #bytesMax = TABLE_BYTES_MAX
  // Of the block under way.
  #block: Buffer = EMPTY
  #at = 0
  #broken = false

  /** @param block All fragments of one header section. @returns Undefined when it is no HPACK: nothing after it can be read. */
  decode(block: Buffer, { bytesMax, fieldsMax }: ListBounds): HeaderList | undefined {
    this.#block = block
    this.#at = 0
    const fields: string[] = []
    let bytes = 0
    let tooLong = false
    let begun = false
    while (this.#at < block.length) {
      const first = block[this.#at]!
      if ((first & 0xe0) === 0x20) {
        // A change of the table's size: only before the first field (section 4.2).
        const size = this.#integer(5)
        if (this.#broken || begun || size > TABLE_BYTES_MAX) return this.#fail()
        this.#bytesMax = size
        this.#evict(0)
        continue
      }
      begun = true
      let name: string
      let value: string
      if (first >= 0x80) {
        const index = this.#integer(7)
        name = this.#name(index)
        value = this.#value(index)
      } else {
        const indexed = (first & 0xc0) === 0x40
        const index = this.#integer(indexed ? 6 : 4)
        name = index === 0 ? this.#text() : this.#name(index)
        value = this.#text()
        if (indexed && !this.#broken) this.#add(name, value)
      }
      if (this.#broken) return this.#fail()
      bytes += name.length + value.length + ENTRY_OVERHEAD
      if (bytes > bytesMax || fields.length >= fieldsMax * 2) tooLong = true
      else if (!tooLong) fields.push(name, value)
    }
    this.#block = EMPTY
    return { fields, tooLong }
  }

  #fail(): undefined {
    this.#broken = true
    this.#block = EMPTY
    return undefined
  }

  /** Section 5.1. */
  #integer(prefixBits: number): number {
    const block = this.#block
    const most = (1 << prefixBits) - 1
    let value = block[this.#at++]! & most
    if (value < most) return value
    for (let shift = 0; shift <= 28; shift += 7) {
      if (this.#at >= block.length) break
      const byte = block[this.#at++]!
      value += (byte & 0x7f) * 2 ** shift
      if (value > INTEGER_MAX) break
      if (byte < 0x80) return value
    }
    this.#broken = true
    return 0
  }

  /** Section 5.2. */
  #text(): string {
    if (this.#at >= this.#block.length) {
      this.#broken = true
      return ''
    }
    const packed = this.#block[this.#at]! >= 0x80
    const length = this.#integer(7)
    const from = this.#at
    const to = from + length
    if (this.#broken || to > this.#block.length) {
      this.#broken = true
      return ''
    }
    this.#at = to
    const text = packed ? huffmanText(this.#block, from, to) : this.#block.toString('latin1', from, to)
    if (text === undefined) this.#broken = true
    return text ?? ''
  }

  #name(index: number): string {
    if (index >= 1 && index <= STATIC.length) return STATIC[index - 1]![0]
    const found = this.#names[this.#names.length - (index - STATIC.length)]
    if (index < 1 || found === undefined) this.#broken = true
    return found ?? ''
  }

  #value(index: number): string {
    if (index >= 1 && index <= STATIC.length) return STATIC[index - 1]![1]
    return this.#values[this.#values.length - (index - STATIC.length)] ?? ''
  }

  #add(name: string, value: string): void {
    const bytes = name.length + value.length + ENTRY_OVERHEAD
    this.#evict(bytes)
    // What is larger than the table empties it (section 4.4).
    if (bytes > this.#bytesMax) return
    this.#names.push(name)
    this.#values.push(value)
    this.#bytes += bytes
  }

  /** Makes room. */
  #evict(bytes: number): void {
    while (this.#names.length > 0 && this.#bytes + bytes > this.#bytesMax)
      this.#bytes -= this.#names.shift()!.length + this.#values.shift()!.length + ENTRY_OVERHEAD
  }
}

const EMPTY = Buffer.alloc(0)

/** To begin the first header block with: whatever table the client would give us, we use none. */
export const NO_TABLE = '\x20'

/** `:status`, as Latin-1 text. */
export function encodeStatus(status: number): string {
  const index = STATUSES.get(status)
  return index === undefined ? `${prefixed(0, 4, STATUS_INDEX)}${literal(String(status))}` : String.fromCharCode(0x80 | index)
}

/** One field, as Latin-1 text. @param name In lower case. */
export function encodeField(name: string, value: string): string {
  const pattern = SENSITIVE.has(name) ? 0x10 : 0
  const index = NAMES.get(name)
  return `${index === undefined ? `${String.fromCharCode(pattern)}${literal(name)}` : prefixed(pattern, 4, index)}${literal(value)}`
}

function literal(text: string): string {
  return prefixed(0, 7, text.length) + text
}

function prefixed(pattern: number, prefixBits: number, value: number): string {
  const most = (1 << prefixBits) - 1
  if (value < most) return String.fromCharCode(pattern | value)
  let text = String.fromCharCode(pattern | most)
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) text += String.fromCharCode((rest % 128) | 128)
  return text + String.fromCharCode(rest)
}

/** For tests: writes MMDB files (MaxMind DB file format, version 2.0), IPv6 trees with records of 32 bits. */
import { parsePrefix } from '@ringwall/ring'

type Value = string | number | { readonly [key: string]: Value }

interface Node {
  left: Node | number | undefined
  right: Node | number | undefined
}

/** @param entries Prefixes, such as `203.0.113.0/24`, and the record of each; a longer one stands within a shorter. */
export function mmdb(type: string, entries: readonly (readonly [prefix: string, record: Value])[]): Buffer {
  const data: Buffer[] = []
  let dataBytes = 0
  const root: Node = { left: undefined, right: undefined }
  const sorted = entries.map(([text, record]) => ({ bits: bitsOf(text), record })).sort((a, b) => a.bits.length - b.bits.length)
  for (const { bits, record } of sorted) {
    const bytes = encoded(record)
    put(root, bits, dataBytes)
    data.push(bytes)
    dataBytes += bytes.length
  }
  const nodes: Node[] = [root]
  for (let at = 0; at < nodes.length; at++)
    for (const child of [nodes[at]!.left, nodes[at]!.right]) if (typeof child === 'object') nodes.push(child)
  const numbers = new Map(nodes.map((node, at) => [node, at]))
  const tree = Buffer.alloc(nodes.length * 8)
  const pointer = (child: Node | number | undefined): number =>
    child === undefined ? nodes.length : typeof child === 'number' ? nodes.length + 16 + child : numbers.get(child)!
  for (const [at, { left, right }] of nodes.entries()) {
    tree.writeUInt32BE(pointer(left), at * 8)
    tree.writeUInt32BE(pointer(right), at * 8 + 4)
  }
  const metadata = encoded({
    binary_format_major_version: 2,
    binary_format_minor_version: 0,
    build_epoch: 1_700_000_000,
    database_type: type,
    description: { en: 'made by a test' },
    ip_version: 6,
    node_count: nodes.length,
    record_size: 32,
  })
  return Buffer.concat([tree, Buffer.alloc(16), ...data, Buffer.from('\xab\xcd\xefMaxMind.com', 'latin1'), metadata])
}

function put(root: Node, bits: readonly number[], record: number): void {
  let node = root
  for (const [at, bit] of bits.entries()) {
    const side = bit === 0 ? 'left' : 'right'
    if (at === bits.length - 1) {
      node[side] = record
      return
    }
    const child = node[side]
    if (typeof child === 'object') node = child
    else {
      // What stood here holds for both halves.
      const made: Node = { left: child, right: child }
      node[side] = made
      node = made
    }
  }
}

/** An IPv4 prefix stands in the first 2^32 addresses of the tree. */
function bitsOf(text: string): readonly number[] {
  const prefix = parsePrefix(text)
  if (prefix === undefined) throw new Error(`${text} is no prefix`)
  const words = prefix.version === 4 ? [0, 0, 0, prefix.words[0]!] : prefix.words
  const length = prefix.version === 4 ? prefix.length + 96 : prefix.length
  return Array.from({ length }, (_, at) => (words[at >> 5]! >>> (31 - (at & 31))) & 1)
}

function encoded(value: Value): Buffer {
  if (typeof value === 'string') return Buffer.concat([control(2, Buffer.byteLength(value)), Buffer.from(value)])
  if (typeof value === 'number' && (value < 0 || !Number.isInteger(value))) {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleBE(value)
    return Buffer.concat([control(3, 8), bytes])
  }
  if (typeof value === 'number') {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return Buffer.concat([control(6, 4), bytes])
  }
  const fields = Object.entries(value)
  return Buffer.concat([control(7, fields.length), ...fields.flatMap(([name, held]) => [encoded(name), encoded(held)])])
}

function control(type: number, size: number): Buffer {
  return size < 29 ? Buffer.of((type << 5) | size) : Buffer.of((type << 5) | 29, size - 29)
}

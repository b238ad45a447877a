/**
 * What one node saw of accounts, as it travels and is kept: one spelling for one content. A byte of version, then for each account, in order
 * of its bytes: length of the service's name and the name, 16 bytes of account, number of addresses, and for each, in order, 16 bytes: high,
 * low, last failure, last success (big-endian; the times Unix minutes, 0 for never, not both).
 */
import { SummaryMalformed } from './errors.ts'
import type { SourceCell } from './source-set.ts'

/** The first byte: no JSON begins with it. */
export const SOURCE_SUMMARY_VERSION = 1
const CELL_BYTES = 16
const ACCOUNT_BYTES = 16
const CELLS_MAX = 64
const SERVICE_BYTES_MAX = 63
/** Of one summary; the rest follows in the next. */
export const SUMMARY_ACCOUNTS_MAX = 500
const BYTES_MAX = 1 + SUMMARY_ACCOUNTS_MAX * (1 + SERVICE_BYTES_MAX + ACCOUNT_BYTES + 1 + CELLS_MAX * CELL_BYTES)

const [encoder, decoder] = [new TextEncoder(), new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })]

/** By `SERVICE\nACCOUNT`, each with its cells in order. */
export type SourceSummary = ReadonlyMap<string, readonly SourceCell[]>

function headOf(key: string): Uint8Array {
  const [service, account] = key.split('\n') as [string, string]
  const name = encoder.encode(service)
  const head = new Uint8Array(1 + name.length + ACCOUNT_BYTES)
  head[0] = name.length
  head.set(name, 1)
  for (let byte = 0; byte < ACCOUNT_BYTES; byte += 1)
    head[1 + name.length + byte] = Number.parseInt(account.slice(byte * 2, byte * 2 + 2), 16)
  return head
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  for (let at = 0; at < Math.min(a.length, b.length); at += 1) if (a[at] !== b[at]) return a[at]! - b[at]!
  return a.length - b.length
}

export function encodeSourceSummary(summary: SourceSummary): Uint8Array {
  const accounts = [...summary].map(([key, cells]) => ({ head: headOf(key), cells })).sort((a, b) => compareBytes(a.head, b.head))
  const bytes = new Uint8Array(accounts.reduce((sum, { head, cells }) => sum + head.length + 1 + cells.length * CELL_BYTES, 1))
  const view = new DataView(bytes.buffer)
  bytes[0] = SOURCE_SUMMARY_VERSION
  let at = 1
  for (const { head, cells } of accounts) {
    bytes.set(head, at)
    at += head.length
    bytes[at] = cells.length
    at += 1
    for (const { words, failedMin, goodMin } of cells) {
      for (const [index, word] of [words[0], words[1], failedMin, goodMin].entries()) view.setUint32(at + index * 4, word)
      at += CELL_BYTES
    }
  }
  return bytes
}

/** @throws {SummaryMalformed} For anything but what `encodeSourceSummary` makes. */
export function decodeSourceSummary(bytes: Uint8Array): SourceSummary {
  const fail = (why: string): never => {
    throw new SummaryMalformed(`byte ${at}: ${why}`)
  }
  let at = 0
  if (bytes.length > BYTES_MAX) fail(`at most ${BYTES_MAX} bytes`)
  if (bytes[0] !== SOURCE_SUMMARY_VERSION) fail(`version ${SOURCE_SUMMARY_VERSION} is expected`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const summary = new Map<string, readonly SourceCell[]>()
  let before: Uint8Array | undefined
  at = 1
  while (at < bytes.length) {
    const length = bytes[at]!
    const end = at + 1 + length + ACCOUNT_BYTES
    if (length === 0 || length > SERVICE_BYTES_MAX || end >= bytes.length)
      fail('a name of a service, an account and its addresses')
    const head = bytes.subarray(at, end)
    if (before !== undefined && compareBytes(before, head) >= 0) fail('accounts are in order, each once')
    before = head
    const service = textOf(head.subarray(1, 1 + length)) ?? fail('a name of a service in UTF-8, without controls')
    const account = [...head.subarray(1 + length)].map((byte) => byte.toString(16).padStart(2, '0')).join('')
    const count = bytes[end]!
    at = end + 1
    if (count === 0 || count > CELLS_MAX || at + count * CELL_BYTES > bytes.length) fail(`1 to ${CELLS_MAX} addresses`)
    const cells: SourceCell[] = []
    for (let cell = 0; cell < count; cell += 1, at += CELL_BYTES) {
      const [high, low, failedMin, goodMin] = [0, 4, 8, 12].map((offset) => view.getUint32(at + offset)) as [
        number,
        number,
        number,
        number,
      ]
      const last = cells.at(-1)?.words
      if (last !== undefined && (last[0] > high || (last[0] === high && last[1] >= low)))
        fail('addresses are in order, each once')
      if (failedMin === 0 && goodMin === 0) fail('a time')
      cells.push({ words: [high, low], failedMin, goodMin })
    }
    summary.set(`${service}\n${account}`, cells)
    if (summary.size > SUMMARY_ACCOUNTS_MAX) fail(`at most ${SUMMARY_ACCOUNTS_MAX} accounts`)
  }
  return summary
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    const text = decoder.decode(bytes)
    return /\p{Cc}/u.test(text) ? undefined : text
  } catch {
    return undefined
  }
}

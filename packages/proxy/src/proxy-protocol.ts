/**
 * The PROXY protocol, versions 1 and 2: a load balancer's word on whose connection it passes on. Pure. To be believed only
 * from peers that are known to send it. Source: HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2.
 *
 * Strict: a header that is not exactly as the specification says ends the connection; nothing is guessed.
 */
import { formatAddress, parseAddress } from '@ringwall/ring'

export type PreambleReading =
  | { readonly kind: 'more' }
  /** `source` undefined: the balancer speaks for itself (a health check). `bytes`: the header's length. */
  | { readonly kind: 'header'; readonly source: string | undefined; readonly bytes: number }
  | { readonly kind: 'refused'; readonly why: string }

/** With CR LF, by the specification. */
const V1_BYTES_MAX = 107
/** Of addresses and what else a sender adds; the specification sets none. */
const V2_REST_BYTES_MAX = 2_048
export const PREAMBLE_BYTES_MAX = 16 + V2_REST_BYTES_MAX
const V2_SIGNATURE = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])
const V1_START = Buffer.from('PROXY ', 'latin1')
const V1_LINE = /^PROXY (TCP4|TCP6) ([0-9a-fA-F.:]{2,39}) ([0-9a-fA-F.:]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})$/
const V1_UNKNOWN = /^PROXY UNKNOWN(?: [\x20-\x7e]*)?$/
const UNSPECIFIED = 0x00
const TCP_V4 = 0x11
const TCP_V6 = 0x21

const MORE: PreambleReading = { kind: 'more' }

/** @param bytes All that the connection has said so far. */
export function readPreamble(bytes: Buffer): PreambleReading {
  if (bytes.length === 0) return MORE
  if (bytes[0] === V2_SIGNATURE[0]) return readV2(bytes)
  return readV1(bytes)
}

function readV1(bytes: Buffer): PreambleReading {
  const start = Math.min(bytes.length, V1_START.length)
  if (!bytes.subarray(0, start).equals(V1_START.subarray(0, start))) return refused('no PROXY header')
  const end = bytes.subarray(0, V1_BYTES_MAX).indexOf('\r\n')
  if (end < 0) return bytes.length >= V1_BYTES_MAX ? refused('a PROXY line of more than 107 bytes') : MORE
  const line = bytes.toString('latin1', 0, end)
  if (V1_UNKNOWN.test(line)) return { kind: 'header', source: undefined, bytes: end + 2 }
  const match = V1_LINE.exec(line)
  if (match === null || Number(match[4]) > 65_535 || Number(match[5]) > 65_535) return refused('a malformed PROXY line')
  const version = match[1] === 'TCP4' ? 4 : 6
  const source = addressOf(match[2]!, version)
  if (source === undefined || addressOf(match[3]!, version) === undefined) return refused('a PROXY line with a malformed address')
  return { kind: 'header', source, bytes: end + 2 }
}

function addressOf(text: string, version: 4 | 6): string | undefined {
  if (text.includes(':') !== (version === 6)) return undefined
  const address = parseAddress(text)
  return address === undefined ? undefined : formatAddress(address)
}

function readV2(bytes: Buffer): PreambleReading {
  const start = Math.min(bytes.length, V2_SIGNATURE.length)
  if (!bytes.subarray(0, start).equals(V2_SIGNATURE.subarray(0, start))) return refused('no PROXY header')
  if (bytes.length < 16) return MORE
  const command = bytes[12]!
  if (command !== 0x20 && command !== 0x21) return refused('a PROXY header of another version or command')
  const length = bytes.readUInt16BE(14)
  if (length > V2_REST_BYTES_MAX) return refused(`a PROXY header of more than ${PREAMBLE_BYTES_MAX} bytes`)
  if (bytes.length < 16 + length) return MORE
  const rest = bytes.subarray(16, 16 + length)
  const header = (source: string | undefined): PreambleReading => ({ kind: 'header', source, bytes: 16 + length })
  // LOCAL: whatever the addresses say is to be ignored.
  if (command === 0x20) return header(undefined)
  const family = bytes[13]!
  const addressBytes = family === TCP_V4 ? 4 : 16
  if (family !== TCP_V4 && family !== TCP_V6) {
    return family === UNSPECIFIED && wellFormed(rest)
      ? header(undefined)
      : refused('a PROXY header for something else than TCP over IP')
  }
  const fixed = addressBytes * 2 + 4
  if (length < fixed || !wellFormed(rest.subarray(fixed))) return refused('a malformed PROXY header')
  return header(addressFrom(rest.subarray(0, addressBytes)))
}

/** Type, length, value, and nothing left over (section 2.2). */
function wellFormed(vectors: Buffer): boolean {
  let at = 0
  while (at < vectors.length) {
    if (at + 3 > vectors.length) return false
    at += 3 + vectors.readUInt16BE(at + 1)
  }
  return at === vectors.length
}

function addressFrom(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.')
  const groups = Array.from({ length: 8 }, (_, at) => bytes.readUInt16BE(at * 2).toString(16))
  return formatAddress(parseAddress(groups.join(':'))!)
}

function refused(why: string): PreambleReading {
  return { kind: 'refused', why }
}

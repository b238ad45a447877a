/**
 * The log of what was measured into PCRs before and while the system started: TCG PC Client Platform Firmware Profile, section 10, crypto-agile
 * form (a TCG_PCR_EVENT that says so, then TCG_PCR_EVENT2). It is worth nothing by itself: replayed, it must give the values that were quoted.
 */
import { createHash } from 'node:crypto'
import { ALG } from './public-area.ts'
import { PCRS } from './quote.ts'
import { TpmReader } from './reader.ts'

export const EVENT_LOG_BYTES_MAX = 65_536
const EVENTS_MAX = 1_024
const EV_NO_ACTION = 3
const SPEC_ID = Buffer.from('Spec ID Event03\0', 'latin1')
const DIGEST_BYTES: Readonly<Record<number, number>> = { 4: 20, [ALG.sha256]: 32, 12: 48, 13: 64, 18: 32 }
const ALGORITHMS_MAX = 5

export interface TcgEvent {
  readonly pcr: number
  readonly type: number
  /** SHA-256. */
  readonly digest: Buffer
}

/** @throws {TpmMalformed} */
export function parseEventLog(bytes: Uint8Array): readonly TcgEvent[] {
  const reader = new TpmReader(bytes, 'the event log')
  if (bytes.length > EVENT_LOG_BYTES_MAX) reader.fail(`it has more than ${EVENT_LOG_BYTES_MAX} bytes`)
  const sizes = parseHeader(reader)
  const events: TcgEvent[] = []
  while (reader.left > 0) {
    if (events.length >= EVENTS_MAX) reader.fail(`it has more than ${EVENTS_MAX} events`)
    const [pcr, type, count] = [reader.u32le(), reader.u32le(), reader.u32le()]
    if (pcr >= PCRS) reader.fail(`there is no register ${pcr}`)
    if (count !== sizes.size) reader.fail(`an event has ${count} digests, not ${sizes.size}`)
    let digest: Buffer | undefined
    const seen = new Set<number>()
    for (let at = 0; at < count; at += 1) {
      const algorithm = reader.u16le()
      const size = sizes.get(algorithm)
      if (size === undefined || seen.has(algorithm))
        reader.fail('an event has a digest of an algorithm that is not announced, or twice')
      seen.add(algorithm)
      const value = reader.take(size as number)
      if (algorithm === ALG.sha256) digest = value
    }
    reader.take(reader.u32le())
    if (digest === undefined) return reader.fail('an event has no SHA-256')
    events.push({ pcr, type, digest })
  }
  return events
}

/** Digest sizes by algorithm. */
function parseHeader(reader: TpmReader): ReadonlyMap<number, number> {
  reader.expect(reader.u32le(), 0, 'the register of its first event')
  reader.expect(reader.u32le(), EV_NO_ACTION, 'the type of its first event')
  reader.take(20)
  const header = new TpmReader(reader.take(reader.u32le()), 'the event log’s header')
  if (!header.take(SPEC_ID.length).equals(SPEC_ID)) header.fail('it is no crypto-agile log')
  header.take(8)
  const count = header.u32le()
  if (count < 1 || count > ALGORITHMS_MAX) header.fail(`it announces ${count} algorithms`)
  const sizes = new Map<number, number>()
  for (let at = 0; at < count; at += 1) {
    const [algorithm, size] = [header.u16le(), header.u16le()]
    if (DIGEST_BYTES[algorithm] !== size || sizes.has(algorithm))
      header.fail('it announces an algorithm with a wrong size, or twice')
    sizes.set(algorithm, size)
  }
  header.take(header.u8())
  header.end()
  if (!sizes.has(ALG.sha256)) header.fail('it announces no SHA-256')
  return sizes
}

/** The values of the registers that the log extends, from their values after a reset. */
export function replay(events: readonly TcgEvent[]): ReadonlyMap<number, Buffer> {
  const values = new Map<number, Buffer>()
  for (const { pcr, type, digest } of events) {
    if (type === EV_NO_ACTION) continue
    const before = values.get(pcr) ?? Buffer.alloc(32, pcr >= 17 && pcr <= 22 ? 0xff : 0)
    values.set(pcr, createHash('sha256').update(before).update(digest).digest())
  }
  return values
}

/** A log of one bank, SHA-256, for what a program measures by itself. */
export function encodeEventLog(events: readonly (TcgEvent & { readonly event: Uint8Array })[]): Buffer {
  const u32 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32LE(value)
    return bytes
  }
  const algorithm = Buffer.from([ALG.sha256, 0])
  const spec = Buffer.concat([
    SPEC_ID,
    Buffer.from([0, 0, 0, 0, 0, 2, 0, 2]),
    u32(1),
    algorithm,
    Buffer.from([32, 0]),
    Buffer.of(0),
  ])
  const header = Buffer.concat([u32(0), u32(EV_NO_ACTION), Buffer.alloc(20), u32(spec.length), spec])
  const lines = events.map(({ pcr, type, digest, event }) =>
    Buffer.concat([u32(pcr), u32(type), u32(1), algorithm, digest, u32(event.length), event]),
  )
  return Buffer.concat([header, ...lines])
}

/** Decoders of links between nodes, and of logs on disk. */

import { encodeMessage, type Message } from '@ringwall/consensus'
import { keyOfCertificate, selfSignedCertificate } from '../packages/fabric/src/certificate.ts'
import { FabricError } from '../packages/fabric/src/errors.ts'
import { encodeFrame, type Frame, FrameParser } from '../packages/fabric/src/frames.ts'
import { HelloInvalid, parseHello } from '../packages/fabric/src/handshake.ts'
import { encodeRequest, encodeStatus } from '../packages/ledger/src/sync-codec.ts'
import { lengthIn, payloadMatches, RECORD_HEADER_BYTES, recordHeader } from '../packages/store/src/record.ts'
import { bytesOf, type Decoder, KIB, never, pieces, same, tokens } from './decoder.ts'
import { must } from './must.ts'
import { messages, NOW, nodeKeys, ring, tip, txs } from './samples.ts'

const frames: readonly Frame[] = [
  { kind: 'hello', channel: 'gossip', id: 0, payload: bytesOf(JSON.stringify({ protocol: 1, ring, id: 'n1' })) },
  { kind: 'message', channel: 'consensus', id: 0, payload: encodeMessage(messages[3] as Message) },
  { kind: 'request', channel: 'sync', id: 77, payload: encodeRequest({ kind: 'status', tip }) },
  { kind: 'answer', channel: 'sync', id: 77, payload: encodeStatus(tip) },
  { kind: 'gossip', channel: 'gossip', id: 0, payload: txs[0] as Uint8Array },
  { kind: 'ping', channel: 'gossip', id: 5, payload: new Uint8Array(0) },
]

export const framing: Decoder = {
  name: 'fabric: frames',
  weight: 6,
  samples: [...frames.map(encodeFrame), Buffer.concat(frames.map(encodeFrame))],
  tokens: [],
  bytesMax: 64 * KIB,
  tries: (input) => {
    const whole = new FrameParser()
    const found = whole.push(Buffer.from(input))
    const split = new FrameParser()
    const again = pieces(input).flatMap((piece) => split.push(piece))
    const encoded = Buffer.concat(found.map(encodeFrame))
    must(same(encoded, input.subarray(0, encoded.length)), 'frames have another encoding than what they came in')
    must(same(Buffer.concat(again.map(encodeFrame)), encoded), 'another split of the bytes gives other frames')
    return found.length > 0
  },
  isDeclared: (error) => error instanceof FabricError && error.code === 'FABRIC_FRAME',
}

export const hello: Decoder = {
  name: 'fabric: hello',
  weight: 2,
  samples: [(frames[0] as Frame).payload],
  tokens: tokens('"protocol":1', '"ring":', '"id":"n1"', '__proto__', 'null'),
  bytesMax: 2 * KIB,
  tries: (payload) => parseHello({ kind: 'hello', channel: 'gossip', id: 0, payload }).id !== undefined,
  isDeclared: (error) => error instanceof HelloInvalid,
}

const certificates = await Promise.all(
  nodeKeys.map(async (key, i) => {
    const pem = await selfSignedCertificate(`n${i + 1}`, key, NOW)
    return new Uint8Array(Buffer.from(pem.replace(/-----[A-Z ]+-----|\s/g, ''), 'base64'))
  }),
)

export const x509: Decoder = {
  name: 'fabric: certificate of a peer',
  weight: 1,
  samples: certificates,
  tokens: [],
  bytesMax: 8 * KIB,
  tries: (input) => {
    const key = keyOfCertificate(Buffer.from(input))
    must(key === undefined || key.length === 32, 'a key of another length')
    return key !== undefined
  },
  isDeclared: never,
}

export const logRecord: Decoder = {
  name: 'store: log record',
  weight: 4,
  samples: txs.map((tx) => Buffer.concat([recordHeader(7, tx), tx])),
  tokens: [],
  bytesMax: 4 * KIB,
  tries: (input) => {
    if (input.length < RECORD_HEADER_BYTES) return false
    const payload = input.subarray(RECORD_HEADER_BYTES)
    if (lengthIn(input, 7) !== payload.length || !payloadMatches(input, 7, payload)) return false
    must(same(recordHeader(7, payload), input.subarray(0, RECORD_HEADER_BYTES)), 'another header for the same record')
    return true
  },
  isDeclared: never,
}

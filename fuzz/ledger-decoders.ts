/** Decoders of what validators say to each other and keep: consensus and ledger. */

import {
  decodeBlock,
  decodeCertificate,
  decodeJournalRecord,
  decodeMessage,
  encodeBlock,
  encodeCertificate,
  encodeJournalRecord,
  encodeMessage,
  WireError,
} from '@ringwall/consensus'
import { encodeBlockRecord, parseBlockRecord } from '../packages/ledger/src/block-record.ts'
import { Malformed } from '../packages/ledger/src/bytes.ts'
import { encodePayload, parsePayload } from '../packages/ledger/src/payload.ts'
import { encodeTransactions, parseTransactions } from '../packages/ledger/src/spread.ts'
import {
  encodeBlockAnswer,
  encodeRequest,
  encodeRun,
  encodeSnapshotOffer,
  encodeStatus,
  parseBlockAnswer,
  parseRequest,
  parseRun,
  parseSnapshotOffer,
  parseStatus,
} from '../packages/ledger/src/sync-codec.ts'
import { type Decoder, KIB, same } from './decoder.ts'
import { must } from './must.ts'
import { blocks, certificate, first, last, messages, ROOT, records, third, tip, txs } from './samples.ts'

/** A decoder of a binary form: what it takes encodes to the same bytes again. */
function binary<T>(
  name: string,
  samples: readonly Uint8Array[],
  decode: (bytes: Uint8Array) => T,
  encode: (value: T) => Uint8Array,
  weight = 8,
): Decoder {
  return {
    name,
    weight,
    samples,
    tokens: [],
    bytesMax: 16 * KIB,
    tries: (input) => {
      const value = decode(input)
      must(same(encode(value), input), 'what it took has another encoding')
      return true
    },
    isDeclared: (error) => error instanceof WireError || error instanceof Malformed,
  }
}

export const CONSENSUS_DECODERS: readonly Decoder[] = [
  binary('consensus: message', messages.map(encodeMessage), decodeMessage, encodeMessage, 10),
  binary('consensus: journal record', messages.map(encodeJournalRecord), decodeJournalRecord, encodeJournalRecord, 4),
  binary('consensus: block', blocks.map(encodeBlock), decodeBlock, encodeBlock),
  binary(
    'consensus: certificate',
    (['notarize', 'nullify', 'finalize'] as const).map((kind) => encodeCertificate(certificate(kind, 5, third))),
    decodeCertificate,
    encodeCertificate,
  ),
]

export const LEDGER_DECODERS: readonly Decoder[] = [
  binary(
    'ledger: payload',
    [txs, txs.slice(0, 1), []].map((list) => encodePayload({ root: ROOT, txs: list })),
    parsePayload,
    encodePayload,
  ),
  binary(
    'ledger: transactions',
    [txs, txs.slice(0, 1)].flatMap((list) => encodeTransactions(list)),
    parseTransactions,
    (list) => Buffer.concat(encodeTransactions(list)),
  ),
  binary('ledger: block record', records.map(encodeBlockRecord), parseBlockRecord, encodeBlockRecord),
  binary(
    'ledger: snapshot offer',
    [encodeSnapshotOffer({ stateBytes: 77, records }), encodeSnapshotOffer(undefined)],
    parseSnapshotOffer,
    encodeSnapshotOffer,
  ),
  binary(
    'ledger: sync request',
    [
      encodeRequest({ kind: 'snapshot' }),
      encodeRequest({ kind: 'piece', height: 9, offset: 262_144 }),
      encodeRequest({ kind: 'status', tip }),
      encodeRequest({ kind: 'status', tip: { epoch: 0, height: 0, digest: first.digest, certificate: undefined, closing: [] } }),
      encodeRequest({ kind: 'epochs', from: 3 }),
      encodeRequest({ kind: 'blocks', from: 3, count: 256 }),
      encodeRequest({ kind: 'block', digest: last.digest }),
    ],
    parseRequest,
    encodeRequest,
  ),
  binary('ledger: sync status', [encodeStatus(tip)], parseStatus, encodeStatus),
  binary('ledger: sync blocks', [encodeRun(records), encodeRun(records.slice(0, 1)), encodeRun([])], parseRun, encodeRun),
  binary(
    'ledger: sync block',
    [...blocks.map(encodeBlockAnswer), encodeBlockAnswer(undefined)],
    parseBlockAnswer,
    encodeBlockAnswer,
    4,
  ),
]

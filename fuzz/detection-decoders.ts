/** Decoders of what nodes tell each other of what they saw and learned, and of what a name server answers. */

import { ANOMALY_SUMMARY_VERSION, decodeAnomalySummary, encodeAnomalySummary } from '../packages/detect/src/anomaly-summary.ts'
import { decodeCells, encodeCells } from '../packages/detect/src/counts.ts'
import { HalfSpaceTrees } from '../packages/detect/src/half-space-trees.ts'
import { decodeWeights, encodeWeights, ModelMalformed, SummaryMalformed } from '../packages/detect/src/index.ts'
import { decodeInsiderSummary, encodeInsiderSummary } from '../packages/detect/src/insider/insider-summary.ts'
import { joinProfile, newProfile, noteUse } from '../packages/detect/src/insider/profile.ts'
import { noWeights } from '../packages/detect/src/model/linear-model.ts'
import { decodeRuleSummary, encodeRuleSummary } from '../packages/detect/src/rules/rule-summary.ts'
import { decodeSourceSummary, encodeSourceSummary } from '../packages/detect/src/source-summary.ts'
import { DnsUpdateError, signatureOf, signMessage, updateMessage } from '../packages/node/src/acme/dns-update.ts'
import { Assignments } from '../packages/respond/src/assignments.ts'
import type { Decoder } from './decoder.ts'
import { must } from './must.ts'

const isSummaryMalformed = (error: unknown): boolean => error instanceof SummaryMalformed
const ACCOUNT = '0123456789abcdef'.repeat(2)

const sources: Decoder = {
  name: 'detect: summary of addresses',
  weight: 4,
  samples: [
    encodeSourceSummary(new Map()),
    encodeSourceSummary(
      new Map([
        [
          `shop\n${ACCOUNT}`,
          [
            { words: [1, 2], failedMin: 5, goodMin: 0 },
            { words: [1, 3], failedMin: 0, goodMin: 9 },
          ],
        ],
        [`bücher\n${ACCOUNT.replaceAll('0', '1')}`, [{ words: [0xffff_ffff, 0], failedMin: 7, goodMin: 8 }]],
      ]),
    ),
  ],
  tokens: [Buffer.from([1, 4]), Buffer.from('shop'), Buffer.alloc(16), Buffer.from([64]), Buffer.from([255])],
  bytesMax: 65_536,
  tries: (input) => {
    // One spelling for one content.
    must(Buffer.from(encodeSourceSummary(decodeSourceSummary(input))).equals(input), 'what it took is written otherwise')
    return true
  },
  isDeclared: isSummaryMalformed,
}

const rules: Decoder = {
  name: 'detect: summary of rules',
  weight: 4,
  samples: [
    encodeRuleSummary({ keys: [], known: [], travels: [] }),
    encodeRuleSummary({
      keys: [
        { rule: 'spraying', key: 'a\nb', counts: { events: 3, all: 4, bytes: 5, distinct: [{ level: 1, hashes: [7, 9] }] } },
      ],
      known: [[1, 2]],
      travels: [{ account: 'a', atMs: 1, place: { latitude: 52.5, longitude: -13, radiusKm: 10, asn: 64_500 } }],
    }),
  ],
  tokens: ['[[', ',-1', ',1e300', ',4294967296', 'null', '"keys":', '\\u0000', '{}'].map((text) => Buffer.from(text)),
  bytesMax: 65_536,
  tries: (input) => {
    const summary = decodeRuleSummary(input)
    const again = decodeRuleSummary(encodeRuleSummary(summary))
    must(JSON.stringify(again) === JSON.stringify(summary), 'what it took is read otherwise once written')
    return true
  },
  isDeclared: isSummaryMalformed,
}

function massesOf(points: number): Uint8Array {
  const trees = new HalfSpaceTrees({ seed: 'ring', dimensions: 2 })
  for (let at = 0; at < points; at += 1) trees.observe(Float32Array.of(at / points, 1 - at / points), 1 + at)
  return encodeAnomalySummary({ rule: 'anomaly-source', seed: 7, service: 'bücher', masses: trees.turn() })
}

const anomalies: Decoder = {
  name: 'detect: masses of half-space trees',
  weight: 3,
  samples: [massesOf(1), massesOf(40)],
  tokens: [
    Buffer.from([ANOMALY_SUMMARY_VERSION, 1]),
    Buffer.from([0x80, 0]),
    Buffer.from([0xff, 0xff, 0xff, 0x7f]),
    Buffer.from([0, 1]),
  ],
  bytesMax: 65_536,
  tries: (input) => {
    // One spelling for one content.
    must(Buffer.from(encodeAnomalySummary(decodeAnomalySummary(input))).equals(input), 'what it took is written otherwise')
    return true
  },
  isDeclared: isSummaryMalformed,
}

const counts: Decoder = {
  name: 'detect: counts',
  weight: 2,
  samples: [
    encodeCells(new Map()),
    encodeCells(
      new Map([
        ['shop a', new Map([[1, 2]])],
        ['b', new Map()],
      ]),
    ),
  ],
  tokens: ['[[', ',-1', ',1e300', 'null', '"a"', '],['].map((text) => Buffer.from(text)),
  bytesMax: 65_536,
  tries: (input) => {
    const cells = decodeCells(input, 65_536, 100)
    const again = decodeCells(encodeCells(cells), 131_072, 100)
    must(Buffer.from(encodeCells(again)).equals(encodeCells(cells)), 'what it took is read otherwise once written')
    return true
  },
  isDeclared: isSummaryMalformed,
}

const weights: Decoder = {
  name: 'detect: weights of a model',
  weight: 2,
  samples: [encodeWeights(noWeights()), encodeWeights(noWeights().fill(-1.5))],
  tokens: [Buffer.from([0, 0, 0xc0, 0x7f]), Buffer.from([0, 0, 0x80, 0x7f]), Buffer.from([0, 0, 0x7a, 0x44])],
  bytesMax: 65_536,
  tries: (input) => {
    must(Buffer.from(encodeWeights(decodeWeights(input))).equals(input), 'what it took is written otherwise')
    return true
  },
  isDeclared: (error) => error instanceof ModelMalformed,
}

const KEY = { name: 'ringwall', algorithm: 'hmac-sha256', secret: Buffer.alloc(32, 1) } as const

const dnsAnswers: Decoder = {
  name: 'node: answer to a DNS update',
  weight: 3,
  samples: [
    updateMessage(1, { what: 'add', zone: 'a.test', name: '_acme-challenge.a.test', text: 'x', ttlS: 60 }),
    signMessage(
      updateMessage(2, { what: 'remove', zone: 'a.test', name: '_acme-challenge.a.test', text: 'y', ttlS: 60 }),
      KEY,
      1_800_000_000,
    ).bytes,
  ],
  tokens: [
    Buffer.from([0xc0, 0x0c]),
    Buffer.from([0xc0, 0x1d]),
    Buffer.from([0, 250, 0, 255]),
    Buffer.from([63]),
    Buffer.from([0, 0, 0, 0, 255, 255]),
  ],
  bytesMax: 65_536,
  tries: (input) => {
    const signature = signatureOf(Buffer.from(input))
    if (signature === undefined) return false
    must(signature.message.length < input.length, 'what is signed is not part of it')
    return true
  },
  isDeclared: (error) => error instanceof DnsUpdateError,
}

const NOW = 1_800_000_000_000
const used = newProfile()
noteUse(used, NOW, 7, 9, true)

const insiders: Decoder = {
  name: 'detect: what identities are used to',
  weight: 2,
  samples: [
    encodeInsiderSummary(new Map()),
    encodeInsiderSummary(
      new Map([
        ['admin\noperator:ada', used],
        [`account\nbücher\n${ACCOUNT}`, newProfile()],
      ]),
    ),
  ],
  tokens: [Buffer.from([8, 0]), Buffer.from([2, 1]), Buffer.from('operator:'), Buffer.alloc(16), Buffer.from([255, 255])],
  bytesMax: 65_536,
  tries: (input) => {
    const profiles = decodeInsiderSummary(input)
    must(Buffer.from(encodeInsiderSummary(profiles)).equals(input), 'what it took is written otherwise')
    for (const profile of profiles.values()) {
      const joined = newProfile()
      joinProfile(joined, profile, NOW)
      must(!joinProfile(joined, profile, NOW), 'what is known already is news')
    }
    return true
  },
  isDeclared: isSummaryMalformed,
}

const assigned = new Assignments()
assigned.assign({ id: 'abcdef012345', atMs: NOW, to: 'ada', by: 'bob', note: 'a note', node: 'n1' })
assigned.assign({ id: '0123456789ab', atMs: NOW, to: null, by: 'bob', note: '', node: 'n1' })

const assignments: Decoder = {
  name: 'respond: who works on incidents',
  weight: 1,
  samples: [assigned.summary('n1') ?? new Uint8Array()],
  tokens: ['[[', ',-1', 'null', '"to":', '\\u0000', '{}', '"n1"'].map((text) => Buffer.from(text)),
  bytesMax: 65_536,
  tries: (input) => {
    const read = new Assignments()
    read.merge('n1', input, NOW)
    const told = read.summary('n1')
    if (told === undefined) return false
    const again = new Assignments()
    again.merge('n1', told, NOW)
    must(JSON.stringify(again.all()) === JSON.stringify(read.all()), 'what it took is read otherwise once written')
    return true
  },
  isDeclared: () => false,
}

export const DETECTION_DECODERS: readonly Decoder[] = [
  sources,
  rules,
  anomalies,
  counts,
  weights,
  insiders,
  assignments,
  dnsAnswers,
]

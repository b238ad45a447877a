/** Decoders of what the ring agrees on: transactions, the genesis document, snapshots, policies. */

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import {
  canonicalJson,
  decodeBase64url,
  EncodingInvalid,
  encodeBase64url,
  encodeGenesis,
  encodeTx,
  formatAddress,
  formatPrefix,
  GenesisInvalid,
  genesisHash,
  parseAddress,
  parseGenesis,
  parsePolicyDocument,
  parsePrefix,
  parseTx,
  SnapshotInvalid,
  TxMalformed,
} from '@ringwall/ring'
import { plainPolicy } from '../packages/node/src/local/up.ts'
import { bytesOf, type Decoder, JSON_TOKENS, KIB, latin1, never, same, textOf, tokens } from './decoder.ts'
import { must } from './must.ts'
import { application, genesis, NOW, txs } from './samples.ts'

export const transaction: Decoder = {
  name: 'ring: transaction',
  weight: 3,
  samples: txs,
  tokens: [...JSON_TOKENS, ...tokens('"type":"deny.add"', 'node:n1', '"kind":"account"', '\\u006f', '\u202e')],
  bytesMax: 300 * KIB,
  tries: (input) => {
    const tx = parseTx(input)
    must(same(encodeTx(tx), input), 'what it took has another encoding')
    must(canonicalJson(tx) === textOf(input), 'what it took is not canonical')
    return true
  },
  isDeclared: (error) => error instanceof TxMalformed,
}

export const check: Decoder = {
  name: 'ring: check of a transaction',
  weight: 1,
  samples: txs,
  tokens: transaction.tokens,
  bytesMax: 16 * KIB,
  tries: (input) => {
    const result = application.check(application.initial(), input, NOW + 1_000)
    must(result.ok || result.code !== 'INTERNAL', `checking failed instead of refusing: ${result.ok ? '' : result.reason}`)
    return result.ok
  },
  isDeclared: never,
}

export const genesisDocument: Decoder = {
  name: 'ring: genesis document',
  weight: 1,
  samples: [bytesOf(encodeGenesis(genesis))],
  tokens: [...JSON_TOKENS, ...tokens('"roles":["edge"]', '"id":"n1"')],
  bytesMax: 32 * KIB,
  tries: (input) => {
    const document = parseGenesis(textOf(input))
    must(genesisHash(parseGenesis(encodeGenesis(document))) === genesisHash(document), 'its own encoding is another ring')
    return true
  },
  isDeclared: (error) => error instanceof GenesisInvalid,
}

export const whole = (pieces: Iterable<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat([...pieces]))

const executed = application.execute(application.initial(), txs.slice(0, 4), { height: 1, timestampMs: NOW + 1, proposer: 'n1' })

const snapshots = [application.initial(), ...(executed.ok ? [executed.state] : [])].map((state) =>
  whole(application.snapshot(state)),
)

export const snapshot: Decoder = {
  name: 'ring: snapshot',
  weight: 1,
  samples: snapshots,
  tokens: JSON_TOKENS,
  bytesMax: 32 * KIB,
  tries: (input) => {
    must(same(whole(application.snapshot(application.restore(input))), input), 'what it took has another encoding')
    return true
  },
  isDeclared: (error) => error instanceof SnapshotInvalid,
}

export const policyDocument: Decoder = {
  name: 'ring: policy document',
  weight: 0.15,
  samples: [
    bytesOf(plainPolicy('http://127.0.0.1:9')),
    bytesOf(readFileSync(join(resolve(import.meta.dirname, '..'), 'examples/shop/ringwall.yaml'), 'utf8')),
  ],
  tokens: tokens(
    '&a',
    '*a',
    '<<: *a',
    '!!js/function',
    '? ',
    '- ',
    ': ',
    '|\n',
    '>\n',
    '%YAML 1.1',
    '---\n',
    '{a: ',
    '[',
    '\t',
    '~',
    '0o7',
    '.inf',
    '"\\u',
    'services:\n',
    '__proto__: 1\n',
  ),
  bytesMax: 16 * KIB,
  msPerKiB: 60,
  tries: (input) => parsePolicyDocument(textOf(input)).ok,
  isDeclared: never,
}

export const base64url: Decoder = {
  name: 'ring: base64url',
  weight: 4,
  samples: [16, 32, 64, 1, 2, 0].map((length) => bytesOf(encodeBase64url(new Uint8Array(length).fill(length * 3 + 1)))),
  tokens: tokens('=', '==', '+', '/', '-', '_', '\n'),
  bytesMax: KIB,
  tries: (input) => {
    must(encodeBase64url(decodeBase64url(latin1(input))) === latin1(input), 'what it took has another spelling')
    return true
  },
  isDeclared: (error) => error instanceof EncodingInvalid,
}

export const address: Decoder = {
  name: 'ring: address and prefix',
  weight: 6,
  samples: [
    '203.0.113.7',
    '::',
    '2001:db8::1',
    '::ffff:1.2.3.4',
    'fe80::1%eth0',
    '10.0.0.0/8',
    '2001:db8::/32',
    '1:2:3:4:5:6:7:8',
    '0.0.0.0/0',
  ].map(bytesOf),
  tokens: tokens('::', '.', ':', '/', '%', '0', '255', 'ffff', '/32', '/128', '1.2.3.4'),
  bytesMax: 128,
  tries: (input) => {
    const text = latin1(input)
    const found = parseAddress(text)
    const prefix = parsePrefix(text)
    if (found !== undefined) {
      const spelled = formatAddress(found)
      must(
        formatAddress(parseAddress(spelled) ?? { version: 4, words: [0] }) === spelled,
        `${text} is spelled ${spelled}, which is read otherwise`,
      )
    }
    if (prefix !== undefined) {
      const spelled = formatPrefix(prefix)
      const again = parsePrefix(spelled)
      must(again !== undefined && formatPrefix(again) === spelled, `${text} is spelled ${spelled}, which is read otherwise`)
    }
    return found !== undefined || prefix !== undefined
  },
  isDeclared: never,
}

/** Every decoder of bytes that come from the network or from disk, with valid samples and what it promises. */

import { createHash, createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { ContextInvalid, parseContext } from '@ringwall/client'
import {
  type Block,
  type Certificate,
  decodeBlock,
  decodeCertificate,
  decodeJournalRecord,
  decodeMessage,
  encodeBlock,
  encodeCertificate,
  encodeJournalRecord,
  encodeMessage,
  genesisBlock,
  type Message,
  makeBlock,
  type Proposal,
  type VoteKind,
  WireError,
} from '@ringwall/consensus'
import { normalizeRoutingPath, readingsOf } from '@ringwall/guard'
import { createTokenVerifier, verifyOperatorToken } from '@ringwall/identity'
import {
  batchOf,
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
  signingBytes,
  type TxContent,
  TxMalformed,
} from '@ringwall/ring'
import { compileRules, RuleSyntaxError, requestFields } from '@ringwall/waf'
import { EventStreamParser } from '../packages/client/src/event-stream.ts'
import { keyOfCertificate, selfSignedCertificate } from '../packages/fabric/src/certificate.ts'
import { FabricError } from '../packages/fabric/src/errors.ts'
import { encodeFrame, type Frame, FrameParser } from '../packages/fabric/src/frames.ts'
import { HelloInvalid, parseHello } from '../packages/fabric/src/handshake.ts'
import { bearerToken } from '../packages/guard/src/bearer.ts'
import { parseStrictObject } from '../packages/identity/src/strict-json.ts'
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
import { formatHostPort, parseHostPort } from '../packages/node/src/address.ts'
import { parseNodeConfig } from '../packages/node/src/config.ts'
import { StartError } from '../packages/node/src/errors.ts'
import { plainPolicy } from '../packages/node/src/local/up.ts'
import { ringApplication } from '../packages/node/src/ring-application.ts'
import { loadRuleLibrary } from '../packages/node/src/rules.ts'
import { connectionTokens } from '../packages/proxy/src/header-names.ts'
import { parseRequestHead } from '../packages/proxy/src/request-head.ts'
import { ResponseParser } from '../packages/proxy/src/response-parser.ts'
import { sourceOf } from '../packages/proxy/src/source-address.ts'
import { lengthIn, payloadMatches, RECORD_HEADER_BYTES, recordHeader } from '../packages/store/src/record.ts'
import { nodeOfRequestId, requestId } from '../packages/telemetry/src/request-id.ts'
import { formatTraceparent, parseTraceparent, parseTracestate } from '../packages/telemetry/src/trace-context.ts'
import { parseCookies } from '../packages/waf/src/body/cookies.ts'
import { parseRequestBody } from '../packages/waf/src/body/request-body.ts'
import { bytesToText } from '../packages/waf/src/bytes.ts'
import { DETECTION_DECODERS } from './detection-decoders.ts'
import { LISTENER_DECODERS } from './listener-decoders.ts'
import { must } from './must.ts'
import type { Material } from './mutator.ts'

export interface Decoder extends Material {
  readonly name: string
  /** Share of the inputs. */
  readonly weight: number
  /**
   * True when it takes the input, false when it refuses by its answer. Throws what it declares, or anything else, which is a
   * fault: also an `Error` of this file, when what was decoded is not what it has to be.
   */
  readonly tries: (input: Uint8Array) => boolean | Promise<boolean>
  readonly isDeclared: (error: unknown) => boolean
  /** CPU that a KiB of input may cost beside the allowance of all, milliseconds. */
  readonly msPerKiB?: number
}

const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)
/** Each byte one character, as Node hands over headers. */
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const tokens = (...texts: readonly string[]): readonly Uint8Array[] => texts.map(bytesOf)
const never = (): boolean => false
const KIB = 1_024

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

// Keys and samples: made from fixed seeds, so that every machine has the same.

const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex')
const keyFrom = (seed: string): KeyObject =>
  createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, createHash('sha256').update(seed).digest()]),
    format: 'der',
    type: 'pkcs8',
  })
const nodeKeys = ['n1', 'n2', 'n3', 'n4'].map(keyFrom)
const operatorKey = keyFrom('operator')
const rawOf = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string
const operatorJwk = operatorKey.export({ format: 'jwk' }) as { readonly d: string; readonly x: string }

const genesis = parseGenesis(
  JSON.stringify({
    format: 'ringwall/genesis/1',
    createdAtMs: 1_800_000_000_000,
    nodes: nodeKeys.map((key, i) => ({
      id: `n${i + 1}`,
      region: 'eu',
      address: `127.0.0.1:${7_001 + i}`,
      publicKey: rawOf(key),
      roles: ['validator', 'edge'],
    })),
    operators: [{ name: 'ada', publicKey: rawOf(operatorKey) }],
    policy: plainPolicy('http://127.0.0.1:9'),
  }),
)
const ring = genesisHash(genesis)
const NOW = 1_800_000_000_000
const application = ringApplication(genesis, loadRuleLibrary({}))

const BODIES = [
  { type: 'deny.add', subject: { kind: 'ip', value: '203.0.113.7' }, ttlMs: 600_000, reason: 'too many failures' },
  { type: 'deny.add', subject: { kind: 'cidr', value: '2001:db8::/48' }, ttlMs: 600_000, reason: 'scanner' },
  { type: 'deny.add', subject: { kind: 'token', value: 'jti-\u{1f600}' }, ttlMs: 600_000, reason: 'stolen' },
  { type: 'deny.add', subject: { kind: 'account', service: 'app', value: '0'.repeat(32) }, ttlMs: 60_000, reason: 'guessed' },
  { type: 'deny.remove', id: '0123456789abcdef', reason: 'over' },
  { type: 'deny.withdraw', id: '0123456789abcdef', reason: 'over' },
  { type: 'cache.purge', service: 'app', path: '/assets', reason: 'a new release' },
  { type: 'policy.set', policy: plainPolicy('http://127.0.0.1:10'), expectVersion: 1 },
] as const
const contents = BODIES.map((body, i): TxContent => {
  const nonce = encodeBase64url(new Uint8Array(16).fill(i))
  return { ring, issuer: 'operator:ada', atMs: NOW, untilMs: NOW + 60_000, nonce, body }
})
const signedBy = (message: Uint8Array): Uint8Array => new Uint8Array(sign(null, message, operatorKey))
const batch = batchOf(contents.map(signingBytes))
const together = batch.signatures(signedBy(batch.message))
const txs = contents.flatMap((content, at) =>
  [signedBy(signingBytes(content)), together[at] as Uint8Array].map((signature) =>
    encodeTx({ content, signature: encodeBase64url(signature) }),
  ),
)

const first = genesisBlock(ring)
const signature = (n: number): Uint8Array => new Uint8Array(64).fill(n)
const certificate = (kind: VoteKind, round: number, block: Block): Certificate => ({
  kind,
  round,
  digest: kind === 'nullify' ? undefined : block.digest,
  signatures: [0, 1, 3].map((signer) => ({ signer, signature: signature(signer) })),
})
const ROOT = 'ab'.repeat(32)
const blocks: Block[] = []
for (let i = 0; i < 4; i += 1) {
  const parent = blocks.at(-1) ?? first
  const payload = encodePayload({ root: ROOT, txs: txs.slice(0, i) })
  const round = 2 * i + 1
  blocks.push(makeBlock({ round, height: i + 1, parent: parent.digest, proposer: i, timestampMs: NOW + i, payload }))
}
const [, , third, last] = blocks as [Block, Block, Block, Block]
const proposals: readonly Proposal[] = [
  {
    block: last,
    parentCertificate: certificate('notarize', 5, third),
    nullifications: [certificate('nullify', 6, third)],
    signature: signature(9),
  },
  { block: blocks[0] as Block, parentCertificate: undefined, nullifications: [], signature: signature(8) },
]
const messages: readonly Message[] = [
  ...proposals.map((proposal) => ({ kind: 'proposal', proposal }) as const),
  ...(['notarize', 'nullify', 'finalize'] as const).flatMap((kind) => [
    { kind: 'certificate', certificate: certificate(kind, 5, third) } as const,
    {
      kind: 'vote',
      vote: { kind, round: 7, digest: kind === 'nullify' ? undefined : last.digest, signer: 2, signature: signature(3) },
    } as const,
  ]),
]
const records = blocks.map((block, i) => ({
  block,
  certificate: i % 2 === 0 ? certificate('finalize', block.round, block) : undefined,
}))
const tip = {
  epoch: 0,
  height: 4,
  digest: last.digest,
  certificate: certificate('finalize', last.round, last),
  closing: [],
}

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

/** Parses in pieces, cut by what the input itself holds: any split of the bytes is the same input. */
function pieces(input: Uint8Array): readonly Buffer[] {
  const bytes = Buffer.from(input)
  const cut: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + (((bytes[at] as number) * 7 + at) % (bytes.length > 2_000 ? 500 : 24))
    cut.push(bytes.subarray(at, at + size))
    at += size
  }
  return cut
}

const frames: readonly Frame[] = [
  { kind: 'hello', channel: 'gossip', id: 0, payload: bytesOf(JSON.stringify({ protocol: 1, ring, id: 'n1' })) },
  { kind: 'message', channel: 'consensus', id: 0, payload: encodeMessage(messages[3] as Message) },
  { kind: 'request', channel: 'sync', id: 77, payload: encodeRequest({ kind: 'status', tip }) },
  { kind: 'answer', channel: 'sync', id: 77, payload: encodeStatus(tip) },
  { kind: 'gossip', channel: 'gossip', id: 0, payload: txs[0] as Uint8Array },
  { kind: 'ping', channel: 'gossip', id: 5, payload: new Uint8Array(0) },
]

const framing: Decoder = {
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

const hello: Decoder = {
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
const x509: Decoder = {
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

const logRecord: Decoder = {
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

const JSON_TOKENS = tokens(
  'null',
  'true',
  '1e999',
  '"\\ud800"',
  '\\u0000',
  '"__proto__":{}',
  '"constructor":1',
  '{}',
  '[]',
  '""',
  '  ',
  '\\',
  '"',
)

const transaction: Decoder = {
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

const check: Decoder = {
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

const genesisDocument: Decoder = {
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

const whole = (pieces: Iterable<Uint8Array>): Uint8Array => new Uint8Array(Buffer.concat([...pieces]))
const executed = application.execute(application.initial(), txs.slice(0, 4), { height: 1, timestampMs: NOW + 1, proposer: 'n1' })
const snapshots = [application.initial(), ...(executed.ok ? [executed.state] : [])].map((state) =>
  whole(application.snapshot(state)),
)
const snapshot: Decoder = {
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

const policyDocument: Decoder = {
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

const base64url: Decoder = {
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

const address: Decoder = {
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

/** Whether an object of the text names a key twice, by a reading of its own: a parser that hands out every key it meets. */
function repeatsKey(text: string): boolean {
  const stack: (Set<string> | undefined)[] = []
  const structure = /"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,]+/gs
  const parts = text.match(structure) ?? []
  for (const [at, part] of parts.entries()) {
    if (part === '{') stack.push(new Set())
    else if (part === '[') stack.push(undefined)
    else if (part === '}' || part === ']') stack.pop()
    else if (part.startsWith('"') && parts[at + 1] === ':') {
      const keys = stack.at(-1)
      const key = JSON.parse(part) as string
      if (keys?.has(key)) return true
      keys?.add(key)
    }
  }
  return false
}

const strictJson: Decoder = {
  name: 'identity: strict JSON',
  weight: 2,
  samples: [
    bytesOf('{"alg":"EdDSA","kid":"ada","typ":"JWT"}'),
    bytesOf('{"iss":"ada","aud":["a","b"],"exp":1800000100,"iat":1800000000,"deep":{"a":[{"b":{"c":null}}],"d":"\\u0041"}}'),
    bytesOf('{ "a" : 1 , "b" : { "a" : 2 } }'),
    bytesOf(`{"a"${' '.repeat(70)}:1}`),
  ],
  tokens: [...JSON_TOKENS, ...tokens('"a":1,', '"\\u0061":2,', ' '.repeat(70), '"kid":"b",', ',')],
  bytesMax: 8 * KIB,
  tries: (input) => {
    const text = textOf(input)
    const value = parseStrictObject(text)
    must(value === undefined || !repeatsKey(text), 'a key that occurs twice is taken')
    return value !== undefined
  },
  isDeclared: never,
}

const encodePart = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
function jws(header: object, claims: object): Uint8Array {
  const signed = `${encodePart(header)}.${encodePart(claims)}`
  return bytesOf(`${signed}.${sign(null, Buffer.from(signed), operatorKey).toString('base64url')}`)
}
const nowS = NOW / 1_000
const operatorTokens = [jws({ alg: 'EdDSA', kid: 'ada' }, { iss: 'ada', aud: ring, iat: nowS, exp: nowS + 240 })]
const operatorToken: Decoder = {
  name: 'identity: operator token',
  weight: 1,
  samples: operatorTokens,
  tokens: tokens('.', 'eyJhbGciOiJub25lIn0', '=', '..', encodePart({ alg: 'none' })),
  bytesMax: 4 * KIB,
  tries: (input) => {
    const verdict = verifyOperatorToken(latin1(input), { ring, operators: genesis.operators, nowMs: NOW + 1_000 })
    must(!verdict.ok || operatorTokens.some((token) => same(token, input)), 'a token that nobody signed is taken')
    return verdict.ok
  },
  isDeclared: never,
}

const issuer = 'https://issuer.example'
const bearerTokens = [
  jws({ alg: 'EdDSA', kid: 'k1' }, { iss: issuer, aud: 'app', sub: 'ada', jti: 'j1', iat: nowS, exp: nowS + 300 }),
  jws({ alg: 'EdDSA', kid: 'k1', typ: 'at+jwt' }, { iss: issuer, aud: ['app', 'b'], sub: 'bo', exp: nowS + 300, nbf: nowS }),
]
const newVerifier = () =>
  createTokenVerifier({
    issuers: [
      {
        issuer,
        audience: 'app',
        algorithms: ['EdDSA'],
        jwks: { keys: [{ kty: 'OKP', crv: 'Ed25519', x: operatorJwk.x, kid: 'k1', alg: 'EdDSA' }] },
      } as unknown as Parameters<typeof createTokenVerifier>[0]['issuers'][number],
    ],
  })
const verifier = newVerifier()
const bearer: Decoder = {
  name: 'identity: bearer token',
  weight: 0.5,
  samples: bearerTokens,
  tokens: operatorToken.tokens,
  bytesMax: 10 * KIB,
  tries: async (input) => {
    const header = latin1(input)
    const read = bearerToken([['Authorization', `Bearer ${header}`]])
    if (read.kind !== 'token') return false
    const verdict = await verifier.verify(read.token, NOW + 1_000)
    must(!verdict.ok || bearerTokens.some((token) => latin1(token) === read.token), 'a token that nobody signed is taken')
    return verdict.ok
  },
  isDeclared: never,
}

const HTTP_TOKENS = tokens(
  '\r\n',
  '\n',
  '\r',
  '\0',
  ':',
  ' ',
  '\t',
  'Host: a\r\n',
  'Content-Length: 5\r\n',
  'Content-Length: +5\r\n',
  'Transfer-Encoding: chunked\r\n',
  'Transfer-Encoding: xchunked\r\n',
  'Connection: host\r\n',
  'Expect: 100-continue\r\n',
  'HTTP/1.0',
  'HTTP/2.0',
  '..',
  '%2e',
  '%00',
  '//',
  '\\',
  '#',
  '?',
  'http://a/',
  '*',
  'Upgrade: websocket\r\n',
  '0\r\n\r\n',
  '5;a=b\r\n',
  'fffffffffffff\r\n',
  '\r\n ',
)
const requests = [
  'GET /a/b?c=d HTTP/1.1\r\nHost: app.example:8080\r\nAccept: application/json\r\nConnection: keep-alive\r\nX-Forwarded-For: 203.0.113.7, 10.0.0.1:80\r\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\ntracestate: a=b,c=d\r\n\r\n',
  'POST http://app.example/x;p=1/%2e%2e/y HTTP/1.1\r\nHost: app.example\r\nContent-Length: 5\r\nContent-Type: application/json\r\nTE: trailers\r\nExpect: 100-continue\r\n\r\n',
  'GET /chat HTTP/1.1\r\nHost: [2001:db8::1]:80\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
  'PUT / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n',
].map(bytesOf)
const requestHead: Decoder = {
  name: 'proxy: request head',
  weight: 4,
  samples: requests,
  tokens: HTTP_TOKENS,
  bytesMax: 16 * KIB,
  tries: (input) => {
    const [line = '', ...fields] = latin1(input).split('\r\n')
    const [method = '', url = '', version = ''] = line.split(' ')
    const raw: string[] = []
    for (const field of fields) {
      const colon = field.indexOf(':')
      if (colon >= 0) raw.push(field.slice(0, colon), field.slice(colon + 1).trim())
    }
    const head = parseRequestHead(method, url, version.replace('HTTP/', ''), raw)
    if ('refused' in head) return false
    sourceOf('10.0.0.1', head.forwardedFor, (text) => text.startsWith('10.'))
    parseTraceparent(head.traceparent, head.tracestate)
    connectionTokens(raw.join(','))
    readingsOf(head.target)
    must(head.path.startsWith('/') || head.path === '*', `the path ${head.path}`)
    must(!/[\r\n\0]/.test(head.target + head.authority), 'a line break in what is sent on')
    return true
  },
  isDeclared: never,
}

const responses = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=y\r\n0123456789\r\n0\r\nTrailer: a\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
  'HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nuntil the end',
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nrest',
].map(bytesOf)

/** What came of a response, in one text: heads, body, trailers, problem. */
function readResponse(parts: readonly Buffer[], upgradeAsked: boolean): { readonly story: string; readonly good: boolean } {
  const story: string[] = []
  const body: Buffer[] = []
  const parser = new ResponseParser(8 * KIB, {
    onInterim: (head) => story.push(`interim ${JSON.stringify(head)}`),
    onHead: (head) => story.push(`head ${JSON.stringify(head)}`),
    onBody: (bytes) => body.push(Buffer.from(bytes)),
    onEnd: (trailers) => story.push(`end ${trailers.join('|')}`),
    onUpgrade: (head) => story.push(`upgrade ${JSON.stringify(head)}`),
  })
  parser.begin('GET', upgradeAsked)
  let problem: string | undefined
  for (const part of parts) {
    problem = parser.push(part)
    if (problem !== undefined) break
  }
  problem ??= story.some((line) => line.startsWith('upgrade')) ? undefined : parser.close()
  story.push(`body ${Buffer.concat(body).toString('latin1')}`)
  return { story: story.join('\n'), good: problem === undefined }
}
const response: Decoder = {
  name: 'proxy: response parser',
  weight: 4,
  samples: responses,
  tokens: HTTP_TOKENS,
  bytesMax: 32 * KIB,
  tries: (input) => {
    const whole = readResponse([Buffer.from(input)], true)
    const split = readResponse(pieces(input), true)
    must(whole.good === split.good, 'another split of the bytes is another answer')
    must(!whole.good || whole.story === split.story, 'another split of the bytes gives another response')
    return whole.good
  },
  isDeclared: never,
}

const TYPES = [
  'application/x-www-form-urlencoded',
  'multipart/form-data; boundary=XX',
  'application/json',
  'application/xml',
  'text/plain',
  '',
]
const form = bytesOf('a=1&b=%41%20c&c=+&d[]=e&%u0041=x')
const multipart = bytesOf(
  '--XX\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--XX\r\nContent-Disposition: form-data; name="f"; filename="x.php"\r\nContent-Type: text/plain\r\n\r\n<?php\r\n--XX--\r\n',
)
const body: Decoder = {
  name: 'waf: request bodies',
  weight: 2,
  samples: [
    form,
    multipart,
    bytesOf('{"a":{"b":[1,2,{"c":"d"}]},"e":null}'),
    bytesOf('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><a x="y"><b>&b;</b><![CDATA[d]]><!-- e --></a>'),
    bytesOf('session=abc; other="d e"; f=g'),
  ],
  tokens: tokens(
    '%',
    '%u',
    '&',
    '=',
    ';',
    '--XX',
    '--XX--',
    '\r\n',
    'name="',
    "filename*=UTF-8''",
    '<!ENTITY',
    '<![CDATA[',
    ']]>',
    '{"',
    '[',
    '\\u',
    '\0',
    '&#x',
  ),
  bytesMax: 128 * KIB,
  tries: (input) => {
    const text = bytesToText(Buffer.from(input))
    const cut = input.length % 2 === 0
    let good = false
    for (const type of TYPES) good = parseRequestBody(text, type, cut).error === undefined && good
    requestFields(input, TYPES[input.length % TYPES.length] as string)
    parseCookies(text)
    return parseRequestBody(text, TYPES[0] as string, cut).error === undefined || good
  },
  isDeclared: never,
}

const target: Decoder = {
  name: 'guard: routing path',
  weight: 4,
  samples: ['/a/b/../c', '/a%2fb/%2e%2e/c;x=1?q=1', '/%C3%A9', '//a///b/./', 'http://h/a', '*', '/a\\b'].map(bytesOf),
  tokens: tokens('%2e', '%2f', '..', '.', '/', ';', '%', '%25', '\\', '%C3', '?', '#'),
  bytesMax: 8 * KIB,
  tries: (input) => {
    const text = latin1(input)
    const routing = normalizeRoutingPath(text)
    readingsOf(text)
    if (routing === undefined) return false
    must(!/\/\.\.?(?:\/|$)|\/\//.test(routing.path), `dot segments or empty ones are left: ${JSON.stringify(routing.path)}`)
    return true
  },
  isDeclared: never,
}

const trace: Decoder = {
  name: 'telemetry: trace context, request id',
  weight: 4,
  samples: [
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01',
    'a=b,c@d=e f',
    'n1-01hzy3q9m8abcdefghjkmnpqrs',
    requestId('n2', NOW),
  ].map(bytesOf),
  tokens: tokens('-', ',', '=', '@', '00', 'ff', ' ', '\t'),
  bytesMax: 2 * KIB,
  tries: (input) => {
    const text = latin1(input)
    const found = parseTraceparent(text, 'a=b')
    if (found !== undefined) {
      const again = parseTraceparent(formatTraceparent(found))
      must(again?.traceId === found.traceId && again.spanId === found.spanId, 'what it took is read otherwise once written')
    }
    const state = parseTracestate(text)
    must(state === undefined || parseTracestate(state) === state, 'the state it took is read otherwise once written')
    return found !== undefined || state !== undefined || nodeOfRequestId(text) !== undefined
  },
  isDeclared: never,
}

const contexts: Decoder = {
  name: 'client: operator context',
  weight: 1,
  samples: [
    bytesOf(
      JSON.stringify({
        format: 'ringwall/context/1',
        ring,
        name: 'ada',
        privateKey: { kty: 'OKP', crv: 'Ed25519', d: operatorJwk.d, x: operatorJwk.x },
        nodes: [{ id: 'n1', url: 'http://127.0.0.1:9081' }],
      }),
    ),
  ],
  tokens: JSON_TOKENS,
  bytesMax: 4 * KIB,
  tries: (input) => parseContext(textOf(input)).nodes.length > 0,
  isDeclared: (error) => error instanceof ContextInvalid,
}

const eventStream: Decoder = {
  name: 'client: event stream',
  weight: 1,
  samples: [bytesOf('event: block\ndata: {"height":1}\n\n: ping\r\n\r\ndata: a\ndata: b\n\n')],
  tokens: tokens('\n', '\r', '\r\n', '\n\n', 'data:', 'event:', ':', '\ufeff', 'é'),
  bytesMax: 16 * KIB,
  tries: (input) => {
    const whole = new EventStreamParser()
    const split = new EventStreamParser()
    const found = whole.push(input)
    const again = pieces(input).flatMap((piece) => split.push(piece))
    must(JSON.stringify(found) === JSON.stringify(again), 'another split of the bytes gives other events')
    return found.length > 0
  },
  isDeclared: (error) => error instanceof Error && error.message.startsWith('an event is longer'),
}

const nodeConfig: Decoder = {
  name: 'node: configuration, addresses',
  weight: 0.15,
  samples: [
    bytesOf(
      'id: n1\ndata: ./data\ngenesis: ./genesis.json\nkey: ./n1.pem\nlisten:\n  traffic: 127.0.0.1:8081\n  admin: 127.0.0.1:9081\n  fabric: 127.0.0.1:7081\n',
    ),
    bytesOf('127.0.0.1:8080'),
    bytesOf('[::1]:8080'),
  ],
  tokens: policyDocument.tokens,
  bytesMax: 8 * KIB,
  msPerKiB: 60,
  tries: (input) => {
    const text = textOf(input)
    try {
      const found = parseHostPort(text, 'fuzz')
      must(parseHostPort(formatHostPort(found), 'fuzz').port === found.port, 'another address once written')
      return true
    } catch (error) {
      if (!(error instanceof StartError)) throw error
    }
    return parseNodeConfig(text, '/etc/ringwall/node.yaml').id !== ''
  },
  isDeclared: (error) => error instanceof StartError,
}

const rules: Decoder = {
  name: 'waf: rules',
  weight: 0.1,
  samples: [
    bytesOf('SecRule ARGS "@rx (?i)union\\s+select" "id:1,phase:2,deny,t:none,t:urlDecodeUni,msg:\'x\',severity:CRITICAL"\n'),
    bytesOf(
      'SecAction "id:2,phase:1,nolog,pass,setvar:tx.a=1"\nSecRule TX:a "@eq 1" \\\n  "id:3,phase:1,pass,chain"\nSecRule REQUEST_URI "@pm a b c" "t:lowercase"\n',
    ),
    bytesOf(
      'SecRule REQUEST_HEADERS:User-Agent|!ARGS:x "@within %{tx.a}" "id:4,phase:1,block,ctl:ruleRemoveById=1-3"\n# c\nSecMarker END\n',
    ),
  ],
  tokens: tokens(
    '"',
    "'",
    '\\',
    ',',
    ':',
    '|',
    '!',
    '&',
    '@rx ',
    '(?',
    '[',
    '(a+)+',
    '{1000}',
    'id:',
    't:',
    'chain',
    'SecRule ',
    '%{',
    '}',
    '\n',
    '\\\n',
  ),
  bytesMax: 8 * KIB,
  msPerKiB: 60,
  tries: (input) => compileRules([{ file: 'fuzz.conf', text: textOf(input) }], { paranoia: 4 }).ruleCount >= 0,
  isDeclared: (error) => error instanceof RuleSyntaxError,
}

export const DECODERS: readonly Decoder[] = [
  binary('consensus: message', messages.map(encodeMessage), decodeMessage, encodeMessage, 10),
  binary('consensus: journal record', messages.map(encodeJournalRecord), decodeJournalRecord, encodeJournalRecord, 4),
  binary('consensus: block', blocks.map(encodeBlock), decodeBlock, encodeBlock),
  binary(
    'consensus: certificate',
    (['notarize', 'nullify', 'finalize'] as const).map((kind) => encodeCertificate(certificate(kind, 5, third))),
    decodeCertificate,
    encodeCertificate,
  ),
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
  logRecord,
  framing,
  hello,
  x509,
  transaction,
  check,
  genesisDocument,
  snapshot,
  policyDocument,
  base64url,
  address,
  strictJson,
  operatorToken,
  bearer,
  requestHead,
  response,
  body,
  target,
  trace,
  contexts,
  eventStream,
  nodeConfig,
  rules,
  ...LISTENER_DECODERS,
  ...DETECTION_DECODERS,
]

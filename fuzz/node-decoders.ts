/** Decoders of what a node and its clients read: trace context, contexts, streams of events, the configuration. */

import { ContextInvalid, parseContext } from '@ringwall/client'
import { EventStreamParser } from '../packages/client/src/event-stream.ts'
import { formatHostPort, parseHostPort } from '../packages/node/src/address.ts'
import { parseNodeConfig } from '../packages/node/src/config.ts'
import { StartError } from '../packages/node/src/errors.ts'
import { nodeOfRequestId, requestId } from '../packages/telemetry/src/request-id.ts'
import { formatTraceparent, parseTraceparent, parseTracestate } from '../packages/telemetry/src/trace-context.ts'
import { bytesOf, type Decoder, JSON_TOKENS, KIB, latin1, never, pieces, textOf, tokens } from './decoder.ts'
import { must } from './must.ts'
import { policyDocument } from './ring-decoders.ts'
import { NOW, operatorJwk, ring } from './samples.ts'

export const trace: Decoder = {
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

export const contexts: Decoder = {
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

export const eventStream: Decoder = {
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

export const nodeConfig: Decoder = {
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

/** Decoders of what comes before a request, and of what nodes say of limits that they share. */
import { decodeLimitMessages, encodeLimitMessages } from '../packages/node/src/limit-messages.ts'
import { HELLO_BYTES_MAX, readClientHello } from '../packages/proxy/src/client-hello.ts'
import { encodeField, encodeStatus, HpackDecoder } from '../packages/proxy/src/hpack.ts'
import { readPreamble } from '../packages/proxy/src/proxy-protocol.ts'
import { extension, helloBytes, records, uint16s, vector } from '../packages/proxy/src/test-hello.ts'
import type { Decoder } from './decoder.ts'
import { must } from './must.ts'

const never = (): boolean => false

const name = Buffer.from('shop.example')
const serverName = extension(0, vector(2, Buffer.concat([Buffer.from([0]), vector(2, name)])))

const clientHello: Decoder = {
  name: 'proxy: ClientHello',
  weight: 4,
  samples: [
    records(helloBytes({ extensions: [serverName, extension(43, vector(1, uint16s([0x0304, 0x0303])))] })),
    records(helloBytes({ extensions: [extension(16, vector(2, vector(1, Buffer.from('h2'))))] }), 40),
  ],
  tokens: [Buffer.from([22, 3, 1]), serverName, uint16s([0x0a0a]), Buffer.from([1, 0, 0])],
  bytesMax: 2 * HELLO_BYTES_MAX,
  tries: (input) => {
    const bytes = Buffer.from(input)
    const { kind } = readClientHello(bytes)
    must(kind !== 'more' || bytes.length < 2 * HELLO_BYTES_MAX, 'it asks for more without an end')
    return kind === 'hello'
  },
  isDeclared: never,
}

const preamble: Decoder = {
  name: 'proxy: PROXY header',
  weight: 4,
  samples: [
    Buffer.from('PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\nGET'),
    Buffer.from('PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n'),
    Buffer.from('PROXY UNKNOWN\r\n'),
    Buffer.from('0d0a0d0a000d0a515549540a2111000cc0000201c000020204d201bb', 'hex'),
    Buffer.from('0d0a0d0a000d0a515549540a20000000', 'hex'),
  ],
  tokens: [Buffer.from('PROXY '), Buffer.from('\r\n'), Buffer.from(' 65536'), Buffer.from([0x21, 0x21, 0, 36])],
  bytesMax: 4_096,
  tries: (input) => {
    const bytes = Buffer.from(input)
    const found = readPreamble(bytes)
    if (found.kind !== 'header') return false
    must(found.bytes <= bytes.length, 'it is longer than what there is')
    const alone = readPreamble(bytes.subarray(0, found.bytes))
    must(alone.kind === 'header' && alone.source === found.source, 'what follows it changes it')
    return true
  },
  isDeclared: never,
}

const BOUNDS = { bytesMax: 32_768, fieldsMax: 100 }

const hpack: Decoder = {
  name: 'proxy: HPACK',
  weight: 6,
  samples: [
    // RFC 7541, appendices C.3.1 and C.4.1.
    Buffer.from('828684410f7777772e6578616d706c652e636f6d', 'hex'),
    Buffer.from('828684418cf1e3c2e5f23a6ba0ab90f4ff', 'hex'),
    Buffer.from(encodeStatus(200) + encodeField('x-request-id', 'n1-0123'), 'latin1'),
    Buffer.from('3fe11f82', 'hex'),
  ],
  tokens: [
    Buffer.from([0x40]),
    Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]),
    Buffer.from([0x20]),
    Buffer.from([0x3f, 0xe1, 0x1f]),
  ],
  bytesMax: 16_384,
  tries: (input) => {
    const decoder = new HpackDecoder()
    let taken = false
    // One table for all blocks of a connection.
    for (let block = 0; block < 3; block += 1) {
      const list = decoder.decode(Buffer.from(input), BOUNDS)
      if (list === undefined) return false
      taken = true
      must(list.fields.length <= 2 * BOUNDS.fieldsMax, 'more fields than the bound')
      const bytes = list.fields.reduce((sum, text) => sum + text.length, 0)
      must(bytes <= BOUNDS.bytesMax, 'a longer list than the bound')
    }
    return taken
  },
  isDeclared: never,
}

const limitMessages: Decoder = {
  name: 'node: shared limits',
  weight: 4,
  samples: [
    encodeLimitMessages([
      { kind: 'ask', key: 'shop\nlogins\n192.0.2.1', want: 5, spent: 1, back: 0 },
      { kind: 'grant', key: 'shop/login\nx\ny', granted: 5, waitMs: 0 },
    ]),
    encodeLimitMessages([
      { kind: 'stranger', key: 'k' },
      { kind: 'recall', key: 'k' },
      { kind: 'reach', nodes: ['n1', 'n2'] },
    ]),
  ],
  tokens: ['["a"', ',1e9', '[]', '-1', '"\\u0000"', '[[['].map((text) => Buffer.from(text)),
  bytesMax: 65_536,
  tries: (input) => {
    const messages = decodeLimitMessages(input)
    if (messages === undefined) return false
    const again = decodeLimitMessages(encodeLimitMessages(messages))
    must(JSON.stringify(again) === JSON.stringify(messages), 'what it took is read otherwise once written')
    return true
  },
  isDeclared: never,
}

export const LISTENER_DECODERS: readonly Decoder[] = [clientHello, preamble, hpack, limitMessages]

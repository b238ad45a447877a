/** Vectors: the lists and results that FoxIO's description of JA4 gives as its example. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'node:tls'
import fc from 'fast-check'
import { readClientHello } from './client-hello.ts'
import { ja4 } from './ja4.ts'
import { pairFiles, temporaryFolder } from './test-certificates.ts'
import { extension, helloBytes, records, uint16s, vector } from './test-hello.ts'
import { testProxy, until, upstreamServer } from './test-ring.ts'

const list = (text: string): number[] => text.split(',').map((value) => Number.parseInt(value, 16))
const CIPHERS = list('1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035')
const EXTENSIONS = list('001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015')
const SIGNATURES = list('0403,0804,0401,0503,0805,0501,0806,0601')
const GREASE = [0x0a0a, 0x1a1a, 0x2a2a, 0xdada, 0xfafa]

interface Offer {
  readonly version?: number
  readonly ciphers?: readonly number[]
  readonly extensions?: readonly number[]
  readonly signatures?: readonly number[]
  readonly versions?: readonly number[]
  readonly alpn?: readonly Buffer[]
}

function fingerprint(offer: Offer): string {
  const bodies: Record<number, Buffer> = {
    0: vector(2, Buffer.concat([Buffer.from([0]), vector(2, Buffer.from('a.example'))])),
    13: vector(2, uint16s(offer.signatures ?? SIGNATURES)),
    16: vector(2, Buffer.concat((offer.alpn ?? [Buffer.from('h2')]).map((name) => vector(1, name)))),
    43: vector(1, uint16s(offer.versions ?? [0x0304, 0x0303])),
  }
  const extensions = (offer.extensions ?? EXTENSIONS).map((type) => extension(type, bodies[type] ?? Buffer.alloc(0)))
  const ciphers = uint16s(offer.ciphers ?? CIPHERS)
  const reading = readClientHello(records(helloBytes({ version: offer.version ?? 0x0303, ciphers, extensions })))
  assert.ok(reading.kind === 'hello')
  return ja4(reading.hello)
}

const EXAMPLE = 't13d1516h2_8daaf6152771_e5627efa2ab1'
const without = (...types: number[]): number[] => EXTENSIONS.filter((type) => !types.includes(type))

test('the published example', () => assert.equal(fingerprint({}), EXAMPLE))

test('GREASE is ignored wherever it stands, and order where the description sorts', () => {
  assert.equal(
    fingerprint({
      ciphers: [GREASE[0]!, ...CIPHERS.toReversed()],
      extensions: [GREASE[1]!, ...EXTENSIONS.toReversed(), GREASE[2]!],
      versions: [GREASE[3]!, 0x0303, 0x0304],
      signatures: [GREASE[4]!, ...SIGNATURES],
    }),
    EXAMPLE,
  )
  assert.notEqual(fingerprint({ signatures: SIGNATURES.toReversed() }), EXAMPLE)
})

test('without signature algorithms the published hash of the extensions alone', () => {
  assert.equal(fingerprint({ signatures: [] }), 't13d1516h2_8daaf6152771_6d807ffa2a79')
})

const first: readonly [string, Offer, string][] = [
  ['no host named', { extensions: without(0) }, 't13i1515h2'],
  ['no protocols', { extensions: without(16) }, 't13d151500'],
  ['no extensions', { extensions: [] }, 't12i150000'],
  ['TLS 1.2 by the message itself', { extensions: without(43) }, 't12d1515h2'],
  ['TLS 1.1', { extensions: without(43), version: 0x0302 }, 't11d1515h2'],
  ['SSL 3.0', { extensions: without(43), version: 0x0300 }, 'ts3d1515h2'],
  ['an unknown version', { versions: [0x7f1c] }, 't00d1516h2'],
  ['a hundred ciphers', { ciphers: Array.from({ length: 100 }, (_, at) => 0xc000 + at) }, 't13d9916h2'],
  ['signalling values, which count', { ciphers: [0x00ff, 0x5600] }, 't13d0216h2'],
  ['GREASE alone', { ciphers: [0x0a0a] }, 't13d0016h2'],
]

for (const [name, offer, begins] of first)
  test(`the first part: ${name}`, () => assert.equal(fingerprint(offer).slice(0, 10), begins))

test('empty lists are twelve zeros', () => {
  assert.equal(fingerprint({ ciphers: [0x0a0a], extensions: [0x0a0a, 0, 16] }).slice(11), '000000000000_000000000000')
})

test('protocols by their ends, as letters and digits or in hexadecimal: the published cases', () => {
  const ends = (bytes: number[]): string => fingerprint({ alpn: [Buffer.from(bytes)] }).slice(8, 10)
  const cases: readonly [number[], string][] = [
    [[...Buffer.from('http/1.1')], 'h1'],
    [[0x68], 'hh'],
    [[0xab], 'ab'],
    [[0x20], '20'],
    [[0xab, 0xcd], 'ad'],
    [[0x20, 0x61], '21'],
    [[0x30, 0xab], '3b'],
    [[0x61, 0x20], '60'],
    [[0x30, 0x31, 0xab, 0xcd], '3d'],
    [[0x30, 0xab, 0xcd, 0x31], '01'],
  ]
  for (const [bytes, expected] of cases) assert.equal(ends(bytes), expected)
})

test('property: whatever is offered, the fingerprint has its shape', () => {
  const numbers = fc.uniqueArray(fc.nat(0xffff), { minLength: 1, maxLength: 80 })
  fc.assert(
    fc.property(
      numbers,
      numbers,
      fc.array(fc.nat(0xffff), { maxLength: 20 }),
      fc.uint8Array({ minLength: 1, maxLength: 9 }),
      (ciphers, extensions, signatures, alpn) => {
        assert.match(
          fingerprint({ ciphers, extensions, signatures, alpn: [Buffer.from(alpn)] }),
          /^t(?:1[0-3]|s[23]|00)[di][0-9]{4}[0-9A-Za-z]{2}_[0-9a-f]{12}_[0-9a-f]{12}$/,
        )
      },
    ),
  )
})

test('guard and decision record know the fingerprint: the same for one client, another for another, none without TLS', async (t) => {
  const upstream = await upstreamServer((_, response) => response.end())
  t.after(() => upstream.close())
  const tls = {
    certificates: [await pairFiles(temporaryFolder(t), ['localhost'])],
    unknownNames: 'first',
    minVersion: 'TLSv1.2',
    hsts: undefined,
  } as const
  const {
    proxy,
    ports,
    seen,
    records: decisions,
  } = await testProxy(
    { app: { hosts: ['*'], upstreams: [{ url: upstream.url }] } },
    {
      listeners: [
        { host: '127.0.0.1', port: 0, tls },
        { host: '127.0.0.1', port: 0 },
      ],
    },
  )
  t.after(() => proxy.stop(0))
  const ask = (options: object): void => {
    const socket = connect({ port: ports[0]!, host: '127.0.0.1', rejectUnauthorized: false, ...options })
    socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    socket.resume()
  }
  for (const [at, options] of [
    { servername: 'a.test' },
    { servername: 'b.test' },
    { ciphers: 'TLS_AES_128_GCM_SHA256' },
  ].entries()) {
    ask(options)
    await until('the answer', () => decisions.length === at + 1)
  }
  await (await fetch(`http://127.0.0.1:${ports[1]}/`)).arrayBuffer()
  await until('the last', () => decisions.length === 4)
  const fingerprints = decisions.map((record) => record.ja4)
  assert.match(fingerprints[0]!, /^t13d[0-9]{4}00_/)
  assert.equal(fingerprints[1], fingerprints[0])
  assert.notEqual(fingerprints[2], fingerprints[0])
  assert.equal(fingerprints[3], undefined)
  assert.deepEqual(
    seen.map((request) => request.ja4),
    fingerprints,
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BODY, END, HEAD, MORE, REFUSED, RequestParser } from './request-parser.ts'

const BOUNDS = { lineBytesMax: 128, bytesMax: 512, fieldsMax: 8 }

/** What a parser says to bytes given in these pieces, each overwritten after it was read. */
function parse(pieces: readonly Buffer[]): string[] {
  const parser = new RequestParser(BOUNDS)
  const said: string[] = []
  let body = ''
  for (const piece of pieces) {
    const bytes = Buffer.from(piece)
    let at = 0
    for (;;) {
      if (parser.done) parser.next()
      const event = parser.read(bytes, at)
      at = parser.at
      if (event === MORE) break
      if (event === BODY) body += bytes.toString('latin1', parser.from, parser.to)
      else if (event === HEAD) {
        const { method, url, httpVersion, rawHeaders, head, section } = parser.request!
        const lines = section?.starts.slice(1).map((end, index) => section.text.slice(section.starts[index], end))
        said.push(`${method} ${url} ${httpVersion} ${JSON.stringify(rawHeaders)} ${JSON.stringify(lines)}`)
        if ('refused' in head) {
          said.push(`refused ${head.status}`)
          return said
        }
      } else if (event === END) {
        said.push(`body ${body}`)
        body = ''
      } else {
        assert.equal(event, REFUSED)
        said.push(`part ${body}`, `refused ${parser.problem!.status} ${parser.problem!.refused}`)
        return said
      }
    }
    bytes.fill(0xff)
  }
  if (body !== '') said.push(`part ${body}`)
  return said
}

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...[...cuts].filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

const TEXTS = [
  'GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n',
  '\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello\r\nGET /2 HTTP/1.1\r\nHost: b\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\nyou\r\n0\r\nT: 1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n',
  `GET / HTTP/1.1\r\nHost: a\r\nX: ${'y'.repeat(600)}\r\n\r\n`,
  `GET /${'y'.repeat(200)} HTTP/1.1\r\nHost: a\r\n\r\n`,
  `GET / HTTP/1.1\r\nHost: a\r\n${'x: y\r\n'.repeat(9)}\r\n`,
  'GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: z\r\n\r\n',
  `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;${'x'.repeat(300)}\r\nhello\r\n0\r\n\r\n`,
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX0\r\n\r\n',
  `POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: ${'x'.repeat(600)}\r\n\r\n`,
  'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nT: x\ny\r\n\r\n',
  `GET / HTTP/1.1\r\nHost: a\r\nX: \x01${'y'.repeat(600)}`,
  '\x16\x03\x01\x02\x00',
]

test('property: cut anywhere, the same bytes say the same, errors included', () => {
  fc.assert(
    fc.property(fc.constantFrom(...TEXTS), fc.array(fc.nat(700)), (text, cuts) => {
      const bytes = Buffer.from(text, 'latin1')
      assert.deepEqual(parse(split(bytes, cuts)), parse([bytes]))
    }),
    { numRuns: 500 },
  )
  for (const text of TEXTS) {
    const bytes = Buffer.from(text, 'latin1')
    assert.deepEqual(parse(split(bytes, [...bytes.keys()])), parse([bytes]), text)
  }
})

test('property: cut anywhere, bytes changed anywhere say the same', () => {
  const change = fc.tuple(fc.nat(200), fc.constantFrom('\r', '\n', '\r\n', ' ', '\t', '\0', ':', 'x', '\x80', '0', ';', ''))
  fc.assert(
    fc.property(fc.constantFrom(...TEXTS), fc.array(change, { maxLength: 3 }), fc.array(fc.nat(700)), (text, changes, cuts) => {
      let changed = text
      for (const [at, by] of changes) changed = changed.slice(0, at) + by + changed.slice(at + 1)
      const bytes = Buffer.from(changed, 'latin1')
      assert.deepEqual(parse(split(bytes, cuts)), parse([bytes]))
    }),
    { numRuns: 1_000 },
  )
})

test('property: no bytes make the parser throw, and it says nothing after a refusal', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (pieces) => {
      parse([Buffer.from('GET / HTTP/1.1\r\nHost: a\r\n'), ...pieces.map((piece) => Buffer.from(piece))])
    }),
  )
  const parser = new RequestParser(BOUNDS)
  const bytes = Buffer.from('nonsense\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.equal(parser.read(bytes, 0), REFUSED)
  assert.equal(parser.read(bytes, parser.at), REFUSED)
})

test('a head is refused at its bound, not after: 431 for the section, 414 for the line', () => {
  for (const [text, status] of [
    [`GET / HTTP/1.1\r\nX: ${'y'.repeat(512)}`, 431],
    [`GET /${'y'.repeat(128)}`, 414],
  ] as const) {
    const parser = new RequestParser(BOUNDS)
    let event = MORE as number
    for (const byte of Buffer.from(text)) {
      event = parser.read(Buffer.from([byte]), 0)
      if (event === REFUSED) break
    }
    assert.equal(event, REFUSED)
    assert.equal(parser.problem!.status, status)
  }
})

test('what came before is held to the bounds of whoever reads it now', () => {
  const head = Buffer.from(`GET / HTTP/1.1\r\nHost: known\r\n${'a: b\r\n'.repeat(5)}\r\n`)
  for (let time = 0; time < 3; time += 1) assert.equal(new RequestParser(BOUNDS).read(Buffer.from(head), 0), HEAD)
  for (const narrow of [
    { ...BOUNDS, fieldsMax: 5 },
    { ...BOUNDS, bytesMax: head.length - 1 },
  ]) {
    const parser = new RequestParser(narrow)
    assert.equal(parser.read(Buffer.from(head), 0), REFUSED)
    assert.equal(parser.problem!.status, 431)
  }
})

test('headers that came before mean what they mean under the request line of now', () => {
  const said = (line: string, headers: string): string => {
    const parser = new RequestParser(BOUNDS)
    assert.equal(parser.read(Buffer.from(`${line}\r\n${headers}\r\n`), 0), HEAD)
    const { head } = parser.request!
    return 'refused' in head ? `${head.status} ${head.refused}` : `${head.method} ${head.path} ${head.keepAlive} ${head.upgrade}`
  }
  const lines = [
    'GET /one HTTP/1.1',
    'GET /two HTTP/1.0',
    'POST / HTTP/1.1',
    'TRACE / HTTP/1.1',
    'GET /# HTTP/1.1',
    'GET http://b/ HTTP/1.1',
  ]
  for (const [headers, wanted] of [
    ['Host: plain\r\n', ['GET /one true false', 'GET /two false false', 'POST / true false']],
    [
      'Host: coded\r\nTransfer-Encoding: chunked\r\n',
      ['GET /one true false', '400 Transfer-Encoding in HTTP/1.0', 'POST / true false'],
    ],
    [
      'Host: up\r\nConnection: upgrade\r\nUpgrade: websocket\r\n',
      ['GET /one true true', '400 WebSocket upgrade without GET and HTTP/1.1', '400 WebSocket upgrade without GET and HTTP/1.1'],
    ],
    ['Host: two\r\nHost: two\r\n', ['400 two Host headers', '400 two Host headers', '400 two Host headers']],
  ] as const) {
    for (let time = 0; time < 3; time += 1) {
      const all = lines.map((line) => said(line, headers))
      assert.deepEqual(all.slice(0, 3), wanted)
      assert.equal(all[3], '405 method TRACE')
      assert.match(all[4]!, /^400 /)
      assert.match(all[5]!, /^400 /)
    }
  }
})

test('names and values are what stands between colon and line end, without blanks around', () => {
  assert.deepEqual(parse([Buffer.from('GET / HTTP/1.1\r\nHost:a\r\nX:\t y z \t\r\nY:\r\n\r\n')]), [
    'GET / 1.1 ["Host","a","X","y z","Y",""] undefined',
  ])
})

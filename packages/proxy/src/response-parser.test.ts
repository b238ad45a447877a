import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ResponseParser } from './response-parser.ts'

/** What a parser says to bytes given in these pieces. */
function parse(pieces: readonly Buffer[], options: { method?: string; close?: boolean; upgrade?: boolean } = {}) {
  const said: string[] = []
  let body = ''
  const parser = new ResponseParser(1_024, {
    onInterim: (head) => said.push(`interim ${head.status}`),
    onHead: (head) =>
      said.push(`head ${head.status} ${head.statusText} ${head.rawHeaders.join('|')} ${head.keepAlive} ${head.bodyBytes}`),
    onBody: (bytes) => {
      body += bytes.toString('latin1')
    },
    onEnd: (trailers) => said.push(`end ${trailers.join('|')}`),
    onUpgrade: (head, rest) => said.push(`upgrade ${head.status} ${rest}`),
  })
  parser.begin(options.method ?? 'GET', options.upgrade)
  for (const piece of pieces) {
    const problem = parser.push(piece)
    if (problem !== undefined) return { said, body, problem }
  }
  return { said, body, problem: options.close ? parser.close() : undefined }
}

const one = (text: string) => [Buffer.from(text, 'latin1')]
const OK = 'HTTP/1.1 200 OK\r\n'

test('lengths, chunks, trailers, close, interim responses and bodyless ones are framed by RFC 9112 section 6.3', () => {
  assert.deepEqual(parse(one(`${OK}Content-Length: 2\r\n\r\nab`)), {
    said: ['head 200 OK Content-Length|2 true 2', 'end '],
    body: 'ab',
    problem: undefined,
  })
  const chunked = parse(
    one(`HTTP/1.1 103 Early\r\n\r\n${OK}Transfer-Encoding: Chunked\r\n\r\n1;x=y\r\na\r\nA\r\n0123456789\r\n0\r\nx: 1\r\n\r\n`),
  )
  assert.deepEqual(chunked.said, ['interim 103', 'head 200 OK Transfer-Encoding|Chunked true undefined', 'end x|1'])
  assert.equal(chunked.body, 'a0123456789')
  assert.deepEqual(parse(one(`${OK}\r\nall`), { close: true }), {
    said: ['head 200 OK  false undefined', 'end '],
    body: 'all',
    problem: undefined,
  })
  assert.deepEqual(parse(one(`${OK}Content-Length: 5\r\n\r\n`), { method: 'HEAD' }).said.at(-1), 'end ')
  assert.deepEqual(parse(one('HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n')).said.at(-1), 'end ')
  assert.deepEqual(parse(one('HTTP/1.1 101 S\r\n\r\nrest'), { upgrade: true }).said, ['upgrade 101 rest'])
  assert.match(parse(one('HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n')).said[0]!, / false 0$/)
})

for (const [name, text, method] of [
  ['204 with a length', 'HTTP/1.1 204 None\r\nContent-Length: 6\r\n\r\n'],
  ['204 in chunks', 'HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['304 in chunks', 'HTTP/1.1 304 Same\r\nTransfer-Encoding: chunked\r\n\r\n'],
  ['204 with a length, to HEAD', 'HTTP/1.1 204 None\r\nContent-Length: 6\r\n\r\n', 'HEAD'],
  ['103 with a length', `HTTP/1.1 103 E\r\nContent-Length: 4\r\n\r\n${OK}Content-Length: 2\r\n\r\nab`],
  ['103 in chunks', `HTTP/1.1 103 E\r\nTransfer-Encoding: chunked\r\n\r\n${OK}Content-Length: 2\r\n\r\nab`],
  [
    'an odd interim response before a plain one',
    `HTTP/1.1 103 E\r\nContent-Length: 4\r\n\r\nHTTP/1.1 103 E\r\n\r\n${OK}Content-Length: 0\r\n\r\n`,
  ],
  ['chunks in HTTP/1.0', 'HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n'],
  ['one length twice', `${OK}Content-Length: 2\r\nContent-Length: 2\r\n\r\nab`],
  ['close beside keep-alive', `${OK}Connection: close\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab`],
  ['keep-alive beside close', `${OK}Connection: keep-alive\r\nConnection: Close\r\nContent-Length: 2\r\n\r\nab`],
] as const) {
  test(`after ${name} the connection is not kept, also the second time, when the head is known`, () => {
    for (let time = 0; time < 3; time++) {
      const { said, problem } = parse(one(text), { method: method ?? 'GET' })
      assert.equal(problem, undefined)
      const head = said.find((each) => each.startsWith('head'))!
      assert.match(head, / false (?:\d+|undefined)$/)
      assert.equal(said.at(-1), 'end ')
    }
  })
}

test('positive control: what says clearly where it ends is kept', () => {
  for (const [text, method] of [
    [`${OK}Content-Length: 2\r\n\r\nab`, 'GET'],
    [`${OK}Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n`, 'GET'],
    [`${OK}Content-Length: 2\r\n\r\n`, 'HEAD'],
    [`${OK}Transfer-Encoding: chunked\r\n\r\n`, 'HEAD'],
    ['HTTP/1.1 204 None\r\nContent-Length: 0\r\n\r\n', 'GET'],
    ['HTTP/1.1 304 Same\r\nContent-Length: 6\r\n\r\n', 'GET'],
    [`HTTP/1.1 103 E\r\n\r\n${OK}Content-Length: 0\r\n\r\n`, 'GET'],
    ['HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n', 'GET'],
  ] as const) {
    const { said } = parse(one(text), { method })
    assert.match(said.find((each) => each.startsWith('head'))!, / true (?:\d+|undefined)$/, text)
  }
})

for (const [name, text] of [
  ['no status line', 'hello\r\n\r\n'],
  ['an unknown version', 'HTTP/2.0 200 OK\r\n\r\n'],
  ['a status of four digits', 'HTTP/1.1 2000 OK\r\n\r\n'],
  ['a control character in the reason', 'HTTP/1.1 200 O\x01K\r\n\r\n'],
  ['a header without colon', `${OK}nonsense\r\n\r\n`],
  ['a space before the colon', `${OK}Content-Length : 2\r\n\r\nab`],
  ['a folded line', `${OK}x: a\r\n b\r\n\r\n`],
  ['a bare LF within the header', `${OK}x: a\ny: b\r\n\r\n`],
  ['a bare CR within a value', `${OK}x: a\rb\r\n\r\n`],
  ['a NUL', `${OK}x: a\0b\r\n\r\n`],
  ['two different lengths', `${OK}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
  ['a length with a sign', `${OK}Content-Length: +1\r\n\r\na`],
  ['length and coding', `${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ['another coding', `${OK}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
  ['a negative chunk', `${OK}Transfer-Encoding: chunked\r\n\r\n-1\r\n`],
  ['a chunk that runs over', `${OK}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n`],
  ['an endless chunk extension', `${OK}Transfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(500)}`],
  ['an endless header', `${OK}x: ${'y'.repeat(2_000)}`],
  ['long trailers', `${OK}Transfer-Encoding: chunked\r\n\r\n0\r\nx: ${'y'.repeat(2_000)}\r\n\r\n`],
  ['endless trailers', `${OK}Transfer-Encoding: chunked\r\n\r\n0\r\nx: ${'y'.repeat(2_000)}`],
  ['endless interim responses', 'HTTP/1.1 103 E\r\n\r\n'.repeat(20)],
  ['more than its response', `${OK}Content-Length: 1\r\n\r\nab`],
  ['a switch of protocols unasked', 'HTTP/1.1 101 S\r\n\r\n'],
] as const) {
  test(`${name} is refused`, () => assert.notEqual(parse(one(text)).problem, undefined))
}

test('a connection closed too early is told from one closed at the end', () => {
  for (const text of ['', 'HTTP/1.1 2', `${OK}Content-Length: 2\r\n\r\na`, `${OK}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n`]) {
    assert.notEqual(parse(text === '' ? [] : one(text), { close: true }).problem, undefined, text)
  }
})

test('property: cut anywhere, the same bytes say the same', () => {
  const texts = [
    `HTTP/1.1 103 Early\r\nlink: x\r\n\r\n${OK}Transfer-Encoding: chunked\r\nX: y\r\n\r\n5\r\nhello\r\n3;e\r\nyou\r\n0\r\na: b\r\n\r\n`,
    `${OK}Content-Length: 11\r\n\r\nhello world`,
    `${OK}\r\nuntil close`,
    `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n`,
  ]
  fc.assert(
    fc.property(fc.constantFrom(...texts), fc.array(fc.nat(120)), (text, cuts) => {
      const bytes = Buffer.from(text, 'latin1')
      const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length]
      const pieces = at.slice(1).map((end, index) => bytes.subarray(at[index], end))
      assert.deepEqual(parse(pieces, { close: true }), parse([bytes], { close: true }))
    }),
  )
})

test('a head that came before is framed by what it answers now, and held to the bounds of whoever reads it', () => {
  const head = `${OK}Content-Length: 2\r\nX: again\r\n\r\n`
  const whole = one(`${head}ab`)
  for (let time = 0; time < 3; time += 1) {
    assert.deepEqual(parse(whole).said, ['head 200 OK Content-Length|2|X|again true 2', 'end '])
    assert.deepEqual(parse(one(head), { method: 'HEAD' }).said, ['head 200 OK Content-Length|2|X|again true 0', 'end '])
    assert.equal(parse(one(`${head}abc`)).problem, 'it sent more than its response')
  }
  const narrow = new ResponseParser(head.length - 1, {
    onInterim() {},
    onHead: () => assert.fail('a head past the bound is passed on'),
    onBody() {},
    onEnd() {},
    onUpgrade() {},
  })
  narrow.begin('GET')
  assert.equal(narrow.push(whole[0]!), 'its header is too long')
  const early = 'HTTP/1.1 103 Early\r\n\r\n'
  for (let time = 0; time < 3; time += 1) {
    assert.equal(parse(one(early.repeat(20))).problem, 'it sent too many interim responses')
    assert.equal(parse(one('HTTP/1.1 101 S\r\n\r\n')).problem, 'it switched protocols unasked')
    assert.deepEqual(parse(one('HTTP/1.1 101 S\r\n\r\nrest'), { upgrade: true }).said, ['upgrade 101 rest'])
  }
})

test('property: no bytes make the parser throw', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (pieces) => {
      parse([...one(OK), ...pieces.map((piece) => Buffer.from(piece))], { close: true })
    }),
  )
})

test('a bound on a head does not depend on where its bytes are cut', () => {
  // The bound counts the blank line that ends the head.
  for (const length of [1_019, 1_020, 1_021, 1_022]) {
    const head = `${OK}Content-Length: 0\r\nx: `
    const text = `${head}${'y'.repeat(length - head.length)}\r\n\r\n`
    const whole = parse(one(text))
    for (let cut = text.length - 5; cut < text.length; cut += 1) {
      assert.deepEqual(parse([...one(text.slice(0, cut)), ...one(text.slice(cut))]), whole, `${length} cut at ${cut}`)
    }
    assert.equal(whole.problem === undefined, length <= 1_020)
  }
})

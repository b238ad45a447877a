import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Forwarding, requestHeadText, responseHeadText } from './forward-head.ts'
import { fieldsOf, scanHead, sectionOf } from './head-scanner.ts'
import { parseRequestHead } from './request-head.ts'

const BOUNDS = { lineBytesMax: 8_192, bytesMax: 65_536, fieldsMax: 100 }

const name = fc.constantFrom(
  ...[
    'Host',
    'User-Agent',
    'accept',
    'X-Forwarded-For',
    'x-forwarded-for',
    'X_Real_IP',
    'Cookie',
    'X-A',
    'Connection',
    'Keep-Alive',
  ],
  ...[
    'TE',
    'Upgrade',
    'Date',
    'Server',
    'content-length',
    'Content-Type',
    'Strict-Transport-Security',
    'X-Request-Id',
    'x-ringwall-y',
  ],
)
const value = fc.constantFrom('', 'a', 'close', 'keep-alive, x-a', 'text/html; q=1', ' inner  blanks ', 'caf\xe9', 'x: y')
/** As clients write them, and as they may. */
const plain = fc.constantFrom('a', 'close', 'keep-alive, x-a', 'text/html; q=1', 'x: y').map((text) => ` ${text}`)
const odd = fc
  .tuple(fc.constantFrom(' ', '', '\t', '  '), value, fc.constantFrom('', ' ', '\t'))
  .map(([before, text, after]) => before + text + after)
const linesOf = (rest: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.array(fc.tuple(name, rest), { maxLength: 12 }).map((all) => all.map(([one, text]) => `${one}:${text}\r\n`).join(''))
const lines = fc.oneof(linesOf(plain), linesOf(fc.oneof(plain, odd)))

test('property: lines passed on as they came are the lines that we would write', () => {
  let inPieces = 0
  fc.assert(
    fc.property(lines, fc.boolean(), (text, repeats) => {
      const whole = `GET / HTTP/1.1\r\n${text}\r\n`
      const bytes = Buffer.from(whole, 'latin1')
      assert.equal(scanHead(bytes, 0, bytes.length, BOUNDS), bytes.length)
      const fields = fieldsOf(whole)
      const section = sectionOf(whole, fields)
      if (section !== undefined) inPieces++
      // What is remembered of one that repeats is for whomever it is true of: in any order, and again.
      if (section !== undefined) section.repeats = repeats
      for (const own of [[], ['strict-transport-security', 'max-age=1'], []])
        assert.equal(responseHeadText(200, 'OK', fields, 0, own, section), responseHeadText(200, 'OK', fields, 0, own))
      const head = parseRequestHead('GET', '/', '1.1', ['Host', 'a'])
      if ('refused' in head) throw new Error('the plain head is refused')
      for (const connectionNames of [undefined, ['x-a'], undefined]) {
        const common: Pick<Forwarding, 'head' | 'target' | 'host' | 'rewriting' | 'bodyBytes'> = {
          head: { ...head, connectionNames },
          target: '/',
          host: 'a',
          rewriting: undefined,
          bodyBytes: 0,
        }
        const more = { source: '1.2.3.4', chain: '1.2.3.4', proto: 'http', requestId: 'r', traceparent: 't' } as const
        const forwarding: Forwarding = { ...common, ...more, tracestate: undefined, rawHeaders: fields }
        assert.equal(requestHeadText({ ...forwarding, section }), requestHeadText(forwarding))
      }
    }),
  )
  assert.ok(inPieces > 5, `${inPieces} sections were as we would write them`)
})

test('lines of other fields than those passed on are not used', () => {
  const whole = 'HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\n\r\n'
  const bytes = Buffer.from(whole, 'latin1')
  scanHead(bytes, 0, bytes.length, BOUNDS)
  const section = sectionOf(whole, fieldsOf(whole))!
  assert.doesNotMatch(responseHeadText(200, 'OK', ['X-C', '3'], 0, [], section), /X-A|X-B/)
})

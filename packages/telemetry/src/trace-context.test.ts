import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { childOf, formatTraceparent, newTrace, parseTraceparent, parseTracestate } from './trace-context.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

test('a traceparent to the letter is parsed, with its sampled flag', () => {
  assert.deepEqual(parseTraceparent(`00-${TRACE}-${SPAN}-01`, 'a=1'), {
    traceId: TRACE,
    spanId: SPAN,
    sampled: true,
    traceState: 'a=1',
  })
  assert.equal(parseTraceparent(`00-${TRACE}-${SPAN}-02`)?.sampled, false)
})

test('a traceparent of a later version is read by its first four fields', () => {
  assert.equal(parseTraceparent(`cc-${TRACE}-${SPAN}-01-what-comes-next`)?.traceId, TRACE)
  assert.equal(parseTraceparent(`cc-${TRACE}-${SPAN}-01.what`), undefined)
})

for (const [why, header] of [
  ['absent', undefined],
  ['empty', ''],
  ['in upper case', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
  ['of version ff', `ff-${TRACE}-${SPAN}-01`],
  ['with a trace id of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
  ['with a span id of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
  ['of version 00 with more fields', `00-${TRACE}-${SPAN}-01-x`],
  ['sent twice and joined', `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`],
  ['with a short trace id', `00-${TRACE.slice(1)}-${SPAN}-01`],
  ['with space around it', ` 00-${TRACE}-${SPAN}-01`],
  ['too long', `01-${TRACE}-${SPAN}-01-${'x'.repeat(300)}`],
] as const) {
  test(`a traceparent ${why} is refused`, () => assert.equal(parseTraceparent(header), undefined))
}

test('tracestate is kept within 512 characters and 32 members, else dropped without losing the trace', () => {
  const members = (count: number) => Array.from({ length: count }, (_, at) => `k${at}=v`).join(',')
  assert.equal(parseTracestate(members(32)), members(32))
  assert.equal(parseTracestate(members(33)), undefined)
  assert.equal(parseTracestate(`a=${'x'.repeat(256)},b=${'y'.repeat(254)}`)?.length, undefined)
  assert.equal(parseTracestate('a=1, ,b=2,'), 'a=1,b=2')
  for (const bad of ['a', '=1', 'A=1', 'a=1,a=2', 'a=b=c', 'a=\u00e9', 'a=1\r\nx: y', '@v=1']) {
    assert.equal(parseTracestate(bad), undefined, bad)
    assert.equal(parseTraceparent(`00-${TRACE}-${SPAN}-01`, bad)?.traceId, TRACE)
  }
})

test('a child keeps the trace, its flag and its state, and has its own span', () => {
  const parent = { traceId: TRACE, spanId: SPAN, sampled: false, traceState: 'a=1' }
  const child = childOf(parent)
  assert.deepEqual({ ...child, spanId: SPAN }, parent)
  assert.notEqual(child.spanId, SPAN)
})

test('property: what is formatted is parsed back to the same ids', () => {
  fc.assert(
    fc.property(fc.boolean(), (sampled) => {
      const context = { ...newTrace(), sampled }
      assert.deepEqual(parseTraceparent(formatTraceparent(context)), context)
    }),
  )
})

test('property: no text makes the parser throw or give ids of another shape', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (header, state) => {
      const parsed = parseTraceparent(header, state)
      if (parsed !== undefined) assert.match(parsed.traceId, /^[0-9a-f]{32}$/)
      parseTracestate(state)
    }),
  )
})

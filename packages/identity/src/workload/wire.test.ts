import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { framed, GRPC_STATUS, GrpcFault, percentEncoded, RequestMessage } from './grpc.ts'
import { encodeBundles, encodeSvids } from './messages.ts'
import { field, isMessage, message, optionalField } from './protobuf.ts'

const bytes = (most = 300) => fc.uint8Array({ maxLength: most })

/** Fields of a message, by a reader of its own: number, and bytes of those that have a length. */
function fieldsOf(encoded: Uint8Array): readonly (readonly [number, Buffer])[] {
  const fields: [number, Buffer][] = []
  const data = Buffer.from(encoded)
  let at = 0
  const varint = (): number => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = data[at++] as number
      value |= BigInt(byte & 127) << shift
      if (byte < 128) return Number(value)
    }
  }
  while (at < data.length) {
    const tag = varint()
    assert.equal(tag & 7, 2)
    const length = varint()
    fields.push([tag >>> 3, data.subarray(at, at + length)])
    at += length
  }
  return fields
}

test('known messages are the bytes that protoc makes of them', () => {
  assert.equal(Buffer.from(field(2, 'testing')).toString('hex'), '120774657374696e67')
  assert.equal(
    Buffer.from(field(1, new Uint8Array(300)))
      .toString('hex')
      .slice(0, 6),
    '0aac02',
  )
  assert.equal(Buffer.from(field(16, '')).toString('hex'), '820100')
  assert.equal(optionalField(5, '').length, 0)
})

test('property: answers are read as what they were made of', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string(), bytes(), bytes(), fc.string({ minLength: 1 })), { minLength: 1 }),
      bytes(),
      (all, bundle) => {
        const svids = all.map(([spiffeId, certificate, key, hint]) => ({ spiffeId, certificate, key, hint }))
        const encoded = encodeSvids(svids, bundle)
        assert.ok(isMessage(encoded))
        const read = fieldsOf(encoded).map(([number, svid]) => {
          assert.equal(number, 1)
          return fieldsOf(svid)
        })
        assert.deepEqual(
          read.map((fields) => fields.map(([number, value]) => [number, value.toString('hex')])),
          svids.map(({ spiffeId, certificate, key, hint }) =>
            [Buffer.from(spiffeId), certificate, key, bundle, Buffer.from(hint)].map((value, i) => [
              i + 1,
              Buffer.from(value).toString('hex'),
            ]),
          ),
        )
        const [[number, entry] = [], ...more] = fieldsOf(encodeBundles('spiffe://x', bundle))
        assert.deepEqual([number, more], [2, []])
        assert.deepEqual(
          fieldsOf(entry as Buffer).map(([at, value]) => [at, value.toString('hex')]),
          [
            [1, Buffer.from('spiffe://x').toString('hex')],
            [2, Buffer.from(bundle).toString('hex')],
          ],
        )
      },
    ),
    { numRuns: 100 },
  )
})

test('property: any bytes are looked at to their end, and what is cut off is no message', () => {
  fc.assert(fc.property(bytes(2_000), (any) => typeof isMessage(any) === 'boolean'))
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 536_870_911 }), bytes()), { minLength: 1 }),
      fc.nat(),
      (fields, cut) => {
        const last = fields.at(-1) as [number, Uint8Array]
        const before = message(...fields.slice(0, -1).map(([number, value]) => field(number, value)))
        const whole = message(before, field(...last))
        assert.equal(isMessage(whole), true)
        const at = before.length + 1 + (cut % (whole.length - before.length - 1))
        assert.equal(isMessage(whole.subarray(0, at)), false)
      },
    ),
  )
  for (const bad of [
    '07',
    '0b',
    '0c',
    '0e',
    '00',
    '80',
    'ffffffffffffffffffff01',
    '0aff',
    '0affffffffffffffff7f',
    '0d000000',
    '09',
  ])
    assert.equal(isMessage(Buffer.from(bad, 'hex')), false, bad)
  for (const good of ['', '0801', '0900000000000000000d00000000', '08ffffffffffffffffff01', '0a00'])
    assert.equal(isMessage(Buffer.from(good, 'hex')), true, good)
})

test('property: a request is the same however it is cut, and one that is too long is refused before it is held', () => {
  fc.assert(
    fc.property(bytes(200), fc.array(fc.nat({ max: 205 })), fc.integer({ min: 0, max: 200 }), (body, cuts, most) => {
      const wire = framed(body)
      const request = new RequestMessage(most)
      const points = [0, ...cuts.filter((at) => at <= wire.length).sort((a, b) => a - b), wire.length]
      const run = (): Uint8Array => {
        for (const [i, from] of points.slice(0, -1).entries()) request.push(wire.subarray(from, points[i + 1]))
        return request.end()
      }
      if (body.length <= most) assert.deepEqual(Buffer.from(run()), Buffer.from(body))
      else assert.throws(run, (error) => error instanceof GrpcFault && error.code === GRPC_STATUS.RESOURCE_EXHAUSTED)
    }),
  )
  fc.assert(
    fc.property(fc.array(bytes(50)), (chunks) => {
      const request = new RequestMessage(64)
      try {
        for (const chunk of chunks) request.push(chunk)
        request.end()
      } catch (error) {
        assert.ok(error instanceof GrpcFault)
      }
    }),
  )
})

test('property: words of a status are printable ASCII, and are read again', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      const encoded = percentEncoded(text)
      assert.match(encoded, /^[\x20-\x7e]*$/)
      assert.equal(decodeURIComponent(encoded), Buffer.from(text).toString())
    }),
  )
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeBase64url, decodeHexInto, encodeHex, encodeUtf8, isBase64url, passingUtf8, Scratch } from './encoding.ts'

test('property: text passes for base64url of so many bytes exactly when it decodes to them', () => {
  const characters = fc.constantFrom(...'AQgwZaz09-_', '=', '+', '/', 'é', ' ')
  const texts = fc.oneof(
    fc.array(characters, { maxLength: 30 }).map((all) => all.join('')),
    fc.uint8Array({ maxLength: 20 }).map((bytes) => Buffer.from(bytes).toString('base64url')),
  )
  fc.assert(
    fc.property(texts, fc.nat(24), (text, bytes) => {
      let length: number | undefined
      try {
        length = decodeBase64url(text).length
      } catch {
        length = undefined
      }
      assert.equal(isBase64url(text, bytes), length === bytes)
      if (length !== undefined) assert.ok(isBase64url(text, length))
    }),
  )
})

test('property: bytes in passing are those of the text, also of one that is too long for their place', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 900 }), (text) => {
      assert.deepEqual(Uint8Array.from(passingUtf8(text)), encodeUtf8(text))
    }),
  )
  const long = 'ä'.repeat(100_000)
  assert.deepEqual(Uint8Array.from(passingUtf8(long)), encodeUtf8(long))
})

test('property: hex is written where it is to stand, and nowhere else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.nat(20), (bytes, to) => {
      const scratch = new Scratch(64)
      decodeHexInto(encodeHex(bytes), scratch.bytes, to)
      const expected = new Uint8Array(64)
      expected.set(bytes, to)
      assert.deepEqual(scratch.bytes, expected)
      assert.deepEqual(scratch.first(to + bytes.length), expected.subarray(0, to + bytes.length))
    }),
  )
})

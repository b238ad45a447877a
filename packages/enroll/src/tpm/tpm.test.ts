/** Structures of a software TPM (swtpm 0.7.1), and the same changed. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeEventLog, parseEventLog, replay } from './event-log.ts'
import { parseTpmPublic } from './public-area.ts'
import { isQuoteSigned, matchesDigest, parseQuote } from './quote.ts'
import { TpmMalformed } from './reader.ts'

const AK = Buffer.from(
  'AFgAIwALAAUAcgAAABAAGAALAAMAEAAg3/AxM33JQvx9YdeDx9LGeuOCMBBkl8mXY5OQJBaqGXYAIIUFmHI9IjcAS5N1+5Xkhs+nEtDxY6d3faS+2RRDNEft',
  'base64',
)
const QUOTE = Buffer.from(
  '/1RDR4AYACIAC11FEyuN8n3mjLcVTDjdXzuwQqU2Wg1IvQz4R3JVBf9bAASqu8zdAAAAAAAApowAAAACAAAAAAEgGRAjABY2NgAAAAEACwP/AAAAIFNB5rJkaXmnDldlMAeh8xAWlCHsm92fGlZI91reAFrx',
  'base64',
)
const SIGNATURE = Buffer.from(
  'ABgACwAgaoXPHtj3IyQo3RvvyWIMnt/ZYUlKQQdmhi2ggscy+BAAIADL4AKOvHBnwb9Lpa6G803vdAY4yTudPWgqmDiuGgPY',
  'base64',
)
const ZEROES = Array.from({ length: 8 }, () => Buffer.alloc(32))

test('a quote of a TPM is read, verifies, and matches the values that it was made over', () => {
  const quote = parseQuote(QUOTE)
  assert.equal(quote.extra.toString('hex'), 'aabbccdd')
  assert.deepEqual(quote.pcrs, [0, 1, 2, 3, 4, 5, 6, 7])
  assert.equal(quote.resetCount, 2)
  assert.equal(isQuoteSigned(QUOTE, SIGNATURE, AK), true)
  assert.equal(matchesDigest(quote, ZEROES), true)
  assert.equal(matchesDigest(quote, [...ZEROES.slice(1), Buffer.alloc(32, 1)]), false)
})

test('an attestation key is told from others, and has the name that its TPM gives it', () => {
  const key = parseTpmPublic(AK)
  assert.equal(key.isAttestationKey, true)
  assert.equal(key.isEndorsementKey, false)
  assert.equal(key.name.toString('hex'), '000bb282afb97a90c5ede9ad534b9169e38d7e045b40a4f1c5068c88e26a64881e60')
  const unrestricted = Buffer.from(AK)
  unrestricted[7] = (unrestricted[7] as number) & 0xfe
  assert.throws(() => isQuoteSigned(QUOTE, SIGNATURE, unrestricted), /could sign what no TPM said/)
})

test('whatever is changed in a quote, its signature or its key: it is malformed, or does not verify', () => {
  const whole = Buffer.concat([QUOTE, SIGNATURE, AK])
  fc.assert(
    fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] as number) ^ mask
      const parts = [
        changed.subarray(0, QUOTE.length),
        changed.subarray(QUOTE.length, QUOTE.length + SIGNATURE.length),
        changed.subarray(QUOTE.length + SIGNATURE.length),
      ] as const
      try {
        parseQuote(parts[0])
        // Of the key, bits that say what it may do and for whom: the point and the scheme stay what they were.
        const isKeyOnly = at >= QUOTE.length + SIGNATURE.length
        assert.equal(isQuoteSigned(...parts) && !isKeyOnly, false)
      } catch (error) {
        if (!(error instanceof TpmMalformed)) throw error
      }
    }),
    { numRuns: 500 },
  )
})

test('bytes of any kind are refused in words, by each of the readers', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      for (const read of [parseQuote, parseTpmPublic, parseEventLog]) assert.throws(() => read(bytes), TpmMalformed)
    }),
  )
  for (let length = 0; length < QUOTE.length; length += 1)
    assert.throws(() => parseQuote(QUOTE.subarray(0, length)), TpmMalformed)
  assert.throws(() => parseQuote(Buffer.concat([QUOTE, Buffer.of(0)])), /1 bytes too many/)
})

const event = fc.record({
  pcr: fc.integer({ min: 0, max: 23 }),
  type: fc.constantFrom(3, 8, 13),
  digest: fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes)),
  event: fc.uint8Array({ maxLength: 40 }),
})

test('an event log is read as it was written, and replays as a TPM extends', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 20 }), (events) => {
      const read = parseEventLog(encodeEventLog(events))
      assert.deepEqual(
        read,
        events.map(({ pcr, type, digest }) => ({ pcr, type, digest })),
      )
      const values = new Map<number, Buffer>()
      for (const { pcr, type, digest } of events) {
        if (type === 3) continue
        const before = values.get(pcr) ?? Buffer.alloc(32, pcr >= 17 && pcr <= 22 ? 255 : 0)
        values.set(
          pcr,
          createHash('sha256')
            .update(Buffer.concat([before, digest]))
            .digest(),
        )
      }
      assert.deepEqual(replay(read), values)
    }),
  )
})

test('a log that was cut, or announces what it does not hold, is refused', () => {
  const log = encodeEventLog([{ pcr: 7, type: 8, digest: Buffer.alloc(32, 7), event: Buffer.from('an event') }])
  for (let length = 0; length < log.length; length += 1) {
    if (parseable(log.subarray(0, length))) assert.equal(parseEventLog(log.subarray(0, length)).length, 0)
  }
  assert.throws(() => parseEventLog(Buffer.alloc(70_000)), /more than 65536 bytes/)
})

function parseable(bytes: Uint8Array): boolean {
  try {
    parseEventLog(bytes)
    return true
  } catch (error) {
    if (error instanceof TpmMalformed) return false
    throw error
  }
}

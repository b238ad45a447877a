import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  checkAnswer,
  DnsUpdateError,
  isSignedBy,
  parseTsigKey,
  signAnswer,
  signatureOf,
  signMessage,
  type TsigKey,
  updateMessage,
} from './dns-update.ts'

const KEY: TsigKey = { name: 'ringwall.example', algorithm: 'hmac-sha256', secret: Buffer.alloc(32, 7) }
const CHANGE = { what: 'add', zone: 'example.org', name: '_acme-challenge.www.example.org', text: 'abc', ttlS: 60 } as const
const NOW_S = 1_800_000_000

/** What a server says: the header of the update with a code. */
function answer(id: number, code = 0): Buffer {
  const bytes = Buffer.alloc(12)
  bytes.writeUInt16BE(id, 0)
  bytes.writeUInt16BE(0xa800 | code, 2)
  return bytes
}

test('RFC 2136 2: an update names its zone, and the record to add or to take away', () => {
  const name = '0f5f61636d652d6368616c6c656e676503777777076578616d706c65036f726700'
  const zone = '076578616d706c65036f7267000006 0001'.replaceAll(' ', '')
  const head = '00072800000100000001 0000'.replaceAll(' ', '')
  assert.equal(updateMessage(7, CHANGE).toString('hex'), `${head}${zone}${name}001000010000003c000403616263`)
  assert.equal(
    updateMessage(7, { ...CHANGE, what: 'remove', zone: 'Example.ORG.' }).toString('hex'),
    `${head}${zone}${name}001000fe00000000000403616263`,
  )
  assert.throws(() => updateMessage(7, { ...CHANGE, name: 'a..b' }), DnsUpdateError)
  assert.throws(() => updateMessage(7, { ...CHANGE, name: `${'a'.repeat(64)}.b` }), DnsUpdateError)
  assert.throws(() => updateMessage(7, { ...CHANGE, name: 'abcdefg.'.repeat(32) }), DnsUpdateError)
})

test('property: what is signed is found to be signed by that key alone, and not when a bit of it is another', () => {
  const algorithm = fc.constantFrom('hmac-sha256', 'hmac-sha384', 'hmac-sha512') as fc.Arbitrary<TsigKey['algorithm']>
  fc.assert(
    fc.property(algorithm, fc.nat(), fc.nat(), fc.boolean(), (of, place, bit, isAnswer) => {
      const key = { ...KEY, algorithm: of }
      const before = isAnswer ? Buffer.alloc(20, 3) : undefined
      const message = updateMessage(9, CHANGE)
      const bytes = before === undefined ? signMessage(message, key, NOW_S).bytes : signAnswer(message, key, before, NOW_S)
      assert.ok(isSignedBy(key, signatureOf(bytes)!, before))
      assert.deepEqual(signatureOf(bytes)!.message, message)
      assert.ok(!isSignedBy({ ...key, secret: Buffer.alloc(32, 8) }, signatureOf(bytes)!, before))
      assert.ok(!isSignedBy({ ...key, name: 'another' }, signatureOf(bytes)!, before))
      assert.ok(!isSignedBy(key, signatureOf(bytes)!, Buffer.alloc(20, 4)))
      const changed = Buffer.from(bytes)
      // Class and TTL of the signature's own record are not signed by what they are, but by what they have to be.
      const at = place % message.length
      changed[at]! ^= 1 << (bit % 8)
      let isGood = false
      try {
        const signature = signatureOf(changed)
        isGood = signature !== undefined && isSignedBy(key, signature, before)
      } catch (error) {
        assert.ok(error instanceof DnsUpdateError)
      }
      assert.ok(!isGood, `byte ${at}`)
    }),
    { numRuns: 500 },
  )
})

test('property: bytes that are no message are refused in words, whatever they are', () => {
  const signed = signMessage(updateMessage(9, CHANGE), KEY, NOW_S).bytes
  const changed = fc
    .tuple(fc.array(fc.tuple(fc.nat(signed.length - 1), fc.nat(255)), { maxLength: 8 }), fc.nat(signed.length))
    .map(([changes, length]) => {
      const bytes = Buffer.from(signed)
      for (const [at, value] of changes) bytes[at] = value
      return bytes.subarray(0, length)
    })
  fc.assert(
    fc.property(fc.oneof(changed, fc.uint8Array({ maxLength: 200 }).map(Buffer.from)), (bytes) => {
      try {
        checkAnswer(bytes as Buffer, 9, KEY, Buffer.alloc(32), NOW_S)
        assert.fail('taken')
      } catch (error) {
        assert.ok(error instanceof DnsUpdateError, String(error))
      }
    }),
    { numRuns: 3_000 },
  )
})

test('an answer counts when it is the server’s, of this update and of now; a refusal says why', () => {
  const { mac } = signMessage(updateMessage(9, CHANGE), KEY, NOW_S)
  checkAnswer(signAnswer(answer(9), KEY, mac, NOW_S), 9, KEY, mac, NOW_S)
  for (const [bytes, why] of [
    [answer(9), /not signed by the key/],
    [signAnswer(answer(9), { ...KEY, secret: Buffer.alloc(32) }, mac, NOW_S), /not signed by the key/],
    [signAnswer(answer(9), KEY, Buffer.alloc(32), NOW_S), /not signed by the key/],
    [signAnswer(answer(8), KEY, mac, NOW_S), /something else than was asked/],
    [signAnswer(updateMessage(9, CHANGE), KEY, mac, NOW_S), /something else than was asked/],
    [signAnswer(answer(9), KEY, mac, NOW_S - 301), /BADTIME/],
    [signAnswer(answer(9, 9), KEY, mac, NOW_S, 16), /BADSIG/],
    [signAnswer(answer(9, 9), KEY, mac, NOW_S, 17), /BADKEY/],
    [answer(9, 9), /NOTAUTH/],
    [signAnswer(answer(9, 5), KEY, mac, NOW_S), /REFUSED/],
    [answer(9, 13), /code 13/],
  ] as const)
    assert.throws(() => checkAnswer(bytes, 9, KEY, mac, NOW_S), why)
})

test('keys are read as tsig-keygen writes them, and nothing else is', () => {
  const secret = Buffer.alloc(32, 1).toString('base64')
  const text = `// made today\nkey "Ringwall.Example" {\n\talgorithm hmac-sha256;\n\tsecret "${secret}";\n};\n`
  assert.deepEqual(parseTsigKey(text), { ...KEY, secret: Buffer.alloc(32, 1) })
  assert.equal(parseTsigKey(`key a { secret ${secret}; algorithm HMAC-SHA512; }`)?.algorithm, 'hmac-sha512')
  for (const bad of [
    '',
    secret,
    `key "a" { algorithm hmac-md5; secret "${secret}"; };`,
    `key "a" { algorithm hmac-sha256; secret "short"; };`,
    `key "a" { algorithm hmac-sha256; };`,
    `key "a" { algorithm hmac-sha256; secret "${secret}"; }; key "b" { algorithm hmac-sha256; secret "${secret}"; };`,
  ])
    assert.equal(parseTsigKey(bad), undefined, bad)
})

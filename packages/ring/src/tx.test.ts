import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SECRET_NAME, SECRET_NAME_CHARS_MAX } from './secret-name.ts'
import { begin, signed, together } from './test-ring.ts'
import {
  accountKey,
  decodeBase64url,
  encodeBase64url,
  encodeTx,
  parseTx,
  readTx,
  signingBytes,
  subjectId,
  TX_BYTES_MAX,
  TxMalformed,
  txId,
} from './tx.ts'
import type { TxBody } from './types.ts'

const { ring } = begin()
const line = fc.string({ minLength: 1, maxLength: 100 }).filter((text) => text.trim() !== '')
const bytesIn64 = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map(encodeBase64url)
const key = bytesIn64(32)
const secretName = fc.stringMatching(SECRET_NAME).filter(({ length }) => length <= SECRET_NAME_CHARS_MAX)
const keyName = fc.constantFrom('signing' as const, 'sealing' as const)
const statement = fc.oneof(
  fc.record({ kind: fc.constant('nullify' as const), digest: fc.constant(null), signature: bytesIn64(64) }),
  fc.record({
    kind: fc.constantFrom('notarize' as const, 'finalize' as const, 'proposal' as const),
    digest: fc.constant('ab'.repeat(32)),
    signature: bytesIn64(64),
  }),
)
const bodies = fc.oneof(
  fc.record({ type: fc.constant('policy.set' as const), policy: fc.string(), expectVersion: fc.nat() }),
  fc.record({
    type: fc.constant('deny.add' as const),
    subject: fc.oneof(
      fc.record({ kind: fc.constantFrom('ip' as const, 'cidr' as const), value: fc.ipV4() }),
      fc.record({ kind: fc.constantFrom('token' as const, 'subject' as const), value: line }),
      line.map((name) => ({ kind: 'account' as const, service: 'shop', value: accountKey(ring, 'shop', name) })),
    ),
    ttlMs: fc.nat(),
    reason: line,
  }),
  fc.record({ type: fc.constant('deny.remove' as const), id: fc.constant('0123456789abcdef'), reason: line }),
  fc.record({
    type: fc.constant('node.add' as const),
    node: fc.record({
      id: fc.constantFrom('n5', 'edge-1'),
      region: fc.constant('eu west'),
      address: fc.constantFrom('10.0.0.1:7000', 'host.example:1', '[2001:db8::1]:65535'),
      publicKey: key,
      roles: fc.constantFrom(['validator' as const], ['edge' as const], ['validator' as const, 'edge' as const]),
    }),
    reason: line,
  }),
  fc.record({ type: fc.constant('node.remove' as const), id: fc.constant('n5'), reason: line }),
  fc.record({
    type: fc.constant('evidence' as const),
    validator: fc.constant('n2'),
    epoch: fc.nat(),
    round: fc.nat(),
    first: statement,
    second: statement,
  }),
  fc.record({ type: fc.constant('key.enrol' as const), key: keyName, attempt: fc.nat(), encryptionKey: key }),
  fc.record({
    type: fc.constantFrom('key.deal' as const, 'key.answer' as const),
    key: keyName,
    attempt: fc.nat(),
    body: fc.uint8Array({ minLength: 1, maxLength: 600 }).map(encodeBase64url),
  }),
  fc.record({ type: fc.constantFrom('key.refresh' as const, 'key.rotate' as const), key: keyName, reason: line }),
  fc.record({
    type: fc.constant('token.revoke' as const),
    token: fc.tuple(bytesIn64(30), bytesIn64(90), bytesIn64(64)).map((parts) => parts.join('.')),
  }),
  fc.record({
    type: fc.constant('vault.put' as const),
    name: secretName,
    expectVersion: fc.nat(),
    ttlMs: fc.nat(),
    capsule: fc.uint8Array({ minLength: 1, maxLength: 600 }).map(encodeBase64url),
    ciphertext: fc.uint8Array({ minLength: 1, maxLength: 600 }).map(encodeBase64url),
  }),
  fc.record({
    type: fc.constant('vault.delete' as const),
    name: secretName,
    versions: fc.uniqueArray(fc.nat(), { maxLength: 5 }).map((list) => list.sort((a, b) => a - b)),
    reason: line,
  }),
  fc.record({
    type: fc.constant('cache.purge' as const),
    service: fc.constantFrom('app', 'shop-2'),
    path: fc.constantFrom('/', '/assets/', '/a%20b?q=1'),
    reason: line,
  }),
  fc.record({
    type: fc.constant('disk.seal' as const),
    capsule: fc.uint8Array({ minLength: 1, maxLength: 900 }).map(encodeBase64url),
    machine: key,
  }),
  fc.record({ type: fc.constant('node.wipe' as const), id: fc.constantFrom('n1', 'edge-7'), reason: line }),
  fc.record({
    type: fc.constant('node.wiped' as const),
    id: fc.constantFrom('n1', 'edge-7'),
    receipt: fc.record({ atMs: fc.nat(), files: fc.nat(), bytes: fc.nat() }),
    signature: bytesIn64(64),
  }),
  fc.record({ type: fc.constant('tx.approve' as const), id: fc.constant('0'.repeat(64)), reason: line }),
) satisfies fc.Arbitrary<TxBody>

const example = signed(ring, 'operator:ada', { type: 'deny.remove', id: '0123456789abcdef', reason: 'over' })
const text = new TextDecoder().decode(encodeTx(example))
const bytesOf = (json: string) => new TextEncoder().encode(json)

test('property: what is encoded parses back to the same transaction', () => {
  fc.assert(
    fc.property(bodies, (body) => {
      // A clone has the usual prototype, which generated records lack.
      const tx = signed(ring, 'node:n1', structuredClone(body))
      const read = readTx(encodeTx(tx))
      assert.deepEqual(read.tx, tx)
      assert.deepEqual(read.signed, signingBytes(tx.content))
    }),
    { numRuns: 100 },
  )
})

test('property: so is what was signed together, with a signature of another length', () => {
  fc.assert(
    fc.property(fc.array(bodies, { minLength: 2, maxLength: 40 }), (several) => {
      for (const tx of together(
        several.map((body) => signed(ring, 'node:n1', structuredClone(body))),
        'n1',
      )) {
        const read = readTx(encodeTx(tx))
        assert.deepEqual(read.tx, tx)
        assert.deepEqual(read.signed, signingBytes(tx.content))
      }
    }),
    { numRuns: 20 },
  )
})

test('text that is not Unicode is refused, text that only looks like its escape is not', () => {
  const policy = (body: string) =>
    text.replace(/"body":\{[^}]*\}/, `"body":{"expectVersion":1,"policy":"${body}","type":"policy.set"}`)
  for (const lone of ['\\ud800', '\\uD800', 'a\\udc00b', '\\\\\\ud800']) {
    assert.throws(() => parseTx(bytesOf(policy(lone))), TxMalformed, lone)
  }
  for (const fine of ['\\\\ud800', '\\\\ude', '\u{1f600}']) assert.ok(parseTx(bytesOf(policy(fine))), fine)
})

test('property: with any byte changed it is refused, or it is another statement or another signature', () => {
  const bytes = encodeTx(example)
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const changed = bytes.slice()
      changed[at]! ^= flip
      try {
        const tx = parseTx(changed)
        assert.ok(txId(tx.content) !== txId(example.content) || tx.signature !== example.signature)
      } catch (error) {
        assert.ok(error instanceof TxMalformed)
      }
    }),
  )
})

test('property: arbitrary bytes and arbitrary JSON are refused with TxMalformed and nothing else', () => {
  fc.assert(fc.property(fc.uint8Array(), (bytes) => assert.throws(() => parseTx(bytes), TxMalformed)))
  fc.assert(fc.property(fc.json(), (json) => assert.throws(() => parseTx(bytesOf(json)), TxMalformed)))
})

test('a second spelling of the same statement is refused', () => {
  const { content, signature } = example
  const cases: Record<string, string> = {
    'a space': text.replace('{', '{ '),
    'another order': JSON.stringify({ signature, content }),
    'a key twice': text.replace('"signature"', '"signature":"","signature"'),
    'an unknown key': text.replace('"signature"', '"sig":1,"signature"'),
    'a key called __proto__': text.replace('{', '{"__proto__":1,'),
    'an escaped letter': text.replace('over', '\\u006fver'),
    'a number as 1e3': text.replace(String(content.atMs), '18e11'),
    'a byte-order mark': `\ufeff${text}`,
    'trailing bits in base64url': text.replace(content.nonce, `${content.nonce.slice(0, -1)}B`),
    'a line break at the end': `${text}\n`,
  }
  for (const [name, json] of Object.entries(cases)) {
    assert.notEqual(json, text, name)
    assert.throws(() => parseTx(bytesOf(json)), TxMalformed, name)
  }
  assert.deepEqual(parseTx(bytesOf(text)), example)
})

test('one byte over the bound is refused before it is read', () => {
  assert.throws(() => parseTx(new Uint8Array(TX_BYTES_MAX + 1)), /at most 262144/)
})

test('reasons that hide or reorder text are refused', () => {
  for (const reason of ['', '   ', 'a\nb', 'a\u0000', 'x\u202eevil', 'r'.repeat(201)]) {
    const tx = {
      ...example,
      content: { ...example.content, body: { type: 'deny.remove', id: '0123456789abcdef', reason } as const },
    }
    assert.throws(() => parseTx(encodeTx(tx)), TxMalformed, JSON.stringify(reason))
  }
})

test('the signed bytes begin with the domain, so that no other signature of the same key can pass for one', () => {
  assert.ok(new TextDecoder().decode(signingBytes(example.content)).startsWith('RINGWALL_TX_V1\n{"atMs":'))
})

test('ids are pinned: a change of them would orphan every denial', () => {
  assert.equal(subjectId({ kind: 'ip', value: '203.0.113.7' }), '06135e38f40b6281')
  assert.equal(accountKey('r', 'shop', 'ada'), '8c5c89fa1c568af3fe1e79f87f360b43')
})

test('spellings of one account give one key, other services and rings another', () => {
  const key = accountKey(ring, 'shop', 'ada@example.com')
  for (const name of ['ADA@example.com', '  ada@example.com\n', '\uff41da@example.com'])
    assert.equal(accountKey(ring, 'shop', name), key)
  assert.notEqual(accountKey(ring, 'blog', 'ada@example.com'), key)
  assert.notEqual(accountKey('other', 'shop', 'ada@example.com'), key)
  assert.match(accountKey(ring, 'shop', '\ud800'), /^[0-9a-f]{32}$/)
})

test('property: base64url agrees with the platform and takes one spelling only', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      const encoded = encodeBase64url(bytes)
      assert.equal(encoded, Buffer.from(bytes).toString('base64url'))
      assert.deepEqual(decodeBase64url(encoded), bytes)
    }),
  )
  for (const wrong of ['A', 'AB', 'AA==', 'A+AA', 'é']) assert.throws(() => decodeBase64url(wrong))
})

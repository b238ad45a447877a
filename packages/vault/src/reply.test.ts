import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { ReplyKey, ReplyMaker } from './reply.ts'

const holder = generateKeyPairSync('ed25519')
const maker = new ReplyMaker('n1', (message) => sign(null, message, holder.privateKey))
const good = (message: Uint8Array, signature: Uint8Array): boolean => verify(null, message, holder.publicKey, signature)
const some = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const content = fc.record({
  epoch: some(32),
  index: fc.integer({ min: 1, max: 65_535 }),
  openings: fc.array(
    fc.record({ version: fc.nat(), body: some(32), partial: fc.uint8Array({ minLength: 32, maxLength: 300 }) }),
    { maxLength: 64 },
  ),
})
const plain = (value: unknown): string =>
  JSON.stringify(value, (_key, held: unknown) => (held instanceof Uint8Array ? Buffer.from(held).toString('hex') : held))

test('property: an answer is read by the asker as the holder made it, and by nobody else, for no other request', () => {
  fc.assert(
    fc.property(content, fc.nat(), (said, at) => {
      const [asker, stranger, digest] = [new ReplyKey(), new ReplyKey(), randomBytes(32)]
      const reply = maker.make(said, asker.replyTo, digest)
      const read = asker.open(reply, 'n1', digest, good)
      assert.equal(
        plain({
          ...read,
          epoch: Buffer.from(read.epoch),
          openings: read.openings.map((one) => ({
            version: one.version,
            body: new Uint8Array(one.body),
            partial: new Uint8Array(one.partial),
          })),
        }),
        plain({ ...said, epoch: Buffer.from(said.epoch) }),
      )
      const refused = { code: 'VAULT_MALFORMED' }
      assert.throws(() => stranger.open(reply, 'n1', digest, good), refused)
      assert.throws(() => asker.open(reply, 'n2', digest, good), refused)
      assert.throws(() => asker.open(reply, 'n1', randomBytes(32), good), refused)
      const spoilt = Buffer.from(reply)
      spoilt[at % reply.length]! ^= 1
      assert.throws(() => asker.open(spoilt, 'n1', digest, good), refused)
      // Not even when nobody looks at signatures is it another's.
      assert.throws(() => stranger.open(reply, 'n1', digest, () => true), refused)
    }),
    { numRuns: 40 },
  )
})

test('anything but an answer is refused, and so is a key of low order', () => {
  const asker = new ReplyKey()
  for (const bytes of [new Uint8Array(0), randomBytes(123), randomBytes(124), randomBytes(200_000)])
    assert.throws(() => asker.open(bytes, 'n1', randomBytes(32), () => true), { code: 'VAULT_MALFORMED' })
  const none = Buffer.alloc(32).toString('base64url')
  assert.throws(() => maker.make({ epoch: new Uint8Array(32), index: 1, openings: [] }, none, randomBytes(32)), {
    code: 'VAULT_MALFORMED',
  })
})

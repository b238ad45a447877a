import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { authorityToSign } from '@ringwall/identity'
import { NO_SIGNING_KEY_VIEW, type RingKeyView } from '@ringwall/ring'
import { AuthorityCertificates } from './authority-certificates.ts'

const RING = 'ab'.repeat(32)
const NOW = 1_800_000_000_000
const raw = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string

interface Scene {
  readonly file: string
  signingKey: RingKeyView
  signatures: number
  open(file?: string): AuthorityCertificates
  /** Another key comes into force. */
  rotate(): string
}

function scene(t: TestContext): Scene {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-authorities-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  let pair = generateKeyPairSync('ed25519')
  const made: Scene = {
    file: join(folder, 'authorities.json'),
    signingKey: { ...NO_SIGNING_KEY_VIEW, key: raw(pair.publicKey), madeAtMs: NOW },
    signatures: 0,
    open: (file = made.file) =>
      new AuthorityCertificates({
        file,
        view: () => made,
        sign: async () => {
          made.signatures += 1
          const message = authorityToSign({ ring: RING, key: Buffer.from(raw(pair.publicKey), 'base64url'), madeAtMs: NOW })
          return { message, signature: sign(null, message, pair.privateKey) }
        },
      }),
    rotate: () => {
      const former = { key: made.signingKey.key as string, untilMs: NOW + 3_600_000 }
      pair = generateKeyPairSync('ed25519')
      made.signingKey = { ...made.signingKey, key: raw(pair.publicKey), former: [former] }
      return former.key
    },
  }
  return made
}

const names = (authorities: AuthorityCertificates): readonly string[] | undefined => authorities.known()?.map(({ key }) => key)

test('the certificate of the key is signed once; that of a former key stays as long as it verifies, over a restart too', async (t) => {
  const it = scene(t)
  const first = it.open()
  assert.equal(names(first), undefined)
  const [one, two] = await Promise.all([first.current(), first.current()])
  assert.deepEqual([one, it.signatures], [two, 1])
  const before = it.rotate()
  assert.equal(names(first), undefined, 'that of the new key is to be made')
  await first.current()
  assert.deepEqual(names(first), [it.signingKey.key, before])
  const again = it.open()
  assert.deepEqual(names(again), [it.signingKey.key, before])
  assert.deepEqual([Buffer.compare(await again.current(), await first.current()), it.signatures], [0, 2])
  it.signingKey = { ...it.signingKey, former: [] }
  assert.deepEqual(names(again), [it.signingKey.key])
})

test('a file that somebody wrote to is believed in nothing that is not signed by the key it names', async (t) => {
  const it = scene(t)
  await it.open().current()
  const good = JSON.parse(readFileSync(it.file, 'utf8')) as { key: string; certificate: string }[]
  const [{ key, certificate }] = good as [{ key: string; certificate: string }]
  const other = raw(generateKeyPairSync('ed25519').publicKey)
  const forged = Buffer.from(certificate, 'base64')
  forged[forged.length - 1] = (forged.at(-1) as number) ^ 1
  it.signingKey = { ...it.signingKey, former: [{ key: other, untilMs: NOW }] }
  for (const [what, text] of [
    ['under another key', JSON.stringify([{ key: other, certificate }])],
    ['with another signature', JSON.stringify([{ key, certificate: forged.toString('base64') }])],
    [
      'with bytes after it',
      JSON.stringify([{ key, certificate: Buffer.concat([Buffer.from(certificate, 'base64'), forged]).toString('base64') }]),
    ],
    ['no list', JSON.stringify({ key, certificate })],
    ['no JSON', '[{'],
    ['nothing', ''],
  ] as const) {
    writeFileSync(it.file, text)
    const opened = it.open()
    assert.equal(names(opened), undefined, what)
    await opened.current()
    assert.deepEqual(names(opened), [key], what)
  }
})

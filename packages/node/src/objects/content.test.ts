import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { type Manifest, VaultError } from '@ringwall/vault'
import { type ContentOptions, readContent } from './content.ts'

const SIZE = 9_000_000
const manifest: Manifest = {
  bucket: 'b',
  capsule: '',
  ciphertext: '',
  data: 1,
  headers: [],
  key: 'k',
  parts: [{ blob: '0011223344556677', hashes: '', size: SIZE }],
  ring: 'r',
  shards: 1,
  version: '00',
}

/** Pieces that come when they are let go on; slabs of zeros. */
function scene(objectKey: ContentOptions['objectKey']) {
  const state = { ended: 0, released: 0, opened: 0, letGo: () => {} }
  const gate = new Promise<void>((settle) => {
    state.letGo = settle
  })
  const options: ContentOptions = {
    objectKey,
    manifest,
    about: new Uint8Array(1),
    start: 0,
    end: SIZE,
    readerOf: () => ({
      async pieces() {
        await gate
        return {
          pieces: [undefined],
          release: () => {
            state.released += 1
          },
        }
      },
      end: () => {
        state.ended += 1
      },
    }),
    thread: {
      async open(_task, _pieces, { plainBytes }) {
        state.opened += 1
        return { bytes: new Uint8Array(plainBytes), release: () => {} }
      },
    },
  }
  return { state, content: readContent(options) }
}

test('a key that is refused before the first shard has come is told to whoever reads, and nothing else dies of it', async () => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  try {
    const { state, content } = scene(Promise.reject(new VaultError('VAULT_SHORT', 'nobody opens')))
    const first = content.next()
    for (let i = 0; i < 5; i += 1) await turn()
    state.letGo()
    await assert.rejects(first, { code: 'VAULT_SHORT' })
    for (let i = 0; i < 5; i += 1) await turn()
    assert.deepEqual(unhandled, [])
    assert.equal(state.opened, 0)
    assert.equal(state.ended, 1)
    assert.ok(state.released > 0)
  } finally {
    process.off('unhandledRejection', note)
  }
})

test('what is fetched before the key is known is opened once it is', async () => {
  const { state, content } = scene(turn().then(() => new Uint8Array(32)))
  state.letGo()
  let bytes = 0
  for await (const run of content) bytes += run.length
  assert.equal(bytes, SIZE)
  assert.equal(state.released, state.opened)
})

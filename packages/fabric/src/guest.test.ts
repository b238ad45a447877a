import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { createServer } from 'node:net'
import { after, test } from 'node:test'
import { createFabric } from './fabric.ts'
import { callAsGuest } from './guest.ts'
import type { Fabric } from './types.ts'

const started: Fabric[] = []
after(() => Promise.all(started.map((fabric) => fabric.stop())))

function newKey(): { readonly privateKey: KeyObject; readonly raw: Uint8Array } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey, raw: new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)) }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  const { port } = server.address() as { port: number }
  await new Promise((settle) => server.close(settle))
  return port
}

async function lonelyNode(): Promise<{ readonly fabric: Fabric; readonly port: number; readonly key: Uint8Array }> {
  const { privateKey, raw } = newKey()
  const port = await freePort()
  const self = { id: 'n1', region: 'eu', host: '127.0.0.1', port, publicKey: raw }
  const fabric = createFabric({ ring: 'ab'.repeat(32), self, privateKey, peers: [] })
  started.push(fabric)
  await fabric.start()
  return { fabric, port, key: raw }
}

test('a guest proves its key and sees whether it meets the right node; a node that is alone listens once it is opened', async () => {
  const { fabric, port, key } = await lonelyNode()
  const guest = newKey()
  const call = { host: '127.0.0.1', port, key, privateKey: guest.privateKey, timeoutMs: 5_000 }
  await assert.rejects(callAsGuest(call), { code: 'FABRIC_UNREACHABLE' })
  const seen: string[] = []
  fabric.onGuest((socket, shown) => {
    seen.push(Buffer.from(shown).toString('hex'))
    socket.end('welcome')
  })
  await Promise.all([fabric.open(), fabric.open()])
  const socket = await callAsGuest(call)
  const said = await new Promise<string>((settle) => socket.once('data', (chunk: Buffer) => settle(String(chunk))))
  socket.destroy()
  assert.equal(said, 'welcome')
  assert.deepEqual(seen, [Buffer.from(guest.raw).toString('hex')])
  await assert.rejects(callAsGuest({ ...call, key: newKey().raw }), /answers with another key/)
})

test('a node without a reception sends guests away', async () => {
  const { fabric, port, key } = await lonelyNode()
  await fabric.open()
  const call = callAsGuest({ host: '127.0.0.1', port, key, privateKey: newKey().privateKey, timeoutMs: 5_000 })
  await call.then(
    (socket) => new Promise<void>((settle) => socket.once('close', () => settle()).resume()),
    (error: { code: string }) => assert.equal(error.code, 'FABRIC_UNREACHABLE'),
  )
})

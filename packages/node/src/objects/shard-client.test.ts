import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { ShardClient } from './shard-client.ts'

const SHARD = ['00'.repeat(16), '00'.repeat(8), 0] as const

async function clientOf(t: TestContext, server: Server, silentMsMax: number): Promise<ShardClient> {
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  const { port } = server.address() as AddressInfo
  const dial = (): Promise<TLSSocket> =>
    new Promise((settle) => {
      const socket = connect(port, '127.0.0.1', () => settle(socket as TLSSocket))
    })
  const client = new ShardClient({ connect: dial }, silentMsMax)
  t.after(() => {
    client.stop()
    server.closeAllConnections()
    server.close()
  })
  return client
}

test('a peer is not given up while there is nothing to send to it: pieces of a slow client come when they come', async (t) => {
  const pieces = [randomBytes(10_000), randomBytes(10_000)]
  const taken: Buffer[] = []
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => taken.push(chunk))
    request.on('end', () => response.writeHead(201).end())
  })
  const client = await clientOf(t, server, 300)
  const sink = client.putShard('n2', ...SHARD, 20_000)
  for (const piece of pieces) {
    await sink.write(piece)
    await sleep(1_000)
  }
  await sink.commit()
  assert.ok(Buffer.concat(taken).equals(Buffer.concat(pieces)))
})

test('a peer that says nothing once it has all of a shard is given up', async (t) => {
  const client = await clientOf(
    t,
    createServer((request) => request.resume()),
    300,
  )
  const sink = client.putShard('n2', ...SHARD, 1_000)
  await sink.write(randomBytes(1_000))
  await assert.rejects(sink.commit(), { code: 'PEER_FAILED', message: /nothing for 0.3 s/ })
})

test('what a peer gives arrives as it was sent, in one piece and over the same connection again', async (t) => {
  const bytes = randomBytes(300_000)
  const server = createServer((_request, response) => response.writeHead(200, { 'content-length': bytes.length }).end(bytes))
  const client = await clientOf(t, server, 5_000)
  for (let round = 0; round < 3; round += 1) {
    const response = await client.get('n2', '/')
    // What comes while nobody reads waits with the response, past the parser.
    await sleep(20)
    const chunks: Buffer[] = []
    for await (const chunk of response ?? []) chunks.push(chunk as Buffer)
    assert.ok(Buffer.concat(chunks).equals(bytes))
  }
})

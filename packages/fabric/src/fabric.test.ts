import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { connect as connectTcp } from 'node:net'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { freePort } from '../../../tools/free-ports.ts'
import { createFabric, type MeshOptions } from './fabric.ts'
import { CURBED_SHARE, INGRESS } from './link.ts'
import type { Fabric, Peer } from './types.ts'

interface Member {
  readonly peer: Peer
  readonly privateKey: KeyObject
}

async function member(id: string): Promise<Member> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const publicKey = new Uint8Array(createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32))
  return { peer: { id, region: 'test', host: '127.0.0.1', port: await freePort(), publicKey }, privateKey }
}

const members = (count: number): Promise<Member[]> => Promise.all(Array.from({ length: count }, (_, i) => member(`n${i + 1}`)))

function fabricOf(self: Member, all: readonly Member[], more: Partial<MeshOptions> = {}): Fabric {
  const peers = all.filter(({ peer }) => peer.id !== self.peer.id).map(({ peer }) => peer)
  return createFabric({ ring: 'ring', self: self.peer, privateKey: self.privateKey, peers, ...more })
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 400; i += 1) {
    if (holds()) return
    await sleep(20)
  }
  assert.fail(`never: ${what}`)
}

const linked = (fabric: Fabric): boolean => fabric.links().every(({ connected }) => connected)

/** Runs with started fabrics, and stops them whatever happens. */
async function withFabrics(fabrics: readonly Fabric[], run: () => Promise<void>): Promise<void> {
  try {
    await Promise.all(fabrics.map((fabric) => fabric.start()))
    await run()
  } finally {
    await Promise.all(fabrics.map((fabric) => fabric.stop()))
  }
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const textOf = (payload: Uint8Array): string => Buffer.from(payload).toString('utf8')

test('three nodes link up; messages keep their order; requests are answered, fail, and time out', async () => {
  const all = await members(3)
  const fabrics = all.map((self) => fabricOf(self, all))
  const [a, b, c] = fabrics as [Fabric, Fabric, Fabric]
  const heard: string[] = []
  c.onMessage('signals', (from, payload) => heard.push(`${from} ${textOf(payload)}`))
  b.onRequest('query', async (from, payload) => {
    if (textOf(payload) === 'fail') throw new Error('secret')
    if (textOf(payload) === 'never') await sleep(2_000)
    return bytes(`${from} asked ${textOf(payload)}`)
  })
  await withFabrics(fabrics, async () => {
    await until('all linked', () => fabrics.every(linked))
    for (let i = 0; i < 100; i += 1) assert.ok(a.send('n3', 'signals', bytes(String(i))))
    await until('all heard', () => heard.length === 100)
    assert.deepEqual(
      heard,
      Array.from({ length: 100 }, (_, i) => `n1 ${i}`),
    )
    assert.equal(textOf(await a.request('n2', 'query', bytes('why'), 1_000)), 'n1 asked why')
    await assert.rejects(a.request('n2', 'query', bytes('fail'), 1_000), (error: Error) => !error.message.includes('secret'))
    await assert.rejects(a.request('n2', 'query', bytes('never'), 50), { code: 'FABRIC_TIMEOUT' })
    await assert.rejects(a.request('n9', 'query', bytes('x'), 50), { code: 'FABRIC_UNREACHABLE' })
  })
})

test('gossip reaches each node once; what a node finds bad goes no further, and whoever repeats it is muted', async () => {
  const all = await members(4)
  const warnings: string[] = []
  const fabrics = all.map((self, i) => fabricOf(self, all, i === 1 ? { log: (_level, line) => warnings.push(line) } : {}))
  const heard = fabrics.map(() => [] as string[])
  for (const [i, fabric] of fabrics.entries()) {
    fabric.onGossip((_from, payload) => {
      heard[i]?.push(textOf(payload))
      return !textOf(payload).startsWith('bad')
    })
  }
  await withFabrics(fabrics, async () => {
    await until('all linked', () => fabrics.every(linked))
    fabrics[0]?.gossip(bytes('good'))
    fabrics[0]?.gossip(bytes('good'))
    await until('all heard', () => heard.slice(1).every((list) => list.length > 0))
    await sleep(100)
    assert.deepEqual(heard, [[], ['good'], ['good'], ['good']])
    for (let i = 0; i < 70; i += 1) fabrics[0]?.gossip(bytes(`bad ${i}`))
    await until('muted', () => warnings.some((line) => line.includes('n1 gossips')))
    await sleep(100)
    assert.equal(heard[1]?.length, 61, 'sixty of them were looked at')
  })
})

test('a node with another key than the ring knows is refused by both sides, each saying so', async () => {
  const all = await members(2)
  const [good, old] = all as [Member, Member]
  const impostor = { ...(await member('n2')), peer: old.peer }
  const lines: string[] = []
  const log = (_level: string, line: string): number => lines.push(line)
  const fabrics = [fabricOf(good, all, { log }), fabricOf(impostor, all, { log })]
  await withFabrics(fabrics, async () => {
    await until('the dialling side says so', () => fabrics[0]?.links()[0]?.reason?.includes('another key') === true)
  })
  const reversed = [
    fabricOf({ ...impostor, peer: { ...old.peer, id: 'n0' } }, [good]),
    fabricOf(good, [{ ...old, peer: { ...old.peer, id: 'n0' } }], { log }),
  ]
  await withFabrics(reversed, async () => {
    await until('the accepting side says so', () =>
      lines.some((line) => /presented a key that belongs to no node of this ring/.test(line)),
    )
    assert.equal(reversed[1]?.links()[0]?.connected, false)
  })
})

test('a node of another ring is refused, and told why', async () => {
  const all = await members(2)
  const fabrics = [fabricOf(all[0] as Member, all), fabricOf(all[1] as Member, all, { ring: 'other' })]
  await withFabrics(fabrics, async () => {
    await until('it says so', () => fabrics.some((fabric) => fabric.links()[0]?.reason?.includes('another ring') === true))
    assert.ok(fabrics.every((fabric) => !linked(fabric)))
  })
})

test('strangers without a certificate, with garbage, or silent, disturb nobody', async () => {
  const all = await members(2)
  const fabrics = all.map((self) => fabricOf(self, all))
  const { port } = (all[1] as Member).peer
  await withFabrics(fabrics, async () => {
    const stranger = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false })
    const garbage = connectTcp({ host: '127.0.0.1', port }, () => garbage.write('GET / HTTP/1.1\r\n\r\n'))
    const silent = connectTcp({ host: '127.0.0.1', port })
    for (const socket of [stranger, garbage, silent]) socket.on('error', () => {})
    const closed = new Promise((settle) => stranger.on('close', settle))
    await until('linked all the same', () => fabrics.every(linked))
    await closed
    for (const socket of [stranger, garbage, silent]) socket.destroy()
  })
})

test('a port full of connections that say nothing takes a peer all the same', async () => {
  const all = await members(2)
  const last = fabricOf(all[1] as Member, all)
  const first = fabricOf(all[0] as Member, all)
  const { port } = (all[1] as Member).peer
  await last.start()
  const idle = Array.from({ length: 300 }, () => connectTcp({ host: '127.0.0.1', port }))
  for (const socket of idle) socket.on('error', () => {})
  try {
    await new Promise((settle) => setTimeout(settle, 200))
    await first.start()
    await until('linked beside them', () => linked(first) && linked(last))
  } finally {
    for (const socket of idle) socket.destroy()
    await Promise.all([first.stop(), last.stop()])
  }
})

test('a port in use is one error that names the address', async () => {
  const all = await members(2)
  const [first, second] = [fabricOf(all[0] as Member, all), fabricOf(all[0] as Member, all)]
  await withFabrics([first], async () => {
    await assert.rejects(second.start(), {
      code: 'FABRIC_PORT_IN_USE',
      message: new RegExp(`127\\.0\\.0\\.1:${(all[0] as Member).peer.port} .*in use`),
    })
  })
  await second.stop()
})

test('a node that goes away is noticed, and linked again when it is back', async () => {
  const all = await members(2)
  const [a, b] = [fabricOf(all[0] as Member, all), fabricOf(all[1] as Member, all)]
  const seen: boolean[] = []
  a.onLink(({ connected }) => seen.push(connected))
  await a.start()
  await b.start()
  await until('linked', () => linked(a))
  const waiting = assert.rejects(a.request('n2', 'query', bytes('x'), 5_000))
  await b.stop()
  await waiting
  await until('noticed', () => !linked(a))
  const again = fabricOf(all[1] as Member, all)
  await again.start()
  await until('linked again', () => linked(a) && linked(again))
  assert.deepEqual(seen, [true, false, true])
  await Promise.all([a.stop(), again.stop()])
})

test('a clock that is ahead is measured', async () => {
  const all = await members(2)
  const fabrics = [fabricOf(all[0] as Member, all), fabricOf(all[1] as Member, all, { now: () => Date.now() + 42_000 })]
  await withFabrics(fabrics, async () => {
    await until('measured', () => fabrics[0]?.links()[0]?.clockOffsetMs !== undefined)
    const offset = fabrics[0]?.links()[0]?.clockOffsetMs as number
    assert.ok(Math.abs(offset - 42_000) < 1_000, String(offset))
  })
})

test('a handler that throws does not cost the link', async () => {
  const all = await members(2)
  const fabrics = all.map((self) => fabricOf(self, all))
  let count = 0
  fabrics[1]?.onMessage('signals', () => {
    count += 1
    throw new Error('a defect')
  })
  await withFabrics(fabrics, async () => {
    await until('linked', () => fabrics.every(linked))
    for (let i = 0; i < 3; i += 1) fabrics[0]?.send('n2', 'signals', bytes('x'))
    await until('all handled', () => count === 3)
    assert.ok(fabrics.every(linked))
  })
})

test('who joins is linked while the others go on, who leaves is cut off, and a node that was alone begins to listen', async () => {
  const all = await members(3)
  const [one, two, three] = all as [Member, Member, Member]
  const [a, b, c] = [fabricOf(one, [one]), fabricOf(two, [one, two]), fabricOf(three, all)]
  await withFabrics([a, b, c], async () => {
    assert.deepEqual(a.links(), [])
    await a.setPeers([two.peer])
    await until('a and b are linked', () => linked(a) && a.links().length === 1 && linked(b))
    await sleep(100)
    assert.ok(!c.links().some(({ connected }) => connected), 'nobody knows the third yet')
    await a.setPeers([two.peer, three.peer])
    await b.setPeers([one.peer, three.peer])
    await until('all are linked', () => [a, b, c].every((fabric) => linked(fabric) && fabric.links().length === 2))
    let sent = 0
    const pending = a.request('n2', 'query', bytes('?'), 5_000)
    await Promise.all([a.setPeers([three.peer]), assert.rejects(pending)])
    await until('the second is cut off', () => !b.links().some(({ id, connected }) => id === 'n1' && connected))
    c.onMessage('signals', () => {
      sent += 1
    })
    assert.equal(a.send('n2', 'signals', bytes('no')), false)
    assert.ok(a.send('n3', 'signals', bytes('yes')))
    await until('the others hear each other', () => sent === 1)
    await sleep(300)
    assert.ok(!b.links().some(({ id, connected }) => id === 'n1' && connected), 'it does not come back')
    assert.deepEqual(
      a.links().map(({ id }) => id),
      ['n3'],
    )
  })
})

test('a peer that sends more than its budget is read no faster, loses nothing, and others are read meanwhile', async () => {
  const all = await members(3)
  const fabrics = all.map((self) => fabricOf(self, all))
  const [a, b, c] = fabrics as [Fabric, Fabric, Fabric]
  let from1 = 0
  let inOrder = true
  let from2 = 0
  c.onMessage('signals', (from, payload) => {
    if (from === 'n2') from2 += 1
    else {
      inOrder &&= Buffer.from(payload).readUInt32BE() === from1
      from1 += 1
    }
  })
  await withFabrics(fabrics, async () => {
    await until('all linked', () => fabrics.every(linked))
    const { framesPerSecond, burstSeconds } = INGRESS
    const count = framesPerSecond * (burstSeconds + 1)
    const began = performance.now()
    for (let i = 0; i < count; i += 1) {
      const payload = Buffer.alloc(4)
      payload.writeUInt32BE(i)
      assert.ok(a.send('n3', 'signals', payload))
    }
    // The budget is spent when the rest waits: the other peer is heard in the middle of it.
    await until('the burst', () => from1 >= framesPerSecond * burstSeconds)
    for (let i = 0; i < 10; i += 1) b.send('n3', 'signals', bytes('x'))
    await until('the other', () => from2 === 10)
    await until('all', () => from1 === count)
    assert.ok(inOrder)
    // Never sooner, however fast the machine; one chunk of the socket is taken whole.
    assert.ok(performance.now() - began > 500)
    assert.ok(linked(c))
  })
})

test('a peer that is curbed is read at a small part of its budget, its link stands, and it is read as before afterwards', async () => {
  const all = await members(2)
  const fabrics = all.map((self) => fabricOf(self, all))
  const [a, b] = fabrics as [Fabric, Fabric]
  let heard = 0
  b.onMessage('signals', () => {
    heard += 1
  })
  await withFabrics(fabrics, async () => {
    await until('both linked', () => fabrics.every(linked))
    const curbMs = 3_000
    const began = performance.now()
    b.curb('n1', curbMs)
    const payload = new Uint8Array(60_000)
    const count = Math.ceil((INGRESS.bytesPerSecond * CURBED_SHARE * 6) / payload.length)
    for (let i = 0; i < count; i += 1) assert.ok(a.send('n2', 'signals', payload))
    await until('all', () => heard === count)
    // What was sent takes six seconds at the curbed rate: it is here as soon as the curb is over, and no sooner.
    assert.ok(performance.now() - began > 1_500)
    assert.ok(fabrics.every(linked))
  })
})

test('a peer’s connection of its own carries bytes with back-pressure, both ways; strangers get none, and one that leaves loses it', async () => {
  const all = await members(2)
  const [a, b] = all.map((self) => fabricOf(self, all)) as [Fabric, Fabric]
  const stranger = await member('n3')
  const outside = createFabric({ ring: 'ring', self: stranger.peer, privateKey: stranger.privateKey, peers: [all[1]!.peer] })
  let received = 0
  b.onStream((from, socket) => {
    socket.on('data', (chunk: Buffer) => (received += chunk.length))
    socket.write(`hello ${from}`)
  })
  await withFabrics([a, b, outside], async () => {
    const socket = await a.connect('n2')
    let greeting = ''
    socket.on('data', (chunk: Buffer) => (greeting += chunk.toString()))
    await until('greeted', () => greeting === 'hello n1')
    // More than a link lets a peer send at once.
    const chunk = new Uint8Array(1_048_576)
    for (let i = 0; i < 32; i += 1) if (!socket.write(chunk)) await new Promise((settle) => socket.once('drain', settle))
    await until('all there', () => received === 32 * chunk.length)
    await assert.rejects(a.connect('n9'), { code: 'FABRIC_UNREACHABLE' })
    const refused = await outside.connect('n2').then(
      (one) => new Promise((settle) => one.once('close', () => settle('closed'))),
      () => 'refused',
    )
    assert.ok(refused === 'closed' || refused === 'refused')
    let isClosed = false
    socket.once('close', () => (isClosed = true))
    await b.setPeers([])
    await until('closed', () => isClosed)
  })
})

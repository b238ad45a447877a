/** For tests: a name server that knows a few names (RFC 1035), counts what it is asked, and is silent where it is told to be. */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

const TYPES = { A: 1, NS: 2, SOA: 6, PTR: 12, TXT: 16, AAAA: 28 } as const

export interface TestDns {
  /** For `dnsServers`. */
  readonly server: string
  /** `PTR 7.113.0.203.in-addr.arpa` and the like. */
  readonly asked: readonly string[]
}

/** @param records By type and name, such as `A crawl.example.com`: values, or undefined for no answer at all. They may change meanwhile. */
export async function testDns(
  t: TestContext,
  records: Readonly<Record<string, readonly string[] | undefined>>,
): Promise<TestDns> {
  const socket = createSocket('udp4')
  const asked: string[] = []
  socket.on('message', (query, { address, port }) => {
    const labels: string[] = []
    let at = 12
    for (; query[at] !== 0; at += query[at]! + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!))
    const type = query.readUInt16BE(at + 1)
    const name = Object.entries(TYPES).find(([, number]) => number === type)?.[0] ?? String(type)
    const key = `${name} ${labels.join('.').toLowerCase()}`
    asked.push(key)
    if (Object.hasOwn(records, key) && records[key] === undefined) return
    const values = records[key] ?? []
    const head = Buffer.from(query.subarray(0, 12))
    // An answer, recursion available; no such name where nothing is known.
    head.writeUInt16BE(0x8180 | (values.length === 0 ? 3 : 0), 2)
    head.writeUInt16BE(values.length, 6)
    head.writeUInt32BE(0, 8)
    const answers = values.map((value) => {
      const data = dataOf(type, value)
      const fixed = Buffer.alloc(12)
      fixed.writeUInt16BE(0xc00c, 0)
      fixed.writeUInt16BE(type, 2)
      fixed.writeUInt16BE(1, 4)
      fixed.writeUInt32BE(60, 6)
      fixed.writeUInt16BE(data.length, 10)
      return Buffer.concat([fixed, data])
    })
    socket.send(Buffer.concat([head, query.subarray(12, at + 5), ...answers]), port, address)
  })
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  t.after(() => socket.close())
  return { server: `127.0.0.1:${(socket.address() as AddressInfo).port}`, asked }
}

function dataOf(type: number, value: string): Buffer {
  if (type === TYPES.A) return Buffer.from(value.split('.').map(Number))
  if (type === TYPES.AAAA)
    return Buffer.from(value.split(':').flatMap((word) => [Number.parseInt(word, 16) >> 8, Number.parseInt(word, 16) & 255]))
  if (type === TYPES.TXT) return Buffer.from(`${String.fromCharCode(value.length)}${value}`, 'latin1')
  const labels = value.split('.').flatMap((label) => [Buffer.of(label.length), Buffer.from(label)])
  const name = Buffer.concat([...labels, Buffer.of(0)])
  // Who is responsible, and five numbers that nobody here asks for.
  return type === TYPES.SOA ? Buffer.concat([name, name, Buffer.alloc(20)]) : name
}

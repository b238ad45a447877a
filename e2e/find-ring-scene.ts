/**
 * Devices whose voucher names no address where anybody answers find their ring by DNS and by multicast DNS. To be run by `find-ring.ts`, in network and mount
 * namespaces of its own: it is the machine's name server, and its loopback takes multicast. Writes what was done as JSON.
 */
import assert from 'node:assert/strict'
import { type ChildProcess, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer } from 'node:tls'
import { GUEST_PROTOCOL } from '@ringwall/fabric'
import { selfSignedCertificate } from '../packages/fabric/src/certificate.ts'
import { generateKey } from '../packages/node/src/keys.ts'
import { done, powerOnDevice, shipDevice } from './device-steps.ts'
import type { FoundRow } from './find-ring.ts'
import { freePorts, TestRing } from './local-ring.ts'

const DOMAIN = 'ring.test'
const SRV = 33
const A = 1
/** Port of the discard service: nobody listens there. */
const NOWHERE = '127.0.0.1:9'

const rows: FoundRow[] = []
const children: ChildProcess[] = []
const root = mkdtempSync(join(tmpdir(), 'ringwall-find-'))

function run(command: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr.trim()}`)
}

run('ip', 'link', 'set', 'lo', 'up', 'multicast', 'on')
run('ip', 'route', 'add', '224.0.0.0/4', 'dev', 'lo')
writeFileSync(join(root, 'resolv.conf'), `nameserver 127.0.0.1\nsearch ${DOMAIN}\noptions timeout:1 attempts:1\n`)
run('mount', '--bind', join(root, 'resolv.conf'), '/etc/resolv.conf')

const nameBytes = (name: string): Buffer =>
  Buffer.concat([...name.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.of(0)])
const word = (value: number): Buffer => Buffer.of(value >> 8, value & 255)

/** The machine's name server: `services` are the ports that it says the ring is at, the preferred first; all its names are of this machine. */
class NameServer {
  readonly #socket = createSocket('udp4')
  readonly asked: string[] = []
  services: readonly number[] = []

  async start(): Promise<void> {
    this.#socket.on('message', (query, from) => this.#answer(query, from.port, from.address))
    this.#socket.bind(53, '127.0.0.1')
    await once(this.#socket, 'listening')
  }

  stop(): void {
    this.#socket.close()
  }

  #answer(query: Buffer, port: number, address: string): void {
    const labels: string[] = []
    let at = 12
    for (let length = query[at] as number; length !== 0; length = query[at] as number) {
      labels.push(query.toString('latin1', at + 1, at + 1 + length))
      at += length + 1
    }
    const name = labels.join('.').toLowerCase()
    const type = query.readUInt16BE(at + 1)
    this.asked.push(`${type} ${name}`)
    const data =
      type === SRV && name === `_ringwall._tcp.${DOMAIN}`
        ? this.services.map((service, order) =>
            Buffer.concat([word(order), word(0), word(service), nameBytes(`n${order}.${DOMAIN}`)]),
          )
        : type === A && /^n\d\.ring\.test$/.test(name)
          ? [Buffer.of(127, 0, 0, 1)]
          : []
    const head = Buffer.from(query.subarray(0, 12))
    head.writeUInt16BE(0x8180, 2)
    head.writeUInt16BE(1, 4)
    head.writeUInt16BE(data.length, 6)
    head.writeUInt32BE(0, 8)
    const answers = data.map((one) =>
      Buffer.concat([word(0xc00c), word(type), word(1), word(0), word(60), word(one.length), one]),
    )
    this.#socket.send(Buffer.concat([head, query.subarray(12, at + 5), ...answers]), port, address)
  }
}

const names = new NameServer()
await names.start()
const ring = await TestRing.start()
const home = (name: string): string => join(ring.data, name)

const shipped = (serial: string): string => shipDevice(ring, serial)

/** How long until it serves the application, once the ring has it. */
const powerOn = async (directory: string): Promise<number> =>
  (await powerOnDevice(ring, directory, { onChild: (child) => void children.push(child) })).servedMs

const fabricPort = (node: number): number => {
  const yaml = readFileSync(home(`n${node}/node.yaml`), 'utf8')
  return Number(/fabric: "?127\.0\.0\.1:(\d+)/.exec(yaml)?.[1])
}

/** Answers as a node would, with a key that no voucher names. */
async function impostor(): Promise<{ readonly port: number; called(): number; stop(): void }> {
  const { privateKey } = generateKey()
  const key = privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
  const options = { key, cert: selfSignedCertificate('n1', privateKey, Date.now()), requestCert: true, rejectUnauthorized: false }
  let called = 0
  const server = createServer({ ...options, minVersion: 'TLSv1.3', ALPNProtocols: [GUEST_PROTOCOL] }, (socket) => {
    socket.on('error', () => socket.destroy())
  })
  // Who sees another key goes before the server has seen its own.
  server.on('connection', () => {
    called += 1
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  const port = (await freePorts(1)) + 1
  await new Promise<void>((settle) => server.listen(port, '127.0.0.1', settle))
  return { port, called: () => called, stop: () => server.close() }
}

try {
  const key = done(ring.cliAlone('device', 'manufacturer', 'acme', '--directory', home('factory')))
  const { text } = await ring.client(1).policy()
  writeFileSync(home('ringwall.yaml'), `${text}\ndevices:\n  manufacturers:\n    - { name: acme, key: ${key} }\n`)
  done(ring.cli('policy', 'apply', home('ringwall.yaml'), '--yes'))
  const destination = done(ring.cli('device', 'address')).replace(/127\.0\.0\.1:\d+/g, NOWHERE)
  writeFileSync(home('ring.json'), destination)

  const false1 = await impostor()
  names.services = [false1.port, fabricPort(2)]
  const dnsMs = await powerOn(shipped('DNS-1'))
  assert.ok(names.asked.includes(`${SRV} _ringwall._tcp.${DOMAIN}`))
  assert.ok(false1.called() > 0)
  rows.push({
    what: 'found by DNS, which names an impostor first',
    outcome: 'the impostor passed over, serves the application',
    ms: dnsMs,
  })
  false1.stop()

  names.services = []
  await ring.kill(3)
  appendFileSync(home('n3/node.yaml'), 'announce: true\n')
  ring.start(3)
  await ring.answers(3, 60_000)
  const linkMs = await powerOn(shipped('LINK-1'))
  rows.push({ what: 'found on the link by multicast DNS', outcome: 'serves the application', ms: linkMs })
  process.stdout.write(`${JSON.stringify(rows)}\n`)
} finally {
  for (const child of children) child.kill('SIGKILL')
  await ring.destroy()
  names.stop()
  rmSync(root, { recursive: true, force: true })
}

/** Two sidecars of two services on one machine, with certificates of a node's Workload API, and who tries to be one of them. */
import assert from 'node:assert/strict'
import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { Agent, createServer, type IncomingHttpHeaders, request } from 'node:http'
import { request as requestTls } from 'node:https'
import { type AddressInfo, connect as connectPlain } from 'node:net'
import { after, type TestContext, test } from 'node:test'
import { authorityToSign, certificateOf, certificatePem, spiffeId, svidToSign } from '@ringwall/identity'
import { createDenialIndex, type View } from '@ringwall/ring'
import { StartError } from '../errors.ts'
import { signMessage } from '../keys.ts'
import { RING, Signers } from '../signing/test-signers.ts'
import { skip, startWorkloadApi } from '../workloads/test-workload-api.ts'
import { parseSidecarConfig } from './config.ts'
import { Sidecar } from './sidecar.ts'

const signers = new Signers(2, 2)
const { view } = signers
after(() => signers.stop())

const idOf = (service: string): string => spiffeId(RING, 'service', service)

interface Scene {
  readonly socket: string
  readonly change: (changes: Partial<View>) => void
  /** What is denied by thumbprint is replaced. */
  renew(service: string): void
}

async function scene(t: TestContext, services = ['billing', 'shop', 'other']): Promise<Scene> {
  const { socket, change } = await startWorkloadApi(t, signers, view, services)
  return {
    socket,
    change,
    renew: (name) => {
      const issuedAtMs = Date.now()
      const value = new Date(issuedAtMs).toISOString()
      const subject = { kind: 'issued-before', value, subject: idOf(name) } as const
      const at = { issuedAtMs, expiresAtMs: issuedAtMs + 600_000, height: 1 }
      change({ denials: createDenialIndex([{ id: '0'.repeat(16), subject, reason: 'a test', issuer: 'operator:ada', ...at }]) })
    },
  }
}

async function sidecar(
  t: TestContext,
  { socket }: Scene,
  text: string,
): Promise<{ readonly ports: number[]; readonly said: string[]; readonly it: Sidecar }> {
  const said: string[] = []
  const it = new Sidecar(parseSidecarConfig(`workloadApi: unix://${socket}\n${text}`, 'sidecar.yaml'), {
    say: (_level, line) => said.push(line),
  })
  const ways = await it.start()
  t.after(() => it.stop())
  return { ports: ways.map((way) => Number(/:([0-9]+) /.exec(way)?.[1])), said, it }
}

/** A program that knows nothing of certificates. */
async function program(t: TestContext): Promise<{ readonly url: string; readonly seen: IncomingHttpHeaders[] }> {
  const seen: IncomingHttpHeaders[] = []
  const server = createServer((asked, response) => {
    seen.push(asked.headers)
    response.end('ok')
  })
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  t.after(() => {
    server.close()
    server.closeAllConnections()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen }
}

function ask(port: number, headers: Record<string, string> = {}, agent?: Agent): Promise<number> {
  return new Promise((settle, refuse) => {
    const sent = request({ host: '127.0.0.1', port, headers, ...(agent === undefined ? {} : { agent }) }, (response) => {
      response.resume()
      response.on('end', () => settle(response.statusCode as number))
    })
    sent.on('error', refuse)
    sent.end()
  })
}

test('programs speak with each other over mutual TLS, and the one that is called hears who calls, whatever a client says', {
  skip,
}, async (t) => {
  const at = await scene(t)
  const { url, seen } = await program(t)
  const billing = await sidecar(
    t,
    at,
    `service: billing\ninbound: [{ listen: "127.0.0.1:0", to: "${url}", callers: [service/shop] }]\n`,
  )
  const to = `https://127.0.0.1:${billing.ports[0]}`
  const shop = await sidecar(t, at, `service: shop\noutbound: [{ listen: "127.0.0.1:0", to: "${to}", is: service/billing }]\n`)
  assert.equal(shop.it.spiffeId, idOf('shop'))
  const forged = {
    'x-ringwall-peer': 'spiffe://evil',
    X_Ringwall_Peer: 'spiffe://evil',
    'X-Forwarded-Client-Cert': 'URI=spiffe://evil',
    x_forwarded_client_cert: 'URI=spiffe://evil',
  }
  assert.equal(await ask(shop.ports[0]!, forged), 200)
  const [headers] = seen
  assert.equal(headers?.['x-ringwall-peer'], idOf('shop'))
  assert.match(headers?.['x-forwarded-client-cert'] as string, new RegExp(`^Hash=[0-9a-f]{64};URI=${idOf('shop')}$`))
  assert.equal(JSON.stringify(headers).includes('evil'), false)

  const other = await sidecar(t, at, `service: other\noutbound: [{ listen: "127.0.0.1:0", to: "${to}", is: service/billing }]\n`)
  assert.equal(await ask(other.ports[0]!), 403, 'who is no caller is refused')
  assert.ok(
    billing.said.some((line) => line.includes(`${idOf('other')} is none of the callers`)),
    billing.said.join('\n'),
  )
  const wrong = await sidecar(t, at, `service: shop\noutbound: [{ listen: "127.0.0.1:0", to: "${to}", is: service/shop }]\n`)
  assert.equal(await ask(wrong.ports[0]!), 502, 'nothing is sent to whom it is not meant for')
  assert.ok(
    wrong.said.some((line) => line.includes(`is ${idOf('billing')}, where ${idOf('shop')} is expected`)),
    wrong.said.join('\n'),
  )
  assert.equal(seen.length, 1)
})

test('who shows no certificate of the ring does not get in, not by plain HTTP, none, a foreign one or a forged chain', {
  skip,
}, async (t) => {
  const at = await scene(t)
  const { url, seen } = await program(t)
  const billing = await sidecar(
    t,
    at,
    `service: billing\ninbound: [{ listen: "127.0.0.1:0", to: "${url}", callers: [anyone] }]\n`,
  )
  const [port] = billing.ports
  const foreign = foreignSvid(idOf('shop'))
  const attempts = { none: {}, foreign, 'foreign with its authority': { ...foreign, cert: foreign.cert + foreign.ca } }
  for (const [what, shown] of Object.entries(attempts)) {
    const answer = await new Promise<string>((settle) => {
      const sent = requestTls({ host: '127.0.0.1', port, rejectUnauthorized: false, agent: false, ...shown }, (response) => {
        response.resume()
        settle(`answered ${response.statusCode}`)
      })
      sent.on('error', () => settle('cut'))
      sent.end()
    })
    assert.equal(answer, 'cut', what)
  }
  const plain = await new Promise<string>((settle) => {
    const socket = connectPlain(port!, '127.0.0.1', () => socket.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n'))
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += String(chunk)
    })
    socket.on('close', () => settle(text))
    socket.on('error', () => settle(text))
  })
  assert.match(plain, /^HTTP\/1\.1 400 /)
  assert.match(plain, /speaks TLS/)
  assert.equal(seen.length, 0)
  assert.ok(billing.said.some((line) => line.includes('shows no certificate')))
  assert.ok(billing.said.some((line) => line.includes('shows a certificate that is not taken')))
})

test('certificates are replaced on both sides under load, without a failed request', { skip }, async (t) => {
  const at = await scene(t)
  const { url, seen } = await program(t)
  const billing = await sidecar(
    t,
    at,
    `service: billing\ninbound: [{ listen: "127.0.0.1:0", to: "${url}", callers: [service/shop] }]\n`,
  )
  const to = `https://127.0.0.1:${billing.ports[0]}`
  const shop = await sidecar(t, at, `service: shop\noutbound: [{ listen: "127.0.0.1:0", to: "${to}", is: service/billing }]\n`)
  const hashes = (): number => new Set(seen.map((headers) => headers['x-forwarded-client-cert'])).size
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  t.after(() => agent.destroy())
  const counts: Record<number, number> = {}
  let isOver = false
  const worker = async (): Promise<void> => {
    while (!isOver) {
      const status = await ask(shop.ports[0]!, {}, agent)
      counts[status] = (counts[status] ?? 0) + 1
    }
  }
  const workers = Array.from({ length: 4 }, worker)
  const takenOf = ({ said }: { readonly said: string[] }): number =>
    said.filter((line) => line.startsWith('certificate of')).length
  for (let round = 2; round <= 3; round += 1) {
    for (const [name, side] of [
      ['shop', shop],
      ['billing', billing],
    ] as const) {
      at.renew(name)
      for (let waits = 0; takenOf(side) < round && waits < 2_000; waits += 1) await new Promise((wake) => setTimeout(wake, 5))
      assert.equal(takenOf(side), round)
    }
    const count = seen.length
    while (seen.length < count + 20) await new Promise((wake) => setTimeout(wake, 5))
  }
  isOver = true
  await Promise.all(workers)
  assert.deepEqual(Object.keys(counts), ['200'])
  assert.equal(hashes(), 3, 'each certificate of the caller was used')
})

test('a service that is denied loses its certificate: nothing goes in or out', { skip }, async (t) => {
  const at = await scene(t)
  const { url } = await program(t)
  const billing = await sidecar(
    t,
    at,
    `service: billing\ninbound: [{ listen: "127.0.0.1:0", to: "${url}", callers: [service/shop] }]\n`,
  )
  const to = `https://127.0.0.1:${billing.ports[0]}`
  const shop = await sidecar(t, at, `service: shop\noutbound: [{ listen: "127.0.0.1:0", to: "${to}", is: service/billing }]\n`)
  assert.equal(await ask(shop.ports[0]!), 200)
  at.change({ policyVersion: 2, policy: { ...signers.view.policy, workloads: {} } })
  for (let waits = 0; shop.it.spiffeId !== undefined && waits < 2_000; waits += 1)
    await new Promise((wake) => setTimeout(wake, 5))
  assert.equal(shop.it.spiffeId, undefined)
  assert.equal(await ask(shop.ports[0]!), 502)
  assert.ok(
    shop.said.some((line) => line.includes('no workload of the ring’s policy on this node fits this program')),
    shop.said.join('\n'),
  )
})

test('a service that a program is no more is not spoken for, though it is others still', { skip }, async (t) => {
  const at = await scene(t)
  const { url } = await program(t)
  const billing = await sidecar(
    t,
    at,
    `service: billing\ninbound: [{ listen: "127.0.0.1:0", to: "${url}", callers: [anyone] }]\n`,
  )
  const to = `https://127.0.0.1:${billing.ports[0]}`
  const shop = await sidecar(t, at, `service: shop\noutbound: [{ listen: "127.0.0.1:0", to: "${to}", is: service/billing }]\n`)
  const { shop: _left, ...workloads } = signers.view.policy.workloads
  at.change({ policyVersion: 2, policy: { ...signers.view.policy, workloads } })
  for (let waits = 0; shop.it.spiffeId !== undefined && waits < 2_000; waits += 1)
    await new Promise((wake) => setTimeout(wake, 5))
  assert.equal(shop.it.spiffeId, undefined)
  assert.equal(await ask(shop.ports[0]!), 502)
  assert.equal(billing.it.spiffeId, idOf('billing'))
})

test('a configuration that would say too much, or nothing, is refused by name', () => {
  const inbound = 'inbound: [{ listen: "0.0.0.0:8443", to: "http://127.0.0.1:3000", callers: [service/shop] }]'
  const wrong: readonly (readonly [string, RegExp])[] = [
    [inbound, /workloadApi is missing, and SPIFFE_ENDPOINT_SOCKET is not set/],
    [`workloadApi: http://x\n${inbound}`, /expected unix:\/\/\/PATH/],
    ['workloadApi: /a.sock', /expected inbound, outbound, or both/],
    [`workloadApi: /a.sock\n${inbound.replace('127.0.0.1:3000', '10.0.0.1:3000')}`, /10\.0\.0\.1 is not this machine/],
    [`workloadApi: /a.sock\n${inbound.replace('[service/shop]', '[]')}`, /sidecar\.yaml:2:/],
    [`workloadApi: /a.sock\n${inbound.replace('service/shop', 'shop')}`, /sidecar\.yaml:2:.*expected service\/NAME/],
    [
      'workloadApi: /a.sock\noutbound: [{ listen: "0.0.0.0:9001", to: "https://a:1", is: service/a }]',
      /0\.0\.0\.0 is not loopback/,
    ],
    ['workloadApi: /a.sock\noutbound: [{ listen: "127.0.0.1:9001", to: "http://a:1", is: service/a }]', /sidecar\.yaml:2:/],
    [
      'workloadApi: /a.sock\noutbound: [{ listen: "127.0.0.1:9001", to: "https://a:1/path", is: service/a }]',
      /HOST:PORT and nothing else/,
    ],
    ['workloadApi: /a.sock\noutbound: [{ listen: "127.0.0.1:9001", to: "https://a:1" }]', /expected is, or name/],
  ]
  for (const [text, message] of wrong)
    assert.throws(
      () => parseSidecarConfig(text, 'sidecar.yaml'),
      (error: Error) => error instanceof StartError && message.test(error.message),
      text,
    )
  const { socket } = parseSidecarConfig(inbound, 'sidecar.yaml', { SPIFFE_ENDPOINT_SOCKET: 'unix:///run/x.sock' })
  assert.equal(socket, '/run/x.sock')
})

/** Of another authority that says that it is the ring. */
function foreignSvid(_id: string): { readonly cert: string; readonly key: string; readonly ca: string } {
  const authority = generateKeyPairSync('ed25519')
  const leaf = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const raw = Buffer.from(authority.publicKey.export({ format: 'jwk' }).x as string, 'base64url')
  const made = foreignCertificates(raw, leaf.publicKey.export({ format: 'der', type: 'spki' }), (message) =>
    signMessage(authority.privateKey, message),
  )
  assert.ok(new X509Certificate(made.cert).subjectAltName?.includes('/service/shop'))
  return { ...made, key: leaf.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string }
}

function foreignCertificates(
  key: Uint8Array,
  spki: Uint8Array,
  sign: (message: Uint8Array) => Uint8Array,
): { readonly cert: string; readonly ca: string } {
  const by = { ring: RING, key, madeAtMs: Date.now() }
  const own = authorityToSign(by)
  const asked = svidToSign(by, { of: 'service', name: 'shop', publicKey: spki, atMs: Date.now(), ttlS: 600, seed: key })
  return { cert: certificatePem(certificateOf(asked, sign(asked))), ca: certificatePem(certificateOf(own, sign(own))) }
}

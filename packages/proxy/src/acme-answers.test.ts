import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'node:tls'
import type { AcmeAnswer } from './acme-answers.ts'
import { ask } from './test-cache.ts'
import { makePair, pairFiles, temporaryFolder } from './test-certificates.ts'
import { testProxy, upstreamServer } from './test-ring.ts'
import type { ListenerOptions } from './types.ts'

const PATH = '/.well-known/acme-challenge/'

async function answering(listener: Partial<ListenerOptions> = {}) {
  const upstream = await upstreamServer((_request, response) => response.end('upstream'))
  const ring = await testProxy(
    { shop: { upstreams: [{ url: upstream.url }] } },
    { listeners: [{ host: '127.0.0.1', port: 0, ...listener }] },
  )
  const pair = await makePair(['www.example.org'])
  const answer: AcmeAnswer = { name: 'www.example.org', token: 'tok_en-1', keyAuthorization: 'tok_en-1.thumb', ...pair }
  return {
    ...ring,
    answer,
    close: async () => {
      await ring.proxy.stop(0)
      upstream.close()
    },
  }
}

test('a proof is shown at its path of its host, to GET and HEAD, while it is wanted, and nothing else there', async () => {
  const ring = await answering({ redirectToTls: 443 })
  ring.proxy.answerAcme([ring.answer])
  const get = (path: string, host = 'www.example.org', method = 'GET') => ask(ring.port, path, { method, headers: { host } })
  const shown = await get(`${PATH}tok_en-1`)
  assert.deepEqual([shown.status, shown.text, shown.headers['content-type']], [200, 'tok_en-1.thumb', 'application/octet-stream'])
  assert.deepEqual(
    [(await get(`${PATH}tok_en-1`, 'WWW.example.org:80', 'HEAD')).status, ring.records.at(-1)!.reason],
    [200, 'proof for an ACME server'],
  )
  for (const [path, host, method] of [
    [`${PATH}tok_en-2`, undefined, 'GET'],
    [`${PATH}tok_en-1`, 'other.example.org', 'GET'],
    [`${PATH}tok_en-1`, undefined, 'POST'],
    [`${PATH}tok_en-1/`, undefined, 'GET'],
    [`${PATH}tok_en-1?x`, undefined, 'GET'],
    [`/x/..${PATH}tok_en-1`, undefined, 'GET'],
    [`${PATH}%74ok_en-1`, undefined, 'GET'],
  ] as const)
    assert.equal((await get(path, host, method)).status, 308, `${method} ${host} ${path}`)
  ring.proxy.answerAcme([])
  assert.equal((await get(`${PATH}tok_en-1`)).status, 308)
  await ring.close()
})

test('over TLS a proof is shown to who offers acme-tls/1 alone, for its name, and the connection ends with the handshake', async (t) => {
  const folder = temporaryFolder(t)
  const files = await pairFiles(folder, ['www.example.org'])
  const ring = await answering({
    http2: true,
    tls: { certificates: [files], unknownNames: 'first', minVersion: 'TLSv1.2', hsts: undefined },
  })
  const shake = (ALPNProtocols: string[], servername = 'www.example.org') =>
    new Promise<{ protocol: string | false | null; serial: string | undefined; ended: boolean }>((resolve, reject) => {
      const socket = connect({ port: ring.port, host: '127.0.0.1', servername, ALPNProtocols, rejectUnauthorized: false }, () => {
        const { alpnProtocol: protocol } = socket
        const serial = socket.getPeerX509Certificate()?.fingerprint256
        const late = setTimeout(() => {
          resolve({ protocol, serial, ended: false })
          socket.destroy()
        }, 300)
        socket.on('end', () => {
          clearTimeout(late)
          resolve({ protocol, serial, ended: true })
          socket.destroy()
        })
        socket.resume()
      })
      socket.on('error', reject)
    })
  const ordinary = await shake(['h2'])
  await assert.rejects(shake(['acme-tls/1']))
  ring.proxy.answerAcme([ring.answer])
  const shown = await shake(['acme-tls/1'])
  assert.deepEqual([shown.protocol, shown.ended], ['acme-tls/1', true])
  assert.notEqual(shown.serial, ordinary.serial)
  await assert.rejects(shake(['acme-tls/1'], 'other.example.org'))
  const both = await shake(['acme-tls/1', 'h2'])
  assert.deepEqual([both.protocol, both.serial], ['h2', ordinary.serial])
  const plain = await ask(ring.port, '/').catch((error: Error) => error)
  assert.ok(plain instanceof Error || plain.status === 400)
  assert.equal(ring.proxy.stats().activeHandshakes, 0)
  await ring.close()
})

test('a certificate and its key in one file, sealed, is read by who can open it', async (t) => {
  const { writeFileSync } = await import('node:fs')
  const { join } = await import('node:path')
  const folder = temporaryFolder(t)
  const pair = await makePair(['www.example.org'])
  const file = join(folder, 'sealed.pem')
  // Sealing is the node's; here it is turning bytes over.
  const turned = (bytes: Uint8Array): Buffer => Buffer.from(bytes.map((byte) => byte ^ 0x5a))
  writeFileSync(file, Buffer.concat([Buffer.from('RWS1'), turned(Buffer.from(pair.certificate + pair.key))]), { mode: 0o600 })
  const listener = {
    host: '127.0.0.1',
    port: 0,
    tls: { certificates: [{ certificate: file, key: file }], unknownNames: 'first', minVersion: 'TLSv1.2', hsts: undefined },
  } as const
  const services = { shop: { upstreams: [{ url: 'http://127.0.0.1:1' }] } }
  await assert.rejects(testProxy(services, { listeners: [listener] }), /is sealed, and not by this node’s key/)
  const { proxy } = await testProxy(services, { listeners: [listener], unseal: (_file, bytes) => turned(bytes.subarray(4)) })
  assert.deepEqual(
    proxy.certificates().map(({ names, problem }) => [names, problem]),
    [[['www.example.org'], undefined]],
  )
  await proxy.stop(0)
})

/** TLS in front of the proxy, with node:tls as the client. Sections are those of RFC 8446 unless named. */
import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { chmodSync, writeFileSync } from 'node:fs'
import { connect as connectPlain } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type ConnectionOptions, connect, type PeerCertificate, type TLSSocket } from 'node:tls'
import { makePair, pairFiles, temporaryFolder, writePair } from './test-certificates.ts'
import { rawExchange as exchange, testProxy, until, upstreamServer } from './test-ring.ts'
import { newTicketSecret, type TicketSecret } from './ticket-secret.ts'
import type { ProxyLimits, TlsOptions } from './types.ts'

/** All connections here are closed in the end: nothing hurries. */
const rawExchange = (port: number, bytes: string | Buffer) => exchange(port, bytes, 10_000)

const TLS: Omit<TlsOptions, 'certificates'> = { unknownNames: 'first', minVersion: 'TLSv1.2', hsts: undefined }

/** A proxy over TLS in front of an upstream that says what it got. */
async function secureProxy(
  t: TestContext,
  options: { tls?: Partial<TlsOptions>; limits?: Partial<ProxyLimits>; policy?: object; ticketSecret?: TicketSecret } = {},
) {
  const folder = temporaryFolder(t)
  const upstream = await upstreamServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      response.setHeader('strict-transport-security', 'max-age=1')
      response.end(JSON.stringify({ url: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() }))
    })
  })
  t.after(() => upstream.close())
  const certificates = options.tls?.certificates ?? [await pairFiles(folder, ['localhost', '*.example.org'])]
  const proxy = await testProxy(
    { app: { hosts: ['*'], upstreams: [{ url: upstream.url }] } },
    {
      listeners: [{ host: '127.0.0.1', port: 0, tls: { ...TLS, ...options.tls, certificates } }],
      ...(options.limits === undefined ? {} : { limits: options.limits }),
      ...(options.ticketSecret === undefined ? {} : { ticketSecret: options.ticketSecret }),
    },
    options.policy,
  )
  t.after(() => proxy.proxy.stop(0))
  return { ...proxy, folder, upstream }
}

function open(port: number, options: ConnectionOptions = {}): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', servername: 'localhost', rejectUnauthorized: false, ...options }, () =>
      resolve(socket),
    )
    socket.on('error', reject)
  })
}

/** One request on a connection of its own. */
async function ask(
  port: number,
  options: ConnectionOptions = {},
  request = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
) {
  const socket = await open(port, options)
  let text = ''
  const closed = new Promise<void>((resolve) => socket.on('close', () => resolve()))
  socket.on('data', (bytes: Buffer) => {
    text += bytes.toString('latin1')
  })
  const facts = {
    protocol: socket.getProtocol(),
    cipher: socket.getCipher().name,
    group: (socket.getEphemeralKeyInfo() as { name?: string } | null)?.name,
    certificate: socket.getPeerCertificate() as PeerCertificate | undefined,
    alpn: socket.alpnProtocol,
    resumed: socket.isSessionReused(),
  }
  socket.write(request)
  await closed
  return { text, ...facts }
}

test('requests come over TLS 1.3 and 1.2, and the upstream hears that they did', async (t) => {
  const { port, records, spans } = await secureProxy(t)
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    const { text, protocol, cipher, alpn } = await ask(port, {
      minVersion: version,
      maxVersion: version,
      ALPNProtocols: ['http/1.1'],
    })
    assert.equal(protocol, version)
    assert.match(cipher, /GCM|CHACHA20/)
    assert.equal(alpn, 'http/1.1')
    assert.match(text, /^HTTP\/1\.1 200 /)
    assert.match(text, /"x-forwarded-proto":"https"/)
    assert.match(text, /proto=https/)
  }
  assert.equal(records.length, 2)
  assert.equal(spans.find(({ kind }) => kind === 'server')?.attributes['url.scheme'], 'https')
})

test('a body and many requests go over one connection, and rules see the port', async (t) => {
  const { port, seen } = await secureProxy(t)
  const body = 'x'.repeat(200_000)
  const request = `POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const { text } = await ask(port, {}, `${request}${request}GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
  assert.equal(text.match(/HTTP\/1\.1 200 /g)?.length, 3)
  assert.equal(text.split(body).length, 3)
  assert.equal(seen[0]!.serverPort, port)
})

test('the key exchange is the hybrid of X25519 and ML-KEM-768 for who knows it, also when that takes another round trip', async (t) => {
  const { port } = await secureProxy(t)
  assert.equal((await ask(port, { ecdhCurve: 'X25519MLKEM768:X25519' })).group, 'X25519MLKEM768')
  // Knows the hybrid, but sends a share for X25519 alone: HelloRetryRequest (section 4.1.4).
  assert.equal((await ask(port, { ecdhCurve: 'X25519/X25519MLKEM768' })).group, 'X25519MLKEM768')
  assert.equal((await ask(port, { ecdhCurve: 'X25519' })).group, 'X25519')
  assert.equal((await ask(port, { ecdhCurve: 'P-256', maxVersion: 'TLSv1.2' })).protocol, 'TLSv1.2')
})

const weak: readonly [string, ConnectionOptions][] = [
  ['TLS 1.1', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }],
  ['TLS 1.2 with CBC', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256' }],
  ['TLS 1.2 without forward secrecy', { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }],
  ['a protocol that is not spoken (ALPN)', { ALPNProtocols: ['spdy/3'] }],
]

for (const [name, options] of weak) {
  test(`refused: ${name}`, async (t) => {
    const { port, proxy } = await secureProxy(t)
    await assert.rejects(open(port, options))
    await until('it to be counted', () => proxy.stats().tlsFailed === 1 && proxy.stats().activeConnections === 0)
    assert.match((await ask(port)).text, /200/)
  })
}

test('TLS 1.3 alone when so configured', async (t) => {
  const { port } = await secureProxy(t, { tls: { minVersion: 'TLSv1.3' } })
  await assert.rejects(open(port, { maxVersion: 'TLSv1.2' }))
  assert.equal((await ask(port)).protocol, 'TLSv1.3')
})

test('a client that wants to renegotiate TLS 1.2 is refused that', async (t) => {
  const { port } = await secureProxy(t)
  const socket = await open(port, { maxVersion: 'TLSv1.2' })
  const failed = await new Promise<Error | null>((resolve) => {
    socket.on('error', resolve)
    socket.on('close', () => resolve(new Error('closed')))
    socket.renegotiate({}, resolve)
  })
  assert.ok(failed instanceof Error)
  socket.destroy()
})

test('the certificate is chosen by name: exact, wildcard over one label, the first otherwise', async (t) => {
  const folder = temporaryFolder(t)
  const certificates = [
    await pairFiles(folder, ['first.test']),
    await pairFiles(folder, ['*.example.org']),
    { ...(await pairFiles(folder, ['www.example.org', 'other.test'])), names: ['www.example.org'] },
    await pairFiles(folder, ['rsa.test'], { kind: 'rsa' }),
  ]
  const { port } = await secureProxy(t, { tls: { certificates } })
  const subject = async (servername: string): Promise<string | undefined> =>
    String((await ask(port, { servername })).certificate?.subject.CN)
  assert.equal(await subject('www.example.org'), 'www.example.org')
  assert.equal(await subject('WWW.Example.ORG'), 'www.example.org')
  assert.equal(await subject('api.example.org'), '*.example.org')
  assert.equal(await subject('a.b.example.org'), 'first.test')
  assert.equal(await subject('example.org'), 'first.test')
  // It holds that name, but is configured for another.
  assert.equal(await subject('other.test'), 'first.test')
  assert.equal(await subject('rsa.test'), 'rsa.test')
  assert.equal(await subject(''), 'first.test')
})

test('unknown names are refused when so configured, with the alert that says why', async (t) => {
  const { port } = await secureProxy(t, { tls: { unknownNames: 'refuse' } })
  await assert.rejects(open(port, { servername: 'unknown.test' }), /unrecognized name/)
  await assert.rejects(open(port, { servername: '' }), /unrecognized name/)
  assert.match((await ask(port)).text, /200/)
  assert.match((await ask(port, { servername: 'a.example.org' })).text, /200/)
})

test('those who share a secret resume each other’s sessions, others do not', async (t) => {
  const ticketSecret = newTicketSecret()
  const [one, other, stranger] = [
    await secureProxy(t, { ticketSecret }),
    await secureProxy(t, { ticketSecret }),
    await secureProxy(t),
  ]
  for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
    const first = await open(one.port, { maxVersion })
    const sessions: Buffer[] = maxVersion === 'TLSv1.2' ? [first.getSession()!] : []
    first.on('session', (session: Buffer) => sessions.push(session))
    first.resume()
    first.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until('a ticket', () => sessions.length > 0)
    first.destroy()
    const session = sessions[0]!
    assert.equal((await ask(other.port, { maxVersion, session })).resumed, true)
    assert.equal((await ask(stranger.port, { maxVersion, session })).resumed, false)
  }
})

async function ticketOf(port: number, options: Parameters<typeof open>[1] & { readonly maxVersion: string }): Promise<Buffer> {
  const socket = await open(port, options)
  // TLS 1.2 has it in the handshake, TLS 1.3 sends it after.
  const sessions: Buffer[] = options.maxVersion === 'TLSv1.2' ? [socket.getSession()!] : []
  socket.on('session', (session) => sessions.push(session))
  socket.resume()
  socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  await until('a ticket', () => sessions.length > 0)
  socket.destroy()
  return sessions[0]!
}

test('a session is resumed by its ticket; the certificate’s files may have changed in between', async (t) => {
  const folder = temporaryFolder(t)
  const files = await pairFiles(folder, ['localhost'])
  const { port, proxy } = await secureProxy(t, { tls: { certificates: [files] } })
  for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
    const session = await ticketOf(port, { maxVersion })
    assert.equal((await ask(port, { maxVersion, session })).resumed, true)
    writePair(folder, 'localhost', await makePair(['localhost']))
    proxy.reloadCertificates()
    assert.equal((await ask(port, { maxVersion, session })).resumed, true)
  }
  assert.ok(proxy.stats().tlsResumed >= 4)
  assert.equal(proxy.stats().certificatesTaken, 2)
})

test('a client that is asked for a certificate may show one of anybody’s, and the guard hears which; resumed sessions keep it', async (t) => {
  const folder = temporaryFolder(t)
  const files = await pairFiles(folder, ['localhost'])
  const { port, seen } = await secureProxy(t, { tls: { certificates: [files], clientCertificates: 'ask' } })
  const own = await makePair(['client'])
  const expired = await makePair(['client'], { days: -1 })
  const thumbprint = ({ certificate }: { certificate: string }): string =>
    createHash('sha256').update(new X509Certificate(certificate).raw).digest('base64url')
  const met = (): string | undefined => seen.at(-1)?.clientCertificate
  for (const maxVersion of ['TLSv1.3', 'TLSv1.2'] as const) {
    assert.match((await ask(port, { maxVersion })).text, / 200 /)
    assert.equal(met(), undefined)
    for (const pair of [own, expired]) {
      assert.match((await ask(port, { maxVersion, cert: pair.certificate, key: pair.key })).text, / 200 /)
      assert.equal(met(), thumbprint(pair))
    }
    const session = await ticketOf(port, { maxVersion, cert: own.certificate, key: own.key })
    // Who resumes was there at the first handshake, and shows nothing again.
    assert.equal((await ask(port, { maxVersion, session })).resumed, true)
    assert.equal(met(), thumbprint(own))
  }
})

test('a client that is not asked for a certificate shows none', async (t) => {
  const { port, seen } = await secureProxy(t)
  const own = await makePair(['client'])
  assert.match((await ask(port, { cert: own.certificate, key: own.key })).text, / 200 /)
  assert.equal(seen[0]?.clientCertificate, undefined)
})

test('who says nothing, or too slowly, is cut when the handshake’s time is up', async (t) => {
  const { port, proxy } = await secureProxy(t, { limits: { handshakeMsMax: 200 } })
  assert.deepEqual(await rawExchange(port, ''), { text: '', closed: true })
  assert.deepEqual(await rawExchange(port, Buffer.from([22, 3, 1, 2, 0, 1])), { text: '', closed: true })
  await until('nothing to be left', () => proxy.stats().activeConnections === 0)
  assert.equal(proxy.stats().tlsFailed, 2)
})

test('a thousand connections that say nothing do not keep out who means it, and hold no more than the bound', async (t) => {
  const { port, proxy } = await secureProxy(t, { limits: { handshakesMax: 200 } })
  const idle = Array.from({ length: 1_000 }, () => {
    const socket = connectPlain(port, '127.0.0.1')
    socket.on('error', () => undefined)
    return socket
  })
  // Those that the system makes wait at its own door would come in a throng after who means it.
  await Promise.all(idle.map((socket) => new Promise((resolve) => socket.once('connect', resolve).once('close', resolve))))
  for (let at = 0; at < 10; at++) assert.match((await ask(port)).text, /200/)
  await until('the bound', () => proxy.stats().tlsDropped >= 750)
  assert.ok(proxy.stats().activeHandshakes <= 200)
  for (const socket of idle) socket.destroy()
})

test('plain HTTP on a port of TLS is told so; other bytes get an alert', async (t) => {
  const { port } = await secureProxy(t)
  const { text, closed } = await rawExchange(port, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n')
  assert.match(text, /^HTTP\/1\.1 400 [\s\S]*speaks TLS/)
  assert.equal(closed, true)
  for (const bytes of ['\x00\x01\x02', '\x16\x02\x00', '\x16\x03\x01\x00\x04\x02\x00\x00\x00', '\x80\x2e\x01\x03\x01']) {
    const answer = await rawExchange(port, Buffer.from(bytes, 'latin1'))
    assert.equal(answer.text.slice(0, 6), '\x15\x03\x03\x00\x02\x02')
    assert.equal(answer.closed, true)
  }
})

test('a record that does not decrypt ends the connection at once', async (t) => {
  const { port, proxy } = await secureProxy(t)
  const raw = connectPlain(port, '127.0.0.1')
  const closed = new Promise<void>((resolve) => raw.on('close', () => resolve()))
  const socket = connect({ socket: raw, servername: 'localhost', rejectUnauthorized: false })
  socket.on('error', () => undefined)
  await new Promise<void>((resolve) => socket.on('secureConnect', resolve))
  raw.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 32]), Buffer.alloc(32, 7)]))
  await closed
  await until('nothing to be left', () => proxy.stats().activeConnections === 0)
})

test('a source that is denied loses its connections over TLS, those in their handshake too', async (t) => {
  const { port, proxy } = await secureProxy(t)
  const socket = await open(port)
  const silent = connectPlain(port, '127.0.0.1')
  await until('both to be there', () => proxy.stats().activeConnections === 2)
  const closed = [socket, silent].map((each) => new Promise<void>((resolve) => each.on('close', () => resolve())))
  for (const each of [socket, silent]) each.on('error', () => undefined)
  assert.equal(proxy.cutSource('127.0.0.0/8'), 2)
  await Promise.all(closed)
})

test('HSTS is ours when configured, in place of the upstream’s, on refusals too; without it the upstream’s stays', async (t) => {
  const { port } = await secureProxy(t, { tls: { hsts: 'max-age=31536000; includeSubDomains' } })
  const fields = (text: string): string[] => text.match(/^strict-transport-security: .*$/gim) ?? []
  assert.deepEqual(fields((await ask(port)).text), ['strict-transport-security: max-age=31536000; includeSubDomains'])
  const denied = await ask(port, {}, 'GET /denied HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
  assert.deepEqual(fields(denied.text), ['strict-transport-security: max-age=31536000; includeSubDomains'])
  const other = await secureProxy(t)
  assert.deepEqual(fields((await ask(other.port)).text), ['strict-transport-security: max-age=1'])
})

test('plain HTTP is redirected: same host and target, method kept, no request reaches the upstream', async (t) => {
  const upstream = await upstreamServer((_, response) => response.end())
  t.after(() => upstream.close())
  const { port, proxy, records } = await testProxy(
    { app: { hosts: ['*'], upstreams: [{ url: upstream.url }] } },
    {
      listeners: [
        { host: '127.0.0.1', port: 0, redirectToTls: 443 },
        { host: '127.0.0.1', port: 0, redirectToTls: 8443 },
      ],
    },
  )
  t.after(() => proxy.stop(0))
  const { text } = await rawExchange(port, 'GET /a%20b?c=d HTTP/1.1\r\nHost: Shop.example:80\r\nConnection: close\r\n\r\n')
  assert.match(text, /^HTTP\/1\.1 308 /)
  assert.match(text, /\r\nlocation: https:\/\/shop\.example\/a%20b\?c=d\r\n/)
  const posted = await rawExchange(
    port,
    'POST //evil.test/ HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi',
  )
  assert.match(posted.text, /location: https:\/\/\[::1\]\/\/evil\.test\/\r\n/)
  assert.match((await rawExchange(port, 'GET / HTTP/1.1\r\nHost: a\\b\r\n\r\n')).text, /^HTTP\/1\.1 400 /)
  assert.equal(upstream.seen.length, 0)
  assert.equal(records[0]!.status, 308)
})

test('files that cannot be used are one clear error each, naming the file', async (t) => {
  const folder = temporaryFolder(t)
  const good = await pairFiles(folder, ['good.test'])
  const other = await pairFiles(folder, ['other.test'])
  const weakPair = await pairFiles(folder, ['weak.test'], { kind: 'rsa-1024' })
  const nameless = await pairFiles(folder, [])
  const start = (certificates: TlsOptions['certificates']) => secureProxy(t, { tls: { certificates } })
  const bad: [string, TlsOptions['certificates'], RegExp][] = [
    ['missing', [{ certificate: good.certificate, key: `${folder}/none.key` }], /none\.key: the private key does not exist/],
    [
      'mismatch',
      [{ certificate: good.certificate, key: other.key }],
      /other\.test\.key: is not the key of the first certificate/,
    ],
    ['swapped', [{ certificate: good.key, key: good.certificate }], /private key with mode 0644|no private key/],
    ['weak', [weakPair], /RSA key of 1024 bits/],
    ['a folder', [{ certificate: folder, key: good.key }], /is no file/],
    ['no name', [good, nameless], /names no host/],
    ['another name', [{ ...good, names: ['bad.test'] }], /is not valid for bad\.test; it is for good\.test/],
  ]
  for (const [, certificates, message] of bad)
    await assert.rejects(start(certificates), { code: 'PROXY_TLS_FILES_INVALID', message })
  for (const [mode, message] of [
    [0o644, /mode 0644: everybody .* chmod 600/],
    [0o602, /mode 0602: everybody/],
    [0o620, /its group can change it/],
  ] as const) {
    chmodSync(good.key, mode)
    await assert.rejects(start([good]), message)
  }
  chmodSync(good.key, 0o640)
  await start([good])
  writeFileSync(good.key, '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n')
  await assert.rejects(start([good]), /encrypted/)
  writeFileSync(good.key, 'secret words')
  await assert.rejects(start([good]), (error: Error) => !error.message.includes('secret words'))
})

test('an expired certificate is served, and said to be expired', async (t) => {
  const folder = temporaryFolder(t)
  const { proxy, lines, port } = await secureProxy(t, {
    tls: { certificates: [await pairFiles(folder, ['old.test'], { days: -1 })] },
  })
  assert.match(lines.join('\n'), /old\.test\.pem has expired/)
  assert.ok(proxy.certificates()[0]!.notAfterMs < Date.now())
  assert.match((await ask(port)).text, /200/)
})

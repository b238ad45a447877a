/** Certificates whose files change while they are in use. */
import assert from 'node:assert/strict'
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { makePair, pairFiles, temporaryFolder, writePair } from './test-certificates.ts'
import { testProxy, until, upstreamServer } from './test-ring.ts'
import type { CertificateFiles } from './types.ts'

async function secureProxy(t: TestContext, certificates: readonly CertificateFiles[]) {
  const upstream = await upstreamServer((_, response) => response.end('hello'))
  t.after(() => upstream.close())
  const tls = { certificates, unknownNames: 'first', minVersion: 'TLSv1.2', hsts: undefined } as const
  const proxy = await testProxy(
    { app: { hosts: ['*'], upstreams: [{ url: upstream.url }] } },
    { listeners: [{ host: '127.0.0.1', port: 0, tls }] },
  )
  t.after(() => proxy.proxy.stop(0))
  return proxy
}

/** One request on a connection of its own; the certificate's fingerprint. */
function ask(port: number, servername = 'a.test'): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', servername, rejectUnauthorized: false })
    let text = ''
    let fingerprint = ''
    socket.on('error', reject)
    socket.on('secureConnect', () => {
      fingerprint = socket.getPeerX509Certificate()!.fingerprint256
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    })
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1')
    })
    socket.on('close', () => (text.endsWith('hello') ? resolve(fingerprint) : reject(new Error(`answered ${text}`))))
  })
}

test('replaced files are taken up by themselves while requests go on: not one fails, and each connection ends with what it began', async (t) => {
  const folder = temporaryFolder(t)
  const files = await pairFiles(folder, ['a.test'])
  const { port, proxy } = await secureProxy(t, [files])
  const seen = new Set<string>()
  let asked = 0
  let going = true
  const load = Array.from({ length: 8 }, async () => {
    for (; going; asked++) seen.add(await ask(port))
  })
  const kept = connect({ port, host: '127.0.0.1', servername: 'a.test', rejectUnauthorized: false })
  let answers = 0
  kept.on('data', (bytes: Buffer) => {
    if (bytes.includes('hello')) answers++
  })
  for (let round = 1; round <= 5; round++) {
    // As writers do: one file, and then the other.
    const pair = await makePair(['a.test'])
    writeFileSync(files.certificate, pair.certificate)
    await new Promise((wake) => setTimeout(wake, round * 40))
    writeFileSync(files.key, pair.key)
    await until('it to be taken up', () => proxy.stats().certificatesTaken === round)
    kept.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await until('the old connection to be answered', () => answers === round)
  }
  going = false
  await Promise.all(load)
  kept.destroy()
  assert.ok(seen.size >= 5, `${seen.size} certificates were seen in ${asked} requests`)
  assert.equal(proxy.stats().tlsFailed, 0)
})

test('a broken pair is refused, told once, and the one before it stays; the next good one is taken', async (t) => {
  const folder = temporaryFolder(t)
  const files = await pairFiles(folder, ['a.test'])
  const { port, proxy, lines } = await secureProxy(t, [files])
  const before = await ask(port)
  const pair = await makePair(['a.test'])
  const broken: readonly [() => void, RegExp][] = [
    [() => writeFileSync(files.certificate, 'garbage'), /is no certificate in PEM/],
    [() => writeFileSync(files.certificate, pair.certificate), /is not the key of the first certificate/],
    [() => rmSync(files.key), /the private key does not exist/],
    [() => writeFileSync(files.key, pair.key, { mode: 0o644 }), /mode 0644/],
  ]
  for (const [breaks, message] of broken) {
    breaks()
    proxy.reloadCertificates()
    proxy.reloadCertificates()
    assert.match(proxy.certificates()[0]!.problem ?? '', message)
    assert.equal(lines.filter((line) => message.test(line)).length, 1)
    assert.equal(await ask(port), before)
  }
  assert.equal(proxy.stats().certificatesRefused, broken.length)
  chmodSync(files.key, 0o600)
  proxy.reloadCertificates()
  assert.equal(proxy.certificates()[0]!.problem, undefined)
  assert.notEqual(await ask(port), before)
})

test('of several pairs a broken one holds up none of the others', async (t) => {
  const folder = temporaryFolder(t)
  const [a, b] = [await pairFiles(folder, ['a.test']), await pairFiles(folder, ['b.test'])]
  const { port, proxy } = await secureProxy(t, [a, b])
  const [beforeA, beforeB] = [await ask(port, 'a.test'), await ask(port, 'b.test')]
  writeFileSync(a.certificate, 'garbage')
  writePair(folder, 'b.test', await makePair(['b.test', 'c.test']))
  proxy.reloadCertificates()
  assert.equal(await ask(port, 'a.test'), beforeA)
  assert.notEqual(await ask(port, 'b.test'), beforeB)
  assert.equal(await ask(port, 'c.test'), await ask(port, 'b.test'))
})

test('an expired replacement of a valid certificate is refused', async (t) => {
  const folder = temporaryFolder(t)
  const files = await pairFiles(folder, ['a.test'])
  const { port, proxy } = await secureProxy(t, [files])
  const before = await ask(port)
  writePair(folder, 'a.test', await makePair(['a.test'], { days: -1 }))
  proxy.reloadCertificates()
  assert.match(proxy.certificates()[0]!.problem ?? '', /has expired/)
  assert.equal(await ask(port), before)
})

test('a link that is turned to a new folder, as Kubernetes and ACME clients do, is followed', async (t) => {
  const folder = temporaryFolder(t)
  const write = async (name: string): Promise<void> => {
    mkdirSync(join(folder, name))
    writePair(join(folder, name), 'tls', await makePair(['a.test']))
  }
  await write('one')
  symlinkSync('one', join(folder, 'current'))
  symlinkSync('current/tls.pem', join(folder, 'tls.pem'))
  symlinkSync('current/tls.key', join(folder, 'tls.key'))
  const { port, proxy } = await secureProxy(t, [{ certificate: join(folder, 'tls.pem'), key: join(folder, 'tls.key') }])
  const before = await ask(port)
  await write('two')
  symlinkSync('two', join(folder, 'next'))
  renameSync(join(folder, 'next'), join(folder, 'current'))
  await until('it to be taken up', () => proxy.stats().certificatesTaken === 1)
  assert.notEqual(await ask(port), before)
})

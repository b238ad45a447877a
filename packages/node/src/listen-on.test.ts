import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { StartError } from './errors.ts'
import { listenOn, readTlsFile } from './listen-on.ts'

test('a server is bound, and a port that is taken is named with the setting to change', async () => {
  const [one, other] = [createServer(), createServer()]
  const port = await listenOn(one, { host: '127.0.0.1', port: 0 }, 'est.listen')
  assert.ok(port > 0)
  await assert.rejects(
    listenOn(other, { host: '127.0.0.1', port }, 'est.listen'),
    (error) =>
      error instanceof StartError &&
      error.code === 'PORT_IN_USE' &&
      error.message === `127.0.0.1:${port} (est.listen) is in use by another program; stop that or change est.listen`,
  )
  await assert.rejects(listenOn(createServer(), { host: '192.0.2.1', port: 0 }, 's3.listen'), {
    message: '192.0.2.1:0 (s3.listen) cannot be bound: EADDRNOTAVAIL',
  })
  one.close()
})

test('a certificate that cannot be read is named with the setting that names it', () => {
  assert.throws(() => readTlsFile('/nowhere/key.pem', 's3.tls'), {
    code: 'CONFIG_INVALID',
    message: '/nowhere/key.pem: cannot be read, and s3.tls names it',
  })
})

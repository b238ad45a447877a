/** Against real receivers on loopback: an SMTP server with STARTTLS, an HTTP server, syslog over UDP, TCP and TLS. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import fc from 'fast-check'
import { SMTPServer } from 'smtp-server'
import { emailChannel } from './email-channel.ts'
import { slackChannel, webhookChannel, webhookSignature } from './http-channels.ts'
import { DeliveryFailed, type Message } from './message.ts'
import { grouped, Notifier } from './notifier.ts'
import { cef, syslogChannel, syslogLine } from './syslog-channel.ts'

const MESSAGE: Message = {
  id: 'incident-0123',
  type: 'incident.opened',
  severity: 'high',
  title: 'incident 0123: scanning',
  text: 'scanning: 40 paths <!channel>\nnot there',
  atMs: 1_800_000_000_000,
  ring: 'ab'.repeat(32),
  node: 'n1',
  facts: { source: '203.0.113.9', attack: 'T1595.003' },
}

const folder = mkdtempSync(join(tmpdir(), 'ringwall-notify-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const files = { key: join(folder, 'key.pem'), certificate: join(folder, 'cert.pem') }
execFileSync(
  'openssl',
  `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1,DNS:localhost -keyout ${files.key} -out ${files.certificate}`.split(
    ' ',
  ),
  { stdio: 'ignore' },
)
const [key, certificate] = [readFileSync(files.key, 'utf8'), readFileSync(files.certificate, 'utf8')]

interface Mail {
  readonly from: string
  readonly to: readonly string[]
  readonly text: string
  readonly secure: boolean
}

/** An SMTP server that wants STARTTLS and a password. */
async function mailServer(): Promise<{ readonly port: number; readonly mails: Mail[]; readonly close: () => void }> {
  const mails: Mail[] = []
  const server = new SMTPServer({
    key,
    cert: certificate,
    onAuth: ({ username, password }, session, done) => {
      if (username === 'ringwall' && password === 'right' && session.secure) done(null, { user: 'ringwall' })
      else done(new Error('wrong'))
    },
    onData: (stream, session, done) => {
      let text = ''
      stream.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope
        mails.push({
          from: mailFrom === false ? '' : mailFrom.address,
          to: rcptTo.map(({ address }) => address),
          text,
          secure: session.secure,
        })
        done()
      })
    },
  })
  server.on('error', () => {})
  server.listen(0, '127.0.0.1')
  await once(server.server, 'listening')
  return { port: (server.server.address() as AddressInfo).port, mails, close: () => void server.close() }
}

test('e-mail goes out by STARTTLS with a password, to a server whose certificate is known; never without', async (t) => {
  const { port, mails, close } = await mailServer()
  t.after(close)
  const settings = {
    name: 'mail',
    host: '127.0.0.1',
    port,
    tls: 'starttls',
    user: 'ringwall',
    password: 'right',
    from: 'ringwall@example.test',
    to: ['desk@example.test', 'boss@example.test'],
    ca: certificate,
  } as const
  await emailChannel(settings).send({ ...MESSAGE, title: 'one\r\nBcc: eve@example.test' })
  assert.equal(mails.length, 1)
  const [mail] = mails as [Mail]
  assert.ok(mail.secure)
  assert.deepEqual(mail.to, ['desk@example.test', 'boss@example.test'])
  assert.match(mail.text, /^Subject: \[ringwall high\] one Bcc: eve@example\.test\r?$/m)
  assert.match(mail.text, /source: 203\.0\.113\.9/)
  await assert.rejects(emailChannel({ ...settings, password: 'wrong' }).send(MESSAGE), (error: DeliveryFailed) => {
    assert.ok(error.isFinal && !error.message.includes('wrong'))
    return true
  })
  await assert.rejects(emailChannel({ ...settings, ca: undefined }).send(MESSAGE), DeliveryFailed, 'an unknown certificate')
  assert.equal(mails.length, 1)
})

test('webhooks are signed over id, time and body, redirects are not followed, and refusals are told apart', async (t) => {
  const got: { readonly headers: NodeJS.Dict<string | string[]>; readonly body: string }[] = []
  let answer = 204
  const server = createHttpServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')))
    request.on('end', () => {
      got.push({ headers: request.headers, body })
      response.writeHead(answer, { location: '/elsewhere' }).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
  // The example of the Standard Webhooks specification.
  assert.equal(
    webhookSignature(
      'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
      'msg_p5jXN8AQM9LWM0D4loKWxJek',
      1_614_265_330,
      '{"test": 2432232314}',
    ),
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  )
  const channel = webhookChannel({ name: 'desk', url, secret: 'a-secret-of-tests' }, () => 1_800_000_001_000)
  await channel.send(MESSAGE)
  const [{ headers, body }] = got as [(typeof got)[0]]
  assert.equal(headers['webhook-signature'], webhookSignature('a-secret-of-tests', 'incident-0123', 1_800_000_001, body))
  assert.equal(headers['idempotency-key'], 'incident-0123')
  assert.equal((JSON.parse(body) as { type: string }).type, 'incident.opened')
  for (const [status, isFinal] of [
    [302, false],
    [404, true],
    [429, false],
    [503, false],
  ] as const) {
    answer = status
    await assert.rejects(
      channel.send(MESSAGE),
      (error: DeliveryFailed) => error.isFinal === isFinal && !error.message.includes(url),
    )
  }
  assert.ok(got.every(({ body: one }) => one !== '') && got.length === 5, 'nothing asked elsewhere')
  answer = 200
  await slackChannel({ name: 'chat', url }).send(MESSAGE)
  const { text } = JSON.parse(got.at(-1)!.body) as { text: string }
  assert.match(text, /^\[high\] incident 0123/)
  assert.ok(!text.includes('<!channel>'), 'an attacker mentions nobody')
})

test('syslog: UDP, TCP with octet counts, TLS by a known authority; CEF escapes what would end a field', async (t) => {
  const line = syslogLine(MESSAGE, 'plain')
  assert.match(
    line,
    /^<130>1 2027-01-15T08:00:00\.000Z n1 ringwall - incident\.opened - incident 0123: scanning: scanning: 40 paths/,
  )
  assert.ok(!line.includes('\n'))
  const udp = createSocket('udp4')
  udp.bind(0, '127.0.0.1')
  await once(udp, 'listening')
  t.after(() => udp.close())
  const arrived = once(udp, 'message')
  const common = { name: 'siem', host: '127.0.0.1', format: 'plain', ca: undefined } as const
  await syslogChannel({ ...common, port: udp.address().port, transport: 'udp' }).send(MESSAGE)
  assert.equal(String(((await arrived) as [Buffer])[0]), line)
  for (const transport of ['tcp', 'tls'] as const) {
    let got = ''
    const take = (socket: NodeJS.ReadableStream): void => void socket.on('data', (chunk: Buffer) => (got += chunk.toString()))
    const server = transport === 'tcp' ? createServer(take) : createTlsServer({ key, cert: certificate }, take)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    t.after(() => server.close())
    const { port } = server.address() as AddressInfo
    const ca = transport === 'tls' ? certificate : undefined
    await syslogChannel({ ...common, port, transport, ca }).send(MESSAGE)
    assert.equal(got, `${Buffer.byteLength(line)} ${line}`)
    if (transport === 'tls')
      await assert.rejects(syslogChannel({ ...common, port, transport }).send(MESSAGE), DeliveryFailed, 'an unknown authority')
  }
  fc.assert(
    fc.property(fc.string(), fc.string(), (title, value) => {
      const said = cef({ ...MESSAGE, title, facts: { what: value } })
      assert.ok(!/[\n\r]/.test(said))
      // Seven bars that are not escaped, whatever the title has.
      const bars = said.split('rt=')[0]!.replace(/\\./g, '').match(/\|/g)
      assert.equal(bars?.length, 7)
    }),
  )
})

test('what comes together is one message; what fails is tried again, so often and no more; what is final is not', async () => {
  const sent: Message[] = []
  const lost: string[] = []
  let failures = 1
  const channel = (name: string, isFinal: boolean) => ({
    name,
    kind: 'test',
    send: async (message: Message) => {
      if (isFinal) throw new DeliveryFailed('never', true)
      if (failures-- > 0) throw new DeliveryFailed('not now')
      sent.push(message)
    },
  })
  const notifier = new Notifier({
    channels: [channel('a', false), channel('b', true)],
    groupMs: 10,
    onLost: (name, reason) => lost.push(`${name}: ${reason}`),
  })
  notifier.tell('a', MESSAGE)
  notifier.tell('a', { ...MESSAGE, id: 'second', title: 'another', severity: 'low' })
  notifier.tell('b', MESSAGE)
  // The timers of a notifier keep no process alive.
  const held = setInterval(() => {}, 1_000)
  while (sent.length === 0 || lost.length === 0) await new Promise((wake) => setTimeout(wake, 20))
  clearInterval(held)
  notifier.stop()
  assert.equal(sent.length, 1)
  assert.equal(sent[0]!.severity, 'high')
  assert.match(sent[0]!.title, /^2 messages, the first: incident 0123/)
  assert.deepEqual(lost, ['b: never'])
  assert.equal(grouped([MESSAGE]), MESSAGE)
  await assert.rejects(notifier.deliver('c', MESSAGE), /has no channel c; it has a, b/)
})

import assert from 'node:assert/strict'
import { appendFileSync, mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { parsePolicyDocument, type View } from '@ringwall/ring'
import { SlowLoginWatch, subjectOfWords, wordsOfSource } from './slow-login-watch.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-slow-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const ACCOUNT = 'a'.repeat(32)
const document = parsePolicyDocument(
  'version: 1\nservices: { shop: { upstreams: [{ url: "http://127.0.0.1:1" }] } }\ndetectors: { slowLogins: { sources: 4, window: 3d } }\n',
)
assert.ok(document.ok)

function watch(file: string, policy = document.ok ? document.policy : undefined) {
  const [said, denied, told]: [string[], string[], Uint8Array[]] = [[], [], []]
  const slow = new SlowLoginWatch({
    self: 'n1',
    fabric: { broadcast: (_, payload) => told.push(payload) },
    view: () => ({ policy }) as View,
    file: join(folder, file),
    deny: (subject, ttlMs, reason) => denied.push(`${subject.value} ${ttlMs / 1_000} ${reason}`),
    say: (line) => said.push(line),
    log: (_, line) => said.push(`log ${line}`),
  })
  const failed = (source: string): void =>
    slow.observe({ service: 'shop', account: ACCOUNT, source, failed: true, atMs: Date.now() })
  return { slow, said, denied, failed }
}

test('sources are counted by address, of IPv6 by /64, and named as denials name them', () => {
  assert.deepEqual(subjectOfWords(wordsOfSource('192.0.2.7')!), { kind: 'ip', value: '192.0.2.7' })
  assert.deepEqual(subjectOfWords(wordsOfSource('2001:db8::1:2:3:4')!), { kind: 'cidr', value: '2001:db8::/64' })
  assert.deepEqual(wordsOfSource('::ffff:192.0.2.7'), wordsOfSource('192.0.2.7'))
  assert.equal(wordsOfSource('unknown'), undefined)
})

test('a finding names the account’s hash and all addresses, and denies those seen here; what was seen outlives the process', async () => {
  const first = watch('kept')
  await first.slow.start()
  for (const source of ['192.0.2.1', '192.0.2.2', '192.0.2.2', '2001:db8::1', '2001:db8::2']) first.failed(source)
  assert.deepEqual(first.said, [])
  await first.slow.stop()
  assert.equal(statSync(join(folder, 'kept')).mode & 0o777, 0o600)
  const second = watch('kept')
  await second.slow.start()
  second.failed('198.51.100.1')
  assert.match(second.said.join(), new RegExp(`account shop/${ACCOUNT}: .*192\\.0\\.2\\.1`))
  assert.match(second.said.join(), /2001:db8::\/64/)
  assert.deepEqual(second.denied.map((line) => line.split(' ')[0]).toSorted(), [
    '192.0.2.1',
    '192.0.2.2',
    '198.51.100.1',
    '2001:db8::/64',
  ])
  await second.slow.stop()
})

test('a file that was changed is said to be, moved aside once, and what it held is learned anew', async () => {
  const first = watch('cut')
  await first.slow.start()
  first.failed('192.0.2.1')
  await first.slow.stop()
  appendFileSync(join(folder, 'cut'), 'rest')
  const second = watch('cut')
  await second.slow.start()
  assert.match(
    second.said.join(),
    /^log what was seen of slow logins cannot be read and is learned anew: it was changed; .*cut\.unread now$/,
  )
  for (const source of ['192.0.2.2', '192.0.2.3', '192.0.2.4']) second.failed(source)
  assert.equal(second.denied.length, 0)
  second.failed('192.0.2.5')
  assert.equal(second.denied.length, 4)
  await second.slow.stop()
  const third = watch('cut')
  await third.slow.start()
  assert.deepEqual(third.said, [])
  await third.slow.stop()
})

test('garbage of a peer changes nothing', async () => {
  const { slow, said } = watch('garbage')
  for (const bytes of [[], [1], [1, 2, 3], [9]]) slow.merge('n2', Uint8Array.from(bytes))
  assert.deepEqual(said, [])
})

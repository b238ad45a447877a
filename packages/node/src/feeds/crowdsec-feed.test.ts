import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { parsePolicyDocument, type View } from '@ringwall/ring'
import fc from 'fast-check'
import { FeedMalformed, parseDecisionStream, parseGoDuration } from './crowdsec-decisions.ts'
import { CrowdsecFeed } from './crowdsec-feed.ts'
import { feedUrlFault } from './feed-url.ts'

const T0 = 1_800_000_000_000
const document = parsePolicyDocument(
  'version: 1\nservices: { a: { upstreams: [{ url: "http://127.0.0.1:1" }] } }\ndenials: { safe: ["192.0.2.0/24"] }\n',
)
assert.ok(document.ok)
const view = { policy: document.policy } as View

const decision = (value: string, more: object = {}) => ({
  id: 1,
  origin: 'cscli',
  type: 'ban',
  scope: value.includes('/') ? 'Range' : 'Ip',
  value,
  duration: '3h59m57.5s',
  scenario: 'crowdsecurity/ssh-bf',
  ...more,
})
const stream = (added: readonly object[] | null, deleted: readonly object[] | null = null): string =>
  JSON.stringify({ new: added, deleted })

function makeFeed(answers: (string | Error)[], decisionsMax = 100) {
  const said: string[] = []
  const asked: string[] = []
  const feed = new CrowdsecFeed({
    config: {
      name: 'lapi',
      url: new URL('http://127.0.0.1:1/'),
      key: 'k',
      ca: undefined,
      origins: ['cscli'],
      everyMs: 1_000,
      decisionsMax,
    },
    view: () => view,
    deny: (subject, ttlMs, reason) => said.push(`deny ${subject.value} ${ttlMs / 1_000} ${reason}`),
    withdraw: (subject, _, why) => said.push(`withdraw ${subject.value} ${why}`),
    log: (_, line) => said.push(`log ${line}`),
    ask: (path) => {
      asked.push(path)
      const answer = answers.shift() ?? stream(null)
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
    },
  })
  const pull = async (atMs: number): Promise<string[]> => {
    await feed.pull(atMs)
    return said.splice(0)
  }
  return { feed, pull, asked }
}

test('durations as Go writes them', () => {
  const table: readonly (readonly [string, number | undefined])[] = [
    ['3h59m57.5s', 14_397_000],
    ['1h', 3_600_000],
    ['-5m1s', -301_000],
    ['250ms', 0],
    ['12.5µs', 0],
    ['', undefined],
    ['-', undefined],
    ['5', undefined],
    ['1d', undefined],
    ['1h1h', undefined],
  ]
  for (const [text, ms] of table) assert.equal(parseGoDuration(text), ms, text)
})

test('a decision is said with its reason and origin, again before it lapses, and taken back when it is lifted', async () => {
  const { pull, asked, feed } = makeFeed([
    stream([decision('198.51.100.7')], [decision('198.51.100.7')]),
    stream(null),
    stream(null, [decision('198.51.100.7')]),
  ])
  assert.deepEqual(await pull(T0), ['deny 198.51.100.7 3600 crowdsec lapi (cscli): crowdsecurity/ssh-bf'])
  assert.deepEqual(await pull(T0 + 1_000), [])
  assert.deepEqual(
    asked.map((path) => /startup=\w+/.exec(path)?.[0]),
    ['startup=true', 'startup=false'],
  )
  assert.deepEqual(await pull(T0 + 2_000), ['withdraw 198.51.100.7 CrowdSec lifted it'])
  assert.equal(feed.status().held, 0)
})

test('what waits for other nodes is said again while it lasts', async () => {
  const { pull } = makeFeed([stream([decision('198.51.100.7')])])
  await pull(T0)
  assert.deepEqual(await pull(T0 + 500_000), [])
  assert.equal((await pull(T0 + 541_000)).length, 1)
})

test('what is safe, too wide for a node, of another kind or beyond the bound is not said', async () => {
  const wanted = [
    decision('192.0.2.7'),
    decision('10.0.0.0/8'),
    decision('198.51.100.8', { type: 'captcha' }),
    decision('FR', { scope: 'Country' }),
    decision('0.0.0.0'),
    decision('198.51.100.9', { duration: '-3s' }),
    decision('198.51.100.1', { simulated: true }),
    decision('198.51.100.130/24'),
    decision('2001:DB8::1'),
    decision('198.51.100.3'),
  ]
  const { pull, feed } = makeFeed([stream(wanted)], 2)
  const said = await pull(T0)
  assert.deepEqual(
    said.filter((line) => line.startsWith('deny')).map((line) => line.split(' ')[1]),
    ['198.51.100.0/24', '2001:db8::1'],
  )
  const { held, refused, leftOut } = feed.status()
  assert.deepEqual([held, refused, leftOut], [2, 3, 4])
})

test('a server that fails changes nothing; the whole list is asked for afterwards, and what is not in it is over', async () => {
  const { pull, asked, feed } = makeFeed([
    stream([decision('198.51.100.7'), decision('198.51.100.8')]),
    new Error('refused'),
    '<html>',
    stream([decision('198.51.100.8')]),
  ])
  await pull(T0)
  assert.match((await pull(T0 + 1_000)).join(), /^log .*refused/)
  assert.deepEqual(await pull(T0 + 2_000), [], 'told once')
  assert.match(feed.status().problem ?? '', /expected JSON/)
  const again = await pull(T0 + 3_000)
  assert.match(asked.at(-1) ?? '', /startup=true/)
  assert.ok(again.includes('withdraw 198.51.100.7 CrowdSec no longer has it'))
  assert.deepEqual([feed.status().held, feed.status().problem], [1, null])
})

test('what is no answer of CrowdSec’s is refused with the place of the fault', () => {
  const table: readonly (readonly [string, string])[] = [
    ['[]', ''],
    ['{"new":{}}', '/new'],
    ['{"new":[1]}', '/new/0'],
    [stream([decision('198.51.100.7'), decision('x')]), '/new/1/value'],
    [stream([decision('198.51.100.7', { duration: 'soon' })]), '/new/0/duration'],
    [stream(null, [decision('198.51.100.7', { origin: 7 })]), '/deleted/0/origin'],
  ]
  for (const [text, pointer] of table)
    assert.throws(
      () => parseDecisionStream(text),
      (error) => error instanceof FeedMalformed && error.pointer === pointer,
      text,
    )
})

test('property: whatever is answered, it is read or refused, and reasons are lines that show', () => {
  const texts = fc.oneof(
    fc.json(),
    fc.string(),
    fc.string({ unit: 'binary' }).map((scenario) => stream([decision('198.51.100.7', { scenario })])),
  )
  fc.assert(
    fc.property(texts, (text) => {
      try {
        for (const { scenario } of parseDecisionStream(text).added) assert.match(scenario, /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]*$/u)
      } catch (error) {
        assert.ok(error instanceof FeedMalformed, String(error))
      }
    }),
  )
})

test('a key travels by TLS, or to this machine', () => {
  assert.equal(feedUrlFault('https://lapi.example:8080/'), undefined)
  assert.equal(feedUrlFault('http://127.0.0.1:8080/'), undefined)
  assert.equal(feedUrlFault('http://[::1]:8080/'), undefined)
  for (const text of [
    'http://lapi.example/',
    'http://127.0.0.1.example/',
    'file:///etc/passwd',
    'https://u:p@h/',
    'nothing',
    'https://h/?x',
  ])
    assert.notEqual(feedUrlFault(text), undefined, text)
})

test('redirects are not followed, and what does not end is cut off', async (t) => {
  let asked = 0
  const server = createServer((request, response) => {
    asked += 1
    if (request.url?.startsWith('/v1/') === true) response.writeHead(302, { location: '/elsewhere' }).end()
    else response.end(stream([decision('198.51.100.7')]))
  })
  await new Promise<void>((settle) => server.listen(0, '127.0.0.1', settle))
  t.after(() => server.close())
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  const config = { name: 'x', url, key: 'k', ca: undefined, origins: ['cscli'], everyMs: 1_000, decisionsMax: 10 }
  const feed = new CrowdsecFeed({ config, view: () => view, deny: () => {}, withdraw: () => {}, log: () => {} })
  await feed.pull(T0)
  assert.deepEqual([asked, feed.status().held], [1, 0])
  assert.match(feed.status().problem ?? '', /answers 302/)
})

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BotNames } from './bot-names.ts'
import { testDns } from './test-dns.ts'

const DOMAINS = ['crawler.example', 'example.com']
const V6 = '2001:db8:0:0:0:0:0:7'
const ptr6 = V6.split(':')
  .map((word) => word.padStart(4, '0'))
  .join('')
  .split('')
  .reverse()
  .join('.')

test('a name in the bot’s domain that has the address: verified. First nothing is known, then it is, and is not asked again', async (t) => {
  const { server, asked } = await testDns(t, {
    'PTR 7.113.0.203.in-addr.arpa': ['Crawl-7.Crawler.Example'],
    'A crawl-7.crawler.example': ['203.0.113.6', '203.0.113.7'],
    [`PTR ${ptr6}.ip6.arpa`]: ['v6.crawler.example'],
    'AAAA v6.crawler.example': [V6],
  })
  const names = new BotNames({ servers: [server] })
  for (const address of ['203.0.113.7', '2001:db8::7']) assert.equal(names.standing(DOMAINS, address), 'unknown')
  await names.settled()
  for (const address of ['203.0.113.7', '::ffff:203.0.113.7', '2001:db8::7', '2001:DB8:0::7'])
    assert.equal(names.standing(DOMAINS, address), 'verified', address)
  assert.equal(asked.length, 4)
})

test('pretenders: no name, another domain, a like domain, a name that does not know the address, a name without addresses', async (t) => {
  const { server } = await testDns(t, {
    'PTR 2.113.0.203.in-addr.arpa': ['host.isp.test'],
    'PTR 3.113.0.203.in-addr.arpa': ['crawler.example.evil.test', 'evilcrawler.example'],
    'PTR 4.113.0.203.in-addr.arpa': ['crawl-7.crawler.example'],
    'A crawl-7.crawler.example': ['203.0.113.7'],
    'PTR 5.113.0.203.in-addr.arpa': ['nowhere.crawler.example'],
  })
  const names = new BotNames({ servers: [server] })
  const addresses = ['203.0.113.1', '203.0.113.2', '203.0.113.3', '203.0.113.4', '203.0.113.5']
  for (const address of addresses) names.standing(DOMAINS, address)
  await names.settled()
  for (const address of addresses) assert.equal(names.standing(DOMAINS, address), 'pretender', address)
})

test('many names: a few are looked at, whoever lists them', async (t) => {
  const many = Array.from({ length: 10 }, (_, at) => `c${at}.crawler.example`)
  const { server, asked } = await testDns(t, { 'PTR 7.113.0.203.in-addr.arpa': many })
  const names = new BotNames({ servers: [server] })
  names.standing(DOMAINS, '203.0.113.7')
  await names.settled()
  assert.equal(names.standing(DOMAINS, '203.0.113.7'), 'pretender')
  assert.equal(asked.length, 5)
})

test('no answer is no finding: it stays unknown, is left alone for a while, and undoes nothing', {
  timeout: 30_000,
}, async (t) => {
  const records: Record<string, readonly string[] | undefined> = {
    'PTR 7.113.0.203.in-addr.arpa': ['a.crawler.example'],
    'A a.crawler.example': ['203.0.113.7'],
    'PTR 8.113.0.203.in-addr.arpa': undefined,
  }
  const { server, asked } = await testDns(t, records)
  let nowMs = 0
  const names = new BotNames({ servers: [server], now: () => nowMs })
  for (const address of ['203.0.113.7', '203.0.113.8']) names.standing(DOMAINS, address)
  await names.settled()
  assert.equal(names.standing(DOMAINS, '203.0.113.7'), 'verified')
  const before = asked.length
  assert.equal(names.standing(DOMAINS, '203.0.113.8'), 'unknown')
  await names.settled()
  assert.equal(asked.length, before)
  // An hour later nobody answers any more.
  nowMs += 3_600_001
  records['PTR 7.113.0.203.in-addr.arpa'] = undefined
  assert.equal(names.standing(DOMAINS, '203.0.113.7'), 'verified')
  await names.settled()
  assert.equal(names.standing(DOMAINS, '203.0.113.7'), 'verified')
})

test('ten thousand that claim it: a few are looked up at once, the others stay unknown', async (t) => {
  const { server, asked } = await testDns(t, {})
  const names = new BotNames({ servers: [server] })
  for (let at = 0; at < 10_000; at++) assert.equal(names.standing(DOMAINS, `10.0.${at >> 8}.${at & 255}`), 'unknown')
  await names.settled()
  assert.equal(asked.length, 16)
  assert.equal(names.standing(DOMAINS, 'unix'), 'unknown')
})

test('a server that is none is refused with what was expected', () => {
  assert.throws(() => new BotNames({ servers: ['999.1.1.1'] }), /dnsServers: .*expected such as 192\.0\.2\.53/)
})

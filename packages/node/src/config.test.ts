import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseHostPort } from './address.ts'
import { parseNodeConfig } from './config.ts'

const GOOD = `format: ringwall/node/1
id: n1
data: .
genesis: ../genesis.json
key: node.key
listen:
  traffic: 127.0.0.1:8081
  admin: "[::1]:9081"
  fabric: 127.0.0.1:7081
`

test('a good configuration has absolute paths, parsed addresses and defaults', () => {
  const config = parseNodeConfig(GOOD, '/etc/ringwall/n1/node.yaml')
  assert.equal(config.genesis, '/etc/ringwall/genesis.json')
  assert.deepEqual(config.listen.admin, { host: '::1', port: 9081 })
  assert.equal(config.explainHeader, false)
  assert.equal(config.heartbeatMs, 2_000)
})

const bad: readonly [string, string, RegExp][] = [
  ['malformed YAML', GOOD.replace('id: n1', 'id: [n1'), /^node\.yaml:\d+:\d+: /],
  ['an unknown key', `${GOOD}lisen: 1\n`, /node\.yaml:.*lisen/],
  ['a wrong type, at its line', GOOD.replace('id: n1', 'id: 7'), /^node\.yaml:2:5: id: /],
  ['a port out of range', GOOD.replace('8081', '80810'), /listen\.traffic.*HOST:PORT/],
  ['an empty document', '', /node\.yaml/],
  ['an alias bomb', `a: &a [x]\nb: [*a, *a]\n${GOOD}`, /node\.yaml|alias/],
]

for (const [name, text, message] of bad) {
  test(`refused with one clear line: ${name}`, () => {
    assert.throws(() => parseNodeConfig(text, 'node.yaml'), { name: 'StartError', message })
  })
}

test('addresses: names, IPv4 and bracketed IPv6 are taken, anything else is refused', () => {
  assert.deepEqual(parseHostPort('localhost:0', 'x'), { host: 'localhost', port: 0 })
  for (const text of ['8080', '127.0.0.1', '::1:80', 'a:b', 'a:80:80', '', 'host:99999'])
    assert.throws(() => parseHostPort(text, '--listen'), /--listen/)
})

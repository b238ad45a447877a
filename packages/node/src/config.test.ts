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

test('the socket of the Workload API is relative to the configuration, and there is none unless it is named', () => {
  const file = '/etc/ringwall/n1/node.yaml'
  assert.equal(parseNodeConfig(GOOD, file).workloadSocket, undefined)
  const parse = (text: string) => parseNodeConfig(`${GOOD}workloadApi: ${text}\n`, file).workloadSocket
  assert.equal(parse('{ socket: ../api.sock }'), '/etc/ringwall/api.sock')
  assert.equal(parse('{ socket: /run/ringwall/api.sock }'), '/run/ringwall/api.sock')
  for (const bad of ['{}', '/run/api.sock', '{ socket: 7 }', '{ socket: "" }', '{ socket: /run/api.sock, mode: 7 }'])
    assert.throws(() => parse(bad), /node\.yaml:\d+:\d+: workloadApi/, bad)
})

test('an edge keeps less in memory than others, unless its configuration says how much', () => {
  const parse = (text: string) => parseNodeConfig(`${GOOD}${text}`, '/etc/ringwall/n1/node.yaml')
  const kept = (text: string) => [parse(text).cacheBytes, parse(text).requestBytesKept]
  assert.deepEqual(kept(''), [67_108_864, 16_777_216])
  assert.deepEqual(kept('profile: full\n'), kept(''))
  assert.deepEqual(kept('profile: edge\n'), [4_194_304, 1_048_576])
  assert.deepEqual(kept('profile: edge\ncache: { bytesMax: 0 }\nrequests: { bytesKept: 7 }\n'), [0, 7])
  assert.throws(() => parse('profile: tiny\n'), /node\.yaml:10:10: profile/)
})

const listening = (traffic: string): string => GOOD.replace('127.0.0.1:8081', traffic)

test('listeners: one address, one listener, or a list; files are relative to the configuration', () => {
  const parse = (traffic: string) => parseNodeConfig(listening(traffic), '/etc/ringwall/node.yaml').listen.traffic
  assert.deepEqual(parse('0.0.0.0:80'), [{ host: '0.0.0.0', port: 80 }])
  const tls = {
    certificates: [{ certificate: '/etc/ringwall/a.pem', key: '/keys/a.key' }],
    unknownNames: 'first',
    minVersion: 'TLSv1.2',
    hsts: undefined,
  }
  assert.deepEqual(parse('{address: "[::]:443", tls: {certificate: a.pem, key: /keys/a.key}}'), [
    { host: '::', port: 443, tls, http2: true },
  ])
  assert.equal(parse('{address: "a:1", http2: false, tls: {certificate: a.pem, key: b}}')[0]!.http2, undefined)
  assert.equal(parse('{address: "a:1", http2: true}')[0]!.http2, true)
  const list = `
    - address: 0.0.0.0:443
      tls:
        certificates:
          - {certificate: a.pem, key: a.key, names: [www.example.org, "*.example.org"]}
          - {certificate: b.pem, key: b.key}
        unknownNames: refuse
        minVersion: "1.3"
        hsts: {maxAgeDays: 730, includeSubdomains: true, preload: true}
        clientCertificates: ask
    - {address: "0.0.0.0:80", redirectToTls: true}
    - {address: "0.0.0.0:81", redirectToTls: 8443, proxyProtocol: {from: [10.0.0.0/8, "2001:db8::1"]}}
    - 0.0.0.0:82`
  const [first, second, third, fourth] = parse(list)
  assert.deepEqual(first!.tls!.certificates[0]!.names, ['www.example.org', '*.example.org'])
  assert.equal(first!.tls!.certificates[1]!.key, '/etc/ringwall/b.key')
  assert.equal(first!.tls!.hsts, 'max-age=63072000; includeSubDomains; preload')
  assert.equal(first!.tls!.minVersion, 'TLSv1.3')
  assert.equal(first!.tls!.clientCertificates, 'ask')
  assert.equal(second!.redirectToTls, 443)
  assert.equal(third!.redirectToTls, 8443)
  assert.deepEqual(third!.proxyProtocol, { from: ['10.0.0.0/8', '2001:db8::1'] })
  assert.deepEqual(fourth, { host: '0.0.0.0', port: 82 })
})

const badListeners: readonly [string, string, RegExp][] = [
  ['no listener', '[]', /listen\.traffic: expected 1 to 64 listeners/],
  ['a number', '8080', /listen\.traffic/],
  ['nothing', '', /listen\.traffic/],
  ['an unknown key, at its line', '\n    - address: a:1\n      tsl: {}', /node\.yaml:8:7: listen\.traffic\.0: .*tsl/],
  ['no address', '{tls: {certificate: a, key: b}}', /listen\.traffic\.address/],
  ['a bad address in a list', '[a:1, b]', /listen\.traffic\.1.*HOST:PORT/],
  ['a certificate without its key', '{address: "a:1", tls: {certificate: a}}', /listen\.traffic\.tls: needs certificate and key/],
  ['both forms', '{address: "a:1", tls: {certificate: a, key: b, certificates: [{certificate: a, key: b}]}}', /has both/],
  ['TLS 1.1', '{address: "a:1", tls: {certificate: a, key: b, minVersion: "1.1"}}', /minVersion: expected "1\.2" or "1\.3"/],
  ['acme without acme', '{address: "a:1", tls: {acme: [www.example.org]}}', /tls\.acme needs acme: \{ agreeToTerms: true \}/],
  ['a name twice by acme', '{address: "a:1", tls: {acme: [a.b, a.b]}}', /names a host twice/],
  [
    'a host name that is none',
    '{address: "a:1", tls: {certificates: [{certificate: a, key: b, names: ["a*.b"]}]}}',
    /names\.0: expected a host name/,
  ],
  [
    'one name twice',
    '{address: "a:1", tls: {certificates: [{certificate: a, key: b, names: [x]}, {certificate: c, key: d, names: [x]}]}}',
    /x is given to two/,
  ],
  [
    'preload of too little',
    '{address: "a:1", tls: {certificate: a, key: b, hsts: {preload: true}}}',
    /preload needs includeSubdomains/,
  ],
  [
    'client certificates in a way that there is not',
    '{address: "a:1", tls: {certificate: a, key: b, clientCertificates: require}}',
    /clientCertificates/,
  ],
  [
    'a redirect beside TLS',
    '{address: "a:1", tls: {certificate: a, key: b}, redirectToTls: true}',
    /redirectToTls is for a listener without tls/,
  ],
  ['a redirect to no port', '{address: "a:1", redirectToTls: 0}', /redirectToTls: expected true, or the port/],
  [
    'a balancer that is no prefix',
    '{address: "a:1", proxyProtocol: {from: [10.0.0.1/8]}}',
    /proxyProtocol\.from\.0: expected an address/,
  ],
  ['balancers without one', '{address: "a:1", proxyProtocol: {from: []}}', /proxyProtocol\.from/],
  ['one address twice', '[a:1, a:1]', /two listeners on a:1/],
]

for (const [name, traffic, message] of badListeners) {
  test(`listeners refused with one clear line: ${name}`, () => {
    assert.throws(() => parseNodeConfig(listening(traffic), 'node.yaml'), { name: 'StartError', message })
  })
}

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

test('certificates by ACME are files of the node’s own, beside given ones', () => {
  const text = (acme: string, tls: string): string =>
    `format: ringwall/node/1\nid: n1\ndata: d\ngenesis: g\nkey: k\nlisten: {traffic: {address: "a:1", tls: ${tls}}, admin: "a:2", fabric: "a:3"}\n${acme}`
  const { acme, listen } = parseNodeConfig(
    text('acme: {agreeToTerms: true, externalAccount: {id: x, keyFile: eab}}', '{certificate: c, key: k, acme: [a.b, c.d]}'),
    '/etc/node.yaml',
  )
  const [given, own] = listen.traffic[0]!.tls!.certificates
  assert.equal(given!.certificate, '/etc/c')
  assert.deepEqual([own!.certificate === own!.key, own!.names], [true, ['a.b', 'c.d']])
  assert.match(own!.key, /^\/etc\/d\/acme\/a\.b-[0-9a-f]{12}\.pem$/)
  assert.deepEqual(acme!.certificates, [{ names: ['a.b', 'c.d'], file: own!.key }])
  assert.deepEqual(
    [acme!.directory, acme!.challenges, acme!.external],
    ['https://acme-v02.api.letsencrypt.org/directory', ['tls-alpn-01', 'http-01'], { id: 'x', keyFile: '/etc/eab' }],
  )
  for (const [given, message] of [
    ['acme: {}', /node\.yaml:7:7: acme\.agreeToTerms: must be true/],
    ['acme: {agreeToTerms: true, directory: "http://a/"}', /acme\.directory: expected the https address/],
    ['acme: {agreeToTerms: true, contact: nobody}', /acme\.contact: expected one mail address/],
    ['acme: {agreeToTerms: true, challenges: [dns-02]}', /acme\.challenges\.0/],
    ['acme: {agreeToTerms: true, challenges: [dns-01]}', /acme\.challenges: dns-01 needs acme\.dns/],
    [
      'acme: {agreeToTerms: true, challenges: [http-01], dns: {server: 192.0.2.53, keyFile: k}}',
      /acme\.challenges: acme\.dns is for dns-01/,
    ],
    ['acme: {agreeToTerms: true, dns: {server: 999.0.2.53, keyFile: k}}', /acme\.dns\.server: expected an IP address/],
    [
      'acme: {agreeToTerms: true, dns: {server: 192.0.2.53, keyFile: k, zone: Example.org}}',
      /acme\.dns\.zone: expected a domain/,
    ],
  ] as const)
    assert.throws(() => parseNodeConfig(text(given, '{acme: [a.b]}'), '/etc/node.yaml'), message)
  for (const [server, expected] of [
    ['192.0.2.53', { host: '192.0.2.53', port: 53 }],
    ['192.0.2.53:5353', { host: '192.0.2.53', port: 5353 }],
    ['"[2001:db8::53]"', { host: '2001:db8::53', port: 53 }],
    ['"[2001:db8::53]:54"', { host: '2001:db8::53', port: 54 }],
  ] as const) {
    const byDns = text(`acme: {agreeToTerms: true, dns: {server: ${server}, keyFile: k}}`, '{acme: ["*.a.b"]}')
    const { acme: settings } = parseNodeConfig(byDns, '/etc/node.yaml')
    assert.deepEqual(settings!.dns, { server: expected, keyFile: '/etc/k', zone: undefined })
    assert.deepEqual(settings!.challenges, ['dns-01'])
    assert.match(settings!.certificates[0]!.file, /\/_\.a\.b-[0-9a-f]{12}\.pem$/)
  }
  assert.throws(
    () => parseNodeConfig(text('acme: {agreeToTerms: true}', '{acme: ["*.a.b"]}'), 'node.yaml'),
    /tls\.acme has \*\.a\.b: a wildcard needs a proof in DNS, by acme\.dns/,
  )
  assert.throws(
    () => parseNodeConfig(text('acme: {agreeToTerms: true}', '{certificate: c, key: k}'), 'node.yaml'),
    /acme: no listener wants a certificate/,
  )
})

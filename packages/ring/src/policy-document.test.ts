import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { didYouMean, editDistance } from './did-you-mean.ts'
import { formatProblems, parsePolicyDocument } from './policy-document.ts'
import { policyJsonSchema } from './policy-json-schema.ts'

const SHOP = 'version: 1\nservices:\n  shop:\n    upstreams:\n      - url: http://127.0.0.1:3000\n'

/** Text of the policy, and the lines that it earns. */
const CASES: Record<string, readonly [text: string, lines: readonly string[]]> = {
  'an unknown key': [`${SHOP}    wfa:\n      mode: shadow\n`, ['6:5: wfa is not known in services.shop (did you mean waf?)']],
  'an unknown key inside a list': [
    `${SHOP}    routes:\n      - name: login\n        path: /login\n        logn: {}\n`,
    ['9:9: logn is not known in services.shop.routes.0 (did you mean login?)'],
  ],
  'an unknown key that is like no other': [
    `${SHOP}zzzzzz: 1\n`,
    [
      '6:1: zzzzzz is not known in the policy (known here: version, services, trustedProxies, bots, issuers, detectors, denials, operators, budget, workloads, segmentation, exceptions, patches, devices, fleet, openid, providers, saml, vault, playbooks, indicators, bouncers, taxii, tests)',
    ],
  ],
  'a wrong word': [
    `${SHOP}    waf: { mode: enfroce }\n`,
    ['6:18: expected enforce, shadow, learn or off, found "enfroce" (did you mean enforce?)'],
  ],
  'a wrong type': [`${SHOP}    hosts: shop.example\n`, ['6:12: expected a list, found "shop.example"']],
  'a number where text belongs': [`${SHOP}    upstreamTimeout: 30\n`, ['6:22: expected text, found 30']],
  'a bad duration': [
    `${SHOP}    upstreamTimeout: 30 sec\n`,
    ['6:22: expected a duration such as 30s, 10m or 24h, found "30 sec"'],
  ],
  'a bad rate and a bad key': [
    `${SHOP}    limits:\n      - name: all\n        rate: 5/day\n        key: [ipp]\n`,
    [
      '8:15: expected a rate such as 100/s, 20/m or 5000/d, found "5/day"',
      '9:15: expected ip, network, asn, country, ja4, http2, subject, account, host, method, path, route, header:NAME or cookie:NAME, found "ipp"',
    ],
  ],
  'a bad CIDR': [
    `${SHOP}trustedProxies: [127.0.0.1, 10.0.0.0/40]\n`,
    ['6:29: expected an IP address or CIDR prefix, found "10.0.0.0/40" (for example 203.0.113.0/24)'],
  ],
  'a CIDR with host bits': [
    `${SHOP}denials:\n  safe:\n    - 10.0.0.1/8\n`,
    ['8:7: 10.0.0.1/8 has bits set beyond its length (did you mean 10.0.0.0/8?)'],
  ],
  'a route named twice': [
    `${SHOP}    routes:\n      - { name: a, path: /a }\n      - { name: a, path: /b }\n`,
    ['8:17: the route a occurs twice (give each its own name)'],
  ],
  'two routes for one path': [
    `${SHOP}    routes:\n      - { name: a, path: /a }\n      - { name: b, path: /a }\n`,
    ['8:26: the route a has this path and a method in common (join the two, or give them different methods)'],
  ],
  'an unknown issuer': [
    `${SHOP}    identity:\n      issuers: [https://id.exmaple]\nissuers:\n  - issuer: https://id.example\n    audience: shop\n    jwks: { keys: [{ kty: OKP }] }\n`,
    ['7:17: the issuer https://id.exmaple is not in issuers (did you mean https://id.example?)'],
  ],
  'a host of two services': [
    `${SHOP}  blog:\n    upstreams: [{ url: "http://127.0.0.1:1" }]\n`,
    [
      '6:3: the host * belongs to the service shop (name it once, or say before this one which nodes serve shop: nodes: role=edge)',
    ],
  ],
  'a host with a port': [
    `${SHOP}    hosts: ["shop.example:80"]\n`,
    ['6:13: "shop.example:80" is no host name (write a host without port or scheme, *.DOMAIN or *)'],
  ],
  'a service without upstreams': [
    'version: 1\nservices:\n  shop: {}\n',
    ['3:3: services.shop.upstreams is missing (add upstreams)'],
  ],
  'a service in capitals': [
    'version: 1\nservices:\n  Shop: {}\n',
    ['3:3: Shop: expected lower-case letters, digits and hyphens, at most 63'],
  ],
  'another version': [SHOP.replace('1', '2'), ['1:10: expected 1, found 2']],
  'a key twice': [`${SHOP}services: {}\n`, ['6:1: services occurs twice (keep one of the two)']],
  'two documents': [`${SHOP}---\n${SHOP}`, ['6:1: a second document begins here (keep one, without a second ---)']],
  'a tag': [
    `${SHOP}issuers: !!js/function x\n`,
    ['6:10: Unresolved tag: tag:yaml.org,2002:js/function (write plain values without tags)'],
  ],
  'a list for a key': [`${SHOP}? [a]\n: 1\n`, ['1:1: a key that is not plain text (write keys as names)']],
  tabs: [`version: 1\nservices:\n\tshop: {}\n`, ['3:1: Tabs are not allowed as indentation (indent with spaces)']],
  nothing: ['# nothing\n', ['1:1: the policy is empty (it needs at least version: 1 and services)']],
  'a list': ['- 1\n', ['1:1: expected a map of keys, found a list']],
}

for (const [name, [text, lines]] of Object.entries(CASES)) {
  test(`${name} is reported with line, column and what to do`, () => {
    const document = parsePolicyDocument(text)
    assert.ok(!document.ok)
    assert.deepEqual(
      formatProblems(document.problems, 'ringwall.yaml').split('\n'),
      lines.map((line) => `ringwall.yaml:${line}`),
    )
  })
}

test('a problem names its place as a JSON pointer', () => {
  const document = parsePolicyDocument(`${SHOP}    waf: { mode: on }\n`)
  assert.deepEqual(document.ok || document.problems.map(({ path }) => path), ['/services/shop/waf/mode'])
})

test('a small policy gets its defaults', () => {
  const document = parsePolicyDocument(SHOP)
  assert.ok(document.ok)
  assert.deepEqual(document.policy.services.shop?.waf, {
    mode: 'enforce',
    paranoia: 1,
    rules: ['base'],
    exclude: [],
    bodyBytesMax: 131_072,
    oversize: 'pass',
    overrun: 'deny',
    responses: 'inspect',
  })
  assert.equal(document.policy.denials.nodeTtlMax, 3_600_000)
})

test('aliases work, a bomb of them is refused', () => {
  const shared =
    'version: 1\nservices:\n  a:\n    hosts: [a.example]\n    upstreams: &up [{ url: "http://127.0.0.1:1" }]\n  b:\n    hosts: [b.example]\n    upstreams: *up\n'
  assert.ok(parsePolicyDocument(shared).ok)
  const bomb = [
    'a: &a [x,x,x,x,x,x,x,x,x]',
    ...[...'bcdefghi'].map((name, at) => `${name}: &${name} [${Array(9).fill(`*${'abcdefgh'[at]}`)}]`),
  ].join('\n')
  assert.ok(!parsePolicyDocument(bomb).ok)
})

test('block nesting that would overflow the parser is refused in words', () => {
  const document = parsePolicyDocument(
    Array.from({ length: 1_500 }, (_, depth) => `${' '.repeat(depth)}a:`)
      .join('\n')
      .slice(0, 1_048_576),
  )
  assert.match(document.ok ? '' : document.problems[0]!.message, /^nested (too deep|more than 32 deep)/)
})

test('text that is huge or nested very deep is refused in one line', () => {
  for (const text of [
    ' '.repeat(1_048_577),
    '['.repeat(100_000),
    '- '.repeat(50_000),
    `${'a: {'.repeat(150)}${'}'.repeat(150)}`,
    '"'.repeat(3),
  ]) {
    const document = parsePolicyDocument(text, 'ringwall.yaml')
    assert.ok(!document.ok)
    assert.equal(document.problems.length > 0, true)
  }
})

test('property: the parser never throws, and every problem has a place', () => {
  const pieces = fc.constantFrom(
    'services',
    'shop',
    ':',
    ' ',
    '\n',
    '  ',
    '- ',
    '[',
    ']',
    '{',
    '}',
    '&a',
    '*a',
    '!!x',
    '"',
    "'",
    '#',
    '|',
    '>',
    '?',
    '1',
    '__proto__',
    '\t',
    '%',
    '---',
    '<<',
    'null',
    '\u0000',
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.array(pieces).map((list) => list.join('')),
        fc.json().map((json) => `${SHOP}x: ${json}`),
      ),
      (text) => {
        const document = parsePolicyDocument(text)
        assert.ok(
          document.ok || document.problems.every(({ line, column, message }) => line >= 1 && column >= 1 && message !== ''),
        )
      },
    ),
    { numRuns: 500 },
  )
})

test('swapped neighbours are one edit, and what is unlike is not suggested', () => {
  assert.equal(editDistance('enfroce', 'enforce'), 1)
  assert.equal(didYouMean('hots', ['hosts', 'routes']), 'hosts')
  assert.equal(didYouMean('x', ['hosts', 'routes']), undefined)
})

test('the published JSON Schema is the one that the code gives', () => {
  const file = readFileSync(new URL('../schema/ringwall.schema.json', import.meta.url), 'utf8')
  assert.deepEqual(JSON.parse(file), JSON.parse(JSON.stringify(policyJsonSchema())))
  assert.equal(policyJsonSchema().$schema, 'https://json-schema.org/draft/2020-12/schema')
})

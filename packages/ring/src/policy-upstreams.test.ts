import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatProblems, parsePolicyDocument } from './policy-document.ts'

const SHOP =
  'version: 1\nservices:\n  shop:\n    upstreams:\n      - { url: http://127.0.0.1:1 }\n      - { url: http://127.0.0.1:2 }\n'

/** What follows the two upstreams, and the lines that it earns, without the file's name. */
const CASES: Record<string, readonly [text: string, lines: readonly string[]]> = {
  'a balance unknown': [
    'balance: least_request',
    ['7:14: expected least-request, ewma or round-robin, found "least_request" (did you mean least-request?)'],
  ],
  'a slow start over an hour': ['slowStart: 61m', ['7:16: expected 0s to 1h, found 61m']],
  'a share without its sign': ['outliers: { maxEjected: 50 }', ['7:29: expected text, found 50']],
  'a share over all': ['retries: { budget: 101% }', ['7:24: expected a share such as 20%, found "101%"']],
  'a check too often': ['health: { path: /up, interval: 50ms }', ['7:36: expected 100ms to 1h, found 50ms']],
  'a check without a path': ['health: { interval: 5s }', ['7:5: services.shop.health.path is missing (add path)']],
  'a path that would end the request line': [
    'health: { path: "/up HTTP/1.1" }',
    ['7:21: expected a path of visible ASCII that begins with /, found "/up HTTP/1.1"'],
  ],
  'an ejection that shrinks': ['outliers: { ejectFor: 1m, ejectForMax: 30s }', ['7:44: expected 1m to 1d, found 30s']],
  'a response that is no failure': ['outliers: { statuses: [404] }', ['7:28: too small: expected number to be >=500, found 404']],
  'a retry after a response that says nothing of the kind': [
    'retries: { statuses: [500] }',
    ['7:27: expected 502, 503 or 504, found 500'],
  ],
  'a try that may take longer than all tries': ['retries: { perTryTimeout: 1m }', ['7:31: expected 10ms to 30s, found 1m']],
  'a hedge at once': ['hedge: { delayMin: 0ms }', ['7:24: expected 1ms to 1m, found 0s']],
  'a hedge for all': ['hedge: { percentile: 40 }', ['7:26: too small: expected number to be >=50, found 40']],
  'a cookie with a separator': [
    'sticky: { cookie: "a;b" }',
    ['7:23: expected letters, digits, _ and -, at most 64, found "a;b"'],
  ],
  'a mirror that is an upstream': [
    'mirror: { url: "http://127.0.0.1:2/" }',
    ['7:20: http://127.0.0.1:2/ is one of this service’s upstreams: it would get these requests twice (mirror to another one)'],
  ],
  'a split without subsets': [
    'split: { stable: 9 }',
    [
      '5:9: the upstream http://127.0.0.1:1 is of no subset (with split, each upstream is of one of its subsets)',
      '6:9: the upstream http://127.0.0.1:2 is of no subset (with split, each upstream is of one of its subsets)',
      '7:14: no upstream is of the subset stable (give some upstreams this subset)',
    ],
  ],
  'a header that ends early': [
    'rewrite: { request: { set: { x-a: "1\\r\\nx-b: 2" } } }',
    ['7:39: expected visible ASCII on one line, found "1\\r\\nx-b: 2"'],
  ],
  'a header that frames': [
    'rewrite: { request: { set: { Content-Length: "0" } } }',
    ['7:34: Content-Length cannot be set: it says where the message ends'],
  ],
  'a header of the connection': [
    'rewrite: { response: { remove: [Connection] } }',
    ['7:37: Connection cannot be removed: it belongs to the connection (RFC 9110 section 7.6.1)'],
  ],
  'a header of ours in disguise': [
    'rewrite: { request: { set: { X_Forwarded_For: "1.2.3.4" }, remove: [x-ringwall-mirror] } }',
    ['7:34: X_Forwarded_For cannot be set: the proxy says it', '7:73: x-ringwall-mirror cannot be removed: the proxy says it'],
  ],
  'a header set twice': [
    'rewrite: { response: { set: { x-a: "1", X-A: "2" } } }',
    ['7:45: X-A is set twice (keep one of the two)'],
  ],
  'a path with dots': [
    'rewrite: { path: { from: /a, to: /b/../c } }',
    ['7:38: /b/../c can be read in more than one way (write it without %, ;, ?, #, \\, //, /. and /..)'],
  ],
  'a rewriting out of its route’s reach': [
    'routes: [{ name: a, path: /a, rewrite: { path: { from: /ab, to: / } } }]',
    ['7:60: no path of this route begins with /ab (the route’s path is /a)'],
  ],
}

for (const [name, [text, lines]] of Object.entries(CASES)) {
  test(`${name} is reported with line, column and what to do`, () => {
    const document = parsePolicyDocument(`${SHOP}    ${text}\n`)
    assert.ok(!document.ok)
    assert.deepEqual(
      formatProblems(document.problems, 'ringwall.yaml').split('\n'),
      lines.map((line) => `ringwall.yaml:${line}`),
    )
  })
}

test('a subset without a split, a hedge without a second upstream, and a split that sends nobody anywhere, are faults', () => {
  const lone = parsePolicyDocument(`${SHOP}      - { url: http://127.0.0.1:3, subset: new }\n`)
  assert.match(lone.ok ? '' : lone.problems[0]!.message, /the subset new has no weight/)
  const alone = parsePolicyDocument(
    'version: 1\nservices:\n  shop:\n    upstreams: [{ url: http://127.0.0.1:1 }]\n    hedge: {}\n',
  )
  assert.match(alone.ok ? '' : alone.problems[0]!.message, /^there is no second upstream to ask$/)
  const none = 'version: 1\nservices:\n  shop:\n    upstreams: [{ url: http://127.0.0.1:1, subset: a }]\n    split: { a: 0 }\n'
  const document = parsePolicyDocument(none)
  assert.match(document.ok ? '' : document.problems[0]!.message, /no subset has a weight/)
})

test('a service that says nothing of its upstreams gets defaults, and one that says all is read whole', () => {
  const plain = parsePolicyDocument(SHOP)
  assert.ok(plain.ok)
  const { balance, slowStart, health, outliers, circuit, retries, sticky, split, mirror, rewrite } = plain.policy.services.shop!
  assert.deepEqual(
    { balance, slowStart, circuit },
    { balance: 'least-request', slowStart: 0, circuit: { connections: 256, pending: 1_024 } },
  )
  assert.deepEqual([health, sticky, split, mirror, rewrite], [undefined, undefined, undefined, undefined, undefined])
  assert.deepEqual(retries, { attempts: 2, statuses: [], budget: 0.2, minPerSecond: 10 })
  assert.deepEqual(outliers, {
    consecutive: 5,
    statuses: [502, 503, 504],
    successGap: 0.5,
    ejectFor: 30_000,
    ejectForMax: 300_000,
    maxEjected: 0.5,
  })
  const whole = parsePolicyDocument(`version: 1
services:
  shop:
    balance: ewma
    slowStart: 30s
    upstreams:
      - { url: "http://127.0.0.1:1", region: eu, weight: 3, subset: stable }
      - { url: "http://127.0.0.1:2", region: us, subset: canary }
    split: { stable: 95, canary: 5 }
    health: { path: "/up?deep=1", host: "shop.internal:80", interval: 5s, timeout: 1s, status: [200, 204] }
    outliers: { consecutive: 3, maxEjected: 30% }
    circuit: { connections: 10, pending: 0 }
    retries: { attempts: 1, statuses: [503], budget: 10%, perTryTimeout: 2s }
    hedge: { percentile: 90 }
    sticky: { cookie: seat, maxAge: 1d }
    mirror: { url: "http://127.0.0.1:3", share: 10% }
    rewrite: { host: inner.example, path: { from: /api, to: / }, request: { set: { x-a: "" }, remove: [x-b] } }
    routes:
      - { name: old, path: /old, rewrite: { path: { from: /old/v1, to: /new }, response: { set: { cache-control: no-store } } } }
`)
  assert.ok(whole.ok, whole.ok ? '' : formatProblems(whole.problems, 'x'))
  assert.equal(whole.policy.services.shop!.mirror!.share, 0.1)
  assert.deepEqual(whole.policy.services.shop!.rewrite!.response, { set: {}, remove: [] })
})

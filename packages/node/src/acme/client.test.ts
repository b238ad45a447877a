import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createHash, createHmac, createPublicKey, type JsonWebKey, verify, X509Certificate } from 'node:crypto'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import fc from 'fast-check'
import { AcmeClient, AcmeError, type OrderOptions, type Proof } from './client.ts'
import { type AcmeHttp, type AcmeResponse, acmeHttp } from './https.ts'
import { newKey } from './proofs.ts'
import { certificateRequest, challengeCertificate, isPlaceholder, placeholder, renewalName } from './x509.ts'

const BASE = 'https://acme.test'

interface Server {
  readonly http: AcmeHttp
  /** Paths that were posted to, with what was said. */
  readonly posts: { path: string; head: Record<string, unknown>; payload: unknown }[]
  readonly changes: {
    /** Refuse the next so many nonces. */
    badNonces: number
    answers: Map<string, () => Partial<AcmeResponse> & { json?: unknown }>
  }
}

/** An ACME server as RFC 8555 has it, for one order of one name; any answer may be another one. */
function server(name = 'www.example.org'): Server {
  const posts: Server['posts'] = []
  const changes: Server['changes'] = { badNonces: 0, answers: new Map() }
  let nonces = 0
  const open = new Set<string>()
  let [jwk, isProven, isFinal]: [JsonWebKey | undefined, boolean, boolean] = [undefined, false, false]
  const response = (status: number, json: unknown, headers: Record<string, string> = {}): AcmeResponse => {
    const nonce = `nonce-${++nonces}`
    open.add(nonce)
    return {
      status,
      headers: { 'replay-nonce': nonce, ...headers },
      body: Buffer.from(typeof json === 'string' ? json : JSON.stringify(json)),
    }
  }
  const problem = (type: string, detail: string, status = 400): AcmeResponse =>
    response(status, { type: `urn:ietf:params:acme:error:${type}`, detail })
  const http: AcmeHttp = async (method, url, { body } = {}) => {
    const path = url.slice(BASE.length)
    if (path === '/nonce') return response(200, '')
    let payload: unknown
    if (method === 'POST') {
      const signed = JSON.parse(body!) as { protected: string; payload: string; signature: string }
      const head = JSON.parse(Buffer.from(signed.protected, 'base64url').toString()) as Record<string, unknown>
      assert.equal(head.url, url)
      assert.ok((head.jwk === undefined) !== (head.kid === undefined))
      jwk ??= head.jwk as JsonWebKey
      const key = createPublicKey({ key: jwk, format: 'jwk' })
      const text = Buffer.from(`${signed.protected}.${signed.payload}`)
      assert.ok(verify('sha256', text, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signed.signature, 'base64url')))
      if (!open.delete(String(head.nonce)) || changes.badNonces-- > 0) return problem('badNonce', 'used before')
      payload = signed.payload === '' ? undefined : JSON.parse(Buffer.from(signed.payload, 'base64url').toString())
      posts.push({ path, head, payload })
    }
    const other = changes.answers.get(path)?.()
    if (other !== undefined) {
      const whole = response(other.status ?? 200, other.json ?? '', (other.headers ?? {}) as Record<string, string>)
      return other.body === undefined ? whole : { ...whole, body: other.body }
    }
    const order = { authorizations: [`${BASE}/authz`], finalize: `${BASE}/finalize`, certificate: `${BASE}/certificate` }
    switch (path) {
      case '/directory':
        return response(200, {
          newNonce: `${BASE}/nonce`,
          newAccount: `${BASE}/account`,
          newOrder: `${BASE}/order`,
          renewalInfo: `${BASE}/ari`,
        })
      case '/account':
        return response(201, { status: 'valid' }, { location: `${BASE}/account/1` })
      case '/order':
        return response(201, { status: 'pending', ...order }, { location: `${BASE}/order/1` })
      case '/order/1':
        return response(200, { status: isFinal ? 'valid' : isProven ? 'ready' : 'pending', ...order })
      case '/authz':
        return response(200, {
          status: isProven ? 'valid' : 'pending',
          identifier: { type: 'dns', value: name },
          challenges: ['dns-01', 'http-01', 'tls-alpn-01'].map((type) => ({
            type,
            url: `${BASE}/${type}`,
            token: 'tok',
            status: 'pending',
          })),
        })
      case '/http-01':
      case '/tls-alpn-01':
        isProven = true
        return response(200, {})
      case '/finalize':
        isFinal = true
        return response(200, { status: 'processing', ...order })
      case '/certificate':
        return response(200, 'THE CHAIN')
      default:
        return problem('malformed', 'no such page', 404)
    }
  }
  return { http, posts, changes }
}

function clientOf({ http }: Server) {
  const slept: number[] = []
  let nowMs = 0
  const client = new AcmeClient({
    directory: `${BASE}/directory`,
    key: newKey().object,
    http,
    account: undefined,
    nowMs: () => nowMs,
    sleep: async (ms) => {
      slept.push(ms)
      nowMs += ms
    },
  })
  return { client, slept }
}

function order(proofs: Proof[] = [], more: Partial<OrderOptions> = {}): OrderOptions {
  return {
    names: ['www.example.org'],
    request: Buffer.from('request'),
    challenges: ['tls-alpn-01', 'http-01'],
    replaces: undefined,
    present: async (proof) => {
      proofs.push(proof)
    },
    withdraw: (proof) => {
      proofs.splice(proofs.indexOf(proof), 1)
    },
    ...more,
  }
}

test('an order is seen through: account, proof by the first way that both know, request, chain', async () => {
  const fake = server()
  const { client } = clientOf(fake)
  assert.equal(await client.account('ops@example.org', undefined), `${BASE}/account/1`)
  const presented: Proof[] = []
  const chain = await client.obtain(order([], { present: async (proof) => void presented.push(proof), replaces: 'aki.serial' }))
  assert.equal(chain, 'THE CHAIN')
  const [proof] = presented
  assert.deepEqual(
    [proof!.type, proof!.name, proof!.keyAuthorization],
    ['tls-alpn-01', 'www.example.org', `tok.${client.thumbprint}`],
  )
  assert.deepEqual(
    fake.posts.map(({ path }) => path),
    ['/account', '/order', '/authz', '/tls-alpn-01', '/authz', '/order/1', '/finalize', '/order/1', '/certificate'],
  )
  assert.deepEqual(fake.posts[0]!.payload, { termsOfServiceAgreed: true, contact: ['mailto:ops@example.org'] })
  assert.deepEqual(fake.posts[1]!.payload, { identifiers: [{ type: 'dns', value: 'www.example.org' }], replaces: 'aki.serial' })
  assert.deepEqual(fake.posts[6]!.payload, { csr: Buffer.from('request').toString('base64url') })
  assert.ok(fake.posts.slice(1).every(({ head }) => head.kid === `${BASE}/account/1`))
})

test('RFC 7638: the thumbprint is that of the key with its members in order', () => {
  const { object } = newKey()
  const client = new AcmeClient({ directory: BASE, key: object, http: server().http, account: undefined, sleep: async () => {} })
  const { x, y } = createPublicKey(object).export({ format: 'jwk' })
  assert.equal(
    client.thumbprint,
    createHash('sha256').update(`{"crv":"P-256","kty":"EC","x":"${x}","y":"${y}"}`).digest('base64url'),
  )
})

test('RFC 8555 6.5: a refused nonce is replaced by the one that came with the refusal, and not for ever', async () => {
  const fake = server()
  const { client } = clientOf(fake)
  fake.changes.badNonces = 5
  assert.equal(await client.account(undefined, undefined), `${BASE}/account/1`)
  fake.changes.badNonces = 1_000
  await assert.rejects(client.obtain(order()), { type: 'badNonce' })
})

test('RFC 8555 7.3.4: an account that is named is bound to ours', async () => {
  const fake = server()
  const key = Buffer.from('secret of the server').toString('base64url')
  await clientOf(fake).client.account(undefined, { id: 'kid-7', key })
  const { payload, head } = fake.posts[0]!
  const bound = (payload as { externalAccountBinding: { protected: string; payload: string; signature: string } })
    .externalAccountBinding
  assert.deepEqual(JSON.parse(Buffer.from(bound.protected, 'base64url').toString()), {
    alg: 'HS256',
    kid: 'kid-7',
    url: `${BASE}/account`,
  })
  assert.deepEqual(JSON.parse(Buffer.from(bound.payload, 'base64url').toString()), head.jwk)
  const mac = createHmac('sha256', 'secret of the server').update(`${bound.protected}.${bound.payload}`).digest('base64url')
  assert.equal(bound.signature, mac)
})

const refusals: Record<string, readonly [path: string, answer: Partial<AcmeResponse> & { json?: unknown }, message: RegExp]> = {
  'a refused order, with what it says of each name': [
    '/order',
    {
      status: 403,
      json: {
        type: 'urn:ietf:params:acme:error:rejectedIdentifier',
        detail: 'no',
        subproblems: [{ detail: 'forbidden', identifier: { value: 'a.b' } }],
      },
    },
    /^acme\.test refuses the order: no; a\.b forbidden \(rejectedIdentifier\)$/,
  ],
  'words that would forge lines': [
    '/order',
    { status: 400, json: { detail: 'a\r\n2026 info node: all is well\u001b[2J\u2028b' } },
    /^acme\.test refuses the order: a 2026 info node: all is well \[2J b$/,
  ],
  'very many words': ['/order', { status: 400, json: { detail: 'x'.repeat(100_000) } }, /^.{100,500}$/],
  'no problem document': ['/order', { status: 502, json: '<html>' }, /refuses the order: status 502$/],
  'an order without an address': [
    '/order',
    { status: 201, json: { status: 'pending', authorizations: [`${BASE}/authz`], finalize: `${BASE}/finalize` } },
    /gave the order no address/,
  ],
  'an address that is not https': [
    '/order',
    {
      status: 201,
      headers: { location: `${BASE}/order/1` },
      json: { status: 'pending', authorizations: ['http://10.0.0.1/'], finalize: `${BASE}/f` },
    },
    /describes the order wrongly: authorizations\.0/,
  ],
  'no JSON': ['/authz', { json: 'what' }, /describes an authorization in no JSON/],
  'a name that was not asked for': [
    '/authz',
    { json: { status: 'pending', identifier: { type: 'dns', value: 'evil.example' } } },
    /wants a proof for evil\.example, which was not asked for/,
  ],
  'only ways that a node has not': [
    '/authz',
    {
      json: {
        status: 'pending',
        identifier: { type: 'dns', value: 'www.example.org' },
        challenges: [{ type: 'dns-01', url: `${BASE}/d`, token: 't', status: 'pending' }],
      },
    },
    /takes no proof for www\.example\.org that this node has: it offers dns-01/,
  ],
  'a token that leads elsewhere': [
    '/authz',
    {
      json: {
        status: 'pending',
        identifier: { type: 'dns', value: 'www.example.org' },
        challenges: [{ type: 'http-01', url: `${BASE}/d`, token: '../../x', status: 'pending' }],
      },
    },
    /takes no proof/,
  ],
  'an order that fails': [
    '/order/1',
    { json: { status: 'invalid', authorizations: [`${BASE}/authz`], finalize: `${BASE}/f`, error: { detail: 'CAA forbids' } } },
    /refuses the order: CAA forbids/,
  ],
  'a chain of megabytes': ['/certificate', { body: Buffer.alloc(300_000, 'x') }, /sent a chain of 300000 characters/],
}

for (const [name, [path, answer, message]] of Object.entries(refusals)) {
  test(`${name}: the error says so, and nothing is left to be shown`, async () => {
    const fake = server()
    fake.changes.answers.set(path, () => answer)
    const { client } = clientOf(fake)
    const shown: Proof[] = []
    await client.account(undefined, undefined)
    await assert.rejects(client.obtain(order(shown)), (error: Error) => {
      assert.ok(error instanceof AcmeError)
      assert.match(error.message, message)
      return true
    })
    assert.deepEqual(shown, [])
  })
}

test('a validation that fails says what the server found, and how long it wants to be left alone is kept', async () => {
  const fake = server()
  const { client } = clientOf(fake)
  await client.account(undefined, undefined)
  let asked = 0
  const failed = {
    type: 'tls-alpn-01',
    url: `${BASE}/tls-alpn-01`,
    token: 'tok',
    status: 'invalid',
    error: { type: 'urn:ietf:params:acme:error:connection', detail: 'refused' },
  }
  const pending = { type: 'tls-alpn-01', url: `${BASE}/tls-alpn-01`, token: 'tok', status: 'pending' }
  fake.changes.answers.set('/authz', () => ({
    json: {
      status: ++asked === 1 ? 'pending' : 'invalid',
      identifier: { type: 'dns', value: 'www.example.org' },
      challenges: [asked === 1 ? pending : failed],
    },
  }))
  await assert.rejects(client.obtain(order()), {
    message: 'acme.test could not verify www.example.org by tls-alpn-01: refused',
    type: 'connection',
  })
  fake.changes.answers.set('/order', () => ({
    status: 429,
    headers: { 'retry-after': '3600' },
    json: { type: 'urn:ietf:params:acme:error:rateLimited', detail: 'too many' },
  }))
  await assert.rejects(client.obtain(order()), { type: 'rateLimited', retryAfterMs: 3_600_000 })
})

test('a server that never comes to an end is given up, at its own pace within bounds', async () => {
  const fake = server()
  const { client, slept } = clientOf(fake)
  await client.account(undefined, undefined)
  fake.changes.answers.set('/order/1', () => ({
    headers: { 'retry-after': '86400' },
    json: { status: 'processing', authorizations: [`${BASE}/authz`], finalize: `${BASE}/f` },
  }))
  await assert.rejects(client.obtain(order()), /did not come to an end with the certificate within 5 min/)
  assert.deepEqual([slept.length, Math.max(...slept)], [10, 30_000])
})

test('where the server does not know what is replaced, it goes without', async () => {
  const fake = server()
  const { client } = clientOf(fake)
  await client.account(undefined, undefined)
  let asked = 0
  fake.changes.answers.set('/order', () =>
    ++asked === 1
      ? { status: 409, json: { type: 'urn:ietf:params:acme:error:alreadyReplaced', detail: 'done' } }
      : {
          status: 201,
          headers: { location: `${BASE}/order/1` },
          json: { status: 'pending', authorizations: [`${BASE}/authz`], finalize: `${BASE}/finalize` },
        },
  )
  assert.equal(await client.obtain(order([], { replaces: 'a.b' })), 'THE CHAIN')
})

test('RFC 9773 4.2: the window to renew in, and windows that are none', async () => {
  const fake = server()
  const { client } = clientOf(fake)
  const window = (start: string, end: string) =>
    fake.changes.answers.set('/ari/a.b', () => ({
      headers: { 'retry-after': '21600' },
      json: { suggestedWindow: { start, end } },
    }))
  window('2026-01-01T00:00:00Z', '2026-01-02T00:00:00Z')
  assert.deepEqual(await client.renewalWindow('a.b'), {
    startMs: Date.parse('2026-01-01'),
    endMs: Date.parse('2026-01-02'),
    askAgainMs: 21_600_000,
  })
  window('2026-01-02T00:00:00Z', '2026-01-01T00:00:00Z')
  await assert.rejects(client.renewalWindow('a.b'), /names a time to renew that is none/)
})

test('property: whatever a server answers, wherever, an order ends with an error of ours or a chain', async () => {
  const paths = ['/directory', '/nonce', '/account', '/order', '/order/1', '/authz', '/tls-alpn-01', '/finalize', '/certificate']
  const part = fc.record({
    path: fc.constantFrom(...paths),
    status: fc.constantFrom(200, 201, 400, 429, 500),
    json: fc.jsonValue(),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 4 }), async (parts) => {
      const fake = server()
      for (const { path, status, json } of parts) fake.changes.answers.set(path, () => ({ status, json }))
      const { client } = clientOf(fake)
      try {
        await client.account(undefined, undefined)
        assert.equal(typeof (await client.obtain(order())), 'string')
      } catch (error) {
        assert.ok(error instanceof AcmeError, String((error as Error).stack))
        assert.match(error.message, /^[^\p{Cc}]{1,700}$/u)
      }
    }),
    { numRuns: 200 },
  )
})

test('requests go out over https alone, to whom the roots vouch for, and are bounded', async (t) => {
  const key = newKey()
  const cert = placeholder(['localhost'], key.object, Date.now())
  const big = createServer({ key: key.pem, cert }, (request, response) => {
    if (request.url === '/redirect') response.writeHead(302, { location: 'https://10.0.0.1/' }).end()
    else response.end(Buffer.alloc(2_000_000))
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => big.once('listening', resolve))
  t.after(() => {
    big.closeAllConnections()
    big.close()
  })
  const base = `https://localhost:${(big.address() as AddressInfo).port}`
  const stop = new AbortController()
  await assert.rejects(acmeHttp(undefined, stop.signal)('GET', base), /DEPTH_ZERO_SELF_SIGNED_CERT|self-signed/)
  const http = acmeHttp(cert, stop.signal)
  await assert.rejects(http('GET', base), /answers with more than 1048576 bytes/)
  assert.equal((await http('GET', `${base}/redirect`)).status, 302)
  await assert.rejects(http('GET', base.replace('https', 'http')), /expected https/)
  stop.abort()
  await assert.rejects(http('GET', base), /abort/i)
})

test('requests for certificates and those that we sign are what OpenSSL reads', (t) => {
  const key = newKey()
  const names = ['www.example.org', 'shop.example.org']
  const standing = new X509Certificate(placeholder(names, key.object, Date.now()))
  assert.equal(standing.subjectAltName, 'DNS:www.example.org, DNS:shop.example.org')
  assert.ok(isPlaceholder(standing) && standing.verify(createPublicKey(key.object)) && standing.checkPrivateKey(key.object))
  const proof = new X509Certificate(challengeCertificate('www.example.org', 'tok.thumb', key.object, Date.now()))
  const digest = createHash('sha256').update('tok.thumb').digest('hex')
  // RFC 8737 section 3: the extension, critical, around the digest.
  assert.ok(proof.raw.toString('hex').includes(`06082b0601050507011f0101ff04220420${digest}`))
  assert.equal(renewalName(standing), undefined)
  const openssl = spawnSync('openssl', ['req', '-inform', 'DER', '-verify', '-noout', '-text'], {
    input: certificateRequest(names, key.object),
  })
  if (openssl.error !== undefined) {
    t.skip('openssl is not installed')
    return
  }
  const said = `${openssl.stdout}${openssl.stderr}`
  assert.match(said, /verify OK/i)
  assert.match(said, /DNS:www\.example\.org, DNS:shop\.example\.org/)
})

import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, before, test } from 'node:test'
import { ApiProblem } from '../admin/problem.ts'
import { TestFace, type Wish } from './test-face.ts'

let ring: TestFace
let token: string
before(async () => {
  ring = new TestFace()
  token = ring.pass()
  for (const [name, use] of [
    ['web/cards', 'encrypt'],
    ['web/orders', 'sign'],
    ['web/ids', 'mac'],
    ['other/cards', 'encrypt'],
  ] as const)
    await ring.say({ type: 'transit.create', name, use })
  for (const name of ['web/cards', 'web/orders', 'web/ids']) await ring.say({ type: 'transit.rotate', name })
  assert.equal((await post('secret/data/web/db', { data: { user: 'db' } })).status, 200)
  assert.equal((await post('secret/data/web/hidden', { data: { user: 'h' } })).status, 200)
  assert.equal((await ask('secret/data/web/hidden', { method: 'DELETE' })).status, 204)
})
after(() => ring.stop())

type Asked = ReturnType<TestFace['ask']>
const ask = (path: string, wish: Wish = {}): Asked => ring.ask(path, { token, ...wish })
const post = (path: string, body: unknown): Asked => ask(path, { method: 'POST', body })
const base64 = (text: string): string => Buffer.from(text).toString('base64')
const errorOf = async (asked: Asked): Promise<readonly [number, string]> => {
  const { status, json } = await asked
  return [status, json.errors?.join() ?? '']
}

/** One of every kind of path that needs a token, each of which a good pass is answered on otherwise. */
const PATHS: readonly (readonly [method: string, path: string, body?: unknown])[] = [
  ['GET', 'secret/data/web/db'],
  ['GET', 'secret/data/web/none'],
  ['GET', 'secret/data/web/hidden?version=1'],
  ['POST', 'secret/data/web/db', { data: {} }],
  ['PATCH', 'secret/data/web/db', { data: {} }],
  ['DELETE', 'secret/data/web/db'],
  ['POST', 'secret/delete/web/db', { versions: [1] }],
  ['POST', 'secret/undelete/web/db', { versions: [1] }],
  ['POST', 'secret/destroy/web/db', { versions: [1] }],
  ['GET', 'secret/metadata/web/db'],
  ['GET', 'secret/metadata/web/none'],
  ['DELETE', 'secret/metadata/web/db'],
  ['LIST', 'secret/metadata/'],
  ['LIST', 'secret/metadata/web'],
  ['GET', 'secret/metadata/web?list=true'],
  ['GET', 'secret/subkeys/web/db'],
  ['LIST', 'transit/keys'],
  ['GET', 'transit/keys/web/cards'],
  ['GET', 'transit/keys/web/none'],
  ['POST', 'transit/encrypt/web/cards', { plaintext: '' }],
  ['POST', 'transit/decrypt/web/cards', {}],
  ['POST', 'transit/rewrap/web/cards', {}],
  ['POST', 'transit/sign/web/orders', { input: '' }],
  ['POST', 'transit/verify/web/orders', {}],
  ['POST', 'transit/hmac/web/ids', { input: '' }],
  ['GET', 'auth/token/lookup-self'],
  ['POST', 'auth/token/revoke-self'],
  ['GET', 'sys/internal/ui/mounts/secret/web'],
  ['GET', 'sys/nothing'],
  ['GET', 'secret/data/%ff'],
]

test('a pass that the ring did not make, that is over, revoked or of a denied service is told the same on every path, and only that', async () => {
  const subject = (name: string) => ({ kind: 'subject', value: `spiffe://${ring.ring}/service/${name}` }) as const
  const revoked = ring.pass()
  await ring.say({ type: 'token.revoke', token: revoked.split('.').slice(2).join('.') }, 'n1')
  const denied = ring.pass('denied')
  await ring.say({ type: 'deny.add', subject: subject('denied'), ttlMs: 600_000, reason: 'stolen' })
  const early = ring.pass('early')
  const said = { reason: 'stolen', issuer: 'node:n2', issuedAtMs: Date.now(), expiresAtMs: Date.now() + 600_000, height: 0 }
  ring.early = [{ id: '0'.repeat(16), subject: subject('early'), ...said }]
  const seed = ring.pass().split('.')[1]
  const before = ring.proposed.length
  const forged = ring.pass('web', {}, generateKeyPairSync('ed25519'))
  const bad: readonly (readonly [string, string | undefined, RegExp])[] = [
    ['none', undefined, /must be a pass/],
    ['no pass at all', 's.1234', /must be a pass/],
    ['with the key of another', token.replace(/^rwv1\.[^.]+/, `rwv1.${seed}`), /must be a pass/],
    ['forged', forged, /none that the ring made/],
    ['over', ring.pass('web', { exp: Math.floor(Date.now() / 1_000) - 1 }), /is over/],
    ['of later', ring.pass('web', { iat: Math.floor(Date.now() / 1_000) + 60 }), /begins later/],
    ['revoked', revoked, /is denied/],
    ['of a denied service', denied, /denied by operator:ada: stolen/],
    ['of a service that no block denies yet', early, /denied by node:n2: stolen/],
  ]
  for (const [what, shown, why] of bad) {
    const told = new Set<string>()
    for (const [method, path, body] of PATHS) {
      const answer = await ring.ask(path, { method, token: shown, body })
      assert.equal(answer.status, 403, `${what}: ${method} ${path}`)
      told.add(answer.text)
    }
    assert.equal(told.size, 1, what)
    assert.match([...told].join(), /permission denied: /)
    assert.match([...told].join(), why, what)
    const [status, error] = await errorOf(
      ring.ask('auth/approle/login', {
        method: 'POST',
        body: { role_id: what.includes('denied') ? 'denied' : 'web', secret_id: shown },
      }),
    )
    assert.equal(status, 400, what)
    assert.match(error, /^invalid role or secret ID: /)
  }
  assert.equal(ring.proposed.length, before, 'nothing was proposed for any of them')
  for (const [method, path, body] of PATHS.filter(([, path]) => !path.includes('revoke-self')))
    assert.notEqual((await ask(path, { method, body })).status, 403, `${method} ${path}`)
})

test('login gives a good pass of the role back as the token, and refuses it for another role', async () => {
  const login = (role_id: string): Asked =>
    ring.ask('auth/approle/login', { method: 'POST', body: { role_id, secret_id: token } })
  assert.equal((await login('web')).json.auth?.client_token, token)
  assert.deepEqual((await errorOf(login('shop')))[0], 400)
  assert.equal((await ask('auth/token/lookup-self')).json.data?.display_name, 'service-web')
})

test('who may not read or write is told nothing of what there is, and none of the body is looked at', async () => {
  await ring.say({ type: 'transit.create', name: 'other/more', use: 'encrypt' })
  for (const path of [
    'secret/data/other/none',
    'secret/metadata/other/none',
    'transit/keys/other/none',
    'transit/keys/other/more',
  ])
    assert.equal((await ask(path)).status, 403, path)
  for (const path of [
    'secret/delete/other/none',
    'secret/data/seen/none',
    'transit/encrypt/other/none',
    'transit/encrypt/other/cards',
  ])
    assert.match((await errorOf(post(path, '{')))[1], /^permission denied: no rule/, path)
})

test('numbers come back as they were put, on write, patch and read', async () => {
  const data =
    '{"big":12345678901234567890,"one":1.0,"tiny":1e-400,"deep":[{"x":-0,"y":1E5}],"plain":7,"rawJSON":{"rawJSON":"3"}}'
  assert.equal((await post('secret/data/web/numbers', `{"data":${data},"options":{"cas":0.0}}`)).status, 200)
  assert.ok((await ask('secret/data/web/numbers')).text.includes(`"data":{"data":${data},`))
  const patched = await ask('secret/data/web/numbers', {
    method: 'PATCH',
    body: '{"data":{"more":0.10,"plain":null,"rawJSON":null}}',
  })
  assert.equal(patched.status, 200, patched.text)
  const after = '{"big":12345678901234567890,"one":1.0,"tiny":1e-400,"deep":[{"x":-0,"y":1E5}],"more":0.10}'
  assert.ok((await ask('secret/data/web/numbers')).text.includes(`"data":{"data":${after},`))
  for (const body of ['1.0', '{"data":1.0}', '{"data":{},"options":1.0}', '{"data":{},"options":{"cas":1.5}}'])
    assert.equal((await post('secret/data/web/numbers', body)).status, 400, body)
  assert.equal((await post('secret/delete/web/numbers', '{"versions":[1.0,"2"]}')).status, 204)
  assert.equal((await ask('secret/data/web/numbers')).status, 404)
})

test('what is nested deeper than 64 is refused, brackets within strings do not count', async () => {
  const nested = (deep: number): string => `${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`
  assert.equal((await post('secret/data/web/deep', `{"data":${nested(63)}}`)).status, 200)
  assert.equal((await ask('secret/data/web/deep')).status, 200)
  for (const deep of [64, 5_000, 100_000]) {
    const refused = await errorOf(post('secret/data/web/deep', `{"data":${nested(deep)}}`))
    assert.deepEqual(refused, [400, 'the body is nested more than 64 deep'])
  }
  assert.equal((await post('transit/encrypt/web/cards', '['.repeat(5_000))).status, 400)
  assert.equal((await ring.ask('auth/approle/login', { method: 'POST', body: '['.repeat(5_000) })).status, 400)
  assert.equal((await post('secret/data/web/deep', { data: { text: `\\"${'['.repeat(5_000)}` } })).status, 200)
})

test('errors have the shape of Vault, those of the body and of the listener too', async () => {
  for (const [body, status] of [
    ['{', 400],
    ['[]', 400],
    ['{"data":{"a":1,}}', 400],
    [`{"data":{"a":"${'x'.repeat(140_000)}"}}`, 413],
    [`{"data":{"a":"${'x'.repeat(20_000)}"}}`, 400],
  ] as const) {
    const answer = await post('secret/data/web/bad', body)
    assert.equal(answer.status, status, body.slice(0, 20))
    assert.deepEqual(Object.keys(answer.json), ['errors'])
  }
  const text = (): Promise<string> => Promise.reject(new ApiProblem(413, 'TOO_LARGE', 'a body may have 9 bytes'))
  const call = {
    method: 'POST',
    path: '/v1/secret/data/web/bad',
    query: new URLSearchParams(),
    token,
    header: () => undefined,
    text,
  }
  assert.deepEqual(await ring.face.answer(call), { status: 413, json: { errors: ['a body may have 9 bytes'] } })
  assert.match((await errorOf(post('secret/data/web/no%20name', { data: {} })))[1], /the path of a secret must be/)
})

test('what a header promises and is not there is refused: wrapped answers, namespaces', async () => {
  await post('secret/data/web/plain', { data: { a: 'SECRET' } })
  const get = (headers: Readonly<Record<string, string>>) => ring.ask('secret/data/web/plain', { token, headers })
  for (const headers of [{ 'x-vault-wrap-ttl': '60' }, { 'x-vault-wrap-ttl': '5m' }, { 'x-vault-namespace': 'team-b/' }]) {
    const { status, text } = await get(headers)
    assert.deepEqual([status, /SECRET/.test(text), /is not taken/.test(text)], [400, false, true])
  }
  for (const headers of [{}, { 'x-vault-wrap-ttl': '' }, { 'x-vault-wrap-ttl': '0' }, { 'x-vault-namespace': 'root' }])
    assert.equal((await get(headers)).status, 200)
})

test('two that put at once without cas both succeed; with cas, one of them is told of the mismatch', async () => {
  const both = await Promise.all(['a', 'b'].map((from) => post('secret/data/web/both', { data: { from } })))
  assert.deepEqual(
    both.map(({ status }) => status),
    [200, 200],
  )
  assert.deepEqual(both.map(({ json }) => json.data?.version).sort(), [1, 2])
  const cas = await Promise.all(['a', 'b'].map((from) => post('secret/data/web/both', { data: { from }, options: { cas: 2 } })))
  assert.deepEqual(cas.map(({ status }) => status).sort(), [200, 400])
  const refused = cas.find(({ status }) => status === 400)
  assert.deepEqual(refused?.json.errors, ['check-and-set parameter did not match the current version'])
  const patches = await Promise.all(
    ['x', 'y'].map((key) => ask('secret/data/web/both', { method: 'PATCH', body: { data: { [key]: 1 } } })),
  )
  assert.deepEqual(
    patches.map(({ status }) => status),
    [200, 200],
  )
  const { from, ...added } = (await ask('secret/data/web/both')).json.data?.data ?? {}
  assert.deepEqual(added, { x: 1, y: 1 })
})

test('a pass that is revoked while a write is under way is refused by the ring, and that is 403', async () => {
  const late = ring.pass()
  const asked = ring.ask('secret/data/web/late', { method: 'POST', token: late, body: { data: {} } })
  await ring.say({ type: 'token.revoke', token: late.split('.').slice(2).join('.') }, 'n1')
  assert.equal(ring.proposed.at(-1), 'vault.put', 'it was good when the write began')
  const [status, error] = await errorOf(asked)
  assert.equal(status, 403, error)
  assert.match(error, /permission denied: the pass is denied/)
})

test('what never was, and what is so already, is deleted, undeleted and destroyed without an error; who may not, is refused', async () => {
  const before = ring.proposed.length
  for (const [method, path, body] of [
    ['DELETE', 'secret/data/web/never'],
    ['DELETE', 'secret/metadata/web/never'],
    ['POST', 'secret/delete/web/never', { versions: [1] }],
    ['POST', 'secret/undelete/web/never', { versions: [1] }],
    ['PUT', 'secret/destroy/web/never', { versions: [1] }],
    ['POST', 'secret/destroy/web/db', { versions: [9_999] }],
  ] as const) {
    const answer = await ask(path, { method, body })
    assert.deepEqual([answer.status, answer.text], [204, ''], path)
    assert.equal((await ask(path.replace(/web\/.*/, 'seen/x'), { method, body })).status, 403, path)
  }
  assert.equal(ring.proposed.length, before)
  assert.equal((await ask('secret/metadata/web/never')).status, 404)
  await post('secret/data/web/twice', { data: {} })
  const twice = await Promise.all([1, 2].map(() => ask('secret/metadata/web/twice', { method: 'DELETE' })))
  assert.deepEqual(
    twice.map(({ status }) => status),
    [204, 204],
  )
})

test('cas 0 writes what has no version any more, after the newest that was; not what is only hidden', async () => {
  const put = (cas: number): Asked => post('secret/data/web/again', { data: { cas }, options: { cas } })
  assert.equal((await put(0)).json.data?.version, 1)
  assert.equal((await put(0)).status, 400)
  await ask('secret/data/web/again', { method: 'DELETE' })
  assert.equal((await put(0)).status, 400)
  await ask('secret/metadata/web/again', { method: 'DELETE' })
  assert.equal((await put(0)).json.data?.version, 2)
  assert.equal((await put(0)).status, 400)
  await post('secret/destroy/web/again', { versions: [2] })
  assert.equal((await put(1)).status, 400)
  assert.equal((await put(2)).json.data?.version, 3)
})

test('LIST leaves out what has no live version, and metadata of it still shows the ended ones', async () => {
  await post('secret/data/web/gone/x', { data: {} })
  assert.deepEqual((await ask('secret/metadata/web/gone', { method: 'LIST' })).json.data?.keys, ['x'])
  await ask('secret/metadata/web/gone/x', { method: 'DELETE' })
  assert.equal((await ask('secret/metadata/web/gone', { method: 'LIST' })).status, 404)
  const versions = (await ask('secret/metadata/web/gone/x')).json.data?.versions as Record<string, { destroyed: boolean }>
  assert.equal(versions['1']?.destroyed, true)
})

test('a key that is not there: 404 for its description, 400 for its use, once the right is there', async () => {
  assert.equal((await ask('transit/keys/web/none')).status, 404)
  for (const verb of ['encrypt', 'decrypt', 'rewrap'])
    assert.deepEqual(await errorOf(post(`transit/${verb}/web/none`, {})), [400, 'encryption key not found'])
  for (const verb of ['sign', 'verify', 'hmac'])
    assert.deepEqual(await errorOf(post(`transit/${verb}/web/none`, {})), [400, 'signing key not found'])
  assert.match((await errorOf(post('transit/keys/web/none', {})))[1], /operators make and change keys/)
})

async function encrypted(text: string, more: object = {}): Promise<string> {
  const { json } = await post('transit/encrypt/web/cards', { plaintext: base64(text), ...more })
  return json.data?.ciphertext as string
}

test('what was encrypted in another context, to a version that is none, or damaged is 400, and the item of a batch is named', async () => {
  const ciphertext = await encrypted('4111', { context: base64('user 7') })
  const good = { ciphertext, context: base64('user 7') }
  assert.equal((await post('transit/decrypt/web/cards', good)).json.data?.plaintext, base64('4111'))
  const wrong = { ciphertext, context: base64('user 8') }
  const [status, error] = await errorOf(post('transit/decrypt/web/cards', wrong))
  assert.equal(status, 400)
  assert.match(error, /^what is to be decrypted was not encrypted/)
  assert.equal((await post('transit/rewrap/web/cards', wrong)).status, 400)
  const bytes = Buffer.from(ciphertext.slice('vault:v2:'.length), 'base64')
  bytes[bytes.length - 1] = (bytes.at(-1) as number) ^ 1
  for (const [bad, why] of [
    [wrong, /: what is to be decrypted was not encrypted/],
    [{ ...good, ciphertext: ciphertext.replace('v2', 'v9') }, /: version 9 of web\/cards cannot be used/],
    [{ ...good, ciphertext: 'vault:v2:AAAA' }, /: the ciphertext is cut off/],
    [{ ...good, ciphertext: `vault:v2:${bytes.toString('base64')}` }, /: /],
    [{ ...good, ciphertext: 'ringwall:v2:AAAA' }, /: ciphertext must be vault:vVERSION:BASE64/],
    [{ ...good, context: '%' }, /: context must be base64/],
  ] as const) {
    const batch = [...Array.from({ length: 17 }, () => good), bad, good]
    const [code, message] = await errorOf(post('transit/decrypt/web/cards', { batch_input: batch }))
    assert.equal(code, 400, message)
    assert.match(message, /^batch_input\[17\]: /)
    assert.match(message, why)
  }
  const inputs = [{ plaintext: '' }, { plaintext: '' }, { plaintext: '' }, { plaintext: '%' }]
  const refused = await errorOf(post('transit/encrypt/web/cards', { batch_input: inputs }))
  assert.deepEqual(refused, [400, 'batch_input[3]: plaintext must be base64'])
  assert.deepEqual(await errorOf(post('transit/hmac/web/ids', { batch_input: [1] })), [400, 'batch_input[0] must be an object'])
})

test('key_version is the version that is used, in the body and in items of a batch; one that the key has not is refused', async () => {
  for (const [asked, used] of [
    [undefined, 2],
    [0, 2],
    [1, 1],
    ['1', 1],
    [2, 2],
  ] as const) {
    const more = asked === undefined ? {} : { key_version: asked }
    assert.match(await encrypted('4111', more), new RegExp(`^vault:v${used}:`))
    const { signature } = (await post('transit/sign/web/orders', { input: base64('order'), ...more })).json.data ?? {}
    assert.match(String(signature), new RegExp(`^vault:v${used}:`))
    const verified = await post('transit/verify/web/orders', { input: base64('order'), signature })
    assert.equal(verified.json.data?.valid, true)
    const { hmac } = (await post('transit/hmac/web/ids', { input: base64('id'), ...more })).json.data ?? {}
    assert.match(String(hmac), new RegExp(`^vault:v${used}:`))
    assert.equal((await post('transit/verify/web/ids', { input: base64('id'), hmac })).json.data?.valid, true)
    const again = await post('transit/rewrap/web/cards', { ciphertext: await encrypted('4111'), ...more })
    assert.match(String(again.json.data?.ciphertext), new RegExp(`^vault:v${used}:`))
  }
  const batch_input = [{ plaintext: '' }, { plaintext: '', key_version: 2 }, { plaintext: '', key_version: 0 }]
  const { json } = await post('transit/encrypt/web/cards', { batch_input, key_version: 1 })
  assert.deepEqual(
    json.data?.batch_results?.map((one) => one.key_version),
    [1, 2, 2],
  )
  const texts = json.data?.batch_results?.map(({ ciphertext }) => ({ ciphertext }))
  assert.equal((await post('transit/decrypt/web/cards', { batch_input: texts })).status, 200)
  for (const version of [3, -1, 1.5, 'x', true]) {
    const body = { plaintext: '', input: '', key_version: version }
    for (const path of ['encrypt/web/cards', 'sign/web/orders', 'hmac/web/ids'])
      assert.match((await errorOf(post(`transit/${path}`, body)))[1], /^key_version must be 0, for the newest, or a version of/)
  }
  const [status, error] = await errorOf(
    post('transit/encrypt/web/cards', { batch_input: [{ plaintext: '' }, { plaintext: '', key_version: 7 }] }),
  )
  assert.equal(status, 400)
  assert.match(error, /^batch_input\[1\]: key_version must be/)
})

test('a version whose signer was replaced signs nothing any more, and is 400, not an error of the node', async () => {
  const before = ring.state
  const keys = before.transit.map((key) =>
    key.name === 'web/orders'
      ? { ...key, versions: key.versions.map((one) => (one.version === 1 ? { ...one, signer: 'A'.repeat(43) } : one)) }
      : key,
  )
  ring.state = before.withTransit(keys)
  const [status, error] = await errorOf(post('transit/sign/web/orders', { input: '', key_version: 1 }))
  ring.state = before
  assert.equal(status, 400)
  assert.match(error, /was replaced since version 1/)
})

test('a pass that revokes itself is good for nothing more', async () => {
  const own = ring.pass()
  assert.equal((await ring.ask('auth/token/revoke-self', { method: 'POST', token: own })).status, 204)
  assert.equal((await ring.ask('auth/token/lookup-self', { token: own })).status, 403)
})

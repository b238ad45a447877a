/** The vault on a real ring of four processes. Steps build on one another, in order. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import nodeVault from 'node-vault'
import { CLI, eventually, freePorts, TestRing } from './local-ring.ts'
import { openVault, VaultClient } from './vault-client.ts'

const SECRET = 'correct horse battery staple'
let ring: TestRing
let folder: string
let vault: VaultClient

type Run = ReturnType<TestRing['cli']>

/** The command line, with something on standard input. */
function cli(args: readonly string[], input: string = '', noun = 'vault'): Run {
  const env = { ...process.env, NO_COLOR: '1', RINGWALL_CONTEXT: join(ring.data, 'operator.json') }
  const argv = ['--disable-warning=ExperimentalWarning', CLI, noun, ...args]
  const run = spawnSync(process.execPath, argv, { input, env, encoding: 'utf8', timeout: 60_000 })
  return { code: run.status ?? -1, stdout: run.stdout, stderr: run.stderr }
}

function good(run: Run): string {
  assert.equal(run.code, 0, run.stderr)
  return run.stdout
}

before(async () => {
  folder = mkdtempSync(join(tmpdir(), 'ringwall-vault-'))
  ring = await TestRing.start()
})
after(async () => {
  await ring?.destroy()
  rmSync(folder, { recursive: true, force: true })
})

test('01 a closed vault says how it is opened; then the ring makes its sealing key, and every node has a share under its own seal', async () => {
  assert.match(cli(['get', 'shop/db']).stderr, /vault\.rules/)
  await openVault(ring)
  assert.match(good(ring.cli('key', 'show')), /signing: ready[\s\S]*sealing: ready/)
  for (const node of [1, 2, 3, 4]) {
    const share = join(ring.data, `n${node}`, 'keys', 'sealing', 'share.sealed')
    await eventually('its share', () => statSync(share).isFile())
    assert.equal(statSync(share).mode & 0o777, 0o600)
  }
  vault = new VaultClient(ring)
})

test('02 secrets are put and read at any node, counted in versions, and set only after the version that was seen', async () => {
  assert.equal(good(cli(['put', 'shop/db'], `${SECRET}\n`)), 'shop/db version 1\n')
  for (const node of ['n1', 'n2', 'n3', 'n4']) {
    const there = new VaultClient(ring, node)
    await eventually(`${node} has it`, async () => (await there.get('shop/db')).toString() === SECRET)
  }
  await vault.put('shop/db', 'another', 1)
  await assert.rejects(vault.put('shop/db', 'too late', 1), { code: 'VAULT_CONFLICT' })
  assert.equal(good(cli(['get', 'shop/db'])), 'another')
  assert.equal((await vault.get('shop/db', 1)).toString(), SECRET)
  assert.match(good(cli(['ls'])), /shop\/db +2 +live/)
})

test('03 who may not read is refused, who may only write reads nothing', async () => {
  await vault.put('write-only/key', SECRET, 0)
  await assert.rejects(vault.get('write-only/key'), /lets operator:\w+ read write-only\/key/)
  await assert.rejects(vault.put('elsewhere', SECRET, 0), { code: 'VAULT_NOT_ENTITLED' })
})

test('04 a program gets secrets in its environment, and its exit code is passed on', async () => {
  await vault.put('shop/run/web-key', '!', 0)
  const script = 'process.stdout.write(process.env.DB + process.env.WEB_KEY); process.exit(7)'
  const run = cli(['run', '--env', 'DB=shop/db', '--from', 'shop/run', '--', process.execPath, '-e', script])
  assert.deepEqual([run.code, run.stdout, run.stderr], [7, 'another!', ''])
})

test('05 a service reads with its certificate what the policy lets it, and nothing once it is denied', async () => {
  const directory = join(folder, 'shop')
  good(ring.cli('identity', 'mint', 'shop', '--directory', directory))
  const nodes = [1, 2, 3, 4].flatMap((node) => ['--node', ring.client(node).baseUrl])
  const get = (name: string): Run => cli(['get', name, '--identity', directory, ...nodes])
  assert.equal(good(get('shop/db')), 'another')
  assert.match(get('write-only/key').stderr, /lets service:shop read/)
  const { ring: name } = await ring.client(1).status()
  const subject = { kind: 'subject', value: `spiffe://${name}/service/shop` } as const
  await ring.client(1).submit({ type: 'deny.add', subject, ttlMs: 600_000, reason: 'stolen' })
  await eventually('it is refused', () => /denied/.test(get('shop/db').stderr))
})

test('06 one holder away keeps nobody from a secret; restarted it answers again; new shares open what was sealed before', async () => {
  await ring.kill(4)
  assert.equal((await vault.get('shop/db')).toString(), 'another')
  await ring.restart(4)
  const client = ring.client(1)
  const before = (await client.keys()).keys[1]
  await client.keyRefresh('monthly', { key: 'sealing' })
  let reads = 0
  let isOver = false
  const reading = (async () => {
    for (; !isOver; reads += 1) assert.equal((await vault.read('shop/db')).toString(), 'another')
  })()
  await eventually('new shares', async () => {
    const now = (await client.keys()).keys[1]
    return now?.handOvers === (before?.handOvers ?? 0) + 1 && now.ceremony === null
  })
  await eventually('reads go on', () => reads > 5)
  isOver = true
  await reading
  assert.equal((await new VaultClient(ring, 'n4').read('shop/db')).toString(), 'another')
  assert.equal((await client.keys()).keys[1]?.publicKey, before?.publicKey)
})

test('07 every opening is on the record of at least three nodes, and nothing on any disk holds the secret', async () => {
  const heard = await Promise.all(
    [1, 2, 3, 4].map(async (node) => (await ring.client(node).vaultHistory({ name: 'shop/db' })).openings),
  )
  const requests = new Map<string, number>()
  for (const openings of heard) for (const { request } of openings) requests.set(request, (requests.get(request) ?? 0) + 1)
  // What two nodes recorded came to nothing: a third one had not heard of the secret yet.
  assert.ok([...requests.values()].filter((count) => count >= 3).length >= 10, JSON.stringify([...requests.values()]))
  // Who opened what is learned where it is recorded.
  const metrics = await Promise.all([1, 2, 3, 4].map(async (node) => (await fetch(`${ring.adminUrl(node)}/metrics`)).text()))
  assert.ok(metrics.filter((text) => /^ringwall_insider_identities\{sort="secrets"\} [1-9]/m.test(text)).length >= 2)
  const files = readdirSync(ring.data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
  assert.ok(files.length > 20)
  for (const file of files) {
    const bytes = readFileSync(join(file.parentPath, file.name))
    assert.equal(bytes.indexOf(SECRET), -1, file.name)
    assert.equal(bytes.indexOf(Buffer.from(SECRET).toString('base64url').slice(0, 30)), -1, file.name)
  }
})

test('08 what is deleted or has expired nobody opens, at any node, while the ledger still holds the block that it came with', async () => {
  // What it knew of the key was of the epoch before.
  vault = new VaultClient(ring)
  assert.match(cli(['rm', 'shop/db', '--dry-run']).stderr, /would delete all versions of shop\/db, for ever/)
  good(cli(['rm', 'shop/db', '--version', '1', '--reason', 'rotated']))
  await assert.rejects(vault.get('shop/db', 1), /version 1 of shop\/db is deleted/)
  assert.equal((await vault.get('shop/db')).toString(), 'another')
  await ring.client(1).submit({ type: 'vault.delete', name: 'shop/db', versions: [], reason: 'gone' })
  for (const node of ['n1', 'n2', 'n3', 'n4']) {
    const there = new VaultClient(ring, node)
    await eventually(node, () =>
      there.get('shop/db').then(
        () => false,
        (error: Error) => /is deleted/.test(error.message),
      ),
    )
  }
  assert.match(good(cli(['history', 'shop/db'])), /version 2 {2}deleted[\s\S]*version 1 {2}deleted/)
  await vault.put('shop/short', SECRET, 0, 1_500)
  await eventually('it has expired', () =>
    vault.get('shop/short').then(
      () => false,
      (error: Error) => /expired/.test(error.message),
    ),
  )
  await assert.rejects(ring.client(1).rehearse({ type: 'key.rotate', key: 'sealing', reason: 'suspected' }), {
    code: 'KEY_IN_USE',
  })
})

test('09 keys of the transit encrypt, sign and authenticate by the command line, for who may, at any node, and old versions end', async () => {
  const transit = (args: readonly string[], input = ''): Run => cli(args, input, 'transit')
  good(transit(['create', 'shop/cards', '--use', 'encrypt']))
  good(transit(['create', 'shop/orders', '--use', 'sign']))
  good(transit(['create', 'managed-only/key', '--use', 'encrypt']))
  for (const name of ['shop/cards', 'shop/orders', 'managed-only/key'])
    await eventually(name, async () => (await vault.transitKey(name)).name === name)
  const text = good(transit(['encrypt', 'shop/cards', '--bound', 'user 7'], SECRET)).trim()
  assert.equal(good(transit(['decrypt', 'shop/cards', '--bound', 'user 7'], text)), SECRET)
  assert.match(transit(['decrypt', 'shop/cards'], text).stderr, /in this context/)
  const elsewhere = good(transit(['encrypt', 'managed-only/key'], SECRET))
  assert.match(transit(['decrypt', 'managed-only/key'], elsewhere).stderr, /lets operator:\w+ use managed-only\/key/)
  good(transit(['rotate', 'shop/cards']))
  await eventually('its second version everywhere', () =>
    vault.transitKey('shop/cards').then(({ versions }) => versions.length === 2),
  )
  const again = good(transit(['rewrap', 'shop/cards', '--bound', 'user 7'], text)).trim()
  assert.match(again, /^ringwall:v2:/)
  good(transit(['trim', 'shop/cards', '--least', '2']))
  await eventually('its first version ends', () => transit(['decrypt', 'shop/cards', '--bound', 'user 7'], text).code === 1)
  assert.equal(good(transit(['decrypt', 'shop/cards', '--bound', 'user 7'], again)), SECRET)
  const signature = good(transit(['sign', 'shop/orders'], 'order 1')).trim()
  assert.match(transit(['verify', 'shop/orders', '--signature', signature], 'order 1').stderr, /good: signed by version 1/)
  assert.equal(transit(['verify', 'shop/orders', '--signature', signature], 'order 2').code, 1)
  assert.match(good(transit(['ls'])), /shop\/orders +sign +1/)
})

test('10 a client library of HashiCorp Vault reads and writes versions, encrypts, signs and authenticates, with a pass and no longer', async () => {
  const pass = good(cli(['pass', '--service', 'web'])).trim()
  const client = (token: string, node = 2) => nodeVault({ apiVersion: 'v1', endpoint: ring.client(node).baseUrl, token })
  const web = client(pass)
  const status = (call: Promise<unknown>): Promise<number | undefined> =>
    call.then(
      () => 200,
      (error: { response?: { statusCode?: number; status?: number } }) => error.response?.statusCode ?? error.response?.status,
    )
  const data = { user: 'db', password: SECRET }
  assert.equal((await web.write('secret/data/web/db', { data, options: { cas: 0 } })).data.version, 1)
  assert.equal(await status(web.write('secret/data/web/db', { data, options: { cas: 0 } })), 400)
  assert.equal((await web.write('secret/data/web/db', { data: { user: 'two' } })).data.version, 2)
  assert.deepEqual((await web.read('secret/data/web/db')).data.data, { user: 'two' })
  assert.deepEqual((await web.read('secret/data/web/db?version=1')).data.data, data)
  assert.deepEqual((await web.list('secret/metadata/web')).data.keys, ['db'])
  assert.equal((await web.read('secret/metadata/web/db')).data.current_version, 2)
  await web.delete('secret/data/web/db')
  assert.equal(await status(web.read('secret/data/web/db')), 404)
  await web.write('secret/undelete/web/db', { versions: [2] })
  assert.deepEqual((await web.read('secret/data/web/db')).data.data, { user: 'two' })
  await web.write('secret/destroy/web/db', { versions: [1] })
  assert.equal((await web.read('secret/metadata/web/db')).data.versions['1'].destroyed, true)
  assert.equal(await status(web.read('secret/data/web/db?version=1')), 404)
  assert.equal(await status(web.read('secret/data/shop/db')), 403)
  // Its form is right, and its service: the ring did not sign it.
  const forged = pass.replace(/[^.]+$/, 'A'.repeat(86))
  const raw = async (path: string, token: string, init: RequestInit = {}): Promise<readonly [number, string]> => {
    const answer = await fetch(`${ring.client(3).baseUrl}/v1/${path}`, { ...init, headers: { 'x-vault-token': token } })
    return [answer.status, await answer.text()]
  }
  for (const path of [
    'auth/token/lookup-self',
    'secret/metadata/web?list=true',
    'secret/metadata/web/db',
    'secret/data/web/none',
  ])
    assert.deepEqual([(await raw(path, forged))[0], (await raw(path, pass))[0] === 403], [403, false], path)
  assert.equal(await status(client(forged).list('secret/metadata/web')), 403)
  assert.equal(await status(client('').approleLogin({ role_id: 'web', secret_id: forged })), 400)
  const numbers = '{"data":{"id":12345678901234567890,"rate":1.0}}'
  const puts = await Promise.all([1, 2].map(() => raw('secret/data/web/numbers', pass, { method: 'POST', body: numbers })))
  assert.deepEqual(
    puts.map(([code]) => code),
    [200, 200],
  )
  await eventually('it is read as it was put', async () =>
    (await raw('secret/data/web/numbers', pass))[1].includes(`${numbers.slice(0, -1)},"metadata"`),
  )
  const [code, problem] = await raw('secret/data/web/numbers', pass, { method: 'POST', body: '{' })
  assert.deepEqual([code, problem], [400, '{"errors":["the body is no JSON"]}'])
  assert.equal((await raw('secret/metadata/web/never', pass, { method: 'DELETE' }))[0], 204)
  for (const [name, use] of [
    ['web/cards', 'encrypt'],
    ['web/orders', 'sign'],
    ['web/ids', 'mac'],
  ] as const)
    await ring.client(1).submit({ type: 'transit.create', name, use })
  await eventually('the keys', async () => (await vault.transitKey('web/ids')).use === 'mac')
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  const { ciphertext } = (await web.write('transit/encrypt/web/cards', { plaintext: base64('4111') })).data
  assert.match(ciphertext, /^vault:v1:/)
  const batch = { batch_input: [{ ciphertext }, { ciphertext }] }
  const { batch_results: results } = (await client(pass, 3).write('transit/decrypt/web/cards', batch)).data
  assert.deepEqual(results, [{ plaintext: base64('4111') }, { plaintext: base64('4111') }])
  const { signature } = (await web.write('transit/sign/web/orders', { input: base64('order') })).data
  assert.equal((await web.write('transit/verify/web/orders', { input: base64('order'), signature })).data.valid, true)
  assert.equal((await web.write('transit/verify/web/orders', { input: base64('other'), signature })).data.valid, false)
  const { hmac } = (await web.write('transit/hmac/web/ids', { input: base64('id') })).data
  assert.equal((await web.write('transit/verify/web/ids', { input: base64('id'), hmac })).data.valid, true)
  assert.equal(await status(web.write('transit/decrypt/shop/cards', { ciphertext })), 403)
  assert.equal(await status(web.write('transit/decrypt/web/cards', { ciphertext, context: base64('another') })), 400)
  assert.equal(await status(web.write('transit/encrypt/web/none', { plaintext: '' })), 400)
  const login = await client('').approleLogin({ role_id: 'web', secret_id: pass })
  assert.equal(login.auth.client_token, pass)
  await web.tokenRevokeSelf()
  await eventually('it is over', async () => (await status(client(pass, 4).read('secret/data/web/db'))) === 403)
  for (const path of ['auth/token/lookup-self', 'secret/metadata/web?list=true'])
    await eventually(path, async () => /^403 .*permission denied: the pass is denied/.test((await raw(path, pass)).join(' ')))
})

test('11 a validator that joins gets a share of both keys, one that leaves keeps none that counts, and what was sealed before opens', async (t) => {
  const base = await freePorts(1)
  const place = ['--genesis', join(ring.data, 'genesis.json'), '--region', 'eu-west', '--directory', join(ring.data, 'n5')]
  const [fabric, admin] = [`127.0.0.1:${base + 10}`, `127.0.0.1:${base + 1_001}`]
  const init = ['node', 'init', 'n5', ...place, '--fabric', fabric, '--traffic', `127.0.0.1:${base + 1}`, '--admin', admin]
  const publicKey = good(ring.cliAlone(...init)).trim()
  const argv = ['--disable-warning=ExperimentalWarning', CLI, 'node', '--config', join(ring.data, 'n5', 'node.yaml')]
  const child = spawn(process.execPath, argv, { stdio: 'ignore' })
  t.after(() => child.kill('SIGKILL'))
  const client = ring.client(1)
  const before = (await client.keys()).keys.map((key) => key.publicKey)
  const holds = async (...holders: readonly string[]): Promise<boolean> =>
    (await client.keys()).keys.every((key) => key.holders.join() === holders.join() && key.ceremony === null)
  const roles = ['validator', 'edge'] as const
  await client.nodeAdd({ id: 'n5', region: 'eu-west', address: fabric, publicKey, roles }, 'grows', { waitMs: 30_000 })
  await eventually('five hold both keys', () => holds('n1', 'n2', 'n3', 'n4', 'n5'), 40_000)
  assert.equal((await new VaultClient(ring, `http://${admin}`).read('shop/run/web-key')).toString(), '!')
  await client.nodeRemove('n4', 'old', { waitMs: 30_000 })
  await eventually('the other four hold both keys', () => holds('n1', 'n2', 'n3', 'n5'), 40_000)
  assert.equal((await new VaultClient(ring).read('shop/run/web-key')).toString(), '!')
  assert.deepEqual(
    (await client.keys()).keys.map((key) => key.publicKey),
    before,
  )
  const shares = join(ring.data, 'n4', 'keys', 'sealing')
  await eventually('n4 erases its share', () => readdirSync(shares).length === 0, 40_000)
})

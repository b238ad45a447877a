/** The commands of the vault, against nodes that stand in this process. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { RingwallClient } from '@ringwall/client'
import { leaseRenew } from './commands/lease.ts'
import { vaultRun } from './commands/vault.ts'
import { operatorSession, type VaultSession } from './commands/vault-session.ts'
import { QuietFailure, UsageError } from './errors.ts'
import { parseDuration, parseTtl } from './format.ts'
import { parseSecretName } from './secret-name.ts'
import { TestVault } from './test-vault.ts'

async function begin(t: TestContext, ...names: readonly string[]): Promise<TestVault> {
  const vault = await TestVault.start()
  t.after(() => vault.stop())
  vault.put(...names)
  return vault
}

const SCRIPT = 'process.env.DB + " " + process.env.KEY + " " + process.env.A_B'
const SHOW: readonly string[] = ['--', process.execPath, '-p', SCRIPT]

const withTtl: readonly (readonly [why: RegExp, args: readonly string[]])[] = [
  [/--ttl must be more than 0; leave it out for a secret without end/, ['vault', 'put', 'shop/db', '--ttl']],
  [/--ttl must be more than 0; leave it out for what the role has/, ['vault', 'lease', 'orders/reader', '--ttl']],
  [/--ttl must be more than 0; leave it out for what the role has/, ['vault', 'renew', 'ab', '--ttl']],
  [/--ttl must be more than 0/, ['vault', 'pass', '--service', 'shop', '--ttl']],
  [/--ttl must be more than 0/, ['deny', 'add', 'ip', '203.0.113.7', '--ttl']],
  [/--ttl must be more than 0/, ['session', 'revoke', 'sid', '--ttl']],
  [/--ttl must be more than 0/, ['token', 'mint', '--service', 'shop', '--audience', 'shop', '--ttl']],
  [/--ttl must be more than 0/, ['identity', 'mint', 'shop', '--ttl']],
  [/--ttl must be more than 0/, ['person', 'add', 'bob', '--invite', '--ttl']],
  [/--ttl must be more than 0/, ['node', 'invite', '--ttl']],
  [/--ttl must be more than 0/, ['device', 'certificate', 'camera', '--ttl']],
  [/--for must be more than 0; leave it out for no end/, ['node', 'cordon', 'n2', '--for']],
  [/--expires must be more than 0/, ['device', 'make', 'SN1', '--manufacturer', 'm', '--directory', 'd', '--expires']],
  [/--window must be more than 0/, ['top', '--window']],
  [/--every: expected at least 1s/, ['recovery', 'backup', '--config', 'c', '--key', 'k', '--to', 't', '--every']],
]

test('a time of 0 is wrong usage wherever it would be no time, or be taken for no end, and nothing is sent', async (t) => {
  const vault = await begin(t)
  const told = await Promise.all(withTtl.map(([, args]) => vault.run(...args, '0s')))
  for (const [at, [why, args]] of withTtl.entries()) {
    assert.match(told[at]?.stderr ?? '', why, args.join(' '))
    assert.equal(told[at]?.code, 2, args.join(' '))
  }
  assert.deepEqual(
    vault.asked.filter((asked) => !asked.endsWith(' /healthz')),
    [],
  )
})

test('durations: 0 in every unit is no time to live, and what JSON cannot carry is refused', () => {
  for (const none of ['0ms', '0s', '0m', '0h', '00d']) {
    assert.throws(() => parseTtl(none), UsageError, none)
    assert.equal(parseDuration(none), 0)
  }
  assert.throws(() => parseTtl('999999999d'), /longer than any duration may be/)
})

const LONG = `${'a'.repeat(63)}/`.repeat(3)
const wrongNames = ['', ' ', 'a b', '..', 'a/../b', 'a//b', '/a', 'a/', '-a', '.a', 'ä', 'a\n', 'a\x1b[2J', 'a'.repeat(64)]

test('names: 1 to 8 parts of 63 characters, 200 in all; whatever else is refused in one line that says so', () => {
  for (const good of ['a', 'shop/db-password', 'A_1/b.c-d', 'a/b/c/d/e/f/g/h', `${LONG}${'a'.repeat(8)}`])
    assert.equal(parseSecretName(good), good)
  for (const wrong of [...wrongNames, 'a/b/c/d/e/f/g/h/i', `${LONG}${'a'.repeat(9)}`, 'a'.repeat(2_000)])
    assert.throws(
      () => parseSecretName(wrong),
      (error: Error) => {
        assert.ok(error instanceof UsageError)
        assert.match(error.message, /^".*" cannot be a name; expected 1 to 8 parts .* 200 characters in all$/)
        assert.ok(error.message.length < 300)
        return true
      },
      wrong,
    )
})

test('a wrong name is wrong usage for every command that takes one, before any node is asked', async (t) => {
  const vault = await begin(t)
  const commands = [
    ['vault', 'put', 'a b', '--file', vault.file('x')],
    ['vault', 'get', '..'],
    ['vault', 'ls', 'shop/'],
    ['vault', 'history', 'a'.repeat(2_000)],
    ['vault', 'rm', 'a//b'],
    ['vault', 'run', '--env', 'DB=a b', ...SHOW],
    ['vault', 'run', '--from', 'shop/', ...SHOW],
    ['transit', 'create', 'a b', '--use', 'sign'],
    ['transit', 'encrypt', 'a b'],
  ]
  for (const { code, stderr } of await Promise.all(commands.map((args) => vault.run(...args)))) {
    assert.match(stderr, /cannot be a name; expected 1 to 8 parts/)
    assert.equal(stderr.trim().split('\n').length, 1)
    assert.equal(code, 2)
  }
  assert.deepEqual(vault.asked, [])
})

test('put only if there is none: taken when every version has ended, refused in plain words while one can be opened', async (t) => {
  const vault = await begin(t)
  const put = (text: string) => vault.run('vault', 'put', 'shop/db', '--cas', '0', '--file', vault.file(text))
  assert.equal((await put('one')).stdout, 'shop/db version 1\n')
  vault.put('shop/db')
  assert.deepEqual(await put('two'), { code: 1, stdout: '', stderr: 'ringwall: shop/db is there already, at version 2\n' })
  // An older one that can be opened is there, too.
  vault.remove('shop/db', 2)
  assert.equal((await put('two')).stderr, 'ringwall: shop/db is there already, at version 1\n')
  vault.remove('shop/db', 1)
  assert.equal((await put('three')).stdout, 'shop/db version 3\n')
  assert.equal((await vault.run('vault', 'get', 'shop/db')).stdout, 'three')
})

test('put after a version that is not the newest is refused, and does not try again', async (t) => {
  const vault = await begin(t, 'shop/db', 'shop/db')
  const { code, stderr } = await vault.run('vault', 'put', 'shop/db', '--cas', '1', '--file', vault.file('late'))
  assert.equal(code, 1)
  assert.match(stderr, /refused: shop\/db is at version 2/)
  assert.equal(vault.asked.filter((asked) => asked.endsWith('/v1/transactions')).length, 1)
})

test('a hidden version is shown as hidden and is not among those that can be opened', async (t) => {
  const vault = await begin(t, 'shop/db', 'shop/db')
  vault.secrets = vault.secrets.hiding('shop/db', [2], Date.now())
  assert.match((await vault.run('vault', 'ls', '-o', 'wide')).stdout, /^shop\/db +2 +hidden .* 1 +operator:ada$/m)
  assert.match((await vault.run('vault', 'history', 'shop/db')).stdout, /version 2 {2}hidden .*\nversion 1 {2}live /)
  const [shown] = JSON.parse((await vault.run('vault', 'ls', '-o', 'json')).stdout) as readonly Record<string, unknown>[]
  assert.deepEqual([shown?.state, shown?.live], ['hidden', 1])
})

test('several paths give a program all their secrets; below several the later one wins, and what is named itself over all', async (t) => {
  const vault = await begin(t, 'shop/base/db', 'shop/base/key', 'shop/live/db', 'shop/live/more/deep')
  const run = async (...args: readonly string[]) => (await vault.run('vault', 'run', ...args, ...SHOW)).stdout.trim()
  const both = ['--from', 'shop/base', '--from', 'shop/live']
  assert.equal(await run(...both), 'of shop/live/db of shop/base/key undefined')
  assert.equal(
    await run('--from', 'shop/live', '--from', 'shop/base', '--env', 'A_B=shop/live/db'),
    'of shop/base/db of shop/base/key of shop/live/db',
  )
  assert.equal(await run(...both, '--env', 'DB=shop/base/key'), 'of shop/base/key of shop/base/key undefined')
  const none = await vault.run('vault', 'run', ...both, '--from', 'shop/none', ...SHOW)
  assert.deepEqual([none.code, none.stdout], [2, ''])
  assert.match(none.stderr, /--from shop\/none: no secret directly below it/)
})

test('names that become one variable are refused, both named, unless it is said which one is meant', async (t) => {
  const vault = await begin(t, 'shop/one/a-b', 'shop/one/a.b', 'shop/two/A_B')
  const same = await vault.run('vault', 'run', '--from', 'shop/one', ...SHOW)
  assert.deepEqual([same.code, same.stdout], [2, ''])
  assert.match(same.stderr, /shop\/one\/a-b and shop\/one\/a\.b both become A_B; say which one: --env A_B=SECRET/)
  const meant = await vault.run('vault', 'run', '--from', 'shop/one', '--env', 'A_B=shop/one/a.b', ...SHOW)
  assert.equal(meant.stdout.trim(), 'undefined undefined of shop/one/a.b')
  vault.remove('shop/one/a.b', 1)
  const across = await vault.run('vault', 'run', '--from', 'shop/one', '--from', 'shop/two', ...SHOW)
  assert.match(across.stderr, /shop\/one\/a-b and shop\/two\/A_B both become A_B/)
})

test('a service that wants all secrets below a path is told that only operators list them, and no node is asked', async (t) => {
  const vault = await begin(t, 'shop/db')
  const operator = operatorSession({ context: `${vault.folder}/operator.json` })
  const reader = { issuer: 'service:shop', certificate: '', sign: async () => '' }
  const session: VaultSession = { ...operator, reader }
  await assert.rejects(vaultRun(session, ['true'], { env: [], from: ['shop'] }), (error: Error) => {
    assert.ok(error instanceof UsageError)
    assert.match(error.message, /--from is for operators: a service cannot list secrets; name each one: --env/)
    return true
  })
  assert.deepEqual(vault.asked, [])
})

test('a lease that ended while it was renewed is no wrong usage', async (t) => {
  const told = t.mock.method(process.stderr, 'write', () => true)
  const client = { submit: async () => ({ id: 'ab' }), lease: async () => ({ state: 'ended', end: 'revoked' }) }
  const clients = [client as unknown as RingwallClient] as const
  const reader = { issuer: 'operator:ada', certificate: '', sign: async () => '' }
  await assert.rejects(leaseRenew({ ring: 'r', clients, asked: clients, reader }, 'ab', 0), QuietFailure)
  assert.equal(told.mock.calls[0]?.arguments[0], 'ringwall: the lease has ended already: revoked\n')
})

test('the node that --node names is asked alone, by its id or its URL, while the others are heard about the sealing key', async (t) => {
  const vault = await begin(t, 'shop/db')
  for (const node of ['n2', `${vault.urlOf('n2')}/`]) {
    vault.asked = []
    assert.equal((await vault.run('vault', 'get', 'shop/db', '--node', node)).stdout, 'of shop/db')
    const put = await vault.run('vault', 'put', 'shop/new', '--file', vault.file('x'), '--node', node)
    assert.match(put.stdout, /shop\/new version/)
    // Once each and command: a node in two spellings has no two votes.
    const facts = vault.asked.filter((asked) => asked.endsWith(' GET /v1/vault')).sort()
    assert.deepEqual(
      facts,
      ['n1', 'n1', 'n2', 'n2', 'n3', 'n3', 'n4', 'n4'].map((id) => `${id} GET /v1/vault`),
    )
    const rest = vault.asked.filter((asked) => !facts.includes(asked))
    assert.ok(rest.length >= 3 && rest.every((asked) => asked.startsWith('n2 ')), rest.join('\n'))
  }
})

test('no other node stands in for a dead one that --node names; without it, or with another one named beside it, others do', async (t) => {
  const vault = await begin(t, 'shop/db')
  const url = vault.urlOf('n2')
  await vault.end('n2')
  const file = ['--file', vault.file('x')]
  const commands = [
    ['vault', 'get', 'shop/db'],
    ['vault', 'put', 'shop/new', ...file],
    ['vault', 'run', '--from', 'shop'],
    ['vault', 'access-key', 'add', 'service:shop'],
    ['vault', 'pass', '--service', 'shop'],
    ['transit', 'encrypt', 'shop/cards', ...file],
  ]
  const named = commands.map((args, at) => [...args, '--node', at % 2 === 0 ? 'n2' : url, ...(args[1] === 'run' ? SHOW : [])])
  for (const told of await Promise.all(named.map((args) => vault.run(...args))))
    assert.deepEqual(told, { code: 1, stdout: '', stderr: `ringwall: ${url} does not answer: nothing listens there\n` })
  assert.equal(vault.secrets.get('shop/new'), undefined)
  assert.equal((await vault.run('vault', 'get', 'shop/db')).stdout, 'of shop/db')
  assert.equal((await vault.run('vault', 'get', 'shop/db', '--node', 'n2', '--node', 'n3')).stdout, 'of shop/db')
  assert.equal((await vault.run('vault', 'put', 'shop/new', ...file)).stdout, 'shop/new version 1\n')
})

test('what comes by standard input loses the one line end that may close it, what comes from a file nothing', async (t) => {
  const vault = await begin(t)
  const kept = async () => (await vault.run('vault', 'get', 'shop/key')).stdout
  for (const [given, held] of [
    ['a\r\n', 'a'],
    ['a\n\n', 'a\n'],
    ['a\r', 'a\r'],
  ] as const) {
    await vault.runWith(given, 'vault', 'put', 'shop/key')
    assert.equal(await kept(), held)
  }
  await vault.run('vault', 'put', 'shop/key', '--file', vault.file('a\r\n'))
  assert.equal(await kept(), 'a\r\n')
})

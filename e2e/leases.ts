/** Users of a real PostgreSQL that a real ring makes for a time. Steps build on one another, in order. */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { eventually, TestRing } from './local-ring.ts'
import { Postgres, postgresPrograms } from './postgres.ts'
import { VaultClient } from './vault-client.ts'

const programs = postgresPrograms()
const options = { skip: programs === undefined ? 'PostgreSQL is not installed: apt install postgresql' : false }
let ring: TestRing
let postgres: Postgres
let folder: string

const POLICY = (port: number) => `
vault:
  rules:
    - path: db
      write: ['operator:*']
  databases:
    orders:
      host: 127.0.0.1
      port: ${port}
      database: orders
      user: ringwall
      password: db/orders
      tls: 'off'
      roles:
        reader:
          use: ['operator:*', service:web]
          grant: ['GRANT SELECT ON things TO {{name}}', 'GRANT CREATE ON SCHEMA public TO {{name}}']
          ttl: 10m
          ttlMax: 1h
`

interface Printed {
  readonly lease: string
  readonly user: string
  readonly password: string
}

function leased(...args: readonly string[]): Printed {
  const run = ring.cli('vault', 'lease', 'orders/reader', '-o', 'json', ...args)
  assert.equal(run.code, 0, run.stderr)
  return JSON.parse(run.stdout) as Printed
}

const gone = (user: string): Promise<void> =>
  eventually(`${user} is dropped`, async () => !(await postgres.users()).includes(user), 30_000)

before(async () => {
  if (programs === undefined) return
  folder = mkdtempSync(join(tmpdir(), 'ringwall-leases-'))
  ;[postgres, ring] = await Promise.all([Postgres.start(programs), TestRing.start()])
  const admin = await postgres.connect()
  await admin.query('CREATE TABLE things (name text)')
  await admin.query("INSERT INTO things VALUES ('one')")
  await admin.end()
  const client = ring.client(1)
  await eventually('the signing key', async () => (await client.keys()).keys[0]?.state === 'ready')
  const { text, version } = await client.policy()
  await client.policyApply(text + POLICY(postgres.port), version)
  await eventually('the sealing key', async () => (await client.keys()).keys[1]?.state === 'ready', 40_000)
  await eventually('the secret is taken', () => new VaultClient(ring).put('db/orders', postgres.password, 0).then(() => true))
})
after(async () => {
  await ring?.destroy()
  await postgres?.destroy()
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

test(
  '01 a lease is a user that may what the role grants; revoked, its connection is cut and it is dropped with what it made',
  options,
  async () => {
    const { lease, user, password } = leased()
    const client = await postgres.connect(user, password)
    assert.deepEqual((await client.query('SELECT name FROM things')).rows, [{ name: 'one' }])
    await assert.rejects(client.query('DELETE FROM things'), /permission denied/)
    await client.query('CREATE TABLE mine (n int)')
    const cut = new Promise((settle) => client.once('error', settle))
    assert.equal(ring.cli('vault', 'revoke', lease).code, 0)
    await gone(user)
    await cut
    await assert.rejects(postgres.connect(user, password))
  },
)

test('02 a lease ends by itself, unless it is renewed', options, async () => {
  const short = leased('--ttl', '10s')
  const long = leased('--ttl', '10s')
  assert.equal(ring.cli('vault', 'renew', long.lease, '--ttl', '10m').code, 0)
  await gone(short.user)
  assert.ok((await postgres.users()).includes(long.user))
  await (await postgres.connect(long.user, long.password)).end()
  assert.equal(ring.cli('vault', 'revoke', long.lease).code, 0)
  await gone(long.user)
})

test(
  '03 a service has leases by its certificate; when it is denied, its user is dropped, though a node is dead',
  options,
  async () => {
    const directory = join(folder, 'web')
    assert.equal(ring.cli('identity', 'mint', 'web', '--directory', directory).code, 0)
    const nodes = [1, 2, 3, 4].flatMap((node) => ['--node', ring.client(node).baseUrl])
    const run = ring.cliAlone('vault', 'lease', 'orders/reader', '-o', 'json', '--identity', directory, ...nodes)
    assert.equal(run.code, 0, run.stderr)
    const { user, password } = JSON.parse(run.stdout) as Printed
    const client = await postgres.connect(user, password)
    const cut = new Promise((settle) => client.once('error', settle))
    await ring.kill(2)
    const subject = { kind: 'subject', value: `spiffe://${(await ring.client(1).status()).ring}/service/web` } as const
    await ring.client(1).submit({ type: 'deny.add', subject, ttlMs: 600_000, reason: 'stolen' })
    await gone(user)
    await cut
    await eventually('the lease is over', async () => (await ring.client(1).leases()).leases.length === 0)
  },
)

import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { OpenIdProviderPolicy, RingState } from '@ringwall/ring'
import { encodeBase64url } from '@ringwall/ring/tx'
import { Vaults } from '../vault/test-vaults.ts'
import { ProviderSecrets } from './provider-secrets.ts'

const SECRET = 'what only the provider knows'
const NAME = 'providers/corp'

const policyOf = (read: string, authentication: string): string => `providers:
  - { kind: openid, name: corp, issuer: "https://corp.example", clientId: ringwall, authentication: ${authentication} }
vault: { rules: [{ path: ${NAME}, read: [${read}] }] }`

const IN_VAULT = `{ secret: "vault:${NAME}" }`

interface Scene {
  readonly vaults: Vaults
  readonly secrets: ProviderSecrets
  readonly provider: () => OpenIdProviderPolicy
  readonly logged: string[]
  /** How often holders were asked. */
  readonly asked: () => number
  /** Of the node's own clock alone: holders take no request that is older than a minute. */
  pass(ms: number): void
}

function begin(t: TestContext): Scene {
  const vaults = new Vaults()
  const logged: string[] = []
  let aheadMs = 0
  vaults.usePolicy(policyOf('"node:*"', IN_VAULT))
  let count = 0
  const secrets = new ProviderSecrets({
    self: 'n2',
    view: () => ({ policy: vaults.policy }),
    state: () => ({
      vault: vaults.member('n2').vault,
      sealingKey: { publicKey: encodeBase64url(vaults.publicKey.encode()) } as RingState['sealingKey'],
    }),
    facts: () => vaults.facts,
    reader: vaults.readerOf('n2'),
    ask: (signed) => {
      // A second one, with proofs, follows where holders are slow.
      if (!signed.request.proven) count += 1
      return vaults.member('n2').service.open(signed)
    },
    variable: (name) => (name === 'CORP_SECRET' ? 'of the environment' : undefined),
    log: (line) => logged.push(line),
    now: () => Date.now() + aheadMs,
  })
  t.after(async () => {
    secrets.stop()
    await vaults.stop()
  })
  return {
    vaults,
    secrets,
    logged,
    provider: () => vaults.policy.providers[0] as OpenIdProviderPolicy,
    asked: () => count,
    pass: (ms) => {
      aheadMs += ms
    },
  }
}

test('a client’s secret is opened in the node’s own name, once for all who log in within some minutes, and on record', async (t) => {
  const { vaults, secrets, provider, asked, pass } = begin(t)
  vaults.put(NAME, `${SECRET}\n`)
  const all = await Promise.all([secrets.of(provider()), secrets.of(provider()), secrets.of(provider())])
  assert.deepEqual(all, [SECRET, SECRET, SECRET], 'without the end of the line that a file has')
  assert.equal(asked(), 1)
  assert.ok(vaults.members.filter(({ records }) => records[0]?.issuer === 'node:n2').length >= 3)
  pass(290_000)
  assert.equal(await secrets.of(provider()), SECRET)
  assert.equal(asked(), 1)
  pass(10_000)
  assert.equal(await secrets.of(provider()), SECRET)
  assert.equal(asked(), 2, 'a copy does not outlive its minutes')
})

test('a version that was put counts at once, and so does one that ended or a rule that is gone, copy or no copy', async (t) => {
  const { vaults, secrets, provider, asked } = begin(t)
  await assert.rejects(secrets.of(provider()), { code: 'CLIENT_SECRET_MISSING', message: /vault put providers\/corp < FILE/ })
  assert.equal(asked(), 0, 'what the node knows by itself it asks nobody')
  vaults.put(NAME, SECRET)
  assert.equal(await secrets.of(provider()), SECRET)
  vaults.put(NAME, 'the next one')
  assert.equal(await secrets.of(provider()), 'the next one')
  assert.equal(asked(), 2)
  vaults.usePolicy(policyOf('"node:n1", "operator:ada"', IN_VAULT))
  await assert.rejects(secrets.of(provider()), {
    code: 'CLIENT_SECRET_REFUSED',
    message: /lets node:n2 read providers\/corp: add/,
  })
  assert.match(secrets.review().join(), /^nobody logs in by corp at this node: CLIENT_SECRET_REFUSED: /)
  vaults.usePolicy(policyOf('"node:n2"', IN_VAULT))
  assert.equal(await secrets.of(provider()), 'the next one')
  assert.equal(asked(), 3)
  assert.deepEqual(secrets.review(), [])
  for (const member of vaults.members) member.vault = member.vault.without(NAME, [1, 2], { atMs: vaults.now(), why: 'deleted' })
  await assert.rejects(secrets.of(provider()), {
    code: 'CLIENT_SECRET_MISSING',
    message: /version 2 .* is deleted, hidden or expired/,
  })
})

test('holders that cannot be reached are not asked for each login; what they hold is never in a message', async (t) => {
  const { vaults, secrets, provider, asked, logged, pass } = begin(t)
  vaults.put(NAME, SECRET)
  vaults.member('n1').isDown = true
  vaults.member('n3').isDown = true
  for (let logins = 0; logins < 3; logins += 1)
    await assert.rejects(secrets.of(provider()), { code: 'CLIENT_SECRET_UNREADABLE', message: /takes 3 holders/ })
  assert.equal(asked(), 1)
  vaults.member('n1').isDown = false
  pass(5_000)
  assert.equal(await secrets.of(provider()), SECRET)
  vaults.put(NAME, `${SECRET}\n${SECRET}`)
  await assert.rejects(secrets.of(provider()), (error: Error & { code?: string }) => {
    assert.equal(error.code, 'CLIENT_SECRET_MALFORMED')
    assert.match(error.message, /version 2 of providers\/corp is no client secret: expected one line/)
    assert.ok(!`${error.stack}${logged.join()}`.includes(SECRET))
    return true
  })
})

test('a secret is in the environment or in the vault, which a rule has to let nodes read: else the policy is none', async (t) => {
  const { vaults, secrets, provider } = begin(t)
  vaults.usePolicy(policyOf('"operator:ada"', '{ secretVariable: CORP_SECRET }'))
  assert.equal(await secrets.of(provider()), 'of the environment')
  vaults.usePolicy(policyOf('"operator:ada"', '{ secretVariable: OTHER_SECRET }'))
  await assert.rejects(secrets.of(provider()), { code: 'CLIENT_SECRET_MISSING', message: /no OTHER_SECRET/ })
  const refused: readonly (readonly [string, string, RegExp])[] = [
    ['"operator:ada"', IN_VAULT, /no rule of vault.rules lets nodes read providers\/corp/],
    ['"node:*"', `{ secret: "vault:${NAME}", secretVariable: CORP_SECRET }`, /one of them/],
    ['"node:*"', '{}', /needs secret or secretVariable/],
    ['"node:*"', `{ method: none, secret: "vault:${NAME}" }`, /without authentication has no secret/],
    ['"node:*"', `{ method: private_key_jwt, secret: "vault:${NAME}" }`, /that the ring signs for has no secret/],
    ['"node:*"', '{ secret: hunter2hunter2 }', /expected vault:NAME/],
    ['"node:*"', '{ secret: "vault:" }', /expected vault:NAME/],
  ]
  for (const [read, authentication, said] of refused)
    assert.throws(() => vaults.usePolicy(policyOf(read, authentication)), said, authentication)
})

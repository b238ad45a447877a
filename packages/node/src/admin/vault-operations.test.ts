import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parsePolicyDocument, VaultSecrets } from '@ringwall/ring'
import type { RunningNode } from '../running-node.ts'
import { vaultOperations } from './vault-operations.ts'

const POLICY = `version: 1
services: { shop: { upstreams: [{ url: "http://127.0.0.1:3000" }] } }
vault: { rules: [{ path: shop, read: [operator:ada] }] }
`
const BODY = { capsule: 'AA', ciphertext: 'AA' }

/** Of a node what these operations look at. */
function nodeWith(vault: VaultSecrets): RunningNode {
  const document = parsePolicyDocument(POLICY, 'test', () => [])
  if (!document.ok) throw new Error(JSON.stringify(document.problems))
  const { policy } = document
  const of = async () => []
  return { ledger: { state: () => ({ vault }) }, view: () => ({ policy }), openings: { of } } as unknown as RunningNode
}

async function ask(vault: VaultSecrets, path: string, query: Readonly<Record<string, string>>): Promise<unknown> {
  const operation = vaultOperations(nodeWith(vault)).find((one) => one.path === path)
  const none = (): Promise<never> => Promise.reject(new Error('nothing is sent'))
  const call = { method: 'GET', parameters: {}, operator: 'ada', source: '', agent: '', body: none, form: none }
  const answer = await operation?.run({ ...call, query: new URLSearchParams(query) })
  return answer !== undefined && 'json' in answer ? answer.json : undefined
}

/** Versions from 1 on; of those that expire the moment. */
function secretOf(...expiries: readonly number[]): VaultSecrets {
  let vault = VaultSecrets.empty
  for (const [at, expiresAtMs] of expiries.entries())
    vault = vault.with('shop/db', { version: at + 1, by: 'operator:ada', sealedAtMs: 1, expiresAtMs }, BODY, 1)
  return vault
}

test('a hidden version is hidden, not live, and shown again live; one that ended as well is what it ended as', async () => {
  const end = { atMs: 5, why: 'deleted' } as const
  const hidden = secretOf(0, 2, 0, 0).hiding('shop/db', [1, 2, 3], 4)
  const vault = hidden.without('shop/db', [3], end)
  const history = (await ask(vault, '/v1/vault/history', { name: 'shop/db' })) as {
    readonly versions: readonly { readonly version: number; readonly state: string; readonly endedAtMs: number | null }[]
  }
  assert.deepEqual(
    history.versions.map(({ version, state, endedAtMs }) => [version, state, endedAtMs]),
    [
      [4, 'live', null],
      [3, 'deleted', 5],
      [2, 'expired', 2],
      [1, 'hidden', null],
    ],
  )
  const listed = async (of: VaultSecrets) => {
    const { secrets } = (await ask(of, '/v1/vault/secrets', {})) as {
      readonly secrets: readonly { readonly version: number; readonly state: string; readonly live: number }[]
    }
    return secrets.map(({ version, state, live }) => [version, state, live])
  }
  assert.deepEqual(await listed(vault), [[4, 'live', 1]])
  const all = vault.hiding('shop/db', [4], 6)
  assert.deepEqual(await listed(all), [[4, 'hidden', 0]])
  assert.deepEqual(await listed(all.hiding('shop/db', [1, 4], undefined)), [[4, 'live', 2]])
})

/** Reads and writes secrets in this process, by what the command line is made of: starting a program for each would take most of a test's time. */
import { join } from 'node:path'
import { encodeBase64url } from '@ringwall/ring/tx'
import { openSecrets, sealSecret, type VaultFacts } from '@ringwall/vault'
import {
  agreedFacts,
  operatorSession,
  readSecrets,
  type VaultSession,
  waysToAsk,
} from '../packages/cli/src/commands/vault-session.ts'
import { eventually, type TestRing } from './local-ring.ts'

export const VAULT_RULES = `
vault:
  rules:
    - path: shop
      read: ['operator:*', service:shop]
      write: ['operator:*']
    - path: web
      read: [service:web]
      write: [service:web]
    - path: write-only
      write: ['operator:*']
  transit:
    - key: shop
      use: ['operator:*', service:shop]
      manage: ['operator:*']
    - key: web
      use: [service:web]
      manage: ['operator:*']
    - key: managed-only
      manage: ['operator:*']
`

/** Opens the vault by the policy; resolves when every node has a share of the sealing key. */
export async function openVault(ring: TestRing): Promise<void> {
  const client = ring.client(1)
  await eventually('the signing key', async () => (await client.keys()).keys[0]?.state === 'ready')
  const { text, version } = await client.policy()
  await client.policyApply(text + VAULT_RULES, version)
  for (let node = 1; node <= ring.nodes; node += 1)
    await eventually('the sealing key', async () => (await ring.client(node).keys()).keys[1]?.state === 'ready')
}

export class VaultClient {
  readonly session: VaultSession
  #facts: VaultFacts | undefined

  /** @param node By its id; the first that answers without. */
  constructor(ring: TestRing, node?: string) {
    this.session = operatorSession({ context: join(ring.data, 'operator.json'), ...(node === undefined ? {} : { node }) })
  }

  async facts(): Promise<VaultFacts> {
    this.#facts ??= await agreedFacts(this.session)
    return this.#facts
  }

  async put(name: string, secret: Uint8Array | string, expectVersion: number, ttlMs = 0): Promise<void> {
    const { publicKey } = await this.facts()
    const atMs = Date.now()
    const expiresAtMs = ttlMs === 0 ? 0 : atMs + ttlMs
    const label = { ring: this.session.ring, name, version: expectVersion + 1, sealedAtMs: atMs, expiresAtMs }
    const sealed = sealSecret(publicKey, label, Buffer.from(secret))
    const [capsule, ciphertext] = [encodeBase64url(sealed.capsule), encodeBase64url(sealed.ciphertext)]
    await this.session.clients[0].submit({ type: 'vault.put', name, expectVersion, ttlMs, capsule, ciphertext }, { atMs })
  }

  /** By way of the session's first node alone. */
  async get(name: string, version = 0): Promise<Buffer> {
    const { secrets } = await openSecrets(
      await this.facts(),
      this.session.reader,
      [{ name, version }],
      waysToAsk(this.session.clients.slice(0, 1)),
    )
    return Buffer.from(secrets[0]!.secret)
  }

  /** What all nodes say of a key; fails while they differ. */
  async transitKey(name: string): Promise<Awaited<ReturnType<VaultSession['clients'][0]['transitKey']>>> {
    const answers = await Promise.all(this.session.clients.map((client) => client.transitKey({ name })))
    if (new Set(answers.map((answer) => JSON.stringify(answer))).size !== 1) throw new Error('nodes differ')
    return answers[0]!
  }

  /** As the command line does: by way of any node, and again while the key is handed on. */
  async read(name: string): Promise<Buffer> {
    const { secrets } = await readSecrets(this.session, [{ name, version: 0 }])
    return Buffer.from(secrets[0]!.secret)
  }
}

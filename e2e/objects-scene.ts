/** A real ring whose nodes take S3's clients, with buckets that one service may use. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { S3Client } from '@aws-sdk/client-s3'
import { eventually, TestRing } from './local-ring.ts'

export interface AccessKey {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

export const RULES = `
vault:
  objects:
    - bucket: 'shop-*'
      read: [service:shop]
      write: [service:shop]
    - bucket: shop-public
      prefix: open/
      read: [service:guest]
`

export class ObjectRing {
  readonly ring: TestRing
  /** Of each node, for its configuration. */
  readonly #settings: string

  private constructor(ring: TestRing, settings: string) {
    this.ring = ring
    this.#settings = settings
  }

  /** @param settings Of `objects` in node.yaml; the nodes are started with them one by one. */
  static async start(settings = '', nodes = 4, rules = RULES): Promise<ObjectRing> {
    const ring = await TestRing.start({ nodes, extra: ['--s3'] })
    const scene = new ObjectRing(ring, settings)
    const client = ring.client(1)
    const { text, version } = await client.policy()
    await client.submit({ type: 'policy.set', policy: `${text}${rules}`, expectVersion: version })
    await eventually('a sealing key', async () => (await client.vaultFacts()).publicKey !== null, 60_000)
    return scene
  }

  port(node: number): number {
    return this.ring.base + 20 + node
  }

  get settings(): string {
    return this.#settings
  }

  accessKey(identity = 'service:shop'): AccessKey {
    const run = this.ring.cli('vault', 'access-key', 'add', identity, '--reason', 'tests', '-o', 'json')
    if (run.code !== 0) throw new Error(run.stderr)
    return JSON.parse(run.stdout) as AccessKey
  }

  s3(node: number, credentials: AccessKey, more: object = {}): S3Client {
    return new S3Client({
      endpoint: `http://127.0.0.1:${this.port(node)}`,
      region: 'us-east-1',
      forcePathStyle: true,
      credentials,
      maxAttempts: 3,
      ...more,
    })
  }

  /** Files of shards on a node's disk. */
  shardFiles(node: number): readonly string[] {
    const root = join(this.ring.data, `n${node}`, 'objects', 'versions')
    if (!existsSync(root)) return []
    return readdirSync(root, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.[0-7]$/.test(name))
      .map((name) => join(root, name))
  }

  destroy(): Promise<void> {
    return this.ring.destroy()
  }
}

export const bytesOf = (size: number): Buffer => randomBytes(size)
export const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')

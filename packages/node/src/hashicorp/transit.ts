/** The transit engine's paths over the ring's keys. Text is as those clients know it: `vault:vN:` and base64. */
import { mayUseTransit, type TransitKey, type TransitUse, transitKey } from '@ringwall/ring'
import {
  authenticateTransit,
  decryptTransit,
  encryptTransit,
  messageDigest,
  sameAuthenticator,
  transitText,
  VaultError,
  verifiesTransit,
} from '@ringwall/vault'
import { dataAnswer, type FaceAnswer, FaceError, moment, objectOf } from './answers.ts'
import { askOf, type FaceNode, factsOf, readerOf, signedBy } from './face-node.ts'
import type { HeldPass } from './pass-text.ts'

const BATCH_MAX = 128
const TEXT = /^vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})$/
const TYPES = { encrypt: 'aes256-gcm96', sign: 'ed25519', mac: 'hmac' } as const

type Item = Readonly<Record<string, unknown>>

export interface TransitCall {
  readonly method: string
  /** `encrypt`, `decrypt`, `rewrap`, `sign`, `verify`, `hmac` or `keys`. */
  readonly verb: string
  readonly name: string
  body(): Promise<unknown>
}

export async function transit(node: FaceNode, held: HeldPass, call: TransitCall): Promise<FaceAnswer> {
  const { verb, name, method } = call
  const asker = { kind: 'service', name: held.read.service } as const
  const isMine = ({ name: one }: TransitKey): boolean => mayUseTransit(node.view().policy.vault, asker, one)
  if (verb === 'keys' && method === 'LIST') {
    const keys = node.state().transit.filter(isMine)
    if (keys.length === 0) throw new FaceError(404, 'no keys')
    return dataAnswer({ keys: keys.map((key) => key.name) }, 'transit')
  }
  const key = transitKey(node.state().transit, name)
  if (key === undefined || !isMine(key))
    throw new FaceError(403, `permission denied: no rule of the policy (vault.transit) lets service:${asker.name} use ${name}`)
  if (verb === 'keys' && method === 'GET') return dataAnswer(described(key), 'transit')
  if (verb === 'keys') throw new FaceError(403, 'permission denied: operators make and change keys, with ringwall transit')
  if (method !== 'POST' && method !== 'PUT') throw new FaceError(405, 'unsupported operation')
  const body = objectOf(await call.body(), 'the body')
  const batch = body.batch_input
  if (batch !== undefined && (!Array.isArray(batch) || batch.length === 0 || batch.length > BATCH_MAX))
    throw new FaceError(400, `batch_input must be a list of 1 to ${BATCH_MAX}`)
  const items = Array.isArray(batch) ? batch.map((one: unknown) => objectOf(one, 'each of batch_input')) : [body]
  const results = await perform(node, held, key, verb, items)
  return dataAnswer(Array.isArray(batch) ? { batch_results: results } : results[0], 'transit')
}

function described(key: TransitKey): unknown {
  const signs = key.use === 'sign'
  const keys = key.versions.map(({ version, atMs, signer }) => [
    String(version),
    signs
      ? { creation_time: moment(atMs), name: 'ed25519', public_key: Buffer.from(signer, 'base64url').toString('base64') }
      : Math.floor(atMs / 1_000),
  ])
  return {
    name: key.name,
    type: TYPES[key.use],
    keys: Object.fromEntries(keys),
    latest_version: key.versions.at(-1)?.version ?? 0,
    min_available_version: key.versions[0]?.version ?? 0,
    min_decryption_version: key.versions[0]?.version ?? 0,
    min_encryption_version: 0,
    deletion_allowed: false,
    derived: false,
    exportable: false,
    allow_plaintext_backup: false,
    imported_key: false,
    supports_encryption: key.use === 'encrypt',
    supports_decryption: key.use === 'encrypt',
    supports_signing: signs,
    supports_derivation: false,
  }
}

const NEEDS: Readonly<Record<string, TransitUse>> = {
  encrypt: 'encrypt',
  decrypt: 'encrypt',
  rewrap: 'encrypt',
  sign: 'sign',
  hmac: 'mac',
}

async function perform(
  node: FaceNode,
  held: HeldPass,
  key: TransitKey,
  verb: string,
  items: readonly Item[],
): Promise<readonly unknown[]> {
  const needed = NEEDS[verb]
  if (verb !== 'verify' && needed === undefined) throw new FaceError(404, `no handler for transit/${verb}`)
  if (needed !== undefined && key.use !== needed) throw new FaceError(400, `${key.name} is a key to ${key.use}, not to ${needed}`)
  if (verb === 'encrypt') return items.map((item) => encrypted(node, key, bytesOf(item, 'plaintext'), contextOf(item)))
  if (verb === 'decrypt' || verb === 'rewrap') {
    const wanted = items.map((item) => ({ key: key.name, ciphertext: ownText(item, 'ciphertext'), context: contextOf(item) }))
    const plain = await decryptTransit(factsOf(node), readerOf(held), wanted, [askOf(node)])
    return plain.map((bytes, at) => {
      if (verb === 'decrypt') return { plaintext: bytes.toString('base64') }
      return encrypted(node, key, bytes, contextOf(items[at] as Item))
    })
  }
  if (verb === 'sign') return Promise.all(items.map((item) => signed(node, held, key, bytesOf(item, 'input'))))
  if (verb === 'hmac') {
    const made = await authenticated(node, held, key, items, undefined)
    return made.map((text) => ({ hmac: theirText(text) }))
  }
  return verified(node, held, key, items)
}

function encrypted(node: FaceNode, key: TransitKey, plaintext: Uint8Array, context: Uint8Array): unknown {
  const version = key.versions.at(-1)?.version ?? 1
  const place = { ring: node.ring, key: key.name, id: key.id, version }
  return { ciphertext: theirText(encryptTransit(factsOf(node).publicKey, place, plaintext, context)), key_version: version }
}

async function signed(node: FaceNode, held: HeldPass, key: TransitKey, message: Uint8Array): Promise<unknown> {
  const { version = 1, signer = '' } = key.versions.at(-1) ?? {}
  const want = { type: 'transit', key: key.name, version, digest: messageDigest(message) } as const
  const bytes = await signedBy(node, held, want)
  const publicKey = Buffer.from(signer, 'base64url').toString('base64')
  return { signature: theirText(transitText(version, bytes)), key_version: version, publickey: publicKey }
}

function authenticated(
  node: FaceNode,
  held: HeldPass,
  key: TransitKey,
  items: readonly Item[],
  versions: readonly number[] | undefined,
): Promise<readonly string[]> {
  const newest = key.versions.at(-1)?.version ?? 1
  const wanted = items.map((item, at) => {
    const place = { ring: node.ring, key: key.name, id: key.id, version: versions?.[at] ?? newest }
    return { place, message: bytesOf(item, 'input') }
  })
  return authenticateTransit(factsOf(node), readerOf(held), wanted, [askOf(node)])
}

async function verified(node: FaceNode, held: HeldPass, key: TransitKey, items: readonly Item[]): Promise<readonly unknown[]> {
  if (key.use === 'mac') {
    const given = items.map((item) => ownText(item, 'hmac'))
    const versions = given.map((text) => Number(/v([0-9]+):/.exec(text)?.[1]))
    const made = await authenticated(node, held, key, items, versions)
    return made.map((text, at) => ({ valid: sameAuthenticator(text, given[at] as string) }))
  }
  if (key.use !== 'sign') throw new FaceError(400, `${key.name} is a key to ${key.use}: there is nothing to verify`)
  return items.map((item) => {
    const text = ownText(item, 'signature')
    const version = Number(/v([0-9]+):/.exec(text)?.[1])
    const known = key.versions.find((one) => one.version === version)
    const place = { ring: node.ring, key: key.name, id: key.id, version }
    return { valid: known !== undefined && verifiesTransit(place, known.signer, bytesOf(item, 'input'), text) }
  })
}

function bytesOf(item: Item, member: string): Buffer {
  const text = item[member]
  if (typeof text !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) throw new FaceError(400, `${member} must be base64`)
  return Buffer.from(text, 'base64')
}

/** Vault’s `associated_data` and `context` come to one here: it decrypts with the same only. */
function contextOf(item: Item): Buffer {
  if (item.context === undefined && item.associated_data === undefined) return Buffer.alloc(0)
  const parts = ['context', 'associated_data'].map((member) =>
    item[member] === undefined ? '' : bytesOf(item, member).toString('base64'),
  )
  return Buffer.from(parts.join('.'))
}

function theirText(text: string): string {
  const [, version = '', bytes = ''] = text.split(':')
  return `vault:${version}:${Buffer.from(bytes, 'base64url').toString('base64')}`
}

function ownText(item: Item, member: string): string {
  const match = typeof item[member] === 'string' ? TEXT.exec(item[member]) : null
  if (match === null) throw new VaultError('VAULT_MALFORMED', `${member} must be vault:vVERSION:BASE64`)
  return `ringwall:v${match[1]}:${Buffer.from(match[2] as string, 'base64').toString('base64url')}`
}

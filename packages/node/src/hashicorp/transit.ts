/** The transit engine's paths over the ring's keys. Text is as those clients know it: `vault:vN:` and base64. */
import { hash } from 'node:crypto'
import {
  mayUseTransit,
  newestTransitVersion,
  type TransitKey,
  type TransitUse,
  type TransitVersion,
  transitCapsuleLabel,
  transitKey,
  transitPlace,
} from '@ringwall/ring'
import { readCapsule, ThresholdError } from '@ringwall/threshold'
import {
  authenticateTransit,
  type Decryption,
  decryptTransit,
  encryptTransit,
  messageDigest,
  readTransitText,
  sameAuthenticator,
  TRANSIT_USES_MAX,
  transitText,
  type VaultFacts,
  verifiesTransit,
} from '@ringwall/vault'
import { dataAnswer, type FaceAnswer, FaceError, moment, objectOf, wholeOf } from './answers.ts'
import { askOf, type FaceNode, faceErrorOf, factsOf, readerOf, signedBy } from './face-node.ts'
import type { HeldPass } from './pass-text.ts'

const BATCH_MAX = 128
const TEXT = /^vault:v([1-9][0-9]{0,8}):([A-Za-z0-9+/]+={0,2})$/
const TYPES = { encrypt: 'aes256-gcm96', sign: 'ed25519', mac: 'hmac' } as const

interface Item {
  readonly fields: Readonly<Record<string, unknown>>
  /** What an error about it begins with; empty: it is the body itself. */
  readonly where: string
}

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
  // Rights first: who may not, does not learn whether there is such a key.
  if (!mayUseTransit(node.view().policy.vault, asker, name))
    throw new FaceError(403, `permission denied: no rule of the policy (vault.transit) lets service:${asker.name} use ${name}`)
  if (verb === 'keys' && method !== 'GET')
    throw new FaceError(403, 'permission denied: operators make and change keys, with ringwall transit')
  const key = transitKey(node.state().transit, name)
  if (verb === 'keys' && key === undefined) throw new FaceError(404, `no key ${name}`)
  if (verb === 'keys') return dataAnswer(described(key as TransitKey), 'transit')
  if (method !== 'POST' && method !== 'PUT') throw new FaceError(405, 'unsupported operation')
  if (key === undefined) throw new FaceError(400, `${ENCRYPTS.has(verb) ? 'encryption' : 'signing'} key not found`)
  const body = objectOf(await call.body(), 'the body')
  const batch = body.batch_input
  if (batch !== undefined && (!Array.isArray(batch) || batch.length === 0 || batch.length > BATCH_MAX))
    throw new FaceError(400, `batch_input must be a list of 1 to ${BATCH_MAX}`)
  const results = await perform(
    node,
    held,
    key,
    verb,
    Array.isArray(batch) ? itemsOf(batch, body) : [{ fields: body, where: '' }],
  )
  return dataAnswer(Array.isArray(batch) ? { batch_results: results } : results[0], 'transit')
}

/** The version that the body names is that of all which name none. */
function itemsOf(batch: readonly unknown[], { key_version: version }: Readonly<Record<string, unknown>>): readonly Item[] {
  return batch.map((one, at) => {
    const fields = objectOf(one, `batch_input[${at}]`)
    return { fields: { ...fields, key_version: fields.key_version ?? version }, where: `batch_input[${at}]: ` }
  })
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

const ENCRYPTS = new Set(['encrypt', 'decrypt', 'rewrap'])

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
  if (verb === 'encrypt')
    return items.map((item) => encrypted(node, key, versionOf(key, item), bytesOf(item, 'plaintext'), contextOf(item)))
  if (verb === 'decrypt') {
    const plain = await decrypted(node, held, key, items)
    return plain.map((bytes) => ({ plaintext: bytes.toString('base64') }))
  }
  if (verb === 'rewrap') {
    const versions = items.map((item) => versionOf(key, item))
    const plain = await decrypted(node, held, key, items)
    return plain.map((bytes, at) => encrypted(node, key, versions[at] as TransitVersion, bytes, contextOf(items[at] as Item)))
  }
  if (verb === 'sign') {
    const wanted = items.map((item) => ({ version: versionOf(key, item), message: bytesOf(item, 'input') }))
    return Promise.all(wanted.map(({ version, message }) => signed(node, held, key, version, message)))
  }
  if (verb === 'hmac') {
    const versions = items.map((item) => versionOf(key, item).version)
    const made = await authenticated(node, held, key, items, versions)
    return made.map((text) => ({ hmac: theirText(text) }))
  }
  return verified(node, held, key, items)
}

/** That which `key_version` names; the newest for none and for 0. */
function versionOf(key: TransitKey, { fields, where }: Item): TransitVersion {
  const asked = wholeOf(fields.key_version ?? 0)
  const version = asked === 0 ? newestTransitVersion(key) : key.versions.find((one) => one.version === asked)
  if (version !== undefined) return version
  const [first, last] = [key.versions[0]?.version, newestTransitVersion(key).version]
  throw new FaceError(400, `${where}key_version must be 0, for the newest, or a version of ${key.name}: ${first} to ${last}`)
}

function encrypted(
  node: FaceNode,
  key: TransitKey,
  { version }: TransitVersion,
  plaintext: Uint8Array,
  context: Uint8Array,
): unknown {
  const place = { ring: node.ring, key: key.name, id: key.id, version }
  return { ciphertext: theirText(encryptTransit(factsOf(node).publicKey, place, plaintext, context)), key_version: version }
}

async function decrypted(node: FaceNode, held: HeldPass, key: TransitKey, items: readonly Item[]): Promise<readonly Buffer[]> {
  const facts = factsOf(node)
  const wanted = items.map((item) => ({ key: key.name, ciphertext: ownText(item, 'ciphertext'), context: contextOf(item) }))
  const plain: Buffer[] = []
  for (let at = 0; at < wanted.length; at += TRANSIT_USES_MAX) {
    const some = wanted.slice(at, at + TRANSIT_USES_MAX)
    try {
      plain.push(...(await decryptTransit(facts, readerOf(held), some, [askOf(node)])))
    } catch (error) {
      const { status, message } = faceErrorOf(error, 400)
      // Holders refuse a request whole, and do not say which of it is the one.
      const damaged = /^ciphertext ([0-9]+): /.exec(message)
      const odd = damaged === null ? some.findIndex((one) => !isOfKey(facts, key, one)) : Number(damaged[1]) - 1
      if (status !== 400 || odd < 0) throw error
      throw new FaceError(400, `${items[at + odd]?.where ?? ''}${message.slice(damaged?.[0].length ?? 0)}`)
    }
  }
  return plain
}

/** Was it encrypted to a version of this key that can be used, in this context? */
function isOfKey({ ring, publicKey }: VaultFacts, key: TransitKey, { ciphertext, context }: Decryption): boolean {
  const { version, bytes } = readTransitText(ciphertext)
  const place = transitPlace(ring, key, version)
  if (place === undefined || bytes.length < 2) return false
  const digest = context.length === 0 ? '' : hash('sha256', context, 'base64url')
  try {
    const { label } = readCapsule(publicKey, bytes.subarray(2, 2 + bytes.readUInt16BE(0)))
    return Buffer.compare(label, transitCapsuleLabel(place, digest)) === 0
  } catch (error) {
    if (error instanceof ThresholdError) return false
    throw error
  }
}

async function signed(
  node: FaceNode,
  held: HeldPass,
  key: TransitKey,
  { version, signer }: TransitVersion,
  message: Uint8Array,
): Promise<unknown> {
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
  versions: readonly number[],
): Promise<readonly string[]> {
  const wanted = items.map((item, at) => {
    const place = { ring: node.ring, key: key.name, id: key.id, version: versions[at] as number }
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

function bytesOf({ fields, where }: Item, member: string): Buffer {
  const text = fields[member]
  if (typeof text !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(text))
    throw new FaceError(400, `${where}${member} must be base64`)
  return Buffer.from(text, 'base64')
}

/** Vault’s `associated_data` and `context` come to one here: it decrypts with the same only. */
function contextOf(item: Item): Buffer {
  const { context, associated_data: data } = item.fields
  if (context === undefined && data === undefined) return Buffer.alloc(0)
  const parts = ['context', 'associated_data'].map((member) =>
    item.fields[member] === undefined ? '' : bytesOf(item, member).toString('base64'),
  )
  return Buffer.from(parts.join('.'))
}

function theirText(text: string): string {
  const [, version = '', bytes = ''] = text.split(':')
  return `vault:${version}:${Buffer.from(bytes, 'base64url').toString('base64')}`
}

function ownText({ fields, where }: Item, member: string): string {
  const match = typeof fields[member] === 'string' ? TEXT.exec(fields[member]) : null
  if (match === null) throw new FaceError(400, `${where}${member} must be vault:vVERSION:BASE64`)
  return `ringwall:v${match[1]}:${Buffer.from(match[2] as string, 'base64').toString('base64url')}`
}

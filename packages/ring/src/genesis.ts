/** The genesis document: how a ring begins. Canonical JSON; its hash is the ring's name. */
import { sha256 } from '@noble/hashes/sha2.js'
import { z } from 'zod'
import { canonicalJson } from './canonical-json.ts'
import { decodeBase64url, encodeHex, encodeUtf8 } from './encoding.ts'
import { GenesisInvalid } from './errors.ts'
import type { GenesisDocument } from './types.ts'

/** Longest text, characters. */
const TEXT_CHARS_MAX = 1_048_576
const GENESIS_DOMAIN = 'RINGWALL_GENESIS_V1\n'

const Id = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, 'expected 1 to 63 letters, digits, dots, hyphens')
const PublicKey = z.string().refine(isKey, 'expected 32 bytes in base64url')

/** As genesis and snapshots list a node. */
export const Node = z.strictObject({
  id: Id,
  region: z.string().min(1).max(63),
  address: z.string().min(1).max(260),
  publicKey: PublicKey,
  roles: z
    .array(z.enum(['validator', 'edge']))
    .min(1)
    .max(2),
})

const Schema = z.strictObject({
  format: z.literal('ringwall/genesis/1'),
  createdAtMs: z.int().min(0),
  nodes: z.array(Node).min(1).max(1_000),
  operators: z.array(z.strictObject({ name: Id, publicKey: PublicKey })).max(1_000),
  policy: z.string().max(262_144),
})

function isKey(text: string): boolean {
  try {
    return text.length === 43 && decodeBase64url(text).length === 32
  } catch {
    return false
  }
}

/** @throws {GenesisInvalid} Naming the first thing that is wrong. Spacing and order of keys are free: the hash is of the meaning. */
export function parseGenesis(text: string): GenesisDocument {
  if (text.length > TEXT_CHARS_MAX) throw new GenesisInvalid(`longer than ${TEXT_CHARS_MAX} characters`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new GenesisInvalid('it is not JSON', { cause })
  }
  const parsed = Schema.safeParse(value)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!
    throw new GenesisInvalid(`${issue.path.join('.') || 'the document'}: ${issue.message}`)
  }
  const { nodes, operators } = parsed.data
  unique(
    nodes.map(({ id }) => id),
    'nodes: the id',
  )
  unique(
    operators.map(({ name }) => name),
    'operators: the name',
  )
  // One key under two names would let one signer count twice.
  unique(
    [...nodes, ...operators].map(({ publicKey }) => publicKey),
    'nodes and operators: the publicKey',
  )
  if (!nodes.some(({ roles }) => roles.includes('validator'))) throw new GenesisInvalid('nodes: none is a validator')
  return parsed.data
}

function unique(values: readonly string[], what: string): void {
  const seen = new Set<string>()
  for (const value of values) {
    if (seen.has(value)) throw new GenesisInvalid(`${what} ${value} occurs twice`)
    seen.add(value)
  }
}

/** Canonical JSON with a final line break. */
export function encodeGenesis(document: GenesisDocument): string {
  return `${canonicalJson(document)}\n`
}

/** The ring's name: SHA-256, lower-case hex. */
export function genesisHash(document: GenesisDocument): string {
  return encodeHex(sha256(encodeUtf8(GENESIS_DOMAIN + canonicalJson(document))))
}

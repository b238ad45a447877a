/**
 * Transactions: their bytes, ids and strict parsing. Safe for browsers: no YAML, zod or WAF behind this import, so that
 * the console can sign.
 *
 * The wire form of a signed transaction is the UTF-8 of its canonical JSON. Parsing re-encodes and compares: each
 * statement has one spelling, so ids, caches and replay checks cannot be split by a second one.
 */
import { sha256 } from '@noble/hashes/sha2.js'
import { BATCHED_BYTES } from './batch-signature.ts'
import { canonicalJson } from './canonical-json.ts'
import {
  decodeBase64url,
  decodeUtf8,
  encodeBase64url,
  encodeHex,
  encodeUtf8,
  isBase64url,
  passingUtf8,
  Scratch,
} from './encoding.ts'
import { ENROLMENT_TYPES, isEnrolmentType, parseEnrolmentStatement, type StatementReaders } from './enrolment-parse.ts'
import { EncodingInvalid, RingError, TxMalformed } from './errors.ts'
import { FLEET_TYPES, isFleetType, parseFleetStatement } from './fleet-parse.ts'
import { OBJECT_TYPES, parseObjectStatement } from './object-parse.ts'
import { PASS_TOKEN_CHARS_MAX, type SignedPass } from './pass-shape.ts'
import { parsePersonStatement } from './person-parsing.ts'
import { PLAY_TYPES, parsePlayStatement } from './play-parse.ts'
import type { PlayStatement } from './play-statements.ts'
import { SCRAM_VERIFIER } from './scram-verifier.ts'
import { SECRET_NAME, SECRET_NAME_CHARS_MAX, SECRET_NAME_EXPECTED } from './secret-name.ts'
import { portableSha256, type Sha256 } from './sha256.ts'
import type { DenialSubject, EvidenceOfLies, RingNode, SignedStatement, SignedTx, TxBody, TxContent, TxId } from './types.ts'

export { BATCH_MAX, batchOf } from './batch-signature.ts'
export { type FieldReaders, fieldReaders } from './field-readers.ts'
export { PASS_TOKEN_CHARS_MAX, type ServicePass } from './pass-shape.ts'
export { PERSON_NAME, PERSON_NAME_EXPECTED, type PersonStatement } from './person-parsing.ts'
export { playId } from './play-id.ts'
export { SECRET_NAME, SECRET_NAME_CHARS_MAX, SECRET_NAME_EXPECTED } from './secret-name.ts'
export { portableSha256, type Sha256 } from './sha256.ts'
export type { DenialSubject, EvidenceOfLies, RingNode, SignedStatement, SignedTx, TxBody, TxContent, TxId }
export { canonicalJson, decodeBase64url, EncodingInvalid, encodeBase64url, encodeHex, RingError, TxMalformed }

/** Longest wire form, bytes. A policy of up to about 250 KiB fits. */
export const TX_BYTES_MAX = 262_144
const TX_DOMAIN = 'RINGWALL_TX_V1\n'
const DOMAIN = encodeUtf8(TX_DOMAIN)
const ACCOUNT_DOMAIN = 'RINGWALL_ACCOUNT_V1\n'

const TX_TYPES: readonly TxBody['type'][] = [
  'policy.set',
  'deny.add',
  'deny.remove',
  'deny.withdraw',
  'node.add',
  'node.remove',
  'evidence',
  'token.revoke',
  'token.use',
  'key.enrol',
  'key.deal',
  'key.answer',
  'key.refresh',
  'key.rotate',
  'vault.put',
  'vault.delete',
  'play.start',
  'play.claim',
  'play.report',
  'play.approve',
  'play.cancel',
  'play.undo',
  'vault.hide',
  'lease.begin',
  'lease.renew',
  'lease.revoke',
  'lease.done',
  'transit.create',
  'transit.rotate',
  'transit.trim',
  'transit.delete',
  'cache.purge',
  'person.put',
  'person.reset',
  'person.remove',
  'person.enrol',
  'disk.seal',
  'node.wipe',
  'node.wiped',
  'tx.approve',
  ...OBJECT_TYPES,
  ...ENROLMENT_TYPES,
  ...FLEET_TYPES,
]
const REASON_CHARS_MAX = 200
/** A compact JWS of an Ed25519 key, in bounds that no token of the ring exceeds. */
const RING_TOKEN = /^[A-Za-z0-9_-]{1,512}\.[A-Za-z0-9_-]{1,12000}\.[A-Za-z0-9_-]{86}$/
/** As `vault-statements.ts` bounds them in bytes. */
const CAPSULE_CHARS_MAX = 2_731
const CIPHERTEXT_CHARS_MAX = 22_187
/** Of 1 KiB, in base64url: a capsule of a disk has some 500 bytes. */
const DISK_CAPSULE_CHARS_MAX = 1_366
const DELETED_VERSIONS_MAX = 64
/** Of 8 KiB, in base64url. */
const KEY_MESSAGE_CHARS_MAX = 10_923
const MOMENT = 'a moment such as 2027-01-31T12:00:00.000Z'
const VALUE_CHARS_MAX = 512
const CACHE_PATH_CHARS_MAX = 1_024
/** Of a target (RFC 9110 section 7.1), as it is sent. */
const CACHE_PATH = /^\/[!-~]*$/
const CACHE_PATH_EXPECTED = 'a path that begins with /, as requests have it: percent-encoded'
const HASH = /^[0-9a-f]{64}$/
const DENIAL_ID = /^[0-9a-f]{16}$/
const ACCOUNT_KEY = /^[0-9a-f]{32}$/
const SERVICE = /^[a-z0-9][a-z0-9-]{0,62}$/
const ISSUER = /^(operator|node):([A-Za-z0-9][A-Za-z0-9._-]{0,62})$/
const NODE_ID = /^[a-z0-9][a-z0-9-]{0,31}$/
/** As the genesis document allows. */
const GENESIS_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const ADDRESS = /^(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}$/
/** One line that shows: no controls, no line or paragraph separators, no bidirectional overrides. */
const PRINTABLE = /^[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]*$/u

/** `operator:NAME` or `node:ID` taken apart; undefined for anything else. */
export function parseIssuer(issuer: string): { readonly kind: 'operator' | 'node'; readonly name: string } | undefined {
  const match = ISSUER.exec(issuer)
  return match === null ? undefined : { kind: match[1] as 'operator' | 'node', name: match[2]! }
}

/** What is signed: the domain line, then canonical JSON. */
export function signingBytes(content: TxContent): Uint8Array {
  return encodeUtf8(TX_DOMAIN + canonicalJson(content))
}

/** SHA-256 of the signing bytes, lower-case hex. The signature is no part: a second valid one is no second transaction. */
export function txId(content: TxContent): TxId {
  return idOfSigned(signingBytes(content))
}

/** The id, when the signing bytes are at hand. */
export function idOfSigned(signed: Uint8Array, hash: Sha256 = portableSha256): TxId {
  return hash(signed)
}

export function encodeTx(tx: SignedTx): Uint8Array {
  return encodeUtf8(canonicalJson({ content: tx.content, signature: tx.signature }))
}

/**
 * Id of the denial of a subject: first 16 hex digits of SHA-256 of its canonical JSON; of `issued-before` without the moment, so
 * that a later one takes the place of an earlier.
 */
export function subjectId(subject: DenialSubject, hash: Sha256 = portableSha256): string {
  const { value, ...scope } = subject
  return hash(passingUtf8(canonicalJson(subject.kind === 'issued-before' ? scope : { ...scope, value }))).slice(0, 16)
}

/**
 * The name typed into a login form as the ledger may know it: 32 hex digits. Spellings that people take for one account
 * (case, surrounding space, compatibility forms) give one key.
 */
export function accountKey(ring: string, service: string, name: string): string {
  const folded = name.toWellFormed().normalize('NFKC').trim().toLowerCase()
  return encodeHex(sha256(encodeUtf8(ACCOUNT_DOMAIN + canonicalJson([ring, service, folded])))).slice(0, 32)
}

/**
 * Reads the wire form. Signature, authority and meaning are not checked here.
 *
 * @throws {TxMalformed} With what is wrong and where.
 */
export function parseTx(bytes: Uint8Array): SignedTx {
  return readTx(bytes).tx
}

/** Around the content in the wire form; between them and the end stands the signature. */
const BEFORE_CONTENT = '{"content":'
const AFTER_CONTENT = ',"signature":"'

const signing = new Scratch(1_024)

/**
 * As `parseTx`, with what was signed, to be read at once: the next call may overwrite it. The wire form holds it already, so
 * nothing is encoded again. @throws {TxMalformed}
 */
export function readTx(bytes: Uint8Array): { readonly tx: SignedTx; readonly signed: Uint8Array } {
  if (bytes.length > TX_BYTES_MAX) throw new TxMalformed(`${bytes.length} bytes, at most ${TX_BYTES_MAX} are allowed`)
  let text: string
  let value: unknown
  try {
    text = decodeUtf8(bytes)
    value = JSON.parse(text)
  } catch (cause) {
    throw new TxMalformed('it is not JSON in UTF-8', { cause })
  }
  const fields = record(value, 'transaction', ['content', 'signature'])
  const tx: SignedTx = {
    content: parseContent(fields.content),
    signature: signatureText(fields.signature),
  }
  // The objects are built with their keys in canonical order, so that the platform writes them canonically but for lone
  // surrogates, which it escapes; whatever it does not reproduce exactly is for `canonicalJson` to judge.
  if (JSON.stringify(tx) !== text || text.includes('\\ud')) {
    let again: string
    try {
      again = canonicalJson(tx)
    } catch (cause) {
      throw new TxMalformed('it holds text that is not Unicode', { cause })
    }
    if (again !== text) throw new TxMalformed('it is not canonical JSON (RFC 8785)')
  }
  // What stands around the content is ASCII.
  const end = bytes.length - AFTER_CONTENT.length - tx.signature.length - '"}'.length
  const length = DOMAIN.length + end - BEFORE_CONTENT.length
  const signed = length <= signing.bytes.length ? signing.first(length) : new Uint8Array(length)
  signed.set(DOMAIN)
  signed.set(bytes.subarray(BEFORE_CONTENT.length, end), DOMAIN.length)
  return { tx, signed }
}

/** Characters of base64url, and the bytes that they are: of a signature, alone or batched. */
const SIGNATURE_CHARS = new Map([64, ...BATCHED_BYTES].map((bytes) => [Math.ceil((bytes * 4) / 3), bytes]))

function signatureText(value: unknown): string {
  const bytes = typeof value === 'string' ? SIGNATURE_CHARS.get(value.length) : undefined
  return base64url(value, 'signature', bytes ?? 64)
}

/** @throws {TxMalformed} When the value is not exactly the content of a transaction. */
export function parseContent(value: unknown): TxContent {
  const fields = record(value, 'content', ['atMs', 'body', 'issuer', 'nonce', 'ring', 'untilMs'])
  // Keys in canonical order, here and below: see `readTx`.
  return {
    atMs: whole(fields.atMs, 'content.atMs'),
    body: parseBody(fields.body),
    issuer: matching(fields.issuer, 'content.issuer', ISSUER, 'operator:NAME or node:ID'),
    nonce: base64url(fields.nonce, 'content.nonce', 16),
    ring: matching(fields.ring, 'content.ring', HASH, '64 hex digits'),
    untilMs: whole(fields.untilMs, 'content.untilMs'),
  }
}

function parseBody(value: unknown): TxBody {
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined
  if (type === 'policy.set') {
    const fields = record(value, 'body', ['expectVersion', 'policy', 'type'])
    return {
      expectVersion: whole(fields.expectVersion, 'body.expectVersion'),
      policy: bounded(fields.policy, 'body.policy', 0, TX_BYTES_MAX),
      type,
    }
  }
  if (type === 'deny.add') {
    const fields = record(value, 'body', ['reason', 'subject', 'ttlMs', 'type'])
    return {
      reason: reason(fields.reason),
      subject: parseSubject(fields.subject),
      ttlMs: whole(fields.ttlMs, 'body.ttlMs'),
      type,
    }
  }
  if (type === 'deny.remove' || type === 'deny.withdraw') {
    const fields = record(value, 'body', ['id', 'reason', 'type'])
    return { id: matching(fields.id, 'body.id', DENIAL_ID, '16 hex digits'), reason: reason(fields.reason), type }
  }
  if (type === 'node.add') {
    const fields = record(value, 'body', ['node', 'reason', 'type'])
    return { node: parseNode(fields.node), reason: reason(fields.reason), type }
  }
  if (type === 'node.remove') {
    const fields = record(value, 'body', ['id', 'reason', 'type'])
    return { id: matching(fields.id, 'body.id', NODE_ID, 'the id of a node'), reason: reason(fields.reason), type }
  }
  if (type === 'evidence') {
    const fields = record(value, 'body', ['epoch', 'first', 'round', 'second', 'type', 'validator'])
    return {
      epoch: whole(fields.epoch, 'body.epoch'),
      first: parseStatement(fields.first, 'body.first'),
      round: whole(fields.round, 'body.round'),
      second: parseStatement(fields.second, 'body.second'),
      type,
      validator: matching(fields.validator, 'body.validator', GENESIS_ID, 'the id of a node'),
    }
  }
  if (type === 'tx.approve') {
    const fields = record(value, 'body', ['id', 'reason', 'type'])
    return { id: matching(fields.id, 'body.id', HASH, '64 hex digits'), reason: reason(fields.reason), type }
  }
  if (type === 'token.revoke' || type === 'token.use') {
    const fields = record(value, 'body', ['token', 'type'])
    return { token: matching(fields.token, 'body.token', RING_TOKEN, 'a token of the ring'), type }
  }
  if (type === 'key.enrol') {
    const fields = record(value, 'body', ['attempt', 'encryptionKey', 'key', 'type'])
    const encryptionKey = base64url(fields.encryptionKey, 'body.encryptionKey', 32)
    return { attempt: whole(fields.attempt, 'body.attempt'), encryptionKey, key: keyName(fields.key), type }
  }
  if (type === 'key.deal' || type === 'key.answer') {
    const fields = record(value, 'body', ['attempt', 'body', 'key', 'type'])
    return {
      attempt: whole(fields.attempt, 'body.attempt'),
      body: base64urlWithin(fields.body, 'body.body', KEY_MESSAGE_CHARS_MAX),
      key: keyName(fields.key),
      type,
    }
  }
  if (type === 'key.refresh' || type === 'key.rotate') {
    const fields = record(value, 'body', ['key', 'reason', 'type'])
    return { key: keyName(fields.key), reason: reason(fields.reason), type }
  }
  if (type === 'vault.put') {
    const fields = record(value, 'body', ['capsule', 'ciphertext', 'expectVersion', 'name', 'ttlMs', 'type'], ['pass'])
    return {
      capsule: base64urlWithin(fields.capsule, 'body.capsule', CAPSULE_CHARS_MAX),
      ciphertext: base64urlWithin(fields.ciphertext, 'body.ciphertext', CIPHERTEXT_CHARS_MAX),
      expectVersion: whole(fields.expectVersion, 'body.expectVersion'),
      name: secretName(fields.name),
      ...passOf(fields),
      ttlMs: whole(fields.ttlMs, 'body.ttlMs'),
      type,
    }
  }
  if (type === 'vault.delete') {
    const fields = record(value, 'body', ['name', 'reason', 'type', 'versions'], ['pass'])
    const held = versions(fields.versions)
    return { name: secretName(fields.name), ...passOf(fields), reason: reason(fields.reason), type, versions: held }
  }
  if (type === 'vault.hide') {
    const fields = record(value, 'body', ['hidden', 'name', 'type', 'versions'], ['pass'])
    if (typeof fields.hidden !== 'boolean') throw new TxMalformed('body.hidden must be true or false')
    const held = versions(fields.versions)
    return { hidden: fields.hidden, name: secretName(fields.name), ...passOf(fields), type, versions: held }
  }
  if (type === 'lease.begin') {
    const fields = record(value, 'body', ['database', 'role', 'ttlMs', 'type', 'verifier'], ['pass'])
    const verifier = bounded(fields.verifier, 'body.verifier', 1, 300)
    return {
      database: bounded(fields.database, 'body.database', 1, 63),
      ...passOf(fields),
      role: bounded(fields.role, 'body.role', 1, 63),
      ttlMs: whole(fields.ttlMs, 'body.ttlMs'),
      type,
      verifier: matching(verifier, 'body.verifier', SCRAM_VERIFIER, 'a SCRAM-SHA-256 verifier as PostgreSQL has them'),
    }
  }
  if (type === 'lease.renew') {
    const fields = record(value, 'body', ['id', 'ttlMs', 'type'], ['pass'])
    return { id: leaseId(fields.id), ...passOf(fields), ttlMs: whole(fields.ttlMs, 'body.ttlMs'), type }
  }
  if (type === 'lease.revoke') {
    const fields = record(value, 'body', ['id', 'type'], ['pass'])
    return { id: leaseId(fields.id), ...passOf(fields), type }
  }
  if (type === 'lease.done') {
    const fields = record(value, 'body', ['dueAtMs', 'id', 'type', 'work'])
    const { work } = fields
    if (work !== 'make' && work !== 'end') throw new TxMalformed('body.work must be make or end')
    return { dueAtMs: whole(fields.dueAtMs, 'body.dueAtMs'), id: leaseId(fields.id), type, work }
  }
  if (PLAY_TYPES.has(type)) return parsePlayStatement(value, type as PlayStatement['type'], READERS)
  if (type === 'transit.create') {
    const fields = record(value, 'body', ['name', 'type', 'use'])
    const use = (['encrypt', 'sign', 'mac'] as const).find((known) => known === fields.use)
    if (use === undefined) throw new TxMalformed('body.use must be encrypt, sign or mac')
    return { name: secretName(fields.name), type, use }
  }
  if (type === 'transit.rotate') {
    const fields = record(value, 'body', ['name', 'type'])
    return { name: secretName(fields.name), type }
  }
  if (type === 'transit.trim') {
    const fields = record(value, 'body', ['least', 'name', 'type'])
    return { least: whole(fields.least, 'body.least'), name: secretName(fields.name), type }
  }
  if (type === 'transit.delete') {
    const fields = record(value, 'body', ['name', 'reason', 'type'])
    return { name: secretName(fields.name), reason: reason(fields.reason), type }
  }
  if (type === 'cache.purge') {
    const fields = record(value, 'body', ['path', 'reason', 'service', 'type'])
    return {
      path: matching(bounded(fields.path, 'body.path', 1, CACHE_PATH_CHARS_MAX), 'body.path', CACHE_PATH, CACHE_PATH_EXPECTED),
      reason: reason(fields.reason),
      service: matching(fields.service, 'body.service', SERVICE, 'the name of a service'),
      type,
    }
  }
  if (type === 'object.act' || type === 'access.put' || type === 'access.remove')
    return parseObjectStatement(type, value, READERS)
  if (isEnrolmentType(type)) return parseEnrolmentStatement(value, type, READERS)
  if (isFleetType(type)) return parseFleetStatement(value, type, READERS)
  if (type === 'person.put' || type === 'person.reset' || type === 'person.remove' || type === 'person.enrol')
    return parsePersonStatement(type, value, malformed, reason)
  if (type === 'disk.seal') {
    const fields = record(value, 'body', ['capsule', 'machine', 'type'])
    const capsule = base64urlWithin(fields.capsule, 'body.capsule', DISK_CAPSULE_CHARS_MAX)
    return { capsule, machine: base64url(fields.machine, 'body.machine', 32), type }
  }
  if (type === 'node.wipe') {
    const fields = record(value, 'body', ['id', 'reason', 'type'])
    return { id: matching(fields.id, 'body.id', NODE_ID, 'the id of a node'), reason: reason(fields.reason), type }
  }
  if (type === 'node.wiped') {
    const fields = record(value, 'body', ['id', 'receipt', 'signature', 'type'])
    const receipt = record(fields.receipt, 'body.receipt', ['atMs', 'bytes', 'files'])
    return {
      id: matching(fields.id, 'body.id', GENESIS_ID, 'the id of a node'),
      receipt: {
        atMs: whole(receipt.atMs, 'body.receipt.atMs'),
        bytes: whole(receipt.bytes, 'body.receipt.bytes'),
        files: whole(receipt.files, 'body.receipt.files'),
      },
      signature: base64url(fields.signature, 'body.signature', 64),
      type,
    }
  }
  throw new TxMalformed(`body.type must be one of ${TX_TYPES.join(', ')}`)
}

function malformed(where: string, expected: string): never {
  throw new TxMalformed(`${where} must be ${expected}`)
}

const leaseId = (value: unknown): string => matching(value, 'body.id', ACCOUNT_KEY, '32 hex digits')

function passOf(fields: Record<string, unknown>): { readonly pass?: SignedPass } {
  if (!Object.hasOwn(fields, 'pass')) return {}
  const pass = record(fields.pass, 'body.pass', ['key', 'signature', 'token'])
  const token = bounded(pass.token, 'body.pass.token', 1, PASS_TOKEN_CHARS_MAX)
  return {
    pass: {
      key: base64url(pass.key, 'body.pass.key', 32),
      signature: base64url(pass.signature, 'body.pass.signature', 64),
      token: matching(token, 'body.pass.token', RING_TOKEN, 'a token of the ring'),
    },
  }
}

function secretName(value: unknown): string {
  const text = bounded(value, 'body.name', 1, SECRET_NAME_CHARS_MAX)
  return matching(text, 'body.name', SECRET_NAME, SECRET_NAME_EXPECTED)
}

/** Ascending: one spelling. */
function versions(value: unknown): readonly number[] {
  if (!Array.isArray(value) || value.length > DELETED_VERSIONS_MAX)
    throw new TxMalformed(`body.versions must be a list of at most ${DELETED_VERSIONS_MAX}`)
  const list = value.map((one: unknown) => whole(one, 'body.versions'))
  if (list.some((one, at) => at > 0 && one <= (list[at - 1] as number)))
    throw new TxMalformed('body.versions must ascend, without repeats')
  return list
}

function keyName(value: unknown): 'signing' | 'sealing' {
  if (value === 'signing' || value === 'sealing') return value
  throw new TxMalformed('body.key must be signing or sealing')
}

function parseNode(value: unknown): RingNode {
  const fields = record(value, 'body.node', ['address', 'id', 'publicKey', 'region', 'roles'])
  return {
    address: matching(fields.address, 'body.node.address', ADDRESS, 'HOST:PORT'),
    id: matching(fields.id, 'body.node.id', NODE_ID, '1 to 32 lower-case letters, digits and hyphens'),
    publicKey: base64url(fields.publicKey, 'body.node.publicKey', 32),
    region: printable(fields.region, 'body.node.region', 1, 63),
    roles: parseRoles(fields.roles, 'body.node.roles'),
  }
}

function parseRoles(roles: unknown, where: string): RingNode['roles'] {
  if (!Array.isArray(roles) || roles.length === 0 || roles.length > 2 || new Set(roles).size !== roles.length) {
    throw new TxMalformed(`${where} must be validator, edge, or both`)
  }
  return roles.map((role: unknown) => {
    if (role === 'validator' || role === 'edge') return role
    throw new TxMalformed(`${where} must be validator, edge, or both`)
  })
}

const STATEMENT_KINDS = ['notarize', 'nullify', 'finalize', 'proposal'] as const

function parseStatement(value: unknown, where: string): SignedStatement {
  const fields = record(value, where, ['digest', 'kind', 'signature'])
  const kind = STATEMENT_KINDS.find((known) => known === fields.kind)
  if (kind === undefined) throw new TxMalformed(`${where}.kind must be one of ${STATEMENT_KINDS.join(', ')}`)
  if (kind === 'nullify' && fields.digest !== null)
    throw new TxMalformed(`${where}.digest must be null: a nullify vote names no block`)
  const digest = kind === 'nullify' ? null : matching(fields.digest, `${where}.digest`, HASH, '64 hex digits')
  return { digest, kind, signature: base64url(fields.signature, `${where}.signature`, 64) }
}

/** In the one order in which evidence is written. */
export function orderStatements(a: SignedStatement, b: SignedStatement): readonly [SignedStatement, SignedStatement] {
  const rank = ({ kind, digest }: SignedStatement) => `${STATEMENT_KINDS.indexOf(kind)} ${digest ?? ''}`
  return rank(a) <= rank(b) ? [a, b] : [b, a]
}

/** @throws {TxMalformed} When the value is not exactly one subject. The spelling of addresses is a matter of meaning. */
export function parseSubject(value: unknown): DenialSubject {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
  if (kind === 'account') {
    const fields = record(value, 'subject', ['kind', 'service', 'value'])
    return {
      kind,
      service: matching(fields.service, 'subject.service', SERVICE, 'the name of a service'),
      value: matching(fields.value, 'subject.value', ACCOUNT_KEY, '32 hex digits, as accountKey gives them'),
    }
  }
  if (kind === 'ip' || kind === 'cidr') {
    const fields = record(value, 'subject', ['kind', 'value'])
    return { kind, value: printable(fields.value, 'subject.value', 1, 50) }
  }
  if (kind === 'token' || kind === 'subject' || kind === 'session' || kind === 'device') {
    const fields = record(value, 'subject', ['kind', 'value'], ['issuer'])
    return { ...scopeOf(fields, 'issuer'), kind, value: printable(fields.value, 'subject.value', 1, VALUE_CHARS_MAX) }
  }
  if (kind === 'key') {
    const fields = record(value, 'subject', ['kind', 'value'])
    return { kind, value: base64url(fields.value, 'subject.value', 32) }
  }
  if (kind === 'issuer') {
    const fields = record(value, 'subject', ['kind', 'value'])
    return { kind, value: printable(fields.value, 'subject.value', 1, VALUE_CHARS_MAX) }
  }
  if (kind === 'issued-before') {
    const fields = record(value, 'subject', ['kind', 'value'], ['issuer', 'subject'])
    return { ...scopeOf(fields, 'issuer'), kind, ...scopeOf(fields, 'subject'), value: moment(fields.value, 'subject.value') }
  }
  throw new TxMalformed('subject.kind must be ip, cidr, token, subject, session, device, key, issuer, issued-before or account')
}

function scopeOf<K extends 'issuer' | 'subject'>(fields: Record<string, unknown>, key: K): Partial<Readonly<Record<K, string>>> {
  if (!Object.hasOwn(fields, key)) return {}
  return { [key]: printable(fields[key], `subject.${key}`, 1, VALUE_CHARS_MAX) } as Partial<Readonly<Record<K, string>>>
}

/** One spelling: `2027-01-31T12:00:00.000Z`. */
function moment(value: unknown, where: string): string {
  const text = matching(value, where, /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$/, MOMENT)
  const ms = Date.parse(text)
  if (Number.isNaN(ms) || new Date(ms).toISOString() !== text) throw new TxMalformed(`${where} must be ${MOMENT}`)
  return text
}

function record(
  value: unknown,
  where: string,
  keys: readonly string[],
  optional: readonly string[] = [],
): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TxMalformed(`${where} must be an object`)
  let count = 0
  for (const key in value) {
    if (keys.includes(key)) count += 1
    else if (!optional.includes(key)) throw new TxMalformed(`${where} has a key that is not known`)
  }
  // None comes twice: with as many as there are to be, none is missing.
  if (count !== keys.length)
    for (const key of keys) if (!Object.hasOwn(value, key)) throw new TxMalformed(`${where}.${key} is missing`)
  return value as Record<string, unknown>
}

function bounded(value: unknown, where: string, min: number, max: number): string {
  if (typeof value !== 'string') throw new TxMalformed(`${where} must be text`)
  if (value.length < min || value.length > max) throw new TxMalformed(`${where} must have ${min} to ${max} characters`)
  return value
}

function printable(value: unknown, where: string, min: number, max: number): string {
  const text = bounded(value, where, min, max)
  if (!PRINTABLE.test(text)) throw new TxMalformed(`${where} must be one printable line`)
  return text
}

function reason(value: unknown): string {
  const text = printable(value, 'body.reason', 1, REASON_CHARS_MAX)
  if (text.trim() === '') throw new TxMalformed('body.reason must say something')
  return text
}

function matching(value: unknown, where: string, pattern: RegExp, expected: string): string {
  if (typeof value !== 'string' || !pattern.test(value)) throw new TxMalformed(`${where} must be ${expected}`)
  return value
}

function whole(value: unknown, where: string): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) {
    throw new TxMalformed(`${where} must be a whole number, 0 or more`)
  }
  return value
}

function base64urlWithin(value: unknown, where: string, charsMax: number): string {
  const text = bounded(value, where, 1, charsMax)
  try {
    decodeBase64url(text)
    return text
  } catch (cause) {
    throw new TxMalformed(`${where} must be base64url`, { cause })
  }
}

function base64url(value: unknown, where: string, bytes: number): string {
  if (typeof value === 'string' && isBase64url(value, bytes)) return value
  throw new TxMalformed(`${where} must be ${bytes} bytes in base64url`)
}

const READERS: StatementReaders = {
  record: (value, where, keys, optional) => record(value, where, keys, optional),
  whole,
  base64url,
  matching,
  printable,
  bounded,
  reason,
  node: parseNode,
  roles: parseRoles,
  fail: (reason) => {
    throw new TxMalformed(reason)
  },
}

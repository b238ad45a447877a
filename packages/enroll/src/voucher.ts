/**
 * Ownership vouchers: the manufacturer says whose a device is, and each owner in turn says who owns it next; the last entry names a ring.
 *
 * The first entry is a voucher as in RFC 8366 (its names of members, JSON of RFC 7951) in a general JWS (RFC 7515 section 7.2.1), the form of
 * draft-ietf-anima-jws-voucher. Where it differs: `pinned-domain-cert` is absent, since a ring is known by its genesis document and not by
 * a certificate; it names the device's key and the first owner's instead. Later entries are of our own: each is signed by the owner before
 * and names that entry's hash, so that a chain has one reading and no entry can be taken out of the middle.
 */
import { createHash, type KeyObject, sign } from 'node:crypto'
import { VOUCHER_CHARS_MAX, type VoucherFacts, type VoucherReader } from '@ringwall/ring'
import { decodeBase64url, EncodingInvalid, encodeBase64url, fieldReaders } from '@ringwall/ring/tx'
import { VoucherInvalid } from './errors.ts'
import { INVITATION_PEERS_MAX, type RingAddress } from './invitation.ts'

const FORMAT = 'ringwall/voucher/1'
const VOUCHER_TYPE = 'voucher-jws+json'
const TRANSFER_TYPE = 'ringwall-transfer-jws+json'
export const TRANSFERS_MAX = 16

const KEY = /^[A-Za-z0-9_-]{43}$/
const SERIAL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/
const HASH = /^[0-9a-f]{64}$/
const MOMENT = /^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,3})?Z$/
const ADDRESS = /^(?:[A-Za-z0-9.-]{1,200}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}$/

interface Entry {
  readonly payload: string
  readonly protected: string
  readonly signature: string
}

/** What a whole chain says. */
export interface Voucher extends VoucherFacts {
  readonly createdAtMs: number
  /** Of the authority that its certificate is from: base64. */
  readonly idevidIssuer: string | null
  /** Where the ring is found. */
  readonly addresses: readonly RingAddress[]
}

export interface NewVoucher {
  readonly serial: string
  /** Raw Ed25519, base64url each. */
  readonly deviceKey: string
  readonly owner: string
  readonly manufacturer: KeyObject
  readonly idevidIssuer?: string
  /** SHA-256 of the public area of its TPM's endorsement key: lower-case hex. */
  readonly ek?: string
  readonly createdAtMs: number
  readonly expiresAtMs?: number
}

/** To whom a device goes. */
export interface NewOwner {
  readonly owner: string
  /** With the ring, where it is found. */
  readonly ring?: string
  readonly addresses?: readonly RingAddress[]
  readonly createdAtMs: number
}

type Verify = Parameters<VoucherReader>[1]

const read = fieldReaders((where, expected): never => {
  throw new VoucherInvalid(`${where} must be ${expected}`)
})

function rawKey(privateKey: KeyObject): string {
  return String(privateKey.export({ format: 'jwk' }).x)
}

function jws(header: object, payload: object, key: KeyObject): Entry {
  const part = (value: object): string => encodeBase64url(Buffer.from(JSON.stringify(value)))
  const [head, body] = [part(header), part(payload)]
  return { payload: body, protected: head, signature: encodeBase64url(sign(null, Buffer.from(`${head}.${body}`), key)) }
}

function entryHash(entry: Entry): string {
  return createHash('sha256').update(`${entry.protected}.${entry.payload}.${entry.signature}`).digest('hex')
}

function textOf(entries: readonly Entry[]): string {
  const [voucher, ...transfers] = entries.map(({ payload, ...signature }) => ({ payload, signatures: [signature] }))
  return JSON.stringify({ format: FORMAT, voucher, transfers })
}

const moment = (ms: number): string => new Date(ms).toISOString()

/** The first entry, by who made the device. */
export function makeVoucher(given: NewVoucher): string {
  const { serial, deviceKey, owner, manufacturer, idevidIssuer, ek, createdAtMs, expiresAtMs } = given
  const header = { alg: 'EdDSA', typ: VOUCHER_TYPE, jwk: { kty: 'OKP', crv: 'Ed25519', x: rawKey(manufacturer) } }
  const voucher = {
    'created-on': moment(createdAtMs),
    ...(expiresAtMs === undefined ? {} : { 'expires-on': moment(expiresAtMs) }),
    assertion: 'verified',
    'serial-number': serial,
    ...(idevidIssuer === undefined ? {} : { 'idevid-issuer': idevidIssuer }),
    'ringwall:device-key': deviceKey,
    'ringwall:owner': owner,
    ...(ek === undefined ? {} : { 'ringwall:ek-sha256': ek }),
  }
  return textOf([jws(header, { 'ietf-voucher:voucher': voucher }, manufacturer)])
}

/**
 * The chain with another entry.
 *
 * @throws {VoucherInvalid} Also when the key is not the owner's.
 */
export function passOn(text: string, key: KeyObject, to: NewOwner, verify: Verify): string {
  const { serial, owner, entries } = parseVoucher(text, verify)
  if (rawKey(key) !== owner) throw new VoucherInvalid('this key is not its owner’s: nobody else passes the device on')
  if (entries.length > TRANSFERS_MAX) throw new VoucherInvalid(`it changed hands ${TRANSFERS_MAX} times already`)
  const transfer = {
    'created-on': moment(to.createdAtMs),
    'serial-number': serial,
    previous: entries.at(-1),
    owner: to.owner,
    ...(to.ring === undefined ? {} : { ring: to.ring, addresses: to.addresses ?? [] }),
  }
  const entry = jws({ alg: 'EdDSA', typ: TRANSFER_TYPE }, { 'ringwall:transfer': transfer }, key)
  const next = textOf([...entriesOf(text), entry])
  parseVoucher(next, verify)
  return next
}

/** @throws {VoucherInvalid} Naming what does not hold. Whether it has expired is for who knows the time. */
export function parseVoucher(text: string, verify: Verify): Voucher {
  const [first, ...transfers] = entriesOf(text)
  if (first === undefined) throw new VoucherInvalid('it has no entry')
  let voucher = firstOf(first, verify)
  for (const [at, entry] of transfers.entries()) voucher = withTransfer(voucher, entry, `transfers.${at}`, verify)
  return voucher
}

/** For the ring: the same to every validator, whatever the text. */
export const readVoucher: VoucherReader = (text, verify) => {
  try {
    const { serial, key, manufacturer, owner, ring, expiresAtMs, ek, entries } = parseVoucher(text, verify)
    return { ok: true, voucher: { serial, key, manufacturer, owner, ring, expiresAtMs, ek, entries } }
  } catch (error) {
    if (error instanceof VoucherInvalid) return { ok: false, reason: error.reason }
    throw error
  }
}

function json(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw new VoucherInvalid(`${where} is no JSON`)
  }
}

function entriesOf(text: string): readonly Entry[] {
  if (text.length > VOUCHER_CHARS_MAX) throw new VoucherInvalid(`it is longer than ${VOUCHER_CHARS_MAX} characters`)
  const { format, voucher, transfers } = read.record(json(text, 'it'), 'it', ['format', 'voucher', 'transfers'])
  if (format !== FORMAT) throw new VoucherInvalid(`its format is not ${FORMAT}`)
  if (!Array.isArray(transfers) || transfers.length > TRANSFERS_MAX)
    throw new VoucherInvalid(`transfers must be a list of at most ${TRANSFERS_MAX}`)
  return [voucher, ...transfers].map((entry, at) => entryOf(entry, at === 0 ? 'voucher' : `transfers.${at - 1}`))
}

function entryOf(value: unknown, where: string): Entry {
  const { payload, signatures } = read.record(value, where, ['payload', 'signatures'])
  if (!Array.isArray(signatures) || signatures.length !== 1) throw new VoucherInvalid(`${where}.signatures must be a list of one`)
  const signature = read.record(signatures[0], `${where}.signatures.0`, ['protected', 'signature'])
  return {
    payload: read.bytes(payload, `${where}.payload`, 2, 8_192),
    protected: read.bytes(signature.protected, `${where}.protected`, 2, 1_024),
    signature: read.bytes(signature.signature, `${where}.signature`, 64, 64),
  }
}

/** Header and payload, unchecked. */
function opened({ payload, protected: head }: Entry, where: string): readonly [header: unknown, payload: unknown] {
  const parsed = (text: string): unknown => json(Buffer.from(decodeBase64url(text)).toString('utf8'), where)
  return [parsed(head), parsed(payload)]
}

function isSignedBy(entry: Entry, key: string, verify: Verify): boolean {
  const message = Buffer.from(`${entry.protected}.${entry.payload}`)
  return verify(decodeBase64url(key), message, decodeBase64url(entry.signature))
}

function keyAt(value: unknown, where: string): string {
  const text = read.text(value, where, KEY, 'an Ed25519 public key: 32 bytes in base64url')
  try {
    if (decodeBase64url(text).length === 32) return text
  } catch (error) {
    if (!(error instanceof EncodingInvalid)) throw error
  }
  throw new VoucherInvalid(`${where} must be an Ed25519 public key: 32 bytes in base64url`)
}

function momentAt(value: unknown, where: string): number {
  const ms = Date.parse(read.text(value, where, MOMENT, 'a moment such as 2027-01-31T12:00:00Z'))
  if (Number.isNaN(ms)) throw new VoucherInvalid(`${where} must be a moment such as 2027-01-31T12:00:00Z`)
  return ms
}

/** A record of some members that must and some that may be there. */
function members(value: unknown, where: string, must: readonly string[], may: readonly string[]): Record<string, unknown> {
  const held = typeof value === 'object' && value !== null ? may.filter((key) => Object.hasOwn(value, key)) : []
  return read.record(value, where, [...must, ...held])
}

function firstOf(entry: Entry, verify: Verify): Voucher {
  const [header, payload] = opened(entry, 'voucher')
  const { alg, typ, jwk } = read.record(header, 'voucher.protected', ['alg', 'typ', 'jwk'])
  if (alg !== 'EdDSA' || typ !== VOUCHER_TYPE) throw new VoucherInvalid(`the voucher must be a ${VOUCHER_TYPE} by EdDSA`)
  const { kty, crv, x } = read.record(jwk, 'voucher.protected.jwk', ['kty', 'crv', 'x'])
  if (kty !== 'OKP' || crv !== 'Ed25519') throw new VoucherInvalid('the manufacturer’s key must be Ed25519')
  const manufacturer = keyAt(x, 'voucher.protected.jwk.x')
  if (!isSignedBy(entry, manufacturer, verify)) throw new VoucherInvalid('the manufacturer’s signature does not verify')
  const outer = read.record(payload, 'voucher.payload', ['ietf-voucher:voucher'])
  const said = members(
    outer['ietf-voucher:voucher'],
    'voucher',
    ['created-on', 'assertion', 'serial-number', 'ringwall:device-key', 'ringwall:owner'],
    ['expires-on', 'idevid-issuer', 'ringwall:ek-sha256'],
  )
  if (said.assertion !== 'verified') throw new VoucherInvalid('its assertion must be verified')
  const expires = said['expires-on']
  const issuer = said['idevid-issuer']
  const ek = said['ringwall:ek-sha256']
  return {
    serial: read.text(said['serial-number'], 'serial-number', SERIAL, '1 to 64 letters, digits, dots, hyphens'),
    key: keyAt(said['ringwall:device-key'], 'ringwall:device-key'),
    manufacturer,
    owner: keyAt(said['ringwall:owner'], 'ringwall:owner'),
    ring: null,
    createdAtMs: momentAt(said['created-on'], 'created-on'),
    expiresAtMs: expires === undefined ? null : momentAt(expires, 'expires-on'),
    idevidIssuer: issuer === undefined ? null : read.text(issuer, 'idevid-issuer', /^[A-Za-z0-9+/]{4,128}={0,2}$/, 'base64'),
    ek: ek === undefined ? null : read.text(ek, 'ringwall:ek-sha256', HASH, '64 hex digits'),
    entries: [entryHash(entry)],
    addresses: [],
  }
}

function withTransfer(voucher: Voucher, entry: Entry, where: string, verify: Verify): Voucher {
  const [header, payload] = opened(entry, where)
  const { alg, typ } = read.record(header, `${where}.protected`, ['alg', 'typ'])
  if (alg !== 'EdDSA' || typ !== TRANSFER_TYPE) throw new VoucherInvalid(`${where} must be a ${TRANSFER_TYPE} by EdDSA`)
  if (!isSignedBy(entry, voucher.owner, verify)) throw new VoucherInvalid(`${where} is not signed by the owner before`)
  const outer = read.record(payload, where, ['ringwall:transfer'])
  const said = members(
    outer['ringwall:transfer'],
    where,
    ['created-on', 'serial-number', 'previous', 'owner'],
    ['ring', 'addresses'],
  )
  if (said['serial-number'] !== voucher.serial) throw new VoucherInvalid(`${where} is of another device`)
  if (said.previous !== voucher.entries.at(-1)) throw new VoucherInvalid(`${where} does not follow the entry before it`)
  momentAt(said['created-on'], `${where}.created-on`)
  const ring = said.ring === undefined ? null : read.text(said.ring, `${where}.ring`, HASH, 'the hash of a genesis document')
  if ((ring === null) !== (said.addresses === undefined)) throw new VoucherInvalid(`${where}: addresses go with a ring`)
  return {
    ...voucher,
    owner: keyAt(said.owner, `${where}.owner`),
    ring,
    entries: [...voucher.entries, entryHash(entry)],
    addresses: said.addresses === undefined ? [] : addressesAt(said.addresses, `${where}.addresses`),
  }
}

function addressesAt(value: unknown, where: string): readonly RingAddress[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > INVITATION_PEERS_MAX)
    throw new VoucherInvalid(`${where} must be a list of 1 to ${INVITATION_PEERS_MAX}`)
  return value.map((one: unknown, at) => {
    const { address, key } = read.record(one, `${where}.${at}`, ['address', 'key'])
    return {
      address: read.text(address, `${where}.${at}.address`, ADDRESS, 'HOST:PORT'),
      key: keyAt(key, `${where}.${at}.key`),
    }
  })
}

/**
 * Devices that are no nodes and get certificates from the ring (EST, RFC 7030): which key has which name. Who may have a certificate is agreed on here,
 * so that every holder of the ring's key knows it by itself; what is in the certificate follows from that.
 */
import { canonicalJson } from './canonical-json.ts'
import { decodeBase64url, encodeBase64url, encodeUtf8 } from './encoding.ts'
import type { StatementReaders } from './enrolment-parse.ts'
import type { EnrolmentMeans } from './enrolment-statements.ts'
import type { Meeting, Refusal } from './meaning.ts'
import { ringIssuer } from './token-revocation.ts'
import { portableSha256 } from './tx.ts'
import type { DenialSubject } from './types.ts'

export const EST_CLIENTS_MAX = 1_000
export const EST_SECRETS_MAX = 1_000
const SECRET_TTL_MS = { least: 10_000, most: 604_800_000 } as const
const CSR_CHARS_MAX = 5_462
const NAME = /^[a-z0-9][a-z0-9._-]{0,62}$/
const HASH = /^[0-9a-f]{64}$/
/** Of a raw Ed25519 key in SubjectPublicKeyInfo (RFC 8410). */
const SPKI_ED25519_BYTES = 12
const SECRET_DOMAIN = 'RINGWALL_EST_SECRET_V1\n'

export interface EstClient {
  readonly name: string
  /** SubjectPublicKeyInfo in DER, base64url: Ed25519 or P-256. */
  readonly publicKey: string
  /** What let it in. */
  readonly by: 'secret' | 'idevid'
  readonly atMs: number
}

/** Lets one key have a name, once. */
export interface EstSecret {
  readonly name: string
  /** `estSecretHash` of it, lower-case hex. */
  readonly hash: string
  readonly expiresAtMs: number
}

/** Each list in order of name. */
export interface EstClients {
  readonly clients: readonly EstClient[]
  readonly secrets: readonly EstSecret[]
}

export const NO_EST_CLIENTS: EstClients = { clients: [], secrets: [] }

export type EstStatement =
  /** Of operators. */
  | {
      readonly type: 'est.invite'
      readonly name: string
      readonly reason: string
      /** The hash of the secret. */
      readonly secret: string
      readonly ttlMs: number
    }
  /** Of a node, for the device: its request for a certificate (PKCS#10, DER, base64url), and the secret; null: its key is a registered device's. */
  | { readonly type: 'est.enrol'; readonly csr: string; readonly name: string; readonly secret: string | null }
  /** Of operators: gets no more certificates, and those that it has count no more. */
  | { readonly type: 'est.revoke'; readonly name: string; readonly reason: string }

export const EST_TYPES: readonly EstStatement['type'][] = ['est.invite', 'est.enrol', 'est.revoke']

export type EstRefusalCode = 'CSR_INVALID' | 'EST_SECRET' | 'EST_UNKNOWN' | 'EST_FULL' | 'EST_NAME' | 'CSR_UNSUPPORTED'

/** What a request says, once the signature by its own key was checked. */
export type CsrReading =
  | { readonly ok: true; readonly publicKey: string; readonly commonName: string | null }
  | { readonly ok: false; readonly reason: string }

/** Reads requests for certificates, for the ring. Deterministic. @param csr PKCS#10 in DER, base64url. */
export type CsrReader = (csr: string) => CsrReading

const hashes = new WeakMap<EstClients, string>()

export function estHash(clients: EstClients): string {
  let hash = hashes.get(clients)
  if (hash === undefined) {
    hash = portableSha256(encodeUtf8(canonicalJson(clients)))
    hashes.set(clients, hash)
  }
  return hash
}

/** Of 32 random bytes, base64url: nobody finds them by trying. */
export function estSecretHash(secret: string): string {
  return portableSha256(encodeUtf8(SECRET_DOMAIN + secret))
}

export function isEstType(type: unknown): type is EstStatement['type'] {
  return (EST_TYPES as readonly unknown[]).includes(type)
}

/** As certificates of such a device name it. */
export function estSubject(ring: string, name: string): DenialSubject {
  return { issuer: ringIssuer(ring), kind: 'subject', value: `spiffe://${ring}/device/${name}` }
}

export function parseEstStatement(value: unknown, type: EstStatement['type'], read: StatementReaders): EstStatement {
  const name = (given: unknown): string =>
    read.matching(given, 'body.name', NAME, 'a name: lower-case letters, digits, dots, hyphens')
  if (type === 'est.invite') {
    const fields = read.record(value, 'body', ['name', 'reason', 'secret', 'ttlMs', 'type'])
    return {
      name: name(fields.name),
      reason: read.reason(fields.reason),
      secret: read.matching(fields.secret, 'body.secret', HASH, '64 hex digits'),
      ttlMs: read.whole(fields.ttlMs, 'body.ttlMs'),
      type,
    }
  }
  if (type === 'est.enrol') {
    const fields = read.record(value, 'body', ['csr', 'name', 'secret', 'type'])
    const csr = read.matching(read.bounded(fields.csr, 'body.csr', 1, CSR_CHARS_MAX), 'body.csr', /^[A-Za-z0-9_-]+$/, 'base64url')
    const secret = fields.secret === null ? null : read.base64url(fields.secret, 'body.secret', 32)
    return { csr, name: name(fields.name), secret, type }
  }
  const fields = read.record(value, 'body', ['name', 'reason', 'type'])
  return { name: name(fields.name), reason: read.reason(fields.reason), type }
}

const refuse = (code: EstRefusalCode | 'TTL_OUT_OF_RANGE', reason: string): Refusal => ({ code, reason })

export function refusalOfEst(meeting: Meeting, body: EstStatement, means: Pick<EnrolmentMeans, 'csr'>): Refusal | undefined {
  const { state, nowMs } = meeting
  const { clients, secrets } = state.enrolment.est
  if (body.type === 'est.revoke')
    return clients.some(({ name }) => name === body.name)
      ? undefined
      : refuse('EST_UNKNOWN', `nothing that is called ${body.name} has a certificate; ringwall device certificates lists them`)
  if (body.type === 'est.enrol') return refusalOfEnrolment(meeting, body, means)
  if (body.ttlMs < SECRET_TTL_MS.least || body.ttlMs > SECRET_TTL_MS.most)
    return refuse('TTL_OUT_OF_RANGE', `a secret stands for 10 s to 7 days, not ${body.ttlMs / 1_000} s`)
  if (secrets.filter(({ expiresAtMs, name }) => expiresAtMs > nowMs && name !== body.name).length >= EST_SECRETS_MAX)
    return refuse('EST_FULL', `${EST_SECRETS_MAX} secrets are open; they end by themselves`)
  return undefined
}

type Enrol = Extract<EstStatement, { type: 'est.enrol' }>

function refusalOfEnrolment({ state, nowMs }: Meeting, body: Enrol, { csr }: Pick<EnrolmentMeans, 'csr'>): Refusal | undefined {
  if (csr === undefined) return refuse('CSR_UNSUPPORTED', 'this node reads no requests for certificates')
  const read = csr(body.csr)
  if (!read.ok) return refuse('CSR_INVALID', `the request is not valid: ${read.reason}`)
  if (read.commonName !== null && read.commonName !== body.name)
    return refuse(
      'EST_NAME',
      `the request is for ${read.commonName.slice(0, 64)}, and is to be for ${body.name}: leave the subject empty, or name it so`,
    )
  const { clients, secrets } = state.enrolment.est
  if (!clients.some(({ name }) => name === body.name) && clients.length >= EST_CLIENTS_MAX)
    return refuse(
      'EST_FULL',
      `${EST_CLIENTS_MAX} devices have certificates of this ring, which is all that it remembers; revoke some`,
    )
  if (body.secret !== null) {
    const open = secrets.find(({ name }) => name === body.name)
    if (open === undefined || open.expiresAtMs <= nowMs || open.hash !== estSecretHash(body.secret))
      return refuse(
        'EST_SECRET',
        `this secret lets nobody be ${body.name}: it is another, has expired, or was used. Ask an operator: ringwall device certificate`,
      )
    return undefined
  }
  const device = state.enrolment.deviceWithKey(rawEd25519(read.publicKey))
  if (device === undefined || (device.status !== 'registered' && device.status !== 'joined'))
    return refuse(
      'EST_UNKNOWN',
      'the request is not by the key of a device that is registered; a device of others takes a one-time secret',
    )
  if (device.serial.toLowerCase() === body.name) return undefined
  return refuse(
    'EST_NAME',
    `this is the key of ${device.serial}, which is called ${device.serial.toLowerCase()} here, not ${body.name}`,
  )
}

/** Of another kind of key: something that no device has. */
function rawEd25519(spki: string): string {
  return encodeBase64url(decodeBase64url(spki).subarray(SPKI_ED25519_BYTES))
}

const byName = <T extends { readonly name: string }>(list: readonly T[]): readonly T[] =>
  [...list].sort((a, b) => (a.name < b.name ? -1 : 1))

export function withEst(est: EstClients, body: EstStatement, nowMs: number, { csr }: Pick<EnrolmentMeans, 'csr'>): EstClients {
  const { name } = body
  const secrets = est.secrets.filter((one) => one.name !== name && one.expiresAtMs > nowMs)
  const clients = est.clients.filter((one) => one.name !== name)
  if (body.type === 'est.revoke') return { clients, secrets }
  if (body.type === 'est.invite')
    return { clients: est.clients, secrets: byName([...secrets, { expiresAtMs: nowMs + body.ttlMs, hash: body.secret, name }]) }
  const read = csr?.(body.csr)
  if (read?.ok !== true) return est
  const by = body.secret === null ? 'idevid' : 'secret'
  return { clients: byName([...clients, { atMs: nowMs, by, name, publicKey: read.publicKey }]), secrets }
}

/**
 * Who may have what signed by the ring's key, and the bytes to sign. Each holder of a share asks this of its own view before it signs:
 * what a coordinator says is not believed, and no bytes are signed that were not made here.
 *
 * Operators may ask for tokens and SVIDs of services; services that have an SVID for more, and for plain tokens, of themselves; nodes for SVIDs of
 * themselves, and of the services that the policy says they have workloads of; anybody for the ring's own certificate, in which there is
 * nothing to choose. An SVID that a node asked for names it, and is worth something here only as long as that node may have it: it renews
 * nothing, so that what a stolen node took with it ends.
 */
import { createPublicKey, hash, X509Certificate } from 'node:crypto'
import {
  type DevicesPolicy,
  judgePass,
  mayAttest,
  mayUseTransit,
  ringIssuer,
  type ServicePass,
  type TransitKeys,
  transitKey,
  transitPlace,
  transitSignedBytes,
  type VaultPolicy,
  type View,
  type WorkloadsPolicy,
  workloadOf,
} from '@ringwall/ring'
import { canonicalJson, decodeBase64url, EncodingInvalid } from '@ringwall/ring/tx'
import {
  type MintRequest,
  mintSigningBytes,
  parseAsker,
  type SignedMintRequest,
  type SvidWanted,
  svidProofBytes,
  type TransitWanted,
} from './mint-request.ts'
import { verifiesEd25519, verifiesSpki } from './signature-memo.ts'
import { type Authority, attestingNode, authorityToSign, SVID_BACKDATED_MS, spiffeId, subjectKey, svidToSign } from './svid.ts'

/** How old a request may be, and how far ahead its signer's clock. */
export const MINT_REQUEST_MS_MAX = 60_000

export type MintRefusalCode =
  | 'MINT_NO_KEY'
  | 'MINT_OTHER_RING'
  | 'MINT_STALE'
  | 'MINT_ISSUER_UNKNOWN'
  | 'MINT_SIGNATURE'
  | 'MINT_NOT_ENTITLED'
  | 'MINT_DENIED'
  | 'MINT_KEY'
  | 'MINT_PROOF'
  | 'MINT_CERTIFICATE'
  | 'MINT_PERSON'
  | 'MINT_TRANSIT'

export interface MintRefusal {
  readonly ok: false
  readonly code: MintRefusalCode
  readonly reason: string
}

/** What a request comes to. `message` is what is signed. */
export interface Mintable {
  readonly ok: true
  readonly message: Uint8Array
}

/** Of the view, what minting looks at. */
export type MintView = Pick<View, 'ring' | 'operators' | 'nodes' | 'denials' | 'signingKey' | 'trust' | 'ages' | 'certified'> & {
  readonly policy: WorkloadsPolicy & { readonly vault?: VaultPolicy; readonly devices?: Pick<DevicesPolicy, 'est'> }
  /** Without: nothing is signed by any of them. */
  readonly transit?: TransitKeys
}

const refuse = (code: MintRefusalCode, reason: string): MintRefusal => ({ ok: false, code, reason })

/** A key of the ring as a JSON Web Key; its id is its thumbprint (RFC 7638). @param key Ed25519, raw, base64url. */
export function ringJwk(key: string): {
  readonly kty: 'OKP'
  readonly crv: 'Ed25519'
  readonly x: string
  readonly kid: string
  readonly alg: 'EdDSA'
  readonly use: 'sig'
} {
  return { kty: 'OKP', crv: 'Ed25519', x: key, kid: ringKeyId(key), alg: 'EdDSA', use: 'sig' }
}

let lastKeyId = { key: '', id: '' }

function ringKeyId(key: string): string {
  if (lastKeyId.key !== key) {
    const id = Buffer.from(hash('sha256', `{"crv":"Ed25519","kty":"OKP","x":"${key}"}`, 'buffer')).toString('base64url')
    lastKeyId = { key, id }
  }
  return lastKeyId.id
}

/** The ring as an issuer of certificates; undefined as long as it has no key. */
export function authorityOf({ ring, signingKey }: Pick<MintView, 'ring' | 'signingKey'>): Authority | undefined {
  if (signingKey.key === undefined) return undefined
  return { ring, key: decodeBase64url(signingKey.key), madeAtMs: signingKey.madeAtMs }
}

/** The ring's own certificate: what it says follows from the view. */
export function checkAuthority(view: MintView): Mintable | MintRefusal {
  const authority = authorityOf(view)
  return authority === undefined ? noKey() : { ok: true, message: authorityToSign(authority) }
}

function noKey(): MintRefusal {
  return refuse('MINT_NO_KEY', 'the ring has no signing key (yet): ringwall key ls shows how it stands')
}

export function checkMint({ request, signature }: SignedMintRequest, view: MintView, nowMs: number): Mintable | MintRefusal {
  const authority = authorityOf(view)
  if (authority === undefined) return noKey()
  const { ring, issuer, atMs, want } = request
  if (ring !== view.ring)
    return refuse('MINT_OTHER_RING', `it is for the ring ${ring.slice(0, 12)}, this is ${view.ring.slice(0, 12)}`)
  if (Math.abs(nowMs - atMs) > MINT_REQUEST_MS_MAX) {
    const s = Math.round((nowMs - atMs) / 1_000)
    return refuse(
      'MINT_STALE',
      `it was signed ${s} s ago by this node’s clock, ${MINT_REQUEST_MS_MAX / 1_000} s are allowed: sign anew, or set the clock`,
    )
  }
  const asker = parseAsker(issuer)
  if (asker === undefined) return unknown(issuer)
  const signed = mintSigningBytes(request)
  const untrue = askerRefusal(request, signed, signature, view, nowMs)
  if (untrue !== undefined) return untrue
  if (asker.kind === 'node') {
    const untold = nodeRefusal(asker.name, want, view, nowMs, atMs)
    if (untold !== undefined) return untold
  }
  if (want.type === 'transit') return checkTransitSigning(asker, want, view)
  if (asker.kind === 'operator' && want.type === 'svid' && want.of !== 'service')
    return refuse('MINT_NOT_ENTITLED', 'only the node itself may have its certificate, and devices by EST')
  if (
    asker.kind === 'service' &&
    !(want.type === 'token' ? want.service === asker.name : want.of === 'service' && want.name === asker.name)
  )
    return refuse('MINT_NOT_ENTITLED', 'a service may have tokens and certificates of itself, and of nobody else')
  // Policies decide by claims (`groups`, `roles`, any other): a service that chose its own would choose what it may do.
  if (asker.kind === 'service' && want.type === 'token' && Object.keys(want.claims).length > 0)
    return refuse(
      'MINT_NOT_ENTITLED',
      'a service’s own tokens hold no further claims: operators give those (ringwall token mint --claim)',
    )
  const id = want.type === 'token' ? spiffeId(ring, 'service', want.service) : spiffeId(ring, want.of, want.name)
  const denied = view.denials.matchCredential({ issuer: ringIssuer(ring), subject: id, issuedAtMs: atMs }, nowMs)
  if (denied !== undefined) return refuse('MINT_DENIED', `${id} is denied by ${denied.issuer}: ${denied.reason}`)
  if (want.type === 'token') return { ok: true, message: tokenToSign(request, authority, signed) }
  return checkSvid(request, want, authority, signed, asker.kind === 'node' && want.of === 'service' ? asker.name : undefined)
}

/** A signature by a key of the transit: who may use it is the policy's to say. */
function checkTransitSigning(
  { kind, name }: { readonly kind: 'operator' | 'node' | 'service'; readonly name: string },
  { key: wanted, version, digest }: TransitWanted,
  { ring, policy, signingKey, transit = [] }: MintView,
): Mintable | MintRefusal {
  if (kind === 'node' || policy.vault === undefined || !mayUseTransit(policy.vault, { kind, name }, wanted))
    return refuse('MINT_NOT_ENTITLED', `no rule of the policy (vault.transit) lets ${kind}:${name} use ${wanted}`)
  const key = transitKey(transit, wanted)
  if (key === undefined) return refuse('MINT_TRANSIT', `there is no key ${wanted}; list them with transit ls`)
  if (key.use !== 'sign') return refuse('MINT_TRANSIT', `${wanted} is a key to ${key.use}, not to sign`)
  const place = transitPlace(ring, key, version)
  const by = key.versions.find((one) => one.version === version)
  if (place === undefined || by === undefined)
    return refuse('MINT_TRANSIT', `version ${version} of ${wanted} cannot be used; see transit ls`)
  if (by.signer !== signingKey.key)
    return refuse('MINT_TRANSIT', `the ring’s key was replaced since version ${version} of ${wanted} was made: transit rotate`)
  return { ok: true, message: transitSignedBytes(place, digest) }
}

/** A node speaks for itself, and for the workloads that the policy gives it. */
function nodeRefusal(
  node: string,
  want: MintRequest['want'],
  view: MintView,
  nowMs: number,
  atMs: number,
): MintRefusal | undefined {
  if (view.trust?.some((one) => one.node === node && one.untilMs <= nowMs) === true)
    return refuse(
      'MINT_DENIED',
      `${node} has not attested in time, and gets no certificates until it does: ringwall device trust`,
    )
  if (view.ages?.some((one) => one.node === node && one.endsAtMs <= nowMs) === true)
    return refuse(
      'MINT_DENIED',
      `${node} is older than fleet.maxAge allows, and gets no certificates: set it up anew, or replace it (ringwall node rm)`,
    )
  if (want.type === 'svid' && want.of === 'node' && want.name === node) return undefined
  if (want.type === 'svid' && want.of === 'device') return deviceRefusal(want, view)
  if (want.type !== 'svid' || want.of !== 'service')
    return refuse('MINT_NOT_ENTITLED', 'a node may have certificates of itself and of its workloads, and nothing else')
  const workload = workloadOf(view.policy, want.name)
  if (workload === undefined || !mayAttest(view.policy, node, want.name))
    return refuse('MINT_NOT_ENTITLED', `the policy’s workloads do not give ${want.name} to the node ${node}`)
  if (want.ttlS * 1_000 > workload.ttl)
    return refuse('MINT_NOT_ENTITLED', `certificates of ${want.name} are good for ${workload.ttl / 1_000} s at most`)
  return deniedNode(node, view, nowMs, atMs)
}

/** Any node may have one made for a device whose key the ring has agreed on: it is worth nothing to the node. */
function deviceRefusal({ name, publicKey, ttlS }: SvidWanted, view: MintView): MintRefusal | undefined {
  if (view.certified?.(name) !== publicKey)
    return refuse('MINT_NOT_ENTITLED', `the ring knows no device ${name} with this key: it enrols first`)
  const most = view.policy.devices?.est.ttl ?? 0
  return ttlS * 1_000 <= most
    ? undefined
    : refuse('MINT_NOT_ENTITLED', `certificates of devices are good for ${most / 1_000} s at most`)
}

function deniedNode(node: string, { ring, denials }: MintView, nowMs: number, issuedAtMs: number): MintRefusal | undefined {
  const subject = spiffeId(ring, 'node', node)
  const denied = denials.matchCredential({ issuer: ringIssuer(ring), subject, issuedAtMs }, nowMs)
  return denied === undefined ? undefined : refuse('MINT_DENIED', `${subject} is denied by ${denied.issuer}: ${denied.reason}`)
}

/** Who says to ask, and shows it with a signature. */
export interface AskerClaim {
  readonly ring: string
  /** `operator:NAME`, `node:ID` or `service:NAME`. */
  readonly issuer: string
  /** Of a service: its X.509-SVID, DER, base64url. */
  readonly certificate: string
  /** Of a service, in the place of a certificate. */
  readonly pass?: ServicePass
  /** What the key of the ring is to sign, if that is what it asks for. */
  readonly want?: MintRequest['want']
}

/** Undefined when `signed` is signed by the issuer, who is one of the ring and not denied. */
export function askerRefusal(
  claim: AskerClaim,
  signed: Uint8Array,
  signature: string,
  view: MintView,
  nowMs: number,
): MintRefusal | undefined {
  const { issuer } = claim
  const asker = parseAsker(issuer)
  if (asker === undefined) return unknown(issuer)
  if (asker.kind === 'service' && claim.pass !== undefined)
    return passRefusal(claim, claim.pass, asker.name, view, nowMs, signed, signature)
  if (asker.kind === 'service') return serviceRefusal(claim, asker.name, view, nowMs, signed, signature)
  const key =
    asker.kind === 'operator'
      ? view.operators.find(({ name }) => name === asker.name)?.publicKey
      : view.nodes.find(({ id }) => id === asker.name)?.publicKey
  if (key === undefined) return unknown(issuer)
  if (verifiesRaw(key, signed, signature)) return undefined
  return refuse('MINT_SIGNATURE', `the request is not signed by ${issuer}’s key`)
}

function unknown(issuer: string): MintRefusal {
  return refuse('MINT_ISSUER_UNKNOWN', `${issuer} is none of this ring’s operators and nodes`)
}

/** A pass is for the vault: it makes neither certificates nor tokens, so that it ends when it says. */
function passRefusal(
  { ring, want }: AskerClaim,
  pass: ServicePass,
  name: string,
  { signingKey, denials }: MintView,
  nowMs: number,
  signed: Uint8Array,
  signature: string,
): MintRefusal | undefined {
  if (want !== undefined && want.type !== 'transit')
    return refuse('MINT_NOT_ENTITLED', 'a pass is for the vault: certificates and tokens are made for who has a certificate')
  const keys = [...(signingKey.key === undefined ? [] : [signingKey.key]), ...signingKey.former.map((one) => one.key)]
  const isSigned = (token: string): boolean => {
    const at = token.lastIndexOf('.')
    return keys.some((key) => verifiesRaw(key, Buffer.from(token.slice(0, at)), token.slice(at + 1)))
  }
  const judged = judgePass(ring, pass, nowMs, { isSigned, denials })
  if ('fault' in judged) return refuse('MINT_CERTIFICATE', judged.fault)
  if (judged.service !== name) return refuse('MINT_CERTIFICATE', `the pass is of the service ${judged.service}`)
  return verifiesRaw(pass.key, signed, signature)
    ? undefined
    : refuse('MINT_SIGNATURE', 'the request is not signed by the key of the pass')
}

/** A service is who holds the key of a certificate that the ring made for it, and that is good now. */
function serviceRefusal(
  { ring, certificate, want }: AskerClaim,
  name: string,
  view: MintView,
  nowMs: number,
  signed: Uint8Array,
  signature: string,
): MintRefusal | undefined {
  const { signingKey, denials } = view
  const der = decodeBase64url(certificate)
  let shown: X509Certificate
  try {
    shown = new X509Certificate(der)
  } catch {
    return refuse('MINT_CERTIFICATE', 'the certificate cannot be read')
  }
  const keys = [...(signingKey.key === undefined ? [] : [signingKey.key]), ...signingKey.former.map((one) => one.key)]
  const by = keys.find((key) => shown.verify(createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: key }, format: 'jwk' })))
  const id = spiffeId(ring, 'service', name)
  if (by === undefined || shown.ca || shown.subjectAltName !== `URI:${id}` || Buffer.compare(shown.raw, der) !== 0)
    return refuse('MINT_CERTIFICATE', `the certificate is none that the ring made for the service ${name}`)
  if (nowMs < Date.parse(shown.validFrom) || nowMs > Date.parse(shown.validTo))
    return refuse('MINT_CERTIFICATE', 'the certificate is not good now: an operator gives the service a new one')
  // By its thumbprint too (RFC 8705 section 3.1), and by when it was made: a stolen certificate must not renew itself past that.
  const thumbprint = Buffer.from(hash('sha256', der, 'buffer')).toString('base64url')
  const issuedAtMs = Date.parse(shown.validFrom) + SVID_BACKDATED_MS
  const credential = { issuer: ringIssuer(ring), subject: id, keys: [ringKeyId(by), thumbprint], issuedAtMs }
  const denied = denials.matchCredential(credential, nowMs)
  if (denied !== undefined) return refuse('MINT_DENIED', `the certificate is denied by ${denied.issuer}: ${denied.reason}`)
  const node = attestingNode(shown.subject)
  if (node !== undefined) {
    if (want?.type === 'svid')
      return refuse('MINT_NOT_ENTITLED', `the certificate is of a workload of the node ${node}, which renews it`)
    if (!view.nodes.some(({ id }) => id === node) || !mayAttest(view.policy, node, name))
      return refuse('MINT_NOT_ENTITLED', `the policy’s workloads do not give ${name} to the node ${node} any more`)
    const refused = deniedNode(node, view, nowMs, issuedAtMs)
    if (refused !== undefined) return refused
  }
  const spki = shown.publicKey.export({ format: 'der', type: 'spki' })
  return verifiesSpki(spki, signed, decodeBase64url(signature))
    ? undefined
    : refuse('MINT_SIGNATURE', 'the request is not signed by the certificate’s key')
}

function checkSvid(
  request: MintRequest,
  want: SvidWanted,
  authority: Authority,
  signed: Uint8Array,
  attestedBy: string | undefined,
): Mintable | MintRefusal {
  const { of, name, ttlS } = want
  const publicKey = decodeBase64url(want.publicKey)
  if (subjectKey(publicKey) === undefined)
    return refuse('MINT_KEY', 'publicKey must be an Ed25519 or P-256 key, as SubjectPublicKeyInfo in DER')
  if (of !== 'device' && !verifiesSpki(publicKey, svidProofBytes(request.ring, want), decodeBase64url(want.proof)))
    return refuse('MINT_PROOF', 'the proof that the key is held does not verify')
  const svid = { of, name, publicKey, ttlS, atMs: request.atMs, seed: signed }
  return { ok: true, message: svidToSign(authority, attestedBy === undefined ? svid : { ...svid, attestedBy }) }
}

const encoded = (value: unknown): string => Buffer.from(canonicalJson(value)).toString('base64url')

/** The header of every token that the ring signs with the key of this id. */
export function ringHeader(kid: string): string {
  return encoded({ alg: 'EdDSA', kid, typ: 'JWT' })
}

/** Of a security event token (RFC 8417 section 2.3): nothing that takes tokens of the ring takes it for one. */
export function signalHeader(kid: string): string {
  return encoded({ alg: 'EdDSA', kid, typ: 'secevent+jwt' })
}

/** Of what shows the ring to be a client (draft-ietf-oauth-rfc7523bis section 5): likewise. */
export function clientHeader(kid: string): string {
  return encoded({ alg: 'EdDSA', kid, typ: 'client-authentication+jwt' })
}

/** Header and claims of a token as they are signed (RFC 7515 section 5.1). */
function tokenToSign({ ring, atMs, want }: MintRequest, { key }: Authority, signed: Uint8Array): Uint8Array {
  if (want.type !== 'token') throw new Error('bug: no token is wanted')
  const iat = Math.floor(atMs / 1_000)
  const claims = {
    ...want.claims,
    aud: want.audience,
    ...(want.cnf === undefined ? {} : { cnf: want.cnf }),
    exp: iat + want.ttlS,
    iat,
    iss: ringIssuer(ring),
    jti: hash('sha256', signed, 'hex').slice(0, 32),
    sub: spiffeId(ring, 'service', want.service),
  }
  return Buffer.from(`${ringHeader(ringKeyId(Buffer.from(key).toString('base64url')))}.${encoded(claims)}`)
}

/** @param key Ed25519, raw, base64url. False for anything malformed. */
export function verifiesRaw(key: string, message: Uint8Array, signature: string): boolean {
  try {
    return verifiesEd25519(decodeBase64url(key), message, decodeBase64url(signature))
  } catch (error) {
    if (error instanceof EncodingInvalid) return false
    throw error
  }
}

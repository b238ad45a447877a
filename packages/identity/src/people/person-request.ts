/**
 * What is asked of the ring's key for people: a session, by what somebody logs in with, or a new token for a session by the one that it has.
 * Each holder of a share sees the proof itself (`person-check.ts`).
 */
import { hash } from 'node:crypto'
import { PERSON_NAME, PERSON_NAME_EXPECTED } from '@ringwall/ring'
import { canonicalJson, fieldReaders } from '@ringwall/ring/tx'
import { MintRequestInvalid } from '../mint-request.ts'
import { REQUEST_ID } from '../saml/names.ts'
import type { PasskeyAssertion } from './webauthn.ts'

const CHALLENGE_DOMAIN = 'RINGWALL_LOGIN_V1\n'
const OUTSIDE_DOMAIN = 'RINGWALL_OUTSIDE_LOGIN_V1\n'
const PASSWORD_DOMAIN = 'RINGWALL_PASSWORD_LOGIN_V1\n'

/** What a login is for: which page it began on, and when. */
export interface LoginOccasion {
  /** Unix milliseconds. */
  readonly atMs: number
  /** 16 random bytes, base64url. */
  readonly nonce: string
  readonly ring: string
  readonly service: string
}

export type LoginProof =
  | ({ readonly kind: 'passkey'; readonly id: string } & PasskeyAssertion)
  /** By the key that the password is. */
  | { readonly kind: 'password'; readonly signature: string }

/** What an outside provider signed. */
export type OutsideProof =
  | { readonly kind: 'openid'; readonly idToken: string }
  /** Base64url of the document. @see LoginOccasion For what `recipient`, where it was sent, is not: the provider signs for it. */
  | { readonly kind: 'saml'; readonly recipient: string; readonly response: string }

/** A session by the word of an outside provider. */
export interface OutsideRequest extends LoginOccasion {
  readonly type: 'outside'
  readonly provider: string
  readonly proof: OutsideProof
}

export type PersonRequest =
  | (LoginOccasion & { readonly type: 'login'; readonly person: string; readonly proof: LoginProof })
  | { readonly type: 'renew'; readonly atMs: number; readonly ring: string; readonly token: string }
  | OutsideRequest
  | AssertionRequest
  | EventRequest
  | CodeRequest
  | TokensRequest
  | SignalRequest
  | ClientRequest

/** That somebody's sessions are over, by the word of the outside provider that vouched for them. */
export interface EventRequest {
  readonly type: 'event'
  readonly provider: string
  readonly ring: string
  /** A security event token (RFC 8417). */
  readonly set: string
}

/** An assertion for a party of SAML, by the session of who logs in to it. */
export interface AssertionRequest {
  readonly type: 'assertion'
  /** Where it is to be posted. */
  readonly acs: string
  readonly atMs: number
  /** Of the party's request. */
  readonly inResponseTo: string
  readonly party: string
  readonly ring: string
  /** The session. */
  readonly token: string
}

/** A code for a client of the OpenID Provider, by the session of who logs in to it. */
export interface CodeRequest {
  readonly type: 'code'
  readonly atMs: number
  /** S256 (RFC 7636). */
  readonly challenge: string
  readonly client: string
  /** Thumbprint of the key that what it is redeemed for is bound to (`dpop_jkt`, RFC 9449 section 10); empty: of none. */
  readonly jkt: string
  /** Of the client; empty: it gave none. */
  readonly nonce: string
  readonly redirectUri: string
  readonly ring: string
  /** In order, with blanks between them. */
  readonly scope: string
  /** The session. */
  readonly token: string
}

/** What a code or a refresh token that was redeemed is good for. */
export interface TokensRequest {
  readonly type: 'tokens'
  readonly grant: string
  /** Of the client’s key, for the token endpoint (RFC 9449 section 5); empty: none was shown. */
  readonly proof: string
  readonly ring: string
  /** Of a code; empty for a refresh token. */
  readonly verifier: string
  readonly want: 'id' | 'access' | 'refresh'
}

/** What is told to a receiver of signals. Unix milliseconds. */
export type SignalFact =
  /** Somebody's sessions of before are over, by this denial. */
  | { readonly kind: 'sessions'; readonly atMs: number; readonly denial: string }
  /** Somebody has a credential of this kind now, or none any more. */
  | {
      readonly kind: 'credentials'
      readonly atMs: number
      readonly change: 'create' | 'revoke'
      readonly credential: 'passkey' | 'password'
      readonly person: string
    }
  /** The receiver wants to see that it is told. */
  | { readonly kind: 'verification'; readonly atMs: number; readonly nonce: string; readonly state: string }

/** A security event token of the ring (RFC 8417). */
export interface SignalRequest {
  readonly type: 'signal'
  readonly fact: SignalFact
  readonly ring: string
  readonly stream: string
}

/** What nodes show to an outside OpenID Provider to be known as its client (RFC 7523). */
export interface ClientRequest {
  readonly type: 'client'
  readonly atMs: number
  /** 16 random bytes, base64url: no two are alike. */
  readonly nonce: string
  readonly provider: string
  readonly ring: string
}

/** What a passkey signs for, base64url. */
export function loginChallenge({ atMs, nonce, ring, service }: LoginOccasion): string {
  return hash('sha256', CHALLENGE_DOMAIN + canonicalJson({ atMs, nonce, ring, service }), 'base64url')
}

/** `nonce` of an outside provider's ID token, base64url; no other login and no other provider has it. */
export function outsideNonce({ atMs, nonce, ring, service }: LoginOccasion, provider: string): string {
  return hash('sha256', OUTSIDE_DOMAIN + canonicalJson({ atMs, nonce, provider, ring, service }), 'base64url')
}

/** What the key of a password signs. */
export function passwordLoginBytes({ atMs, nonce, ring, service }: LoginOccasion, person: string): Uint8Array {
  return Buffer.from(PASSWORD_DOMAIN + canonicalJson({ atMs, nonce, person, ring, service }))
}

const HASH = /^[0-9a-f]{64}$/
const CLIENT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const SERVICE = /^[a-z0-9][a-z0-9-]{0,62}$/
/** Of a response of a SAML identity provider. */
export const SAML_BYTES_MAX = 49_152
const ID_TOKEN = /^[A-Za-z0-9_-]{1,1024}\.[A-Za-z0-9_-]{1,7168}\.[A-Za-z0-9_-]{1,1024}$/
/** Compact JWS. */
export const JWS: RegExp = /^[A-Za-z0-9_-]{1,512}\.[A-Za-z0-9_-]{1,6000}\.[A-Za-z0-9_-]{86}$/

/** @throws {MintRequestInvalid} Saying which member is wrong, and what is expected. */
export function parsePersonRequest(value: unknown): PersonRequest {
  const type = typeof value === 'object' && value !== null && 'type' in value ? value.type : undefined
  if (type === 'login') {
    const fields = record(value, 'request', ['atMs', 'nonce', 'person', 'proof', 'ring', 'service', 'type'])
    return {
      atMs: whole(fields.atMs, 'request.atMs', 0, Number.MAX_SAFE_INTEGER),
      nonce: bytes(fields.nonce, 'request.nonce', 16, 16),
      person: text(fields.person, 'request.person', PERSON_NAME, PERSON_NAME_EXPECTED),
      proof: parseProof(fields.proof),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      service: text(fields.service, 'request.service', SERVICE, 'the name of a service'),
      type,
    }
  }
  if (type === 'outside') {
    const fields = record(value, 'request', ['atMs', 'nonce', 'proof', 'provider', 'ring', 'service', 'type'])
    return {
      atMs: whole(fields.atMs, 'request.atMs', 0, Number.MAX_SAFE_INTEGER),
      nonce: bytes(fields.nonce, 'request.nonce', 16, 16),
      proof: parseOutsideProof(fields.proof),
      provider: text(fields.provider, 'request.provider', SERVICE, 'the name of a provider'),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      service: text(fields.service, 'request.service', SERVICE, 'the name of a service'),
      type,
    }
  }
  if (type === 'renew') {
    const fields = record(value, 'request', ['atMs', 'ring', 'token', 'type'])
    return {
      atMs: whole(fields.atMs, 'request.atMs', 0, Number.MAX_SAFE_INTEGER),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      token: text(fields.token, 'request.token', JWS, 'a token of the ring'),
      type,
    }
  }
  if (type === 'code') {
    const names = ['atMs', 'challenge', 'client', 'jkt', 'nonce', 'redirectUri', 'ring', 'scope', 'token', 'type']
    const fields = record(value, 'request', names)
    return {
      atMs: whole(fields.atMs, 'request.atMs', 0, Number.MAX_SAFE_INTEGER),
      challenge: bytes(fields.challenge, 'request.challenge', 32, 32),
      client: text(fields.client, 'request.client', CLIENT, 'the id of a client'),
      jkt: text(fields.jkt, 'request.jkt', /^(?:[A-Za-z0-9_-]{43})?$/, 'a thumbprint'),
      nonce: text(fields.nonce, 'request.nonce', /^[\x20-\x7e]{0,256}$/, 'up to 256 printable characters'),
      redirectUri: text(fields.redirectUri, 'request.redirectUri', /^[\x21-\x7e]{1,512}$/, 'an address'),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      scope: text(fields.scope, 'request.scope', /^[a-z_]{1,32}(?: [a-z_]{1,32}){0,7}$/, 'scopes'),
      token: text(fields.token, 'request.token', JWS, 'a token of the ring'),
      type,
    }
  }
  if (type === 'assertion') {
    const fields = record(value, 'request', ['acs', 'atMs', 'inResponseTo', 'party', 'ring', 'token', 'type'])
    return {
      acs: text(fields.acs, 'request.acs', /^[\x21-\x7e]{1,512}$/, 'an address'),
      atMs: whole(fields.atMs, 'request.atMs', 0, Number.MAX_SAFE_INTEGER),
      inResponseTo: text(fields.inResponseTo, 'request.inResponseTo', REQUEST_ID, 'the id of a request'),
      party: text(fields.party, 'request.party', /^[\x21-\x7e]{1,512}$/, 'the entity id of a party'),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      token: text(fields.token, 'request.token', JWS, 'a token of the ring'),
      type,
    }
  }
  if (type === 'event') {
    const fields = record(value, 'request', ['provider', 'ring', 'set', 'type'])
    return {
      provider: text(fields.provider, 'request.provider', SERVICE, 'the name of a provider'),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      set: text(fields.set, 'request.set', ID_TOKEN, 'a compact JWS'),
      type,
    }
  }
  if (type === 'signal') {
    const fields = record(value, 'request', ['fact', 'ring', 'stream', 'type'])
    return {
      fact: parseSignalFact(fields.fact),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      stream: text(fields.stream, 'request.stream', SERVICE, 'the name of a stream'),
      type,
    }
  }
  if (type === 'client') {
    const fields = record(value, 'request', ['atMs', 'nonce', 'provider', 'ring', 'type'])
    return {
      atMs: whole(fields.atMs, 'request.atMs', 0, Number.MAX_SAFE_INTEGER),
      nonce: bytes(fields.nonce, 'request.nonce', 16, 16),
      provider: text(fields.provider, 'request.provider', SERVICE, 'the name of a provider'),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      type,
    }
  }
  if (type === 'tokens') {
    const fields = record(value, 'request', ['grant', 'proof', 'ring', 'type', 'verifier', 'want'])
    const { want } = fields
    if (want !== 'id' && want !== 'access' && want !== 'refresh') return fail('request.want', 'id, access or refresh')
    return {
      grant: text(fields.grant, 'request.grant', JWS, 'a token of the ring'),
      proof: text(fields.proof, 'request.proof', /^[A-Za-z0-9._-]{0,4096}$/, 'a proof of DPoP'),
      ring: text(fields.ring, 'request.ring', HASH, '64 hex digits'),
      type,
      verifier: text(fields.verifier, 'request.verifier', /^(?:[A-Za-z0-9._~-]{43,128})?$/, 'a code verifier'),
      want,
    }
  }
  return fail('request.type', 'login, outside, renew, assertion, event, signal, client, code or tokens')
}

/** Also of what nodes tell one another. @throws {MintRequestInvalid} */
export function parseSignalFact(value: unknown): SignalFact {
  const at = 'request.fact'
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
  const moment = (atMs: unknown): number => whole(atMs, `${at}.atMs`, 0, Number.MAX_SAFE_INTEGER)
  if (kind === 'sessions') {
    const fields = record(value, at, ['atMs', 'denial', 'kind'])
    return {
      atMs: moment(fields.atMs),
      denial: text(fields.denial, `${at}.denial`, /^[0-9a-f]{8,64}$/, 'the id of a denial'),
      kind,
    }
  }
  if (kind === 'credentials') {
    const { atMs, change, credential, person } = record(value, at, ['atMs', 'change', 'credential', 'kind', 'person'])
    if (change !== 'create' && change !== 'revoke') return fail(`${at}.change`, 'create or revoke')
    if (credential !== 'passkey' && credential !== 'password') return fail(`${at}.credential`, 'passkey or password')
    return {
      atMs: moment(atMs),
      change,
      credential,
      kind,
      person: text(person, `${at}.person`, PERSON_NAME, PERSON_NAME_EXPECTED),
    }
  }
  if (kind !== 'verification') return fail(`${at}.kind`, 'sessions, credentials or verification')
  const { atMs, nonce, state } = record(value, at, ['atMs', 'kind', 'nonce', 'state'])
  return {
    atMs: moment(atMs),
    kind,
    nonce: bytes(nonce, `${at}.nonce`, 16, 16),
    state: text(state, `${at}.state`, /^[\x20-\x7e]{0,1024}$/, 'up to 1,024 printable characters'),
  }
}

function parseProof(value: unknown): LoginProof {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
  if (kind === 'password') {
    const fields = record(value, 'request.proof', ['kind', 'signature'])
    return { kind, signature: bytes(fields.signature, 'request.proof.signature', 64, 64) }
  }
  if (kind !== 'passkey') return fail('request.proof.kind', 'passkey or password')
  const fields = record(value, 'request.proof', ['authenticatorData', 'clientDataJSON', 'id', 'kind', 'signature'])
  return {
    authenticatorData: bytes(fields.authenticatorData, 'request.proof.authenticatorData', 37, 2_048),
    clientDataJSON: bytes(fields.clientDataJSON, 'request.proof.clientDataJSON', 2, 2_048),
    id: bytes(fields.id, 'request.proof.id', 1, 512),
    kind,
    signature: bytes(fields.signature, 'request.proof.signature', 8, 512),
  }
}

function parseOutsideProof(value: unknown): OutsideProof {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined
  if (kind === 'openid') {
    const fields = record(value, 'request.proof', ['idToken', 'kind'])
    return { idToken: text(fields.idToken, 'request.proof.idToken', ID_TOKEN, 'a compact JWS'), kind }
  }
  if (kind !== 'saml') return fail('request.proof.kind', 'openid or saml')
  const fields = record(value, 'request.proof', ['kind', 'recipient', 'response'])
  return {
    kind,
    recipient: text(fields.recipient, 'request.proof.recipient', /^https?:\/\/[\x21-\x7e]{1,300}$/, 'an address'),
    response: bytes(fields.response, 'request.proof.response', 1, SAML_BYTES_MAX),
  }
}

function fail(where: string, expected: string): never {
  throw new MintRequestInvalid(`${where} must be ${expected}`)
}

const { record, whole, text, bytes } = fieldReaders(fail)

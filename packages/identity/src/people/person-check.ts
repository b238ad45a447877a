/**
 * Who may have a session, and the bytes of its token. Each holder of a share asks this of its own view, with the proof before it: the passkey's
 * signature, or the password's. So no node can make a session of somebody who did not log in, and a password is seen by the one node that it
 * was typed into.
 *
 * A login that comes twice makes the same token twice, with the same session: there is nothing to be won by it, and nothing to remember.
 */
import { hash } from 'node:crypto'
import { type People, type Person, type ProviderPolicy, personSubject, ringIssuer, tokenKeys, type View } from '@ringwall/ring'
import { canonicalJson } from '@ringwall/ring/tx'
import { clientHeader, type Mintable, type MintRefusal, ringHeader, ringJwk, signalHeader, verifiesRaw } from '../mint-check.ts'
import { type Asserted, assertionXml, signedInfoXml } from '../saml/identity-provider.ts'
import { authnRequestId, serviceEntityId } from '../saml/names.ts'
import { readSamlResponse } from '../saml/saml-response.ts'
import { checkClientAssertion } from './client-assertion.ts'
import { checkCode, checkTokens } from './openid-check.ts'
import { type ProviderKey, readIdToken } from './outside/id-token.ts'
import {
  admitted,
  type Holder,
  holderNow,
  holderOf,
  type OutsideClaims,
  type OutsideRefusal,
  type OutsideWord,
  providerOf,
} from './outside/outside.ts'
import { EVENT_S_MAX, readSecurityEvent } from './outside/security-event.ts'
import {
  type AssertionRequest,
  type EventRequest,
  loginChallenge,
  type OutsideRequest,
  outsideNonce,
  type PersonRequest,
  passwordLoginBytes,
} from './person-request.ts'
import { checkSignal } from './signal-check.ts'
import { assertionFault } from './webauthn.ts'

/** From the page to the proof: people look for their authenticators. */
export const LOGIN_MS_MAX = 300_000
/** How old a request to renew may be, and how far ahead its node's clock. */
const RENEW_MS_MAX = 60_000
const SKEW_MS = 5_000

/** Of the view, what sessions follow from. */
export type PersonView = Pick<View, 'ring' | 'denials' | 'signingKey' | 'nodes'> & {
  readonly policy: Pick<View['policy'], 'services' | 'openid' | 'providers' | 'saml'>
  readonly people: People
  /** Of an OpenID Provider whose keys the policy does not hold: as this node fetched them itself. */
  readonly providerKeys?: (provider: ProviderPolicy) => readonly ProviderKey[]
}

/** What a session's token says (RFC 7519; `amr` as in RFC 8176). Times in Unix seconds. */
export interface SessionClaims extends Partial<OutsideClaims> {
  readonly amr: readonly string[]
  /** The service that it is for. */
  readonly aud: string
  readonly auth_time: number
  readonly exp: number
  readonly groups: readonly string[]
  readonly iat: number
  readonly iss: string
  readonly jti: string
  /** When the session ends, however often it is renewed. */
  readonly session_end: number
  readonly sid: string
  readonly sub: string
  readonly use: 'session'
}

const refuse = (code: MintRefusal['code'], reason: string): MintRefusal => ({ ok: false, code, reason })

export function validatorsOf({ nodes }: Pick<View, 'nodes'>): readonly { readonly id: string; readonly publicKey: string }[] {
  return nodes.filter(({ roles }) => roles.includes('validator'))
}

/** The keys that people's tokens verify by, the one that signs first. */
export function sessionKeys(view: Pick<View, 'signingKey' | 'nodes'>): readonly string[] {
  return tokenKeys(view.signingKey, validatorsOf(view))
}

export function checkPerson(request: PersonRequest, view: PersonView, nowMs: number): Mintable | MintRefusal {
  if (request.ring !== view.ring) return refuse('MINT_OTHER_RING', `it is for the ring ${request.ring.slice(0, 12)}`)
  const [key] = sessionKeys(view)
  if (key === undefined) return refuse('MINT_NO_KEY', 'the ring has no signing key (yet): ringwall key ls shows how it stands')
  if (request.type === 'login') return checkLogin(request, view, key, nowMs)
  if (request.type === 'outside') return checkOutside(request, view, key, nowMs)
  if (request.type === 'assertion') {
    const asserted = checkAssertion(request, view, nowMs)
    return 'ok' in asserted ? asserted : { ok: true, message: Buffer.from(signedAssertionInfo(asserted).signedInfo) }
  }
  if (request.type === 'event') return checkEvent(request, view, key, nowMs)
  if (request.type === 'renew') return checkRenewal(request, view, key, nowMs)
  if (request.type === 'signal') {
    const signal = checkSignal(request, view, nowMs)
    return 'claims' in signal ? signable(signal.claims, key, signalHeader) : signal
  }
  if (request.type === 'client') {
    const client = checkClientAssertion(request, view, nowMs)
    return 'claims' in client ? signable(client.claims, key, clientHeader) : client
  }
  const read = (token: string): Readonly<Record<string, unknown>> | undefined => readSigned(token, view)
  const checked = request.type === 'code' ? checkCode(request, view, read, nowMs) : checkTokens(request, view, read, nowMs)
  return 'claims' in checked ? signable(checked.claims, key) : checked
}

function checkLogin(
  request: Extract<PersonRequest, { type: 'login' }>,
  view: PersonView,
  key: string,
  nowMs: number,
): Mintable | MintRefusal {
  const { atMs, service, person: name, proof } = request
  if (nowMs - atMs > LOGIN_MS_MAX || atMs - nowMs > SKEW_MS)
    return refuse('MINT_STALE', 'the login began too long ago: begin anew')
  const people = Object.hasOwn(view.policy.services, service) ? view.policy.services[service]?.people : undefined
  if (people === undefined) return refuse('MINT_NOT_ENTITLED', `nobody logs in to ${service}`)
  if (!people.methods.includes(proof.kind)) return refuse('MINT_NOT_ENTITLED', `${service} takes no ${proof.kind}`)
  const person = view.people.get(name)
  // One answer, whoever there is and whatever is wrong.
  const untrue = refuse('MINT_PERSON', 'the proof is of nobody who may log in')
  if (person === undefined || !isProven(request, person)) return untrue
  return begun(request, view, key, nowMs, person, { amr: proof.kind === 'password' ? ['pwd'] : ['pop', 'user'] })
}

/** The word of a provider: on this occasion, for this service, of somebody who may come in by it. */
function checkOutside(request: OutsideRequest, view: PersonView, key: string, nowMs: number): Mintable | MintRefusal {
  const { atMs, service } = request
  if (nowMs - atMs > LOGIN_MS_MAX || atMs - nowMs > SKEW_MS)
    return refuse('MINT_STALE', 'the login began too long ago: begin anew')
  const people = Object.hasOwn(view.policy.services, service) ? view.policy.services[service]?.people : undefined
  const provider = providerOf(view, request.provider)
  if (people === undefined || provider === undefined || !people.providers.includes(provider.name))
    return refuse('MINT_NOT_ENTITLED', `nobody logs in to ${service} by ${request.provider}`)
  const word = outsideWord(request, view, provider, nowMs)
  if ('ok' in word) return refuse('MINT_PERSON', `${word.code}: ${word.reason}`)
  const taken = admitted(provider, word)
  if ('ok' in taken) return refuse('MINT_PERSON', `${taken.code}: ${taken.reason}`)
  const holder = holderOf(view.people, provider, word, taken.idp_groups)
  if ('ok' in holder) return refuse('MINT_PERSON', `${holder.code}: ${holder.reason}`)
  const outside: OutsideClaims = { idp: provider.name, idp_groups: taken.idp_groups, idp_sub: word.subject }
  return begun(request, view, key, nowMs, holder, { amr: ['fed'], ...outside })
}

/** That sessions of before are over. What is signed follows from the event alone, so that one event comes to one denial. */
function checkEvent(
  { provider: name, ring, set }: EventRequest,
  view: PersonView,
  key: string,
  nowMs: number,
): Mintable | MintRefusal {
  const provider = providerOf(view, name)
  if (provider?.kind !== 'openid' || provider.signals === undefined)
    return refuse('MINT_NOT_ENTITLED', `no security events of ${name} are taken`)
  const event = readSecurityEvent(set, provider, provider.jwks?.keys ?? view.providerKeys?.(provider) ?? [], nowMs)
  if ('ok' in event) return refuse('MINT_PROOF', `${event.code}: ${event.reason}`)
  const { subject, beforeS, saidS, jti } = event
  const of = { subject, name: provider.claims.name === 'sub' ? subject : undefined }
  const holder = holderOf(view.people, provider, of, [])
  if ('ok' in holder) return refuse('MINT_PERSON', `${holder.code}: ${holder.reason}`)
  const claims = {
    aud: 'events',
    before: beforeS,
    // As long as a session of before could last.
    exp: saidS + 2 * EVENT_S_MAX,
    iat: saidS,
    iss: ringIssuer(ring),
    jti: hash('sha256', `event ${canonicalJson({ jti, provider: name, ring })}`, 'hex').slice(0, 32),
    sub: personSubject(holder.name),
    use: 'event',
  }
  return signable(claims, key)
}

/** What the provider says, if it is for this occasion and signed by it. */
export function outsideWord(
  request: OutsideRequest,
  view: Pick<PersonView, 'providerKeys'>,
  provider: ProviderPolicy,
  nowMs: number,
): OutsideWord | OutsideRefusal {
  const { proof, atMs } = request
  if (proof.kind === 'openid' && provider.kind === 'openid') {
    const keys = provider.jwks?.keys ?? view.providerKeys?.(provider) ?? []
    const expected = { nonce: outsideNonce(request, provider.name), sinceMs: atMs, nowMs }
    return readIdToken(proof.idToken, provider, keys, expected)
  }
  if (proof.kind === 'saml' && provider.kind === 'saml') {
    const { ring, service } = request
    return readSamlResponse(Buffer.from(proof.response, 'base64url'), provider, {
      entityId: serviceEntityId(ring, service),
      inResponseTo: authnRequestId(request, provider.name),
      recipient: proof.recipient,
      sinceMs: atMs,
      nowMs,
    })
  }
  return { ok: false, code: 'OUTSIDE_MALFORMED', reason: `${provider.name} is a provider of another kind` }
}

/** A session that begins with this login. */
function begun(
  request: Extract<PersonRequest, { type: 'login' | 'outside' }>,
  view: PersonView,
  key: string,
  nowMs: number,
  { name, groups, sinceMs }: Holder,
  by: Pick<SessionClaims, 'amr'> & Partial<OutsideClaims>,
): Mintable | MintRefusal {
  const { atMs, service, ring } = request
  const people = view.policy.services[service]?.people
  const iat = Math.floor(atMs / 1_000)
  if (people === undefined || (iat + 1) * 1_000 <= sinceMs) return refuse('MINT_PERSON', 'the proof is of nobody who may log in')
  const sid = hash('sha256', `session ${canonicalJson(namedBy(request))}`, 'hex').slice(0, 32)
  const denied = deniedReason(view, { subject: personSubject(name), sid, authTime: iat, jti: undefined }, nowMs)
  if (denied !== undefined) return refuse('MINT_DENIED', denied)
  const end = iat + Math.floor(people.lasts / 1_000)
  const claims: SessionClaims = {
    ...by,
    aud: service,
    auth_time: iat,
    exp: Math.min(end, iat + Math.floor(people.idle / 1_000)),
    groups,
    iat,
    iss: ringIssuer(ring),
    jti: tokenId(request),
    session_end: end,
    sid,
    sub: personSubject(name),
    use: 'session',
  }
  return signable(claims, key)
}

function isProven(request: Extract<PersonRequest, { type: 'login' }>, { credentials, name }: Person): boolean {
  const { proof } = request
  if (proof.kind === 'password') {
    const signed = passwordLoginBytes(request, name)
    return credentials.some((one) => one.kind === 'password' && verifiesRaw(one.publicKey, signed, proof.signature))
  }
  const passkey = credentials.find((one) => one.kind === 'passkey' && one.id === proof.id)
  if (passkey?.kind !== 'passkey') return false
  const expected = { challenge: loginChallenge(request), rpId: passkey.rpId }
  return assertionFault(proof, passkey.publicKey, expected) === undefined
}

function checkRenewal(
  request: Extract<PersonRequest, { type: 'renew' }>,
  view: PersonView,
  key: string,
  nowMs: number,
): Mintable | MintRefusal {
  const { atMs, token } = request
  if (nowMs - atMs > RENEW_MS_MAX || atMs - nowMs > SKEW_MS) return refuse('MINT_STALE', 'it was asked too long ago: ask anew')
  const shown = readSession(token, view)
  const iat = Math.floor(atMs / 1_000)
  if (shown === undefined || shown.exp <= iat || shown.iat > iat)
    return refuse('MINT_PERSON', 'this is no session that may go on')
  const { amr, aud, auth_time, session_end: end, sid, sub } = shown
  const people = Object.hasOwn(view.policy.services, aud) ? view.policy.services[aud]?.people : undefined
  const person = holderNow(view, shown)
  if (people === undefined || person === undefined) return refuse('MINT_PERSON', 'this is no session that may go on')
  const isTaken =
    shown.idp === undefined
      ? people.methods.includes(amr.includes('pwd') ? 'password' : 'passkey')
      : people.providers.includes(shown.idp)
  if (!isTaken) return refuse('MINT_NOT_ENTITLED', `${aud} does not take what it was begun with any more`)
  const denied = deniedReason(view, { subject: sub, sid, authTime: auth_time, jti: shown.jti }, nowMs)
  if (denied !== undefined) return refuse('MINT_DENIED', denied)
  // A policy that makes sessions shorter makes those that there are shorter, too.
  const over = Math.min(end, auth_time + Math.floor(people.lasts / 1_000))
  const exp = Math.min(over, iat + Math.floor(people.idle / 1_000))
  if (exp <= iat) return refuse('MINT_PERSON', 'this is no session that may go on')
  return signable({ ...shown, exp, groups: person.groups, iat, jti: tokenId(request), session_end: over }, key)
}

/** What may be asserted to the party of whoever the session that is shown is of. */
export function checkAssertion(request: AssertionRequest, view: PersonView, nowMs: number): Asserted | MintRefusal {
  const { acs, atMs, inResponseTo, party: entityId, ring, token } = request
  if (nowMs - atMs > RENEW_MS_MAX || atMs - nowMs > SKEW_MS) return refuse('MINT_STALE', 'it was asked too long ago: ask anew')
  const { saml: policy } = view.policy
  const party = policy?.parties.find((one) => one.entityId === entityId)
  if (policy === undefined || party === undefined || !party.acs.includes(acs))
    return refuse('MINT_NOT_ENTITLED', 'the policy has no such party, or not with this address')
  const shown = readSession(token, view)
  const iat = Math.floor(atMs / 1_000)
  const person = shown?.aud === policy.service && shown.exp > iat ? holderNow(view, shown) : undefined
  if (shown === undefined || person === undefined) return refuse('MINT_PERSON', 'this is no session that may go on')
  const denied = deniedReason(view, { subject: shown.sub, sid: shown.sid, authTime: shown.auth_time, jti: shown.jti }, nowMs)
  if (denied !== undefined) return refuse('MINT_DENIED', denied)
  if (party.groups.length > 0 && !party.groups.some((group) => person.groups.includes(group)))
    return refuse('MINT_NOT_ENTITLED', `${person.name} is in none of the groups of ${entityId}`)
  const { auth_time: authTime, session_end: sessionEnd, sid } = shown
  const id = `_${hash('sha256', `assertion ${canonicalJson(request)}`, 'hex')}`
  const { name, groups } = person
  return { ring, policy, party, acs, inResponseTo, id, name, groups, authTime, sessionEnd, sid, atMs }
}

/** The assertion, and what is signed for it. */
export function signedAssertionInfo(asserted: Asserted): { readonly assertion: string; readonly signedInfo: string } {
  const assertion = assertionXml(asserted)
  return { assertion, signedInfo: signedInfoXml(assertion, asserted.id, asserted.party.signature) }
}

function deniedReason(
  { ring, denials }: PersonView,
  of: { readonly subject: string; readonly sid: string; readonly authTime: number; readonly jti: string | undefined },
  nowMs: number,
): string | undefined {
  const credential = {
    issuer: ringIssuer(ring),
    subject: of.subject,
    sessionId: of.sid,
    issuedAtMs: of.authTime * 1_000,
    ...(of.jti === undefined ? {} : { tokenId: of.jti }),
  }
  const denied = denials.matchCredential(credential, nowMs)
  return denied === undefined ? undefined : `denied by ${denied.issuer}: ${denied.reason}`
}

/** Without the signature: for many kinds of key whoever has one can make another of it, and a login must not come to two sessions. */
function namedBy(request: PersonRequest): object {
  if (request.type === 'outside') {
    // Whatever the provider signs for one occasion, it is one session.
    const { proof, ...of } = request
    return { ...of, proof: { kind: proof.kind } }
  }
  if (request.type !== 'login') return request
  const { proof, ...occasion } = request
  return { ...occasion, proof: proof.kind === 'passkey' ? { id: proof.id, kind: proof.kind } : { kind: proof.kind } }
}

const tokenId = (request: PersonRequest): string => hash('sha256', `token ${canonicalJson(namedBy(request))}`, 'hex').slice(0, 32)

function signable(claims: object, key: string, header: (kid: string) => string = ringHeader): Mintable {
  const body = Buffer.from(canonicalJson(claims)).toString('base64url')
  return { ok: true, message: Buffer.from(`${header(ringJwk(key).kid)}.${body}`) }
}

/** The claims of a token that the ring signed as a session; undefined for anything else. Its times are not looked at. */
export function readSession(token: string, view: Pick<View, 'ring' | 'signingKey' | 'nodes'>): SessionClaims | undefined {
  const claims = readSigned(token, view)
  return claims?.use === 'session' ? (claims as unknown as SessionClaims) : undefined
}

/** The claims of a token that the ring signed under the header that it writes: they are what a holder wrote. */
export function readSigned(
  token: string,
  view: Pick<View, 'ring' | 'signingKey' | 'nodes'>,
  issuer: string = ringIssuer(view.ring),
): Readonly<Record<string, unknown>> | undefined {
  const [head, body, signature] = token.split('.')
  if (head === undefined || body === undefined || signature === undefined) return undefined
  const key = sessionKeys(view).find((one) => ringHeader(ringJwk(one).kid) === head)
  if (key === undefined || !verifiesRaw(key, Buffer.from(`${head}.${body}`), signature)) return undefined
  try {
    const claims = JSON.parse(Buffer.from(body, 'base64url').toString('utf8')) as Readonly<Record<string, unknown>>
    return claims.iss === issuer ? claims : undefined
  } catch {
    return undefined
  }
}

/**
 * The ring as an identity provider of SAML 2.0, on every node alike: single sign-on by HTTP-Redirect, answered by HTTP-POST (saml-profiles-2.0 section 4.1).
 * Nothing is kept on a node. What is asserted follows from the session and the view; by the ring's key only what its holders find so themselves.
 */
import { sign } from 'node:crypto'
import { LOGIN_PATH, SAML_IDP_PATHS } from '@ringwall/guard'
import {
  type AssertionRequest,
  checkAssertion,
  identityProviderMetadata,
  type PartyRequest,
  type PersonView,
  readPartyRequest,
  readSession,
  refusalXml,
  responseXml,
  sessionKeys,
  signedAssertionInfo,
} from '@ringwall/identity'
import type { PortalAnswer } from '@ringwall/proxy'
import type { People, SamlPolicy, View } from '@ringwall/ring'
import { type Asked, MintRefused, SigningError } from '../signing/signing-service.ts'
import { Attempts } from './attempts.ts'
import type { OpenIdVisit } from './openid-provider.ts'
import { noticePage, onwardsPage } from './pages.ts'
import type { HeldSamlKey } from './saml-key.ts'

const MINT_MS_MAX = 8_000
/** Of one session, on this node. */
const ASSERTIONS_MAX = 60
const ASSERTIONS_WINDOW_MS = 300_000
const RELAY_STATE = /^[\x20-\x7e]{0,1024}$/
/** Where somebody was to log in anew: since when, Unix seconds. */
const LOGIN_SINCE = 'ringwall_since'
const LOGIN_S_MAX = 600

export interface SamlProviderOptions {
  readonly ring: string
  /** Of this node. */
  readonly node: string
  readonly view: () => View
  readonly people: () => People
  readonly mint: (asked: Asked, timeoutMs: number) => Promise<{ readonly signature: Uint8Array }>
  readonly samlKey: () => Promise<HeldSamlKey>
  readonly log: (line: string) => void
}

export class SamlProvider {
  readonly #options: SamlProviderOptions
  readonly #assertions = new Attempts(ASSERTIONS_MAX, ASSERTIONS_WINDOW_MS)

  constructor(options: SamlProviderOptions) {
    this.#options = options
  }

  /** Undefined: it is for no endpoint of a provider. */
  async answer(visit: OpenIdVisit, path: string): Promise<PortalAnswer | undefined> {
    const view = this.#options.view()
    const policy = view.policy.saml
    if (policy === undefined || policy.service !== visit.request.service) return undefined
    if (path === SAML_IDP_PATHS.metadata) {
      const ringKeys = policy.parties.some(({ signature }) => signature === 'ring') ? sessionKeys(view) : []
      const body = identityProviderMetadata(policy, ringKeys)
      return { status: 200, headers: ['content-type', 'application/samlmetadata+xml', 'x-content-type-options', 'nosniff'], body }
    }
    return path === SAML_IDP_PATHS.signOn ? this.#signOn(visit, policy) : undefined
  }

  async #signOn(visit: OpenIdVisit, policy: SamlPolicy): Promise<PortalAnswer> {
    const { query, request, session, nowMs } = visit
    for (const name of new Set(query.keys()))
      if (query.getAll(name).length > 1) return notThisWay(`${name.slice(0, 32)} comes twice`)
    const since = Number(query.get(LOGIN_SINCE) ?? Number.NaN)
    const nowS = Math.floor(nowMs / 1_000)
    const isBack = since > nowS - LOGIN_S_MAX && since <= nowS
    // Who had to log in first may have taken as long as a login may take.
    const asked = readPartyRequest(query.get('SAMLRequest') ?? '', policy, isBack ? since * 1_000 : nowMs)
    const relayState = query.get('RelayState') ?? ''
    if (typeof asked === 'string' || !RELAY_STATE.test(relayState)) {
      this.#options.log(`a request of a SAML party is refused: ${typeof asked === 'string' ? asked : 'RelayState'}`)
      return notThisWay('The program that sent you asked for something that cannot be answered.')
    }
    const claims = session === undefined ? undefined : readSession(session, this.#options.view())
    const isFresh = claims !== undefined && (!asked.force || (isBack && claims.auth_time >= since))
    if (session === undefined || !isFresh) {
      if (asked.passive) return this.#refused(policy, asked, 'NoPassive', relayState, nowMs)
      const back = new URLSearchParams(query)
      back.set(LOGIN_SINCE, String(nowS))
      const to = `${SAML_IDP_PATHS.signOn}?${back}`
      if (to.length > 2_000) return notThisWay('The program that sent you asks in too many words.')
      return seeOther(`${LOGIN_PATH}?to=${encodeURIComponent(to)}${claims === undefined ? '' : '&again=1'}`)
    }
    if (!this.#assertions.take(claims.sid, nowMs))
      return noticePage('Too many logins', 'Please wait some minutes.', { status: 429, headers: ['retry-after', '60'] })
    try {
      const { acs, id: inResponseTo, party } = asked
      const { ring } = this.#options
      const of: AssertionRequest = {
        type: 'assertion',
        acs,
        atMs: nowMs,
        inResponseTo,
        party: party.entityId,
        ring,
        token: session,
      }
      return posted(acs, await this.#signed(of, nowMs), relayState)
    } catch (error) {
      if (error instanceof MintRefused && error.code === 'MINT_NOT_ENTITLED')
        return this.#refused(policy, asked, 'RequestDenied', relayState, nowMs)
      this.#options.log(`an assertion for ${asked.party.entityId} (${request.source}): ${(error as Error).message}`)
      if (!(error instanceof MintRefused) && !(error instanceof SigningError)) throw error
      return noticePage('Not just now', 'Nobody can log in just now. Please try again in a moment.', {
        status: 503,
        headers: ['retry-after', '2'],
      })
    }
  }

  /** The response, signed as the party takes it. @throws {MintRefused} @throws {SigningError} */
  async #signed(request: AssertionRequest, nowMs: number): Promise<string> {
    const view: PersonView = { ...this.#options.view(), people: this.#options.people() }
    const asserted = checkAssertion(request, view, nowMs)
    if ('ok' in asserted) throw new MintRefused(asserted)
    const { assertion, signedInfo } = signedAssertionInfo(asserted)
    if (asserted.party.signature === 'ring') {
      const { signature } = await this.#options.mint({ person: request }, MINT_MS_MAX)
      return responseXml(asserted, assertion, signedInfo, signature, undefined)
    }
    const { privateKey, certificate } = await this.#options.samlKey()
    if (!asserted.policy.keys.some((one) => one.certificate === certificate)) {
      const how = `ringwall key saml prints what the policy needs under saml.keys for ${this.#options.node}`
      throw new SigningError('SIGNING_NO_KEY', `the policy has no SAML key of this node: ${how}`)
    }
    return responseXml(asserted, assertion, signedInfo, sign('sha256', Buffer.from(signedInfo), privateKey), certificate)
  }

  #refused(
    policy: SamlPolicy,
    asked: PartyRequest,
    why: Parameters<typeof refusalXml>[2],
    relayState: string,
    nowMs: number,
  ): PortalAnswer {
    return posted(asked.acs, refusalXml(policy, asked, why, nowMs), relayState)
  }
}

function posted(acs: string, xml: string, relayState: string): PortalAnswer {
  const fields = { SAMLResponse: Buffer.from(xml).toString('base64'), ...(relayState === '' ? {} : { RelayState: relayState }) }
  return onwardsPage('Logging in', acs, fields, { status: 200 }, new URL(acs).origin)
}

function notThisWay(text: string): PortalAnswer {
  return noticePage('This does not work', text, { status: 400 })
}

function seeOther(to: string): PortalAnswer {
  return { status: 303, headers: ['location', to, 'cache-control', 'no-store', 'referrer-policy', 'no-referrer'], body: '' }
}

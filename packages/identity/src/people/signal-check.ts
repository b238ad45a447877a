/**
 * Security event tokens that the ring sends (RFC 8417, OpenID Shared Signals Framework 1.0, CAEP 1.0). Each holder of the ring's key looks by its own
 * view whether it is so: that somebody's sessions are over takes the denial that ended them, so that no node makes one up. What is signed of one
 * fact for one stream is always the same, with the same `jti`.
 */
import { hash } from 'node:crypto'
import { type DenialSubject, type People, personSubject, ringIssuer, type SignalStreamPolicy, type View } from '@ringwall/ring'
import { canonicalJson } from '@ringwall/ring/tx'
import type { MintRefusal } from '../mint-check.ts'
import type { SignalFact, SignalRequest } from './person-request.ts'

export const SIGNAL_EVENTS = {
  sessions: 'https://schemas.openid.net/secevent/caep/event-type/session-revoked',
  credentials: 'https://schemas.openid.net/secevent/caep/event-type/credential-change',
  verification: 'https://schemas.openid.net/secevent/ssf/event-type/verification',
} as const
/** How old a change of credentials may be, and how far ahead its node's clock. */
const CHANGE_MS_MAX = 86_400_000
const SKEW_MS = 60_000
/** In CAEP's words (section 3.3.1). */
const CREDENTIAL_TYPES = { passkey: 'fido2-platform', password: 'password' } as const

type SignalView = Pick<View, 'ring' | 'denials'> & {
  readonly policy: Pick<View['policy'], 'openid'>
  readonly people: People
}

const refuse = (code: MintRefusal['code'], reason: string): MintRefusal => ({ ok: false, code, reason })

export function signalStream({ policy }: Pick<SignalView, 'policy'>, name: string): SignalStreamPolicy | undefined {
  return policy.openid?.streams.find((one) => one.name === name)
}

/** What a fact is called in a stream: receivers tell by it what they had. */
export function signalId(ring: string, stream: string, fact: SignalFact): string {
  return hash('sha256', `signal ${canonicalJson({ fact, ring, stream })}`, 'hex').slice(0, 32)
}

/** The person whose sessions a denial ends, as tokens name them; undefined when it is none of these. */
export function sessionsEnded(ring: string, subject: DenialSubject): string | undefined {
  const isOfPeople = subject.kind === 'subject' || subject.kind === 'issued-before'
  if (!isOfPeople) return undefined
  const named = subject.kind === 'issued-before' ? subject.subject : subject.value
  const isOurs = subject.issuer === undefined || subject.issuer === ringIssuer(ring)
  return isOurs && named?.startsWith('person:') === true ? named : undefined
}

export function checkSignal(
  { stream: name, fact, ring }: SignalRequest,
  view: SignalView,
  nowMs: number,
): { readonly claims: object } | MintRefusal {
  const { openid } = view.policy
  const stream = signalStream(view, name)
  if (openid === undefined || stream === undefined) return refuse('MINT_NOT_ENTITLED', `the policy has no stream ${name}`)
  const told = (sub: string, atMs: number, event: object) => {
    const atS = Math.floor(atMs / 1_000)
    return {
      claims: {
        aud: stream.audience,
        events: { [SIGNAL_EVENTS[fact.kind]]: event },
        iat: atS,
        iss: openid.issuer,
        jti: signalId(ring, name, fact),
        sub_id: fact.kind === 'verification' ? { format: 'opaque', id: name } : { format: 'iss_sub', iss: openid.issuer, sub },
        txn: signalId(ring, '', fact),
      },
    }
  }
  if (fact.kind === 'verification') {
    if (Math.abs(nowMs - fact.atMs) > CHANGE_MS_MAX) return refuse('MINT_STALE', 'it was asked too long ago: ask anew')
    return told('', fact.atMs, fact.state === '' ? {} : { state: fact.state })
  }
  const type = fact.kind === 'sessions' ? 'session-revoked' : 'credential-change'
  if (!stream.events.includes(type)) return refuse('MINT_NOT_ENTITLED', `${name} is told nothing of ${type}`)
  if (fact.kind === 'sessions') {
    const denial = view.denials.find(fact.denial, nowMs)
    const sub = denial === undefined ? undefined : sessionsEnded(ring, denial.subject)
    if (denial === undefined || sub === undefined || denial.issuedAtMs !== fact.atMs)
      return refuse('MINT_STALE', 'no denial that stands says so')
    const initiator = denial.issuer.startsWith('operator:') ? 'admin' : 'policy'
    return told(sub, fact.atMs, { event_timestamp: Math.floor(fact.atMs / 1_000), initiating_entity: initiator })
  }
  if (fact.atMs > nowMs + SKEW_MS || fact.atMs < nowMs - CHANGE_MS_MAX)
    return refuse('MINT_STALE', 'the change is of a time to come, or too old')
  const has = view.people.get(fact.person)?.credentials.some(({ kind }) => kind === fact.credential) === true
  if (has !== (fact.change === 'create')) return refuse('MINT_STALE', 'the person’s credentials are not so')
  return told(personSubject(fact.person), fact.atMs, {
    change_type: fact.change,
    credential_type: CREDENTIAL_TYPES[fact.credential],
    event_timestamp: Math.floor(fact.atMs / 1_000),
  })
}

/** The words of judgement. Pure: no `node:` import in this package. */
import type { CompiledRoute, Credential, DenialIndex, View } from '@ringwall/ring'
import type { WafMatch, WafRequest, WafResponse, WafTransaction, WafVerdict } from '@ringwall/waf'
import type { ApiProblem } from '@ringwall/waf/api'
import type { ChallengeTerms, GrantedPass } from './challenge.ts'
import type { Indicators } from './indicators.ts'
import type { AnswerCost, AnswerHead } from './limits.ts'
import type { Budget } from './rate-limiter.ts'

export type Outcome = 'allow' | 'deny' | 'challenge' | 'throttle'

/** Which check decided. */
export type Check =
  | 'denial'
  | 'route'
  | 'source'
  | 'challenge'
  | 'limit'
  | 'account'
  | 'api'
  | 'waf'
  | 'model'
  | 'identity'
  | 'login'
  | 'authorization'
  | 'staleness'
  | 'none'

/** A judgement with its reason. `reason` is for operators; clients see only the status and the request id. */
export interface Decision {
  readonly outcome: Outcome
  /** 200 for allow, else what the client gets: 403, 429, 401, 404 (no such route), 503 (view too stale). */
  readonly status: number
  readonly check: Check
  readonly reason: string
  /** `denial:ID`, `limit:NAME`, `rule:ID`, `view:stale`, `authorization:POLICY` (`authorization:default`: nothing permits it), `callers:SERVICE`, `api:path` and the like (also where the API only watches), or undefined. */
  readonly rule: string | undefined
  /** Ledger height of the view that judged. */
  readonly height: number
  /** Age of the view when it judged, milliseconds since the last certified block. */
  readonly viewAgeMs: number
  /** Whether the view was older than the route tolerates. Refused with 503 where the policy says `closed`, judged on otherwise. */
  readonly stale: boolean
  /** Whether a denial not yet certified decided. */
  readonly provisional: boolean
  readonly retryAfterS: number | undefined
  /** Of the limit that is used up. */
  readonly budget?: Budget
  /** What the WAF matched, also when it only watched. */
  readonly matches: readonly WafMatch[]
  readonly wafScore: number
  /** What would have happened in enforce mode; equals `outcome` there. */
  readonly shadowOutcome: Outcome
}

/** Who a certificate of the ring (X.509-SVID) says that a client is. It verified when it was shown. */
export interface Peer extends Credential {
  /** Its SPIFFE id. */
  readonly subject: string
  /** SHA-256 of the certificate, lower-case hex, as `x-forwarded-client-cert` has it. */
  readonly hash: string
  /** Of a service: the node that said which program it is. It must still be one that may say so. */
  readonly attestedBy?: string
  /** Unix milliseconds. Nobody is known by it afterwards. */
  readonly expiresAtMs: number
}

/** A request as the guard meets it: already parsed, its source already settled by the trusted-proxy rules. */
export interface GuardRequest extends WafRequest {
  /** Host without port, lower case. */
  readonly host: string
  /** Path of the target, percent-decoded once and normalized, for routing only. */
  readonly path: string
  /** `UNIQUE_ID` for rules. */
  readonly requestId?: string
  /** JA4 fingerprint of the client's TLS; undefined without TLS. */
  readonly ja4?: string | undefined
  /** SHA-256 of the client's certificate, base64url, where TLS asked for one and it was shown. */
  readonly clientCertificate?: string | undefined
  /** Undefined where none was shown, or not one of the ring. */
  readonly peer?: Peer | undefined
  /** Fingerprint of the client's HTTP/2; undefined over HTTP/1.1. */
  readonly http2?: string | undefined
  /** The client's connection is TLS, here or before a trusted proxy. */
  readonly secure?: boolean | undefined
  /** There is too little time for all who ask. */
  readonly pressed?: boolean | undefined
}

export type TokenVerdict =
  | (Credential & {
      readonly ok: true
      readonly claims: Readonly<Record<string, unknown>>
      /** The service that it is for, where that is for the guard to see: of the ring’s own tokens. */
      readonly audience?: string
    })
  | { readonly ok: false; readonly code: string; readonly reason: string }

/** How a token comes: what one that is bound to a key or a certificate is held to. */
export interface Presentation {
  /** Of the Authorization field. */
  readonly scheme: 'Bearer' | 'DPoP'
  /** The values of the DPoP fields (RFC 9449 section 4.1). */
  readonly proofs: readonly string[]
  readonly method: string
  /** As the request has it. */
  readonly target: string
  /** The host asked for, with its port where that is not the scheme's own. */
  readonly host: string
  /** Whether the connection is TLS here. */
  readonly isSecure: boolean
  /** SHA-256 of the certificate that the client showed and holds the key of, base64url (RFC 8705 section 3.1). */
  readonly certificate: string | undefined
}

/** Verifies bearer tokens against the issuers that the policy trusts. A known token is answered at once. */
export interface TokenVerifier {
  /** @param shown Undefined where nobody presents it: what it is bound to is not looked at then. */
  verify(token: string, nowMs: number, shown?: Presentation): TokenVerdict | Promise<TokenVerdict>
}

/** Passwords known from breaches. What is asked is kept nowhere. */
export interface Breaches {
  /** A promise where it is to be read first; it does not fail: what cannot be found out is false. */
  has(password: string): boolean | Promise<boolean>
}

/** What a model says of a request that it would refuse. */
export interface ModelVerdict {
  /** Else it only watches. */
  readonly refuses: boolean
  /** `model:HASH`. */
  readonly rule: string
  readonly reason: string
}

/** Learned from requests: judges what the WAF lets pass. Must not throw, and not keep `body`. */
export interface RequestModel {
  /** @returns Undefined: it has nothing against it. */
  judge(request: GuardRequest, body: Uint8Array): ModelVerdict | undefined
}

/** What judging needs beside the request; `now` is read once a request. */
export interface GuardEnvironment {
  readonly view: View
  /** Denials by gossip, not yet certified. */
  readonly provisional: DenialIndex
  readonly tokens: TokenVerifier
  readonly nowMs: number
  /** When the last block became final here; undefined: never since start. */
  readonly certifiedAtMs: number | undefined
  /** Sets that the node loaded. */
  readonly indicators?: Indicators | undefined
  /** Monotonic microseconds. Given for a sample of requests: the rules of the WAF are timed one by one. */
  readonly stopwatch?: (() => number) | undefined
}

/** What a login looked like, for detectors. */
export interface LoginAttempt {
  readonly service: string
  /** `accountKey` of the name typed, or undefined when the request had none. */
  readonly account: string | undefined
}

/** What the check of the service's API found. */
export interface ApiVerdict {
  /** `GET /orders/{id}` as declared; undefined when no operation is declared for the request. */
  readonly operation: string | undefined
  /** What is outside, refused or only watched. */
  readonly problem: ApiProblem | undefined
}

/** A session that verified. */
export interface ShownSession {
  readonly token: string
  readonly isHalfOver: boolean
}

/** One request under judgement. */
export interface Judgement {
  readonly route: CompiledRoute | undefined
  /** Set as soon as it is decided; allow only after the last check. */
  readonly decision: Decision | undefined
  /** Bytes of body that the remaining checks want to see; 0 when none. */
  readonly bodyBytesWanted: number
  /** Of the token that came with the request and verified. */
  readonly credential?: Credential | undefined
  /** Of the certificate of the ring that came with it. */
  readonly peer?: Peer | undefined
  /** It is for a page of ours, which answers once it is allowed. */
  readonly portal?: boolean | undefined
  /** Refused because nobody is logged in. */
  readonly loginWanted?: boolean | undefined
  /** The session that is shown; `isHalfOver`: it is to be renewed. */
  readonly session?: ShownSession | undefined
  /** Where the decision is to challenge: what whoever does the work gets. */
  readonly challenge?: ChallengeTerms | undefined
  /** For whoever did it: the pass, to be kept by the client. */
  readonly granted?: GrantedPass | undefined
  /** The body holds a password that is known from breaches: the upstream is to be told. */
  readonly breached?: boolean | undefined
  /** Set once the body was seen on a route declared as login. */
  readonly login: LoginAttempt | undefined
  /** As of `login`, also where the route makes accounts. */
  readonly account?: string | undefined
  /** Undefined where the service declares no API, and until that is looked at. */
  readonly api: ApiVerdict | undefined
  /** Whether the response is to be judged as well, by `responseHead` and `responseBody`. Said with the decision to allow. */
  readonly responseWanted: boolean
  /** Bytes of the response's body that rules want to see; known after `responseHead`. */
  readonly responseBytesWanted: number
}

/** A request that the WAF judged, and what became of it. */
export interface WafJudgement {
  readonly request: GuardRequest
  readonly route: CompiledRoute
  readonly decision: Decision
  readonly verdict: WafVerdict
  /** For its `audit`, which is made when it is asked for. */
  readonly waf: Pick<WafTransaction, 'audit'>
}

/**
 * Told of every request that the WAF looked at, once it is decided. Must neither throw nor keep `body`, which is reused.
 *
 * @param body What was inspected of it; empty when the head decided.
 */
export type WafWitness = (judged: WafJudgement, body: Uint8Array, truncated: boolean, nowMs: number) => void

export interface Guard {
  /** Checks that need no body: denials, route, staleness, rate limits, API, WAF phase 1, identity, authorization. */
  head(request: GuardRequest, environment: GuardEnvironment): Judgement | Promise<Judgement>
  /**
   * Whether somebody may do something: what `head` says of the same request but for limits, API and WAF.
   *
   * @param verdict Of the token; undefined: there is none.
   */
  access(request: GuardRequest, verdict: TokenVerdict | undefined, environment: GuardEnvironment): Decision
  /** Checks of the body: denied accounts, API, WAF phase 2. Sets the decision. `body` may be empty. */
  body(judgement: Judgement, body: Uint8Array, truncated: boolean, environment: GuardEnvironment): Judgement
  /**
   * The same a slice at a time, so that a long inspection does not hold up other requests: each call of the result does some
   * milliseconds of it and returns nothing while there is more, or what has to be waited for before the next.
   */
  bodyInSlices(
    judgement: Judgement,
    body: Uint8Array,
    truncated: boolean,
    environment: GuardEnvironment,
  ): () => Judgement | undefined | Promise<void>
  /** WAF phase 3, where `responseWanted`. Sets another decision when the response is not to be let out. */
  responseHead(judgement: Judgement, response: WafResponse, environment: GuardEnvironment): Judgement
  /** WAF phases 4 and 5, once, after `responseHead`. `body` may be empty; `truncated`: more of it follows, or may. */
  responseBody(judgement: Judgement, body: Uint8Array, truncated: boolean, environment: GuardEnvironment): Judgement
  /**
   * Judges again what may have changed since a request was allowed and is still under way, such as a WebSocket: whether its source
   * and its token are denied, whether its service is still there, wants another identity or does not let it in. Undefined when nothing
   * objects.
   */
  review(judgement: Judgement, environment: GuardEnvironment): Decision | undefined
  /** What `review` needs of a judgement, and nothing else: to be kept for as long as a WebSocket is open. */
  lasting(judgement: Judgement): Judgement
  /** It is under way no more, whatever became of it: to be told once of every judgement that `head` gave. */
  release(judgement: Judgement): void
  /** What the application answered: some limits count by it. */
  answered(judgement: Judgement, answer: AnswerHead, nowMs: number): void
  /** What it came to, once it is over: others count by that. */
  sent(judgement: Judgement, cost: AnswerCost, nowMs: number): void
  /** For a request that was allowed and whose response was not judged to its end, whatever the reason: WAF phase 5. */
  end(judgement: Judgement): void
}

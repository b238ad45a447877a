/** What is told of a request when it has ended, to whoever looks for attacks: nothing of its body, and of its fields the session alone. */
import { cookieValues, type Judgement, loginFailed } from '@ringwall/guard'
import type { Policy } from '@ringwall/ring'

export interface EndedRequest {
  /** Unix milliseconds. */
  readonly atMs: number
  readonly service: string
  readonly route: string | undefined
  readonly method: string
  /** As it was asked for, without the query. */
  readonly path: string
  /** What the client got. */
  readonly status: number
  /** Of the response's body, as it was sent. */
  readonly bytes: number
  readonly source: string
  /** JA4. */
  readonly fingerprint: string | undefined
  /** Milliseconds from the request to the end of its answer. */
  readonly tookMs?: number | undefined
  /** `accountKey` of the name in the body. */
  readonly account: string | undefined
  /** Of the token, or of the cookie that the policy names: whoever has it is the session. */
  readonly session: string | undefined
  /** Issuer and subject of the token. */
  readonly subject?: string | undefined
  readonly login: 'failed' | 'good' | undefined
  readonly signup: boolean
}

/** Who looks for attacks. */
export interface EndedRequests {
  /** Asked first: whether any rule is in force. */
  wants(): boolean
  take(request: EndedRequest): void
}

/** What the exchange knows besides the judgement. */
export type EndedFacts = Pick<
  EndedRequest,
  'atMs' | 'method' | 'path' | 'status' | 'bytes' | 'source' | 'fingerprint' | 'tookMs'
> & {
  readonly rawHeaders: readonly string[]
}

const SESSION_CHARS_MAX = 4_096

/** Undefined: it met no service. */
export function endedRequest(
  judgement: Judgement,
  { rawHeaders, ...facts }: EndedFacts,
  policy: Policy,
): EndedRequest | undefined {
  const { route, decision, credential, account } = judgement
  if (route === undefined) return undefined
  const { status } = facts
  const isAnswered = decision?.outcome === 'allow'
  const isGood = isAnswered && status < 400
  const login = judgement.login === undefined || !isAnswered ? undefined : loginFailed(judgement, status) ? 'failed' : undefined
  return {
    ...facts,
    service: route.service.name,
    route: route.route?.name,
    account,
    session:
      credential === undefined
        ? cookieOf(rawHeaders, policy.detectors.session?.cookie)
        : `${credential.issuer}\n${credential.sessionId ?? credential.tokenId ?? credential.subject ?? ''}`,
    subject: credential?.subject === undefined ? undefined : `${credential.issuer}\n${credential.subject}`,
    login: login ?? (judgement.login !== undefined && isGood ? 'good' : undefined),
    signup: isGood && route.route?.signup !== undefined && facts.method === 'POST',
  }
}

/** The first value: a client that sends several is some session or other. */
function cookieOf(rawHeaders: readonly string[], name: string | undefined): string | undefined {
  if (name === undefined) return undefined
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]!.toLowerCase() !== 'cookie') continue
    const [value] = cookieValues([rawHeaders[at + 1]!], name)
    if (value !== undefined && value !== '') return value.slice(0, SESSION_CHARS_MAX)
  }
  return undefined
}

/**
 * What is told of a request to those who asked for it: the outcome of a login, what the list of an API's operations counts, what
 * detectors fold. Whoever fails at taking it keeps nobody from being answered.
 */
import { type Judgement, loginFailed } from '@ringwall/guard'
import type { Policy } from '@ringwall/ring'
import type { Context } from './context.ts'
import { endedRequest } from './ended-request.ts'
import { detached } from './header-names.ts'

/** The request, as it came. */
export interface ReportedRequest {
  readonly id: string
  readonly method: string
  readonly target: string
  readonly source: string
  readonly ja4: string | undefined
  readonly rawHeaders: readonly string[]
}

/** @param status That the application answered with. */
export function reportLogin(
  { options, log }: Context,
  judgement: Judgement,
  { id, source }: ReportedRequest,
  status: number,
): void {
  const { login } = judgement
  if (login === undefined || options.onLogin === undefined) return
  const failed = loginFailed(judgement, status)
  try {
    options.onLogin({ service: login.service, account: login.account, source, failed, atMs: Date.now() })
  } catch (error) {
    log('warn', `request ${id}: reporting a login failed: ${(error as Error).message}`)
  }
}

/** @param status That the client was answered with. */
export function reportApi({ options, log }: Context, { api, route }: Judgement, request: ReportedRequest, status: number): void {
  if (api === undefined || route === undefined || options.onApi === undefined) return
  const { operation, problem } = api
  // What is not declared is kept by its path, and the path is a part of the request's text.
  const path = operation === undefined ? detached(withoutQuery(request.target)) : ''
  const method = detached(request.method)
  try {
    options.onApi({ service: route.service.name, method, path, operation, rule: problem?.rule, status, atMs: Date.now() })
  } catch (error) {
    log('warn', `request ${request.id}: reporting to the API’s list failed: ${(error as Error).message}`)
  }
}

/** @param bytes Of the answer's body. @param tookMs Until its end. */
export function reportEnded(
  { options: { ended }, log }: Context,
  judgement: Judgement,
  { id, method, target, source, ja4, rawHeaders }: ReportedRequest,
  status: number,
  bytes: number,
  tookMs: number,
  policy: Policy,
): void {
  if (ended === undefined) return
  try {
    const path = withoutQuery(target)
    const told = { atMs: Date.now(), method, path, status, bytes, source, fingerprint: ja4, tookMs, rawHeaders }
    const request = endedRequest(judgement, told, policy)
    if (request !== undefined) ended.take(request)
  } catch (error) {
    log('warn', `request ${id}: reporting it to detectors failed: ${(error as Error).message}`)
  }
}

export function withoutQuery(target: string): string {
  const at = target.indexOf('?')
  return at < 0 ? target : target.slice(0, at)
}

/** Whom a login is for, and by which password: denied accounts, too many names, passwords known from breaches. */

import { accountKey } from '@ringwall/ring'
import { type Accounts, accountsOf, type Objection, type RequestJudgement } from './judgement.ts'
import { needsAccount } from './limits.ts'
import { loginNames } from './login-names.ts'
import { isLogin, OUTSIDE_PATHS, portalBodyBytesMax } from './people.ts'
import { denial } from './source-checks.ts'
import type { Breaches, GuardEnvironment } from './types.ts'

/** Whom a login or a sign-up is for must not be denied. Notes what it looked like. */
export function loginObjection(
  judgement: RequestJudgement,
  body: Uint8Array,
  truncated: boolean,
  environment: GuardEnvironment,
): Objection | undefined {
  const route = judgement.route!
  const declared = accountsOf(route)
  if (declared === undefined) return undefined
  judgement.check = 'denial'
  const service = route.service.name
  const read = truncated ? undefined : loginNames(judgement.request.headers, body, declared.account)
  // Whom it is for must be known: a denied account must not get in behind padding or among many others.
  if (read === undefined) {
    const reason = truncated ? `a login of more than ${body.length} bytes is not read` : 'a login that names many accounts'
    return { outcome: 'deny', status: truncated ? 413 : 400, reason }
  }
  if (read.doubt !== undefined)
    return { outcome: 'deny', status: 400, reason: `a login that cannot be read for sure: ${read.doubt}` }
  const accounts = [...new Set(read.names.map((name) => accountKey(environment.view.ring, service, name)))]
  ;[judgement.account] = accounts
  if (route.route!.login !== undefined) judgement.login = { service, account: accounts[0] }
  for (const account of accounts) {
    const denied = denial(environment, (index) => index.matchAccount(service, account, environment.nowMs))
    if (denied !== undefined) return denied
  }
  // Which of them the server takes is not known: an attacker’s own would stand for the one that is tried.
  if (accounts.length > 1 && route.route!.limits.some(needsAccount))
    return { outcome: 'deny', status: 400, reason: 'a login that names several accounts' }
  return undefined
}

/** A form of ours: whom it is for must not be denied. */
export function portalObjection(
  judgement: RequestJudgement,
  body: Uint8Array,
  truncated: boolean,
  environment: GuardEnvironment,
): Objection | undefined {
  judgement.check = 'denial'
  if (truncated) {
    const most = portalBodyBytesMax(judgement.request)
    return { outcome: 'deny', status: 413, reason: `a form of more than ${most} bytes is not read` }
  }
  // What is no form of ours names nobody who logs in.
  if (body.length === 0 || judgement.request.target === OUTSIDE_PATHS.signals) return undefined
  const service = judgement.route!.service.name
  // The portal reads forms alone, and strictly: of others it finds no name.
  const names = loginNames(judgement.request.headers, body, 'name')?.names
  if (names === undefined || names.length > 1)
    return { outcome: 'deny', status: 400, reason: 'a login that names several people' }
  const [name] = names
  if (name === undefined || !isLogin(judgement.request)) return undefined
  const account = accountKey(environment.view.ring, service, name)
  judgement.login = { service, account }
  return denial(environment, (index) => index.matchAccount(service, account, environment.nowMs))
}

/** A promise where the list is not in memory. What is not found out in time is not breached. */
export function breachObjection(
  judgement: RequestJudgement,
  breaches: Breaches | undefined,
  { password, breached: action }: Accounts,
  body: Uint8Array,
): Objection | undefined | Promise<Objection | undefined> {
  if (breaches === undefined || password === undefined || body.length === 0) return undefined
  judgement.check = 'account'
  // Many of them are refused as many accounts are: any may be the one that counts.
  const given = loginNames(judgement.request.headers, body, password, (value) => value)?.names
  if (given === undefined) return { outcome: 'deny', status: 400, reason: 'a login with many passwords' }
  const said = (any: boolean): Objection | undefined => {
    judgement.breached = any
    if (!any || action === 'pass' || (action === 'challenge' && judgement.pass !== undefined)) return undefined
    return { outcome: action, status: 403, reason: 'the password is known from breaches', rule: 'password:breached' }
  }
  const answers = given.map((one) => breaches.has(one))
  if (answers.every((answer) => typeof answer === 'boolean')) return said(answers.includes(true))
  return Promise.all(answers).then((all) => said(all.includes(true)))
}

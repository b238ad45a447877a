/** Tokens that the ring signs, as operators ask for them. */
import { hash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { RingwallClient } from '@ringwall/client'
import { TOKEN_TTL_S_MAX, type TokenConfirmation } from '@ringwall/identity/mint-request'
import { UsageError } from '../errors.ts'
import { duration, printable, time } from '../format.ts'
import { type Format, printOne } from '../output.ts'

/** Clocks may differ by so much: a denial outlives its token. */
const SKEW_MS = 60_000
const TOKEN = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/

export interface TokenOptions {
  readonly service: string
  readonly audience: string
  readonly ttlMs: number
  /** `name=value`. */
  readonly claims: readonly string[]
  /** Thumbprint of the key that it is bound to. */
  readonly key?: string | undefined
  /** PEM file of the certificate that it is bound to. */
  readonly certificate?: string | undefined
}

const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/

/** What the token is bound to; undefined for nothing. */
function confirmationOf({ key, certificate }: TokenOptions): TokenConfirmation | undefined {
  if (key !== undefined && !THUMBPRINT.test(key))
    throw new UsageError(`--dpop-key ${printable(key)}: expected a thumbprint (RFC 7638, SHA-256 in base64url: 43 characters)`)
  if (certificate === undefined) return key === undefined ? undefined : { jkt: key }
  let der: Buffer
  try {
    der = new X509Certificate(readFileSync(certificate)).raw
  } catch (error) {
    throw new UsageError(`--bound-certificate ${printable(certificate)}: ${(error as Error).message}`)
  }
  return { ...(key === undefined ? {} : { jkt: key }), 'x5t#S256': hash('sha256', der, 'base64url') }
}

export async function tokenMint(client: RingwallClient, format: Format, options: TokenOptions): Promise<void> {
  const { service, audience, ttlMs } = options
  const claims = Object.fromEntries(
    options.claims.map((text) => {
      const at = text.indexOf('=')
      if (at < 1) throw new UsageError(`--claim ${printable(text)}: expected NAME=VALUE`)
      return [text.slice(0, at), text.slice(at + 1)]
    }),
  )
  const cnf = confirmationOf(options)
  const bound = cnf === undefined ? {} : { cnf }
  const minted = await client.tokenMint({ type: 'token', service, audience, ttlS: Math.round(ttlMs / 1_000), claims, ...bound })
  // The token alone on stdout: it is what scripts want.
  printOne(format, minted, ({ token }) => token, minted.id)
  process.stderr.write(`token ${minted.id} of ${minted.subject} for ${minted.audience}, until ${time(minted.expiresAtMs)}\n`)
}

function claimsOf(token: string): Readonly<Record<string, unknown>> {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] as string, 'base64url').toString())
    if (typeof claims === 'object' && claims !== null) return claims as Record<string, unknown>
  } catch {
    // Falls through.
  }
  throw new UsageError('this is no token: its claims are no JSON')
}

/** What a node says of it: good or not, and its claims. */
export async function tokenShow(client: RingwallClient, format: Format, token: string): Promise<void> {
  if (!TOKEN.test(token)) throw new UsageError('expected a token: three parts in base64url, with dots between them')
  const answer: Record<string, unknown> = { ...(await client.tokenIntrospect(token)) }
  const { jti } = claimsOf(token)
  printOne(
    format,
    answer,
    (shown) =>
      shown.active === true
        ? Object.entries(shown)
            .map(([name, value]) => `${name.padEnd(12)} ${printable(typeof value === 'string' ? value : JSON.stringify(value))}`)
            .join('\n')
        : 'not active: expired, revoked, or not of an issuer that this ring trusts',
    typeof jti === 'string' ? jti : '-',
  )
}

/** @param given A token, or its id. */
export async function tokenRevoke(client: RingwallClient, given: string, reason: string, dryRun: boolean): Promise<void> {
  let id = given
  let ttlMs = TOKEN_TTL_S_MAX * 1_000 + SKEW_MS
  if (TOKEN.test(given)) {
    const { jti, exp } = claimsOf(given)
    if (typeof jti !== 'string' || typeof exp !== 'number')
      throw new UsageError('the token has no jti and exp: deny its subject instead, with ringwall deny add subject')
    id = jti
    ttlMs = exp * 1_000 - Date.now() + SKEW_MS
    if (ttlMs <= 0) {
      process.stderr.write('the token has expired already\n')
      return
    }
  }
  const subject = { kind: 'token', value: id } as const
  if (dryRun) {
    await client.rehearse({ type: 'deny.add', subject, ttlMs, reason })
    process.stderr.write(`would revoke ${printable(id)}\n`)
    return
  }
  const answer = await client.denyAdd(subject, ttlMs, reason)
  const how = 'height' in answer ? `certified at height ${answer.height} in ${duration(answer.elapsedMs)}` : answer.waiting
  process.stderr.write(`revoked ${printable(id)} for ${duration(ttlMs)}; ${how}\n`)
}

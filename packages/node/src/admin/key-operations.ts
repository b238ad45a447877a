/** What the admin API does with the ring's keys: shows them, and has tokens and certificates made. */
import { hash } from 'node:crypto'
import type { TokenVerdict } from '@ringwall/guard'
import {
  authorityOf,
  certificateOf,
  certificatePem,
  DPOP_ALGORITHMS,
  MintRequestInvalid,
  parseSignedMintRequest,
  ringJwk,
  type SignedMintRequest,
} from '@ringwall/identity'
import { LedgerError } from '@ringwall/ledger'
import { KEY_NAMES, type KeyName, ringIssuer, viewOfKey } from '@ringwall/ring'
import { z } from 'zod'
import { denialOfCredential } from '../known-denials.ts'
import type { RunningNode } from '../running-node.ts'
import { AuthorityCertificates } from '../signing/authority-certificates.ts'
import { type Asked, MintRefused, SigningError } from '../signing/signing-service.ts'
import type { Answer, Call, Operation } from './http.ts'
import { ApiProblem } from './problem.ts'

const MINT_MS_MAX = 8_000
const REVOKE_MS_MAX = 5_000

type Accepted = Extract<TokenVerdict, { ok: true }>
/** How often who trusts the ring should look for new keys, seconds. */
const REFRESH_HINT_S = 300

export function keyOperations(node: RunningNode): readonly Operation[] {
  const authority = new AuthorityCertificates({ view: node.view, sign: () => minted(node, { authority: true }) })
  return [
    { method: 'GET', path: '/v1/keys', run: () => ({ json: { keys: KEY_NAMES.map((name) => keyNamed(node, name)) } }) },
    {
      method: 'GET',
      path: '/v1/keys/saml',
      run: async () => ({ json: { node: node.config.id, certificate: await node.samlCertificate() } }),
    },
    { method: 'GET', path: '/v1/workloads', run: () => ({ json: workloads(node) }) },
    // Open: each request is signed by who may ask, and every holder of the key checks that.
    { method: 'POST', path: '/v1/tokens', open: true, run: async (call) => ({ json: await mintToken(node, call) }) },
    { method: 'POST', path: '/v1/tokens/introspect', run: async (call) => ({ json: await introspect(node, call) }) },
    { method: 'POST', path: '/v1/tokens/revoke', open: true, run: async (call) => revoke(node, call) },
    { method: 'POST', path: '/v1/svids', open: true, run: async (call) => ({ json: await mintSvid(node, call, authority) }) },
    { method: 'GET', path: '/v1/bundle', open: true, run: async () => ({ json: await bundle(node, authority) }) },
    { method: 'GET', path: '/.well-known/jwks.json', open: true, run: () => ({ json: { keys: jwks(node) } }) },
    { method: 'GET', path: '/.well-known/oauth-authorization-server', open: true, run: () => ({ json: discovery(node) }) },
    { method: 'GET', path: '/.well-known/openid-configuration', open: true, run: () => ({ json: discovery(node) }) },
  ]
}

function keyNamed(node: RunningNode, name: KeyName): unknown {
  const held = node.ledger.state()
  const view = name === 'signing' ? node.view().signingKey : viewOfKey(held.sealingKey, held.validators)
  const { key, epoch, threshold, holders, madeAtMs, ceremony, asked, faults, former } = view
  const state =
    key !== undefined
      ? 'ready'
      : node.view().nodes.filter(({ roles }) => roles.includes('validator')).length < 2
        ? 'none'
        : name === 'sealing' && ceremony === undefined
          ? 'none'
          : 'forming'
  return {
    name,
    state,
    keyId: key === undefined ? null : name === 'signing' ? ringJwk(key).kid : sealingKeyId(key),
    publicKey: key ?? null,
    threshold,
    holders,
    handOvers: epoch,
    madeAtMs: key === undefined ? null : madeAtMs,
    ceremony: ceremony ?? null,
    asked,
    faults: [
      ...faults.map(({ party, fault, height, attempt }) => ({ party, fault, height, ceremony: attempt, node: null })),
      ...(name === 'signing' ? node.signing.faults : []).map(({ party, fault }) => ({
        party,
        fault,
        height: null,
        ceremony: null,
        node: node.config.id,
      })),
    ],
    former: former.map(({ key: other, untilMs }) => ({ keyId: ringJwk(other).kid, untilMs })),
  }
}

/** Of a key that no JSON Web Key describes: SHA-256 of the element, base64url. */
function sealingKeyId(key: string): string {
  return hash('sha256', Buffer.from(key, 'base64url'), 'base64url')
}

function jwks(node: RunningNode): readonly ReturnType<typeof ringJwk>[] {
  const { key, former } = node.view().signingKey
  return [...(key === undefined ? [] : [key]), ...former.map((one) => one.key)].map(ringJwk)
}

function workloads({ config, workloads: api }: RunningNode): unknown {
  return { node: config.id, served: api !== undefined, workloads: api?.standing() ?? [] }
}

/** RFC 8414, as far as the ring has it. The issuer is the ring, not the node that answers: every node answers the same. */
function discovery(node: RunningNode): unknown {
  return {
    issuer: ringIssuer(node.ring),
    jwks_uri: '/.well-known/jwks.json',
    token_endpoint: '/v1/tokens',
    introspection_endpoint: '/v1/tokens/introspect',
    revocation_endpoint: '/v1/tokens/revoke',
    revocation_endpoint_auth_methods_supported: ['none'],
    response_types_supported: ['token'],
    grant_types_supported: [],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['EdDSA'],
    token_endpoint_auth_signing_alg_values_supported: ['EdDSA'],
    dpop_signing_alg_values_supported: DPOP_ALGORITHMS,
  }
}

const Body = z.strictObject({ request: z.unknown() })

export async function requestIn(call: Call, type: 'token' | 'svid' | 'transit'): Promise<SignedMintRequest> {
  const parsed = Body.safeParse(await call.body())
  if (!parsed.success) throw new ApiProblem(400, 'BAD_BODY', 'expected an object with `request`: what is asked for, signed')
  try {
    const signed = parseSignedMintRequest(parsed.data.request)
    if (signed.request.want.type === type) return signed
  } catch (error) {
    if (!(error instanceof MintRequestInvalid)) throw error
    throw new ApiProblem(400, error.code, error.message)
  }
  throw new ApiProblem(400, 'MINT_REQUEST_INVALID', `want.type must be ${type} here`)
}

/** @throws {ApiProblem} */
export async function minted(node: RunningNode, asked: Asked): ReturnType<RunningNode['signing']['mint']> {
  try {
    return await node.signing.mint(asked, MINT_MS_MAX)
  } catch (error) {
    if (error instanceof MintRefused) throw new ApiProblem(error.code === 'MINT_NO_KEY' ? 503 : 422, error.code, error.message)
    if (error instanceof SigningError) throw new ApiProblem(503, error.code, error.message)
    throw error
  }
}

async function mintToken(node: RunningNode, call: Call): Promise<unknown> {
  const mint = await requestIn(call, 'token')
  const { message, signature } = await minted(node, { mint })
  const signed = Buffer.from(message).toString()
  const claims = JSON.parse(Buffer.from(signed.split('.')[1] as string, 'base64url').toString()) as {
    jti: string
    sub: string
    aud: string
    exp: number
  }
  const { jti, sub, aud, exp } = claims
  tellOperators(node, `token ${jti} of ${sub} for ${aud}`, mint.request.issuer)
  const token = `${signed}.${Buffer.from(signature).toString('base64url')}`
  return { token, id: jti, subject: sub, audience: aud, expiresAtMs: exp * 1_000 }
}

async function mintSvid(node: RunningNode, call: Call, authority: AuthorityCertificates): Promise<unknown> {
  const mint = await requestIn(call, 'svid')
  const { want, atMs, issuer } = mint.request
  if (want.type !== 'svid') throw new ApiProblem(400, 'MINT_REQUEST_INVALID', 'want.type must be svid here')
  const [{ message, signature }, above] = await Promise.all([minted(node, { mint }), authority.current()])
  tellOperators(node, `certificate of ${want.of} ${want.name}`, issuer)
  return {
    certificate: certificatePem(certificateOf(message, signature)),
    authority: certificatePem(above),
    expiresAtMs: atMs + want.ttlS * 1_000,
  }
}

/** What services ask for themselves, all the time, is counted (`/metrics`) and not told. */
function tellOperators(node: RunningNode, what: string, issuer: string): void {
  if (issuer.startsWith('operator:')) node.events.add('key', 'info', `${what}, asked for by ${issuer}`)
}

/** The trust bundle in the form of the SPIFFE bundle endpoint: certificates for X.509-SVIDs, keys for JWT-SVIDs. */
async function bundle(node: RunningNode, authority: AuthorityCertificates): Promise<unknown> {
  const own = authorityOf(node.view())
  if (own === undefined)
    throw new ApiProblem(503, 'MINT_NO_KEY', 'the ring has no signing key (yet): ringwall key ls shows how it stands')
  await authority.current()
  const known = authority.known()
  if (known === undefined) throw new ApiProblem(503, 'SIGNING_BUSY', 'the ring’s key is being replaced: ask again')
  const x509 = known.map(({ key, certificate }) => {
    const { kty, crv, x } = ringJwk(key)
    return { kty, crv, x, use: 'x509-svid', x5c: [Buffer.from(certificate).toString('base64')] }
  })
  return {
    keys: [...x509, ...jwks(node).map((held) => ({ ...held, use: 'jwt-svid' }))],
    spiffe_sequence: own.madeAtMs,
    spiffe_refresh_hint: REFRESH_HINT_S,
  }
}

/**
 * RFC 7009, for whoever holds a token of the ring: it is denied everywhere. What is no such token, or none any more, is answered
 * likewise (section 2.2).
 */
async function revoke(node: RunningNode, call: Call): Promise<Answer> {
  const token = (await call.form()).get('token')
  if (token === null || token === '') throw new ApiProblem(400, 'BAD_FORM', 'expected the field `token`')
  const nowMs = Date.now()
  const verdict = await node.tokens().verify(token, nowMs)
  const done = { text: '', type: 'text/plain; charset=utf-8' }
  if (!verdict.ok || verdict.tokenId === undefined || verdict.issuer !== ringIssuer(node.ring)) return done
  if (isDenied(node, verdict, nowMs)) return done
  try {
    await node.proposeInOwnName({ type: 'token.revoke', token }, REVOKE_MS_MAX)
  } catch (error) {
    if (!(error instanceof LedgerError)) throw error
    // Enforced everywhere by gossip, and agreed on when the others are back.
    if (error.code !== 'NO_QUORUM') throw new ApiProblem(503, error.code, error.message)
  }
  return done
}

function isDenied(node: RunningNode, verdict: Accepted, nowMs: number): boolean {
  return denialOfCredential(node.view(), node.early, verdict, nowMs) !== undefined
}

/** RFC 7662: of the ring's tokens and of those that the policy's issuers made. What is not good is not active, and nothing more is said. */
async function introspect(node: RunningNode, call: Call): Promise<unknown> {
  const token = (await call.form()).get('token')
  if (token === null || token === '') throw new ApiProblem(400, 'BAD_FORM', 'expected the field `token`')
  const nowMs = Date.now()
  const verdict = await node.tokens().verify(token, nowMs)
  if (!verdict.ok) return { active: false }
  return isDenied(node, verdict, nowMs) ? { active: false } : { ...verdict.claims, active: true, token_type: 'Bearer' }
}

/** What the face of HashiCorp's Vault needs of a node, and acts by: the pass of a service, with the ring's keys as this node's view has them. */
import { randomBytes, sign, verify } from 'node:crypto'
import { type MintRequest, mintSigningBytes, type SignedMintRequest } from '@ringwall/identity'
import { LedgerError } from '@ringwall/ledger'
import {
  type DenialIndex,
  isSignedByRing,
  judgePass,
  passSigningBytes,
  publicKeyOf,
  type RingState,
  type TxBody,
  type TxContent,
  type View,
} from '@ringwall/ring'
import { type AskNode, type AskTransit, type Reader, VaultError, type VaultFacts } from '@ringwall/vault'
import { ApiProblem } from '../admin/problem.ts'
import { verifySignature } from '../keys.ts'
import { MintRefused, SigningError } from '../signing/signing-service.ts'
import { OpenRefused, type SignedAsk } from '../vault/vault-service.ts'
import { FaceError } from './answers.ts'
import type { HeldPass } from './pass-text.ts'

const WAIT_MS = 15_000
const VALID_MS = 60_000
const MINT_MS_MAX = 8_000

export interface FaceNode {
  readonly id: string
  readonly ring: string
  view(): View
  state(): RingState
  /** Those that no block has yet among them. */
  readonly denials: Pick<DenialIndex, 'matchCredential'>
  open(signed: SignedAsk): ReturnType<AskNode>
  mint(asked: { readonly mint: SignedMintRequest }, timeoutMs: number): Promise<{ readonly signature: Uint8Array }>
  /** Signs the content in this node's name, and proposes it. */
  propose(content: TxContent, waitMs: number): Promise<unknown>
  /** As `VaultFacts`. */
  onLiars?(parties: readonly string[]): void
}

type PassedBody = Extract<TxBody, { type: 'vault.put' | 'vault.delete' | 'vault.hide' }>

export function factsOf(node: Pick<FaceNode, 'ring' | 'view' | 'state' | 'onLiars'>): VaultFacts {
  const publicKey = publicKeyOf(node.state().sealingKey)
  if (publicKey === undefined) throw new FaceError(503, 'the ring has no sealing key yet: ringwall key ls shows how it stands')
  const keys = new Map(node.view().nodes.map(({ id, publicKey: x }) => [id, x]))
  return {
    ring: node.ring,
    publicKey,
    onLiars: (parties) => node.onLiars?.(parties),
    verify: (party, message, signature) => {
      const x = keys.get(party)
      return x !== undefined && verify(null, message, { key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' }, signature)
    },
  }
}

/** Why a pass is not good now, as holders and validators judge it, and before anything is looked up for it; undefined: it is. */
export function faultOf(node: Pick<FaceNode, 'ring' | 'state' | 'denials'>, { pass }: HeldPass): string | undefined {
  const { signingKey, validators } = node.state()
  const isSigned = (token: string): boolean => isSignedByRing(token, signingKey, validators, verifySignature)
  const judged = judgePass(node.ring, pass, Date.now(), { isSigned, denials: node.denials })
  return 'fault' in judged ? judged.fault : undefined
}

export function readerOf({ pass, read, privateKey }: HeldPass): Reader {
  return {
    issuer: `service:${read.service}`,
    certificate: '',
    pass,
    sign: async (message) => sign(null, message, privateKey).toString('base64url'),
  }
}

export const askOf =
  (node: FaceNode): AskNode & AskTransit =>
  (signed) =>
    node.open(signed)

const nonce = (): string => randomBytes(16).toString('base64url')

/** Has a statement of the pass's holder agreed on. @param atMs When it is stated, where that is part of it. */
export async function state(node: FaceNode, held: HeldPass, body: PassedBody, atMs: number = Date.now()): Promise<void> {
  const { key, token } = held.pass
  const unsigned = { ...body, pass: { key, token, signature: '' } }
  const content = { ring: node.ring, issuer: `node:${node.id}`, atMs, untilMs: atMs + VALID_MS, nonce: nonce(), body: unsigned }
  const signature = sign(null, passSigningBytes(content), held.privateKey).toString('base64url')
  await node.propose({ ...content, body: { ...body, pass: { key, token, signature } } }, WAIT_MS)
}

export async function signedBy(node: FaceNode, held: HeldPass, want: MintRequest['want']): Promise<Uint8Array> {
  const issuer = `service:${held.read.service}`
  const request = { ring: node.ring, issuer, certificate: '', pass: held.pass, atMs: Date.now(), nonce: nonce(), want }
  const signature = sign(null, mintSigningBytes(request), held.privateKey).toString('base64url')
  return (await node.mint({ mint: { request, signature } }, MINT_MS_MAX)).signature
}

const FORBIDDEN = new Set([
  'OPEN_ISSUER',
  'OPEN_NOT_ENTITLED',
  'VAULT_PASS',
  'VAULT_NOT_ENTITLED',
  'NOT_ENTITLED',
  'MINT_NOT_ENTITLED',
])
const UNKNOWN = new Set(['OPEN_UNKNOWN', 'OPEN_ENDED', 'MINT_TRANSIT'])

/** What the ring refused it for, or what kept the ledger from asking. */
export function refusalOf(error: unknown): string | undefined {
  return error instanceof LedgerError ? (error.refusal?.code ?? error.code) : undefined
}

/**
 * What went wrong, as such clients know it.
 *
 * @param unknown What they are told of what is not there: with secrets 404, with keys 400.
 */
export function faceErrorOf(error: unknown, unknown: 400 | 404): FaceError {
  if (error instanceof FaceError) return error
  if (error instanceof ApiProblem) return new FaceError(error.problem.status, error.message)
  if (error instanceof OpenRefused || error instanceof MintRefused) {
    if (FORBIDDEN.has(error.code) || error.code === 'MINT_CERTIFICATE' || error.code === 'MINT_SIGNATURE')
      return new FaceError(403, `permission denied: ${error.message}`)
    return new FaceError(UNKNOWN.has(error.code) ? unknown : error.code === 'OPEN_BUSY' ? 429 : 503, error.message)
  }
  if (error instanceof VaultError) return new FaceError(error.code === 'VAULT_SHORT' ? 503 : 400, error.message)
  if (error instanceof SigningError) return new FaceError(503, error.message)
  if (error instanceof LedgerError) {
    const why = error.refusal?.reason ?? error.message
    const code = refusalOf(error) as string
    if (FORBIDDEN.has(code)) return new FaceError(403, `permission denied: ${why}`)
    return new FaceError(error.refusal === undefined || code === 'VAULT_CLOSED' ? 503 : 400, why)
  }
  throw error
}

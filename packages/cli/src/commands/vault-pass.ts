/** A pass for clients of HashiCorp's Vault: a token of a service, bound to a key that is made here, and the key, in one line. */
import { generateKeyPairSync, hash, randomBytes } from 'node:crypto'
import type { RingwallClient } from '@ringwall/client'
import { type MintRequest, mintSigningBytes } from '@ringwall/identity'
import { PASS_AUDIENCE } from '@ringwall/ring'
import { UsageError } from '../errors.ts'
import { time } from '../format.ts'
import { write } from '../output.ts'
import type { VaultSession } from './vault-session.ts'

/** RFC 7638, of an Ed25519 key. */
export function thumbprintOf(x: string): string {
  return hash('sha256', `{"crv":"Ed25519","kty":"OKP","x":"${x}"}`, 'base64url')
}

export async function mintedPass(
  { reader, ring, asked: nodes }: VaultSession,
  want: MintRequest['want'],
): Promise<Awaited<ReturnType<RingwallClient['tokenMintSigned']>>> {
  const { issuer, certificate } = reader
  const nonce = randomBytes(16).toString('base64url')
  const request: MintRequest = { ring, issuer, certificate, atMs: Date.now(), nonce, want }
  const asked = { request, signature: await reader.sign(mintSigningBytes(request)) }
  let last: unknown
  for (const client of nodes) {
    try {
      return await client.tokenMintSigned(asked)
    } catch (error) {
      last = error
    }
  }
  throw last
}

/** @param service Of operators: whose. A service asks for itself. */
export async function vaultPass(session: VaultSession, service: string | undefined, ttlMs: number): Promise<void> {
  const own = /^service:(.+)$/.exec(session.reader.issuer)?.[1]
  const name = own ?? service
  if (name === undefined) throw new UsageError('name the service: --service NAME, or act as one: --identity DIR')
  if (own !== undefined && service !== undefined && service !== own)
    throw new UsageError(`--identity is of ${own}, not of ${service}`)
  const { privateKey } = generateKeyPairSync('ed25519')
  const { d = '', x = '' } = privateKey.export({ format: 'jwk' })
  const ttlS = Math.round(ttlMs / 1_000)
  const bound = { cnf: { jkt: thumbprintOf(x) } }
  const minted = await mintedPass(session, { type: 'token', service: name, audience: PASS_AUDIENCE, ttlS, claims: {}, ...bound })
  write(`rwv1.${d}.${minted.token}`)
  process.stderr.write(
    `pass ${minted.id} of ${minted.subject}, until ${time(minted.expiresAtMs)}; whoever has it is the service\n`,
  )
}

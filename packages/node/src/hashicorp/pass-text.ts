/** A pass as one line, which clients of HashiCorp's Vault send as `X-Vault-Token`: `rwv1.SEED.TOKEN`, the seed of its Ed25519 key in base64url. */
import { createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto'
import { PASS_TOKEN_CHARS_MAX, type ReadPass, readPass, type ServicePass } from '@ringwall/ring'

const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const TEXT = /^rwv1\.([A-Za-z0-9_-]{43})\.([A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86})$/

export interface HeldPass {
  readonly pass: ServicePass
  readonly read: ReadPass
  readonly privateKey: KeyObject
}

/** What the line says, if it is a pass of this ring by its form; whether it is good is for `faultOf` to judge. */
export function parsePassText(ring: string, text: string): HeldPass | undefined {
  const match = TEXT.exec(text)
  if (match === null || text.length > PASS_TOKEN_CHARS_MAX) return undefined
  const seed = Buffer.from(match[1] as string, 'base64url')
  const der = Buffer.concat([PKCS8, seed])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  der.fill(0)
  seed.fill(0)
  const key = createPublicKey(privateKey).export({ format: 'jwk' }).x as string
  const pass = { key, token: match[2] as string }
  const read = readPass(ring, pass)
  return read === undefined ? undefined : { pass, read, privateKey }
}

/**
 * An invitation as a line of text: whose ring, a key that serves once, and where nodes are found with the keys that they answer with.
 * Who has the line may join, once, while it is good: it is a secret.
 *
 * After the prefix base64url of: 32 bytes of the ring's name (the hash of its genesis document); the 32 bytes of an Ed25519 private key (RFC 8032
 * section 5.1.5); a byte that counts nodes, and of each 32 bytes of its public key, a byte that counts, and so many bytes of `HOST:PORT`; four
 * bytes of SHA-256 of all that, so that a line which was cut or mistyped is told from one that is refused.
 */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { decodeBase64url, EncodingInvalid, encodeBase64url } from '@ringwall/ring/tx'
import { InvitationInvalid } from './errors.ts'

const PREFIX = 'ringwall-invite-1.'
const CHARS_MAX = 8_192
export const INVITATION_PEERS_MAX = 8
const CHECK_BYTES = 4
const MISTYPED = 'a part of it is missing, or was mistyped'
/** DER of an Ed25519 private key (RFC 8410 section 7), without its 32 bytes. */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
const ADDRESS = /^(?:[A-Za-z0-9.-]{1,200}|\[[0-9a-fA-F:.]{2,45}\]):([0-9]{1,5})$/

/** A node as somebody who is none finds it. */
export interface RingAddress {
  /** HOST:PORT of its links. */
  readonly address: string
  /** Raw Ed25519, base64url. */
  readonly key: string
}

export interface InvitationLine {
  /** Lower-case hex. */
  readonly ring: string
  readonly privateKey: KeyObject
  readonly peers: readonly RingAddress[]
}

export function newInvitationKey(): { readonly privateKey: KeyObject; readonly key: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return { privateKey, key: encodeBase64url(publicKey.export({ format: 'der', type: 'spki' }).subarray(-32)) }
}

export function encodeInvitation({ ring, privateKey, peers }: InvitationLine): string {
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(-32)
  const addresses = peers.map(({ address, key }) => {
    const text = Buffer.from(address, 'ascii')
    return Buffer.concat([decodeBase64url(key), Buffer.of(text.length), text])
  })
  const body = Buffer.concat([Buffer.from(ring, 'hex'), seed, Buffer.of(peers.length), ...addresses])
  return PREFIX + encodeBase64url(Buffer.concat([body, checkOf(body)]))
}

function checkOf(body: Uint8Array): Buffer {
  return createHash('sha256').update(body).digest().subarray(0, CHECK_BYTES)
}

/** @throws {InvitationInvalid} */
export function parseInvitation(line: string): InvitationLine {
  const text = line.trim()
  if (!text.startsWith(PREFIX)) throw new InvitationInvalid(`it does not begin with ${PREFIX}`)
  if (text.length > CHARS_MAX) throw new InvitationInvalid(`it is longer than ${CHARS_MAX} characters`)
  let bytes: Buffer
  try {
    bytes = Buffer.from(decodeBase64url(text.slice(PREFIX.length)))
  } catch (error) {
    if (error instanceof EncodingInvalid) throw new InvitationInvalid(MISTYPED)
    throw error
  }
  const body = bytes.subarray(0, -CHECK_BYTES)
  if (body.length < 65 || !checkOf(body).equals(bytes.subarray(-CHECK_BYTES))) throw new InvitationInvalid(MISTYPED)
  const ring = body.toString('hex', 0, 32)
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8, body.subarray(32, 64)]), format: 'der', type: 'pkcs8' })
  const peers = parsePeers(body.subarray(64))
  return { ring, privateKey, peers }
}

function parsePeers(bytes: Buffer): readonly RingAddress[] {
  const count = bytes[0] ?? 0
  if (count < 1 || count > INVITATION_PEERS_MAX) throw new InvitationInvalid(`it names ${count} nodes`)
  const peers: RingAddress[] = []
  let at = 1
  for (let done = 0; done < count; done += 1) {
    const length = bytes[at + 32]
    if (length === undefined || at + 33 + length > bytes.length) throw new InvitationInvalid('it ends early')
    const address = bytes.toString('latin1', at + 33, at + 33 + length)
    const port = Number(ADDRESS.exec(address)?.[1] ?? 0)
    if (port < 1 || port > 65_535) throw new InvitationInvalid('it names a node without an address')
    peers.push({ address, key: encodeBase64url(bytes.subarray(at, at + 32)) })
    at += 33 + length
  }
  if (at !== bytes.length) throw new InvitationInvalid('there is more in it than there should be')
  return peers
}

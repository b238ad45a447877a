/**
 * A holder's answer, for the asker alone: encrypted to the one-time key of its request, so that whoever passes it on learns nothing, and signed
 * by the holder's own key, so that it cannot be made up on the way and a lie has an author.
 *
 *     reply   = ephemeral(32) nonce(12) ciphertext tag(16) signature(64)
 *     key     = HKDF-SHA-256(X25519(ephemeral, replyTo), salt = digest, info = "RINGWALL_OPENING_V1 " party)
 *     signed  = "RINGWALL_OPENING_V1\n" digest(32) party "\n" ephemeral nonce ciphertext tag
 *     digest  = SHA-256 of what the asker signed
 *
 *     plaintext = epoch(32) index(2) count(1) { version(4) body(32) length(2) partial }
 */
import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hash,
  hkdfSync,
  type KeyObject,
  randomBytes,
} from 'node:crypto'
import { VaultError } from './errors.ts'
import { OPEN_SECRETS_MAX } from './open-request.ts'

const DOMAIN = 'RINGWALL_OPENING_V1'
const CIPHER = 'aes-256-gcm'
const SPKI_X25519 = Buffer.from('302a300506032b656e032100', 'hex')
const EPHEMERAL_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
const SIGNATURE_BYTES = 64
const FRAME_BYTES = EPHEMERAL_BYTES + NONCE_BYTES + TAG_BYTES + SIGNATURE_BYTES
/** A partial decryption with its proof has some 200 bytes. */
const PARTIAL_BYTES_MAX = 512
export const REPLY_BYTES_MAX: number = FRAME_BYTES + 35 + OPEN_SECRETS_MAX * (38 + PARTIAL_BYTES_MAX)

export interface PartialOpening {
  readonly version: number
  /** `bodyDigest` of what it opens. */
  readonly body: Uint8Array
  /** 32 bytes without a proof, `Partial` of `@ringwall/threshold` with one. */
  readonly partial: Uint8Array
}

export interface ReplyContent {
  /** `PublicKey.id` of the epoch that the share is of. */
  readonly epoch: Uint8Array
  readonly index: number
  /** In the order in which the secrets were asked for. */
  readonly openings: readonly PartialOpening[]
}

export function requestDigest(signed: Uint8Array): Uint8Array {
  return hash('sha256', signed, 'buffer')
}

/** @param body Base64url. */
export function bodyDigest({ capsule, ciphertext }: { readonly capsule: string; readonly ciphertext: string }): Uint8Array {
  return hash('sha256', `${capsule} ${ciphertext}`, 'buffer')
}

function rawKey(key: KeyObject): Buffer {
  return key.export({ format: 'der', type: 'spki' }).subarray(SPKI_X25519.length)
}

function publicKeyOf(raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI_X25519, raw]), format: 'der', type: 'spki' })
}

/** Halves of holders, which they use for some time: to take one in costs as much as to use it. */
const ephemerals = new Map<string, KeyObject>()
const EPHEMERALS_MAX = 64

function ephemeralOf(raw: Buffer): KeyObject {
  const name = raw.toString('latin1')
  let key = ephemerals.get(name)
  if (key === undefined) {
    key = publicKeyOf(raw)
    if (ephemerals.size >= EPHEMERALS_MAX) ephemerals.delete(ephemerals.keys().next().value as string)
    ephemerals.set(name, key)
  }
  return key
}

/** A pair for one request: its private half never leaves the asker. */
export class ReplyKey {
  readonly #privateKey: KeyObject
  /** X25519, raw, base64url. */
  readonly replyTo: string

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync('x25519')
    this.#privateKey = privateKey
    this.replyTo = rawKey(publicKey).toString('base64url')
  }

  /**
   * @param party Who is to have made it. @param verify Ed25519, by that party's key.
   * @throws {VaultError} VAULT_MALFORMED: not made by that party for this request.
   */
  open(
    reply: Uint8Array,
    party: string,
    digest: Uint8Array,
    verify: (message: Uint8Array, signature: Uint8Array) => boolean,
  ): ReplyContent {
    const bytes = Buffer.from(reply)
    if (bytes.length < FRAME_BYTES || bytes.length > REPLY_BYTES_MAX) return malformed(party)
    const sealed = bytes.subarray(0, -SIGNATURE_BYTES)
    if (!verify(signedBytes(digest, party, sealed), bytes.subarray(-SIGNATURE_BYTES))) return malformed(party)
    try {
      const publicKey = ephemeralOf(sealed.subarray(0, EPHEMERAL_BYTES))
      const key = replyKey(diffieHellman({ privateKey: this.#privateKey, publicKey }), digest, party)
      const nonce = sealed.subarray(EPHEMERAL_BYTES, EPHEMERAL_BYTES + NONCE_BYTES)
      const decipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG_BYTES }).setAuthTag(sealed.subarray(-TAG_BYTES))
      const ciphertext = sealed.subarray(EPHEMERAL_BYTES + NONCE_BYTES, -TAG_BYTES)
      return decodeContent(Buffer.concat([decipher.update(ciphertext), decipher.final()]))
    } catch {
      return malformed(party)
    }
  }
}

function malformed(party: string): never {
  throw new VaultError('VAULT_MALFORMED', `what is to be the answer of ${party} is none that it made for this request`)
}

function replyKey(shared: Uint8Array, digest: Uint8Array, party: string): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', shared, digest, `${DOMAIN} ${party}`, 32))
}

function signedBytes(digest: Uint8Array, party: string, sealed: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`${DOMAIN}\n`), digest, Buffer.from(`${party}\n`), sealed])
}

/** Of a holder: makes answers. Its half of the exchange is used for some time: each answer has a key and a nonce of its own. */
export class ReplyMaker {
  readonly #party: string
  readonly #sign: (message: Uint8Array) => Uint8Array
  #pair = generateKeyPairSync('x25519')
  #raw: Buffer = rawKey(this.#pair.publicKey)
  #uses = 0

  constructor(party: string, sign: (message: Uint8Array) => Uint8Array) {
    this.#party = party
    this.#sign = sign
  }

  /** @param replyTo Base64url. @throws {VaultError} VAULT_MALFORMED when that is no key. */
  make(content: ReplyContent, replyTo: string, digest: Uint8Array): Uint8Array {
    this.#uses += 1
    if (this.#uses % USES_MAX === 0) {
      this.#pair = generateKeyPairSync('x25519')
      this.#raw = rawKey(this.#pair.publicKey)
    }
    let shared: Buffer
    try {
      shared = diffieHellman({ privateKey: this.#pair.privateKey, publicKey: publicKeyOf(Buffer.from(replyTo, 'base64url')) })
    } catch {
      throw new VaultError('VAULT_MALFORMED', 'request.replyTo must be an X25519 key, and no point of low order')
    }
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv(CIPHER, replyKey(shared, digest, this.#party), nonce)
    const plain = encodeContent(content)
    const parts = [this.#raw, nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]
    const sealed = Buffer.concat(parts)
    return Buffer.concat([sealed, this.#sign(signedBytes(digest, this.#party, sealed))])
  }
}

const USES_MAX = 4_096

function encodeContent({ epoch, index, openings }: ReplyContent): Buffer {
  const head = Buffer.alloc(35)
  head.set(epoch)
  head.writeUInt16BE(index, 32)
  head[34] = openings.length
  const parts = openings.flatMap(({ version, body, partial }) => {
    const part = Buffer.alloc(38)
    part.writeUInt32BE(version, 0)
    part.set(body, 4)
    part.writeUInt16BE(partial.length, 36)
    return [part, partial]
  })
  return Buffer.concat([head, ...parts])
}

/** @throws RangeError and VaultError for anything else. */
function decodeContent(bytes: Buffer): ReplyContent {
  const epoch = bytes.subarray(0, 32)
  const index = bytes.readUInt16BE(32)
  const count = bytes.readUInt8(34)
  const openings: PartialOpening[] = []
  let at = 35
  for (let done = 0; done < count; done += 1) {
    const version = bytes.readUInt32BE(at)
    const length = bytes.readUInt16BE(at + 36)
    const end = at + 38 + length
    if (length > PARTIAL_BYTES_MAX || end > bytes.length) throw new RangeError('cut off')
    openings.push({ version, body: bytes.subarray(at + 4, at + 36), partial: bytes.subarray(at + 38, end) })
    at = end
  }
  if (at !== bytes.length) throw new RangeError('left over')
  return { epoch, index, openings }
}

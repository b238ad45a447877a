/**
 * Requests for certificates (PKCS#10, RFC 2986) in DER, for the ring's state machine: strict, so that every validator comes to the same. What they ask for beside
 * a key is not granted: the ring says what is in a certificate.
 */
import { createPublicKey, verify } from 'node:crypto'
import type { CsrReader } from '@ringwall/ring'
import { decodeBase64url, EncodingInvalid, encodeBase64url } from '@ringwall/ring/tx'

export const CSR_BYTES_MAX = 4_096
const RELATIVE_NAMES_MAX = 16
const ATTRIBUTES_MAX = 16
const COMMON_NAME = '550403'
const SPKI = {
  ed25519: Buffer.from('302a300506032b6570032100', 'hex'),
  p256: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
} as const
/** AlgorithmIdentifier of the signature: Ed25519 (RFC 8410), ECDSA with SHA-256 (RFC 5758). */
const SIGNED = { ed25519: '300506032b6570', p256: '300a06082a8648ce3d040302' } as const

class CsrMalformed extends Error {}

const Tag = {
  integer: 0x02,
  bits: 0x03,
  id: 0x06,
  utf8: 0x0c,
  printable: 0x13,
  ia5: 0x16,
  sequence: 0x30,
  set: 0x31,
  attributes: 0xa0,
}

/** One value at a time, definite lengths in their shortest form (X.690 section 10.1). */
class DerReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get left(): number {
    return this.#bytes.length - this.#at
  }

  get tag(): number | undefined {
    return this.#bytes[this.#at]
  }

  /** The value of this tag, and all of it with tag and length. */
  value(tag: number, what: string): { readonly contents: Buffer; readonly whole: Buffer } {
    const from = this.#at
    if (this.tag !== tag) throw new CsrMalformed(`${what} is missing, or of another type, at byte ${from}`)
    const first = this.#bytes[from + 1] ?? 0x80
    const bytes = first < 0x80 ? 0 : first & 0x7f
    if (first === 0x80 || bytes > 2 || from + 2 + bytes > this.#bytes.length)
      throw new CsrMalformed(`${what} has no proper length`)
    const length = bytes === 0 ? first : this.#bytes.readUIntBE(from + 2, bytes)
    if ((bytes === 1 && length < 0x80) || (bytes === 2 && length < 0x100))
      throw new CsrMalformed(`${what}: its length is not in its shortest form`)
    const begin = from + 2 + bytes
    if (begin + length > this.#bytes.length) throw new CsrMalformed(`${what} ends early`)
    this.#at = begin + length
    return { contents: this.#bytes.subarray(begin, begin + length), whole: this.#bytes.subarray(from, begin + length) }
  }

  inside(tag: number, what: string): DerReader {
    return new DerReader(this.value(tag, what).contents)
  }

  end(what: string): void {
    if (this.left !== 0) throw new CsrMalformed(`${what} is followed by ${this.left} bytes too many`)
  }
}

export const readCsr: CsrReader = (text) => {
  try {
    return { ok: true, ...parse(Buffer.from(decodeBase64url(text))) }
  } catch (error) {
    if (error instanceof CsrMalformed || error instanceof EncodingInvalid) return { ok: false, reason: error.message }
    throw error
  }
}

function parse(bytes: Buffer): { readonly publicKey: string; readonly commonName: string | null } {
  if (bytes.length > CSR_BYTES_MAX) throw new CsrMalformed(`it has more than ${CSR_BYTES_MAX} bytes`)
  const outer = new DerReader(bytes)
  const request = outer.inside(Tag.sequence, 'the request')
  outer.end('the request')
  const { contents, whole: signed } = request.value(Tag.sequence, 'its information')
  const algorithm = request.value(Tag.sequence, 'its algorithm').whole.toString('hex')
  const signature = request.value(Tag.bits, 'its signature').contents
  request.end('its signature')
  const info = new DerReader(contents)
  if (info.value(Tag.integer, 'its version').contents.toString('hex') !== '00') throw new CsrMalformed('its version is not 0')
  const commonName = commonNameIn(info.inside(Tag.sequence, 'its subject'))
  const publicKey = info.value(Tag.sequence, 'its key').whole
  checkAttributes(info.inside(Tag.attributes, 'its attributes'))
  info.end('its attributes')
  const kind = keyKind(publicKey)
  if (algorithm !== SIGNED[kind])
    throw new CsrMalformed('it is to be signed with Ed25519, or with ECDSA and SHA-256, as its key is')
  if (signature[0] !== 0) throw new CsrMalformed('its signature is no whole bytes')
  if (!isSigned(kind, publicKey, signed, signature.subarray(1)))
    throw new CsrMalformed('it is not signed by its own key: nothing shows that who asks holds it')
  return { publicKey: encodeBase64url(publicKey), commonName }
}

function keyKind(spki: Buffer): keyof typeof SPKI {
  if (spki.length === 44 && spki.subarray(0, SPKI.ed25519.length).equals(SPKI.ed25519)) return 'ed25519'
  if (spki.length === 91 && spki.subarray(0, SPKI.p256.length).equals(SPKI.p256)) return 'p256'
  throw new CsrMalformed('its key must be Ed25519, or a whole point on P-256')
}

function isSigned(kind: keyof typeof SPKI, spki: Buffer, message: Buffer, signature: Buffer): boolean {
  try {
    const key = createPublicKey({ key: spki, format: 'der', type: 'spki' })
    return verify(kind === 'ed25519' ? null : 'sha256', message, key, signature)
  } catch {
    return false
  }
}

/** Null without one. Others of its parts do not count. */
function commonNameIn(subject: DerReader): string | null {
  let found: string | null = null
  for (let count = 0; subject.left > 0; count += 1) {
    if (count >= RELATIVE_NAMES_MAX) throw new CsrMalformed(`its subject has more than ${RELATIVE_NAMES_MAX} parts`)
    const part = subject.inside(Tag.set, 'a part of its subject')
    while (part.left > 0) {
      const pair = part.inside(Tag.sequence, 'a part of its subject')
      const id = pair.value(Tag.id, 'the type of a part of its subject').contents.toString('hex')
      const tag = pair.tag ?? 0
      const text = pair.value(tag, 'the value of a part of its subject').contents
      pair.end('a part of its subject')
      if (id !== COMMON_NAME) continue
      if (found !== null) throw new CsrMalformed('its subject has two common names')
      if (tag !== Tag.utf8 && tag !== Tag.printable && tag !== Tag.ia5) throw new CsrMalformed('its common name is no text')
      found = text.toString('utf8')
    }
  }
  return found
}

/** They are well-formed, and that is all: what they ask for is for the ring to say. */
function checkAttributes(attributes: DerReader): void {
  for (let count = 0; attributes.left > 0; count += 1) {
    if (count >= ATTRIBUTES_MAX) throw new CsrMalformed(`it has more than ${ATTRIBUTES_MAX} attributes`)
    const attribute = attributes.inside(Tag.sequence, 'an attribute')
    attribute.value(Tag.id, 'the type of an attribute')
    attribute.value(Tag.set, 'the values of an attribute')
    attribute.end('an attribute')
  }
}

/**
 * The key that this node signs SAML assertions by, for parties that take no signature of the ring: RSA, made when it is first needed, sealed on disk.
 * The policy says which nodes' keys parties are to believe.
 */
import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { promisify } from 'node:util'
import { samlCertificate } from '@ringwall/identity'
import type { Seal } from '../signing/sealed-file.ts'

const RSA_BITS = 3_072
/** Of the file, within its seal. */
const SEALED_NAME = 'saml-key'

export interface HeldSamlKey {
  readonly privateKey: KeyObject
  /** DER, base64. */
  readonly certificate: string
}

export class SamlKey {
  readonly #file: string
  readonly #seal: Pick<Seal, 'read' | 'write'>
  readonly #node: string
  #held: Promise<HeldSamlKey> | undefined

  constructor(file: string, seal: Pick<Seal, 'read' | 'write'>, node: string) {
    this.#file = file
    this.#seal = seal
    this.#node = node
  }

  held(): Promise<HeldSamlKey> {
    this.#held ??= this.#open().catch((error: Error) => {
      this.#held = undefined
      throw error
    })
    return this.#held
  }

  async #open(): Promise<HeldSamlKey> {
    const bytes = await this.#seal.read(this.#file, SEALED_NAME)
    if (bytes !== undefined) {
      const { key, certificate } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { key: string; certificate: string }
      return { privateKey: createPrivateKey({ key: Buffer.from(key, 'base64'), format: 'der', type: 'pkcs8' }), certificate }
    }
    const { privateKey } = await promisify(generateKeyPair)('rsa', { modulusLength: RSA_BITS })
    const certificate = Buffer.from(samlCertificate(`Ringwall ${this.#node}`, privateKey, Date.now())).toString('base64')
    const key = privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64')
    await mkdir(dirname(this.#file), { recursive: true, mode: 0o700 })
    await this.#seal.write(this.#file, SEALED_NAME, Buffer.from(JSON.stringify({ certificate, key })))
    return { privateKey, certificate }
  }
}

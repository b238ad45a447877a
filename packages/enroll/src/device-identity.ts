/**
 * What a device is made with: a key, and a certificate over it by who made it, in the manner of IEEE 802.1AR (an IDevID: the serial number
 * in the subject, no end). The ring looks at key and voucher; the certificate is for those who know devices by X.509.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  webcrypto,
  X509Certificate,
} from 'node:crypto'
import { encodeBase64url } from '@ringwall/ring/tx'
import { DeviceInvalid } from './errors.ts'

const ALGORITHM = { name: 'Ed25519' }
/** No end (RFC 5280 section 4.1.2.5). */
const NO_END = new Date('9999-12-31T23:59:59Z')
const crypto = webcrypto as typeof globalThis.crypto

/** Loaded by who makes devices: their nodes, which do not, save some 7 MB. */
async function x509Library() {
  await import('reflect-metadata')
  return import('@peculiar/x509')
}

export interface Identity {
  readonly privateKey: KeyObject
  /** Raw Ed25519, base64url. */
  readonly key: string
  /** PEM. */
  readonly certificate: string
}

export function keyPem(privateKey: KeyObject): string {
  return privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
}

/** @throws {DeviceInvalid} The message never holds the key. */
export function parseKeyPem(pem: string, source: string): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Falls through: the cause may quote the file.
  }
  throw new DeviceInvalid('DEVICE_INVALID', `${source}: expected a PEM file with an Ed25519 private key (PKCS#8)`)
}

export function rawPublicKey(key: KeyObject): string {
  const spki = (key.type === 'private' ? createPublicKey(key) : key).export({ format: 'der', type: 'spki' })
  return encodeBase64url(spki.subarray(-32))
}

async function webKeys(privateKey: KeyObject) {
  const pkcs8 = privateKey.export({ format: 'der', type: 'pkcs8' })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return {
    privateKey: await webcrypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, false, ['sign']),
    publicKey: await webcrypto.subtle.importKey('spki', spki, ALGORITHM, true, ['verify']),
  }
}

/** A key that devices are certified and vouched for with, under a certificate of its own. */
export async function makeManufacturer(name: string, nowMs: number): Promise<Identity> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const keys = await webKeys(privateKey)
  const {
    BasicConstraintsExtension,
    KeyUsageFlags,
    KeyUsagesExtension,
    SubjectKeyIdentifierExtension,
    X509CertificateGenerator,
  } = await x509Library()
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: randomBytes(8).toString('hex'),
      name: [{ CN: [name] }],
      notBefore: new Date(nowMs),
      notAfter: NO_END,
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, 0, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.digitalSignature, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey, false, crypto),
      ],
    },
    crypto,
  )
  return { privateKey, key: rawPublicKey(privateKey), certificate: certificate.toString('pem') }
}

/** A device's key and certificate. */
export async function makeDevice(
  serial: string,
  manufacturer: Pick<Identity, 'privateKey' | 'certificate'>,
  nowMs: number,
): Promise<Identity> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const {
    AuthorityKeyIdentifierExtension,
    BasicConstraintsExtension,
    KeyUsageFlags,
    KeyUsagesExtension,
    SubjectKeyIdentifierExtension,
    X509Certificate: Issuer,
    X509CertificateGenerator,
  } = await x509Library()
  const issuer = new Issuer(manufacturer.certificate)
  const { publicKey } = await webKeys(privateKey)
  const signing = await webKeys(manufacturer.privateKey)
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: randomBytes(8).toString('hex'),
      subject: [{ CN: [serial] }, { '2.5.4.5': [serial] }],
      issuer: issuer.subjectName,
      notBefore: new Date(nowMs),
      notAfter: NO_END,
      signingAlgorithm: ALGORITHM,
      publicKey,
      signingKey: signing.privateKey,
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        await SubjectKeyIdentifierExtension.create(publicKey, false, crypto),
        await AuthorityKeyIdentifierExtension.create(signing.publicKey, false, crypto),
      ],
    },
    crypto,
  )
  return { privateKey, key: rawPublicKey(privateKey), certificate: certificate.toString('pem') }
}

/** `idevid-issuer` of RFC 8366: the key identifier of the authority, base64. */
export async function idevidIssuerOf(manufacturer: Pick<Identity, 'privateKey'>): Promise<string> {
  const { publicKey } = await webKeys(manufacturer.privateKey)
  const { SubjectKeyIdentifierExtension } = await x509Library()
  const { keyId } = await SubjectKeyIdentifierExtension.create(publicKey, false, crypto)
  return Buffer.from(keyId, 'hex').toString('base64')
}

/** @throws {DeviceInvalid} When it is not over this key, or not by this manufacturer. */
export function checkDeviceCertificate(pem: string, deviceKey: string, manufacturerPem: string): void {
  try {
    const [certificate, issuer] = [new X509Certificate(pem), new X509Certificate(manufacturerPem)]
    if (rawPublicKey(certificate.publicKey) === deviceKey && certificate.verify(issuer.publicKey)) return
  } catch {
    // Falls through.
  }
  throw new DeviceInvalid('DEVICE_INVALID', 'its certificate is not over its key, or not by its manufacturer')
}

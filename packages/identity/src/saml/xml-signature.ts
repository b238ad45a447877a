/**
 * XML Signature (XMLDSIG core 1.1) as SAML profiles it (saml-core-2.0 section 5.4): one enveloped signature over the element that holds it, by its
 * ID, with exclusive canonicalization. What is verified is handed back as the very bytes that were signed, and nothing else of the document is to be
 * read: whoever moves signed elements elsewhere moves them out of sight.
 */
import { constants, createPublicKey, hash, type KeyObject, verify, X509Certificate } from 'node:crypto'
import { canonicalXml } from './canonical.ts'
import { attributeOf, childrenOf, descendants, textOf, type XmlElement } from './xml.ts'

export const DSIG = 'http://www.w3.org/2000/09/xmldsig#'
export const EXCLUSIVE = 'http://www.w3.org/2001/10/xml-exc-c14n#'
export const ENVELOPED = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature'
export const SHA256 = 'http://www.w3.org/2001/04/xmlenc#sha256'
const MORE = 'http://www.w3.org/2001/04/xmldsig-more#'
export const RSA_SHA256: string = `${MORE}rsa-sha256`
/** RFC 9231 section 2.3.12. */
export const ED25519 = 'http://www.w3.org/2021/04/xmldsig-more#eddsa-ed25519'
const PREFIXES_MAX = 32
const RSA_BITS = { least: 2_048, most: 8_192 } as const

const DIGESTS: ReadonlyMap<string, string> = new Map([
  [SHA256, 'sha256'],
  [`${MORE}sha384`, 'sha384'],
  ['http://www.w3.org/2001/04/xmlenc#sha512', 'sha512'],
])

interface Method {
  readonly type: 'rsa' | 'ec' | 'ed25519'
  readonly digest: string | null
  readonly pss?: true
}

/** No SHA-1, no MAC (RFC 9231 and XMLDSIG 1.1 name both), nothing that is not here. */
const METHODS: ReadonlyMap<string, Method> = new Map<string, Method>([
  [RSA_SHA256, { type: 'rsa', digest: 'sha256' }],
  [`${MORE}rsa-sha384`, { type: 'rsa', digest: 'sha384' }],
  [`${MORE}rsa-sha512`, { type: 'rsa', digest: 'sha512' }],
  ['http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1', { type: 'rsa', digest: 'sha256', pss: true }],
  [`${MORE}ecdsa-sha256`, { type: 'ec', digest: 'sha256' }],
  [`${MORE}ecdsa-sha384`, { type: 'ec', digest: 'sha384' }],
  [`${MORE}ecdsa-sha512`, { type: 'ec', digest: 'sha512' }],
  [ED25519, { type: 'ed25519', digest: null }],
])

export type SignatureFaultCode =
  | 'OUTSIDE_UNSIGNED'
  | 'OUTSIDE_WRAPPED'
  | 'OUTSIDE_ALGORITHM'
  | 'OUTSIDE_TRANSFORM'
  | 'OUTSIDE_DIGEST'
  | 'OUTSIDE_KEY'
  | 'OUTSIDE_SIGNATURE'

export interface SignatureFault {
  readonly ok: false
  readonly code: SignatureFaultCode
  readonly reason: string
}

/** What was signed, as canonical XML, without the signature. */
export interface SignedXml {
  readonly ok: true
  readonly bytes: Uint8Array
}

const fault = (code: SignatureFaultCode, reason: string): SignatureFault => ({ ok: false, code, reason })

/** The keys of certificates; those that are none, or too weak, are left out. */
export function certificateKeys(certificates: readonly string[]): readonly KeyObject[] {
  return certificates.flatMap((text) => {
    try {
      const pem = text.includes('-----BEGIN') ? text : `-----BEGIN CERTIFICATE-----\n${text.trim()}\n-----END CERTIFICATE-----\n`
      const key = createPublicKey(new X509Certificate(pem).publicKey.export({ format: 'pem', type: 'spki' }))
      const { modulusLength = 0 } = key.asymmetricKeyDetails ?? {}
      const isFit = key.asymmetricKeyType !== 'rsa' || (modulusLength >= RSA_BITS.least && modulusLength <= RSA_BITS.most)
      return isFit ? [key] : []
    } catch {
      return []
    }
  })
}

/** Of a document: do two elements have one id, in any spelling of that? Whoever looks for it could find the other. */
export function repeatedId(root: XmlElement): boolean {
  const seen = new Set<string>()
  for (const element of [root, ...descendants(root)])
    for (const { local, value } of element.attributes) {
      if (local.toLowerCase() !== 'id') continue
      if (seen.has(value)) return true
      seen.add(value)
    }
  return false
}

/** Verifies the one signature that is a child of the element and speaks of it. */
export function verifyEnveloped(element: XmlElement, keys: readonly KeyObject[]): SignedXml | SignatureFault {
  const [signature, ...others] = childrenOf(element, DSIG, 'Signature')
  if (signature === undefined) return fault('OUTSIDE_UNSIGNED', `${element.local} is not signed`)
  if (others.length > 0) return fault('OUTSIDE_WRAPPED', `${element.local} has several signatures`)
  const parts = elementsOf(signature)
  const [signedInfo, value, keyInfo] = parts
  const isShaped =
    signedInfo?.local === 'SignedInfo' &&
    value?.local === 'SignatureValue' &&
    parts.length <= 3 &&
    (keyInfo === undefined || keyInfo.local === 'KeyInfo') &&
    parts.every(({ namespace }) => namespace === DSIG)
  if (!isShaped) return fault('OUTSIDE_WRAPPED', 'a signature holds SignedInfo, SignatureValue and at most KeyInfo')
  const info = readSignedInfo(signedInfo, attributeOf(element, 'ID'))
  if ('ok' in info) return info
  const signed = canonicalXml(element, signature, info.inclusive)
  if (hash(info.digest, signed, 'base64') !== info.digestValue) return fault('OUTSIDE_DIGEST', 'the digest is of something else')
  const bytes = base64(textOf(value))
  if (bytes === undefined) return fault('OUTSIDE_SIGNATURE', 'the signature is no base64')
  const about = Buffer.from(canonicalXml(signedInfo, undefined, info.infoInclusive))
  const fitting = keys.filter(({ asymmetricKeyType }) => asymmetricKeyType === info.method.type)
  if (fitting.length === 0) return fault('OUTSIDE_KEY', `no certificate of the policy has a key for ${info.methodName}`)
  const isGood = fitting.some((key) => verifies(info.method, about, key, bytes))
  return isGood
    ? { ok: true, bytes: Buffer.from(signed) }
    : fault('OUTSIDE_SIGNATURE', 'the signature is by none of the keys that the policy has')
}

function verifies({ type, digest, pss }: Method, about: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  const padding = pss === true ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST } : {}
  // RFC 9231 section 2.3.6: the two numbers side by side, not DER.
  const encoding = type === 'ec' ? { dsaEncoding: 'ieee-p1363' as const } : {}
  return verify(digest, about, { key, ...padding, ...encoding }, signature)
}

interface SignedInfo {
  readonly method: Method
  readonly methodName: string
  readonly digest: string
  readonly digestValue: string
  /** Prefixes, of what is signed and of the SignedInfo. */
  readonly inclusive: readonly string[]
  readonly infoInclusive: readonly string[]
}

function readSignedInfo(signedInfo: XmlElement, id: string | undefined): SignedInfo | SignatureFault {
  const [canonicalization, method, reference, ...more] = elementsOf(signedInfo)
  const names = [canonicalization, method, reference].map((one) => (one?.namespace === DSIG ? one.local : undefined))
  if (names.join() !== 'CanonicalizationMethod,SignatureMethod,Reference' || more.length > 0)
    return fault('OUTSIDE_WRAPPED', 'SignedInfo speaks of exactly one element')
  const infoInclusive = exclusiveOf(canonicalization as XmlElement)
  if (infoInclusive === undefined) return fault('OUTSIDE_TRANSFORM', 'SignedInfo is canonicalized exclusively, without comments')
  const methodName = attributeOf(method as XmlElement, 'Algorithm') ?? ''
  const known = METHODS.get(methodName)
  if (known === undefined || elementsOf(method as XmlElement).length > 0)
    return fault('OUTSIDE_ALGORITHM', 'signed by an algorithm that is not taken')
  if (id === undefined || id === '' || attributeOf(reference as XmlElement, 'URI') !== `#${id}`)
    return fault('OUTSIDE_WRAPPED', 'the signature is of another element than the one that holds it')
  const [transforms, digestMethod, digestValue, ...rest] = elementsOf(reference as XmlElement)
  const parts = [transforms, digestMethod, digestValue].map((one) => (one?.namespace === DSIG ? one.local : undefined))
  if (parts.join() !== 'Transforms,DigestMethod,DigestValue' || rest.length > 0)
    return fault('OUTSIDE_TRANSFORM', 'a reference holds Transforms, DigestMethod and DigestValue')
  const [enveloped, exclusive, ...others] = elementsOf(transforms as XmlElement)
  // Some signers list prefixes at both, xml-crypto in a namespace of its own making: at this one they mean nothing.
  const isEnveloped =
    enveloped?.local === 'Transform' &&
    attributeOf(enveloped, 'Algorithm') === ENVELOPED &&
    elementsOf(enveloped).every(({ local }) => local === 'InclusiveNamespaces')
  const inclusive = exclusive?.local === 'Transform' ? exclusiveOf(exclusive) : undefined
  if (!isEnveloped || inclusive === undefined || others.length > 0)
    return fault('OUTSIDE_TRANSFORM', 'the transforms are enveloped-signature and exclusive canonicalization, in this order')
  const digest = DIGESTS.get(attributeOf(digestMethod as XmlElement, 'Algorithm') ?? '')
  if (digest === undefined) return fault('OUTSIDE_ALGORITHM', 'digested by an algorithm that is not taken')
  const value = base64(textOf(digestValue as XmlElement))
  if (value === undefined) return fault('OUTSIDE_DIGEST', 'the digest is no base64')
  return { method: known, methodName, digest, digestValue: value.toString('base64'), inclusive, infoInclusive }
}

/** Its prefixes, if it is exclusive canonicalization without comments. */
function exclusiveOf(element: XmlElement): readonly string[] | undefined {
  if (attributeOf(element, 'Algorithm') !== EXCLUSIVE) return undefined
  const [inclusive, ...others] = elementsOf(element)
  if (inclusive === undefined) return []
  if (inclusive.namespace !== EXCLUSIVE || inclusive.local !== 'InclusiveNamespaces' || others.length > 0) return undefined
  const prefixes = (attributeOf(inclusive, 'PrefixList') ?? '').split(' ').filter((one) => one !== '')
  return prefixes.length <= PREFIXES_MAX ? prefixes : undefined
}

function elementsOf({ children }: XmlElement): readonly XmlElement[] {
  return children.filter((child): child is XmlElement => typeof child !== 'string')
}

/** Blanks within it do not count (XML Schema part 2, section 3.2.16). */
function base64(text: string | undefined): Buffer | undefined {
  const plain = text?.replace(/[ \t\n]/g, '')
  return plain !== undefined && plain.length <= 2_048 && /^[A-Za-z0-9+/]+={0,2}$/.test(plain)
    ? Buffer.from(plain, 'base64')
    : undefined
}

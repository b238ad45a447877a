/**
 * Envoy's secret discovery service, version 3, as far as it is about certificates: requests read, answers written. Field numbers are of
 * envoy/service/discovery/v3/discovery.proto, envoy/extensions/transport_sockets/tls/v3/{secret,common}.proto and envoy/config/core/v3/base.proto.
 * Names are as SPIRE's agent has them (doc/spire_agent.md, "Envoy SDS Support").
 */
import { X509Certificate } from 'node:crypto'
import { GRPC_STATUS, GrpcFault } from './grpc.ts'
import { allBytesOf, bytesOf, field, message, optionalField, readFields, textOf } from './protobuf.ts'

export const SECRET_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret'
const SPIFFE_VALIDATOR_TYPE = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig'
const SPIFFE_VALIDATOR = 'envoy.tls.cert_validator.spiffe'

/** The certificate of the first service that the program is; the ring's bundle; all bundles that are known, each for its own trust domain. */
export const SECRET_NAMES = { svid: 'default', bundle: 'ROOTCA', all: 'ALL' } as const

const NAMES_MAX = 64
const NAME_BYTES_MAX = 512
const WORDS_MAX = 300

export interface SecretsRequest {
  /** In order, each once; none: all that there are. */
  readonly names: readonly string[]
  /** Of the answer that it is about; empty in the first request. */
  readonly nonce: string
  /** Why that answer was not taken. */
  readonly refusal: string | undefined
}

/** @throws {GrpcFault} Whatever the bytes. */
export function parseSecretsRequest(bytes: Uint8Array): SecretsRequest {
  try {
    const fields = readFields(bytes)
    if (fields === undefined) throw invalid('the request is no message')
    const type = textOf(bytesOf(fields, 4))
    if (type !== SECRET_TYPE) throw invalid(`type_url ${JSON.stringify(type.slice(0, 200))}: expected ${SECRET_TYPE}`)
    const names = [...new Set(allBytesOf(fields, 3).map(textOf))]
    if (names.length > NAMES_MAX || names.some((name) => name.length > NAME_BYTES_MAX))
      throw invalid(`at most ${NAMES_MAX} names of ${NAME_BYTES_MAX} characters are taken`)
    const detail = bytesOf(fields, 6)
    return { names, nonce: textOf(bytesOf(fields, 5)), refusal: detail.length === 0 ? undefined : wordsOf(detail) }
  } catch (error) {
    if (error instanceof GrpcFault) throw error
    throw invalid('the request has text that is no UTF-8')
  }
}

/** `message` of google.rpc.Status. */
function wordsOf(detail: Uint8Array): string {
  const fields = readFields(detail)
  return fields === undefined ? 'no reason that can be read' : textOf(bytesOf(fields, 2)).slice(0, WORDS_MAX)
}

function invalid(message: string): GrpcFault {
  return new GrpcFault(GRPC_STATUS.INVALID_ARGUMENT, message)
}

export type Secret =
  | {
      readonly kind: 'svid'
      readonly name: string /** DER. */
      readonly certificate: Uint8Array /** PKCS#8, DER. */
      readonly key: Uint8Array
    }
  /** DER, one after another. `bound`: of this trust domain alone, which Envoy from 1.18 looks at. */
  | { readonly kind: 'bundle'; readonly name: string; readonly anchors: readonly Uint8Array[]; readonly bound?: string }

/** A DiscoveryResponse. */
export function encodeSecrets(secrets: readonly Secret[], version: string, nonce: string): Uint8Array {
  return message(
    optionalField(1, version),
    ...secrets.map((secret) => field(2, message(field(1, SECRET_TYPE), field(2, encodeSecret(secret))))),
    field(4, SECRET_TYPE),
    optionalField(5, nonce),
  )
}

function encodeSecret(secret: Secret): Uint8Array {
  const name = field(1, secret.name)
  if (secret.kind === 'svid') {
    const certificate = message(
      field(1, inlineBytes(new X509Certificate(secret.certificate).toString())),
      field(2, inlineBytes(pem('PRIVATE KEY', secret.key))),
    )
    return message(name, field(2, certificate))
  }
  const trusted = inlineBytes(secret.anchors.map((anchor) => new X509Certificate(anchor).toString()).join(''))
  if (secret.bound === undefined) return message(name, field(4, field(1, trusted)))
  const validator = field(1, message(field(1, secret.bound), field(2, trusted)))
  const extension = message(field(1, SPIFFE_VALIDATOR), field(2, message(field(1, SPIFFE_VALIDATOR_TYPE), field(2, validator))))
  return message(name, field(4, field(12, extension)))
}

/** A DataSource. */
function inlineBytes(text: string): Uint8Array {
  return field(2, text)
}

function pem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .match(/.{1,64}/g) as readonly string[]
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`
}

/** The operator of a local ring: signs what `up` and `protect` themselves propose, with the key from its context file. */
import { createPrivateKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { batchOf, encodeBase64url, encodeTx, signingBytes, type TxBody, type TxContent } from '@ringwall/ring/tx'
import { z } from 'zod'
import { StartError } from '../errors.ts'
import { randomNonce, sha256Hex, signMessage } from '../keys.ts'
import { readTextFile } from '../text-file.ts'

const Context = z.looseObject({
  format: z.literal('ringwall/context/1'),
  ring: z.string(),
  name: z.string(),
  privateKey: z.looseObject({ kty: z.literal('OKP'), crv: z.literal('Ed25519') }),
})

const TX_VALID_MS = 60_000
const TOKEN_VALID_S = 60

export interface LocalOperator {
  readonly ring: string
  readonly name: string
  readonly privateKey: KeyObject
}

/** @throws {StartError} `KEY_INVALID`; the message never holds the key. */
export function readOperator(file: string): LocalOperator {
  const text = readTextFile(file, 'KEY_INVALID', 'the operator’s context')
  try {
    const { ring, name, privateKey } = Context.parse(JSON.parse(text))
    return { ring, name, privateKey: createPrivateKey({ key: privateKey as JsonWebKey, format: 'jwk' }) }
  } catch {
    throw new StartError('KEY_INVALID', `${file}: expected an operator’s context (format ringwall/context/1) with an Ed25519 key`)
  }
}

/** A signed transaction in the operator's name, encoded, to be agreed on within `validMs`; `atMs` is Unix milliseconds. */
export function signAsOperator(
  operator: LocalOperator,
  body: TxBody,
  atMs: number = Date.now(),
  validMs: number = TX_VALID_MS,
): Uint8Array {
  const content = statement(operator, body, atMs, validMs)
  return encodeTx({ content, signature: encodeBase64url(signMessage(operator.privateKey, signingBytes(content))) })
}

/** As `signAsOperator`, 2 to `BATCH_MAX` transactions under one signature. */
export function signTogetherAsOperator(
  operator: LocalOperator,
  bodies: readonly TxBody[],
  atMs: number = Date.now(),
  validMs: number = TX_VALID_MS,
): readonly Uint8Array[] {
  const contents = bodies.map((body) => statement(operator, body, atMs, validMs))
  const { message, signatures } = batchOf(contents.map(signingBytes), sha256Hex)
  const signed = signatures(signMessage(operator.privateKey, message))
  return contents.map((content, at) => encodeTx({ content, signature: encodeBase64url(signed[at] as Uint8Array) }))
}

function statement({ ring, name }: LocalOperator, body: TxBody, atMs: number, validMs: number): TxContent {
  return { ring, issuer: `operator:${name}`, atMs, untilMs: atMs + validMs, nonce: randomNonce(), body }
}

/** A bearer token for the admin API: compact JWS (RFC 7515), EdDSA. */
export function operatorToken(operator: LocalOperator): string {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const iat = Math.floor(Date.now() / 1_000)
  const signed = `${part({ alg: 'EdDSA', kid: operator.name })}.${part({ iss: operator.name, aud: operator.ring, iat, exp: iat + TOKEN_VALID_S })}`
  return `${signed}.${encodeBase64url(signMessage(operator.privateKey, Buffer.from(signed)))}`
}

/** With what a node signs its requests to a bucket: from a file in the form of AWS's shared credentials, or from the environment. Never from `node.yaml`. */
import { readFileSync } from 'node:fs'
import { StartError } from '../errors.ts'
import type { S3Credentials } from '../s3/sigv4-sign.ts'

const BYTES_MAX = 65_536
const WORD = /^[\x21-\x7e]{1,4096}$/

/**
 * @param file Undefined: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if any, `AWS_SESSION_TOKEN`.
 * @throws {StartError} CONFIG_INVALID. No value is in the message.
 */
export function readBucketCredentials(
  file: string | undefined,
  profile: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): S3Credentials {
  if (file === undefined) {
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = environment
    const where = 'objects.store.s3 names no credentials, and the environment’s AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY'
    return checked(AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, where)
  }
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    throw new StartError('CONFIG_INVALID', `${file}: cannot be read, and objects.store.s3.credentials names it`, { cause })
  }
  if (text.length > BYTES_MAX) throw new StartError('CONFIG_INVALID', `${file}: expected at most ${BYTES_MAX} characters`)
  const fields = profileOf(text, profile)
  if (fields === undefined) throw new StartError('CONFIG_INVALID', `${file}: expected a section [${profile}]`)
  const [id, secret] = [fields.get('aws_access_key_id'), fields.get('aws_secret_access_key')]
  return checked(
    id,
    secret,
    fields.get('aws_session_token'),
    `${file}: aws_access_key_id and aws_secret_access_key of [${profile}]`,
  )
}

function profileOf(text: string, profile: string): ReadonlyMap<string, string> | undefined {
  let section: string | undefined
  let fields: Map<string, string> | undefined
  for (const line of text.split(/\r?\n/)) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#') || trimmed.startsWith(';')) continue
    if (trimmed.startsWith('[') && trimmed.endsWith(']')) {
      section = trimmed.slice(1, -1).trim()
      if (section === profile) fields ??= new Map()
      continue
    }
    const at = trimmed.indexOf('=')
    if (section === profile && at > 0) fields?.set(trimmed.slice(0, at).trim(), trimmed.slice(at + 1).trim())
  }
  return fields
}

function checked(id: string | undefined, secret: string | undefined, token: string | undefined, where: string): S3Credentials {
  const isToken = token === undefined || token === '' || WORD.test(token)
  if (id === undefined || secret === undefined || !WORD.test(id) || !WORD.test(secret) || !isToken)
    throw new StartError('CONFIG_INVALID', `${where} must be there, each one word`)
  return { accessKeyId: id, secretAccessKey: secret, sessionToken: token === '' ? undefined : token }
}

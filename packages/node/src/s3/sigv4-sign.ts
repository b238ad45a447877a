/** Requests to a bucket of others, signed as `sigv4.ts` verifies them: AWS Signature Version 4, in the Authorization header. */
import { type Claim, signatureOf } from './sigv4.ts'

export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
  /** Of credentials that end by themselves. */
  readonly sessionToken?: string | undefined
}

export interface UnsignedRequest {
  readonly method: string
  /** Path, encoded, and query. */
  readonly target: string
  /** Names in lower case; `host` among them. */
  readonly headers: Readonly<Record<string, string>>
  /** SHA-256 of the body, hex. */
  readonly payload: string
}

/** All headers of the request. Every one of them is signed. */
export function signRequest(
  { method, target, headers, payload }: UnsignedRequest,
  { accessKeyId, secretAccessKey, sessionToken }: S3Credentials,
  region: string,
  nowMs: number,
): Record<string, string> {
  const date = new Date(nowMs).toISOString().replace(/[-:]|\.\d{3}/g, '')
  const all: Record<string, string> = { ...headers, 'x-amz-content-sha256': payload, 'x-amz-date': date }
  if (sessionToken !== undefined) all['x-amz-security-token'] = sessionToken
  const signedHeaders = Object.keys(all).sort()
  const day = date.slice(0, 8)
  const claim: Claim = { accessKey: accessKeyId, day, region, date, signedHeaders, signature: '', isPresigned: false, payload }
  const signature = signatureOf({ method, target, rawHeaders: Object.entries(all).flat() }, claim, secretAccessKey).toString(
    'hex',
  )
  const credential = `${accessKeyId}/${day}/${region}/s3/aws4_request`
  all.authorization = `AWS4-HMAC-SHA256 Credential=${credential},SignedHeaders=${signedHeaders.join(';')},Signature=${signature}`
  return all
}

import { md5 as md5Of, sha1 as sha1Of } from '@noble/hashes/legacy.js'
import { bytesToText } from '../bytes.ts'

/** `t:sha1`, `t:md5`: the digest's bytes. Fingerprints of values, as rules use them; neither protects anything. */
export function sha1(text: string): string {
  return bytesToText(sha1Of(textToBytes(text)))
}

export function md5(text: string): string {
  return bytesToText(md5Of(textToBytes(text)))
}

function textToBytes(text: string): Uint8Array {
  const bytes = new Uint8Array(text.length)
  for (let i = 0; i < text.length; i += 1) bytes[i] = text.charCodeAt(i)
  return bytes
}

/** What a release says of itself, and what its maker signs. Its files are listed in the archive; the header holds the hash of that list. */
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'
import { portableSha256 } from './sha256.ts'

const RELEASE_DOMAIN = 'RINGWALL_RELEASE_V1\n'
export const RELEASE_FORMAT = 'ringwall/release/1'
/** Of an archive's files, and of all their bytes. */
export const RELEASE_FILES_MAX = 50_000
export const RELEASE_BYTES_MAX = 1_073_741_824

export interface ReleaseHeader {
  readonly format: typeof RELEASE_FORMAT
  readonly version: string
  /** SHA-256 of the list of files, as canonical JSON: lower-case hex. */
  readonly contents: string
  readonly files: number
  /** Of all files together. */
  readonly bytes: number
  /** What nodes measure of themselves that run it (`Measured.program`), in order. */
  readonly programs: readonly string[]
}

/** What its maker signs with Ed25519. */
export function releaseBytes({ format, version, contents, files, bytes, programs }: ReleaseHeader): Uint8Array {
  return encodeUtf8(RELEASE_DOMAIN + canonicalJson({ format, version, contents, files, bytes, programs }))
}

/** SHA-256 of what is signed, lower-case hex: names the release. */
export function releaseDigest(header: ReleaseHeader): string {
  return portableSha256(releaseBytes(header))
}

/** Makes a folder that updates itself, from the archive of a release. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ReleaseInvalid, readHeader, type SignedHeader, unpackRelease } from './release-archive.ts'
import { Slots } from './slots.ts'

/** @param key That must have signed it: Ed25519, raw, base64url. @throws {ReleaseInvalid} */
export async function installRelease(archive: string, folder: string, key: string): Promise<SignedHeader> {
  const { digest, ...signed } = await readHeader(archive)
  if (signed.key !== key) throw new ReleaseInvalid(`${archive} is signed by the key ${signed.key}, not by ${key}`)
  const slots = new Slots(folder)
  if (slots.current() !== undefined)
    throw new ReleaseInvalid(`${folder} has a release already: its nodes go to another by fleet.updates in the policy`)
  const slot = await slots.clear()
  await unpackRelease(archive, slots.path(slot), digest)
  await slots.point(slot)
  return signed
}

/** What an installation says that it is. */
export function versionOf(root: string): string {
  const file = join(root, 'packages', 'node', 'package.json')
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as { readonly version: string }).version
  } catch (cause) {
    throw new ReleaseInvalid(`${root} is no installation of Ringwall: ${file} cannot be read`, { cause })
  }
}

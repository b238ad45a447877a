/** The key of the traces' rows: a file of its own under the disk's seal, so that another storage key means no row written anew. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type DiskSeal, makeDirectory, readFileSealed, StoreError, writeFileSealed } from '@ringwall/store'

export const TRACE_KEY_FILE: string = join('traces', 'key')
const KEY_BYTES = 32

/** Undefined where the disk is not sealed. A key that is lost takes the traces with it, and no more. */
export async function traceKey(
  data: string,
  seal: DiskSeal | undefined,
): Promise<{ readonly key: Uint8Array; readonly acceptsClear: boolean } | undefined> {
  if (seal?.current === undefined) return undefined
  const { acceptsPlain: acceptsClear } = seal
  const path = join(data, TRACE_KEY_FILE)
  const held = await readFileSealed(path, seal).catch((error: unknown) => {
    if (error instanceof StoreError) return undefined
    throw error
  })
  if (held?.length === KEY_BYTES) return { key: new Uint8Array(held), acceptsClear }
  const key = randomBytes(KEY_BYTES)
  await makeDirectory(join(data, 'traces'))
  await writeFileSealed(path, key, seal)
  return { key: new Uint8Array(key), acceptsClear }
}

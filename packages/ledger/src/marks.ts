/** Empty files beside the ledger that say what a folder's contents cannot. */
import { existsSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory, writeFileAtomic } from '@ringwall/store'

/** An empty file that says: never opened. Whoever makes a node puts it into its empty folder. */
export const FIRST_START_FILE = 'first-start'
/** An empty file that says: this folder does not know all that its validator signed. */
const FORGOTTEN_FILE = 'forgotten'

export function hasForgotten(directory: string): boolean {
  return existsSync(join(directory, FORGOTTEN_FILE))
}

export async function rememberForgetting(directory: string): Promise<void> {
  if (!hasForgotten(directory)) await writeFileAtomic(join(directory, FORGOTTEN_FILE), '')
}

/** The ring has gone on, and all that this validator may have signed is in the past; or it has signed nothing ever. */
export async function endForgetting(directory: string): Promise<void> {
  await unlink(join(directory, FORGOTTEN_FILE)).catch(() => {})
}

/** The mark counts once, and is gone from the disk before anything is signed. */
export async function takeFirstStart(directory: string): Promise<boolean> {
  try {
    await unlink(join(directory, FIRST_START_FILE))
  } catch {
    return false
  }
  await syncDirectory(directory)
  return true
}

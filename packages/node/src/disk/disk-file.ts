/**
 * `disk.json` of a node's data folder, the one file there that is to be read before the disk is open: by what its storage key is had. It holds no
 * key in the clear.
 */
import { readFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory, writeFileAtomic } from '@ringwall/store'
import { z } from 'zod'
import { StartError } from '../errors.ts'

const FILE = 'disk.json'
const EARLIER_MAX = 8

const Bytes = z
  .string()
  .regex(/^[A-Za-z0-9_-]+$/)
  .max(4_096)

const Shape = z
  .strictObject({
    format: z.literal('ringwall/disk/1'),
    /** Under a key of this machine: the node's key file, and a passphrase where there is one. */
    local: z.strictObject({ salt: Bytes, passphrase: z.boolean(), wrapped: Bytes }).nullable(),
    /** Under the ring's sealing key. */
    ring: z.strictObject({ capsule: Bytes, wrapped: Bytes }).nullable(),
    /** Keys of before, under the one in force, while there may be files of theirs. */
    earlier: z.array(Bytes).max(EARLIER_MAX),
    /** May there be files in the clear? */
    clear: z.boolean(),
  })
  .refine(({ local, ring }) => (local === null) !== (ring === null), { error: 'expected either local or ring' })

export type DiskFile = z.output<typeof Shape>

export function diskFileOf(data: string): string {
  return join(data, FILE)
}

/** Undefined: the folder was never sealed. @throws {StartError} `DISK_LOCKED` when it is there and cannot be read. */
export function readDiskFile(data: string): DiskFile | undefined {
  const path = diskFileOf(data)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new StartError('DISK_LOCKED', `${path} cannot be read (${(cause as NodeJS.ErrnoException).code}): see to its rights`, {
      cause,
    })
  }
  try {
    return Shape.parse(JSON.parse(text))
  } catch (cause) {
    const what = `${path} is not of the form ringwall/disk/1, and without it nothing on this disk can be read`
    throw new StartError('DISK_LOCKED', `${what}: restore it, or empty ${data} and have the node join anew`, { cause })
  }
}

/** Durable once it resolves. */
export async function writeDiskFile(data: string, file: DiskFile): Promise<void> {
  await writeFileAtomic(diskFileOf(data), `${JSON.stringify(file, undefined, 2)}\n`)
}

export async function removeDiskFile(data: string): Promise<void> {
  await rm(diskFileOf(data), { force: true })
  await syncDirectory(data)
}

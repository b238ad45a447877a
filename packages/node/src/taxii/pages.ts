/**
 * STIX objects on disk: a folder of pages, each a file of its own, sealed where the disk is. Pages are written once and read in order of
 * name; of an object in several of them the newest version counts.
 */
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type DiskSeal, readFileSealed, writeFileSealed } from '@ringwall/store'
import { z } from 'zod'

const PAGE_BYTES_MAX = 64 * 1_048_576
const NAME = /^(\d{8})\.json$/

const Page = z.strictObject({
  format: z.literal('ringwall/stix-page/1'),
  objects: z.array(z.tuple([z.int().min(0), z.record(z.string(), z.unknown())])),
})

/** When it was added, in microseconds, and the object. */
export type PagedObject = readonly [added: number, object: Readonly<Record<string, unknown>>]

/** Names of pages, in order. Empty for a folder that is not there. */
export async function pagesIn(folder: string): Promise<readonly string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names.filter((name) => NAME.test(name)).sort()
}

export const pageName = (number: number): string => `${String(number).padStart(8, '0')}.json`
export const pageNumber = (name: string): number => Number(NAME.exec(name)?.[1] ?? 0)

/** @throws When it cannot be read, or is no page. */
export async function readPage(folder: string, name: string, seal: DiskSeal | undefined): Promise<readonly PagedObject[]> {
  const path = join(folder, name)
  const bytes = await readFileSealed(path, seal, PAGE_BYTES_MAX)
  const parsed = Page.safeParse(bytes === undefined ? undefined : JSON.parse(Buffer.from(bytes).toString('utf8')))
  if (!parsed.success) throw new Error(`${path}: no page of STIX objects; remove it to have the rest`)
  return parsed.data.objects
}

/** Durable once it resolves. @param objects Each already as JSON. */
export async function writePage(
  folder: string,
  name: string,
  objects: readonly { readonly added: number; readonly text: string }[],
  seal: DiskSeal | undefined,
): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const list = objects.map(({ added, text }) => `[${added},${text}]`)
  await writeFileSealed(join(folder, name), `{"format":"ringwall/stix-page/1","objects":[${list.join(',\n')}]}\n`, seal)
}

export async function removePage(folder: string, name: string): Promise<void> {
  await rm(join(folder, name), { force: true })
}

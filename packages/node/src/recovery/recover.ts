/** A node's image made beside it, and put back on an empty machine by operators: each gives a part, on any machine, and none has the whole. */
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { genesisHash } from '@ringwall/ring'
import { readNodeConfig } from '../config.ts'
import { OperatorParts, operatorPart } from '../disk/recovery.ts'
import { StartError } from '../errors.ts'
import { readPrivateKey } from '../keys.ts'
import { readGenesis } from '../own-entry.ts'
import { type ImageReport, imageKey, readEnvelope, readImage, VOTES, writeImage, writeRestored } from './image.ts'

/** Of the node whose configuration it is; it may run. @param recovery The operators' key. */
export async function backupNode(configFile: string, recovery: string, target: string): Promise<ImageReport> {
  const config = readNodeConfig(configFile)
  const ring = genesisHash(readGenesis(config.genesis))
  const key = imageKey(readPrivateKey(config.key), ring, config.id)
  const files = { config: resolve(configFile), key: config.key, genesis: config.genesis, data: config.data }
  try {
    return await writeImage(files, { ring, node: config.id, key }, recovery, target, Date.now())
  } finally {
    key.fill(0)
  }
}

/** One operator's part of opening an image: of this image alone. */
export function imagePart(image: string, share: string): string {
  const { index, partial } = operatorPart(share, readEnvelope(image).operators)
  return `${index}.${partial}`
}

export interface RestoredNode {
  readonly node: string
  readonly ring: string
  readonly atMs: number
  readonly files: number
  readonly config: string
}

/**
 * @param wholeRing No node of the ring is alive: what they signed since is gone with it, and they go on from here. Else a validator comes back without its
 * journal, and is silent until the ring has gone on.
 * @throws {StartError} `BACKUP_INVALID`; nothing is written before enough parts opened the image and all of it verified.
 */
export function restoreNode(image: string, parts: readonly string[], directory: string, wholeRing: boolean): RestoredNode {
  const { operators, node, ring, atMs } = readEnvelope(image)
  const taken = new OperatorParts(operators)
  for (const part of parts) {
    const [index = '', partial = ''] = part.trim().split('.')
    if (!taken.take(Number(index), partial))
      throw new StartError('BACKUP_INVALID', `the part ${index.slice(0, 8)}… is none of this image, or wrong: have it made again`)
  }
  const key = taken.storageKey()
  if (key === undefined)
    throw new StartError('BACKUP_INVALID', `${taken.missing} more operators have to give their parts: ringwall recovery part`)
  if (existsSync(directory)) throw new StartError('BACKUP_INVALID', `${directory} is there already; name a folder that is not`)
  // All of it is verified before any of it is written.
  for (const { chunks } of readImage(image, key)) for (const _ of chunks);
  const configFile = join(directory, 'node.yaml')
  let files = 0
  let places: Readonly<Record<string, string>> = { 'node.yaml': configFile }
  let data = directory
  for (const { path, chunks } of readImage(image, key)) {
    if (!wholeRing && VOTES.test(path)) continue
    if (path === 'node.yaml') {
      writeRestored(configFile, chunks)
      const config = readNodeConfig(configFile)
      data = config.data
      places = { 'node.key': config.key, 'genesis.json': config.genesis }
    } else {
      const place = places[path] ?? join(data, path.slice('data/'.length))
      // Nodes of one machine share the document.
      const same = path === 'genesis.json' && existsSync(place) ? Buffer.concat([...chunks]) : undefined
      if (same === undefined) writeRestored(place, chunks)
      else if (Buffer.compare(same, readFileSync(place)) !== 0)
        throw new StartError('BACKUP_INVALID', `${place} is there already, and is another ring's genesis document`)
    }
    files += 1
  }
  key.fill(0)
  return { node, ring, atMs, files, config: configFile }
}

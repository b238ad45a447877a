/**
 * What a drill of recovery takes: the newest image of each node, verified, and put into a scratch folder as nodes that run beside each other on one machine.
 * They are the ring, with its keys: whoever starts them sees to it that they reach nothing but one another (`ringwall drill restore` uses a network
 * namespace). So of `node.yaml` only what the ledger and the vault need is taken over.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseGenesis } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { verifyCapsule } from '@ringwall/threshold'
import { parse, stringify } from 'yaml'
import { z } from 'zod'
import { formatHostPort, type HostPort, parseHostPort } from '../address.ts'
import { OperatorParts, recoveryKeyOf } from '../disk/recovery.ts'
import { StartError } from '../errors.ts'
import { type ImageEnvelope, readEnvelope, readImage, writeRestored } from './image.ts'
import { imagePart } from './recover.ts'

const IMAGE = /^image-.*\.json$/
const FOLDERS_MAX = 1_000

export interface DrillImage {
  readonly file: string
  readonly node: string
  readonly ring: string
  readonly atMs: number
  /** Operators that it takes. */
  readonly needed: number
}

/** Of `node.yaml`, in whatever version: the rest is for clients and neighbours that a drill has not. */
const Kept = z.object({
  id: z.string(),
  region: z.string().optional(),
  listen: z.object({ fabric: z.string() }),
  disk: z.object({ seal: z.enum(['off', 'local', 'ring']).default('local') }).prefault({}),
  consensus: z.record(z.string(), z.unknown()).optional(),
  ledger: z.record(z.string(), z.unknown()).optional(),
  rules: z.record(z.string(), z.string()).optional(),
})

/**
 * The newest image of each node, from a folder of images or a folder of such folders. What can be verified without operators is: form, ring, and that the
 * capsule is one of the operators' key.
 *
 * @throws {StartError} BACKUP_INVALID
 */
export function newestImages(folder: string): readonly DrillImage[] {
  const newest = new Map<string, DrillImage>()
  for (const file of imageFiles(folder)) {
    const envelope = readEnvelope(file)
    const known = newest.get(envelope.node)
    if (known === undefined || known.atMs < envelope.atMs) newest.set(envelope.node, describe(file, envelope))
  }
  const images = [...newest.values()].sort((a, b) => (a.node < b.node ? -1 : 1))
  const [first] = images
  if (first === undefined)
    throw new StartError('BACKUP_INVALID', `${folder}: holds no image, as ringwall recovery backup writes them`)
  const other = images.find(({ ring }) => ring !== first.ring)
  if (other !== undefined)
    throw new StartError(
      'BACKUP_INVALID',
      `${other.file} is of another ring than ${first.file}: name a folder of one ring’s images`,
    )
  return images
}

function imageFiles(folder: string): readonly string[] {
  let entries: readonly { readonly name: string; isDirectory(): boolean }[]
  try {
    entries = readdirSync(folder, { withFileTypes: true })
  } catch (cause) {
    throw new StartError('BACKUP_INVALID', `${folder}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause })
  }
  const own = (place: string, names: readonly string[]): string[] =>
    names
      .filter((name) => IMAGE.test(name))
      .map((name) => join(place, name))
      .sort()
  const below = entries.filter((entry) => entry.isDirectory() && entry.name !== 'chunks').slice(0, FOLDERS_MAX)
  return [
    ...own(
      folder,
      entries.map(({ name }) => name),
    ),
    ...below.flatMap(({ name }) => own(join(folder, name), readdirSync(join(folder, name)))),
  ]
}

function describe(file: string, { node, ring, atMs, operators }: ImageEnvelope): DrillImage {
  const publicKey = recoveryKeyOf(operators.key)
  try {
    if (publicKey === undefined) throw new Error('no key of operators')
    verifyCapsule(publicKey, decodeBase64url(operators.capsule))
    return { file, node, ring, atMs, needed: publicKey.threshold }
  } catch (cause) {
    throw new StartError('BACKUP_INVALID', `${file}: what is sealed to the operators was changed`, { cause })
  }
}

export interface DrilledNode {
  readonly node: string
  readonly config: string
  /** Where the others look for it. */
  readonly fabric: HostPort
  readonly admin: string
  readonly s3: string
  /** Its disk waits for operators. */
  readonly isLocked: boolean
  readonly files: number
  readonly bytes: number
}

/**
 * Opens an image with operators' shares and writes the node into a folder of its own.
 *
 * @param at Number of the node: its ports follow from it. @throws {StartError} BACKUP_INVALID when shares are too few or wrong, or the image was changed.
 */
export function restoreForDrill(
  { file, needed }: DrillImage,
  shares: readonly string[],
  scratch: string,
  at: number,
): DrilledNode {
  const taken = new OperatorParts(readEnvelope(file).operators)
  for (const share of shares.slice(0, needed)) {
    const [index = '', partial = ''] = imagePart(file, share).split('.')
    taken.take(Number(index), partial)
  }
  const key = taken.storageKey()
  if (key === undefined)
    throw new StartError('BACKUP_INVALID', `${file}: ${taken.missing} more shares of operators that differ are needed to open it`)
  let [files, bytes] = [0, 0]
  const directory = join(scratch, readEnvelope(file).node)
  mkdirSync(directory, { mode: 0o700 })
  let kept: z.output<typeof Kept> | undefined
  let genesis = ''
  for (const { path, chunks } of readImage(file, key)) {
    files += 1
    if (path === 'node.yaml' || path === 'genesis.json') {
      const text = Buffer.concat([...chunks]).toString('utf8')
      bytes += text.length
      if (path === 'node.yaml') kept = Kept.parse(parse(text, { maxAliasCount: 0 }))
      else {
        genesis = text
        writeFileSync(join(directory, path), text, { mode: 0o600 })
      }
      continue
    }
    writeRestored(
      join(directory, path),
      counted(chunks, (size) => (bytes += size)),
    )
  }
  key.fill(0)
  if (kept === undefined) throw new StartError('BACKUP_INVALID', `${file}: holds no node.yaml`)
  const { id, region, consensus, ledger, disk, listen } = kept
  const address = parseGenesis(genesis).nodes.find((one) => one.id === id)?.address ?? listen.fabric
  const fabric = parseHostPort(address, `${file}: the address of ${id}`)
  const [admin, s3] = [`127.0.0.1:${scratchPort(1, at, fabric.port)}`, `127.0.0.1:${scratchPort(2, at, fabric.port)}`]
  const rules = Object.fromEntries(Object.entries(kept.rules ?? {}).filter(([, place]) => existsSync(place)))
  const settings = {
    format: 'ringwall/node/1',
    id,
    ...(region === undefined ? {} : { region }),
    data: 'data',
    genesis: 'genesis.json',
    key: 'node.key',
    listen: { traffic: [`127.0.0.1:${scratchPort(0, at, fabric.port)}`], admin, fabric: formatHostPort(fabric) },
    s3: { listen: s3 },
    disk,
    ...(consensus === undefined ? {} : { consensus }),
    ...(ledger === undefined ? {} : { ledger }),
    rules,
  }
  const config = join(directory, 'node.yaml')
  writeFileSync(config, stringify(settings), { mode: 0o600 })
  return { node: id, config, fabric, admin, s3, isLocked: disk.seal === 'ring', files, bytes }
}

function* counted(chunks: Iterable<Buffer>, count: (size: number) => void): Generator<Buffer> {
  for (const chunk of chunks) {
    count(chunk.length)
    yield chunk
  }
}

/** In a network of its own nothing else listens but fabrics, whose ports may be any: three ranges of them are never all in use. */
function scratchPort(kind: number, at: number, taken: number): number {
  const port = 61_000 + 1_000 * kind + at
  return port === taken ? port + 500 : port
}

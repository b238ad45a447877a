/**
 * The image of a node: what it takes to be itself again on an empty machine, encrypted to the operators' recovery key. Files are cut into chunks that
 * are named by what is in them, so that the next image writes what is new.
 *
 *     chunks/NAME          STREAM under HKDF(key, NAME); NAME = HMAC-SHA-256(key, content), hex
 *     image-MOMENT.json    in the clear: format, ring, node, moment, and the key in a capsule for the operators; the list of files, sealed
 *
 * The key follows from the node's own, so that each image of a node has the same and finds the chunks of those before.
 */
import { createHmac, hkdfSync, type KeyObject, randomBytes } from 'node:crypto'
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, relative, sep } from 'node:path'
import { canonicalJson, encodeBase64url } from '@ringwall/ring/tx'
import { writeFileAtomic } from '@ringwall/store'
import { encapsulate } from '@ringwall/threshold'
import { Sealer, Unsealer, VaultError } from '@ringwall/vault'
import { z } from 'zod'
import { wrapKey } from '../disk/local-lock.ts'
import { RECOVERY_LOCK, recoveryKeyOf } from '../disk/recovery.ts'
import { StartError } from '../errors.ts'

const CHUNK_BYTES = 1_048_576
const FILES_MAX = 100_000
const FORMAT = 'ringwall/image/1'
/** Locks are of processes, traces and compiled rules are made anew. */
const LEFT_OUT = /(^|\/)(lock\.[^/]*|output\.log|[^/]*\.tmp)$|^ledger\/first-start$|^(traces|rules)(\/|$)/
/** What a validator signed: see `restoreNode`. */
export const VOTES: RegExp = /^data\/ledger\/votes[^/]*\.log$/
/** Names of files within an image: `node.yaml`, `node.key`, `genesis.json`, and `data/…`. */
const PATH = /^(node\.yaml|node\.key|genesis\.json|data\/(?!.*(^|\/)\.\.?(\/|$))[^\0\\]{1,500})$/

const Files = z
  .array(
    z.strictObject({
      path: z.string().regex(PATH),
      bytes: z.int().min(0),
      chunks: z.array(z.string().regex(/^[0-9a-f]{64}$/)).max(1_048_576),
    }),
  )
  .max(FILES_MAX)
type Files = z.output<typeof Files>

const Bytes = z
  .string()
  .regex(/^[A-Za-z0-9_-]+$/)
  .max(4_096)
const Envelope = z.strictObject({
  format: z.literal(FORMAT),
  ring: z.string().regex(/^[0-9a-f]{64}$/),
  node: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/),
  atMs: z.int().min(0),
  operators: z.strictObject({ key: Bytes, capsule: Bytes, wrapped: Bytes }),
  salt: Bytes,
  files: z.string().regex(/^[A-Za-z0-9_-]+$/),
})
export type ImageEnvelope = z.output<typeof Envelope>

export interface ImageReport {
  readonly file: string
  readonly files: number
  readonly bytes: number
  /** Of chunks that no image before had. */
  readonly written: number
}

/** Of a node: its own files, and its data folder. */
export interface NodeFiles {
  readonly config: string
  readonly key: string
  readonly genesis: string
  readonly data: string
}

const subkey = (key: Uint8Array, salt: string, what: string): Uint8Array =>
  new Uint8Array(hkdfSync('sha256', key, Buffer.from(salt), `RINGWALL_IMAGE_V1 ${what}`, 32))

export function imageKey(privateKey: KeyObject, ring: string, node: string): Uint8Array {
  const own = Buffer.from(privateKey.export({ format: 'jwk' }).d as string, 'base64url')
  const key = subkey(own, `${ring} ${node}`, 'key')
  own.fill(0)
  return key
}

function* filesOf({ config, key, genesis, data }: NodeFiles): Generator<readonly [path: string, file: string]> {
  yield ['node.yaml', config]
  yield ['node.key', key]
  yield ['genesis.json', genesis]
  const own = new Set([config, key, genesis])
  const entries = readdirSync(data, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
  // Snapshots, then blocks, then votes: the blocks that are kept reach back to the older of two, and votes are of an epoch that blocks reach into.
  const rank = (file: string): number => (file.endsWith('blocks.log') ? 1 : /votes[^/]*\.log$/.test(file) ? 2 : 0)
  for (const file of entries.sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1))) {
    const path = relative(data, file).split(sep).join('/')
    if (!own.has(file) && !LEFT_OUT.test(path)) yield [`data/${path}`, file]
  }
}

/** What a file holds as of now, in chunks: what is appended meanwhile is left for the next image. Undefined when it is gone. */
function* chunksOf(file: string): Generator<Buffer> {
  const fd = openSync(file, 'r')
  try {
    let left = lstatSync(file).size
    while (left > 0) {
      const chunk = Buffer.alloc(Math.min(left, CHUNK_BYTES))
      const read = readSync(fd, chunk, 0, chunk.length, null)
      if (read === 0) return
      left -= read
      yield chunk.subarray(0, read)
    }
  } finally {
    closeSync(fd)
  }
}

function seal(key: Uint8Array, about: string, content: Uint8Array): Buffer {
  const sealer = new Sealer(key, Buffer.from(about))
  return Buffer.concat([sealer.update(content), sealer.final()])
}

/** @throws {VaultError} VAULT_CORRUPT */
function unseal(key: Uint8Array, about: string, sealed: Uint8Array): Buffer {
  const unsealer = new Unsealer(key, Buffer.from(about))
  return Buffer.concat([unsealer.update(sealed), unsealer.final()])
}

/**
 * @param recovery As `ringwall node recovery` printed it. @param target The folder of this node's images.
 * @throws {StartError} `BACKUP_INVALID`.
 */
export async function writeImage(
  files: NodeFiles,
  { ring, node, key }: { readonly ring: string; readonly node: string; readonly key: Uint8Array },
  recovery: string,
  target: string,
  nowMs: number,
): Promise<ImageReport> {
  const publicKey = recoveryKeyOf(recovery)
  if (publicKey === undefined)
    throw new StartError('BACKUP_INVALID', 'the recovery key is none: expected what ringwall node recovery printed')
  mkdirSync(join(target, 'chunks'), { recursive: true, mode: 0o700 })
  let written = 0
  let bytes = 0
  const listed: Files = []
  for (const [path, file] of filesOf(files)) {
    const chunks: string[] = []
    let size = 0
    try {
      for (const content of chunksOf(file)) {
        const name = createHmac('sha256', subkey(key, '', 'names'))
          .update(content)
          .digest('hex')
        const place = join(target, 'chunks', name)
        if (!existsSync(place)) {
          await writeFileAtomic(place, seal(subkey(key, name, 'chunk'), name, content))
          written += content.length
        }
        chunks.push(name)
        size += content.length
      }
    } catch (error) {
      // One that is gone by now made way for a newer one; the node's own three have to be there.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT' && path.startsWith('data/')) continue
      throw error
    }
    bytes += size
    listed.push({ path, bytes: size, chunks })
  }
  const label = Buffer.from(`RINGWALL_IMAGE_V1\n${canonicalJson({ ring, node, atMs: nowMs })}`)
  const { capsule, key: outer } = encapsulate(publicKey, label, randomBytes(32))
  const wrapped = wrapKey(outer, key, RECOVERY_LOCK)
  outer.fill(0)
  const salt = randomBytes(16).toString('base64url')
  const about = `${ring} ${node} ${nowMs}`
  const sealed = seal(subkey(key, salt, 'files'), about, Buffer.from(JSON.stringify(listed)))
  const operators = { key: recovery, capsule: encodeBase64url(capsule), wrapped }
  const envelope: ImageEnvelope = {
    format: FORMAT,
    ring,
    node,
    atMs: nowMs,
    operators,
    salt,
    files: sealed.toString('base64url'),
  }
  const file = join(target, `image-${new Date(nowMs).toISOString().replaceAll(':', '')}.json`)
  await writeFileAtomic(file, Buffer.from(`${JSON.stringify(envelope)}\n`))
  // Read back: an image that cannot be restored is none.
  for (const _ of readImage(file, key));
  return { file, files: listed.length, bytes, written }
}

/** @throws {StartError} `BACKUP_INVALID`. */
export function readEnvelope(file: string): ImageEnvelope {
  try {
    return Envelope.parse(JSON.parse(readFileSync(file, 'utf8')))
  } catch (cause) {
    throw new StartError('BACKUP_INVALID', `${file}: expected an image, as ringwall recovery backup writes them`, { cause })
  }
}

/** Every file, verified piece by piece. @throws {StartError} `BACKUP_INVALID`, saying which is missing or was changed. */
export function* readImage(
  file: string,
  key: Uint8Array,
): Generator<{ readonly path: string; readonly chunks: Generator<Buffer> }> {
  const { ring, node, atMs, salt, files } = readEnvelope(file)
  const invalid = (why: string, cause?: unknown): never => {
    throw new StartError('BACKUP_INVALID', `${file}: ${why}`, { cause })
  }
  let listed: Files
  try {
    const text = unseal(subkey(key, salt, 'files'), `${ring} ${node} ${atMs}`, Buffer.from(files, 'base64url')).toString('utf8')
    listed = Files.parse(JSON.parse(text))
  } catch (cause) {
    return invalid('its list of files was changed, or is of another key', cause)
  }
  const open = function* (path: string, names: readonly string[]): Generator<Buffer> {
    for (const name of names) {
      const place = join(dirname(file), 'chunks', name)
      if (!existsSync(place)) return invalid(`${path}: chunk ${name.slice(0, 12)}… is missing`)
      try {
        yield unseal(subkey(key, name, 'chunk'), name, readFileSync(place))
      } catch (cause) {
        if (!(cause instanceof VaultError)) throw cause
        invalid(`${path}: chunk ${name.slice(0, 12)}… was changed`, cause)
      }
    }
  }
  for (const { path, chunks } of listed) yield { path, chunks: open(path, chunks) }
}

/** Writes a file of an image where there is none. */
export function writeRestored(file: string, chunks: Iterable<Buffer>): void {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writeFileSync(file, '', { flag: 'wx', mode: 0o600 })
  for (const chunk of chunks) writeFileSync(file, chunk, { flag: 'a' })
}

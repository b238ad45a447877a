/**
 * The archive of a release: a line of JSON with what its maker signed, then, compressed, a line with the list of its files, and their bytes one after
 * the other in that order.
 *
 *     {"header":{…},"key":"…","signature":"…"}\n        header, key and signature as the ring has them (`release.add`)
 *     gzip( [{"path":…,"bytes":…,"sha256":…,"run":…} or {"path":…,"link":…}, …]\n  bytes of the first file, of the second, … )
 *
 * Whoever unpacks one believes nothing of it but the header that it was told to expect: the header holds the hash of the list, the list that of each file.
 */
import { createHash, type KeyObject, sign } from 'node:crypto'
import { createReadStream, createWriteStream, type WriteStream } from 'node:fs'
import { chmod, lstat, mkdir, open, readdir, readFile, readlink, symlink } from 'node:fs/promises'
import { dirname, join, posix, relative, sep } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import {
  RELEASE_BYTES_MAX,
  RELEASE_FILES_MAX,
  RELEASE_FORMAT,
  RELEASE_VERSION,
  type ReleaseHeader,
  releaseBytes,
  releaseDigest,
} from '@ringwall/ring'
import { canonicalJson } from '@ringwall/ring/tx'
import { z } from 'zod'
import { createMeasurer, dependencyFolders } from '../enrolment/measure.ts'
import { rawPublicKey, verifySignature } from '../keys.ts'

const FIRST_LINE_BYTES_MAX = 8_192
const LIST_BYTES_MAX = 33_554_432
const PATH_CHARS_MAX = 512
/** With what flags a node of a release runs: they are part of what it measures. */
export const RELEASE_FLAGS: readonly string[] = ['--disable-warning=ExperimentalWarning']
/** In a folder that a release was unpacked into: its header and list. */
export const RELEASE_FILE = 'ringwall-release.json'

export class ReleaseInvalid extends Error {
  override readonly name = 'ReleaseInvalid'
  readonly code = 'RELEASE_INVALID'
}

const Hash = z.string().regex(/^[0-9a-f]{64}$/)

const Header = z.strictObject({
  format: z.literal(RELEASE_FORMAT),
  version: z.string().regex(RELEASE_VERSION),
  contents: Hash,
  files: z.int().min(1).max(RELEASE_FILES_MAX),
  bytes: z.int().min(0).max(RELEASE_BYTES_MAX),
  programs: z.array(Hash).max(8),
})

const Signed = z.strictObject({
  header: Header,
  key: z.string().regex(/^[A-Za-z0-9_-]{43}$/),
  signature: z.string().regex(/^[A-Za-z0-9_-]{86}$/),
})
export type SignedHeader = z.output<typeof Signed>

const PathText = z.string().min(1).max(PATH_CHARS_MAX)
const List = z
  .array(
    z.union([
      z.strictObject({ path: PathText, bytes: z.int().min(0), sha256: Hash, run: z.boolean() }),
      z.strictObject({ path: PathText, link: z.string().min(1).max(PATH_CHARS_MAX) }),
    ]),
  )
  .min(1)
  .max(RELEASE_FILES_MAX)
export type ReleaseList = z.output<typeof List>

const hashOf = (bytes: Uint8Array | string): string => createHash('sha256').update(bytes).digest('hex')

/**
 * Packs an installation: its packages without tests, what they depend on, and the links between them.
 *
 * @param programs What nodes with other engines than this one measure of it.
 */
export async function makeRelease(
  root: string,
  file: string,
  options: { readonly version: string; readonly key: KeyObject; readonly programs?: readonly string[] },
): Promise<SignedHeader & { readonly digest: string }> {
  const list = await listOf(root)
  const bytes = list.reduce((sum, entry) => sum + ('bytes' in entry ? entry.bytes : 0), 0)
  const text = canonicalJson(list)
  const { program } = await createMeasurer([], root, RELEASE_FLAGS).measure()
  const header: ReleaseHeader = {
    format: RELEASE_FORMAT,
    version: options.version,
    contents: hashOf(text),
    files: list.length,
    bytes,
    programs: [...new Set([program, ...(options.programs ?? [])])].sort(),
  }
  const checked = Header.safeParse(header)
  if (!checked.success)
    throw new ReleaseInvalid(`${root} makes no release: ${z.prettifyError(checked.error).replaceAll('\n', ' ')}`)
  const signature = sign(null, releaseBytes(header), options.key).toString('base64url')
  const signed = { header: checked.data, key: Buffer.from(rawPublicKey(options.key)).toString('base64url'), signature }
  const out = createWriteStream(file, { flags: 'wx' })
  await written(out, `${canonicalJson(signed)}\n`)
  await pipeline(Readable.from(contents(root, list, text)), createGzip(), out)
  return { ...signed, digest: releaseDigest(header) }
}

async function* contents(root: string, list: ReleaseList, text: string): AsyncGenerator<Buffer> {
  yield Buffer.from(`${text}\n`)
  for (const entry of list) {
    if (!('bytes' in entry)) continue
    const bytes = await readFile(join(root, entry.path))
    if (hashOf(bytes) !== entry.sha256) throw new ReleaseInvalid(`${entry.path} changed while it was packed`)
    yield bytes
  }
}

function written(out: WriteStream, text: string): Promise<void> {
  return new Promise((settle, refuse) => {
    out.once('error', refuse)
    out.write(text, () => {
      out.removeListener('error', refuse)
      settle()
    })
  })
}

async function listOf(root: string): Promise<ReleaseList> {
  const packages = (await readdir(join(root, 'packages'), { withFileTypes: true }).catch(() => [])).filter((one) =>
    one.isDirectory(),
  )
  if (packages.length === 0) throw new ReleaseInvalid(`${root} is no installation of Ringwall: it has no packages`)
  const names = packages.map(({ name }) => name)
  const folders = [...names.map((name) => join(root, 'packages', name)), ...(await dependencyFolders(root, names))]
  const list: ReleaseList[number][] = []
  for (const folder of new Set(folders)) {
    for (const path of await filesBelow(folder)) {
      const bytes = await readFile(path)
      const { mode } = await lstat(path)
      const inRoot = relative(root, path).split(sep).join('/')
      list.push({ path: inRoot, bytes: bytes.length, sha256: hashOf(bytes), run: (mode & 0o100) !== 0 })
    }
  }
  for (const name of names) {
    const link = join(root, 'node_modules', '@ringwall', name)
    if (await readlink(link).catch(() => undefined))
      list.push({ path: `node_modules/@ringwall/${name}`, link: `../../packages/${name}` })
  }
  const outside = list.find(({ path }) => path.startsWith('../'))
  if (outside !== undefined)
    throw new ReleaseInvalid(`${outside.path} lies outside of ${root}: install its dependencies there (npm ci)`)
  return list.sort((a, b) => (a.path < b.path ? -1 : 1))
}

async function filesBelow(folder: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory() && entry.name !== 'node_modules') found.push(...(await filesBelow(path)))
    else if (entry.isFile() && !/\.test\.tsx?$/.test(entry.name)) found.push(path)
  }
  return found
}

/** The first line alone; whether its signature is good. @throws {ReleaseInvalid} */
export async function readHeader(file: string): Promise<SignedHeader & { readonly digest: string }> {
  const handle = await open(file)
  try {
    const buffer = Buffer.alloc(FIRST_LINE_BYTES_MAX)
    const { bytesRead } = await handle.read(buffer, 0, FIRST_LINE_BYTES_MAX, 0)
    return headerOf(buffer.subarray(0, bytesRead), file)
  } finally {
    await handle.close()
  }
}

function headerOf(bytes: Buffer, where: string): SignedHeader & { readonly digest: string } {
  const end = bytes.indexOf(0x0a)
  if (end < 0 || end > FIRST_LINE_BYTES_MAX) throw new ReleaseInvalid(`${where} is no release: its first line is no header`)
  const signed = parsed(Signed, bytes.subarray(0, end), where, 'its first line is no header of a release')
  if (
    !verifySignature(
      Buffer.from(signed.key, 'base64url'),
      releaseBytes(signed.header),
      Buffer.from(signed.signature, 'base64url'),
    )
  )
    throw new ReleaseInvalid(`${where}: the signature is not by the key that it names`)
  return { ...signed, digest: releaseDigest(signed.header) }
}

/** In its one spelling. */
function parsed<T>(schema: z.ZodType<T>, bytes: Buffer, where: string, what: string): T {
  const text = bytes.toString('utf8')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new ReleaseInvalid(`${where}: ${what}`)
  }
  const result = schema.safeParse(value)
  if (!result.success || canonicalJson(result.data) !== text) throw new ReleaseInvalid(`${where}: ${what}`)
  return result.data
}

/**
 * Unpacks into a folder that is new or empty, and checks all of it on the way. What it writes before it throws is to be thrown away.
 *
 * @param expected The digest that the ring agreed on.
 * @throws {ReleaseInvalid}
 */
export async function unpackRelease(file: string, folder: string, expected: string): Promise<SignedHeader> {
  const signed = await readHeader(file)
  const { digest, ...own } = signed
  if (digest !== expected)
    throw new ReleaseInvalid(`${file} is the release ${digest.slice(0, 16)}…, not ${expected.slice(0, 16)}…`)
  await mkdir(folder, { recursive: true, mode: 0o755 })
  if ((await readdir(folder)).length > 0) throw new ReleaseInvalid(`${folder} is not empty`)
  const from = Buffer.byteLength(canonicalJson(own)) + 1
  const source = createReadStream(file, { start: from })
  const gunzip = createGunzip()
  source.on('error', (error) => gunzip.destroy(error))
  source.pipe(gunzip)
  try {
    const list = await writeFiles(gunzip, folder, own.header, file)
    const handle = await open(join(folder, RELEASE_FILE), 'wx', 0o644)
    try {
      await handle.writeFile(canonicalJson({ ...own, list }))
      await handle.sync()
    } finally {
      await handle.close()
    }
    return own
  } catch (error) {
    if (error instanceof ReleaseInvalid || (error as NodeJS.ErrnoException).code === 'ENOSPC') throw error
    throw new ReleaseInvalid(`${file} cannot be unpacked: ${(error as Error).message}`)
  } finally {
    source.destroy()
    gunzip.destroy()
  }
}

async function writeFiles(
  stream: AsyncIterable<unknown>,
  folder: string,
  { contents: expected, files, bytes }: ReleaseHeader,
  where: string,
): Promise<ReleaseList> {
  const reader = new Pieces(stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>, where)
  const line = await reader.line(LIST_BYTES_MAX)
  if (hashOf(line) !== expected) throw new ReleaseInvalid(`${where}: its list of files is another than its header says`)
  const list = parsed(List, line, where, 'its list of files is malformed')
  const fault = listFault(list, files, bytes)
  if (fault !== undefined) throw new ReleaseInvalid(`${where}: ${fault}`)
  for (const entry of list) {
    const path = join(folder, entry.path)
    await mkdir(dirname(path), { recursive: true, mode: 0o755 })
    if ('link' in entry) {
      await symlink(entry.link, path)
      continue
    }
    const hash = createHash('sha256')
    const handle = await open(path, 'wx', 0o644)
    try {
      await reader.take(entry.bytes, async (piece) => {
        hash.update(piece)
        await handle.write(piece)
      })
    } finally {
      await handle.close()
    }
    if (hash.digest('hex') !== entry.sha256)
      throw new ReleaseInvalid(`${where}: ${entry.path} is not as its list says: a byte was changed`)
    if (entry.run) await chmod(path, 0o755)
  }
  await reader.end()
  return list
}

/** Why a list may not be unpacked; undefined: nothing in it leaves the folder or lies below a file or link. */
export function listFault(list: ReleaseList, files: number, bytes: number): string | undefined {
  if (list.length !== files) return `${list.length} files, its header says ${files}`
  const sum = list.reduce((all, entry) => all + ('bytes' in entry ? entry.bytes : 0), 0)
  if (sum !== bytes) return `${sum} bytes, its header says ${bytes}`
  const known = new Set(list.map(({ path }) => path))
  let before = ''
  for (const entry of list) {
    const { path } = entry
    if (path <= before) return `${JSON.stringify(path)} is out of order`
    before = path
    const parts = path.split('/')
    if (parts.some((part) => part === '' || part === '.' || part === '..') || /[\\\p{Cc}]/u.test(path) || path === RELEASE_FILE)
      return `${JSON.stringify(path)} is no path within a release`
    for (let at = 1; at < parts.length; at += 1)
      if (known.has(parts.slice(0, at).join('/'))) return `${JSON.stringify(path)} lies below a file or link`
    if ('link' in entry) {
      const target = posix.resolve('/release', posix.dirname(path), entry.link)
      if (entry.link.startsWith('/') || !target.startsWith('/release/') || /[\\\p{Cc}]/u.test(entry.link))
        return `${JSON.stringify(path)} is a link that leaves the release`
    }
  }
  return undefined
}

/** The bytes of a stream, in the portions that are asked for. */
class Pieces {
  readonly #stream: AsyncIterator<Buffer>
  readonly #where: string
  #rest: Buffer = Buffer.alloc(0)

  constructor(stream: AsyncIterator<Buffer>, where: string) {
    this.#stream = stream
    this.#where = where
  }

  async #more(): Promise<Buffer> {
    const { done, value } = await this.#stream.next()
    if (done === true) throw new ReleaseInvalid(`${this.#where} ends too soon`)
    return value
  }

  /** Up to a line feed, which is no part of it. */
  async line(bytesMax: number): Promise<Buffer> {
    const pieces: Buffer[] = []
    let held = 0
    for (let piece = this.#rest; ; piece = await this.#more()) {
      const end = piece.indexOf(0x0a)
      held += end < 0 ? piece.length : end
      if (held > bytesMax) throw new ReleaseInvalid(`${this.#where}: its list of files is longer than ${bytesMax} bytes`)
      if (end >= 0) {
        pieces.push(piece.subarray(0, end))
        this.#rest = piece.subarray(end + 1)
        return Buffer.concat(pieces)
      }
      pieces.push(piece)
    }
  }

  async take(count: number, give: (piece: Buffer) => Promise<void>): Promise<void> {
    for (let left = count; left > 0; ) {
      if (this.#rest.length === 0) this.#rest = await this.#more()
      const piece = this.#rest.subarray(0, left)
      this.#rest = this.#rest.subarray(piece.length)
      left -= piece.length
      await give(piece)
    }
  }

  /** @throws {ReleaseInvalid} When there is more. */
  async end(): Promise<void> {
    const { done } = this.#rest.length > 0 ? { done: false } : await this.#stream.next()
    if (done !== true) throw new ReleaseInvalid(`${this.#where} goes on after its last file`)
  }
}

const Unpacked = Signed.extend({ list: List })

/** Whether a folder still holds exactly the bytes of a release. @throws {ReleaseInvalid} */
export async function verifyFolder(folder: string): Promise<SignedHeader & { readonly digest: string }> {
  const bytes = await readFile(join(folder, RELEASE_FILE)).catch(() => {
    throw new ReleaseInvalid(`${folder} holds no whole release`)
  })
  const { list, ...signed } = parsed(Unpacked, bytes, folder, `${RELEASE_FILE} is malformed`)
  if (hashOf(canonicalJson(list)) !== signed.header.contents) throw new ReleaseInvalid(`${folder}: its list of files was changed`)
  for (const entry of list) {
    const path = join(folder, entry.path)
    if ('link' in entry) {
      if ((await readlink(path).catch(() => undefined)) !== entry.link)
        throw new ReleaseInvalid(`${path} is not the link that it was`)
      continue
    }
    const held = await readFile(path).catch(() => undefined)
    if (held === undefined) throw new ReleaseInvalid(`${path} is gone`)
    if (hashOf(held) !== entry.sha256) throw new ReleaseInvalid(`${path} was changed`)
  }
  return { ...signed, digest: releaseDigest(signed.header) }
}

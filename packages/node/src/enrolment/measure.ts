/**
 * What this program is, measured by itself: its files, those of its dependencies, the engine and its flags, but for those that the program gives it as an edge; and its configuration. Software measuring
 * software: who controls the machine can have it say anything. It finds what was changed by somebody who does not.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, type Stats, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { url as inspectorUrl } from 'node:inspector'
import { dirname, join, resolve } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import type { Measured } from '@ringwall/ring'
import type { NodeConfig } from '../config.ts'
import { ownFlags } from '../profile/edge-process.ts'

/** Of this installation: the folder that holds `packages` and `node_modules`. */
const ROOT = resolve(import.meta.dirname, '../../../..')
const MEASURED = /\.(ts|tsx|js|mjs|cjs|json|node|wasm|conf|data)$/
/** Looks at files between which nothing else is done: some µs each, as long as the kernel has them at hand, and a tenth of what waiting for each would take. */
const LOOKS_AT_ONCE = 16
/** Times of files are as coarse as the kernel's clock, or a disk's. */
const SETTLED_MS = 2_000
/** The engine alone is over 100 MB: read whole, it would stay in memory. */
const PIECE_BYTES = 65_536

export interface Measurer {
  /** Reads what has changed since the last time. */
  measure(): Promise<Measured>
}

/**
 * @param configuration Files whose bytes are the node's configuration.
 * @param flags Of the engine that runs it.
 * @param now In ms: what was changed just before is read again.
 */
export function createMeasurer(
  configuration: readonly string[],
  root: string = ROOT,
  flags: readonly string[] = process.execArgv,
  now: () => number = Date.now,
): Measurer {
  const looks = new Looks(now)
  const digests = new Held<string>()
  const digestOf = (path: string): Promise<string> => digests.get(path, looks, hashOf)
  const listed = new Listed(root, looks)
  let last: { readonly paths: readonly string[]; readonly digests: readonly string[]; readonly all: string } | undefined
  const digestAll = async (paths: readonly string[]): Promise<string> => {
    const found: string[] = []
    for (const path of paths) found.push(await digestOf(path))
    const before = last
    if (before !== undefined && isSame(before.paths, paths) && isSame(before.digests, found)) return before.all
    const lines = paths.map((path, at) => `${found[at]} ${path.slice(root.length)}`)
    const all = createHash('sha256').update(lines.sort().join('\n')).digest('hex')
    last = { paths, digests: found, all }
    return all
  }
  return {
    async measure() {
      const files = await digestAll(await listed.files())
      const engine = [process.version, await digestOf(process.execPath), process.env.NODE_OPTIONS ?? '', ...ownFlags(flags)]
      const program = createHash('sha256')
        .update(JSON.stringify([files, ...engine]))
        .digest('hex')
      const settings = await Promise.all(configuration.map(digestOf))
      return { configuration: createHash('sha256').update(settings.join('\n')).digest('hex'), program }
    },
  }
}

/** Of a node: what it is held to are its own configuration, wherever that lies, and the ring's genesis document. */
export function configuredMeasurer({ file, data, genesis }: Pick<NodeConfig, 'file' | 'data' | 'genesis'>): Measurer {
  return createMeasurer([file ?? join(data, 'node.yaml'), genesis].filter((path) => existsSync(path)))
}

/** SHA-256 of a file's bytes, in hexadecimal. */
async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  const file = await open(path)
  try {
    const piece = Buffer.allocUnsafeSlow(PIECE_BYTES)
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, PIECE_BYTES)
      if (bytesRead === 0) return hash.digest('hex')
      hash.update(piece.subarray(0, bytesRead))
    }
  } finally {
    await file.close()
  }
}

/** Is somebody able to change the program while it runs: by its own debugger, or (Linux) by one that traces the process? */
export function isDebugged(statusFile = '/proc/self/status'): boolean {
  if (inspectorUrl() !== undefined) return true
  try {
    return /^TracerPid:\s*[1-9]/m.test(readFileSync(statusFile, 'utf8'))
  } catch {
    return false
  }
}

const isSame = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((value, at) => value === other[at])

/** Looks at many files and folders, and lets the rest of the program go on in between. */
class Looks {
  readonly #now: () => number
  #count = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * @returns A mark, which is another one when what is there was changed; undefined where that was so lately that the next change could have the same time.
   * @throws When there is nothing.
   */
  async at(path: string): Promise<Mark | undefined> {
    this.#count += 1
    if (this.#count % LOOKS_AT_ONCE === 0) await turn()
    // Times as numbers are a quarter of a microsecond exact, and a third of the work of whole nanoseconds.
    const { size, mtimeMs, ctimeMs, ino, dev } = statSync(path)
    return ctimeMs > this.#now() - SETTLED_MS ? undefined : { dev, ino, size, mtimeMs, ctimeMs }
  }
}

/** Of a file or folder: another one when it was changed. */
type Mark = Readonly<Pick<Stats, 'dev' | 'ino' | 'size' | 'mtimeMs' | 'ctimeMs'>>

const isSameMark = (one: Mark, other: Mark): boolean =>
  one.ctimeMs === other.ctimeMs &&
  one.mtimeMs === other.mtimeMs &&
  one.size === other.size &&
  one.ino === other.ino &&
  one.dev === other.dev

/** What was made of files and folders, as long as they have the marks that they had then. */
class Held<T> {
  readonly #values = new Map<string, { readonly mark: Mark; readonly value: T }>()

  async get(path: string, looks: Looks, make: (path: string) => T | Promise<T>): Promise<T> {
    const mark = await looks.at(path)
    const known = this.#values.get(path)
    if (mark !== undefined && known !== undefined && isSameMark(known.mark, mark)) return known.value
    const value = await make(path)
    if (mark !== undefined) this.#values.set(path, { mark, value })
    return value
  }
}

/** Of a folder itself. */
interface Listing {
  readonly folders: readonly string[]
  readonly files: readonly string[]
}

/** The files of a program: those of its packages, and of what they depend on. */
class Listed {
  readonly #root: string
  readonly #looks: Looks
  readonly #folders = new Held<Listing>()
  readonly #dependencies = new Held<readonly string[]>()

  constructor(root: string, looks: Looks) {
    this.#root = root
    this.#looks = looks
  }

  async files(): Promise<readonly string[]> {
    const found: string[] = []
    const walk = async (folder: string): Promise<void> => {
      const { files, folders } = await this.#folders.get(folder, this.#looks, listingOf)
      found.push(...files)
      for (const below of folders) await walk(below)
    }
    const packages = readdirSync(join(this.#root, 'packages'))
    for (const name of packages) await walk(join(this.#root, 'packages', name))
    const read = (file: string) => this.#dependencies.get(file, this.#looks, dependenciesIn)
    for (const folder of await dependencyFolders(this.#root, packages, read)) await walk(folder)
    return found
  }
}

/** Without tests, builds of others, and what packages have below them. */
function listingOf(folder: string): Listing {
  const folders: string[] = []
  const files: string[] = []
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory() && entry.name !== 'node_modules') folders.push(path)
    else if (entry.isFile() && MEASURED.test(entry.name) && !/\.test\.tsx?$/.test(entry.name)) files.push(path)
  }
  return { folders, files }
}

/** Names in a `package.json`, but for those of the program's own packages. */
function dependenciesIn(file: string): readonly string[] {
  const { dependencies = {} } = JSON.parse(readFileSync(file, 'utf8')) as { dependencies?: Record<string, string> }
  return Object.keys(dependencies).filter((name) => !name.startsWith('@ringwall/'))
}

/** Folders of what the packages depend on, and what that does. */
export async function dependencyFolders(
  root: string,
  packages: readonly string[],
  read: (file: string) => readonly string[] | Promise<readonly string[]> = dependenciesIn,
): Promise<ReadonlySet<string>> {
  const found = new Set<string>()
  const follow = async (folder: string): Promise<void> => {
    const file = join(folder, 'package.json')
    if (!existsSync(file)) return
    for (const name of await read(file)) {
      const where = nearest(folder, name)
      if (where === undefined || found.has(where)) continue
      found.add(where)
      await follow(where)
    }
  }
  for (const name of packages) await follow(join(root, 'packages', name))
  return found
}

/** As the engine finds a package. */
function nearest(from: string, name: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name)
    if (existsSync(candidate)) return candidate
    if (folder === dirname(folder)) return undefined
  }
}

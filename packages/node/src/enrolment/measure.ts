/**
 * What this program is, measured by itself: its files, those of its dependencies, the engine and its flags, but for those that the program gives it as an edge; and its configuration. Software measuring
 * software: who controls the machine can have it say anything. It finds what was changed by somebody who does not.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { url as inspectorUrl } from 'node:inspector'
import { dirname, join, resolve } from 'node:path'
import type { Measured } from '@ringwall/ring'
import type { NodeConfig } from '../config.ts'
import { ownFlags } from '../profile/edge-process.ts'

/** Of this installation: the folder that holds `packages` and `node_modules`. */
const ROOT = resolve(import.meta.dirname, '../../../..')
const MEASURED = /\.(ts|tsx|js|mjs|cjs|json|node|wasm|conf|data)$/
const FILES_AT_ONCE = 32
/** The engine alone is over 100 MB: read whole, it would stay in memory. */
const PIECE_BYTES = 65_536

interface Held {
  readonly mark: string
  readonly digest: string
}

export interface Measurer {
  /** Reads what has changed since the last time. */
  measure(): Promise<Measured>
}

/**
 * @param configuration Files whose bytes are the node's configuration.
 * @param flags Of the engine that runs it.
 */
export function createMeasurer(
  configuration: readonly string[],
  root: string = ROOT,
  flags: readonly string[] = process.execArgv,
): Measurer {
  const held = new Map<string, Held>()
  const digestOf = async (path: string): Promise<string> => {
    const { size, mtimeNs, ctimeNs, ino, dev } = await stat(path, { bigint: true })
    const mark = `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
    const known = held.get(path)
    if (known?.mark === mark) return known.digest
    const digest = await hashOf(path)
    held.set(path, { mark, digest })
    return digest
  }
  const digestAll = async (paths: readonly string[]): Promise<string> => {
    const lines: string[] = []
    for (let at = 0; at < paths.length; at += FILES_AT_ONCE) {
      const some = paths.slice(at, at + FILES_AT_ONCE)
      lines.push(...(await Promise.all(some.map(async (path) => `${await digestOf(path)} ${path.slice(root.length)}`))))
    }
    return createHash('sha256').update(lines.sort().join('\n')).digest('hex')
  }
  return {
    async measure() {
      const files = await digestAll(await programFiles(root))
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

async function programFiles(root: string): Promise<readonly string[]> {
  const packages = await readdir(join(root, 'packages'))
  const own = await Promise.all(packages.map((name) => filesBelow(join(root, 'packages', name))))
  const dependencies = await Promise.all([...(await dependencyFolders(root, packages))].map(filesBelow))
  return [...own.flat(), ...dependencies.flat()]
}

/** Without tests, builds of others, and what packages have below them. */
async function filesBelow(folder: string): Promise<readonly string[]> {
  const found: string[] = []
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory() && entry.name !== 'node_modules') found.push(...(await filesBelow(path)))
    else if (entry.isFile() && MEASURED.test(entry.name) && !/\.test\.tsx?$/.test(entry.name)) found.push(path)
  }
  return found
}

/** Folders of what the packages depend on, and what that does. */
export async function dependencyFolders(root: string, packages: readonly string[]): Promise<ReadonlySet<string>> {
  const found = new Set<string>()
  const follow = async (folder: string): Promise<void> => {
    const file = join(folder, 'package.json')
    if (!existsSync(file)) return
    const { dependencies = {} } = JSON.parse(await readFile(file, 'utf8')) as { dependencies?: Record<string, string> }
    for (const name of Object.keys(dependencies)) {
      if (name.startsWith('@ringwall/')) continue
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

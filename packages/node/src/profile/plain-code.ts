/**
 * The program as plain JavaScript, for edges: what strips types stays in memory once it was used, some 20 MB, and the engine's own cache of
 * compiled code keeps all that it holds in memory besides what was loaded from it, another 9 MB.
 *
 * It is made of the sources at each start, before the process becomes an edge, and what is on disk from an earlier start is held against it. What
 * the edge loads is held against the index of that start: whoever changes the plain files changes nothing that runs.
 */
import { createHash, hash } from 'node:crypto'
import { lstatSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { join, resolve } from 'node:path'

/** Of this installation: the folder that holds `packages`. */
const ROOT = resolve(import.meta.dirname, '../../../..')
const MODULE = /^(?!.*\.(?:test|d)\.ts$).*\.ts$/
/** Files that no start has asked for in so long are of another version. */
const KEPT_MS = 30 * 86_400_000

export interface PlainCode {
  readonly folder: string
  /** SHA-256 of the index, in hexadecimal: a line for each module, `NAME SHA-256`. It is in a file of that name. */
  readonly index: string
}

/** What a module's plain file is called: by what it was made of, and for which engine. */
export function plainName(source: string): string {
  return createHash('sha256').update(process.version).update(source).digest('hex')
}

/** Of ASCII alone, which takes the engine half of what other text does. */
export function plainText(source: string): string {
  const plain = stripTypeScriptTypes(source, { mode: 'transform' })
  return plain.replace(/[^\0-\x7f]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** @returns undefined where nothing can be kept: the edge strips by itself then. */
export function preparePlainCode(folder: string, root: string = ROOT): PlainCode | undefined {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const lines: string[] = []
    for (const file of modulesBelow(join(root, 'packages'))) {
      const source = readFileSync(file, 'utf8')
      const name = plainName(source)
      const text = plainText(source)
      keep(join(folder, `${name}.js`), text)
      lines.push(`${name} ${hash('sha256', text)}\n`)
    }
    const list = lines.sort().join('')
    const index = hash('sha256', list)
    keep(join(folder, index), list)
    sweep(folder, new Set([index, ...lines.map((line) => `${line.slice(0, 64)}.js`)]))
    return { folder, index }
  } catch {
    return undefined
  }
}

function modulesBelow(folder: string): readonly string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return entry.name === 'node_modules' || entry.name === 'dist' ? [] : modulesBelow(path)
    return MODULE.test(entry.name) ? [path] : []
  })
}

/** Writes what is not there already, to the byte. */
function keep(file: string, text: string): void {
  try {
    if (lstatSync(file).isFile() && readFileSync(file, 'latin1') === text) return
  } catch {
    // Not there.
  }
  const passing = `${file}.${process.pid}`
  writeFileSync(passing, text, { mode: 0o600 })
  renameSync(passing, file)
}

function sweep(folder: string, kept: ReadonlySet<string>): void {
  for (const name of readdirSync(folder)) {
    const file = join(folder, name)
    if (!kept.has(name) && statSync(file).mtimeMs < Date.now() - KEPT_MS) rmSync(file, { force: true })
  }
}

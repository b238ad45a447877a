/**
 * Rules compiled with what an earlier start left in the data directory. A file is named by a hash of the rules and of this engine's
 * own source, and begins with a hash of the rest: what is missing, of another version or damaged is worked out anew and written
 * again. Nothing depends on the files but the time that a start takes, so that no failure to read or write one is an error.
 */
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { RuleCompiler } from '@ringwall/ring'
import { type DiskSeal, openSealedBytes, sealBytes } from '@ringwall/store'
import { type CompileOptions, compileRules, type RuleSource } from '@ringwall/waf'

const ENGINE = resolve(import.meta.dirname, '../../waf/src')
const HASH_BYTES = 32
/** Choices of rules in use at one time, and some that were. */
const FILES_MAX = 16

/**
 * @param directory Made when there is something to keep. @param seal Of the disk that it is on: rules of a policy may be nobody's business.
 * @param memoValuesMax As of `CompileOptions`.
 */
export function cachingCompiler(directory: string, seal?: DiskSeal, memoValuesMax?: number): RuleCompiler {
  return (sources, options) => {
    const file = join(directory, `${keyOf(sources, options)}.rules`)
    const prepared = readChecked(file, seal)
    return compileRules(sources, {
      ...options,
      ...(memoValuesMax === undefined ? {} : { memoValuesMax }),
      ...(prepared === undefined ? {} : { prepared }),
      onPrepared: (bytes) => keep(directory, file, bytes, seal),
    })
  }
}

function keyOf(sources: readonly RuleSource[], { paranoia }: CompileOptions): string {
  const hash = createHash('sha256').update(engineHash()).update(`${process.arch} ${paranoia}\n`)
  for (const { file, text, kind, reader } of sources)
    hash.update(JSON.stringify([file, kind ?? 'rules', reader ?? '', text.length])).update(text)
  return hash.digest('hex').slice(0, 40)
}

let engine: Buffer | undefined

/** Of all that the engine consists of: a change of any of it is another version. */
function engineHash(): Buffer {
  if (engine !== undefined) return engine
  const hash = createHash('sha256')
  const files = readdirSync(ENGINE, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .sort()
  for (const name of files) hash.update(name).update(readFileSync(join(ENGINE, name)))
  return (engine = hash.digest())
}

/** @returns undefined unless the file is whole. */
function readChecked(file: string, seal: DiskSeal | undefined): Uint8Array | undefined {
  try {
    const bytes = Buffer.from(openSealedBytes(seal, file, readFileSync(file)))
    const rest = bytes.subarray(HASH_BYTES)
    return createHash('sha256').update(rest).digest().equals(bytes.subarray(0, HASH_BYTES)) ? rest : undefined
  } catch {
    return undefined
  }
}

function keep(directory: string, file: string, bytes: Uint8Array, seal: DiskSeal | undefined): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
    const written = `${file}.${randomBytes(6).toString('hex')}`
    const content = Buffer.concat([createHash('sha256').update(bytes).digest(), bytes])
    writeFileSync(written, sealBytes(seal, file, content), { mode: 0o600 })
    renameSync(written, file)
    const files = readdirSync(directory)
      .map((name) => join(directory, name))
      .map((path) => ({ path, changedMs: statSync(path).mtimeMs }))
      .sort((a, b) => b.changedMs - a.changedMs)
    for (const { path } of files.slice(FILES_MAX)) rmSync(path, { force: true })
  } catch {
    // A full or read-only disk: the next start takes as long as this one.
  }
}

/**
 * Installs a release of the OWASP Core Rule Set: an archive whose SHA-256 the operator names, from its project or from a file. Only
 * rules, their data, the configuration and the licence are taken out of it; they are compiled before they are kept.
 */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { compileRules } from '@ringwall/waf'
import { bodyWithin } from './body-within.ts'
import { StartError } from './errors.ts'
import { boundPatternTime, findCrs, readCrs } from './rules.ts'
import { ArchiveInvalid, readTar } from './tar.ts'

const ARCHIVE_BYTES_MAX = 64 * 1_048_576
const UNPACKED_BYTES_MAX = 256 * 1_048_576
const FILES_MAX = 50_000
const DOWNLOAD_MS_MAX = 120_000
const PROJECT = 'https://github.com/coreruleset/coreruleset/archive/refs/tags'

export interface CrsInstall {
  /** `4.7.0`. */
  readonly version: string
  /** 64 hex digits: of the archive. */
  readonly sha256: string
  /** A `.tar.gz` or an URL of one; the project's own when undefined. */
  readonly from: string | undefined
  /** A folder that does not exist; `./crs-VERSION` when undefined. */
  readonly to: string | undefined
  /** Everything is checked, nothing is kept. */
  readonly dryRun: boolean
}

export interface CrsInstalled {
  readonly folder: string
  /** `OWASP_CRS/4.7.0`, as the rules say. */
  readonly signature: string
  readonly sha256: string
  readonly files: number
  /** At paranoia level 4. */
  readonly rules: number
  readonly kept: boolean
}

function fail(message: string, cause?: unknown): never {
  throw new StartError('RULES_INVALID', message, { cause })
}

/** @throws {StartError} `RULES_INVALID`: what is wrong, and that nothing was installed. */
export async function installCrs(install: CrsInstall): Promise<CrsInstalled> {
  const { version, from, dryRun } = install
  if (!/^[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?:-[A-Za-z0-9.]{1,20})?$/.test(version))
    fail(`--version ${JSON.stringify(version)}: expected a release such as 4.7.0`)
  const wanted = install.sha256.toLowerCase()
  if (!/^[0-9a-f]{64}$/.test(wanted))
    fail('--sha256: expected the 64 hex digits of the archive’s SHA-256, from the project’s release notes')
  const folder = resolve(install.to ?? `crs-${version}`)
  if (existsSync(folder)) fail(`${folder} exists already: name another folder with --to, or remove it first`)
  const source = from ?? `${PROJECT}/v${version}.tar.gz`
  const archive = /^https?:\/\//.test(source) ? await download(source) : readArchive(source)
  const sha256 = createHash('sha256').update(archive).digest('hex')
  if (sha256 !== wanted) fail(`${source}: its SHA-256 is ${sha256}, not ${wanted}; nothing was installed`)
  const parent = dirname(folder)
  if (!existsSync(parent)) fail(`${parent}: the folder does not exist`)
  const files = unpack(archive, source)
  const staging = mkdtempSync(join(parent, '.crs-'))
  try {
    for (const [path, bytes] of files) {
      const file = join(staging, ...path.split('/'))
      mkdirSync(dirname(file), { recursive: true, mode: 0o755 })
      writeFileSync(file, bytes, { mode: 0o644 })
    }
    const found = findCrs(staging)
    if (!`${found.signature}/`.startsWith(`OWASP_CRS/${version}/`))
      fail(`${source}: holds ${found.signature}, not version ${version}; nothing was installed`)
    boundPatternTime()
    const { ruleCount } = compileRules(readCrs(found), { paranoia: 4 })
    if (!dryRun) renameSync(staging, folder)
    return { folder, signature: found.signature, sha256, files: files.size, rules: ruleCount, kept: !dryRun }
  } finally {
    rmSync(staging, { recursive: true, force: true })
  }
}

function readArchive(file: string): Buffer {
  const known = statSync(file, { throwIfNoEntry: false })
  if (known?.isFile() !== true) fail(`${file}: expected a .tar.gz file`)
  if (known.size > ARCHIVE_BYTES_MAX) fail(`${file}: has ${known.size} bytes, at most ${ARCHIVE_BYTES_MAX} are read`)
  return readFileSync(file)
}

async function download(url: string): Promise<Buffer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_MS_MAX) })
    if (!response.ok || response.body === null) fail(`${url}: HTTP ${response.status}; is there such a release?`)
    const tooLong = (): Error => new StartError('RULES_INVALID', `${url}: more than ${ARCHIVE_BYTES_MAX} bytes`)
    return await bodyWithin(response.body as AsyncIterable<Uint8Array>, ARCHIVE_BYTES_MAX, tooLong)
  } catch (error) {
    if (error instanceof StartError) throw error
    const why =
      (error as Error).name === 'TimeoutError'
        ? 'no answer in time'
        : ((error as { cause?: Error }).cause?.message ?? (error as Error).message)
    return fail(`${url}: cannot be fetched (${why}); fetch it elsewhere and give the file: --from FILE`, error)
  }
}

/** What is wanted of it, below the one folder that release archives have. */
const WANTED =
  /^(?:crs-setup\.conf\.example|LICENSE|rules\/[A-Za-z0-9._-]+\.(?:conf|conf\.example|data)|plugins\/[A-Za-z0-9._-]+\.(?:conf|data))$/

function unpack(archive: Buffer, source: string): ReadonlyMap<string, Buffer> {
  try {
    const tar = gunzipSync(archive, { maxOutputLength: UNPACKED_BYTES_MAX })
    const files = new Map<string, Buffer>()
    for (const { path, bytes } of readTar(tar, FILES_MAX)) {
      const below = path.slice(path.indexOf('/') + 1)
      if (!WANTED.test(below)) continue
      if (files.has(below)) throw new ArchiveInvalid(`${below} occurs twice`)
      files.set(below, bytes)
    }
    return files
  } catch (error) {
    const why = error instanceof ArchiveInvalid ? error.message : `it is no gzip archive of at most ${UNPACKED_BYTES_MAX} bytes`
    return fail(`${source}: ${why}; nothing was installed`, error)
  }
}

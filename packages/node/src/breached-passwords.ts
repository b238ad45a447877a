/**
 * Passwords known from breaches, looked up in what the operator downloaded: the SHA-1 ranges of Have I Been Pwned, either a folder with a
 * file for each five hex digits (`21BD1` or `21BD1.txt`, lines `SUFFIX:COUNT`), or one file of whole hashes in order (`HASH:COUNT`). Nobody is
 * asked over a network, and nothing of a password is kept.
 *
 * Reads are off the event loop and bounded: a look-up is one range, or some pages of the file; too many at once, too slow, or a disk that
 * fails, and the password counts as not breached.
 */
import { hash } from 'node:crypto'
import { type FileHandle, open, opendir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Breaches } from '@ringwall/guard'
import type { NodeConfig } from './config.ts'
import { StartError } from './errors.ts'

const PREFIX_CHARS = 5
const LOOKUPS_MAX = 64
const LOOKUP_MS_MAX = 1_000
/** A range has some 1,000 lines of some 40 bytes. */
const RANGE_BYTES_MAX = 1_048_576
const PAGE_BYTES = 4_096
/** Read at once and searched when no more is left. */
const SPAN_BYTES = 16_384
/** Halving 2^40 bytes takes 26. */
const STEPS_MAX = 64
const FILES_LOOKED_AT_MAX = 10_000
const COMPLAINT_MS = 60_000
const RANGE_FILE = /^[0-9A-Fa-f]{5}(\.txt)?$/
const RANGE_LINE = /^[0-9A-Fa-f]{35}:[0-9]{1,12}\r?$/
const HASH_LINE = /^([0-9A-Fa-f]{40}):([0-9]{1,12})\r?$/

export interface BreachedPasswordsOptions {
  readonly log: (line: string) => void
}

/** Where hashes are, in capitals. */
interface HashSource {
  has(hash: string): Promise<boolean>
  close(): Promise<void>
}

export class BreachedPasswords implements Breaches {
  readonly #source: HashSource
  readonly #log: (line: string) => void
  #pending = 0
  #complainedAtMs = Number.NEGATIVE_INFINITY

  private constructor(source: HashSource, { log }: BreachedPasswordsOptions) {
    this.#source = source
    this.#log = log
  }

  /** @throws {StartError} `CONFIG_INVALID`, when there is nothing of either form. */
  static async open(path: string, options: BreachedPasswordsOptions): Promise<BreachedPasswords> {
    const found = await stat(path).catch((cause: NodeJS.ErrnoException) => {
      throw new StartError('CONFIG_INVALID', `breachedPasswords: ${path}: ${cause.code ?? cause.message}`, { cause })
    })
    return new BreachedPasswords(found.isDirectory() ? await openRanges(path) : await openHashes(path, found.size), options)
  }

  has(password: string): boolean | Promise<boolean> {
    if (password === '') return false
    if (this.#pending >= LOOKUPS_MAX) {
      this.#complain(`more than ${LOOKUPS_MAX} at once: the others pass unseen`)
      return false
    }
    this.#pending += 1
    return this.#lookUp(hash('sha1', password.toWellFormed(), 'hex').toUpperCase())
  }

  close(): Promise<void> {
    return this.#source.close()
  }

  async #lookUp(hashed: string): Promise<boolean> {
    const finding = this.#source.has(hashed).finally(() => {
      this.#pending -= 1
    })
    let timer: NodeJS.Timeout | undefined
    try {
      const late = new Promise<boolean>((_, refuse) => {
        timer = setTimeout(() => refuse(new Error(`no answer in ${LOOKUP_MS_MAX} ms`)), LOOKUP_MS_MAX)
      })
      return await Promise.race([finding, late])
    } catch (error) {
      finding.catch(() => {})
      this.#complain((error as Error).message)
      return false
    } finally {
      clearTimeout(timer)
    }
  }

  #complain(why: string): void {
    const nowMs = performance.now()
    if (nowMs - this.#complainedAtMs < COMPLAINT_MS) return
    this.#complainedAtMs = nowMs
    this.#log(`breached passwords cannot be looked up: ${why}`)
  }
}

/** As the node's configuration says; undefined: it says nothing. @throws {StartError} */
export async function openBreaches(
  { breachedPasswords }: Pick<NodeConfig, 'breachedPasswords'>,
  log: (level: 'info' | 'warn', line: string) => void,
): Promise<BreachedPasswords | undefined> {
  if (breachedPasswords === undefined) return undefined
  return BreachedPasswords.open(breachedPasswords, { log: (line) => log('warn', line) })
}

async function openRanges(folder: string): Promise<HashSource> {
  let example: string | undefined
  let looked = 0
  for await (const { name } of await opendir(folder)) {
    if (RANGE_FILE.test(name)) example = name
    if (example !== undefined || ++looked > FILES_LOOKED_AT_MAX) break
  }
  const expected = 'expected files such as 21BD1 or 21BD1.txt with lines such as 0018A45C4D1DEF81644B54AB7F969B88D65:10'
  if (example === undefined) throw new StartError('CONFIG_INVALID', `breachedPasswords: ${folder} has no ranges; ${expected}`)
  const [line = ''] = (await readFile(join(folder, example), 'latin1')).split('\n', 1)
  if (!RANGE_LINE.test(line)) {
    const where = `breachedPasswords: ${join(folder, example)}:1`
    throw new StartError('CONFIG_INVALID', `${where}: ${JSON.stringify(line.slice(0, 60))}; ${expected}`)
  }
  const suffix = example.endsWith('.txt') ? '.txt' : ''
  const lower = /[a-f]/.test(example)
  return {
    async has(hashed) {
      const prefix = hashed.slice(0, PREFIX_CHARS)
      const file = join(folder, `${lower ? prefix.toLowerCase() : prefix}${suffix}`)
      const handle = await open(file).catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return undefined
        throw error
      })
      if (handle === undefined) return false
      try {
        const { size } = await handle.stat()
        if (size > RANGE_BYTES_MAX) throw new Error(`${file} is longer than any range`)
        return countIn(await read(handle, 0, size), hashed.slice(PREFIX_CHARS)) > 0
      } finally {
        await handle.close()
      }
    },
    close: () => Promise.resolve(),
  }
}

async function openHashes(file: string, bytes: number): Promise<HashSource> {
  const handle = await open(file)
  const expected = 'expected whole SHA-1 hashes in order, such as 000000005AD76BD555C1D6D771DE417A4B87E4B4:10'
  const lines = (await read(handle, 0, Math.min(bytes, PAGE_BYTES))).toString('latin1').split('\n').slice(0, 20)
  const whole = lines.length > 1 ? lines.slice(0, -1) : lines
  const wrong = whole.findIndex(
    (line, at) => !HASH_LINE.test(line) || (at > 0 && line.toUpperCase() < whole[at - 1]!.toUpperCase()),
  )
  if (wrong >= 0) {
    await handle.close()
    const where = `breachedPasswords: ${file}:${wrong + 1}`
    throw new StartError('CONFIG_INVALID', `${where}: ${JSON.stringify(whole[wrong]!.slice(0, 60))}; ${expected}`)
  }
  return { has: (hashed) => hasHash(handle, bytes, hashed), close: () => handle.close() }
}

/** Hashes are spread evenly, so that where one stands can be guessed; every third step halves, whatever the file holds. */
async function hasHash(handle: FileHandle, bytes: number, hashed: string): Promise<boolean> {
  const wanted = fraction(hashed)
  // Both stand at the beginning of lines.
  let [from, to] = [0, bytes]
  let [least, most] = [0, 1]
  for (let step = 1; step <= STEPS_MAX; step++) {
    if (to - from <= SPAN_BYTES) return countIn(await read(handle, from, to - from), hashed) > 0
    const share = step % 3 === 0 || most <= least ? 0.5 : (wanted - least) / (most - least)
    const at = Math.max(from, Math.min(to - PAGE_BYTES, Math.floor(from + share * (to - from) - PAGE_BYTES / 2)))
    const page = await read(handle, at, Math.min(PAGE_BYTES, to - at))
    const first = at === from ? 0 : page.indexOf(10) + 1
    const last = page.lastIndexOf(10)
    const lines = page.toString('latin1', first, Math.max(first, last)).split('\n')
    const [low, high] = [HASH_LINE.exec(lines[0] ?? '')?.[1], HASH_LINE.exec(lines.at(-1) ?? '')?.[1]]
    if (low === undefined || high === undefined) throw new Error(`the file of hashes has other lines about byte ${at}`)
    if (hashed < low.toUpperCase()) {
      to = at + first
      most = fraction(low)
    } else if (hashed > high.toUpperCase()) {
      from = at + last + 1
      least = fraction(high)
    } else return countIn(page.subarray(first, last + 1), hashed) > 0
  }
  throw new Error('the file of hashes is not in order')
}

/** Of all hashes, how many come before it: 0 to 1. */
function fraction(hashed: string): number {
  return Number.parseInt(hashed.slice(0, 13), 16) / 16 ** 13
}

/** How often it was seen; 0 also for lines that are there to make all ranges equally long. */
function countIn(bytes: Buffer, hashed: string): number {
  for (const one of [hashed, hashed.toLowerCase()]) {
    const at = bytes.indexOf(`${one}:`, 0, 'latin1')
    if (at < 0 || (at > 0 && bytes[at - 1] !== 10)) continue
    return Number.parseInt(bytes.toString('latin1', at + one.length + 1, at + one.length + 13), 10) || 0
  }
  return 0
}

async function read(handle: FileHandle, from: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(bytes)
  let got = 0
  while (got < bytes) {
    const { bytesRead } = await handle.read(buffer, got, bytes - got, from + got)
    if (bytesRead === 0) break
    got += bytesRead
  }
  return buffer.subarray(0, got)
}

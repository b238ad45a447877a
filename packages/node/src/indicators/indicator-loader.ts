/** Reads sets of indicators from files: in a thread of its own, since a million of them take seconds. */
import { randomInt } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import {
  IndicatorBuilder,
  IndicatorFileInvalid,
  IndicatorList,
  type IndicatorParts,
  type IndicatorSink,
  readMispEvent,
  readStixBundle,
  readStixObject,
} from '@ringwall/detect'
import { parsePrefixLoosely } from '@ringwall/ring'
import type { DiskSeal } from '@ringwall/store'
import { pagesIn, readPage } from '../taxii/pages.ts'
import { parseMoment } from '../taxii/protocol.ts'

/** One set, as `node.yaml` has it; its path absolute. */
export interface IndicatorSettings {
  readonly name: string
  /** A file, or a folder whose files are read in order of name. */
  readonly path: string
  /** Of `taxii` and `inbox` the path is a folder of pages that the node keeps. */
  readonly format: 'list' | 'stix' | 'misp' | 'taxii' | 'inbox'
  /** Of indicators whose source does not say. */
  readonly confidence: number
  /** Percent, by which confidences are multiplied; all of it unless given. */
  readonly trust?: number | undefined
  /** Likewise; undefined: for ever. */
  readonly ttlMs: number | undefined
  readonly indicatorsMax: number
}

export interface LoadReport {
  readonly files: number
  readonly expired: number
  readonly repeated: number
  /** Beyond `indicatorsMax`. */
  readonly full: number
  /** What else there was, by kind, most first. */
  readonly leftOut: readonly (readonly [kind: string, count: number])[]
}

export interface LoadedSet {
  readonly parts: IndicatorParts
  readonly report: LoadReport
}

const FILES_MAX = 10_000
/** Read as a whole, and parsed at once. */
const JSON_BYTES_MAX = 32 * 1_048_576
const LIST_BYTES_MAX = 512 * 1_048_576
const KINDS_MAX = 50

export const isPaged = (format: IndicatorSettings['format']): boolean => format === 'taxii' || format === 'inbox'

/** The files of a set, in order. @throws When the path cannot be read, or holds too many. */
export async function filesOf(
  path: string,
): Promise<readonly { readonly file: string; readonly bytes: number; readonly atMs: number }[]> {
  const entry = await stat(path)
  const names = entry.isDirectory() ? (await readdir(path)).sort() : undefined
  if (names !== undefined && names.length > FILES_MAX) throw new IndicatorFileInvalid(path, `at most ${FILES_MAX} files`)
  const paths = names === undefined ? [path] : names.filter((name) => !name.startsWith('.')).map((name) => join(path, name))
  const found = await Promise.all(paths.map(async (file) => ({ file, entry: await stat(file) })))
  return found
    .filter((one) => one.entry.isFile())
    .map((one) => ({ file: one.file, bytes: one.entry.size, atMs: one.entry.mtimeMs }))
}

/** @throws {IndicatorFileInvalid} Naming the file and the place in it. And when a file cannot be read. */
export async function loadIndicators(settings: IndicatorSettings, nowMs: number, seal?: DiskSeal): Promise<LoadedSet> {
  const { path, format, confidence, trust = 100, ttlMs = Number.POSITIVE_INFINITY, indicatorsMax } = settings
  const allocate = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes)
  const builder = new IndicatorBuilder({ seed: randomInt(2 ** 32), indicatorsMax, nowMs, allocate })
  const leftOut = new Map<string, number>()
  const sink: IndicatorSink = {
    add: (indicator) =>
      builder.add(trust === 100 ? indicator : { ...indicator, confidence: (indicator.confidence * trust) / 100 }),
    leaveOut: (kind) => {
      if (leftOut.has(kind) || leftOut.size < KINDS_MAX) leftOut.set(kind, (leftOut.get(kind) ?? 0) + 1)
    },
  }
  const defaults = { confidence, ttlMs, nowMs, readPrefix: parsePrefixLoosely }
  const files = await filesOf(path)
  if (isPaged(format)) await readPages(path, defaults, sink, seal)
  else
    for (const { file, bytes } of files) {
      // A MISP feed has a list of its events beside them.
      if (format === 'misp' && /(?:^|\/)(?:manifest\.json|hashes\.csv)$/.test(file)) continue
      const most = format === 'list' ? LIST_BYTES_MAX : JSON_BYTES_MAX
      try {
        if (bytes > most)
          throw new IndicatorFileInvalid('', `at most ${most / 1_048_576} MiB, found ${Math.ceil(bytes / 1_048_576)}`)
        if (format === 'list') {
          const list = new IndicatorList(defaults, sink)
          for await (const chunk of createReadStream(file, { encoding: 'utf8' })) list.write(chunk as string)
          list.end()
        } else (format === 'stix' ? readStixBundle : readMispEvent)(await readFile(file, 'utf8'), defaults, sink)
      } catch (cause) {
        if (!(cause instanceof IndicatorFileInvalid)) throw cause
        throw new IndicatorFileInvalid(
          `${file}${cause.at === '' ? '' : `: ${cause.at}`}`,
          cause.message.split(': expected ')[1] ?? '',
        )
      }
    }
  const { expired, repeated, full } = builder.counts
  const kinds = [...leftOut].sort(([, a], [, b]) => b - a)
  return { parts: builder.build().parts, report: { files: files.length, expired, repeated, full, leftOut: kinds } }
}

/** Of each object the newest version; what cannot be read is left out, as the rest of the collection is no worse for it. */
async function readPages(
  folder: string,
  defaults: Parameters<typeof readStixObject>[2],
  sink: IndicatorSink,
  seal: DiskSeal | undefined,
): Promise<void> {
  const newest = new Map<string, { readonly version: number; readonly object: object }>()
  for (const name of await pagesIn(folder))
    for (const [added, object] of await readPage(folder, name, seal)) {
      const { id, modified, created } = object
      const [of, at] = [String(id), modified ?? created]
      const version = (typeof at === 'string' ? parseMoment(at) : undefined) ?? added
      const before = newest.get(of)
      if (before === undefined || before.version <= version) newest.set(of, { version, object })
    }
  for (const { object } of newest.values()) {
    try {
      readStixObject(object, '', defaults, sink)
    } catch (cause) {
      if (!(cause instanceof IndicatorFileInvalid)) throw cause
      sink.leaveOut('malformed')
    }
  }
}

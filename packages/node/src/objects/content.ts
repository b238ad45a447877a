/** What an object holds, from shards that several nodes have, in order and in runs that are opened as they are asked for. */
import { blobKey, type Manifest, type ManifestPart, OBJECT_SEGMENT_BYTES } from '@ringwall/vault'
import { shapeOf } from './blob-writer.ts'
import type { ObjectThread } from './object-thread.ts'
import type { PieceReader, PieceSet } from './piece-reader.ts'
import type { Slab } from './slabs.ts'

/** Segments that are fetched and opened besides the one that is handed on. */
const READ_AHEAD = 2

export interface ContentOptions {
  /** What is fetched before it is known waits for it. */
  readonly objectKey: Uint8Array | Promise<Uint8Array>
  readonly manifest: Manifest
  readonly about: Uint8Array
  /** From this byte. */
  readonly start: number
  /** Up to and without this one. */
  readonly end: number
  /** Shards of a part's segments from `first` up to and without `until`. */
  readonly readerOf: (part: ManifestPart, first: number, until: number) => Pick<PieceReader, 'pieces' | 'end'>
  readonly thread: Pick<ObjectThread, 'open'>
}

/**
 * In runs of at most 4 MiB. A run is good until the next one is asked for: then its memory is used again.
 *
 * @throws {VaultError} VAULT_SHORT, VAULT_CORRUPT
 */
export async function* readContent(options: ContentOptions): AsyncGenerator<Uint8Array> {
  const { objectKey, manifest, start, end } = options
  // It may be refused before anybody waits for it; whoever needs it then is told.
  if (objectKey instanceof Promise) objectKey.catch(() => {})
  let at = 0
  for (const part of manifest.parts) {
    const [from, to] = [Math.max(start - at, 0), Math.min(end - at, part.size)]
    at += part.size
    if (from < to) yield* readPart(options, part, from, to)
    if (at >= end) return
  }
}

async function* readPart(
  { objectKey, about, manifest, readerOf, thread }: ContentOptions,
  part: ManifestPart,
  start: number,
  end: number,
): AsyncGenerator<Uint8Array> {
  const { data, shards } = manifest
  const shape = shapeOf(part, data)
  const first = Math.floor(start / OBJECT_SEGMENT_BYTES)
  const until = Math.floor((end - 1) / OBJECT_SEGMENT_BYTES) + 1
  const reader = readerOf(part, first, until)
  let last: Promise<PieceSet> | undefined
  const fetched = (number: number): Promise<PieceSet> => {
    const before = last
    last = (async () => {
      await before
      return reader.pieces(number)
    })()
    return last
  }
  const opened = async (number: number): Promise<Slab> => {
    const { pieces, release } = await fetched(number)
    const isLast = number === shape.segments - 1
    const bytes = { sealedBytes: shape.sealedBytes(number), plainBytes: shape.plainBytes(number) }
    try {
      const key = blobKey(await objectKey, part.blob)
      const opening = thread.open({ key, about, number, isLast, data, shards }, pieces, bytes)
      key.fill(0)
      return await opening
    } finally {
      release()
    }
  }
  // Some are fetched and opened while the one before is handed on.
  const ahead: Promise<Slab>[] = []
  let begun = first
  try {
    for (let number = first; number < until; number += 1) {
      for (; begun < until && begun <= number + READ_AHEAD; begun += 1) {
        const next = opened(begun)
        next.catch(() => {})
        ahead.push(next)
      }
      const plain = await (ahead.shift() as Promise<Slab>)
      const from = number * OBJECT_SEGMENT_BYTES
      try {
        yield plain.bytes.subarray(Math.max(0, start - from), Math.min(plain.bytes.length, end - from))
      } finally {
        plain.release()
      }
    }
  } finally {
    reader.end()
    for (const one of ahead) one.then((plain) => plain.release()).catch(() => {})
  }
}

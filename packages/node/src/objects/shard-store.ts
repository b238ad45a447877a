/** Where a node keeps the shards that it holds: a folder (`shard-folder.ts`) or a bucket of others (`shard-bucket.ts`). */

import type { Slab } from './slabs.ts'

/** No more fits. */
export class FolderFull extends Error {
  override readonly name = 'FolderFull'
  readonly code = 'OBJECTS_DISK_FULL'
}

/** What is there cannot be said now: not the same as that nothing is. */
export class StoreAway extends Error {
  override readonly name = 'StoreAway'
  readonly code = 'OBJECTS_STORE_AWAY'
}

export interface HeldShard {
  readonly blob: string
  readonly index: number
  readonly bytes: number
}

/** A shard to read from. */
export interface OpenShard {
  /** Fills the room from there on; false when the shard ends before. In ascending order it is cheapest. @throws {StoreAway} */
  readInto(start: number, room: Uint8Array): Promise<boolean>
  close(): Promise<void>
}

/** A shard on its way into the store. */
export interface ShardWriter {
  /** Is done with the bytes when it resolves. @throws {FolderFull | StoreAway} */
  write(piece: Uint8Array): Promise<void>
  /** Memory from which it writes without a copy; undefined when there is none. */
  run?(): Slab | undefined
  /** Durable, under its name, when it resolves. @throws {StoreAway} */
  commit(): Promise<void>
  /** After `commit` it does nothing. */
  abort(): Promise<void>
}

/** A shard that this node makes anew: it may be begun once and finished in another run. */
export interface RepairWriter extends ShardWriter {
  /** So far. */
  readonly bytes: number
  /** What was written before. */
  read(start: number, length: number): Promise<Buffer | undefined>
  /** Forgets what lies behind. */
  cut(bytes: number): Promise<void>
  /** Keeps it for later. */
  rest(): Promise<void>
}

/** Of every method: @throws {StoreAway} when the store cannot be asked now. */
export interface ShardStore {
  /** For people: `folder`, or which bucket. */
  readonly where: string
  /** Of shards. */
  readonly bytes: number
  /** Since when, Unix milliseconds, and why it cannot be asked; undefined when it can. */
  readonly away: { readonly sinceMs: number; readonly reason: string } | undefined
  /** Looks whether it can be asked, at most once in some seconds. */
  isThere(): Promise<boolean>
  /** What there is to do now and then. */
  tend(signal: AbortSignal): Promise<void>
  versions(): AsyncGenerator<string>
  /** When the newest of it was written, Unix milliseconds; undefined: there is nothing of it. */
  touchedAtMs(version: string): Promise<number | undefined>
  held(version: string): Promise<readonly HeldShard[]>
  /** Undefined when it is not there, or cannot be read. */
  manifest(version: string): Promise<Uint8Array | undefined>
  putManifest(version: string, bytes: Uint8Array): Promise<void>
  /** @param bytes That are to come, as somebody says: it is not relied on. */
  receive(version: string, blob: string, index: number, bytes?: number): Promise<ShardWriter>
  /** Goes on behind what an earlier repair of this shard made. */
  repair(version: string, blob: string, index: number): Promise<RepairWriter>
  /** @param until No byte from here on will be asked for. Undefined when it is not there. */
  openShard(version: string, blob: string, index: number, until?: number): Promise<OpenShard | undefined>
  removeShard(version: string, blob: string, index: number): Promise<void>
  /** All of a version. Its manifest, with the capsule, goes first. */
  erase(version: string): Promise<void>
  stop(): void
}

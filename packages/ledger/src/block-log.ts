/**
 * The final blocks on disk, from the first that is kept on. Genesis is computed, not stored; where older blocks are gone, an
 * anchor, the block of a verified snapshot, stands in for it.
 */
import { join } from 'node:path'
import type { Block, Certificate, Digest } from '@ringwall/consensus'
import { type DiskSeal, firstRecord, keepAside, type LogFinding, openLog, type RecordLog, StoreCorrupt } from '@ringwall/store'
import { type BlockRecord, encodeBlockRecord, parseBlockRecord, proves } from './block-record.ts'
import { type Epoch, type Epochs, isAlone } from './epochs.ts'
import { LedgerError } from './errors.ts'
import { isBoundary } from './payload.ts'

export const BLOCKS_FILE = 'blocks.log'
/** Digests of late blocks kept in memory, for peers that ask by digest. */
const RECENT_MAX = 1024

export interface BlockLogOptions {
  readonly directory: string
  readonly self: string
  /** As far as a snapshot knows them; those that end in the log are added. */
  readonly epochs: Epochs
  /**
   * The proof of a verified snapshot, beginning with the block after which it was taken. The log begins with that block's
   * child, or earlier; one that does not reach so far makes way for the proof.
   */
  readonly proof: readonly BlockRecord[]
  /**
   * `refuse` leaves a corrupt file untouched and throws; `keep-prefix` keeps it aside and goes on with the good blocks. Unless
   * said, `self` refuses when it is the only validator there: it has nobody to fetch the rest from.
   */
  readonly onCorrupt: 'refuse' | 'keep-prefix' | undefined
  readonly seal: DiskSeal | undefined
}

export class BlockLog {
  readonly #log: RecordLog
  readonly #recent = new Map<Digest, number>()
  /** What was wrong, one line each. */
  readonly repairs: readonly string[]
  /** True when final blocks were lost, not only a tail that was never answered for. */
  readonly lost: boolean
  #tip: BlockRecord
  /** Height of the first record, counted as if none had been dropped since the log was opened. */
  #first: number

  private constructor(log: RecordLog, first: number, tip: BlockRecord, repairs: readonly string[], lost: boolean) {
    this.#log = log
    this.#first = first
    this.#tip = tip
    this.repairs = repairs
    this.lost = lost
  }

  /**
   * Reads the log from the snapshot's block on, or all of it without one: hashes of records, digests, hash links, and the
   * certificate of the last certified block, which by the links certifies all before it. Uncertified blocks at the end were never
   * final here, and go. Older blocks are checked when they are read, and by `verifyLedgerDirectory`.
   *
   * @throws {LedgerError} `LEDGER_WRONG_RING`, `LEDGER_CORRUPT`.
   */
  static async open(options: BlockLogOptions): Promise<BlockLog> {
    const path = join(options.directory, BLOCKS_FILE)
    const { epochs, seal } = options
    const known = epochs.current.base.height
    const anchored = options.proof[0]?.block
    // What the snapshot stands for need not be read again.
    const height = anchored === undefined ? undefined : await firstHeight(path, seal)
    const from = Math.max(0, (anchored?.height ?? 0) - (height ?? Number.POSITIVE_INFINITY))
    let scan = new Scan(epochs, anchored, height)
    const refuses = () =>
      options.onCorrupt === 'refuse' || (options.onCorrupt === undefined && isAlone(scan.epoch(), options.self))
    const read = (onCorrupt: 'throw' | 'keep-prefix') =>
      openLog(path, { onCorrupt, from, seal, onRecord: (payload, index) => scan.meet(payload, index) })
    let log: RecordLog
    try {
      log = await read(options.onCorrupt === 'keep-prefix' ? 'keep-prefix' : 'throw')
    } catch (error) {
      if (!(error instanceof StoreCorrupt)) throw error
      if (refuses()) throw cannotGoOn(error.message, error.index, error)
      epochs.truncate(known)
      scan = new Scan(epochs, anchored, height)
      log = await read('keep-prefix')
    }
    try {
      const repairs: string[] = log.finding === undefined ? [] : [describe(log.finding)]
      let lost = log.finding?.kind === 'corrupt'
      let { fault } = scan
      if (scan.certified.certificate !== undefined && !epochs.certifies(scan.certified)) {
        fault = { index: scan.certified.block.height - scan.first, what: 'its certificate does not verify' }
      }
      if (fault?.index === 0 && scan.foreign) {
        throw new LedgerError('LEDGER_WRONG_RING', `${path} is the ledger of another ring: choose another data directory`)
      }
      let certified = scan.certified
      if (fault !== undefined) {
        const what = `${path} is corrupt at block ${scan.first + fault.index}: ${fault.what}`
        if (refuses()) throw cannotGoOn(what, fault.index)
        repairs.push(`${what}; the file as found is kept at ${await keepAside(path)}`)
        lost = true
        certified = await lastCertified(log, from, fault.index, epochs)
      }
      const [anchor, ...after] = options.proof
      if (anchor !== undefined && certified.block.height <= anchor.block.height) {
        if (log.length > 0)
          repairs.push(`${path} does not reach the snapshot at block ${anchor.block.height}: begun anew after it`)
        await log.replaceWith(after.map(encodeBlockRecord))
        const tip = after.at(-1) ?? anchor
        for (const record of after) if (record.closing !== undefined) epochs.end(record)
        return new BlockLog(log, anchor.block.height + 1, tip, repairs, true)
      }
      epochs.truncate(certified.block.height)
      const kept = Math.max(0, certified.block.height - scan.first + 1)
      const dropped = log.length - kept
      if (dropped > 0) {
        await log.truncate(kept)
        if (fault === undefined) repairs.push(`${path}: ${dropped} blocks at the end had no certificate yet and were dropped`)
      }
      return new BlockLog(log, scan.first, certified, repairs, lost)
    } catch (error) {
      await log.close()
      throw error
    }
  }

  /** Genesis without a certificate, or the last final block with its own. */
  get tip(): BlockRecord {
    return this.#tip
  }

  get bytes(): number {
    return this.#log.bytes
  }

  /** Resolves once all are on disk. The last has a certificate. */
  async append(records: readonly BlockRecord[]): Promise<void> {
    await this.#log.append(records.map(encodeBlockRecord))
    const last = records.at(-1)
    if (last !== undefined) this.#tip = last
    for (const { block } of records) this.#recent.set(block.digest, block.height)
    for (const digest of this.#recent.keys()) {
      if (this.#recent.size <= RECENT_MAX) break
      this.#recent.delete(digest)
    }
  }

  /** Height of the oldest block that is kept, or of the one to come. */
  get first(): number {
    return this.#first + this.#log.dropped
  }

  /** Undefined below the first and above the tip. */
  async read(height: number): Promise<BlockRecord | undefined> {
    if (!Number.isSafeInteger(height) || height < this.first || height > this.#tip.block.height) return undefined
    const record = parseBlockRecord(await this.#log.read(height - this.first))
    // Another one only while the log begins anew.
    return record.block.height === height ? record : undefined
  }

  /** Records of at most `count` blocks from `height` on, as they lie on disk, in one read of about `bytesMax`; none for a height that is not kept. */
  async readRun(height: number, count: number, bytesMax: number): Promise<readonly Uint8Array[]> {
    const { first } = this
    const most = Math.min(count, this.#tip.block.height - height + 1)
    if (!Number.isSafeInteger(height) || height < first || most < 1) return []
    const run = await this.#log.readRun(height - first, most, bytesMax)
    // Others only while the log begins anew.
    return first === this.first ? run : []
  }

  /** Lets go of the blocks before `height`. */
  async prune(height: number): Promise<void> {
    await this.#log.dropFirst(Math.min(height, this.#tip.block.height) - this.first)
  }

  /** Begins anew after `anchor`: what is there makes way for a history whose state came with a snapshot. */
  async restart(anchor: Block): Promise<void> {
    this.#first = anchor.height + 1 - this.#log.dropped
    this.#recent.clear()
    await this.#log.replaceWith([])
  }

  heightOf(digest: Digest): number | undefined {
    return this.#recent.get(digest)
  }

  /** The certificate of the block at `height`, or of the nearest descendant that has one. */
  async certificateFor(height: number): Promise<Certificate | undefined> {
    for (let at = height; at <= this.#tip.block.height; at++) {
      const certificate = (await this.read(at))?.certificate
      if (certificate !== undefined) return certificate
    }
    return undefined
  }

  /** Meets every final block from height `from` on, in order. */
  async replay(from: number, onBlock: (block: Block) => void): Promise<void> {
    for await (const payload of this.#log.records(Math.max(0, from - this.first))) onBlock(parseBlockRecord(payload).block)
  }

  close(): Promise<void> {
    return this.#log.close()
  }
}

/** Of the oldest block in the log at `path`; undefined when there is none that can be read. */
export async function firstHeight(path: string, seal?: DiskSeal): Promise<number | undefined> {
  const payload = await firstRecord(path, { seal })
  if (payload === undefined) return undefined
  try {
    return parseBlockRecord(payload).block.height
  } catch {
    return undefined
  }
}

/** One pass over the records: stops believing at the first that is not the child of the one before. */
export class Scan {
  fault: { readonly index: number; readonly what: string } | undefined
  /** The first block is whole, but no child of this ring's genesis. */
  foreign = false
  certified: BlockRecord
  /** Height of the first record. */
  first: number
  readonly #genesis: Block
  readonly #epochs: Epochs
  readonly #anchor: Block | undefined
  #last: Block | undefined

  /**
   * Adds to `epochs` those that end in the records; the certificates of these, and no others, are verified here. `first` is the
   * height of the log's oldest block, if that can be read; with an anchor, the first record to be met may be the anchor's.
   */
  constructor(epochs: Epochs, anchor?: Block, first?: number) {
    this.#genesis = epochs.genesis
    this.#epochs = epochs
    this.#anchor = anchor
    // Without an anchor the first record is genesis' child; with one it may be any up to the anchor's child.
    const isEarlier = anchor !== undefined && first !== undefined && first >= 1 && first <= anchor.height
    this.first = isEarlier ? first : (anchor ?? this.#genesis).height + 1
    this.certified = { block: this.#genesis, certificate: undefined }
  }

  /** Where the good records end. */
  epoch(): Epoch {
    return this.#epochs.at((this.#last?.height ?? 0) + 1)
  }

  meet(payload: Uint8Array, index: number): BlockRecord | undefined {
    if (this.fault !== undefined) return undefined
    let record: BlockRecord
    try {
      record = parseBlockRecord(payload)
    } catch (error) {
      this.fault = { index, what: (error as Error).message }
      return undefined
    }
    const { block, certificate } = record
    const parent = this.#last ?? (block.height === this.first + index ? this.#parentOfFirst(block) : undefined)
    const linked = parent !== undefined && block.parent === parent.digest && block.height === parent.height + 1
    const named = certificate === undefined || proves(record)
    const passes = block.height !== this.#anchor?.height || block.digest === this.#anchor.digest
    if (!linked || !named || !passes) {
      this.foreign = index === 0 && !linked
      const what = linked ? 'its certificate is for another block' : 'it does not follow the block before it'
      this.fault = { index, what: passes ? what : 'it is not the block of the snapshot' }
      return undefined
    }
    if (isBoundary(block.payload) !== (record.closing !== undefined)) {
      const [is, said] =
        record.closing === undefined ? ['the end of an epoch', 'an ordinary block'] : ['ordinary', 'the end of an epoch']
      this.fault = { index, what: `it is ${is}, and passed off as ${said}` }
      return undefined
    }
    if (record.closing !== undefined) {
      try {
        this.#epochs.end(record)
      } catch (error) {
        this.fault = { index, what: (error as Error).message }
        return undefined
      }
    }
    this.#last = block
    if (certificate !== undefined) this.certified = record
    return record
  }

  /** What came before the first record that is met, in a log that was pruned or whose older part is not read, is known by its digest alone. */
  #parentOfFirst(block: Block): Pick<Block, 'digest' | 'height'> {
    if (block.height === 1) return this.#genesis
    if (block.height === (this.#anchor?.height ?? 0) + 1) return this.#anchor ?? this.#genesis
    return { digest: block.parent, height: block.height - 1 }
  }
}

/** The last block from record `from` on and below `end` with a certificate that verifies; genesis when there is none. */
async function lastCertified(log: RecordLog, from: number, end: number, epochs: Epochs): Promise<BlockRecord> {
  for (let index = Math.min(end, log.length) - 1; index >= from; index--) {
    const record = parseBlockRecord(await log.read(index))
    if (epochs.certifies(record)) return record
  }
  return { block: epochs.genesis, certificate: undefined }
}

function describe(finding: LogFinding): string {
  const where = `${finding.path} at byte ${finding.offset} (record ${finding.index})`
  if (finding.kind === 'torn') return `${where}: ${finding.bytesCut} bytes of an unfinished write were cut off`
  return `${where} was corrupt: ${finding.what}; ${finding.bytesLost} bytes are lost, the file as found is kept at ${finding.aside}`
}

export { describe as describeFinding }

function cannotGoOn(what: string, good: number, cause?: Error): LedgerError {
  const advice = `This node has nobody to fetch the rest from. Restore the file from a backup; or, to go on with the ${good} good blocks and lose what came after them, open the ledger once with onCorrupt "keep-prefix"`
  return new LedgerError('LEDGER_CORRUPT', `${what}. ${advice}`, {}, cause === undefined ? undefined : { cause })
}

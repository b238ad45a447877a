/**
 * What this validator has signed and seen since the last final block, so that a restart contradicts none of it: a file for each
 * epoch. Every node has that of its tip's epoch, also one that does not vote: it is how a node knows that its folder is whole.
 */
import { existsSync } from 'node:fs'
import { readdir, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeJournalRecord, encodeJournalRecord, type JournalRecord } from '@ringwall/consensus'
import { type DiskSeal, openLog, type RecordLog } from '@ringwall/store'
import { describeFinding } from './block-log.ts'

const NAME = /^votes(?:-(\d{1,15}))?\.log$/

function fileOf(directory: string, epoch: number): string {
  return join(directory, epoch === 0 ? 'votes.log' : `votes-${epoch}.log`)
}

/** Compacted when it holds more records than this, or more bytes. */
const RECORDS_MAX = 2048
const BYTES_MAX: number = 8 * 1024 * 1024

export class Journal {
  readonly #log: RecordLog
  /** As on disk and on the way there. */
  #records: { readonly round: number; readonly bytes: Uint8Array }[]
  #bytes: number
  readonly restored: readonly JournalRecord[]
  readonly repairs: readonly string[]
  /** True when statements that may have left this process are missing. */
  readonly lost: boolean
  #compacting = false

  private constructor(log: RecordLog, restored: readonly JournalRecord[], repairs: readonly string[], lost: boolean) {
    this.#log = log
    this.restored = restored
    this.repairs = repairs
    this.lost = lost
    this.#records = restored.map((record) => ({ round: roundOf(record), bytes: encodeJournalRecord(record) }))
    this.#bytes = log.bytes
  }

  static exists(directory: string, epoch: number): boolean {
    return existsSync(fileOf(directory, epoch))
  }

  /** Those of epochs before `epoch` bind nobody any more. */
  static async removeBefore(directory: string, epoch: number): Promise<void> {
    for (const name of await readdir(directory)) {
      const match = NAME.exec(name)
      if (match !== null && Number(match[1] ?? 0) < epoch) await unlink(join(directory, name)).catch(() => {})
    }
  }

  /** Creates it, durably, if need be. */
  static async open(directory: string, epoch: number, seal?: DiskSeal): Promise<Journal> {
    const restored: JournalRecord[] = []
    let unreadable = false
    const log = await openLog(fileOf(directory, epoch), {
      seal,
      onRecord: (payload) => {
        if (unreadable) return
        try {
          restored.push(decodeJournalRecord(Uint8Array.from(payload)))
        } catch {
          unreadable = true
        }
      },
    })
    const repairs = log.finding === undefined ? [] : [describeFinding(log.finding)]
    if (unreadable) {
      repairs.push(`${log.path}: record ${restored.length} is whole but cannot be read; it and what follows is dropped`)
      await log.truncate(restored.length)
    }
    return new Journal(log, restored, repairs, unreadable || log.finding?.kind === 'corrupt')
  }

  append(record: JournalRecord): Promise<void> {
    const bytes = encodeJournalRecord(record)
    this.#records.push({ round: roundOf(record), bytes })
    this.#bytes += bytes.length
    return this.#log.append([bytes])
  }

  /** Blocks up to `finalRound` are final and on disk: statements about them bind nobody any more. */
  async compact(finalRound: number): Promise<void> {
    if (this.#compacting || (this.#records.length <= RECORDS_MAX && this.#bytes <= BYTES_MAX)) return
    const kept = this.#records.filter(({ round }) => round > finalRound)
    if (kept.length > this.#records.length / 2) return
    this.#compacting = true
    this.#records = kept
    this.#bytes = this.#records.reduce((sum, { bytes }) => sum + bytes.length, 0)
    try {
      await this.#log.replaceWith(this.#records.map(({ bytes }) => bytes))
    } finally {
      this.#compacting = false
    }
  }

  close(): Promise<void> {
    return this.#log.close()
  }
}

export function roundOf(record: JournalRecord): number {
  if (record.kind === 'vote') return record.vote.round
  if (record.kind === 'proposal') return record.proposal.block.round
  return record.certificate.round
}

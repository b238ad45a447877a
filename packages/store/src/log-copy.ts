/** Copies a log from under one seal to under another, or into the clear: works beside the process that writes it. */
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import type { DiskSeal } from './disk-seal.ts'
import { StoreCorrupt } from './errors.ts'
import { FILE_MODE } from './files.ts'
import { freshFormat } from './log.ts'
import { inspectLog } from './log-scan.ts'
import { encodeRun, LINK_BYTES } from './record-format.ts'

const WRITE_BYTES = 1024 * 1024

/**
 * All whole records of the log at `from`, durably, into a new file at `to`.
 *
 * @throws {StoreCorrupt} When a record rotted; {StoreError} `STORE_SEALED`, `STORE_UNSEALED`.
 */
export async function copyLog(
  from: string,
  to: string,
  seals: { readonly from: DiskSeal | undefined; readonly to: DiskSeal | undefined },
): Promise<void> {
  const format = freshFormat(to, seals.to)
  const file = openSync(to, 'wx', FILE_MODE)
  try {
    writeAll(file, format.header)
    let link: Uint8Array = format.header.subarray(-LINK_BYTES)
    let waiting: Uint8Array[] = []
    let bytes = 0
    let first = 0
    const flush = (): void => {
      const run = encodeRun(format, first, waiting, link)
      writeAll(file, run.bytes)
      link = run.link
      first += waiting.length
      waiting = []
      bytes = 0
    }
    const { fault } = await inspectLog(
      from,
      (payload) => {
        waiting.push(Uint8Array.from(payload))
        bytes += payload.length
        if (bytes >= WRITE_BYTES) flush()
      },
      { seal: seals.from },
    )
    flush()
    if (fault?.kind === 'corrupt') throw new StoreCorrupt(from, fault.index, fault.offset, fault.what)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done)
}

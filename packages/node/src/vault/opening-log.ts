/**
 * Who had what opened with this node's share: on disk before the answer leaves, the newest so many kept. Names and versions are in it, nothing of
 * what secrets hold.
 */
import { type DiskSeal, openLog, type RecordLog } from '@ringwall/store'
import { z } from 'zod'

const RECORDS_MAX = 200_000
/** Dropped at once when there are more. */
const DROPPED = 20_000
const READ_BYTES_MAX = 4_194_304
/** Records that a look at the past goes through at most. */
const SEARCHED_MAX = 20_000

const Shape = z.strictObject({
  atMs: z.number(),
  issuer: z.string().max(80),
  /** SHA-256 of what the asker signed, base64url. */
  request: z.string().max(64),
  coordinator: z.string().max(64),
  /** Names of secrets, and `transit:NAME` of keys. */
  secrets: z.array(z.tuple([z.string().max(220), z.int().min(0)])).max(64),
})
export type OpeningRecord = z.output<typeof Shape>

export class OpeningLog {
  readonly #log: RecordLog
  #dropping = false

  private constructor(log: RecordLog) {
    this.#log = log
  }

  /** @throws {StoreError} */
  static async open(path: string, seal?: DiskSeal): Promise<OpeningLog> {
    return new OpeningLog(await openLog(path, { recordBytesMax: 32_768, pendingBytesMax: 8_388_608, seal }))
  }

  get length(): number {
    return this.#log.length
  }

  /** Resolves once it is on disk. @throws {StoreError} `STORE_BUSY` when the disk does not keep up. */
  async add(record: OpeningRecord): Promise<void> {
    await this.#log.append([Buffer.from(JSON.stringify(record))])
    if (this.#log.length <= RECORDS_MAX || this.#dropping) return
    this.#dropping = true
    this.#log.dropFirst(DROPPED).then(
      () => {
        this.#dropping = false
      },
      () => {
        this.#dropping = false
      },
    )
  }

  /** Newest first, of the newest records only. */
  async of(name: string, most: number): Promise<readonly OpeningRecord[]> {
    const found: OpeningRecord[] = []
    const first = Math.max(0, this.#log.length - SEARCHED_MAX)
    let at = first
    while (at < this.#log.length) {
      const run = await this.#log.readRun(at, 2_000, READ_BYTES_MAX)
      if (run.length === 0) break
      for (const bytes of run) {
        const record = Shape.safeParse(JSON.parse(Buffer.from(bytes).toString('utf8')))
        if (record.success && record.data.secrets.some(([held]) => held === name)) found.push(record.data)
      }
      at += run.length
    }
    return found.reverse().slice(0, most)
  }

  close(): Promise<void> {
    return this.#log.close()
  }
}

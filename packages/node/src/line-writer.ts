/**
 * Lines to a file, without making anybody wait: a bounded queue, written in order by one writer; what does not fit is dropped and
 * counted. Rotation is by name: when the file at the path is another one, or none, the next lines go into a new one.
 */
import { type FileHandle, open, stat } from 'node:fs/promises'

const CHUNK_BYTES_MAX = 262_144
const LOOK_EVERY_MS = 1_000
const COMPLAIN_EVERY_MS = 10_000

export interface LineWriterOptions {
  readonly file: string
  /** Of lines that wait. */
  readonly bytesMax: number
  readonly log: (level: 'info' | 'warn', line: string) => void
}

export class LineWriter {
  readonly #options: LineWriterOptions
  #waiting: Buffer[] = []
  #bytes = 0
  #handle: FileHandle | undefined
  #inode: number | undefined
  #lookedAtMs = 0
  #complainedAtMs = 0
  #running: Promise<void> | undefined
  #stopped = false
  dropped = 0
  written = 0

  constructor(options: LineWriterOptions) {
    this.#options = options
  }

  /** Opens the file, so that a path that cannot be written is found at start. @throws The error of the file system. */
  async start(): Promise<void> {
    await this.#open()
  }

  write(line: string): void {
    const bytes = Buffer.from(`${line}\n`, 'utf8')
    if (this.#stopped || this.#bytes + bytes.length > this.#options.bytesMax) {
      this.dropped += 1
      return
    }
    this.#waiting.push(bytes)
    this.#bytes += bytes.length
    this.#running ??= this.#drain().finally(() => {
      this.#running = undefined
    })
  }

  /** Writes what waits, then closes. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
    await this.#handle?.close()
    this.#handle = undefined
  }

  async #drain(): Promise<void> {
    while (this.#waiting.length > 0) {
      const lines: Buffer[] = []
      let bytes = 0
      while (this.#waiting.length > lines.length && bytes < CHUNK_BYTES_MAX) {
        const line = this.#waiting[lines.length]!
        lines.push(line)
        bytes += line.length
      }
      this.#waiting = this.#waiting.slice(lines.length)
      try {
        await this.#follow()
        await this.#writeAll(Buffer.concat(lines))
        this.written += lines.length
      } catch (error) {
        this.dropped += lines.length
        await this.#handle?.close().catch(() => undefined)
        this.#handle = undefined
        this.#complain(error as Error, lines.length)
      }
      this.#bytes -= bytes
    }
  }

  async #writeAll(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) at += (await this.#handle!.write(bytes, at)).bytesWritten
  }

  async #follow(): Promise<void> {
    const nowMs = Date.now()
    if (this.#handle === undefined) {
      await this.#open()
      return
    }
    if (nowMs - this.#lookedAtMs < LOOK_EVERY_MS) return
    this.#lookedAtMs = nowMs
    const now = await stat(this.#options.file).catch(() => undefined)
    if (now?.ino === this.#inode) return
    await this.#handle.close()
    this.#handle = undefined
    await this.#open()
  }

  async #open(): Promise<void> {
    this.#handle = await open(this.#options.file, 'a', 0o600)
    this.#inode = (await this.#handle.stat()).ino
    this.#lookedAtMs = Date.now()
  }

  #complain(error: Error, lines: number): void {
    const nowMs = Date.now()
    if (nowMs - this.#complainedAtMs < COMPLAIN_EVERY_MS) return
    this.#complainedAtMs = nowMs
    this.#options.log('warn', `${this.#options.file}: ${lines} lines could not be written: ${error.message}`)
  }
}

/**
 * The folder of an installation that updates itself: two slots of which one is current, releases as they came, and what is known of a trial.
 *
 *     FOLDER/a, FOLDER/b                   a whole release each, or what is being unpacked
 *     FOLDER/current -> a                  what starts; changed by one rename, once a release has proved good
 *     FOLDER/releases/DIGEST.release       archives, as operators put them there or peers gave them
 *     FOLDER/trial.json                    a release is being tried out: what interrupts that leaves the current one
 *     FOLDER/outcome.json                  what became of the last trial that failed, until the ring knows
 */
import { mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs'
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RELEASE_VERSION } from '@ringwall/ring'
import { z } from 'zod'

export type Slot = 'a' | 'b'

/** Of one trial, from when it began until it was found good or bad. */
const Trial = z.strictObject({
  version: z.string().regex(RELEASE_VERSION),
  slot: z.enum(['a', 'b']),
  /** How often it was begun. */
  attempt: z.int().min(1),
})
export type Trial = z.output<typeof Trial>

const Outcome = z.strictObject({ version: z.string().regex(RELEASE_VERSION), reason: z.string().min(1).max(200) })
export type Outcome = z.output<typeof Outcome>

export class Slots {
  readonly folder: string

  constructor(folder: string) {
    this.folder = folder
    mkdirSync(join(folder, 'releases'), { recursive: true, mode: 0o755 })
  }

  path(slot: Slot): string {
    return join(this.folder, slot)
  }

  get releases(): string {
    return join(this.folder, 'releases')
  }

  /** Undefined before anything is installed. */
  current(): Slot | undefined {
    try {
      const target = readlinkSync(join(this.folder, 'current'))
      return target === 'a' || target === 'b' ? target : undefined
    } catch {
      return undefined
    }
  }

  other(): Slot {
    return this.current() === 'a' ? 'b' : 'a'
  }

  /** Another slot starts from now on: all at once, or not at all. */
  async point(slot: Slot): Promise<void> {
    const next = join(this.folder, 'current.next')
    rmSync(next, { force: true })
    symlinkSync(slot, next)
    renameSync(next, join(this.folder, 'current'))
    await this.#settle()
  }

  /** The slot that is not current, empty. */
  async clear(): Promise<Slot> {
    const slot = this.other()
    await rm(this.path(slot), { recursive: true, force: true })
    await mkdir(this.path(slot), { mode: 0o755 })
    return slot
  }

  trial(): Trial | undefined {
    return this.#read('trial.json', Trial)
  }

  outcome(): Outcome | undefined {
    return this.#read('outcome.json', Outcome)
  }

  setTrial(trial: Trial | undefined): Promise<void> {
    return this.#write('trial.json', trial)
  }

  setOutcome(outcome: Outcome | undefined): Promise<void> {
    return this.#write('outcome.json', outcome)
  }

  /** Undefined also for one that is damaged: what it says is not needed to start. */
  #read<T>(name: string, schema: z.ZodType<T>): T | undefined {
    try {
      return schema.parse(JSON.parse(readFileSync(join(this.folder, name), 'utf8')))
    } catch {
      return undefined
    }
  }

  async #write(name: string, value: unknown): Promise<void> {
    const path = join(this.folder, name)
    if (value === undefined) await rm(path, { force: true })
    else {
      const handle = await open(`${path}.next`, 'w', 0o644)
      try {
        await handle.writeFile(JSON.stringify(value))
        await handle.sync()
      } finally {
        await handle.close()
      }
      await rename(`${path}.next`, path)
    }
    await this.#settle()
  }

  /** What was renamed stays so when the power goes. */
  async #settle(): Promise<void> {
    const handle = await open(this.folder, 'r')
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  }

  async archives(): Promise<readonly string[]> {
    const names = await readdir(this.releases).catch(() => [])
    return names.filter((name) => name.endsWith('.release')).map((name) => join(this.releases, name))
  }
}

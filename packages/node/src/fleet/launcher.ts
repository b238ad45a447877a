/**
 * `ringwall fleet run`: keeps a node running from the slot that is current, and tries out a release in the other one when the node asks for it.
 *
 * A trial: the running node hands over its data and serves on by its last view; the new one starts beside it and takes the traffic; once it serves, the old
 * one drains and ends. The new one is watched, by itself and from here. Only when it was found good does the pointer change. Until then whatever ends,
 * this process or all of them, leaves the release that was current. One that is found bad is ended, and the current one started again.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { FOLDER_VARIABLE, type FromNode, parseFromNode, TRIAL_VARIABLE, type TrialTerms } from './launcher-messages.ts'
import { RELEASE_FLAGS, verifyFolder } from './release-archive.ts'
import { type Slot, Slots } from './slots.ts'

/** What a start may take, and beyond a trial, until the ring has believed it. */
const START_MS_MAX = 120_000
const LATE_MS_MAX = 300_000
const HAND_OVER_MS_MAX = 30_000
const STOP_MS_MAX = 10_000
const RESTART_MS_MIN = 1_000
const RESTART_MS_MAX = 30_000
const STEADY_MS = 60_000
export const ATTEMPTS_MAX = 3

interface Child {
  readonly process: ChildProcess
  readonly startedAtMs: number
  /** Resolves with how it ended. */
  readonly ended: Promise<string>
  readonly heard: (type: FromNode['type']) => Promise<FromNode>
}

export interface LauncherOptions {
  readonly folder: string
  /** node.yaml. */
  readonly config: string
  readonly say: (line: string) => void
}

export class Launcher {
  readonly #slots: Slots
  readonly #options: LauncherOptions
  #child: Child | undefined
  #stopping = false
  #asked: Extract<FromNode, { type: 'try' }> | undefined
  #wake: () => void = () => {}
  readonly #all = new Set<ChildProcess>()
  /** Ends the pause before the next start. */
  readonly #pause = new AbortController()

  constructor(options: LauncherOptions) {
    this.#options = options
    this.#slots = new Slots(options.folder)
  }

  /** Until it is stopped. @throws {Error} When no slot holds a whole release. */
  async run(): Promise<void> {
    await this.#choose()
    await this.#forget()
    for (let pauseMs = RESTART_MS_MIN; !this.#stopping; ) {
      const child = this.#start(this.#current(), undefined, false)
      this.#child = child
      const how = await this.#follow()
      if (this.#stopping) return
      const lived = performance.now() - (this.#child?.startedAtMs ?? child.startedAtMs)
      pauseMs = lived > STEADY_MS ? RESTART_MS_MIN : Math.min(RESTART_MS_MAX, pauseMs * 2)
      this.#options.say(`the node ended (${how}); it is started again in ${pauseMs / 1_000} s`)
      await sleep(pauseMs, undefined, { signal: this.#pause.signal }).catch(() => {})
    }
  }

  /** As long as a node runs, this one or one that took its place. How the last one ended. */
  async #follow(): Promise<string> {
    for (;;) {
      const child = this.#child as Child
      const asked = new Promise<undefined>((settle) => {
        this.#wake = () => settle(undefined)
        if (this.#asked !== undefined) settle(undefined)
      })
      const how = await Promise.race([child.ended, asked])
      if (how !== undefined) return how
      const request = this.#asked
      this.#asked = undefined
      if (request !== undefined && !this.#stopping) await this.#try(child, request)
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true
    this.#pause.abort()
    await Promise.all([...this.#all].map((child) => end(child)))
  }

  #current(): Slot {
    const slot = this.#slots.current()
    if (slot === undefined)
      throw new Error(`${this.#options.folder} has no release: ringwall release install ARCHIVE --folder ${this.#options.folder}`)
    return slot
  }

  /** A slot that was damaged is not started when the other one is whole. */
  async #choose(): Promise<void> {
    const current = this.#current()
    try {
      const { header } = await verifyFolder(this.#slots.path(current))
      this.#options.say(`slot ${current} holds ${header.version}, whole`)
    } catch (error) {
      const other = this.#slots.other()
      const { header } = await verifyFolder(this.#slots.path(other)).catch(() => {
        throw error
      })
      this.#options.say(`${(error as Error).message}; slot ${other} holds ${header.version}, whole, and is current from now on`)
      await this.#slots.point(other)
    }
  }

  /** A trial that nobody ended is not over: the node asks again, but not for ever. */
  async #forget(): Promise<void> {
    const trial = this.#slots.trial()
    if (trial === undefined) return
    this.#options.say(`the trial of ${trial.version} was interrupted; ${this.#current()} is current`)
    if (trial.attempt < ATTEMPTS_MAX) return
    await this.#slots.setOutcome({ version: trial.version, reason: `its trial was interrupted ${trial.attempt} times` })
    await this.#slots.setTrial(undefined)
  }

  #start(slot: Slot, terms: TrialTerms | undefined, takesOver: boolean): Child {
    const program = join(this.#slots.path(slot), 'packages', 'cli', 'bin', 'ringwall.mjs')
    const more = takesOver ? ['--take-over'] : []
    const { [TRIAL_VARIABLE]: _none, ...environment } = process.env
    const child = spawn(process.execPath, [...RELEASE_FLAGS, program, 'node', '--config', this.#options.config, ...more], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: {
        ...environment,
        [FOLDER_VARIABLE]: this.#slots.folder,
        ...(terms === undefined ? {} : { [TRIAL_VARIABLE]: JSON.stringify(terms) }),
      },
    })
    this.#all.add(child)
    const waiting = new Map<FromNode['type'], (message: FromNode) => void>()
    const said = new Map<FromNode['type'], FromNode>()
    child.on('message', (value) => {
      const message = parseFromNode(value)
      if (message === undefined) return
      if (message.type === 'try') {
        if (this.#child?.process !== child) return
        this.#asked = message
        this.#wake()
        return
      }
      said.set(message.type, message)
      waiting.get(message.type)?.(message)
    })
    const ended = new Promise<string>((settle) => {
      child.once('error', (error) => settle(error.message))
      child.once('exit', (code, signal) => settle(signal ?? `code ${code}`))
    }).finally(() => this.#all.delete(child))
    const heard = (type: FromNode['type']): Promise<FromNode> =>
      new Promise((settle) => {
        const known = said.get(type)
        if (known === undefined) waiting.set(type, settle)
        else settle(known)
      })
    return { process: child, startedAtMs: performance.now(), ended, heard }
  }

  async #try(old: Child, { terms, digest }: Extract<FromNode, { type: 'try' }>): Promise<void> {
    const { say } = this.#options
    const { version } = terms
    const slot = this.#slots.other()
    try {
      const held = await verifyFolder(this.#slots.path(slot))
      if (held.digest !== digest) throw new Error(`slot ${slot} holds ${held.header.version}, another release`)
    } catch (error) {
      await this.#slots.setOutcome({ version, reason: reasonOf((error as Error).message) })
      return
    }
    const before = this.#slots.trial()
    await this.#slots.setTrial({ version, slot, attempt: before?.version === version ? before.attempt + 1 : 1 })
    say(`${version} is tried out, from slot ${slot}`)
    old.process.kill('SIGUSR2')
    const isFree = await within(old.heard('handed-over'), HAND_OVER_MS_MAX)
    // It holds its data, or is gone: the new one begins where nothing is in its way.
    if (isFree === undefined) await end(old.process)
    const next = this.#start(slot, terms, true)
    const fault = await this.#watch(next, old, terms)
    if (this.#stopping) return
    if (fault === undefined) {
      await this.#slots.point(slot)
      await this.#slots.setTrial(undefined)
      this.#child = next
      say(`${version} is current from now on`)
      return
    }
    say(`${version} is given up: ${fault}`)
    await this.#slots.setOutcome({ version, reason: reasonOf(fault) })
    await this.#slots.setTrial(undefined)
    await this.#goBack(next, old)
  }

  /** Why the new one is no good; undefined: it is. */
  async #watch(next: Child, old: Child, { trialMs }: TrialTerms): Promise<string | undefined> {
    const ended = next.ended.then((how) => `it ended (${how})`)
    const bad = next.heard('bad').then((message) => (message.type === 'bad' ? message.reason : ''))
    const serving = next.heard('serving').then(() => undefined)
    const started = await Promise.race([
      ended,
      bad,
      serving,
      late(START_MS_MAX, `it did not serve within ${START_MS_MAX / 1_000} s`),
    ])
    if (started !== undefined) return started
    await end(old.process)
    const good = next.heard('good').then(() => undefined)
    return Promise.race([ended, bad, good, late(trialMs + LATE_MS_MAX, 'it did not say that it is well')])
  }

  /** The current one again, taking over from the new one where that lets go. */
  async #goBack(next: Child, old: Child): Promise<void> {
    const isAlive = next.process.exitCode === null && next.process.signalCode === null
    if (isAlive) {
      next.process.kill('SIGUSR2')
      const isFree = await within(next.heard('handed-over'), HAND_OVER_MS_MAX)
      if (isFree === undefined) next.process.kill('SIGKILL')
    }
    const again = this.#start(this.#current(), undefined, true)
    this.#child = again
    await Promise.race([again.ended, again.heard('serving'), late(START_MS_MAX, undefined)])
    await Promise.all([end(next.process), end(old.process)])
  }
}

function reasonOf(text: string): string {
  return text.replaceAll(/[^\P{C}]/gu, ' ').slice(0, 200) || 'it failed'
}

async function within<T>(promise: Promise<T>, msMax: number): Promise<T | undefined> {
  return Promise.race([promise, late(msMax, undefined)])
}

/** Keeps no process running that has nothing else to do. */
function late<T>(ms: number, value: T): Promise<T> {
  return sleep(ms, value, { ref: false })
}

/** Asks first. */
async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const ended = new Promise<true>((settle) => child.once('exit', () => settle(true)))
  child.kill('SIGTERM')
  if ((await within(ended, STOP_MS_MAX)) === undefined) {
    child.kill('SIGKILL')
    await ended
  }
}

/** Runs until SIGINT or SIGTERM. @returns The exit code. */
export async function runLauncher(folder: string, config: string): Promise<number> {
  const say = (line: string): void => void process.stdout.write(`${new Date().toISOString()} fleet: ${line}\n`)
  const launcher = new Launcher({ folder, config, say })
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void launcher.stop())
  try {
    await launcher.run()
    return 0
  } catch (error) {
    process.stderr.write(`ringwall: ${(error as Error).message}\n`)
    return 1
  }
}

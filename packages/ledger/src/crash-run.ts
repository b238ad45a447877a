/**
 * Kills validators with SIGKILL at random moments, starts them again, and checks that what they acknowledged is on
 * their disks. Used by the package's own test, with few kills, and by `e2e/crash.ts`, with many.
 */

import { spawn } from 'node:child_process'
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { DiskSeal, STORAGE_KEY_BYTES } from '@ringwall/store'
import { freePorts } from '../../../tools/free-ports.ts'
import { type CrashChildConfig, tallyApplication } from './crash-child.ts'
import { FIRST_START_FILE } from './marks.ts'
import type { Genesis } from './types.ts'
import { verifyLedgerDirectory } from './verify-directory.ts'

export interface CrashRunOptions {
  readonly directory: string
  readonly kills: number
  readonly nodes: number
  /** Nodes that are no validators at first: validators are added and let go all the while when there are any. */
  readonly spares?: number
  /** Seals everything from the second start on, under another key at each start. */
  readonly rekeys?: boolean
  /** Of the ledger, unless undefined. */
  readonly snapshotBlocks?: number
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly progress: (line: string) => void
}

export interface CrashSummary {
  readonly kills: number
  readonly restarts: number
  readonly acknowledged: number
  /** Of these, changes of the validators. */
  readonly changes: number
  readonly lost: readonly string[]
  readonly height: number
  readonly problems: readonly string[]
}

interface Validator {
  readonly id: string
  readonly publicKey: string
  readonly privateKey: string
  readonly port: number
}

/** A node is killed so long after it began to take transactions, at most; one in eight is killed while it starts. */
const WORK_MS_MAX = 120
const START_MS_MAX = 250
const READY_MS_MAX = 60_000
const PROGRESS_MS_MAX = 10_000
const PROGRESS_LOOK_MS = 20

export async function runCrashes(options: CrashRunOptions): Promise<CrashSummary> {
  const { nodes, spares = 0, kills, random, progress } = options
  const ports = nodes + spares === 1 ? [0] : await freePorts(nodes + spares)
  const validators: Validator[] = ports.map((port, i) => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    return {
      id: `n${i + 1}`,
      publicKey: Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64'),
      privateKey: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64'),
      port,
    }
  })
  const ring = createHash('sha256').update(options.directory).digest('hex')
  const children = validators.map((validator) => new Child(validator, ring, validators, options))
  for (const { directory } of spares === 0 ? [] : children) {
    await mkdir(directory, { recursive: true })
    await writeFile(join(directory, FIRST_START_FILE), '')
  }
  try {
    for (const child of children) child.start()
    await Promise.all(children.map((child) => child.ready()))
    for (let kill = 1; kill <= kills; kill++) {
      const child = children[Math.floor(random() * children.length)]
      if (child === undefined) throw new Error('there is nobody to kill')
      const whileStarting = random() < 1 / 8
      if (!whileStarting) await child.ready()
      if (nodes > 1) await someProgress(children)
      await new Promise((resolve) => setTimeout(resolve, random() * (whileStarting ? START_MS_MAX : WORK_MS_MAX)))
      await child.kill()
      child.start()
      if (kill % 50 === 0 || kill === kills) {
        const acknowledged = children.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0)
        const lost = children.reduce((sum, { missing }) => sum + missing.size, 0)
        progress(`kills ${kill}/${kills}  acknowledged ${acknowledged}  lost ${lost}`)
      }
    }
    await Promise.all(children.map((child) => child.ready()))
    await Promise.all(children.map((child) => child.stop()))
  } finally {
    await Promise.all(children.map((child) => child.kill()))
  }
  return summarize(children, validators, ring, nodes)
}

/**
 * Until a quorum has agreed on something since it was called: killed faster than they find one another, validators would
 * acknowledge nothing that could be lost.
 */
async function someProgress(children: readonly Child[]): Promise<void> {
  const total = (): number => children.reduce((sum, { acknowledged }) => sum + acknowledged.length, 0)
  const before = total()
  for (let waited = 0; total() === before && waited < PROGRESS_MS_MAX; waited += PROGRESS_LOOK_MS)
    await new Promise((resolve) => setTimeout(resolve, PROGRESS_LOOK_MS))
}

async function summarize(
  children: readonly Child[],
  validators: readonly Validator[],
  ring: string,
  members: number,
): Promise<CrashSummary> {
  const all = validators.map(({ id, publicKey }) => ({ id, publicKey: Buffer.from(publicKey, 'base64') }))
  const genesis: Genesis = { ring, validators: all.slice(0, members) }
  const lost = new Set<string>()
  const problems: string[] = []
  let height = 0
  for (const child of children) {
    const seen = new Set<string>()
    const application = tallyApplication((id) => seen.add(id), all, members)
    const verdict = await verifyLedgerDirectory({ directory: child.directory, application, genesis, seal: child.seal() })
    problems.push(...child.problems, ...verdict.problems)
    height = Math.max(height, verdict.height)
    for (const id of child.missing) lost.add(id)
    for (const id of child.acknowledged) if (!seen.has(id)) lost.add(id)
  }
  const kills = children.reduce((sum, child) => sum + child.kills, 0)
  const restarts = children.reduce((sum, child) => sum + child.starts - 1, 0)
  const acknowledged = children.reduce((sum, child) => sum + child.acknowledged.length, 0)
  const changes = children.flatMap((child) => child.acknowledged).filter((id) => /^(plus|minus)-/.test(id)).length
  return { kills, restarts, acknowledged, changes, lost: [...lost], height, problems }
}

class Child {
  readonly directory: string
  readonly acknowledged: string[] = []
  readonly missing = new Set<string>()
  /** That a start found. */
  readonly problems: string[] = []
  kills = 0
  starts = 0
  readonly #validator: Validator
  readonly #ring: string
  readonly #validators: readonly Validator[]
  readonly #options: CrashRunOptions
  readonly #storageKeys: Buffer[] = []
  /** Acknowledged and not yet found on disk by a later start. */
  #unchecked: string[] = []
  #process: ReturnType<typeof spawn> | undefined
  #closed: Promise<unknown> = Promise.resolve()
  #ready: Promise<void> = Promise.resolve()

  constructor(validator: Validator, ring: string, validators: readonly Validator[], options: CrashRunOptions) {
    this.directory = join(options.directory, validator.id)
    this.#validator = validator
    this.#ring = ring
    this.#validators = validators
    this.#options = options
  }

  /** With the last key alone, once all is sealed under it. */
  seal(): DiskSeal | undefined {
    const current = this.#storageKeys.at(-1)
    return current === undefined ? undefined : new DiskSeal({ root: this.directory, current, acceptsPlain: false })
  }

  start(): void {
    const { nodes, rekeys = false, snapshotBlocks } = this.#options
    if (rekeys && this.starts > 0) this.#storageKeys.push(randomBytes(STORAGE_KEY_BYTES))
    const expect = this.#unchecked
    const child = spawn(process.execPath, [join(import.meta.dirname, 'crash-child.ts')], { stdio: ['pipe', 'pipe', 'inherit'] })
    this.#process = child
    this.starts += 1
    const config: CrashChildConfig = {
      directory: this.directory,
      self: this.#validator.id,
      privateKey: this.#validator.privateKey,
      ring: this.#ring,
      validators: this.#validators.map(({ id, publicKey, port }) => ({ id, publicKey, port })),
      members: nodes,
      ...(snapshotBlocks === undefined ? {} : { snapshotBlocks }),
      expect,
      storageKeys: this.#storageKeys.map((key) => key.toString('base64')),
      run: this.starts,
    }
    child.stdin?.on('error', () => {})
    child.stdin?.write(`${JSON.stringify(config)}\n`)
    const lines = createInterface({ input: child.stdout ?? process.stdin })
    this.#closed = Promise.all([once(child, 'exit'), once(lines, 'close')])
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.#ready = promise
    promise.catch(() => {})
    const late = setTimeout(() => reject(new Error(`${this.#validator.id} is not ready after ${READY_MS_MAX} ms`)), READY_MS_MAX)
    child.once('exit', (code) => {
      clearTimeout(late)
      reject(new Error(`${this.#validator.id} ended with ${code} before it was ready`))
    })
    lines.on('line', (line) => {
      const [word = '', value = ''] = line.split(' ')
      if (word === 'ack') {
        this.acknowledged.push(value)
        this.#unchecked.push(value)
      } else if (word === 'missing') this.missing.add(value)
      else if (word === 'problem') this.problems.push(line.slice('problem '.length))
      else if (word === 'ready') {
        clearTimeout(late)
        this.#unchecked = this.#unchecked.filter((id) => !expect.includes(id))
        resolve()
      }
    })
  }

  ready(): Promise<void> {
    return this.#ready
  }

  async kill(): Promise<void> {
    const child = this.#process
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    this.kills += 1
    child.kill('SIGKILL')
    await this.#closed
  }

  async stop(): Promise<void> {
    this.#process?.stdin?.write('stop\n')
    await this.#closed
  }
}

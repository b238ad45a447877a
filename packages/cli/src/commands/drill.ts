/**
 * `ringwall drill restore`: the newest images put back on empty nodes of a network of their own, and used. The restored nodes hold the ring's keys and would
 * speak in its name, so they run in a network namespace that has nothing but loopback: they cannot reach the living, nor anything else.
 */
import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { RingwallClient } from '@ringwall/client'
import type { DrillImage } from '@ringwall/node'
import { QuietFailure, UsageError } from '../errors.ts'
import { duration } from '../format.ts'
import { type Format, printOne } from '../output.ts'
import { readContext } from '../session.ts'
import type { DrillAnswer, DrillSpec } from './drill-inside.ts'

/** What recovery is to hold to. */
export const RTO_MS_MAX = 600_000
export const RPO_MS_MAX = 60_000
const ASK_MS_MAX = 5_000
/** Blocks whose transactions are counted. */
const COUNTED_MAX = 1_000

export interface DrillOptions {
  readonly images: string
  readonly share: readonly string[]
  readonly context?: string
  readonly secret?: string
  readonly object?: string
  readonly directory?: string
  readonly output: Format
}

interface Living {
  readonly height: number
  readonly client: RingwallClient
}

export interface DrillReport {
  readonly ok: boolean
  readonly ring: string
  readonly images: readonly { readonly node: string; readonly atMs: number; readonly ageMs: number }[]
  /** Null: nothing was opened. */
  readonly restored: DrillAnswer | null
  readonly rtoMs: number | null
  readonly rpoMs: number
  /** Transactions of the living ring that no image has; null: it was not asked, or did not answer. */
  readonly lostTransactions: number | null
  readonly problems: readonly string[]
}

export async function drillRestore(options: DrillOptions): Promise<void> {
  const { newestImages } = await import('@ringwall/node')
  const startedMs = Date.now()
  const images = newestImages(resolve(options.images))
  const [first] = images as readonly [DrillImage]
  const living = options.context === undefined ? undefined : await askLiving(options.context)
  const problems: string[] = []
  const newestMs = Math.max(...images.map(({ atMs }) => atMs))
  const rpoMs = Math.max(0, startedMs - newestMs)
  let restored: DrillAnswer | null = null
  const missing = first.needed - options.share.length
  if (missing > 0)
    problems.push(
      `not opened: ${missing} more of the operators’ shares are needed (--share). The images have their form, are of one ring and sealed to the operators’ key; what is in them was not read`,
    )
  else restored = await inNamespace(specOf(options, images))
  if (restored !== null) problems.push(...restored.problems)
  if (rpoMs > RPO_MS_MAX)
    problems.push(
      `the newest image is ${duration(rpoMs)} old: make images at least every ${duration(RPO_MS_MAX)} (recovery backup --every)`,
    )
  const rtoMs = restored?.totalMs ?? null
  if (rtoMs !== null && rtoMs > RTO_MS_MAX) problems.push(`it took ${duration(rtoMs)}, and ${duration(RTO_MS_MAX)} are allowed`)
  const report: DrillReport = {
    ok: problems.length === 0,
    ring: first.ring,
    images: images.map(({ node, atMs }) => ({ node, atMs, ageMs: startedMs - atMs })),
    restored,
    rtoMs,
    rpoMs,
    lostTransactions: restored === null || living === undefined ? null : await countLost(living, restored.imageHeight),
    problems,
  }
  printOne(options.output, report, describe, report.ring)
  if (!report.ok) throw new QuietFailure()
}

function specOf(options: DrillOptions, images: readonly DrillImage[]): DrillSpec {
  const { context, secret, object } = options
  if (context === undefined) throw new UsageError('--context FILE: an operator’s context is needed to ask the restored nodes')
  const shares = options.share.map((file) => {
    try {
      return readFileSync(file, 'utf8').trim()
    } catch (error) {
      throw new UsageError(`--share ${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
    }
  })
  if (object !== undefined && !/^[^/]+\/.+$/.test(object)) throw new UsageError(`--object ${object}: expected BUCKET/KEY`)
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env
  if (object !== undefined && (accessKeyId === undefined || secretAccessKey === undefined))
    throw new UsageError('--object needs an access key of the ring in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY')
  const access = accessKeyId !== undefined && secretAccessKey !== undefined ? { accessKeyId, secretAccessKey } : undefined
  return {
    images,
    shares,
    context: resolve(context),
    secret,
    object: object === undefined || access === undefined ? undefined : { path: object, ...access },
    scratch: options.directory === undefined ? undefined : resolve(options.directory),
  }
}

/** Height and blocks of the living ring, by reading. Undefined when it does not answer: that is what drills are for. */
async function askLiving(context: string): Promise<Living | undefined> {
  const operator = readContext(context)
  for (const { url } of operator.nodes) {
    const client = new RingwallClient({ baseUrl: url, operator })
    const height = await Promise.race([
      client.ledger({ limit: 1 }).then(
        (answer) => answer.height,
        () => undefined,
      ),
      new Promise<undefined>((settle) => setTimeout(settle, ASK_MS_MAX, undefined).unref()),
    ])
    if (height !== undefined) return { height, client }
  }
  return undefined
}

/** Up to what the living ring had when the drill began. */
async function countLost({ height, client }: Living, restoredHeight: number): Promise<number | null> {
  try {
    let lost = 0
    for (let at = Math.max(restoredHeight + 1, height - COUNTED_MAX + 1); at <= height; at += 1)
      lost += (await client.block(at)).transactions.length
    return lost
  } catch {
    return null
  }
}

/** Runs the rest in a namespace of its own, which ends with it and all that it started. */
async function inNamespace(spec: DrillSpec): Promise<DrillAnswer> {
  const why = whyNoNamespace()
  if (why !== undefined)
    throw new UsageError(
      `${why}: restored nodes hold the ring’s keys, and are started only where they cannot reach the living. Drill on Linux with util-linux and iproute2; without --share what can be verified without opening is`,
    )
  const scratch = mkdtempSync(join(spec.scratch ?? tmpdir(), 'ringwall-drill-'))
  try {
    const hosts = join(scratch, 'hosts')
    const specFile = join(scratch, 'spec.json')
    writeFileSync(hosts, '')
    writeFileSync(specFile, JSON.stringify({ ...spec, scratch, hosts }), { mode: 0o600 })
    const program = [process.execPath, ...process.execArgv, process.argv[1] as string, 'drill', 'inside', specFile]
    // With the first process of its own process namespace everything that it started ends.
    const flags = ['--map-root-user', '--net', '--mount', '--pid', '--fork', '--kill-child']
    const script = 'ip link set lo up && mount --bind "$0" /etc/hosts && exec "$@"'
    const child = spawn('unshare', [...flags, 'sh', '-c', script, hosts, ...program], { stdio: ['ignore', 'pipe', 'inherit'] })
    const end = (): void => void child.kill('SIGKILL')
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end)
    let text = ''
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8')
    })
    const code = await new Promise<number | null>((settle, refuse) => {
      child.once('error', refuse)
      child.once('close', settle)
    })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.removeListener(signal, end)
    // Why was said by the process itself.
    if (code !== 0) throw new QuietFailure()
    return JSON.parse(text) as DrillAnswer
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

function whyNoNamespace(): string | undefined {
  if (process.platform !== 'linux') return 'this is not Linux'
  const flags = ['--map-root-user', '--net', '--mount', '--pid', '--fork', '--kill-child']
  const tried = spawnSync('unshare', [...flags, 'ip', 'link', 'set', 'lo', 'up'], { encoding: 'utf8' })
  if (tried.error !== undefined) return 'unshare is not installed'
  return tried.status === 0 ? undefined : `a network namespace cannot be had (${(tried.stderr ?? '').trim().split('\n')[0]})`
}

const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`

/** Whether a family is told in the hosts file or given to loopback. */
export const isLiteral = (host: string): boolean => isIP(host) !== 0

function describe({ images, restored, rtoMs, rpoMs, lostTransactions, problems }: DrillReport): string {
  const lines = images.map(({ node, atMs, ageMs }) => `${node}  image of ${new Date(atMs).toISOString()}, ${seconds(ageMs)} old`)
  if (restored !== null) {
    const { nodes, openedMs, upMs, secret, object, imageHeight, height } = restored
    lines.push(
      `restored  ${nodes} nodes up to block ${imageHeight}, ${seconds(openedMs)} to open and write, ${seconds(upMs)} until they agreed on block ${height}`,
    )
    if (secret !== null) lines.push(`secret    ${secret.name} opened, version ${secret.version}, ${secret.bytes} bytes`)
    if (object !== null) lines.push(`object    ${object.path} read, ${object.bytes} bytes`)
    lines.push(`time      ${seconds(rtoMs ?? 0)} (RTO; at most ${seconds(RTO_MS_MAX)})`)
  }
  const lost = lostTransactions === null ? 'transactions not counted' : `${lostTransactions} transactions`
  lines.push(`loss      ${seconds(rpoMs)}, ${lost} (RPO; at most ${seconds(RPO_MS_MAX)})`)
  lines.push(...problems.map((line) => `problem   ${line}`), problems.length === 0 ? 'good' : 'NOT good')
  return lines.join('\n')
}

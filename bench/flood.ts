/**
 * `npm run bench:flood`: what a validator that floods the others costs them. Four validators, a process each, with real links
 * and disks: three honest ones, to which transactions are offered at a fixed rate, and one that has a true key, votes for
 * nothing, and sends one kind of message as fast as it can. `--kinds a,b`, `--rounds N`, `--seconds N`, `--rate N`.
 */

import { type ChildProcess, fork, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { endUsage, readOptions, text, whole } from '../tools/options.ts'
import { quantile } from '../tools/quantile.ts'
import type { OfferOrder, OfferResult } from './flood-honest.ts'
import type { FloodKind, FloodOrder, FloodResult } from './flood-hostile.ts'
import { type NodeConfig, newRing } from './test-ring.ts'

const KINDS: readonly FloodKind[] = [
  'garbage bytes',
  'empty messages',
  'badly signed votes',
  'contradicting votes',
  'votes far ahead',
  'old messages again',
  'forged certificates',
  'huge proposals',
  'badly signed transactions',
  'final transactions again',
  'sync: status',
  'sync: blocks',
  'sync: block',
  'gossip',
]
/** Rounds of the hostile one end by time: short, so that what the others do shows beside it. */
const ROUND_MS = 400

interface Part {
  readonly times: number[]
  failed: number
  cpuMs: number
  sent: number
  sentBytes: number
  seconds: number
  rssBytes: number
}

const HONEST = 3

function joined(parts: readonly Part[]): Part {
  const all = fresh()
  for (const { times, failed, cpuMs, sent, sentBytes, seconds, rssBytes } of parts) {
    all.times.push(...times)
    all.failed += failed
    all.cpuMs += cpuMs
    all.sent += sent
    all.sentBytes += sentBytes
    all.seconds += seconds
    all.rssBytes = Math.max(all.rssBytes, rssBytes)
  }
  return all
}

const fresh = (): Part => ({ times: [], failed: 0, cpuMs: 0, sent: 0, sentBytes: 0, seconds: 0, rssBytes: 0 })

async function main(): Promise<void> {
  const options = readOptions({ kinds: text(''), rounds: whole(3), seconds: whole(3), rate: whole(150) })
  const wanted = options.kinds.split(',')
  const kinds = KINDS.filter((kind) => wanted.some((part) => kind.includes(part)))
  if (kinds.length === 0) endUsage(`--kinds ${options.kinds}: expected parts of ${KINDS.join(', ')}`)
  const { rounds, seconds, rate } = options
  const lastCore = cpus().length - 1
  const canPin = process.platform === 'linux' && lastCore > 0 && spawnSync('taskset', ['-V'], { stdio: 'ignore' }).status === 0
  const cores = canPin
    ? `The hostile one has core ${lastCore} to itself, the honest the other${lastCore > 1 ? 's' : ''}`
    : 'All share the cores'
  process.stdout.write(
    `3 honest validators, ${rate} transactions/s offered to them together; a fourth that votes for nothing, so that every fourth round ends by time (${ROUND_MS} ms).\n` +
      'It spends 4 of 10 ms on its flood, or, silent, on an empty loop: both cost the machine the same, so what differs is what the flood costs those who receive it.\n' +
      `${cores}. A ring for each kind, ${rounds} rounds of ${seconds} s silent and flooded in turn, new links each time. Time from submission to the block on the submitter’s disk; CPU of the three honest together for each transaction, and what the flood adds to the CPU of each, of one core. Changes are the median over rounds of flooded against the silent phase before it.\n\n`,
  )
  const line = (...texts: readonly string[]) =>
    process.stdout.write(
      `${texts[0]?.padEnd(27)}${texts
        .slice(1)
        .map((text) => text.padStart(15))
        .join('')}\n`,
    )
  line('flood', 'sent a second', 'p50 ms', 'p99 ms', 'tx/s', 'CPU ms/tx', 'p50', 'CPU', 'of a core')
  for (const kind of kinds) {
    const pairs = await compare(kind, { rounds, seconds, rate, lastCore: canPin ? lastCore : undefined })
    const pair = (of: (part: Part) => string): string => `${of(silent)} → ${of(flood)}`
    const [silent, flood] = [joined(pairs.map((each) => each.silent)), joined(pairs.map((each) => each.flood))]
    const change = (of: (part: Part) => number): string => {
      const median = quantile(
        pairs.map((each) => of(each.flood) / of(each.silent) - 1),
        0.5,
      )
      return `${median > 0 ? '+' : ''}${(median * 100).toFixed(0)} %`
    }
    const perSecond = ({ cpuMs, seconds: taken }: Part): number => cpuMs / taken
    const added = quantile(
      pairs.map((each) => perSecond(each.flood) - perSecond(each.silent)),
      0.5,
    )
    const megabytes = flood.sentBytes / rounds / 1e6
    line(
      kind,
      `${(flood.sent / rounds / 1_000).toFixed(1)}k ${megabytes < 10 ? megabytes.toFixed(1) : megabytes.toFixed(0)} MB`,
      pair(({ times }) => quantile(times, 0.5).toFixed(0)),
      pair(({ times }) => quantile(times, 0.99).toFixed(0)),
      pair(({ times, failed, seconds: taken }) => ((times.length - failed) / taken).toFixed(0)),
      pair(({ cpuMs, times }) => (cpuMs / times.length).toFixed(2)),
      change(({ times }) => quantile(times, 0.5)),
      change(({ cpuMs, times }) => cpuMs / times.length),
      `${(added / HONEST / 10).toFixed(1)} %`,
    )
    if (flood.failed > 0) process.stdout.write(`  ${flood.failed} transactions were not final in 20 s\n`)
  }
}

interface Settings {
  readonly rounds: number
  readonly seconds: number
  readonly rate: number
  /** Core of the hostile one; undefined when all share. */
  readonly lastCore: number | undefined
}

/** A ring of its own, so that what one kind of flood leaves behind (a peer not listened to any more) does not help against the next. */
async function compare(
  kind: FloodKind,
  { rounds, seconds, rate, lastCore }: Settings,
): Promise<readonly { readonly silent: Part; readonly flood: Part }[]> {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-bench-flood-'))
  const ring = await newRing(root, 4, ROUND_MS)
  const start = async (file: string, config: NodeConfig, core: string | undefined): Promise<ChildProcess> => {
    const child = fork(join(import.meta.dirname, file), [JSON.stringify(config)])
    await once(child, 'message')
    if (core !== undefined) spawnSync('taskset', ['-a', '-p', '-c', core, String(child.pid)], { stdio: 'ignore' })
    return child
  }
  const answer = (child: ChildProcess): Promise<{ readonly kind: string; readonly result: unknown }> =>
    once(child, 'message').then(([message]) => message as { kind: string; result: unknown })
  const honestCores = lastCore === undefined ? undefined : lastCore === 1 ? '0' : `0-${lastCore - 1}`
  const honest = await Promise.all(ring.slice(0, HONEST).map((config) => start('flood-honest.ts', config, honestCores)))
  let next = 0
  const offer = async (child: ChildProcess): Promise<OfferResult> => {
    child.send({ perSecond: rate / honest.length, seconds, from: next } satisfies OfferOrder)
    next += Math.ceil(rate * seconds)
    return (await answer(child)).result as OfferResult
  }
  const phase = async (order: FloodOrder['kind']): Promise<Part> => {
    const into = fresh()
    // New links each time: what waits in those of the last flood would go on.
    const hostile = await start('flood-hostile.ts', ring[3] as NodeConfig, lastCore === undefined ? undefined : String(lastCore))
    try {
      await new Promise((wake) => setTimeout(wake, 1_200))
      hostile.send({ kind: order, seconds: seconds + 0.5 } satisfies FloodOrder)
      await answer(hostile)
      const flooding = answer(hostile)
      await new Promise((wake) => setTimeout(wake, 300))
      const began = performance.now()
      const results = await Promise.all(honest.map(offer))
      into.seconds += (performance.now() - began) / 1_000
      const flood = (await flooding).result as FloodResult
      for (const { times, failed, cpuMs, rssBytes } of results) {
        into.times.push(...times)
        into.failed += failed
        into.cpuMs += cpuMs
        into.rssBytes = Math.max(into.rssBytes, rssBytes)
      }
      into.sent += flood.messages / (seconds + 0.5)
      into.sentBytes += flood.bytes / (seconds + 0.5)
      return into
    } finally {
      hostile.kill('SIGKILL')
      await once(hostile, 'exit')
    }
  }
  try {
    await phase('silent')
    const pairs: { readonly silent: Part; readonly flood: Part }[] = []
    for (let i = 0; i < rounds; i += 1) pairs.push({ silent: await phase('silent'), flood: await phase(kind) })
    return pairs
  } finally {
    for (const child of honest) child.send('stop')
    await Promise.all(honest.map((child) => (child.exitCode === null ? once(child, 'exit') : undefined)))
    rmSync(root, { recursive: true, force: true })
  }
}

await main()

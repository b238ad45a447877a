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
import { parseArgs } from 'node:util'
import type { OfferOrder, OfferResult } from './flood-honest.ts'
import type { FloodKind, FloodOrder, FloodResult } from './flood-hostile.ts'
import { newRing, quantile } from './test-ring.ts'

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
const ROUND_MS = 150

interface Part {
  readonly times: number[]
  failed: number
  cpuMs: number
  sent: number
  sentBytes: number
  seconds: number
  rssBytes: number
}

const fresh = (): Part => ({ times: [], failed: 0, cpuMs: 0, sent: 0, sentBytes: 0, seconds: 0, rssBytes: 0 })

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kinds: { type: 'string', default: '' },
      rounds: { type: 'string', default: '3' },
      seconds: { type: 'string', default: '3' },
      rate: { type: 'string', default: '150' },
    },
  })
  const wanted = values.kinds.split(',')
  const kinds = KINDS.filter((kind) => wanted.some((part) => kind.includes(part)))
  if (kinds.length === 0) throw new Error(`no kind of flood has a name with ${values.kinds} in it: ${KINDS.join(', ')}`)
  const [rounds, seconds, rate] = [Number(values.rounds), Number(values.seconds), Number(values.rate)]
  const root = mkdtempSync(join(tmpdir(), 'ringwall-bench-flood-'))
  const ring = await newRing(root, 4, ROUND_MS)
  const start = (config: (typeof ring)[number], i: number): ChildProcess =>
    fork(join(import.meta.dirname, i === 3 ? 'flood-hostile.ts' : 'flood-honest.ts'), [JSON.stringify(config)])
  const children = ring.map(start)
  const honest = children.slice(0, 3)
  const hostile = children[3] as ChildProcess
  const pinned = pin(honest, hostile)
  const answer = (child: ChildProcess): Promise<{ readonly kind: string; readonly result: unknown }> =>
    once(child, 'message').then(([message]) => message as { kind: string; result: unknown })
  let next = 0
  const offer = async (child: ChildProcess): Promise<OfferResult> => {
    next += Math.round(rate * seconds)
    child.send({ perSecond: rate / honest.length, seconds, from: next } satisfies OfferOrder)
    return (await answer(child)).result as OfferResult
  }
  const phase = async (kind: FloodOrder['kind'], into: Part): Promise<void> => {
    hostile.send({ kind, seconds: seconds + 0.5 } satisfies FloodOrder)
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
  }
  try {
    await Promise.all(children.map((child) => once(child, 'message')))
    await phase('silent', fresh())
    process.stdout.write(
      `3 honest validators, ${rate} transactions/s offered to them together; a fourth that votes for nothing, so that every fourth round ends by time (${ROUND_MS} ms).\n` +
        `It spends 4 of 10 ms on its flood, or, silent, on an empty loop: both cost the machine the same, so what differs is what the flood costs those who receive it.\n` +
        `${pinned}. Medians and 99th percentiles of the time from submission to the block on the submitter’s disk, ${rounds} interleaved rounds of ${seconds} s; CPU of the three honest together.\n\n`,
    )
    const line = (...cells: readonly string[]) =>
      process.stdout.write(
        `${cells[0]?.padEnd(27)}${cells
          .slice(1)
          .map((cell) => cell.padStart(15))
          .join('')}\n`,
      )
    line('flood', 'sent a second', 'p50 ms', 'p99 ms', 'tx/s', 'CPU s/s', 'p50 change')
    for (const kind of kinds) {
      const silent = fresh()
      const flood = fresh()
      for (let i = 0; i < rounds; i += 1) {
        await phase('silent', silent)
        await phase(kind, flood)
      }
      const pair = (of: (part: Part) => string): string => `${of(silent)} → ${of(flood)}`
      const change = quantile(flood.times, 0.5) / quantile(silent.times, 0.5) - 1
      const megabytes = flood.sentBytes / rounds / 1e6
      line(
        kind,
        `${(flood.sent / rounds / 1_000).toFixed(1)}k ${megabytes < 10 ? megabytes.toFixed(1) : megabytes.toFixed(0)} MB`,
        pair(({ times }) => quantile(times, 0.5).toFixed(0)),
        pair(({ times }) => quantile(times, 0.99).toFixed(0)),
        pair(({ times, failed, seconds: taken }) => ((times.length - failed) / taken).toFixed(0)),
        pair(({ cpuMs, seconds: taken }) => (cpuMs / taken / 1_000).toFixed(2)),
        `${change > 0 ? '+' : ''}${(change * 100).toFixed(0)} %`,
      )
      if (flood.failed > 0) process.stdout.write(`  ${flood.failed} transactions were not final in 20 s\n`)
    }
  } finally {
    for (const child of children) child.send('stop')
    await Promise.all(children.map((child) => (child.exitCode === null ? once(child, 'exit') : undefined)))
    rmSync(root, { recursive: true, force: true })
  }
}

/** The hostile one on a core of its own, where the system can: its work then takes nothing from the others. */
function pin(honest: readonly ChildProcess[], hostile: ChildProcess): string {
  const last = cpus().length - 1
  if (last < 1 || process.platform !== 'linux') return 'All share the cores'
  const set = (child: ChildProcess, list: string): boolean =>
    spawnSync('taskset', ['-a', '-p', '-c', list, String(child.pid)], { stdio: 'ignore' }).status === 0
  const good = [...honest.map((child) => set(child, last === 1 ? '0' : `0-${last - 1}`)), set(hostile, String(last))].every(
    Boolean,
  )
  return good ? `The hostile one has core ${last} to itself, the honest the other${last > 1 ? 's' : ''}` : 'All share the cores'
}

await main()

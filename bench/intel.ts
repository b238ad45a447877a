/**
 * What a set of indicators costs: `--indicators N` addresses and prefixes (1,000,000 unless said otherwise; nine of ten IPv4, one in ten a
 * prefix) loaded from a list, a tenth as many from STIX bundles, and looked up. Time is CPU time of this process; memory is what its resident
 * set grew by, at its highest while loading and afterwards.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { IndicatorSet } from '@ringwall/detect'
import { loadIndicators } from '../packages/node/src/indicators/indicator-loader.ts'
import { readOptions, whole } from '../tools/options.ts'

const { indicators } = readOptions({ indicators: whole(1_000_000, 1_000, 5_000_000) })
const MIB = 1_048_576
const LOOKUPS = 1_000_000

let seed = 42
/** A plain generator (Numerical Recipes): each run is the same. */
const random = (): number => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0)
const byte = (): number => random() >>> 24

function address(at: number): string {
  if (at % 10 === 0)
    return `2001:db8:${(random() >>> 16).toString(16)}:${(random() >>> 16).toString(16)}::${(random() >>> 16).toString(16)}`
  if (at % 10 === 1) return `${1 + (byte() % 222)}.${byte()}.${byte()}.0/24`
  return `${1 + (byte() % 222)}.${byte()}.${byte()}.${byte()}`
}

const folder = mkdtempSync(join(tmpdir(), 'ringwall-intel-'))
let highest = 0
const watch = setInterval(() => (highest = Math.max(highest, process.memoryUsage.rss())), 20)

async function load(name: string, path: string, format: 'list' | 'stix'): Promise<IndicatorSet> {
  globalThis.gc?.()
  const before = process.memoryUsage.rss()
  highest = before
  const begun = process.cpuUsage()
  const { parts, report } = await loadIndicators(
    { name, path, format, confidence: 50, ttlMs: undefined, indicatorsMax: 5_000_000 },
    Date.now(),
  )
  const { user, system } = process.cpuUsage(begun)
  highest = Math.max(highest, process.memoryUsage.rss())
  const set = new IndicatorSet(parts)
  globalThis.gc?.()
  const [peak, after] = [highest - before, process.memoryUsage.rss() - before].map((bytes) => Math.round(bytes / MIB))
  process.stdout.write(
    `intel::load/format=${format} indicators=${set.size} repeated=${report.repeated}: ${((user + system) / 1e6).toFixed(2)} s, tables ${Math.round(set.bytes / MIB)} MiB, grew by ${peak} MiB at most, ${after} MiB afterwards\n`,
  )
  return set
}

function lookUp(name: string, set: IndicatorSet, words: readonly (readonly [4 | 6, readonly number[]])[]): void {
  let found = 0
  const slowest: number[] = []
  const begun = process.cpuUsage()
  for (let round = 0; round < LOOKUPS; round += 1) {
    const [version, of] = words[round % words.length]!
    if (set.match(version, of, 0, 0) !== undefined) found += 1
  }
  const { user, system } = process.cpuUsage(begun)
  for (let round = 0; round < 100_000; round += 1) {
    const [version, of] = words[round % words.length]!
    const at = performance.now()
    set.match(version, of, 0, 0)
    slowest.push(performance.now() - at)
  }
  slowest.sort((a, b) => a - b)
  const p99 = slowest[Math.floor(slowest.length * 0.99)]! * 1_000
  process.stdout.write(
    `intel::match/${name} indicators=${set.size}: ${(((user + system) * 1_000) / LOOKUPS).toFixed(0)} ns each, p99 ${p99.toFixed(2)} µs, ${Math.round((100 * found) / LOOKUPS)} % found\n`,
  )
}

try {
  const list = join(folder, 'list.txt')
  const lines: string[] = []
  const known: (readonly [4, readonly number[]])[] = []
  for (let at = 0; at < indicators; at += 1) {
    const text = address(at)
    lines.push(text)
    if (at % 100 === 5) known.push([4, [text.split('.').reduce((sum, octet) => sum * 256 + Number(octet), 0)]])
  }
  writeFileSync(list, `${lines.join('\n')}\n`)
  lines.length = 0
  const set = await load('list', list, 'list')
  lookUp('hit', set, known)
  lookUp(
    'miss/v4',
    set,
    Array.from({ length: 10_000 }, () => [4, [(0xe0000000 + (random() & 0xfffff)) >>> 0]] as const),
  )
  lookUp(
    'miss/v6',
    set,
    Array.from({ length: 10_000 }, () => [6, [0x20010000, random(), random(), random()]] as const),
  )

  const bundles = join(folder, 'bundles')
  mkdirSync(bundles)
  const perBundle = 20_000
  for (let from = 0; from < indicators / 10; from += perBundle) {
    const objects = Array.from({ length: Math.min(perBundle, indicators / 10 - from) }, (_, at) => ({
      type: 'indicator',
      spec_version: '2.1',
      id: `indicator--${String(from + at).padStart(12, '0')}`,
      name: `campaign ${at % 500}`,
      confidence: at % 100,
      pattern: `[ipv4-addr:value = '${1 + (byte() % 222)}.${byte()}.${byte()}.${byte()}']`,
      pattern_type: 'stix',
      valid_from: '2020-01-01T00:00:00Z',
      valid_until: '2100-01-01T00:00:00Z',
    }))
    writeFileSync(join(bundles, `${from}.json`), JSON.stringify({ type: 'bundle', id: 'bundle--1', objects }))
  }
  await load('stix', bundles, 'stix')
} finally {
  clearInterval(watch)
  rmSync(folder, { recursive: true, force: true })
}

/**
 * `npm run bench:edge`: what a node that only takes traffic costs while it idles, as a small device would be: one joins a ring of four as a device, and is left
 * alone. `--seconds` of looking, `--every` seconds between attestations. Limits: 150 MB of resident memory, 2 % of a core.
 */
import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { addressesAt, ask, CLI, eventually, freePorts, TestRing } from '../e2e/local-ring.ts'
import { readOptions, whole } from '../tools/options.ts'

const { seconds, every } = readOptions({ seconds: whole(60, 5, 3_600), every: whole(60, 1, 3_600) })
const SETTLE_MS = 20_000
const LIMITS = { bytes: 150e6, share: 0.02 } as const

interface Sample {
  readonly atMs: number
  readonly cpuMs: number
  readonly residentBytes: number
  readonly proportionalBytes: number
}

function sample(pid: number): Sample {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // After the name, which may hold anything: user and system time in hundredths of a second.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const kilobytes = (file: string, name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(readFileSync(file, 'utf8'))?.[1] ?? 0)
  return {
    atMs: performance.now(),
    cpuMs: (Number(fields[11]) + Number(fields[12])) * 10,
    residentBytes: kilobytes(`/proc/${pid}/status`, 'VmRSS') * 1_024,
    proportionalBytes: kilobytes(`/proc/${pid}/smaps_rollup`, 'Pss') * 1_024,
  }
}

function done(run: { readonly code: number; readonly stdout: string; readonly stderr: string }): string {
  if (run.code !== 0) throw new Error(run.stderr)
  return run.stdout.trim()
}

const ring = await TestRing.start()
const at = (name: string): string => join(ring.data, name)
let child: ReturnType<typeof spawn> | undefined
try {
  const key = done(ring.cliAlone('device', 'manufacturer', 'acme', '--directory', at('factory')))
  const { text } = await ring.client(1).policy()
  const devices = `devices:\n  attestation: { least: software, every: ${every}s }\n  manufacturers:\n    - { name: acme, key: ${key} }\n`
  writeFileSync(at('ringwall.yaml'), `${text}\n${devices}`)
  done(ring.cli('policy', 'apply', at('ringwall.yaml'), '--yes'))
  writeFileSync(at('ring.json'), done(ring.cli('device', 'address')))
  done(ring.cliAlone('device', 'make', 'E-1', '--manufacturer', at('factory'), '--directory', at('E-1')))
  const voucher = join(at('E-1'), 'voucher.json')
  done(ring.cliAlone('device', 'ship', voucher, '--key', at('factory/manufacturer.key'), '--to', at('ring.json')))
  done(ring.cli('device', 'register', voucher, '--region', 'eu-west'))
  const base = await freePorts(1)
  const flags = ['--disable-warning=ExperimentalWarning']
  const node = spawn(process.execPath, [...flags, CLI, 'node', '--device', at('E-1'), ...addressesAt(base)], { stdio: 'ignore' })
  child = node
  await eventually('it is ready', async () => (await ask(base + 1_001, '/readyz')).status === 200, 120_000)
  await sleep(SETTLE_MS)
  const before = sample(node.pid as number)
  let most = before
  while (performance.now() - before.atMs < seconds * 1_000) {
    await sleep(1_000)
    const now = sample(node.pid as number)
    if (now.residentBytes > most.residentBytes) most = now
  }
  const after = sample(node.pid as number)
  const share = (after.cpuMs - before.cpuMs) / (after.atMs - before.atMs)
  const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
  const verdict = (isGood: boolean): string => (isGood ? 'within' : 'OVER')
  process.stdout.write(
    [
      `an idle edge node over ${seconds} s, attesting by software every ${every} s`,
      `memory  resident ${megabytes(after.residentBytes)}, at most ${megabytes(most.residentBytes)}; its share of what is shared ${megabytes(after.proportionalBytes)}: ${verdict(most.residentBytes <= LIMITS.bytes)} ${megabytes(LIMITS.bytes)}`,
      `cpu     ${(share * 100).toFixed(2)} % of a core: ${verdict(share <= LIMITS.share)} ${LIMITS.share * 100} %`,
      '',
    ].join('\n'),
  )
} finally {
  child?.kill('SIGKILL')
  await ring.destroy()
}

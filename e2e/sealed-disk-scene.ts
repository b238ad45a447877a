/**
 * Sealed disks under attack: a real ring of four whose disks the ring opens, with canaries in policy, traces and secrets, and a thief who takes the
 * folder of a node, all its key files with it.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { genesisHash, parseGenesis } from '@ringwall/ring'
import { filesOf, openStolen } from './disk-thief.ts'
import { ask, CLI, eventually, type TestRing } from './local-ring.ts'

export interface Found {
  readonly files: number
  readonly bytes: number
  /** Canaries that were found, and where. */
  readonly canaries: ReadonlyMap<string, string>
  readonly locked: string | undefined
}

export const ringName = (ring: TestRing): string =>
  genesisHash(parseGenesis(readFileSync(join(ring.data, 'genesis.json'), 'utf8')))

/** A copy of the folder, key file and all. */
export function imageOf(ring: TestRing, node: number): string {
  const image = mkdtempSync(join(tmpdir(), 'ringwall-image-'))
  cpSync(join(ring.data, `n${node}`), image, { recursive: true })
  return image
}

/** Goes through all of an image, as it lies there and as it reads for whoever has the key files in it. */
export async function search(image: string, name: string, node: number, canaries: readonly string[]): Promise<Found> {
  const disk = await openStolen(image, name, `n${node}`)
  const found = new Map<string, string>()
  let files = 0
  let bytes = 0
  for await (const { path, raw, opened } of filesOf(image, disk)) {
    files += 1
    bytes += raw.length
    for (const content of [raw, ...(opened === undefined ? [] : [opened])])
      for (const canary of canaries) {
        const plain = Buffer.from(canary)
        const forms = [plain, plain.toString('hex'), plain.toString('base64').slice(0, 20), Buffer.from(canary, 'utf16le')]
        if (forms.some((form) => content.includes(form))) found.set(canary, path)
      }
  }
  return { files, bytes, canaries: found, locked: disk.locked }
}

/** In the policy, in traces. Resolves when both are on the disk of every node. */
export async function plant(ring: TestRing, canaries: { readonly policy: string; readonly trace: string }): Promise<void> {
  const client = ring.client(1)
  const { text, version } = await client.policy()
  await client.policyApply(`${text}\n# ${canaries.policy}\n`, version)
  for (let node = 1; node <= ring.nodes; node += 1) {
    await ask(ring.traffic(node), `/${canaries.trace}?q=<script>alert(1)</script>`)
    await eventually(`the trace on n${node}`, async () => {
      const { decisions } = await ring.client(node).decisions({ limit: 50 })
      return decisions.some(({ path }) => path.includes(canaries.trace))
    })
  }
}

/** The policy asks for the ring's sealing key; every node hands its disk to it. */
export async function sealByRing(ring: TestRing): Promise<void> {
  const client = ring.client(1)
  await eventually('the signing key', async () => (await client.keys()).keys[0]?.state === 'ready', 60_000)
  const { text, version } = await client.policy()
  await client.policyApply(`${text}\nvault:\n  disks: true\n`, version)
  await eventually('the disks are kept by the ring', async () => (await client.disks()).disks.length === ring.nodes, 60_000)
  for (let node = 1; node <= ring.nodes; node += 1)
    await eventually(`n${node} says so`, () =>
      readFileSync(join(ring.data, `n${node}`, 'disk.json'), 'utf8').includes('"local": null'),
    )
}

/** Starts a node as an operator would; its exit code and what it said on standard error. Ends it after `msMax`. */
export function tryStart(config: string, msMax: number): Promise<{ readonly code: number | null; readonly said: string }> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', CLI, 'node', '--config', config], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString('utf8')))
  return new Promise((settle) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), msMax)
    child.once('close', (code) => {
      clearTimeout(timer)
      settle({ code, said })
    })
  })
}

/** Milliseconds from the start of a node's process until it serves again. */
export async function timedRestart(ring: TestRing, node: number): Promise<number> {
  const began = performance.now()
  await ring.restart(node)
  await eventually(`n${node} is ready`, async () => (await ask(ring.base + 1_000 + node, '/readyz')).status === 200, 60_000)
  return performance.now() - began
}

export function remove(...folders: readonly string[]): void {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true })
}

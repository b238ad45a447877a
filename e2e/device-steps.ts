/** What scenes with devices do alike: a device is made, shipped and registered, and powered on. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import { addressesAt, ask, CLI, eventually, freePorts, NODE_FLAGS, type TestRing } from './local-ring.ts'

/** What a command printed that has to succeed. */
export function done(run: { readonly code: number; readonly stdout: string; readonly stderr: string }): string {
  assert.equal(run.code, 0, run.stderr)
  return run.stdout.trim()
}

/**
 * Made in a factory, shipped, registered: all that is left is power. The factory's key and the ring's description are where the scene put them.
 *
 * @param more Of `device make`.
 * @returns The device's folder.
 */
export function shipDevice(ring: TestRing, serial: string, more: readonly string[] = []): string {
  const at = (name: string): string => join(ring.data, name)
  const directory = at(serial)
  done(ring.cliAlone('device', 'make', serial, '--manufacturer', at('factory'), '--directory', directory, ...more))
  const to = ['--key', at('factory/manufacturer.key'), '--to', at('ring.json')]
  done(ring.cliAlone('device', 'ship', join(directory, 'voucher.json'), ...to))
  done(ring.cli('device', 'register', join(directory, 'voucher.json'), '--region', 'eu-west'))
  return directory
}

export interface PoweredOn {
  /** Port of the application through it. */
  readonly traffic: number
  readonly servedMs: number
}

/**
 * Resolves once it serves the application, and the ring has it.
 *
 * @param more Of `node`. @param onChild Is told of its process at once, to end it.
 */
export async function powerOnDevice(
  ring: TestRing,
  directory: string,
  { more = [], cli = CLI, onChild }: { more?: readonly string[]; cli?: string; onChild: (child: ChildProcess) => void },
): Promise<PoweredOn> {
  const base = await freePorts(1)
  const beganAtMs = performance.now()
  const args = [...NODE_FLAGS, cli, 'node', '--device', directory, ...addressesAt(base), ...more]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  onChild(child)
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said += String(chunk)
  })
  await eventually(
    `${directory} serves`,
    async () => {
      if (child.exitCode !== null) throw new Error(said)
      // It answers by the genesis policy before the ring has it: that does not count.
      const { devices } = await ring.client(1).enrolment()
      const isJoined = devices.some(({ serial, status }) => directory.endsWith(`/${serial}`) && status === 'joined')
      return isJoined && (await ask(base + 1, '/')).status === 200
    },
    120_000,
  ).catch((error: Error) => {
    throw new Error(`${error.message}\n${said}`)
  })
  return { traffic: base + 1, servedMs: performance.now() - beganAtMs }
}

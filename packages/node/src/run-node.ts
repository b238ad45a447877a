/** Runs one node in the foreground until a signal, or until the ring that started it is gone. */
import { flushCompileCache } from 'node:module'
import { readNodeConfig } from './config.ts'
import { StartError } from './errors.ts'
import { tellLauncher } from './fleet/launcher-messages.ts'
import { startNode } from './node.ts'
import type { RunningNode } from './running-node.ts'

const STOP_MS_MAX = 6_000

/** @returns The exit code. Failures to start are one line on stderr, without a stack. */
export async function runNode(configFile: string, takeOver = false): Promise<number> {
  try {
    const node = await startNode({ ...readNodeConfig(configFile), takeOver })
    tellLauncher({ type: 'serving' })
    keepCompiled()
    // One that was wiped has nothing left to close in order.
    if ((await Promise.race([untilAskedToStop(node), node.wiped.then(() => 'wiped')])) === 'wiped') process.exit(0)
    const timer = setTimeout(() => process.exit(1), STOP_MS_MAX)
    await node.stop()
    clearTimeout(timer)
    return 0
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const known = error instanceof StartError || 'code' in error
    process.stderr.write(`ringwall: ${known ? error.message : `cannot start: ${error.message}`}\n`)
    return 1
  }
}

/** What was compiled is written now: otherwise at the end, which a crash does not wait for. */
export function keepCompiled(): void {
  flushCompileCache()
}

/**
 * Until SIGINT or SIGTERM, or until the parent that holds our IPC channel ends. SIGHUP is the end, too, for who runs on a
 * terminal, which has hung up; service managers send it to have files read again. SIGUSR2 lets go of the data for another process.
 */
export function untilAskedToStop(node: Pick<RunningNode, 'proxy' | 'handOver' | 'events'>): Promise<void> {
  return new Promise((settle) => {
    process.once('SIGUSR2', () => {
      const done = 'handed over: another process may start with this data (--take-over); SIGTERM ends this one'
      node.handOver().then(
        () => {
          node.events.add('node', 'info', done)
          tellLauncher({ type: 'handed-over' })
        },
        (error: Error) => node.events.add('node', 'bad', `handing over failed: ${error.message}`),
      )
    })
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => settle())
    process.on('SIGHUP', () => {
      if (process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY) settle()
      else node.proxy.reloadCertificates()
    })
    if (process.connected) process.once('disconnect', () => settle())
  })
}

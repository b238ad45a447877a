/** Runs one node in the foreground until a signal, or until the ring that started it is gone. */
import { readNodeConfig } from './config.ts'
import { StartError } from './errors.ts'
import { startNode } from './node.ts'

const STOP_MS_MAX = 6_000

/** @returns The exit code. Failures to start are one line on stderr, without a stack. */
export async function runNode(configFile: string): Promise<number> {
  try {
    const node = await startNode(readNodeConfig(configFile))
    await untilAskedToStop(() => node.proxy.reloadCertificates())
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

/**
 * Until SIGINT or SIGTERM, or until the parent that holds our IPC channel ends. SIGHUP is the end, too, for who runs on a
 * terminal, which has hung up; service managers send it to have files read again.
 */
export function untilAskedToStop(reload: () => void): Promise<void> {
  return new Promise((settle) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => settle())
    process.on('SIGHUP', () => {
      if (process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY) settle()
      else reload()
    })
    if (process.connected) process.once('disconnect', () => settle())
  })
}

/** `ringwall sidecar --config FILE`: runs in the foreground until a signal. */
import { StartError } from '../errors.ts'
import { readSidecarConfig } from './config.ts'
import { Sidecar } from './sidecar.ts'

/** @returns The exit code. Failures to start are one line on stderr, without a stack. */
export async function runSidecar(configFile: string): Promise<number> {
  const began = performance.now()
  const stop = new Promise<'stop'>((settle) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => settle('stop'))
    if (process.connected) process.once('disconnect', () => settle('stop'))
  })
  try {
    const say = (level: 'info' | 'warn', line: string): void =>
      void process.stderr.write(`ringwall sidecar: ${level === 'warn' ? 'warning: ' : ''}${line}\n`)
    const sidecar = new Sidecar(readSidecarConfig(configFile), { say })
    const ways = await Promise.race([sidecar.start(), stop])
    if (ways !== 'stop') {
      const seconds = ((performance.now() - began) / 1_000).toFixed(2)
      process.stdout.write(
        `${[`Ringwall speaks for ${sidecar.spiffeId}`, ...ways.map((way) => `  ${way}`), `ready in ${seconds} s`].join('\n')}\n`,
      )
      await stop
    }
    await sidecar.stop()
    return 0
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const known = error instanceof StartError || 'code' in error
    process.stderr.write(`ringwall: ${known ? error.message : `the sidecar cannot start: ${error.message}`}\n`)
    return 1
  }
}

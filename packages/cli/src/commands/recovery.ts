/** Images of a node, once or again and again. */
import { setTimeout as sleep } from 'node:timers/promises'
import { UsageError } from '../errors.ts'

const EVERY_MS_MIN = 1_000

/** @param everyMs Between the beginnings of two; undefined: one, and done. One that fails is said, and the next one is tried in time. */
export async function recoveryBackup(config: string, key: string, to: string, everyMs: number | undefined): Promise<void> {
  if (everyMs !== undefined && everyMs < EVERY_MS_MIN) throw new UsageError('--every: expected at least 1s')
  const { backupNode } = await import('@ringwall/node')
  const once = async (): Promise<void> => {
    const { file, files, bytes, written } = await backupNode(config, key, to)
    process.stdout.write(`${file}\n`)
    process.stderr.write(`${files} files, ${bytes} bytes, of which ${written} are new; read back\n`)
  }
  if (everyMs === undefined) return once()
  for (;;) {
    const startedMs = performance.now()
    await once().catch((error: Error) => void process.stderr.write(`ringwall: no image was made: ${error.message}\n`))
    await sleep(Math.max(0, startedMs + everyMs - performance.now()))
  }
}

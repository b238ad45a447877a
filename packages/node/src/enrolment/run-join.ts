/** `ringwall node join`: makes the node, runs it, and has the ring take it in. */
import { StartError } from '../errors.ts'
import { keepCompiled, untilAskedToStop } from '../run-node.ts'
import { type JoiningNode, type JoinWishes, joinRing } from './join-ring.ts'

const STOP_MS_MAX = 6_000

/** @returns The exit code. Failures are one line on stderr, without a stack. */
export async function runJoin(line: string, wishes: JoinWishes): Promise<number> {
  const beganAtMs = performance.now()
  return runJoining(() => joinRing(line, wishes), beganAtMs)
}

export async function runJoining(begin: () => Promise<JoiningNode>, beganAtMs: number): Promise<number> {
  let joining: JoiningNode | undefined
  try {
    joining = await begin()
    const { entry, directory } = joining
    keepCompiled()
    const { height } = await joining.joined
    const seconds = ((performance.now() - beganAtMs) / 1_000).toFixed(1)
    const where = height === undefined ? '' : ` at height ${height}`
    process.stderr.write(
      `${entry.id} joined${where} after ${seconds} s, as ${entry.roles.join(' and ')} in ${entry.region}; its files are in ${directory}. Start it again with: ringwall node --config ${directory}/node.yaml\n`,
    )
    await untilAskedToStop(joining.node)
    const timer = setTimeout(() => process.exit(1), STOP_MS_MAX)
    await joining.node.stop()
    clearTimeout(timer)
    return 0
  } catch (error) {
    if (!(error instanceof Error)) throw error
    const known = error instanceof StartError || 'code' in error
    process.stderr.write(`ringwall: ${known ? error.message : `cannot join: ${error.message}`}\n`)
    await joining?.node.stop().catch(() => undefined)
    return 1
  }
}

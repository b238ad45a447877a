/** The program of an edge, as `becomeEdge` starts it: `node edge-main.ts PROGRAM`. It loads less than the command line does. */
import type { EdgeProgram } from './edge-process.ts'

const TIDY_MS = [5_000, 30_000, 70_000]
/** How often it looks whether it was busy, and is no more: by the share of the time that its thread had something to do. */
const LOOK_MS = 20_000
const BUSY_SHARE = 0.15
const QUIET_SHARE = 0.05
/** Code that was not run between so many collections is forgotten, and compiled again when it is. */
const TIDY_TIMES = 6

const program = JSON.parse(process.argv[2] ?? '{}') as EdgeProgram
// Traffic must not end because whoever read the log did.
process.stdout.on('error', () => undefined)
process.stderr.on('error', () => undefined)

// What starting took is garbage by then; the engine would keep it until it needs the room.
for (const afterMs of TIDY_MS) setTimeout(() => void globalThis.gc?.(), afterMs).unref()
setInterval(afterwards(), LOOK_MS).unref()
const status =
  'device' in program
    ? await import('../enrolment/run-device.ts').then(({ runDevice }) => runDevice(program.device, program.wishes))
    : await import('../run-node.ts').then(({ runNode }) => runNode(program.config, program.takeOver))
process.exit(status)

/** What requests left behind is garbage once they are over: to be called again and again. */
function afterwards(): () => void {
  let before = performance.eventLoopUtilization()
  let left = 0
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    if (utilization > BUSY_SHARE) left = TIDY_TIMES
    else if (left > 0 && utilization < QUIET_SHARE) {
      left -= 1
      globalThis.gc?.()
    }
  }
}

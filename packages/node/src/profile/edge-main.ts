/** The program of an edge, as `becomeEdge` starts it: `node edge-main.ts PROGRAM`. It loads less than the command line does. */
import { Worker } from 'node:worker_threads'
import { becomeEdge, EDGE_VARIABLE, type EdgeProgram } from './edge-process.ts'

const TIDY_MS = [5_000, 30_000, 70_000]
/** How often it looks whether it was busy, and is no more: by the share of the time that its thread had something to do. */
const LOOK_MS = 20_000
const BUSY_SHARE = 0.15
const QUIET_SHARE = 0.05

const program = JSON.parse(process.argv[2] ?? '{}') as EdgeProgram
// Traffic must not end because whoever read the log did.
process.stdout.on('error', () => undefined)
process.stderr.on('error', () => undefined)

const run =
  'device' in program
    ? await import('../enrolment/run-device.ts').then(
        ({ runDevice }) =>
          () =>
            runDevice(program.device, program.wishes),
      )
    : await import('../run-node.ts').then(
        ({ runNode }) =>
          () =>
            runNode(program.config, program.takeOver),
      )

/** Threads that a node starts at some time. */
const THREADS = [
  import.meta.resolve('@ringwall/telemetry/store-worker'),
  ...['signing/signing-worker', 'signing/ceremony-worker', 'vault/opening-worker', 'objects/object-worker'].map((name) =>
    import.meta.resolve(`../${name}.ts`),
  ),
]

/** What strips types stays in memory once it was used, some 20 MB: a version's first start strips all modules, and begins again. */
if (process.env[EDGE_VARIABLE] === 'cold' && hasStrippedTypes()) {
  await new Promise((settle) => {
    new Worker(new URL('./strip-worker.ts', import.meta.url), { workerData: THREADS }).once('error', settle).once('exit', settle)
  })
  becomeEdge(program, 'warm')
}
// What starting took is garbage by then; the engine would keep it until it needs the room.
for (const afterMs of TIDY_MS) setTimeout(() => void globalThis.gc?.(), afterMs).unref()
setInterval(afterwards(), LOOK_MS).unref()
process.exit(await run())

/** What requests left behind is garbage once they are over: to be called again and again. */
function afterwards(): () => void {
  let before = performance.eventLoopUtilization()
  let wasBusy = false
  return () => {
    const now = performance.eventLoopUtilization()
    const { utilization } = performance.eventLoopUtilization(now, before)
    before = now
    if (utilization > BUSY_SHARE) wasBusy = true
    else if (wasBusy && utilization < QUIET_SHARE) {
      wasBusy = false
      globalThis.gc?.()
    }
  }
}

function hasStrippedTypes(): boolean {
  const { moduleLoadList = [] } = process as { readonly moduleLoadList?: readonly string[] }
  return moduleLoadList.some((name) => name.includes('amaro'))
}

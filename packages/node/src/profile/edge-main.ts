/** The program of an edge, as `becomeEdge` starts it: `node edge-main.ts PROGRAM`. It loads less than the command line does. */
import { flushCompileCache } from 'node:module'
import { Worker } from 'node:worker_threads'
import { becomeEdge, EDGE_VARIABLE, type EdgeProgram } from './edge-process.ts'

const TIDY_MS = [5_000, 30_000, 70_000]

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

/** What strips types stays in memory once it was used, some 20 MB: a version's first start compiles all modules, and begins again. */
if (process.env[EDGE_VARIABLE] === 'cold' && hasStrippedTypes()) {
  await new Promise((settle) => {
    new Worker(new URL('./compile-worker.ts', import.meta.url), { workerData: THREADS })
      .once('error', settle)
      .once('exit', settle)
  })
  flushCompileCache()
  becomeEdge(program, 'warm')
}
// What starting took is garbage by then; the engine would keep it until it needs the room.
for (const afterMs of TIDY_MS) setTimeout(() => void globalThis.gc?.(), afterMs).unref()
process.exit(await run())

function hasStrippedTypes(): boolean {
  const { moduleLoadList = [] } = process as { readonly moduleLoadList?: readonly string[] }
  return moduleLoadList.some((name) => name.includes('amaro'))
}

/** Loads the programs of other threads, so that they are compiled, and ends: none of them does anything without what it is started with. */
import { flushCompileCache } from 'node:module'
import { workerData } from 'node:worker_threads'

for (const program of workerData as readonly string[]) await import(program).catch(() => undefined)
flushCompileCache()
process.exit()

/** Loads the programs of other threads, so that they are there as plain JavaScript, and ends: none of them does anything without what it is started with. */
import { workerData } from 'node:worker_threads'

for (const program of workerData as readonly string[]) await import(program).catch(() => undefined)
process.exit()

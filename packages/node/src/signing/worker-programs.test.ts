import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { Worker } from 'node:worker_threads'

const PROGRAMS = ['./signing-worker.ts', './ceremony-program.ts', '../vault/opening-worker.ts', '../objects/object-worker.ts']
/** What the policy is made of, and what reads configurations. */
const HEAVY = /\/packages\/(?:ring|ledger|guard|proxy|waf|identity)\/|\/node_modules\/(?:zod|yaml)\/|\/node\/src\/config\.ts$/

const LOADS = `
  const { registerHooks } = require('node:module')
  const { parentPort, workerData } = require('node:worker_threads')
  const urls = []
  registerHooks({ load(url, context, next) { urls.push(url); return next(url, context) } })
  import(workerData.program).then(() => parentPort.postMessage(urls))`

// A thread has a heap of its own, in which every module stands once more: all of these together are 25 MB.
for (const path of PROGRAMS)
  test(`${path} loads neither the policy nor what reads configurations`, async () => {
    const worker = new Worker(LOADS, { eval: true, workerData: { self: 'n1', program: new URL(path, import.meta.url).href } })
    const [urls] = (await once(worker, 'message')) as [readonly string[]]
    await worker.terminate()
    assert.ok(urls.length > 1)
    assert.deepEqual(
      urls.filter((url) => HEAVY.test(url)),
      [],
    )
  })

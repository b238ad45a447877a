/** The thread in which the store lives: takes messages in order, answers each. */
import { flushCompileCache } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { Store, type StoreOptions } from './store.ts'
import { isCorruption } from './store-file.ts'
import type { FromStore, StoreQuery, ToStore } from './store-messages.ts'

const RETENTION_EVERY_MS = 10_000
const port = parentPort!
const options = workerData as StoreOptions
const say = (message: FromStore): void => port.postMessage(message)

let store: Store | undefined = open()
let retention: NodeJS.Timeout | undefined
if (store !== undefined) {
  say({ kind: 'ready', putAside: store.putAside })
  // It would be written at the end, which a crash does not wait for.
  flushCompileCache()
  retention = setTimeout(retain, RETENTION_EVERY_MS)
}

port.on('message', (message: ToStore) => {
  if (message.kind === 'insert') insert(message)
  else answer(message.id, message.query)
})

function open(): Store | undefined {
  try {
    return new Store(options, Date.now())
  } catch (error) {
    say({ kind: 'failed', message: (error as Error).message })
    port.close()
    return undefined
  }
}

function insert(message: Extract<ToStore, { kind: 'insert' }>): void {
  try {
    if (store === undefined) throw new Error('closed')
    store.insertRows(message.decisions, message.spans)
    say({ kind: 'inserted', error: undefined })
  } catch (error) {
    say({ kind: 'inserted', error: (error as Error).message })
    reopenIfCorrupt(error)
  }
}

function answer(id: number, query: StoreQuery): void {
  try {
    say({ kind: 'answer', id, value: ask(query), error: undefined })
  } catch (error) {
    say({ kind: 'answer', id, value: undefined, error: (error as Error).message })
    reopenIfCorrupt(error)
  }
}

function ask(query: StoreQuery): unknown {
  if (store === undefined) throw new Error('closed')
  switch (query.kind) {
    case 'decision':
      return store.decision(query.requestId)
    case 'decisions':
      return store.decisions(query.filter)
    case 'trace':
      return store.trace(query.traceId)
    case 'top':
      return store.top(query.by, query.sinceMs, query.limit)
    case 'close':
      clearTimeout(retention)
      store.retain(Date.now())
      store.close()
      store = undefined
      // The owner ends the thread once it has this answer.
      return undefined
  }
}

function retain(): void {
  let more = false
  try {
    more = store?.retain(Date.now()) ?? false
  } catch (error) {
    say({ kind: 'log', line: `telemetry retention failed: ${(error as Error).message}` })
    reopenIfCorrupt(error)
  }
  // Deleting in steps leaves room for inserts and queries between them.
  retention = setTimeout(retain, more ? 50 : RETENTION_EVERY_MS)
}

function reopenIfCorrupt(error: unknown): void {
  if (!isCorruption(error) || store === undefined) return
  try {
    store.close()
  } catch {
    // Closing a damaged file may fail as well; it is put aside either way.
  }
  store = open()
  if (store?.putAside !== undefined) say({ kind: 'log', line: store.putAside })
}

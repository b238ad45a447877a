/**
 * A program for crash tests: one validator that submits without pause and prints what was acknowledged, until it is
 * killed. Standard input holds one line, a `CrashChildConfig`, and later perhaps `stop`. It prints, a line each:
 * `missing ID` for what should be on its disk and is not, `ready HEIGHT REPAIRS`, then `ack ID` and `failed CODE`.
 */
import { createHash, createPrivateKey } from 'node:crypto'
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Fabric, Peer } from '@ringwall/fabric'
import { LedgerError } from './errors.ts'
import { openLedger } from './open.ts'
import type { LedgerFabric } from './options.ts'
import type { Application } from './types.ts'

export interface CrashChildConfig {
  readonly directory: string
  readonly self: string
  /** Of `self`: PKCS #8, base64. */
  readonly privateKey: string
  readonly ring: string
  /** In order of the genesis; `publicKey` raw, base64; `port` 0 in a ring of one. */
  readonly validators: readonly { readonly id: string; readonly publicKey: string; readonly port: number }[]
  /** Ids that must be on disk. */
  readonly expect: readonly string[]
  /** Goes into the names of transactions, so that no two runs submit the same. */
  readonly run: number
}

export interface Tally {
  readonly count: number
  readonly root: string
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)

/** Counts transactions and hashes them in order; `onTx` meets each that is executed. */
export function tallyApplication(onTx: (id: string) => void): Application<Tally> {
  return {
    initial: () => ({ count: 0, root: '00'.repeat(32) }),
    check(_state, tx) {
      const id = text(tx)
      return /^[a-z0-9-]{1,64}$/.test(id) ? { ok: true, id } : { ok: false, code: 'FORM', reason: 'not a name' }
    },
    prepare: (_state, candidates) => candidates,
    execute(state, txs) {
      const ids = txs.map(text)
      const hash = createHash('sha256').update(state.root)
      for (const id of ids) {
        hash.update(`${id}\n`)
        onTx(id)
      }
      const root = ids.length === 0 ? state.root : hash.digest('hex')
      return { ok: true, state: { count: state.count + ids.length, root }, results: ids.map((id) => ({ id, ok: true })) }
    },
    root: (state) => state.root,
    snapshot: (state) => [new TextEncoder().encode(JSON.stringify(state))],
    restore: (snapshot) => JSON.parse(text(snapshot)) as Tally,
  }
}

/** What a ring of one has for a fabric. */
export const NOBODY: LedgerFabric = {
  send: () => false,
  curb() {},
  request: () => Promise.reject(new Error('there is nobody')),
  onMessage() {},
  onRequest() {},
  onLink() {},
  links: () => [],
}

const SUBMITTERS = 4
const say = (line: string) => writeSync(1, `${line}\n`)

async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const config = JSON.parse((await lines.next()).value ?? '') as CrashChildConfig
  const privateKey = createPrivateKey({ key: Buffer.from(config.privateKey, 'base64'), format: 'der', type: 'pkcs8' })
  const validators = config.validators.map(({ id, publicKey }) => ({ id, publicKey: Buffer.from(publicKey, 'base64') }))
  const seen = new Set<string>()
  const fabric = config.validators.length === 1 ? undefined : await openFabric(config, privateKey)
  const ledger = await openLedger({
    directory: config.directory,
    application: tallyApplication((id) => seen.add(id)),
    genesis: { ring: config.ring, validators },
    self: config.self,
    privateKey,
    fabric: fabric ?? NOBODY,
    roundMs: 300,
    log: (level, line) => say(`log ${level} ${line}`),
  })
  for (const id of config.expect) if (!seen.has(id)) say(`missing ${id}`)
  const { height, repairs } = ledger.status()
  say(`ready ${height} ${repairs.length}`)
  await fabric?.start()
  let stopping = false
  const submitters = Array.from({ length: SUBMITTERS }, async (_, lane) => {
    for (let n = 0; !stopping; n++) {
      const id = `${config.self}-${config.run}-${lane}-${n}`
      try {
        await ledger.submit(new TextEncoder().encode(id), 20_000)
        say(`ack ${id}`)
      } catch (error) {
        say(`failed ${error instanceof LedgerError ? error.code : String(error)}`)
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
    }
  })
  await lines.next()
  stopping = true
  await ledger.stop()
  await Promise.all(submitters)
  await fabric?.stop()
  process.exit(0)
}

async function openFabric(config: CrashChildConfig, privateKey: ReturnType<typeof createPrivateKey>): Promise<Fabric> {
  const { createFabric } = await import('@ringwall/fabric')
  const all: Peer[] = config.validators.map(({ id, publicKey, port }) => ({
    id,
    region: 'local',
    host: '127.0.0.1',
    port,
    publicKey: Buffer.from(publicKey, 'base64'),
  }))
  const self = all.find(({ id }) => id === config.self)
  if (self === undefined) throw new Error(`${config.self} is not among the validators`)
  return createFabric({ ring: config.ring, self, privateKey, peers: all.filter((peer) => peer !== self) })
}

if (import.meta.main) await main()

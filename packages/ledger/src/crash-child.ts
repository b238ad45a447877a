/**
 * A program for crash tests: one validator that submits without pause and prints what was acknowledged, until it is
 * killed. Standard input holds one line, a `CrashChildConfig`, and later perhaps `stop`. It prints, a line each:
 * `missing ID` for what should be on its disk and is not, `ready HEIGHT REPAIRS`, then `ack ID` and `failed CODE`.
 */
import { createHash, createPrivateKey } from 'node:crypto'
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Fabric, Peer } from '@ringwall/fabric'
import { DiskSeal } from '@ringwall/store'
import { LedgerError } from './errors.ts'
import { openLedger } from './open.ts'
import type { LedgerFabric } from './options.ts'
import type { Validator } from './payload.ts'
import type { Application } from './types.ts'
import { verifyLedgerDirectory } from './verify-directory.ts'

export interface CrashChildConfig {
  readonly directory: string
  readonly self: string
  /** Of `self`: PKCS #8, base64. */
  readonly privateKey: string
  readonly ring: string
  /** In order of the genesis; `publicKey` raw, base64; `port` 0 in a ring of one. */
  readonly validators: readonly { readonly id: string; readonly publicKey: string; readonly port: number }[]
  /** Of these, the first so many are validators at genesis; the others may be added. */
  readonly members: number
  /** Ids that must be on disk. */
  readonly expect: readonly string[]
  /** Storage keys, base64, the newest last, which seals; what is older opens. None: nothing is sealed. */
  readonly storageKeys: readonly string[]
  /** A snapshot is made so often. */
  readonly snapshotBlocks?: number
  /** Goes into the names of transactions, so that no two runs submit the same. */
  readonly run: number
}

export interface Tally {
  readonly count: number
  readonly root: string
  readonly epoch: number
  /** Ids of the validators. */
  readonly set: readonly string[]
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
const CHANGE = /^(plus|minus)-(n[0-9]+)-/

/**
 * Counts transactions and hashes them in order; `onTx` meets each that is executed. `plus-ID-…` and `minus-ID-…` change the
 * validators, one a block: among `all`, of whom the first `members` begin and so many at least stay.
 */
export function tallyApplication(onTx: (id: string) => void, all: readonly Validator[], members: number): Application<Tally> {
  const changed = (set: readonly string[], id: string): readonly string[] | undefined => {
    const [, change, who = ''] = CHANGE.exec(id) ?? []
    if (change === undefined) return set
    if (change === 'plus') return set.includes(who) || all.every((one) => one.id !== who) ? undefined : [...set, who]
    return set.includes(who) && set.length > members ? set.filter((one) => one !== who) : undefined
  }
  /** What is left of `txs` when only those that may follow one another stay. */
  const chosen = ({ set }: Tally, txs: readonly Uint8Array[]) => {
    let now = set
    const stay = txs.filter((tx) => {
      const next = changed(now, text(tx))
      // The ring hands over at the end of a block: one change in each.
      if (next === undefined || (next !== now && now !== set)) return false
      now = next
      return true
    })
    return { stay, set: now }
  }
  return {
    initial: () => ({ count: 0, root: '00'.repeat(32), epoch: 0, set: all.slice(0, members).map(({ id }) => id) }),
    check({ set }, tx) {
      const id = text(tx)
      if (!/^[a-z0-9-]{1,64}$/.test(id)) return { ok: false, code: 'FORM', reason: 'not a name' }
      return changed(set, id) === undefined ? { ok: false, code: 'CHANGE', reason: 'it changes nothing' } : { ok: true, id }
    },
    prepare: (state, candidates) => chosen(state, candidates).stay,
    execute(state, txs) {
      const { stay, set } = chosen(state, txs)
      if (stay.length !== txs.length) return { ok: false, reason: 'a change that may not follow' }
      const ids = txs.map(text)
      const hash = createHash('sha256').update(state.root)
      for (const id of ids) {
        hash.update(`${id}\n`)
        onTx(id)
      }
      const root = ids.length === 0 ? state.root : hash.digest('hex')
      const epoch = state.epoch + (set === state.set ? 0 : 1)
      return {
        ok: true,
        state: { count: state.count + ids.length, root, epoch, set },
        results: ids.map((id) => ({ id, ok: true })),
      }
    },
    root: (state) => state.root,
    snapshot: (state) => [new TextEncoder().encode(JSON.stringify(state))],
    restore: (snapshot) => JSON.parse(text(snapshot)) as Tally,
    validators: ({ epoch, set }) => ({ epoch, validators: set.map((id) => all.find((one) => one.id === id) as Validator) }),
  }
}

/** What a ring of one has for a fabric. */
const NOBODY: LedgerFabric = {
  send: () => false,
  curb() {},
  request: () => Promise.reject(new Error('there is nobody')),
  onMessage() {},
  onRequest() {},
  onLink() {},
  links: () => [],
}

const SUBMITTERS = 4
/** One transaction of so many changes the validators, where there is anybody to add. */
const CHANGE_EVERY = 12
const say = (line: string) => writeSync(1, `${line}\n`)

async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const config = JSON.parse((await lines.next()).value ?? '') as CrashChildConfig
  const privateKey = createPrivateKey({ key: Buffer.from(config.privateKey, 'base64'), format: 'der', type: 'pkcs8' })
  const validators = config.validators.map(({ id, publicKey }) => ({ id, publicKey: Buffer.from(publicKey, 'base64') }))
  const seen = new Set<string>()
  const fabric = config.validators.length === 1 ? undefined : await openFabric(config, privateKey)
  const keys = config.storageKeys.map((text) => Buffer.from(text, 'base64'))
  const seal =
    keys.length === 0
      ? undefined
      : new DiskSeal({ root: config.directory, current: keys.at(-1), earlier: keys.slice(0, -1), acceptsPlain: true })
  const genesis = { ring: config.ring, validators: validators.slice(0, config.members) }
  const ledger = await openLedger({
    seal,
    directory: config.directory,
    application: tallyApplication((id) => seen.add(id), validators, config.members),
    genesis,
    ...(config.snapshotBlocks === undefined ? {} : { snapshotBlocks: config.snapshotBlocks }),
    self: config.self,
    privateKey,
    fabric: fabric ?? NOBODY,
    roundMs: 300,
    log: (level, line) => say(`log ${level} ${line}`),
  })
  // What a snapshot stands for was not executed now: it is looked for in the whole log.
  if (config.expect.some((id) => !seen.has(id))) {
    const application = tallyApplication((id) => seen.add(id), validators, config.members)
    const { problems } = await verifyLedgerDirectory({ directory: config.directory, application, genesis, seal })
    for (const problem of problems) say(`problem ${problem}`)
  }
  for (const id of config.expect) if (!seen.has(id)) say(`missing ${id}`)
  const { height, repairs } = ledger.status()
  say(`ready ${height} ${repairs.length}`)
  await fabric?.start()
  let stopping = false
  const submitters = Array.from({ length: SUBMITTERS }, async (_, lane) => {
    for (let n = 0; !stopping; n++) {
      const name = `${config.self}-${config.run}-${lane}-${n}`
      const id = lane === 0 && n % CHANGE_EVERY === 1 ? changeOf(ledger.state(), config, name) : name
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

/** Somebody joins or leaves. */
function changeOf({ set }: Tally, { validators, members }: CrashChildConfig, name: string): string {
  const spare = validators.filter(({ id }) => !set.includes(id))
  const any = <T>(from: readonly T[]): T => from[Math.floor(Math.random() * from.length)] as T
  if (spare.length > 0 && (set.length === members || Math.random() < 0.5)) return `plus-${any(spare).id}-${name}`
  return set.length > members ? `minus-${any(set)}-${name}` : name
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

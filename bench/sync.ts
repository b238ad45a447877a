/**
 * `npm run bench:sync`: how long a new node takes to join a ring whose ledger holds a million transactions (`COUNT`). The
 * ledger is made first, block by block, with true signatures and certificates, as if the ring had agreed on 500 denials a
 * second; then three validators run on it, each a process of its own, and a fourth begins with an empty folder. Prints time,
 * memory and disk.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { sign } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Certificate, genesisBlock, makeBlock, signingBytes } from '@ringwall/consensus'
import type { RingState } from '@ringwall/ring'
import { openLog } from '@ringwall/store'
import { encodeBlockRecord } from '../packages/ledger/src/block-record.ts'
import { encodePayload } from '../packages/ledger/src/payload.ts'
import { writeSnapshot } from '../packages/ledger/src/snapshot-file.ts'
import type { BenchReady, BenchStatus } from './ledger-child.ts'
import { joinRing, type NodeConfig, newRing } from './test-ring.ts'

const NODES = 4
const COUNT = Number(process.env.COUNT ?? 1_000_000)
const TXS_A_BLOCK = 1_000
const BLOCK_MS = 2_000
const SOURCES = 250_000
/** Blocks after the snapshot, which the new node executes one by one. */
const TAIL_BLOCKS = 10

const megabytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(0)} MB`
const folderBytes = (folder: string): number =>
  readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
const progress = (line: string): void => void process.stderr.write(process.stderr.isTTY ? `\r\u001b[2K${line}` : `${line}\n`)

async function makeLedger(configs: readonly NodeConfig[]) {
  const [first] = configs as [NodeConfig]
  const { ring, application, deny } = joinRing(first)
  const keys = configs.map((config) => joinRing(config).privateKey)
  const { directory } = first
  const log = await openLog(join(directory, 'blocks.log'))
  let state: RingState = application.initial()
  let parent = genesisBlock(ring)
  const blocks = Math.ceil(COUNT / TXS_A_BLOCK)
  const snapshotAt = Math.max(1, blocks - TAIL_BLOCKS)
  let base: { readonly record: ReturnType<typeof recordOf>; readonly state: RingState } | undefined
  const recordOf = (block: typeof parent) => {
    const message = signingBytes('finalize', ring, block.round, block.digest)
    const signatures = keys.slice(0, 3).map((key, signer) => ({ signer, signature: new Uint8Array(sign(null, message, key)) }))
    const certificate: Certificate = { kind: 'finalize', round: block.round, digest: block.digest, signatures }
    return { block, certificate }
  }
  const began = Date.now() - blocks * BLOCK_MS
  for (let height = 1; height <= blocks; height += 1) {
    const timestampMs = began + height * BLOCK_MS
    const txs = Array.from({ length: TXS_A_BLOCK }, (_, i) =>
      deny(((height - 1) * TXS_A_BLOCK + i) % SOURCES, 86_400_000, timestampMs - 1_000),
    )
    const context = { height, timestampMs, proposer: `n${(height % NODES) + 1}` }
    const outcome = application.execute(state, txs, context)
    if (!outcome.ok) throw new Error(outcome.reason)
    const payload = encodePayload({ root: application.root(state), txs })
    const block = makeBlock({ round: height, height, parent: parent.digest, proposer: height % NODES, timestampMs, payload })
    const record = recordOf(block)
    await log.append([encodeBlockRecord(record)])
    if (height === snapshotAt + 1 && base !== undefined) {
      await writeSnapshot(directory, [], [base.record, record], application.snapshot(base.state))
    }
    if (height === snapshotAt) base = { record, state: outcome.state }
    state = outcome.state
    parent = block
    if (height % 50 === 0) progress(`making the ledger: ${height * TXS_A_BLOCK} of ${blocks * TXS_A_BLOCK} transactions`)
  }
  await log.close()
  if (process.stderr.isTTY) process.stderr.write('\r\u001b[2K')
  return { height: blocks, transactions: blocks * TXS_A_BLOCK }
}

async function main(): Promise<void> {
  const root = mkdtempSync(join(tmpdir(), 'ringwall-bench-sync-'))
  const configs = await newRing(root, NODES, 1_000)
  const children: ChildProcess[] = []
  const start = (i: number): ChildProcess => {
    const child = fork(join(import.meta.dirname, 'ledger-child.ts'), [JSON.stringify(configs[i])])
    children.push(child)
    return child
  }
  const status = async (child: ChildProcess): Promise<BenchStatus> => {
    child.send('status')
    const [answer] = (await once(child, 'message')) as [BenchStatus]
    return answer
  }
  try {
    const made = await makeLedger(configs)
    for (const id of ['n2', 'n3']) cpSync(join(root, 'n1'), join(root, id), { recursive: true })
    // Restored validators do not know what they signed; here none ever signed anything.
    for (const id of ['n1', 'n2', 'n3']) writeFileSync(join(root, id, 'votes.log'), 'ringwall-log 01\n')

    const startedMs = performance.now()
    const three = [0, 1, 2].map(start)
    const ready = await Promise.all(three.map(async (child) => (await once(child, 'message'))[0] as BenchReady))
    const resumedMs = performance.now() - startedMs
    const joinedMs = performance.now()
    const late = start(3)
    await once(late, 'message')
    for (;;) {
      const now = await status(late)
      if (now.height >= made.height && now.lag === 0) break
      await new Promise((wake) => setTimeout(wake, 50))
    }
    const seconds = (performance.now() - joinedMs) / 1_000
    const [first, last] = [await status(three[0] as ChildProcess), await status(late)]
    const say = (what: string, value: string) => process.stdout.write(`${what.padEnd(34)}${value}\n`)
    say('transactions in the ledger', `${made.transactions} in ${made.height} blocks`)
    say('ledger on disk', megabytes(folderBytes(join(root, 'n1'))))
    const cpuSeconds = ready.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / ready.length / 1_000
    say(
      'a validator starts again in',
      `${(resumedMs / 1_000).toFixed(1)} s (three at once), ${cpuSeconds.toFixed(1)} s of CPU each, from the start of its process`,
    )
    say('a new node is in sync after', `${seconds.toFixed(1)} s, from the start of its process`)
    say('its disk', `${megabytes(folderBytes(join(root, 'n4')))}, blocks from ${last.firstHeight} on`)
    say('its memory', `${megabytes(last.rss)} now, ${megabytes(last.rssMax)} at most`)
    say('memory of a node that served it', `${megabytes(first.rss)} now, ${megabytes(first.rssMax)} at most`)
  } finally {
    for (const child of children) child.send('stop')
    await Promise.all(children.map((child) => once(child, 'exit')))
    rmSync(root, { recursive: true, force: true })
  }
}

await main()

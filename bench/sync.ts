/**
 * `npm run bench:sync`: how long a new node takes to join a ring whose ledger holds a million transactions (`COUNT`). The
 * ledger is made first, block by block, with true signatures and certificates, as if the ring had agreed on 500 denials a
 * second; then three validators run on it, each a process of its own, and a fourth begins with an empty folder. Prints time,
 * memory and disk.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { createPrivateKey, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Certificate, genesisBlock, makeBlock, signingBytes } from '@ringwall/consensus'
import { createRingApplication, type GenesisDocument, genesisHash, type RingState } from '@ringwall/ring'
import { openLog } from '@ringwall/store'
import { compileRules } from '@ringwall/waf'
import { encodeBlockRecord } from '../packages/ledger/src/block-record.ts'
import { encodePayload } from '../packages/ledger/src/payload.ts'
import { writeSnapshot } from '../packages/ledger/src/snapshot-file.ts'
import { verifySignature } from '../packages/node/src/keys.ts'
import { type LocalOperator, signAsOperator } from '../packages/node/src/local/operator.ts'
import { plainPolicy } from '../packages/node/src/local/up.ts'
import { loadRuleLibrary } from '../packages/node/src/rules.ts'
import { freePorts } from './free-ports.ts'
import type { BenchChildConfig, BenchStatus } from './ledger-child.ts'

const NODES = 4
const COUNT = Number(process.env.COUNT ?? 1_000_000)
const TXS_A_BLOCK = 1_000
const BLOCK_MS = 2_000
const SOURCES = 250_000
/** Blocks after the snapshot, which the new node executes one by one. */
const TAIL_BLOCKS = 10

const pkcs8 = (key: KeyObject): string => key.export({ format: 'der', type: 'pkcs8' }).toString('base64')
const raw = (key: KeyObject): string => key.export({ format: 'jwk' }).x as string
const megabytes = (bytes: number): string => `${(bytes / 1_048_576).toFixed(0)} MB`
const folderBytes = (folder: string): number =>
  readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0)
const progress = (line: string): void => void process.stderr.write(process.stderr.isTTY ? `\r\u001b[2K${line}` : `${line}\n`)

async function makeLedger(directory: string, genesis: GenesisDocument, keys: readonly KeyObject[], operator: LocalOperator) {
  const ring = genesisHash(genesis)
  const application = createRingApplication({
    genesis,
    verify: verifySignature,
    compile: compileRules,
    rules: loadRuleLibrary({}),
  })
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
    const txs = Array.from({ length: TXS_A_BLOCK }, (_, i) => {
      const n = ((height - 1) * TXS_A_BLOCK + i) % SOURCES
      const value = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
      const body = {
        type: 'deny.add',
        subject: { kind: 'ip', value },
        ttlMs: 86_400_000,
        reason: 'measured by the bench',
      } as const
      return signAsOperator(operator, body, timestampMs - 1_000)
    })
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
  const ports = await freePorts(NODES)
  const keys = ports.map(() => generateKeyPairSync('ed25519'))
  const operatorKeys = generateKeyPairSync('ed25519')
  const genesis: GenesisDocument = {
    format: 'ringwall/genesis/1',
    createdAtMs: 0,
    nodes: ports.map((port, i) => ({
      id: `n${i + 1}`,
      region: 'local',
      address: `127.0.0.1:${port}`,
      publicKey: raw((keys[i] as { publicKey: KeyObject }).publicKey),
      roles: ['validator', 'edge'],
    })),
    operators: [{ name: 'bench', publicKey: raw(operatorKeys.publicKey) }],
    policy: plainPolicy('http://127.0.0.1:9'),
  }
  const operator: LocalOperator = {
    ring: genesisHash(genesis),
    name: 'bench',
    privateKey: createPrivateKey({ key: Buffer.from(pkcs8(operatorKeys.privateKey), 'base64'), format: 'der', type: 'pkcs8' }),
  }
  const children: ChildProcess[] = []
  const start = (i: number): ChildProcess => {
    const config: BenchChildConfig = {
      id: `n${i + 1}`,
      directory: join(root, `n${i + 1}`),
      genesis,
      privateKey: pkcs8((keys[i] as { privateKey: KeyObject }).privateKey),
      operatorKey: pkcs8(operatorKeys.privateKey),
    }
    const child = fork(join(import.meta.dirname, 'ledger-child.ts'), [JSON.stringify(config)])
    children.push(child)
    return child
  }
  const status = async (child: ChildProcess): Promise<BenchStatus> => {
    child.send('status')
    const [answer] = (await once(child, 'message')) as [BenchStatus]
    return answer
  }
  try {
    const made = await makeLedger(
      join(root, 'n1'),
      genesis,
      keys.map(({ privateKey }) => privateKey),
      operator,
    )
    for (const id of ['n2', 'n3']) cpSync(join(root, 'n1'), join(root, id), { recursive: true })
    // Restored validators do not know what they signed; here none ever signed anything.
    for (const id of ['n1', 'n2', 'n3']) writeFileSync(join(root, id, 'votes.log'), 'ringwall-log 01\n')

    const startedMs = performance.now()
    const three = [0, 1, 2].map(start)
    await Promise.all(three.map((child) => once(child, 'message')))
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
    say('a validator starts again in', `${(resumedMs / 1_000).toFixed(1)} s (three at once)`)
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

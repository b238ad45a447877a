/** One validator of `bench/ledger.ts`, with the real application: submits denials as it is told, and says when each is final. */

import { createPrivateKey } from 'node:crypto'
import { createFabric } from '@ringwall/fabric'
import { judgePolicy } from '@ringwall/guard'
import { openLedger } from '@ringwall/ledger'
import { createRingApplication, type GenesisDocument, genesisHash, type RingState } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { compileRules } from '@ringwall/waf'
import { verifySignature } from '../packages/node/src/keys.ts'
import { type LocalOperator, signAsOperator } from '../packages/node/src/local/operator.ts'
import { loadRuleLibrary } from '../packages/node/src/rules.ts'

export interface BenchChildConfig {
  readonly id: string
  readonly directory: string
  readonly genesis: GenesisDocument
  /** PKCS #8, base64. */
  readonly privateKey: string
  readonly operatorKey: string
}

/** `rate` 0: as many at a time as `inFlight`, without pause. */
export interface BenchOrder {
  readonly count: number
  readonly inFlight: number
  readonly everyMs: number
  readonly from: number
}

/** The answer to `status`. */
export interface BenchStatus {
  readonly height: number
  readonly lag: number
  readonly firstHeight: number
  /** Resident, bytes: now, and the most so far. */
  readonly rss: number
  readonly rssMax: number
}

const config = JSON.parse(process.argv[2] ?? '') as BenchChildConfig
const key = (text: string) => createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' })
const { genesis } = config
const ring = genesisHash(genesis)
const operator: LocalOperator = { ring, name: 'bench', privateKey: key(config.operatorKey) }
const application = createRingApplication({
  genesis,
  verify: verifySignature,
  compile: compileRules,
  rules: loadRuleLibrary({}),
  judge: judgePolicy,
})
const peers = genesis.nodes.map(({ id, region, address, publicKey }) => {
  const [host = '', port = ''] = address.split(':')
  return { id, region, host, port: Number(port), publicKey: decodeBase64url(publicKey) }
})
const self = peers.find(({ id }) => id === config.id)
if (self === undefined) throw new Error(`${config.id} is not in the genesis`)
const fabric = createFabric({ ring, self, privateKey: key(config.privateKey), peers: peers.filter((peer) => peer !== self) })
const ledger = await openLedger<RingState>({
  directory: config.directory,
  application,
  genesis: { ring, validators: peers.map(({ id, publicKey }) => ({ id, publicKey })) },
  self: config.id,
  privateKey: key(config.privateKey),
  fabric,
})
await fabric.start()
process.send?.({ kind: 'ready' })

process.on('message', async (order: BenchOrder | 'stop' | 'status') => {
  if (order === 'status') {
    const { height, lag, firstHeight } = ledger.status()
    const rss = process.memoryUsage.rss()
    process.send?.({ height, lag, firstHeight, rss, rssMax: process.resourceUsage().maxRSS * 1_024 } satisfies BenchStatus)
    return
  }
  if (order === 'stop') {
    await ledger.stop()
    await fabric.stop()
    process.exit(0)
  }
  const txs = Array.from({ length: order.count }, (_, i) => {
    const n = order.from + i
    const value = `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}`
    return signAsOperator(operator, {
      type: 'deny.add',
      subject: { kind: 'ip', value },
      ttlMs: 600_000,
      reason: 'measured by the bench',
    })
  })
  const bytes = txs[0]?.length ?? 0
  const times: number[] = []
  let next = 0
  const began = performance.now()
  const lane = async (): Promise<void> => {
    while (next < txs.length) {
      const tx = txs[next++] as Uint8Array
      const at = performance.now()
      await ledger.submit(tx, 60_000)
      times.push(performance.now() - at)
      if (order.everyMs > 0) await new Promise((wake) => setTimeout(wake, order.everyMs))
    }
  }
  await Promise.all(Array.from({ length: order.inFlight }, lane))
  process.send?.({ kind: 'done', times, ms: performance.now() - began, bytes })
})

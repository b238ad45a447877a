/** What a node agrees with the others by: the ring's application, the links to its members, the ledger, and the view of its newest block. */
import { join } from 'node:path'
import { createFabric, type Fabric } from '@ringwall/fabric'
import { openLedger } from '@ringwall/ledger'
import type { RingApplication, RingState, RuleLibrary } from '@ringwall/ring'
import { decodeBase64url } from '@ringwall/ring/tx'
import { openTelemetry, type Telemetry } from '@ringwall/telemetry'
import { formatHostPort } from '../address.ts'
import { traceKey } from '../disk/trace-key.ts'
import { Members, peerOf } from '../members.ts'
import { EarlyDenials } from '../provisional.ts'
import { ringApplication } from '../ring-application.ts'
import { cachingCompiler } from '../rule-cache.ts'
import { loadRuleLibrary } from '../rules.ts'
import type { RingLedger } from '../running-node.ts'
import { Foresight } from '../signing/foresight.ts'
import type { Ground } from './ground.ts'
import type { LateParts } from './late-parts.ts'
import { RingView } from './ring-view.ts'

export interface Agreement {
  readonly rules: RuleLibrary
  readonly foresight: Foresight
  readonly application: RingApplication
  readonly telemetry: Telemetry
  /** Links come once it is started, which is late. */
  readonly fabric: Fabric
  readonly ledger: RingLedger
  readonly early: EarlyDenials
  readonly now: RingView
  readonly members: Members
}

/** @throws The errors of rules, telemetry, fabric and ledger. */
export async function openAgreement(ground: Ground, late: LateParts): Promise<Agreement> {
  const { config, genesis, disk, closing } = ground
  const rules = loadRuleLibrary(config.rules)
  const foresight = new Foresight()
  closing.add(() => foresight.thread.stop())
  const compiler = cachingCompiler(join(config.data, 'rules'), disk.seal, config.memoValuesMax)
  const application = ringApplication(genesis, rules, compiler)
  const telemetry = await recordsOf(ground)
  const fabric = fabricOf(ground)
  const ledger = await openLedger<RingState>({
    directory: join(config.data, 'ledger'),
    seal: disk.seal,
    application: { ...application, foresee: (state, txs) => foresight.foresee(state, txs) },
    genesis: { ring: ground.ring, validators: firstValidators(ground) },
    self: config.id,
    privateKey: ground.privateKey,
    fabric,
    onEvidence: (evidence) => late.showEvidence?.(evidence),
    onFault: (fault) => late.conduct?.ledgerFault(fault),
    roundMs: config.roundMs,
    heartbeatMs: config.heartbeatMs,
    snapshotBlocks: config.snapshotBlocks,
    ...(config.keepBlocks === undefined ? {} : { keepBlocks: config.keepBlocks }),
    log: ground.log,
  })
  closing.add(() => ledger.stop())
  const early = new EarlyDenials(application)
  const now = new RingView(application, ledger, config.id)
  closing.add(() => now.stop())
  const members = await followMembers(ground, fabric, now)
  return { rules, foresight, application, telemetry, fabric, ledger, early, now, members }
}

async function recordsOf({ config, self, disk, log, closing }: Ground): Promise<Telemetry> {
  const telemetry = await openTelemetry({
    directory: join(config.data, 'traces'),
    seal: await traceKey(config.data, disk.seal),
    node: config.id,
    region: self.region,
    waitingMax: config.recordsWaitingMax,
    pageCacheBytes: config.recordsPageCacheBytes,
    log,
    ...(config.otlp === undefined ? {} : { otlp: config.otlp }),
  })
  closing.add(() => telemetry.stop())
  return telemetry
}

function fabricOf({ config, genesis, ring, self, privateKey, events, log }: Ground): Fabric {
  const fabric = createFabric({
    ring,
    self: peerOf(self, config.genesis),
    privateKey,
    peers: genesis.nodes.filter(({ id }) => id !== config.id).map((node) => peerOf(node, config.genesis)),
    listen: config.listen.fabric,
    log,
  })
  fabric.onLink(({ id, connected, reason }) =>
    events.add('link', connected ? 'info' : 'warn', connected ? `${id} is linked` : `${id} is gone: ${reason ?? 'link closed'}`),
  )
  return fabric
}

function firstValidators({ genesis }: Ground): { readonly id: string; readonly publicKey: Uint8Array }[] {
  const validators = genesis.nodes.filter(({ roles }) => roles.includes('validator'))
  return validators.map(({ id, publicKey }) => ({ id, publicKey: decodeBase64url(publicKey) }))
}

async function followMembers({ config, self, events, closing }: Ground, fabric: Fabric, now: RingView): Promise<Members> {
  const members = new Members({ self: config.id, fabric, events, genesisFile: config.genesis })
  closing.add(() => members.stop())
  await members.follow(now.view.nodes)
  if (now.isMember(config.id)) return members
  const address = formatHostPort(config.listen.fabric)
  const add = `ringwall node add ${config.id} --key ${self.publicKey} --address ${address} --region ${self.region}`
  events.add('node', 'warn', `the ring does not list this node, so nobody links to it. If it is new, an operator adds it: ${add}`)
  return members
}

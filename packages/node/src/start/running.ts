/** The node as its faces see it, put together of the parts that were opened. */
import { Bouncers } from '../bouncers/bouncers.ts'
import { PeerQueries } from '../queries.ts'
import type { RunningNode } from '../running-node.ts'
import type { WorkloadApi } from '../workloads/workload-api.ts'
import type { BlockParts } from './block-reactions.ts'
import type { NodeFeeds } from './feeds.ts'
import type { IncidentParts } from './incident-parts.ts'
import type { ObjectParts } from './object-parts.ts'
import type { OwnName } from './own-name.ts'

export interface NodeParts extends BlockParts {
  readonly own: OwnName
  readonly incidents: IncidentParts
  readonly objects: ObjectParts
  /** For the programs on this machine. */
  readonly workloads: WorkloadApi | undefined
  readonly feeds: NodeFeeds
}

export function runningNode(parts: NodeParts): RunningNode {
  const { ground, agreement, own, denials, judging, membership, watches, incidents, keys, objects, people, disk, traffic } = parts
  const { config, closing } = ground
  const { fabric, early, now } = agreement
  const queries = new PeerQueries(fabric)
  const node: RunningNode = {
    config,
    disk: ground.disk,
    region: ground.self.region,
    ring: ground.ring,
    startedAtMs: ground.startedAtMs,
    genesis: ground.genesis,
    application: agreement.application,
    rules: agreement.rules,
    ledger: agreement.ledger,
    fabric,
    proxy: traffic.proxy,
    workers: traffic.workers,
    telemetry: agreement.telemetry,
    early,
    archive: judging.archive,
    watch: judging.watch,
    model: judging.model,
    audit: judging.audit,
    acme: traffic.acme,
    events: ground.events,
    api: judging.api,
    queries,
    signing: keys.signing,
    samlCertificate: async () => (await people.samlKey.held()).certificate,
    vault: keys.vault,
    objects: objects.objects,
    openings: keys.openings,
    workloads: parts.workloads,
    reception: membership.reception,
    desk: incidents.desk,
    insiders: watches.insiders,
    notifier: incidents.notifier,
    playbooks: incidents.playbooks,
    bouncers: new Bouncers({
      view: () => now.view,
      enforced: early.enforced,
      version: () => now.blocksWithNews + early.changes,
    }),
    indicators: () => judging.indicators.status(),
    feeds: () => parts.feeds.status(),
    tokens: () => now.tokens,
    ready: () => membership.whyNotReady() === undefined,
    whyNotReady: () => membership.whyNotReady(),
    viewAgeMs: () => membership.viewAgeMs(),
    whyOut: () => membership.whyOut(),
    hold: () => membership.holds.hold,
    age: () => membership.ages.age,
    lastSeenMs: lastSeen(parts),
    view: () => now.view,
    certifiedAtMs: () => now.certifiedAtMs,
    access: (request, verdict) => judging.guard.access(request, verdict, judging.environment()),
    sign: (message) => own.sign(message),
    propose: denials.propose,
    handOver: async () => {
      membership.takeNoMoreTraffic()
      await closing.handOver()
    },
    wiped: disk.wiper.ended,
    proposeInOwnName: (body, waitMs) => denials.propose(own.transaction(body), waitMs),
    proposeContent: (content, waitMs) => denials.propose(own.encode(content), waitMs),
    stop: () => closing.all(),
  }
  queries.serve(node)
  closing.add(() => queries.stop())
  return node
}

/** When links ended of nodes that are not linked now. */
function lastSeen({ agreement }: NodeParts): RunningNode['lastSeenMs'] {
  const seenMs = new Map<string, number>()
  agreement.fabric.onLink(({ id, connected }) => {
    if (connected) seenMs.delete(id)
    else seenMs.set(id, Date.now())
  })
  return (id) => seenMs.get(id)
}

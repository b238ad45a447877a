/** A node that is put together begins to serve: the others reach it, then operators and programs, then clients. */
import type { AdminServer } from '../admin/http.ts'
import { credentialsOf, type ExpiringFile, ExpiryWatch } from '../expiry-watch.ts'
import type { RunningNode } from '../running-node.ts'
import { VERSION } from '../version.ts'
import { startFaces } from './faces.ts'
import { DRAIN_MS } from './membership.ts'
import type { NodeParts } from './running.ts'

export async function serve(parts: NodeParts, node: RunningNode, admin: AdminServer): Promise<void> {
  const { ground, agreement, feeds, incidents, traffic } = parts
  const { events, closing } = ground
  await linkUp(parts)
  const expiring = await startFaces(parts, admin)
  await takeTraffic(parts)
  feeds.startCrowdsec()
  followReleases(parts, node)
  await feeds.startTaxii()
  incidents.playbooks.start()
  closing.add(() => incidents.playbooks.stop())
  traffic.acme?.start()
  watchExpiry(parts, expiring)
  const { height, policyVersion } = agreement.now.view
  events.add('node', 'info', `serving at height ${height}, policy ${policyVersion}`)
}

async function linkUp({ ground, agreement, membership, objects }: NodeParts): Promise<void> {
  membership.start(ground)
  await agreement.fabric.start()
  objects.objects.start()
  membership.open(agreement.ledger.state())
  ground.closing.add(() => agreement.fabric.stop())
}

/** Traffic comes last: a node that cannot judge takes none. */
async function takeTraffic({ ground, membership, traffic }: NodeParts): Promise<void> {
  await traffic.proxy.start()
  ground.closing.addServed(() => traffic.proxy.stop(DRAIN_MS))
  membership.takeTraffic()
}

/** By the launcher that started this node, if one did. */
function followReleases({ ground, agreement, own, membership, objects, traffic }: NodeParts, node: RunningNode): void {
  const { config, startedAtMs, closing } = ground
  const { ledger, now } = agreement
  const { releases } = objects
  releases?.start({
    self: config.id,
    version: VERSION,
    startedAtMs,
    state: () => ledger.state(),
    policy: () => now.view.policy.fleet,
    sample: () => {
      const { requests, upstreamErrors, overloaded } = traffic.proxy.stats()
      return { isReady: node.ready(), whyOut: membership.whyOut(), requests, errors: upstreamErrors + overloaded }
    },
    isSpared: () => {
      const { reachable, quorum, validators } = ledger.status()
      const isVoter = now.view.nodes.some(({ id, roles }) => id === config.id && roles.includes('validator'))
      return !isVoter || reachable.length === validators || reachable.length - 1 >= quorum
    },
    submit: (body) => own.submit(body),
  })
  closing.add(() => releases?.stop())
}

function watchExpiry({ ground, agreement, membership, traffic }: NodeParts, expiring: ExpiringFile | undefined): void {
  const { events, closing } = ground
  const expiry = new ExpiryWatch(
    () => [...membership.ages.credentials(), ...credentialsOf(traffic.proxy.certificates(), expiring, agreement.ledger.state())],
    events,
  )
  expiry.start()
  closing.add(() => expiry.stop())
}

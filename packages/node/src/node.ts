/** One node: opens its parts in the order in which they need each other, then serves. No domain logic lives here, and none in `start/`. */
import type { NodeConfig } from './config.ts'
import type { RunningNode } from './running-node.ts'
import { openAgreement } from './start/agreement.ts'
import { reactToBlocks } from './start/block-reactions.ts'
import { Closing } from './start/closing.ts'
import { openDenials } from './start/denials.ts'
import { openDiskParts } from './start/disk-parts.ts'
import { evidenceShower } from './start/evidence.ts'
import { openFaces } from './start/faces.ts'
import { NodeFeeds } from './start/feeds.ts'
import { openGround } from './start/ground.ts'
import { openIncidents } from './start/incident-parts.ts'
import { openJudging } from './start/judging.ts'
import { noLateParts } from './start/late-parts.ts'
import { Membership } from './start/membership.ts'
import { openObjects } from './start/object-parts.ts'
import { OwnName } from './start/own-name.ts'
import { openPeople } from './start/people-parts.ts'
import { openProviders } from './start/providers.ts'
import { openRingKeys } from './start/ring-keys.ts'
import { type NodeParts, runningNode } from './start/running.ts'
import { serve } from './start/serving.ts'
import { openTraffic } from './start/traffic-parts.ts'
import { openWatches } from './start/watches.ts'
import { openWorkloads } from './start/workloads.ts'

/** @throws {StartError} And the errors of fabric and ledger: each message is one line that says what to do. */
export async function startNode(config: NodeConfig): Promise<RunningNode> {
  const closing = new Closing()
  try {
    const parts = await openParts(config, closing)
    reactToBlocks(parts)
    const node = runningNode(parts)
    const admin = openFaces(parts, node)
    await serve(parts, node, admin)
    return node
  } catch (error) {
    await closing.all()
    throw error
  }
}

async function openParts(config: NodeConfig, closing: Closing): Promise<NodeParts> {
  const late = noLateParts()
  // Who it is, and how it stands in the ring.
  const ground = await openGround(config, closing)
  const agreement = await openAgreement(ground, late)
  const { ledger, now } = agreement
  const own = new OwnName(ground, ledger)
  late.showEvidence = evidenceShower(own, now, ground.events)
  const denials = openDenials(ground, agreement, own, late)
  const membership = new Membership(ground, agreement, own, late)
  // What it judges by, and what it notices.
  const judging = await openJudging(ground, agreement)
  const incidents = await openIncidents(ground, agreement, own, denials, membership)
  const watches = await openWatches(ground, agreement, denials, judging, incidents, late)
  // What it holds for the ring.
  const providers = openProviders(ground, agreement)
  const keys = await openRingKeys(ground, agreement, own, watches, providers)
  const objects = await openObjects(ground, agreement, own, watches, keys)
  const disk = openDiskParts(ground, agreement, own, keys)
  // Whom it serves.
  const people = await openPeople(ground, agreement, { own, denials, judging, watches, providers, keys }, late)
  const traffic = await openTraffic(ground, agreement, judging, watches, people, late)
  const workloads = openWorkloads(ground, agreement, own, keys, late)
  const feeds = new NodeFeeds(ground, agreement, denials, judging)
  // All that is opened is opened by now.
  await ground.disk.settled()
  disk.keeper?.follow(ledger.state())
  return {
    ground,
    agreement,
    own,
    denials,
    membership,
    judging,
    incidents,
    watches,
    keys,
    objects,
    disk,
    people,
    traffic,
    workloads,
    feeds,
    late,
  }
}

/** What a node does with each block that is final, in this order. */
import { KEY_NAMES, nodeSubject, type RingState } from '@ringwall/ring'
import { showExpelled } from '../enrolment/trust.ts'
import { showAged } from '../fleet/age-watch.ts'
import { movedServices } from '../fleet/moved-services.ts'
import { AgreedTransactions } from './agreed-transactions.ts'
import type { Agreement } from './agreement.ts'
import type { Denials } from './denials.ts'
import type { DiskParts } from './disk-parts.ts'
import type { Ground } from './ground.ts'
import type { Judging } from './judging.ts'
import type { LateParts } from './late-parts.ts'
import type { Membership } from './membership.ts'
import type { PeopleParts } from './people-parts.ts'
import type { RingKeys } from './ring-keys.ts'
import type { BlockChange } from './ring-view.ts'
import type { TrafficParts } from './traffic-parts.ts'
import type { Watches } from './watches.ts'

/** Blocks that are older come while catching up. */
const FORESEEN_MS_MAX = 10_000

/** Whoever has something to do when the ring has agreed. */
export interface BlockParts {
  readonly ground: Ground
  readonly agreement: Agreement
  readonly denials: Denials
  readonly judging: Judging
  readonly membership: Membership
  readonly watches: Watches
  readonly keys: RingKeys
  readonly people: PeopleParts
  readonly disk: DiskParts
  readonly traffic: TrafficParts
  readonly late: LateParts
}

export function reactToBlocks(parts: BlockParts): void {
  const { agreement, watches, keys, disk, membership } = parts
  const transactions = new AgreedTransactions(parts)
  agreement.now.onChange((change) => {
    const { final, before, view, stateBefore } = change
    const { state } = final
    forgetUnknownPurges(parts, change)
    reviewTraffic(parts, change)
    letGo(parts, change)
    transactions.show(final.txs, stateBefore, state)
    if (view.policyVersion !== before.policyVersion || view.nodes !== before.nodes || view.signingKey !== before.signingKey)
      parts.late.workloads?.review()
    showKeyFaults(parts.ground, stateBefore, state)
    watches.conduct.agreed(stateBefore, state)
    keys.follow(state)
    disk.keeper?.follow(state)
    disk.wiper.follow(state)
    membership.look()
    // A ceremony of the past is over, whatever its phase was then: no thread for it.
    if (Date.now() - final.block.timestampMs < FORESEEN_MS_MAX) agreement.foresight.follow(state)
    membership.receive(state)
  })
  // A ring of one has agreed on blocks meanwhile.
  keys.follow(agreement.ledger.state())
}

/** After a snapshot nobody knows what the blocks between have had forgotten. */
function forgetUnknownPurges({ traffic }: BlockParts, { final, before }: BlockChange): void {
  if (final.block.height <= before.height + 1) return
  for (const service of Object.keys(before.policy.services)) traffic.proxy.purge(service, '/')
}

/** Another policy, or other services at this node: what is under way is judged again. */
function reviewTraffic({ ground, judging, people, traffic }: BlockParts, { before, view }: BlockChange): void {
  const { events } = ground
  const isOther = view.policyVersion !== before.policyVersion
  if (isOther) {
    judging.limits.follow()
    judging.api.follow(view.policy)
    people.reviewProviders()
    events.add('policy', 'info', `policy ${view.policyVersion} is in force since height ${view.height}`)
  }
  const moved = movedServices(before, view)
  if (moved !== undefined) events.add('policy', 'info', moved)
  if (!isOther && moved === undefined) return
  const why = moved ?? `policy ${view.policyVersion}`
  void traffic.proxy.reviewAll().then((count) => {
    if (count !== undefined && count > 0) events.add('policy', 'info', `${count} open requests and WebSockets ended: ${why}`)
  })
}

/** Nodes that the block put out, this one perhaps among them. */
function letGo({ ground, agreement, denials, membership }: BlockParts, { final, before, view, stateBefore }: BlockChange): void {
  const { config, ring, events } = ground
  const expelled = showExpelled(stateBefore, final.state, events)
  for (const id of expelled) denials.cut(nodeSubject(ring, id))
  if (expelled.includes(config.id)) membership.withdraw()
  const aged = showAged(stateBefore, final.state, ring, final.block.timestampMs, events)
  for (const id of aged) denials.cut(nodeSubject(ring, id))
  if (view.nodes !== before.nodes) void agreement.members.follow(view.nodes, [...expelled, ...aged])
}

function showKeyFaults({ events }: Ground, before: RingState, now: RingState): void {
  for (const name of KEY_NAMES) {
    const known = before.key(name).faults
    if (now.key(name).faults === known) continue
    for (const { party, fault, attempt } of now.key(name).faults.filter((one) => !known.includes(one)))
      events.add('key', 'warn', `${party} is at fault in ceremony ${attempt} of the ${name} key: ${fault}`)
  }
}

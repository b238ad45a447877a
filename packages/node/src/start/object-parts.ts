/** What this node keeps of others' data: shards of objects; and the releases that it and its peers hand each other. */
import { USUAL_OBJECT_SETTINGS } from '../config.ts'
import { type FollowedReleases, followReleases } from '../fleet/follow-releases.ts'
import { Objects } from '../objects/objects.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'
import type { OwnName } from './own-name.ts'
import type { RingKeys } from './ring-keys.ts'
import type { Watches } from './watches.ts'

/** A view is the ring’s when a quorum certified it so lately. */
const CURRENT_MS = 60_000

export interface ObjectParts {
  readonly objects: Objects
  /** Of a node that a launcher started. */
  readonly releases: FollowedReleases | undefined
}

export async function openObjects(
  ground: Ground,
  agreement: Agreement,
  own: OwnName,
  { conduct, onLiars }: Watches,
  { vault }: RingKeys,
): Promise<ObjectParts> {
  const { config, ring, disk, events, closing } = ground
  const { fabric, ledger, now } = agreement
  const isCurrent = (): boolean => {
    const { certifiedAtMs } = now
    return certifiedAtMs !== undefined && Date.now() - certifiedAtMs < CURRENT_MS && !ledger.status().syncing
  }
  const releases = followReleases({
    linked: () => fabric.links().flatMap(({ id, connected }) => (connected ? [id] : [])),
    get: (from, path) => objects.get(from, path),
    events,
  })
  const objects: Objects = await Objects.open({
    self: config.id,
    ring,
    data: config.data,
    seal: disk.seal,
    settings: config.objects ?? USUAL_OBJECT_SETTINGS,
    fabric,
    view: () => now.view,
    state: () => ledger.state(),
    // What is erased must not be what an old view does not know yet.
    isCurrent,
    agreedAtMs: () => ledger.status().timestampMs,
    sign: (message) => own.sign(message),
    open: (request) => vault.open(request),
    submit: (body, waitMs) => own.submit(body, waitMs),
    events,
    onWrong: (party, version, index) => conduct.seen(party, 'shard', `shard ${index} of ${version}`),
    onLiars,
    other: releases?.answer,
  })
  closing.add(() => objects.stop())
  return { objects, releases }
}

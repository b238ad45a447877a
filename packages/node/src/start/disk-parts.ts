/** What this node's disk has to do with the ring: the ring holds its key, it holds others', and may have it erased. */
import { readQuote } from '@ringwall/enroll'
import { DiskKeeper } from '../disk/disk-keeper.ts'
import { ReleaseHolder } from '../disk/release-holder.ts'
import { Wiper } from '../disk/wiper.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'
import type { OwnName } from './own-name.ts'
import type { RingKeys } from './ring-keys.ts'

export interface DiskParts {
  /** Where the ring holds the key (`disk.seal: ring`). */
  readonly keeper: DiskKeeper | undefined
  readonly wiper: Wiper
}

export function openDiskParts(ground: Ground, agreement: Agreement, own: OwnName, keys: RingKeys): DiskParts {
  const { config, ring, events } = ground
  const { fabric, ledger } = agreement
  const keeper = keepDisk(ground, agreement, own)
  holdOthers(ground, agreement, own, keys)
  const wiper = new Wiper({
    self: config.id,
    ring,
    data: config.data,
    keyFile: config.key,
    more: config.audit === undefined ? [] : [config.audit.file],
    fabric,
    state: () => ledger.state(),
    sign: (message) => own.sign(message),
    submit: (body) => own.submit(body),
    events,
  })
  return { keeper, wiper }
}

function keepDisk(
  { config, ring, disk, local, events, closing }: Ground,
  { now }: Agreement,
  own: OwnName,
): DiskKeeper | undefined {
  if (config.diskSeal !== 'ring') return undefined
  const keeper = new DiskKeeper({
    self: config.id,
    ring,
    data: config.data,
    disk,
    local,
    events,
    recovery: () => now.view.policy.vault.recovery,
    submit: (body) => own.submit(body),
  })
  closing.add(() => keeper.stop())
  return keeper
}

/** Nodes that start have their disks opened by this node's share. */
function holdOthers({ config, ring, events }: Ground, { fabric, ledger, now }: Agreement, own: OwnName, keys: RingKeys): void {
  new ReleaseHolder({
    self: config.id,
    ring,
    fabric,
    state: () => ledger.state(),
    isBehind: () => ledger.status().syncing,
    vault: keys.vault,
    openings: keys.openings,
    sign: (message) => own.sign(message),
    policy: () => now.view.policy.devices,
    quote: readQuote,
    onRelease: (id) => events.add('key', 'info', `${id} had its disk opened with this node's share`),
    onRefusal: (id, code, reason) => events.add('key', 'bad', `the disk of ${id} stays shut: ${code}: ${reason}`),
  })
}

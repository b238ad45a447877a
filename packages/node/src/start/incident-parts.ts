/** What becomes of findings: incidents, whom they are told, and the playbooks that they start. */
import { join } from 'node:path'
import { type NewFinding, Notifier } from '@ringwall/respond'
import { IncidentDesk } from '../incidents.ts'
import { isAtLeast, messageOf, tellsOf } from '../respond/incident-message.ts'
import { openChannel } from '../respond/notify-channels.ts'
import { NodePlaybooks } from '../respond/playbooks.ts'
import type { Agreement } from './agreement.ts'
import type { Denials } from './denials.ts'
import type { Ground } from './ground.ts'
import type { Membership } from './membership.ts'
import type { OwnName } from './own-name.ts'

/** A claim lasts little longer. */
const PLAY_WAIT_MS = 5_000

/** What comes within so long is told as one message. */
const NOTIFY_GROUP_MS = 5_000

export interface IncidentParts {
  readonly notifier: Notifier
  readonly desk: IncidentDesk
  readonly playbooks: NodePlaybooks
  readonly report: (finding: NewFinding) => void
}

export async function openIncidents(
  ground: Ground,
  agreement: Agreement,
  own: OwnName,
  denials: Denials,
  membership: Membership,
): Promise<IncidentParts> {
  const { config, ring, disk, events, closing } = ground
  const { ledger, now } = agreement
  const notifier = new Notifier({
    channels: config.notify.map(openChannel),
    groupMs: NOTIFY_GROUP_MS,
    onLost: (channel, reason) => events.add('node', 'warn', `the channel ${channel} was not told: ${reason}`),
  })
  closing.add(() => notifier.stop())
  const desk = await openDesk(ground, agreement, notifier)
  const playbooks = new NodePlaybooks({
    self: config.id,
    ring,
    folder: join(config.data, 'playbooks'),
    disk: disk.seal,
    state: () => ledger.state(),
    view: () => now.view,
    propose: async (body) => void (await denials.propose(own.transaction(body), PLAY_WAIT_MS)),
    isHeld: () => membership.holds.hold !== undefined,
    notifier,
    incidents: () => desk.list(),
    say: (level, line) => events.add('incident', level, line),
  })
  const report = (finding: NewFinding): void => {
    desk.add(finding)
    playbooks.found(finding)
  }
  return { notifier, desk, playbooks, report }
}

async function openDesk(ground: Ground, { fabric, telemetry }: Agreement, notifier: Notifier): Promise<IncidentDesk> {
  const { config, ring, disk, events, log, closing } = ground
  const desk = new IncidentDesk({
    self: config.id,
    fabric,
    file: join(config.data, 'incidents'),
    disk: disk.seal,
    onOpened: (incident) => {
      const { id, severity, title } = incident
      if (tellsOf(incident, config.id))
        for (const { name, incidents } of config.notify)
          if (incidents !== undefined && isAtLeast(severity, incidents)) notifier.tell(name, messageOf(incident, ring, config.id))
      telemetry.count('incidents_total', { severity }, 1)
      events.add('incident', severity === 'high' ? 'bad' : 'warn', `incident ${id} (${severity}): ${title}`)
    },
    log,
  })
  await desk.start()
  closing.add(() => desk.stop())
  return desk
}

/** Who takes this node's traffic, its own thread or threads for it alone; and what only traffic has use for: certificates, and keys of passes. */
import { join } from 'node:path'
import { createProxy } from '@ringwall/proxy'
import { AcmeCertificates } from '../acme/certificates.ts'
import { Proofs } from '../acme/proofs.ts'
import { unsealer } from '../acme/unseal.ts'
import { signalOf } from '../detection.ts'
import { PassKeys, usePassKeys } from '../pass-keys.ts'
import { proxyRecorder } from '../recorder.ts'
import { sourceMeter } from '../source-meter.ts'
import { peersOf } from '../token-trust.ts'
import { type Traffic, TrafficWorkers } from '../traffic-workers.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'
import type { Judging } from './judging.ts'
import type { LateParts } from './late-parts.ts'
import type { PeopleParts } from './people-parts.ts'
import type { Watches } from './watches.ts'

export interface TrafficParts {
  readonly proxy: Traffic
  /** The same, when threads of their own take the traffic. */
  readonly workers: TrafficWorkers | undefined
  /** Certificates that it gets for itself. */
  readonly acme: AcmeCertificates | undefined
}

export async function openTraffic(
  ground: Ground,
  agreement: Agreement,
  judging: Judging,
  watches: Watches,
  people: PeopleParts,
  late: LateParts,
): Promise<TrafficParts> {
  const acme = await openAcme(ground, agreement, late)
  const workers = ground.config.workers === 1 ? undefined : trafficWorkers(ground, agreement, judging, watches, people)
  const proxy = workers ?? ownProxy(ground, agreement, judging, watches, people)
  late.workers = workers
  late.traffic = proxy
  await openPassKeys(ground, agreement, judging, people, late)
  return { proxy, workers, acme }
}

async function openAcme(ground: Ground, { fabric }: Agreement, late: LateParts): Promise<AcmeCertificates | undefined> {
  const { config, seal, disk, events, closing } = ground
  // Also of a node that gets none itself: a validation of another's may meet it.
  const proofs = new Proofs(config.id, fabric, (all) => late.traffic?.answerAcme(all))
  closing.add(() => proofs.stop())
  if (config.acme === undefined) return undefined
  const acme = await AcmeCertificates.open({
    config: config.acme,
    folder: join(config.data, 'acme'),
    seal,
    disk: disk.seal,
    proofs,
    say: (level, line) => events.add('node', level, line),
  })
  closing.add(() => acme.stop())
  return acme
}

function trafficWorkers(
  { config, ring, self, disk, log }: Ground,
  { rules, early, telemetry, now }: Agreement,
  { api, archive, watch, indicators, limits }: Judging,
  { signalled, loggedIn, floods }: Watches,
  { portal }: PeopleParts,
): TrafficWorkers {
  return new TrafficWorkers(config.workers, {
    config,
    disk: disk.options,
    region: self.region,
    ring,
    rules,
    view: () => now.view,
    certifiedAtMs: () => now.certifiedAtMs,
    early,
    indicators,
    limits,
    telemetry,
    archive,
    watch,
    portal,
    api,
    onLogin: loggedIn,
    onSignals: (signals, lost) => {
      for (const signal of signals) signalled(signal)
      if (lost > 0) telemetry.count('signals_lost_total', {}, lost)
    },
    onFlood: (reading, thread) => floods.observe(reading, performance.now(), thread),
    log,
  })
}

function ownProxy(
  { config, ring, self, disk, log }: Ground,
  { telemetry, now }: Agreement,
  { guard, environment, audit, api, challenges }: Judging,
  { detection, insiders, floods, signalled, loggedIn }: Watches,
  { portal }: PeopleParts,
): Traffic {
  return createProxy({
    listeners: config.takeOver ? config.listen.traffic.map((one) => ({ ...one, reusePort: true })) : config.listen.traffic,
    guard,
    environment,
    recorder: proxyRecorder(telemetry, audit),
    node: config.id,
    region: self.region,
    explainHeader: config.explainHeader,
    cacheBytes: config.cacheBytes,
    ...(config.acme === undefined ? {} : { unseal: unsealer(config.key, ring, config.id, disk.options) }),
    onApi: (event) => api.observe(event),
    onLogin: loggedIn,
    ended: {
      wants: () => detection.isOn || insiders.watchesRequests,
      take: (request) => {
        if (request.subject !== undefined || detection.isOn) signalled(signalOf(request, ring))
      },
    },
    meter: sourceMeter((reading) => floods.observe(reading, performance.now())),
    challenges,
    portal,
    peer: (certificate, nowMs) => peersOf(now.view)(certificate, nowMs),
    log,
  })
}

async function openPassKeys(
  { config, seal, log, closing }: Ground,
  { fabric, now }: Agreement,
  { challenges }: Judging,
  { forms }: PeopleParts,
  late: LateParts,
): Promise<void> {
  const passKeys = await PassKeys.open({
    fabric,
    view: () => now.view,
    file: join(config.data, 'pass-keys'),
    seal,
    log: (line) => log('warn', line),
    onKeys: (keys) => {
      usePassKeys(challenges, keys)
      forms.use(keys)
      late.workers?.usePassKeys(keys)
    },
  })
  fabric.onLink(({ id, connected }) => {
    if (connected) passKeys.tell(id)
  })
  closing.addServed(() => passKeys.stop())
}

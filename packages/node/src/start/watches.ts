/** Watches over what this node and the others see: each tells what it found, and some deny in the node's own name. */
import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import {
  ANOMALY_SUMMARY_VERSION,
  INSIDER_SUMMARY_VERSION,
  RULE_SUMMARY_VERSION,
  type Signal,
  SOURCE_SUMMARY_VERSION,
} from '@ringwall/detect'
import type { LoginEvent } from '@ringwall/proxy'
import type { NewFinding } from '@ringwall/respond'
import { AnomalyWatch, describeAnomaly, followAnomalies, keepAnomalies } from '../anomaly-watch.ts'
import { ConductWatch, describeConduct } from '../conduct-watch.ts'
import { DetectionWatch, describeDetected, followDetection, keepDetection } from '../detection.ts'
import { FloodWatch } from '../floods.ts'
import { ofAnomaly, ofDetected, ofFailedLogins, ofFlood, ofSlowLogins } from '../incident-findings.ts'
import { describeInsider, InsiderWatch } from '../insider-watch.ts'
import { LoginWatch } from '../logins.ts'
import { STREAMS_VERSION } from '../people/signal-streams.ts'
import { UNCONFIRMED_MAX } from '../provisional.ts'
import { SlowLoginWatch } from '../slow-login-watch.ts'
import type { Agreement } from './agreement.ts'
import type { Denials } from './denials.ts'
import type { Ground } from './ground.ts'
import type { IncidentParts } from './incident-parts.ts'
import type { Judging } from './judging.ts'
import type { LateParts } from './late-parts.ts'

export interface Watches {
  readonly conduct: ConductWatch
  /** Holders that answered wrongly when this node had something opened. */
  readonly onLiars: (parties: readonly string[]) => void
  readonly detection: DetectionWatch
  readonly insiders: InsiderWatch
  readonly floods: FloodWatch
  /** A request has ended. */
  readonly signalled: (signal: Signal) => void
  readonly loggedIn: (attempt: LoginEvent) => void
}

export async function openWatches(
  ground: Ground,
  agreement: Agreement,
  denials: Denials,
  judging: Judging,
  incidents: IncidentParts,
  late: LateParts,
): Promise<Watches> {
  const { report } = incidents
  const conduct = watchConduct(ground, agreement, report)
  late.conduct = conduct
  const slowLogins = watchSlowLogins(ground, agreement, denials, report)
  const anomalies = await watchAnomalies(ground, agreement, report)
  const detection = await watchByRules(ground, agreement, denials, judging, anomalies, report)
  const insiders = watchInsiders(ground, agreement, report)
  const logins = watchLogins(ground, agreement, denials, report, (from, payload) => {
    if (payload[0] === SOURCE_SUMMARY_VERSION) slowLogins.merge(from, payload)
    else if (payload[0] === RULE_SUMMARY_VERSION) detection.merge(from, payload, Date.now())
    else if (payload[0] === ANOMALY_SUMMARY_VERSION) anomalies.merge(from, payload)
    else if (payload[0] === INSIDER_SUMMARY_VERSION) insiders.merge(from, payload)
    else if (payload[0] === STREAMS_VERSION) late.signals?.merge(payload, Date.now())
    else incidents.desk.merge(from, payload, Date.now())
  })
  const floods = watchFloods(ground, agreement, denials, report)
  await insiders.start()
  ground.closing.add(() => insiders.stop())
  await slowLogins.start()
  ground.closing.add(() => slowLogins.stop())
  return {
    conduct,
    onLiars: (parties) => conduct.liars(parties, 'when this node had something opened'),
    detection,
    insiders,
    floods,
    signalled: (signal) => {
      detection.observe(signal)
      insiders.requested(signal)
    },
    loggedIn: (attempt) => {
      if (attempt.failed) logins.failed(attempt)
      slowLogins.observe(attempt)
    },
  }
}

type Report = (finding: NewFinding) => void

function watchConduct({ config, events, closing }: Ground, agreement: Agreement, report: Report): ConductWatch {
  const { ledger, fabric, early, telemetry } = agreement
  const conduct = new ConductWatch({
    self: config.id,
    look: () => {
      const { reachable, quorum } = ledger.status()
      return {
        links: fabric.links(),
        validators: ledger.state().validators.map(({ id }) => id),
        reachable,
        quorum,
        unconfirmed: early.unconfirmedByIssuer(Date.now()),
      }
    },
    unconfirmedMax: UNCONFIRMED_MAX,
    onSeen: (node, kind) => telemetry.count('node_faults_total', { node, kind }, 1),
    onNote: (line) => events.add('finding', 'info', line),
    onFinding: (finding) => {
      telemetry.count('findings_total', { rule: finding.detector }, 1)
      events.add('finding', finding.severity === 'low' ? 'warn' : 'bad', describeConduct(finding))
      report(finding)
    },
  })
  conduct.start()
  closing.add(() => conduct.stop())
  return conduct
}

/** @param onSources Summaries of any watch, that other nodes send. */
function watchLogins(
  { config, events, closing }: Ground,
  { fabric, now }: Agreement,
  { deny }: Denials,
  report: Report,
  onSources: (from: string, payload: Uint8Array) => void,
): LoginWatch {
  const logins = new LoginWatch({
    self: config.id,
    fabric,
    view: () => now.view,
    deny,
    onFinding: (finding) => {
      events.add('finding', 'warn', finding.reason)
      report(ofFailedLogins(finding, Date.now()))
    },
    onSources,
  })
  closing.add(() => logins.stop())
  return logins
}

function watchSlowLogins(ground: Ground, { fabric, now }: Agreement, { deny }: Denials, report: Report): SlowLoginWatch {
  const { config, disk, events, log } = ground
  return new SlowLoginWatch({
    self: config.id,
    fabric,
    view: () => now.view,
    file: join(config.data, 'logins.bin'),
    disk: disk.seal,
    deny,
    say: (line) => events.add('finding', 'warn', line),
    onFinding: (finding) => report(ofSlowLogins(finding, Date.now())),
    log,
  })
}

async function watchAnomalies(ground: Ground, { fabric, now, telemetry }: Agreement, report: Report): Promise<AnomalyWatch> {
  const { config, ring, disk, events, log, closing } = ground
  const anomalies = new AnomalyWatch({
    ring,
    view: () => now.view,
    onFinding: (found) => {
      telemetry.count('findings_total', { rule: found.rule }, 1)
      events.add('finding', 'warn', describeAnomaly(found))
      report(ofAnomaly(found))
    },
    salt: randomInt(2 ** 32),
  })
  closing.add(await keepAnomalies(anomalies, { file: join(config.data, 'anomalies.bin'), disk: disk.seal, log }))
  closing.add(followAnomalies(anomalies, fabric))
  return anomalies
}

async function watchByRules(
  { config, disk, events, log, closing }: Ground,
  { fabric, now, telemetry }: Agreement,
  { denyAt }: Denials,
  { places }: Judging,
  anomalies: AnomalyWatch,
  report: Report,
): Promise<DetectionWatch> {
  const detection = new DetectionWatch({
    self: config.id,
    anomalies,
    view: () => now.view,
    deny: denyAt,
    locationOf: places === undefined ? undefined : (address) => places.locationOf(address),
    onFinding: (found) => {
      telemetry.count('findings_total', { rule: found.rule }, 1)
      events.add('finding', 'warn', describeDetected(found))
      report(ofDetected(found))
    },
  })
  closing.add(await keepDetection(detection, { file: join(config.data, 'usual.bin'), disk: disk.seal, log }))
  closing.add(followDetection(detection, fabric))
  return detection
}

function watchInsiders(ground: Ground, { fabric, now, telemetry }: Agreement, report: Report): InsiderWatch {
  const { config, disk, events, log } = ground
  return new InsiderWatch({
    fabric,
    view: () => now.view,
    file: join(config.data, 'insiders.bin'),
    disk: disk.seal,
    onFinding: (finding) => {
      telemetry.count('findings_total', { rule: finding.detector }, 1)
      events.add('finding', 'warn', describeInsider(finding))
      report(finding)
    },
    log,
  })
}

function watchFloods({ events }: Ground, { now, telemetry }: Agreement, { deny }: Denials, report: Report): FloodWatch {
  return new FloodWatch({
    view: () => now.view,
    deny,
    say: (line) => events.add('finding', 'warn', line),
    count: (named) => telemetry.count('flood_sources_total', {}, named),
    onFound: (named, reason, isDenied) => report(ofFlood(named, reason, isDenied, Date.now())),
  })
}

/** What this node judges requests by, and what its guard is told of them. Threads that take traffic open most of it for themselves. */
import { randomInt } from 'node:crypto'
import { createGuard, createRateLimiter, type Guard, type GuardEnvironment } from '@ringwall/guard'
import { Challenges } from '@ringwall/proxy'
import { ApiActivity } from '../api-activity.ts'
import { AuditLog } from '../audit-log.ts'
import { BotNames } from '../bot-names.ts'
import { openBreaches } from '../breached-passwords.ts'
import { StartError } from '../errors.ts'
import { IndicatorStore } from '../indicators/indicator-store.ts'
import { NodeModel } from '../model/node-model.ts'
import { openPlaces } from '../places.ts'
import { RequestArchive } from '../request-archive.ts'
import { RingLimits } from '../ring-limits.ts'
import { RuleTiming } from '../rule-timing.ts'
import { RuleWatch } from '../rule-watch.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'

export interface Judging {
  readonly guard: Guard
  /** As of now. */
  readonly environment: () => GuardEnvironment
  readonly archive: RequestArchive
  readonly watch: RuleWatch
  readonly api: ApiActivity
  readonly indicators: IndicatorStore
  readonly limits: RingLimits
  readonly challenges: Challenges
  readonly breaches: Awaited<ReturnType<typeof openBreaches>>
  readonly places: Awaited<ReturnType<typeof openPlaces>>
  /** Where one thread does it all, as the audit log. */
  readonly model: NodeModel | undefined
  readonly audit: AuditLog | undefined
}

/** @throws {StartError} For files of the configuration that cannot be used. */
export async function openJudging(ground: Ground, agreement: Agreement): Promise<Judging> {
  const { config, log, closing } = ground
  const { fabric, now } = agreement
  const api = new ApiActivity()
  api.follow(now.view.policy)
  const archive = new RequestArchive(config.requestBytesKept)
  const watch = new RuleWatch()
  const audit = await openAudit(ground)
  const indicators = await openIndicators(ground)
  const limits = new RingLimits({ self: config.id, fabric, view: () => now.view })
  fabric.onLink(({ id, connected }) => {
    if (!connected) limits.lost(id)
  })
  closing.addServed(() => limits.stop())
  const challenges = new Challenges()
  // Workers open it for themselves: here it is seen whether they can.
  const breaches = await openBreaches(config, log)
  if (breaches !== undefined) closing.addServed(() => breaches.close())
  const places = await openPlaces(config, log)
  if (places !== undefined) closing.addServed(() => places.stop())
  const botNames = new BotNames({ servers: config.dnsServers })
  closing.addServed(() => botNames.stop())
  const model = openModel(ground, agreement)
  const guard = createGuard({
    limiter: createRateLimiter({ seed: randomInt(2 ** 32) }),
    shared: limits,
    passes: challenges,
    ...(breaches === undefined ? {} : { breaches }),
    ...(places === undefined ? {} : { places }),
    botNames,
    ...(model === undefined ? {} : { model: model.judge }),
    witness: (judged, body, truncated, nowMs) => {
      if (judged.verdict.matches.length > 0 || model?.judge.isFlagged(judged.request) === true)
        archive.add(judged, body, truncated, now.view.policyVersion, nowMs)
      watch.observe(judged, nowMs)
      model?.observe(judged, body)
      audit?.judged(judged, body, nowMs)
    },
  })
  const environment = environmentOf(agreement, indicators)
  return { guard, environment, archive, watch, api, indicators, limits, challenges, breaches, places, model, audit }
}

function environmentOf({ now, early }: Agreement, indicators: IndicatorStore): () => GuardEnvironment {
  const timing = new RuleTiming()
  return () => ({
    view: now.view,
    indicators: indicators.sets,
    provisional: early.enforced,
    tokens: now.tokens,
    nowMs: Date.now(),
    certifiedAtMs: now.certifiedAtMs,
    stopwatch: timing.next(),
  })
}

async function openIndicators({ config, log, disk, closing }: Ground): Promise<IndicatorStore> {
  const indicators = new IndicatorStore(config.indicators, log, disk.options)
  closing.addServed(() => indicators.stop())
  await indicators.start()
  return indicators
}

function openModel({ config, self, events, closing }: Ground, { fabric, now }: Agreement): NodeModel | undefined {
  if (config.workers > 1) return undefined
  const model = new NodeModel({
    self: config.id,
    region: self.region,
    data: config.data,
    fabric,
    view: () => now.view,
    say: (level, line) => events.add('finding', level, line),
  })
  closing.add(() => model.stop())
  return model
}

/** Workers write it themselves. */
async function openAudit({ config, ring, log, closing }: Ground): Promise<AuditLog | undefined> {
  if (config.workers > 1 || config.audit === undefined) return undefined
  const audit = new AuditLog(config.audit, { ring, node: config.id, listen: config.listen.traffic[0]!, log })
  await audit.start().catch((cause: Error) => {
    throw new StartError('CONFIG_INVALID', `audit.file: ${cause.message}`, { cause })
  })
  closing.addServed(() => audit.stop())
  return audit
}

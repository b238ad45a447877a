/** Scores what CrowdSec concluded by the yardstick that ours is scored by: the same traffic, played again. */
import type { CrowdsecAlert } from './crowdsec.ts'
import { playTraffic, SERVICE, type TrafficOptions } from './run.ts'
import { type Score, Scorer } from './score.ts'
import { HOUR } from './traffic.ts'

/** How long its default profile bans a source. */
const BAN_MS = 4 * HOUR

/** What CrowdSec would have refused is what comes from a source within four hours of an alert about it. */
export function scoreCrowdsec(traffic: TrafficOptions, alerts: readonly CrowdsecAlert[]): Score {
  const scorer = new Scorer('', SERVICE)
  const bans = new Map<string, { readonly untilMs: number; readonly scenario: string }>()
  let next = 0
  const conclude = (untilMs: number): void => {
    for (; next < alerts.length && alerts[next]!.atMs <= untilMs; next += 1) {
      const { source, scenario, atMs } = alerts[next]!
      bans.set(source, { untilMs: atMs + BAN_MS, scenario })
      scorer.found({ atMs, node: 0, detector: scenario, subjects: [`ip:${source}`], reason: scenario })
    }
  }
  playTraffic(
    traffic,
    (...said) => scorer.begin(...said),
    (play) => {
      // Its clock is the log's, of whole seconds.
      conclude(play.atMs - 1_000)
      const ban = bans.get(play.source)
      const isBanned = ban !== undefined && play.atMs < ban.untilMs
      scorer.played(play, { allowed: !isBanned, reason: isBanned ? `scenario ${ban.scenario}` : '' })
    },
  )
  conclude(Number.POSITIVE_INFINITY)
  return scorer.score()
}

/** What the admin API shows of the fleet: labels, holds, versions, and how far updates are. */
import { ageOf, fleetNode, heldOf, labelsOf, type NodeAge, recordOf, standingOf, updateOf } from '@ringwall/ring'
import { trustState } from '../enrolment/trust.ts'
import type { RunningNode } from '../running-node.ts'
import type { Operation } from './http.ts'

export function fleetOperations(node: RunningNode): readonly Operation[] {
  return [{ method: 'GET', path: '/v1/fleet', run: async () => ({ json: await fleet(node) }) }]
}

export function shownAge(age: NodeAge | undefined): unknown {
  if (age === undefined) return null
  const { sinceMs, drainAtMs, endsAtMs, rule } = age
  return { sinceMs, drainAtMs, endsAtMs, end: rule.end }
}

async function fleet(node: RunningNode): Promise<unknown> {
  const state = node.ledger.state()
  const policy = node.view().policy.fleet
  const nowMs = Date.now()
  const nodes = await Promise.all(
    state.nodes.map(async ({ id, region, roles }) => {
      const { ran, trying, failed } = fleetNode(state.fleet, id)
      const record = recordOf(state.enrolment.trust, id)
      const self = id === node.config.id
      const summary = await (self ? node.queries.summary() : node.queries.askSummary(id).catch(() => undefined))
      return {
        id,
        region,
        roles,
        labels: Object.fromEntries(labelsOf(state, id)),
        version: summary?.version ?? ran?.version ?? null,
        wanted: updateOf(state, policy, id)?.version ?? null,
        trying: trying?.version ?? null,
        failed: failed === null ? null : { version: failed.version, atMs: failed.atMs, reason: failed.reason },
        hold: heldOf(state, policy, id, nowMs) ?? null,
        age: shownAge(ageOf(state, policy, id)),
        reachable: summary !== undefined,
        ready: summary?.ready ?? null,
        viewAgeMs: summary?.viewAgeMs ?? null,
        attested: record === undefined ? null : { state: trustState(record, nowMs), untilMs: record.untilMs },
        lastSeenMs: summary === undefined ? (node.lastSeenMs(id) ?? null) : nowMs,
      }
    }),
  )
  return {
    nodes,
    devices: state.fleet.devices,
    releases: state.fleet.releases.map(({ version, digest, files, bytes, programs, key, by, atMs }) => ({
      version,
      digest,
      files,
      bytes,
      programs,
      key,
      by,
      atMs,
    })),
    updates: policy.updates.map((update) => {
      const standing = standingOf(state, policy, update, nowMs)
      return { ...standing, stopped: standing.stopped ?? null, select: update.select }
    }),
  }
}

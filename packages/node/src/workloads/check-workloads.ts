/** What `ringwall check` says of the programs on this machine. */
import { mayAttest } from '@ringwall/ring'
import type { CheckFinding } from '../check.ts'
import type { RunningNode } from '../running-node.ts'

export function checkWorkloads({
  config,
  view,
  workloads,
}: Pick<RunningNode, 'config' | 'view' | 'workloads'>): readonly CheckFinding[] {
  const { policy } = view()
  const given = Object.keys(policy.workloads).filter((service) => mayAttest(policy, config.id, service))
  if (given.length === 0) return []
  if (workloads === undefined)
    return [
      {
        group: 'key',
        level: 'warn',
        what: `the policy gives this node the workloads ${given.join(', ')}, and it serves no programs`,
        fix: 'add workloadApi: { socket: PATH } to its node.yaml, or take the node out of their nodes',
      },
    ]
  const standing = workloads.standing()
  const failing = standing.filter(({ reason, programs }) => reason !== null && programs.length > 0)
  if (failing.length === 0) {
    const count = standing.reduce((sum, { programs }) => sum + programs.length, 0)
    return [{ group: 'key', level: 'ok', what: `${count} programs listen for certificates of ${given.join(', ')}`, fix: null }]
  }
  return failing.map(({ service, expiresAtMs, reason }) => ({
    group: 'key',
    level: expiresAtMs === null ? 'bad' : 'warn',
    what:
      expiresAtMs === null
        ? `programs of ${service} have no certificate: ${reason}`
        : `the certificate of ${service} is not renewed, good until ${new Date(expiresAtMs).toISOString()}: ${reason}`,
    fix: 'bring back the holders of the key: ringwall key show; the node tries on by itself',
  }))
}

/** The Workload API, where the configuration names a socket for it. */
import { join } from 'node:path'
import { denialOfCredential } from '../known-denials.ts'
import { WorkloadApi } from '../workloads/workload-api.ts'
import type { Agreement } from './agreement.ts'
import type { Ground } from './ground.ts'
import type { LateParts } from './late-parts.ts'
import type { OwnName } from './own-name.ts'
import type { RingKeys } from './ring-keys.ts'

export function openWorkloads(
  { config, events }: Ground,
  { early, now }: Agreement,
  own: OwnName,
  { signing }: RingKeys,
  late: LateParts,
): WorkloadApi | undefined {
  if (config.workloadSocket === undefined) return undefined
  const workloads = new WorkloadApi({
    self: config.id,
    socket: config.workloadSocket,
    authoritiesFile: join(config.data, 'keys', 'authorities.json'),
    view: () => now.view,
    denied: (of) => denialOfCredential(now.view, early, of),
    sign: (message) => own.sign(message),
    mint: (asked, timeoutMs) => signing.mint(asked, timeoutMs),
    say: (level, line) => events.add('key', level, line),
  })
  late.workloads = workloads
  return workloads
}

/**
 * Which programs are which service: `workloads` of the policy. A node that finds a program on its machine (docs/workloads.md) may have a
 * certificate of that service, and every holder of the ring's key looks here before it signs one.
 */
import { z } from 'zod'
import type { PolicyFault } from './policy-faults.ts'
import { Duration, Name } from './policy-values.ts'

export const WORKLOADS_MAX = 1_000
/** Of a certificate of a workload. */
const TTL_MS_MIN = 60_000
const TTL_MS_MAX = 86_400_000
const ID_MAX = 4_294_967_294

const UnixId = z.int().min(0).max(ID_MAX)

const UnixSelector = z.strictObject({
  uid: UnixId.meta({ description: 'The user that the program runs as.' }),
  gid: UnixId.optional().meta({ description: 'Its group as well.' }),
  path: z
    .string()
    .max(4_095)
    .regex(/^\/[^\p{Cc}\p{Cs}]*$/u, 'expected an absolute path')
    .optional()
    .meta({ description: 'Its binary as well, as the machine names it: no link is followed.' }),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'expected 64 lower-case hex digits')
    .optional()
    .meta({ description: 'What its binary holds as well: SHA-256.' }),
})

const Workload = z.strictObject({
  nodes: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'expected the id of a node'))
    .min(1)
    .max(64)
    .meta({ description: 'The nodes that may have certificates of this service, for programs on their machines.' }),
  unix: z
    .array(UnixSelector)
    .min(1)
    .max(16)
    .meta({ description: 'Which programs these are: those that one of these fits, in all that it says.' }),
  ttl: Duration.default(3_600_000).meta({ description: 'How long a certificate is good: 1m to 24h.' }),
})

export const Workloads = z
  .record(Name, Workload)
  .default({})
  .meta({ description: 'Programs that get certificates of services from the node on their machine, by the name of the service.' })

export type WorkloadPolicy = z.output<typeof Workload>
export type UnixSelectorPolicy = z.output<typeof UnixSelector>

/** Of a policy, what says who is which service. */
export interface WorkloadsPolicy {
  readonly workloads: Readonly<Record<string, WorkloadPolicy>>
}

/** What the kernel says of a program. Undefined: it could not be found out. */
export interface UnixFacts {
  readonly uid: number
  readonly gid: number
  readonly path: string | undefined
  /** Lower-case hex. */
  readonly sha256: string | undefined
}

/** What the policy says of a service; undefined when it is no workload. */
export function workloadOf({ workloads }: WorkloadsPolicy, service: string): WorkloadPolicy | undefined {
  return Object.hasOwn(workloads, service) ? workloads[service] : undefined
}

/** May this node say which programs are this service? */
export function mayAttest(policy: WorkloadsPolicy, node: string, service: string): boolean {
  return workloadOf(policy, service)?.nodes.includes(node) === true
}

/** The services that a program on this node is, in the order of their names. */
export function servicesOf({ workloads }: WorkloadsPolicy, node: string, facts: UnixFacts): readonly string[] {
  return Object.keys(workloads)
    .filter((name) => workloads[name]?.nodes.includes(node) && workloads[name].unix.some((selector) => fits(selector, facts)))
    .sort()
}

function fits({ uid, gid, path, sha256 }: UnixSelectorPolicy, facts: UnixFacts): boolean {
  return (
    uid === facts.uid &&
    (gid === undefined || gid === facts.gid) &&
    (path === undefined || path === facts.path) &&
    (sha256 === undefined || sha256 === facts.sha256)
  )
}

export function workloadFaults({ workloads }: WorkloadsPolicy): PolicyFault[] {
  const faults: PolicyFault[] = []
  const names = Object.keys(workloads)
  if (names.length > WORKLOADS_MAX)
    faults.push({ path: ['workloads'], message: `${names.length} workloads, at most ${WORKLOADS_MAX} are taken` })
  for (const [name, { nodes, unix, ttl }] of Object.entries(workloads)) {
    const at = ['workloads', name] as const
    if (ttl < TTL_MS_MIN || ttl > TTL_MS_MAX)
      faults.push({ path: [...at, 'ttl'], message: `expected 1m to 24h, found ${ttl / 1_000} s`, hint: 'the default is 1h' })
    for (const [index, node] of nodes.entries()) {
      if (nodes.indexOf(node) === index) continue
      faults.push({ path: [...at, 'nodes', index], message: `the node ${node} occurs twice`, hint: 'keep one of the two' })
    }
    const seen = new Set<string>()
    for (const [index, { uid, gid, path, sha256 }] of unix.entries()) {
      const key = JSON.stringify([uid, gid, path, sha256])
      if (seen.has(key))
        faults.push({ path: [...at, 'unix', index], message: 'this program is named twice', hint: 'keep one of the two' })
      seen.add(key)
      if (path?.split('/').some((part, depth) => depth > 0 && (part === '' || part === '.' || part === '..'))) {
        const hint = 'write it as the machine names it, without .., // or a final /'
        faults.push({ path: [...at, 'unix', index, 'path'], message: `${JSON.stringify(path)} is no path of a binary`, hint })
      }
    }
  }
  return faults
}

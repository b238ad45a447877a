/** Which nodes are to run which release, when, and what stops an update. */
import { z } from 'zod'
import { parseSelector } from './fleet-label.ts'
import { Duration, Name, Share } from './policy-values.ts'
import { RELEASE_VERSION, RELEASE_VERSION_EXPECTED } from './release-version.ts'

export const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const
const TRIAL_MS_MIN = 1_000
const TRIAL_MS_MAX = 86_400_000
const OFFLINE_MS_MAX = 365 * 86_400_000
const WAIT_MS_MAX = 7 * 86_400_000

const Clock = z.string().regex(/^(?:[01][0-9]|2[0-3]):[0-5][0-9]$/, 'expected a time of day such as 02:30')

export const NodeSelector = z.string().superRefine((text, context) => {
  const read = parseSelector(text)
  if ('fault' in read) context.addIssue({ code: 'custom', message: read.fault })
})

const Update = z.strictObject({
  name: Name,
  select: NodeSelector.default('').meta({
    description: 'Of which nodes: role=edge,region in (eu-1,eu-2). Empty: all. A node goes by the first that selects it.',
  }),
  version: z
    .string()
    .regex(RELEASE_VERSION, `expected ${RELEASE_VERSION_EXPECTED}`)
    .meta({ description: 'Which they are to run: a release that the ring agreed on (ringwall release add).' }),
  first: z
    .string()
    .regex(/^[a-z0-9][a-z0-9-]{0,31}$/, 'expected the id of a node')
    .optional()
    .meta({ description: 'Which tries it first; whichever asks first, unless given. Then its region follows, then all.' }),
  atOnce: z.int().min(1).max(100).default(1).meta({
    description: 'How many may be at it at a time. Of validators, never more than may fail.',
  }),
  absent: z.int().min(0).max(100).default(0).meta({
    description: 'How many of a stage may not have come to it when the next stage begins, such as those that are offline.',
  }),
  trial: Duration.default(60_000)
    .refine((ms) => ms >= TRIAL_MS_MIN && ms <= TRIAL_MS_MAX, { error: 'expected 1s to 24h' })
    .meta({ description: 'How long each node watches the new release before it keeps it.' }),
  wait: Duration.default(600_000)
    .refine((ms) => ms <= WAIT_MS_MAX, { error: 'expected 0s to 7d' })
    .meta({ description: 'How long all of a stage must have kept it before the next stage begins.' }),
  errors: Share.default(0.05).meta({
    description: 'The most of the answers in its trial that may be errors of upstreams or its own (5xx).',
  }),
  failure: z.enum(['stop', 'rollback']).default('rollback').meta({
    description: 'Where a node fails, it goes back, and no other begins. rollback: those that have it go back, too.',
  }),
})

const AGE_MS_MIN = 10_000
const AGE_MS_MAX = 10 * 365 * 86_400_000

const MaxAge = z
  .strictObject({
    select: NodeSelector.default('').meta({
      description: 'Of which nodes: role=edge,region in (eu-1,eu-2). Empty: all. A node goes by the first that selects it.',
    }),
    age: Duration.refine((ms) => ms >= AGE_MS_MIN && ms <= AGE_MS_MAX, { error: 'expected 10s to 3650d' }).meta({
      description: 'How old a node may become, from when the ring added it.',
    }),
    drain: Duration.optional().meta({
      description: 'How long before its end it is drained: 5m, or a tenth of the age, unless given.',
    }),
    spread: Share.default(0.1).meta({
      description: 'The most of the age by which it ends before, by its name: nodes that came together do not end together.',
    }),
    end: z.enum(['out', 'drain']).default('out').meta({
      description: 'out: the ring lets it go; a validator votes on, and is given nothing else. drain: it stays drained.',
    }),
  })
  .refine(({ age, drain = 0, spread }) => drain <= (age - age * spread) / 2, {
    path: ['drain'],
    error: 'expected at most half of the age',
  })

export const FleetPolicyShape = z.strictObject({
  keys: z
    .array(z.string().regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/, 'expected an Ed25519 public key: 32 bytes in base64url'))
    .max(8)
    .default([])
    .meta({ description: 'Whose releases count. Without any, none is taken.' }),
  offline: Duration.default(7 * 86_400_000)
    .refine((ms) => ms <= OFFLINE_MS_MAX, { error: 'expected 0s to 365d' })
    .meta({
      description: 'How old the view of a node may be that starts and reaches nobody, for it to count as ready.',
    }),
  windows: z
    .array(
      z.strictObject({
        days: z.array(z.enum(DAYS)).max(7).default([]).meta({ description: 'On which days it begins; all when empty.' }),
        from: Clock,
        to: Clock.meta({ description: 'In UTC. Before from: on the next day.' }),
      }),
    )
    .max(16)
    .default([])
    .meta({ description: 'When updates may begin; always when empty.' }),
  maxAge: z.array(MaxAge).max(16).default([]).meta({ description: 'How old nodes may become before they are set up anew.' }),
  updates: z
    .array(Update)
    .max(32)
    .default([])
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, { error: 'expected names that differ' }),
})

export type FleetPolicy = z.output<typeof FleetPolicyShape>
export type MaxAge = z.output<typeof MaxAge>
export type FleetUpdate = FleetPolicy['updates'][number]

const DAY_MS = 86_400_000

/** May an update begin now? */
export function isInWindow({ windows }: Pick<FleetPolicy, 'windows'>, nowMs: number): boolean {
  if (windows.length === 0) return true
  const today = Math.floor(nowMs / DAY_MS)
  const minute = Math.floor((nowMs % DAY_MS) / 60_000)
  return windows.some(({ days, from, to }) => {
    const [begin, end] = [minutesOf(from), minutesOf(to)]
    const isOn = (day: number): boolean => days.length === 0 || days.includes(DAYS[(day + 4) % 7] as (typeof DAYS)[number])
    if (begin < end) return isOn(today) && minute >= begin && minute < end
    return (isOn(today) && minute >= begin) || (isOn(today - 1) && minute < end)
  })
}

function minutesOf(clock: string): number {
  const [hours, minutes] = clock.split(':').map(Number) as [number, number]
  return hours * 60 + minutes
}

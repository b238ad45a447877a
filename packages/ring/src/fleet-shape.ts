/** The form of what a snapshot says of labels, holds, releases and updates. */
import { z } from 'zod'
import { DEVICES_MAX } from './enrolment.ts'
import { isNoFleet, PROGRAMS_MAX, RELEASES_MAX } from './fleet.ts'
import { LABEL, LABELS_MAX } from './fleet-label.ts'
import { NODES_MAX } from './nodes.ts'
import { RELEASE_FORMAT } from './release.ts'
import { RELEASE_VERSION } from './release-version.ts'

const Ms = z.int().min(0)
const Hash = z.string().regex(/^[0-9a-f]{64}$/)
const Version = z.string().regex(RELEASE_VERSION)
const Reason = z.string().min(1).max(200)
const LabelList = z.array(z.string().regex(LABEL)).max(LABELS_MAX)
const Id = z.string().min(1).max(63)
const Moment = z.strictObject({ version: Version, atMs: Ms }).nullable()

const isAscending = (all: readonly string[]): boolean => all.every((one, at) => at === 0 || (all[at - 1] as string) < one)

export const FleetShape = z
  .strictObject({
    devices: z
      .array(z.strictObject({ serial: z.string().max(64), labels: LabelList }))
      .max(DEVICES_MAX)
      .refine((all) => isAscending(all.map(({ serial }) => serial)), { error: 'devices are out of order' }),
    nodes: z
      .array(
        z.strictObject({
          id: Id,
          labels: LabelList,
          hold: z
            .strictObject({
              kind: z.enum(['cordon', 'drain']),
              by: z.string().max(80),
              reason: Reason,
              sinceMs: Ms,
              untilMs: Ms.nullable(),
            })
            .nullable(),
          ran: Moment,
          before: Version.nullable(),
          trying: Moment,
          failed: z.strictObject({ version: Version, atMs: Ms, reason: Reason }).nullable(),
        }),
      )
      .max(NODES_MAX)
      .refine((all) => isAscending(all.map(({ id }) => id)), { error: 'nodes are out of order' }),
    releases: z
      .array(
        z.strictObject({
          format: z.literal(RELEASE_FORMAT),
          version: Version,
          contents: Hash,
          files: z.int().min(1),
          bytes: z.int().min(0),
          programs: z.array(Hash).max(PROGRAMS_MAX),
          digest: Hash,
          key: z.string().length(43),
          signature: z.string().length(86),
          by: z.string().max(80),
          atMs: Ms,
        }),
      )
      .max(RELEASES_MAX)
      .refine((all) => isAscending(all.map(({ version }) => version)), { error: 'releases are out of order' }),
    since: z
      .array(z.strictObject({ id: Id, atMs: Ms }))
      .min(1)
      .max(NODES_MAX)
      .refine((all) => isAscending(all.map(({ id }) => id)), { error: 'ages are out of order' })
      .optional(),
  })
  .refine((fleet) => !isNoFleet(fleet), { error: 'it is empty' })

/** What is known of measured states, as snapshots hold it. */
import { z } from 'zod'
import { ATTESTATION_KINDS, EXPELLED_KEPT, EXPULSION_CODES, FORMER_BOOTS_KEPT, REFERENCES_MAX } from './attestation.ts'
import { REFERENCE_SCOPE } from './attestation-parse.ts'

const Ms = z.int().min(0)
const Hash = z.string().regex(/^[0-9a-f]{64}$/)
const Boot = z.string().regex(/^[0-9a-f]{16}$/)
const NodeId = z.string().max(63)

export const TrustShape = z.strictObject({
  beacons: z.array(z.strictObject({ atMs: Ms, value: Hash })).max(4),
  endorsements: z.array(z.strictObject({ node: NodeId, ek: Hash })).max(1_000),
  expelled: z.array(z.strictObject({ node: NodeId, code: z.enum(EXPULSION_CODES), atMs: Ms })).max(EXPELLED_KEPT),
  nodes: z
    .array(
      z.strictObject({
        node: NodeId,
        kind: z.enum(ATTESTATION_KINDS),
        ak: z.string().max(800).nullable(),
        atMs: Ms.nullable(),
        staleAtMs: Ms,
        untilMs: Ms,
        outAtMs: Ms,
        saidMs: Ms,
        boot: z.strictObject({ id: Boot, sinceMs: Ms }).nullable(),
        former: z.array(Boot).max(FORMER_BOOTS_KEPT),
        clock: z.strictObject({ resetCount: Ms, clockMs: Ms }).nullable(),
        configuration: Hash.nullable(),
        program: Hash.nullable(),
        pcrs: Hash.nullable(),
        held: z.strictObject({ program: Hash.nullable(), pcrs: Hash.nullable() }),
      }),
    )
    .max(1_000),
  references: z
    .array(
      z.strictObject({
        kind: z.enum(['program', 'pcrs']),
        digest: Hash,
        label: z.string().max(63),
        scope: z.string().regex(REFERENCE_SCOPE),
        endsAtMs: Ms.nullable(),
      }),
    )
    .max(REFERENCES_MAX),
})

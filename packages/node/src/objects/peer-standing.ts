/** How the shards of a node stand, as its peers hear it: a node of another release may say more. */
import { z } from 'zod'

const REASON_CHARS_MAX = 512

const count = z.int().min(0)
const name = z.string().max(64)
const reason = z.string().transform((text) => text.slice(0, REASON_CHARS_MAX))

export const PeerStanding = z.object({
  versions: count,
  versionsMax: count,
  shards: count,
  missing: count,
  waiting: count,
  waits: z.array(z.object({ version: name, reason })).max(64),
  bytes: count,
  bytesMax: count,
  store: reason,
  storeAway: z.object({ sinceMs: z.number(), reason }).nullable(),
  passedAtMs: z.number().nullable(),
  uncompared: count,
  comparedAtMs: z.number().nullable(),
  repairing: z.object({ version: name, index: count, bytes: count, of: count }).nullable(),
  mending: z.object({ shards: count, ofShards: count, bytes: count, ofBytes: count }).nullable(),
  repaired: count,
  corrupt: count,
  erased: count,
  moved: count,
  scrubbedBytes: count,
  repairedBytes: count,
  put: count,
  read: count,
  faults: count,
  culprits: z.array(z.object({ party: name, wrong: count, missing: count, lastAtMs: z.number() })).max(1_024),
  away: z.array(name).max(1_024),
})
export type PeerStanding = z.output<typeof PeerStanding>

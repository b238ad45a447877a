/** A decision as it crosses from one node to another, and into a receipt. */
import { z } from 'zod'

const text = z.string().max(512)
const Outcome = z.enum(['allow', 'deny', 'challenge', 'throttle'])

/** A record as another node tells it: believed to be about that node's own requests, and bounded. */
export const Decision = z.strictObject({
  requestId: text,
  atMs: z.number(),
  node: text,
  region: text,
  traceId: text,
  source: text,
  ja4: text.optional(),
  method: text,
  host: text,
  path: z.string().max(8_192),
  service: text.optional(),
  route: text.optional(),
  outcome: Outcome,
  shadowOutcome: Outcome,
  check: text,
  status: z.number(),
  reason: z.string().max(2_048),
  rule: text.optional(),
  height: z.number(),
  viewAgeMs: z.number(),
  stale: z.boolean(),
  provisional: z.boolean(),
  wafScore: z.number(),
  matches: z
    .array(z.strictObject({ ruleId: z.number(), message: text, severity: text, variable: text, excerpt: z.string().max(512) }))
    .max(256),
  guardUs: z.number(),
  totalUs: z.number(),
})
export type DecisionOfNode = z.output<typeof Decision>

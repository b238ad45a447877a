/** Who may do what with objects in buckets, as the policy says it: all rules that match add up, and what no rule grants is refused. */
import { z } from 'zod'
import { OBJECT_SHARDS_MAX } from './object-bounds.ts'
import { RULES_MAX, WHO_MAX, Who } from './policy-who.ts'

const REGIONS_MAX = 16

const Rule = z.strictObject({
  bucket: z
    .string()
    .max(63)
    .regex(/^(\*|[a-z0-9][a-z0-9-]{0,61}\*?)$/, 'expected the name of a bucket, the beginning of one and *, or *')
    .meta({ description: 'The bucket of this name; with * at the end all that begin so.' }),
  prefix: z.string().max(256).default('').meta({ description: 'Of the keys that it is about; all without.' }),
  read: z.array(Who).max(WHO_MAX).default([]).meta({ description: 'Who may list and open them.' }),
  write: z
    .array(Who)
    .max(WHO_MAX)
    .default([])
    .meta({ description: 'Who may put and delete them; without prefix also make and remove the bucket.' }),
  residency: z
    .array(z.string().min(1).max(63))
    .max(REGIONS_MAX)
    .default([])
    .meta({ description: 'Regions outside of which fewer shards lie than it takes to have an object; anywhere without.' }),
  shards: z
    .string()
    .regex(/^[1-7]\/[2-8]$/, 'expected K/N such as 2/4: any K of N shards are enough')
    .refine((text) => Number(text[0]) < Number(text[2]), 'expected fewer that are enough than there are')
    .optional()
    .meta({ description: 'Of buckets made from now on: K/N, any K of N shards are enough. By the number of nodes without.' }),
  durable: z
    .strictObject({ nodes: z.int().min(1).max(OBJECT_SHARDS_MAX), regions: z.int().min(1).max(OBJECT_SHARDS_MAX).default(1) })
    .optional()
    .meta({
      description:
        'Of buckets made from now on: what is put is acknowledged once so many nodes, in so many regions, have it on disk.',
    }),
})

export const ObjectRules = z.array(Rule).max(RULES_MAX).default([])
export type ObjectRule = z.output<typeof Rule>
export type ObjectAction = 'read' | 'write'

export function rulesOfBucket(rules: readonly ObjectRule[], bucket: string): readonly ObjectRule[] {
  return rules.filter(({ bucket: named }) => (named.endsWith('*') ? bucket.startsWith(named.slice(0, -1)) : named === bucket))
}

/** May this identity (`operator:NAME` or `service:NAME`) do this with objects whose key begins so? A bucket as a whole: `''`. */
export function mayUseObjects(
  rules: readonly ObjectRule[],
  identity: string,
  action: ObjectAction,
  bucket: string,
  key: string,
): boolean {
  return rulesOfBucket(rules, bucket).some(
    (rule) =>
      key.startsWith(rule.prefix) &&
      rule[action].some((who) => who === identity || (who === 'operator:*' && identity.startsWith('operator:'))),
  )
}

/** Of all rules about a bucket, in order. */
export function residencyOf(rules: readonly ObjectRule[], bucket: string): readonly string[] {
  return [...new Set(rulesOfBucket(rules, bucket).flatMap(({ residency }) => residency))].sort()
}

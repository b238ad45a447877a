/** The policy's schema for editors: what may stand in `ringwall.yaml`, defaults not yet filled. */
import { z } from 'zod'
import { PolicySchema } from './policy.ts'

/** JSON Schema, draft 2020-12. `schema/ringwall.schema.json` is this, written out. */
export function policyJsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...rest } = z.toJSONSchema(PolicySchema, { io: 'input', target: 'draft-2020-12' })
  return {
    $schema,
    title: 'Ringwall policy',
    description: 'What a ring protects and how: ringwall.yaml.',
    ...rest,
  }
}

/** The policy's schema for editors: what may stand in `ringwall.yaml`, defaults not yet filled. */
import { z } from 'zod'
import { Authorization, PolicySchema } from './policy.ts'

/** JSON Schema, draft 2020-12. `schema/ringwall.schema.json` is this, written out. */
export function policyJsonSchema(): Readonly<Record<string, unknown>> {
  const { $schema, ...rest } = z.toJSONSchema(PolicySchema, {
    io: 'input',
    target: 'draft-2020-12',
    // Files may name the text in place of it; what the ring agrees on holds the text.
    override: ({ zodSchema, jsonSchema }) => {
      if (zodSchema !== Authorization) return
      jsonSchema.description = 'Who may do what with this service, in Cedar.'
      jsonSchema.properties = {
        file: { type: 'string', description: 'A file of Cedar policies, from where this one stands; in place of policies.' },
        ...jsonSchema.properties,
      }
      delete jsonSchema.required
      jsonSchema.oneOf = [{ required: ['policies'] }, { required: ['file'] }]
    },
  })
  return {
    $schema,
    title: 'Ringwall policy',
    description: 'What a ring protects and how: ringwall.yaml.',
    ...rest,
  }
}

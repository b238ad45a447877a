/**
 * What requests of a service look like, as the policy says it: OpenAPI 3.1's own words, without all that only people read.
 * The meaning is `compileApi`'s of `@ringwall/waf`; this is the shape.
 */
import {
  API_METHODS,
  type ApiCompilation,
  type ApiDocument,
  type ApiSchema,
  compileApi,
  FORMATS,
  SCHEMA_TYPES,
} from '@ringwall/waf/api'
import { z } from 'zod'

const Count = z.int().min(0).max(1_000_000_000)
const Key = z.string().max(256)
const SchemaType = z.enum(SCHEMA_TYPES)

const SchemaObject = z.strictObject({
  $ref: z
    .string()
    .regex(/^#\/schemas\/[A-Za-z0-9._-]{1,128}$/, 'expected #/schemas/NAME')
    .optional(),
  type: z.union([SchemaType, z.array(SchemaType).min(1).max(7)]).optional(),
  enum: z.array(z.unknown()).min(1).max(1_000).optional(),
  const: z.unknown().optional(),
  multipleOf: z.number().positive().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  exclusiveMinimum: z.number().optional(),
  exclusiveMaximum: z.number().optional(),
  minLength: Count.optional(),
  maxLength: Count.optional(),
  pattern: z.string().max(1_000).optional().meta({ description: 'ECMA-262, without look-around and back-references.' }),
  format: z.enum(FORMATS).optional(),
  items: z.lazy(() => Schema).optional(),
  prefixItems: z
    .array(z.lazy(() => Schema))
    .min(1)
    .max(100)
    .optional(),
  minItems: Count.optional(),
  maxItems: Count.optional(),
  uniqueItems: z.boolean().optional(),
  properties: z
    .record(
      Key,
      z.lazy(() => Schema),
    )
    .optional(),
  patternProperties: z
    .record(
      Key,
      z.lazy(() => Schema),
    )
    .optional(),
  additionalProperties: z.lazy(() => Schema).optional(),
  propertyNames: z.lazy(() => Schema).optional(),
  required: z.array(Key).max(1_000).optional(),
  dependentRequired: z.record(Key, z.array(Key).max(100)).optional(),
  minProperties: Count.optional(),
  maxProperties: Count.optional(),
  allOf: z
    .array(z.lazy(() => Schema))
    .min(1)
    .max(100)
    .optional(),
  anyOf: z
    .array(z.lazy(() => Schema))
    .min(1)
    .max(100)
    .optional(),
  oneOf: z
    .array(z.lazy(() => Schema))
    .min(1)
    .max(100)
    .optional(),
  not: z.lazy(() => Schema).optional(),
})

const Schema: z.ZodType<ApiSchema> = z
  .union([z.boolean(), SchemaObject])
  .meta({ id: 'Schema', description: 'A JSON Schema (draft 2020-12): the keywords that are checked.' })

const Parameter = z.strictObject({
  name: z.string().min(1).max(128),
  in: z.enum(['path', 'query', 'header', 'cookie']),
  required: z.boolean().optional(),
  schema: Schema.optional(),
  style: z.enum(['simple', 'form', 'spaceDelimited', 'pipeDelimited', 'deepObject']).optional(),
  explode: z.boolean().optional(),
  allowEmptyValue: z.boolean().optional(),
})

const Operation = z.strictObject({
  parameters: z.array(Parameter).max(100).optional(),
  requestBody: z
    .strictObject({
      required: z.boolean().optional(),
      content: z.record(z.string().max(128), z.strictObject({ schema: Schema.optional() })),
    })
    .optional(),
})

type MethodShape = Record<(typeof API_METHODS)[number], z.ZodOptional<typeof Operation>>
const PathItem = z.strictObject(Object.fromEntries(API_METHODS.map((method) => [method, Operation.optional()])) as MethodShape)

export const ApiContract = z.strictObject({
  unknownQuery: z
    .enum(['deny', 'pass'])
    .default('deny')
    .meta({ description: 'What happens to query parameters that the operation does not declare.' }),
  paths: z.record(z.string().max(1_024).regex(/^\//, 'expected a path that begins with /'), PathItem).meta({
    description: 'Operations by path, as /orders/{id}, and method.',
  }),
  schemas: z
    .record(z.string().regex(/^[A-Za-z0-9._-]{1,128}$/, 'expected letters, digits, dots, hyphens and underscores'), Schema)
    .default({})
    .meta({ description: 'Schemas that others refer to as #/schemas/NAME.' }),
})

/** What a policy declares is checked when it is read and compiled when it is used: once. A pure function remembered. */
const remembered = new WeakMap<ApiDocument, ApiCompilation>()

export function compiledApi(document: ApiDocument): ApiCompilation {
  const known = remembered.get(document)
  if (known !== undefined) return known
  const compilation = compileApi(document)
  remembered.set(document, compilation)
  return compilation
}

/** The policy's part about the model of requests (`detectors.model`): whether nodes train, which model judges, and how far it is rolled out. */
import { z } from 'zod'

const Hash = z.string().regex(/^[0-9a-f]{64}$/, 'expected a hash of a model, 64 hex digits: ringwall model ls lists them')

export const ModelSettings = z.strictObject({
  train: z
    .boolean()
    .default(false)
    .meta({ description: 'Nodes keep features of a sample of their requests, and train on them when an operator asks.' }),
  use: Hash.optional().meta({ description: 'The model that judges, by its hash.' }),
  stage: z
    .string()
    .regex(/^(shadow|all|(node|region):[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?)$/, 'expected shadow, node:ID, region:NAME or all')
    .default('shadow')
    .meta({ description: 'Where it refuses: nowhere (shadow), on one node, in one region, everywhere. Elsewhere it watches.' }),
  threshold: z.number().min(0.5).max(1).default(0.99).meta({ description: 'The score from which on it refuses.' }),
  refuseMax: z
    .number()
    .min(0.0001)
    .max(1)
    .default(0.01)
    .meta({ description: 'Of what nothing else objects to; a node where it refuses a larger part goes back to watching.' }),
  epsilonMax: z
    .number()
    .min(0.1)
    .max(100)
    .default(10)
    .meta({ description: 'How much a node tells of single requests in 30 days: ε at δ = 1e-5. It trains no further then.' }),
  previous: Hash.optional().meta({ description: 'What `ringwall model revert` goes back to.' }),
})

export type ModelPolicy = z.output<typeof ModelSettings>

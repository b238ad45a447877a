/** Insiders out of pattern (`detectors.insider`): what counts as out of pattern. What it means is `@ringwall/detect`’s to know. */
import { z } from 'zod'
import { Duration } from './policy-values.ts'

const DAY_MS = 86_400_000
const COUNT_MAX = 100_000

function limits(defaults: { readonly first: number; readonly firstAtOddHour: number; readonly many: number }, what: string) {
  const Count = z.int().min(1).max(COUNT_MAX)
  return z
    .strictObject({
      first: Count.default(defaults.first).meta({ description: 'For the first time, within an hour.' }),
      firstAtOddHour: Count.default(defaults.firstAtOddHour).meta({
        description: 'The same at an hour at which the identity was never active.',
      }),
      many: Count.default(defaults.many).meta({ description: 'Within an hour, for `times` to count.' }),
    })
    .prefault({})
    .meta({ description: what })
}

export const InsiderSettings = z
  .strictObject({
    mode: z.enum(['observe', 'off']).default('observe').meta({ description: 'observe: findings; nobody is denied.' }),
    learn: Duration.refine((ms) => ms >= DAY_MS && ms <= 30 * DAY_MS, 'expected 1d to 30d')
      .default(7 * DAY_MS)
      .meta({ description: 'How long each identity is learned before anything is found of it: 1d to 30d.' }),
    share: z
      .number()
      .min(0.01)
      .max(10)
      .default(0.25)
      .meta({ description: 'What is new is at least this part of what the identity is known to use.' }),
    times: z.number().min(1.5).max(100).default(4).meta({ description: 'Times the most of any hour before.' }),
    secrets: limits({ first: 10, firstAtOddHour: 3, many: 20 }, 'Secrets, objects and keys of the vault, opened or used.'),
    operations: limits({ first: 6, firstAtOddHour: 1, many: 20 }, 'Kinds of administrative operation of operators.'),
    accounts: limits(
      { first: 12, firstAtOddHour: 4, many: 200 },
      'Endpoints that the subject of a token asks for; of many, paths.',
    ),
  })
  .prefault({})
  .meta({ description: 'People and programs with valid credentials that use what they never did, or far more than ever.' })

export type InsiderPolicy = z.output<typeof InsiderSettings>

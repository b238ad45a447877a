/** Whom rules about the vault name: of secrets, keys of the transit, databases and objects alike. */
import { z } from 'zod'

/** Of each kind. */
export const RULES_MAX = 256
export const WHO_MAX = 64

export const Who: z.ZodString = z
  .string()
  .regex(
    /^(operator:(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,62})|service:[a-z0-9][a-z0-9._-]{0,62})$/,
    'expected operator:NAME, operator:* or service:NAME',
  )

/** Who may read secrets: nodes, too, for what they need themselves. */
export const Reader: z.ZodString = z
  .string()
  .regex(
    /^(operator:(\*|[A-Za-z0-9][A-Za-z0-9._-]{0,62})|service:[a-z0-9][a-z0-9._-]{0,62}|node:(\*|[a-z0-9][a-z0-9-]{0,31}))$/,
    'expected operator:NAME, operator:*, service:NAME, node:ID or node:*',
  )

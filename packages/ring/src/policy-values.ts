/** The values that a policy is written in: durations, rates, shares, names, paths. */
import { z } from 'zod'

/** `10m`, `30s`, `2h`, `7d`, `250ms` as milliseconds. */
export const Duration = z
  .string()
  .regex(/^[0-9]{1,9}(ms|s|m|h|d)$/, 'expected a duration such as 30s, 10m or 24h')
  .transform(parseDuration)
  .meta({ description: 'A duration: a whole number and ms, s, m, h or d.' })

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** @param text Already matched: digits and a unit. */
export function parseDuration(text: string): number {
  const unit = text.endsWith('ms') ? 'ms' : (text.slice(-1) as 's' | 'm' | 'h' | 'd')
  return Number.parseInt(text, 10) * UNIT_MS[unit]
}

/** `100/s`, `20/m`, `1000/h`: events and the window they fall in. */
export const Rate = z
  .string()
  .regex(/^[1-9][0-9]{0,8}\/(s|m|h|d)$/, 'expected a rate such as 100/s, 20/m or 5000/d')
  .transform((text) => {
    const [count, unit] = text.split('/') as [string, 's' | 'm' | 'h' | 'd']
    return { count: Number.parseInt(count, 10), windowMs: UNIT_MS[unit] }
  })
  .meta({ description: 'A rate: a whole number, / and s, m, h or d.' })

/** `20%` as 0.2. */
export const Share = z
  .string()
  .regex(/^(100|[0-9]{1,2})%$/, 'expected a share such as 20%')
  .transform((text) => Number.parseInt(text, 10) / 100)
  .meta({ description: 'A share: a whole number from 0 to 100 and %.' })

export const Name = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, 'expected lower-case letters, digits and hyphens, at most 63')
export const Path = z.string().max(1_024).regex(/^\//, 'expected a path that begins with /')
export const HeaderName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/, 'expected a header name')

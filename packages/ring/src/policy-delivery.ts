/** The part of the policy that says what of an upstream's answers nodes keep, and in what form they send them on. */
import { z } from 'zod'
import type { PolicyFault } from './policy-faults.ts'
import { Duration, HeaderName } from './policy-values.ts'

export const Cache = z.strictObject({
  mode: z.enum(['on', 'off']).default('on').meta({ description: 'off: nothing is kept, and nothing answered from what is.' }),
  objectBytesMax: z
    .int()
    .min(1_024)
    .max(16_777_216)
    .default(1_048_576)
    .meta({ description: 'The longest body that is kept. How much is kept in all, each node says for itself.' }),
  ttl: Duration.optional().meta({
    description: 'How long an answer of 200, 203, 300, 301 or 308 that says nothing about caching is fresh; not kept without it.',
  }),
  ttlMax: Duration.default(86_400_000).meta({ description: 'An answer is fresh for so long at most, whatever it says.' }),
  wait: Duration.default(5_000).meta({
    description: 'How long a request waits for the answer that another of the same address is getting; 0s: none waits.',
  }),
  cookies: z.enum(['heed', 'ignore']).default('heed').meta({
    description:
      'heed: a request with cookies shares only answers that say public or s-maxage. ignore: cookies change no answer here.',
  }),
  setCookie: z
    .enum(['refuse', 'strip'])
    .default('refuse')
    .meta({ description: 'An answer that sets cookies is not kept, or is kept without them.' }),
  ignoreHeaders: z
    .array(HeaderName)
    .max(32)
    .default([])
    .meta({ description: 'Headers of requests that change no answer, beside those that browsers send of themselves.' }),
})

const MediaType = z
  .string()
  .max(100)
  .regex(
    /^[a-z0-9!#$&^_.+-]+\/(?:\*|[a-z0-9!#$&^_.+-]+|\*\+[a-z0-9]+)$/,
    'expected a media type in lower case, such as text/html, text/* or application/*+json',
  )

export const Compression = z.strictObject({
  mode: z.enum(['on', 'off']).default('on').meta({ description: 'off: answers go out as they came.' }),
  codings: z
    .array(z.enum(['br', 'zstd', 'gzip']))
    .min(1)
    .max(3)
    .default(['br', 'zstd', 'gzip'])
    .meta({ description: 'Of codings that the client likes equally, the first.' }),
  bytesMin: z
    .int()
    .min(0)
    .max(1_048_576)
    .default(1_024)
    .meta({ description: 'Shorter answers, where they say how long they are, go out as they are.' }),
  types: z
    .array(MediaType)
    .min(1)
    .max(64)
    .default([
      'text/*',
      'application/json',
      'application/*+json',
      'application/javascript',
      'application/xml',
      'application/*+xml',
      'application/wasm',
      'image/svg+xml',
      'font/ttf',
      'font/otf',
    ]),
  credentials: z.enum(['refuse', 'allow']).default('refuse').meta({
    description:
      'refuse: what sets cookies, or answers a request with cookies or Authorization, is left as it is unless it says public or s-maxage: its length could tell its secrets (BREACH).',
  }),
})

export type CompressionPolicy = z.output<typeof Compression>
export type CachePolicy = z.output<typeof Cache>

type Place = readonly PropertyKey[]

const DAY_MS = 86_400_000

export function cacheFaults(cache: CachePolicy | undefined, at: Place, faults: PolicyFault[]): void {
  if (cache === undefined) return
  const place = [...at, 'cache']
  const bound = (key: 'ttl' | 'ttlMax' | 'wait', min: number, max: number, range: string): void => {
    const value = cache[key]
    if (value === undefined || (value >= min && value <= max)) return
    faults.push({ path: [...place, key], message: `expected ${range}, found ${value / 1_000} s` })
  }
  bound('ttl', 1_000, 365 * DAY_MS, '1s to 365d')
  bound('ttlMax', 1_000, 365 * DAY_MS, '1s to 365d')
  bound('wait', 0, 60_000, '0s to 1m')
  for (const [index, name] of cache.ignoreHeaders.entries()) {
    const reason = KEYED.get(name.toLowerCase())
    if (reason === undefined) continue
    faults.push({ path: [...place, 'ignoreHeaders', index], message: `${name} cannot be ignored: ${reason}` })
  }
}

const KEYED: ReadonlyMap<string, string> = new Map([
  ['authorization', 'what it lets in is not everybody’s'],
  ['cookie', 'write cookies: ignore'],
  ['host', 'answers of one host are not another’s'],
  ['range', 'a part is no whole'],
])

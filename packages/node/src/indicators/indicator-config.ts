/** `indicators` of `node.yaml`: sets of addresses that others call bad, and where they come from. */
import { join } from 'node:path'
import { z } from 'zod'
import { StartError } from '../errors.ts'
import { feedUrlFault } from '../feeds/feed-url.ts'
import type { TaxiiFeedConfig } from '../feeds/taxii-feed.ts'
import { readTextFile } from '../text-file.ts'
import type { IndicatorSettings } from './indicator-loader.ts'

const MINUTE_MS = 60_000

const shared = {
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  confidence: z.int().min(0).max(100).default(50),
  /** Percent: confidences are multiplied by it. */
  trust: z.int().min(0).max(100).default(100),
  ttlDays: z.int().min(1).max(3_650).optional(),
}
const indicatorsMax = z.int().min(1).max(5_000_000).default(1_000_000)
const path = z.string().min(1)

const Source = z.strictObject({
  ...shared,
  format: z.literal('taxii'),
  /** Of the collection. */
  url: z
    .string()
    .max(2_000)
    .superRefine((text, context) => {
      const fault = feedUrlFault(text)
      if (fault !== undefined) context.addIssue(fault)
    }),
  user: z
    .string()
    .regex(/^[^:\p{Cc}]{1,200}$/u, 'expected a name without a colon')
    .optional(),
  /** File that holds the user's key. */
  secret: z.string().min(1).optional(),
  /** PEM file of the authority that its certificate is from; the platform’s unless given. */
  ca: z.string().min(1).optional(),
  everyMs: z.int().min(1_000).max(86_400_000).default(300_000),
  /** All of it is asked for so often: what was deleted there shows then. */
  wholeHours: z.number().min(0.01).max(720).default(24),
  indicatorsMax: z.int().min(1).max(1_000_000).default(100_000),
})

const Inbox = z.strictObject({
  ...shared,
  format: z.literal('inbox'),
  indicatorsMax: z.int().min(1).max(100_000).default(10_000),
})

const OneSet = z.discriminatedUnion('format', [
  z.strictObject({ ...shared, format: z.literal('list'), path, indicatorsMax }),
  z.strictObject({ ...shared, format: z.literal('stix'), path, indicatorsMax }),
  z.strictObject({ ...shared, format: z.literal('misp'), path, indicatorsMax }),
  Source,
  Inbox,
])

export const IndicatorsSchema = z
  .array(OneSet)
  .max(16)
  .superRefine((all, context) => {
    const names = new Set<string>()
    for (const [index, one] of all.entries()) {
      if (names.has(one.name)) context.addIssue({ code: 'custom', path: [index, 'name'], message: 'expected names that differ' })
      names.add(one.name)
      if (one.format === 'taxii' && (one.user === undefined) !== (one.secret === undefined))
        context.addIssue({ code: 'custom', path: [index], message: 'expected user and secret, or neither' })
    }
  })
  .default([])

type OneSet = z.output<typeof OneSet>

/** As `node.yaml` has it, its paths absolute. */
export interface TaxiiSource extends Omit<TaxiiFeedConfig, 'url' | 'credentials' | 'ca'> {
  readonly url: string
  readonly user: string | undefined
  readonly secret: string | undefined
  readonly ca: string | undefined
}

/** @param at Makes a path absolute. */
export function indicatorSettings(one: OneSet, data: string, at: (path: string) => string): IndicatorSettings {
  const { name, format, confidence, trust, ttlDays, indicatorsMax: most } = one
  const where = 'path' in one ? at(one.path) : join(data, 'taxii', name)
  const ttlMs = ttlDays === undefined ? undefined : ttlDays * 1_440 * MINUTE_MS
  return { name, path: where, format, confidence, trust, ttlMs, indicatorsMax: most }
}

export function taxiiSource(one: z.output<typeof Source>, at: (path: string) => string): TaxiiSource {
  const { name, url, user, secret, ca, everyMs, wholeHours, indicatorsMax: objectsMax } = one
  const file = (text: string | undefined): string | undefined => (text === undefined ? undefined : at(text))
  return { name, url, user, secret: file(secret), ca: file(ca), everyMs, wholeMs: wholeHours * 60 * MINUTE_MS, objectsMax }
}

/** Reads the files that a source names. @throws {StartError} */
export function openTaxiiSource({ url, user, secret, ca, ...rest }: TaxiiSource): TaxiiFeedConfig {
  const text = (path: string | undefined, what: string): string | undefined =>
    path === undefined ? undefined : readTextFile(path, 'CONFIG_INVALID', `${what} of the TAXII source ${rest.name}`)
  const key = text(secret, 'the key')?.trim()
  if (key !== undefined && !/^[\x21-\x7e]{1,512}$/.test(key))
    throw new StartError('CONFIG_INVALID', `${secret}: expected the key of ${user}, on one line`)
  const credentials = user === undefined || key === undefined ? undefined : { user, secret: key }
  return { ...rest, url: new URL(url.endsWith('/') ? url : `${url}/`), credentials, ca: text(ca, 'the authority') }
}

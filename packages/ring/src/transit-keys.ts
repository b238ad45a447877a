/**
 * Named keys that applications use without having them. None has secret bytes of its own: what is made with one is bound, under the ring's keys, to its
 * name, id and version, and whether that may be used is a right that each holder of a share checks. Immutable.
 */
import { z } from 'zod'
import { canonicalJson } from './canonical-json.ts'
import { encodeUtf8 } from './encoding.ts'
import { SECRET_NAME, SECRET_NAME_CHARS_MAX } from './secret-name.ts'
import { portableSha256 } from './sha256.ts'
import type { TransitPlace } from './transit-label.ts'

export const TRANSIT_KEYS_MAX = 1_000
/** Versions of a key that can be used: beyond, the smallest has to be raised first. */
export const TRANSIT_VERSIONS_MAX = 32
export const TRANSIT_USES = ['encrypt', 'sign', 'mac'] as const
export type TransitUse = (typeof TRANSIT_USES)[number]

export interface TransitVersion {
  readonly version: number
  /** Unix milliseconds. */
  readonly atMs: number
  /** `operator:NAME`. */
  readonly by: string
  /** Of a key that signs: the ring's signing key that it signs by, raw, base64url. Empty for others. */
  readonly signer: string
}

export interface TransitKey {
  readonly name: string
  readonly id: string
  readonly use: TransitUse
  /** Those that can be used, ascending, without gaps; the last is the newest. */
  readonly versions: readonly TransitVersion[]
}

/** In order of their names. */
export type TransitKeys = readonly TransitKey[]

export const NO_TRANSIT_KEYS: TransitKeys = []

export function transitKey(keys: TransitKeys, name: string): TransitKey | undefined {
  return keys.find((key) => key.name === name)
}

export function newestTransitVersion({ versions }: TransitKey): TransitVersion {
  return versions.at(-1) as TransitVersion
}

/** @param version One that can be used; undefined for any other. */
export function transitPlace(ring: string, key: TransitKey, version: number): TransitPlace | undefined {
  if (!key.versions.some((one) => one.version === version)) return undefined
  return { ring, key: key.name, id: key.id, version }
}

const hashes = new WeakMap<TransitKeys, string>()

/** Undefined of none. */
export function hashOfTransit(keys: TransitKeys): string | undefined {
  if (keys.length === 0) return undefined
  let hash = hashes.get(keys)
  if (hash === undefined) {
    hash = portableSha256(encodeUtf8(canonicalJson(keys)))
    hashes.set(keys, hash)
  }
  return hash
}

/** Adds a key, or takes the place of the one of its name. */
export function withTransitKey(keys: TransitKeys, key: TransitKey): TransitKeys {
  return [...withoutTransitKey(keys, key.name), key].sort((a, b) => (a.name < b.name ? -1 : 1))
}

export function withoutTransitKey(keys: TransitKeys, name: string): TransitKeys {
  return keys.filter((key) => key.name !== name)
}

/** The form of what a snapshot says of them. */
export const TransitShape = z
  .array(
    z.strictObject({
      name: z.string().max(SECRET_NAME_CHARS_MAX).regex(SECRET_NAME),
      id: z.string().regex(/^[0-9a-f]{32}$/),
      use: z.enum(TRANSIT_USES),
      versions: z
        .array(
          z.strictObject({
            version: z.int().min(1),
            atMs: z.int().min(0),
            by: z.string().max(80),
            signer: z.string().regex(/^([A-Za-z0-9_-]{43})?$/),
          }),
        )
        .min(1)
        .max(TRANSIT_VERSIONS_MAX)
        .refine(
          (all) => all.every(({ version }, at) => at === 0 || version === (all[at - 1] as { version: number }).version + 1),
          {
            error: 'versions are out of order',
          },
        ),
    }),
  )
  .min(1)
  .max(TRANSIT_KEYS_MAX)
  .refine((all) => all.every(({ name }, at) => at === 0 || (all[at - 1] as { name: string }).name < name), {
    error: 'keys are out of order',
  })

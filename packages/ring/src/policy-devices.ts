/** Whose devices the ring takes in. */
import { z } from 'zod'
import { Name } from './policy-values.ts'

const MANUFACTURERS_MAX = 64

const Manufacturer = z.strictObject({
  name: Name,
  key: z
    .string()
    .regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/, 'expected an Ed25519 public key: 32 bytes in base64url')
    .meta({ description: 'Of the key that its vouchers are signed with: Ed25519, raw, base64url.' }),
})

export const Devices = z.strictObject({
  manufacturers: z
    .array(Manufacturer)
    .max(MANUFACTURERS_MAX)
    .default([])
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, { error: 'expected names that differ' })
    .refine((all) => new Set(all.map(({ key }) => key)).size === all.length, { error: 'expected keys that differ' })
    .meta({ description: 'Whose vouchers count. Without any, no device is registered.' }),
})

export type DevicesPolicy = z.output<typeof Devices>

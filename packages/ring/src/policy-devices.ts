/** Whose devices the ring takes in. */
import { z } from 'zod'
import { Duration, Name } from './policy-values.ts'

const MANUFACTURERS_MAX = 64

const Manufacturer = z.strictObject({
  name: Name,
  key: z
    .string()
    .regex(/^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/, 'expected an Ed25519 public key: 32 bytes in base64url')
    .meta({ description: 'Of the key that its vouchers are signed with: Ed25519, raw, base64url.' }),
})

const EVERY_MS_MIN = 1_000
const EVERY_MS_MAX = 86_400_000
const ABSENCE_MS_MAX = 365 * 86_400_000

const Attestation = z.strictObject({
  least: z.enum(['none', 'software', 'tpm']).default('none').meta({
    description: 'What nodes must attest by, at least: nothing, what the program measures of itself, or a TPM 2.0 besides.',
  }),
  nodes: z.enum(['devices', 'all']).default('devices').meta({
    description: 'Who must attest: nodes that joined as devices, or every node, validators too.',
  }),
  disks: z.boolean().default(false).meta({
    description: 'Whether a node must attest anew, to each holder of the key, before the ring opens its disk.',
  }),
  every: Duration.default(60_000)
    .refine((ms) => ms >= EVERY_MS_MIN && ms <= EVERY_MS_MAX, { error: 'expected 1s to 24h' })
    .meta({ description: 'How often. After two intervals without a quote a node is stale, after three its trust has lapsed.' }),
  absence: Duration.default(0)
    .refine((ms) => ms <= ABSENCE_MS_MAX, { error: 'expected 0s to 365d' })
    .meta({
      description:
        'How long a node whose trust has lapsed may come back by attesting. Meanwhile nothing that it says counts; then it is out.',
    }),
})

export const Devices = z.strictObject({
  attestation: Attestation.prefault({}).meta({ description: 'How nodes prove their measured state.' }),
  est: z
    .strictObject({
      ttl: Duration.default(86_400_000)
        .refine((ms) => ms >= 3_600_000 && ms <= 2_592_000_000, { error: 'expected 1h to 30d' })
        .meta({ description: 'How long certificates are good that devices of others get.' }),
    })
    .prefault({})
    .meta({ description: 'Certificates for devices that are no nodes (EST, RFC 7030).' }),
  manufacturers: z
    .array(Manufacturer)
    .max(MANUFACTURERS_MAX)
    .default([])
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, { error: 'expected names that differ' })
    .refine((all) => new Set(all.map(({ key }) => key)).size === all.length, { error: 'expected keys that differ' })
    .meta({ description: 'Whose vouchers count. Without any, no device is registered.' }),
})

export type DevicesPolicy = z.output<typeof Devices>

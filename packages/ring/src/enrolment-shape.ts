/** Invitations and devices as snapshots hold them. */
import { z } from 'zod'
import { DEVICE_STATUSES } from './enrolment.ts'
import { SERIAL } from './enrolment-parse.ts'

const Ms = z.int().min(0)
const Key = z.string().length(43)
const Region = z.string().min(1).max(63).nullable()
const Roles = z
  .array(z.enum(['validator', 'edge']))
  .min(1)
  .max(2)
const NodeId = z.string().max(63)

export const InvitationLine = z.strictObject({
  key: Key,
  by: z.string().max(80),
  expiresAtMs: Ms,
  region: Region,
  roles: Roles,
  used: z.strictObject({ node: NodeId, atMs: Ms }).nullable(),
})

export const DeviceLine = z.strictObject({
  serial: z.string().regex(SERIAL),
  key: Key,
  manufacturer: z.string().max(63),
  ek: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  head: z.string().regex(/^[0-9a-f]{64}$/),
  expiresAtMs: Ms.nullable(),
  region: Region,
  roles: Roles,
  by: z.string().max(80),
  registeredAtMs: Ms,
  status: z.enum(DEVICE_STATUSES),
  node: NodeId.nullable(),
})

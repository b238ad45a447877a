/** The form of what a snapshot says of disks. */
import { z } from 'zod'
import { WIPES_MAX } from './node-disks.ts'
import { NODES_MAX } from './nodes.ts'

const Base64url = (charsMax: number) =>
  z
    .string()
    .regex(/^[A-Za-z0-9_-]+$/)
    .max(charsMax)
const Ms = z.int().min(0)
const Id = z.string().min(1).max(63)

export const DisksShape = z
  .strictObject({
    sealed: z
      .array(z.strictObject({ id: Id, capsule: Base64url(1_366), machine: Base64url(43), atMs: Ms }))
      .max(NODES_MAX)
      .refine((all) => all.every(({ id }, at) => at === 0 || (all[at - 1] as { id: string }).id < id), {
        error: 'disks are out of order',
      }),
    wipes: z
      .array(
        z.strictObject({
          id: Id,
          publicKey: Base64url(43),
          by: z.string().max(80),
          reason: z.string().min(1).max(200),
          atMs: Ms,
          receipt: z
            .strictObject({ atMs: Ms, files: z.int().min(0), bytes: z.int().min(0), signature: Base64url(86) })
            .nullable(),
        }),
      )
      .max(WIPES_MAX),
  })
  .refine(({ sealed, wipes }) => sealed.length + wipes.length > 0, { error: 'without disks there is no such field' })

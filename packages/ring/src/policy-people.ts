/** What a service says about people of the ring's own directory: whether they must log in, how, and what the application is told. */
import { z } from 'zod'
import type { PolicyFault } from './policy-faults.ts'
import { Duration, HeaderName, Name } from './policy-values.ts'

/** Of a session's token, which is renewed while it is used: as long as a key that was replaced still verifies. */
const IDLE_MS = { least: 60_000, most: 3_600_000 } as const
const LASTS_MS = { least: 60_000, most: 86_400_000 } as const

export const PeopleWhen: z.ZodEnum<{ required: 'required'; optional: 'optional' }> = z.enum(['required', 'optional'])

export const People = z
  .strictObject({
    login: PeopleWhen.default('required').meta({ description: 'Whether requests need somebody who is logged in.' }),
    methods: z
      .array(z.enum(['passkey', 'password']))
      .max(2)
      .default(['passkey', 'password'])
      .meta({ description: 'How people of the directory may log in here.' }),
    providers: z
      .array(Name)
      .max(16)
      .default([])
      .meta({ description: 'Of the policy’s providers: by which people may log in besides.' }),
    groups: z
      .array(z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._:-]{0,62}$/))
      .max(32)
      .default([])
      .meta({ description: 'Only people in one of these; everybody when empty.' }),
    idle: Duration.default(1_800_000).meta({ description: 'A session that is not used ends after this: 1m to 1h.' }),
    lasts: Duration.default(43_200_000).meta({ description: 'Every session ends after this: 1m to 24h.' }),
    domain: z
      .string()
      .max(253)
      .regex(/^[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})*$/)
      .optional()
      .meta({ description: 'That passkeys are for, it and all below it; the host asked for unless given.' }),
    userHeader: HeaderName.optional().meta({ description: 'Tells the upstream who it is. Clients cannot send it.' }),
    groupsHeader: HeaderName.optional().meta({ description: 'And their groups, with commas between them.' }),
  })
  .meta({ description: 'People of the ring’s own directory: ringwall person add.' })

export type PeoplePolicy = z.output<typeof People>

/** Fields that are the proxy's to say. */
const TAKEN =
  /^(?:host|content-.*|transfer-encoding|connection|upgrade|te|trailer|expect|cookie|authorization|forwarded|x-forwarded-(?:for|host|proto|port|server)|x-real-ip|x-request-id|traceparent|tracestate|x-ringwall-.*|ringwall-password|dpop)$/i

export function peopleFaults(people: PeoplePolicy | undefined, at: readonly PropertyKey[], faults: PolicyFault[]): void {
  if (people === undefined) return
  const { idle, lasts, userHeader, groupsHeader } = people
  if (idle < IDLE_MS.least || idle > IDLE_MS.most) {
    const message = `expected 1m to 1h, found ${idle / 1_000} s`
    faults.push({ path: [...at, 'people', 'idle'], message, hint: 'the default is 30m' })
  }
  if (lasts < LASTS_MS.least || lasts > LASTS_MS.most) {
    const message = `expected 1m to 24h, found ${lasts / 1_000} s`
    faults.push({ path: [...at, 'people', 'lasts'], message, hint: 'the default is 12h' })
  }
  for (const [key, name] of Object.entries({ userHeader, groupsHeader })) {
    if (name === undefined) continue
    if (TAKEN.test(name.replaceAll('_', '-')))
      faults.push({
        path: [...at, 'people', key],
        message: `${name} is a field that says something else`,
        hint: 'such as x-user',
      })
  }
  if (userHeader !== undefined && userHeader.toLowerCase() === groupsHeader?.toLowerCase())
    faults.push({ path: [...at, 'people', 'groupsHeader'], message: 'both in one field', hint: 'such as x-groups' })
}

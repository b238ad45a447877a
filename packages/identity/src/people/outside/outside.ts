/**
 * Whom the ring makes of somebody that an outside provider names. Everything here follows from what the provider signed and from the view, so that all
 * holders of the ring's key come to the same.
 */
import { PERSON_NAME, type People, type Person, type ProviderPolicy, personSubject, type View } from '@ringwall/ring'

/** Of one provider, taken over into a session. */
const GROUPS_MAX = 32

/** What a provider says of somebody, once its signature is verified. */
export interface OutsideWord {
  /** What it knows them by: unique there, and never given to another. */
  readonly subject: string
  /** By the claim or attribute that the policy names; undefined: it does not say. */
  readonly name: string | undefined
  readonly groups: readonly string[]
  /** Verified, as far as the provider says; undefined: it says none, or that it is not. */
  readonly email: string | undefined
}

export type OutsideRefusalCode =
  | 'OUTSIDE_MALFORMED'
  | 'OUTSIDE_ISSUER'
  | 'OUTSIDE_AUDIENCE'
  | 'OUTSIDE_ALGORITHM'
  | 'OUTSIDE_KEY'
  | 'OUTSIDE_SIGNATURE'
  | 'OUTSIDE_TIME'
  | 'OUTSIDE_OCCASION'
  | 'OUTSIDE_SUBJECT'
  | 'OUTSIDE_DOMAIN'
  | 'OUTSIDE_NAME'
  | 'OUTSIDE_UNKNOWN'
  // Of SAML alone.
  | 'OUTSIDE_UNSIGNED'
  | 'OUTSIDE_WRAPPED'
  | 'OUTSIDE_TRANSFORM'
  | 'OUTSIDE_DIGEST'
  | 'OUTSIDE_ENCRYPTED'
  | 'OUTSIDE_STATUS'
  | 'OUTSIDE_RECIPIENT'

/** What is wrong with the word of a provider. `reason` is for operators. */
export interface OutsideRefusal {
  readonly ok: false
  readonly code: OutsideRefusalCode
  readonly reason: string
}

export const refuseOutside = (code: OutsideRefusalCode, reason: string): OutsideRefusal => ({ ok: false, code, reason })

/** Somebody as the ring knows them. */
export interface Holder {
  readonly name: string
  readonly groups: readonly string[]
  /** Unix milliseconds: logins of before count for nothing. */
  readonly sinceMs: number
}

/** Of a session that began at a provider: what it is renewed by. */
export interface OutsideClaims {
  readonly idp: string
  /** Of the ring's groups, those that the provider's came to. */
  readonly idp_groups: readonly string[]
  readonly idp_sub: string
}

export function providerOf(
  { policy }: { readonly policy: Pick<View['policy'], 'providers'> },
  name: string,
): ProviderPolicy | undefined {
  return policy.providers.find((provider) => provider.name === name)
}

/** Domains and groups, as the policy has them. */
export function admitted(
  provider: ProviderPolicy,
  { subject, groups, email }: OutsideWord,
): OutsideRefusal | Pick<OutsideClaims, 'idp_groups'> {
  if (provider.domains.length > 0) {
    const at = email?.lastIndexOf('@') ?? -1
    const domain = at < 1 ? undefined : (email as string).slice(at + 1).toLowerCase()
    if (domain === undefined)
      return refuseOutside('OUTSIDE_DOMAIN', `${provider.name} vouches for no address of mail of ${subject}`)
    if (!provider.domains.includes(domain))
      return refuseOutside('OUTSIDE_DOMAIN', `${domain} is none of the domains of ${provider.name}`)
  }
  const mapped = groups.flatMap((group) => (Object.hasOwn(provider.groups, group) ? [provider.groups[group] as string] : []))
  return { idp_groups: [...new Set(mapped)].sort().slice(0, GROUPS_MAX) }
}

/** Somebody's name of the directory's form, or undefined. */
export function plainName(name: string | undefined): string | undefined {
  const folded = name?.normalize('NFKC').trim().toLowerCase()
  return folded !== undefined && PERSON_NAME.test(folded) ? folded : undefined
}

/**
 * Whoever of the directory enrolled by this account; else, where the policy says so, somebody made of the provider's word, whose name holds the
 * provider's: no name of the directory has a colon.
 */
export function holderOf(
  people: People,
  provider: ProviderPolicy,
  { subject, name }: Pick<OutsideWord, 'subject' | 'name'>,
  ownGroups: readonly string[],
): Holder | OutsideRefusal {
  const linked = provider.accounts === 'made' ? undefined : people.byOutside(provider.name, subject)
  if (linked !== undefined) return joined(linked, ownGroups)
  if (provider.accounts === 'linked')
    return refuseOutside('OUTSIDE_UNKNOWN', `nobody enrolled by the account ${subject} of ${provider.name}`)
  const plain = plainName(name)
  if (plain === undefined)
    return refuseOutside('OUTSIDE_NAME', `${provider.name} says no name for ${subject} that can be one here`)
  return { name: `${provider.name}:${plain}`, groups: ownGroups, sinceMs: 0 }
}

function joined({ name, groups, sinceMs }: Person, more: readonly string[]): Holder {
  return { name, groups: [...new Set([...groups, ...more])].sort(), sinceMs }
}

/** Of the claims of a session or of what was made of one: who it is now; undefined: nobody any more. */
export function holderNow(
  { people, policy }: { readonly people: People; readonly policy: Pick<View['policy'], 'providers'> },
  claims: { readonly sub: string; readonly auth_time: number } & Partial<OutsideClaims>,
): Holder | undefined {
  const { sub, auth_time, idp, idp_sub, idp_groups } = claims
  let holder: Holder | undefined
  if (idp === undefined) holder = people.get(sub.slice(personSubject('').length))
  else {
    const provider = providerOf({ policy }, idp)
    const may = provider === undefined ? [] : Object.values(provider.groups)
    const groups = (idp_groups ?? []).filter((group) => may.includes(group))
    const name = sub.slice(personSubject(`${idp}:`).length)
    const found = provider === undefined ? undefined : holderOf(people, provider, { subject: idp_sub ?? '', name }, groups)
    if (found !== undefined && 'name' in found) holder = found
  }
  return holder === undefined || personSubject(holder.name) !== sub || (auth_time + 1) * 1_000 <= holder.sinceMs
    ? undefined
    : holder
}

/** Those claims of a session that say by which provider it began. */
export function outsideClaims({ idp, idp_sub, idp_groups }: Partial<OutsideClaims>): OutsideClaims | Record<never, never> {
  return idp === undefined || idp_sub === undefined || idp_groups === undefined ? {} : { idp, idp_groups, idp_sub }
}

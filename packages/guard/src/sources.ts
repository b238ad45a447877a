/** Where requests come from, as the policy speaks of it. */
import { type CompiledRoute, NO_ASN, NO_COUNTRY, prefixSetOf, type SourceSetPolicy } from '@ringwall/ring'

export interface Place {
  /** ISO 3166-1 alpha-2; `ZZ`: not known. */
  readonly country: string
  /** 0: not known. */
  readonly asn: number
}

export const NOWHERE: Place = { country: NO_COUNTRY, asn: NO_ASN }

/** Knows where addresses are. Quick, and never fails: what it does not know is `NOWHERE`. */
export interface Places {
  of(address: string): Place
}

/** Asked for when it makes a difference, and then once. */
export interface Source {
  readonly address: string
  readonly place: Place
}

export function isAmong({ countries, asns, prefixes }: SourceSetPolicy, source: Source): boolean {
  if (prefixes.length > 0 && prefixSetOf(prefixes).containsText(source.address)) return true
  if (countries.length === 0 && asns.length === 0) return false
  const { country, asn } = source.place
  return countries.includes(country) || asns.includes(asn)
}

export interface SourceRefusal {
  readonly action: 'deny' | 'challenge'
  readonly reason: string
  readonly rule: string
}

/** What the route, or else its service, says of whom it takes. */
export function refusedSource({ service, route }: CompiledRoute, source: Source): SourceRefusal | undefined {
  const sources = route?.sources ?? service.sources
  if (sources === undefined) return undefined
  const { allow, deny, action } = sources
  const list = deny !== undefined && isAmong(deny, source) ? 'deny' : 'allow'
  if (list === 'allow' && (allow === undefined || isAmong(allow, source))) return undefined
  const { country, asn } = source.place
  const where = `${country === NO_COUNTRY ? 'no known country' : country}, ${asn === NO_ASN ? 'no known autonomous system' : `AS${asn}`}`
  const reason = `the source (${where}) is ${list === 'deny' ? 'refused by' : 'not in'} sources.${list}`
  return { action, reason, rule: `sources:${list}` }
}

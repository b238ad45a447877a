/** Whose request it is: the socket's peer, or what trusted proxies in front of us say. Pure. */
import { formatAddress, parseAddress } from '@ringwall/ring'

export const FORWARDED_ENTRIES_MAX = 32

export interface Source {
  /** In its one spelling. */
  readonly address: string
  /** Earlier hops to pass on, as `X-Forwarded-For` begins; undefined when none is believed. */
  readonly chain: string | undefined
}

/**
 * Read from the right, where the nearest proxy wrote, and no further than the first address that is none of a proxy we trust: what
 * lies left of it was written by the source itself, so that nothing there can do anything. Where a proxy says something else than an address
 * (`unknown`, nothing), or 32 in a row are trusted, the source is the one right of that: the last that somebody trusted vouches for.
 *
 * @param socketAddress Of the connection's other end.
 * @param forwardedFor `X-Forwarded-For` as received, all its lines joined.
 * @param trusted Whether an address is a proxy that we believe.
 */
export function sourceOf(socketAddress: string, forwardedFor: string | undefined, trusted: (address: string) => boolean): Source {
  let source = socketAddress
  let chain: string | undefined
  if (forwardedFor === undefined) return { address: source, chain }
  let end = forwardedFor.length
  for (let count = 0; end >= 0 && count < FORWARDED_ENTRIES_MAX && trusted(source); count++) {
    const comma = end === 0 ? -1 : forwardedFor.lastIndexOf(',', end - 1)
    const address = canonicalAddress(forwardedFor.slice(comma + 1, end).trim())
    if (address === undefined) break
    source = address
    chain = chain === undefined ? address : `${address}, ${chain}`
    end = comma
  }
  return { address: source, chain }
}

/** One spelling of an address that may come with a port: `1.2.3.4:80`, `[::1]:80`. */
function canonicalAddress(text: string): string | undefined {
  if (text.length === 0 || text.length > 64) return undefined
  let bare = text
  if (text.startsWith('[')) {
    const match = /^\[([^\]]+)\](?::[0-9]{1,5})?$/.exec(text)
    if (match === null) return undefined
    bare = match[1]!
  } else {
    const match = /^([0-9.]+):[0-9]{1,5}$/.exec(text)
    if (match !== null) bare = match[1]!
  }
  const address = parseAddress(bare)
  return address === undefined ? undefined : formatAddress(address)
}

/** The peer's address in its one spelling: a listener on `::` names IPv4 peers `::ffff:1.2.3.4`. */
export function socketAddress(remoteAddress: string | undefined): string {
  if (remoteAddress === undefined) return 'unknown'
  if (!remoteAddress.includes(':')) return remoteAddress
  const zone = remoteAddress.indexOf('%')
  const address = parseAddress(zone < 0 ? remoteAddress : remoteAddress.slice(0, zone))
  return address === undefined ? remoteAddress : formatAddress(address)
}

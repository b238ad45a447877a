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
 * @param socketAddress Of the connection's other end.
 * @param forwardedFor `X-Forwarded-For` as received, all its lines joined.
 * @param trusted Whether an address is a proxy that we believe.
 * @returns The right-most entry that is not a trusted proxy. A header with anything but addresses in it, or with more than
 *   32 entries, says nothing: the peer is the source then.
 */
export function sourceOf(socketAddress: string, forwardedFor: string | undefined, trusted: (address: string) => boolean): Source {
  if (forwardedFor === undefined || !trusted(socketAddress)) return { address: socketAddress, chain: undefined }
  const texts = forwardedFor.split(',', FORWARDED_ENTRIES_MAX + 1)
  if (texts.length > FORWARDED_ENTRIES_MAX) return { address: socketAddress, chain: undefined }
  const entries: string[] = []
  for (const text of texts) {
    const address = canonicalAddress(text.trim())
    if (address === undefined) return { address: socketAddress, chain: undefined }
    entries.push(address)
  }
  let at = entries.length - 1
  while (at > 0 && trusted(entries[at]!)) at--
  // What lies left of the source was written by the source itself: not passed on.
  return { address: entries[at]!, chain: entries.slice(at).join(', ') }
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

/** About where an address is, of whoever made the database: within a circle. */
export interface SignalPlace {
  readonly latitude: number
  readonly longitude: number
  readonly radiusKm: number
  /** Autonomous system; 0: not known. */
  readonly asn: number
}

/**
 * One observation: a request that has ended, as detectors see it. Private by construction: accounts, sessions and paths are keyed hashes
 * already, and nothing of a body or a header is here.
 */
export interface Signal {
  /** Unix milliseconds. */
  readonly atMs: number
  readonly service: string
  /** Name of the policy's route; undefined: none is declared for it. */
  readonly route: string | undefined
  readonly method: string
  /** What the client got. */
  readonly status: number
  /** Of the response's body. */
  readonly bytes: number
  /** An address, or what stands for the first 64 bits of one of IPv6. */
  readonly source: string
  /** Of the client's TLS. */
  readonly fingerprint: string | undefined
  /** 32 hex digits. */
  readonly account: string | undefined
  /** Up to 32 hex digits. */
  readonly session: string | undefined
  /** Hash of the path without its query, 32 bits. */
  readonly path: number
  readonly login: 'failed' | 'good' | undefined
  /** An account was made. */
  readonly signup: boolean
  /** Milliseconds from the request to the end of its answer, where the node knows. */
  readonly tookMs?: number | undefined
  /** Whose token it came with: 32 hex digits. */
  readonly subject?: string | undefined
  /** Hash of method and path, of what looks like an id left out; 32 bits. Where there is a subject. */
  readonly endpoint?: number | undefined
  /** Of good logins, where the node knows. */
  readonly place?: SignalPlace | undefined
}

/** 32 bits of a text: FNV-1a with an avalanche at the end. Whoever knows the seed can choose texts that collide. */
export function hashText(text: string, seed = 0): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/**
 * Which upstream a client was given before, by a cookie. Its value is the beginning of a hash of service and upstream: the same
 * on all nodes of a ring, without anything to share, and nothing to read the upstream's address from. It is no secret: a
 * client may well choose its upstream, and who knows an address can check it.
 */
import { createHash } from 'node:crypto'
import type { ServicePolicy } from '@ringwall/ring'
import { lowerName } from './header-names.ts'
import type { Upstream } from './upstream.ts'

const TOKEN_HEX_DIGITS = 12

export class Stickiness {
  readonly #cookie: string
  readonly #attributes: string
  readonly #byToken = new Map<string, Upstream>()
  readonly #tokens = new Map<Upstream, string>()

  /** @param members Those that a client may be kept on. */
  constructor(service: string, sticky: NonNullable<ServicePolicy['sticky']>, members: readonly Upstream[]) {
    this.#cookie = sticky.cookie
    const maxAge = sticky.maxAge === undefined ? '' : `; Max-Age=${Math.floor(sticky.maxAge / 1_000)}`
    this.#attributes = `; Path=/${maxAge}; HttpOnly; SameSite=Lax`
    for (const upstream of members) {
      const token = createHash('sha256')
        .update(`ringwall-sticky ${service} ${upstream.url}`)
        .digest('hex')
        .slice(0, TOKEN_HEX_DIGITS)
      this.#byToken.set(token, upstream)
      this.#tokens.set(upstream, token)
    }
  }

  /** @param rawHeaders Names and values in turn. */
  wanted(rawHeaders: readonly string[]): Upstream | undefined {
    for (let at = 0; at < rawHeaders.length; at += 2) {
      if (lowerName(rawHeaders[at]!) !== 'cookie') continue
      const token = cookieValue(rawHeaders[at + 1]!, this.#cookie)
      const upstream = token === undefined ? undefined : this.#byToken.get(token)
      if (upstream !== undefined) return upstream
    }
    return undefined
  }

  /** The value of `Set-Cookie` that says who answered; undefined when that one is not for keeping. */
  cookie(upstream: Upstream, secure: boolean): string | undefined {
    const token = this.#tokens.get(upstream)
    return token === undefined ? undefined : `${this.#cookie}=${token}${this.#attributes}${secure ? '; Secure' : ''}`
  }
}

/** RFC 6265 section 4.2.1. The first of several of a name. */
function cookieValue(header: string, name: string): string | undefined {
  let from = 0
  while (from < header.length) {
    let to = header.indexOf(';', from)
    if (to < 0) to = header.length
    while (header.charCodeAt(from) === 0x20) from++
    if (header.startsWith(name, from) && header.charCodeAt(from + name.length) === 0x3d) {
      return header.slice(from + name.length + 1, to).trimEnd()
    }
    from = to + 1
  }
  return undefined
}

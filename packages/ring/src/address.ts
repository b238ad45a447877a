/**
 * IP addresses and prefixes, read and written by our own code so that every runtime agrees. Text forms: dotted decimal
 * without leading zeros, and RFC 4291 section 2.2; written as RFC 5952. IPv4-mapped IPv6 (`::ffff:1.2.3.4`) is IPv4:
 * otherwise a listener on `::` would see a denied source under another name.
 */

/** An address. `words` are unsigned 32-bit, one for IPv4 and four for IPv6. */
export interface Address {
  readonly version: 4 | 6
  readonly words: readonly number[]
}

/** A prefix; bits beyond `length` are zero. */
export interface Prefix extends Address {
  readonly length: number
}

/** What `scanAddress` found; it writes words to `scanned`. */
export const scanned = new Uint32Array(4)

const DOT = 46
const COLON = 58
const PERCENT = 37

/**
 * Reads an address without allocating: fills `scanned` and returns the version, or 0 when the text is no address. A zone
 * (`%eth0`) is passed over.
 */
export function scanAddress(text: string): 0 | 4 | 6 {
  let end = text.length
  if (end > 64) return 0
  let colon = false
  for (let at = 0; at < end; at += 1) {
    const code = text.charCodeAt(at)
    if (code === COLON) colon = true
    else if (code === PERCENT) {
      if (!colon || at + 1 === end) return 0
      end = at
    }
  }
  if (!colon) return scanV4(text, 0, end) ? 4 : 0
  if (!scanV6(text, end)) return 0
  if (scanned[0] === 0 && scanned[1] === 0 && scanned[2] === 0xffff) {
    scanned[0] = scanned[3]!
    return 4
  }
  return 6
}

function scanV4(text: string, from: number, end: number): boolean {
  let word = 0
  let octet = -1
  let dots = 0
  for (let at = from; at < end; at += 1) {
    const code = text.charCodeAt(at)
    if (code === DOT) {
      if (octet < 0 || dots === 3) return false
      word = word * 256 + octet
      octet = -1
      dots += 1
    } else if (code >= 48 && code <= 57) {
      // A leading zero is octal to some readers: refused rather than guessed.
      if (octet === 0) return false
      octet = (octet < 0 ? 0 : octet * 10) + code - 48
      if (octet > 255) return false
    } else return false
  }
  if (octet < 0 || dots !== 3) return false
  scanned[0] = word * 256 + octet
  return true
}

const groups = new Uint16Array(8)

function scanV6(text: string, end: number): boolean {
  let count = 0
  let gap = -1
  let at = 0
  if (text.charCodeAt(0) === COLON) {
    if (end < 2 || text.charCodeAt(1) !== COLON) return false
    gap = 0
    at = 2
  }
  while (at < end) {
    if (count === 8) return false
    const start = at
    let value = 0
    let dotted = false
    for (; at < end; at += 1) {
      const code = text.charCodeAt(at)
      if (code === COLON) break
      if (code === DOT) {
        dotted = true
        break
      }
      const digit =
        code >= 48 && code <= 57 ? code - 48 : code >= 97 && code <= 102 ? code - 87 : code >= 65 && code <= 70 ? code - 55 : -1
      if (digit < 0 || at - start >= 4) return false
      value = value * 16 + digit
    }
    if (dotted) {
      if (count > 6 || !scanV4(text, start, end)) return false
      groups[count] = scanned[0]! >>> 16
      groups[count + 1] = scanned[0]! & 0xffff
      count += 2
      at = end
      break
    }
    if (at === start) return false
    groups[count] = value
    count += 1
    if (at === end) break
    at += 1
    if (at === end) return false
    if (text.charCodeAt(at) === COLON) {
      if (gap >= 0) return false
      gap = count
      at += 1
    }
  }
  if (gap < 0 ? count !== 8 : count > 7) return false
  if (gap >= 0) {
    const tail = count - gap
    for (let index = 0; index < tail; index += 1) groups[7 - index] = groups[count - 1 - index]!
    for (let index = gap; index < 8 - tail; index += 1) groups[index] = 0
  }
  for (let word = 0; word < 4; word += 1) scanned[word] = groups[word * 2]! * 65_536 + groups[word * 2 + 1]!
  return true
}

/** Undefined when the text is no address. Zones are refused here: they mean something on one machine only. */
export function parseAddress(text: string): Address | undefined {
  const version = text.includes('%') ? 0 : scanAddress(text)
  if (version === 0) return undefined
  return { version, words: version === 4 ? [scanned[0]!] : [...scanned] }
}

/**
 * `ADDRESS/LENGTH`, or an address alone for its full length. Undefined when the text is neither, or when bits beyond the
 * length are set: `10.0.0.1/8` is a mistake worth asking about.
 */
export function parsePrefix(text: string): Prefix | undefined {
  const parts = splitPrefix(text)
  if (parts === undefined) return undefined
  const { address, length } = parts
  const masked = maskWords(address.words, length)
  return masked.every((word, index) => word === address.words[index]) ? { ...address, length } : undefined
}

/** Like `parsePrefix`, with bits beyond the length set to zero: what the author probably meant. */
export function parsePrefixLoosely(text: string): Prefix | undefined {
  const parts = splitPrefix(text)
  return parts && { version: parts.address.version, words: maskWords(parts.address.words, parts.length), length: parts.length }
}

function splitPrefix(text: string): { readonly address: Address; readonly length: number } | undefined {
  const slash = text.indexOf('/')
  const name = slash < 0 ? text : text.slice(0, slash)
  const address = parseAddress(name)
  if (address === undefined) return undefined
  const bits = address.words.length * 32
  if (slash < 0) return { address, length: bits }
  const digits = text.slice(slash + 1)
  if (!/^(0|[1-9][0-9]{0,2})$/.test(digits)) return undefined
  // A mapped prefix counts its length in IPv6 bits, of which 96 are the mapping.
  const length = Number(digits) - (address.version === 4 && name.includes(':') ? 96 : 0)
  return length < 0 || length > bits ? undefined : { address, length }
}

function maskWords(words: readonly number[], length: number): number[] {
  return words.map((word, index) => (word & maskOf(length - index * 32)) >>> 0)
}

/** The mask of one word with `length` leading ones; lengths outside 0 to 32 are held to them. */
export function maskOf(length: number): number {
  return length <= 0 ? 0 : length >= 32 ? 0xffffffff : (0xffffffff << (32 - length)) >>> 0
}

/** Does the prefix hold the address? */
export function prefixContains(prefix: Prefix, address: Address): boolean {
  if (prefix.version !== address.version) return false
  return prefix.words.every((word, index) => word === (address.words[index]! & maskOf(prefix.length - index * 32)) >>> 0)
}

/** Do the two share any address? */
export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return a.length <= b.length ? prefixContains(a, b) : prefixContains(b, a)
}

/** The one spelling: dotted decimal, or RFC 5952 section 4. */
export function formatAddress({ version, words }: Address): string {
  if (version === 4) return [24, 16, 8, 0].map((shift) => (words[0]! >>> shift) & 0xff).join('.')
  const fields = words.flatMap((word) => [word >>> 16, word & 0xffff])
  let best = -1
  let bestLength = 1
  for (let from = 0; from < 8; from += 1) {
    let to = from
    while (to < 8 && fields[to] === 0) to += 1
    if (to - from > bestLength) {
      best = from
      bestLength = to - from
    }
  }
  const hex = (part: readonly number[]) => part.map((field) => field.toString(16)).join(':')
  return best < 0 ? hex(fields) : `${hex(fields.slice(0, best))}::${hex(fields.slice(best + bestLength))}`
}

/** `ADDRESS/LENGTH` in its one spelling. */
export function formatPrefix(prefix: Prefix): string {
  return `${formatAddress(prefix)}/${prefix.length}`
}

/** Neither the unspecified address nor multicast nor broadcast: something that can be the source of a request. */
export function isSource({ version, words }: Address): boolean {
  if (version === 4) return words[0] !== 0 && words[0]! >>> 28 !== 0xe && words[0] !== 0xffffffff
  return words.some((word) => word !== 0) && words[0]! >>> 24 !== 0xff
}

/**
 * Tells URLs that point to the inside of a network: the host is read as resolvers read it (WHATWG URL section 3.5: numbers in any
 * base, short forms, percent-encoding, full-width digits, IPv4 mapped into IPv6) and compared with the special-purpose
 * registries (RFC 6890) and with names that only resolve inside.
 */

/** One of these occurs in every value that is found to point inside. */
export const INSIDE_LITERALS: readonly string[] = ['//', ':/', ':\\', 'http', '\\\\', 'ftp']

const HOST_CHARS_MAX = 256

const SPECIAL: readonly (readonly [name: string, base: number, bits: number])[] = [
  ['this host', 0x00000000, 8],
  ['private network', 0x0a000000, 8],
  ['shared address space', 0x64400000, 10],
  ['loopback', 0x7f000000, 8],
  ['link-local', 0xa9fe0000, 16],
  ['private network', 0xac100000, 12],
  ['protocol assignments', 0xc0000000, 24],
  ['private network', 0xc0a80000, 16],
  ['benchmarking', 0xc6120000, 15],
  ['broadcast', 0xffffffff, 32],
]

const INSIDE_NAMES =
  /^(?:localhost|localtest\.me|lvh\.me|vcap\.me|metadata|instance-data|rancher-metadata|kubernetes|ip6-(?:localhost|loopback)|host\.docker\.internal)$|\.(?:localhost|localdomain|local|internal|intranet|corp|lan|home\.arpa|consul|svc|cluster\.local)$|^kubernetes\.default|^metadata\.|(?:^|[.-])(?:\d{1,3}[.-]){3}\d{1,3}\.(?:nip|xip|sslip)\.io$|\.(?:rbndr\.us|1u\.ms)$/

/** The services of clouds that give a machine its credentials, where another host is to send us. */
const METADATA_BEHIND = /[?&=#]https?:\/\/(?:169\.254\.169\.254|100\.100\.100\.200|metadata\.google\.internal|\[fd00:ec2)/i

/** Where programs on a person's own machine wait for the answer to a login (RFC 8252 section 7.3): their browser goes there, no server. */
const OWN_RETURN =
  /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?\/(?:[\w-]{1,40}\/){0,4}(?:callback|sign(?:in|out-callback)-oidc|silent-renew(?:\.html)?)\/?$/

/** The kind of the address that a URL points to, or nothing. Only a value that is a URL as a whole counts. */
export function insideAddress(text: string): string | undefined {
  const host = hostOf(text)
  if (host === undefined || OWN_RETURN.test(text)) return undefined
  if (METADATA_BEHIND.test(text)) return 'metadata service, behind a redirect'
  const name = host.toLowerCase().replace(/\.$/, '')
  if (name.startsWith('[')) return ofIpv6(name.slice(1).replace(/\].*$/, ''))
  const address = ipv4(name)
  if (address !== undefined) return special(address)
  return INSIDE_NAMES.test(name) ? 'name of the inside' : undefined
}

function hostOf(text: string): string | undefined {
  const head = text.slice(0, 2_048).trim()
  if (/[\0-\x20]/.test(head)) return undefined
  const found =
    /^(?:[\w.-]{1,32}=)?(?:jar:|url:|view-source:)?(?:(https?|wss?|s?ftps?|tftp|gopher|dict|ldaps?|rmi|redis|mongodb|mysql|smtp|imap|telnet|ssh|git|svn|netdoc|jar):[/\\]{0,4}|[/\\]{2,4})([^/\\?#]{0,256})/i.exec(
      head,
    )
  if (found === null || found[2] === '') return undefined
  let authority = found[2]!
  // Readers differ in what `\@` means; either host counts.
  const credentials = authority.lastIndexOf('@')
  authority = authority.slice(credentials + 1, credentials + 1 + HOST_CHARS_MAX)
  const host = authority.startsWith('[') ? authority : authority.replace(/:.*$|!$/g, '')
  return folded(unescaped(host))
}

function unescaped(host: string): string {
  return host.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** UTF-8 bytes to characters, and those to the ASCII that IDNA maps them to. */
function folded(bytes: string): string {
  if (!/[\x80-\xff]/.test(bytes)) return bytes
  const text = new TextDecoder().decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0)))
  return text.normalize('NFKC').replace(/[。．｡]/g, '.')
}

/** Numbers in base 8, 10 or 16, one to four of them; the last fills what is left. Parts over their size wrap, as some resolvers do. */
function ipv4(host: string): number | undefined {
  const parts = host.split('.')
  if (parts.length > 4 || parts.some((part) => !/^(?:0x[0-9a-f]{0,8}|\d{1,16})$/i.test(part))) return undefined
  if (parts.length === 1 && !/^(?:0x|0|\d{6,})/i.test(parts[0]!)) return undefined
  const numbers = parts.map((part) =>
    /^0x/i.test(part)
      ? Number.parseInt(part.slice(2) || '0', 16)
      : /^0[0-7]+$/.test(part)
        ? Number.parseInt(part, 8)
        : Number.parseInt(part, 10),
  )
  let address = 0
  for (let i = 0; i < numbers.length - 1; i += 1) address += (numbers[i]! % 256) * 2 ** (24 - 8 * i)
  const left = 2 ** (32 - 8 * (numbers.length - 1))
  return (address + (numbers.at(-1)! % left)) % 2 ** 32
}

function special(address: number): string | undefined {
  for (const [name, base, bits] of SPECIAL)
    if (Math.floor(address / 2 ** (32 - bits)) === Math.floor(base / 2 ** (32 - bits))) return name
  // Alibaba Cloud's metadata service.
  return address === 0x646464c8 ? 'metadata service' : undefined
}

function ofIpv6(host: string): string | undefined {
  const text = host.replace(/%.*$/, '')
  if (!/^[0-9a-f:.]{2,45}$/.test(text)) return undefined
  const mapped = /^(.*:)(\d{1,3}(?:\.\d{1,3}){3})$/.exec(text)
  if (mapped !== null && /^(?:(?:0{0,4}:){0,7}(?:ffff:(?:0{1,4}:)?)?|64:ff9b::)$/.test(mapped[1]!))
    return special(ipv4(mapped[2]!)!)
  const groups = expanded(text)
  if (groups === undefined) return undefined
  if (groups.every((group) => group === 0)) return 'this host'
  if (groups.slice(0, 7).every((group) => group === 0) && groups[7] === 1) return 'loopback'
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff) return special(groups[6]! * 65_536 + groups[7]!)
  if ((groups[0]! & 0xffc0) === 0xfe80) return 'link-local'
  return (groups[0]! & 0xfe00) === 0xfc00 ? 'private network' : undefined
}

function expanded(text: string): readonly number[] | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const read = (half: string | undefined): number[] =>
    half === undefined || half === '' ? [] : half.split(':').map((group) => Number.parseInt(group, 16))
  const [head, tail] = [read(halves[0]), read(halves[1])]
  if ([...head, ...tail].some((group) => !(group >= 0 && group <= 0xffff))) return undefined
  const missing = 8 - head.length - tail.length
  if (halves.length === 2 ? missing < 0 : missing !== 0) return undefined
  return [...head, ...Array.from({ length: missing }, () => 0), ...tail]
}

/**
 * Denied addresses as a script for `nft -f`: the kernel drops what the nodes would refuse, before it costs them anything. The script
 * replaces its own table whole and at once, however often it is run, and touches no other. Elements end by themselves when the denial does.
 */
import { type Address, formatAddress, parsePrefix } from '@ringwall/ring'

/** What is denied, until when (Unix milliseconds). */
export interface DeniedPrefix {
  readonly prefix: string
  readonly expiresAtMs: number
}

export interface NftablesOptions {
  readonly nowMs: number
  /** TCP ports; undefined: everything these sources send. */
  readonly ports: readonly number[] | undefined
}

interface Span {
  readonly first: bigint
  readonly last: bigint
  readonly expiresAtMs: number
}

const WORD = 32n
/** Of one line: nft reads long ones slowly. */
const ELEMENTS_PER_LINE = 4

export function nftablesScript(denied: readonly DeniedPrefix[], { nowMs, ports }: NftablesOptions): string {
  const spans = { 4: [] as Span[], 6: [] as Span[] }
  for (const { prefix: text, expiresAtMs } of denied) {
    const prefix = parsePrefix(text)
    if (prefix === undefined || expiresAtMs <= nowMs) continue
    const bits = prefix.version === 4 ? 32 : 128
    const first = prefix.words.reduce((number, word) => (number << WORD) | BigInt(word), 0n)
    spans[prefix.version].push({ first, last: first + (1n << BigInt(bits - prefix.length)) - 1n, expiresAtMs })
  }
  const to = ports === undefined ? '' : `tcp dport { ${ports.join(', ')} } `
  const set = (version: 4 | 6): string => {
    const elements = disjoint(spans[version]).map((span) => element(span, version, nowMs))
    const lines: string[] = []
    for (let at = 0; at < elements.length; at += ELEMENTS_PER_LINE)
      lines.push(`      ${elements.slice(at, at + ELEMENTS_PER_LINE).join(', ')}`)
    const list = lines.length === 0 ? '' : `    elements = {\n${lines.join(',\n')}\n    }\n`
    return `  set denied_v${version} {\n    type ipv${version}_addr\n    flags interval, timeout\n${list}  }\n`
  }
  return `#!/usr/sbin/nft -f
# Denials of a Ringwall ring as of ${new Date(nowMs).toISOString()}: run it again to renew them.
table inet ringwall
delete table inet ringwall
table inet ringwall {
${set(4)}
${set(6)}
  chain denied {
    type filter hook prerouting priority raw; policy accept;
    ${to}ip saddr @denied_v4 drop
    ${to}ip6 saddr @denied_v6 drop
  }
}
`
}

/**
 * The same addresses without overlaps, which sets of intervals refuse: each until the last of those that hold it ends. Prefixes lie
 * within one another or apart, so that what is open at any point is a stack.
 */
function disjoint(spans: readonly Span[]): readonly Span[] {
  const sorted = spans.toSorted((a, b) => compare(a.first, b.first) || compare(b.last, a.last))
  const apart: Span[] = []
  const open: Span[] = []
  let at = 0n
  const upTo = (end: bigint): void => {
    const top = open.at(-1)
    if (top === undefined || at > end) return
    const before = apart.at(-1)
    if (before !== undefined && before.expiresAtMs === top.expiresAtMs && before.last + 1n === at)
      apart[apart.length - 1] = { ...before, last: end }
    else apart.push({ first: at, last: end, expiresAtMs: top.expiresAtMs })
    at = end + 1n
  }
  const closeBefore = (first: bigint | undefined): void => {
    for (let top = open.at(-1); top !== undefined && (first === undefined || top.last < first); top = open.at(-1)) {
      upTo(top.last)
      open.pop()
    }
  }
  for (const span of sorted) {
    closeBefore(span.first)
    upTo(span.first - 1n)
    at = span.first
    // Within one that lasts longer, it lasts as long.
    open.push({ ...span, expiresAtMs: Math.max(span.expiresAtMs, open.at(-1)?.expiresAtMs ?? 0) })
  }
  closeBefore(undefined)
  return apart
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function element({ first, last, expiresAtMs }: Span, version: 4 | 6, nowMs: number): string {
  const range = first === last ? text(first, version) : `${text(first, version)}-${text(last, version)}`
  return `${range} timeout ${Math.max(1, Math.ceil((expiresAtMs - nowMs) / 1_000))}s`
}

function text(number: bigint, version: 4 | 6): string {
  const words = version === 4 ? [number] : [3n, 2n, 1n, 0n].map((at) => (number >> (WORD * at)) & 0xffff_ffffn)
  const address: Address = { version, words: words.map(Number) }
  return formatAddress(address)
}

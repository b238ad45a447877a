/** The two heads that pass through us, rewritten: request to upstream, response to client. Pure. */
import type { Peer } from '@ringwall/guard'
import type { Section } from './head-scanner.ts'
import { connectionTokens, detached, HOP_BY_HOP, lowerName } from './header-names.ts'
import type { PersonFields } from './people.ts'
import type { RequestHead } from './request-head.ts'
import { foldedName, type HeaderRewriting } from './rewriting.ts'

/** Ours to say. A client's own are dropped, also in spellings that a CGI-like upstream reads as the same (`X_Forwarded_For`). */
const OURS: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'expect',
  'trailer',
  'forwarded',
  // Where some upstreams look whose request it is, each in its own place.
  'x-forwarded',
  'forwarded-for',
  'x-real-ip',
  'client-ip',
  'x-client-ip',
  'true-client-ip',
  'x-cluster-client-ip',
  'x-originating-ip',
  'x-remote-ip',
  'x-remote-addr',
  // Programs of CGI get it as `HTTP_PROXY`, by which their own requests go to whoever sent it (CVE-2016-5385).
  'proxy',
  // Some upstreams route by these instead of the target that was judged.
  'x-original-url',
  'x-original-uri',
  'x-original-host',
  'x-rewrite-url',
  'x-request-id',
  'traceparent',
  'tracestate',
  'ringwall-password',
])

/** Names that begin so are ours: what we say of the client (whom its certificate names among it), and whatever else an upstream would believe. */
const OURS_BEGIN = ['x-forwarded-', 'x-ringwall-']

const DROPPED_MAX = 2_048
const dropped = new Map<string, boolean>()

/** Whether a request header stays behind; remembered by its spelling. */
export function isDropped(name: string): boolean {
  const found = dropped.get(name)
  if (found !== undefined) return found
  const lower = lowerName(name)
  const plain = lower?.replaceAll('_', '-')
  const drop =
    plain === undefined || HOP_BY_HOP.has(plain) || OURS.has(plain) || OURS_BEGIN.some((beginning) => plain.startsWith(beginning))
  if (dropped.size >= DROPPED_MAX) dropped.clear()
  dropped.set(detached(name), drop)
  return drop
}

export interface Forwarding {
  readonly head: RequestHead
  /** Where it goes: as received, unless the policy rewrites them. */
  readonly target: string
  readonly host: string
  readonly rewriting: HeaderRewriting | undefined
  readonly rawHeaders: readonly string[]
  /** Their lines as received. */
  readonly section?: Section | undefined
  /** Bytes of body; undefined: chunked. */
  readonly bodyBytes: number | undefined
  readonly source: string
  /** `X-Forwarded-For` to send, the source first. */
  readonly chain: string
  readonly proto: 'http' | 'https'
  readonly requestId: string
  readonly traceparent: string
  readonly tracestate: string | undefined
  /** The body holds a password that is known from breaches. */
  readonly breached?: boolean
  /** Where people log in here: who it is. */
  readonly person?: PersonFields | undefined
  /** Whose certificate of the ring came with it. */
  readonly peer?: Peer | undefined
}

/** The whole header section, to be written as latin1. */
export function requestHeadText(forwarding: Forwarding): string {
  const { head } = forwarding
  let text = `${head.method} ${forwarding.target} HTTP/1.1\r\nhost: ${forwarding.host}\r\n`
  text += requestLines(forwarding)
  if (head.upgrade) text += 'connection: upgrade\r\nupgrade: websocket\r\n'
  else if (forwarding.bodyBytes === undefined) text += 'transfer-encoding: chunked\r\n'
  else if (forwarding.bodyBytes > 0 || !BODYLESS.has(head.method)) text += `content-length: ${forwarding.bodyBytes}\r\n`
  if (head.trailersAccepted && !head.upgrade) text += 'te: trailers\r\nconnection: te\r\n'
  const source = forwarding.source.includes(':') ? `"[${forwarding.source}]"` : forwarding.source
  text += `x-forwarded-for: ${forwarding.chain}\r\nx-forwarded-host: ${head.authority}\r\nx-forwarded-proto: ${forwarding.proto}\r\n`
  text += `forwarded: for=${source};host="${head.authority}";proto=${forwarding.proto}\r\n`
  text += `x-request-id: ${forwarding.requestId}\r\ntraceparent: ${forwarding.traceparent}\r\n`
  if (forwarding.tracestate !== undefined) text += `tracestate: ${forwarding.tracestate}\r\n`
  if (forwarding.breached === true) text += 'ringwall-password: breached\r\n'
  const { peer } = forwarding
  if (peer !== undefined)
    text += `x-ringwall-peer: ${peer.subject}\r\nx-forwarded-client-cert: Hash=${peer.hash};URI=${peer.subject}\r\n`
  if (forwarding.rewriting !== undefined) text += forwarding.rewriting.added
  if (forwarding.person !== undefined) text += forwarding.person.added
  return `${text}\r\n`
}

/** The client's fields that go on. */
function requestLines({ head, rawHeaders, section, rewriting, person }: Forwarding): string {
  const named = head.connectionNames
  const rewritten = rewriting?.dropped
  const personal = person?.dropped
  const own = named === undefined && rewritten === undefined && personal === undefined ? repeated(rawHeaders, section) : undefined
  if (own?.ofRequest !== undefined) return own.ofRequest
  const lines = keptLines(rawHeaders, section, (name) => {
    if (isDropped(name) || named?.includes(name.toLowerCase()) === true) return false
    return rewritten?.has(foldedName(name)) !== true && personal?.has(foldedName(name)) !== true
  })
  if (own !== undefined) own.ofRequest = detached(lines)
  return lines
}

/** The lines as they came, where they are those of these headers and worth remembering. */
function repeated(rawHeaders: readonly string[], section: Section | undefined): Section | undefined {
  return section?.repeats === true && section.fields === rawHeaders ? section : undefined
}

/** The lines of those that are kept: in one piece what stays together, where it came as we would write it. */
function keptLines(rawHeaders: readonly string[], section: Section | undefined, keeps: (name: string) => boolean): string {
  let lines = ''
  if (section === undefined || section.fields !== rawHeaders) {
    for (let at = 0; at < rawHeaders.length; at += 2) {
      const name = rawHeaders[at]!
      if (keeps(name)) lines += `${name}: ${rawHeaders[at + 1]!}\r\n`
    }
    return lines
  }
  const { text, starts } = section
  const count = rawHeaders.length / 2
  let from = 0
  for (let at = 0; at < count; at++) {
    if (keeps(rawHeaders[at * 2]!)) continue
    if (at > from) lines += text.slice(starts[from], starts[at])
    from = at + 1
  }
  return count > from ? lines + text.slice(starts[from], starts[count]) : lines
}

/** Methods whose requests need no `Content-Length: 0` (RFC 9110 section 8.6). */
const BODYLESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'DELETE'])

/** `content-length` is ours to say: an upstream may have said it twice. */
const RESPONSE_DROPPED: ReadonlySet<string> = new Set([...HOP_BY_HOP, 'x-request-id', 'content-length'])
const PASSED = 0
const LEFT_OUT = 1
const CONNECTION = 2
const DATE = 3
const TRANSPORT_SECURITY = 4
const responseKinds = new Map<string, number>()

function responseKind(name: string): number {
  const found = responseKinds.get(name)
  if (found !== undefined) return found
  const lower = name.toLowerCase()
  let kind = PASSED
  if (lower === 'connection') kind = CONNECTION
  else if (lower === 'date') kind = DATE
  else if (lower === 'strict-transport-security') kind = TRANSPORT_SECURITY
  else if (RESPONSE_DROPPED.has(lower) || lower.startsWith('x-ringwall-')) kind = LEFT_OUT
  if (responseKinds.size >= DROPPED_MAX) responseKinds.clear()
  responseKinds.set(detached(name), kind)
  return kind
}

/**
 * The header section of a response without what frames it and without the empty line: status line, the upstream's
 * end-to-end fields, `Date` when it gave none (RFC 9110 section 6.6.1).
 *
 * @param own Names and values of what the listener says itself: an upstream's own is left out (RFC 6797 section 7.1).
 */
export function responseHeadText(
  status: number,
  statusText: string,
  rawHeaders: readonly string[],
  nowMs: number,
  own: readonly string[] = NONE,
  section?: Section,
): string {
  const { lines, dated } = responseLines(rawHeaders, own.length > 0, section)
  const text = `HTTP/1.1 ${status} ${statusText}\r\n${lines}`
  return dated || status < 200 ? text : `${text}date: ${httpDate(nowMs)}\r\n`
}

/** The upstream's fields that go on. @param isSecured Transport security is the listener's to say. */
function responseLines(
  rawHeaders: readonly string[],
  isSecured: boolean,
  section: Section | undefined,
): { readonly lines: string; readonly dated: boolean } {
  const own = repeated(rawHeaders, section)
  if (own?.ofResponse !== undefined) return own.ofResponse
  const { named, dated, secures } = overview(rawHeaders)
  const lines = keptLines(rawHeaders, section, (name) => {
    const kind = responseKind(name)
    if (kind === TRANSPORT_SECURITY && isSecured) return false
    return kind !== LEFT_OUT && kind !== CONNECTION && named?.includes(name.toLowerCase()) !== true
  })
  // Listeners differ in what they say of transport security.
  if (own === undefined || secures) return { lines, dated }
  own.ofResponse = { lines: detached(lines), dated }
  return own.ofResponse
}

/** The same fields for HTTP/2: names, in lower case, and values in turn. */
export function responseFields(status: number, rawHeaders: readonly string[], nowMs: number, own: readonly string[]): string[] {
  const fields: string[] = []
  const { named, dated } = overview(rawHeaders)
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    const kind = responseKind(name)
    if (kind === TRANSPORT_SECURITY && own.length > 0) continue
    const lower = lowerName(name)
    if (lower === undefined || kind === LEFT_OUT || kind === CONNECTION || named?.includes(lower)) continue
    fields.push(lower, rawHeaders[at + 1]!)
  }
  if (!dated && status >= 200) fields.push('date', httpDate(nowMs))
  return fields
}

interface Overview {
  /** What `Connection` names besides the usual. */
  readonly named: string[] | undefined
  /** Whether there is a `Date`. */
  readonly dated: boolean
  /** Whether something is said of transport security. */
  readonly secures: boolean
}

function overview(rawHeaders: readonly string[]): Overview {
  let named: string[] | undefined
  let dated = false
  let secures = false
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const kind = responseKind(rawHeaders[at]!)
    if (kind === CONNECTION && rawHeaders[at + 1] !== 'keep-alive') {
      const tokens = connectionTokens(rawHeaders[at + 1]!).filter((token) => token !== 'keep-alive' && token !== 'close')
      if (tokens.length > 0) named = (named ?? []).concat(tokens)
    } else if (kind === DATE) dated = true
    else if (kind === TRANSPORT_SECURITY) secures = true
  }
  return { named, dated, secures }
}

const NONE: readonly string[] = []

let dateSecond = -1
let dateText = ''

/** IMF-fixdate (RFC 9110 section 5.6.7). @param nowMs Unix milliseconds. */
export function httpDate(nowMs: number): string {
  const second = Math.floor(nowMs / 1_000)
  if (second !== dateSecond) {
    dateSecond = second
    dateText = new Date(second * 1_000).toUTCString()
  }
  return dateText
}

/**
 * What stands around the engine in the conformance run: an HTTP/1 reader that takes apart what it can (the tests send broken
 * requests on purpose, and rules are to see them) and says which of them a server has to refuse; and the tests' backend: httpbin,
 * which has no page whose name is not UTF-8 and answers no CONNECT, or albedo, which answers everything, and `/reflect` with what
 * the request asks for.
 */
import type { HeaderField, RuleSet, WafMatch, WafRequest, WafVerdict } from '@ringwall/waf'
import type { FtwOutcome } from './ftw.ts'

interface ReadRequest extends WafRequest {
  readonly body: Buffer
  /** Set when RFC 9112 has a server refuse it. */
  readonly refused: boolean
  /** Its fields cannot be told apart, so that no rule sees it. */
  readonly unreadable: boolean
  /** There is no answer that an HTTP/1 client reads: a request of HTTP/0.9, or one whose body never ends. */
  readonly unanswered: boolean
}

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/

function readRequest(bytes: Buffer): ReadRequest {
  const text = bytes.toString('latin1')
  const end = text.indexOf('\r\n\r\n')
  const head = (end < 0 ? text : text.slice(0, end)).split('\r\n')
  const rest = end < 0 ? Buffer.alloc(0) : bytes.subarray(end + 4)
  const line = head[0] ?? ''
  // The target is what stands between the first and the last blank: tests put blanks into it.
  const match = /^[ \t]*(\S+)[ \t]+(.*?)(?:[ \t]+(\S*))?[ \t]*$/s.exec(line)
  const method = match?.[1] ?? line
  const version = match?.[3] ?? ''
  const simple = /^\S+ \S+ ?$/.test(line)
  let refused = !simple && !/^\S+ \S+ HTTP\/[0-9]\.[0-9]$/.test(line)
  if (!TOKEN.test(method) || /[\x00-\x1f\x7f]/.test(line) || !/^HTTP\/1\.[0-9]$/.test(version) !== simple) refused = true
  if (!isTarget(method, match?.[2] ?? '')) refused = true
  let unreadable = false
  const headers: HeaderField[] = []
  for (const field of head.slice(1)) {
    if (/^[ \t]/.test(field) && headers.length > 0) {
      const [name, value] = headers.pop()!
      headers.push([name, `${value} ${field.trim()}`])
      continue
    }
    const colon = field.indexOf(':')
    if (colon < 0) {
      refused = true
      continue
    }
    const name = field.slice(0, colon)
    if (!TOKEN.test(name)) refused = true
    if (/[\x00\r\n]/.test(field)) unreadable = true
    const value = field.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')
    // Fields of one name are one list (RFC 9110 section 5.3), which is how Apache hands them on.
    const before = headers.findIndex(([other]) => other.toLowerCase() === name.trim().toLowerCase())
    if (before < 0) headers.push([name.trim(), value])
    else headers[before] = [headers[before]![0], `${headers[before]![1]}, ${value}`]
  }
  const fieldOf = (wanted: string): string | undefined => headers.find(([name]) => name.toLowerCase() === wanted)?.[1]
  const host = fieldOf('host')
  if (
    version === 'HTTP/1.1' &&
    (host === undefined || !/^(?:[A-Za-z0-9._~!$&'()*+,;=-]+|\[[0-9a-fA-F:.]+\])(?::\d*)?$/.test(host))
  )
    refused = true
  if (host !== undefined && /[\x00-\x20]/.test(host)) refused = true
  const length = fieldOf('content-length')
  if (length !== undefined && !/^\d+$/.test(length)) refused = true
  let body: Buffer = rest.subarray(0, length === undefined ? 0 : Number.parseInt(length, 10) || 0)
  const chunked = /chunked/i.test(fieldOf('transfer-encoding') ?? '')
  if (chunked) {
    body = readChunks(rest)
    // RFC 9112 section 6.3: the coding overrides the length.
    const at = headers.findIndex(([name]) => name.toLowerCase() === 'content-length')
    if (at >= 0) headers.splice(at, 1)
  }
  const waiting = !chunked && length !== undefined && /^\d+$/.test(length) && Number(length) > rest.length
  return {
    method,
    target: match?.[2] ?? '',
    httpVersion: /^HTTP\/(\d\.\d)$/.exec(version)?.[1] ?? '',
    protocol: version === '' ? 'HTTP/0.9' : version,
    headers,
    remoteAddress: '127.0.0.1',
    body,
    refused: refused || unreadable,
    unreadable,
    unanswered: simple || (waiting && !refused),
  }
}

/** The forms of RFC 9112 section 3.2. */
function isTarget(method: string, target: string): boolean {
  if (method === 'CONNECT') return /^[^/?#@\s]+:\d{1,5}$/.test(target)
  if (target === '*') return method === 'OPTIONS'
  return !target.includes('#') && (target.startsWith('/') || /^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]/.test(target))
}

function readChunks(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  let at = 0
  for (;;) {
    const end = bytes.indexOf('\r\n', at)
    const size = end < 0 ? 0 : Number.parseInt(bytes.toString('latin1', at, end), 16) || 0
    if (size === 0) return Buffer.concat(parts)
    parts.push(bytes.subarray(end + 2, end + 2 + size))
    at = end + 2 + size + 2
  }
}

interface Answer {
  readonly status: number
  readonly headers: readonly HeaderField[]
  readonly body: Buffer
}

/** What the backend says: `/reflect` gives back `status`, `headers` and `body` or `encodedBody` of the JSON sent to it. */
function answerOf({ method, target, body }: ReadRequest, backend: 'httpbin' | 'albedo'): Answer {
  const status = backend === 'albedo' ? 200 : method === 'CONNECT' ? 405 : /%[fF]{2}/.test(target) ? 404 : 200
  const plain: Answer = { status, headers: [['Content-Type', 'text/plain']], body: Buffer.alloc(0) }
  if (!/^\/reflect(?:[?#]|$)/.test(target)) return plain
  try {
    const asked = JSON.parse(body.toString('utf8')) as Record<string, unknown>
    const headers = Object.entries((asked.headers ?? {}) as Record<string, string>)
    const typed = headers.some(([name]) => name.toLowerCase() === 'content-type')
    return {
      status: Number(asked.status ?? 200),
      headers: typed ? headers : [...headers, ['Content-Type', 'text/plain']],
      body:
        typeof asked.encodedBody === 'string'
          ? Buffer.from(asked.encodedBody, 'base64')
          : Buffer.from(typeof asked.body === 'string' ? asked.body : '', 'utf8'),
    }
  } catch {
    return plain
  }
}

/** Sends one request through the engine as a proxy does, and writes its log as ModSecurity does. */
export function runThrough(rules: RuleSet, bytes: Buffer, backend: 'httpbin' | 'albedo', nowMs: number): FtwOutcome {
  const request = readRequest(bytes)
  if (request.unreadable) return { status: 400, log: '' }
  const transaction = rules.begin({ clock: () => nowMs, uniqueId: 'conformance' })
  let verdict: WafVerdict = transaction.requestHead(request)
  if (!verdict.blocked) verdict = transaction.requestBody(request.body, false)
  let status = verdict.blocked ? verdict.status : request.refused ? 400 : 200
  if (!verdict.blocked && !request.refused) {
    const answer = answerOf(request, backend)
    verdict = transaction.responseHead({ status: answer.status, protocol: 'HTTP/1.1', headers: answer.headers })
    if (!verdict.blocked) verdict = transaction.responseBody(answer.body.subarray(0, transaction.responseBytesWanted), false)
    status = verdict.blocked ? verdict.status : answer.status
  }
  verdict = transaction.log()
  return { status: request.unanswered ? undefined : status, log: verdict.matches.map(logLine).join('\n') }
}

function logLine({ ruleId, message, data, severity, tags, variable }: WafMatch): string {
  return [
    `ModSecurity: Warning. Matched at ${variable}. [id "${ruleId}"] [msg "${message}"]`,
    ` [data "${(data ?? '').replace(/[^\x20-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)}"] [severity "${severity.toUpperCase()}"]`,
    ...tags.map((tag) => ` [tag "${tag}"]`),
  ].join('')
}

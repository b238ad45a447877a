/**
 * What stands around the engine in the conformance run: an HTTP/1 reader that takes apart what it can (the tests send broken
 * requests on purpose, and rules are to see them), says which of them a server has to refuse, and the tests' backend, which
 * answers `/reflect` with what the request asks for (the albedo server of CRS's own runs).
 */
import type { HeaderField, RuleSet, WafMatch, WafRequest, WafVerdict } from '@ringwall/waf'
import type { FtwOutcome } from './ftw.ts'

interface ReadRequest extends WafRequest {
  readonly body: Buffer
  /** Set when RFC 9112 has a server refuse it. */
  readonly refused: boolean
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
  if (!TOKEN.test(method) || /[\x00-\x1f\x7f]/.test(line)) refused = true
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
    if (/[\x00\r\n]/.test(field)) refused = true
    headers.push([name.trim(), field.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')])
  }
  const valueOf = (wanted: string): string | undefined => headers.find(([name]) => name.toLowerCase() === wanted)?.[1]
  const host = valueOf('host')
  if (version === 'HTTP/1.1' && (host === undefined || !/^(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9a-fA-F:.]+\])(?::\d*)?$/.test(host)))
    refused = true
  if (host !== undefined && /[\x00-\x20]/.test(host)) refused = true
  const length = valueOf('content-length')
  if (length !== undefined && !/^\d+$/.test(length)) refused = true
  let body: Buffer = rest.subarray(0, length === undefined ? 0 : Number.parseInt(length, 10) || 0)
  const chunked = /chunked/i.test(valueOf('transfer-encoding') ?? '')
  if (chunked) body = readChunks(rest)
  const waiting = !chunked && length !== undefined && /^\d+$/.test(length) && Number(length) > rest.length
  return {
    method,
    target: match?.[2] ?? '',
    httpVersion: /^HTTP\/(\d\.\d)$/.exec(version)?.[1] ?? '',
    protocol: version === '' ? 'HTTP/0.9' : version,
    headers,
    remoteAddress: '127.0.0.1',
    body,
    refused,
    unanswered: simple || (waiting && !refused),
  }
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
function answerOf({ target, body }: ReadRequest): Answer {
  const plain: Answer = { status: 200, headers: [['Content-Type', 'text/plain']], body: Buffer.alloc(0) }
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
export function runThrough(rules: RuleSet, bytes: Buffer, nowMs: number): FtwOutcome {
  const request = readRequest(bytes)
  const transaction = rules.begin({ clock: () => nowMs, uniqueId: 'conformance' })
  let verdict: WafVerdict = transaction.requestHead(request)
  if (!verdict.blocked) verdict = transaction.requestBody(request.body, false)
  let status = verdict.blocked ? verdict.status : request.refused ? 400 : 200
  if (!verdict.blocked && !request.refused) {
    const answer = answerOf(request)
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
    ` [data "${data ?? ''}"] [severity "${severity.toUpperCase()}"]`,
    ...tags.map((tag) => ` [tag "${tag}"]`),
  ].join('')
}

/**
 * One entry of an audit log, as libmodsecurity 3 writes it with `SecAuditLogFormat JSON`, so that what reads those reads these. By what
 * version 3.0.9 writes for the same request, which `audit-log.test.ts` compares where it is installed.
 *
 * Not as there: `reference` (offsets into buffers of its own) is empty; a header field that occurs twice is one name with both values,
 * since most readers of JSON keep the last of two; credentials are masked; there is no part E, the body of the response.
 */
import type { GuardRequest } from '@ringwall/guard'
import { type HeaderField, MASKED, maskSecrets, type RuleSet, type WafMatch } from '@ringwall/waf'

const PARAMETER_CHARS_MAX = 200
const VALUE_CHARS_MAX = 100
const BODY_CHARS_MAX = 131_072

export interface AuditFacts {
  readonly request: GuardRequest
  readonly body: Uint8Array
  readonly status: number
  /** Of the response: names and values in turn. */
  readonly fields: readonly string[]
  readonly atMs: number
  /** Letters. */
  readonly parts: string
  readonly matches: readonly WafMatch[]
  /** Where rules that matched are described. */
  readonly rules: Pick<RuleSet, 'describe'>
  readonly engine: 'Enabled' | 'Disabled' | 'DetectionOnly'
  readonly components: readonly string[]
  /** SHA-1 in hex, the same for all entries of a node. */
  readonly serverId: string
  readonly host: string
  readonly port: number
  readonly producer: string
}

export function auditEntry(facts: AuditFacts): unknown {
  const { request, body, status, fields, parts, atMs } = facts
  const has = (letter: string): boolean => parts.includes(letter)
  return {
    transaction: {
      client_ip: request.remoteAddress,
      time_stamp: asctime(new Date(atMs)),
      server_id: facts.serverId,
      client_port: request.remotePort ?? 0,
      host_ip: facts.host,
      host_port: facts.port,
      unique_id: request.requestId ?? '',
      request: {
        method: request.method,
        http_version: Number(request.httpVersion) || 0,
        uri: maskSecrets('REQUEST_URI', request.target),
        ...(has('C') ? { body: maskSecrets('REQUEST_BODY', textOf(body)) } : {}),
        ...(has('B') ? { headers: headersOf('REQUEST_HEADERS', request.headers) } : {}),
      },
      response: { http_code: status, ...(has('F') ? { headers: headersOf('RESPONSE_HEADERS', pairs(fields)) } : {}) },
      ...(has('H')
        ? {
            producer: {
              modsecurity: facts.producer,
              connector: facts.producer,
              secrules_engine: facts.engine,
              components: facts.components,
            },
            messages: messagesOf(facts),
          }
        : {}),
    },
  }
}

function textOf(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, Math.min(body.length, BODY_CHARS_MAX)).toString('utf8')
}

function pairs(list: readonly string[]): readonly HeaderField[] {
  return Array.from({ length: list.length / 2 }, (_, at) => [list[2 * at]!, list[2 * at + 1]!])
}

function headersOf(collection: string, headers: readonly HeaderField[]): Readonly<Record<string, string>> {
  const fields = new Map<string, string>()
  for (const [name, value] of headers) {
    const masked = maskSecrets(`${collection}:${name}`, value)
    const held = fields.get(name)
    fields.set(name, held === undefined ? masked : `${held}, ${masked}`)
  }
  return Object.fromEntries(fields)
}

function messagesOf({ matches, rules }: AuditFacts): readonly unknown[] {
  return matches.map((match) => {
    const rule = rules.describe(match.ruleId)
    const link = rule?.links.at(-1)
    const secret = maskSecrets(match.variable, match.excerpt) !== match.excerpt
    const value = maskSecrets(match.variable, match.excerpt).slice(0, VALUE_CHARS_MAX)
    const data = match.data ?? ''
    const number = (name: string): string =>
      rule?.links[0]?.actions
        .map((action) => new RegExp(`^${name}:'?([0-9])'?$`, 'i').exec(action)?.[1])
        .find((one) => one !== undefined) ?? '0'
    return {
      message: secret ? match.message.replaceAll(match.excerpt, MASKED) : match.message,
      details: {
        match:
          link === undefined || link.operator === ''
            ? 'Unconditional match in SecAction.'
            : `Matched "Operator \`${operatorName(link.operator)}' with parameter \`${limited(link.argument)}' against variable \`${match.variable}' (Value: \`${printable(value)}' )`,
        reference: '',
        ruleId: String(match.ruleId),
        file: rule?.file ?? '',
        lineNumber: String(link?.line ?? 0),
        data: secret && data !== '' ? MASKED : maskSecrets('TX', data),
        severity: String(rule?.level ?? 0),
        ver: rule?.ver ?? '',
        rev: rule?.rev ?? '',
        tags: match.tags,
        maturity: number('maturity'),
        accuracy: number('accuracy'),
      },
    }
  })
}

function limited(text: string): string {
  if (text.length <= PARAMETER_CHARS_MAX) return text
  return `${text.slice(0, PARAMETER_CHARS_MAX)} (${text.length - PARAMETER_CHARS_MAX} characters omitted)`
}

function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (character) => `\\x${(character.charCodeAt(0) & 255).toString(16).padStart(2, '0')}`)
}

/** As libmodsecurity names its operators. */
const OPERATOR_NAMES: ReadonlyMap<string, string> = new Map(
  [
    'Rx',
    'RxGlobal',
    'Pm',
    'PmFromFile',
    'StrEq',
    'StrMatch',
    'BeginsWith',
    'EndsWith',
    'Contains',
    'ContainsWord',
    'Within',
    'Eq',
    'Ge',
    'Gt',
    'Le',
    'Lt',
    'Ne',
    'IpMatch',
    'IpMatchFromFile',
    'DetectSQLi',
    'DetectXSS',
    'ValidateByteRange',
    'ValidateUrlEncoding',
    'ValidateUtf8Encoding',
    'UnconditionalMatch',
    'GeoLookup',
    'Rbl',
    'VerifyCC',
    'VerifyCPF',
    'VerifySSN',
    'VerifySVNR',
  ].map((name) => [name.toLowerCase(), name]),
)

function operatorName(written: string): string {
  const lower = written.toLowerCase()
  if (lower === 'pmf') return 'PmFromFile'
  if (lower === 'ipmatchf') return 'IpMatchFromFile'
  return OPERATOR_NAMES.get(lower) ?? `${written[0]!.toUpperCase()}${written.slice(1)}`
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat']
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** Local time as C's `asctime` writes it. */
export function asctime(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, '0')
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  return `${DAYS[date.getDay()]} ${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2, ' ')} ${time} ${date.getFullYear()}`
}

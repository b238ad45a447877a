/** Denials: add, import, remove, list. */
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { ApiError, type Denial, type PendingDenial, type RingwallClient } from '@ringwall/client'
import { formatAddress, formatPrefix, type Prefix, parseAddress, parsePolicyDocument, parsePrefixLoosely } from '@ringwall/ring'
import { accountKey, canonicalJson, type DenialSubject } from '@ringwall/ring/tx'
import { UsageError } from '../errors.ts'
import { duration, paint, printable } from '../format.ts'
import { type Format, printList } from '../output.ts'
import { nftablesScript } from './nftables.ts'
import { tellWaiting } from './waiting.ts'

export const KINDS = ['ip', 'cidr', 'token', 'subject', 'session', 'device', 'key', 'issuer', 'issued-before', 'account'] as const

export interface DenyAddOptions {
  readonly ttlMs: number
  readonly reason: string
  /** Of an account. */
  readonly service?: string | undefined
  /** Of a token’s `iss`: what is denied is that issuer’s alone. */
  readonly issuer?: string | undefined
  /** Whose tokens, of `issued-before`. */
  readonly subject?: string | undefined
  readonly dryRun: boolean
}

export async function denyAdd(client: RingwallClient, kind: string, value: string, options: DenyAddOptions): Promise<void> {
  const subject = await subjectOf(client, kind, value, options)
  const what = `${kind === 'account' ? `account ${value}` : subjectText(subject)} for ${duration(options.ttlMs)}`
  if (options.dryRun) {
    await client.rehearse({ type: 'deny.add', subject, ttlMs: options.ttlMs, reason: options.reason })
    process.stderr.write(`would deny ${what}: ${options.reason}\n`)
    return
  }
  const answer = await client.denyAdd(subject, options.ttlMs, options.reason)
  if ('height' in answer)
    process.stderr.write(`denied ${what}; certified at height ${answer.height} in ${duration(answer.elapsedMs)}\n`)
  else process.stderr.write(`denied ${what}, provisionally: ${answer.waiting}\n`)
}

/** Signed together. */
const IMPORT_BATCH = 256
/** On their way to the node at once. */
const IMPORT_IN_FLIGHT = 32

/**
 * Denies the addresses and networks of a file, one a line; what follows # is a remark. Those that the ring refuses are told,
 * each with its line, and keep no other from being denied.
 *
 * @returns Whether all of them are denied.
 */
export async function denyImport(
  client: RingwallClient,
  file: string,
  { ttlMs, reason, dryRun }: Pick<DenyAddOptions, 'ttlMs' | 'reason' | 'dryRun'>,
): Promise<boolean> {
  const read = readSources(file)
  if (dryRun) {
    process.stderr.write(`would deny ${read.length} sources for ${duration(ttlMs)}: ${reason}\n`)
    return true
  }
  const refused: { readonly line: number; readonly why: string }[] = []
  let [done, waiting] = [0, 0]
  for (let from = 0; from < read.length; from += IMPORT_BATCH) {
    const part = read.slice(from, from + IMPORT_BATCH)
    const signed = await client.signTogether(part.map(({ subject }) => ({ type: 'deny.add', subject, ttlMs, reason })))
    const left = signed.entries()
    const lane = async (): Promise<void> => {
      for (const [at, tx] of left) {
        const { line, subject } = part[at] as Source
        try {
          if (!('height' in (await client.submitSigned(tx)))) waiting += 1
          done += 1
        } catch (error) {
          if (!(error instanceof ApiError) || error.status !== 422) throw error
          refused.push({ line, why: `${subject.value}: ${error.message}` })
        }
      }
    }
    await Promise.all(Array.from({ length: IMPORT_IN_FLIGHT }, lane))
    if (read.length > IMPORT_BATCH) process.stderr.write(`${Math.min(from + part.length, read.length)} of ${read.length}\n`)
  }
  refused.sort((a, b) => a.line - b.line)
  for (const { line, why } of refused) process.stderr.write(`${file}:${line}: ${why}\n`)
  const provisional = waiting === 0 ? '' : `, ${waiting} of them provisionally: they wait for a quorum`
  process.stderr.write(`denied ${done} sources for ${duration(ttlMs)}${provisional}; ${refused.length} refused\n`)
  return refused.length === 0
}

interface Source {
  readonly line: number
  readonly subject: { readonly kind: 'ip' | 'cidr'; readonly value: string }
}

/** Each once. @throws {UsageError} With the first line that is no source. */
function readSources(file: string): readonly Source[] {
  let text: string
  try {
    text = readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    throw new UsageError(`${file}: cannot be read: ${(error as NodeJS.ErrnoException).code}`)
  }
  const sources = new Map<string, Source>()
  for (const [at, given] of text.split('\n').entries()) {
    const value = given.replace(/#.*/, '').trim()
    if (value === '') continue
    const [address, prefix] = [parseAddress(value), parsePrefixLoosely(value)]
    if (address === undefined && prefix === undefined)
      throw new UsageError(
        `${file}:${at + 1}: ${printable(value.slice(0, 60))}: expected an address or a network such as 203.0.113.0/24; nothing was denied`,
      )
    const subject: Source['subject'] =
      address !== undefined
        ? { kind: 'ip', value: formatAddress(address) }
        : { kind: 'cidr', value: formatPrefix(prefix as Prefix) }
    if (!sources.has(subject.value)) sources.set(subject.value, { line: at + 1, subject })
  }
  if (sources.size === 0) throw new UsageError(`${file}: holds no source`)
  return [...sources.values()]
}

async function subjectOf(
  client: RingwallClient,
  kind: string,
  value: string,
  { service, issuer, subject }: DenyAddOptions,
): Promise<DenialSubject> {
  const known = KINDS.find((one) => one === kind)
  if (known === undefined) throw new UsageError(`${kind} cannot be denied; expected one of ${KINDS.join(', ')}`)
  const misplaced = (name: string): UsageError => new UsageError(`${name} says nothing about ${kind}; leave it out`)
  if (service !== undefined && known !== 'account') throw misplaced('--service')
  if (subject !== undefined && known !== 'issued-before') throw misplaced('--subject')
  const of = issuer === undefined ? {} : { issuer }
  if (known === 'token' || known === 'subject' || known === 'session' || known === 'device') return { kind: known, value, ...of }
  if (known === 'issued-before') {
    return { kind: known, value: momentOf(value), ...of, ...(subject === undefined ? {} : { subject }) }
  }
  if (known === 'key') return { kind: known, value: await thumbprintOf(client, value, issuer) }
  if (issuer !== undefined) throw misplaced('--issuer')
  if (known !== 'account') return { kind: known, value }
  if (service === undefined) throw new UsageError('an account belongs to a service: --service NAME')
  const { ring } = await client.status()
  return { kind: 'account', service, value: accountKey(ring, service, value) }
}

/** `now`, or a time with its zone. */
function momentOf(text: string): string {
  if (text === 'now') return new Date().toISOString()
  const ms = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2})$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(ms)) throw new UsageError(`${text}: expected now, or a time with its zone such as 2027-01-31T12:00:00Z`)
  return new Date(ms).toISOString()
}

/** A thumbprint as it is; a `kid` of an issuer that the policy lists, as the thumbprint of that key (RFC 7638). */
async function thumbprintOf(client: RingwallClient, value: string, issuer: string | undefined): Promise<string> {
  if (issuer === undefined) {
    if (/^[A-Za-z0-9_-]{43}$/.test(value)) return value
    throw new UsageError(`${value} is no thumbprint (43 characters, RFC 7638); a key id belongs to an issuer: --issuer ISSUER`)
  }
  const { text } = await client.policy()
  const document = parsePolicyDocument(text)
  const known = document.ok ? document.policy.issuers.find((one) => one.issuer === issuer) : undefined
  const key = known?.jwks.keys.find(({ kid }) => kid === value)
  if (key === undefined) throw new UsageError(`the policy has no key ${value} of the issuer ${issuer}`)
  const { kty, crv, x, y, n, e } = key as Readonly<Record<string, unknown>>
  const members = kty === 'RSA' ? { e, kty, n } : kty === 'EC' ? { crv, kty, x, y } : { crv, kty, x }
  return createHash('sha256').update(canonicalJson(members)).digest('base64url')
}

/** What is denied, in words. */
export function subjectText(subject: Denial['subject']): string {
  if (subject.kind === 'account') return `account ${subject.service}/${subject.value}`
  const of = 'issuer' in subject && subject.issuer !== undefined ? ` of ${subject.issuer}` : ''
  if (subject.kind !== 'issued-before') return `${subject.kind} ${subject.value}${of}`
  return `${subject.subject === undefined ? 'all tokens' : `tokens of ${subject.subject}`}${of} issued before ${subject.value}`
}

/** What stands beside the kind in a list. */
function subjectCell(subject: Denial['subject']): string {
  if (subject.kind === 'account') return printable(`${subject.service}/${subject.value}`)
  const scope = [
    ...('subject' in subject && subject.subject !== undefined ? [subject.subject] : []),
    ...('issuer' in subject && subject.issuer !== undefined ? [`(${subject.issuer})`] : []),
  ]
  return printable([subject.value, ...scope].join(' '))
}

/** @param target A denial's id, or what is denied. */
export async function denyRemove(client: RingwallClient, target: string, reason: string, dryRun: boolean): Promise<void> {
  const { denials, pending } = await client.denials()
  const found = [...denials, ...pending].find(({ id, subject }) => id === target || subject.value === target)
  if (found === undefined) throw new UsageError(`nothing denies ${target}; ringwall deny ls lists what is denied`)
  if (dryRun) {
    await client.rehearse({ type: 'deny.remove', id: found.id, reason })
    process.stderr.write(`would lift the denial of ${printable(subjectText(found.subject))}\n`)
    return
  }
  const answer = await client.denyRemove(found.id, reason)
  if ('height' in answer && tellWaiting(answer)) return
  process.stderr.write(
    `lifted the denial of ${printable(subjectText(found.subject))}${'height' in answer ? ` at height ${answer.height}` : ''}\n`,
  )
}

/** What some nodes say, and not enough of them yet. */
export async function denyPending(client: RingwallClient, format: Format): Promise<void> {
  const { pending } = await client.denials()
  printList<PendingDenial>(
    format,
    pending,
    [
      { title: 'ID', value: ({ id }) => id },
      { title: 'KIND', value: ({ subject }) => subject.kind },
      {
        title: 'SUBJECT',
        value: ({ subject }) => subjectCell(subject),
      },
      {
        title: 'SAID BY',
        value: ({ statements, nodesNeeded }) =>
          `${printable(statements.map(({ issuer }) => issuer).join(' '))} (${statements.length} of ${nodesNeeded})`,
      },
      {
        title: 'LAPSES IN',
        value: ({ statements }) => duration(Math.max(...statements.map(({ lapsesAtMs }) => lapsesAtMs)) - Date.now()),
      },
      { title: 'REASON', value: ({ statements }) => printable(statements[0]?.reason ?? '') },
    ],
    ({ id }) => id,
    'nothing waits for more nodes to say so',
  )
}

export async function denyList(client: RingwallClient, format: Format): Promise<void> {
  const { denials, pending } = await client.denials()
  if (pending.length > 0)
    process.stderr.write(`${pending.length} more wait for other nodes to say the same: ringwall deny ls --pending\n`)
  printList<Denial>(
    format,
    denials,
    [
      { title: 'ID', value: ({ id }) => id },
      { title: 'KIND', value: ({ subject }) => subject.kind },
      {
        title: 'SUBJECT',
        value: ({ subject }) => subjectCell(subject),
      },
      { title: 'ENDS IN', value: ({ expiresAtMs }) => duration(expiresAtMs - Date.now()) },
      {
        title: 'STATE',
        value: ({ provisional, height }) => (provisional ? paint('yellow', 'provisional') : `certified ${height}`),
      },
      { title: 'BY', value: ({ issuer, statedBy }) => printable(statedBy?.join(' ') ?? issuer) },
      { title: 'REASON', value: ({ reason }) => printable(reason) },
    ],
    ({ id }) => id,
    'nothing is denied',
  )
}

/**
 * Addresses and prefixes that are certain to be denied. What is only provisional lapses sooner than a script is run again.
 *
 * @param ports Numbers with commas between them, or `all`.
 */
export async function denyExport(client: RingwallClient, ports: string): Promise<void> {
  const numbers = ports === 'all' ? undefined : ports.split(',').map(Number)
  if (numbers?.some((port) => !Number.isInteger(port) || port < 1 || port > 65_535) === true)
    throw new UsageError(`--ports ${ports}: expected ports such as 80,443, or all`)
  const { denials } = await client.denials()
  const denied = denials.flatMap(({ subject, expiresAtMs, provisional }) =>
    !provisional && (subject.kind === 'ip' || subject.kind === 'cidr') ? [{ prefix: subject.value, expiresAtMs }] : [],
  )
  process.stdout.write(nftablesScript(denied, { nowMs: Date.now(), ports: numbers }))
}

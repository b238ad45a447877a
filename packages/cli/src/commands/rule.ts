/** Rules of the WAF: which are in force and what they did, and one of them in full. */
import type { RingwallClient, RuleDetail, RuleRow, Rules } from '@ringwall/client'
import { UsageError } from '../errors.ts'
import { duration, paint, printable } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'
import { inWords } from './rule-words.ts'

export interface RuleListOptions {
  /** Rules with a tag that holds this text. */
  readonly tag: string | undefined
  /** Only those that matched something. */
  readonly hit: boolean
  readonly sort: 'id' | 'hits' | 'cost'
  readonly local: boolean
}

const scopeOf = (local: boolean): { readonly scope: 'ring' | 'node' } => ({ scope: local ? 'node' : 'ring' })

export async function ruleList(client: RingwallClient, format: Format, options: RuleListOptions): Promise<void> {
  const answer = await client.rules(scopeOf(options.local))
  const { tag } = options
  const rules = answer.rules
    .filter(({ tags }) => tag === undefined || tags.some((one) => one.toLowerCase().includes(tag.toLowerCase())))
    .filter(({ hits }) => !options.hit || hits > 0)
    .toSorted(ORDERS[options.sort])
  if (format === 'table' || format === 'wide') process.stderr.write(`${summary(answer, rules.length)}\n`)
  printList<RuleRow>(
    format,
    rules,
    [
      { title: 'ID', value: ({ id }) => id },
      { title: 'PHASE', value: ({ phase }) => phase },
      { title: 'SEVERITY', value: ({ severity }) => severity },
      { title: 'MODE', value: ({ mode }) => (mode === 'enforce' ? mode : paint('yellow', mode)) },
      { title: 'HITS', value: ({ hits }) => hits },
      { title: 'MEAN µs', value: ({ meanUs }) => micros(meanUs) },
      { title: 'MAX µs', value: ({ maxUs }) => micros(maxUs) },
      { title: 'EXCEPTIONS', value: ({ exceptions }) => exceptions },
      { title: 'WHERE', value: ({ at }) => printable(at.slice(at.lastIndexOf('/') + 1)) },
      { title: 'FILE', value: ({ at }) => printable(at), wide: true },
      { title: 'TAGS', value: ({ tags }) => printable(tags.join(' ')), wide: true },
      {
        title: 'MESSAGE',
        value: ({ message }) => printable(message.length > 60 && format === 'table' ? `${message.slice(0, 59)}…` : message),
      },
    ],
    ({ id }) => String(id),
    'no rule is like this',
  )
}

const ORDERS: Readonly<Record<RuleListOptions['sort'], (a: RuleRow, b: RuleRow) => number>> = {
  id: (a, b) => a.id - b.id,
  hits: (a, b) => b.hits - a.hits || a.id - b.id,
  cost: (a, b) => (b.meanUs ?? -1) - (a.meanUs ?? -1) || a.id - b.id,
}

function summary({ nodes, silent, requests, timedRequests, sinceMs, rules }: Rules, shown: number): string {
  const missing = silent.length === 0 ? '' : `; ${silent.join(', ')} did not answer`
  return `${shown} of ${rules.length} rules; ${requests} requests on ${nodes.join(', ')} in ${duration(Date.now() - sinceMs)}, ${timedRequests} of them timed${missing}`
}

/** To align: a text, or the number with what is worth knowing of it. */
function micros(us: number | null): string {
  if (us === null) return '-'
  return us < 10 ? us.toFixed(2) : us < 100 ? us.toFixed(1) : String(Math.round(us))
}

export function ruleId(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text))
    throw new UsageError(`${text}: expected the id of a rule, a number; ringwall rule ls lists them`)
  return Number(text)
}

export async function ruleShow(client: RingwallClient, format: Format, id: string, local: boolean): Promise<void> {
  printOne(format, await client.rule(ruleId(id), scopeOf(local)), describe, id)
}

function describe(rule: RuleDetail): string {
  const { id, message, severity, phase, mode, where, tags, file, line, source, byNode, exceptionsInForce } = rule
  const lines = [
    `${paint('bold', String(id))}  ${severity}, phase ${phase}  ${printable(message)}`,
    `  lies at   ${printable(file)}:${line}`,
    `  mode      ${mode}${MODE_WORDS[mode] ?? ''}`,
    ...where.map(
      ({ label, mode: here, excluded }) => `            ${printable(label)}: ${excluded ? 'excluded by the policy' : here}`,
    ),
    `  tags      ${tags.length === 0 ? 'none' : printable(tags.join(', '))}`,
    '',
    'what it does:',
    ...inWords(rule).map((sentence) => `  ${printable(sentence)}`),
    '',
    'what it did:',
    ...byNode.map(({ node, answered, hits, timed, meanUs, maxUs }) =>
      answered
        ? `  ${node.padEnd(10)} ${hits} matches; timed ${timed} times, mean ${micros(meanUs)} µs, at most ${micros(maxUs)} µs`
        : `  ${node.padEnd(10)} does not answer`,
    ),
  ]
  if (exceptionsInForce.length > 0) {
    lines.push('', 'what it does not look at:')
    for (const { name, service, route, path, variable, owner, until, reason } of exceptionsInForce)
      lines.push(
        `  ${name}: ${printable(variable)} of ${service}${route === undefined ? '' : ` ${route}`}${path === undefined ? '' : ` ${printable(path)}`}, until ${until}, by ${printable(owner)}: ${printable(reason)}`,
      )
  }
  if (source !== '') lines.push('', ...source.split('\n').map((text) => `  ${printable(text)}`))
  return lines.join('\n')
}

const MODE_WORDS: Readonly<Partial<Record<RuleRow['mode'], string>>> = {
  excluded: ': the policy leaves it out wherever its rule set is used',
  paranoia: ': it is for a higher paranoia level than the policy asks for',
  removed: ': another directive of the rule files takes it out',
  mixed: ': not the same everywhere',
}

/** Why a request was answered as it was: the decision as a story, and its trace drawn. */
import type { Decision, Explanation, RingwallClient, Span } from '@ringwall/client'
import { duration, paint, printable, time } from '../format.ts'
import { type Format, printOne } from '../output.ts'
import { subjectText } from './deny.ts'
import { findingLines } from './findings.ts'

const BAR = 32

export async function explain(client: RingwallClient, format: Format, requestId: string): Promise<void> {
  printOne(format, await client.explain(requestId), describe, requestId)
}

function describe({ decision, spans, denial, again }: Explanation): string {
  const { outcome, shadowOutcome, matches } = decision
  const colour = outcome === 'allow' ? 'green' : 'red'
  const lines = [
    `${paint(colour, paint('bold', outcome.toUpperCase()))} ${decision.status}  ${printable(`${decision.method} ${decision.host}${decision.path}`)}`,
    `  from      ${printable(decision.source)}, ${time(decision.atMs)}${decision.ja4 === undefined ? '' : `, TLS client ${printable(decision.ja4)}`}`,
    `  node      ${decision.node} in ${decision.region}`,
    `  route     ${printable(decision.route ?? decision.service ?? 'none')}`,
    `  decided   by ${decision.check === 'none' ? 'no check: nothing objected' : decision.check}${decision.rule === undefined ? '' : `, ${decision.rule}`}`,
    `  because   ${printable(decision.reason)}`,
    `  view      height ${decision.height}, ${duration(decision.viewAgeMs)} old${decision.stale ? paint('yellow', ', more than the route tolerates') : ''}${decision.provisional ? '; the denial was provisional' : ''}`,
    `  took      guard ${micros(decision.guardUs)}, whole ${micros(decision.totalUs)}`,
  ]
  if (shadowOutcome !== outcome) lines.push(`  shadow    would have been ${shadowOutcome} in enforce mode`)
  if (denial !== null)
    lines.push(
      `  denial    ${denial.id} of ${printable(subjectText(denial.subject))}, by ${denial.issuer}: ${printable(denial.reason)}; ends in ${duration(denial.expiresAtMs - Date.now())}`,
    )
  if (again !== null && again.policyVersionThen === again.policyVersionNow && again.findings.length > 0)
    lines.push('', `rules that matched (score ${again.score}):`, ...again.findings.flatMap(findingLines))
  else if (matches.length > 0) {
    lines.push('', `rules that matched (score ${decision.wafScore}):`, ...matches.map(matchLine))
    if (again !== null)
      lines.push(
        '',
        `by policy ${again.policyVersionNow}, in force now, rules would ${again.blocked ? 'refuse it' : 'let it pass'} (score ${again.score}):`,
        ...again.findings.flatMap(findingLines),
      )
  }
  if (spans.length > 0) lines.push('', `trace ${decision.traceId}:`, ...drawSpans(spans))
  return lines.join('\n')
}

function matchLine({ ruleId, message, severity, variable, excerpt }: Decision['matches'][number]): string {
  return `  ${ruleId}  ${severity.padEnd(8)} ${printable(message)}\n          ${printable(variable)} = ${printable(excerpt)}`
}

function micros(us: number): string {
  return us < 1_000 ? `${Math.round(us)} µs` : `${(us / 1_000).toFixed(1)} ms`
}

/** The spans as a tree, each with a bar where it lies in the whole. Spans whose parent is not here are roots. */
function drawSpans(spans: readonly Span[]): readonly string[] {
  const ids = new Set(spans.map(({ spanId }) => spanId))
  const children = Map.groupBy(spans, ({ parentSpanId }) =>
    parentSpanId !== undefined && ids.has(parentSpanId) ? parentSpanId : '',
  )
  const start = Math.min(...spans.map(({ startUs }) => startUs))
  const whole = Math.max(1, Math.max(...spans.map(({ endUs }) => endUs)) - start)
  const lines: string[] = []
  const draw = (span: Span, depth: number): void => {
    const from = Math.floor(((span.startUs - start) / whole) * BAR)
    const length = Math.max(1, Math.round(((span.endUs - span.startUs) / whole) * BAR))
    const bar = `${' '.repeat(Math.min(from, BAR - 1))}${'█'.repeat(Math.min(length, BAR - Math.min(from, BAR - 1)))}`.padEnd(BAR)
    const name = printable(`${'  '.repeat(depth)}${span.name}`).slice(0, 34)
    lines.push(`  ${name.padEnd(36)}${paint(span.ok ? 'green' : 'red', bar)} ${micros(span.endUs - span.startUs)}`)
    for (const child of children.get(span.spanId) ?? []) draw(child, Math.min(depth + 1, 12))
  }
  for (const root of children.get('') ?? []) draw(root, 0)
  return lines
}

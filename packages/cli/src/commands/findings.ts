/** What rules matched in a request, drawn: each rule, the part it matched, after what, and where in it. */
import type { Finding, FindingPart } from '@ringwall/client'
import { paint, printable } from '../format.ts'

const ARGUMENT_CHARS_MAX = 60

export function findingLines({
  ruleId,
  severity,
  message,
  at,
  scoreBefore,
  scoreAfter,
  parts,
  partsLeftOut,
}: Finding): readonly string[] {
  const score = scoreAfter === scoreBefore ? '' : `  score ${scoreBefore} → ${scoreAfter}`
  const lines = [
    `  ${paint('bold', String(ruleId))}  ${severity.padEnd(8)} ${printable(message)}  ${paint('dim', printable(at.slice(at.lastIndexOf('/') + 1)))}${score}`,
  ]
  for (const part of parts) lines.push(...partLines(part))
  if (partsLeftOut > 0) lines.push(`          and ${partsLeftOut} more`)
  return lines
}

function partLines({
  variable,
  link,
  transformations,
  operator,
  argument,
  negated,
  value,
  seen,
  from,
  to,
}: FindingPart): readonly string[] {
  const chain = link === 0 ? '' : ` (link ${link + 1})`
  if (operator === '') return []
  const shown = argument.length > ARGUMENT_CHARS_MAX ? `${argument.slice(0, ARGUMENT_CHARS_MAX - 1)}…` : argument
  const lines = [`          ${paint('bold', printable(variable))}${chain} = ${marked(seen, from, to)}`]
  const after = transformations.length === 0 || value === seen ? '' : `after ${transformations.join(', ')}; `
  lines.push(
    `            ${paint('dim', `${after}${negated ? 'not ' : ''}@${operator}${shown === '' ? '' : ` ${printable(shown)}`}`)}`,
  )
  if (value !== seen && !value.includes(seen)) lines.push(`            ${paint('dim', `came as ${printable(short(value))}`)}`)
  return lines
}

function short(text: string): string {
  return text.length > 160 ? `${text.slice(0, 159)}…` : text
}

/** What matched stands between « and »; in red on a terminal. */
export function marked(text: string, from: number | null, to: number | null): string {
  if (from === null || to === null) return printable(text)
  return `${printable(text.slice(0, from))}${paint('red', `«${printable(text.slice(from, to))}»`)}${printable(text.slice(to))}`
}

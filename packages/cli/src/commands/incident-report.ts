/**
 * An incident as a page for people who have no ring: what `incident export` wrote, once it verifies. One file without scripts or anything from
 * elsewhere; browsers print it as PDF. All that it shows is somebody's word, so nothing of it is markup.
 */
import { escapeHtml } from '@ringwall/waf'
import { printable } from '../format.ts'
import type { Verdict } from './incident.ts'

const ROWS_MAX = 40
const WIDTH = 860
const NAMES_WIDTH = 190
const ROW_HEIGHT = 22
const MARK_LEAST = 4
/** The last that a date can be, Unix milliseconds. */
const DATE_MS_MAX = 8.64e15

interface Entry {
  readonly firstMs: number
  readonly lastMs: number
  readonly detector: string
  readonly subject: string
  readonly nodes: readonly string[]
  readonly times: number
  readonly reason: string
  readonly denied: boolean
}

/** @returns HTML. */
export function incidentReport(verdict: Verdict): string {
  const { incident, node, exportedAtMs, provenHeight, receipts, missing, denials, signers } = verdict
  const title = text(incident.title)
  const entries = list(incident.timeline).map(entryOf)
  const closed = record(incident.closed)
  const assigned = record(incident.assigned)
  const facts: readonly (readonly [string, string])[] = [
    ['Severity', text(incident.severity)],
    ['From', `${utc(number(incident.firstMs))} to ${utc(number(incident.lastMs))}`],
    ['Services', texts(incident.services).join(', ')],
    ['Techniques (MITRE ATT&CK)', texts(incident.attack).join(', ') || 'none named'],
    ['Found by', texts(incident.nodes).join(', ')],
    ['Findings', `${number(incident.findings)}, and ${number(incident.duplicates)} that say the same`],
    ['Sources', texts(incident.sources).join(', ') || 'none'],
    ['Accounts (hashes)', texts(incident.accounts).join(', ') || 'none'],
    ['Sessions (hashes)', texts(incident.sessions).join(', ') || 'none'],
    [
      'Assigned',
      incident.assigned === null || incident.assigned === undefined
        ? 'to nobody'
        : `to ${text(assigned.to)}, ${utc(number(assigned.atMs))} by ${text(assigned.by)}${text(assigned.note) === '' ? '' : `: ${text(assigned.note)}`}`,
    ],
    [
      'Closed',
      incident.closed === null || incident.closed === undefined
        ? 'no'
        : `${utc(number(closed.atMs))} by ${text(closed.by)}: ${text(closed.note)}`,
    ],
  ]
  return page(title, [
    `<h1>${escaped(title)}</h1>`,
    `<p class="id">Incident ${escaped(text(incident.id))}, as ${escaped(node)} knew it at ${utc(exportedAtMs)}</p>`,
    table(
      [],
      facts.map(([name, value]) => [name, value]),
    ),
    `<h2>Course</h2>`,
    drawn(entries),
    table(
      ['From', 'To', 'Detector', 'About', 'Why', 'Nodes', 'Times', 'Denied'],
      entries.map(({ firstMs, lastMs, detector, subject, reason, nodes, times, denied }) => [
        utc(firstMs),
        utc(lastMs),
        detector,
        subject,
        reason,
        nodes.join(', '),
        String(times),
        denied ? 'yes' : '',
      ]),
    ),
    `<h2>Decisions that are proven</h2>`,
    table(
      ['Request', 'Outcome', 'Source', 'Decided and signed by'],
      receipts.map(({ decision }) => [decision.requestId, decision.outcome, decision.source, decision.node]),
    ),
    missing.length === 0 ? '' : `<h2>Decisions without proof</h2>`,
    missing.length === 0
      ? ''
      : table(
          ['Request', 'Why'],
          missing.map(({ requestId, why }) => [requestId, why]),
        ),
    `<h2>Denials in force</h2>`,
    table(
      ['Denial', 'By', 'Why'],
      denials.map(({ id, issuer, reason }) => [id, text(issuer), text(reason)]),
    ),
    `<h2>What this rests on</h2>`,
    `<p>The bundle that this page was made of was verified: nothing in it was changed since ${escaped(node)} signed it. Its denials are in the state after block ${provenHeight}, which ${escaped(signers.join(', '))} certified. What the course says is one node’s word; that the decisions were made and the denials agreed on is proven.
To check it again: <code>ringwall incident verify BUNDLE --genesis GENESIS</code>.</p>`,
  ])
}

/** Rows of detectors over time: when each began and ended to find. */
function drawn(entries: readonly Entry[]): string {
  if (entries.length === 0) return ''
  const names = [...new Set(entries.map(({ detector }) => detector))].slice(0, ROWS_MAX)
  const from = entries.reduce((least, { firstMs }) => Math.min(least, firstMs), DATE_MS_MAX)
  const to = entries.reduce((most, { lastMs }) => Math.max(most, lastMs), from + 1)
  const x = (atMs: number): number => NAMES_WIDTH + ((atMs - from) / (to - from)) * (WIDTH - NAMES_WIDTH - MARK_LEAST)
  const marks = entries.flatMap(({ detector, firstMs, lastMs, denied }) => {
    const row = names.indexOf(detector)
    if (row < 0) return []
    const [left, right] = [x(firstMs), x(Math.max(firstMs, lastMs))]
    const width = Math.max(MARK_LEAST, right - left)
    return `<rect x="${left.toFixed(1)}" y="${row * ROW_HEIGHT + 5}" width="${width.toFixed(1)}" height="${ROW_HEIGHT - 10}" class="${denied ? 'denied' : 'found'}"/>`
  })
  const labels = names.map((name, row) => `<text x="0" y="${row * ROW_HEIGHT + 15}">${escaped(name)}</text>`)
  const height = names.length * ROW_HEIGHT
  const ends = `<text x="${NAMES_WIDTH}" y="${height + 14}">${utc(from)}</text><text x="${WIDTH}" y="${height + 14}" text-anchor="end">${utc(to)}</text>`
  return `<svg viewBox="0 0 ${WIDTH} ${height + 20}" role="img" aria-label="When each detector found something, from ${utc(from)} to ${utc(to)}">${labels.join('')}${marks.join('')}${ends}</svg><p class="key"><span class="found"></span> found <span class="denied"></span> found, and denied</p>`
}

function entryOf(value: unknown): Entry {
  const entry = record(value)
  const subject = record(entry.subject)
  return {
    firstMs: number(entry.firstMs),
    lastMs: number(entry.lastMs),
    detector: text(entry.detector),
    subject: `${text(subject.kind)} ${text(subject.value)}`.trim(),
    nodes: texts(entry.nodes),
    times: number(entry.times),
    reason: text(entry.reason),
    denied: entry.denied === true,
  }
}

// What a node signed may be anything: of another kind than is expected it is nothing.
const text = (value: unknown): string => (typeof value === 'string' ? printable(value) : '')
const number = (value: unknown): number => (typeof value === 'number' && Math.abs(value) <= DATE_MS_MAX ? value : 0)
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
const texts = (value: unknown): readonly string[] => list(value).map(text)
const record = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {}

/** @param atMs Unix milliseconds. */
function utc(atMs: number): string {
  return `${new Date(atMs)
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replace('T', ' ')} UTC`
}

function escaped(plain: string): string {
  return escapeHtml(printable(plain))
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '<p>None.</p>'
  const titles =
    head.length === 0 ? '' : `<thead><tr>${head.map((title) => `<th scope="col">${title}</th>`).join('')}</tr></thead>`
  const body = rows.map((row) => {
    const [first, ...others] =
      head.length === 0 ? [`<th scope="row">${escaped(row[0] ?? '')}</th>`, ...row.slice(1).map(cell)] : row.map(cell)
    return `<tr>${first}${others.join('')}</tr>`
  })
  return `<table>${titles}<tbody>${body.join('')}</tbody></table>`
}

const cell = (value: string): string => `<td>${escaped(value)}</td>`

const STYLE = `
:root { color-scheme: light dark }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.id { color: GrayText; margin: 0 0 1rem }
table { border-collapse: collapse; width: 100%; font-size: .85rem }
th, td { text-align: left; vertical-align: top; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid color-mix(in srgb, CanvasText 15%, transparent); overflow-wrap: anywhere }
tbody th { font-weight: 600; width: 12rem } thead th { white-space: nowrap } thead { display: table-header-group } tr { break-inside: avoid }
svg { width: 100%; height: auto; margin: .5rem 0 } svg text { font: 12px system-ui, sans-serif; fill: CanvasText }
.found { fill: #2563eb; background: #2563eb } .denied { fill: #b91c1c; background: #b91c1c }
.key { font-size: .8rem; margin: 0 0 1rem } .key span { display: inline-block; width: .8rem; height: .8rem; vertical-align: -.1rem }
@media print { body { margin: 0; max-width: none } .found, .denied { print-color-adjust: exact } }
`

function page(title: string, parts: readonly string[]): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
<body>
${parts.filter((part) => part !== '').join('\n')}
</body>
</html>
`
}

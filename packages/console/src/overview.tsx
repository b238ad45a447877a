import type { CheckFinding, NodeSummary, RingwallClient } from '@ringwall/client'
import { useEffect, useState } from 'react'
import { Failure } from './app.tsx'
import { duration } from './format.ts'
import { useNow, usePolled } from './polling.ts'
import { numbers, Table } from './table.tsx'

const POLL_MS = 1_000
const KEPT = 60

export function Overview({ client }: { readonly client: RingwallClient }) {
  const status = usePolled(() => client.status(), POLL_MS)
  const nodes = usePolled(() => client.nodes(), POLL_MS)
  const check = usePolled(() => client.check(), 3_000)
  const now = useNow(500)
  const history = useHistory(nodes.data?.nodes)
  const ledger = status.data?.ledger
  const problems = check.data?.findings.filter(({ level }) => level !== 'ok') ?? []
  return (
    <>
      <h1>Overview</h1>
      <Failure error={status.error ?? nodes.error} />
      <dl className="figures">
        <Figure
          name="Ledger height"
          value={ledger === undefined ? '–' : String(ledger.height)}
          note={ledger === undefined ? '' : `last block ${duration(now - ledger.timestampMs)} ago`}
        />
        <Figure
          name="Validators"
          value={ledger === undefined ? '–' : `${ledger.reachable.length} of ${ledger.validators}`}
          note={ledger === undefined ? '' : `${ledger.quorum} needed; ${ledger.faultsTolerated} may fail or lie`}
          bad={ledger !== undefined && ledger.reachable.length < ledger.quorum}
        />
        <Figure name="Requests" value={`${history.requests.at(-1) ?? 0}/s`} chart={history.requests} />
        <Figure name="Refused" value={`${history.denied.at(-1) ?? 0}/s`} chart={history.denied} />
        <Figure
          name="Denials"
          value={String(status.data?.denials ?? '–')}
          note={`${status.data?.provisionalDenials ?? 0} provisional`}
        />
        <Figure name="Policy" value={`version ${status.data?.policyVersion ?? '–'}`} />
      </dl>
      <section aria-labelledby="ring">
        <h2 id="ring">Ring</h2>
        <div className="split">
          <RingDrawing nodes={nodes.data?.nodes ?? []} />
          <NodeTable nodes={nodes.data?.nodes ?? []} />
        </div>
      </section>
      <section aria-labelledby="problems">
        <h2 id="problems">Check</h2>
        {problems.length === 0 ? (
          <p>{check.data === undefined ? 'Asking…' : 'All is well.'}</p>
        ) : (
          <Problems findings={problems} />
        )}
      </section>
    </>
  )
}

/** Rates of the whole ring over the last minute. */
function useHistory(nodes: readonly NodeSummary[] | undefined): {
  readonly requests: readonly number[]
  readonly denied: readonly number[]
} {
  const [history, setHistory] = useState<{ requests: number[]; denied: number[] }>({ requests: [], denied: [] })
  useEffect(() => {
    if (nodes === undefined) return
    const sum = (pick: (node: NodeSummary) => number | null): number =>
      Math.round(nodes.reduce((total, node) => total + (pick(node) ?? 0), 0) * 10) / 10
    setHistory(({ requests, denied }) => ({
      requests: [...requests, sum((node) => node.requestsPerSecond)].slice(-KEPT),
      denied: [...denied, sum((node) => node.deniedPerSecond)].slice(-KEPT),
    }))
  }, [nodes])
  return history
}

export function Figure({
  name,
  value,
  note,
  chart,
  bad,
}: {
  readonly name: string
  readonly value: string
  readonly note?: string
  readonly chart?: readonly number[]
  readonly bad?: boolean
}) {
  return (
    <div className={bad === true ? 'figure bad' : 'figure'}>
      <dt>{name}</dt>
      <dd>
        {value}
        {note !== undefined && <small>{note}</small>}
        {chart !== undefined && <Sparkline values={chart} />}
      </dd>
    </div>
  )
}

function Sparkline({ values }: { readonly values: readonly number[] }) {
  const most = Math.max(1, ...values)
  const points = values.map((value, i) => `${(i / (KEPT - 1)) * 120},${27 - (value / most) * 24}`).join(' ')
  return (
    <svg className="sparkline" viewBox="0 0 120 28" preserveAspectRatio="none" aria-hidden="true">
      <polyline points={points} fill="none" stroke="currentColor" strokeWidth="1.5" />
    </svg>
  )
}

/** Nodes on a circle, ordered by region, with a line for each link of the node that was asked. */
function RingDrawing({ nodes }: { readonly nodes: readonly NodeSummary[] }) {
  const ordered = [...nodes].sort((a, b) => a.region.localeCompare(b.region) || a.id.localeCompare(b.id))
  const place = (i: number): readonly [number, number] => {
    const angle = (i / Math.max(1, ordered.length)) * 2 * Math.PI - Math.PI / 2
    return [160 + Math.cos(angle) * 92, 130 + Math.sin(angle) * 82]
  }
  const selfAt = ordered.findIndex(({ self }) => self)
  const summary = ordered.map(({ id, region, reachable }) => `${id} in ${region} is ${reachable ? 'up' : 'down'}`).join('; ')
  return (
    <svg className="ring" viewBox="0 0 320 260" role="img" aria-label={summary}>
      <ellipse cx="160" cy="130" rx="92" ry="82" className="orbit" />
      {selfAt >= 0 &&
        ordered.map(({ id, reachable, self }, i) => {
          if (self) return null
          const [[x1, y1], [x2, y2]] = [place(selfAt), place(i)]
          return <line key={id} x1={x1} y1={y1} x2={x2} y2={y2} className={reachable ? 'link' : 'link down'} />
        })}
      {ordered.map(({ id, region, reachable, self, roundTripMs }, i) => {
        const [x, y] = place(i)
        return (
          <g key={id} className={reachable ? 'node' : 'node down'}>
            <circle cx={x} cy={y} r={self ? 17 : 14} />
            <text x={x} y={y + 4}>
              {id}
            </text>
            <text x={x} y={y + 32} className="region">
              {region}
              {roundTripMs === null || !reachable ? (reachable ? '' : ' · down') : ` · ${roundTripMs.toFixed(1)} ms`}
            </text>
          </g>
        )
      })}
    </svg>
  )
}

function NodeTable({ nodes }: { readonly nodes: readonly NodeSummary[] }) {
  return (
    <Table label="Nodes" columns={['Node', 'Region', 'State', numbers('Height'), numbers('Lag'), numbers('Req/s')]}>
      {nodes.map(({ id, region, self, reachable, reason, height, lag, requestsPerSecond }) => (
        <tr key={id}>
          <td>
            {id}
            {self ? ' (this)' : ''}
          </td>
          <td>{region}</td>
          <td className={reachable ? 'good' : 'bad'} title={reason ?? undefined}>
            {reachable ? 'up' : 'down'}
          </td>
          <td className="number">{height ?? '–'}</td>
          <td className="number">{lag ?? '–'}</td>
          <td className="number">{requestsPerSecond ?? '–'}</td>
        </tr>
      ))}
    </Table>
  )
}

function Problems({ findings }: { readonly findings: readonly CheckFinding[] }) {
  return (
    <ul className="problems">
      {findings.map(({ group, level, what, fix }) => (
        <li key={`${group} ${what}`} className={level}>
          <strong>{group}</strong> {what}
          {fix !== null && <small>→ {fix}</small>}
        </li>
      ))}
    </ul>
  )
}

import type { Explanation, RingwallClient, Span } from '@ringwall/client'
import { useEffect, useState } from 'react'
import { Failure } from './app.tsx'
import { DenyForm } from './denials.tsx'
import { duration, micros } from './format.ts'

export function Detail({ client, requestId }: { readonly client: RingwallClient; readonly requestId: string }) {
  const [found, setFound] = useState<Explanation>()
  const [error, setError] = useState<string>()
  useEffect(() => {
    setFound(undefined)
    client.explain(requestId).then(setFound, (cause: Error) => setError(cause.message))
  }, [client, requestId])
  if (found === undefined) return error === undefined ? <p>Asking…</p> : <Failure error={error} />
  const { decision, spans, denial } = found
  return (
    <>
      <p>
        <a href="#/decisions">← Decisions</a>
      </p>
      <h1 className="path">
        <span className={decision.outcome === 'allow' ? 'good' : 'bad'}>
          {decision.outcome} {decision.status}
        </span>{' '}
        {decision.method} {decision.host}
        {decision.path}
      </h1>
      <dl className="facts">
        <dt>Because</dt>
        <dd>{decision.reason}</dd>
        <dt>Decided by</dt>
        <dd>
          {decision.check === 'none' ? 'no check: nothing objected' : decision.check}
          {decision.rule === undefined ? '' : `, ${decision.rule}`}
        </dd>
        <dt>Source</dt>
        <dd>{decision.source}</dd>
        <dt>Node</dt>
        <dd>
          {decision.node} in {decision.region}
        </dd>
        <dt>Route</dt>
        <dd>{decision.route ?? decision.service ?? 'none'}</dd>
        <dt>View</dt>
        <dd>
          height {decision.height}, {duration(decision.viewAgeMs)} old{decision.stale ? ', more than the route tolerates' : ''}
          {decision.provisional ? '; the denial was provisional' : ''}
        </dd>
        {decision.shadowOutcome !== decision.outcome && (
          <>
            <dt>Shadow</dt>
            <dd>would have been {decision.shadowOutcome} in enforce mode</dd>
          </>
        )}
        {denial !== null && (
          <>
            <dt>Denial</dt>
            <dd>
              {denial.reason}, by {denial.issuer}
            </dd>
          </>
        )}
        <dt>Request id</dt>
        <dd>
          <code>{decision.requestId}</code>
        </dd>
      </dl>
      {decision.matches.length > 0 && (
        <section aria-labelledby="matches">
          <h2 id="matches">Rules that matched, score {decision.wafScore}</h2>
          <ul className="problems">
            {decision.matches.map(({ ruleId, message, severity, variable, excerpt }) => (
              <li key={`${ruleId} ${variable}`}>
                <strong>{ruleId}</strong> {message} <small>{severity}</small>
                <code className="excerpt">
                  {variable} = {excerpt}
                </code>
              </li>
            ))}
          </ul>
        </section>
      )}
      <section aria-labelledby="trace">
        <h2 id="trace">Trace</h2>
        <Waterfall spans={spans} />
      </section>
      <section aria-labelledby="act">
        <h2 id="act">Deny this source</h2>
        <DenyForm client={client} value={decision.source} onDone={() => {}} />
      </section>
    </>
  )
}

function Waterfall({ spans }: { readonly spans: readonly Span[] }) {
  if (spans.length === 0) return <p>No spans were kept for this request.</p>
  const start = Math.min(...spans.map(({ startUs }) => startUs))
  const whole = Math.max(1, Math.max(...spans.map(({ endUs }) => endUs)) - start)
  const ordered = [...spans].sort((a, b) => a.startUs - b.startUs)
  return (
    <ol className="waterfall">
      {ordered.map(({ spanId, name, startUs, endUs, ok }) => (
        <li key={spanId}>
          <span>{name}</span>
          <svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
            <rect
              x={((startUs - start) / whole) * 100}
              y="1"
              width={Math.max(0.5, ((endUs - startUs) / whole) * 100)}
              height="6"
              className={ok ? 'bar' : 'bar failed'}
            />
          </svg>
          <span className="number">{micros(endUs - startUs)}</span>
        </li>
      ))}
    </ol>
  )
}

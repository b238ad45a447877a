import type { Decision, RingwallClient } from '@ringwall/client'
import { useEffect, useRef, useState } from 'react'
import { Failure } from './app.tsx'
import { clock, micros } from './format.ts'
import { numbers, Table } from './table.tsx'

const KEPT = 500
const SHOWN = 200
/** A flood must not make the page draw for each request. */
const DRAW_MS = 250

/** Newest first, each once. */
function merge(fresh: readonly Decision[], before: readonly Decision[]): readonly Decision[] {
  const known = new Map([...before, ...fresh].map((decision) => [decision.requestId, decision]))
  return [...known.values()].sort((a, b) => b.atMs - a.atMs).slice(0, KEPT)
}

export function Decisions({ client }: { readonly client: RingwallClient }) {
  const [list, setList] = useState<readonly Decision[]>([])
  const [error, setError] = useState<string>()
  const [paused, setPaused] = useState(false)
  const [outcome, setOutcome] = useState('')
  const [source, setSource] = useState('')
  const waiting = useRef<Decision[]>([])
  const held = useRef(paused)
  held.current = paused

  useEffect(() => {
    const abort = new AbortController()
    const fail = (cause: Error): void => {
      if (!abort.signal.aborted) setError(cause.message)
    }
    const take = (decision: Decision): void => {
      waiting.current.push(decision)
      if (waiting.current.length > KEPT) waiting.current.shift()
    }
    const loadPast = (): void => {
      client.decisions({ limit: 100 }).then(({ decisions }) => [...decisions].reverse().forEach(take), fail)
    }
    const follow = async (): Promise<void> => {
      for await (const decision of client.decisionStream(abort.signal, loadPast)) take(decision)
    }
    follow().catch(fail)
    const timer = setInterval(() => {
      if (held.current || waiting.current.length === 0) return
      const fresh = waiting.current.splice(0).reverse()
      setList((before) => merge(fresh, before))
    }, DRAW_MS)
    return () => {
      abort.abort()
      clearInterval(timer)
    }
  }, [client])

  const shown = list
    .filter((decision) => (outcome === '' || decision.outcome === outcome) && decision.source.includes(source))
    .slice(0, SHOWN)
  return (
    <>
      <h1>Decisions of this node</h1>
      <Failure error={error} />
      <form className="filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          Outcome
          <select value={outcome} onChange={(event) => setOutcome(event.target.value)}>
            <option value="">all</option>
            <option value="allow">allow</option>
            <option value="deny">deny</option>
            <option value="throttle">throttle</option>
          </select>
        </label>
        <label>
          Source
          <input value={source} onChange={(event) => setSource(event.target.value)} placeholder="203.0.113." />
        </label>
        <button type="button" aria-pressed={paused} onClick={() => setPaused(!paused)}>
          {paused ? 'Go on' : 'Pause'}
        </button>
      </form>
      {shown.length === 0 ? (
        <p>Nothing yet. Requests show here as they are judged.</p>
      ) : (
        <Table label="Decisions" columns={['Time', 'Outcome', 'Source', 'Request', 'Because', numbers('Took')]}>
          {shown.map((decision) => (
            <tr key={decision.requestId}>
              <td>{clock(decision.atMs)}</td>
              <td className={decision.outcome === 'allow' ? 'good' : 'bad'}>
                {decision.outcome} {decision.status}
              </td>
              <td>{decision.source}</td>
              <td className="path">
                <a href={`#/decisions/${decision.requestId}`}>
                  {decision.method} {decision.path}
                </a>
              </td>
              <td>{decision.check === 'none' ? '' : decision.reason}</td>
              <td className="number">{micros(decision.totalUs)}</td>
            </tr>
          ))}
        </Table>
      )}
    </>
  )
}

import type { Incident, IncidentDetail, RingwallClient } from '@ringwall/client'
import { type FormEvent, useState } from 'react'
import { Failure } from './app.tsx'
import { duration } from './format.ts'
import { useNow, usePolled } from './polling.ts'
import { numbers, Table } from './table.tsx'

const POLL_MS = 2_000
const STATES = ['open', 'closed', 'all'] as const
const LEVELS: Readonly<Record<Incident['severity'], string>> = { high: 'bad', medium: 'warn', low: '' }

/** @param operator Who looks. */
export function Incidents({ client, operator }: { readonly client: RingwallClient; readonly operator: string }) {
  const [state, setState] = useState<(typeof STATES)[number]>('open')
  const told = usePolled(() => client.incidents({ state }), POLL_MS)
  const now = useNow(1_000)
  const [error, setError] = useState<string>()
  const assign = (id: string, to: string | null): void => {
    setError(undefined)
    client.incidentAssign(id, to, '').then(told.reload, (cause: Error) => setError(cause.message))
  }
  const incidents = told.data?.incidents ?? []
  return (
    <>
      <h1>Incidents</h1>
      <form className="filters" onSubmit={(event) => event.preventDefault()}>
        <label>
          Which
          <select
            value={state}
            onChange={(event) => {
              setState(STATES.find((one) => one === event.target.value) ?? 'open')
              setTimeout(told.reload)
            }}
          >
            {STATES.map((one) => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </label>
      </form>
      <Failure error={error ?? told.error} />
      {incidents.length === 0 ? (
        <p>{told.data === undefined ? 'Asking…' : 'There are none.'}</p>
      ) : (
        <Table
          label="Incidents"
          columns={['Severity', 'What', numbers('Last'), 'Found by', 'Assigned', 'Closed', { text: 'Action', kind: 'hidden' }]}
        >
          {incidents.map(({ id, severity, title, lastMs, nodes, assigned, closed }) => (
            <tr key={id}>
              <td className={LEVELS[severity]}>{severity}</td>
              <td className="path">
                <a href={`#/incidents/${id}`}>{title}</a>
              </td>
              <td className="number">{duration(now - lastMs)} ago</td>
              <td>{nodes.join(' ')}</td>
              <td>{assigned?.to ?? 'nobody'}</td>
              <td>{closed === null ? '' : `${closed.by}: ${closed.note}`}</td>
              <td>
                {assigned?.to === operator ? (
                  <button type="button" className="quiet" onClick={() => assign(id, null)} aria-label={`Leave incident ${id}`}>
                    Leave
                  </button>
                ) : (
                  <button type="button" className="quiet" onClick={() => assign(id, operator)} aria-label={`Take incident ${id}`}>
                    Take
                  </button>
                )}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  )
}

/** One with its timeline, and what is to be done about it. */
export function IncidentPage({ client, id }: { readonly client: RingwallClient; readonly id: string }) {
  const told = usePolled(() => client.incident(id), POLL_MS)
  if (told.data === undefined)
    return (
      <>
        <h1>Incident</h1>
        <Failure error={told.error} />
      </>
    )
  const { severity, title, attack, nodes, sources, accounts, sessions, assigned, closed, timeline } = told.data
  return (
    <>
      <h1>{title}</h1>
      <Failure error={told.error} />
      <dl className="facts">
        <Fact name="Incident" value={`${told.data.id}, ${severity}`} />
        <Fact name="ATT&CK" value={attack.join(', ') || 'none named'} />
        <Fact name="Found by" value={nodes.join(', ')} />
        <Fact name="Sources" value={sources.join(', ')} />
        <Fact name="Accounts" value={accounts.join(', ')} />
        <Fact name="Sessions" value={sessions.join(', ')} />
        <Fact name="Assigned" value={assigned === null ? 'to nobody' : said(assigned.to ?? '', assigned)} />
        <Fact name="Closed" value={closed === null ? 'no' : said('', closed)} />
      </dl>
      <AssignForm client={client} incident={told.data} onDone={told.reload} />
      <Table label="Timeline" columns={['From', 'Detector', 'About', 'Why', numbers('Times'), 'Nodes']}>
        {timeline.map(({ firstMs, detector, subject, reason, times, nodes: by, denied }) => (
          <tr key={`${detector} ${subject.kind} ${subject.value}`}>
            <td>{new Date(firstMs).toLocaleString([], { hour12: false })}</td>
            <td>{detector}</td>
            <td className="path">{`${subject.kind} ${subject.value}`}</td>
            <td>{denied ? `${reason}; denied` : reason}</td>
            <td className="number">{times}</td>
            <td>{by.join(' ')}</td>
          </tr>
        ))}
      </Table>
    </>
  )
}

function said(whom: string, { by, note }: { readonly by: string; readonly note: string }): string {
  return `${whom === '' ? '' : `to ${whom}, `}by ${by}${note === '' ? '' : `: ${note}`}`
}

function Fact({ name, value }: { readonly name: string; readonly value: string }) {
  if (value === '') return null
  return (
    <>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </>
  )
}

/** Who is an operator, the ring says. */
function AssignForm(given: { readonly client: RingwallClient; readonly incident: IncidentDetail; readonly onDone: () => void }) {
  const { client, incident, onDone } = given
  const [to, setTo] = useState('')
  const [note, setNote] = useState('')
  const [error, setError] = useState<string>()
  const act = (call: Promise<unknown>): void => {
    setError(undefined)
    call.then(onDone, (cause: Error) => setError(cause.message))
  }
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    act(client.incidentAssign(incident.id, to.trim() === '' ? undefined : to.trim(), note))
  }
  return (
    <form className="filters" onSubmit={submit}>
      <label>
        Operator
        <input value={to} onChange={(event) => setTo(event.target.value)} placeholder="you" maxLength={64} />
      </label>
      <label>
        Note
        <input value={note} onChange={(event) => setNote(event.target.value)} maxLength={200} />
      </label>
      <button type="submit">Assign</button>
      <button
        type="button"
        disabled={incident.assigned === null}
        onClick={() => act(client.incidentAssign(incident.id, null, note))}
      >
        To nobody
      </button>
      <button
        type="button"
        disabled={incident.closed !== null}
        onClick={() => act(client.incidentClose(incident.id, note || 'from the console'))}
      >
        Close
      </button>
      <Failure error={error} />
    </form>
  )
}

import type { Denial, RingwallClient } from '@ringwall/client'
import { type FormEvent, useState } from 'react'
import { Failure } from './app.tsx'
import { duration } from './format.ts'
import { useNow, usePolled } from './polling.ts'
import { numbers, Table } from './table.tsx'

/** What is denied, in words. */
function subjectText(subject: Denial['subject']): string {
  const of = 'issuer' in subject && subject.issuer !== undefined ? ` of ${subject.issuer}` : ''
  if (subject.kind !== 'issued-before') return `${subject.kind} ${subject.value}${of}`
  return `${subject.subject === undefined ? 'all tokens' : `tokens of ${subject.subject}`}${of} issued before ${subject.value}`
}

export function Denials({ client }: { readonly client: RingwallClient }) {
  const denials = usePolled(() => client.denials(), 1_000)
  const now = useNow(1_000)
  const [error, setError] = useState<string>()
  const [said, setSaid] = useState('')
  const remove = (denial: Denial): void => {
    if (!confirm(`Lift the denial of ${subjectText(denial.subject)} on all nodes?`)) return
    setError(undefined)
    setSaid('')
    client.denyRemove(denial.id, 'from the console').then(
      (answer) => {
        const waits = 'height' in answer ? answer.waits : undefined
        if (waits !== undefined) setSaid(`Waits for other operators: ringwall approve ${waits.id.slice(0, 16)}`)
        denials.reload()
      },
      (cause: Error) => setError(cause.message),
    )
  }
  const list = denials.data?.denials ?? []
  const pending = denials.data?.pending ?? []
  return (
    <>
      <h1>Denials</h1>
      <DenyForm client={client} value="" onDone={denials.reload} />
      <Failure error={error ?? denials.error} />
      {said !== '' && <p role="status">{said}</p>}
      {pending.length > 0 && (
        <p className="warn">
          {pending.length} more said by too few nodes:{' '}
          {pending
            .slice(0, 5)
            .map(({ subject, statements, nodesNeeded }) => `${subject.value} (${statements.length} of ${nodesNeeded})`)
            .join(', ')}
          {pending.length > 5 ? ', …' : ''}
        </p>
      )}
      {list.length === 0 ? (
        <p>{denials.data === undefined ? 'Asking…' : 'Nothing is denied.'}</p>
      ) : (
        <Table
          label="Denials"
          columns={['Subject', 'State', numbers('Ends in'), 'By', 'Reason', { text: 'Action', kind: 'hidden' }]}
        >
          {list.map((denial) => (
            <tr key={denial.id}>
              <td className="path">{subjectText(denial.subject)}</td>
              <td className={denial.provisional ? 'warn' : 'good'}>
                {denial.provisional ? 'provisional' : `certified at ${denial.height}`}
              </td>
              <td className="number">{duration(denial.expiresAtMs - now)}</td>
              <td>{denial.statedBy?.join(' ') ?? denial.issuer}</td>
              <td>{denial.reason}</td>
              <td>
                <button
                  type="button"
                  className="quiet"
                  onClick={() => remove(denial)}
                  aria-label={`Lift the denial of ${denial.subject.value}`}
                >
                  Lift
                </button>
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  )
}

const TTLS: readonly (readonly [string, number])[] = [
  ['10 minutes', 600_000],
  ['1 hour', 3_600_000],
  ['1 day', 86_400_000],
  ['7 days', 604_800_000],
]

/** Denies an address or a prefix. What is wrong with it, the ring says. */
export function DenyForm({
  client,
  value,
  onDone,
}: {
  readonly client: RingwallClient
  readonly value: string
  readonly onDone: () => void
}) {
  const [subject, setSubject] = useState(value)
  const [ttlMs, setTtlMs] = useState(600_000)
  const [reason, setReason] = useState('')
  const [said, setSaid] = useState<{ readonly good: boolean; readonly text: string }>()
  const submit = (event: FormEvent): void => {
    event.preventDefault()
    setSaid({ good: true, text: 'Proposing…' })
    const kind = subject.includes('/') ? 'cidr' : 'ip'
    client.denyAdd({ kind, value: subject.trim() }, ttlMs, reason.trim() || 'from the console').then(
      (answer) => {
        setSaid({
          good: true,
          text:
            'height' in answer
              ? `Denied on all nodes; certified at height ${answer.height}.`
              : `Denied provisionally: ${answer.waiting}`,
        })
        onDone()
      },
      (cause: Error) => setSaid({ good: false, text: cause.message }),
    )
  }
  return (
    <form className="filters" onSubmit={submit}>
      <label>
        Address or prefix
        <input required value={subject} onChange={(event) => setSubject(event.target.value)} placeholder="203.0.113.7" />
      </label>
      <label>
        For
        <select value={ttlMs} onChange={(event) => setTtlMs(Number(event.target.value))}>
          {TTLS.map(([name, ms]) => (
            <option key={ms} value={ms}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label>
        Reason
        <input value={reason} maxLength={200} onChange={(event) => setReason(event.target.value)} />
      </label>
      <button type="submit">Deny everywhere</button>
      <p role="status" className={said?.good === false ? 'bad' : ''}>
        {said?.text ?? ''}
      </p>
    </form>
  )
}

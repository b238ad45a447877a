import type { PolicyPlan, RingwallClient } from '@ringwall/client'
import { useEffect, useState } from 'react'
import { Failure } from './app.tsx'

export function PolicyPage({ client }: { readonly client: RingwallClient }) {
  const [version, setVersion] = useState<number>()
  const [text, setText] = useState('')
  const [plan, setPlan] = useState<PolicyPlan>()
  const [error, setError] = useState<string>()
  const [said, setSaid] = useState('')
  const fail = (cause: Error): void => setError(cause.message)
  const load = (): void => {
    client.policy().then((policy) => {
      setVersion(policy.version)
      setText(policy.text)
      setPlan(undefined)
    }, fail)
  }
  // biome-ignore lint/correctness/useExhaustiveDependencies: read once; an edit must not be overwritten.
  useEffect(load, [client])
  const look = (): void => {
    setError(undefined)
    setSaid('')
    client.policyPlan(text).then(setPlan, fail)
  }
  const apply = (): void => {
    if (plan === undefined || !confirm(`Propose ${plan.changes.length} changes to policy ${plan.version}?`)) return
    client.policyApply(text, plan.version).then((answer) => {
      const waits = 'height' in answer ? answer.waits : undefined
      if (waits !== undefined) {
        const missing = waits.needed - waits.signedBy.length
        setSaid(
          `Waits for ${missing} more ${missing === 1 ? 'operator' : 'operators'}: ringwall approve ${waits.id.slice(0, 16)}`,
        )
      } else setSaid('height' in answer ? `Agreed at height ${answer.height}.` : '')
      load()
    }, fail)
  }
  return (
    <>
      <h1>Policy, version {version ?? '–'}</h1>
      <Failure error={error} />
      <label htmlFor="policy" className="hidden">
        Policy as YAML
      </label>
      <textarea
        id="policy"
        className="code"
        rows={24}
        spellCheck={false}
        value={text}
        onChange={(event) => setText(event.target.value)}
      />
      <p>
        <button type="button" onClick={look}>
          Plan
        </button>{' '}
        {plan?.valid === true && plan.changes.length > 0 && (
          <button type="button" onClick={apply}>
            Apply
          </button>
        )}{' '}
        <span role="status">{said}</span>
      </p>
      {plan !== undefined && <PlanView plan={plan} />}
    </>
  )
}

function PlanView({ plan }: { readonly plan: PolicyPlan }) {
  if (!plan.valid) {
    return (
      <ul className="problems">
        {plan.problems.map(({ line, column, message, hint }) => (
          <li key={`${line} ${column} ${message}`} className="bad">
            <strong>
              {line}:{column}
            </strong>{' '}
            {message}
            {hint !== null && <small>{hint}</small>}
          </li>
        ))}
      </ul>
    )
  }
  if (plan.changes.length === 0) return <p>No changes: the policy in force says the same.</p>
  return (
    <ul className="problems">
      {plan.changes.map(({ kind, path, before, after }) => (
        <li key={path}>
          <strong>{kind}</strong> {path}
          <code className="excerpt">
            {kind === 'add' ? '' : JSON.stringify(before)}
            {kind === 'change' ? ' → ' : ''}
            {kind === 'remove' ? '' : JSON.stringify(after)}
          </code>
        </li>
      ))}
    </ul>
  )
}

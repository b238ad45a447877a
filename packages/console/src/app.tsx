import { type OperatorCredentials, RingwallClient } from '@ringwall/client'
import { useEffect, useMemo, useState } from 'react'
import { Decisions } from './decisions.tsx'
import { Denials } from './denials.tsx'
import { Detail } from './detail.tsx'
import { IncidentPage, Incidents } from './incidents.tsx'
import { ObjectsPage } from './objects.tsx'
import { Overview } from './overview.tsx'
import { PolicyPage } from './policy.tsx'

const PAGES = [
  ['overview', 'Overview'],
  ['decisions', 'Decisions'],
  ['denials', 'Denials'],
  ['incidents', 'Incidents'],
  ['objects', 'Objects'],
  ['policy', 'Policy'],
] as const

function useHash(): string {
  const [hash, setHash] = useState(location.hash.slice(2))
  useEffect(() => {
    const listen = (): void => setHash(location.hash.slice(2))
    addEventListener('hashchange', listen)
    return () => removeEventListener('hashchange', listen)
  }, [])
  return hash
}

export function App({ operator, onSignOut }: { readonly operator: OperatorCredentials; readonly onSignOut: () => void }) {
  const client = useMemo(() => new RingwallClient({ baseUrl: location.origin, operator }), [operator])
  const [page = 'overview', argument = ''] = useHash().split('/')
  const current = page === '' ? 'overview' : page
  return (
    <>
      <header>
        <strong>Ringwall</strong>
        <nav aria-label="Pages">
          {PAGES.map(([id, title]) => (
            <a key={id} href={`#/${id}`} aria-current={current === id ? 'page' : undefined}>
              {title}
            </a>
          ))}
        </nav>
        <span className="who">
          {operator.name}{' '}
          <button type="button" className="quiet" onClick={onSignOut}>
            Sign out
          </button>
        </span>
      </header>
      <main>
        {current === 'overview' && <Overview client={client} />}
        {current === 'decisions' && argument === '' && <Decisions client={client} />}
        {current === 'decisions' && argument !== '' && <Detail client={client} requestId={argument} />}
        {current === 'denials' && <Denials client={client} />}
        {current === 'incidents' && argument === '' && <Incidents client={client} operator={operator.name} />}
        {current === 'incidents' && argument !== '' && <IncidentPage client={client} id={argument} />}
        {current === 'objects' && <ObjectsPage client={client} />}
        {current === 'policy' && <PolicyPage client={client} />}
      </main>
    </>
  )
}

/** What went wrong, in the words of the node. */
export function Failure({ error }: { readonly error: string | undefined }) {
  if (error === undefined || error === '') return null
  return (
    <p className="bad-line" role="alert">
      {error}
    </p>
  )
}

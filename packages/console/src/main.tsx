import type { OperatorCredentials } from '@ringwall/client'
import { StrictMode, useEffect, useState } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app.tsx'
import { Login } from './login.tsx'
import { contextFromLink, signIn, signOut, storedOperator } from './sign-in.ts'
import './style.css'

const fromLink = contextFromLink()

function Root() {
  const [operator, setOperator] = useState<OperatorCredentials | null | undefined>(undefined)
  const [problem, setProblem] = useState('')
  useEffect(() => {
    const start = fromLink === undefined ? storedOperator() : signIn(fromLink)
    start
      .then((found) => setOperator(found ?? null))
      .catch((error: Error) => {
        setProblem(error.message)
        setOperator(null)
      })
  }, [])
  if (operator === undefined) return <p className="centre">Opening…</p>
  if (operator === null) return <Login problem={problem} onContext={async (text) => setOperator(await signIn(text))} />
  return (
    <App
      operator={operator}
      onSignOut={async () => {
        await signOut()
        setOperator(null)
      }}
    />
  )
}

createRoot(document.getElementById('root') as HTMLElement).render(
  <StrictMode>
    <Root />
  </StrictMode>,
)

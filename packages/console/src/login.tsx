import { useState } from 'react'

/** Takes the operator's context: a file, or its text. */
export function Login({ problem, onContext }: { readonly problem: string; readonly onContext: (text: string) => Promise<void> }) {
  const [error, setError] = useState(problem)
  const [text, setText] = useState('')
  const use = (content: string): void => {
    onContext(content).catch((cause: Error) => setError(cause.message))
  }
  return (
    <main className="login">
      <h1>Ringwall</h1>
      <p>
        Sign in with your operator’s context, <code>operator.json</code>. Its key signs in this browser and is not sent anywhere.
        Or open the link that <code>ringwall console</code> prints.
      </p>
      {error !== '' && (
        <p className="bad-line" role="alert">
          {error}
        </p>
      )}
      <label htmlFor="file">Context file</label>
      <input
        id="file"
        type="file"
        accept="application/json,.json"
        onChange={(event) => event.target.files?.[0]?.text().then(use)}
      />
      <label htmlFor="text">or its text</label>
      <textarea
        id="text"
        rows={6}
        value={text}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => setText(event.target.value)}
      />
      <button type="button" disabled={text.trim() === ''} onClick={() => use(text)}>
        Sign in
      </button>
    </main>
  )
}

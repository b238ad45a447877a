/** Data that is asked for again and again, with what went wrong the last time. */
import { useCallback, useEffect, useRef, useState } from 'react'

export interface Polled<T> {
  readonly data: T | undefined
  readonly error: string | undefined
  reload(): void
}

export function usePolled<T>(load: () => Promise<T>, everyMs: number): Polled<T> {
  const [state, setState] = useState<{ data: T | undefined; error: string | undefined }>({ data: undefined, error: undefined })
  const latest = useRef(load)
  latest.current = load
  const reload = useCallback(() => {
    latest
      .current()
      .then((data) => setState({ data, error: undefined }))
      .catch((error: Error) => setState((before) => ({ ...before, error: error.message })))
  }, [])
  useEffect(() => {
    reload()
    const timer = setInterval(() => document.visibilityState === 'visible' && reload(), everyMs)
    return () => clearInterval(timer)
  }, [reload, everyMs])
  return { ...state, reload }
}

/** The time, for ages that tick. */
export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}

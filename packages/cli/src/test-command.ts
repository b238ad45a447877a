import { resolve } from 'node:path'

/** For tests: what Node is given to run `ringwall`, before its arguments. */
export const RINGWALL: readonly string[] = [
  '--disable-warning=ExperimentalWarning',
  resolve(import.meta.dirname, '../bin/ringwall.mjs'),
]

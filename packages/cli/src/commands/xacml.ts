/** XACML 3.0 without a ring: are policies well, and what do they say to a request? */
import { readFileSync } from 'node:fs'
import { knownFunctions, parseXacmlPolicy, respond, XacmlInvalid, type XacmlPolicy } from '@ringwall/identity/xacml'
import { UsageError } from '../errors.ts'
import { write } from '../output.ts'

function textOf(file: string): string {
  try {
    return readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch {
    throw new UsageError(`${file}: cannot be read`)
  }
}

/** @throws {UsageError} By file, line and column. */
function policyIn(file: string, others: readonly string[]): XacmlPolicy {
  const located = <T>(name: string, read: () => T): T => {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof XacmlInvalid)) throw error
      const hint = error.hint === undefined ? '' : ` (${error.hint})`
      throw new UsageError(`${name}:${error.place.line}:${error.place.column}: ${error.message}${hint}`)
    }
  }
  // Each by itself first, so that what is wrong with it names its own file.
  for (const other of others)
    located(other, () => parseXacmlPolicy(textOf(other), others.filter((one) => one !== other).map(textOf)))
  return located(file, () => parseXacmlPolicy(textOf(file), others.map(textOf)))
}

export function xacmlCheck(file: string, others: readonly string[]): void {
  const { kind, id, version } = policyIn(file, others)
  write(`${kind} ${id}, version ${version}: well`)
}

/** Prints the Response, in XML or JSON as the request is. */
export function xacmlEvaluate(file: string, request: string, others: readonly string[]): void {
  write(respond(policyIn(file, others), textOf(request), Date.now()).trimEnd())
}

export function xacmlFunctions(): void {
  write(knownFunctions().join('\n'))
}

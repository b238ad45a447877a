/**
 * What the options of `up` and `protect` say shall be in force, against what is. A later start with other options changes the
 * policy only as long as nobody else has: what an operator applied stays.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const fileIn = (data: string): string => join(data, 'given-policy.yaml')

/** Remembers the policy that the options gave. */
export function rememberGiven(data: string, text: string): void {
  writeFileSync(fileIn(data), text, { mode: 0o600 })
}

function remembered(data: string): string | undefined {
  try {
    return readFileSync(fileIn(data), 'utf8')
  } catch {
    return undefined
  }
}

/** `edited`: somebody applied a policy that the options did not give. */
export function compareGiven(data: string, wanted: string, inForce: string): 'same' | 'propose' | 'edited' {
  if (inForce === wanted) return 'same'
  return inForce === remembered(data) ? 'propose' : 'edited'
}

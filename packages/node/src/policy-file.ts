/** Reads a policy from a file, with the files that it names put into it. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CEDAR_CHARS_MAX, PolicyFileInvalid, type PolicyText, policyText, type ReadPolicyFile } from '@ringwall/ring'

/** @throws {PolicyFileInvalid} For a file that the policy names. @throws {Error} Of the file system, for the policy itself. */
export function readPolicyFile(file: string): PolicyText {
  return policyText(file, readFileSync(file, 'utf8'), besides(file))
}

/** Files that stand where the policy stands, or from there on. */
export function besides(policy: string): ReadPolicyFile {
  return (name) => {
    const file = join(dirname(policy), name)
    try {
      // A character has at most four bytes.
      if (statSync(file).size <= CEDAR_CHARS_MAX * 4) return { file, text: readFileSync(file, 'utf8') }
    } catch (cause) {
      const message = `${file}: the Cedar policies cannot be read; the name is taken from where the policy stands`
      throw new PolicyFileInvalid(message, { cause })
    }
    throw new PolicyFileInvalid(`${file}: longer than ${CEDAR_CHARS_MAX} characters`)
  }
}

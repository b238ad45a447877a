/** Rule sets as benches name them: `base`, `crs` where it is installed, or a folder. */
import { resolve } from 'node:path'
import type { RuleSource } from '@ringwall/waf'
import { StartError } from '../packages/node/src/errors.ts'
import { loadRuleLibrary } from '../packages/node/src/rules.ts'

const library = loadRuleLibrary({})

/** What is measured unless somebody says otherwise. */
export const USUAL_RULE_SETS: readonly string[] = ['base', ...(library.has('crs') ? ['crs'] : [])]

/** Ends the program with one line when there is none of this name. */
export function ruleSetNamed(name: string): readonly RuleSource[] {
  try {
    return library.get(name) ?? loadRuleLibrary({ named: resolve(name) }).get('named') ?? []
  } catch (error) {
    if (!(error instanceof StartError)) throw error
    process.stderr.write(`${name}: ${error.message}; expected base, crs or the folder of a rule set\n`)
    process.exit(2)
  }
}

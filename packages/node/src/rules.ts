/** Rule sets from disk: `base`, which comes with Ringwall, and folders that the operator names. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import type { RuleLibrary } from '@ringwall/ring'
import type { RuleSource } from '@ringwall/waf'
import { StartError } from './errors.ts'

const BASE = resolve(import.meta.dirname, '../../waf/rules')

/**
 * Nothing can interrupt V8's backtracking matcher. From here on it hands a search that goes back too often over to V8's
 * automaton, whose time is linear in the text (for every pattern without look-around and back-references).
 */
export function boundPatternTime(): void {
  setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks')
  setFlagsFromString('--regexp-backtracks-before-fallback=10000')
}

function readFolder(name: string, folder: string): readonly RuleSource[] {
  if (!existsSync(folder)) throw new StartError('RULES_INVALID', `rule set ${name}: there is no folder ${folder}`)
  const files = readdirSync(folder)
    .filter((file) => file.endsWith('.conf'))
    .sort()
  if (files.length === 0) throw new StartError('RULES_INVALID', `rule set ${name}: ${folder} holds no .conf files`)
  return files.map((file) => ({ file: join(folder, file), text: readFileSync(join(folder, file), 'utf8') }))
}

/** `folders` by name; `base` is always there. @throws {StartError} `RULES_INVALID`. */
export function loadRuleLibrary(folders: Readonly<Record<string, string>>): RuleLibrary {
  boundPatternTime()
  const library = new Map<string, readonly RuleSource[]>([['base', readFolder('base', BASE)]])
  for (const [name, folder] of Object.entries(folders)) library.set(name, readFolder(name, folder))
  return library
}

/** Virtual patches: what their rules may be, and whether they do what their tests say. */
import type { RuleSet } from '@ringwall/waf'
import type { PatchPolicy } from './policy.ts'
import type { PolicyFault } from './policy-faults.ts'
import { untilMs } from './policy-faults.ts'
import type { CompiledPatch } from './types.ts'

/** A patch decides by itself: what counts, prepares or switches belongs into a rule set. */
const ACTIONS: ReadonlySet<string> = new Set([
  'id',
  'phase',
  'deny',
  'block',
  'drop',
  'status',
  'msg',
  'logdata',
  'severity',
  'tag',
  'rev',
  'ver',
  'chain',
  'capture',
  'multimatch',
  'log',
  'auditlog',
  'noauditlog',
  'maturity',
  'accuracy',
])

export type PatchCompilation =
  | { readonly ok: true; readonly patch: CompiledPatch }
  | { readonly ok: false; readonly problem: string }

/** @param compile Throws when the text is no rules. */
export function compilePatch(patch: PatchPolicy, compile: (text: string, file: string) => RuleSet): PatchCompilation {
  const file = `patch ${patch.name}`
  const refused = (problem: string): PatchCompilation => ({ ok: false, problem })
  const stray = patch.rules
    .replace(/\\\r?\n/g, ' ')
    .split('\n')
    .map((line) => line.trim())
    .find((line) => line !== '' && !line.startsWith('#') && !/^SecRule[ \t]/i.test(line))
  if (stray !== undefined) return refused(`${file}: ${stray.slice(0, 60)}: expected SecRule and nothing else`)
  let rules: RuleSet
  try {
    // Every rule denies unless it says otherwise, and what it says is looked at below.
    rules = compile(patch.rules, file)
  } catch (error) {
    return refused(error instanceof Error ? error.message : `${file}: the rules do not compile`)
  }
  if (rules.rules.length === 0) return refused(`${file}: holds no rule`)
  for (const { id, phase } of rules.rules) {
    const rule = rules.describe(id)
    if (rule?.disruption !== 'deny') return refused(`${file}: rule ${id}: expected deny; a patch refuses what it matches`)
    if (phase > 2) return refused(`${file}: rule ${id}: expected phase 1 or 2; a patch is about requests`)
    for (const action of rule.links.flatMap(({ actions }) => actions)) {
      const name = /^[A-Za-z]+/.exec(action)?.[0].toLowerCase() ?? ''
      if (!ACTIONS.has(name))
        return refused(`${file}: rule ${id}: the action ${name} is nothing for a patch, which decides by itself`)
    }
  }
  return { ok: true, patch: { patch, untilMs: untilMs(patch.until) ?? 0, rules } }
}

/** A test of a patch as the rehearsal runs it. */
export interface PatchTestRun {
  readonly name: string
  readonly path: readonly PropertyKey[]
  readonly patch: CompiledPatch
  readonly test: PatchPolicy['tests'][number]
}

/** Tests of all patches; a patch must show what it matches and what it lets pass. */
export function patchTests(patches: readonly CompiledPatch[], faults: PolicyFault[]): readonly PatchTestRun[] {
  return patches.flatMap((patch, index) => {
    const { name, tests } = patch.patch
    for (const expected of ['match', 'pass'] as const) {
      if (tests.some(({ expect }) => expect === expected)) continue
      const message = `the patch ${name} has no test that expects ${expected}`
      faults.push({
        path: ['patches', index, 'tests'],
        message,
        hint: 'show an attack that it matches and a request that it lets pass',
      })
    }
    return tests.map((test, at) => ({
      name: `patch ${name}: ${test.name}`,
      path: ['patches', index, 'tests', at, 'expect'],
      patch,
      test,
    }))
  })
}

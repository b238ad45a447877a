/** Counts what a rule set finds in the corpus, by class. */
import { type CorpusCase, type CorpusPart, loadCorpus } from './test-corpus.ts'
import { send } from './test-requests.ts'
import type { RuleSet } from './types.ts'

export interface ClassCount {
  readonly class: string
  /** Requests: each line of the corpus is placed in several. */
  requests: number
  blocked: number
  /** Attacks that passed, or honest requests that were refused. */
  readonly wrong: CorpusCase[]
}

export function countClasses(rules: RuleSet, part: CorpusPart): readonly ClassCount[] {
  const classes = new Map<string, ClassCount>()
  const hostile = part.endsWith('attacks')
  for (const one of loadCorpus(part)) {
    let count = classes.get(one.class)
    if (count === undefined) classes.set(one.class, (count = { class: one.class, requests: 0, blocked: 0, wrong: [] }))
    const { blocked } = send(rules, one.sent)
    count.requests += 1
    if (blocked) count.blocked += 1
    if (blocked !== hostile) count.wrong.push(one)
  }
  return [...classes.values()]
}

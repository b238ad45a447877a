/** Whether a policy asks for what this ring has: more nodes, regions or operators than there are can never be satisfied. */
import { APPROVABLE_TYPES, EXCEPTION_TTL_MS_MAX, type Policy } from './policy.ts'
import { type PolicyFault, untilMs } from './policy-faults.ts'
import type { RingNode, RingOperator } from './types.ts'

export function policyFitFaults(policy: Policy, members: readonly RingNode[], operators: readonly RingOperator[]): PolicyFault[] {
  const faults: PolicyFault[] = []
  const at = ['denials', 'corroboration'] as const
  const { nodes, regions } = policy.denials.corroboration
  if (nodes !== undefined && nodes > members.length) {
    const message = `${nodes} nodes must say the same, and the ring has ${members.length}`
    faults.push({ path: [...at, 'nodes'], message, hint: `at most ${members.length}` })
  }
  const known = new Set(members.map(({ region }) => region)).size
  if (regions > known) {
    const message = `nodes in ${regions} regions must say the same, and the ring has nodes in ${known}`
    faults.push({ path: [...at, 'regions'], message, hint: `at most ${known}` })
  }
  if (nodes !== undefined && regions > nodes) {
    const message = `${nodes} nodes cannot be in ${regions} regions`
    faults.push({ path: [...at, 'regions'], message, hint: 'ask for at least as many nodes as regions' })
  }
  const names = new Set(operators.map(({ name }) => `operator:${name}`))
  const unknownIn = (path: PolicyFault['path'], list: readonly string[]): void => {
    for (const [place, who] of list.entries()) {
      if (!who.startsWith('operator:') || who === 'operator:*' || names.has(who)) continue
      const message = `the ring has no operator ${who.slice('operator:'.length)}`
      faults.push({ path: [...path, place], message, hint: `known here: ${[...names].join(', ')}` })
    }
  }
  for (const [index, rule] of policy.vault.rules.entries())
    for (const action of ['read', 'write'] as const) unknownIn(['vault', 'rules', index, action], rule[action])
  for (const [index, rule] of policy.vault.transit.entries())
    for (const action of ['use', 'manage'] as const) unknownIn(['vault', 'transit', index, action], rule[action])
  for (const type of APPROVABLE_TYPES) {
    const needed = policy.operators.approvals[type]
    if (needed <= Math.max(1, operators.length)) continue
    const message = `${needed} operators must approve ${type}, and the ring has ${operators.length}`
    faults.push({ path: ['operators', 'approvals', type], message, hint: `at most ${operators.length}` })
  }
  return faults
}

/** Whether exceptions and patches lapse soon enough, seen from when they are agreed on. Those that have lapsed are no fault. */
export function lapseFaults({ exceptions, patches }: Policy, nowMs: number): PolicyFault[] {
  const faultsOf = (
    key: string,
    word: string,
    all: readonly { readonly name: string; readonly until: string }[],
  ): PolicyFault[] =>
    all.flatMap(({ name, until }, index) => {
      const leftMs = (untilMs(until) ?? 0) - nowMs
      if (leftMs <= EXCEPTION_TTL_MS_MAX) return []
      const days = Math.ceil(leftMs / 86_400_000)
      const message = `the ${word} ${name} would last ${days} days, at most ${EXCEPTION_TTL_MS_MAX / 86_400_000} are allowed`
      return [{ path: [key, index, 'until'], message, hint: 'choose a nearer day: it can be renewed' }]
    })
  return [...faultsOf('exceptions', 'exception', exceptions), ...faultsOf('patches', 'patch', patches)]
}

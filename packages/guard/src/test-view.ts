/** For tests: policies compiled where there are no rules, and what the ring agrees on besides, which is nothing. */
import assert from 'node:assert/strict'
import {
  type CompiledPolicy,
  compilePolicy,
  createDenialIndex,
  NO_SIGNING_KEY_VIEW,
  type Policy,
  type View,
} from '@ringwall/ring'

export function compiledWithoutRules(policy: Policy): CompiledPolicy {
  const compilation = compilePolicy(
    policy,
    () => {
      throw new Error('there are no rules here')
    },
    new Map(),
  )
  assert.ok(compilation.ok, JSON.stringify(compilation))
  return compilation.compiled
}

export function viewOf({ policy, routes, route }: CompiledPolicy, nowMs: number): View {
  return {
    ring: 'f'.repeat(64),
    height: 1,
    blockTimestampMs: nowMs,
    policyVersion: 1,
    policy,
    policyText: '',
    denials: createDenialIndex([]),
    operators: [],
    nodes: [],
    epoch: 0,
    signingKey: NO_SIGNING_KEY_VIEW,
    routes,
    route,
  }
}

/** The combining algorithms of XACML 3.0 (appendix C), on decisions with the extended values of Indeterminate (section 7.10). */

export type Decision = 'Permit' | 'Deny' | 'NotApplicable' | 'Indeterminate{D}' | 'Indeterminate{P}' | 'Indeterminate{DP}'

/** What a rule or a policy comes to, when it is asked. */
export interface Child {
  /** Once at most. */
  decide(): Decision
  /** Of only-one-applicable: whether its target matches; undefined: that cannot be found out. */
  isApplicable(): boolean | undefined
}

export type Algorithm = (children: readonly Child[]) => Decision

/** C.2 and, in order, C.3. */
const denyOverrides: Algorithm = (children) => {
  const seen = new Set<Decision>()
  for (const child of children) {
    const decision = child.decide()
    if (decision === 'Deny') return 'Deny'
    seen.add(decision)
  }
  if (seen.has('Indeterminate{DP}')) return 'Indeterminate{DP}'
  if (seen.has('Indeterminate{D}'))
    return seen.has('Indeterminate{P}') || seen.has('Permit') ? 'Indeterminate{DP}' : 'Indeterminate{D}'
  if (seen.has('Permit')) return 'Permit'
  return seen.has('Indeterminate{P}') ? 'Indeterminate{P}' : 'NotApplicable'
}

/** C.4 and C.5. */
const permitOverrides: Algorithm = (children) => {
  const seen = new Set<Decision>()
  for (const child of children) {
    const decision = child.decide()
    if (decision === 'Permit') return 'Permit'
    seen.add(decision)
  }
  if (seen.has('Indeterminate{DP}')) return 'Indeterminate{DP}'
  if (seen.has('Indeterminate{P}'))
    return seen.has('Indeterminate{D}') || seen.has('Deny') ? 'Indeterminate{DP}' : 'Indeterminate{P}'
  if (seen.has('Deny')) return 'Deny'
  return seen.has('Indeterminate{D}') ? 'Indeterminate{D}' : 'NotApplicable'
}

/** C.6. */
const denyUnlessPermit: Algorithm = (children) => (children.some((child) => child.decide() === 'Permit') ? 'Permit' : 'Deny')

/** C.7. */
const permitUnlessDeny: Algorithm = (children) => (children.some((child) => child.decide() === 'Deny') ? 'Deny' : 'Permit')

/** C.8. */
const firstApplicable: Algorithm = (children) => {
  for (const child of children) {
    const decision = child.decide()
    if (decision !== 'NotApplicable') return decision
  }
  return 'NotApplicable'
}

/** C.9. */
const onlyOneApplicable: Algorithm = (children) => {
  let found: Child | undefined
  for (const child of children) {
    const applies = child.isApplicable()
    if (applies === undefined) return 'Indeterminate{DP}'
    if (!applies) continue
    if (found !== undefined) return 'Indeterminate{DP}'
    found = child
  }
  return found?.decide() ?? 'NotApplicable'
}

const isIndeterminate = (decision: Decision): boolean => decision.startsWith('Indeterminate')

/** C.10 and C.12, of rules: an error counts where it could have been of the effect that overrides. */
const legacyRules =
  (over: 'Permit' | 'Deny', mark: Decision): Algorithm =>
  (children) => {
    const other = over === 'Deny' ? 'Permit' : 'Deny'
    const seen: Decision[] = []
    for (const child of children) {
      const decision = child.decide()
      if (decision === over) return over
      seen.push(decision)
    }
    if (seen.includes(mark)) return mark
    if (seen.includes(other)) return other
    return seen.find(isIndeterminate) ?? 'NotApplicable'
  }

/** C.11: an error denies. */
const legacyDenyOverridesPolicies: Algorithm = (children) => {
  let isPermitted = false
  for (const child of children) {
    const decision = child.decide()
    if (decision === 'Deny' || isIndeterminate(decision)) return 'Deny'
    isPermitted ||= decision === 'Permit'
  }
  return isPermitted ? 'Permit' : 'NotApplicable'
}

/** C.13. */
const legacyPermitOverridesPolicies: Algorithm = (children) => {
  const seen: Decision[] = []
  for (const child of children) {
    const decision = child.decide()
    if (decision === 'Permit') return 'Permit'
    seen.push(decision)
  }
  if (seen.includes('Deny')) return 'Deny'
  return seen.find(isIndeterminate) ?? 'NotApplicable'
}

function named(of: 'rule' | 'policy'): ReadonlyMap<string, Algorithm> {
  const id = (version: '1.0' | '1.1' | '3.0', name: string): string =>
    `urn:oasis:names:tc:xacml:${version}:${of}-combining-algorithm:${name}`
  const legacyDeny = of === 'rule' ? legacyRules('Deny', 'Indeterminate{D}') : legacyDenyOverridesPolicies
  const legacyPermit = of === 'rule' ? legacyRules('Permit', 'Indeterminate{P}') : legacyPermitOverridesPolicies
  return new Map([
    [id('3.0', 'deny-overrides'), denyOverrides],
    [id('3.0', 'ordered-deny-overrides'), denyOverrides],
    [id('3.0', 'permit-overrides'), permitOverrides],
    [id('3.0', 'ordered-permit-overrides'), permitOverrides],
    [id('3.0', 'deny-unless-permit'), denyUnlessPermit],
    [id('3.0', 'permit-unless-deny'), permitUnlessDeny],
    [id('1.0', 'first-applicable'), firstApplicable],
    ...(of === 'policy' ? ([[id('1.0', 'only-one-applicable'), onlyOneApplicable]] as const) : []),
    [id('1.0', 'deny-overrides'), legacyDeny],
    [id('1.1', 'ordered-deny-overrides'), legacyDeny],
    [id('1.0', 'permit-overrides'), legacyPermit],
    [id('1.1', 'ordered-permit-overrides'), legacyPermit],
  ])
}

export const RULE_ALGORITHMS: ReadonlyMap<string, Algorithm> = named('rule')
export const POLICY_ALGORITHMS: ReadonlyMap<string, Algorithm> = named('policy')

export { type BodyFields, readFields } from './body/request-body.ts'
export { createCollectionStore } from './collections.ts'
export { compileRules } from './compile.ts'
export { createCounters, type RuleCounters } from './counters.ts'
export { RuleSyntaxError, type SourcePosition } from './errors.ts'
export { escapeHtml } from './escape-html.ts'
export { compileExclusions } from './exclusions.ts'
export { LIMIT_RULE_ID } from './limits.ts'
export { isSecretVariable, MASKED, maskFinding, maskSecrets } from './secrets.ts'
export type {
  CollectionStore,
  CompiledExclusions,
  CompileOptions,
  HeaderField,
  LinkDescription,
  MatchedPart,
  PersistentCollection,
  RuleDescription,
  RuleFinding,
  RuleLeftOut,
  RuleListing,
  RuleSet,
  RuleSource,
  TargetExclusion,
  WafAudit,
  WafEnvironment,
  WafExamination,
  WafMatch,
  WafRehearsal,
  WafRequest,
  WafResponse,
  WafTransaction,
  WafVerdict,
} from './types.ts'

export { requestFields } from './body/request-body.ts'
export { createCollectionStore } from './collections.ts'
export { compileRules } from './compile.ts'
export { RuleSyntaxError, type SourcePosition } from './errors.ts'
export { LIMIT_RULE_ID } from './limits.ts'
export type {
  CollectionStore,
  CompileOptions,
  HeaderField,
  PersistentCollection,
  RuleSet,
  RuleSource,
  WafEnvironment,
  WafMatch,
  WafRehearsal,
  WafRequest,
  WafResponse,
  WafTransaction,
  WafVerdict,
} from './types.ts'

export { requestFields } from './body/request-body.ts'
export { compileRules } from './compile.ts'
export { RuleSyntaxError, type SourcePosition } from './errors.ts'
export { LIMIT_RULE_ID } from './limits.ts'
export type {
  CompileOptions,
  HeaderField,
  RuleSet,
  RuleSource,
  WafMatch,
  WafRehearsal,
  WafRequest,
  WafTransaction,
  WafVerdict,
} from './types.ts'

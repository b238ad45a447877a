export { compileRules } from './compile.ts'
export { RuleSyntaxError } from './errors.ts'
export { WORK_RULE_ID } from './transaction.ts'
export type {
  CompileOptions,
  HeaderField,
  RuleSet,
  RuleSource,
  WafMatch,
  WafRequest,
  WafTransaction,
  WafVerdict,
} from './types.ts'

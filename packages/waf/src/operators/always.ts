import type { OperatorFactory } from './operator.ts'

/** `@unconditionalMatch` and `@noMatch`. */
export const unconditionalMatch: OperatorFactory = () => ({ matches: () => true })
export const noMatch: OperatorFactory = () => ({ matches: () => false })

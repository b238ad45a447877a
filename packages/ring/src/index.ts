export * from './policy.ts'
export type * from './types.ts'

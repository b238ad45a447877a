/** What a node and the launcher that started it say to each other, over the channel of their processes. */
import { RELEASE_VERSION } from '@ringwall/ring'
import { z } from 'zod'

/** The environment of a node that a launcher started: its folder, and of one on trial, what it is judged by. */
export const FOLDER_VARIABLE = 'RINGWALL_FLEET_FOLDER'
export const TRIAL_VARIABLE = 'RINGWALL_FLEET_TRIAL'

const Terms = z.strictObject({
  version: z.string().regex(RELEASE_VERSION),
  /** How long it is watched. */
  trialMs: z.int().min(1_000).max(86_400_000),
  /** The most of its answers that may be errors. */
  errors: z.number().min(0).max(1),
})
export type TrialTerms = z.output<typeof Terms>

const FromNode = z.discriminatedUnion('type', [
  /** It takes traffic. */
  z.strictObject({ type: z.literal('serving') }),
  /** It let go of its data, and serves by its last view. */
  z.strictObject({ type: z.literal('handed-over') }),
  /** Have the release in the other slot tried out. */
  z.strictObject({ type: z.literal('try'), terms: Terms, digest: z.string().regex(/^[0-9a-f]{64}$/) }),
  /** Of one on trial, about itself. */
  z.strictObject({ type: z.literal('good') }),
  z.strictObject({ type: z.literal('bad'), reason: z.string().min(1).max(200) }),
])
export type FromNode = z.output<typeof FromNode>

/** Undefined for anything else: another release may say more. */
export function parseFromNode(value: unknown): FromNode | undefined {
  const parsed = FromNode.safeParse(value)
  return parsed.success ? parsed.data : undefined
}

/** Undefined: this process is not on trial. */
export function termsOf(environment: NodeJS.ProcessEnv): TrialTerms | undefined {
  const text = environment[TRIAL_VARIABLE]
  if (text === undefined) return undefined
  try {
    const parsed = Terms.safeParse(JSON.parse(text))
    return parsed.success ? parsed.data : undefined
  } catch {
    return undefined
  }
}

/** Of a node, to its launcher; nothing when it has none. */
export function tellLauncher(message: FromNode): void {
  if (process.env[FOLDER_VARIABLE] !== undefined && process.connected) process.send?.(message, () => {})
}

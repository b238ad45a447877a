/** What a changing verb says when the ring has agreed on a statement that other operators must approve. */
import { ApiError, type Committed } from '@ringwall/client'
import { paint } from '../format.ts'

/** Of an id: enough to tell those that wait apart. */
export const ID_CHARS_SHOWN = 16

/** One line when what was agreed still waits for other operators. True when it does. */
export function tellWaiting({ waits }: Pick<Committed, 'waits'>): boolean {
  if (waits === undefined) return false
  const missing = waits.needed - waits.signedBy.length
  const who = missing === 1 ? '1 more approval' : `${missing} more approvals`
  process.stderr.write(`${paint('yellow', `waits for ${who}`)}: ringwall approve ${waits.id.slice(0, ID_CHARS_SHOWN)}\n`)
  return true
}

/** A refusal of the ring's with its code in front: who joins meets the same codes elsewhere. */
export async function withCode<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked
  } catch (error) {
    if (error instanceof ApiError && error.status === 422)
      throw new ApiError(error.status, error.code, `${error.code}: ${error.message}`)
    throw error
  }
}

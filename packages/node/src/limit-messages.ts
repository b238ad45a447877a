/** Messages about budgets that nodes share, on the wire: JSON, a message an array that begins with a letter. */
import { ASKS_MAX, type LimitMessage } from '@ringwall/guard'

const BYTES_MAX = 262_144
const KEY_CHARS_MAX = 256
const COUNT_MAX = 1_000_000
const WAIT_MS_MAX = 86_400_000
const NODES_MAX = 1_024
const NODE_ID = /^[a-z0-9-]{1,32}$/

export function encodeLimitMessages(messages: readonly LimitMessage[]): Uint8Array {
  return Buffer.from(
    JSON.stringify(
      messages.map((message) => {
        if (message.kind === 'ask') return ['a', message.key, message.want, message.spent, message.back]
        if (message.kind === 'grant') return ['g', message.key, message.granted, message.waitMs]
        if (message.kind === 'stranger') return ['s', message.key]
        if (message.kind === 'recall') return ['c', message.key]
        return ['r', ...message.nodes]
      }),
    ),
  )
}

/** Undefined when they are not what they should be: all of them, since their sender is not either. */
export function decodeLimitMessages(bytes: Uint8Array): readonly LimitMessage[] | undefined {
  if (bytes.length > BYTES_MAX) return undefined
  let given: unknown
  try {
    given = JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
  if (!Array.isArray(given) || given.length > ASKS_MAX) return undefined
  const messages: LimitMessage[] = []
  for (const one of given) {
    const message = Array.isArray(one) ? read(one) : undefined
    if (message === undefined) return undefined
    messages.push(message)
  }
  return messages
}

function read([kind, ...fields]: readonly unknown[]): LimitMessage | undefined {
  if (kind === 'r') {
    const nodes = fields.filter((id): id is string => typeof id === 'string' && NODE_ID.test(id))
    return nodes.length === fields.length && nodes.length <= NODES_MAX ? { kind: 'reach', nodes } : undefined
  }
  const [key, first, second, third] = fields
  if (typeof key !== 'string' || key.length > KEY_CHARS_MAX) return undefined
  if (kind === 's' && fields.length === 1) return { kind: 'stranger', key }
  if (kind === 'c' && fields.length === 1) return { kind: 'recall', key }
  if (kind === 'g' && fields.length === 3 && isCount(first, COUNT_MAX) && isCount(second, WAIT_MS_MAX))
    return { kind: 'grant', key, granted: first, waitMs: second }
  if (kind === 'a' && fields.length === 4 && isCount(first, COUNT_MAX) && isCount(second, COUNT_MAX) && isCount(third, COUNT_MAX))
    return { kind: 'ask', key, want: first, spent: second, back: third }
  return undefined
}

function isCount(value: unknown, most: number): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= most
}

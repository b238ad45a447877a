/** Lists of the policy that commands write, such as bouncers and clients of TAXII: the policy in force is applied with another list; comments stay. */
import { createHash, randomBytes } from 'node:crypto'
import type { RingwallClient } from '@ringwall/client'
import { isMap, isSeq, parseDocument } from 'yaml'
import { UsageError } from '../errors.ts'
import { applyConfirmed, changeLine, refuseProblems } from './policy.ts'

export interface ListChange {
  readonly yes: boolean
  readonly dryRun: boolean
}

/** 256 random bits, and what the policy holds of them. */
export function newKey(): { readonly key: string; readonly keyHash: string } {
  const key = randomBytes(32).toString('base64url')
  return { key, keyHash: `sha256:${createHash('sha256').update(key).digest('hex')}` }
}

function edited<T>(text: string, list: string, edit: (before: readonly T[]) => readonly T[]): string {
  const document = parseDocument(text)
  if (!isMap(document.contents)) throw new UsageError('the policy in force cannot be edited: apply a file instead')
  const held = document.get(list)
  const after = edit(isSeq(held) ? (held.toJSON() as T[]) : [])
  if (after.length === 0) document.delete(list)
  else document.set(list, document.createNode(after))
  return document.toString({ lineWidth: 0 })
}

/** @returns False when nothing was changed. */
export async function changeListed<T>(
  client: RingwallClient,
  list: string,
  { yes, dryRun }: ListChange,
  edit: (before: readonly T[]) => readonly T[],
  done: string,
): Promise<boolean> {
  const { text, version } = await client.policy()
  const wanted = edited(text, list, edit)
  const plan = await client.policyPlan(wanted)
  if (!plan.valid) refuseProblems('the policy with this change', plan.problems)
  for (const one of plan.changes) process.stderr.write(`${changeLine(one)}\n`)
  if (dryRun) {
    process.stderr.write('nothing was changed\n')
    return false
  }
  await applyConfirmed(client, wanted, version, yes, done)
  return true
}

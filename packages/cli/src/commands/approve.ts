/** What needs several operators: list, approve. */
import type { PendingApproval, RingwallClient } from '@ringwall/client'
import { QuietFailure, UsageError } from '../errors.ts'
import { duration, printable } from '../format.ts'
import { type Format, printList } from '../output.ts'
import { changeLine } from './policy.ts'
import { ID_CHARS_SHOWN, tellWaiting } from './waiting.ts'

const ID_CHARS_MIN = 6

export async function approvalList(client: RingwallClient, format: Format): Promise<void> {
  const { approvals } = await client.approvals()
  printList<PendingApproval>(
    format,
    approvals,
    [
      { title: 'ID', value: ({ id }) => id.slice(0, ID_CHARS_SHOWN) },
      { title: 'WHAT', value: ({ summary }) => printable(summary) },
      { title: 'BY', value: ({ issuer }) => issuer },
      { title: 'SIGNED', value: ({ signedBy, needed }) => `${signedBy.length} of ${needed}` },
      { title: 'LAPSES IN', value: ({ lapsesAtMs }) => duration(lapsesAtMs - Date.now()) },
      { title: 'SIGNED BY', value: ({ signedBy }) => signedBy.join(' '), wide: true },
    ],
    ({ id }) => id,
    'nothing waits for approval',
  )
}

/** @param given An id, or the beginning of one. */
export async function approve(client: RingwallClient, given: string, reason: string, dryRun: boolean): Promise<void> {
  if (!/^[0-9a-f]+$/.test(given) || given.length < ID_CHARS_MIN)
    throw new UsageError(`${printable(given)} is no id: at least ${ID_CHARS_MIN} hex digits, as ringwall approve ls shows them`)
  const { approvals } = await client.approvals()
  const found = approvals.filter(({ id }) => id.startsWith(given))
  const [one, ...more] = found
  if (one === undefined) throw new UsageError(`nothing waits for approval as ${given}; ringwall approve ls lists what does`)
  if (more.length > 0) throw new UsageError(`${given} begins the ids of ${found.length}; give more of it`)
  for (const change of one.changes) process.stderr.write(`${changeLine(change)}\n`)
  process.stderr.write(
    `${printable(one.summary)}, proposed by ${one.issuer}, signed by ${one.signedBy.length} of ${one.needed}\n`,
  )
  if (dryRun) {
    await client.rehearse({ type: 'tx.approve', id: one.id, reason })
    const last = one.needed - one.signedBy.length <= 1
    process.stderr.write(`would approve it${last ? ', and with that it is applied' : ''}\n`)
    return
  }
  const answer = await client.approve(one.id, reason)
  if (!('height' in answer)) throw new QuietFailure()
  process.stderr.write(`approved at height ${answer.height}${answer.waits === undefined ? '; it is applied' : ''}\n`)
  tellWaiting(answer)
}

/** Answers that nodes keep for clients. */
import type { RingwallClient } from '@ringwall/client'
import { printable } from '../format.ts'

export interface Purge {
  readonly service: string
  readonly path: string
  readonly reason: string
}

export async function cachePurge(client: RingwallClient, { service, path, reason }: Purge, dryRun: boolean): Promise<void> {
  const what = `what is kept of ${printable(service)} at ${printable(path)} and below`
  if (dryRun) {
    await client.rehearse({ type: 'cache.purge', service, path, reason })
    process.stderr.write(`would have all nodes forget ${what}\n`)
    return
  }
  const answer = await client.cachePurge(service, path, reason)
  process.stderr.write(`all nodes forget ${what}${'height' in answer ? `, from height ${answer.height} on` : ''}\n`)
}

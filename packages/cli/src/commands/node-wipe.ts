/** Wiping a node, and what the ring knows of disks. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { RingwallClient } from '@ringwall/client'
import { duration, printable } from '../format.ts'
import { type Format, printList } from '../output.ts'
import { type NodeRemoveOptions, whoStays } from './nodes.ts'
import { tellWaiting } from './waiting.ts'

/** A node that hears of it says so within a second or two. */
const RECEIPT_MS_MAX = 6_000
const LOOK_MS = 100

export async function nodeWipe(client: RingwallClient, id: string, { reason, force, dryRun }: NodeRemoveOptions): Promise<void> {
  const { left, faults } = await whoStays(client, id, force)
  const isKept = (await client.disks()).disks.some((disk) => disk.id === id)
  const disk = isKept
    ? 'its disk is dead, also when it does not hear of this'
    : 'the ring does not keep the key of its disk: if it does not hear of this, who has the machine may read it'
  if (dryRun) {
    await client.rehearse({ type: 'node.wipe', id, reason })
    process.stderr.write(`would wipe ${id}: ${disk}; ${left} validators stay, of which ${faults} may fail or lie\n`)
    return
  }
  const answer = await client.submit({ type: 'node.wipe', id, reason })
  if (!('height' in answer) || tellWaiting(answer)) return
  process.stderr.write(`${id} is out since height ${answer.height}; ${disk}\n`)
  const began = performance.now()
  while (performance.now() - began < RECEIPT_MS_MAX) {
    const receipt = (await client.disks()).wipes.find((wipe) => wipe.id === id)?.receipt
    if (receipt !== undefined && receipt !== null) {
      process.stderr.write(
        `${id} has erased ${receipt.files} files (${receipt.bytes} bytes), and says so with its last signature, after ${duration(performance.now() - began)}\n`,
      )
      return
    }
    await sleep(LOOK_MS)
  }
  process.stderr.write(`${id} has not said that it erased anything: it may not have heard of it. See ringwall node disks\n`)
}

interface DiskRow {
  readonly id: string
  readonly state: 'sealed' | 'wiped' | 'erased'
  readonly atMs: number
  readonly by: string | null
  readonly reason: string | null
}

export async function nodeDisks(client: RingwallClient, format: Format): Promise<void> {
  const { disks, wipes } = await client.disks()
  const rows: readonly DiskRow[] = [
    ...disks.map(({ id, atMs }) => ({ id, state: 'sealed' as const, atMs, by: null, reason: null })),
    ...wipes.map(({ id, atMs, by, reason, receipt }) => ({
      id,
      state: receipt === null ? ('wiped' as const) : ('erased' as const),
      atMs,
      by,
      reason,
    })),
  ]
  const nowMs = Date.now()
  printList<DiskRow>(
    format,
    rows,
    [
      { title: 'NODE', value: ({ id }) => id },
      { title: 'STATE', value: ({ state }) => state },
      { title: 'SINCE', value: ({ atMs }) => `${duration(nowMs - atMs)} ago` },
      { title: 'BY', value: ({ by }) => by ?? '' },
      { title: 'REASON', value: ({ reason }) => printable(reason ?? '') },
    ],
    ({ id }) => id,
    'the ring opens no disks: disk.seal: ring in node.yaml, and vault.disks in the policy',
  )
}

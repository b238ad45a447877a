/** `api ls`: what services with an `api` declare and were asked, and what was asked beyond it. */
import type { OperationActivity, RingwallClient, UnknownEndpoint } from '@ringwall/client'
import { duration, printable } from '../format.ts'
import { type Format, printList } from '../output.ts'

const ago = (atMs: number | null): string => (atMs === null ? 'never' : `${duration(Math.max(0, Date.now() - atMs))} ago`)

/** @param isUnknown What no service declares, instead of what they do. */
export async function apiList(client: RingwallClient, format: Format, isUnknown: boolean): Promise<void> {
  const { operations, unknown, dropped } = await client.endpoints()
  if (isUnknown) {
    listUnknown(format, unknown)
    if (dropped > 0) process.stderr.write(`${dropped} more came too rarely to be kept\n`)
    return
  }
  printList<OperationActivity>(
    format,
    operations,
    [
      { title: 'SERVICE', value: ({ service }) => service },
      { title: 'OPERATION', value: ({ operation }) => printable(operation) },
      { title: 'REQUESTS', value: ({ requests }) => requests },
      { title: 'OUTSIDE', value: ({ outside }) => outside },
      { title: 'LAST', value: ({ lastAtMs }) => ago(lastAtMs) },
    ],
    ({ operation }) => operation,
    'no service declares an api; ringwall policy import openapi FILE --service NAME takes one over',
  )
  const isPeople = format === 'table' || format === 'wide'
  if (isPeople && unknown.length > 0) {
    process.stderr.write(`${unknown.length} endpoints that are not declared: ringwall api ls --unknown\n`)
  }
}

function listUnknown(format: Format, unknown: readonly UnknownEndpoint[]): void {
  printList<UnknownEndpoint>(
    format,
    unknown,
    [
      { title: 'SERVICE', value: ({ service }) => service },
      { title: 'METHOD', value: ({ method }) => printable(method) },
      { title: 'PATH', value: ({ path }) => printable(path) },
      { title: 'REQUESTS', value: ({ requests }) => requests },
      { title: 'STATUS', value: ({ statuses }) => statuses.map(({ status, requests }) => `${status}×${requests}`).join(' ') },
      { title: 'FIRST', value: ({ firstAtMs }) => ago(firstAtMs), wide: true },
      { title: 'LAST', value: ({ lastAtMs }) => ago(lastAtMs) },
    ],
    ({ method, path }) => `${method} ${path}`,
    'nothing was asked that is not declared',
  )
}

/** Programs that get certificates from the node on their machine. */
import type { RingwallClient, WorkloadStanding } from '@ringwall/client'
import { printable, time } from '../format.ts'
import { type Format, printList } from '../output.ts'

export async function workloadList(client: RingwallClient, format: Format): Promise<void> {
  const { node, served, workloads } = await client.workloads()
  printList<WorkloadStanding>(
    format,
    workloads,
    [
      { title: 'SERVICE', value: ({ service }) => service },
      { title: 'PROCESSES', value: ({ programs }) => programs.map(({ pid, uid }) => `${pid} (user ${uid})`).join(' ') || '-' },
      { title: 'GOOD UNTIL', value: ({ expiresAtMs }) => (expiresAtMs === null ? '-' : time(expiresAtMs)) },
      { title: 'PROBLEM', value: ({ reason }) => (reason === null ? '-' : printable(reason)) },
      { title: 'ID', value: ({ spiffeId }) => spiffeId, wide: true },
    ],
    ({ service }) => service,
    served ? `the policy gives ${node} no workloads` : `${node} serves no Workload API: workloadApi in its node.yaml`,
  )
}

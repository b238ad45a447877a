/** Receipts: decisions that can be proven to somebody who was not there. */
import type { RingwallClient } from '@ringwall/client'
import { type Format, printOne, write } from '../output.ts'

interface Verdict {
  readonly decision: {
    readonly requestId: string
    readonly node: string
    readonly atMs: number
    readonly outcome: string
    readonly method: string
    readonly host: string
    readonly path: string
    readonly source: string
    readonly reason: string
    readonly rule?: string | undefined
    readonly provisional: boolean
    readonly height: number
  }
  readonly provenHeight: number
  readonly policyVersion: number
  readonly denial: string | undefined
  readonly signers: readonly string[]
}

export async function receiptExport(client: RingwallClient, requestId: string): Promise<void> {
  write(JSON.stringify(await client.receipt(requestId), undefined, 2))
}

function describe({ decision, provenHeight, policyVersion, denial, signers }: Verdict): string {
  const { method, host, path, source, outcome, reason, rule, node, atMs, provisional, height } = decision
  return [
    `good: nothing in it was changed`,
    `  decision   ${outcome}: ${reason}${rule === undefined ? '' : ` (${rule})`}`,
    `  request    ${method} ${host}${path} from ${source}, ${decision.requestId}`,
    `  signed by  ${node}, ${new Date(atMs).toISOString()}, at height ${height}${provisional ? ', ahead of consensus' : ''}`,
    `  policy     version ${policyVersion}`,
    ...(denial === undefined ? [] : [`  denial     ${denial}`]),
    `  state      after block ${provenHeight}, certified by ${signers.join(', ')}`,
  ].join('\n')
}

export function printVerdict(format: Format, verdict: Verdict): void {
  printOne(format, verdict, describe, verdict.decision.requestId)
}

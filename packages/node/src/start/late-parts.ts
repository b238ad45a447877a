/** Parts that come late in a node's start and that earlier ones speak to: until they are there, to nobody. */
import type { LedgerEvidence } from '@ringwall/ledger'
import type { ConductWatch } from '../conduct-watch.ts'
import type { SignalStreams } from '../people/signal-streams.ts'
import type { Traffic, TrafficWorkers } from '../traffic-workers.ts'
import type { WorkloadApi } from '../workloads/workload-api.ts'

export interface LateParts {
  /** Shows the ring who signed two contradicting statements. */
  showEvidence: ((evidence: LedgerEvidence) => void) | undefined
  conduct: ConductWatch | undefined
  signals: SignalStreams | undefined
  traffic: Traffic | undefined
  /** The same, when threads of their own take the traffic. */
  workers: TrafficWorkers | undefined
  workloads: WorkloadApi | undefined
}

export function noLateParts(): LateParts {
  return {
    showEvidence: undefined,
    conduct: undefined,
    signals: undefined,
    traffic: undefined,
    workers: undefined,
    workloads: undefined,
  }
}

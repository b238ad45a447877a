/** The policy's part about anomalies (`detectors.anomalies`): whether nodes learn what is usual, and what of the rest they say. */
import { z } from 'zod'
import type { PolicyFault } from './policy-faults.ts'
import { Duration } from './policy-values.ts'

const LEARN_MS_MIN = 3_600_000
const LEARN_MS_MAX = 30 * 86_400_000

export const AnomalySettings = z.strictObject({
  mode: z
    .enum(['observe', 'off'])
    .default('observe')
    .meta({ description: 'observe: findings only; nobody is denied for an anomaly.' }),
  deviations: z
    .number()
    .min(3)
    .max(50)
    .default(6)
    .meta({ description: 'Standard deviations above what is usual from which on a measure is out of it.' }),
  learn: Duration.default(86_400_000).meta({ description: 'How long is learned before anything is said: 1h to 30d.' }),
  perHour: z.int().min(1).max(1_000).default(6).meta({ description: 'Findings that a node makes of one service in an hour.' }),
})

export type AnomalyPolicy = z.output<typeof AnomalySettings>

interface WithAnomalies {
  readonly detectors: { readonly anomalies?: AnomalyPolicy | undefined }
}

/** What is in force; undefined: nobody looks. */
export function anomaliesOf({ detectors: { anomalies } }: WithAnomalies): AnomalyPolicy | undefined {
  return anomalies?.mode === 'observe' ? anomalies : undefined
}

export function anomalyFaults({ detectors: { anomalies } }: WithAnomalies): PolicyFault[] {
  if (anomalies === undefined || (anomalies.learn >= LEARN_MS_MIN && anomalies.learn <= LEARN_MS_MAX)) return []
  return [{ path: ['detectors', 'anomalies', 'learn'], message: 'it learns for 1h to 30d', hint: 'the default is 1d' }]
}

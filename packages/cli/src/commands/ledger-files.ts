/** The ledger as files, without a ring: verify, backup, restore. */
import { QuietFailure } from '../errors.ts'
import { type Format, printOne } from '../output.ts'

interface Report {
  readonly ok: boolean
  readonly ring: string
  readonly directory: string
  readonly height: number
  readonly digest: string
  readonly root: string
  readonly certificates: number
  readonly firstHeight: number
  readonly problems: readonly string[]
}

function describe({ ok, ring, directory, height, digest, root, certificates, firstHeight, problems }: Report): string {
  return [
    ok
      ? `${directory}: good; every hash, link, certificate and execution up to block ${height} was checked`
      : `${directory}: NOT good; it can be trusted up to block ${height}`,
    ...problems.map((line) => `  ${line}`),
    `  ring          ${ring}`,
    `  block         ${height} ${digest}`,
    `  state         ${root}`,
    `  certificates  ${certificates}`,
    ...(firstHeight > 1 ? [`  begins with   block ${firstHeight}; a certified snapshot stands for those before it`] : []),
  ].join('\n')
}

export function printReport(format: Format, report: Report): void {
  printOne(format, report, describe, report.digest)
  if (!report.ok) throw new QuietFailure()
}

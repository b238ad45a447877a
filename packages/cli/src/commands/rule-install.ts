/** Installs rule sets that are not ours. */
import { type CrsInstall, installCrs } from '@ringwall/node'
import { UsageError } from '../errors.ts'
import { printable } from '../format.ts'
import { type Format, printOne } from '../output.ts'

export async function ruleInstall(format: Format, what: string, install: CrsInstall): Promise<void> {
  if (what !== 'crs')
    throw new UsageError(`${what}: expected crs, the OWASP Core Rule Set; own rules are a folder: ringwall protect --rules DIR`)
  const installed = await installCrs(install)
  const { folder, signature, sha256, files, rules, kept } = installed
  printOne(
    format,
    installed,
    () =>
      kept
        ? `${printable(signature)} is in ${printable(folder)}: ${rules} rules in ${files} files, SHA-256 ${sha256}\nuse it on every node: rules: { crs: ${printable(folder)} } in node.yaml, rules: [crs] in the policy; or ringwall protect --rules ${printable(folder)}`
        : `${printable(signature)} is sound: ${rules} rules in ${files} files; nothing was installed`,
    folder,
  )
}

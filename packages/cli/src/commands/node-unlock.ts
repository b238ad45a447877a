/** Operators' recovery of disks: the key and its shares, and the part that each operator gives. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { UsageError } from '../errors.ts'

type Make = (operators: number, needed: number) => { readonly key: string; readonly shares: readonly string[] }
type Unlock = (configFile: string, share: string) => Promise<{ readonly node: string; readonly missing: number }>

export function recovery(
  make: Make,
  { operators, needed, directory }: { readonly operators: number; readonly needed: number; readonly directory: string },
): void {
  const { key, shares } = make(operators, needed)
  try {
    mkdirSync(directory, { mode: 0o700 })
  } catch (error) {
    throw new UsageError(`--directory ${directory}: expected a new folder (${(error as NodeJS.ErrnoException).code})`)
  }
  for (const [at, share] of shares.entries()) writeFileSync(join(directory, `share-${at + 1}`), `${share}\n`, { mode: 0o600 })
  process.stdout.write(`${key}\n`)
  process.stderr.write(
    `made ${operators} shares in ${directory}, of which ${needed} open a disk: hand each to one operator, and remove the folder.\nPut the key into the policy:\n  vault: { disks: true, recovery: KEY }\n`,
  )
}

export async function unlock(give: Unlock, config: string, file: string): Promise<void> {
  let share: string
  try {
    share = readFileSync(file === '-' ? 0 : file, 'utf8')
  } catch (error) {
    throw new UsageError(`--share ${file}: cannot be read (${(error as NodeJS.ErrnoException).code})`)
  }
  const { node, missing } = await give(config, share)
  process.stderr.write(
    missing === 0
      ? `the disk of ${node} is open\n`
      : `${node} waits for ${missing} more ${missing === 1 ? 'operator' : 'operators'}\n`,
  )
}

/**
 * Faults planted in a package or in the shell of a simulation, one at a time: its checkers have to find each. A checker that
 * never fires proves nothing.
 */
import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

interface Edit {
  readonly file: string
  readonly find: string
  readonly put: string
}

export interface SourceMutant {
  readonly name: string
  /** In `packages/`. */
  readonly package: string
  /** Of its `src`. Several, where one fault alone is caught by a second line. */
  readonly edits: readonly Edit[]
  /** A test of the package, for what a simulation cannot see since all parties share the fault. */
  readonly seenBy?: string
}

export interface ShellMutant<Mutation> {
  readonly name: string
  readonly mutation: Mutation
}

export interface Hunt<Mutation> {
  readonly inPackages: readonly SourceMutant[]
  readonly inTheShell: readonly ShellMutant<Mutation>[]
  /** Packages that are copied for a mutant, so that those of them that import each other meet. */
  readonly packages: readonly string[]
  /**
   * A module's text that runs seeds until one is violated, then writes `{ seed, violation }` as JSON. `sim` is the folder of the
   * simulation, `mutation` an expression.
   */
  script(sim: string, mutation: string): string
  /** Part of the names of the mutants that are wanted. */
  readonly only: string | undefined
}

interface Found {
  readonly seed: number
  readonly violation: string
}

const root = resolve(import.meta.dirname, '..')
const AT_ONCE = 2
const SHOWN = 90

export function one(name: string, home: string, file: string, find: string, put: string): SourceMutant {
  return { name, package: home, edits: [{ file, find, put }] }
}

/** A copy of what the simulation needs, with the package changed. */
function plant({ package: planted, edits }: SourceMutant, packages: readonly string[], home: string): void {
  rmSync(home, { recursive: true, force: true })
  mkdirSync(join(home, 'node_modules', '@ringwall'), { recursive: true })
  mkdirSync(join(home, 'packages'), { recursive: true })
  cpSync(join(root, 'sim'), join(home, 'sim'), { recursive: true })
  for (const name of packages) {
    cpSync(join(root, 'packages', name), join(home, 'packages', name), { recursive: true })
    symlinkSync(join('..', '..', 'packages', name), join(home, 'node_modules', '@ringwall', name))
  }
  for (const { file, find, put } of edits) {
    const path = join(home, 'packages', planted, 'src', file)
    const source = readFileSync(path, 'utf8')
    if (source.split(find).length !== 2)
      throw new Error(`${file} has not exactly one ${JSON.stringify(find)}: bring the list of mutants up to date`)
    writeFileSync(
      path,
      source.replace(find, () => put),
    )
  }
}

/** Runs seeds in a process of their own until one finds something. */
function hunt(home: string, name: string, script: string): Promise<Found | undefined> {
  return new Promise((settle, refuse) => {
    const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: home,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [out, errors] = ['', '']
    child.stdout.on('data', (chunk) => (out += String(chunk)))
    child.stderr.on('data', (chunk) => (errors += String(chunk)))
    child.on('exit', (code) => {
      if (out.trim() !== '') settle(JSON.parse(out) as Found)
      else if (code === 0) settle(undefined)
      else refuse(new Error(`${name}: the simulation did not run: ${errors.slice(0, 500)}`))
    })
  })
}

/** Runs a test of the package over the planted fault. */
function test(home: string, file: string): Promise<Found | undefined> {
  return new Promise((settle) => {
    const child = spawn(process.execPath, ['--test', file], { cwd: home, stdio: 'ignore' })
    child.on('exit', (code) => settle(code === 0 ? undefined : { seed: 0, violation: `${file.split('/').at(-1)} fails` }))
  })
}

/** Prints what became of each, and leaves an exit code: 0 when all die. */
export async function huntAll<Mutation>(options: Hunt<Mutation>): Promise<void> {
  const { inPackages, inTheShell, packages, script, only } = options
  const wanted = ({ name }: { readonly name: string }): boolean => only === undefined || name.includes(only)
  let survivors = 0
  const report = (name: string, found: Found | undefined): void => {
    if (found === undefined) survivors += 1
    const what = found === undefined ? '' : `seed ${found.seed}: ${found.violation.split('\n')[0]?.slice(0, SHOWN)}`
    process.stdout.write(`${found === undefined ? 'SURVIVES' : 'dies    '} ${name.padEnd(56)} ${what}\n`)
  }
  const jobs: (() => Promise<void>)[] = [
    ...inPackages.filter(wanted).map((mutant, i) => async () => {
      const home = join(root, '.cache', `mutant-${process.pid}-${i}`)
      try {
        plant(mutant, packages, home)
        const { name, seenBy } = mutant
        const file = seenBy === undefined ? undefined : join(home, 'packages', mutant.package, 'src', seenBy)
        report(name, file === undefined ? await hunt(home, name, script(join(home, 'sim'), '{}')) : await test(home, file))
      } finally {
        rmSync(home, { recursive: true, force: true })
      }
    }),
    ...inTheShell.filter(wanted).map(({ name, mutation }) => async () => {
      report(name, await hunt(root, name, script(join(root, 'sim'), JSON.stringify(mutation))))
    }),
  ]
  const total = jobs.length
  const work = async (): Promise<void> => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job()
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  process.stdout.write(`${total} mutants, ${survivors} survive\n`)
  process.exitCode = survivors === 0 ? 0 : 1
}

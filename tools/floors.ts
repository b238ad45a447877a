/**
 * Checks that no package imports upward or sideways against the floors of the house (docs/architecture.md), that the
 * pure packages touch nothing of Node, and that every package declares what it imports.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

export const FLOORS: Readonly<Record<string, number>> = {
  waf: 0,
  consensus: 0,
  threshold: 0,
  detect: 0,
  fabric: 0,
  store: 0,
  ring: 1,
  guard: 2,
  ledger: 2,
  proxy: 3,
  identity: 3,
  vault: 3,
  enroll: 3,
  respond: 3,
  telemetry: 3,
  node: 4,
  client: 4,
  cli: 5,
  console: 5,
}

const PURE = new Set(['waf', 'consensus', 'threshold', 'detect', 'ring', 'guard'])

const IMPORT = /(?:^|\s)(?:import|export)\s+(?:[^'"]*?\sfrom\s+)?['"]([^'"]+)['"]|import\(\s*['"]([^'"]+)['"]\s*\)/g

/** What a module imports, by the text of its import statements. */
export function importsOf(source: string): readonly string[] {
  return [...source.matchAll(IMPORT)].map((match) => (match[1] ?? match[2]) as string)
}

/**
 * What is wrong with one import, or undefined.
 *
 * @param from Package that imports. @param specifier As written. @param isTest Tests may reach Node and lower floors' doubles.
 */
export function judgeImport(from: string, specifier: string, isTest: boolean): string | undefined {
  const floor = FLOORS[from]
  if (floor === undefined) return `package ${from} stands on no floor; add it to tools/floors.ts and docs/architecture.md`
  if (specifier.startsWith('node:')) {
    return PURE.has(from) && !isTest ? `${from} is pure and may not import ${specifier}` : undefined
  }
  const name = /^@ringwall\/([a-z-]+)/.exec(specifier)?.[1]
  if (name === undefined || name === from) return undefined
  const target = FLOORS[name]
  if (target === undefined) return `${specifier} is no package of the house`
  if (target < floor) return undefined
  return `${from} (floor ${floor}) may not import ${specifier} (floor ${target}): declare an interface and let node pass it in`
}

function sourcesBelow(directory: string): readonly string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.(ts|tsx|mts|mjs)$/.test(name) && !/(^|\/)(node_modules|dist)\//.test(name))
    .map((name) => join(directory, name))
}

/** Every broken rule below `root`, a line each. */
export function checkFloors(root: string): readonly string[] {
  const problems: string[] = []
  for (const name of readdirSync(join(root, 'packages'))) {
    const home = join(root, 'packages', name)
    const manifest = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as {
      dependencies?: Record<string, string>
      devDependencies?: Record<string, string>
    }
    const declared = new Set([...Object.keys(manifest.dependencies ?? {}), ...Object.keys(manifest.devDependencies ?? {})])
    for (const file of sourcesBelow(join(home, 'src'))) {
      const isTest = /\.test\.tsx?$|\/dev\/|\/test-[\w-]+\.ts$/.test(file)
      for (const specifier of importsOf(readFileSync(file, 'utf8'))) {
        const at = relative(root, file)
        const wrong = judgeImport(name, specifier, isTest)
        if (wrong !== undefined) problems.push(`${at}: ${wrong}`)
        const target = resolve(file, '..', specifier)
        // What finds ports and reads options is the workspace's; programs that tests and people run use it.
        const isTool = (isTest || /-run\.ts$/.test(file)) && target.startsWith(`${join(root, 'tools')}/`)
        if (specifier.startsWith('.') && !target.startsWith(`${home}/`) && !isTool) {
          problems.push(`${at}: ${specifier} leaves the package; import it by name`)
        }
        if (!specifier.startsWith('.') && !specifier.startsWith('node:') && !isTest) {
          const wanted = /^(@[^/]+\/[^/]+|[^/]+)/.exec(specifier)?.[1] as string
          if (!declared.has(wanted) && wanted !== `@ringwall/${name}`)
            problems.push(`${at}: ${wanted} is not in ${name}/package.json`)
        }
      }
    }
  }
  return problems
}

if (import.meta.main) {
  const problems = checkFloors(resolve(import.meta.dirname, '..'))
  for (const line of problems) process.stderr.write(`${line}\n`)
  process.stdout.write(problems.length === 0 ? 'floors: every import points down\n' : `floors: ${problems.length} broken\n`)
  process.exitCode = problems.length === 0 ? 0 : 1
}

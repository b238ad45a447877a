/** The policy: show, plan, apply, schema. */
import { createInterface } from 'node:readline/promises'
import type { PolicyChange, PolicyPlan, PolicyProblem, RingwallClient } from '@ringwall/client'
import { readPolicyFile } from '@ringwall/node/policy-file'
import { PolicyFileInvalid, type PolicyText } from '@ringwall/ring'
import { QuietFailure, UsageError } from '../errors.ts'
import { duration, paint, printable } from '../format.ts'
import { type Format, printOne, write } from '../output.ts'
import { tellWaiting } from './waiting.ts'

const DEFAULT_FILE = 'ringwall.yaml'

export async function policyShow(client: RingwallClient, format: Format): Promise<void> {
  const policy = await client.policy()
  process.stderr.write(`version ${policy.version}\n`)
  printOne(format, policy, ({ text }) => text.trimEnd(), String(policy.version))
}

export async function policySchema(client: RingwallClient): Promise<void> {
  write(JSON.stringify(await client.policySchema(), undefined, 2))
}

function read(file: string): PolicyText {
  try {
    return readPolicyFile(file)
  } catch (error) {
    if (error instanceof PolicyFileInvalid) throw new UsageError(error.message)
    throw new UsageError(`${file}: the policy cannot be read; ringwall policy show > ${DEFAULT_FILE} writes the one in force`)
  }
}

/** As `refuseProblems`, each by the file that has it. */
function refuseText(policy: PolicyText, problems: readonly PolicyProblem[]): never {
  for (const problem of problems) {
    const { file, line, column } = policy.placeOf(problem)
    process.stderr.write(problemLine(file, { ...problem, line, column }))
  }
  throw new QuietFailure()
}

function problemLine(file: string, { line, column, message, hint }: PolicyProblem): string {
  return `${file}:${line}:${column}: ${printable(message)}${hint === null ? '' : ` (${printable(hint)})`}\n`
}

/** Prints what is wrong, a line each, and fails. */
export function refuseProblems(file: string, problems: readonly PolicyProblem[]): never {
  for (const problem of problems) process.stderr.write(problemLine(file, problem))
  throw new QuietFailure()
}

const SIGNS = { add: ['+', 'green'], remove: ['-', 'red'], change: ['~', 'yellow'] } as const

export function changeLine({ kind, path, before, after }: PolicyChange): string {
  const [sign, colour] = SIGNS[kind]
  const show = (value: unknown): string => printable(JSON.stringify(value))
  const what = kind === 'add' ? show(after) : kind === 'remove' ? show(before) : `${show(before)} → ${show(after)}`
  return `${paint(colour, sign)} ${path}: ${what}`
}

/** A service that no node serves is no mistake (labels may come later), but seldom meant. */
function servedLine({ service, select, nodes }: PolicyPlan['served'][number]): string {
  if (nodes.length === 0) return paint('yellow', `! ${service} is served by no node: none has the labels ${printable(select)}`)
  return `  ${service} is served by ${nodes.join(', ')} (${printable(select)})`
}

function describePlan(plan: PolicyPlan): string {
  if (plan.changes.length === 0) return `no changes: policy ${plan.version} says the same`
  return [
    ...plan.changes.map(changeLine),
    ...plan.served.map(servedLine),
    `${plan.changes.length} ${plan.changes.length === 1 ? 'change' : 'changes'} to policy ${plan.version}`,
  ].join('\n')
}

/** @param exitCode Fail when there are differences, for scripts. */
export async function policyPlan(client: RingwallClient, format: Format, file: string, exitCode: boolean): Promise<void> {
  const wanted = read(file)
  const plan = await client.policyPlan(wanted.text)
  if (!plan.valid) refuseText(wanted, plan.problems)
  printOne(format, plan, describePlan, String(plan.version))
  if (exitCode && plan.changes.length > 0) throw new QuietFailure()
}

/** Runs the policy's own tests, as validators do before they vote. Exit code 1 when one fails or the policy is not valid. */
export async function policyTest(client: RingwallClient, format: Format, file: string): Promise<void> {
  const wanted = read(file)
  const plan = await client.policyPlan(wanted.text)
  const { tests, costs } = plan
  if (format === 'table' || format === 'wide') {
    for (const { name, ok, expected, got } of tests) {
      const mark = ok ? paint('green', '✓') : paint('red', '✗')
      write(`${mark} ${printable(name)}${ok ? '' : `: expected ${printable(expected)}, got ${printable(got)}`}`)
    }
    if (format === 'wide' || costs.some(({ work, budget }) => work > budget)) {
      for (const { where, sample, work, budget } of costs) write(`  ${where}: ${sample} ${work} of ${budget} units of work`)
    }
    const passed = tests.filter(({ ok }) => ok).length
    process.stderr.write(tests.length === 0 ? 'the policy has no tests\n' : `${passed} of ${tests.length} tests pass\n`)
  } else printOne(format, { valid: plan.valid, tests, costs }, () => '', String(plan.version))
  if (!plan.valid) refuseText(wanted, plan.problems)
}

export async function policyApply(
  client: RingwallClient,
  file: string,
  options: { readonly yes: boolean; readonly dryRun: boolean; readonly against: number | undefined },
): Promise<void> {
  const wanted = read(file)
  const { text } = wanted
  const plan = await client.policyPlan(text)
  if (!plan.valid) refuseText(wanted, plan.problems)
  process.stderr.write(`${describePlan(plan)}\n`)
  if (options.against !== undefined && options.against !== plan.version) {
    process.stderr.write(`policy ${plan.version} is in force, not ${options.against}: plan again\n`)
    throw new QuietFailure()
  }
  if (plan.changes.length === 0) return
  if (options.dryRun) {
    await client.rehearse({ type: 'policy.set', policy: text, expectVersion: plan.version })
    return
  }
  await applyConfirmed(client, text, plan.version, options.yes)
}

/**
 * Applies it when people say so, and tells how it went.
 *
 * @param version In force, on which it builds.
 * @param done What was done, for the line that says so.
 * @throws {QuietFailure} When they say no.
 */
export async function applyConfirmed(
  client: RingwallClient,
  text: string,
  version: number,
  yes: boolean,
  done?: string,
): Promise<void> {
  if (!yes && !(await confirmed())) {
    process.stderr.write('nothing was changed\n')
    throw new QuietFailure()
  }
  const answer = await client.policyApply(text, version)
  if (!('height' in answer) || tellWaiting(answer)) return
  const before = done === undefined ? '' : `${done}; `
  process.stderr.write(`${before}policy ${version + 1} is agreed at height ${answer.height}, in ${duration(answer.elapsedMs)}\n`)
}

/** Asks on the terminal. @throws {UsageError} Where there is none. */
async function confirmed(): Promise<boolean> {
  if (process.stdin.isTTY !== true) throw new UsageError('not a terminal: say --yes to apply without being asked')
  const asker = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await asker.question('apply? [y/N] ')).trim())
  } finally {
    asker.close()
  }
}

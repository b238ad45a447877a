/** Exceptions: the narrowest one that a recorded request needs, as a change of the policy; and which there are. */
import { createHash } from 'node:crypto'
import type { ExceptionInPolicy, ExceptionProposal, ExceptionReplay, ExceptionScope, RingwallClient } from '@ringwall/client'
import { QuietFailure, UsageError } from '../errors.ts'
import { duration, paint, printable, time } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'
import { type Exception, withExceptions, withoutExceptions } from './exception-text.ts'
import { findingLines } from './findings.ts'
import { applyConfirmed, changeLine, refuseProblems } from './policy.ts'

const SHOWN_MAX = 10
/** As the ring allows; said here so that the mistake is found before anything is asked. */
const TTL_MS_MAX = 90 * 86_400_000

export interface ExceptOptions {
  readonly ttlMs: number
  readonly reason: string
  readonly owner: string
  readonly path: string | undefined
  readonly rule: number | undefined
  readonly yes: boolean
  readonly dryRun: boolean
}

export async function ruleExcept(
  client: RingwallClient,
  format: Format,
  requestId: string,
  options: ExceptOptions,
): Promise<void> {
  if (options.ttlMs < 1_000 || options.ttlMs > TTL_MS_MAX)
    throw new UsageError('--ttl: expected 1s to 90d; an exception can be renewed')
  if (options.reason.trim() === '') throw new UsageError('--reason: say why; whoever looks after the rule reads it')
  const { path, rule } = options
  const proposal = await client.exceptionPropose({
    requestId,
    ...(path === undefined ? {} : { path }),
    ...(rule === undefined ? {} : { rule }),
  })
  if (path !== undefined && !covers(path, proposal.path))
    throw new UsageError(`--path ${path}: does not cover ${proposal.path}, the path of the request`)
  refuseUseless(proposal, requestId)
  const scopes = proposal.exceptions.map(({ message: _, ...scope }) => scope)
  const until = momentIn(options.ttlMs)
  const exceptions = scopes.map((scope) => ({
    name: nameOf(scope),
    ...scope,
    owner: options.owner,
    reason: options.reason,
    until,
  }))
  const replay = await client.exceptionReplay({ exceptions: scopes })
  const { text, version } = await client.policy()
  const edited = withExceptions(text, exceptions)
  const plan = await client.policyPlan(edited)
  const others = replay.letThrough.filter((one) => one.requestId !== requestId)
  if (format === 'table' || format === 'wide') tell(proposal, exceptions, replay, others, format === 'wide')
  else
    printOne(
      format,
      { exceptions, passes: proposal.passes, replay, valid: plan.valid, changes: plan.changes },
      () => '',
      requestId,
    )
  if (!plan.valid) refuseProblems('the policy with this exception', plan.problems)
  if (options.dryRun) {
    for (const change of plan.changes) process.stderr.write(`${changeLine(change)}\n`)
    process.stderr.write('nothing was changed\n')
    return
  }
  await applyConfirmed(client, edited, version, options.yes, `excepted until ${until}`)
}

function covers(wanted: string, path: string): boolean {
  return wanted.endsWith('/*') ? path.startsWith(wanted.slice(0, -1)) : wanted === path
}

/** To the second: a short time must not become none, a long one not longer than is allowed. */
function momentIn(ttlMs: number): string {
  const seconds = (Date.now() + ttlMs) / 1_000
  const whole = ttlMs < 60_000 ? Math.ceil(seconds) : Math.floor(seconds)
  return `${new Date(whole * 1_000).toISOString().slice(0, 19)}Z`
}

function refuseUseless(proposal: ExceptionProposal, requestId: string): void {
  const bad = (line: string): never => {
    process.stderr.write(`${line}\n`)
    throw new QuietFailure()
  }
  if (!proposal.refused) bad(`the rules do not refuse ${requestId} by the policy in force: nothing to except`)
  if (proposal.exceptions.length === 0)
    bad(
      `what refuses ${requestId} (${proposal.remaining.join(', ') || 'no rule that is reported'}) looks at nothing of the request that can be excepted; see ringwall explain ${requestId}`,
    )
}

function nameOf({ rule, service, route, path, variable }: ExceptionScope): string {
  const key = JSON.stringify([rule, service, route ?? null, path ?? null, variable])
  return `exc-${rule}-${createHash('sha256').update(key).digest('hex').slice(0, 8)}`
}

function tell(
  proposal: ExceptionProposal,
  exceptions: readonly Exception[],
  replay: ExceptionReplay,
  others: ExceptionReplay['letThrough'],
  wide: boolean,
): void {
  const say = (line: string): void => void process.stderr.write(`${line}\n`)
  say(
    `${proposal.method} ${printable(proposal.path)} of ${scopeLabel(proposal.service ?? 'no service', proposal.route ?? undefined)}`,
  )
  for (const [at, exception] of exceptions.entries())
    say(
      `  ${paint('yellow', '+')} rule ${exception.rule} (${printable(proposal.exceptions[at]!.message)}) does not look at ${printable(exception.variable)} on ${printable(exception.path ?? 'any path')}, until ${exception.until}, by ${printable(exception.owner)}`,
    )
  if (!proposal.passes)
    say(
      paint(
        'yellow',
        `the request would still be refused: ${proposal.remaining.join(', ')} would match, on what these exceptions do not cover`,
      ),
    )
  if (!proposal.bodySeen)
    say(
      paint(
        'yellow',
        'it was refused before its body was read: rules may still object to that; ask again with the request that follows',
      ),
    )
  const missing = replay.silent.length === 0 ? '' : `; ${replay.silent.join(', ')} did not answer`
  const late = replay.left === 0 ? '' : `; ${replay.left} were not judged for lack of time`
  say(
    `of ${replay.held} recorded requests on ${replay.nodes.join(', ')}, ${replay.judged} are to this path; ${replay.refused} of these are refused now${missing}${late}`,
  )
  const passing = replay.passing - (replay.letThrough.length - others.length)
  if (passing === 0) {
    say('it would let through nothing else of them')
    return
  }
  const sources = new Set(others.map(({ source }) => source)).size
  say(paint('yellow', `it would also let through ${passing} of them, from ${sources} ${sources === 1 ? 'source' : 'sources'}:`))
  for (const { requestId, atMs, source, method, path, findings, node } of others.slice(0, wide ? others.length : SHOWN_MAX)) {
    say(`  ${time(atMs)}  ${node}  ${printable(source)}  ${method} ${printable(path)}  ${requestId}`)
    for (const finding of findings.slice(0, wide ? 8 : 1))
      for (const line of findingLines(finding).slice(wide ? 0 : 1, wide ? undefined : 2)) say(`  ${line}`)
  }
  if (!wide && passing > SHOWN_MAX) say(`  and ${passing - SHOWN_MAX} more: -o wide`)
}

function scopeLabel(service: string, route: string | undefined): string {
  return route === undefined ? service : `${service} ${route}`
}

export async function exceptionList(client: RingwallClient, format: Format): Promise<void> {
  const { exceptions } = await client.exceptions()
  const nowMs = Date.now()
  printList<ExceptionInPolicy>(
    format,
    exceptions,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'RULE', value: ({ rule }) => rule },
      { title: 'VARIABLE', value: ({ variable }) => printable(variable) },
      {
        title: 'WHERE',
        value: ({ service, route, path }) => printable(`${scopeLabel(service, route)}${path === undefined ? '' : ` ${path}`}`),
      },
      { title: 'LAPSES IN', value: ({ untilMs, lapsed }) => (lapsed ? paint('dim', 'lapsed') : duration(untilMs - nowMs)) },
      { title: 'OWNER', value: ({ owner }) => printable(owner) },
      { title: 'UNTIL', value: ({ until }) => until, wide: true },
      { title: 'REASON', value: ({ reason }) => printable(reason) },
    ],
    ({ name }) => name,
    'nothing is excepted from a rule',
  )
}

export interface ExceptionRemoval {
  /** All whose time is over. */
  readonly lapsed: boolean
  readonly yes: boolean
  readonly dryRun: boolean
}

export async function exceptionRemove(
  client: RingwallClient,
  names: readonly string[],
  options: ExceptionRemoval,
): Promise<void> {
  const { exceptions } = await client.exceptions()
  const unknown = names.filter((name) => !exceptions.some((held) => held.name === name))
  if (unknown.length > 0) throw new UsageError(`no exception is called ${unknown.join(', ')}; ringwall rule except ls lists them`)
  const out = exceptions.filter(({ name, lapsed }) => names.includes(name) || (options.lapsed && lapsed)).map(({ name }) => name)
  if (names.length === 0 && !options.lapsed) throw new UsageError('name the exceptions to remove, or say --lapsed')
  if (out.length === 0) {
    process.stderr.write('no exception has lapsed\n')
    return
  }
  const { text, version } = await client.policy()
  const edited = withoutExceptions(text, out)
  const plan = await client.policyPlan(edited)
  for (const change of plan.changes) process.stderr.write(`${changeLine(change)}\n`)
  if (!plan.valid) refuseProblems('the policy without it', plan.problems)
  if (options.dryRun) {
    process.stderr.write('nothing was changed\n')
    return
  }
  await applyConfirmed(client, edited, version, options.yes, `removed ${out.join(', ')}`)
}

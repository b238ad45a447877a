/** Playbooks: which there are, what one would do, runs of them, and what operators say about those. */
import { randomBytes } from 'node:crypto'
import type { PlaybookInputs, PlaybookRun, RingwallClient } from '@ringwall/client'
import { QuietFailure } from '../errors.ts'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'

export async function playbookList(client: RingwallClient, format: Format): Promise<void> {
  const { playbooks } = await client.playbooks()
  printList(
    format,
    playbooks,
    [
      { title: 'NAME', value: ({ name }) => name },
      { title: 'STEPS', value: ({ steps }) => steps.map(({ does }) => does).join(', ') },
      { title: 'STARTED BY', value: ({ detectors }) => (detectors.length === 0 ? 'hand' : detectors.join(', ')) },
      { title: 'NEEDS', value: ({ inputs }) => inputs.join(', ') },
      { title: 'OPEN', value: ({ open }) => open },
      { title: 'OVER', value: ({ over }) => over },
      { title: 'ABOUT', value: ({ about }) => printable(about), wide: true },
    ],
    ({ name }) => name,
    'the policy has no playbooks: docs/playbooks.md shows one',
  )
}

export async function playbookRuns(client: RingwallClient, format: Format, state: 'open' | 'over' | 'all'): Promise<void> {
  const { runs, more } = await client.playbookRuns({ state })
  if (more > 0) process.stderr.write(`${more} more are not shown\n`)
  printList<PlaybookRun>(
    format,
    runs,
    [
      { title: 'RUN', value: ({ id }) => id },
      { title: 'PLAYBOOK', value: ({ playbook }) => playbook },
      { title: 'STATUS', value: ({ status }) => status },
      { title: 'STEP', value: ({ at, steps, status }) => (status === 'running' ? (steps[at] ?? String(at)) : '') },
      { title: 'STARTED', value: ({ startedAtMs }) => `${duration(Date.now() - startedAtMs)} ago` },
      { title: 'ABOUT', value: ({ inputs }) => inputs.map(({ name, value }) => `${name} ${printable(value)}`).join(', ') },
      { title: 'BY', value: ({ by }) => by },
      { title: 'REASON', value: ({ reason }) => printable(reason), wide: true },
    ],
    ({ id }) => id,
    'there are no runs',
  )
}

export async function playbookShow(client: RingwallClient, format: Format, id: string): Promise<void> {
  printOne<PlaybookRun>(format, await client.playbookRun(id), textOf, id)
}

function textOf(run: PlaybookRun): string {
  const { id, playbook, status, at, steps, claim, approvedBy, outcomes, inputs, statedBy } = run
  const lines = [
    `${id}  ${playbook}  ${status}`,
    `started    ${time(run.startedAtMs)} by ${run.by}${statedBy.length > 1 ? `, said by ${statedBy.join(', ')}` : ''}`,
    `reason     ${printable(run.reason)}`,
    ...inputs.map(({ name, value }) => `${name.padEnd(11)}${printable(value)}`),
    ...(status === 'running' ? [`now        ${steps[at] ?? `step ${at}`}`] : []),
    ...(claim === null ? [] : [`done by    ${claim.node}, attempt ${claim.attempt}`]),
    ...(approvedBy.length === 0 ? [] : [`approved   ${approvedBy.join(', ')}`]),
    '',
    ...outcomes.map(
      ({ atMs, step, result, by, note }) =>
        `${time(atMs)}  ${steps[step] ?? `step ${step}`}  ${result}  ${by}: ${printable(note)}`,
    ),
  ]
  return `${lines.join('\n')}\n`
}

/** @param dryRun Says what each step would come to, and starts nothing. */
export async function playbookRun(
  client: RingwallClient,
  format: Format,
  name: string,
  inputs: Readonly<Record<string, string | undefined>>,
  { reason, key, dryRun }: { readonly reason: string; readonly key: string | undefined; readonly dryRun: boolean },
): Promise<void> {
  const plain = Object.fromEntries(Object.entries(inputs).filter(([, value]) => value !== undefined)) as PlaybookInputs
  const { steps } = await client.playbookRehearsal(name, plain)
  if (dryRun) {
    printList(
      format,
      steps,
      [
        { title: 'STEP', value: ({ step }) => step },
        { title: 'DOES', value: ({ does }) => printable(does) },
        { title: 'FAILS', value: ({ fault }) => (fault === null ? '' : printable(fault)) },
      ],
      ({ step }) => step,
      'it has no steps',
    )
    if (steps.some(({ fault }) => fault !== null)) throw new QuietFailure('a step would fail')
    return
  }
  const id = await client.playbookStart(name, key ?? randomBytes(8).toString('hex'), plain, reason)
  process.stderr.write(`${name} is started\n`)
  process.stdout.write(`${id}\n`)
}

export async function playbookSay(
  client: RingwallClient,
  what: 'approve' | 'cancel' | 'undo',
  id: string,
  reason: string,
): Promise<void> {
  const { id: run, playbook } = await client.playbookRun(id)
  await client.playbookSay(what, run, reason)
  const after = await client.playbookRun(run)
  process.stderr.write(`${playbook} ${run}: ${after.status}\n`)
  const kept = after.outcomes.filter(({ result }) => result === 'kept')
  if (what === 'undo') for (const { note } of kept) process.stderr.write(`not undone: ${printable(note)}\n`)
}

export async function playbookEvidence(client: RingwallClient, id: string): Promise<void> {
  process.stdout.write(`${JSON.stringify(await client.playbookEvidence(id), undefined, 2)}\n`)
}

export async function notifyList(client: RingwallClient, format: Format): Promise<void> {
  const { channels } = await client.notifyChannels()
  printList(
    format,
    channels,
    [
      { title: 'CHANNEL', value: ({ name }) => name },
      { title: 'KIND', value: ({ kind }) => kind },
      { title: 'TOLD', value: ({ told }) => told },
      { title: 'LOST', value: ({ lost }) => lost },
      { title: 'PROBLEM', value: ({ problem }) => printable(problem ?? '') },
    ],
    ({ name }) => name,
    'this node has no channels: notify in node.yaml',
  )
}

export async function notifyTest(client: RingwallClient, name: string): Promise<void> {
  await client.notifyTest(name)
  process.stderr.write(`${name} was told\n`)
}

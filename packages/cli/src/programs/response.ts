/** The verbs of what happens and what is done about it: playbooks, notifications, incidents; what nodes take in, and what they keep. */
import { type Command, Option } from 'commander'
import { FORMATS, type Format, parseFormat } from '../output.ts'
import { dryRun, reason, watch, withRing } from './options.ts'

export function addResponse(program: Command): void {
  const playbook = program
    .command('playbook')
    .description('what is done, step by step: ls, runs, show, test, run, approve, cancel, undo')
  withRing(
    playbook.command('ls').description('those of the policy').addOption(watch()),
    () => async (client, format) => (await import('../commands/playbook.ts')).playbookList(client, format),
  )
  withRing(
    playbook
      .command('runs')
      .description('runs, the latest first')
      .addOption(new Option('--state <state>', 'which').choices(['open', 'over', 'all']).default('all'))
      .addOption(watch()),
    (_args, { state }) =>
      async (client, format) =>
        (await import('../commands/playbook.ts')).playbookRuns(client, format, state as 'open' | 'over' | 'all'),
  )
  withRing(
    playbook.command('show').argument('<run>').description('a run, and what came of its steps').addOption(watch()),
    ([id], _options) =>
      async (client, format) =>
        (await import('../commands/playbook.ts')).playbookShow(client, format, id as string),
  )
  withRing(
    playbook.command('evidence').argument('<run>').description('what its evidence step kept, from the node that did it'),
    ([id], _options) =>
      async (client) =>
        (await import('../commands/playbook.ts')).playbookEvidence(client, id as string),
  )
  for (const what of ['run', 'test'] as const) {
    const command = playbook
      .command(what)
      .argument('<playbook>')
      .description(what === 'run' ? 'start it' : 'say what each step would come to, and start nothing')
      .option('--source <address>', 'an address or a prefix')
      .option('--service <name>', 'of the account')
      .option('--account <hash>', 'as findings name it')
      .option('--person <name>', 'whose sessions end')
    if (what === 'run')
      command
        .option('--key <text>', 'of one key there is one run: whoever says it again starts nothing')
        .addOption(reason())
        .addOption(dryRun())
    withRing(command, ([name], { source, service, account, person, reason: why, key, dryRun: isDry }) => {
      const inputs = { source, service, account, person } as Readonly<Record<string, string | undefined>>
      const how = {
        reason: (why as string | undefined) ?? '',
        key: key as string | undefined,
        dryRun: what === 'test' || isDry === true,
      }
      return async (client, format) =>
        (await import('../commands/playbook.ts')).playbookRun(client, format, name as string, inputs, how)
    })
  }
  for (const [what, about] of [
    ['approve', 'say yes where a run waits for operators'],
    ['cancel', 'end a run; what it did stays'],
    ['undo', 'take back what can be taken back'],
  ] as const)
    withRing(
      playbook.command(what).argument('<run>').description(about).addOption(reason()),
      ([id], options) =>
        async (client) =>
          (await import('../commands/playbook.ts')).playbookSay(client, what, id as string, options.reason as string),
    )

  const notify = program.command('notify').description('where a node tells what happens: ls, test')
  withRing(
    notify.command('ls').description('its channels, and how each did').addOption(watch()),
    () => async (client, format) => (await import('../commands/playbook.ts')).notifyList(client, format),
  )
  withRing(
    notify.command('test').argument('<channel>').description('have the node tell it something now'),
    ([name], _options) =>
      async (client) =>
        (await import('../commands/playbook.ts')).notifyTest(client, name as string),
  )

  const incident = program
    .command('incident')
    .description('findings of all nodes that belong together: ls, show, assign, close, export, verify, report')
  withRing(
    incident
      .command('ls')
      .description('open ones, the latest first')
      .addOption(new Option('--state <state>', 'which').choices(['open', 'closed', 'all']).default('open'))
      .addOption(watch()),
    (_args, { state }) =>
      async (client, format) =>
        (await import('../commands/incident.ts')).incidentList(client, format, state as 'open' | 'closed' | 'all'),
  )
  withRing(
    incident.command('show').argument('<id>').description('one of them with its timeline'),
    ([id], _options) =>
      async (client, format) =>
        (await import('../commands/incident.ts')).incidentShow(client, format, id as string),
  )
  withRing(
    incident
      .command('assign')
      .argument('<id>')
      .description('who works on it from now on: you, unless another is named')
      .option('--to <operator>', 'an operator of the ring')
      .addOption(new Option('--nobody', 'nobody works on it any more').conflicts('to'))
      .option('--note <text>', 'for others', ''),
    ([id], { to, nobody, note }) =>
      async (client) =>
        (await import('../commands/incident.ts')).incidentAssign(
          client,
          id as string,
          nobody === true ? null : (to as string | undefined),
          note as string,
        ),
  )
  withRing(
    incident
      .command('close')
      .argument('<id>')
      .description('it is done with, until something more is found')
      .addOption(new Option('--reason <text>', 'why, for others').default('by hand')),
    ([id], options) =>
      async (client) =>
        (await import('../commands/incident.ts')).incidentClose(client, id as string, options.reason as string),
  )
  withRing(
    incident
      .command('export')
      .argument('<id>')
      .description('one of them as JSON, signed, with receipts and the denials of its sources'),
    ([id], _options) =>
      async (client) =>
        (await import('../commands/incident.ts')).incidentExport(client, id as string),
  )
  incident
    .command('verify')
    .argument('<file>', 'what export wrote')
    .description('check what was exported without a ring, a network or a key')
    .requiredOption('--genesis <file>', 'the ring’s genesis document')
    .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
    .action(async (file: string, { genesis, output }: { genesis: string; output: Format }) => {
      const [{ verifyEvidenceFile }, { printEvidence }] = await Promise.all([
        import('@ringwall/node'),
        import('../commands/incident.ts'),
      ])
      printEvidence(output, verifyEvidenceFile(file, genesis))
    })
  incident
    .command('report')
    .argument('<file>', 'what export wrote')
    .description('an HTML page of what was exported, once it verifies, to read, send and print')
    .requiredOption('--genesis <file>', 'the ring’s genesis document')
    .action(async (file: string, { genesis }: { genesis: string }) => {
      const [{ verifyEvidenceFile }, { incidentReport }, { write }] = await Promise.all([
        import('@ringwall/node'),
        import('../commands/incident-report.ts'),
        import('../output.ts'),
      ])
      write(incidentReport(verifyEvidenceFile(file, genesis)))
    })

  withRing(
    program
      .command('feed')
      .description('decisions of others that a node takes in: ls')
      .command('ls')
      .description('how each feed of the node stands')
      .addOption(watch()),
    () => async (client, format) => (await import('../commands/feed.ts')).feedList(client, format),
  )

  withRing(
    program
      .command('cache')
      .description('answers that nodes keep: purge')
      .command('purge')
      .argument('<service>')
      .argument('[path]', 'with all below it, percent-encoded as in requests', '/')
      .description('have all nodes forget what they keep of a service')
      .addOption(reason())
      .addOption(dryRun()),
    ([service, path], options) =>
      async (client) =>
        (await import('../commands/cache.ts')).cachePurge(
          client,
          { service: service as string, path: path as string, reason: options.reason as string },
          options.dryRun === true,
        ),
  )

  withRing(
    program
      .command('indicator')
      .description('addresses that others call bad, as a node loaded them: ls')
      .command('ls')
      .description('sets, how many each holds, and what was left out')
      .addOption(watch()),
    () => async (client, format) => (await import('../commands/feed.ts')).indicatorList(client, format),
  )
}

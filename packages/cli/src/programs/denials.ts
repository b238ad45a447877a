/** The verbs of denials, and of bouncers that enforce them elsewhere. */
import { type Command, Option } from 'commander'
import { changing, dryRun, reason, revocation, watch, withRing } from './options.ts'

export function addDenials(program: Command): void {
  const deny = program.command('deny').description('denials: add, import, rm, ls, export')
  withRing(
    deny
      .command('add')
      .argument('<kind>', 'ip, cidr, token, subject, session, device, key, issuer, issued-before, account')
      .argument('<value>', 'of issued-before now or a time; of key a thumbprint, or with --issuer a key id')
      .description('deny everywhere, at once')
      .addOption(new Option('--ttl <duration>', 'for how long').default('1h'))
      .option('--service <name>', 'of an account')
      .option('--issuer <issuer>', 'of tokens: of this issuer alone')
      .option('--subject <sub>', 'of issued-before: whose tokens')
      .addOption(reason())
      .addOption(dryRun()),
    ([kind, value], options) =>
      async (client) => {
        const { denyAdd } = await import('../commands/deny.ts')
        await denyAdd(client, kind as string, value as string, {
          ...revocation(options),
          service: options.service as string | undefined,
          subject: options.subject as string | undefined,
        })
      },
  )
  withRing(
    deny
      .command('import')
      .argument('<file>', 'addresses and networks, one a line; - for standard input')
      .description('deny all sources of a file, signed together')
      .addOption(new Option('--ttl <duration>', 'for how long').default('1h'))
      .addOption(reason())
      .addOption(dryRun()),
    ([file], options) =>
      async (client) => {
        const { denyImport } = await import('../commands/deny.ts')
        if (!(await denyImport(client, file as string, revocation(options)))) process.exitCode = 1
      },
  )
  withRing(
    deny
      .command('rm')
      .alias('remove')
      .argument('<id|value>')
      .description('lift a denial')
      .addOption(reason())
      .addOption(dryRun()),
    ([target], options) =>
      async (client) =>
        (await import('../commands/deny.ts')).denyRemove(
          client,
          target as string,
          options.reason as string,
          options.dryRun === true,
        ),
  )
  withRing(
    deny
      .command('ls')
      .description('what is denied')
      .option('--pending', 'what nodes say and not enough of them yet')
      .addOption(watch()),
    (_args, options) => async (client, format) => {
      const { denyList, denyPending } = await import('../commands/deny.ts')
      return (options.pending === true ? denyPending : denyList)(client, format)
    },
  )

  withRing(
    deny
      .command('export')
      .description('denied addresses for the kernel to drop: a script for nft -f')
      .addOption(new Option('--format <format>', 'of what').choices(['nftables']).default('nftables'))
      .option('--ports <list>', 'TCP ports of the traffic, or all for whatever these sources send', '80,443'),
    (_args, options) => async (client) => (await import('../commands/deny.ts')).denyExport(client, options.ports as string),
  )

  const bouncer = program
    .command('bouncer')
    .description('programs elsewhere that enforce denials (CrowdSec bouncers): add, ls, rm')
  withRing(
    changing(bouncer.command('add').argument('<name>').description('let a bouncer ask for denials: prints its key, once')),
    ([name], { yes, dryRun: dry }) =>
      async (client) =>
        (await import('../commands/bouncer.ts')).bouncerAdd(client, name as string, { yes: yes === true, dryRun: dry === true }),
  )
  withRing(
    changing(bouncer.command('rm').alias('remove').argument('<name>').description('take its key back')),
    ([name], { yes, dryRun: dry }) =>
      async (client) =>
        (await import('../commands/bouncer.ts')).bouncerRemove(client, name as string, {
          yes: yes === true,
          dryRun: dry === true,
        }),
  )
  withRing(
    bouncer.command('ls').description('all of them, and when each last asked').addOption(watch()),
    () => async (client, format) => (await import('../commands/bouncer.ts')).bouncerList(client, format),
  )

  const taxii = program.command('taxii').description('clients of the TAXII 2.1 servers: add, ls, rm')
  const names = (text: string): readonly string[] => text.split(',').filter((name) => name !== '')
  withRing(
    changing(
      taxii
        .command('add')
        .argument('<name>')
        .description('let a client ask: prints its key, once')
        .option('--read <collections>', 'names, separated by commas; all unless given', names)
        .option('--write <inboxes>', 'likewise; none unless given', names),
    ),
    ([name], { yes, dryRun: dry, read, write }) =>
      async (client) =>
        (await import('../commands/taxii.ts')).taxiiAdd(client, name as string, {
          yes: yes === true,
          dryRun: dry === true,
          read: read as readonly string[] | undefined,
          write: (write as readonly string[] | undefined) ?? [],
        }),
  )
  withRing(
    changing(taxii.command('rm').alias('remove').argument('<name>').description('take its key back')),
    ([name], { yes, dryRun: dry }) =>
      async (client) =>
        (await import('../commands/taxii.ts')).taxiiRemove(client, name as string, { yes: yes === true, dryRun: dry === true }),
  )
  withRing(
    taxii.command('ls').description('all of them, with what they may').addOption(watch()),
    () => async (client, format) => (await import('../commands/taxii.ts')).taxiiList(client, format),
  )
}

/** The verbs of people who log in. */
import { type Command, Option } from 'commander'
import { parseTtl } from '../format.ts'
import { collect, dryRun, reason, watch, withRing } from './options.ts'

export function addPeople(program: Command): void {
  const person = program.command('person').description('people who log in: add, ls, show, rm, reset')
  const inviting = (command: Command): Command =>
    command
      .option('--invite [url]', 'print a link, good once, by which they choose how to log in; of where they will: https://HOST')
      .addOption(new Option('--ttl <duration>', 'how long the link is good').default('24h'))
      .addOption(reason())
      .addOption(dryRun())
  const invite = (options: Record<string, unknown>) => ({
    invite: options.invite as string | true | undefined,
    ttlMs: parseTtl(String(options.ttl ?? '24h')),
    reason: options.reason as string,
    dryRun: options.dryRun === true,
  })
  withRing(
    inviting(
      person
        .command('add')
        .argument('<name>')
        .description('add somebody, or give somebody other groups, or another invitation')
        .option('--group <name>', 'that they are in; repeatable', collect, []),
    ),
    ([name], options) =>
      async (client, format) => {
        const { personAdd } = await import('../commands/people.ts')
        await personAdd(client, format, name as string, { ...invite(options), groups: options.group as readonly string[] })
      },
  )
  withRing(
    person.command('ls').description('everybody, and how they log in').addOption(watch()),
    () => async (client, format) => (await import('../commands/people.ts')).personList(client, format),
  )
  withRing(
    person.command('show').argument('<name>').description('one person'),
    ([name]) =>
      async (client, format) =>
        (await import('../commands/people.ts')).personShow(client, format, name as string),
  )
  withRing(
    inviting(
      person.command('reset').argument('<name>').description('forget how somebody logs in, and end their sessions everywhere'),
    ),
    ([name], options) =>
      async (client, format) =>
        (await import('../commands/people.ts')).personReset(client, format, name as string, invite(options)),
  )
  withRing(
    person
      .command('rm')
      .argument('<name>')
      .description('remove somebody, and end their sessions everywhere')
      .addOption(reason())
      .addOption(dryRun()),
    ([name], options) =>
      async (client, format) =>
        (await import('../commands/people.ts')).personRemove(client, format, name as string, invite(options)),
  )
}

/** The verbs of sessions and identities, and of who may do what. */
import { type Command, Option } from 'commander'
import { parseTtl } from '../format.ts'
import { collect, dryRun, nodesToAsk, reason, revocation, withRing } from './options.ts'

export function addIdentity(program: Command): void {
  const revoking = (command: Command): Command =>
    command
      .addOption(new Option('--ttl <duration>', 'for how long: longer than its tokens live').default('24h'))
      .option('--issuer <issuer>', 'of this issuer alone')
      .addOption(reason())
      .addOption(dryRun())
  withRing(
    revoking(
      program
        .command('session')
        .description('sessions that tokens belong to: revoke')
        .command('revoke')
        .argument('<sid>', 'as in the claim sid')
        .description('end a session everywhere, open connections too'),
    ),
    ([sid], options) =>
      async (client) =>
        (await import('../commands/deny.ts')).denyAdd(client, 'session', sid as string, revocation(options)),
  )
  const identity = program
    .command('identity')
    .description('who tokens are about, and certificates (X.509-SVIDs) of services: revoke, mint, keep, token')
  withRing(
    revoking(
      identity
        .command('revoke')
        .argument('<sub>', 'as in the claim sub')
        .option('--issued-before <time>', 'only what was issued before: now, or a time; who signs in again gets in')
        .description('end everything of a subject everywhere, open connections too'),
    ),
    ([sub], options) =>
      async (client) => {
        const { denyAdd } = await import('../commands/deny.ts')
        const { issuedBefore } = options as { readonly issuedBefore?: string }
        if (issuedBefore === undefined) await denyAdd(client, 'subject', sub as string, revocation(options))
        else await denyAdd(client, 'issued-before', issuedBefore, { ...revocation(options), subject: sub as string })
      },
  )

  withRing(
    program
      .command('can')
      .argument('<principal>', 'SUBJECT, ISSUER#SUBJECT, service/NAME, node/NAME, a SPIFFE id, or anonymous')
      .argument('<action>', 'a method in capitals, or the action that a route names')
      .argument('<resource>', 'SERVICE, SERVICE/PATH, or a URL')
      .description('whether somebody may do something, as a request would be told')
      .option('--explain', 'who, what, by which policy, at which height, on which node', false)
      .option('--claim <name=value>', 'what the token says; a value may be JSON; repeatable', collect, [])
      .option('--group <name>', 'in its claim groups; repeatable', collect, [])
      .option('--role <name>', 'in its claim roles; repeatable', collect, [])
      .option('--caller <service>', 'the service that asks on their behalf: service/NAME, node/NAME or a SPIFFE id')
      .option('--source <address>', 'where the request comes from'),
    ([principal, action, resource], options) =>
      async (client, format) => {
        const { can } = await import('../commands/can.ts')
        await can(client, format, principal as string, action as string, resource as string, {
          explain: options.explain === true,
          claims: options.claim as string[],
          groups: options.group as string[],
          roles: options.role as string[],
          source: options.source as string | undefined,
          caller: options.caller as string | undefined,
        })
      },
  )

  withRing(
    identity
      .command('mint')
      .argument('<service>')
      .description('a key and a certificate of a service')
      .option('--ttl <duration>', 'for how long, a day at most', '1h')
      .option('--directory <dir>', 'where its files go (default: ./SERVICE)'),
    ([name], options) =>
      async (client) =>
        (await import('../commands/identity.ts')).identityMint(client, name as string, {
          directory: (options.directory as string | undefined) ?? (name as string),
          ttlMs: parseTtl(options.ttl as string),
        }),
  )
  identity
    .command('keep')
    .argument('<directory>', 'as ringwall identity mint wrote it')
    .description('renew a service’s certificate at half of its life, as the service; needs no operator')
    .addOption(nodesToAsk())
    .option('--once', 'now, and end')
    .action(async (directory: string, { node: nodes, once }: { node: string[]; once?: true }) =>
      (await import('../commands/identity.ts')).identityKeep(directory, nodes, once === true),
    )
  identity
    .command('token')
    .argument('<directory>', 'as ringwall identity mint wrote it')
    .description('a token of the service itself, for one audience; needs no operator')
    .requiredOption('--audience <name>', 'the service that is to take it')
    .option('--ttl <duration>', 'for how long, an hour at most', '5m')
    .addOption(nodesToAsk())
    .action(async (directory: string, { node: nodes, audience, ttl }: { node: string[]; audience: string; ttl: string }) =>
      (await import('../commands/identity.ts')).identityToken(directory, nodes, { audience, ttlMs: parseTtl(ttl) }),
    )

  const xacml = program.command('xacml').description('XACML 3.0 policies, without a ring: check, evaluate, functions')
  const others = (): Option =>
    new Option('--with <file>', 'policies that it refers to; repeatable')
      .default([])
      .argParser((file: string, files: string[]) => [...files, file])
  xacml
    .command('check')
    .argument('<policy>', 'a Policy or PolicySet')
    .description('whether it is taken, and what is wrong with it, by line and column')
    .addOption(others())
    .action(async (file: string, given: { with: string[] }) =>
      (await import('../commands/xacml.ts')).xacmlCheck(file, given.with),
    )
  xacml
    .command('evaluate')
    .argument('<policy>', 'a Policy or PolicySet')
    .argument('<request>', 'a Request, in XML or JSON; - reads it from standard input')
    .description('what the policy says to a request: a Response, in XML or JSON')
    .addOption(others())
    .action(async (file: string, request: string, given: { with: string[] }) =>
      (await import('../commands/xacml.ts')).xacmlEvaluate(file, request, given.with),
    )
  xacml
    .command('functions')
    .description('the functions that policies may use')
    .action(async () => (await import('../commands/xacml.ts')).xacmlFunctions())
}

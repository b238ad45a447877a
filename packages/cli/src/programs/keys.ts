/** The verbs of approvals, programs with certificates, the ring’s keys and the tokens that it signs. */
import type { Command } from 'commander'
import { parseTtl } from '../format.ts'
import { collect, dryRun, reason, watch, withRing } from './options.ts'

export function addKeys(program: Command): void {
  const approve = withRing(
    program
      .command('approve')
      .argument('<id>', 'as ls shows it, or its beginning')
      .description('approve what another operator proposed; or ls')
      .addOption(reason())
      .addOption(dryRun()),
    ([id], options) =>
      async (client) =>
        (await import('../commands/approve.ts')).approve(client, id as string, options.reason as string, options.dryRun === true),
  )
  withRing(
    approve.command('ls').description('what waits for operators').addOption(watch()),
    () => async (client, format) => (await import('../commands/approve.ts')).approvalList(client, format),
  )

  const workload = program.command('workload').description('programs that get certificates from the node on their machine: ls')
  withRing(
    workload.command('ls').description('of the node that answers; --node asks another').addOption(watch()),
    () => async (client, format) => (await import('../commands/workloads.ts')).workloadList(client, format),
  )

  const key = program
    .command('key')
    .description('the keys that the validators hold together: ls, show, refresh, rotate; saml, a node’s own')
  withRing(
    key.command('ls').description('how they stand').addOption(watch()),
    () => async (client, format) => (await import('../commands/keys.ts')).keyList(client, format),
  )
  withRing(
    key.command('show').argument('[name]', 'signing or sealing; both without').description('who holds it, since when, who lied'),
    ([name]) =>
      async (client, format) =>
        (await import('../commands/keys.ts')).keyShow(client, format, name),
  )
  withRing(
    key.command('saml').description('what the policy needs under saml.keys, of the node that answers; --node asks another'),
    () => async (client, format) => (await import('../commands/keys.ts')).keySaml(client, format),
  )
  for (const [verb, what] of [
    ['refresh', 'new shares of the same key: those stolen before are worth nothing'],
    ['rotate', 'another key; what a former signing key signed verifies for another hour'],
  ] as const) {
    withRing(
      key
        .command(verb)
        .argument('[name]', 'signing or sealing', 'signing')
        .description(what)
        .addOption(reason())
        .addOption(dryRun()),
      ([name], options) =>
        async (client) =>
          (await import('../commands/keys.ts')).keyChange(
            client,
            verb,
            name as string,
            options.reason as string,
            options.dryRun === true,
          ),
    )
  }

  const token = program.command('token').description('tokens that the ring signs: mint, show, revoke')
  withRing(
    token
      .command('mint')
      .description('a token of a service, for one audience')
      .requiredOption('--service <name>', 'whose it is')
      .requiredOption('--audience <name>', 'the service that is to take it')
      .option('--ttl <duration>', 'for how long, an hour at most', '5m')
      .option('--claim <name=value>', 'one more claim; may be given again', collect, [] as string[])
      .option('--dpop-key <thumbprint>', 'bind it to a key (RFC 7638, SHA-256): each request then needs a proof by it')
      .option('--bound-certificate <file>', 'bind it to a client certificate (PEM)'),
    (_args, options) => async (client, format) =>
      (await import('../commands/tokens.ts')).tokenMint(client, format, {
        key: options.dpopKey as string | undefined,
        certificate: options.boundCertificate as string | undefined,
        service: options.service as string,
        audience: options.audience as string,
        ttlMs: parseTtl(options.ttl as string),
        claims: options.claim as string[],
      }),
  )
  withRing(
    token.command('show').argument('<token>').description('whether a token is good now, and what it says'),
    ([text]) =>
      async (client, format) =>
        (await import('../commands/tokens.ts')).tokenShow(client, format, text as string),
  )
  withRing(
    token
      .command('revoke')
      .argument('<token|id>')
      .description('refuse a token everywhere, at once')
      .addOption(reason())
      .addOption(dryRun()),
    ([text], options) =>
      async (client) =>
        (await import('../commands/tokens.ts')).tokenRevoke(
          client,
          text as string,
          options.reason as string,
          options.dryRun === true,
        ),
  )
}

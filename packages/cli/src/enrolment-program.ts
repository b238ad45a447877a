/** The verbs of those who join: invitations. */
import type { RingwallClient } from '@ringwall/client'
import type { Command, Option } from 'commander'
import { parseTtl } from './format.ts'
import type { Format } from './output.ts'

/** What the program gives to all verbs. */
export interface Verbs {
  withRing(
    command: Command,
    run: (args: readonly string[], options: Record<string, unknown>) => (client: RingwallClient, format: Format) => Promise<void>,
  ): Command
  reason(): Option
  dryRun(): Option
}

export function addJoining(node: Command, { withRing, reason, dryRun }: Verbs): void {
  const invite = node.command('invite').description('print a line that lets one node join, once; or ls')
  withRing(
    invite
      .option('--region <name>', 'the only one that it may stand in')
      .option('--roles <roles>', 'what it may be: validator, edge, or both with a comma', 'edge')
      .option('--ttl <duration>', 'how long the line is good: 10s to 24h', '10m')
      .addOption(reason())
      .addOption(dryRun()),
    (_, options) => async (client) => {
      const { nodeInvite } = await import('./commands/invite.ts')
      await nodeInvite(client, {
        region: (options.region as string | undefined) ?? null,
        roles: options.roles as string,
        ttlMs: parseTtl(options.ttl as string),
        reason: options.reason as string,
        dryRun: options.dryRun === true,
      })
    },
  )
  withRing(
    invite.command('ls').description('invitations of the last hour'),
    () => async (client, format) => (await import('./commands/invite.ts')).inviteList(client, format),
  )
  node
    .command('join')
    .argument('<line>', 'as ringwall node invite printed it; - reads it from standard input')
    .description('make this machine a node of the ring that the invitation is to, and run it')
    .option('--id <id>', 'its name (default: n- and eight random digits)')
    .option('--region <name>', 'where it stands, if the invitation leaves it open')
    .option('--roles <roles>', 'less than the invitation allows')
    .option('--directory <dir>', 'where its files go (default: ./ID)')
    .option('--fabric <host:port>', 'where the other nodes reach it (default: the address that it reaches them from, port 7081)')
    .option('--traffic <host:port>', 'where it takes traffic', '0.0.0.0:8080')
    .option('--admin <host:port>', 'its admin API and console', '127.0.0.1:9080')
    .action(async (line: string, given: Record<string, string | undefined>) => {
      const { runJoin } = await import('@ringwall/node')
      const { parseRoles } = await import('./commands/invite.ts')
      const { readFileSync } = await import('node:fs')
      process.exitCode = await runJoin(line === '-' ? readFileSync(0, 'utf8') : line, {
        id: given.id,
        region: given.region,
        roles: given.roles === undefined ? undefined : parseRoles(given.roles),
        directory: given.directory,
        fabric: given.fabric,
        traffic: given.traffic as string,
        admin: given.admin as string,
      })
    })
}

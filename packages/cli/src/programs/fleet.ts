/** The verbs of the fleet: labels, holds, updates. */
import type { Command } from 'commander'
import { parseTtl } from '../format.ts'
import { dryRun, reason, watch, withRing } from './options.ts'

export function addFleet(program: Command): void {
  const fleet = program.command('fleet').description('nodes by their labels, and how far updates are: ls, status, resume')
  withRing(
    fleet
      .command('ls')
      .description('nodes with version, state, attestation and labels')
      .option('--select <selector>', 'such as role=edge,region in (eu-1,eu-2),!spare', '')
      .addOption(watch()),
    (_, { select }) =>
      async (client, format) =>
        (await import('../commands/fleet.ts')).fleetList(client, format, select as string),
  )
  withRing(
    fleet.command('status').description('how far each update of the policy is').addOption(watch()),
    () => async (client, format) => (await import('../commands/fleet.ts')).fleetStatus(client, format),
  )
  withRing(
    fleet
      .command('resume')
      .argument('<version>')
      .description('have nodes try a release again that failed with it')
      .addOption(reason())
      .addOption(dryRun()),
    ([version], options) =>
      async (client) =>
        (await import('../commands/fleet.ts')).resume(
          client,
          version as string,
          options.reason as string,
          options.dryRun === true,
        ),
  )
}

/** `ringwall node` or `ringwall device`. */
export function addLabels(noun: Command, of: 'node' | 'device'): void {
  withRing(
    noun
      .command('label')
      .argument(of === 'node' ? '<id>' : '<serial>')
      .argument('<labels...>', 'KEY=VALUE sets one, KEY- takes one away')
      .description(of === 'node' ? 'label a node: role=edge' : 'label a device: its node has these labels')
      .addOption(reason())
      .addOption(dryRun()),
    ([id, labels], options) =>
      async (client) =>
        (await import('../commands/fleet.ts')).setLabels(
          client,
          of,
          id as string,
          labels as unknown as readonly string[],
          options.reason as string,
          options.dryRun === true,
        ),
  )
}

export function addHolds(node: Command): void {
  for (const [verb, kind, description] of [
    ['cordon', 'cordon', 'give a node no new work of the ring, and no update'],
    ['drain', 'drain', 'cordon a node, and send its clients elsewhere'],
    ['uncordon', 'none', 'hold a node from nothing any more'],
  ] as const) {
    const command = node.command(verb).argument('<id>').description(description).addOption(reason()).addOption(dryRun())
    if (kind !== 'none') command.option('--for <duration>', 'ends by itself; until it is lifted, unless given')
    withRing(command, ([id], options) => async (client) => {
      const { hold } = await import('../commands/fleet.ts')
      const ttl = options.for as string | undefined
      await hold(client, kind, id as string, {
        ttlMs: ttl === undefined ? 0 : parseTtl(ttl),
        reason: options.reason as string,
        dryRun: options.dryRun === true,
      })
    })
  }
}

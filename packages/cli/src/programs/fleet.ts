/** The verbs of the fleet: labels, holds, releases, updates. */
import type { Command } from 'commander'
import { parseTtl } from '../format.ts'
import { collect, dryRun, reason, watch, withRing } from './options.ts'

export function addFleet(program: Command): void {
  const fleet = program.command('fleet').description('nodes by their labels, and how far updates are: ls, status, resume, run')
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
  fleet
    .command('run')
    .description('run a node from a folder that updates itself')
    .requiredOption('--folder <dir>', 'as ringwall release install made it')
    .requiredOption('--config <file>', 'the node’s configuration: node.yaml')
    .action(async ({ folder, config }: { folder: string; config: string }) => {
      const { resolve } = await import('node:path')
      const { runLauncher } = await import('@ringwall/node/launcher')
      process.exitCode = await runLauncher(resolve(folder), resolve(config))
    })
  addReleases(program)
}

function addReleases(program: Command): void {
  const release = program
    .command('release')
    .description('releases of Ringwall that nodes go to by themselves: key, make, add, ls, rm, install')
  release
    .command('key')
    .argument('<file>')
    .description('make the key that releases are signed with')
    .action(async (file: string) => (await import('../commands/release.ts')).releaseKey(file))
  release
    .command('make')
    .argument('<dir>', 'an installation: with packages, and node_modules as npm ci made them')
    .description('pack and sign an installation')
    .requiredOption('--key <file>', 'as ringwall release key made it')
    .option('--out <file>', 'the archive (default: ringwall-VERSION.release)')
    .option('--program <digest>', 'what nodes with another engine measure of it; may be given again', collect, [])
    .action(async (root: string, given: { key: string; out?: string; program: string[] }) =>
      (await import('../commands/release.ts')).releaseMake(root, { key: given.key, out: given.out, programs: given.program }),
    )
  withRing(
    release
      .command('add')
      .argument('<file>', 'an archive, as ringwall release make made it')
      .description('have the ring take a release')
      .addOption(reason())
      .addOption(dryRun()),
    ([file], options) =>
      async (client) =>
        (await import('../commands/release.ts')).releaseAdd(
          client,
          file as string,
          options.reason as string,
          options.dryRun === true,
        ),
  )
  withRing(
    release.command('ls').description('releases that the ring knows'),
    () => async (client, format) => (await import('../commands/release.ts')).releaseList(client, format),
  )
  withRing(
    release
      .command('rm')
      .argument('<version>')
      .description('let go of a release that no node runs')
      .addOption(reason())
      .addOption(dryRun()),
    ([version], options) =>
      async (client) =>
        (await import('../commands/release.ts')).releaseRemove(
          client,
          version as string,
          options.reason as string,
          options.dryRun === true,
        ),
  )
  release
    .command('install')
    .argument('<file>', 'an archive')
    .description('make a folder that updates itself')
    .requiredOption('--folder <dir>', 'where it goes')
    .requiredOption('--key <key>', 'that must have signed it, as ringwall release key printed it')
    .action(async (file: string, given: { folder: string; key: string }) =>
      (await import('../commands/release.ts')).releaseInstall(file, given.folder, given.key),
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
        ttlMs: ttl === undefined ? 0 : parseTtl(ttl, '--for', 'no end'),
        reason: options.reason as string,
        dryRun: options.dryRun === true,
      })
    })
  }
}

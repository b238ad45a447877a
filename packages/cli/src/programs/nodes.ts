/** The verbs of nodes and devices, and how they stand. */

import { type Command, Option } from 'commander'
import { UsageError } from '../errors.ts'
import { addDevices, addJoining } from './enrolment.ts'
import { addHolds, addLabels } from './fleet.ts'
import { dryRun, reason, watch, whole, withRing } from './options.ts'

interface NodeGiven {
  readonly config?: string
  readonly takeOver: boolean
  readonly device?: string
  readonly fabric?: string
  readonly traffic: string
  readonly admin: string
  readonly tpm?: string
  readonly tpmLog?: string
  readonly domain?: readonly string[]
  readonly caseFile?: string
  readonly caseClosed?: string
  readonly profile: 'full' | 'edge'
}

export function addNodes(program: Command): void {
  const node = program
    .command('node')
    .description(
      'run one node of a ring; or ls, show, label, cordon, drain, uncordon, invite, join, init, add, rm, wipe, disks, recovery, unlock',
    )
    .option('--config <file>', 'the node’s configuration: node.yaml')
    .option('--take-over', 'serve beside a process of the same node, which was sent SIGUSR2', false)
    .option('--device <dir>', 'the folder that ringwall device make wrote: joins its ring by itself, and runs')
    .option('--fabric <host:port>', 'of a device: where the other nodes reach it')
    .option('--tpm <tcti>', 'of a device: its TPM 2.0, as tpm2-tools take it')
    .option('--tpm-log <file>', 'of a device: the event log of its start')
    .option(
      '--domain <name...>',
      'of a device: where DNS may know the ring, _ringwall._tcp.NAME (default: what the machine searches)',
    )
    .option('--case-file <file>', 'of a device: a file that tells whether its case is closed')
    .option('--case-closed <text>', 'what that file holds while it is (default: 0)')
    .option('--traffic <host:port>', 'of a device: where it takes traffic', '0.0.0.0:8080')
    .option('--admin <host:port>', 'of a device: its admin API and console', '127.0.0.1:9080')
    .addOption(
      new Option('--profile <which>', 'of a device: edge holds it to 150 MB of memory').choices(['edge', 'full']).default('edge'),
    )
    .action(async ({ config, takeOver, device, domain, ...wishes }: NodeGiven) => {
      const { runOneNode } = await import('../commands/run-node.ts')
      if (device !== undefined) {
        if (config !== undefined) throw new UsageError('--device takes the place of --config')
        process.exitCode = await runOneNode({ device, wishes: { ...wishes, domains: domain } })
        return
      }
      if (config === undefined)
        throw new UsageError(
          'name the node’s configuration: ringwall node --config FILE; or ls, show, invite, join, init, add, rm, wipe, disks, recovery, unlock',
        )
      process.exitCode = await runOneNode({ config, takeOver })
    })
  withRing(
    node.command('ls').description('all nodes of the ring').addOption(watch()),
    () => async (client, format) => (await import('../commands/ring.ts')).nodeList(client, format),
  )
  withRing(
    node.command('show').argument('<id>').description('one node'),
    ([id]) =>
      async (client, format) =>
        (await import('../commands/ring.ts')).nodeShow(client, format, id as string),
  )

  node
    .command('init')
    .argument('<id>')
    .description('make the key and configuration of a node that is to join a running ring')
    .requiredOption('--genesis <file>', 'the ring’s genesis document')
    .requiredOption('--region <name>', 'where it stands')
    .requiredOption('--fabric <host:port>', 'where the other nodes reach it')
    .option('--traffic <host:port>', 'where it takes traffic', '127.0.0.1:8080')
    .option('--admin <host:port>', 'its admin API and console', '127.0.0.1:9080')
    .option('--directory <dir>', 'where its files go (default: ./ID)')
    .action(async (id: string, given: Record<string, string>) => {
      const { initNode } = await import('@ringwall/node')
      const { nodeInit } = await import('../commands/nodes.ts')
      nodeInit(initNode, id, {
        genesis: given.genesis as string,
        region: given.region as string,
        fabric: given.fabric as string,
        traffic: given.traffic as string,
        admin: given.admin as string,
        directory: given.directory ?? id,
      })
    })
  withRing(
    node
      .command('add')
      .argument('<id>')
      .description('let a node join: it follows at once, and votes when it is a validator')
      .requiredOption('--key <public key>', 'as ringwall node init printed it')
      .requiredOption('--address <host:port>', 'where the other nodes reach it')
      .requiredOption('--region <name>', 'where it stands')
      .option('--roles <roles>', 'validator, edge, or both with a comma', 'validator,edge')
      .addOption(reason())
      .addOption(dryRun()),
    ([id], options) =>
      async (client) => {
        const { nodeAdd } = await import('../commands/nodes.ts')
        await nodeAdd(client, id as string, {
          publicKey: options.key as string,
          address: options.address as string,
          region: options.region as string,
          roles: options.roles as string,
          reason: options.reason as string,
          dryRun: options.dryRun === true,
        })
      },
  )
  withRing(
    node
      .command('rm')
      .alias('remove')
      .argument('<id>')
      .description('let a node go, for ever: its id and key are never used again')
      .option('--force', 'also when those who stay cannot agree on anything until others are back', false)
      .addOption(reason())
      .addOption(dryRun()),
    ([id], options) =>
      async (client) => {
        const { nodeRemove } = await import('../commands/nodes.ts')
        const { reason: why, force, dryRun: dry } = options
        await nodeRemove(client, id as string, { reason: why as string, force: force === true, dryRun: dry === true })
      },
  )

  addJoining(node)
  addLabels(node, 'node')
  addHolds(node)
  const device = program
    .command('device')
    .description(
      'devices that join by what they were made as: ls, show, label, trust, register, transfer, rm, accept, reference, bind, tpm, certificate, certificates, revoke; manufacturer, make, address, ship',
    )
  addDevices(device)
  addLabels(device, 'device')

  withRing(
    node
      .command('wipe')
      .argument('<id>')
      .description('let a node go, have it erase itself if it hears of it, and never open its disk again')
      .option('--force', 'also when those who stay cannot agree on anything until others are back', false)
      .addOption(reason())
      .addOption(dryRun()),
    ([id], options) =>
      async (client) => {
        const { nodeWipe } = await import('../commands/node-wipe.ts')
        const { reason: why, force, dryRun: dry } = options
        await nodeWipe(client, id as string, { reason: why as string, force: force === true, dryRun: dry === true })
      },
  )
  node
    .command('recovery')
    .description('make a recovery key for disks that the ring opens, and a share of it for each operator')
    .requiredOption('--operators <n>', 'how many shares', whole('--operators', 2, 16))
    .requiredOption('--needed <m>', 'how many of them open a disk', whole('--needed', 2, 16))
    .requiredOption('--directory <dir>', 'where the shares go: a new folder')
    .action(async (given: { operators: number; needed: number; directory: string }) => {
      const { makeRecovery } = await import('@ringwall/node')
      const { recovery } = await import('../commands/node-unlock.ts')
      recovery(makeRecovery, given)
    })
  node
    .command('unlock')
    .description('give an operator’s part of opening the disk of a node that waits for it, on its machine')
    .requiredOption('--config <file>', 'the node’s configuration')
    .requiredOption('--share <file>', 'the operator’s share; - reads it from standard input')
    .action(async ({ config, share }: { config: string; share: string }) => {
      const { unlockNode } = await import('@ringwall/node')
      const { unlock } = await import('../commands/node-unlock.ts')
      await unlock(unlockNode, config, share)
    })
  withRing(
    node.command('disks').description('disks that the ring opens, and nodes that were wiped'),
    () => async (client, format) => (await import('../commands/node-wipe.ts')).nodeDisks(client, format),
  )

  withRing(
    program.command('status').description('one node, by itself').addOption(watch()),
    () => async (client, format) => (await import('../commands/ring.ts')).status(client, format),
  )
  withRing(
    program.command('check').description('what is well and what is not, with fixes'),
    () => async (client, format) => (await import('../commands/ring.ts')).check(client, format),
  )
}

/** The verbs of those who join: invitations. */
import type { Command } from 'commander'
import { parseDuration, parseTtl } from '../format.ts'
import { dryRun, reason, withRing } from './options.ts'

export function addJoining(node: Command): void {
  const invite = node.command('invite').description('print a line that lets one node join, once; or ls')
  withRing(
    invite
      .option('--region <name>', 'the only one that it may stand in')
      .option('--roles <roles>', 'what it may be: validator, edge, or both with a comma', 'edge')
      .option('--ttl <duration>', 'how long the line is good: 10s to 24h', '10m')
      .addOption(reason())
      .addOption(dryRun()),
    (_, options) => async (client) => {
      const { nodeInvite } = await import('../commands/invite.ts')
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
    () => async (client, format) => (await import('../commands/invite.ts')).inviteList(client, format),
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
      const { parseRoles } = await import('../commands/invite.ts')
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

export function addDevices(device: Command): void {
  withRing(
    device.command('ls').description('devices that the ring knows'),
    () => async (client, format) => (await import('../commands/device.ts')).deviceList(client, format),
  )
  withRing(
    device.command('show').argument('<serial>').description('one device'),
    ([serial]) =>
      async (client, format) =>
        (await import('../commands/device.ts')).deviceShow(client, format, serial as string),
  )
  withRing(
    device.command('address').description('print where devices for this ring are shipped to, for who sells them'),
    (_, options) => async (client) =>
      (await import('../commands/device.ts')).deviceAddress(client, options.context as string | undefined),
  )
  withRing(
    device
      .command('register')
      .argument('<voucher>', 'the file')
      .description('let a device join, when it is powered on')
      .option('--region <name>', 'the only one that it may stand in')
      .option('--roles <roles>', 'what it may be: validator, edge, or both with a comma', 'edge')
      .addOption(reason())
      .addOption(dryRun()),
    ([voucher], options) =>
      async (client) => {
        const { deviceRegister } = await import('../commands/device.ts')
        await deviceRegister(client, voucher as string, {
          region: (options.region as string | undefined) ?? null,
          roles: options.roles as string,
          reason: options.reason as string,
          dryRun: options.dryRun === true,
        })
      },
  )
  withRing(
    device
      .command('transfer')
      .argument('<serial>')
      .description('give a device to another owner: its node leaves this ring')
      .requiredOption('--voucher <file>', 'its voucher: the new entry is written into it')
      .requiredOption('--to <ring or key>', 'the file of another ring (device address), or an owner’s public key')
      .addOption(reason())
      .addOption(dryRun()),
    ([serial], options) =>
      async (client) => {
        const { deviceTransfer } = await import('../commands/device.ts')
        await deviceTransfer(client, serial as string, {
          voucher: options.voucher as string,
          to: options.to as string,
          context: options.context as string | undefined,
          reason: options.reason as string,
          dryRun: options.dryRun === true,
        })
      },
  )
  withRing(
    device
      .command('rm')
      .alias('remove')
      .argument('<serial>')
      .description('refuse a device for good, and let its node go: lost, stolen, broken')
      .addOption(reason())
      .addOption(dryRun()),
    ([serial], options) =>
      async (client) =>
        (await import('../commands/device.ts')).deviceRemove(
          client,
          serial as string,
          options.reason as string,
          options.dryRun === true,
        ),
  )
  withRing(
    device.command('trust').description('what nodes attested, until when that counts, and who was put out'),
    () => async (client, format) => (await import('../commands/device-trust.ts')).trustList(client, format),
  )
  withRing(
    device
      .command('accept')
      .argument('<node>')
      .description('take whatever a node measures next as how it is to be: after an upgrade, or a change of its configuration')
      .addOption(reason())
      .addOption(dryRun()),
    ([node], options) =>
      async (client) => {
        const { accept } = await import('../commands/device-trust.ts')
        await accept(client, node as string, options.reason as string, options.dryRun === true)
      },
  )
  withRing(
    device
      .command('reference')
      .argument('[digest]')
      .description('list the measured states that nodes may be in; or add one, or take one back')
      .option('--kind <kind>', 'program or pcrs', 'program')
      .option('--label <text>', 'what it is', 'a release')
      .option('--for <whom>', 'all, region:NAME or node:ID: first one node, then its region, then all', 'all')
      .option('--remove', 'take it back')
      .option('--within <duration>', 'with --remove: how long nodes may take to leave it', '0s')
      .addOption(reason())
      .addOption(dryRun()),
    ([digest], options) =>
      async (client, format) => {
        const { references, setReference } = await import('../commands/device-trust.ts')
        if (digest === undefined) return references(client, format)
        await setReference(client, digest, {
          kind: options.kind as string,
          label: options.label as string,
          allowed: options.remove !== true,
          scope: options.for as string,
          withinMs: parseDuration(options.within as string),
          reason: options.reason as string,
          dryRun: options.dryRun === true,
        })
      },
  )
  withRing(
    device
      .command('bind')
      .argument('<node>')
      .argument('<tpm>', 'as ringwall device tpm printed it')
      .description('say which TPM a node has that did not join as a device')
      .addOption(reason())
      .addOption(dryRun()),
    ([node, ek], options) =>
      async (client) => {
        const { bind } = await import('../commands/device-trust.ts')
        await bind(client, node as string, ek as string, options.reason as string, options.dryRun === true)
      },
  )
  withRing(
    device
      .command('certificate')
      .argument('<name>')
      .description('print a secret by which a device that is no node gets a certificate, once (EST)')
      .option('--ttl <duration>', 'how long the secret is good: 10s to 7d', '24h')
      .addOption(reason())
      .addOption(dryRun()),
    ([name], options) =>
      async (client) => {
        const { deviceCertificate } = await import('../commands/device-certificate.ts')
        const { ttl, reason: why, dryRun: dry } = options
        await deviceCertificate(client, name as string, {
          ttlMs: parseTtl(ttl as string),
          reason: why as string,
          dryRun: dry === true,
        })
      },
  )
  withRing(
    device.command('certificates').description('devices that are no nodes, and get certificates'),
    () => async (client, format) => (await import('../commands/device-certificate.ts')).deviceCertificates(client, format),
  )
  withRing(
    device
      .command('revoke')
      .argument('<name>')
      .description('give a device no more certificates, and let those that it has count no more')
      .addOption(reason())
      .addOption(dryRun()),
    ([name], options) =>
      async (client) =>
        (await import('../commands/device-certificate.ts')).deviceRevoke(
          client,
          name as string,
          options.reason as string,
          options.dryRun === true,
        ),
  )
  addFactory(device)
}

/** Where no ring is near. */
function addFactory(device: Command): void {
  device
    .command('manufacturer')
    .argument('<name>')
    .description('make the key that devices are certified and vouched for with')
    .requiredOption('--directory <dir>', 'where it goes; keep it offline')
    .action(async (name: string, { directory }: { directory: string }) => {
      await (await import('../commands/device-make.ts')).manufacturerMake(name, directory)
    })
  device
    .command('make')
    .argument('<serial>')
    .description('make the key, certificate and voucher of a device, in the factory')
    .requiredOption('--manufacturer <dir>', 'as ringwall device manufacturer made it')
    .requiredOption('--directory <dir>', 'where the device’s files go')
    .option('--owner <key>', 'public key of the first owner (default: the manufacturer)')
    .option('--expires <duration>', 'how long the voucher is good (default: for ever)')
    .option('--tpm <tcti>', 'its TPM 2.0, as tpm2-tools take it: device:/dev/tpmrm0')
    .option('--tpm-roots <file>', 'PEM certificates of who makes such TPMs: its endorsement key must lead to one')
    .action(async (serial: string, given: Record<string, string | undefined>) => {
      const { deviceMake } = await import('../commands/device-make.ts')
      await deviceMake(serial, {
        manufacturer: given.manufacturer as string,
        directory: given.directory as string,
        owner: given.owner,
        ttlMs: given.expires === undefined ? undefined : parseTtl(given.expires, '--expires', 'a voucher without end'),
        tpm: given.tpm,
        tpmRoots: given.tpmRoots,
      })
    })
  device
    .command('tpm')
    .description('print what the TPM of this machine is known by')
    .requiredOption('--tpm <tcti>', 'as tpm2-tools take it: device:/dev/tpmrm0')
    .option('--tpm-roots <file>', 'PEM certificates of who makes such TPMs: its endorsement key must lead to one')
    .action(async ({ tpm, tpmRoots }: { tpm: string; tpmRoots?: string }) => {
      await (await import('../commands/device-make.ts')).tpmShow(tpm, tpmRoots)
    })
  device
    .command('ship')
    .argument('<voucher>', 'the file: the new entry is written into it')
    .description('give a device to a ring, or to another owner')
    .requiredOption('--key <file>', 'the owner’s private key, PEM')
    .requiredOption('--to <ring or key>', 'what ringwall device address printed, as a file; or an owner’s public key')
    .action(async (voucher: string, { key, to }: { key: string; to: string }) => {
      ;(await import('../commands/device-make.ts')).deviceShip(voucher, key, to)
    })
}

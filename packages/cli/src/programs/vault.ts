/** The verbs of the vault. */

import type { Command } from 'commander'
import { parseTtl } from '../format.ts'
import type { Format } from '../output.ts'
import { parseSecretName } from '../secret-name.ts'
import { collect, contextFile, dryRun, formatted, nodesToAsk, reason, watch, whole, withRing } from './options.ts'
import { addTransit } from './transit.ts'
import { type SessionGlobals, serviceOption, vaultSession } from './vault-options.ts'

/** Of those verbs that services have, too. */
interface VaultGlobals extends SessionGlobals {
  readonly output: Format
}

/** 0 is for the ring what the role has. */
function leaseTtl(text: string | undefined): number {
  return text === undefined ? 0 : parseTtl(text, '--ttl', 'what the role has')
}

export function addVault(program: Command): void {
  const vault = program
    .command('vault')
    .description(
      'secrets, sealed to the ring: put, get, ls, rm, history, pass, lease, leases, renew, revoke, run; objects: status, access-key',
    )
  vault
    .command('put')
    .argument('<name>', 'such as shop/db-password', parseSecretName)
    .description(
      'another version of a secret: from standard input, without the one line end (LF or CRLF) that may close it, or from a file',
    )
    .option('--file <file>', 'its bytes, as they are: for what is binary')
    .option('--ttl <duration>', 'nobody opens it afterwards')
    .option(
      '--cas <version>',
      'only if this version is the newest; 0: only if there is none that can be opened',
      whole('--cas', 0, 999_999_999),
    )
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .addOption(formatted())
    .action(async (name: string, options: VaultGlobals & { file?: string; ttl?: string; cas?: number }) => {
      const { vaultPut } = await import('../commands/vault.ts')
      const ttlMs = options.ttl === undefined ? 0 : parseTtl(options.ttl, '--ttl', 'a secret without end')
      const { file, cas } = options
      await vaultPut(await vaultSession(options), options.output, name, { file, ttlMs, cas })
    })
  vault
    .command('get')
    .argument('<name>', 'such as shop/db-password', parseSecretName)
    .description('open a secret: its bytes on standard output')
    .option('--version <n>', 'not the newest', whole('--version', 1, 999_999_999))
    .addOption(serviceOption())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .addOption(formatted())
    .action(async (name: string, options: VaultGlobals & { version?: number }) => {
      const { vaultGet } = await import('../commands/vault.ts')
      await vaultGet(await vaultSession(options), options.output, name, options.version ?? 0)
    })
  withRing(
    vault
      .command('ls')
      .argument('[path]', 'those of this name and below it', parseSecretName)
      .description('what secrets there are')
      .addOption(watch()),
    ([path]) =>
      async (client, format) =>
        (await import('../commands/vault.ts')).vaultList(client, format, path),
  )
  withRing(
    vault
      .command('history')
      .argument('<name>', 'such as shop/db-password', parseSecretName)
      .description('its versions, and who had it opened'),
    ([name]) =>
      async (client, format) =>
        (await import('../commands/vault.ts')).vaultHistory(client, format, name as string),
  )
  withRing(
    vault
      .command('rm')
      .argument('<name>', 'such as shop/db-password', parseSecretName)
      .description('delete a secret, for ever: nobody opens it any more')
      .option('--version <n>', 'this version only; may be given again', (text: string, held: readonly number[] | undefined) => [
        ...(held ?? []),
        whole('--version', 1, 999_999_999)(text),
      ])
      .addOption(reason())
      .addOption(dryRun()),
    ([name], options) =>
      async (client) =>
        (await import('../commands/vault.ts')).vaultRemove(client, name as string, {
          versions: (options.version as readonly number[] | undefined) ?? [],
          reason: options.reason as string,
          dryRun: options.dryRun === true,
        }),
  )
  vault
    .command('status')
    .description('how the shards of objects stand, node by node')
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .addOption(formatted())
    .action(async (options: VaultGlobals) => {
      const { vaultStatus } = await import('../commands/objects.ts')
      await vaultStatus(await vaultSession(options), options.output)
    })
  const accessKey = vault.command('access-key').description('what clients of S3 sign with: add, ls, rm')
  accessKey
    .command('add')
    .argument('<identity>', 'whose rights it has: service:NAME or operator:NAME')
    .description('make an access key; its secret is shown once')
    .addOption(reason())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .addOption(formatted())
    .action(async (identity: string, options: VaultGlobals & { reason: string }) => {
      const { accessKeyAdd } = await import('../commands/objects.ts')
      await accessKeyAdd(await vaultSession(options), options.output, identity, options.reason)
    })
  withRing(
    accessKey.command('ls').description('access keys, and whose they are'),
    () => async (client, format) => (await import('../commands/objects.ts')).accessKeyList(client, format),
  )
  withRing(
    accessKey.command('rm').argument('<id>').description('an access key that nobody uses any more').addOption(reason()),
    ([id], options) =>
      async (client) =>
        (await import('../commands/objects.ts')).accessKeyRemove(client, id as string, options.reason as string),
  )
  vault
    .command('pass')
    .description('a token for clients of HashiCorp Vault, as their X-Vault-Token')
    .option('--service <name>', 'of which service; an operator names it')
    .option('--ttl <duration>', 'how long it is good: at most 1h', '1h')
    .addOption(serviceOption())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .action(async (options: SessionGlobals & { service?: string; ttl: string }) => {
      const { vaultPass } = await import('../commands/vault-pass.ts')
      await vaultPass(await vaultSession(options), options.service, parseTtl(options.ttl))
    })
  vault
    .command('lease')
    .argument('<database/role>', 'of the policy (vault.databases)')
    .description('a database user for a time: its URL with its password on standard output')
    .option('--ttl <duration>', 'how long unless it is renewed; as the role has it without')
    .addOption(serviceOption())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .addOption(formatted())
    .action(async (place: string, options: VaultGlobals & { ttl?: string }) => {
      const { leaseBegin } = await import('../commands/lease.ts')
      await leaseBegin(await vaultSession(options), options.output, place, leaseTtl(options.ttl))
    })
  vault
    .command('renew')
    .argument('<lease>')
    .description('have a lease last longer')
    .option('--ttl <duration>', 'how long from now; as the role has it without')
    .addOption(serviceOption())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .action(async (id: string, options: SessionGlobals & { ttl?: string }) => {
      const { leaseRenew } = await import('../commands/lease.ts')
      await leaseRenew(await vaultSession(options), id, leaseTtl(options.ttl))
    })
  vault
    .command('revoke')
    .argument('<lease>')
    .description('end a lease now: its connections are cut, and its user is dropped')
    .addOption(serviceOption())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .action(async (id: string, options: SessionGlobals) => {
      const { leaseRevoke } = await import('../commands/lease.ts')
      await leaseRevoke(await vaultSession(options), id)
    })
  withRing(
    vault.command('leases').description('database users that there are').addOption(watch()),
    () => async (client, format) => (await import('../commands/lease.ts')).leaseList(client, format),
  )
  vault
    .command('run')
    .argument('<command...>', 'the program and its arguments, after --')
    .description('run a program with secrets in its environment')
    .option('--env <variable=secret>', 'may be given again', collect, [])
    .option(
      '--from <path>',
      'all secrets directly below it: db-password becomes DB_PASSWORD; may be given again, later ones win; for operators',
      (text: string, paths: readonly string[]) => [...paths, parseSecretName(text)],
      [] as readonly string[],
    )
    .addOption(serviceOption())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .passThroughOptions()
    .action(async (command: string[], options: VaultGlobals & { env: string[]; from: readonly string[] }) => {
      const { vaultRun } = await import('../commands/vault.ts')
      const { env, from } = options
      await vaultRun(await vaultSession(options), command, { env, from })
    })
  addTransit(program)
}

/** The verbs of keys that nobody has. */
import { type Command, Option } from 'commander'
import type { TransitInput } from '../commands/transit.ts'
import { parseSecretName } from '../secret-name.ts'
import { contextFile, dryRun, nodesToAsk, reason, watch, whole, withRing } from './options.ts'
import { type SessionGlobals, serviceOption, vaultSession } from './vault-options.ts'

const VERSION_MAX = 999_999_999

export function addTransit(program: Command): void {
  const transit = program
    .command('transit')
    .description('keys that nobody has: encrypt, decrypt, rewrap, sign, verify, mac, create, rotate, trim, rm, ls')
  addUses(transit)
  addChanges(transit)
}

function addUses(transit: Command): void {
  const use = (name: string, description: string): Command => {
    const command = transit
      .command(name)
      .argument('<key>', 'such as shop/cards', parseSecretName)
      .description(description)
      .option('--file <file>', 'its bytes, as they are; standard input without')
    for (const option of [serviceOption(), contextFile(), nodesToAsk()]) command.addOption(option)
    return command
  }
  const lines = (): Option => new Option('--lines', 'each line by itself').default(false)
  const bound = (): Option => new Option('--bound <text>', 'what it is bound to: decrypts with the same text only').default('')
  for (const [verb, description] of [
    ['encrypt', 'encrypt to the ring; needs no right'],
    ['decrypt', 'decrypt, as far as the policy lets you'],
    ['rewrap', 'encrypt anew, to the newest version'],
  ] as const)
    use(verb, description)
      .addOption(lines())
      .addOption(bound())
      .action(async (key: string, options: SessionGlobals & TransitInput & { bound: string }) => {
        const commands = await import('../commands/transit.ts')
        const run = { encrypt: commands.transitEncrypt, decrypt: commands.transitDecrypt, rewrap: commands.transitRewrap }[verb]
        await run(await vaultSession(options), key, options.bound, options)
      })
  use('sign', 'have the ring sign')
    .addOption(lines())
    .action(async (key: string, options: SessionGlobals & TransitInput) => {
      const { transitSign } = await import('../commands/transit.ts')
      await transitSign(await vaultSession(options), key, options)
    })
  use('verify', 'whether the ring signed it; needs no right')
    .requiredOption('--signature <text>', 'as transit sign printed it')
    .action(async (key: string, options: SessionGlobals & TransitInput & { signature: string }) => {
      const { transitVerify } = await import('../commands/transit.ts')
      await transitVerify(await vaultSession(options), key, options.signature, options)
    })
  use('mac', 'an authenticator: the same for the same bytes')
    .addOption(lines())
    .option('--verify <text>', 'is it this one')
    .action(async (key: string, options: SessionGlobals & TransitInput & { verify?: string }) => {
      const { transitMac } = await import('../commands/transit.ts')
      await transitMac(await vaultSession(options), key, options.verify, options)
    })
}

function addChanges(transit: Command): void {
  const commands = () => import('../commands/transit.ts')
  withRing(
    transit.command('ls').description('what keys there are').addOption(watch()),
    () => async (client, format) => (await commands()).transitList(client, format),
  )
  withRing(
    transit
      .command('create')
      .argument('<key>', 'such as shop/cards', parseSecretName)
      .description('another key')
      .addOption(new Option('--use <use>', 'what it is for').choices(['encrypt', 'sign', 'mac']).makeOptionMandatory())
      .addOption(dryRun()),
    ([name], options) =>
      async (client) => {
        const use = options.use as 'encrypt' | 'sign' | 'mac'
        const body = { type: 'transit.create', name: name as string, use } as const
        await (await commands()).transitChange(client, body, `${name} version 1, to ${use}`, options.dryRun === true)
      },
  )
  withRing(
    transit
      .command('rotate')
      .argument('<key>', 'such as shop/cards', parseSecretName)
      .description('another version, used from now on')
      .addOption(dryRun()),
    ([name], options) =>
      async (client) => {
        const body = { type: 'transit.rotate', name: name as string } as const
        await (await commands()).transitChange(client, body, `${name} has another version`, options.dryRun === true)
      },
  )
  withRing(
    transit
      .command('trim')
      .argument('<key>', 'such as shop/cards', parseSecretName)
      .description('end old versions, for ever')
      .requiredOption('--least <version>', 'the first that is to stay', whole('--least', 2, VERSION_MAX))
      .addOption(dryRun()),
    ([name], options) =>
      async (client) => {
        const body = { type: 'transit.trim', name: name as string, least: options.least as number } as const
        const done = `versions of ${name} before ${body.least} are over`
        await (await commands()).transitChange(client, body, done, options.dryRun === true)
      },
  )
  withRing(
    transit
      .command('rm')
      .argument('<key>', 'such as shop/cards', parseSecretName)
      .description('delete a key, for ever: what was encrypted to it nobody decrypts')
      .addOption(reason())
      .addOption(dryRun()),
    ([name], options) =>
      async (client) => {
        const body = { type: 'transit.delete', name: name as string, reason: options.reason as string } as const
        const done = `deleted ${name}: nobody uses it any more`
        await (await commands()).transitChange(client, body, done, options.dryRun === true)
      },
  )
}

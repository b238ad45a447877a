/** The command line: parses, calls, and turns every failure into one line and an exit code (0 good, 1 bad, 2 wrong usage). */
import { ApiError, ContextInvalid, NodeUnreachable, type RingwallClient } from '@ringwall/client'
import { Command, CommanderError, Option } from 'commander'
import manifest from '../package.json' with { type: 'json' }
import { addDevices, addJoining } from './enrolment-program.ts'
import { QuietFailure, UsageError } from './errors.ts'
import { parseTtl } from './format.ts'
import { FORMATS, type Format, parseFormat, write } from './output.ts'
import { addTransit, type SessionGlobals } from './transit-program.ts'

interface Globals {
  readonly context?: string
  readonly node?: string
  readonly output: Format
}

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
}

/** Of those verbs of the vault that services have, too. */
interface VaultGlobals extends SessionGlobals {
  readonly output: Format
}

/** Opens a session and runs; with `--watch`, again and again. */
type Run = (client: RingwallClient, format: Format) => Promise<void>

const WATCH_MS = 1_000

function withRing(command: Command, run: (args: readonly string[], options: Record<string, unknown>) => Run): Command {
  return command
    .addOption(
      new Option(
        '--context <file>',
        'the operator’s context; else $RINGWALL_CONTEXT, else .ringwall/operator.json here or above',
      ),
    )
    .addOption(new Option('--node <id>', 'ask this node: an id of the context, or a URL'))
    .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
    .action(async (...given: unknown[]) => {
      const options = given.at(-2) as Record<string, unknown> & Globals
      const args = given.slice(0, -2) as string[]
      const { openSession } = await import('./session.ts')
      const client = await openSession(options)
      const once = run(args, options)
      if (options.watch !== true) return once(client, options.output)
      for (;;) {
        if (process.stdout.isTTY === true) process.stdout.write('\x1b[H\x1b[2J')
        await once(client, options.output)
        await new Promise((wake) => setTimeout(wake, WATCH_MS))
      }
    })
}

const watch = (): Option => new Option('-w, --watch', 'again every second')
const reason = (): Option => new Option('--reason <text>', 'why, for the ledger').default('by hand')
const dryRun = (): Option => new Option('--dry-run', 'say what would happen, and change nothing')

/** A whole number option. @throws {UsageError} */
function whole(name: string, least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!/^[0-9]{1,9}$/.test(text) || value < least || value > most)
      throw new UsageError(`${name} ${text}: expected a whole number from ${least} to ${most}`)
    return value
  }
}

function collect(text: string, texts: readonly string[]): string[] {
  return [...texts, text]
}

function collectIds(text: string, ids: readonly number[]): number[] {
  return [...ids, whole('--expect-rule', 1, 999_999_999)(text)]
}

function revocation(options: Record<string, unknown>) {
  return {
    ttlMs: parseTtl(options.ttl as string),
    reason: options.reason as string,
    issuer: options.issuer as string | undefined,
    dryRun: options.dryRun === true,
  }
}

function buildProgram(): Command {
  const program = new Command('ringwall').description('One security layer for everything a team runs.').showHelpAfterError(false)
  program.version(manifest.version, '-V, --version', 'print the version')
  program.configureHelp({ sortSubcommands: false }).helpCommand(false)
  // A verb with subcommands of the same options (approve, approve ls) must not take theirs.
  program.enablePositionalOptions()

  program
    .command('up')
    .description('bring up a local ring, in front of the demo or of your application')
    .option('--to <url>', 'your application: http://HOST:PORT')
    .option('--nodes <n>', 'how many nodes', whole('--nodes', 1, 10), 4)
    .option(
      '--operators <n>',
      'how many operators a new ring has: operator.json, operator-2.json, …',
      whole('--operators', 1, 9),
      1,
    )
    .option('--data <dir>', 'where the ring’s state stays', '.ringwall')
    .option(
      '--ports <base>',
      'node i takes traffic on base + i, admin 1000 above, links 1000 below',
      whole('--ports', 2_100, 60_000),
      8_080,
    )
    .addOption(
      new Option('--seal <how>', 'how disks are sealed; with ring, not all nodes may be stopped at once')
        .choices(['off', 'local', 'ring'])
        .default('local'),
    )
    .option('--s3', 'node i takes S3’s clients on base + 20 + i')
    .action(async ({ to, ...given }: UpFlags) => {
      const { runUp } = await import('@ringwall/node')
      process.exitCode = await runUp({ to, ...given })
    })

  program
    .command('protect')
    .argument('<url>', 'the application: http://HOST:PORT')
    .description('one node in front of one application, a ring of one')
    .requiredOption('--listen <host:port>', 'where to take traffic')
    .option(
      '--rules <set>',
      'base, crs (the OWASP Core Rule Set as installed), or a folder of .conf files; repeatable',
      (set: string, sets: string[]) => [...sets, set],
      [],
    )
    .option('--paranoia <level>', '1 to 4', whole('--paranoia', 1, 4), 1)
    .addOption(new Option('--mode <mode>', 'refuse, or only record').choices(['enforce', 'shadow']).default('enforce'))
    .option('--explain-header', 'tell clients which rules matched: for trials', false)
    .option('--config <file>', 'a policy, instead of the one made from these options')
    .option('--data <dir>', 'where state stays (default: .ringwall/protect-PORT)')
    .option('--take-over', 'serve beside a process with the same data, which was sent SIGUSR2', false)
    .option('--workers <n>', 'threads that take traffic', whole('--workers', 1, 64), 1)
    .option('--breached-passwords <path>', 'SHA-1 ranges of Have I Been Pwned: a folder, or one file of hashes')
    .option(
      '--places <file>',
      'an MMDB file that knows countries or autonomous systems of addresses; repeatable',
      (file: string, files: string[]) => [...files, file],
      [],
    )
    .option('--login', 'let only people of the ring’s own directory in: ringwall person add', false)
    .option('--admin <host:port>', 'admin API and console (default: a free port on loopback)')
    .option('--tls-cert <file>', 'take traffic over TLS: the certificate in PEM, then those that issued it')
    .option('--tls-key <file>', 'its private key in PEM, readable by its owner alone')
    .option(
      '--acme <name>',
      'take traffic over TLS with a certificate for this public name, got and renewed by ACME; repeatable',
      (name: string, names: string[]) => [...names, name],
      [],
    )
    .option('--acme-agree', 'agree to the terms of service of who issues it', false)
    .option('--acme-contact <mail>', 'where to tell of trouble with it')
    .option('--acme-directory <url>', 'another ACME server than Let’s Encrypt')
    .option('--acme-roots <file>', 'who vouches for that server, in PEM')
    .option('--client-certificates', 'over TLS: ask clients for certificates of the ring, which they may have or not', false)
    .option('--hsts', 'tell browsers to come by TLS only, for a year', false)
    .option('--redirect-from <host:port>', 'where plain HTTP is answered with a redirect to TLS')
    .option(
      '--proxy-protocol-from <prefix>',
      'balancers that begin their connections with a header of the PROXY protocol; repeatable',
      (prefix: string, prefixes: string[]) => [...prefixes, prefix],
      [],
    )
    .action(async (url: string, given: Record<string, unknown>) => {
      const { runProtect } = await import('@ringwall/node')
      const [certificate, key] = [given.tlsCert as string | undefined, given.tlsKey as string | undefined]
      if ((certificate === undefined) !== (key === undefined))
        throw new UsageError(
          `--tls-${certificate === undefined ? 'cert' : 'key'} is missing: TLS needs a certificate and its key`,
        )
      const names = given.acme as string[]
      if (certificate !== undefined && names.length > 0)
        throw new UsageError('--acme takes the place of --tls-cert and --tls-key; a node.yaml may have both')
      if (certificate === undefined && names.length === 0 && given.hsts === true)
        throw new UsageError('--hsts needs --tls-cert and --tls-key, or --acme')
      if (certificate === undefined && names.length === 0 && given.clientCertificates === true)
        throw new UsageError('--client-certificates needs --tls-cert and --tls-key, or --acme')
      const rules = (given.rules as string[]).length === 0 ? ['base'] : (given.rules as string[])
      process.exitCode = await runProtect({
        url,
        listen: given.listen as string,
        rules,
        paranoia: given.paranoia as number,
        mode: given.mode as 'enforce' | 'shadow',
        explainHeader: given.explainHeader === true,
        workers: given.workers as number,
        login: given.login === true,
        clientCertificates: given.clientCertificates === true,
        takeOver: given.takeOver === true,
        config: given.config as string | undefined,
        data: given.data as string | undefined,
        admin: given.admin as string | undefined,
        tls: certificate === undefined || key === undefined ? undefined : { certificate, key, hsts: given.hsts === true },
        acme:
          names.length === 0
            ? undefined
            : {
                names,
                agreed: given.acmeAgree === true,
                contact: given.acmeContact as string | undefined,
                directory: given.acmeDirectory as string | undefined,
                roots: given.acmeRoots as string | undefined,
                hsts: given.hsts === true,
              },
        proxyProtocolFrom: given.proxyProtocolFrom as string[],
        redirectFrom: given.redirectFrom as string | undefined,
        breachedPasswords: given.breachedPasswords as string | undefined,
        places: given.places as string[],
      })
    })

  program
    .command('sidecar')
    .description('mutual TLS for a program beside it: certificates from the node on this machine')
    .requiredOption('--config <file>', 'what comes in and goes out: sidecar.yaml')
    .action(async ({ config }: { config: string }) => {
      const { runSidecar } = await import('@ringwall/node')
      process.exitCode = await runSidecar(config)
    })

  const node = program
    .command('node')
    .description('run one node of a ring; or ls, show, invite, join, init, add, rm, wipe, disks, recovery, unlock')
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
    .action(
      async ({ config, takeOver, device, fabric, traffic, admin, tpm, tpmLog, domain, caseFile, caseClosed }: NodeGiven) => {
        if (device !== undefined) {
          if (config !== undefined) throw new UsageError('--device takes the place of --config')
          const { runDevice } = await import('@ringwall/node')
          process.exitCode = await runDevice(device, {
            fabric,
            traffic,
            admin,
            tpm,
            tpmLog,
            domains: domain,
            caseFile,
            caseClosed,
          })
          return
        }
        if (config === undefined)
          throw new UsageError(
            'name the node’s configuration: ringwall node --config FILE; or ls, show, invite, join, init, add, rm, wipe, disks, recovery, unlock',
          )
        const { runNode } = await import('@ringwall/node')
        process.exitCode = await runNode(config, takeOver)
      },
    )
  withRing(
    node.command('ls').description('all nodes of the ring').addOption(watch()),
    () => async (client, format) => (await import('./commands/ring.ts')).nodeList(client, format),
  )
  withRing(
    node.command('show').argument('<id>').description('one node'),
    ([id]) =>
      async (client, format) =>
        (await import('./commands/ring.ts')).nodeShow(client, format, id as string),
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
      const { nodeInit } = await import('./commands/nodes.ts')
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
        const { nodeAdd } = await import('./commands/nodes.ts')
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
        const { nodeRemove } = await import('./commands/nodes.ts')
        const { reason: why, force, dryRun: dry } = options
        await nodeRemove(client, id as string, { reason: why as string, force: force === true, dryRun: dry === true })
      },
  )

  addJoining(node, { withRing, reason, dryRun })
  addDevices(
    program
      .command('device')
      .description(
        'devices that join by what they were made as: ls, show, trust, register, transfer, rm, accept, reference, bind, tpm, certificate, certificates, revoke; manufacturer, make, address, ship',
      ),
    {
      withRing,
      reason,
      dryRun,
    },
  )

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
        const { nodeWipe } = await import('./commands/node-wipe.ts')
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
      const { recovery } = await import('./commands/node-unlock.ts')
      recovery(makeRecovery, given)
    })
  node
    .command('unlock')
    .description('give an operator’s part of opening the disk of a node that waits for it, on its machine')
    .requiredOption('--config <file>', 'the node’s configuration')
    .requiredOption('--share <file>', 'the operator’s share; - reads it from standard input')
    .action(async ({ config, share }: { config: string; share: string }) => {
      const { unlockNode } = await import('@ringwall/node')
      const { unlock } = await import('./commands/node-unlock.ts')
      await unlock(unlockNode, config, share)
    })
  withRing(
    node.command('disks').description('disks that the ring opens, and nodes that were wiped'),
    () => async (client, format) => (await import('./commands/node-wipe.ts')).nodeDisks(client, format),
  )

  withRing(
    program.command('status').description('one node, by itself').addOption(watch()),
    () => async (client, format) => (await import('./commands/ring.ts')).status(client, format),
  )
  withRing(
    program.command('check').description('what is well and what is not, with fixes'),
    () => async (client, format) => (await import('./commands/ring.ts')).check(client, format),
  )

  const deny = program.command('deny').description('denials: add, import, rm, ls, export')
  withRing(
    deny
      .command('add')
      .argument('<kind>', 'ip, cidr, token, subject, session, device, key, issuer, issued-before, account')
      .argument('<value>', 'of issued-before now or a time; of key a thumbprint, or with --issuer a key id')
      .description('deny everywhere, at once')
      .addOption(new Option('--ttl <duration>', 'for how long').default('1h'))
      .option('--service <name>', 'of an account')
      .option('--issuer <issuer>', 'of tokens: of this issuer alone')
      .option('--subject <sub>', 'of issued-before: whose tokens')
      .addOption(reason())
      .addOption(dryRun()),
    ([kind, value], options) =>
      async (client) => {
        const { denyAdd } = await import('./commands/deny.ts')
        await denyAdd(client, kind as string, value as string, {
          ...revocation(options),
          service: options.service as string | undefined,
          subject: options.subject as string | undefined,
        })
      },
  )
  withRing(
    deny
      .command('import')
      .argument('<file>', 'addresses and networks, one a line; - for standard input')
      .description('deny all sources of a file, signed together')
      .addOption(new Option('--ttl <duration>', 'for how long').default('1h'))
      .addOption(reason())
      .addOption(dryRun()),
    ([file], options) =>
      async (client) => {
        const { denyImport } = await import('./commands/deny.ts')
        if (!(await denyImport(client, file as string, revocation(options)))) process.exitCode = 1
      },
  )
  withRing(
    deny
      .command('rm')
      .alias('remove')
      .argument('<id|value>')
      .description('lift a denial')
      .addOption(reason())
      .addOption(dryRun()),
    ([target], options) =>
      async (client) =>
        (await import('./commands/deny.ts')).denyRemove(
          client,
          target as string,
          options.reason as string,
          options.dryRun === true,
        ),
  )
  withRing(
    deny
      .command('ls')
      .description('what is denied')
      .option('--pending', 'what nodes say and not enough of them yet')
      .addOption(watch()),
    (_args, options) => async (client, format) => {
      const { denyList, denyPending } = await import('./commands/deny.ts')
      return (options.pending === true ? denyPending : denyList)(client, format)
    },
  )

  withRing(
    deny
      .command('export')
      .description('denied addresses for the kernel to drop: a script for nft -f')
      .addOption(new Option('--format <format>', 'of what').choices(['nftables']).default('nftables'))
      .option('--ports <list>', 'TCP ports of the traffic, or all for whatever these sources send', '80,443'),
    (_args, options) => async (client) => (await import('./commands/deny.ts')).denyExport(client, options.ports as string),
  )

  const bouncer = program
    .command('bouncer')
    .description('programs elsewhere that enforce denials (CrowdSec bouncers): add, ls, rm')
  const changing = (command: Command): Command => command.option('-y, --yes', 'do not ask', false).addOption(dryRun())
  withRing(
    changing(bouncer.command('add').argument('<name>').description('let a bouncer ask for denials: prints its key, once')),
    ([name], { yes, dryRun: dry }) =>
      async (client) =>
        (await import('./commands/bouncer.ts')).bouncerAdd(client, name as string, { yes: yes === true, dryRun: dry === true }),
  )
  withRing(
    changing(bouncer.command('rm').alias('remove').argument('<name>').description('take its key back')),
    ([name], { yes, dryRun: dry }) =>
      async (client) =>
        (await import('./commands/bouncer.ts')).bouncerRemove(client, name as string, {
          yes: yes === true,
          dryRun: dry === true,
        }),
  )
  withRing(
    bouncer.command('ls').description('all of them, and when each last asked').addOption(watch()),
    () => async (client, format) => (await import('./commands/bouncer.ts')).bouncerList(client, format),
  )

  const playbook = program
    .command('playbook')
    .description('what is done, step by step: ls, runs, show, test, run, approve, cancel, undo')
  withRing(
    playbook.command('ls').description('those of the policy').addOption(watch()),
    () => async (client, format) => (await import('./commands/playbook.ts')).playbookList(client, format),
  )
  withRing(
    playbook
      .command('runs')
      .description('runs, the latest first')
      .addOption(new Option('--state <state>', 'which').choices(['open', 'over', 'all']).default('all'))
      .addOption(watch()),
    (_args, { state }) =>
      async (client, format) =>
        (await import('./commands/playbook.ts')).playbookRuns(client, format, state as 'open' | 'over' | 'all'),
  )
  withRing(
    playbook.command('show').argument('<run>').description('a run, and what came of its steps').addOption(watch()),
    ([id], _options) =>
      async (client, format) =>
        (await import('./commands/playbook.ts')).playbookShow(client, format, id as string),
  )
  withRing(
    playbook.command('evidence').argument('<run>').description('what its evidence step kept, from the node that did it'),
    ([id], _options) =>
      async (client) =>
        (await import('./commands/playbook.ts')).playbookEvidence(client, id as string),
  )
  for (const what of ['run', 'test'] as const) {
    const command = playbook
      .command(what)
      .argument('<playbook>')
      .description(what === 'run' ? 'start it' : 'say what each step would come to, and start nothing')
      .option('--source <address>', 'an address or a prefix')
      .option('--service <name>', 'of the account')
      .option('--account <hash>', 'as findings name it')
      .option('--person <name>', 'whose sessions end')
    if (what === 'run')
      command
        .option('--key <text>', 'of one key there is one run: whoever says it again starts nothing')
        .addOption(reason())
        .addOption(dryRun())
    withRing(command, ([name], { source, service, account, person, reason: why, key, dryRun: isDry }) => {
      const inputs = { source, service, account, person } as Readonly<Record<string, string | undefined>>
      const how = {
        reason: (why as string | undefined) ?? '',
        key: key as string | undefined,
        dryRun: what === 'test' || isDry === true,
      }
      return async (client, format) =>
        (await import('./commands/playbook.ts')).playbookRun(client, format, name as string, inputs, how)
    })
  }
  for (const [what, about] of [
    ['approve', 'say yes where a run waits for operators'],
    ['cancel', 'end a run; what it did stays'],
    ['undo', 'take back what can be taken back'],
  ] as const)
    withRing(
      playbook.command(what).argument('<run>').description(about).addOption(reason()),
      ([id], options) =>
        async (client) =>
          (await import('./commands/playbook.ts')).playbookSay(client, what, id as string, options.reason as string),
    )

  const notify = program.command('notify').description('where a node tells what happens: ls, test')
  withRing(
    notify.command('ls').description('its channels, and how each did').addOption(watch()),
    () => async (client, format) => (await import('./commands/playbook.ts')).notifyList(client, format),
  )
  withRing(
    notify.command('test').argument('<channel>').description('have the node tell it something now'),
    ([name], _options) =>
      async (client) =>
        (await import('./commands/playbook.ts')).notifyTest(client, name as string),
  )

  const incident = program.command('incident').description('findings of all nodes that belong together: ls, show, close, export')
  withRing(
    incident
      .command('ls')
      .description('open ones, the latest first')
      .addOption(new Option('--state <state>', 'which').choices(['open', 'closed', 'all']).default('open'))
      .addOption(watch()),
    (_args, { state }) =>
      async (client, format) =>
        (await import('./commands/incident.ts')).incidentList(client, format, state as 'open' | 'closed' | 'all'),
  )
  withRing(
    incident.command('show').argument('<id>').description('one of them with its timeline'),
    ([id], _options) =>
      async (client, format) =>
        (await import('./commands/incident.ts')).incidentShow(client, format, id as string),
  )
  withRing(
    incident
      .command('close')
      .argument('<id>')
      .description('it is done with, until something more is found')
      .addOption(new Option('--reason <text>', 'why, for others').default('by hand')),
    ([id], options) =>
      async (client) =>
        (await import('./commands/incident.ts')).incidentClose(client, id as string, options.reason as string),
  )
  withRing(
    incident.command('export').argument('<id>').description('one of them as JSON, with the denials of its sources'),
    ([id], _options) =>
      async (client) =>
        (await import('./commands/incident.ts')).incidentExport(client, id as string),
  )

  withRing(
    program
      .command('feed')
      .description('decisions of others that a node takes in: ls')
      .command('ls')
      .description('how each feed of the node stands')
      .addOption(watch()),
    () => async (client, format) => (await import('./commands/feed.ts')).feedList(client, format),
  )

  withRing(
    program
      .command('cache')
      .description('answers that nodes keep: purge')
      .command('purge')
      .argument('<service>')
      .argument('[path]', 'with all below it, percent-encoded as in requests', '/')
      .description('have all nodes forget what they keep of a service')
      .addOption(reason())
      .addOption(dryRun()),
    ([service, path], options) =>
      async (client) =>
        (await import('./commands/cache.ts')).cachePurge(
          client,
          { service: service as string, path: path as string, reason: options.reason as string },
          options.dryRun === true,
        ),
  )

  withRing(
    program
      .command('indicator')
      .description('addresses that others call bad, as a node loaded them: ls')
      .command('ls')
      .description('sets, how many each holds, and what was left out')
      .addOption(watch()),
    () => async (client, format) => (await import('./commands/feed.ts')).indicatorList(client, format),
  )

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
        (await import('./commands/deny.ts')).denyAdd(client, 'session', sid as string, revocation(options)),
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
        const { denyAdd } = await import('./commands/deny.ts')
        const { issuedBefore } = options as { readonly issuedBefore?: string }
        if (issuedBefore === undefined) await denyAdd(client, 'subject', sub as string, revocation(options))
        else await denyAdd(client, 'issued-before', issuedBefore, { ...revocation(options), subject: sub as string })
      },
  )

  const several = (text: string, all: readonly string[]): string[] => [...all, text]
  withRing(
    program
      .command('can')
      .argument('<principal>', 'SUBJECT, ISSUER#SUBJECT, service/NAME, node/NAME, a SPIFFE id, or anonymous')
      .argument('<action>', 'a method in capitals, or the action that a route names')
      .argument('<resource>', 'SERVICE, SERVICE/PATH, or a URL')
      .description('whether somebody may do something, as a request would be told')
      .option('--explain', 'who, what, by which policy, at which height, on which node', false)
      .option('--claim <name=value>', 'what the token says; a value may be JSON; repeatable', several, [])
      .option('--group <name>', 'in its claim groups; repeatable', several, [])
      .option('--role <name>', 'in its claim roles; repeatable', several, [])
      .option('--caller <service>', 'the service that asks on their behalf: service/NAME, node/NAME or a SPIFFE id')
      .option('--source <address>', 'where the request comes from'),
    ([principal, action, resource], options) =>
      async (client, format) => {
        const { can } = await import('./commands/can.ts')
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
    .action(async (file: string, given: { with: string[] }) => (await import('./commands/xacml.ts')).xacmlCheck(file, given.with))
  xacml
    .command('evaluate')
    .argument('<policy>', 'a Policy or PolicySet')
    .argument('<request>', 'a Request, in XML or JSON; - reads it from standard input')
    .description('what the policy says to a request: a Response, in XML or JSON')
    .addOption(others())
    .action(async (file: string, request: string, given: { with: string[] }) =>
      (await import('./commands/xacml.ts')).xacmlEvaluate(file, request, given.with),
    )
  xacml
    .command('functions')
    .description('the functions that policies may use')
    .action(async () => (await import('./commands/xacml.ts')).xacmlFunctions())

  const policy = program.command('policy').description('the policy: show, plan, test, apply, import, schema')
  withRing(
    policy.command('show').description('the policy in force'),
    () => async (client, format) => (await import('./commands/policy.ts')).policyShow(client, format),
  )
  withRing(
    policy
      .command('plan')
      .argument('[file]', 'the wanted policy', 'ringwall.yaml')
      .option('--exit-code', 'fail when there are differences')
      .description('what applying a file would change'),
    ([file], options) =>
      async (client, format) =>
        (await import('./commands/policy.ts')).policyPlan(client, format, file as string, options.exitCode === true),
  )
  withRing(
    policy
      .command('test')
      .argument('[file]', 'the wanted policy', 'ringwall.yaml')
      .description('run the policy’s own tests, and weigh its rules'),
    ([file]) =>
      async (client, format) =>
        (await import('./commands/policy.ts')).policyTest(client, format, file as string),
  )
  withRing(
    policy
      .command('apply')
      .argument('[file]', 'the wanted policy', 'ringwall.yaml')
      .option('-y, --yes', 'without being asked')
      .option(
        '--against <version>',
        'refuse unless this version is in force, as plan printed it',
        whole('--against', 0, 999_999_999),
      )
      .addOption(dryRun())
      .description('propose it to the ring'),
    ([file], options) =>
      async (client) =>
        (await import('./commands/policy.ts')).policyApply(client, file as string, {
          yes: options.yes === true,
          against: options.against as number | undefined,
          dryRun: options.dryRun === true,
        }),
  )
  policy
    .command('import')
    .description('take over what requests of a service look like')
    .command('openapi')
    .argument('<file>', 'an OpenAPI 3.0 or 3.1 document, JSON or YAML')
    .requiredOption('--service <name>', 'whose requests it describes')
    .addOption(
      new Option('--mode <mode>', 'refuse what is outside, or only record')
        .choices(['enforce', 'shadow', 'off'])
        .default('shadow'),
    )
    .addOption(
      new Option('--unknown-query <what>', 'query parameters that are not declared').choices(['deny', 'pass']).default('deny'),
    )
    .option('--base-path <path>', 'what paths begin with (default: as the document’s servers say)')
    .option('--policy <file>', 'the policy to change; without it the part is printed')
    .description('import an OpenAPI document as services.NAME.api')
    .action(async (file: string, given: Record<string, string | undefined>) => {
      const { policyImportOpenApi } = await import('./commands/policy-import.ts')
      policyImportOpenApi(file, {
        service: given.service as string,
        mode: given.mode as 'enforce' | 'shadow' | 'off',
        unknownQuery: given.unknownQuery as 'deny' | 'pass',
        basePath: given.basePath,
        policy: given.policy,
      })
    })
  withRing(
    policy.command('schema').description('the policy’s JSON Schema, for editors'),
    () => async (client) => (await import('./commands/policy.ts')).policySchema(client),
  )

  const rule = program.command('rule').description('rules of the WAF: ls, show, test, explain, except, estimate, patch, install')
  const local = (): Option => new Option('--local', 'counts of the asked node only, not of all that answer')
  withRing(
    rule
      .command('ls')
      .description('rules in force: what they matched, what they cost')
      .option('--tag <text>', 'only with a tag that holds this')
      .option('--hit', 'only those that matched something')
      .addOption(new Option('--sort <by>', 'order').choices(['id', 'hits', 'cost']).default('id'))
      .addOption(local())
      .addOption(watch()),
    (_args, options) => async (client, format) =>
      (await import('./commands/rule.ts')).ruleList(client, format, {
        tag: options.tag as string | undefined,
        hit: options.hit === true,
        sort: options.sort as 'id' | 'hits' | 'cost',
        local: options.local === true,
      }),
  )
  withRing(
    rule.command('show').argument('<id>').description('one rule: its text, what it means, what it did').addOption(local()),
    ([id], options) =>
      async (client, format) =>
        (await import('./commands/rule.ts')).ruleShow(client, format, id as string, options.local === true),
  )

  const yes = (): Option => new Option('-y, --yes', 'without being asked')
  const except = withRing(
    rule
      .command('except')
      .argument('<request-id>', 'of a request that should not have been refused')
      .description('let it pass: the narrowest exceptions from rules, for a time; or ls, rm')
      .addOption(new Option('--ttl <duration>', 'for how long, at most 90d').default('7d'))
      .option('--reason <text>', 'why; required')
      .option('--owner <name>', 'who answers for it (default: the operator of the context)')
      .option('--path <path>', 'wider than the request’s own: a path, or one that ends in /*')
      .option('--rule <id>', 'from this rule only', whole('--rule', 1, 999_999_999))
      .addOption(yes())
      .addOption(dryRun()),
    ([id], options) =>
      async (client, format) => {
        const [{ ruleExcept }, { readContext }] = await Promise.all([import('./commands/rule-except.ts'), import('./session.ts')])
        await ruleExcept(client, format, id as string, {
          ttlMs: parseTtl(options.ttl as string),
          reason: (options.reason as string | undefined) ?? '',
          owner: (options.owner as string | undefined) ?? readContext(options.context as string | undefined).name,
          path: options.path as string | undefined,
          rule: options.rule as number | undefined,
          yes: options.yes === true,
          dryRun: options.dryRun === true,
        })
      },
  )
  withRing(
    rule
      .command('estimate')
      .description('what rules that only watch (learn, shadow) would refuse, and how much of it looks like false positives')
      .option('--route <label>', 'only this service or route, as rule show names it')
      .addOption(local())
      .addOption(watch()),
    (_args, options) => async (client, format) =>
      (await import('./commands/rule-estimate.ts')).ruleEstimate(
        client,
        format,
        options.route as string | undefined,
        options.local === true,
      ),
  )
  const listExceptions = (command: Command): Command =>
    withRing(
      command.description('what is excepted from rules').addOption(watch()),
      () => async (client, format) => (await import('./commands/rule-except.ts')).exceptionList(client, format),
    )
  listExceptions(except.command('ls'))
  listExceptions(rule.command('exceptions'))
  withRing(
    except
      .command('rm')
      .alias('remove')
      .argument('[names...]')
      .description('end exceptions before their time')
      .option('--lapsed', 'all whose time is over')
      .addOption(yes())
      .addOption(dryRun()),
    (names, options) => async (client) =>
      (await import('./commands/rule-except.ts')).exceptionRemove(client, names.flat(), {
        lapsed: options.lapsed === true,
        yes: options.yes === true,
        dryRun: options.dryRun === true,
      }),
  )

  const patch = withRing(
    rule
      .command('patch')
      .argument('<file>', 'a patch with its tests, as YAML')
      .description('put a virtual patch into the policy, for a time; or ls, enforce, shadow, rm')
      .addOption(new Option('--mode <mode>', 'only record, or refuse').choices(['shadow', 'enforce']).default('shadow'))
      .addOption(new Option('--ttl <duration>', 'for how long, at most 90d').default('30d'))
      .option('--reason <text>', 'why; required')
      .option('--owner <name>', 'who answers for it (default: the operator of the context)')
      .addOption(yes())
      .addOption(dryRun()),
    ([file], options) =>
      async (client) => {
        const [{ rulePatch }, { readContext }] = await Promise.all([import('./commands/rule-patch.ts'), import('./session.ts')])
        await rulePatch(client, file as string, {
          ttlMs: parseTtl(options.ttl as string),
          reason: (options.reason as string | undefined) ?? '',
          owner: (options.owner as string | undefined) ?? readContext(options.context as string | undefined).name,
          mode: options.mode as 'shadow' | 'enforce',
          yes: options.yes === true,
          dryRun: options.dryRun === true,
        })
      },
  )
  withRing(
    patch.command('ls').description('patches of the policy in force').addOption(watch()),
    () => async (client, format) => (await import('./commands/rule-patch.ts')).patchList(client, format),
  )
  const patchModes = [
    ['enforce', 'enforce', 'refuse what a patch matches'],
    ['shadow', 'shadow', 'only record what a patch matches'],
    ['rm', undefined, 'take a patch out of the policy'],
  ] as const
  for (const [name, mode, description] of patchModes)
    withRing(
      patch.command(name).argument('<name>').description(description).addOption(yes()).addOption(dryRun()),
      ([named], options) =>
        async (client) =>
          (await import('./commands/rule-patch.ts')).patchChange(client, named as string, mode, {
            yes: options.yes === true,
            dryRun: options.dryRun === true,
          }),
    )

  rule
    .command('install')
    .argument('<set>', 'crs')
    .description('install the OWASP Core Rule Set from a release archive whose checksum you name')
    .requiredOption('--version <version>', 'such as 4.7.0')
    .requiredOption('--sha256 <hex>', 'of the archive, from the project’s release notes')
    .option('--from <file|url>', 'a .tar.gz of the release (default: the project’s own)')
    .option('--to <dir>', 'a new folder (default: ./crs-VERSION)')
    .addOption(dryRun())
    .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
    .action(async (set: string, options: Record<string, unknown>) => {
      const { ruleInstall } = await import('./commands/rule-install.ts')
      await ruleInstall(options.output as Format, set, {
        version: options.version as string,
        sha256: options.sha256 as string,
        from: options.from as string | undefined,
        to: options.to as string | undefined,
        dryRun: options.dryRun === true,
      })
    })

  const onRequest = (command: Command): Command =>
    command
      .option(
        '--rules <set>',
        'base, crs, a folder or a .conf file; repeatable',
        (set: string, sets: string[]) => [...sets, set],
        [],
      )
      .option('--paranoia <level>', '1 to 4 (default: 1)', whole('--paranoia', 1, 4))
      .option('--request <file>', 'a request as on the wire; - reads standard input')
      .option('-X, --method <method>', 'of the request')
      .option('-H, --header <line>', '"Name: value"; repeatable', (line: string, lines: string[]) => [...lines, line], [])
      .option('-d, --data <text>', 'body of the request; @FILE reads a file')
      .option('--source <address>', 'the client’s address')
      .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
  const trial = (options: Record<string, unknown>) => ({
    rules: options.rules as string[],
    paranoia: options.paranoia as 1 | 2 | 3 | 4 | undefined,
    request: options.request as string | undefined,
    method: options.method as string | undefined,
    headers: options.header as string[],
    body: options.data as string | undefined,
    source: options.source as string | undefined,
  })
  onRequest(rule.command('test').argument('[cases...]', 'files or folders of cases; or one target such as /search?q=a'))
    .description('try rules on requests, without a ring: are they judged as expected?')
    .addOption(new Option('--expect <outcome>', 'of a single request').choices(['allow', 'deny']))
    .option('--expect-rule <id>', 'that matches a single request; repeatable', collectIds, [])
    .action(async (given: string[], options: Record<string, unknown>) => {
      const { ruleTest } = await import('./commands/rule-trial.ts')
      const expect = options.expect as 'allow' | 'deny' | undefined
      ruleTest(options.output as Format, given, { ...trial(options), expect, expectRules: options.expectRule as number[] })
    })
  onRequest(rule.command('explain').argument('[target]', 'such as /search?q=a, or a URL'))
    .description('try rules on one request, without a ring: which match, where, why; -o wide also those that only prepare')
    .action(async (target: string | undefined, options: Record<string, unknown>) => {
      const { ruleExplain } = await import('./commands/rule-trial.ts')
      ruleExplain(options.output as Format, target, trial(options))
    })

  const api = program.command('api').description('what services declare and what is asked of them: ls')
  withRing(
    api
      .command('ls')
      .description('declared operations with how often they were asked of this node')
      .option('--unknown', 'endpoints that no service declares')
      .addOption(watch()),
    (_args, options) => async (client, format) =>
      (await import('./commands/api.ts')).apiList(client, format, options.unknown === true),
  )

  const approve = withRing(
    program
      .command('approve')
      .argument('<id>', 'as ls shows it, or its beginning')
      .description('approve what another operator proposed; or ls')
      .addOption(reason())
      .addOption(dryRun()),
    ([id], options) =>
      async (client) =>
        (await import('./commands/approve.ts')).approve(client, id as string, options.reason as string, options.dryRun === true),
  )
  withRing(
    approve.command('ls').description('what waits for operators').addOption(watch()),
    () => async (client, format) => (await import('./commands/approve.ts')).approvalList(client, format),
  )

  const workload = program.command('workload').description('programs that get certificates from the node on their machine: ls')
  withRing(
    workload.command('ls').description('of the node that answers; --node asks another').addOption(watch()),
    () => async (client, format) => (await import('./commands/workloads.ts')).workloadList(client, format),
  )

  const key = program
    .command('key')
    .description('the keys that the validators hold together: ls, show, refresh, rotate; saml, a node’s own')
  withRing(
    key.command('ls').description('how they stand').addOption(watch()),
    () => async (client, format) => (await import('./commands/keys.ts')).keyList(client, format),
  )
  withRing(
    key.command('show').argument('[name]', 'signing or sealing; both without').description('who holds it, since when, who lied'),
    ([name]) =>
      async (client, format) =>
        (await import('./commands/keys.ts')).keyShow(client, format, name),
  )
  withRing(
    key.command('saml').description('what the policy needs under saml.keys, of the node that answers; --node asks another'),
    () => async (client, format) => (await import('./commands/keys.ts')).keySaml(client, format),
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
          (await import('./commands/keys.ts')).keyChange(
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
      (await import('./commands/tokens.ts')).tokenMint(client, format, {
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
        (await import('./commands/tokens.ts')).tokenShow(client, format, text as string),
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
        (await import('./commands/tokens.ts')).tokenRevoke(
          client,
          text as string,
          options.reason as string,
          options.dryRun === true,
        ),
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
        (await import('./commands/identity.ts')).identityMint(client, name as string, {
          directory: (options.directory as string | undefined) ?? (name as string),
          ttlMs: parseTtl(options.ttl as string),
        }),
  )
  const nodesToAsk = (): Option =>
    new Option('--node <url>', 'a node’s admin API; may be given again').argParser(collect).default([])
  identity
    .command('keep')
    .argument('<directory>', 'as ringwall identity mint wrote it')
    .description('renew a service’s certificate at half of its life, as the service; needs no operator')
    .addOption(nodesToAsk())
    .option('--once', 'now, and end')
    .action(async (directory: string, { node: nodes, once }: { node: string[]; once?: true }) =>
      (await import('./commands/identity.ts')).identityKeep(directory, nodes, once === true),
    )
  identity
    .command('token')
    .argument('<directory>', 'as ringwall identity mint wrote it')
    .description('a token of the service itself, for one audience; needs no operator')
    .requiredOption('--audience <name>', 'the service that is to take it')
    .option('--ttl <duration>', 'for how long, an hour at most', '5m')
    .addOption(nodesToAsk())
    .action(async (directory: string, { node: nodes, audience, ttl }: { node: string[]; audience: string; ttl: string }) =>
      (await import('./commands/identity.ts')).identityToken(directory, nodes, { audience, ttlMs: parseTtl(ttl) }),
    )

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
        .option('--group <name>', 'that they are in; repeatable', several, []),
    ),
    ([name], options) =>
      async (client, format) => {
        const { personAdd } = await import('./commands/people.ts')
        await personAdd(client, format, name as string, { ...invite(options), groups: options.group as readonly string[] })
      },
  )
  withRing(
    person.command('ls').description('everybody, and how they log in').addOption(watch()),
    () => async (client, format) => (await import('./commands/people.ts')).personList(client, format),
  )
  withRing(
    person.command('show').argument('<name>').description('one person'),
    ([name]) =>
      async (client, format) =>
        (await import('./commands/people.ts')).personShow(client, format, name as string),
  )
  withRing(
    inviting(
      person.command('reset').argument('<name>').description('forget how somebody logs in, and end their sessions everywhere'),
    ),
    ([name], options) =>
      async (client, format) =>
        (await import('./commands/people.ts')).personReset(client, format, name as string, invite(options)),
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
        (await import('./commands/people.ts')).personRemove(client, format, name as string, invite(options)),
  )

  const vault = program
    .command('vault')
    .description(
      'secrets, sealed to the ring: put, get, ls, rm, history, pass, lease, leases, renew, revoke, run; objects: status, access-key',
    )
  const contextFile = (): Option => new Option('--context <file>', 'the operator’s context')
  const formatted = (): Option => new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat)
  const service = (): Option =>
    new Option('--identity <dir>', 'as the service whose certificate ringwall identity mint wrote there')
  /** A service names its nodes by URL, an operator has them in the context. */
  const vaultSession = async ({ identity: directory, context, node }: SessionGlobals) => {
    const { operatorSession, serviceSession } = await import('./commands/vault-session.ts')
    if (directory !== undefined) return serviceSession(directory, node)
    return operatorSession({ ...(context === undefined ? {} : { context }), ...(node[0] === undefined ? {} : { node: node[0] }) })
  }
  vault
    .command('put')
    .argument('<name>', 'such as shop/db-password')
    .description('another version of a secret: from standard input, or a file')
    .option('--file <file>', 'its bytes, as they are')
    .option('--ttl <duration>', 'nobody opens it afterwards')
    .option('--cas <version>', 'only if this version is the newest; 0: only if there is none', whole('--cas', 0, 999_999_999))
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .addOption(formatted())
    .action(async (name: string, options: VaultGlobals & { file?: string; ttl?: string; cas?: number }) => {
      const { vaultPut } = await import('./commands/vault.ts')
      const ttlMs = options.ttl === undefined ? 0 : parseTtl(options.ttl)
      const { file, cas } = options
      await vaultPut(await vaultSession(options), options.output, name, { file, ttlMs, cas })
    })
  vault
    .command('get')
    .argument('<name>')
    .description('open a secret: its bytes on standard output')
    .option('--version <n>', 'not the newest', whole('--version', 1, 999_999_999))
    .addOption(service())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .addOption(formatted())
    .action(async (name: string, options: VaultGlobals & { version?: number }) => {
      const { vaultGet } = await import('./commands/vault.ts')
      await vaultGet(await vaultSession(options), options.output, name, options.version ?? 0)
    })
  withRing(
    vault
      .command('ls')
      .argument('[path]', 'those of this name and below it')
      .description('what secrets there are')
      .addOption(watch()),
    ([path]) =>
      async (client, format) =>
        (await import('./commands/vault.ts')).vaultList(client, format, path),
  )
  withRing(
    vault.command('history').argument('<name>').description('its versions, and who had it opened'),
    ([name]) =>
      async (client, format) =>
        (await import('./commands/vault.ts')).vaultHistory(client, format, name as string),
  )
  withRing(
    vault
      .command('rm')
      .argument('<name>')
      .description('delete a secret, for ever: nobody opens it any more')
      .option('--version <n>', 'this version only; may be given again', (text: string, held: readonly number[] | undefined) => [
        ...(held ?? []),
        whole('--version', 1, 999_999_999)(text),
      ])
      .addOption(reason())
      .addOption(dryRun()),
    ([name], options) =>
      async (client) =>
        (await import('./commands/vault.ts')).vaultRemove(client, name as string, {
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
      const { vaultStatus } = await import('./commands/objects.ts')
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
      const { accessKeyAdd } = await import('./commands/objects.ts')
      await accessKeyAdd(await vaultSession(options), options.output, identity, options.reason)
    })
  withRing(
    accessKey.command('ls').description('access keys, and whose they are'),
    () => async (client, format) => (await import('./commands/objects.ts')).accessKeyList(client, format),
  )
  withRing(
    accessKey.command('rm').argument('<id>').description('an access key that nobody uses any more').addOption(reason()),
    ([id], options) =>
      async (client) =>
        (await import('./commands/objects.ts')).accessKeyRemove(client, id as string, options.reason as string),
  )
  vault
    .command('pass')
    .description('a token for clients of HashiCorp Vault, as their X-Vault-Token')
    .option('--service <name>', 'of which service; an operator names it')
    .option('--ttl <duration>', 'how long it is good: at most 1h', '1h')
    .addOption(service())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .action(async (options: SessionGlobals & { service?: string; ttl: string }) => {
      const { vaultPass } = await import('./commands/vault-pass.ts')
      await vaultPass(await vaultSession(options), options.service, parseTtl(options.ttl))
    })
  vault
    .command('lease')
    .argument('<database/role>', 'of the policy (vault.databases)')
    .description('a database user for a time: its URL with its password on standard output')
    .option('--ttl <duration>', 'how long unless it is renewed; as the role has it without')
    .addOption(service())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .addOption(formatted())
    .action(async (place: string, options: VaultGlobals & { ttl?: string }) => {
      const { leaseBegin } = await import('./commands/lease.ts')
      await leaseBegin(await vaultSession(options), options.output, place, options.ttl === undefined ? 0 : parseTtl(options.ttl))
    })
  vault
    .command('renew')
    .argument('<lease>')
    .description('have a lease last longer')
    .option('--ttl <duration>', 'how long from now; as the role has it without')
    .addOption(service())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .action(async (id: string, options: SessionGlobals & { ttl?: string }) => {
      const { leaseRenew } = await import('./commands/lease.ts')
      await leaseRenew(await vaultSession(options), id, options.ttl === undefined ? 0 : parseTtl(options.ttl))
    })
  vault
    .command('revoke')
    .argument('<lease>')
    .description('end a lease now: its connections are cut, and its user is dropped')
    .addOption(service())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .action(async (id: string, options: SessionGlobals) => {
      const { leaseRevoke } = await import('./commands/lease.ts')
      await leaseRevoke(await vaultSession(options), id)
    })
  withRing(
    vault.command('leases').description('database users that there are').addOption(watch()),
    () => async (client, format) => (await import('./commands/lease.ts')).leaseList(client, format),
  )
  vault
    .command('run')
    .argument('<command...>', 'the program and its arguments, after --')
    .description('run a program with secrets in its environment')
    .option('--env <variable=secret>', 'may be given again', collect, [])
    .option('--from <path>', 'all secrets directly below it: db-password becomes DB_PASSWORD; for operators')
    .addOption(service())
    .addOption(contextFile())
    .addOption(nodesToAsk())
    .passThroughOptions()
    .action(async (command: string[], options: VaultGlobals & { env: string[]; from?: string }) => {
      const { vaultRun } = await import('./commands/vault.ts')
      const { env, from } = options
      await vaultRun(await vaultSession(options), command, { env, from })
    })
  addTransit(program, {
    withRing,
    reason,
    dryRun,
    watch,
    whole,
    sessionOptions: () => [service(), contextFile(), nodesToAsk()],
    session: vaultSession,
  })

  withRing(
    program
      .command('explain')
      .argument('<request-id>', 'as in the response’s x-request-id')
      .description('why a request was answered as it was'),
    ([id]) =>
      async (client, format) =>
        (await import('./commands/explain.ts')).explain(client, format, id as string),
  )
  withRing(
    program
      .command('top')
      .description('what was asked most')
      .option('--by <key>', 'source, path, rule, service', 'source')
      .option('--window <duration>', 'of the last', '5m')
      .addOption(watch()),
    (_args, options) => async (client, format) =>
      (await import('./commands/ring.ts')).top(client, format, options.by as string, parseTtl(options.window as string)),
  )
  withRing(
    program.command('events').description('what happened').option('-f, --follow', 'and what happens'),
    (_args, options) => async (client, format) =>
      (await import('./commands/ring.ts')).events(client, format, options.follow === true),
  )

  const ledger = program.command('ledger').description('the ledger: ls, show, tail; as files: verify, backup, restore')
  withRing(
    ledger
      .command('ls')
      .description('newest blocks')
      .option('--limit <n>', 'how many', whole('--limit', 1, 200), 20)
      .addOption(watch()),
    (_args, options) => async (client, format) =>
      (await import('./commands/ring.ts')).ledgerList(client, format, options.limit as number),
  )
  withRing(
    ledger.command('show').argument('<height>').description('one block'),
    ([height]) =>
      async (client, format) =>
        (await import('./commands/ring.ts')).ledgerShow(client, format, height as string),
  )
  withRing(
    ledger.command('tail').description('blocks as they come'),
    () => async (client) => (await import('./commands/ring.ts')).ledgerTail(client),
  )

  const onFiles = (command: Command): Command =>
    command
      .requiredOption('--config <file>', 'the node’s configuration: node.yaml')
      .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
  onFiles(ledger.command('verify').argument('[backup]', 'a backup, instead of the node’s own ledger'))
    .description('check every hash, link, certificate and execution, without a ring')
    .action(async (backup: string | undefined, { config, output }: { config: string; output: Format }) => {
      const [{ verifyLedgerFiles }, { printReport }] = await Promise.all([
        import('@ringwall/node'),
        import('./commands/ledger-files.ts'),
      ])
      printReport(output, await verifyLedgerFiles(config, backup))
    })
  onFiles(ledger.command('backup').argument('<folder>', 'a new folder'))
    .description('copy the ledger, beside a running node, and verify the copy')
    .action(async (folder: string, { config, output }: { config: string; output: Format }) => {
      const [{ backupLedger }, { printReport }] = await Promise.all([
        import('@ringwall/node'),
        import('./commands/ledger-files.ts'),
      ])
      printReport(output, await backupLedger(config, folder))
    })
  onFiles(ledger.command('restore').argument('<folder>', 'what backup wrote'))
    .description('put a backup into the empty ledger of a stopped node, if it verifies')
    .action(async (folder: string, { config, output }: { config: string; output: Format }) => {
      const [{ restoreLedger }, { printReport }] = await Promise.all([
        import('@ringwall/node'),
        import('./commands/ledger-files.ts'),
      ])
      printReport(output, await restoreLedger(config, folder))
    })

  const receipt = program.command('receipt').description('a decision with its proof: export, verify')
  withRing(
    receipt
      .command('export')
      .argument('<request-id>', 'the x-request-id of a response')
      .description('a decision, signed and proven, as JSON on standard output'),
    ([requestId]) =>
      async (client) =>
        (await import('./commands/receipt.ts')).receiptExport(client, requestId as string),
  )
  receipt
    .command('verify')
    .argument('<file>', 'what export wrote')
    .description('check a receipt without a ring, a network or a key')
    .requiredOption('--genesis <file>', 'the ring’s genesis document')
    .addOption(new Option('-o, --output <format>', FORMATS.join(', ')).default('table').argParser(parseFormat))
    .action(async (file: string, { genesis, output }: { genesis: string; output: Format }) => {
      const [{ verifyReceiptFile }, { printVerdict }] = await Promise.all([
        import('@ringwall/node'),
        import('./commands/receipt.ts'),
      ])
      printVerdict(output, verifyReceiptFile(file, genesis))
    })

  withRing(
    program.command('console').description('the link that opens the console, signed in'),
    (_args, options) => async (client) =>
      (await import('./commands/console.ts')).consoleLink(client, options.context as string | undefined),
  )
  program
    .command('version')
    .description('of this installation')
    .action(async () => write((await import('@ringwall/node')).VERSION))
  program
    .command('completion')
    .argument('<shell>', 'bash, zsh, fish')
    .description('a completion script: source <(ringwall completion bash)')
    .action(async (shell: string) => write((await import('./completion.ts')).completion(program, shell).trimEnd()))
  return program
}

/** Everywhere: throw instead of exiting, and say nothing that is not said below. */
function quiet(command: Command): void {
  command.exitOverride().configureOutput({ writeErr: () => {} })
  for (const child of command.commands) quiet(child)
}

/** The exit code, after one line that says what is wrong. */
function report(error: unknown): number {
  const say = (line: string): void => void process.stderr.write(`ringwall: ${line}\n`)
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0
    if (error.code === 'commander.help') {
      process.stderr.write('usage: ringwall COMMAND; ringwall --help lists them\n')
      return 2
    }
    say(error.message.replace(/^error: /, ''))
    return 2
  }
  if (error instanceof QuietFailure) return 1
  if (error instanceof UsageError || error instanceof ContextInvalid) {
    say(error.message)
    return 2
  }
  if (error instanceof ApiError || error instanceof NodeUnreachable) {
    say(error instanceof ApiError && error.status < 500 ? `refused: ${error.message}` : error.message)
    return 1
  }
  const known = error instanceof Error && 'code' in error
  say(error instanceof Error ? `${known ? '' : 'unexpected: '}${error.message}` : String(error))
  return 1
}

/**
 * Whoever reads may stop reading (`| head`), and a disk may be full: neither is a defect to show a stack for. What serves goes on
 * serving: traffic must not end because whoever read its log did.
 */
function watchOutput(stream: NodeJS.WriteStream): void {
  let told = false
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (SERVING.has(process.argv[2] ?? '')) {
      if (!told) process.stderr.write(`ringwall: nobody reads the output (${error.code ?? error.message}); serving goes on\n`)
      told = true
      return
    }
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0)
    process.stderr.write(`ringwall: the output cannot be written: ${error.code ?? error.message}\n`)
    process.exit(1)
  })
}

/** Commands that run until they are stopped, in front of others' traffic. */
interface UpFlags {
  readonly to?: string
  readonly nodes: number
  readonly operators: number
  readonly seal: 'off' | 'local' | 'ring'
  readonly data: string
  readonly ports: number
  readonly s3?: true
}

const SERVING: ReadonlySet<string> = new Set(['node', 'protect', 'sidecar', 'up'])

/** When the log's reader and the error's are one and have gone. */
process.stderr.on('error', () => undefined)
watchOutput(process.stdout)
const program = buildProgram()
quiet(program)
try {
  await program.parseAsync(process.argv)
} catch (error) {
  process.exitCode = report(error)
}

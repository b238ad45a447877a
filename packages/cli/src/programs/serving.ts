/** Commands that run: up, protect, sidecar. */
import { type Command, Option } from 'commander'
import { UsageError } from '../errors.ts'
import { whole } from './options.ts'

interface UpFlags {
  readonly to?: string
  readonly nodes: number
  readonly operators: number
  readonly seal: 'off' | 'local' | 'ring'
  readonly data: string
  readonly ports: number
  readonly s3?: true
}

export function addServing(program: Command): void {
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
}

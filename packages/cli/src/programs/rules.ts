/** The verbs of the WAF’s rules, and of what services declare. */
import { type Command, Option } from 'commander'
import { parseDuration } from '../format.ts'
import { FORMATS, type Format, parseFormat } from '../output.ts'
import { collectIds, dryRun, watch, whole, withRing } from './options.ts'

export function addRules(program: Command): void {
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
      (await import('../commands/rule.ts')).ruleList(client, format, {
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
        (await import('../commands/rule.ts')).ruleShow(client, format, id as string, options.local === true),
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
        const [{ ruleExcept }, { readContext }] = await Promise.all([
          import('../commands/rule-except.ts'),
          import('../session.ts'),
        ])
        await ruleExcept(client, format, id as string, {
          ttlMs: parseDuration(options.ttl as string),
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
      (await import('../commands/rule-estimate.ts')).ruleEstimate(
        client,
        format,
        options.route as string | undefined,
        options.local === true,
      ),
  )
  const listExceptions = (command: Command): Command =>
    withRing(
      command.description('what is excepted from rules').addOption(watch()),
      () => async (client, format) => (await import('../commands/rule-except.ts')).exceptionList(client, format),
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
      (await import('../commands/rule-except.ts')).exceptionRemove(client, names.flat(), {
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
        const [{ rulePatch }, { readContext }] = await Promise.all([import('../commands/rule-patch.ts'), import('../session.ts')])
        await rulePatch(client, file as string, {
          ttlMs: parseDuration(options.ttl as string),
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
    () => async (client, format) => (await import('../commands/rule-patch.ts')).patchList(client, format),
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
          (await import('../commands/rule-patch.ts')).patchChange(client, named as string, mode, {
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
      const { ruleInstall } = await import('../commands/rule-install.ts')
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
      const { ruleTest } = await import('../commands/rule-trial.ts')
      const expect = options.expect as 'allow' | 'deny' | undefined
      ruleTest(options.output as Format, given, { ...trial(options), expect, expectRules: options.expectRule as number[] })
    })
  onRequest(rule.command('explain').argument('[target]', 'such as /search?q=a, or a URL'))
    .description('try rules on one request, without a ring: which match, where, why; -o wide also those that only prepare')
    .action(async (target: string | undefined, options: Record<string, unknown>) => {
      const { ruleExplain } = await import('../commands/rule-trial.ts')
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
      (await import('../commands/api.ts')).apiList(client, format, options.unknown === true),
  )
}

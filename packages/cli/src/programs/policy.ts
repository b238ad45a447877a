/** The verbs of the policy. */
import { type Command, Option } from 'commander'
import { dryRun, whole, withRing } from './options.ts'

export function addPolicy(program: Command): void {
  const policy = program.command('policy').description('the policy: show, plan, test, apply, import, schema')
  withRing(
    policy.command('show').description('the policy in force'),
    () => async (client, format) => (await import('../commands/policy.ts')).policyShow(client, format),
  )
  withRing(
    policy
      .command('plan')
      .argument('[file]', 'the wanted policy', 'ringwall.yaml')
      .option('--exit-code', 'fail when there are differences')
      .description('what applying a file would change'),
    ([file], options) =>
      async (client, format) =>
        (await import('../commands/policy.ts')).policyPlan(client, format, file as string, options.exitCode === true),
  )
  withRing(
    policy
      .command('test')
      .argument('[file]', 'the wanted policy', 'ringwall.yaml')
      .description('run the policy’s own tests, and weigh its rules'),
    ([file]) =>
      async (client, format) =>
        (await import('../commands/policy.ts')).policyTest(client, format, file as string),
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
        (await import('../commands/policy.ts')).policyApply(client, file as string, {
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
      const { policyImportOpenApi } = await import('../commands/policy-import.ts')
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
    () => async (client) => (await import('../commands/policy.ts')).policySchema(client),
  )
}

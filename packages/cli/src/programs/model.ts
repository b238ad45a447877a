/** The verbs of the model of requests. */
import { type Command, Option } from 'commander'
import { changing, watch, withRing } from './options.ts'

export function addModel(program: Command): void {
  const model = program
    .command('model')
    .description('what nodes learn from requests: ls, show, train, use, revert, explain, label')
  withRing(
    model.command('ls').description('models that the node has, the latest first').addOption(watch()),
    () => async (client, format) => (await import('../commands/model.ts')).modelList(client, format),
  )
  withRing(
    model
      .command('show')
      .description('which model judges, how far it is rolled out, and what it did on the node')
      .addOption(watch()),
    () => async (client, format) => (await import('../commands/model.ts')).modelShow(client, format),
  )
  withRing(
    model.command('train').description('have the ring train one, led by the node'),
    () => async (client, format) => (await import('../commands/model.ts')).modelTrain(client, format),
  )
  withRing(
    changing(
      model
        .command('use')
        .argument('<hash>', 'or how it begins')
        .description('have a model judge')
        .addOption(new Option('--stage <stage>', 'where it refuses: shadow, node:ID, region:NAME, all').default('shadow')),
    ),
    ([hash], { stage, yes, dryRun }) =>
      async (client) =>
        (await import('../commands/model.ts')).modelUse(client, hash as string, stage as string, {
          yes: yes === true,
          dryRun: dryRun === true,
        }),
  )
  withRing(
    changing(model.command('revert').description('back to the model before, which only watches; to none, when there was none')),
    (_args, { yes, dryRun }) =>
      async (client) =>
        (await import('../commands/model.ts')).modelRevert(client, { yes: yes === true, dryRun: dryRun === true }),
  )
  withRing(
    model
      .command('explain')
      .argument('<request-id>')
      .description('what the model says of a request that the node keeps, and why'),
    ([id]) =>
      async (client, format) =>
        (await import('../commands/model.ts')).modelExplain(client, format, id as string),
  )
  withRing(
    model
      .command('label')
      .argument('<request-id>')
      .argument('<what>', 'honest or hostile')
      .description('say what a request was, for the next training on the node'),
    ([id, what]) =>
      async (client) =>
        (await import('../commands/model.ts')).modelLabel(client, id as string, what as string),
  )
}

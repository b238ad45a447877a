/** The model of requests: how it stands, training, what it says of a request; and which one judges, as a change of the policy. */
import type { Model, ModelScore, RingwallClient } from '@ringwall/client'
import { isMap, parseDocument } from 'yaml'
import { UsageError } from '../errors.ts'
import { duration, printable, time } from '../format.ts'
import { type Format, printList, printOne } from '../output.ts'
import { applyConfirmed, changeLine, refuseProblems } from './policy.ts'

type Held = Model['models'][number]

interface ChangeOptions {
  readonly yes: boolean
  readonly dryRun: boolean
}

interface Settings {
  readonly train?: boolean
  readonly use?: string
  readonly stage?: string
  readonly previous?: string
}

export async function modelList(client: RingwallClient, format: Format): Promise<void> {
  const model = await client.model()
  printList<Held>(
    format,
    model.models,
    [
      { title: 'MODEL', value: ({ hash }) => hash.slice(0, 12) },
      { title: 'IN USE', value: ({ hash }) => (hash === model.use ? printable(model.stage ?? '') : '') },
      { title: 'MADE', value: ({ about }) => (about === null ? 'elsewhere' : `${duration(Date.now() - about.madeAtMs)} ago`) },
      { title: 'NODES', value: ({ about }) => printable(about?.nodes.join(', ') ?? '') },
      { title: 'AUC', value: ({ about }) => about?.auc?.toFixed(4) ?? '' },
      { title: 'EPSILON', value: ({ about }) => about?.epsilon.toFixed(2) ?? '' },
      { title: 'HASH', value: ({ hash }) => hash, wide: true },
    ],
    ({ hash }) => hash,
    `${model.node} has no model; ringwall model train makes one`,
  )
}

export async function modelShow(client: RingwallClient, format: Format): Promise<void> {
  printOne<Model>(format, await client.model(), textOf, '')
}

function textOf(model: Model): string {
  const { use, counts, examples } = model
  const how = model.enforces ? 'refuses here' : 'only watches here'
  return [
    use === null ? 'the policy names no model' : `model      ${use}${model.held ? '' : ', which has not come yet'}`,
    ...(use === null ? [] : [`stage      ${printable(model.stage ?? '')}, from a score of ${model.threshold}; ${how}`]),
    ...(model.previous === null ? [] : [`before it  ${model.previous}`]),
    ...(model.reverted === null ? [] : [`reverted   ${printable(model.reverted)}`]),
    `judged     ${counts.judged} that nothing else objected to, ${counts.over} over the threshold, ${counts.refused} refused`,
    `examples   ${examples.hostile} attacks, ${examples.honest} honest, ${examples.labelled} by operators; ${model.train ? 'training is on' : 'training is off'}`,
    `told       epsilon ${model.epsilon.toFixed(2)}${model.epsilonMax === null ? '' : ` of ${model.epsilonMax}`} in 30 days, at delta 1e-5`,
    '',
  ].join('\n')
}

export async function modelTrain(client: RingwallClient, format: Format): Promise<void> {
  const trained = await client.modelTrain()
  for (const { node, why } of trained.missing) process.stderr.write(`${node} took no part: ${printable(why)}\n`)
  printOne(
    format,
    trained,
    ({ hash, nodes, auc, epsilon, tolerates, madeAtMs }) =>
      `${hash}\ntrained    by ${printable(nodes.join(', '))} until ${time(madeAtMs)}; ${tolerates} of them may have lied\nAUC        ${auc?.toFixed(4) ?? 'not known'}, on requests of the leader that it did not train on\ntold       epsilon ${epsilon.toFixed(2)} at delta 1e-5\nit judges nothing yet: ringwall model use ${hash.slice(0, 12)} --stage shadow\n`,
    trained.hash,
  )
}

export async function modelExplain(client: RingwallClient, format: Format, requestId: string): Promise<void> {
  printOne<ModelScore>(
    format,
    await client.modelScore(requestId),
    ({ model, score, sum, top }) =>
      [
        `model ${model.slice(0, 12)} scores ${score.toFixed(4)} (sum ${sum.toFixed(2)})`,
        ...top.map(({ feature, part }) => `  ${part >= 0 ? '+' : ''}${part.toFixed(2)}  ${printable(feature)}`),
        '',
      ].join('\n'),
    requestId,
  )
}

export async function modelLabel(client: RingwallClient, requestId: string, what: string): Promise<void> {
  if (what !== 'honest' && what !== 'hostile') throw new UsageError(`${what}: expected honest or hostile`)
  await client.modelLabel(requestId, what === 'hostile')
  process.stderr.write(`${printable(requestId)} was ${what}: the next training on this node learns it\n`)
}

/** A model by the beginning of its hash. */
async function named(client: RingwallClient, given: string): Promise<string> {
  if (/^[0-9a-f]{64}$/.test(given)) return given
  const { models, node } = await client.model()
  const found = models.filter(({ hash }) => hash.startsWith(given))
  if (found.length === 1) return found[0]!.hash
  throw new UsageError(
    `${given}: ${found.length === 0 ? 'no model' : 'more than one model'} of ${node} begins so; ringwall model ls lists them`,
  )
}

/** Has a model judge, as far as the stage says. What judged before is kept, to go back to. */
export async function modelUse(client: RingwallClient, given: string, stage: string, options: ChangeOptions): Promise<void> {
  const use = await named(client, given)
  await change(client, options, `model ${use.slice(0, 12)} judges (${stage})`, (before) => {
    const previous = before.use === undefined || before.use === use ? before.previous : before.use
    return { ...before, use, stage, ...(previous === undefined ? {} : { previous }) }
  })
}

/** To what judged before, which only watches to begin with; to none, when there was none. */
export async function modelRevert(client: RingwallClient, options: ChangeOptions): Promise<void> {
  await change(client, options, 'the model is reverted', ({ use, previous, stage: _, ...rest }) => {
    if (use === undefined) throw new UsageError('no model judges: there is nothing to revert')
    return previous === undefined ? rest : { ...rest, use: previous, stage: 'shadow' }
  })
}

async function change(
  client: RingwallClient,
  { yes, dryRun }: ChangeOptions,
  done: string,
  edit: (before: Settings) => Settings,
): Promise<void> {
  const { text, version } = await client.policy()
  const document = parseDocument(text)
  if (!isMap(document.contents)) throw new UsageError('the policy in force cannot be edited: apply a file instead')
  const at = ['detectors', 'model']
  const held = document.getIn(at)
  const after = edit(isMap(held) ? (held.toJSON() as Settings) : {})
  if (Object.keys(after).length === 0) document.deleteIn(at)
  else document.setIn(at, document.createNode(after))
  const wanted = document.toString({ lineWidth: 0 })
  const plan = await client.policyPlan(wanted)
  if (!plan.valid) refuseProblems('the policy with this change', plan.problems)
  for (const one of plan.changes) process.stderr.write(`${changeLine(one)}\n`)
  if (dryRun) {
    process.stderr.write('nothing was changed\n')
    return
  }
  await applyConfirmed(client, wanted, version, yes, done)
}

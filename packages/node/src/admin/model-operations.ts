/** The admin API of the model of requests: how it stands on this node, training, labels and explanations. Which model judges is in the policy. */
import { z } from 'zod'
import { TrainingRefused } from '../model/model-trainer.ts'
import type { NodeModel } from '../model/node-model.ts'
import type { ArchivedRequest } from '../request-archive.ts'
import type { RunningNode } from '../running-node.ts'
import type { Call, Operation } from './http.ts'
import { ApiProblem } from './problem.ts'

const Label = z.strictObject({ requestId: z.string().min(1).max(128), hostile: z.boolean() })

export function modelOperations(node: RunningNode): readonly Operation[] {
  return [
    { method: 'GET', path: '/v1/model', run: () => ({ json: modelOf(node).status() }) },
    { method: 'POST', path: '/v1/model/train', run: async () => ({ json: await train(node) }) },
    { method: 'POST', path: '/v1/model/labels', run: async (call) => ({ json: await label(node, call) }) },
    {
      method: 'GET',
      path: '/v1/model/scores/{requestId}',
      run: (call) => ({ json: score(node, call.parameters.requestId as string) }),
    },
  ]
}

function modelOf({ model }: RunningNode): NodeModel {
  if (model !== undefined) return model
  throw new ApiProblem(
    409,
    'MODEL_UNAVAILABLE',
    'a node with worker threads has no model: set workers: 1 in node.yaml, or ask another node',
  )
}

async function train(node: RunningNode): Promise<unknown> {
  try {
    const trained = await modelOf(node).train()
    node.events.add('policy', 'info', `model ${trained.hash.slice(0, 12)} was trained by ${trained.nodes.join(', ')}`)
    return trained
  } catch (error) {
    if (error instanceof TrainingRefused) throw new ApiProblem(409, error.code, error.message)
    throw error
  }
}

function kept(node: RunningNode, requestId: string): ArchivedRequest {
  const found = node.archive.find(requestId)
  if (found !== undefined) return found
  throw new ApiProblem(
    404,
    'REQUEST_UNKNOWN',
    `${node.config.id} keeps no request ${requestId}: it keeps, for a while, what rules or the model objected to there; ask the node that judged it (--node)`,
  )
}

async function label(node: RunningNode, call: Call): Promise<unknown> {
  const model = modelOf(node)
  const body = Label.safeParse(await call.body())
  if (!body.success) throw new ApiProblem(400, 'BODY_INVALID', 'expected {"requestId": ID, "hostile": true or false}')
  model.label(kept(node, body.data.requestId), body.data.hostile)
  return { requestId: body.data.requestId, hostile: body.data.hostile, by: call.operator }
}

function score(node: RunningNode, requestId: string): unknown {
  const explanation = modelOf(node).explain(kept(node, requestId))
  if (explanation !== undefined) return { requestId, ...explanation }
  throw new ApiProblem(
    409,
    'MODEL_UNAVAILABLE',
    'no model judges here: the policy names none (detectors.model.use), or it has not come yet',
  )
}

/** The admin API's OpenAPI 3.1 document: served at `/openapi.json`, and what the client is generated from. */
import { schemas } from './schemas.ts'
import type { Schema } from './shapes.ts'

interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query'
  readonly required: boolean
  readonly description: string
  readonly schema: Schema
}

interface Body {
  readonly description: string
  readonly content?: Readonly<Record<string, { readonly schema: Schema }>>
}

export interface ApiOperation {
  readonly operationId: string
  readonly summary: string
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: Omit<Body, 'description'> & { readonly required: boolean }
  readonly responses: Readonly<Record<string, Body>>
  readonly security?: readonly Readonly<Record<string, readonly string[]>>[]
}

const whole = (maximum: number): Schema => ({ type: 'integer', minimum: 0, maximum })
const query = (name: string, description: string, schema: Schema): Parameter => ({
  name,
  in: 'query',
  required: false,
  description,
  schema,
})
const path = (name: string, description: string): Parameter => ({
  name,
  in: 'path',
  required: true,
  description,
  schema: { type: 'string' },
})

const scope = query('scope', 'Counts of all nodes that answer, or of the asked one only.', {
  type: 'string',
  enum: ['ring', 'node'],
})

const problem: Body = {
  description: 'Refused.',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } },
}

/** A call that answers a named shape as JSON. */
function call(operationId: string, summary: string, schema: string, parameters: readonly Parameter[] = []): ApiOperation {
  const content = { 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } }
  return { operationId, summary, parameters, responses: { '200': { description: summary, content }, default: problem } }
}

function posting(operation: ApiOperation, schema: string, responses: ApiOperation['responses'] = {}): ApiOperation {
  const content = { 'application/json': { schema: { $ref: `#/components/schemas/${schema}` } } }
  return { ...operation, requestBody: { required: true, content }, responses: { ...operation.responses, ...responses } }
}

function stream(operationId: string, summary: string): ApiOperation {
  const content = { 'text/event-stream': { schema: { type: 'string' } } }
  return { operationId, summary, responses: { '200': { description: summary, content }, default: problem } }
}

function open(operationId: string, summary: string, type: string, more: Readonly<Record<string, Body>> = {}): ApiOperation {
  const schema: Schema = type === 'application/json' ? {} : { type: 'string' }
  return {
    operationId,
    summary,
    security: [],
    responses: { '200': { description: summary, content: { [type]: { schema } } }, ...more },
  }
}

export const paths: Readonly<Record<string, Readonly<Partial<Record<'get' | 'post', ApiOperation>>>>> = {
  '/healthz': { get: open('healthz', 'The process lives.', 'text/plain') },
  '/readyz': {
    get: open('readyz', 'The node takes traffic with a certified view.', 'application/json', {
      '503': { description: 'Not yet.' },
    }),
  },
  '/metrics': { get: open('metrics', 'Counters in Prometheus’ text format.', 'text/plain') },
  '/openapi.json': { get: open('openapi', 'This document.', 'application/json') },
  '/v1/status': { get: call('status', 'This node.', 'NodeStatus') },
  '/v1/disks': { get: call('disks', 'Disks that the ring opens, and nodes that were wiped.', 'Disks') },
  '/v1/nodes': { get: call('nodes', 'All nodes, as this one sees them.', 'Nodes') },
  '/v1/check': { get: call('check', 'What is well and what is not, with fixes.', 'Check') },
  '/v1/policy': { get: call('policy', 'The policy in force.', 'PolicyInForce') },
  '/v1/policy/schema': { get: open('policySchema', 'The policy’s JSON Schema.', 'application/json') },
  '/v1/policy/plan': { post: posting(call('policyPlan', 'What a policy would change.', 'PolicyPlan'), 'PlanRequest') },
  '/v1/transactions': {
    post: posting(
      call('submitSigned', 'Proposes a signed transaction and waits for finality.', 'Committed'),
      'TransactionRequest',
      {
        '202': {
          description: 'A denial: enforced provisionally, waiting for a quorum.',
          content: { 'application/json': { schema: { $ref: '#/components/schemas/Waiting' } } },
        },
      },
    ),
  },
  '/v1/transactions/rehearsal': {
    post: posting(
      call('rehearse', 'Says what the ring would say to a statement, before it is signed.', 'Rehearsed'),
      'RehearsalRequest',
    ),
  },
  '/v1/access': {
    post: posting(call('access', 'Whether a principal may do something, as a request would be told.', 'Access'), 'AccessRequest'),
  },
  '/access/v1/evaluation': {
    post: posting(call('evaluation', 'Access evaluation of AuthZEN 1.0.', 'Evaluation'), 'EvaluationRequest'),
  },
  '/access/v1/evaluations': {
    post: posting(
      call('evaluations', 'Access evaluations of AuthZEN 1.0, several at once.', 'Evaluations'),
      'EvaluationsRequest',
    ),
  },
  '/v1/approvals': { get: call('approvals', 'What waits for more operators to approve it.', 'Approvals') },
  '/v1/denials': { get: call('denials', 'Denials in force here, provisional ones first.', 'Denials') },
  '/v1/decisions': {
    get: call('decisions', 'Decisions of this node, newest first.', 'Decisions', [
      query('outcome', 'Only these.', { type: 'string', enum: ['allow', 'deny', 'challenge', 'throttle'] }),
      query('source', 'Only from this address.', { type: 'string' }),
      query('sinceMs', 'Only from then on, Unix milliseconds.', { type: 'integer' }),
      query('limit', 'At most so many.', whole(1_000)),
    ]),
  },
  '/v1/decisions/stream': { get: stream('decisionStream', 'Decisions as they are made: `decision` events.') },
  '/v1/decisions/{requestId}': {
    get: call('explain', 'One decision, of whichever node, with its trace.', 'Explanation', [
      path('requestId', 'As in the response’s x-request-id.'),
    ]),
  },
  '/v1/decisions/{requestId}/receipt': {
    get: call('receipt', 'One decision with proof of what it rested on, to be verified offline.', 'Receipt', [
      path('requestId', 'As in the response’s x-request-id.'),
    ]),
  },
  '/v1/incidents': {
    get: call('incidents', 'Findings of all nodes that belong together, the latest first.', 'Incidents', [
      query('state', 'Those that are open, unless given.', { type: 'string', enum: ['open', 'closed', 'all'] }),
    ]),
  },
  '/v1/playbooks': { get: call('playbooks', 'Playbooks of the policy.', 'Playbooks') },
  '/v1/playbooks/rehearsal': {
    post: posting(
      call('playbookRehearsal', 'What each step would come to now.', 'PlaybookRehearsal'),
      'PlaybookRehearsalRequest',
    ),
  },
  '/v1/playbooks/runs': {
    get: call('playbookRuns', 'Runs of playbooks, the latest first.', 'PlaybookRuns', [
      query('state', 'All, unless given.', { type: 'string', enum: ['open', 'over', 'all'] }),
    ]),
  },
  '/v1/playbooks/runs/{id}': {
    get: call('playbookRun', 'One run.', 'PlaybookRun', [path('id', '4 to 16 hex digits, as many as tell it from others.')]),
  },
  '/v1/playbooks/runs/{id}/evidence': {
    get: call('playbookEvidence', 'What a step kept, of the node that did it.', 'PlaybookEvidence', [path('id', 'As above.')]),
  },
  '/v1/notify': { get: call('notifyChannels', 'Where this node tells what happens.', 'NotifyChannels') },
  '/v1/notify/{name}/test': {
    post: call('notifyTest', 'Has this node tell the channel something.', 'NotifyTest', [path('name', 'As node.yaml has it.')]),
  },
  '/v1/incidents/{id}': {
    get: call('incident', 'One incident with its timeline.', 'IncidentDetail', [
      path('id', '4 to 12 hex digits, as many as tell it from others.'),
    ]),
  },
  '/v1/incidents/{id}/evidence': {
    get: call('incidentEvidence', 'An incident with receipts and denials, signed, to verify elsewhere.', 'IncidentEvidence', [
      path('id', 'As above.'),
    ]),
  },
  '/v1/incidents/{id}/assign': {
    post: posting(
      call('incidentAssign', 'Who works on it from now on.', 'IncidentDetail', [path('id', 'As above.')]),
      'IncidentAssignRequest',
    ),
  },
  '/v1/incidents/{id}/close': {
    post: posting(
      call('incidentClose', 'It is done with, until something more is found.', 'IncidentDetail', [path('id', 'As above.')]),
      'IncidentCloseRequest',
    ),
  },
  '/v1/model': { get: call('model', 'The model of requests on this node.', 'Model') },
  '/v1/model/train': {
    post: call(
      'modelTrain',
      'Has the ring train a model, led by this node. It judges nothing until the policy names it.',
      'ModelTrained',
    ),
  },
  '/v1/model/labels': {
    post: posting(
      call('modelLabel', 'What a request was, to train on; one that this node keeps.', 'ModelLabelled'),
      'ModelLabelRequest',
    ),
  },
  '/v1/model/scores/{requestId}': {
    get: call('modelScore', 'What the model in use says of a request, and why.', 'ModelScore', [
      path('requestId', 'One that this node keeps.'),
    ]),
  },
  '/v1/feeds': { get: call('feeds', 'Whose decisions this node takes in, and how it stands.', 'Feeds') },
  '/v1/bouncers': { get: call('bouncers', 'Programs that enforce denials elsewhere, and when each last asked.', 'Bouncers') },
  '/v1/traces/{traceId}': {
    get: call('trace', 'The spans of a trace, of all nodes that answer.', 'Trace', [path('traceId', '32 hex digits.')]),
  },
  '/v1/ledger': {
    get: call('ledger', 'Final blocks, newest first.', 'Blocks', [
      query('from', 'Begin at this height.', { type: 'integer' }),
      query('limit', 'At most so many.', whole(200)),
    ]),
  },
  '/v1/ledger/{height}': { get: call('block', 'One block.', 'BlockDetail', [path('height', 'From 1.')]) },
  '/v1/events': {
    get: call('events', 'What happened on this node, newest first.', 'NodeEvents', [
      query('limit', 'At most so many.', whole(1_000)),
    ]),
  },
  '/v1/events/stream': { get: stream('eventStream', 'What happens: `event` events.') },
  '/v1/rules': { get: call('rules', 'Rules of the policy in force, with what they matched and cost.', 'Rules', [scope]) },
  '/v1/rules/{id}': {
    get: call('rule', 'One rule: its text, what it does, its counters by node.', 'RuleDetail', [
      path('id', 'As in the rule.'),
      scope,
    ]),
  },
  '/v1/estimate': {
    get: call('estimate', 'What rules that only watch would refuse, and how much of it looks wrong.', 'Estimate', [scope]),
  },
  '/v1/exceptions': { get: call('exceptions', 'What rules do not look at, lapsed exceptions too.', 'Exceptions') },
  '/v1/exceptions/propose': {
    post: posting(
      call('exceptionPropose', 'The narrowest exceptions with which a recorded request would pass.', 'ExceptionProposal'),
      'ExceptionProposeRequest',
    ),
  },
  '/v1/exceptions/replay': {
    post: posting(
      call('exceptionReplay', 'What exceptions would let through, of the requests that nodes recorded.', 'ExceptionReplay'),
      'ExceptionReplayRequest',
    ),
  },
  '/v1/endpoints': {
    get: call('endpoints', 'Operations that services declare, and endpoints that none does, as asked of this node.', 'Endpoints'),
  },
  '/v1/keys': { get: call('keys', 'The key that the validators hold together.', 'Keys') },
  '/v1/keys/saml': { get: call('samlKey', 'The key that this node signs SAML assertions by.', 'SamlKey') },
  '/v1/workloads': {
    get: call('workloads', 'Programs on the machine of the node, and the services that they are.', 'Workloads'),
  },
  '/v1/tokens': {
    post: { ...posting(call('tokenMint', 'A token, signed by the ring.', 'MintedToken'), 'MintBody'), security: [] },
  },
  '/v1/tokens/introspect': {
    post: {
      ...call('tokenIntrospect', 'Whether a token is good now, and what it says (RFC 7662).', 'Introspection'),
      requestBody: {
        required: true,
        content: { 'application/x-www-form-urlencoded': { schema: { $ref: '#/components/schemas/TokenForm' } } },
      },
    },
  },
  '/v1/tokens/revoke': {
    post: {
      ...open('tokenRevoke', 'Ends a token of the ring, for whoever holds it (RFC 7009).', 'text/plain'),
      requestBody: {
        required: true,
        content: { 'application/x-www-form-urlencoded': { schema: { $ref: '#/components/schemas/TokenForm' } } },
      },
    },
  },
  '/v1/svids': {
    post: { ...posting(call('svidMint', 'An X.509-SVID, signed by the ring.', 'MintedSvid'), 'MintBody'), security: [] },
  },
  '/v1/people': { get: call('people', 'People of the ring’s own directory.', 'People') },
  '/v1/vault': {
    get: { ...call('vaultFacts', 'The sealing key and its holders.', 'VaultFacts'), security: [] },
  },
  '/v1/vault/open': {
    post: {
      ...posting(call('vaultOpen', 'Has secrets opened for whoever signed the request.', 'VaultAnswers'), 'VaultOpenBody'),
      security: [],
    },
  },
  '/v1/vault/secrets': {
    get: call('vaultSecrets', 'Secrets that the operator may read or write.', 'VaultSecrets', [
      query('path', 'Those of this name and below it.', { type: 'string' }),
    ]),
  },
  '/v1/vault/history': {
    get: call('vaultHistory', 'Versions of a secret, and openings with this node’s share.', 'VaultHistory', [
      query('name', 'The secret.', { type: 'string' }),
    ]),
  },
  '/v1/leases': { get: call('leases', 'Database users that there are, of roles that the operator may use.', 'Leases') },
  '/v1/leases/{id}': {
    get: { ...call('lease', 'A lease of a database user.', 'Lease', [path('id', 'Of the lease.')]), security: [] },
  },
  '/v1/statements': {
    post: {
      ...posting(call('statement', 'Proposes what the holder of a pass states.', 'Stated'), 'StatementBody'),
      security: [],
    },
  },
  '/v1/vault/objects': {
    get: call('vaultObjects', 'How the shards of objects on this node stand, and the access keys of the ring.', 'VaultObjects'),
  },
  '/v1/vault/shards': {
    get: call('vaultShards', 'Buckets, and how the shards of objects stand on every node of the ring.', 'VaultShards'),
  },
  '/v1/transit/keys': { get: call('transitKeys', 'Keys of the transit that the operator may use or manage.', 'TransitKeys') },
  '/v1/transit/key': {
    get: {
      ...call('transitKey', 'A key of the transit.', 'TransitKeyFacts', [query('name', 'The key.', { type: 'string' })]),
      security: [],
    },
  },
  '/v1/transit/use': {
    post: {
      ...posting(
        call('transitUse', 'Has keys of the transit used for whoever signed the request.', 'TransitAnswers'),
        'VaultOpenBody',
      ),
      security: [],
    },
  },
  '/v1/transit/sign': {
    post: {
      ...posting(call('transitSign', 'A signature by a key of the transit.', 'TransitSignature'), 'MintBody'),
      security: [],
    },
  },
  '/v1/enrolment': {
    get: call('enrolment', 'Invitations and devices, and where the nodes of the ring are found.', 'Enrolment'),
  },
  '/v1/fleet': {
    get: call('fleet', 'Labels, holds and versions of nodes, releases, and how far updates are.', 'Fleet'),
  },
  '/v1/bundle': { get: open('bundle', 'The SPIFFE trust bundle of the ring.', 'application/json') },
  '/.well-known/jwks.json': { get: open('jwks', 'The keys that the ring’s tokens verify with (RFC 7517).', 'application/json') },
  '/.well-known/oauth-authorization-server': {
    get: open('discovery', 'The ring as an issuer of tokens (RFC 8414).', 'application/json'),
  },
  '/.well-known/openid-configuration': {
    get: open('openidConfiguration', 'The same, where OpenID Connect looks for it.', 'application/json'),
  },
  '/v1/top': {
    get: call('top', 'What was asked most, on this node.', 'Top', [
      query('by', 'What to count.', { type: 'string', enum: ['source', 'path', 'rule', 'service'] }),
      query('windowMs', 'Of the last so many milliseconds.', { type: 'integer' }),
      query('limit', 'At most so many rows.', whole(1_000)),
    ]),
  },
}

export const openapi = {
  openapi: '3.1.0',
  info: {
    title: 'Ringwall admin API',
    version: '1',
    description:
      'What operators see of a node and propose to the ring. Errors are problem details (RFC 9457); streams are server-sent events.',
    license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
  },
  servers: [{ url: '/' }],
  security: [{ operator: [] }],
  paths,
  components: {
    schemas,
    securitySchemes: {
      operator: {
        type: 'http',
        scheme: 'bearer',
        bearerFormat: 'JWS',
        description:
          'A compact JWS (EdDSA; kid and iss: the operator’s name; aud: the ring; exp at most 300 s after iat), signed with the operator’s key.',
      },
    },
  },
} as const

/** The Cedar schema of a service: one for all, but for the claims and the actions that its policy declares. */
import type { AuthorizedService } from '@ringwall/ring'
import type { CedarSchema } from './cedar-engine.ts'

const READING = ['GET', 'HEAD', 'OPTIONS'] as const
const WRITING = ['POST', 'PUT', 'PATCH', 'DELETE'] as const
const NEITHER = ['CONNECT', 'TRACE'] as const
/** For methods that are none of these. */
export const OTHER_METHOD = 'OTHER'

export type ActionGroup = 'read' | 'write'

/** By action: the group that it is in. */
export type Actions = ReadonlyMap<string, ActionGroup | undefined>

/** Parts of the time that policies can read, UTC. */
export const TIME_FIELDS = ['date', 'hour', 'minute', 'weekday'] as const
export type TimeField = (typeof TIME_FIELDS)[number]

const methodGroups: Actions = new Map<string, ActionGroup | undefined>([
  ...READING.map((method) => [method, 'read'] as const),
  ...WRITING.map((method) => [method, 'write'] as const),
  ...NEITHER.map((method) => [method, undefined] as const),
  [OTHER_METHOD, undefined],
])

/** A named action reads or writes when all that its routes take does. */
export function actionsOf({ actions }: Pick<AuthorizedService, 'actions'>): Actions {
  const all = new Map(methodGroups)
  for (const [name, of] of Map.groupBy(actions, (action) => action.name)) {
    const groups = new Set(of.flatMap(({ methods }) => (methods.length === 0 ? [undefined] : methods.map(groupOfMethod))))
    all.set(name, groups.size === 1 ? [...groups][0] : undefined)
  }
  return all
}

function groupOfMethod(method: string): ActionGroup | undefined {
  return methodGroups.get(method)
}

const CLAIM_TYPES = {
  String: { type: 'String' },
  Long: { type: 'Long' },
  Boolean: { type: 'Boolean' },
  'Set<String>': { type: 'Set', element: { type: 'String' } },
} as const

export type ClaimType = keyof typeof CLAIM_TYPES

export function schemaOf(service: AuthorizedService): CedarSchema {
  const text = { type: 'String' } as const
  const whole = { type: 'Long' } as const
  const record = (attributes: Record<string, object>) => ({ type: 'Record', attributes }) as const
  const claims = record(
    Object.fromEntries(
      Object.entries(service.authorization.claims).map(([name, type]) => [name, { ...CLAIM_TYPES[type], required: false }]),
    ),
  )
  const context = record({
    source: { type: 'Extension', name: 'ipaddr' },
    now: { type: 'Extension', name: 'datetime' },
    time: record({ date: text, hour: whole, minute: whole, weekday: whole }),
    method: text,
    claims,
  })
  const appliesTo = { principalTypes: ['User', 'Anonymous'], resourceTypes: ['Path'], context }
  const actions = [...actionsOf(service)].map(
    ([name, group]) => [name, { appliesTo, memberOf: group === undefined ? [] : [{ id: group }] }] as const,
  )
  return {
    '': {
      entityTypes: {
        Group: {},
        Role: {},
        User: { memberOfTypes: ['Group', 'Role'], shape: record({ issuer: text, subject: text, claims }) },
        Anonymous: {},
        Service: {},
        Route: { memberOfTypes: ['Service'] },
        Path: {
          memberOfTypes: ['Route', 'Service'],
          shape: record({ service: text, path: text, host: text, route: { ...text, required: false } }),
        },
      },
      actions: { read: {}, write: {}, ...Object.fromEntries(actions) },
    },
  } as CedarSchema
}

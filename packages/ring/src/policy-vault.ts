/** Who may do what with the vault, as the policy says it: a rule a path, all that match add up, and what no rule grants is refused. */
import { PublicKey } from '@ringwall/threshold'
import { z } from 'zod'
import { decodeBase64url } from './encoding.ts'
import { ObjectRules } from './policy-objects.ts'
import { Duration } from './policy-values.ts'
import { Reader, RULES_MAX, WHO_MAX, Who } from './policy-who.ts'
import { SECRET_NAME, SECRET_NAME_CHARS_MAX, SECRET_NAME_EXPECTED } from './secret-name.ts'

const Rule = z.strictObject({
  path: z
    .string()
    .max(SECRET_NAME_CHARS_MAX)
    .refine((text) => text === '*' || SECRET_NAME.test(text), { error: `expected * or ${SECRET_NAME_EXPECTED}` })
    .meta({ description: 'The secret of this name and all below it; * is every secret.' }),
  read: z.array(Reader).max(WHO_MAX).default([]).meta({
    description: 'Who may open them: operator:NAME, operator:*, service:NAME, and node:ID or node:* for what nodes need.',
  }),
  write: z
    .array(Who)
    .max(WHO_MAX)
    .default([])
    .meta({ description: 'Who may put and delete them: operator:NAME, operator:* or service:NAME (with a pass).' }),
})

const TransitRule = z.strictObject({
  key: z
    .string()
    .max(SECRET_NAME_CHARS_MAX)
    .refine((text) => text === '*' || SECRET_NAME.test(text), { error: `expected * or ${SECRET_NAME_EXPECTED}` })
    .meta({ description: 'The key of this name and all below it; * is every key.' }),
  use: z
    .array(Who)
    .max(WHO_MAX)
    .default([])
    .meta({ description: 'Who may decrypt, sign or authenticate by them: operator:NAME, operator:* or service:NAME.' }),
  manage: z.array(Who).max(WHO_MAX).default([]).meta({ description: 'Which operators may make, rotate, trim and delete them.' }),
})

const Identifier = z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, 'expected lower-case letters, digits, - and _')

const Role = z.strictObject({
  use: z
    .array(Who)
    .min(1)
    .max(WHO_MAX)
    .meta({ description: 'Who may have users of it: operator:NAME, operator:* or service:NAME.' }),
  grant: z
    .array(
      z
        .string()
        .min(1)
        .max(2_000)
        .refine((text) => text.includes('{{name}}'), 'expected {{name}} where the user is named'),
    )
    .max(32)
    .meta({ description: 'SQL, run once the user is made; {{name}} is the user, quoted.' }),
  ttl: Duration.default(3_600_000).meta({ description: 'How long a user lasts unless it is renewed.' }),
  ttlMax: Duration.default(86_400_000).meta({ description: 'It is not renewed beyond.' }),
})

const Database = z.strictObject({
  host: z.string().min(1).max(253),
  port: z.int().min(1).max(65_535).default(5_432),
  database: z.string().min(1).max(63),
  user: z.string().min(1).max(63).meta({ description: 'Its administrator, who may create roles.' }),
  password: z
    .string()
    .max(SECRET_NAME_CHARS_MAX)
    .regex(SECRET_NAME, SECRET_NAME_EXPECTED)
    .meta({ description: 'The secret of the vault that is its password. Nodes open it while there is something to do.' }),
  tls: z.enum(['verify', 'off']).default('verify').meta({ description: 'off: in the clear, for the same machine.' }),
  roles: z.record(Identifier, Role),
})

/** Of two operators at least: no one of them alone is to open anything. */
function isRecoveryKey(text: string): boolean {
  try {
    const { suite, threshold } = PublicKey.decode(decodeBase64url(text))
    return suite === 'ristretto255' && threshold >= 2
  } catch {
    return false
  }
}

export const Vault = z.strictObject({
  rules: z.array(Rule).max(RULES_MAX).default([]).meta({ description: 'Without any the vault is closed.' }),
  transit: z
    .array(TransitRule)
    .max(RULES_MAX)
    .default([])
    .meta({ description: 'Who may use and manage which keys of the transit: keys that applications use without having them.' }),
  databases: z
    .record(Identifier, Database)
    .default({})
    .refine((all) => Object.keys(all).length <= 64, 'expected 64 at most')
    .meta({ description: 'PostgreSQL databases that users are made in, for a time.' }),
  objects: ObjectRules.meta({ description: 'Who may read and write objects in which buckets. Without any there are none.' }),
  disks: z
    .boolean()
    .default(false)
    .meta({ description: 'The ring keeps the keys of disks of nodes that ask it to (disk.seal: ring).' }),
  recovery: z
    .string()
    .max(4_096)
    .refine(isRecoveryKey, 'expected what ringwall node recovery printed')
    .optional()
    .meta({ description: 'The operators’ recovery key, which those disks are sealed to besides.' }),
})

export type VaultPolicy = z.output<typeof Vault>
export type VaultAction = 'read' | 'write'

/** Who asks something of the vault. */
export interface VaultAsker {
  readonly kind: 'operator' | 'service' | 'node'
  readonly name: string
}

function covers(path: string, name: string): boolean {
  return path === '*' || name === path || (name.startsWith(path) && name[path.length] === '/')
}

/** May this one do this with the secret of this name? */
export function mayUseVault(
  { rules }: VaultPolicy,
  { kind, name: asker }: VaultAsker,
  action: VaultAction,
  name: string,
): boolean {
  return rules.some((rule) => covers(rule.path, name) && isNamed(rule[action], { kind, name: asker }))
}

/** Is there a node that may read the secret of this name? */
export function mayNodesRead({ rules }: VaultPolicy, name: string): boolean {
  return rules.some(({ path, read }) => covers(path, name) && read.some((one) => one.startsWith('node:')))
}

function isNamed(list: readonly string[], { kind, name }: VaultAsker): boolean {
  return list.some((one) => one === `${kind}:${name}` || (kind !== 'service' && one === `${kind}:*`))
}

/** May this one decrypt, sign or authenticate by the key of this name? */
export function mayUseTransit({ transit }: VaultPolicy, asker: VaultAsker, key: string): boolean {
  return transit.some((rule) => covers(rule.key, key) && isNamed(rule.use, asker))
}

export function mayManageTransit({ transit }: VaultPolicy, operator: string, key: string): boolean {
  return transit.some((rule) => covers(rule.key, key) && isNamed(rule.manage, { kind: 'operator', name: operator }))
}

export type DatabasePolicy = VaultPolicy['databases'][string]

/** The role, if this one may have users of it. */
export function databaseRole(
  { databases }: VaultPolicy,
  asker: VaultAsker,
  database: string,
  role: string,
): DatabasePolicy['roles'][string] | undefined {
  const known = Object.hasOwn(databases, database) ? databases[database] : undefined
  const found = known !== undefined && Object.hasOwn(known.roles, role) ? known.roles[role] : undefined
  return found !== undefined && isNamed(found.use, asker) ? found : undefined
}

/** Is the ring to have a sealing key? */
export function wantsSealingKey({ vault }: { readonly vault: VaultPolicy }): boolean {
  return vault.disks || vault.rules.length > 0 || vault.transit.length > 0 || vault.objects.length > 0
}

export function isVaultOpen({ vault }: { readonly vault: VaultPolicy }): boolean {
  return vault.rules.length > 0
}

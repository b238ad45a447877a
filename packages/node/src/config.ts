/** The configuration of one node: `node.yaml`. Paths in it are relative to the file. */
import { isIP } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { type Document, LineCounter, parseDocument } from 'yaml'
import { z } from 'zod'
import { type AcmeConfig, certificateFile } from './acme/certificates.ts'
import { type HostPort, parseHostPort } from './address.ts'
import type { AuditOptions } from './audit-log.ts'
import type { DiskMode } from './disk/disk.ts'
import type { CaseInput } from './enrolment/case-watch.ts'
import { StartError } from './errors.ts'
import type { EstConfig } from './est/est-server.ts'
import type { FeedSettings } from './feeds/feed-config.ts'
import { feedUrlFault } from './feeds/feed-url.ts'
import { IndicatorsSchema, indicatorSettings, type TaxiiSource, taxiiSource } from './indicators/indicator-config.ts'
import type { IndicatorSettings } from './indicators/indicator-loader.ts'
import { parseListeners, type TrafficListener } from './listeners.ts'
import type { ObjectSettings } from './objects/objects.ts'
import { NotifySchema, type NotifySettings, notifyFault, withPaths } from './respond/notify-config.ts'
import type { TaxiiConfig } from './taxii/taxii-server.ts'
import { readTextFile } from './text-file.ts'

const WORKERS_MAX = 64
/** Of what a node keeps in memory, unless its configuration says how much. */
const KEPT = {
  full: { requestBytes: 16_777_216, cacheBytes: 67_108_864, memoValues: 4_096, recordsWaiting: 20_000, recordsPages: 2_048_000 },
  edge: { requestBytes: 1_048_576, cacheBytes: 4_194_304, memoValues: 1_024, recordsWaiting: 2_000, recordsPages: 262_144 },
} as const

const DnsServer = z
  .string()
  .regex(/^(\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\])(:\d{1,5})?$/, 'expected ADDRESS or ADDRESS:PORT')
  .refine((text) => isIP(/^\[?([^\]]*?)(?:\]|$|:\d+$)/.exec(text)?.[1] ?? '') !== 0, 'expected an IP address')

const Schema = z.strictObject({
  format: z.literal('ringwall/node/1'),
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,31}$/),
  /** What the machine has room for: the bounds of an edge are for 150 MB. */
  profile: z.enum(['full', 'edge']).default('full'),
  /** Folder of this node's ledger, journal and traces. */
  data: z.string().min(1),
  genesis: z.string().min(1),
  /** PKCS#8 PEM with this node's Ed25519 key. */
  key: z.string().min(1),
  /** Of a node that joins a running ring: until the ring has it, genesis does not say where it is. */
  region: z.string().min(1).max(63).optional(),
  /** `traffic` is looked at by `parseListeners`: its problems are then about what it is meant to be. */
  listen: z.strictObject({ traffic: z.unknown(), admin: z.string(), fabric: z.string() }),
  /** Sets `x-ringwall-rules` and `x-ringwall-decision` on responses. Tells clients why: for trials, not production. */
  explainHeader: z.boolean().default(false),
  /** Threads that take traffic; 1: the node's own. */
  workers: z.int().min(1).max(WORKERS_MAX).default(1),
  /** Rule sets beside `base`: a name and the folder that holds its `.conf` files. */
  rules: z.record(z.string().regex(/^[a-z0-9-]{1,64}$/), z.string()).default({}),
  /** An audit log in ModSecurity's JSON format. */
  audit: z
    .strictObject({
      file: z.string().min(1),
      engine: z.enum(['On', 'RelevantOnly']).optional(),
      parts: z
        .string()
        .regex(/^A[B-K]*Z$/, 'expected letters from A to K that begin with A and end in Z, such as ABCFHZ')
        .optional(),
      relevantStatus: z.string().max(200).refine(isPattern, 'expected a regular expression').optional(),
      bytesWaiting: z.int().min(65_536).max(268_435_456).default(8_388_608),
    })
    .optional(),
  /** Decisions of others that this node takes in. */
  feeds: z
    .array(
      z.strictObject({
        kind: z.literal('crowdsec'),
        name: z.string().regex(/^[a-z0-9-]{1,32}$/),
        /** Of the local API. */
        url: z
          .string()
          .max(500)
          .superRefine((text, context) => {
            const fault = feedUrlFault(text)
            if (fault !== undefined) context.addIssue(fault)
          }),
        /** File that holds the key of a bouncer there. */
        key: z.string().min(1),
        /** PEM file of the authority that its certificate is from; the platform’s unless given. */
        ca: z.string().min(1).optional(),
        origins: z
          .array(z.string().regex(/^[\w:-]{1,64}$/))
          .min(1)
          .max(20)
          .default(['crowdsec', 'cscli']),
        everyMs: z.int().min(1_000).max(3_600_000).default(10_000),
        decisionsMax: z.int().min(1).max(10_000).default(1_000),
      }),
    )
    .max(8)
    .default([]),
  /** Where this node tells what happens. */
  notify: NotifySchema,
  /** Addresses that others call bad; the policy says what is done with them. */
  indicators: IndicatorsSchema,
  /** TAXII 2.1 for others; plain HTTP without `tls`. */
  taxii: z
    .strictObject({
      listen: z.string(),
      tls: z.strictObject({ certificate: z.string().min(1), key: z.string().min(1) }).optional(),
      /** Sets of indicators that clients may read, by name. */
      share: z.array(z.string().max(63)).max(16).default([]),
    })
    .optional(),
  requests: z
    .strictObject({
      /** Memory for requests that rules matched, to judge them again; 0 keeps none. */
      bytesKept: z.int().min(0).max(1_073_741_824).optional(),
    })
    .prefault({}),
  /** SHA-1 hashes of passwords known from breaches: a folder of ranges, or one file. */
  breachedPasswords: z.string().min(1).optional(),
  /** MMDB files that know countries or autonomous systems of addresses. */
  places: z.array(z.string().min(1)).max(8).optional(),
  /** Who is asked for the names of bots; the system's resolvers unless given. */
  dnsServers: z.array(DnsServer).max(8).optional(),
  /** Certificates for public names, for listeners that say `tls.acme`. */
  acme: z
    .strictObject({
      directory: z
        .string()
        .max(2_048)
        .regex(/^https:\/\/[^\s]+$/, 'expected the https address of an ACME directory')
        .default('https://acme-v02.api.letsencrypt.org/directory'),
      contact: z
        .string()
        .max(254)
        .regex(/^[^\s@,?]+@[^\s@,?]+$/, 'expected one mail address')
        .optional(),
      agreeToTerms: z.literal(true, 'must be true: the server’s terms of service are for you to agree to'),
      challenges: z
        .array(z.enum(['tls-alpn-01', 'http-01', 'dns-01']))
        .min(1)
        .max(3)
        .optional(),
      dns: z
        .strictObject({
          server: DnsServer,
          keyFile: z.string().min(1),
          zone: z
            .string()
            .regex(/^(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/, 'expected a domain name in lower case, such as example.org')
            .optional(),
        })
        .optional(),
      externalAccount: z.strictObject({ id: z.string().min(1).max(1_024), keyFile: z.string().min(1) }).optional(),
      roots: z.string().min(1).optional(),
    })
    .optional(),
  /** How what it writes is sealed. */
  disk: z.strictObject({ seal: z.enum(['off', 'local', 'ring']).default('local') }).prefault({}),
  cache: z
    .strictObject({
      /** Memory for answers of upstreams, in all threads together; 0 keeps none, whatever the policy says. */
      bytesMax: z.int().min(0).max(68_719_476_736).optional(),
    })
    .prefault({}),
  otlp: z
    .strictObject({ endpoint: z.string().regex(/^https?:\/\//), headers: z.record(z.string(), z.string()).default({}) })
    .optional(),
  consensus: z
    .strictObject({
      roundMs: z.int().min(50).max(60_000).default(1_000),
      heartbeatMs: z.int().min(100).max(60_000).default(2_000),
    })
    .prefault({}),
  /** The shards of objects that this node holds. */
  objects: z
    .strictObject({
      bytesMax: z.int().min(1_048_576).max(Number.MAX_SAFE_INTEGER).default(1_099_511_627_776),
      /** Between looks at what there is to do. */
      everyMs: z.int().min(100).max(3_600_000).default(10_000),
      /** Each shard is read and compared with its hashes so often. */
      scrubHours: z.number().min(0.0001).max(8_760).default(168),
      scrubBytesPerSecond: z.int().min(65_536).max(10_000_000_000).default(8_388_608),
      repairBytesPerSecond: z.int().min(65_536).max(10_000_000_000).default(33_554_432),
      /** A node that cannot be reached for so long has its shards made anew on others. */
      awayMs: z.int().min(1_000).max(86_400_000).default(180_000),
      /** What was never acknowledged is removed when it is so old: by then the ring does not agree on it any more. */
      residueMs: z.int().min(180_000).max(604_800_000).default(86_400_000),
      /** Where shards lie; without it, in a folder of `data`. */
      store: z
        .strictObject({
          s3: z.strictObject({
            endpoint: z
              .string()
              .max(500)
              .superRefine((text, context) => {
                const fault = feedUrlFault(text) ?? (URL.parse(text)?.pathname === '/' ? undefined : 'expected no path')
                if (fault !== undefined) context.addIssue(fault)
              }),
            region: z
              .string()
              .regex(/^[a-z0-9-]{1,63}$/)
              .default('us-east-1'),
            bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'expected the name of a bucket'),
            prefix: z
              .string()
              .regex(/^([A-Za-z0-9._-]{1,100}\/){0,5}$/, 'expected names that each end in a slash, as ringwall/')
              .default('ringwall/'),
            pathStyle: z.boolean().default(true),
            /** File in the form of AWS’s shared credentials; without it, the environment. */
            credentials: z.string().min(1).optional(),
            profile: z
              .string()
              .regex(/^[\w.-]{1,64}$/)
              .default('default'),
            /** PEM file of the authority that its certificate is from; the platform’s unless given. */
            ca: z.string().min(1).optional(),
            /** What is in the bucket is listed so often. */
            listMs: z.int().min(1_000).max(86_400_000).default(600_000),
          }),
        })
        .optional(),
    })
    .prefault({}),
  /** S3 for clients with access keys; plain HTTP without `tls`. */
  s3: z
    .strictObject({
      listen: z.string(),
      tls: z.strictObject({ certificate: z.string().min(1), key: z.string().min(1) }).optional(),
      region: z
        .string()
        .regex(/^[a-z0-9-]{1,63}$/)
        .default('us-east-1'),
    })
    .optional(),
  /** SPIFFE certificates for the programs on this machine. */
  workloadApi: z.strictObject({ socket: z.string().min(1) }).optional(),
  /** Of a device with a TPM 2.0: how tpm2-tools reach it. */
  tpm: z.strictObject({ tcti: z.string().min(1).max(1_024), eventLog: z.string().min(1).optional() }).optional(),
  /** Answers devices that look for their ring on the link (multicast DNS). */
  announce: z.boolean().default(false),
  /** Certificates for devices that are no nodes (RFC 7030). */
  est: z.strictObject({ listen: z.string(), certificate: z.string().min(1), key: z.string().min(1) }).optional(),
  /** What tells that the case of a device was opened. */
  tamper: z
    .strictObject({
      case: z.union([
        z.strictObject({ file: z.string().min(1), closed: z.string().max(1_024) }),
        z.strictObject({ command: z.tuple([z.string().min(1)], z.string()) }),
      ]),
    })
    .optional(),
  ledger: z
    .strictObject({
      /** Blocks between two snapshots of the state. */
      snapshotBlocks: z.int().min(100).max(10_000_000).default(10_000),
      /** Blocks kept on disk; without it, all. */
      keepBlocks: z.int().min(1_000).optional(),
    })
    .prefault({}),
})

export type Profile = 'full' | 'edge'

export interface S3Config {
  readonly listen: HostPort
  readonly tls: { readonly certificate: string; readonly key: string } | undefined
  /** That clients sign for. */
  readonly region: string
}

export interface NodeConfig {
  readonly objects?: ObjectSettings | undefined
  readonly s3?: S3Config | undefined
  /** Where it was read from. */
  readonly file?: string | undefined
  readonly id: string
  readonly profile?: Profile
  readonly data: string
  readonly genesis: string
  readonly key: string
  readonly region: string | undefined
  /** At least one for traffic. */
  readonly listen: { readonly traffic: readonly TrafficListener[]; readonly admin: HostPort; readonly fabric: HostPort }
  readonly explainHeader: boolean
  /** Another process of this node serves its ports, and is about to end. */
  readonly takeOver?: boolean
  /** Threads that take traffic. */
  readonly workers: number
  readonly rules: Readonly<Record<string, string>>
  readonly otlp: { readonly endpoint: string; readonly headers: Readonly<Record<string, string>> } | undefined
  readonly requestBytesKept: number
  /** Values of requests that rules remember, in each thread. */
  readonly memoValuesMax: number
  /** Decisions and spans that may wait to be stored. */
  readonly recordsWaitingMax: number
  /** Bytes of their store that are kept in memory. */
  readonly recordsPageCacheBytes: number
  readonly indicators: readonly IndicatorSettings[]
  /** Of those sets that come from TAXII servers. */
  readonly taxiiSources?: readonly TaxiiSource[] | undefined
  readonly taxii?: TaxiiConfig | undefined
  readonly feeds: readonly FeedSettings[]
  readonly notify: readonly NotifySettings[]
  readonly breachedPasswords?: string | undefined
  readonly places?: readonly string[] | undefined
  readonly dnsServers?: readonly string[] | undefined
  /** How what it writes is sealed. */
  readonly diskSeal: DiskMode
  /** For answers of upstreams, where the policy wants them kept. */
  readonly cacheBytes: number
  readonly acme: AcmeConfig | undefined
  readonly audit: AuditOptions | undefined
  /** Path of the Workload API's socket; undefined: there is none. */
  readonly workloadSocket?: string | undefined
  readonly caseInput?: CaseInput | undefined
  readonly announce?: boolean
  readonly est?: EstConfig | undefined
  readonly tpm?: { readonly tcti: string; readonly eventLog: string | undefined } | undefined
  readonly roundMs: number
  readonly heartbeatMs: number
  readonly snapshotBlocks: number
  readonly keepBlocks: number | undefined
}

const withPort = (address: string, port: number): string => (/\d:\d+$|\]:\d+$/.test(address) ? address : `${address}:${port}`)

/** @throws {StartError} `CONFIG_INVALID`, naming file, line and column of the first problem, and how many more there are. */
export function parseNodeConfig(text: string, file: string): NodeConfig {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const fault = document.errors[0]
  if (fault !== undefined) {
    const { line, col } = lines.linePos(fault.pos[0])
    throw new StartError('CONFIG_INVALID', `${file}:${line}:${col}: ${fault.message}`)
  }
  const parsed = Schema.safeParse(plainValue(document, file))
  const refuse = (issues: readonly { readonly path: readonly PropertyKey[]; readonly message: string }[]): never => {
    const [first, ...more] = issues
    const path = (first?.path ?? []) as (string | number)[]
    const { line, col } = lines.linePos(positionOf(document, path))
    const rest = more.length === 0 ? '' : ` (and ${more.length} more)`
    throw new StartError('CONFIG_INVALID', `${file}:${line}:${col}: ${path.join('.') || 'document'}: ${first?.message}${rest}`)
  }
  if (!parsed.success) return refuse(parsed.error.issues)
  const { data } = parsed
  const at = (path: string): string => resolve(dirname(file), path)
  const acmeFolder = join(at(data.data), 'acme')
  const acmeFile = (names: readonly string[]): string => certificateFile(acmeFolder, data.acme?.directory ?? '', names)
  const { listeners, issues, wanted } = parseListeners(data.listen.traffic, dirname(file), `${file}: listen.traffic`, acmeFile)
  if (issues.length > 0) return refuse(issues.map(({ path, message }) => ({ path: ['listen', 'traffic', ...path], message })))
  if (wanted.length > 0 && data.acme === undefined)
    return refuse([{ path: ['listen', 'traffic'], message: 'tls.acme needs acme: { agreeToTerms: true } beside listen' }])
  if (wanted.length === 0 && data.acme !== undefined)
    return refuse([{ path: ['acme'], message: 'no listener wants a certificate: name hosts in its tls.acme' }])
  const challenges = data.acme?.challenges ?? (data.acme?.dns === undefined ? ['tls-alpn-01', 'http-01'] : ['dns-01'])
  const byDns = challenges.includes('dns-01')
  if (byDns && data.acme?.dns === undefined)
    return refuse([
      { path: ['acme', 'challenges'], message: 'dns-01 needs acme.dns: a name server that takes updates, and a key' },
    ])
  if (!byDns && data.acme?.dns !== undefined)
    return refuse([{ path: ['acme', 'challenges'], message: 'acme.dns is for dns-01, which is not among them' }])
  const wildcard = wanted.flatMap(({ names }) => names).find((name) => name.startsWith('*.'))
  if (wildcard !== undefined && !byDns)
    return refuse([
      { path: ['listen', 'traffic'], message: `tls.acme has ${wildcard}: a wildcard needs a proof in DNS, by acme.dns` },
    ])
  for (const [index, name] of (data.taxii?.share ?? []).entries())
    if (!data.indicators.some((one) => one.name === name))
      return refuse([{ path: ['taxii', 'share', index], message: `indicators has no set ${name}` }])
  for (const [index, one] of data.notify.entries()) {
    const fault = notifyFault(one)
    if (fault !== undefined) return refuse([{ path: ['notify', index, fault[0]], message: fault[1] }])
    if (data.notify.findIndex(({ name }) => name === one.name) !== index)
      return refuse([{ path: ['notify', index, 'name'], message: `the channel ${one.name} occurs twice` }])
  }
  return {
    id: data.id,
    profile: data.profile,
    data: at(data.data),
    genesis: at(data.genesis),
    key: at(data.key),
    region: data.region,
    listen: {
      traffic: listeners,
      admin: parseHostPort(data.listen.admin, `${file}: listen.admin`),
      fabric: parseHostPort(data.listen.fabric, `${file}: listen.fabric`),
    },
    explainHeader: data.explainHeader,
    workers: data.workers,
    rules: Object.fromEntries(Object.entries(data.rules).map(([name, path]) => [name, at(path)])),
    otlp: data.otlp,
    requestBytesKept: data.requests.bytesKept ?? KEPT[data.profile].requestBytes,
    memoValuesMax: KEPT[data.profile].memoValues,
    recordsWaitingMax: KEPT[data.profile].recordsWaiting,
    recordsPageCacheBytes: KEPT[data.profile].recordsPages,
    indicators: data.indicators.map((one) => indicatorSettings(one, at(data.data), at)),
    taxiiSources: data.indicators.flatMap((one) => (one.format === 'taxii' ? [taxiiSource(one, at)] : [])),
    taxii: data.taxii && {
      listen: parseHostPort(data.taxii.listen, `${file}: taxii.listen`),
      tls: data.taxii.tls && { certificate: at(data.taxii.tls.certificate), key: at(data.taxii.tls.key) },
      share: data.taxii.share,
    },
    feeds: data.feeds.map((feed) => ({ ...feed, key: at(feed.key), ca: feed.ca === undefined ? undefined : at(feed.ca) })),
    notify: data.notify.map((one) => withPaths(one, at)),
    breachedPasswords: data.breachedPasswords === undefined ? undefined : at(data.breachedPasswords),
    places: data.places?.map(at),
    dnsServers: data.dnsServers,
    diskSeal: data.disk.seal,
    cacheBytes: data.cache.bytesMax ?? KEPT[data.profile].cacheBytes,
    acme: data.acme && {
      directory: data.acme.directory,
      contact: data.acme.contact,
      challenges,
      external: data.acme.externalAccount && {
        id: data.acme.externalAccount.id,
        keyFile: at(data.acme.externalAccount.keyFile),
      },
      dns: data.acme.dns && {
        server: parseHostPort(withPort(data.acme.dns.server, 53), `${file}: acme.dns.server`),
        keyFile: at(data.acme.dns.keyFile),
        zone: data.acme.dns.zone,
      },
      rootsFile: data.acme.roots === undefined ? undefined : at(data.acme.roots),
      certificates: wanted,
    },
    audit: data.audit === undefined ? undefined : auditOptions(data.audit, at(data.audit.file)),
    workloadSocket: data.workloadApi === undefined ? undefined : at(data.workloadApi.socket),
    announce: data.announce,
    est: data.est && {
      listen: parseHostPort(data.est.listen, `${file}: est.listen`),
      certificate: at(data.est.certificate),
      key: at(data.est.key),
    },
    caseInput:
      data.tamper === undefined || 'command' in data.tamper.case
        ? data.tamper?.case
        : { ...data.tamper.case, file: at(data.tamper.case.file) },
    tpm: data.tpm && { tcti: data.tpm.tcti, eventLog: data.tpm.eventLog === undefined ? undefined : at(data.tpm.eventLog) },
    objects: objectSettings(data.objects, at),
    s3: data.s3 && {
      listen: parseHostPort(data.s3.listen, `${file}: s3.listen`),
      tls: data.s3.tls && { certificate: at(data.s3.tls.certificate), key: at(data.s3.tls.key) },
      region: data.s3.region,
    },
    ...data.consensus,
    snapshotBlocks: data.ledger.snapshotBlocks,
    keepBlocks: data.ledger.keepBlocks,
  }
}

function objectSettings(
  { scrubHours, store, ...rest }: z.output<typeof Schema>['objects'],
  at: (path: string) => string,
): ObjectSettings {
  const scrubMs = Math.round(scrubHours * 3_600_000)
  if (store === undefined) return { ...rest, scrubMs }
  const { credentials, ca, ...s3 } = store.s3
  const files = {
    credentials: credentials === undefined ? undefined : at(credentials),
    ca: ca === undefined ? undefined : at(ca),
  }
  return { ...rest, scrubMs, store: { s3: { ...s3, ...files } } }
}

/** What a node has that says nothing of objects. */
export const USUAL_OBJECT_SETTINGS: ObjectSettings = {
  bytesMax: 1_099_511_627_776,
  everyMs: 10_000,
  scrubMs: 604_800_000,
  scrubBytesPerSecond: 8_388_608,
  repairBytesPerSecond: 33_554_432,
  awayMs: 180_000,
  residueMs: 86_400_000,
}

/** Of the nearest thing that is there: what is missing is missing in it. */
function positionOf(document: Document, path: readonly (string | number)[]): number {
  for (let length = path.length; length > 0; length--) {
    const node = document.getIn(path.slice(0, length), true) as { range?: [number, number, number] } | undefined
    if (node?.range !== undefined) return node.range[0]
  }
  return 0
}

function isPattern(text: string): boolean {
  try {
    new RegExp(text)
    return true
  } catch {
    return false
  }
}

function auditOptions(audit: NonNullable<z.output<typeof Schema>['audit']>, file: string): AuditOptions {
  const { engine, parts, relevantStatus, bytesWaiting } = audit
  return {
    file,
    engine,
    parts,
    relevantStatus: relevantStatus === undefined ? undefined : new RegExp(relevantStatus),
    bytesWaiting,
  }
}

/** Aliases have no use in so small a document, and can make a small file large. */
function plainValue(document: Document, file: string): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 })
  } catch (cause) {
    throw new StartError('CONFIG_INVALID', `${file}: aliases (*name) are not accepted; write the value out`, { cause })
  }
}

/** @throws {StartError} `CONFIG_INVALID` also when the file cannot be read. */
export function readNodeConfig(file: string): NodeConfig {
  return { ...parseNodeConfig(readTextFile(file, 'CONFIG_INVALID', 'the node’s configuration'), file), file: resolve(file) }
}

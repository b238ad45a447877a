/** What `listen.traffic` in `node.yaml` may say: an address, one listener, or a list of either. */
import { resolve } from 'node:path'
import type { CertificateFiles, ListenerOptions, TlsOptions } from '@ringwall/proxy'
import { parsePrefix } from '@ringwall/ring'
import { z } from 'zod'
import { type HostPort, parseHostPort } from './address.ts'

/** Where the node takes traffic, and how. */
export type TrafficListener = HostPort & ListenerOptions

const LISTENERS_MAX = 64
const CERTIFICATES_MAX = 1_000
/** Of one certificate, as Let's Encrypt has it. */
const ACME_NAMES_MAX = 100
const PREFIXES_MAX = 256
const DAY_S = 86_400
/** What browsers' preload lists ask for. */
const PRELOAD_DAYS_MIN = 365
const HTTPS_PORT = 443

const File = z.string().min(1)
const HostName = z
  .string()
  .regex(
    /^(?:\*\.)?(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*$/,
    'expected a host name in lower case, such as www.example.org or *.example.org',
  )
const Pair = z.strictObject({ certificate: File, key: File, names: z.array(HostName).min(1).optional() })

const Balancer = z.string().refine((text) => parsePrefix(text) !== undefined, {
  message: 'expected an address or a prefix, such as 10.0.0.0/8',
})

const Hsts = z
  .strictObject({
    maxAgeDays: z.int().min(1).max(3_650).default(365),
    includeSubdomains: z.boolean().default(false),
    preload: z.boolean().default(false),
  })
  .refine(({ preload, includeSubdomains, maxAgeDays }) => !preload || (includeSubdomains && maxAgeDays >= PRELOAD_DAYS_MIN), {
    message: 'preload needs includeSubdomains: true and maxAgeDays of at least 365',
  })

const Tls = z
  .strictObject({
    certificate: File.optional(),
    key: File.optional(),
    certificates: z.array(Pair).min(1).max(CERTIFICATES_MAX).optional(),
    acme: z.array(HostName).min(1).max(ACME_NAMES_MAX).optional(),
    unknownNames: z.enum(['first', 'refuse']).default('first'),
    minVersion: z.enum(['1.2', '1.3'], 'expected "1.2" or "1.3", in quotes').default('1.2'),
    hsts: Hsts.optional(),
    clientCertificates: z.enum(['none', 'ask']).default('none'),
  })
  .superRefine(({ certificate, key, certificates, acme }, context) => {
    const problem = (message: string, path: (string | number)[] = []): void => context.addIssue({ code: 'custom', message, path })
    const isGiven = certificate !== undefined || key !== undefined
    if (certificates === undefined && (certificate === undefined || key === undefined) && (acme === undefined || isGiven))
      problem('needs certificate and key, a list of certificates, or acme')
    if (certificates !== undefined && (certificate !== undefined || key !== undefined))
      problem('has both certificates and certificate or key; put the pair into the list')
    const named = new Set<string>(acme)
    if (acme !== undefined && named.size < acme.length) problem('names a host twice', ['acme'])
    for (const [at, { names }] of (certificates ?? []).entries()) {
      for (const name of names ?? []) {
        if (named.has(name)) problem(`${name} is given to two certificates`, ['certificates', at, 'names'])
        named.add(name)
      }
    }
  })

const Listener = z
  .strictObject({
    address: z.string(),
    tls: Tls.optional(),
    http2: z.boolean().optional(),
    proxyProtocol: z.strictObject({ from: z.array(Balancer).min(1).max(PREFIXES_MAX) }).optional(),
    redirectToTls: z
      .custom<boolean | number>(
        (value) => typeof value === 'boolean' || (Number.isInteger(value) && Number(value) >= 1 && Number(value) <= 65_535),
        'expected true, or the port to redirect to',
      )
      .optional(),
  })
  .superRefine(({ tls, redirectToTls }, context) => {
    if (tls !== undefined && redirectToTls !== undefined && redirectToTls !== false)
      context.addIssue({ code: 'custom', message: 'redirectToTls is for a listener without tls', path: ['redirectToTls'] })
  })

export interface ListenerIssue {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** A certificate that the node gets for itself. */
export interface WantedCertificate {
  readonly names: readonly string[]
  readonly file: string
}

/**
 * @param value Of `listen.traffic`, not yet trusted.
 * @param directory Which relative files are in.
 * @param where For messages about addresses.
 * @throws {StartError} `CONFIG_INVALID` for an address that is none.
 */
export function parseListeners(
  value: unknown,
  directory: string,
  where: string,
  acmeFile: (names: readonly string[]) => string,
): {
  readonly listeners: readonly TrafficListener[]
  readonly issues: readonly ListenerIssue[]
  readonly wanted: readonly WantedCertificate[]
} {
  const isList = Array.isArray(value)
  const entries: readonly unknown[] = isList ? value : [value]
  const issues: ListenerIssue[] = []
  if (entries.length === 0 || entries.length > LISTENERS_MAX) {
    issues.push({ path: [], message: `expected 1 to ${LISTENERS_MAX} listeners` })
    return { listeners: [], issues, wanted: [] }
  }
  const listeners: TrafficListener[] = []
  const wanted = new Map<string, WantedCertificate>()
  for (const [at, entry] of entries.entries()) {
    const path = isList ? [at] : []
    if (typeof entry === 'string') {
      listeners.push(parseHostPort(entry, [where, ...path].join('.')))
      continue
    }
    const parsed = Listener.safeParse(entry)
    if (!parsed.success) {
      for (const issue of parsed.error.issues)
        issues.push({ path: [...path, ...(issue.path as (string | number)[])], message: issue.message })
      continue
    }
    const { address, tls, http2, redirectToTls, proxyProtocol } = parsed.data
    const names = tls?.acme
    const managed = names && { names, file: acmeFile(names) }
    if (managed !== undefined) wanted.set(managed.file, managed)
    listeners.push({
      ...parseHostPort(address, [where, ...path, 'address'].join('.')),
      ...(tls === undefined ? {} : { tls: tlsOptions(tls, directory, managed) }),
      // Browsers speak it over TLS alone; without TLS somebody has to want it.
      ...((http2 ?? tls !== undefined) ? { http2: true } : {}),
      ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
      ...(redirectToTls === undefined || redirectToTls === false
        ? {}
        : { redirectToTls: redirectToTls === true ? HTTPS_PORT : redirectToTls }),
    })
  }
  const taken = new Set<string>()
  for (const { host, port } of listeners) {
    if (port !== 0 && taken.has(`${host} ${port}`)) issues.push({ path: [], message: `two listeners on ${host}:${port}` })
    taken.add(`${host} ${port}`)
  }
  return { listeners, issues, wanted: [...wanted.values()] }
}

function tlsOptions(tls: z.output<typeof Tls>, directory: string, managed: WantedCertificate | undefined): TlsOptions {
  const at = (file: string): string => resolve(directory, file)
  const one: z.output<typeof Pair>[] = tls.certificate === undefined ? [] : [{ certificate: tls.certificate, key: tls.key! }]
  const given = tls.certificates ?? one
  const ofFiles = given.map(
    (pair): CertificateFiles => ({
      certificate: at(pair.certificate),
      key: at(pair.key),
      ...(pair.names === undefined ? {} : { names: pair.names }),
    }),
  )
  const own = managed && { certificate: managed.file, key: managed.file, names: managed.names }
  const certificates = own === undefined ? ofFiles : [...ofFiles, own]
  const { hsts } = tls
  return {
    certificates,
    ...(tls.clientCertificates === 'ask' ? { clientCertificates: 'ask' as const } : {}),
    unknownNames: tls.unknownNames,
    minVersion: tls.minVersion === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
    hsts:
      hsts === undefined
        ? undefined
        : `max-age=${hsts.maxAgeDays * DAY_S}${hsts.includeSubdomains ? '; includeSubDomains' : ''}${hsts.preload ? '; preload' : ''}`,
  }
}

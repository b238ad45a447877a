/** `ringwall protect URL`: a ring of one in front of one application. The same node, with n = 1. */
import { mkdirSync } from 'node:fs'
import { basename, resolve } from 'node:path'
import { PolicyFileInvalid, parsePrefix } from '@ringwall/ring'
import { stringify } from 'yaml'
import { formatHostPort, type HostPort, parseHostPort } from './address.ts'
import { readNodeConfig } from './config.ts'
import { StartError } from './errors.ts'
import { freePort } from './free-port.ts'
import { compareGiven, rememberGiven } from './local/given-policy.ts'
import { readOperator, signAsOperator } from './local/operator.ts'
import { contextFile, isProvisioned, type LocalNode, provisionRing, refreshContext, writeNodeConfigs } from './local/provision.ts'
import { plainPolicy } from './local/up.ts'
import { startNode } from './node.ts'
import { readPolicyFile } from './policy-file.ts'
import { findCrs } from './rules.ts'
import { untilAskedToStop } from './run-node.ts'
import type { RunningNode } from './running-node.ts'

export interface ProtectOptions {
  readonly url: string
  readonly listen: string
  /** `base`, `crs` or a folder. */
  readonly rules: readonly string[]
  readonly paranoia: number
  readonly mode: 'enforce' | 'shadow'
  readonly explainHeader: boolean
  /** A policy file that takes the place of the plain one. */
  readonly config: string | undefined
  /** Where the ring's state stays; `.ringwall/protect-PORT` when undefined. */
  readonly data: string | undefined
  /** Address of the admin API; a free port on loopback when undefined. */
  readonly admin: string | undefined
  /** The certificate (PEM, with those that issued it) and its key. */
  readonly tls?: { readonly certificate: string; readonly key: string; readonly hsts: boolean } | undefined
  /** Over TLS: clients are asked for certificates, which they may have or not. */
  readonly clientCertificates?: boolean
  /** In place of `tls`: certificates that the node gets for itself. */
  readonly acme?: ProtectAcme | undefined
  /** Balancers that speak the PROXY protocol. */
  readonly proxyProtocolFrom?: readonly string[]
  /** Where plain HTTP is answered with a redirect to TLS. */
  readonly redirectFrom?: string | undefined
  /** People log in before they reach the application. */
  readonly login?: boolean
  /** Threads that take traffic; 1 unless given. */
  readonly workers?: number
  /** Passwords known from breaches: `breachedPasswords` in `node.yaml`. */
  readonly breachedPasswords?: string | undefined
  /** MMDB files: `places` in `node.yaml`. */
  readonly places?: readonly string[]
  /** Another process with the same data serves these ports, and is about to end. */
  readonly takeOver?: boolean
}

export interface ProtectAcme {
  readonly names: readonly string[]
  /** Whether the server's terms of service are agreed to. */
  readonly agreed: boolean
  readonly contact: string | undefined
  /** The server's; Let's Encrypt's unless given. */
  readonly directory: string | undefined
  /** PEM file of who vouches for the server. */
  readonly roots: string | undefined
  readonly hsts: boolean
}

const APPLY_MS_MAX = 10_000

/** Runs until a signal. @returns The exit code. @throws {StartError} And what `startNode` throws. */
export async function runProtect(options: ProtectOptions): Promise<number> {
  const began = performance.now()
  const node = await startProtect(options)
  const { traffic, admin } = node.config.listen
  const first = traffic[0] as HostPort
  process.stdout.write(
    [
      `Ringwall protects on ${options.tls === undefined && options.acme === undefined ? 'http' : 'https'}://${formatHostPort(first)}; policy ${node.view().policyVersion}: ${describePolicy(node)}`,
      `  admin API and console http://${formatHostPort(admin)}; operator's context ${contextFile(dataOf(options))}`,
      `ready in ${((performance.now() - began) / 1_000).toFixed(2)} s`,
      '',
    ].join('\n'),
  )
  await untilAskedToStop(node)
  await node.stop()
  return 0
}

/** What is in force, which a file or an operator may have said, not these options. */
function describePolicy(node: RunningNode): string {
  return Object.entries(node.view().policy.services)
    .map(([name, { upstreams, waf }]) => {
      const rules = waf.mode === 'off' ? 'WAF off' : `WAF ${waf.mode}, rules ${waf.rules.join(', ')}`
      return `${name} → ${upstreams.map(({ url }) => url).join(', ')} (${rules})`
    })
    .join('; ')
}

function dataOf(options: ProtectOptions): string {
  const { port } = parseHostPort(options.listen, '--listen')
  return resolve(options.data ?? `.ringwall/protect-${port}`)
}

/** Starts the node and puts the wanted policy in force. */
export async function startProtect(options: ProtectOptions): Promise<RunningNode> {
  if (!/^https?:\/\/[^/?#\s]+\/?$/.test(options.url)) {
    throw new StartError(
      'CONFIG_INVALID',
      `${JSON.stringify(options.url)}: expected http://HOST:PORT of the application, without a path`,
    )
  }
  const listen = parseHostPort(options.listen, '--listen')
  const admin =
    options.admin === undefined ? { host: '127.0.0.1', port: await freePort() } : parseHostPort(options.admin, '--admin')
  const listeners = wantedListeners(options)
  const rules = options.rules.map(resolveRules)
  const policy = wantedPolicy(options, rules)
  const data = dataOf(options)
  mkdirSync(data, { recursive: true, mode: 0o700 })
  // A ring of one has no links: port 0 keeps fabric from claiming one that somebody else wants.
  const local: LocalNode = {
    id: 'n1',
    region: 'local',
    traffic: listen.port,
    admin: admin.port,
    fabric: 0,
    configFile: resolve(data, 'n1', 'node.yaml'),
    listeners,
  }
  if (!isProvisioned(data)) {
    provisionRing(data, [local], policy, Date.now())
    // Now, not when it serves: a start that fails further on must not make its own policy look like somebody else's.
    rememberGiven(data, policy.text)
  }
  writeNodeConfigs(data, [local], () => extraSettings(options, rules))
  refreshContext(data, [local])
  const config = readNodeConfig(local.configFile)
  const node = await startNode({ ...config, takeOver: options.takeOver ?? false, listen: { ...config.listen, admin } })
  try {
    await enforcePolicy(node, data, policy.text, options.config !== undefined)
    return node
  } catch (error) {
    await node.stop()
    throw error
  }
}

/** What `listen.traffic` in `node.yaml` is to say. */
function wantedListeners(options: ProtectOptions): readonly object[] {
  const { listen, tls, acme, redirectFrom, proxyProtocolFrom = [], clientCertificates = false } = options
  const wrong = proxyProtocolFrom.find((text) => parsePrefix(text) === undefined)
  if (wrong !== undefined)
    throw new StartError('CONFIG_INVALID', `--proxy-protocol-from ${wrong}: expected an address or a prefix, such as 10.0.0.0/8`)
  const common = proxyProtocolFrom.length === 0 ? {} : { proxyProtocol: { from: proxyProtocolFrom } }
  if (tls === undefined && acme === undefined) {
    if (redirectFrom !== undefined)
      throw new StartError('CONFIG_INVALID', '--redirect-from needs --tls-cert and --tls-key, or --acme: it redirects to TLS')
    return [{ address: listen, ...common }]
  }
  const files = tls === undefined ? {} : { certificate: resolve(tls.certificate), key: resolve(tls.key) }
  const names = acme === undefined ? {} : { acme: acme.names }
  const hsts = (tls ?? acme)!.hsts ? { hsts: {} } : {}
  const asks = clientCertificates ? { clientCertificates: 'ask' } : {}
  const secure = { ...common, address: listen, tls: { ...files, ...names, ...hsts, ...asks } }
  if (redirectFrom === undefined) return [secure]
  parseHostPort(redirectFrom, '--redirect-from')
  return [secure, { ...common, address: redirectFrom, redirectToTls: parseHostPort(listen, '--listen').port }]
}

interface NamedRules {
  readonly name: string
  readonly folder: string | undefined
}

function resolveRules(given: string): NamedRules {
  if (given === 'base') return { name: 'base', folder: undefined }
  if (given === 'crs') {
    findCrs()
    return { name: 'crs', folder: undefined }
  }
  const name = basename(resolve(given))
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
  return { name: name === 'base' || name === 'crs' ? `${name}-folder` : name, folder: resolve(given) }
}

function extraSettings(options: ProtectOptions, rules: readonly NamedRules[]): string {
  const folders = Object.fromEntries(rules.flatMap(({ name, folder }) => (folder === undefined ? [] : [[name, folder]])))
  const { acme, explainHeader, workers = 1, breachedPasswords, places = [] } = options
  const files = {
    ...(breachedPasswords === undefined ? {} : { breachedPasswords: resolve(breachedPasswords) }),
    ...(places.length === 0 ? {} : { places: places.map((file) => resolve(file)) }),
  }
  const settings = acme === undefined ? {} : { acme: acmeSettings(acme) }
  return stringify({ explainHeader, workers, rules: folders, ...files, ...settings }).trimEnd()
}

function acmeSettings({ agreed, contact, directory, roots }: ProtectAcme): object {
  if (!agreed)
    throw new StartError(
      'CONFIG_INVALID',
      '--acme needs --acme-agree: the certificate authority’s terms of service are for you to agree to',
    )
  return {
    agreeToTerms: true,
    ...(contact === undefined ? {} : { contact }),
    ...(directory === undefined ? {} : { directory }),
    ...(roots === undefined ? {} : { roots: resolve(roots) }),
  }
}

function wantedPolicy(options: ProtectOptions, rules: readonly NamedRules[]): { readonly text: string; readonly file: string } {
  if (options.config !== undefined) {
    try {
      return { text: readPolicyFile(options.config).text, file: options.config }
    } catch (cause) {
      if (cause instanceof PolicyFileInvalid) throw new StartError('CONFIG_INVALID', cause.message, { cause })
      throw new StartError('CONFIG_INVALID', `${options.config}: the policy file cannot be read`, { cause })
    }
  }
  const waf = { mode: options.mode, rules: rules.map(({ name }) => name), paranoia: options.paranoia }
  return { text: plainPolicy(options.url, waf, options.login === true), file: 'the policy made from the options' }
}

/** A policy file says what shall be in force; options say it as long as nobody applied anything else. */
async function enforcePolicy(node: RunningNode, data: string, text: string, isFile: boolean): Promise<void> {
  const view = node.view()
  const comparison = compareGiven(data, text, view.policyText)
  if (comparison === 'edited' && !isFile) {
    process.stderr.write(
      `ringwall: policy ${view.policyVersion} was applied by an operator and stays; to replace it, give --config FILE or ringwall policy apply\n`,
    )
    return
  }
  rememberGiven(data, text)
  if (comparison === 'same') return
  const operator = readOperator(contextFile(data))
  await node.propose(
    signAsOperator(operator, { type: 'policy.set', policy: text, expectVersion: view.policyVersion }),
    APPLY_MS_MAX,
  )
}

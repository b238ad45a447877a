/** Makes a policy ready for use: hosts and routes become tables, names of rule sets become compiled rules. Pure. */
import { type CompileOptions, compileExclusions, type RuleSet, type RuleSource } from '@ringwall/waf'
import type { ApiCheck } from '@ringwall/waf/api'
import { type AuthorizationCompiler, compiledAuthorization } from './authorization.ts'
import { didYouMean } from './did-you-mean.ts'
import { compilePatch } from './patches.ts'
import type { ExceptionPolicy, Policy, RoutePolicy, ServicePolicy } from './policy.ts'
import { compiledApi } from './policy-api.ts'
import { untilMs } from './policy-faults.ts'
import { type NodeRouting, NodeRoutings } from './policy-nodes.ts'
import type { CompiledException, CompiledPatch, CompiledRoute, RuleLibrary } from './types.ts'

/** `compileRules` of `@ringwall/waf`. Throws when the rules do not compile. */
export type RuleCompiler = (sources: readonly RuleSource[], options: CompileOptions) => RuleSet

export interface CompiledPolicy {
  readonly policy: Policy
  /** Every choice of rules that some route inspects with, each once; `where` names the first place. */
  readonly inspections: readonly Inspection[]
  readonly patches: readonly CompiledPatch[]
  /** As `View.routes` says, where every service is served. */
  readonly routes: readonly CompiledRoute[]
  /** As `View.route` says, where every service is served: of those with the same host, the first. */
  route(host: string, path: string, method: string): CompiledRoute | undefined
  /** What single nodes serve, by their labels. */
  readonly nodes: NodeRoutings
}

export interface Inspection {
  readonly where: string
  readonly rules: RuleSet
  readonly bodyBytesMax: number
}

export type PolicyCompilation =
  | { readonly ok: true; readonly compiled: CompiledPolicy }
  | { readonly ok: false; readonly problems: readonly string[] }

/**
 * Compiled rules by what they are made of, the latest last: a policy that is planned, voted on and put in force, and all that
 * differ in other things, share them. A pure function remembered.
 */
const remembered = new WeakMap<RuleLibrary, Map<string, RuleSet>>()
const REMEMBERED_MAX = 16

function compiledOnce(compile: RuleCompiler, library: RuleLibrary, key: string, waf: ServicePolicy['waf']): RuleSet {
  const known = remembered.get(library) ?? new Map<string, RuleSet>()
  remembered.set(library, known)
  const rules =
    known.get(key) ??
    compile(
      waf.rules.flatMap((name) => library.get(name) ?? []),
      { paranoia: waf.paranoia },
    )
  known.delete(key)
  known.set(key, rules)
  if (known.size > REMEMBERED_MAX) known.delete(known.keys().next().value as string)
  return rules
}

const patchSets = new WeakMap<RuleLibrary, Map<string, RuleSet>>()
const PATCH_SETS_MAX = 200
const PATCH_DEFAULTS: RuleSource = {
  file: 'defaults of patches',
  text: 'SecDefaultAction "phase:1,deny,log,status:403"\nSecDefaultAction "phase:2,deny,log,status:403"\n',
}

/** Likewise: a patch that stays through many policies keeps its counters. */
function patchOnce(compile: RuleCompiler, library: RuleLibrary, text: string, file: string): RuleSet {
  const known = patchSets.get(library) ?? new Map<string, RuleSet>()
  patchSets.set(library, known)
  const key = `${file}\n${text}`
  const rules = known.get(key) ?? compile([PATCH_DEFAULTS, { file, text }], { paranoia: 4 })
  known.delete(key)
  known.set(key, rules)
  if (known.size > PATCH_SETS_MAX) known.delete(known.keys().next().value as string)
  return rules
}

interface CompiledService {
  readonly name: string
  readonly whole: CompiledRoute
  /** Longest path first. */
  readonly routes: readonly CompiledRoute[]
}

/** Total: problems of rules come back as sentences. Equal choices of rules are compiled once. */
export function compilePolicy(
  policy: Policy,
  compile: RuleCompiler,
  library: RuleLibrary,
  authorization?: AuthorizationCompiler,
): PolicyCompilation {
  const problems: string[] = []
  const failed = new Set<string>()

  const rulesFor = (service: ServicePolicy, where: string, routeExclude: readonly number[]): RuleSet | undefined => {
    const key = JSON.stringify([service.waf.rules, service.waf.paranoia])
    if (failed.has(key)) return undefined
    try {
      const rules = compiledOnce(compile, library, key, service.waf)
      const exclude = [...service.waf.exclude, ...routeExclude]
      return exclude.length === 0 ? rules : rules.excluding(exclude)
    } catch (error) {
      failed.add(key)
      problems.push(`${where}.waf: the rules do not compile: ${error instanceof Error ? error.message : 'no reason given'}`)
      return undefined
    }
  }

  const exceptions = policy.exceptions.map(compileException)
  const patches: CompiledPatch[] = []
  for (const patch of policy.patches) {
    const compiled = compilePatch(patch, (text, file) => patchOnce(compile, library, text, file))
    if (compiled.ok) patches.push(compiled.patch)
    else problems.push(compiled.problem)
  }
  const inspections = new Map<string, Inspection>()
  /** By host, each in the order of the policy. */
  const services = new Map<string, CompiledService[]>()
  const all: CompiledRoute[] = []
  for (const [name, servicePolicy] of Object.entries(policy.services)) {
    const where = `services.${name}`
    const service = { ...servicePolicy, name }
    const unknown = service.waf.rules.filter((rules) => !library.has(rules))
    for (const rules of unknown) {
      const near = didYouMean(rules, library.keys())
      const hint = near === undefined ? `known here: ${[...library.keys()].join(', ') || 'none'}` : `did you mean ${near}?`
      problems.push(`${where}.waf.rules: no rule set is called ${rules} (${hint})`)
    }
    if (unknown.length > 0) continue
    let api: ApiCheck | undefined
    if (servicePolicy.api !== undefined) {
      const compilation = compiledApi(servicePolicy.api)
      if (compilation.ok) api = compilation.check
      else problems.push(...compilation.faults.map(({ path, message }) => `${[where, 'api', ...path].join('.')}: ${message}`))
    }
    const access = compiledAuthorization(name, servicePolicy, authorization)
    if (access?.ok === false) problems.push(...access.faults.map(({ message }) => `${where}.authorization.policies: ${message}`))
    const authorizer = access?.ok === true ? access.authorizer : undefined
    const make = (route: RoutePolicy | undefined): CompiledRoute => {
      const apiMode = api === undefined ? 'off' : (route?.api?.mode ?? service.api?.mode ?? 'off')
      const wafMode = route?.waf?.mode ?? service.waf.mode
      const exclude = route?.waf?.exclude ?? []
      const rules = wafMode === 'off' ? undefined : rulesFor(service, where, exclude)
      const label = route === undefined ? name : `${name} ${route.name}`
      const { rules: names, paranoia, bodyBytesMax } = service.waf
      const leftOut = [...new Set([...service.waf.exclude, ...exclude])].sort((a, b) => a - b)
      const key = JSON.stringify([names, paranoia, bodyBytesMax, leftOut])
      if (rules !== undefined && !inspections.has(key)) inspections.set(key, { where: label, rules, bodyBytesMax })
      return {
        service,
        route,
        label,
        rules,
        wafMode,
        bodyBytesMax: service.waf.bodyBytesMax,
        api: apiMode === 'off' ? undefined : api,
        apiMode,
        authorizer,
        exceptions: exceptions.filter(
          ({ exception }) => exception.service === name && (exception.route === undefined || exception.route === route?.name),
        ),
        patches: patches.filter(
          ({ patch }) => patch.service === name && (patch.route === undefined || patch.route === route?.name),
        ),
      }
    }
    const whole = make(undefined)
    const routes = service.routes.map(make)
    all.push(whole, ...routes)
    // A route that names methods stands before one of the same path that takes all.
    const rank = ({ route }: CompiledRoute) => (route!.methods.length === 0 ? 1 : 0)
    routes.sort((a, b) => trimmed(b.route!.path).length - trimmed(a.route!.path).length || rank(a) - rank(b))
    const compiled = { name, whole, routes }
    for (const host of service.hosts) {
      const key = host.toLowerCase().replace(/^\[(.*)\]$/, '$1')
      services.set(key, [...(services.get(key) ?? []), compiled])
    }
  }
  if (problems.length > 0) return { ok: false, problems }

  const routingOf = (elsewhere: ReadonlySet<string>): NodeRouting => {
    const served = new Map<string, CompiledService>()
    for (const [host, all] of services) {
      const first = all.find(({ name }) => !elsewhere.has(name))
      if (first !== undefined) served.set(host, first)
    }
    return {
      elsewhere,
      routes: elsewhere.size === 0 ? all : all.filter(({ service }) => !elsewhere.has(service.name)),
      route: (host, path, method) => routeIn(served, host, path, method),
    }
  }
  const nodes = new NodeRoutings(policy, routingOf)
  const { routes, route } = nodes.without([])
  return {
    ok: true,
    compiled: {
      policy,
      inspections: [
        ...inspections.values(),
        ...patches.map(({ patch, rules }) => ({ where: `patch ${patch.name}`, rules, bodyBytesMax: 131_072 })),
      ],
      routes,
      patches,
      route,
      nodes,
    },
  }
}

function routeIn(
  services: ReadonlyMap<string, CompiledService>,
  host: string,
  path: string,
  method: string,
): CompiledRoute | undefined {
  // A final dot names the same host (RFC 1034 section 3.1): left on, it would miss the service's own rules.
  const service = serviceOf(services, host.endsWith('.') ? host.slice(0, -1) : host)
  if (service === undefined) return undefined
  return service.routes.find(({ route }) => covers(route!, path, method)) ?? service.whole
}

function serviceOf(services: ReadonlyMap<string, CompiledService>, host: string): CompiledService | undefined {
  const exact = services.get(host)
  if (exact !== undefined && host !== '*') return exact
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
    const wild = services.get(`*${host.slice(dot)}`)
    if (wild !== undefined) return wild
  }
  return services.get('*')
}

/** Ready to be asked whether it is about a request. */
export function compileException(exception: ExceptionPolicy): CompiledException {
  const { rule, variable, path, until } = exception
  const [exclusion] = compileExclusions([{ ruleId: rule, variable }])
  const below = path?.endsWith('/*') === true ? path.slice(0, -1) : undefined
  return {
    exception,
    untilMs: untilMs(until) ?? 0,
    exclusion: exclusion!,
    covers: (asked) => path === undefined || (below === undefined ? asked === path : asked.startsWith(below)),
  }
}

/** A final slash says nothing: `/admin/` covers `/admin` too, or leaving it off would be a way round. */
function trimmed(path: string): string {
  return path.endsWith('/') ? path.slice(0, -1) : path
}

function covers(route: RoutePolicy, path: string, method: string): boolean {
  const base = trimmed(route.path)
  if (!path.startsWith(base) || (path.length > base.length && path[base.length] !== '/')) return false
  return route.methods.length === 0 || route.methods.includes(method)
}

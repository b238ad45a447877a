/** Rule sets from disk: `base`, which comes with Ringwall, folders that the operator names, and the OWASP Core Rule Set. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { setFlagsFromString } from 'node:v8'
import type { RuleLibrary } from '@ringwall/ring'
import type { RuleSource } from '@ringwall/waf'
import { StartError } from './errors.ts'

const BASE = resolve(import.meta.dirname, '../../waf/rules')

/**
 * Nothing can interrupt V8's backtracking matcher. From here on it hands a search that goes back too often over to V8's
 * automaton, whose time is linear in the text (for every pattern without look-around and back-references).
 */
export function boundPatternTime(): void {
  setFlagsFromString('--enable-experimental-regexp-engine-on-excessive-backtracks')
  setFlagsFromString('--regexp-backtracks-before-fallback=10000')
}

/** A file of a rule set: `.conf` files are rules, the rest is what rules name. */
function source(file: string): RuleSource {
  // Data is bytes, rules are text: what a pattern means beyond ASCII is written in escapes.
  if (file.endsWith('.conf') || file.endsWith('.conf.example')) return { file, text: readFileSync(file, 'utf8') }
  return { file, text: readFileSync(file, 'latin1'), kind: 'data' }
}

/** The rules and data files of a folder, by name. */
function rulesIn(folder: string): readonly string[] {
  return readdirSync(folder)
    .filter((file) => /\.(?:conf|data)$/.test(file))
    .sort()
    .map((file) => join(folder, file))
}

function readFolder(name: string, folder: string): readonly RuleSource[] {
  if (!existsSync(folder)) throw new StartError('RULES_INVALID', `rule set ${name}: there is no folder ${folder}`)
  if (isCrs(folder)) return readCrs(crsAt(folder))
  const files = rulesIn(folder)
  if (!files.some((file) => file.endsWith('.conf')))
    throw new StartError('RULES_INVALID', `rule set ${name}: ${folder} holds no .conf files`)
  return files.map(source)
}

/** An installed Core Rule Set. */
export interface CrsInstallation {
  /** Configuration, which comes first. */
  readonly setup: string
  /** Its rules; files of exclusions of the operator's own among them, in the order of their names. */
  readonly files: readonly string[]
  /** `OWASP_CRS/3.3.4` and the like. */
  readonly signature: string
}

/** Where packages and handbooks put the rules. */
const CRS_FOLDERS = [
  '/usr/share/modsecurity-crs',
  '/usr/local/share/modsecurity-crs',
  '/usr/local/share/coreruleset',
  '/usr/share/coreruleset',
  '/usr/share/owasp-crs',
  '/opt/owasp-crs',
  '/opt/coreruleset',
  '/etc/modsecurity/crs',
  '/etc/modsecurity.d/owasp-crs',
  '/etc/nginx/modsec/coreruleset',
  '/etc/crs4',
] as const

/** Where Debian keeps what its administrator edits: the configuration, and exclusions before and after the rules. */
const CRS_SETUP_FOLDER = '/etc/modsecurity/crs'

const INITIALIZATION = /^REQUEST-901-INITIALIZATION\.conf$/

function isCrs(folder: string): boolean {
  return existsSync(join(folder, 'rules')) && readdirSync(join(folder, 'rules')).some((file) => INITIALIZATION.test(file))
}

function crsAt(folder: string): CrsInstallation {
  const own = [join(folder, 'crs-setup.conf'), join(folder, 'crs-setup.conf.example')]
  // Only for what the package manager installed: another copy has a configuration of its own.
  const edited = folder === CRS_FOLDERS[0] ? [join(CRS_SETUP_FOLDER, 'crs-setup.conf')] : []
  const setup = [...edited, ...own].find(existsSync)
  if (setup === undefined)
    throw new StartError(
      'RULES_INVALID',
      `${folder} holds the Core Rule Set without crs-setup.conf: copy crs-setup.conf.example there`,
    )
  const beside =
    edited.length > 0 && existsSync(CRS_SETUP_FOLDER) ? rulesIn(CRS_SETUP_FOLDER).filter((file) => file !== setup) : []
  const files = [...rulesIn(join(folder, 'rules')), ...beside].sort((a, b) => (basename(a) < basename(b) ? -1 : 1))
  const first = files.find((file) => INITIALIZATION.test(basename(file)))
  const signature = /^SecComponentSignature\s+"([^"]+)"/m.exec(first === undefined ? '' : readFileSync(first, 'utf8'))?.[1]
  return { setup, files, signature: signature ?? 'OWASP_CRS' }
}

/**
 * Finds the Core Rule Set: in `folder`, or where packages install it. It is never shipped with Ringwall.
 *
 * @throws {StartError} `RULES_INVALID`, saying where was looked.
 */
export function findCrs(folder?: string): CrsInstallation {
  if (folder !== undefined) {
    const found = resolve(folder)
    if (!existsSync(found) || !isCrs(found))
      throw new StartError(
        'RULES_INVALID',
        `${found} does not hold the Core Rule Set: expected rules/REQUEST-901-INITIALIZATION.conf below it`,
      )
    return crsAt(found)
  }
  const found = CRS_FOLDERS.find((place) => existsSync(place) && isCrs(place))
  if (found === undefined) {
    throw new StartError(
      'RULES_INVALID',
      `no Core Rule Set is installed in ${CRS_FOLDERS.join(', ')}; install it (Debian: apt-get install modsecurity-crs) or name its folder: rules: { crs: DIR } in node.yaml, --rules DIR with protect`,
    )
  }
  return crsAt(found)
}

/** As ModSecurity is recommended to be set, over a smaller part of the body; crs-setup.conf, which comes after, may say otherwise. */
const CRS_RESPONSES: RuleSource = {
  file: 'responses.conf',
  text: `SecResponseBodyAccess On
SecResponseBodyMimeType text/plain text/html text/xml application/json
SecResponseBodyLimit 131072
SecResponseBodyLimitAction ProcessPartial
`,
}

/** @param additions Configuration that is read after crs-setup.conf, before the rules. */
export function readCrs(
  { setup, files, signature }: CrsInstallation,
  additions: readonly RuleSource[] = [],
): readonly RuleSource[] {
  // Version 3 doubles the backslashes of its patterns for Apache; version 4 writes \x5c.
  const forApache = signature.startsWith('OWASP_CRS/3')
  const read = (file: string): RuleSource => (forApache ? { ...source(file), reader: 'apache' } : source(file))
  return [CRS_RESPONSES, source(setup), ...additions, ...files.map(read)]
}

/**
 * Rules by what people name: `base`, `crs`, a folder, or one `.conf` file.
 *
 * @throws {StartError} `RULES_INVALID`.
 */
export function readNamedRules(name: string): readonly RuleSource[] {
  if (name === 'base') return readFolder('base', BASE)
  if (name === 'crs') return readCrs(findCrs())
  const place = resolve(name)
  const known = statSync(place, { throwIfNoEntry: false })
  if (known === undefined)
    throw new StartError('RULES_INVALID', `${name}: expected base, crs, a folder of .conf files or one such file`)
  return known.isDirectory() ? readFolder(name, place) : [source(place), ...dataBeside(place)]
}

function dataBeside(file: string): readonly RuleSource[] {
  return readdirSync(dirname(file))
    .filter((name) => name.endsWith('.data'))
    .map((name) => source(join(dirname(file), name)))
}

/** What `crs` means where nobody named a folder; nothing when it is not installed or not configured. */
function installedCrs(): CrsInstallation | undefined {
  try {
    return findCrs()
  } catch {
    return undefined
  }
}

/** `folders` by name; `base` is always there, `crs` when it is installed. @throws {StartError} `RULES_INVALID`. */
export function loadRuleLibrary(folders: Readonly<Record<string, string>>): RuleLibrary {
  boundPatternTime()
  const library = new Map<string, readonly RuleSource[]>([['base', readFolder('base', BASE)]])
  const installed = folders.crs === undefined ? installedCrs() : undefined
  if (installed !== undefined) library.set('crs', readCrs(installed))
  for (const [name, folder] of Object.entries(folders)) library.set(name, readFolder(name, folder))
  return library
}

/**
 * Tells values that lead a program to files that were not offered. A value is unescaped as often as some program on the way might
 * do it (percent-encoding in layers, overlong UTF-8, `%u`, full-width forms, `....//`), walked as a path, and judged by where it
 * ends up: above the place where it began, or at a file of the system. Paths inside of sentences and of code are text.
 */

/** One of these occurs in every value that is found to leave its place. */
export const PATH_LITERALS: readonly string[] = [
  ...['..', '%2', '%5', '%c', '%e', '%u', '%f', '0x2', '\xef\xbc', '\xc0', '\xe2\x88', '\xe2\x81', '\xc1', '\xe0', '\xf0\x80'],
  ...[
    'etc/',
    'e?c',
    'etc\\',
    'proc/',
    '/var/',
    '/root',
    '/home/',
    '/usr/',
    '/opt/',
    '/srv/',
    '/sys/',
    '/dev/',
    '/boot/',
    '/run/',
    '/tmp/',
  ],
  ...[
    '/private',
    '/users/',
    '~/',
    '~root',
    'apache',
    '/log',
    '/data/',
    'windows',
    'winnt',
    'win.ini',
    'boot.ini',
    ':\\',
    ':/',
    'web.config',
  ],
  ...[
    'web-inf',
    'meta-inf',
    '%windir',
    '%systemroot',
    '\\\\',
    'id_rsa',
    'authorized_keys',
    '.htpasswd',
    '.bash_history',
    'wp-config',
    '/library/',
    'php.ini',
    'httpd.conf',
    'my.cnf',
    'my.ini',
    '_log',
    '.log',
    'unattend',
    '\xf8\x80',
    '\xfc\x80',
  ],
]

const LAYERS_MAX = 4
/** No file system takes a longer path. */
const PATH_CHARS_MAX = 4_096

/** Why the value is no path that a client may name, or nothing. */
export function strayPath(text: string): string | undefined {
  const plain = unescapeLayers(text).trim()
  const inText = insideText(plain)
  if (inText !== undefined) return inText
  // The last word of a value that assigns or prefixes: `file=../x`, `x:../x`.
  if (plain.length > PATH_CHARS_MAX) return undefined
  if (DRIVE_WITH_BLANKS.test(plain)) return 'file of Windows'
  if (/[\s<>()'"]/.test(plain.replace(/^["'(]{1,2}|["')]{1,2}$/g, '').replace(/[\0 ]{1,16}\S{0,8}$/, ''))) return undefined
  if (plain === text.trim() && SETTING.test(plain)) return undefined
  const path = plain.replace(/^["'(]{1,2}/, '').replace(/^[\w[\].-]{1,40}=/, '')
  if (plain === text.trim() && (NEIGHBOUR.test(path) || SAME_PROJECT.test(path))) return undefined
  return climbs(path) ?? systemFile(path)
}

/** A file beside the folder, of the kinds that projects name one another's by: settings, styles, pictures. */
const NEIGHBOUR =
  /^(?!.*(?:conf|secret|credential|passw|private|key|token|admin|backup|database|env))\.\.\/(?:[\w-]{1,60}\/){0,4}\.?[\w-]{1,60}(?:\.[\w-]{1,20}){0,2}\.(?:json|[cm]?[jt]sx?|md|s?css|less|svg|png|jpe?g|webp|gif|vue|html)$/

/** A source or a picture of the same project, as maps of sources and settings of compilers name them. */
const SAME_PROJECT =
  /^(?!.*(?:conf|secret|credential|passw|private|key|token|admin|backup|database|env))(?:\.\.\/){2,6}(?:src|lib|packages|node_modules|assets|components|styles|images|img|fonts|docs|tests?|types|common|shared)\/(?:[\w@-][\w.@-]{0,60}\/){0,8}[\w@-][\w@-]{0,60}(?:\.[\w-]{1,20}){0,2}\.(?:json|[cm]?[jt]sx?|md|s?css|less|svg|png|jpe?g|webp|gif|vue|html)$/

/** A line of a configuration, `LogDirectory=/var/log/shop` or `LOG_FILE=/var/log/shop.log`: no parameter of an address is spelled so. */
const SETTING =
  /^(?:[A-Z][a-z]{2,16}(?:[A-Z][A-Za-z]{1,16}){1,4}|[A-Z]{2,16}(?:_[A-Z]{2,16}){1,4})=(?!.*\.\.|.*(?:passw|shadow|secret|cred|\.ssh|\/proc|\/root))\/(?:etc|var|opt|usr|srv|run)(?:\/[\w%@-][\w.%@-]{0,60}){1,6}\/?$/

/** Percent-encoding and its like, until nothing changes. */
function unescapeLayers(text: string): string {
  let now = text
  for (let layer = 0; layer < LAYERS_MAX; layer += 1) {
    if (!/%|0x[25]|[\xc0\xc1\xe0\xe2\xe3\xef\xf0\xf8\xfc]/i.test(now)) return now
    const next = now
      .replace(/%u(?:00|ff)?([0-9a-f]{2})([0-9a-f]{2})?/gi, (all, high: string, low: string | undefined) => wide(all, high, low))
      .replace(/%(?:c0%(?:2e|ae|6e|4e|fe)|e0%[48c]0%[26a]e|e0%80%ae|f0%80%80%ae|ef%bc%8e)/gi, '.')
      .replace(
        /%(?:c0%(?:af|2f|qf|9v|6f|ef|8f)|c1%(?:8s|af|pc|9c|1c|8c|hc)|e0%80%af|f0%80%80%af|ef%bc%8f|e2%88%95|e2%81%84|c0%5c|c1%5c)/gi,
        '/',
      )
      .replace(/%%32%65/gi, '.')
      .replace(/%%32%66|%%35%63/gi, '/')
      .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
      .replace(/0x2e/gi, '.')
      .replace(/0x(?:2f|5c)/gi, '/')
      .replace(
        /\xc0[\xae\x2e\xfe\x6e\xee]|\xe0[\x80\x40]\xae|\xf0\x80\x80\xae|\xf8\x80\x80\x80\xae|\xfc\x80\x80\x80\x80\xae|\xef\xbc\x8e|\xe3\x80\x82|\xe2\x80\xa4/g,
        '.',
      )
      .replace(
        /\xc0[\xaf\x2f\x6f\xef]|\xc1[\x9c\x1c\xaf]|\xe0[\x80\x40]\xaf|\xf0\x80\x80\xaf|\xf8\x80\x80\x80\xaf|\xfc\x80\x80\x80\x80\xaf|\xef\xbc[\x8f\xbc]|\xe2\x88[\x95\x96]|\xe2\x81\x84/g,
        '/',
      )
    if (next === now) return now
    now = next
  }
  return now
}

/** `%u2215`, `%uff0e`, `%u002f` and the rest of what stands for a dot or a slash. */
function wide(all: string, high: string, low: string | undefined): string {
  const code = all.slice(2).toLowerCase()
  if (/^(?:2215|2216|ff0f|ff3c|2044|f025|f05c|002f|005c|ef c8)$/.test(code)) return '/'
  if (/^(?:ff0e|2024|002e|3002)$/.test(code)) return '.'
  return low === undefined && high !== '' && /^00/.test(code) ? String.fromCharCode(Number.parseInt(code.slice(2), 16)) : all
}

/** Above where it began. */
function climbs(path: string): string | undefined {
  if (!path.includes('..')) return undefined
  const local = path.replace(/^[a-z][a-z0-9+.-]{1,12}:\/\/[^/]{0,200}/i, '').replace(/[?#].*$/s, '')
  let depth = 0
  let lowest = 0
  let dots = 0
  // One `...` is an ellipsis; several are what a filter leaves of dots.
  const ellipses = local.split(/[/\\]+/).filter((segment) => segment === '...' || segment === '....').length
  for (const raw of local.split(/[/\\]+/)) {
    const segment = raw.replace(/[\0;].*$/s, '').trim()
    if (segment === '..' || ((segment === '...' || segment === '....') && ellipses > 1)) {
      dots += 1
      depth -= 1
      if (depth < lowest) lowest = depth
    } else if (segment !== '' && segment !== '.') depth += 1
  }
  // An absolute path cannot climb, so that one who writes `/a/../../` expects a prefix in front.
  if (lowest < 0) return /^\.{2,4}(?:$|[^./\\;%\0])/.test(local) || /^\.{3,}$/.test(local) ? undefined : 'climbs'
  if (dots >= 3) return 'climbs'
  return /\.\.;/.test(local) ? 'climbs behind a semicolon' : undefined
}

const SYSTEM =
  /^(?:file:\/{0,3}(?:localhost)?)?~?\/*(?:\/{1,4}|^)(?:etc\/[\w.*?-]|e\?c\/|proc\/(?:self|\d{1,7}|version|cmdline|mounts|net|cpuinfo|meminfo|sched_debug|partitions|stat|uptime|filesystems|modules|devices|config|sys)\b|sys\/class|dev\/(?:u?random|zero|mem|sd[a-z]|tcp)|var\/(?:log|mail|spool|run|lib|backups|cache|adm|db|apache2?|www\/[\w./-]{0,60}\.(?:php|conf|ini|inc|py|rb|env|htpasswd))|root\/|home\/[\w.-]{1,32}\/\.|boot\/|run\/secrets|usr\/(?:local\/)?(?:etc|apache2?|nginx|tomcat\d?|php\d?|lib\/(?:php|cgi)|share\/tomcat|pkg|home|lib\/(?:security|cron))\/|opt\/[\w.-]{1,32}\/[\w./-]{0,60}(?:conf|xml|ini|env|log|cfg|properties|passwd)|srv\/[\w./-]{0,60}\.(?:ht|env|conf)|tmp\/(?:sess_|phpinfo)|private\/(?:etc|var)|users\/[\w.-]{1,32}\/\.|apache2?\/|logs?\/(?:access|error)|usr\/local\/[\w.-]{1,32}\/(?:conf|logs?)|library\/webserver|system\/library|data\/data\/)/i

const WINDOWS =
  /^(?:file:\/{0,3}|\\\\[?.]\\|\\\\[\w.:-]{1,60}\\[a-z]\$)?\/*(?:[a-z]:[/\\]{0,4}(?:windows|winnt|boot\.ini|inetpub|logs?[/\\]|appserv|opt[/\\]|home\d?[/\\]|\$recycle|nginx|program ?files|programdata|xampp|wamp|users[/\\](?:administrator|public|default|all users)|documents and settings|sysprep|autoexec|pagefile|mysql|php\d?[/\\]|apache|tomcat|nginx|system volume|unattend)|%(?:systemroot|windir|systemdrive|programfiles|comspec|userprofile|appdata)%[/\\](?!(?:desktop|documents|downloads|music|pictures|videos)[/\\])|[/\\]{0,2}(?:windows|winnt)[/\\]+(?:system|win\.ini|repair|debug|panther|iis)|[/\\]{1,2}(?:boot|win)\.ini$)/i

const OFFERED_NEVER =
  /^(?:[/\\]{0,2}[\w./\\-]{0,60})?(?:(?:^|[/\\])(?:web-inf|meta-inf)[/\\]|(?:^|[/\\])(?:web\.config|win\.ini|boot\.ini|\.htpasswd|\.bash_history|\.git[/\\]config|wp-config\.php|id_rsa|authorized_keys)[\0%.#?]{0,40}$)/i

/** Settings and logs of servers, wherever they were installed. */
const SERVER_FILE = /^[/\\][\w./\\ -]{0,120}[/\\](?:php\.ini|httpd\.conf|my\.(?:cnf|ini)|(?:access|error)[._]log)$/i

function systemFile(path: string): string | undefined {
  const local = path.replace(/\0.*$/s, '')
  const walked = local.replace(/[/\\]+(?:\.[/\\]+)*/g, (slashes) => slashes[0]!)
  for (const form of [local, local.replaceAll('\\', '/'), walked.replace(/\/[^/.][^/]{0,60}\/\.\.(?=\/)/g, '')]) {
    if (SYSTEM.test(form) || SERVER_FILE.test(form)) return 'file of a Unix system'
    if (WINDOWS.test(form)) return 'file of Windows'
    if (OFFERED_NEVER.test(form)) return 'file that is never offered'
  }
  if (
    /^~[\w-]{0,32}\/\.(?:ssh|aws|bash|git|env|my\.cnf|netrc|kube|docker|gnupg|config\/(?:gcloud|gh|git|hub|rclone|filezilla|google-chrome|chromium|sops|op)\b)/.test(
      local,
    )
  )
    return 'file of a user'
  if (/^\\\\[\w.:-]{1,60}\\[\w$.-]{1,40}(?:\\|$)/.test(local) && /[a-z]\$|\.(?:php\d?|dll|exe|dtd|txt|aspx?)$/i.test(local))
    return 'share of another host'
  return undefined
}

const DRIVE_WITH_BLANKS =
  /^[a-z]:[/\\]{1,4}(?:documents and settings[/\\][\w./\\ -]{1,80}|(?:program files(?: \(x86\))?|xampp)[/\\][\w./\\() -]{1,120}\.(?:ini|conf|log|xml|cnf|err|config|dat))$/i
/** Files that are read to show that one can, whatever stands for the slash. */
const PRIZED =
  /etc[^\w\s]{1,4}(?:\w{2}[^\w\s])?(?:passwd|shadow|hosts|group|issue)|win\.ini|boot\.ini|system32|proc[/\\]self|web\.config|\.env\b|wp-config/gi
const PRIZED_MAX = 200
/** Words before the path and behind it: no file has such a name, and no shell such arguments. */
const IN_SENTENCE = /(?:^|[\s(])(?:[A-Za-z]{1,20}[,:]?\s){4}["'`(]?[./]\S{0,100}$/
const GOES_ON = /^[\w./-]{1,40}["'`),.:]{0,2}\s[A-Za-z]{2,20}\s\S/
const DOTS_BEFORE = /\.\.(?:[/\\;]|[^\w\s.,!?]|%\w{1,4})\S{0,100}$/
/** Escapes that no layer above knows are separators to somebody all the same, between dots. */
const DOTS_BETWEEN_ESCAPES = /(?:\.\.(?:%\w{2,5}|[^\w\s.,!?]){1,10}){3}/

/** Traversal to a known file inside of anything. */
function insideText(plain: string): string | undefined {
  if (!plain.includes('..')) return undefined
  // Slashes alone are the path that a line of code imports.
  const escaped = DOTS_BETWEEN_ESCAPES.exec(plain)
  if (escaped !== null && /[^./]/.test(escaped[0]) && !escaped[0].startsWith('..\\)')) return 'climbs'
  let looked = 0
  for (const found of plain.matchAll(PRIZED)) {
    const before = plain.slice(Math.max(0, found.index - 204), found.index)
    if (DOTS_BEFORE.test(before) && !(IN_SENTENCE.test(before) && GOES_ON.test(plain.slice(found.index, found.index + 120))))
      return 'climbs to a file of the system'
    looked += 1
    if (looked === PRIZED_MAX) return undefined
  }
  return undefined
}

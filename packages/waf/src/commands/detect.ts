/**
 * Tells values that a shell would run from values that only talk about commands. A value is read as if it stood where an argument
 * of a command stands: what counts is a command right behind a separator, read as the shell reads it (quotes, backslashes,
 * `$IFS`, braces and wildcards taken away), and how much prose stands before. A line of documentation is a command line from its
 * first word on, or has a sentence in front of the command; an injection completes one argument and begins anew.
 */
import { COMMANDS, INTERPRETERS, NUMBERED, READERS, SENDERS, SHELLS, SUBCOMMANDS, UNIX_ONLY } from './words.ts'

/** One of these occurs in every value that is found to run a command. */
export const COMMAND_INJECTION_LITERALS: readonly string[] = [
  ';',
  '|',
  '&',
  '`',
  '$',
  '\n',
  '<(',
  '>(',
  '/bin',
  '/etc/',
  '/dev/',
  ' -',
  'rm ',
  'win.ini',
  'boot.ini',
]

/** How sure it is that a command is meant. */
const WEAK = 1
const LIKELY = 2
const SURE = 3
const CERTAIN = 4

interface Command {
  readonly strength: number
  readonly name: string
  readonly end: number
}

const NOTHING: Command = { strength: 0, name: '', end: 0 }
const WORDS_MAX = 8
const WORD_CHARS_MAX = 120
const COMMAND_CHARS_MAX = 400
/** Commands that are read in one value. Nobody honest begins a value with a separator and names so many. */
const COMMANDS_MAX = 500

const BEFORE = { none: 0, start: 1, operand: 2, phrase: 3, prose: 4 } as const
type Before = (typeof BEFORE)[keyof typeof BEFORE]

/** The command that the value would run, or nothing. */
export function shellCommand(value: string): string | undefined {
  // A newline that some program on the way unescapes.
  const text = value.startsWith('\\n', /^["']/.test(value) ? 1 : 0)
    ? value.replace('\\n', '\n').replace(/\\n["']?$/, '\n')
    : value
  const whole = wholeCommand(text)
  if (whole !== undefined) return whole
  if (!SEPARATOR.test(text)) return undefined
  let read = 0
  let certain: boolean | undefined
  const context = new Context(text)
  const named = DATA_ADDRESS.exec(text)?.[0].length ?? 0
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at)
    const length = at < named ? 0 : separatorLength(text, at, code)
    const next = text.charCodeAt(at + 1)
    if (code === BACKTICK && FENCE.test(text.slice(Math.max(0, at - 3), at + 24))) context.fence()
    // Of a run of separators the last one is in front of the command.
    if (length === 0 || (length === 1 && (next === code || (isNewline(code) && isNewline(next))))) {
      context.pass(code)
      continue
    }
    if (context.isProse()) {
      certain ??= SHOWS_ALL.test(text)
      if (!certain) return undefined
    }
    const begins = mayBegin(text, at + length)
    if (begins) read += 1
    const command = begins ? readCommand(text, at + length) : NOTHING
    if (read > COMMANDS_MAX) return context.opened ? 'separators without end' : undefined
    if (command.strength > 0 && context.allows(text, at, length, command)) return command.name
    for (let i = 0; i < length; i += 1) context.pass(text.charCodeAt(at + i))
    at += length - 1
  }
  return undefined
}

/** What stands in front of each command that is not the whole value: see `separatorLength`. */
const SEPARATOR = /[;`\n\r|&]|[$<>]\(/

const BACKTICK = 0x60
/** The last sign of a fence at the beginning of a line, with the name of a language and nothing else. */
const FENCE = /^\n```[a-z]{0,16}[ \t]{0,4}(?:\r?\n|$)/

/** What `;base64` says at the beginning of an address that is its own data. */
const DATA_ADDRESS = /^\s{0,8}data:[\w.+-]{1,40}\/[\w.+-]{1,60};base64(?=[\s,])/i

function separatorLength(text: string, at: number, code: number): number {
  switch (code) {
    case 0x3b: // ;
    case 0x60: // `
    case 0x0a:
    case 0x0d:
      return 1
    case 0x7c: // |
    case 0x26: // &
      return text.charCodeAt(at + 1) === code ? 2 : 1
    case 0x24: // $( but not $((
      return text.charCodeAt(at + 1) === 0x28 && text.charCodeAt(at + 2) !== 0x28 ? 2 : 0
    case 0x3c: // <( and >(
    case 0x3e:
      return text.charCodeAt(at + 1) === 0x28 ? 2 : 0
    default:
      return 0
  }
}

/** What stands before the place that is looked at. */
class Context {
  #words = 0
  #inWord = false
  #lines = 0
  /** A separator came before any word. */
  opened = false
  #technical = false
  readonly #firstWord: string
  /** The value gives a variable what a command prints, as scripts do. */
  readonly #assigns: boolean
  /** What stands first is a line of a script itself: it completes no argument. */
  readonly #script: boolean
  readonly #manyLines: boolean
  readonly #tableRow: boolean
  #fenced: boolean

  constructor(text: string) {
    const head = /^[\s"'()[\]{}]{0,64}([A-Za-z][\w.+-]{0,40})/.exec(text.slice(0, 120))
    this.#firstWord = head?.[1]?.toLowerCase() ?? ''
    this.#assigns = ASSIGNS.test(text)
    this.#script = SCRIPT_LINE.test(text)
    let breaks = 0
    let ended = false
    let began = false
    for (let at = 0; at < text.length && breaks < 3; at += 1) {
      const code = text.charCodeAt(at)
      if (code === 10) ended = true
      else if (!isBlank(code)) {
        if (ended && began) breaks += 1
        ended = false
        began = true
      }
    }
    // A fence of Markdown, or a command quoted that a sentence goes on from: it is shown, not run.
    this.#fenced = /^\s{0,8}``[^\s`]|^\s{0,8}```/.test(text) || QUOTED.test(text)
    this.#manyLines = breaks >= 3 || this.#fenced
    this.#tableRow =
      /^\s{0,8}\|[^|\n]{0,600}(?:\|[^|\n]{0,600}){1,16}\|\s{0,4}(?:\n|\\n|$)/.test(text) && !/^\s{0,8}\|\|/.test(text)
  }

  /** A fence of Markdown begins: what follows is shown. */
  fence(): void {
    this.#fenced = true
  }

  pass(code: number): void {
    if (code === 10 || code === 13) this.#lines += 1
    if (isBlank(code)) {
      this.#inWord = false
      return
    }
    if (code === 0x22 || code === 0x27 || code === 0x28 || code === 0x29 || code === 0x5d || code === 0x7d) return
    if (code === 0x3b || code === 0x7c || code === 0x26 || code === 0x60) {
      if (this.#words === 0) this.opened = true
      if (this.#words === 1) this.#technical = true
      return
    }
    if (!this.#inWord) {
      this.#inWord = true
      this.#words += 1
    }
    if (this.#words === 1 && !((code | 32) >= 97 && (code | 32) <= 122)) this.#technical = true
  }

  #before(): Before {
    if (this.#fenced) return BEFORE.prose
    if (this.#words === 0 || (this.opened && !this.#manyLines)) return BEFORE.start
    if (this.#manyLines) return BEFORE.prose
    if (this.#words === 1) return BEFORE.operand
    return this.#words <= 3 ? BEFORE.phrase : BEFORE.prose
  }

  /** So much stands before that only what is certain counts. */
  isProse(): boolean {
    return this.#before() === BEFORE.prose
  }

  allows(text: string, at: number, length: number, command: Command): boolean {
    const { strength } = command
    const mark = text[at]!
    if (strength >= CERTAIN) return true
    if (this.#fenced || (this.#tableRow && (mark === '|' || ((mark === '`' || mark === '&') && /^\s{0,8}\| /.test(text)))))
      return false
    const before = this.#before()
    const substitution = mark === '`' || (length === 2 && text[at + 1] === '(')
    const after = nextAfter(text, command.end)
    const alone = after === '' || after === '#'
    if (mark === '\n' || mark === '\r') {
      if (this.#script) return false
      // Pasted code begins with a line break as well.
      if (strength < SURE && STATEMENTS.has(command.name)) return alone && command.name === 'echo'
      // A line of its own is a command behind one operand or none; further lines are text.
      if (this.#words === 0 || this.opened) return strength >= LIKELY || alone
      return (
        before === BEFORE.operand &&
        (strength >= (this.#technical ? LIKELY : SURE) || (strength >= WEAK && alone && command.name !== 'last'))
      )
    }
    if (substitution) {
      // A line of Markdown quotes a command, or lists it.
      if (mark === '`' && strength < SURE && LISTED.test(text.slice(0, at))) return false
      if (mark === '`' && before === BEFORE.start && text.indexOf('`', at + 1) < 0) return false
      if (strength < SURE && (this.#assigns || (mark === '`' && command.name === 'export'))) return false
      const attached = at > 0 && !isBlank(text.charCodeAt(at - 1))
      if (before === BEFORE.start) return strength >= SURE || !isProse(text, command.end + 1)
      if (before === BEFORE.operand)
        return (attached || this.#technical) && !isProse(text, command.end + 1) && !TESTS.has(this.#firstWord)
      return before === BEFORE.phrase && strength >= SURE
    }
    if (before === BEFORE.start)
      return (
        strength >= LIKELY ||
        alone ||
        (after === text[at] && nextAfter(text, command.end + 1) === '') ||
        (';|&`)\'"'.includes(after) && !/[A-Za-z]{3}/.test(text.slice(command.end + 1, command.end + 8)))
      )
    if (before === BEFORE.operand) {
      // `lint && npm run build`: scripts of a project, as its descriptions hold them.
      if (strength < SURE && BUILDERS.has(command.name) && isBlank(text.charCodeAt(at + length))) return false
      if (COMMANDS.has(this.#firstWord) || DOCUMENTED.has(this.#firstWord)) {
        // `ls | head` is a command line of its own; `id;id` is not, for want of blanks.
        return (
          strength >= SURE || (!isBlank(text.charCodeAt(at - 1)) && !isBlank(text.charCodeAt(at + length)) && strength >= LIKELY)
        )
      }
      if (strength >= LIKELY) return true
      const last = alone || (';|&`'.includes(after) && nextAfter(text, command.end + 1) === '')
      return (
        last && (this.#technical || !isBlank(text.charCodeAt(at - 1))) && !(command.name === 'date' || command.name === 'set')
      )
    }
    if (before === BEFORE.phrase) return strength >= SURE && !DOCUMENTED.has(this.#firstWord) && !COMMANDS.has(this.#firstWord)
    return false
  }
}

const QUOTED =
  /^\s{0,8}(?:[A-Za-z-]{1,20}[:,]?\s){0,3}`[^`\n]{1,300}`[,.:]?\s(?:\(?[A-Za-z'\x80-\xff]{1,40}[,.]?\s){2}[^`;|&$<>]{0,400}(?:`[^`\n]{1,300}`[^`;|&$<>]{1,400}){0,8}$/
/** What a script says: a variable set, a function begun, a comment, a condition, a command with what it is to do. */
const SCRIPT_LINE =
  /^\s{0,8}(?:(?:export |local |readonly |declare )?[A-Za-z_]\w{1,40}=(?:"[^"\n]{0,200}"|'[^'\n]{0,200}'|\$[^\s;|&`]{1,100}|[\w./:${}-]{0,100})\s{0,4}\n|[A-Za-z_]\w{1,40}\s?\(\)\s?\{|#!\/|#[# A-Za-z]|[{(]\s{0,4}\n|(?:fi|done|then|else|esac)\s{0,4}\n|(?:if|while|for|case|until)\s[^\n]{1,200}\n|select[ \t]{0,4}(?:distinct[ \t]{0,4})?\n|(?:echo|sleep|set|cd|sudo|export|source|docker|npm|git|kubectl|apt|apt-get|pip|pip3|make|mkdir|printf)\s[^\n;|&`]{1,200}\n)/i
const ASSIGNS = /^\s{0,16}(?:export |local |readonly )?[A-Za-z_]\w{2,40}=["']?(?:\$\(|`)/
const TESTS: ReadonlySet<string> = new Set(['case', 'if', 'while', 'for', 'until'])
const LISTED = /^\s{0,8}(?:[>*+-]|\d{1,3}[.)])\s{1,4}$/

/** First words of command lines as documentation shows them. */
const DOCUMENTED: ReadonlySet<string> = new Set(
  'npm npx yarn pnpm git cd sudo docker kubectl make cmake brew apt apt-get pip pip3 cargo go mvn gradle dotnet composer bundle rails python python3 node ./configure run mkdir export source run use type try open first then and copy from cmd rustup conda helm terraform ansible systemctl journalctl tar'.split(
    ' ',
  ),
)

/** Commands of shells that are words of other languages too. */
const STATEMENTS: ReadonlySet<string> = new Set(
  'if for while until do then set test exec echo export source eval alias'.split(' '),
)

/** Commands that build a program and keep its versions. */
const BUILDERS: ReadonlySet<string> = new Set(['npm', 'git', 'make'])

function isBlank(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13) || code === 0xa0
}

function isNewline(code: number): boolean {
  return code === 10 || code === 13
}

function nextAfter(text: string, from: number): string {
  let at = from
  while (at < text.length && at < from + 64 && (isBlank(text.charCodeAt(at)) || text[at] === '\0')) at += 1
  return text[at] ?? ''
}

/** Words follow, as in a sentence. */
function isProse(text: string, from: number): boolean {
  return /^[\s,.:)`]{0,4}(?:\s(?:[-\u2013]\s)?[A-Za-z]{1,20}(?:\s|$|[,.])|\s?[\x80-\xff]{3})/.test(text.slice(from, from + 40))
}

/** What commands that are certain consist of. */
const SHOWS_ALL =
  /\/etc\/[a-z*?]|\/root|\.ssh\/|\/proc\/self|(?:boot|win)\.ini|\\sam\b|wp-config|\.htpasswd|\/dev\/(?:tcp|udp)|(?:^|\W)n?(?:et)?c(?:at)?\s{1,4}-|sh\s{1,4}-[ic]|-[cer]\s|rm\s{1,4}-/i

/** Whether a command may begin here: most of what follows a separator is a word that names none. */
function mayBegin(text: string, from: number): boolean {
  let at = from
  const stop = Math.min(text.length, from + 64)
  while (at < stop && isBlank(text.charCodeAt(at))) at += 1
  const start = at
  while (at < stop && isPlain(text.charCodeAt(at))) at += 1
  if (at === start) return at < text.length && !';|&`\n\r#,=)'.includes(text[at]!) && text.charCodeAt(at) !== 0
  const next = text.charCodeAt(at)
  if (at < text.length && !isBlank(next) && !';|&`)<>#'.includes(text[at]!)) return true
  if (text.startsWith('``', at)) return true
  return COMMANDS.has(text.slice(start, at).toLowerCase()) || /\.exe$/i.test(text.slice(start, at))
}

function isPlain(code: number): boolean {
  return (
    (code >= 97 && code <= 122) ||
    (code >= 65 && code <= 90) ||
    (code >= 48 && code <= 57) ||
    code === 0x5f ||
    code === 0x2d ||
    code === 0x2e
  )
}

/** Reads a command at a place, as a shell would take its words apart. */
function readCommand(text: string, from: number): Command {
  let at = from
  const stop = Math.min(text.length, from + COMMAND_CHARS_MAX)
  while (at < stop && (isBlank(text.charCodeAt(at)) || '({!@\\'.includes(text[at]!)) && text[at] !== '\n') {
    if (text[at] === '{' && text.indexOf(',', at) > 0) break
    at += 1
  }
  const words: string[] = []
  let hidden = false
  let sliced = false
  let redirected = false
  let braces = false
  if (text[at] === '{') {
    braces = true
    at += 1
  }
  let word = ''
  let inWord = false
  const push = (): void => {
    if (inWord && words.length < WORDS_MAX) words.push(word.slice(0, WORD_CHARS_MAX))
    word = ''
    inWord = false
  }
  for (; at < stop; at += 1) {
    const code = text.charCodeAt(at)
    const char = text[at]!
    // The output of nothing, in the middle of a name.
    if (char === '`' && inWord && /^``[A-Za-z]/.test(text.slice(at, at + 3))) {
      hidden = true
      at += 1
      continue
    }
    if (
      code === 10 ||
      code === 13 ||
      char === ';' ||
      char === '|' ||
      char === '&' ||
      char === '`' ||
      char === ')' ||
      (braces && char === '}')
    ) {
      if (char === '&' && redirected && /[>&]/.test(text[at - 1] ?? '')) continue
      break
    }
    if (char === '#' && !inWord && words.length > 0) break
    if (isBlank(code) || (braces && char === ',')) {
      push()
      continue
    }
    if (char === '"' || char === "'") {
      const close = text.indexOf(char, at + 1)
      if (close < 0 || close >= stop) {
        if (close < 0 && !inWord) break
        hidden ||= inWord && words.length === 0
        continue
      }
      // Quotes inside of the command's own name hide it.
      if (words.length === 0 && (inWord || /[A-Za-z0-9_]/.test(text[close + 1] ?? ''))) hidden = true
      inWord = true
      word += text.slice(at + 1, close)
      at = close
      continue
    }
    if (char === '\\' || char === '^') {
      if (/^\\[nr]$/.test(text.slice(at, at + 3))) break
      if (words.length === 0 && /[A-Za-z]/.test(text[at + 1] ?? '') && inWord) hidden = true
      if (char === '\\' && (/^\\\w/.test(text.slice(at, at + 2)) || word.endsWith(':')) && words.length > 0) {
        word += char
        inWord = true
      }
      continue
    }
    if (char === '$') {
      const ifs = /^\$(?:IFS(?:\$?[0-9@*])?|\{IFS[^}]{0,12}\})/i.exec(text.slice(at, at + 24))
      if (ifs !== null) {
        push()
        hidden = true
        at += ifs[0].length - 1
        continue
      }
      const empty =
        /^\$(?:[@*!0-9](?=[A-Za-z])|\(\)|\{[A-Za-z0-9_@]{1,12}\}(?=[A-Za-z])|[{%][A-Z]{2,12}:~?-?\d{1,2}[:,]-?\d{1,2}[}%])/.exec(
          text.slice(at, at + 24),
        )
      if (empty !== null && words.length === 0) {
        hidden = true
        sliced ||= empty[0].includes(':')
        at += empty[0].length - 1
        inWord = true
        continue
      }
      if (text[at + 1] === "'" && words.length === 0) hidden = true
      if (text[at + 1] === '(' && words.length > 0) break
    }
    if (char === '<' && words.length === 0 && !inWord && TAG.test(text.slice(at, at + 240))) return NOTHING
    if (char === '<' || char === '>') {
      push()
      redirected = true
      word = ''
      continue
    }
    inWord = true
    word += char
  }
  push()
  if (sliced && words.length > 0) return { strength: SURE, name: words[0]!, end: at }
  const command = judge(words, hidden, redirected, at)
  // What is printed into a program that turns it round or runs it is no greeting.
  return command.strength < LIKELY && /^(?:echo|printf)$/.test(words[0] ?? '') && DECODED.test(text.slice(at, at + 24))
    ? { strength: LIKELY, name: words[0]!, end: at }
    : command
}

/** An element of HTML or XML, not a file that is read. */
const TAG =
  /^<\/?[a-z][\w:.-]{0,40}(?:\s{1,8}(?:setup|scoped|defer|async|disabled|checked|selected|required|hidden|open|controls|[\w:.-]{1,40}\s{0,2}=\s{0,2}(?:"[^"<>]{0,160}"|'[^'<>]{0,160}'))){0,4}\s{0,4}\/?>/i
const DECODED = /^\|\s{0,4}(?:rev|base64|base32|xxd|tr|(?:ba|z|da)?sh|perl|python[23]?)(?![\w-])/

const PATH_OF_COMMAND = /^(?:\/(?:usr\/)?(?:local\/)?s?bin\/|%(?:systemroot|windir|comspec)%|[a-z]:\\windows\\system32\\)/i
/** Files that are read to show that one can. */
const PRIZED =
  /\/etc\/(?:passwd|shadow|master\.passwd|gshadow|sudoers|group\b|pas[*?s]|p[a-z?*]{2}s[a-z?*]d)|\/root(?:\/|\b)|\.ssh\/(?:id_|authorized)|\/proc\/self\/|(?:boot|win)\.ini|\\sam\b|wp-config|\.htpasswd/i
const TECHNICAL =
  /^(?:-{1,2}[A-Za-z0-9]|\.\w|(?:tcp|udp|exec|system):|\/[A-Za-z?]{1,2}$|[~.]{0,2}[/\\]|\$[A-Za-z{(@]|[a-z]:[\\/]|%[A-Za-z]{3,}|\*)|^[\w*?@/-]{1,64}\.[a-z0-9*?]{1,8}(?:[:/].{0,80})?$|:\/\/|^\.$|^[\w.-]{1,64}@[\w.-]{1,64}$|^(?:\d{1,3}\.){3}\d{1,3}$|[=]/i

function judge(words: readonly string[], hidden: boolean, redirected: boolean, end: number): Command {
  let first = words[0]?.toLowerCase() ?? ''
  if (first === '') return NOTHING
  // `</root>` is a tag: a folder cannot be read so.
  if (redirected && words.length === 1 && first !== '/root' && PRIZED.test(first)) return { strength: CERTAIN, name: first, end }
  if (/\\x[2-7][0-9a-f]/.test(first) || /^\w{1,8}=\$(?![?#\d]$|[A-Za-z]{2})/.test(first))
    return { strength: SURE, name: first, end }
  const wild = /^\/[\w?*/[\]-]{1,40}$/.test(first) && /[?*[]/.test(first) && first.indexOf('/', 1) > 0
  if (wild) return { strength: SURE, name: first, end }
  const byPath = PATH_OF_COMMAND.test(first) || /^\/(?:usr\/)?(?:local\/)?s?b(?:in)?\//.test(first)
  if (byPath) first = first.replace(/^.*[\\/]/, '')
  if (/^[a-z0-9-]{1,20}\.exe$/.test(first) && !COMMANDS.has(first)) first = first.slice(0, -4)
  const kind = COMMANDS.get(first)
  if (kind === undefined) {
    if (first.startsWith('$') && words.slice(1).some((word) => PRIZED.test(word))) return { strength: SURE, name: first, end }
    if (first.startsWith("$'\\x") || /^\$'?\\[0-7x]/.test(first)) return { strength: SURE, name: first, end }
    if (/^\.{1,2}$/.test(first) && TECHNICAL.test(words[1] ?? '')) return { strength: LIKELY, name: first, end }
    if (byPath && /^[a-z0-9._-]{1,20}$/.test(first)) return { strength: LIKELY, name: first, end }
    return NOTHING
  }
  // Other languages set their variables with blanks around the sign.
  if (words[1] === '=') return NOTHING
  const args = words.slice(1)
  const rest = args.join(' ')
  let strength = 0
  const technical = args.filter((word) => TECHNICAL.test(word)).length
  // Two words of a sentence outweigh one that might be a file.
  if (UNIX_ONLY.has(first) && args.length > 0 && args.length <= 3) strength = WEAK
  const sentence = args.filter((word) => /^[A-Za-z']{2,}[,.!?]?$/.test(word)).length > technical + 2
  if (kind === 'plain') strength = args.length === 0 || technical > 0 || redirected ? LIKELY : WEAK
  else if (kind === 'weak' && args.length === 0) strength = WEAK
  if (SUBCOMMANDS.get(first)?.has(args[0]?.toLowerCase() ?? '')) strength = LIKELY
  if (first === 'service' && /^(?:start|stop|restart|reload|status)$/.test(args[1] ?? '')) strength = LIKELY
  if (NUMBERED.has(first) && /^(?:-?[st/]\s?)?\d{1,6}[smh]?[#'")]?$/.test(args[0] ?? '')) strength = Math.max(strength, LIKELY)
  if ((first === 'timeout' || first === 'ping') && /^[/-][a-z]$/i.test(args[0] ?? '')) strength = LIKELY
  if (first === 'chmod' && /^[0-7+]/.test(args[0] ?? '')) strength = LIKELY
  if ((first === 'eval' || first === 'exec' || first === 'echo' || first === 'source') && /^[`$]/.test(args[0] ?? ''))
    strength = LIKELY
  if ((technical > 0 || redirected) && !sentence) strength = Math.max(strength, LIKELY)
  if (byPath && strength < SURE) strength = Math.max(strength + 1, LIKELY)
  if (hidden) strength = strength === 0 ? LIKELY : SURE
  if (SENDERS.has(first) && technical > 0 && /:\/\/|\.[a-z]{2,}(?:[/:]|$)|\d{1,3}\.\d{1,3}\.\d/.test(rest) && !sentence)
    strength = Math.max(strength, SURE)
  if (READERS.has(first) && PRIZED.test(rest) && !sentence) strength = CERTAIN
  if (/\/dev\/(?:tcp|udp)\//.test(rest)) strength = CERTAIN
  if (/^(?:nc|ncat|netcat)$/.test(first) && /(?:^| )-[a-z]{0,4}e\b|\/bin\/(?:ba)?sh/.test(rest)) strength = CERTAIN
  if (SHELLS.has(first) && (/(?:^| )-i\b/.test(rest) || (/(?:^| )-c\b/.test(rest) && byPath))) strength = CERTAIN
  if (
    INTERPRETERS.has(first) &&
    /(?:^| )-[a-z]{0,3}[cer] .{0,80}(?:socket|subprocess|os\.|pty|exec|system|fsockopen|child_process)/.test(rest)
  )
    strength = CERTAIN
  if (first === 'rm' && /^-[a-z]{0,3}r[a-z]{0,3} (?:\/|\*|~)$/.test(rest)) strength = CERTAIN
  return strength === 0 ? NOTHING : { strength, name: first, end }
}

/** The value is a command line from its first character on, of a kind that is written to be injected. */
function wholeCommand(text: string): string | undefined {
  const start = /^\s{0,16}/.exec(text)![0].length
  const line = text.slice(start, start + COMMAND_CHARS_MAX)
  if (!/^[\w/.0<"'(-]/.test(line) || text.length > 2_000) return undefined
  if (/^\s{0,16}\S{0,400}\s{0,16}\n\s{0,16}\S/.test(text)) return undefined
  // A sentence: its first word is no command, and nothing of what else is looked for is in it.
  const word = /^(?!mknod )[A-Za-z0-9_]{1,40}(?=[ \t]|$)/.exec(line)
  if (word !== null && !COMMANDS.has(word[0].toLowerCase()) && !line.includes('/')) return undefined
  const command = readCommand(text, start)
  if (command.strength >= CERTAIN) return command.name
  const path = /^\/(?:usr\/)?(?:local\/)?s?bin\/(\w{1,20})(?:(\s{1,8})(?:-(?!-?\s)|\/|https?:|\w{1,40}\.)|\s{0,8}$)/.exec(line)
  if (
    path !== null &&
    (path[2] !== undefined || showsSomething(path[1]!.toLowerCase())) &&
    !/^\/usr\/bin\/env \w+$/.test(line.trimEnd())
  )
    return command.name === '' ? 'path of a command' : command.name
  return /\/dev\/(?:tcp|udp)\/|^\d?<&\d{1,4};\s?exec|^(?:mkfifo|mknod) \S{1,40}(?: p)?;|^(?:rm \S{1,40};\s?mkfifo)|^(?:curl|wget) [^\n;]{3,200}\|\s{0,4}(?:sudo )?(?:ba|z)?sh\s{0,4}$/.test(
    line,
  )
    ? 'command line'
    : undefined
}

/** A program's path alone is a setting (`/usr/local/bin/python3`), unless it is one that shows by itself where it runs. */
function showsSomething(program: string): boolean {
  const kind = COMMANDS.get(program)
  return kind === 'plain' || kind === 'weak'
}

/** Everything known about one request while rules run over it. */
import type { Automaton } from './automaton.ts'
import { NOTHING_FOUND } from './automaton.ts'
import { parseCookies } from './body/cookies.ts'
import { parseForm } from './body/form.ts'
import type { ParsedBody } from './body/request-body.ts'
import { toByteText } from './bytes.ts'
import { EXPANDED_CHARS_MAX, HEADERS_MAX, TX_VARIABLES_MAX } from './limits.ts'
import type { Expandable } from './macro.ts'
import type { OperatorContext } from './operators/operator.ts'
import type { Subject, SubjectMemo, TransformationChain } from './subject.ts'
import type { WafRequest } from './types.ts'
import { scalarText, type TargetList } from './variables.ts'

/** One value that rules look at. */
export interface Entry {
  /** As in reports, e.g. `ARGS`. */
  readonly collection: string
  /** Empty for a variable that is not a collection. */
  readonly name: string
  /** `name` in lower case: selectors ignore case. */
  readonly lower: string
  readonly subject: Subject
}

export class RequestState implements OperatorContext {
  readonly memo: SubjectMemo
  readonly automaton: Automaton
  readonly tx = new Map<string, string>()
  work = 0
  capturing = false
  /** A bound of the input was exceeded; said in a few words. */
  over: string | undefined

  method = ''
  target = ''
  path = ''
  query = ''
  protocol = ''
  remoteAddress = ''
  bodyText = ''
  bodyBytes = 0
  bodyProcessor = ''
  bodyError = ''
  bodyStrictError = ''
  bodyTruncated = false
  malformedEscapes = false

  argsGet: readonly Entry[] = []
  argsPost: readonly Entry[] = []
  headers: readonly Entry[] = []
  cookies: readonly Entry[] = []
  files: readonly Entry[] = []
  unparsed: readonly Entry[] = []
  xml: readonly Entry[] = []
  matched: Entry | undefined
  ruleId = 0

  #gathered: (readonly Entry[] | undefined)[] = []
  #found: (Uint32Array | undefined)[] = []

  constructor(memo: SubjectMemo, automaton: Automaton) {
    this.memo = memo
    this.automaton = automaton
  }

  readHead(request: WafRequest): void {
    this.method = toByteText(request.method)
    this.target = toByteText(request.target)
    this.protocol = `HTTP/${request.httpVersion}`
    this.remoteAddress = request.remoteAddress
    const local = originForm(this.target)
    const question = local.indexOf('?')
    this.path = question < 0 ? local : local.slice(0, question)
    this.query = question < 0 ? '' : local.slice(question + 1)
    const form = parseForm(this.query)
    if (form.over) this.over = 'too many arguments'
    this.malformedEscapes = form.malformed
    this.argsGet = form.fields.map(([name, value]) => this.#entry('ARGS', name, value))
    this.#readHeaders(request)
  }

  #readHeaders(request: WafRequest): void {
    const headers: Entry[] = []
    const cookies: Entry[] = []
    for (const [name, value] of request.headers) {
      if (headers.length === HEADERS_MAX) {
        this.over = 'too many header fields'
        break
      }
      const entry = this.#entry('REQUEST_HEADERS', toByteText(name), toByteText(value))
      headers.push(entry)
      if (entry.lower !== 'cookie') continue
      const { pairs, over } = parseCookies(entry.subject.text)
      if (over) this.over = 'too many cookies'
      for (const [key, text] of pairs) cookies.push(this.#entry('REQUEST_COOKIES', key, text))
    }
    this.headers = headers
    this.cookies = cookies
  }

  readBody(text: string, body: ParsedBody, truncated: boolean): void {
    this.bodyText = body.opaque ? '' : text
    this.bodyBytes = text.length
    this.bodyProcessor = body.processor
    this.bodyError = body.error ?? ''
    this.bodyStrictError = body.strictError ?? ''
    this.bodyTruncated = truncated
    this.malformedEscapes ||= body.malformedEscapes
    if (body.over) this.over = 'too many arguments'
    this.argsPost = body.fields.map(([name, value]) => this.#entry('ARGS', name, value))
    this.files = body.files.map(([name, fileName]) => this.#entry('FILES', name, fileName))
    this.unparsed = body.unparsed === '' ? [] : [this.#entry('UNPARSED_BODY', '', body.unparsed)]
    this.xml = body.xml.map((value) => this.#entry('XML', '', value))
  }

  #entry(collection: string, name: string, value: string): Entry {
    return { collection, name, lower: name.toLowerCase(), subject: this.memo.of(value) }
  }

  header(name: string): string | undefined {
    return this.headers.find(({ lower }) => lower === name)?.subject.text
  }

  /** The values of a list of variables; gathered once a phase unless rules can change them. */
  gather(list: TargetList): readonly Entry[] {
    if (list.volatile) return list.gather(this)
    return (this.#gathered[list.index] ??= list.gather(this))
  }

  /** Which literals occur in any value of a list, transformed by a chain. `pair` numbers the two together. */
  foundIn(pair: PairOfListAndChain): Uint32Array {
    const known = this.#found[pair.index]
    if (known !== undefined) return known
    let all = NOTHING_FOUND
    let own = false
    for (const { subject } of this.gather(pair.list)) {
      const found = subject.through(pair.chain, this).found(this.automaton, this)
      if (found === NOTHING_FOUND) continue
      if (all === NOTHING_FOUND) all = found
      else {
        if (!own) {
          all = all.slice()
          own = true
        }
        for (let i = 0; i < found.length; i += 1) all[i]! |= found[i]!
      }
    }
    return (this.#found[pair.index] = all)
  }

  beginPhase(): void {
    this.#gathered = []
    this.#found = []
  }

  capture(index: number, text: string): void {
    this.tx.set(String(index), text)
  }

  setTx(name: string, value: string): void {
    if (this.tx.size >= TX_VARIABLES_MAX && !this.tx.has(name)) this.over = 'too many transaction variables'
    else this.tx.set(name, value)
  }

  expand(macro: Expandable): string {
    if (macro.constant !== undefined) return macro.constant
    let text = ''
    for (const part of macro.parts) {
      text += typeof part === 'string' ? part : (scalarText(this, part.collection, part.key) ?? '')
      if (text.length > EXPANDED_CHARS_MAX) return text.slice(0, EXPANDED_CHARS_MAX)
    }
    return text
  }
}

export interface PairOfListAndChain {
  readonly index: number
  readonly list: TargetList
  readonly chain: TransformationChain
}

/** The target without scheme and authority (RFC 9112 section 3.2.2) and without a fragment. */
function originForm(target: string): string {
  const hash = target.indexOf('#')
  const whole = hash < 0 ? target : target.slice(0, hash)
  const absolute = /^[A-Za-z][A-Za-z0-9+.-]{0,15}:\/\/[^/?]*/.exec(whole)
  return absolute === null ? whole : whole.slice(absolute[0].length) || '/'
}

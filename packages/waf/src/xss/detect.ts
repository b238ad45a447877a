/**
 * Tells values that run a script when pasted into an HTML page. A value is read by a small HTML tokenizer (after WHATWG HTML
 * section 13.2.5) as if it stood in text, and as if it stood in an attribute value of any quoting that it first has to leave.
 */
import { htmlEntityDecode } from '../transformations/html-entity-decode.ts'

/** One of these occurs in every value that is found to run a script. */
export const SCRIPT_INJECTION_LITERALS: readonly string[] = ['<', 'on', 'javascript', 'vbscript', 'srcdoc', 'data:']

/** Elements that load or run something by being there. */
const ACTIVE_ELEMENTS: ReadonlySet<string> = new Set(
  'script iframe frame frameset object embed applet base meta link style xml xss isindex bgsound layer ilayer portal'.split(' '),
)
const URL_ATTRIBUTES: ReadonlySet<string> = new Set(
  'href src action formaction data xlink:href background poster lowsrc dynsrc codebase cite longdesc values to from srcdoc'.split(
    ' ',
  ),
)
/** What would run the script, in a word or two, or nothing. */
export function scriptInjection(text: string): string | undefined {
  return fromText(text) ?? fromAttribute(text, '"') ?? fromAttribute(text, "'") ?? fromUnquoted(text) ?? fromUrl(text)
}

function fromText(text: string): string | undefined {
  let at = text.indexOf('<')
  if (at < 0) return undefined
  const reader = new AttributeReader(text)
  const elements = new ActiveElements(text)
  for (; at >= 0; at = text.indexOf('<', at + 1)) {
    const found = tag(text, at + 1, reader, elements)
    if (found !== undefined) return found
  }
  return undefined
}

/** Reads a tag after its `<`. */
function tag(text: string, from: number, reader: AttributeReader, elements: ActiveElements): string | undefined {
  let start = from
  while (start < from + 2 && isBlank(text.charCodeAt(start))) start += 1
  // Blanks there are taken away by filters, not by browsers: `class Report < Base` of Ruby has them as well.
  const spaced = start > from
  const closing = text.charCodeAt(start) === SLASH
  if (closing) start += 1
  const first = text.charCodeAt(start)
  const declares = first === EXCLAMATION || first === QUESTION
  if (!declares && !isLetter(first)) return undefined
  let end = start + 1
  while (end <= start + 40 && end < text.length && !endsTagName(text.charCodeAt(end))) end += 1
  if (closing && !declares) return undefined
  const name = text
    .slice(start, end)
    .toLowerCase()
    .replace(/^[a-z]{1,10}:/, '')
  // Behaviours of old browsers; FXML imports classes by the same word.
  if (name === '?import' && /^[^>]{0,300}implementation\s{0,4}=/i.test(text.slice(end, end + 320))) return '<?import>'
  if (declares)
    return name.startsWith('!entity') ||
      name.startsWith('!attlist') ||
      (name.startsWith('![if') && !/^\s{1,4}(?:!|[gl]te? )?[A-Za-z]{2,20}(?: \d{1,2})?\]>/.test(text.slice(end, end + 40)))
      ? `<${name}`
      : undefined
  // `<T>` of generics and `a<b` of arithmetic are no elements; `<script` without an end still is.
  if (spaced && (name === 'base' || COMPARED.test(text.slice(start, start + 80)))) return undefined
  // The beginning of a text that a shell passes to a command.
  if (name === 'xml' && text.charCodeAt(from - 2) === LESS && text.startsWith('XML\n', start)) return undefined
  if (ACTIVE_ELEMENTS.has(name) && /^(?:$|[\s/>\0<(])/.test(text.slice(end, end + 1)) && elements.has(name, end))
    return `<${name}>`
  return reader.read(end)
}

/** What a class is derived from, on a line of its own. */
const COMPARED = /^[A-Z]\w{1,40}(?:::\w{1,40}){0,3}[ \t]{0,4}\r?\n/
/** Characters behind an element's name that tell whether it does something. */
const ELEMENT_CHARS_MAX = 600

const ASSIGNMENT = /\w\s{0,4}=/g
const HANDLER_ATTRIBUTE = /[\s/]on\w{2,}\s{0,4}=/gi
const STYLE_THAT_RUNS =
  /@import(?!\s{1,4}url\(\s{0,2}["']?(?:https:)?\/\/fonts\.(?:googleapis\.com|bunny\.net)\/)|expression\s{0,4}\(|javascript:|-moz-binding|behavior\s{0,4}:|url\s{0,4}\(\s{0,4}['"]?\s{0,4}(?:javascript|data:text|(?:https?:)?\/\/(?!fonts\.(?:googleapis\.com|gstatic\.com|bunny\.net)\/))|<(?:img|svg|script)/gi
const LINK_THAT_LOADS =
  /href\s{0,4}=\s{0,4}['"]?\s{0,4}(?:javascript:|data:|(?:https?:)?\/\/)|[\s/]on\w{2,}\s{0,4}=|rel\s{0,4}=\s{0,4}['"]?import/gi
/** All but what every program for mail writes: a charset in which nothing hides, and the language. */
const REFRESH =
  /http-equiv(?!\s{0,4}=\s{0,4}["'](?:content-type["']\s{1,4}content\s{0,2}=\s{0,2}["']text\/html;\s{0,4}charset=(?:utf-8|us-ascii|iso-8859-1|windows-1252)["']|x-ua-compatible["']\s{1,4}content\s{0,2}=\s{0,2}["']ie=edge["']|content-language["']|refresh["']\s{1,4}content\s{0,2}=\s{0,2}["']\d{1,6}["']))/gi
/** Players and maps that editors embed, of services that are there to be embedded. */
const EMBEDDED =
  /\ssrc=\\?["'](?:https:)?\/\/(?:(?:www\.)?(?:youtube(?:-nocookie)?\.com\/embed|google\.com\/maps\/(?:d\/)?embed|openstreetmap\.org\/export\/embed\.html|dailymotion\.com\/embed|facebook\.com\/plugins|instagram\.com\/(?:p|reel)\/[\w-]{1,40}\/embed|tiktok\.com\/embed|slideshare\.net\/slideshow\/embed_code|figma\.com\/embed|loom\.com\/embed|canva\.com\/design)|player\.(?:vimeo\.com\/video|twitch\.tv)|maps\.google\.com\/maps|calendar\.google\.com\/calendar\/embed|docs\.google\.com\/(?:document|forms|presentation|spreadsheets)|open\.spotify\.com\/embed|w\.soundcloud\.com\/player|embed\.(?:music\.apple|podcasts\.apple|ted)\.com|codepen\.io\/[\w-]{1,40}\/embed|codesandbox\.io\/embed|geo\.dailymotion\.com\/player|platform\.twitter\.com\/embed)[/?.&\w=#:;!%,+-]{0,500}\\?["']/i
const SOURCE = /\bsrc\b/gi
/**
 * Two words side by side, neither of which JavaScript knows: a syntax error, so that nothing of the script runs
 * (ECMA-262 section 12.10: no semicolon is put in within a line).
 */
const SENTENCE =
  /^>[ \t]{0,4}(?!(?:abstract|async|await|break|case|class|const|continue|debugger|default|delete|do|else|enum|export|extends|finally|for|from|function|get|if|implements|import|in|instanceof|interface|let|new|of|package|private|protected|public|return|set|static|super|switch|throw|try|typeof|using|var|void|while|with|yield)\b)[A-Za-z]{2,30}[ \t]{1,4}(?!(?:in|instanceof|of|as)\b)[A-Za-z]{1,30}[ \t.,]/

/**
 * Script in a sentence that Markdown shows, from behind its name on: a file of the page's own, or a beginning that the words after it
 * make one that no browser would run (a template literal with a word behind it).
 */
const SHOWN_SCRIPT =
  /^(?:\ssrc=["'](?:https:\/\/(?:code\.jquery\.com|cdnjs\.cloudflare\.com|(?:stackpath|maxcdn)\.bootstrapcdn\.com))?\/?[\w-][\w./-]{0,120}\.m?js["'](?:\s(?:defer|async|type=["']module["'])){0,3}\s?>\s?<\/script>`|(?:\s[a-z]{1,12})?>`[^`]{0,400}`(?!in)[A-Za-z]|>``[ \t](?!in|of)[A-Za-z]{2})/i
/** What turns a quoted post into one with its picture, as the networks' own embedding codes have it: their one script, and nothing in it. */
const WIDGET =
  /^(?:\s(?:async|defer)(?:="")?){0,2}\ssrc=\\?["'](?:https:)?\/\/(?:platform\.twitter\.com\/widgets\.js|platform\.x\.com\/widgets\.js|(?:www\.)?instagram\.com\/embed\.js|www\.tiktok\.com\/embed\.js|embed\.bsky\.app\/static\/embed\.js|assets\.pinterest\.com\/js\/pinit\.js|embed\.reddit\.com\/widgets\.js|s\.imgur\.com\/min\/embed\.js|cpwebassets\.codepen\.io\/assets\/embed\/ei\.js|public\.flourish\.studio\/resources\/embed\.js|player\.vimeo\.com\/api\/player\.js)\\?["'](?:\s(?:async|defer|charset=\\?["']utf-8\\?["'])(?:="")?){0,3}\s?>\s{0,4}<\/script>/i
/** A file of the page's own site, without parameters: it does what it does there anyway, unless people can put files beside it. */
const OWN_SCRIPT =
  /^(?:\s(?:async|defer|type=["'](?:module|text\/javascript)["'])){0,3}\ssrc=["'](?!\/\/|[^"']*(?:upload|media|user|avatar|attach|file|tmp|temp|image|img|photo|doc))(?:\.?\/)?(?:[\w-][\w.-]{0,60}\/){0,4}[\w-][\w.-]{0,60}\.m?js["'](?:\s(?:async|defer|type=["'](?:module|text\/javascript)["'])){0,3}\s?>\s{0,4}<\/script>/i
/**
 * A component as Vue and Svelte have it in a file: imports and exports are a syntax error in a script that is no module, so that
 * nothing of it runs (ECMA-262 section 16.2.1).
 */
const MODULE =
  /^(?:\s(?:setup|lang=["'](?:ts|js|tsx)["'])){0,2}\s?>\s{0,40}(?:\/\/[^\n]{0,200}\n\s{0,40}){0,5}(?:import\s{1,4}(?:type\s{1,4})?(?:[{*]|[A-Za-z_$][\w$]{0,40}[\s,])[^;'"()`]{0,300}from\s{0,2}["']|import\s{1,4}["'][\w.@/-]{1,100}["']\s|export\s{1,4}(?:default|const|let|function)\s)/
const END_OF_SCRIPT = /<\/script/gi

/**
 * Whether elements do something where they stand: their name alone, in a sentence about one, does nothing. What may lie behind many
 * of them is looked for once, not once an element: asked about in the order of the text.
 */
class ActiveElements {
  readonly #text: string
  #assignment: NextMatch | undefined
  #handler: NextMatch | undefined
  #style: NextMatch | undefined
  #link: NextMatch | undefined
  #refresh: NextMatch | undefined
  #endOfScript: NextMatch | undefined
  #lastBacktick: number | undefined

  constructor(text: string) {
    this.#text = text
  }

  /** @param from Where its name ends. */
  has(name: string, from: number): boolean {
    const text = this.#text
    const end = Math.min(from + ELEMENT_CHARS_MAX, text.length)
    const behind = text.slice(from, end)
    const close = behind.indexOf('>')
    const tagEnd = close < 0 ? end : from + close
    const after = Math.min(tagEnd + 1, end)
    switch (name) {
      case 'script':
        if (SENTENCE.test(behind) || WIDGET.test(behind) || OWN_SCRIPT.test(behind) || MODULE.test(behind)) return false
        if (text.charCodeAt(from - 8) === BACKTICK) {
          if (SHOWN_SCRIPT.test(behind)) return false
          // A template literal that nothing ends is a syntax error: so Markdown quotes the element.
          const quoted = text.charCodeAt(after) === BACKTICK && !/[=:]/.test(text.slice(from, tagEnd))
          if (quoted && (this.#lastBacktick ??= text.lastIndexOf('`')) === after) return false
        }
        // With nothing behind it, in it or after it, it is the beginning of one.
        return (
          /[=:]/.test(text.slice(from, tagEnd)) ||
          text.slice(after, end).trim() === '' ||
          /^(?:[^<]{0,400}(?:[(=`;[]|<\/script|\/\/|\/\*)|\s{0,8}<)/i.test(text.slice(after, end)) ||
          (this.#endOfScript ??= new NextMatch(END_OF_SCRIPT, text)).isWithin(after, end)
        )
      case 'style':
        return (
          (this.#handler ??= new NextMatch(HANDLER_ATTRIBUTE, text)).isWithin(from, tagEnd) ||
          (this.#style ??= new NextMatch(STYLE_THAT_RUNS, text)).isWithin(after, end)
        )
      case 'meta':
        return (this.#refresh ??= new NextMatch(REFRESH, text)).isWithin(from, tagEnd)
      case 'iframe':
        return (
          (this.#assignment ??= new NextMatch(ASSIGNMENT, text)).isWithin(from, tagEnd) && !isEmbedded(text.slice(from, tagEnd))
        )
      case 'base':
        return (
          (this.#assignment ??= new NextMatch(ASSIGNMENT, text)).isWithin(from, tagEnd) &&
          !/^\s{1,8}href\s{0,2}=\s{0,2}["']\/["']\s{0,4}\/?$/i.test(text.slice(from, tagEnd))
        )
      case 'link':
        return (
          (this.#link ??= new NextMatch(LINK_THAT_LOADS, text)).isWithin(from, tagEnd) && !loadsNothing(text.slice(from, tagEnd))
        )
      default:
        return (this.#assignment ??= new NextMatch(ASSIGNMENT, text)).isWithin(from, tagEnd)
    }
  }
}

/** Fonts and styles that pages fetch from those who are there to give them: of these, what nobody else can publish there. */
const PUBLISHED =
  /^\s[^>]*\bhref=\\?["']https:\/\/(?:fonts\.(?:googleapis|gstatic)\.com|fonts\.bunny\.net|use\.typekit\.net|cdnjs\.cloudflare\.com|(?:stackpath|maxcdn|netdna)\.bootstrapcdn\.com|cdn\.jsdelivr\.net\/npm\/(?:bootstrap|bootstrap-icons|bulma|@picocss\/pico|@fortawesome\/fontawesome-free|normalize\.css|katex|swiper|animate\.css|tailwindcss)@[\w.^~-]{1,20}(?=\/))(?:\/[\w/?=:;,@&+.%|-]{0,300})?\\?["']/i
/** What a page says of itself, and where browsers may look things up beforehand. */
const RELATED =
  /^\s(?:[^>]{0,300}\s)?rel=\\?["'](?:canonical|alternate|author|license|next|prev|me|preconnect|dns-prefetch|icon|shortcut icon|apple-touch-icon|search|help)\\?["']/i
const REFERENCE_OR_HANDLER = /\bhref\s{0,4}=|[\s/"']on\w{2,}\s{0,4}=/gi

function loadsNothing(tag: string): boolean {
  if (tag.match(REFERENCE_OR_HANDLER)?.length !== 1) return false
  return (
    PUBLISHED.test(tag) ||
    (RELATED.test(tag) &&
      tag.match(/\brel\s{0,4}=/gi)?.length === 1 &&
      !/href\s{0,4}=\s{0,4}\\?["']?\s{0,4}(?:javascript|data):/i.test(tag))
  )
}

/** One source, of such a service; what else the tag has is judged by itself. */
function isEmbedded(tag: string): boolean {
  return EMBEDDED.test(tag) && tag.match(SOURCE)?.length === 1
}

/** Where a pattern, none of whose matches lies within another, matches next: asked from rising positions, it passes over the text once. */
class NextMatch {
  readonly #pattern: RegExp
  readonly #text: string
  #searchedFrom = 0
  #start = -1
  #end = -1

  /** @param pattern Global. */
  constructor(pattern: RegExp, text: string) {
    this.#pattern = pattern
    this.#text = text
  }

  isWithin(from: number, to: number): boolean {
    if (from > this.#start || from < this.#searchedFrom) {
      this.#pattern.lastIndex = from
      const found = this.#pattern.exec(this.#text)
      this.#searchedFrom = from
      this.#start = found === null ? Number.POSITIVE_INFINITY : found.index
      this.#end = found === null ? Number.POSITIVE_INFINITY : found.index + found[0].length
    }
    return this.#end <= to
  }
}

/**
 * Reads attributes of tags up to `>`: handlers, script URLs and styles that run. Where a tag is not closed, the next one is read
 * again as part of it; what follows an attribute does not depend on the tag, so that each is read once.
 */
class AttributeReader {
  readonly #text: string
  #isRead: Uint8Array | undefined
  /** What was read last without an end of its own kind in it: another beginning inside ends where it ends. */
  #nameFrom = 0
  #nameEnd = -1
  #valueFrom = 0
  #valueEnd = -1

  constructor(text: string) {
    this.#text = text
  }

  read(from: number): string | undefined {
    const text = this.#text
    const { length } = text
    let at = from
    for (;;) {
      while (at < length && isBetweenAttributes(text.charCodeAt(at))) at += 1
      if (at >= length || text.charCodeAt(at) === GREATER) return undefined
      this.#isRead ??= new Uint8Array(length)
      if (this.#isRead[at] === 1) return undefined
      this.#isRead[at] = 1
      const nameStart = at
      at = this.#endOfName(at)
      let equals = at
      while (equals < length && isBlank(text.charCodeAt(equals))) equals += 1
      if (text.charCodeAt(equals) !== EQUALS) {
        if (at === nameStart) at += 1
        continue
      }
      const valueStart = equals + 1
      const found =
        at - nameStart <= ATTRIBUTE_NAME_CHARS_MAX
          ? dangerous(text.slice(nameStart, at).toLowerCase(), text, valueStart)
          : undefined
      if (found !== undefined) return found
      at = this.#endOfValue(valueStart)
    }
  }

  #endOfName(from: number): number {
    if (from >= this.#nameFrom && from <= this.#nameEnd) return this.#nameEnd
    const text = this.#text
    const { length } = text
    let at = from
    while (at < length && !endsName(text.charCodeAt(at))) at += 1
    this.#nameFrom = from
    this.#nameEnd = at
    return at
  }

  #endOfValue(from: number): number {
    const text = this.#text
    let at = from
    while (at < text.length && isBlank(text.charCodeAt(at))) at += 1
    if (isQuote(text.charCodeAt(at))) return valueEnd(text, at)
    if (at >= this.#valueFrom && at <= this.#valueEnd) return this.#valueEnd
    this.#valueFrom = at
    this.#valueEnd = valueEnd(text, at)
    return this.#valueEnd
  }
}

/** No name that does something is longer. */
const ATTRIBUTE_NAME_CHARS_MAX = 40

function dangerous(name: string, text: string, valueStart: number): string | undefined {
  // A function in braces is what components are given (JSX); a browser would run a block that calls nothing.
  if (
    /^on[a-z]{3,25}$/.test(name) &&
    !/^\s{0,4}\{\s{0,4}(?:async\b|\([\w\s,:{}]{0,60}\)\s{0,4}=>|\w{1,40}\s{0,4}=>|this\.\w{1,40}\.bind\(this\)\s{0,4}\}|[\w.!]{1,60}(?:\s{1,4}(?:&&|\|\|)\s{1,4}[\w.!]{1,60}){0,3}\s{0,4}\})/.test(
      text.slice(valueStart, valueStart + 200),
    ) &&
    !HARMLESS_HANDLER.test(attributeValue(text, valueStart)) &&
    !LEFT_OUT.test(text.slice(valueStart, valueStart + 12)) &&
    !/^\s{0,4}(?:""|'')/.test(text.slice(valueStart, valueStart + 6))
  )
    return `${name}=`
  if (name === 'srcdoc') return 'srcdoc='
  if (URL_ATTRIBUTES.has(name) && runsAsUrl(attributeValue(text, valueStart))) return `${name} with a script URL`
  if (
    name === 'style' &&
    /expression[\s]{0,4}\(|javascript:|-moz-binding|behavior[\s]{0,4}:/i.test(cssText(attributeValue(text, valueStart)))
  )
    return 'style that runs'
  return undefined
}

/** What pages do about a picture that is missing, a link that goes nowhere, a button that prints: nothing that a value brought along. */
const HARMLESS_HANDLER =
  /^\s{0,4}(?:this\.onerror\s{0,2}=\s{0,2}null\s{0,2};\s{0,2})?(?:this\.src\s{0,2}=\s{0,2}(?:'(?:https?:\/\/)?[\w./-]{1,200}'|"(?:https?:\/\/)?[\w./-]{1,200}")|this\.style\.(?:display|visibility)\s{0,2}=\s{0,2}['"]\w{1,12}['"]|return\s{1,2}(?:true|false)|this\.(?:select|blur|focus|remove)\(\)|window\.print\(\)|(?:window\.)?history\.(?:back\(\)|go\(-?\d\))|event\.(?:stopPropagation|preventDefault)\(\))\s{0,2};?\s{0,4}$/

/** An ellipsis stands for the script: three dots begin no statement (ECMA-262 section 13). */
const LEFT_OUT = /^\s{0,4}["']?(?:\.{3}|\xe2\x80\xa6)/

/** Without escapes and comments (CSS Syntax section 4.3.7). */
function cssText(style: string): string {
  return htmlEntityDecode(style)
    .replace(/\/\*[^*]{0,200}\*\//g, '')
    .replace(/\\([0-9a-f]{1,6})\s?/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16) & 0xff))
    .replaceAll('\\', '')
}

const GREATER = 62
const EQUALS = 61
const DOUBLE = 34
const SINGLE = 39
const BACKTICK = 96
const SLASH = 47

const EXCLAMATION = 33
const QUESTION = 63
const LESS = 60

function isLetter(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122)
}

function endsTagName(code: number): boolean {
  return (
    isBlank(code) || code === SLASH || code === GREATER || code === DOUBLE || code === SINGLE || code === EQUALS || code === LESS
  )
}

function isBlank(code: number): boolean {
  return code === 32 || (code >= 9 && code <= 13) || code === 0 || code === 0xa0
}

function isQuote(code: number): boolean {
  return code === DOUBLE || code === SINGLE || code === BACKTICK
}

function isBetweenAttributes(code: number): boolean {
  return isBlank(code) || code === SLASH || code === DOUBLE || code === SINGLE || code === BACKTICK
}

function endsName(code: number): boolean {
  return isBlank(code) || code === SLASH || code === GREATER || code === EQUALS || code === DOUBLE || code === SINGLE
}

/** Where the value that begins at `from` is over. */
function valueEnd(text: string, from: number): number {
  let at = from
  while (at < text.length && isBlank(text.charCodeAt(at))) at += 1
  if (isQuote(text.charCodeAt(at))) {
    const end = text.indexOf(text[at]!, at + 1)
    return end < 0 ? text.length : end + 1
  }
  while (at < text.length && !(isBlank(text.charCodeAt(at)) && text.charCodeAt(at) !== 0) && text.charCodeAt(at) !== GREATER)
    at += 1
  return at
}

/** The first of an attribute's value, without its quotes: as much as a scheme or a style can hide in. */
function attributeValue(text: string, from: number): string {
  let at = from
  while (at < text.length && isBlank(text.charCodeAt(at))) at += 1
  const quoted = isQuote(text.charCodeAt(at))
  return text.slice(quoted ? at + 1 : at, Math.min(valueEnd(text, from) - (quoted ? 1 : 0), at + 2_000))
}

/** The value leaves a quoted attribute and adds another. */
function fromAttribute(text: string, quote: string): string | undefined {
  const at = text.indexOf(quote)
  if (at < 0) return undefined
  const rest = text.slice(at + 1, at + 400)
  const found =
    /^[\s/\0]{0,8}(?:[a-z:-]{1,20}[\s]{0,2}=[\s]{0,2}["']?[\w:./#-]{0,40}["']?[\s/]{1,4}){0,4}(on[a-z]{3,25}|formaction|style|srcdoc|href|src)[\s]{0,8}=(?!=)/i.exec(
      rest,
    )
  if (found === null) return undefined
  const name = found[1]!.toLowerCase()
  const value = attributeValue(rest, found[0].length)
  if (isHandler(name)) return /^\s{0,4}(?:""|'')\s{0,4}\/?>/.test(rest.slice(found[0].length)) ? undefined : `${name}=`
  return runsAsUrl(value) || /expression\(/i.test(value) ? `${name} with a script` : undefined
}

/** The value stands unquoted in a tag: a handler with something that is code. */
function fromUnquoted(text: string): string | undefined {
  const head = text.slice(0, 2_000)
  for (const found of head.matchAll(HANDLER_WITH_CODE)) {
    const name = found[1]!.toLowerCase()
    if (isHandler(name) && !HARMLESS_HANDLER.test(attributeValue(head, head.indexOf('=', found.index) + 1))) return `${name}=`
  }
  return undefined
}

const HANDLER_WITH_CODE = /(?:^|[\s/"'`])(on[a-z]{3,25})[\s]{0,8}=[\s]{0,8}["'`]?[\s]{0,8}[\w$.[\]]{1,40}[\s]{0,4}[(`=[]/gi

/** The whole value is used as a link. */
function fromUrl(text: string): string | undefined {
  return runsAsUrl(text) ? 'script URL' : undefined
}

const HANDLER =
  /^on(?:error|load|unload|beforeunload|click|dblclick|auxclick|contextmenu|mouse[a-z]{2,7}|pointer[a-z]{2,20}|touch[a-z]{3,7}|key(?:down|up|press)|focus(?:in|out)?|blur|change|input|invalid|select[a-z]{0,8}|submit|reset|search|toggle|beforetoggle|drag[a-z]{0,6}|drop|copy|cut|paste|before[a-z]{3,12}|after[a-z]{3,12}|scroll[a-z]{0,12}|wheel|resize|animation[a-z]{3,12}|transition[a-z]{3,7}|webkit[a-z]{3,25}|play(?:ing)?|pause|ended|canplay[a-z]{0,7}|loaded[a-z]{4,8}|loadstart|loadend|progress|seek(?:ed|ing)|stalled|suspend|timeupdate|volumechange|waiting|durationchange|ratechange|cuechange|emptied|abort|hashchange|popstate|pageshow|pagehide|message[a-z]{0,5}|online|offline|storage|show|start|finish|bounce|begin|end|repeat|fullscreen[a-z]{5,6}|readystatechange|propertychange|activate|security[a-z]{5,20}|unhandledrejection|rejectionhandled|visibilitychange|gotpointercapture|lostpointercapture|slotchange|formdata|close|cancel|command)$/

function isHandler(name: string): boolean {
  return name.startsWith('on') && HANDLER.test(name)
}

/** `javascript:` and its like, whatever is hidden inside: control characters, blanks, entities, escapes. */
function runsAsUrl(value: string): boolean {
  const head = value.slice(0, 300)
  if (!/^[\s\0-\x20]{0,20}[jvdJVD&\\%]/.test(head)) return false
  const decoded = htmlEntityDecode(head)
  const url = decoded.replace(/[\0-\x20]+/g, '')
  if (/^(?:javascript|vbscript|livescript):/i.test(url)) {
    // Nobody writes the name of a scheme in references but to hide it.
    if (decoded !== head && !/^\s{0,20}\w{1,20}\s{0,4}:/.test(head)) return true
    const code = url.slice(url.indexOf(':') + 1)
    // `JavaScript: the good parts (2008)`: words with blanks between them are a title.
    if (
      /^\w{1,20}:\s{1,4}(?!(?:new|var|let|const|void|throw|return|typeof|delete|function|with|if|import|await|async)\b)[\w'-]{1,30}\s[\w'-]/i.test(
        head.trimStart(),
      )
    )
      return false
    // A link that goes nowhere, and words behind it: they call nothing.
    if (/^(?:window\.|self\.)?(?:print\(\)|close\(\)|history\.(?:back\(\)|forward\(\)|go\(-?\d\)));?$/i.test(code)) return false
    if (/^void(?:\(0\)|0);?[a-z.,!?'"-]*$/i.test(code)) return false
    return /[(`=[\\]|%[0-9a-f]{2}|&#|^\/\/|\/\*/i.test(code)
  }
  return /^data:(?:text\/html|text\/xml|application\/xhtml\+?xml|application\/javascript|text\/javascript|application\/x-javascript)[;,]/i.test(
    url,
  )
}

import { codePointToText } from '../bytes.ts'

const NAMED: ReadonlyMap<string, string> = new Map([
  ['quot', '"'],
  ['amp', '&'],
  ['lt', '<'],
  ['gt', '>'],
  ['apos', "'"],
  ['nbsp', '\xa0'],
  ['colon', ':'],
  ['tab', '\t'],
  ['newline', '\n'],
  ['lpar', '('],
  ['rpar', ')'],
  ['sol', '/'],
  ['bsol', '\\'],
  ['equals', '='],
  ['semi', ';'],
  ['comma', ','],
  ['period', '.'],
  ['excl', '!'],
  ['quest', '?'],
  ['num', '#'],
  ['dollar', '$'],
  ['percnt', '%'],
  ['lsqb', '['],
  ['lbrack', '['],
  ['rsqb', ']'],
  ['rbrack', ']'],
  ['lcub', '{'],
  ['lbrace', '{'],
  ['rcub', '}'],
  ['rbrace', '}'],
  ['grave', '`'],
  ['lowbar', '_'],
  ['plus', '+'],
  ['ast', '*'],
  ['verbar', '|'],
  ['vert', '|'],
  ['hat', '^'],
  ['commat', '@'],
])

/** Those that ModSecurity knows. */
const FEW: ReadonlyMap<string, string> = new Map(
  ['quot', 'amp', 'lt', 'gt', 'nbsp'].map((name) => [name, NAMED.get(name) as string] as const),
)

/** Numeric character references and a few named ones, with or without the closing semicolon as browsers take them. */
export function htmlEntityDecodeFew(text: string): string {
  return decode(text, FEW)
}

/** The same with every named reference that hides a character of code (`SecHtmlEntities All`). */
export function htmlEntityDecode(text: string): string {
  return decode(text, NAMED)
}

function decode(text: string, names: ReadonlyMap<string, string>): string {
  if (!text.includes('&')) return text
  return text.replace(
    /&(?:#[xX]0{0,64}([0-9a-fA-F]{1,6});?|#0{0,64}([0-9]{1,7});?|([A-Za-z]{2,7});?)/g,
    (all, hex, decimal, name) => {
      if (name !== undefined) return names.get((name as string).toLowerCase()) ?? all
      const code = hex === undefined ? Number.parseInt(decimal as string, 10) : Number.parseInt(hex as string, 16)
      if (code > 0x10ffff) return all
      return code < 256 ? String.fromCharCode(code) : codePointToText(code)
    },
  )
}

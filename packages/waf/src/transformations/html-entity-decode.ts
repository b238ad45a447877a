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

/** Numeric and common named character references, with or without the closing semicolon as browsers take them. */
export function htmlEntityDecode(text: string): string {
  if (!text.includes('&')) return text
  return text.replace(
    /&(?:#[xX]0{0,64}([0-9a-fA-F]{1,6});?|#0{0,64}([0-9]{1,7});?|([A-Za-z]{2,7});?)/g,
    (all, hex, decimal, name) => {
      if (name !== undefined) return NAMED.get((name as string).toLowerCase()) ?? all
      const code = hex === undefined ? Number.parseInt(decimal as string, 10) : Number.parseInt(hex as string, 16)
      if (code > 0x10ffff) return all
      return code < 256 ? String.fromCharCode(code) : codePointToText(code)
    },
  )
}

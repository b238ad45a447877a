/**
 * Undoes what shells let one hide words with: drops `\ " ' ^`, turns `, ;` and runs of blanks into one space, drops a space
 * before `/` and `(`, lowercases. Source: the reference of `t:cmdLine` in ModSecurity's manual.
 */
export function cmdLine(text: string): string {
  return text
    .replace(/[\\"'^]/g, '')
    .replace(/[,;\t-\r ]+/g, ' ')
    .replace(/ ([/(])/g, '$1')
    .replace(/[A-Z]+/g, (run) => run.toLowerCase())
}

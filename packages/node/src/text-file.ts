/** Reading a file that must exist. Apart, since threads that read keys must not load all that a configuration takes. */
import { readFileSync } from 'node:fs'
import { StartError } from './errors.ts'

/** @throws {StartError} with `code`, naming the file. */
export function readTextFile(file: string, code: StartError['code'], what: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : 'cannot be read'
    throw new StartError(code, `${file}: ${what} ${reason}`, { cause })
  }
}
